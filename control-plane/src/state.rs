//! What the store holds, in the memory of this replica: one immutable value, replaced whole.
//!
//! Only the mirror makes it, from the store's watch. Everything that is served to gateways is served from it, also
//! while the store is away.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use kt_audit::Digest;
use kt_proto::{store::v1 as store, v1};

use crate::store::Revision;

/// What the store holds at one revision.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The revision up to which everything is in here.
    pub revision: Revision,
    /// See [`crate::store::Store::epoch`].
    pub epoch: Arc<str>,
    /// By name.
    pub fleets: BTreeMap<Arc<str>, Arc<FleetState>>,
    /// By name and version text.
    pub packs: BTreeMap<(Arc<str>, Arc<str>), Arc<PackVersion>>,
    /// By the hash of the token's text.
    pub tokens: HashMap<[u8; 32], Arc<Token>>,
    /// What the replicas say of their gateways, by replica.
    pub replicas: BTreeMap<Arc<str>, Arc<store::ReplicaRecord>>,
}

/// A fleet.
#[derive(Debug, Clone, Default)]
pub struct FleetState {
    /// Name, description, who and when.
    pub record: store::FleetRecord,
    /// What it is to enforce.
    pub head: Option<Arc<Head>>,
    /// Its gateway keys.
    pub key_set: Option<Arc<KeySet>>,
    /// Set while publishing to it is stopped.
    pub divergence: Option<v1::Divergence>,
    /// Set while its key set is not changed.
    pub key_set_divergence: Option<v1::Divergence>,
    /// When keys were last used, as far as it was written down.
    pub key_use: BTreeMap<String, i64>,
    /// The revisions of the records, for preconditions.
    pub revisions: FleetRevisions,
}

/// The revisions that last wrote the records of a fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetRevisions {
    /// Of the record; absent where there is none (yet).
    pub record: Option<Revision>,
    /// Of the head.
    pub head: Option<Revision>,
    /// Of the key set.
    pub key_set: Option<Revision>,
    /// Of the divergence.
    pub divergence: Option<Revision>,
    /// Of the divergence of the key set.
    pub key_set_divergence: Option<Revision>,
    /// Of the key use.
    pub key_use: Option<Revision>,
}

/// What a fleet is to enforce.
#[derive(Debug, Clone)]
pub struct Head {
    /// As stored and sent.
    pub assignment: v1::Assignment,
    /// The statement in it.
    pub statement: v1::AssignmentStatement,
    /// The digest of the statement.
    pub digest: Digest,
}

/// The gateway keys of a fleet.
#[derive(Debug, Clone)]
pub struct KeySet {
    /// As stored and sent.
    pub record: store::KeySetRecord,
    /// The digest of the statement.
    pub digest: Digest,
}

/// A stored version of a pack.
#[derive(Debug, Clone)]
pub struct PackVersion {
    /// As stored.
    pub record: store::PackVersionRecord,
    /// The digest of its source.
    pub digest: Digest,
    /// The version, to order by.
    pub version: semver::Version,
}

/// A token.
#[derive(Debug, Clone)]
pub struct Token {
    /// As stored.
    pub record: store::TokenRecord,
    /// The revision that last wrote it.
    pub modified: Revision,
}

// === impl FleetState ===

impl FleetState {
    /// Whether a gateway has shown a document that the store does not have.
    pub fn is_diverged(&self) -> bool {
        self.divergence.is_some() || self.key_set_divergence.is_some()
    }
}

// === impl State ===

impl State {
    /// The fleet of that name.
    pub fn fleet(&self, name: &str) -> Option<&Arc<FleetState>> {
        self.fleets.get(name)
    }
}
