//! Audit records of a fleet in PostgreSQL: several replicas over one database.
//!
//! Each replica adds its batches over one connection; those that wait share a transaction, and each is answered once that
//! is on the disk. While it runs no other replica adds any: a row decides, so that the order of arrival is the order in
//! which records can be seen, and a mark is moved by one at a time. A few more connections read, and a few do the small
//! writes of streams; none waits for the others.
//!
//! A server that is away, hangs or restarts gives [`AuditStoreError::Unavailable`] within the limits, and the next call
//! connects anew. What was not answered was not acknowledged: gateways send it again, and the mark tells what is there.

mod codes;
mod erase;
mod keep;
mod link;
mod read;
mod schema;
mod settings;
mod sinks;
mod tls;
mod write;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use kt_audit::{InstanceId, Position, Pseudonym, sign::StoreTombstone};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

pub use self::settings::{Keys, PostgresOptions, PostgresSettings, PostgresSettingsError};
use self::{
    link::{Dial, Fault, Link, Pool},
    schema::{day_of, make_days},
};
use super::{
    Appended, AuditStore, AuditStoreError, Batch, ChainPlace, Due, Erasing, Erasure, EventFilter, Hold,
    InstanceRow, Mark, NamedSink, Noted, Origin, Page, PageToken, Sealed, SinkLease, SinkState, StatRow,
    StatsQuery, Stored, SubjectRow, ToErase, Vouched,
};

/// Batches that wait for the writer at most; more wait for their turn.
const QUEUE: usize = 64;
/// Records that share one transaction at most.
const SHARED_RECORDS: usize = 16 * 1024;
/// Connections that read, and those of small writes. One more adds records.
const READERS: usize = 3;
const WRITERS: usize = 2;
/// How long a start waits for the server.
const START: Duration = Duration::from_secs(10);
/// Days whose partitions are made ahead.
const AHEAD: i64 = 3;

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// How to reach it.
    #[error("can't open the store of audit records in PostgreSQL: {0}")]
    Settings(#[from] PostgresSettingsError),
    /// The server; trying again may help.
    #[error("can't open the store of audit records in PostgreSQL: {0}")]
    Unavailable(String),
    /// What is in it.
    #[error("can't open the store of audit records in PostgreSQL: {0}")]
    Refused(String),
    /// It was written by a later build.
    #[error(
        "the store of audit records in PostgreSQL has form {found}, newer than the {known} of this build"
    )]
    Newer {
        /// Its form.
        found: i32,
        /// The newest that is known.
        known: i32,
    },
    /// Another replica countersigns and joins pseudonyms with other keys.
    #[error(
        "the keys of this replica are others than those of the replicas that use this store of audit records"
    )]
    OtherKeys,
}

struct Append {
    batch: Box<Batch>,
    answer: oneshot::Sender<Result<Appended, AuditStoreError>>,
}

/// The store. Dropped, its connections are closed.
pub struct Postgres {
    writer: mpsc::Sender<Append>,
    reading: Pool,
    writing: Pool,
    dial: Arc<Dial>,
}

