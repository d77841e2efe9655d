//! Audit records in one SQLite file.
//!
//! One connection writes, on a thread of its own; batches that wait share a transaction, and each is answered once that is
//! on the disk (`synchronous=FULL`, write-ahead log). A second connection reads, on another thread, and never waits for the
//! first. The file is held by one process: a lock beside it says so, since two control planes over one file would each
//! believe their own marks.

mod erase;
mod keep;
mod read;
mod schema;
mod sinks;
mod write;

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use kt_audit::{InstanceId, Position, Pseudonym, sign::StoreTombstone};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    Appended, AuditStore, AuditStoreError, Batch, ChainPlace, Due, Erasing, Erasure, EventFilter, Hold,
    InstanceRow, Mark, NamedSink, Noted, Origin, Page, PageToken, Sealed, SinkLease, SinkState, StatRow,
    StatsQuery, Stored, SubjectRow, ToErase, Vouched,
};

/// Batches that wait for the writer at most; more wait for their turn.
const QUEUE: usize = 64;
/// Records that share one transaction at most.
const SHARED_RECORDS: usize = 16 * 1024;

/// Why the file can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the store of audit records `{}` is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file system.
    #[error("can't open the store of audit records `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// SQLite.
    #[error("can't open the store of audit records `{}`: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: rusqlite::Error,
    },
    /// It was written by a later build.
    #[error("the store of audit records `{}` has form {found}, newer than the {known} of this build", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
}

type Answer<T> = oneshot::Sender<Result<T, AuditStoreError>>;
type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// What the writer is told.
enum Write {
    Append(Box<Batch>, Answer<Appended>),
    Other(Job),
}

/// The store. Dropped, its threads end.
#[derive(Debug)]
pub struct Sqlite {
    writer: mpsc::Sender<Write>,
    reader: mpsc::Sender<Job>,
    /// Released by the system when the process ends, however it ends.
    _lock: File,
}

impl Sqlite {
    /// Opens the file, makes it where it does not exist, and brings it to the form of this build.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let lock = lock(path)?;
        let refused = |source| OpenError::Sqlite { path: path.to_owned(), source };
        let mut writing = Connection::open(path).map_err(refused)?;
        let form = schema::prepare(&mut writing).map_err(refused)?;
        if form > schema::FORM {
            return Err(OpenError::Newer { path: path.to_owned(), found: form, known: schema::FORM });
        }
        let reading = Connection::open(path).map_err(refused)?;
        schema::tune(&reading).map_err(refused)?;
        reading.pragma_update(None, "query_only", true).map_err(refused)?;
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        let (writer, writes) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("audit-store".into())
            .spawn(move || write_all(writing, writes))
            .map_err(io)?;
        let (reader, reads) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("audit-read".into())
            .spawn(move || read_all(reading, reads))
            .map_err(io)?;
        Ok(Self { writer, reader, _lock: lock })
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, AuditStoreError>> {
        ask(&self.reader, |answer| job(work, answer))
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, AuditStoreError>> {
        ask(&self.writer, |answer| Write::Other(job(work, answer)))
    }
}

/// Tells a thread something that it answers, and waits for the answer.
fn ask<'a, M: Send, T: Send + 'a>(
    thread: &'a mpsc::Sender<M>,
    message: impl FnOnce(Answer<T>) -> M + Send + 'a,
) -> BoxFuture<'a, Result<T, AuditStoreError>> {
    async move {
        let (answer, answered) = oneshot::channel();
        thread.send(message(answer)).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
    .boxed()
}

fn job<T: Send + 'static>(
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    answer: Answer<T>,
) -> Job {
    Box::new(move |connection| {
        // Whoever asked may have gone.
        let _ = answer.send(work(connection).map_err(fault));
    })
}

/// Takes the lock beside the file.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(PathBuf::from(beside)).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

fn gone() -> AuditStoreError {
    AuditStoreError::Unavailable("it has been closed".to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
fn fault(error: rusqlite::Error) -> AuditStoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => AuditStoreError::Corrupt(error.to_string()),
        _ => AuditStoreError::Unavailable(error.to_string()),
    }
}

