//! The records of the store as they are known here, and the [`State`] that they make.
//!
//! A record that can't be read leaves what was known of its key, and is counted: one bad record must not take a fleet's
//! policy away.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use kt_audit::Digest;
use kt_proto::{signed, store::v1 as store, v1};
use prost::Message;

use crate::{
    paths::StateKey,
    state::{FleetState, Head, KeySet, PackVersion, State, Token},
    store::{Change, Entry, Revision, Snapshot},
};

/// What is known of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    modified: Revision,
    value: Bytes,
}

impl Known {
    fn is(&self, entry: &Entry) -> bool {
        self.modified == entry.modified && self.value == entry.value
    }
}

/// What a comparison with a snapshot has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Differences {
    /// Keys. Not 0: the watch has lost something, or the store is not the one that it was.
    pub(super) count: usize,
    /// The store was restored, and has come past the revision that is known here since.
    pub(super) is_of_another_past: bool,
}

/// Everything under the mirrored prefix.
#[derive(Debug, Default)]
pub(super) struct Picture {
    known: BTreeMap<Arc<str>, Known>,
    state: State,
    /// Changes up to this revision are in here already: a whole snapshot was taken over at it.
    floor: Revision,
    /// Keys deleted since the last comparison: a snapshot of before may hold them.
    deleted: BTreeSet<Arc<str>>,
    /// Records that could not be read.
    unreadable: u64,
}

/// A stored record that can't be read.
#[derive(Debug)]
struct Unreadable;

impl From<prost::DecodeError> for Unreadable {
    fn from(_: prost::DecodeError) -> Self {
        Self
    }
}

impl Picture {
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Nothing happened up to `revision`.
    pub(super) fn progress(&mut self, revision: Revision) {
        self.state.revision = self.state.revision.max(revision);
    }

    /// Takes over changes of the watch; returns how many there were in truth.
    pub(super) fn changes(&mut self, revision: Revision, changes: Vec<Change>) -> usize {
        let mut applied = 0;
        for change in changes {
            match change {
                Change::Put(entry) if entry.modified > self.floor => applied += usize::from(self.put(entry)),
                Change::Delete { key, modified } if modified > self.floor => {
                    applied += usize::from(self.delete(&key));
                }
                Change::Put(_) | Change::Delete { .. } => {}
            }
        }
        self.progress(revision);
        applied
    }

    /// Makes this the picture of a snapshot, touching only what differs; returns how many keys did.
    pub(super) fn replace(&mut self, snapshot: Snapshot, epoch: &str) -> usize {
        let gone: Vec<Arc<str>> = {
            let present: BTreeSet<&str> = snapshot.entries.iter().map(|entry| &*entry.key).collect();
            self.known.keys().filter(|key| !present.contains(&***key)).cloned().collect()
        };
        let mut differences = gone.len();
        for key in &gone {
            self.delete(key);
        }
        for entry in snapshot.entries {
            differences += usize::from(self.put(entry));
        }
        self.state.revision = snapshot.revision;
        self.floor = snapshot.revision;
        self.deleted.clear();
        if *self.state.epoch != *epoch {
            self.state.epoch = epoch.into();
        }
        differences
    }

    /// What of a snapshot is not as it should be here, where everything up to its revision has been applied.
    pub(super) fn compare(&self, snapshot: &Snapshot) -> Differences {
        let missing = snapshot.entries.iter().filter(|entry| self.lacks(entry, snapshot.revision));
        Differences {
            count: missing.count() + self.stale(snapshot).len(),
            is_of_another_past: snapshot
                .entries
                .iter()
                .any(|entry| self.contradicts(entry, snapshot.revision)),
        }
    }

    /// Whether an entry of a snapshot should be known here and is not.
    fn lacks(&self, entry: &Entry, revision: Revision) -> bool {
        match self.known.get(&entry.key) {
            Some(known) => known.modified <= revision && !known.is(entry),
            None => !self.deleted.contains(&entry.key),
        }
    }

    /// Whether an entry of a snapshot can't come after what is known here: within one history a key does not go back, and
    /// a revision is one commit.
    fn contradicts(&self, entry: &Entry, revision: Revision) -> bool {
        self.lacks(entry, revision)
            && self.known.get(&entry.key).is_some_and(|known| known.modified >= entry.modified)
    }

    /// Keys that a snapshot should still have if they were not deleted unseen.
    fn stale(&self, snapshot: &Snapshot) -> Vec<Arc<str>> {
        let present: BTreeSet<&str> = snapshot.entries.iter().map(|entry| &*entry.key).collect();
        let is_stale =
            |key: &str, known: &Known| known.modified <= snapshot.revision && !present.contains(key);
        let stale = self.known.iter().filter(|(key, known)| is_stale(key, known));
        stale.map(|(key, _)| Arc::clone(key)).collect()
    }

    /// Takes over what a snapshot knows better, without undoing what is newer than it.
    pub(super) fn repair(&mut self, snapshot: Snapshot) {
        let revision = snapshot.revision;
        for key in self.stale(&snapshot) {
            self.delete(&key);
        }
        for entry in snapshot.entries {
            if self.lacks(&entry, revision) {
                self.put(entry);
            }
        }
    }

    /// The watch was compared with a snapshot, and begins anew.
    pub(super) fn compared(&mut self) {
        self.deleted.clear();
    }

    fn put(&mut self, entry: Entry) -> bool {
        let Entry { key, value, modified } = entry;
        let known = Known { modified, value: value.clone() };
        if self.known.get(&key) == Some(&known) {
            return false;
        }
        self.known.insert(Arc::clone(&key), known);
        if self.record(&key, &value, modified).is_err() {
            self.unreadable += 1;
            tracing::error!(key = &*key, "Stored record can't be read.");
        }
        true
    }

