//! What the store's thread does: the file, the revision, the watchers.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, Table,
    TableDefinition, TableHandle as _, WriteTransaction,
};
use tokio::sync::{mpsc, oneshot};

use super::{
    OpenError,
    lock::{Lock, LockError},
};
use crate::store::{
    Change, Commit, Committed, Entry, Precondition, Revision, Snapshot, StoreError, WatchEnd, Write,
    history::{History, Limits, Watching},
};

/// The format of the file; grows when an older build could not read it.
pub(super) const FORMAT: u64 = 1;

/// Key to (revision that wrote it, value).
const VALUES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("kt-values");
/// The keys whose values go away at the next start.
const EPHEMERAL: TableDefinition<'_, &str, ()> = TableDefinition::new("kt-ephemeral");
/// `format` and `revision`.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("kt-numbers");
/// `epoch`.
const TEXTS: TableDefinition<'_, &str, &str> = TableDefinition::new("kt-texts");

/// The first revision; 0 means "before everything" to a watcher.
const FIRST: Revision = 1;
/// Commits that share one write to the disk.
const GROUP: usize = 64;
/// The engine keeps pages of this many bytes in memory; packs are read rarely and cached above.
const CACHE_BYTES: usize = 32 << 20;

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

/// What the file says about itself.
struct Identity {
    epoch: Arc<str>,
    revision: Revision,
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

/// A commit inside a transaction that is not on the disk yet.
struct Staged {
    revision: Revision,
    outcome: Committed,
    changes: Vec<Change>,
}

fn stage(database: &Database, commits: &[Commit]) -> Result<(WriteTransaction, Vec<Staged>), redb::Error> {
    // Durability is `Immediate` unless it is set otherwise: `commit` returns when the data is on the disk.
    let transaction = database.begin_write()?;
    let mut all = Vec::with_capacity(commits.len());
    {
        let mut tables = Tables::open(&transaction)?;
        let before = tables.revision()?;
        let mut revision = before;
        for commit in commits {
            let staged = tables.stage(commit, revision)?;
            revision = staged.revision;
            all.push(staged);
        }
        if revision != before {
            tables.numbers.insert("revision", revision)?;
        }
    }
    Ok((transaction, all))
}

struct Tables<'t> {
    values: Table<'t, &'static str, (u64, &'static [u8])>,
    ephemeral: Table<'t, &'static str, ()>,
    numbers: Table<'t, &'static str, u64>,
}

// === impl Tables ===

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            values: transaction.open_table(VALUES)?,
            ephemeral: transaction.open_table(EPHEMERAL)?,
            numbers: transaction.open_table(NUMBERS)?,
        })
    }

    fn revision(&self) -> Result<Revision, redb::Error> {
        Ok(self.numbers.get("revision")?.map_or(FIRST, |revision| revision.value()))
    }

    fn stage(&mut self, commit: &Commit, before: Revision) -> Result<Staged, redb::Error> {
        for precondition in &commit.preconditions {
            let modified = self.values.get(precondition.key())?.map(|value| value.value().0);
            let holds = match precondition {
                Precondition::Absent(_) => modified.is_none(),
                Precondition::Unchanged(_, revision) => modified == Some(*revision),
            };
            if !holds {
                return Ok(Staged { revision: before, outcome: Committed::Conflict, changes: Vec::new() });
            }
        }
        let mut changes = Vec::with_capacity(commit.writes.len());
        let modified = before + 1;
        for write in &commit.writes {
            match write {
                Write::Put(key, value) => {
                    self.ephemeral.remove(key.as_str())?;
                    changes.push(self.put(key, value, modified)?);
                }
                Write::PutEphemeral(key, value) => {
                    self.ephemeral.insert(key.as_str(), ())?;
                    changes.push(self.put(key, value, modified)?);
                }
                Write::Delete(key) => {
                    self.ephemeral.remove(key.as_str())?;
                    if self.values.remove(key.as_str())?.is_some() {
                        changes.push(Change::Delete { key: key.as_str().into(), modified });
                    }
                }
            }
        }
        let revision = if changes.is_empty() { before } else { modified };
        Ok(Staged { revision, outcome: Committed::Done(revision), changes })
    }

    fn put(&mut self, key: &str, value: &Bytes, modified: Revision) -> Result<Change, redb::Error> {
        self.values.insert(key, (modified, value.as_ref()))?;
        Ok(Change::Put(Entry { key: key.into(), value: value.clone(), modified }))
    }

    /// Drops what the processes before this one left for their lifetime.
    fn drop_ephemeral(&mut self) -> Result<(), redb::Error> {
        let mut keys = Vec::new();
        for item in self.ephemeral.iter()? {
            keys.push(item?.0.value().to_owned());
        }
        let mut dropped = false;
        for key in &keys {
            self.ephemeral.remove(key.as_str())?;
            dropped |= self.values.remove(key.as_str())?.is_some();
        }
        if dropped {
            let revision = self.revision()?;
            self.numbers.insert("revision", revision + 1)?;
        }
        Ok(())
    }
}

