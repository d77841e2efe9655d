//! What delivery writes to the store, away from the sessions: the record of this replica, the marks of a diverged
//! fleet, and when keys were used.
//!
//! Nothing here is waited for by a session or by the hub: while the store is away the record gets old, and the rest is
//! tried again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use kt_audit::Digest;
use kt_proto::{signed, store::v1 as store, v1};
use prost::Message as _;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{metrics::DeliveryMetrics, now_us, offer::Document, session::Ahead};
use crate::{
    paths::StateKey,
    store::{Commit, Committed, Entry, Precondition, Store, StoreError, Write},
};

/// How long the store may take.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a lost race is run again.
const ATTEMPTS: usize = 5;
/// The most keys of a fleet whose use is remembered between two writes.
const MAX_KEYS: usize = 50_000;
const MAX_KEY_ID: usize = 64;
/// The most keys that the mark of a diverged key set names of each kind.
const MAX_CHANGES: usize = 1_000;

/// Something to write down.
#[derive(Debug)]
pub(crate) enum Chore {
    /// A gateway shows a document that the store does not have.
    Diverged { fleet: Arc<str>, gateway: Arc<str>, ahead: Ahead },
    /// Keys were used.
    KeyUse { fleet: Arc<str>, uses: Vec<v1::KeyUse> },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Keeper {
    store: Arc<dyn Store>,
    metrics: DeliveryMetrics,
    uses: BTreeMap<Arc<str>, BTreeMap<String, i64>>,
}

// === impl Keeper ===

impl Keeper {
    pub(crate) fn new(store: Arc<dyn Store>, metrics: DeliveryMetrics) -> Self {
        Self { store, metrics, uses: BTreeMap::new() }
    }

    /// Runs until it is stopped; key use is written every `every`, and at the end.
    pub(crate) async fn run(
        mut self,
        mut chores: mpsc::Receiver<Chore>,
        every: Duration,
        stop: CancellationToken,
    ) {
        let mut due = interval(every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                chore = chores.recv() => match chore {
                    Some(chore) => self.take(chore).await,
                    None => break,
                },
                _ = due.tick() => self.write_uses().await,
            }
        }
        self.write_uses().await;
    }

    async fn take(&mut self, chore: Chore) {
        match chore {
            Chore::Diverged { fleet, gateway, ahead } => {
                let (kind, generation) = (ahead.document, ahead.generation);
                let document = kind.name();
                match self.mark(&fleet, &gateway, ahead).await {
                    Ok(Some(divergence)) if divergence.is_conflict => {
                        self.metrics.conflicted(kind);
                        tracing::error!(
                            %fleet,
                            %gateway,
                            document,
                            generation,
                            "A gateway has another document of the same generation than the store: the fleet has diverged, nothing is changed until `kt fleet recover`."
                        );
                    }
                    Ok(Some(_)) => tracing::error!(
                        %fleet,
                        %gateway,
                        document,
                        generation,
                        "A gateway has a newer document than the store: the fleet has diverged, nothing is changed until `kt fleet recover`."
                    ),
                    Ok(None) => {}
                    // The gateway shows it again with its next Hello, or another does.
                    Err(error) => tracing::warn!(%fleet, %error, "a diverged fleet was not marked"),
                }
            }
            Chore::KeyUse { fleet, uses } => {
                let known = self.uses.entry(fleet).or_default();
                let now_us = now_us();
                for used in uses {
                    let is_room = known.len() < MAX_KEYS || known.contains_key(&used.key_id);
                    if used.key_id.len() <= MAX_KEY_ID && is_room {
                        let last = known.entry(used.key_id).or_default();
                        *last = (*last).max(used.last_used_us.min(now_us));
                    }
                }
            }
        }
    }

    /// Marks a fleet as diverged, unless the store has caught up or the mark is there. Gives what is new to people: not
    /// that a mark says now which keys are in question.
    async fn mark(
        &self,
        fleet: &str,
        gateway: &str,
        ahead: Ahead,
    ) -> Result<Option<v1::Divergence>, StoreError> {
        let Ahead { document, generation, digest, keys } = ahead;
        let (known_key, mark_key) = match document {
            Document::Assignment => (StateKey::Head(fleet), StateKey::Divergence(fleet)),
            Document::KeySet => (StateKey::KeySet(fleet), StateKey::KeySetDivergence(fleet)),
        };
        let (known_key, mark_key) = (known_key.path(), mark_key.path());
        for _ in 0..ATTEMPTS {
            let entry = self.get(&known_key).await?;
            let known = entry.as_ref().and_then(|entry| read(document, entry));
            if known.is_some_and(|known| known.0 > generation || known.1 == digest) {
                return Ok(None);
            }
            let mark = self.get(&mark_key).await?;
            let seen = mark.as_ref().and_then(|entry| v1::Divergence::decode(entry.value.clone()).ok());
            let is_known = seen.as_ref().is_some_and(|seen| {
                seen.seen_generation > generation
                    || (seen.seen_generation == generation && (seen.keys.is_some() || keys.is_none()))
            });
            if is_known {
                return Ok(None);
            }
            let divergence = v1::Divergence {
                seen_generation: generation,
                gateway_id: gateway.to_owned(),
                seen_us: now_us(),
                is_conflict: known.is_some_and(|known| known.0 == generation),
                keys: keys.as_ref().map(|held| key_changes(entry.as_ref(), held)),
            };
            let preconditions =
                vec![unchanged(&known_key, entry.as_ref()), unchanged(&mark_key, mark.as_ref())];
            let writes = vec![Write::Put(mark_key.clone(), divergence.encode_to_vec().into())];
            if let Committed::Done(_) = self.commit(Commit { preconditions, writes }).await? {
                let is_new = seen.is_none_or(|seen| seen.seen_generation < generation);
                return Ok(is_new.then_some(divergence));
            }
        }
        Ok(None)
    }