// === impl Postgres ===

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("dial", &self.dial).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects, and brings the database to the form of this build.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(settings: PostgresSettings) -> Result<Self, OpenError> {
        let store = Self::unopened(settings)?;
        store.connect().await?;
        Ok(store)
    }

    /// As [`Postgres::open`], but a server that is away is not waited for: whoever calls finds it unavailable until it
    /// is back. Gateways want their packs all the same.
    ///
    /// # Errors
    /// See [`OpenError`]; never [`OpenError::Unavailable`].
    pub async fn start(settings: PostgresSettings) -> Result<Self, OpenError> {
        let store = Self::unopened(settings)?;
        let connecting = tokio::time::timeout(START, store.connect()).await;
        let away = || OpenError::Unavailable("it does not answer".to_owned());
        match connecting.unwrap_or_else(|_| Err(away())) {
            Err(OpenError::Unavailable(reason)) => {
                tracing::warn!(
                    reason,
                    "PostgreSQL is away: audit records stay on the gateways until it is back."
                );
                Ok(store)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(store),
        }
    }

    fn unopened(settings: PostgresSettings) -> Result<Self, OpenError> {
        let limits = settings.limits();
        let dial = Arc::new(Dial::new(settings)?);
        let pool = |size, limit| Pool::new(Arc::clone(&dial), size, limit);
        let (writer, appends) = mpsc::channel(QUEUE);
        let adding = Writer { pool: pool(1, limits.write), days: BTreeSet::new() };
        dial.tasks().spawn(adding.run(appends));
        Ok(Self { writer, reading: pool(READERS, limits.read), writing: pool(WRITERS, limits.write), dial })
    }

    async fn connect(&self) -> Result<(), OpenError> {
        self.writing.with(|_| async { Ok(()) }.boxed()).await.map_err(refused)
    }

    fn read<'a, T: Send + 'a>(
        &'a self,
        work: impl for<'l> FnOnce(&'l mut Link) -> BoxFuture<'l, Result<T, Fault>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, AuditStoreError>> {
        async move { Ok(self.reading.with(work).await?) }.boxed()
    }

    fn write<'a, T: Send + 'a>(
        &'a self,
        work: impl for<'l> FnOnce(&'l mut Link) -> BoxFuture<'l, Result<T, Fault>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, AuditStoreError>> {
        async move { Ok(self.writing.with(work).await?) }.boxed()
    }
}

/// Looks at the server, and brings the database to the form of this build.
async fn prepare(link: &mut Link, keys: Option<Keys>) -> Result<(), Fault> {
    let refused = |message| Err(Fault::Open(Box::new(OpenError::Refused(message))));
    let server = schema::server(link).await?;
    if server.version < schema::OLDEST {
        return refused(format!("the server has version {}, older than {}", server.version, schema::OLDEST));
    }
    if server.encoding != "UTF8" {
        return refused(format!("the database has the encoding {}; make it with UTF8", server.encoding));
    }
    if !server.is_durable {
        tracing::warn!("PostgreSQL runs without `fsync` or `full_page_writes`: audit records may be lost.");
    }
    let form = schema::prepare(link).await?;
    if form > schema::FORM {
        return Err(Fault::Open(Box::new(OpenError::Newer { found: form, known: schema::FORM })));
    }
    if let Some(keys) = keys
        && !schema::claim(link, keys).await?
    {
        return Err(Fault::Open(Box::new(OpenError::OtherKeys)));
    }
    let today = day_of(jiff::Timestamp::now().as_microsecond());
    make_days(link, today..=today + AHEAD).await
}

fn refused(fault: Fault) -> OpenError {
    match fault {
        Fault::Open(error) => *error,
        Fault::Settings(error) => OpenError::Settings(error),
        Fault::Server(error) if error.as_db_error().is_some() => {
            let is_starting = error.code().is_some_and(|code| code.code().starts_with("57P0"));
            let text = AuditStoreError::from(Fault::Server(error)).told();
            if is_starting { OpenError::Unavailable(text) } else { OpenError::Refused(text) }
        }
        Fault::Corrupt(text) => OpenError::Refused(text),
        other => OpenError::Unavailable(AuditStoreError::from(other).told()),
    }
}

/// Whether the server does not take a value, whenever it comes.
fn is_of_values(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| matches!(code.code().get(..2), Some("22" | "23" | "54")))
}

fn gone() -> AuditStoreError {
    AuditStoreError::Unavailable("it has been closed".to_owned())
}

/// Adds what waits, one transaction after the other.
struct Writer {
    pool: Pool,
    /// Days of arrival whose partitions are there.
    days: BTreeSet<i64>,
}

// === impl Writer ===

impl Writer {
    async fn run(mut self, mut appends: mpsc::Receiver<Append>) {
        while let Some(first) = appends.recv().await {
            let mut records = first.batch.rows.len();
            let mut together = vec![first];
            while records < SHARED_RECORDS {
                let Ok(next) = appends.try_recv() else { break };
                records += next.batch.rows.len();
                together.push(next);
            }
            self.commit(together).await;
        }
    }

