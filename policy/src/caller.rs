//! Who is asking, as the gateway established it.

use std::sync::Arc;

/// How the identity of a caller was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Nothing was presented, and the gateway serves callers without an identity.
    Anonymous,
    /// A gateway key (`kt_gk_…`); the id is public, the key is not kept.
    GatewayKey {
        /// The public id of the key.
        key_id: Arc<str>,
    },
}

impl Proof {
    /// The name as written in records and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::GatewayKey { .. } => "gateway_key",
        }
    }

    /// Whether a credential was checked; `deny_if_missing` and `require_auth` are met by this alone.
    pub const fn is_proven(&self) -> bool {
        !matches!(self, Self::Anonymous)
    }
}

/// A caller: subject and roles with the proof behind them.
///
/// The subject is personal data: it is printed by nothing, and goes to the audit writer only, which seals it.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who it is, when known (the `user` of a gateway key, say).
    pub subject: Option<Arc<str>>,
    /// Roles in the order given by the source of identity; empty when there are none.
    pub roles: Arc<[Arc<str>]>,
    /// The team that the request is accounted to.
    pub team: Option<Arc<str>>,
    /// The cost centre that the request is accounted to.
    pub cost_center: Option<Arc<str>>,
    /// How the above was proven.
    pub proof: Proof,
}

impl Caller {
    /// A caller without identity.
    pub fn anonymous() -> Self {
        Self { subject: None, roles: Arc::from([]), team: None, cost_center: None, proof: Proof::Anonymous }
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller")
            .field("subject", &self.subject.as_ref().map(|_| "…"))
            .field("roles", &self.roles)
            .field("team", &self.team)
            .field("cost_center", &self.cost_center)
            .field("proof", &self.proof)
            .finish()
    }
}