    async fn write_uses(&mut self) {
        for (fleet, uses) in std::mem::take(&mut self.uses) {
            if let Err(error) = self.write_uses_of(&fleet, &uses).await {
                tracing::warn!(%fleet, %error, "when keys were used was not written down; tried again later");
                let kept = self.uses.entry(fleet).or_default();
                for (id, at) in uses {
                    let last = kept.entry(id).or_default();
                    *last = (*last).max(at);
                }
            }
        }
    }

    async fn write_uses_of(&self, fleet: &str, uses: &BTreeMap<String, i64>) -> Result<(), StoreError> {
        let (keys_key, use_key) = (StateKey::KeySet(fleet).path(), StateKey::KeyUse(fleet).path());
        for _ in 0..ATTEMPTS {
            let ids = self.get(&keys_key).await?.as_ref().map(key_ids).unwrap_or_default();
            let entry = self.get(&use_key).await?;
            let before = entry
                .as_ref()
                .and_then(|entry| store::KeyUseRecord::decode(entry.value.clone()).ok())
                .unwrap_or_default();
            let mut after = before.clone();
            for (id, at) in uses {
                let last = after.last_used_us.entry(id.clone()).or_default();
                *last = (*last).max(*at);
            }
            // Keys that are gone, and ids that never were.
            after.last_used_us.retain(|id, _| ids.contains(id));
            if after == before {
                return Ok(());
            }
            let commit = Commit {
                preconditions: vec![unchanged(&use_key, entry.as_ref())],
                writes: vec![Write::Put(use_key.clone(), after.encode_to_vec().into())],
            };
            if let Committed::Done(_) = self.commit(commit).await? {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("others write all the time".to_owned()))
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        timeout(STORE_TIMEOUT, self.store.get(key)).await.unwrap_or_else(|_| Err(too_slow()))
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        timeout(STORE_TIMEOUT, self.store.commit(commit)).await.unwrap_or_else(|_| Err(too_slow()))
    }
}

/// Writes the record of this replica whenever there is a new one, and deletes it at the end.
pub(crate) async fn write_record(
    store: Arc<dyn Store>,
    replica: Arc<str>,
    mut record: watch::Receiver<Bytes>,
    stop: CancellationToken,
) {
    let key = StateKey::Replica(&replica).path();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            changed = record.changed() => if changed.is_err() { break },
        }
        let bytes = record.borrow_and_update().clone();
        if bytes.is_empty() {
            continue;
        }
        let commit = Commit { writes: vec![Write::PutEphemeral(key.clone(), bytes)], ..Commit::default() };
        if let Err(error) =
            timeout(STORE_TIMEOUT, store.commit(commit)).await.unwrap_or_else(|_| Err(too_slow()))
        {
            tracing::warn!(%error, "the record of this replica was not written");
        }
    }
    let commit = Commit { writes: vec![Write::Delete(key)], ..Commit::default() };
    // It goes away by itself where this fails.
    let _ = timeout(Duration::from_secs(1), store.commit(commit)).await;
}

fn too_slow() -> StoreError {
    StoreError::Unavailable("no answer in time".to_owned())
}

fn unchanged(key: &str, entry: Option<&Entry>) -> Precondition {
    match entry {
        Some(entry) => Precondition::Unchanged(key.to_owned(), entry.modified),
        None => Precondition::Absent(key.to_owned()),
    }
}

/// Generation and digest of what is stored.
fn read(document: Document, entry: &Entry) -> Option<(u64, Digest)> {
    match document {
        Document::Assignment => {
            let sealed = v1::Assignment::decode(entry.value.clone()).ok()?.assignment?;
            let statement = signed::read::<v1::AssignmentStatement>(&sealed).ok()?;
            Some((statement.generation, signed::digest(&sealed)))
        }
        Document::KeySet => {
            let record = store::KeySetRecord::decode(entry.value.clone()).ok()?;
            Some((record.generation, signed::digest(&record.key_set?)))
        }
    }
}

/// What the key set of the store changes for somebody who holds these keys.
fn key_changes(stored: Option<&Entry>, held: &[String]) -> v1::KeyChanges {
    let stored = stored.map(key_ids).unwrap_or_default();
    let held: BTreeSet<&String> = held.iter().filter(|id| id.len() <= MAX_KEY_ID).collect();
    let returning = || stored.iter().filter(|id| !held.contains(id));
    let missing = || held.iter().filter(|id| !stored.contains(**id));
    v1::KeyChanges {
        returning: returning().take(MAX_CHANGES).cloned().collect(),
        missing: missing().take(MAX_CHANGES).map(|id| (*id).clone()).collect(),
        is_cut: returning().count() > MAX_CHANGES || missing().count() > MAX_CHANGES,
    }
}

fn key_ids(entry: &Entry) -> BTreeSet<String> {
    store::KeySetRecord::decode(entry.value.clone())
        .ok()
        .and_then(|record| signed::read::<v1::KeySetStatement>(&record.key_set?).ok())
        .map(|set| set.keys.into_iter().map(|key| key.id).collect())
        .unwrap_or_default()
}