    async fn commit(&mut self, together: Vec<Append>) {
        let (batches, answers): (Vec<_>, Vec<_>) =
            together.into_iter().map(|Append { batch, answer }| (batch, answer)).unzip();
        let batches: Arc<[Box<Batch>]> = batches.into();
        match self.add(Arc::clone(&batches)).await {
            Ok(appended) => {
                for (answer, appended) in answers.into_iter().zip(appended) {
                    // Whoever asked may have gone.
                    let _ = answer.send(Ok(appended));
                }
            }
            // One that the server does not take must not hold up the others.
            Err(Fault::Server(error)) if batches.len() > 1 && is_of_values(&error) => {
                for (batch, answer) in batches.iter().zip(answers) {
                    let added = self.add(Arc::new([batch.clone()])).await;
                    let added = added.map(|mut all| all.pop());
                    let _ = answer.send(match added {
                        Ok(Some(appended)) => Ok(appended),
                        Ok(None) => Err(gone()),
                        Err(fault) => Err(fault.into()),
                    });
                }
            }
            Err(fault) => {
                let error = AuditStoreError::from(fault);
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    async fn add(&mut self, batches: Arc<[Box<Batch>]>) -> Result<Vec<Appended>, Fault> {
        let missing: BTreeSet<i64> = batches
            .iter()
            .map(|batch| day_of(batch.stored_us))
            .filter(|day| !self.days.contains(day))
            .collect();
        for day in missing {
            // The days behind it with it: a first record after midnight then waits for nothing.
            let days = day..=day.saturating_add(AHEAD);
            self.pool.with(|link| make_days(link, days).boxed()).await?;
            self.days.insert(day);
        }
        let added =
            self.pool.with(move |link| async move { write::append_all(link, &batches).await }.boxed()).await;
        if added.is_err() {
            // Somebody may have taken a partition away.
            self.days.clear();
        }
        added
    }
}

// === impl AuditStore ===

impl AuditStore for Postgres {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn fleet_of(&self, instance: InstanceId) -> BoxFuture<'_, Result<Option<Arc<str>>, AuditStoreError>> {
        self.write(move |link| read::fleet_of(link, instance).boxed())
    }

    fn marks(&self, instance: InstanceId) -> BoxFuture<'_, Result<Vec<Mark>, AuditStoreError>> {
        // One that is being moved at another replica is seen as it was: what comes again is told by it.
        self.write(move |link| read::marks(link, instance).boxed())
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AuditStoreError>> {
        async move {
            let (answer, answered) = oneshot::channel();
            let append = Append { batch: Box::new(batch), answer };
            self.writer.send(append).await.map_err(|_| gone())?;
            answered.await.unwrap_or_else(|_| Err(gone()))
        }
        .boxed()
    }

    fn events(
        &self,
        filter: EventFilter,
        oldest_first: bool,
        page: Option<PageToken>,
        size: u32,
    ) -> BoxFuture<'_, Result<Page, AuditStoreError>> {
        self.read(move |link| read::events(link, filter, oldest_first, page, size).boxed())
    }

    fn request(&self, id: Uuid) -> BoxFuture<'_, Result<Vec<Stored>, AuditStoreError>> {
        self.read(move |link| read::request(link, id).boxed())
    }

