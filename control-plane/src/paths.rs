//! The keys of the store. All stand under [`ROOT`], so that an etcd user can be bound to it.
//!
//! ```text
//! /keeptrusts/v1/bootstrap                        BootstrapRecord: create-only
//! /keeptrusts/v1/bodies/<sha256>/<piece>          a piece of a compressed source; not mirrored
//! /keeptrusts/v1/state/packs/<name>/<version>     PackVersionRecord
//! /keeptrusts/v1/state/fleets/<fleet>/record      FleetRecord
//! /keeptrusts/v1/state/fleets/<fleet>/head        Assignment
//! /keeptrusts/v1/state/fleets/<fleet>/diverged    Divergence
//! /keeptrusts/v1/state/fleets/<fleet>/keys        KeySetRecord
//! /keeptrusts/v1/state/fleets/<fleet>/keys-diverged  Divergence of the key set
//! /keeptrusts/v1/state/fleets/<fleet>/key-use     KeyUseRecord
//! /keeptrusts/v1/state/tokens/<id>                TokenRecord
//! /keeptrusts/v1/state/replicas/<replica>         ReplicaRecord; ephemeral
//! /keeptrusts/v1/history/assignments/<fleet>/<generation, 20 digits>
//! /keeptrusts/v1/history/key-sets/<fleet>/<generation, 20 digits>
//! /keeptrusts/v1/history/changes/<time-ordered id>   Change; not mirrored
//! /keeptrusts/v1/audit/erasures/<id>              ErasureRecord; not mirrored
//! /keeptrusts/v1/audit/holds/<id>                 AuditHold; not mirrored
//! ```
//!
//! What stands under `state/` is mirrored in the memory of each replica; the rest is read when it is asked for.

/// What everything stands under.
pub const ROOT: &str = "/keeptrusts/v1/";
/// What is mirrored.
pub const STATE: &str = "/keeptrusts/v1/state/";
/// The bootstrap token's record; create-only.
pub const BOOTSTRAP: &str = "/keeptrusts/v1/bootstrap";

/// Where nothing ever stands: a load of it tells the revision of the store.
pub(crate) const NOTHING: &str = "/keeptrusts/v1/nothing/";

/// A record under [`STATE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateKey<'a> {
    PackVersion { name: &'a str, version: &'a str },
    Fleet(&'a str),
    Head(&'a str),
    Divergence(&'a str),
    KeySet(&'a str),
    KeySetDivergence(&'a str),
    KeyUse(&'a str),
    Token(&'a str),
    Replica(&'a str),
}

// === impl StateKey ===

impl<'a> StateKey<'a> {
    /// What a key under [`STATE`] names; absent for what a newer build may have written.
    pub(crate) fn parse(key: &'a str) -> Option<Self> {
        let mut parts = key.strip_prefix(STATE)?.split('/');
        let parsed = match (parts.next()?, parts.next()?, parts.next()) {
            ("packs", name, Some(version)) => Self::PackVersion { name, version },
            ("fleets", fleet, Some("record")) => Self::Fleet(fleet),
            ("fleets", fleet, Some("head")) => Self::Head(fleet),
            ("fleets", fleet, Some("diverged")) => Self::Divergence(fleet),
            ("fleets", fleet, Some("keys")) => Self::KeySet(fleet),
            ("fleets", fleet, Some("keys-diverged")) => Self::KeySetDivergence(fleet),
            ("fleets", fleet, Some("key-use")) => Self::KeyUse(fleet),
            ("tokens", id, None) => Self::Token(id),
            ("replicas", id, None) => Self::Replica(id),
            _ => return None,
        };
        parts.next().is_none().then_some(parsed)
    }

    /// The key.
    pub(crate) fn path(self) -> String {
        match self {
            Self::PackVersion { name, version } => format!("{STATE}packs/{name}/{version}"),
            Self::Fleet(fleet) => format!("{STATE}fleets/{fleet}/record"),
            Self::Head(fleet) => format!("{STATE}fleets/{fleet}/head"),
            Self::Divergence(fleet) => format!("{STATE}fleets/{fleet}/diverged"),
            Self::KeySet(fleet) => format!("{STATE}fleets/{fleet}/keys"),
            Self::KeySetDivergence(fleet) => format!("{STATE}fleets/{fleet}/keys-diverged"),
            Self::KeyUse(fleet) => format!("{STATE}fleets/{fleet}/key-use"),
            Self::Token(id) => format!("{STATE}tokens/{id}"),
            Self::Replica(id) => format!("{STATE}replicas/{id}"),
        }
    }
}

/// What the pieces of a compressed source stand under, in order.
pub(crate) fn bodies(digest: &kt_audit::Digest) -> String {
    format!("{ROOT}bodies/{digest}/")
}

/// A piece of a compressed source.
pub(crate) fn body(digest: &kt_audit::Digest, piece: u32) -> String {
    format!("{}{piece:04}", bodies(digest))
}

/// What the tokens stand under.
pub(crate) fn tokens() -> String {
    format!("{STATE}tokens/")
}

/// What the assignments of a fleet stand under, oldest first.
pub(crate) fn assignments(fleet: &str) -> String {
    format!("{ROOT}history/assignments/{fleet}/")
}

/// One assignment of the past or the present.
pub(crate) fn assignment(fleet: &str, generation: u64) -> String {
    format!("{}{generation:020}", assignments(fleet))
}

/// One key set of the past or the present.
pub(crate) fn key_set(fleet: &str, generation: u64) -> String {
    format!("{ROOT}history/key-sets/{fleet}/{generation:020}")
}

/// Who was erased from audit records.
pub(crate) const ERASURES: &str = "/keeptrusts/v1/audit/erasures/";

/// What must not be erased or cut.
pub(crate) const HOLDS: &str = "/keeptrusts/v1/audit/holds/";

/// What the changes stand under, oldest first.
pub(crate) const CHANGES: &str = "/keeptrusts/v1/history/changes/";

/// One change; `id` orders by time (a UUIDv7).
pub(crate) fn change(id: &str) -> String {
    format!("{CHANGES}{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_key_reads_back() {
        for key in [
            StateKey::PackVersion { name: "demo", version: "1.2.3-rc.1+b" },
            StateKey::Fleet("default"),
            StateKey::Head("default"),
            StateKey::Divergence("default"),
            StateKey::KeySet("default"),
            StateKey::KeySetDivergence("default"),
            StateKey::KeyUse("default"),
            StateKey::Token("at_1"),
            StateKey::Replica("r1"),
        ] {
            assert_eq!(StateKey::parse(&key.path()), Some(key));
        }
        assert_eq!(StateKey::parse("/keeptrusts/v1/state/fleets/a/head/more"), None);
        assert_eq!(StateKey::parse("/keeptrusts/v1/state/later/a"), None);
    }
}
