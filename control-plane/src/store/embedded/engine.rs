//! What the store's thread does: the file, the revision, the watchers.

use std::{collections::VecDeque, io, path::PathBuf, sync::Arc};

use redb::Database;
use tokio::sync::{mpsc, oneshot};

use super::{
    OpenError,
    lock::{Lock, LockError},
    open::open_database,
    tables::{read_key, read_prefix, stage},
};
use crate::store::{
    Commit, Committed, Entry, Revision, Snapshot, StoreError, WatchEnd,
    history::{History, Limits, Watching},
};

/// Commits that share one write to the disk.
const GROUP: usize = 64;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread is asked.
pub(super) enum Request {
    Load { prefix: String, reply: Reply<Snapshot> },
    Get { key: String, reply: Reply<Option<Entry>> },
    Commit { commit: Commit, reply: Reply<Committed> },
    Watch { prefix: String, after: Revision, reply: oneshot::Sender<Result<Watching, WatchEnd>> },
}

/// The owner of the file.
pub(super) struct Engine {
    path: PathBuf,
    /// Absent after a failure of the disk, until the file could be opened again.
    database: Option<Database>,
    epoch: Arc<str>,
    revision: Revision,
    history: History,
    _lock: Lock,
}

// === impl Engine ===

impl Engine {
    /// Opens or makes the file.
    pub(super) fn open(path: PathBuf) -> Result<Self, OpenError> {
        let lock = Lock::take(&path).map_err(|error| match error {
            LockError::Held(pid) => OpenError::Locked { path: path.clone(), pid },
            LockError::Io(source) => OpenError::Io { path: path.clone(), source },
        })?;
        let (database, identity) = open_database(&path, true)?;
        let (epoch, revision) = (identity.epoch, identity.revision);
        Ok(Self {
            path,
            database: Some(database),
            epoch,
            revision,
            history: History::new(revision, Limits::default()),
            _lock: lock,
        })
    }

    pub(super) fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// Serves until the last sender is gone.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut taken = VecDeque::new();
        loop {
            let Some(request) = taken.pop_front().or_else(|| requests.blocking_recv()) else { return };
            match request {
                Request::Load { prefix, reply } => drop(reply.send(self.load(&prefix))),
                Request::Get { key, reply } => drop(reply.send(self.get(&key))),
                Request::Watch { prefix, after, reply } => {
                    drop(reply.send(self.history.watch(&prefix, after)));
                }
                Request::Commit { commit, reply } => {
                    let mut group = vec![(commit, reply)];
                    while group.len() < GROUP {
                        match requests.try_recv() {
                            Ok(Request::Commit { commit, reply }) => group.push((commit, reply)),
                            Ok(other) => {
                                taken.push_back(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.commit(group);
                }
            }
        }
    }

    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            let (database, identity) = open_database(&self.path, false)
                .map_err(|error| StoreError::Unavailable(error.to_string()))?;
            if identity.epoch != self.epoch || identity.revision < self.revision {
                return Err(StoreError::Corrupt(format!("`{}` was replaced", self.path.display())));
            }
            if identity.revision > self.revision {
                // The last group was written after all; its watchers have to load it.
                self.revision = identity.revision;
                self.history = History::new(self.revision, Limits::default());
            }
            self.database = Some(database);
        }
        self.database.as_ref().ok_or_else(|| StoreError::Unavailable("the file is closed".to_owned()))
    }

    fn load(&mut self, prefix: &str) -> Result<Snapshot, StoreError> {
        let entries = read_prefix(self.database()?, prefix);
        Ok(Snapshot { entries: self.checked(entries)?, revision: self.revision })
    }

    fn get(&mut self, key: &str) -> Result<Option<Entry>, StoreError> {
        let entry = read_key(self.database()?, key);
        self.checked(entry)
    }

    /// Closes the database after a failure: the engine serves nothing after one until the file is opened again.
    fn checked<T>(&mut self, result: Result<T, redb::Error>) -> Result<T, StoreError> {
        result.map_err(|error| {
            self.database = None;
            store_error(error)
        })
    }

    /// Commits several in one write to the disk, each with a revision of its own.
    fn commit(&mut self, group: Vec<(Commit, Reply<Committed>)>) {
        let before = self.revision;
        let (commits, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let staged = match self.database() {
            Ok(database) => stage(database, &commits),
            Err(error) => return answer_all(replies, &error),
        };
        let (transaction, staged) = match self.checked(staged) {
            Ok(staged) => staged,
            Err(error) => return answer_all(replies, &error),
        };
        let changed = staged.iter().any(|staged| !staged.changes.is_empty());
        let written = if changed { transaction.commit().map_err(redb::Error::from) } else { Ok(()) };
        if let Err(error) = self.checked(written) {
            // What is on the disk decides: opening the file again shows the whole group or nothing of it.
            let last = staged.last().map_or(before, |staged| staged.revision);
            let opened = self.database().is_ok();
            if opened && self.revision == last {
                for (staged, reply) in staged.into_iter().zip(replies) {
                    drop(reply.send(Ok(staged.outcome)));
                }
                return;
            }
            let written = !opened || self.revision != before;
            let error = if written { StoreError::OutcomeUnknown(error.to_string()) } else { error };
            return answer_all(replies, &error);
        }
        for (staged, reply) in staged.into_iter().zip(replies) {
            if !staged.changes.is_empty() {
                self.revision = staged.revision;
                self.history.record(staged.revision, staged.changes);
            }
            drop(reply.send(Ok(staged.outcome)));
        }
    }
}

fn answer_all(replies: Vec<Reply<Committed>>, error: &StoreError) {
    for reply in replies {
        drop(reply.send(Err(error.clone())));
    }
}

fn store_error(error: redb::Error) -> StoreError {
    match error {
        redb::Error::Corrupted(reason) => StoreError::Corrupt(reason),
        redb::Error::Io(error) if is_full(&error) => StoreError::Full(error.to_string()),
        other => StoreError::Unavailable(other.to_string()),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
