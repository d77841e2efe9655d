//! Packs, fleets, key sets and tokens as records above the store.
//!
//! What must hold of every write:
//! - it is one compare-and-swap over what was read, so that equal replicas need no leader;
//! - the [`v1::Change`] that says who did it stands in the same commit;
//! - a write whose outcome is unknown is read back, and a repeat with the same request id finds its own result;
//! - whoever wrote reads what was written: an answer waits until the mirror has seen it.

pub(crate) mod assign;
mod changes;
pub(crate) mod errors;
pub(crate) mod fleets;
mod keys;
mod names;
pub(crate) mod packs;
#[cfg(test)]
mod tests;
pub(crate) mod tokens;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kt_proto::{
    refusal::{Code, Refusal},
    signed::Trust,
    v1,
};
use prost::Message;
use tokio::time::timeout;

use self::errors::{corrupt, refused, store_refused};
use crate::{
    bodies::Bodies,
    metrics::{ChangeLabels, Metrics},
    mirror::Mirror,
    paths,
    store::{Commit, Committed, Precondition, Revision, Store, StoreError, Write},
};

/// How often a write is begun anew when somebody else was faster or nobody knows what became of it.
const TRIES: usize = 4;
/// Of one call of the store.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The registry; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    store: Arc<dyn Store>,
    mirror: Mirror,
    bodies: Bodies,
    /// Whose signatures are asked for already when something is published; empty: gateways decide.
    trust: Arc<Trust>,
    metrics: Metrics,
}

/// Who does something, and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By<'a> {
    /// Name and id of the token.
    pub(crate) actor: &'a str,
    /// From the person.
    pub(crate) reason: &'a str,
}

/// How one try of a write went.
enum Tried {
    /// Written.
    Done,
    /// Something that was read has changed, or nobody knows: read again.
    Again(Option<StoreError>),
}

/// A record and the revision that wrote it.
#[derive(Debug, Clone)]
struct Stored<M> {
    record: M,
    modified: Revision,
}

// === impl Registry ===

impl Registry {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        mirror: Mirror,
        bodies: Bodies,
        trust: Trust,
        metrics: Metrics,
    ) -> Self {
        Self { store, mirror, bodies, trust: Arc::new(trust), metrics }
    }

    /// Reads a record.
    async fn read<M: Message + Default>(&self, key: &str) -> Result<Option<Stored<M>>, Refusal> {
        let entry = match timeout(CALL_TIMEOUT, self.store.get(key)).await {
            Ok(read) => read.map_err(|error| store_refused(&error))?,
            Err(_) => return Err(late()),
        };
        let Some(entry) = entry else { return Ok(None) };
        let record = M::decode(entry.value).map_err(|_| corrupt(key))?;
        Ok(Some(Stored { record, modified: entry.modified }))
    }

    /// Reads every record under a prefix, in the order of the keys. Those that can't be read are left out.
    async fn read_all<M: Message + Default>(&self, prefix: &str) -> Result<Vec<Stored<M>>, Refusal> {
        let snapshot = match timeout(CALL_TIMEOUT, self.store.load(prefix)).await {
            Ok(read) => read.map_err(|error| store_refused(&error))?,
            Err(_) => return Err(late()),
        };
        let records = snapshot.entries.into_iter().filter_map(|entry| {
            let Ok(record) = M::decode(entry.value) else {
                tracing::error!(key = &*entry.key, "Stored record can't be read.");
                return None;
            };
            Some(Stored { record, modified: entry.modified })
        });
        Ok(records.collect())
    }

    /// Commits, and waits until the mirror has it.
    async fn write(&self, commit: Commit) -> Result<Tried, Refusal> {
        self.commit(commit, async |revision| {
            // Whoever wrote reads what was written, or is told that it is there: both will do.
            let _ = self.mirror.wait_for(revision).await;
        })
        .await
    }

    /// Commits, and then does something more.
    async fn commit(&self, commit: Commit, then: impl AsyncFnOnce(Revision)) -> Result<Tried, Refusal> {
        match timeout(CALL_TIMEOUT, self.store.commit(commit)).await {
            Ok(Ok(Committed::Done(revision))) => {
                then(revision).await;
                Ok(Tried::Done)
            }
            Ok(Ok(Committed::Conflict)) => Ok(Tried::Again(None)),
            Ok(Err(error @ StoreError::OutcomeUnknown(_))) => Ok(Tried::Again(Some(error))),
            Ok(Err(error)) => Err(store_refused(&error)),
            Err(_) => {
                Ok(Tried::Again(Some(StoreError::OutcomeUnknown("it did not answer in time".to_owned()))))
            }
        }
    }

    /// What a write that was tried too often is refused with.
    fn given_up(unknown: Option<StoreError>) -> Refusal {
        match unknown {
            Some(error) => store_refused(&error),
            None => refused(Code::Busy, "others change the same thing at the same time: try again"),
        }
    }

    /// Writes that somebody has read something into the history.
    pub(crate) async fn note(&self, actor: &str, action: &'static str, subject: &str) -> Result<(), Refusal> {
        for _ in 0..TRIES {
            let change = change(By { actor, reason: "" }, action, subject, Timestamp::now());
            let commit = Commit { preconditions: Vec::new(), writes: vec![change] };
            // Written twice where nobody knows what became of the first: it was read, that is what counts.
            // The mirror holds no history and would be waited for in vain.
            if matches!(self.commit(commit, async |_| ()).await?, Tried::Done) {
                return Ok(());
            }
        }
        Err(late())
    }

    /// Counts how a change ended.
    fn count<T>(&self, action: &'static str, result: &Result<T, Refusal>, is_unchanged: impl Fn(&T) -> bool) {
        let outcome = match result {
            Ok(done) if is_unchanged(done) => "unchanged",
            Ok(_) => "done",
            Err(refusal) => refusal.code.as_str(),
        };
        self.metrics.changes.get_or_create(&ChangeLabels { action, outcome }).inc();
    }
}

/// Writes a record.
fn put(key: String, record: &impl Message) -> Write {
    Write::Put(key, record.encode_to_vec().into())
}

/// The entry of the history that belongs into the commit of a change.
fn change(by: By<'_>, action: &str, subject: &str, now: Timestamp) -> Write {
    let id = uuid::Uuid::now_v7().to_string();
    let record = v1::Change {
        id: id.clone(),
        at_us: now.as_microsecond(),
        actor: by.actor.to_owned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        reason: by.reason.to_owned(),
    };
    put(paths::change(&id), &record)
}

/// That a key is as it was read.
fn as_read<M>(key: String, read: Option<&Stored<M>>) -> Precondition {
    match read {
        None => Precondition::Absent(key),
        Some(read) => Precondition::Unchanged(key, read.modified),
    }
}

fn late() -> Refusal {
    refused(Code::StoreUnavailable, "the store does not answer in time: nothing was changed; try again later")
}
