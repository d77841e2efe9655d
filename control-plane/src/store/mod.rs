//! Where everything is kept: ordered keys, compare-and-swap, a watch.
//!
//! The trait is as narrow as the two engines allow, so that one contract-test suite can hold both to it. What a key
//! means is the business of the registry.
//!
//! Revisions order the changes of one store. They are never shown to people or gateways as versions: they go backwards
//! when a store is restored.
//!
//! - [`embedded`]: one crash-safe file, one process;
//! - [`etcd`]: many replicas over one cluster (feature `etcd`);
//! - `scripted`: a store in memory that can be told to misbehave, for tests (feature `testing`).

pub mod embedded;
#[cfg(feature = "etcd")]
pub mod etcd;
mod history;
#[cfg(any(test, feature = "testing"))]
pub mod scripted;
#[cfg(all(feature = "etcd", any(test, feature = "testing")))]
pub mod testing;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, fmt, sync::Arc};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};

/// The number of a change of the whole store; grows with each commit, until the store is restored.
pub type Revision = u64;

/// The largest value that a store takes, in bytes. Bodies of packs are cut into pieces of at most this.
pub const MAX_VALUE_BYTES: usize = 512 * 1024;

/// The most operations of one commit, preconditions included; etcd takes 128.
pub const MAX_OPERATIONS: usize = 100;

/// The most bytes of one commit, keys and values together; etcd takes 1.5 MiB with its own framing.
pub const MAX_COMMIT_BYTES: usize = 1024 * 1024;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// A key and what stands under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Arc<str>,
    /// The value.
    pub value: Bytes,
    /// The revision that wrote it.
    pub modified: Revision,
}

/// Everything under a prefix at one revision, in the order of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision of the store at which this was read.
    pub revision: Revision,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// One change under a watched prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Written.
    Put(Entry),
    /// Deleted.
    Delete {
        /// The key.
        key: Arc<str>,
        /// The revision that deleted it.
        modified: Revision,
    },
}

/// What a watch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// Changes of one or more whole commits, in order.
    Changes {
        /// The last revision among them.
        revision: Revision,
        /// The changes.
        changes: Vec<Change>,
    },
    /// Nothing happened under the prefix up to this revision: the watch lives.
    Progress {
        /// The revision.
        revision: Revision,
    },
}

/// Why a watch has ended; its stream ends after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchEnd {
    /// The revision asked for is gone: load again and compare.
    #[error("the store has forgotten the revisions before {0}")]
    Compacted(Revision),
    /// The store was restored or replaced: its revisions went backwards or it is another cluster. Load again; what
    /// was read before is of another time.
    #[error("the store was restored from a backup or replaced")]
    Restored,
    /// The connection broke or went silent: watch again from the last revision seen on this watch.
    #[error("the watch was lost: {0}")]
    Lost(String),
}

/// What must hold for a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The key does not exist.
    Absent(String),
    /// The key was last written by this revision.
    Unchanged(String, Revision),
}

/// One write of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Writes a value.
    Put(String, Bytes),
    /// Writes a value that goes away by itself when this process has been silent for [`EPHEMERAL_SECONDS`], and at
    /// the next start of an embedded store.
    PutEphemeral(String, Bytes),
    /// Deletes a key; it need not exist.
    Delete(String),
}

/// How long an ephemeral value outlives the process that wrote it, seconds.
pub const EPHEMERAL_SECONDS: u64 = 15;

/// A commit: all writes or none, and only when every precondition holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// What must hold.
    pub preconditions: Vec<Precondition>,
    /// What is written.
    pub writes: Vec<Write>,
}

/// Why a read or a commit did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store can't be reached or does not answer; for a commit: nothing was written.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// A commit whose outcome is not known: it may have been done. Read back to learn.
    #[error("it is not known whether the store has written: {0}")]
    OutcomeUnknown(String),
    /// The store has no room left: etcd's NOSPACE alarm, a full disk.
    #[error("the store has no room left: {0}")]
    Full(String),
    /// A commit over the limits of the trait.
    #[error("a commit is too large for the store: {0}")]
    TooLarge(String),
    /// A commit that no store takes: a key twice, an empty key. A mistake of the caller.
    #[error("a commit contradicts itself: {0}")]
    Invalid(String),
    /// The store refuses us: user, password or certificate.
    #[error("the store refuses access: {0}")]
    Denied(String),
    /// What is stored can't be read.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
}

