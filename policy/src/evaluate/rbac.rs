//! `rbac`: what a caller's roles allow, for one concrete endpoint name.
//!
//! The rules, each with a test:
//! - a caller without roles has the `default_role`; without that it is refused (`role_required`);
//! - `require_auth` and `deny_if_missing` are met by a proven identity alone (`identity_required`);
//! - of several roles those that are listed count; when none is, `rbac.action` is the answer;
//! - one matching role with `action: block` refuses (`role_blocked`);
//! - a model is allowed when one role allows it: `allowed_models` absent allows all, `[]` none;
//! - of the roles that allow the model the largest token bound holds; a role without bound has none;
//! - a tool is allowed when one of those roles allows it and no matching role denies it;
//! - a named token value times the number of answers must not exceed the bound, or is lowered where `on_excess` says so.

use std::sync::Arc;

use crate::{
    caller::Caller,
    pack::{
        Rbac, RbacRole,
        kinds::{OnExcess, RbacAction, RoleAction},
    },
};

/// What is asked for, apart from the model.
#[derive(Debug, Clone, Default)]
pub(super) struct Demand {
    /// The names of the tools offered to the model.
    pub(super) tools: Vec<Box<str>>,
    /// Named token values; whether each may be edited.
    pub(super) token_values: Vec<(u64, bool)>,
    /// How many answers are asked for.
    pub(super) answers: u64,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) roles: Arc<[Arc<str>]>,
    pub(super) proven: bool,
}

impl Subject {
    pub(super) fn new(caller: &Caller) -> Self {
        Self { roles: Arc::clone(&caller.roles), proven: caller.proof.is_proven() }
    }
}

/// Why `rbac` refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denial {
    IdentityRequired,
    RoleRequired,
    RoleBlocked { role: String },
    RoleUnlisted,
    ModelNotAllowed,
    ToolNotAllowed { tool: usize },
    MaxTokensExceeded { limit: u64, answers: u64 },
}

impl Denial {
    /// The code of the answer, which is also the rule that exceptions name.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::IdentityRequired => "identity_required",
            Self::RoleRequired => "role_required",
            Self::RoleBlocked { .. } | Self::RoleUnlisted => "role_blocked",
            Self::ModelNotAllowed => "model_not_allowed",
            Self::ToolNotAllowed { .. } => "tool_not_allowed",
            Self::MaxTokensExceeded { .. } => "max_tokens_exceeded",
        }
    }
}

/// What the answer's length may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bound {
    /// The most output tokens of one answer; absent: no bound.
    pub(super) each: Option<u64>,
    /// Named values above it are lowered to it.
    pub(super) clamp: bool,
}

/// What a check gives: what was objected to but let pass, and the bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) let_pass: Vec<Denial>,
    pub(super) bound: Bound,
}

/// Judges a demand for one model. `lenient` tells which denials are let pass (observed or waived).
pub(super) fn check(
    rbac: &Rbac,
    subject: &Subject,
    demand: &Demand,
    model: &str,
    lenient: impl Fn(&Denial) -> bool,
) -> Result<Passed, Denial> {
    let mut passed = Passed::default();
    let mut deny = |denial: Denial| {
        if lenient(&denial) {
            passed.let_pass.push(denial);
            Ok(())
        } else {
            Err(denial)
        }
    };

    if (rbac.require_auth || !rbac.deny_if_missing.is_empty()) && !subject.proven {
        deny(Denial::IdentityRequired)?;
    }
    let default = rbac.default_role.as_deref().filter(|_| subject.roles.is_empty());
    let names = subject.roles.iter().map(|role| &**role).chain(default);
    let listed: Vec<(&str, &RbacRole)> =
        names.clone().filter_map(|name| rbac.roles.get(name).map(|role| (name, role))).collect();
    if listed.is_empty() {
        let unlisted = names.count() > 0;
        match (unlisted, rbac.action) {
            (true, RbacAction::Allow) => {}
            (true, RbacAction::Block) => deny(Denial::RoleUnlisted)?,
            (false, _) => deny(Denial::RoleRequired)?,
        }
        return Ok(passed);
    }
    if let Some((name, _)) = listed.iter().find(|(_, role)| role.action == RoleAction::Block) {
        deny(Denial::RoleBlocked { role: (*name).to_owned() })?;
    }

    let allows = |role: &RbacRole| {
        role.allowed_models.as_ref().is_none_or(|models| models.iter().any(|allowed| allowed == model))
    };
    let mut counting: Vec<&RbacRole> =
        listed.iter().map(|(_, role)| *role).filter(|role| allows(role)).collect();
    if counting.is_empty() {
        deny(Denial::ModelNotAllowed)?;
        counting = listed.iter().map(|(_, role)| *role).collect();
    }

    for (tool, name) in demand.tools.iter().enumerate() {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| glob(pattern, name));
        let denied = listed.iter().any(|(_, role)| any(&role.denied_tools));
        let allowed = counting.iter().any(|role| role.allowed_tools.as_deref().is_none_or(any));
        if denied || !allowed {
            deny(Denial::ToolNotAllowed { tool })?;
        }
    }

    let Some(limit) = largest_bound(&counting) else { return Ok(passed) };
    let clamp = counting
        .iter()
        .filter(|role| role.max_tokens_per_request == Some(limit))
        .any(|role| role.on_excess.unwrap_or(rbac.on_excess) == OnExcess::Clamp);
    let answers = demand.answers.max(1);
    let each = limit / answers;
    // Not one token for each answer: there is nothing to lower to.
    let hopeless = each == 0;
    let exceeded = |(value, editable): &(u64, bool)| *value > each && !(clamp && *editable);
    if hopeless || demand.token_values.iter().any(exceeded) {
        deny(Denial::MaxTokensExceeded { limit, answers })?;
        // Let pass as it came.
        return Ok(passed);
    }
    passed.bound = Bound { each: Some(each), clamp };
    Ok(passed)
}

/// The largest bound; `None` as soon as one role has none.
fn largest_bound(roles: &[&RbacRole]) -> Option<u64> {
    roles.iter().map(|role| role.max_tokens_per_request).collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// Whether a name fits a pattern in which `*` stands for any run of characters.
pub(super) fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    let mut rest = rest;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, tail)) => rest = tail,
            None => return false,
        }
    }
    true
}
