//! `data-routing-policy`: which targets declare what it asks for.

use super::NonCompliance;
use crate::{compiled::CompiledTarget, pack::DataRoutingPolicy};

/// Whether a target declares everything that the policy asks for.
pub(super) fn comply(policy: &DataRoutingPolicy, target: &CompiledTarget) -> Result<(), NonCompliance> {
    let declared = &target.data_policy;
    let keeps_nothing = declared.zero_data_retention == Some(true);
    if policy.require_zero_data_retention && !keeps_nothing {
        return Err(NonCompliance::Retention);
    }
    if policy.require_no_training && declared.training_opt_out != Some(true) {
        return Err(NonCompliance::Training);
    }
    if let Some(most) = policy.max_retention_days {
        // Keeping nothing is keeping it for no days.
        let days = declared.retention_days.or(keeps_nothing.then_some(0));
        if days.is_none_or(|days| days > most) {
            return Err(NonCompliance::RetentionDays);
        }
    }
    if let Some(regions) = &policy.allowed_regions
        && !target.region.as_ref().is_some_and(|region| regions.iter().any(|allowed| **allowed == **region))
    {
        return Err(NonCompliance::Region);
    }
    Ok(())
}
