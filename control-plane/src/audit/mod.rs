//! Audit records of all gateways: taken in, kept, and shown to people.
//!
//! | part | what it does |
//! |---|---|
//! | [`store`] | the narrow trait; SQLite and PostgreSQL behind it |
//! | [`sink`] | what is fed with records beside the store |
//! | `ingest` | the stream of a gateway: every byte checked, acknowledged once it is durable |
//! | `verify` | the chain as it is stored, walked |
//! | `witness` | the keys: one signs, one joins the pseudonyms of a person |
//! | `retention` | takes out what nobody needs to keep, with a tombstone in its place |
//! | `ledger` | who was erased and what is held, kept where a backup of the records does not reach |
//!
//! # Invariants
//! - A record is kept as the exact bytes that the gateway hashed; columns are derived and can be derived again.
//! - A batch is in the store as a whole or not at all, with the mark that says how far its run has come.
//! - What is there is never replaced: another record under the same number is kept apart.
//! - Names are sealed before they touch a disk.

mod ingest;
pub(crate) mod ledger;
mod retention;
pub mod sink;
pub mod store;
pub(crate) mod verify;
mod witness;

use std::sync::Arc;

use kt_audit::{Position, Pseudonym};
use kt_proto::v1;
use tokio::sync::watch;

pub use self::{
    ingest::IngestSettings, ledger::LedgerError, retention::RetentionSettings, witness::WitnessError,
};
pub(crate) use self::{
    ingest::{Ingest, IngestMetrics, NoIngest},
    ledger::Ledger,
    retention::{RetentionMetrics, run as cut_expired},
    witness::Witness,
};
use self::{
    sink::SinkName,
    store::{AuditStore, AuditStoreError},
};

/// A position on the wire.
pub(crate) fn position(position: &Position) -> v1::AuditPosition {
    v1::AuditPosition {
        epoch: position.epoch.0.to_vec(),
        sequence: position.sequence,
        hash: position.hash.0.to_vec(),
    }
}

/// The store and the keys of the control plane; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    pub(crate) store: Arc<dyn AuditStore>,
    pub(crate) witness: Arc<Witness>,
    /// What outlives the store of the records.
    pub(crate) ledger: Ledger,
    /// The sinks that are fed here.
    pub(crate) sinks: Arc<[SinkName]>,
    /// Counts erasures, so that gateways which are connected hear of them at once.
    pub(crate) erasures: watch::Sender<u64>,
}

impl Audit {
    pub(crate) fn new(
        store: Arc<dyn AuditStore>,
        witness: Arc<Witness>,
        ledger: Ledger,
        sinks: Arc<[SinkName]>,
    ) -> Self {
        Self { store, witness, ledger, sinks, erasures: watch::Sender::new(0) }
    }

    /// The place up to which every sink that is fed here has taken the records; none: there is no sink.
    pub(crate) async fn taken(&self) -> Result<Option<u64>, AuditStoreError> {
        if self.sinks.is_empty() {
            return Ok(None);
        }
        let known = self.store.sinks().await?;
        // One that has not begun has taken nothing.
        let place = |sink: &SinkName| {
            known.iter().find(|(name, _)| *name == sink.name).map_or(0, |(_, state)| state.mark.position)
        };
        Ok(self.sinks.iter().map(place).min())
    }

    /// The person of that name, as the store knows one.
    pub(crate) fn person(&self, name: &str) -> Pseudonym {
        self.witness.person(name).pseudonym()
    }
}