    fn record(&mut self, key: &str, value: &Bytes, modified: Revision) -> Result<(), Unreadable> {
        match StateKey::parse(key) {
            // A newer build may have written it.
            None => {}
            Some(StateKey::PackVersion { name, version }) => {
                let record = store::PackVersionRecord::decode(value.clone())?;
                let of =
                    record.version.as_ref().and_then(|version| version.pack.as_ref()).ok_or(Unreadable)?;
                let digest = digest(&of.digest)?;
                let semver = semver::Version::parse(&of.version).map_err(|_| Unreadable)?;
                let pack = PackVersion { record, digest, version: semver };
                self.state.packs.insert((name.into(), version.into()), Arc::new(pack));
            }
            Some(StateKey::Fleet(fleet)) => {
                let record = store::FleetRecord::decode(value.clone())?;
                self.fleet(fleet, |state| {
                    state.record = record;
                    state.revisions.record = Some(modified);
                });
            }
            Some(StateKey::Head(fleet)) => {
                let assignment = v1::Assignment::decode(value.clone())?;
                let sealed = assignment.assignment.as_ref().ok_or(Unreadable)?;
                let statement = signed::read(sealed).map_err(|_| Unreadable)?;
                let digest = signed::digest(sealed);
                let head = Arc::new(Head { assignment, statement, digest });
                self.fleet(fleet, |state| {
                    state.head = Some(head);
                    state.revisions.head = Some(modified);
                });
            }
            Some(StateKey::Divergence(fleet)) => {
                let divergence = v1::Divergence::decode(value.clone())?;
                self.fleet(fleet, |state| {
                    state.divergence = Some(divergence);
                    state.revisions.divergence = Some(modified);
                });
            }
            Some(StateKey::KeySet(fleet)) => {
                let record = store::KeySetRecord::decode(value.clone())?;
                let digest = signed::digest(record.key_set.as_ref().ok_or(Unreadable)?);
                let key_set = Arc::new(KeySet { record, digest });
                self.fleet(fleet, |state| {
                    state.key_set = Some(key_set);
                    state.revisions.key_set = Some(modified);
                });
            }
            Some(StateKey::KeySetDivergence(fleet)) => {
                let divergence = v1::Divergence::decode(value.clone())?;
                self.fleet(fleet, |state| {
                    state.key_set_divergence = Some(divergence);
                    state.revisions.key_set_divergence = Some(modified);
                });
            }
            Some(StateKey::KeyUse(fleet)) => {
                let record = store::KeyUseRecord::decode(value.clone())?;
                self.fleet(fleet, |state| {
                    state.key_use = record.last_used_us;
                    state.revisions.key_use = Some(modified);
                });
            }
            Some(StateKey::Token(id)) => {
                let record = store::TokenRecord::decode(value.clone())?;
                let hash = <[u8; 32]>::try_from(&*record.sha256).map_err(|_| Unreadable)?;
                if record.token.as_ref().is_none_or(|token| token.id != id) {
                    return Err(Unreadable);
                }
                self.state.tokens.insert(hash, Arc::new(Token { record, modified }));
            }
            Some(StateKey::Replica(replica)) => {
                let record = store::ReplicaRecord::decode(value.clone())?;
                self.state.replicas.insert(replica.into(), Arc::new(record));
            }
        }
        Ok(())
    }

    fn delete(&mut self, key: &str) -> bool {
        let Some((key, _)) = self.known.remove_entry(key) else { return false };
        let key = &*key;
        self.deleted.insert(key.into());
        match StateKey::parse(key) {
            None => {}
            Some(StateKey::PackVersion { name, version }) => {
                self.state.packs.remove(&(name.into(), version.into()));
            }
            Some(StateKey::Fleet(fleet)) => self.fleet(fleet, |state| {
                state.record = store::FleetRecord::default();
                state.revisions.record = None;
            }),
            Some(StateKey::Head(fleet)) => self.fleet(fleet, |state| {
                state.head = None;
                state.revisions.head = None;
            }),
            Some(StateKey::Divergence(fleet)) => self.fleet(fleet, |state| {
                state.divergence = None;
                state.revisions.divergence = None;
            }),
            Some(StateKey::KeySet(fleet)) => self.fleet(fleet, |state| {
                state.key_set = None;
                state.revisions.key_set = None;
            }),
            Some(StateKey::KeySetDivergence(fleet)) => self.fleet(fleet, |state| {
                state.key_set_divergence = None;
                state.revisions.key_set_divergence = None;
            }),
            Some(StateKey::KeyUse(fleet)) => self.fleet(fleet, |state| {
                state.key_use = BTreeMap::new();
                state.revisions.key_use = None;
            }),
            Some(StateKey::Token(id)) => {
                let is_it = |token: &Token| token.record.token.as_ref().is_some_and(|token| token.id == id);
                self.state.tokens.retain(|_, token| !is_it(token));
            }
            Some(StateKey::Replica(replica)) => {
                self.state.replicas.remove(replica);
            }
        }
        true
    }

    /// Changes a fleet; one without any record left is gone.
    fn fleet(&mut self, name: &str, change: impl FnOnce(&mut FleetState)) {
        let fleet = self.state.fleets.entry(name.into()).or_default();
        change(Arc::make_mut(fleet));
        if fleet.revisions == crate::state::FleetRevisions::default() {
            self.state.fleets.remove(name);
        }
    }
}

fn digest(bytes: &[u8]) -> Result<Digest, Unreadable> {
    bytes.try_into().map(Digest).map_err(|_| Unreadable)
}