// === Reading ===

fn read_prefix(database: &Database, prefix: &str) -> Result<Vec<Entry>, redb::Error> {
    let table = database.begin_read()?.open_table(VALUES)?;
    let mut entries = Vec::new();
    for item in table.range(prefix..)? {
        let (key, value) = item?;
        if !key.value().starts_with(prefix) {
            break;
        }
        entries.push(entry(key.value(), value.value()));
    }
    Ok(entries)
}

fn read_key(database: &Database, key: &str) -> Result<Option<Entry>, redb::Error> {
    let table = database.begin_read()?.open_table(VALUES)?;
    Ok(table.get(key)?.map(|value| entry(key, value.value())))
}

fn entry(key: &str, (modified, value): (u64, &[u8])) -> Entry {
    Entry { key: key.into(), value: Bytes::copy_from_slice(value), modified }
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

// === Opening ===

/// Opens the file; at the start of the process (`starting`) it may be made, and ephemeral values go.
fn open_database(path: &Path, starting: bool) -> Result<(Database, Identity), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let made = starting && make_file(path).map_err(io)?;
    let mut builder = Builder::new();
    // Checked whole, because the engine may panic on a file that was altered.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    // An empty file is made into a store, but not in the place of one that was there a moment ago.
    let opened = if starting { builder.create(path) } else { builder.open(path) };
    let database = match opened {
        Ok(database) => database,
        Err(DatabaseError::Storage(StorageError::Io(error)))
            if error.kind() == io::ErrorKind::InvalidData =>
        {
            // What the engine says of a file that is not one of its own. A crash while the file was being made
            // leaves an empty one, which it takes for new.
            return Err(OpenError::Foreign { path: path.to_owned() });
        }
        Err(error) => return Err(open_error(path, error.into())),
    };
    if made {
        sync_folder(path).map_err(io)?;
    }
    let identity = identify(&database, path, starting)?;
    Ok((database, identity))
}

/// Makes the file where there is none, readable by its owner only; true when it was made.
fn make_file(path: &Path) -> io::Result<bool> {
    match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn open_error(path: &Path, error: redb::Error) -> OpenError {
    let path = path.to_owned();
    match error {
        // Not our lock: an older build, or a tool that looks into the file.
        redb::Error::DatabaseAlreadyOpen => OpenError::Locked { path, pid: None },
        redb::Error::Io(source) => OpenError::Io { path, source },
        redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableIsMultimap(_) => OpenError::Foreign { path },
        other => OpenError::Corrupt { path, reason: other.to_string() },
    }
}

/// Reads who the file is, or writes it into a new one; and drops ephemeral values at the start.
fn identify(database: &Database, path: &Path, starting: bool) -> Result<Identity, OpenError> {
    let failed = |error: redb::Error| open_error(path, error);
    let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
    let identity = identify_in(&transaction, path, starting)?;
    transaction.commit().map_err(|error| failed(error.into()))?;
    Ok(identity)
}

fn identify_in(transaction: &WriteTransaction, path: &Path, starting: bool) -> Result<Identity, OpenError> {
    let failed = |error: redb::Error| open_error(path, error);
    let foreign = || OpenError::Foreign { path: path.to_owned() };
    let tables: Vec<_> = transaction.list_tables().map_err(|error| failed(error.into()))?.collect();
    let ours = tables.iter().any(|table| table.name() == NUMBERS.name());
    if !ours && !tables.is_empty() {
        return Err(foreign());
    }
    let mut tables = Tables::open(transaction).map_err(failed)?;
    let mut texts = transaction.open_table(TEXTS).map_err(|error| failed(error.into()))?;
    if !ours {
        let epoch = format!("embedded-{}", uuid::Uuid::now_v7().simple());
        tables.numbers.insert("format", FORMAT).map_err(|error| failed(error.into()))?;
        tables.numbers.insert("revision", FIRST).map_err(|error| failed(error.into()))?;
        texts.insert("epoch", epoch.as_str()).map_err(|error| failed(error.into()))?;
    }
    let format = tables.numbers.get("format").map_err(|error| failed(error.into()))?;
    match format.map(|format| format.value()) {
        Some(1..=FORMAT) => {}
        Some(format) => return Err(OpenError::Newer { path: path.to_owned(), format }),
        None => return Err(foreign()),
    }
    if starting {
        tables.drop_ephemeral().map_err(failed)?;
    }
    let epoch = texts.get("epoch").map_err(|error| failed(error.into()))?.ok_or_else(foreign)?;
    Ok(Identity { epoch: epoch.value().into(), revision: tables.revision().map_err(failed)? })
}