// === impl Change ===

impl Change {
    /// The key that was changed.
    pub fn key(&self) -> &Arc<str> {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision that changed it.
    pub fn modified(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.modified,
            Self::Delete { modified, .. } => *modified,
        }
    }
}

// === impl Precondition, Write, Commit ===

impl Precondition {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Absent(key) | Self::Unchanged(key, _) => key,
        }
    }
}

impl Write {
    /// The key that it writes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(key, _) | Self::PutEphemeral(key, _) | Self::Delete(key) => key,
        }
    }

    fn value(&self) -> &[u8] {
        match self {
            Self::Put(_, value) | Self::PutEphemeral(_, value) => value,
            Self::Delete(_) => &[],
        }
    }
}

impl Commit {
    /// Whether it keeps to the limits: [`MAX_OPERATIONS`], [`MAX_VALUE_BYTES`], [`MAX_COMMIT_BYTES`],
    /// [`MAX_KEY_BYTES`], and writes each key once. Every store asks this first.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] or [`StoreError::Invalid`].
    pub fn check(&self) -> Result<(), StoreError> {
        let operations = self.preconditions.len() + self.writes.len();
        if operations > MAX_OPERATIONS {
            return Err(StoreError::TooLarge(format!(
                "{operations} operations, {MAX_OPERATIONS} are allowed"
            )));
        }
        let mut bytes = 0;
        let mut written = HashSet::with_capacity(self.writes.len());
        for key in self.preconditions.iter().map(Precondition::key).chain(self.writes.iter().map(Write::key))
        {
            if key.is_empty() {
                return Err(StoreError::Invalid("an empty key".to_owned()));
            }
            if key.len() > MAX_KEY_BYTES {
                return Err(StoreError::TooLarge(format!(
                    "a key of {} bytes, {MAX_KEY_BYTES} are allowed",
                    key.len()
                )));
            }
            bytes += key.len();
        }
        for write in &self.writes {
            let (key, length) = (write.key(), write.value().len());
            if length > MAX_VALUE_BYTES {
                return Err(StoreError::TooLarge(format!(
                    "`{key}` has {length} bytes, {MAX_VALUE_BYTES} are allowed"
                )));
            }
            if !written.insert(key) {
                return Err(StoreError::Invalid(format!("`{key}` is written twice")));
            }
            bytes += length;
        }
        if bytes > MAX_COMMIT_BYTES {
            return Err(StoreError::TooLarge(format!("{bytes} bytes, {MAX_COMMIT_BYTES} are allowed")));
        }
        Ok(())
    }
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Written, at this revision. Where nothing changed (only deletes of what is not there), no revision is made
    /// and this is the one the store stands at.
    Done(Revision),
    /// A precondition did not hold; nothing was written.
    Conflict,
}

/// A stream of what happens under a prefix; an `Err` is its last item.
pub type Watch = BoxStream<'static, Result<WatchEvent, WatchEnd>>;

/// A store. All reads are linearizable: they see every commit that was acknowledged before they began.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Everything under `prefix`, at one revision.
    fn load<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Snapshot, StoreError>>;

    /// One key.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>>;

    /// Writes, if the preconditions hold.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>>;

    /// What happens under `prefix` after `after`. Events come in order, none is left out, none comes twice; where
    /// nothing happens a [`WatchEvent::Progress`] comes at least every [`PROGRESS_SECONDS`].
    fn watch(&self, prefix: &str, after: Revision) -> Watch;

    /// Changes when the store is another one than before: a new file, another cluster, a restore that was noticed.
    /// `Hello`'s answer carries it as the store epoch.
    fn epoch(&self) -> String;

    /// What people call it: `embedded`, `etcd`.
    fn kind(&self) -> &'static str;
}

/// The longest time between two events of a live watch, seconds.
pub const PROGRESS_SECONDS: u64 = 10;