    fn stats(&self, query: StatsQuery) -> BoxFuture<'_, Result<Vec<StatRow>, AuditStoreError>> {
        self.read(move |link| read::stats(link, query).boxed())
    }

    fn chain(
        &self,
        instance: InstanceId,
        behind: Option<ChainPlace>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Stored>, AuditStoreError>> {
        self.read(move |link| read::chain(link, instance, behind, limit).boxed())
    }

    fn instances(&self) -> BoxFuture<'_, Result<Vec<InstanceRow>, AuditStoreError>> {
        self.read(|link| read::instances(link).boxed())
    }

    fn put_keys(
        &self,
        origin: Origin,
        keys: Vec<[u8; 32]>,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |link| write::put_keys(link, origin, keys, now_us).boxed())
    }

    fn put_countersigned(
        &self,
        instance: InstanceId,
        position: Position,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |link| write::put_countersigned(link, instance, position, now_us).boxed())
    }

    fn vouched(&self, instance: InstanceId) -> BoxFuture<'_, Result<Vouched, AuditStoreError>> {
        self.write(move |link| read::vouched(link, instance).boxed())
    }

    fn put_subjects(
        &self,
        instance: InstanceId,
        rows: Vec<SubjectRow>,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |link| write::put_subjects(link, instance, rows, now_us).boxed())
    }

    fn names(
        &self,
        pseudonyms: Vec<Pseudonym>,
    ) -> BoxFuture<'_, Result<Vec<(Pseudonym, Sealed)>, AuditStoreError>> {
        self.read(move |link| read::names(link, pseudonyms).boxed())
    }

    fn pseudonyms(&self, person: Pseudonym) -> BoxFuture<'_, Result<Vec<Pseudonym>, AuditStoreError>> {
        self.read(move |link| read::pseudonyms(link, person).boxed())
    }

    fn erase(&self, erasure: Erasure) -> BoxFuture<'_, Result<Erasing, AuditStoreError>> {
        self.write(move |link| erase::erase(link, erasure).boxed())
    }

    fn erasures(&self, instance: InstanceId) -> BoxFuture<'_, Result<Vec<ToErase>, AuditStoreError>> {
        self.write(move |link| erase::erasures(link, instance).boxed())
    }

    fn put_erased(
        &self,
        instance: InstanceId,
        pseudonym: Pseudonym,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |link| erase::put_erased(link, instance, pseudonym, now_us).boxed())
    }

    fn due(
        &self,
        now_us: i64,
        least_days: u32,
        taken: Option<u64>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Option<Due>, AuditStoreError>> {
        self.read(move |link| keep::due(link, now_us, least_days, taken, limit).boxed())
    }

    fn cut(
        &self,
        instance: InstanceId,
        tombstone: StoreTombstone,
    ) -> BoxFuture<'_, Result<bool, AuditStoreError>> {
        self.write(move |link| keep::cut(link, instance, tombstone).boxed())
    }

    fn tombstones(
        &self,
        instance: InstanceId,
    ) -> BoxFuture<'_, Result<Vec<StoreTombstone>, AuditStoreError>> {
        self.read(move |link| keep::tombstones(link, instance).boxed())
    }

    fn put_hold(&self, hold: Hold) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |link| keep::put_hold(link, hold).boxed())
    }

    fn release_hold(&self, id: Uuid) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |link| keep::release_hold(link, id).boxed())
    }

    fn arrivals(
        &self,
        behind: u64,
        upto: Option<u64>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Stored>, AuditStoreError>> {
        self.read(move |link| read::arrivals(link, behind, upto, limit).boxed())
    }

    fn last_arrival(&self) -> BoxFuture<'_, Result<u64, AuditStoreError>> {
        self.read(move |link| read::last_arrival(link).boxed())
    }

    fn take_sink<'a>(
        &'a self,
        lease: SinkLease<'a>,
        begin: u64,
    ) -> BoxFuture<'a, Result<Option<SinkState>, AuditStoreError>> {
        let (sink, owner) = (lease.sink.to_owned(), lease.owner.to_owned());
        self.write(move |link| sinks::take(link, sink, owner, lease.time, begin).boxed())
    }

    fn put_sink<'a>(
        &'a self,
        sink: &'a str,
        owner: &'a str,
        state: SinkState,
    ) -> BoxFuture<'a, Result<bool, AuditStoreError>> {
        let (sink, owner) = (sink.to_owned(), owner.to_owned());
        self.write(move |link| sinks::put(link, sink, owner, state).boxed())
    }

    fn sinks(&self) -> BoxFuture<'_, Result<Vec<NamedSink>, AuditStoreError>> {
        self.read(move |link| sinks::all(link).boxed())
    }

    fn note(
        &self,
        instance: InstanceId,
        noted: Noted,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>> {
        self.write(move |link| write::note(link, instance, noted, now_us).boxed())
    }
}
