//! Connections: made when they are needed, kept while they are good, and given up whenever something went wrong.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{OnceCell, Semaphore},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_postgres::{Client, GenericClient, NoTls, Row, Statement, Transaction, types::ToSql};
use tokio_util::task::TaskTracker;

use super::{
    super::AuditStoreError,
    OpenError, prepare,
    settings::{PostgresSettings, PostgresSettingsError},
    tls::Tls,
};
use crate::causes::chained;

/// Over the limit of the server, which ends a statement on its own: one that hangs ends nothing.
const GRACE: Duration = Duration::from_secs(3);
/// A connection that has rested longer is asked first whether it still lives.
const RESTED: Duration = Duration::from_secs(2);

/// Why something did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The server refuses, or can't be reached.
    #[error(transparent)]
    Server(#[from] tokio_postgres::Error),
    /// How to reach it.
    #[error(transparent)]
    Settings(#[from] PostgresSettingsError),
    /// What is there is not for this build, or not for this replica.
    #[error(transparent)]
    Open(#[from] Box<OpenError>),
    /// Nothing came in time.
    #[error("it does not answer")]
    Silent,
    /// Every connection is in use.
    #[error("all connections are in use")]
    Busy,
    /// What is there is not what was written.
    #[error("{0}")]
    Corrupt(String),
}

/// A value that is bound to a statement.
pub(super) type Bound<'a> = &'a (dyn ToSql + Sync);

/// Statements that the server knows already.
type Statements = HashMap<&'static str, Statement>;

/// One connection. Dropped, it is closed at once, whatever the server does.
pub(super) struct Link {
    client: Client,
    statements: Statements,
    driver: JoinHandle<()>,
    used: Instant,
}

/// A connection or a transaction of it, with the statements of the connection.
pub(super) struct Asking<'a, C> {
    client: C,
    statements: &'a mut Statements,
}

/// A transaction. Dropped before its commit, it has done nothing.
pub(super) type Writing<'a> = Asking<'a, Box<Transaction<'a>>>;

/// A few connections for one kind of work.
#[derive(Debug)]
pub(super) struct Pool {
    dial: Arc<Dial>,
    limit: Duration,
    places: Semaphore,
    idle: Mutex<Vec<Link>>,
}

/// How connections are made.
pub(super) struct Dial {
    settings: PostgresSettings,
    tls: Option<Tls>,
    tasks: TaskTracker,
    /// Whether the database is known to have the form of this build.
    prepared: OnceCell<()>,
}

// === impl Fault ===

impl From<Fault> for AuditStoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Corrupt(what) => Self::Corrupt(what),
            Fault::Server(error) => match error.as_db_error() {
                // Neither values nor statements are in the message itself.
                Some(told) => {
                    let code = told.code().code();
                    let text = format!("{} ({code})", told.message());
                    // The data; tables and columns that are not there.
                    let is_corrupt = code.starts_with("XX0") || matches!(code, "42P01" | "42703" | "3F000");
                    if is_corrupt { Self::Corrupt(text) } else { Self::Unavailable(text) }
                }
                None => Self::Unavailable(chained(&error)),
            },
            other => Self::Unavailable(other.to_string()),
        }
    }
}

// === impl Dial ===

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dial").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Dial {
    /// Reads the certificates; connects to nothing.
    pub(super) fn new(settings: PostgresSettings) -> Result<Self, PostgresSettingsError> {
        let tls = if settings.is_secure() { Some(Tls::new(&settings)?) } else { None };
        Ok(Self { settings, tls, tasks: TaskTracker::new(), prepared: OnceCell::new() })
    }

    pub(super) const fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// A new connection, on which no statement takes longer than `limit`. The first one brings the database to the form of
    /// this build.
    pub(super) async fn connect(&self, limit: Duration) -> Result<Link, Fault> {
        let config = self.settings.config().await?;
        let (client, driver) = if let Some(tls) = &self.tls {
            let (client, connection) = config.connect(tls.clone()).await?;
            (client, self.drive(connection))
        } else {
            let (client, connection) = config.connect(NoTls).await?;
            (client, self.drive(connection))
        };
        let mut link = Link { client, statements: HashMap::new(), driver, used: Instant::now() };
        let millis = limit.as_millis();
        // A transaction that a frozen replica holds open stands in nobody's way for long. A plan that is compiled takes
        // longer to make than most of these queries take. What is acknowledged is on the disk, whatever the server's
        // default is.
        link.client
            .batch_execute(&format!(
                "SET search_path = kt_audit; SET statement_timeout = {millis}; SET lock_timeout = {};
                 SET idle_in_transaction_session_timeout = {millis}; SET jit = off; SET bytea_output = hex;
                 SELECT set_config('synchronous_commit', 'on', false)
                 WHERE current_setting('synchronous_commit') IN ('off', 'local')",
                millis / 2
            ))
            .await?;
        self.prepared.get_or_try_init(|| prepare(&mut link, self.settings.keys())).await?;
        Ok(link)
    }

    fn drive<E: std::error::Error>(
        &self,
        connection: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> JoinHandle<()> {
        self.tasks.spawn(async move {
            // Whoever asks next hears what has happened.
            if let Err(error) = connection.await {
                tracing::debug!(error = chained(&error), "Connection to PostgreSQL has ended.");
            }
        })
    }
}