/// The writer's thread: what waits together is committed together.
fn write_all(mut connection: Connection, mut writes: mpsc::Receiver<Write>) {
    while let Some(first) = writes.blocking_recv() {
        let mut next = Some(first);
        while let Some(write) = next.take() {
            match write {
                Write::Other(job) => job(&mut connection),
                Write::Append(batch, answer) => {
                    let mut records = batch.rows.len();
                    let mut batches = vec![(batch, answer)];
                    while records < SHARED_RECORDS {
                        match writes.try_recv() {
                            Ok(Write::Append(batch, answer)) => {
                                records += batch.rows.len();
                                batches.push((batch, answer));
                            }
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    commit(&mut connection, batches);
                }
            }
        }
    }
}

fn commit(connection: &mut Connection, batches: Vec<(Box<Batch>, Answer<Appended>)>) {
    let (batches, answers): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
    match write::append_all(connection, &batches) {
        Ok(appended) => {
            for (answer, appended) in answers.into_iter().zip(appended) {
                let _ = answer.send(Ok(appended));
            }
        }
        Err(error) => {
            let error = fault(error);
            for answer in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}

fn read_all(mut connection: Connection, mut reads: mpsc::Receiver<Job>) {
    while let Some(job) = reads.blocking_recv() {
        job(&mut connection);
    }
}

// === impl AuditStore ===

impl AuditStore for Sqlite {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn fleet_of(&self, instance: InstanceId) -> BoxFuture<'_, Result<Option<Arc<str>>, AuditStoreError>> {
        self.write(move |connection| read::fleet_of(connection, instance))
    }

    fn marks(&self, instance: InstanceId) -> BoxFuture<'_, Result<Vec<Mark>, AuditStoreError>> {
        // By the writer: a mark that is being written is waited for.
        self.write(move |connection| read::marks(connection, instance))
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AuditStoreError>> {
        ask(&self.writer, |answer| Write::Append(Box::new(batch), answer))
    }

    fn events(
        &self,
        filter: EventFilter,
        oldest_first: bool,
        page: Option<PageToken>,
        size: u32,
    ) -> BoxFuture<'_, Result<Page, AuditStoreError>> {
        self.read(move |connection| read::events(connection, &filter, oldest_first, page, size))
    }

    fn request(&self, id: Uuid) -> BoxFuture<'_, Result<Vec<Stored>, AuditStoreError>> {
        self.read(move |connection| read::request(connection, id))
    }

    fn stats(&self, query: StatsQuery) -> BoxFuture<'_, Result<Vec<StatRow>, AuditStoreError>> {
        self.read(move |connection| read::stats(connection, &query))
    }

    fn chain(
        &self,
        instance: InstanceId,
        behind: Option<ChainPlace>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Stored>, AuditStoreError>> {
        self.read(move |connection| read::chain(connection, instance, behind, limit))
    }

    fn instances(&self) -> BoxFuture<'_, Result<Vec<InstanceRow>, AuditStoreError>> {
        self.read(|connection| read::instances(connection))
    }

    fn put_keys(
        &self,
        origin: Origin,
        keys: Vec<[u8; 32]>,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |connection| write::put_keys(connection, &origin, &keys, now_us))
    }

    fn put_countersigned(
        &self,
        instance: InstanceId,
        position: Position,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |connection| write::put_countersigned(connection, instance, &position, now_us))
    }

    fn vouched(&self, instance: InstanceId) -> BoxFuture<'_, Result<Vouched, AuditStoreError>> {
        self.write(move |connection| read::vouched(connection, instance))
    }

    fn put_subjects(
        &self,
        instance: InstanceId,
        rows: Vec<SubjectRow>,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |connection| write::put_subjects(connection, instance, &rows, now_us))
    }

    fn names(
        &self,
        pseudonyms: Vec<Pseudonym>,
    ) -> BoxFuture<'_, Result<Vec<(Pseudonym, Sealed)>, AuditStoreError>> {
        self.read(move |connection| read::names(connection, &pseudonyms))
    }

    fn pseudonyms(&self, person: Pseudonym) -> BoxFuture<'_, Result<Vec<Pseudonym>, AuditStoreError>> {
        self.read(move |connection| read::pseudonyms(connection, person))
    }

    fn erase(&self, erasure: Erasure) -> BoxFuture<'_, Result<Erasing, AuditStoreError>> {
        async move {
            match self.write(move |connection| erase::erase(connection, &erasure)).await? {
                erase::Outcome::Ended(erasing) => Ok(erasing),
                erase::Outcome::LeftInLog => Err(AuditStoreError::Unavailable(
                    "a name was erased, but its bytes could not be overwritten yet".to_owned(),
                )),
            }
        }
        .boxed()
    }

    fn erasures(&self, instance: InstanceId) -> BoxFuture<'_, Result<Vec<ToErase>, AuditStoreError>> {
        self.read(move |connection| erase::erasures(connection, instance))
    }

    fn put_erased(
        &self,
        instance: InstanceId,
        pseudonym: Pseudonym,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |connection| erase::put_erased(connection, instance, pseudonym, now_us))
    }

    fn due(
        &self,
        now_us: i64,
        least_days: u32,
        taken: Option<u64>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Option<Due>, AuditStoreError>> {
        self.read(move |connection| keep::due(connection, now_us, least_days, taken, limit))
    }

    fn cut(
        &self,
        instance: InstanceId,
        tombstone: StoreTombstone,
    ) -> BoxFuture<'_, Result<bool, AuditStoreError>> {
        self.write(move |connection| keep::cut(connection, instance, &tombstone))
    }

    fn tombstones(
        &self,
        instance: InstanceId,
    ) -> BoxFuture<'_, Result<Vec<StoreTombstone>, AuditStoreError>> {
        self.read(move |connection| keep::tombstones(connection, instance))
    }

    fn put_hold(&self, hold: Hold) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |connection| keep::put_hold(connection, &hold))
    }

    fn release_hold(&self, id: Uuid) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |connection| keep::release_hold(connection, id))
    }

    fn arrivals(
        &self,
        behind: u64,
        upto: Option<u64>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Stored>, AuditStoreError>> {
        self.read(move |connection| read::arrivals(connection, behind, upto, limit))
    }

    fn last_arrival(&self) -> BoxFuture<'_, Result<u64, AuditStoreError>> {
        self.read(|connection| read::last_arrival(connection))
    }

    /// One process has the file: no other replica can work for a sink.
    fn take_sink<'a>(
        &'a self,
        lease: SinkLease<'a>,
        begin: u64,
    ) -> BoxFuture<'a, Result<Option<SinkState>, AuditStoreError>> {
        let sink = lease.sink.to_owned();
        self.write(move |connection| sinks::take(connection, &sink, begin).map(Some))
    }

    fn put_sink<'a>(
        &'a self,
        sink: &'a str,
        _: &'a str,
        state: SinkState,
    ) -> BoxFuture<'a, Result<bool, AuditStoreError>> {
        let sink = sink.to_owned();
        self.write(move |connection| sinks::put(connection, &sink, &state).map(|()| true))
    }

    fn sinks(&self) -> BoxFuture<'_, Result<Vec<NamedSink>, AuditStoreError>> {
        self.read(|connection| sinks::all(connection))
    }

    fn note(
        &self,
        instance: InstanceId,
        noted: Noted,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |connection| write::note(connection, instance, &noted, now_us))
    }
}