// === impl Link ===

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    pub(super) fn asking(&mut self) -> Asking<'_, &Client> {
        Asking { client: &self.client, statements: &mut self.statements }
    }

    pub(super) async fn transaction(&mut self) -> Result<Writing<'_>, Fault> {
        let Self { client, statements, .. } = self;
        Ok(Asking { client: Box::new(client.transaction().await?), statements })
    }

    async fn is_good(&self) -> bool {
        !self.client.is_closed()
            && (self.used.elapsed() < RESTED
                || matches!(timeout(GRACE, self.client.check_connection()).await, Ok(Ok(()))))
    }
}

// === impl Asking ===

impl<C: Deref<Target: GenericClient + Sync> + Send> Asking<'_, C> {
    async fn statement(&mut self, sql: &'static str) -> Result<Statement, Fault> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    pub(super) async fn query(&mut self, sql: &'static str, values: &[Bound<'_>]) -> Result<Vec<Row>, Fault> {
        let statement = self.statement(sql).await?;
        Ok(self.client.query(&statement, values).await?)
    }

    pub(super) async fn query_opt(
        &mut self,
        sql: &'static str,
        values: &[Bound<'_>],
    ) -> Result<Option<Row>, Fault> {
        let statement = self.statement(sql).await?;
        Ok(self.client.query_opt(&statement, values).await?)
    }

    pub(super) async fn query_one(&mut self, sql: &'static str, values: &[Bound<'_>]) -> Result<Row, Fault> {
        let statement = self.statement(sql).await?;
        Ok(self.client.query_one(&statement, values).await?)
    }

    pub(super) async fn execute(&mut self, sql: &'static str, values: &[Bound<'_>]) -> Result<u64, Fault> {
        let statement = self.statement(sql).await?;
        Ok(self.client.execute(&statement, values).await?)
    }

    /// A statement that was put together; planned for its values each time.
    pub(super) async fn query_once(&self, sql: &str, values: &[Bound<'_>]) -> Result<Vec<Row>, Fault> {
        Ok(self.client.query(sql, values).await?)
    }

    /// Statements that are bound to nothing.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.client.batch_execute(sql).await?)
    }
}

impl Writing<'_> {
    pub(super) async fn copy_in(
        &mut self,
        sql: &'static str,
    ) -> Result<tokio_postgres::CopyInSink<bytes::Bytes>, Fault> {
        let statement = self.statement(sql).await?;
        Ok(self.client.copy_in(&statement).await?)
    }

    pub(super) async fn commit(self) -> Result<(), Fault> {
        Ok(self.client.commit().await?)
    }
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(dial: Arc<Dial>, size: usize, limit: Duration) -> Self {
        Self { dial, limit, places: Semaphore::new(size), idle: Mutex::default() }
    }

    /// Does something with a connection, within the limit. After a fault the connection is given up: what it was in the
    /// middle of is not known.
    pub(super) async fn with<T>(
        &self,
        work: impl for<'l> FnOnce(&'l mut Link) -> BoxFuture<'l, Result<T, Fault>> + Send,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + self.limit + GRACE;
        let place = timeout_at(deadline, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else { return Err(Fault::Busy) };
        let working = async {
            let mut link = self.link().await?;
            let done = work(&mut link).await?;
            link.used = Instant::now();
            Ok::<_, Fault>((done, link))
        };
        let (done, link) = timeout_at(deadline, working).await.map_err(|_| Fault::Silent)??;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        Ok(done)
    }

    async fn link(&self) -> Result<Link, Fault> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(link) if link.is_good().await => return Ok(link),
                Some(_) => {}
                None => return self.dial.connect(self.limit).await,
            }
        }
    }
}
