//! Listeners, TLS, health, draining: what makes the parts one server.
//!
//! Start: open the store, read all of it, bootstrap, then listen. Stop: say that we go (health, `/readyz`), send the
//! gateways elsewhere, let calls in flight end, and end whatever is left at the deadline.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kt_proto::v1::{
    audit_ingest_service_server, audit_service_server, delivery_service_server, fleet_service_server,
    key_service_server, pack_service_server, token_service_server,
};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::TcpIncoming;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    admin::Admin,
    audit::{
        self, Audit, Ingest, IngestMetrics, Ledger, LedgerError, NoIngest, RetentionMetrics, Witness,
        WitnessError,
        sink::{self, SinkFault, SinkMetrics, SinkName},
        store::{AuditStoreError, sqlite},
    },
    backoff::Backoff,
    bodies::Bodies,
    bootstrap::{self, Bootstrap, BootstrapError},
    delivery::{Delivery, DeliveryMetrics},
    metrics::Metrics,
    mirror::Mirror,
    registry::Registry,
    services::{GateLayer, Services},
    settings::{AuditSettings, Settings, StoreSettings},
    store::{Store, StoreError, embedded},
    tls::{Certificates, TlsMetrics, Unusable},
};

#[cfg(feature = "postgres")]
use crate::audit::store::postgres::{Keys, Postgres};

const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Larger than a pack may be, so that one that is too large is refused by its own code.
const MAX_UPLOAD: usize = 16 * 1024 * 1024;
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// Streams of one connection: a person's calls, or one gateway.
const MAX_STREAMS: u32 = 256;
const MAX_HEADERS: u32 = 16 * 1024;
/// Most messages are small, and there are thousands of connections.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// The names of the services, as gRPC health knows them; the empty one stands for all.
const SERVICES: [&str; 8] = [
    "",
    pack_service_server::SERVICE_NAME,
    fleet_service_server::SERVICE_NAME,
    key_service_server::SERVICE_NAME,
    token_service_server::SERVICE_NAME,
    delivery_service_server::SERVICE_NAME,
    audit_service_server::SERVICE_NAME,
    audit_ingest_service_server::SERVICE_NAME,
];

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A port can't be had.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// Clear text where others can read along.
    #[error("{0} is beyond this machine, and without a certificate tokens would travel in clear text")]
    ClearText(SocketAddr),
    /// A folder can't be made.
    #[error("can't make the folder `{}`: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file of the certificates can't be used.
    #[error("can't use `{}`: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The embedded store can't be opened.
    #[error(transparent)]
    Embedded(#[from] embedded::OpenError),
    /// etcd can't be used.
    #[cfg(feature = "etcd")]
    #[error(transparent)]
    Etcd(#[from] crate::store::etcd::EtcdError),
    /// The store can't be read.
    #[error("the store can't be read: {0}")]
    Store(StoreError),
    /// The store of audit records can't be opened.
    #[error(transparent)]
    Audit(#[from] sqlite::OpenError),
    /// What was erased and held could not be told to the store of audit records.
    #[error("can't bring erasures and holds into the store of audit records: {0}")]
    Ledger(#[from] LedgerError),
    /// PostgreSQL can't be used.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] crate::audit::store::postgres::OpenError),
    /// Sinks that can't be fed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Sinks(Vec<SinkFault>),
    /// Sinks, and nothing to feed them from.
    #[error("sinks are fed from the store of audit records, and there is none")]
    SinksWithoutStore,
    /// The keys of the audit can't be used.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// Several replicas, each with records of its own.
    #[error("replicas over one etcd can't each keep audit records in a file of their own")]
    AuditReplicas,
    /// The first token can't be made.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The descriptors that are compiled in can't be read.
    #[error("the descriptors of this build can't be read")]
    Descriptors,
}

impl From<Unusable> for StartError {
    fn from(Unusable { path, reason }: Unusable) -> Self {
        Self::Certificate { path, reason }
    }
}

impl StartError {
    /// What to do.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::ClearText(_) => Some(
                "give `--tls-cert` and `--tls-key`, listen on 127.0.0.1, or say `--insecure` where something else encrypts",
            ),
            Self::SinksWithoutStore => {
                Some("name a store with `--audit-store`, or leave out `--audit-sinks`")
            }
            Self::AuditReplicas => Some(
                "`--audit-store postgres://user@host/database` keeps them for all; without it they stay on the gateways",
            ),
            #[cfg(feature = "postgres")]
            Self::Postgres(crate::audit::store::postgres::OpenError::OtherKeys) => Some(
                "copy `audit-witness.key` and `audit-persons.key` from the first replica, or let all share a folder with `--audit-key-dir`",
            ),
            Self::Listen { .. } => Some("another process may have the port; choose one with `--listen`"),
            _ => None,
        }
    }
}

/// The control plane.
#[derive(Debug)]
pub struct ControlPlane;

/// A control plane that serves.
#[derive(Debug)]
pub struct Running {
    /// Where people and gateways connect.
    pub grpc_addr: SocketAddr,
    /// Where metrics and health are.
    pub admin_addr: Option<SocketAddr>,
    /// The name of this replica.
    pub replica: Arc<str>,
    /// What the store holds.
    pub mirror: Mirror,
    /// The first token, when this start made it.
    pub bootstrap: Option<Bootstrap>,
    delivery: Delivery,
    health: HealthReporter,
    drain: Duration,
    shutdown: Duration,
    stops: Stops,
    /// Ends when the listener has.
    serving: tokio::task::JoinHandle<()>,
    tasks: TaskTracker,
    opened: Opened,
}

/// The steps of stopping.
#[derive(Debug, Clone, Default)]
struct Stops {
    /// We say that we go.
    draining: CancellationToken,
    /// No new connections; calls in flight end.
    closing: CancellationToken,
    /// Whatever works in the background ends.
    ending: CancellationToken,
}

/// A store that was opened here, and what it needs at the end.
#[derive(Debug)]
enum Opened {
    Plain,
    #[cfg(feature = "etcd")]
    Etcd(Arc<crate::store::etcd::EtcdStore>),
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Opens the store, reads it, and serves.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(settings: Settings) -> Result<Running, StartError> {
        if settings.tls.is_none() && !settings.insecure && !settings.listen.ip().is_loopback() {
            return Err(StartError::ClearText(settings.listen));
        }
        if settings.tls.is_none() && !settings.listen.ip().is_loopback() {
            tracing::warn!(address = %settings.listen, "Tokens travel in clear text.");
        }
        let sinks = sink::set_up(&settings.sinks).map_err(StartError::Sinks)?;
        make_folder(&settings.data_dir)?;
        let (tasks, stops) = (TaskTracker::new(), Stops::default());
        // From here on, whatever fails must take along what works in the background.
        let abort = stops.ending.clone().drop_guard();
        let tls_metrics = TlsMetrics::default();
        let tls = match settings.tls.clone() {
            Some(tls) => {
                let (metrics, ending) = (tls_metrics.clone(), stops.ending.clone());
                Some(Certificates::start(tls, settings.tls_reload, metrics, &tasks, ending)?)
            }
            None => None,
        };
        let listener = listen(settings.listen).await?;
        let grpc_addr = address(&listener, settings.listen)?;
        let admin_listener = match settings.admin_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let admin_addr = match (&admin_listener, settings.admin_listen) {
            (Some(listener), Some(asked)) => Some(address(listener, asked)?),
            _ => None,
        };
        let (store, opened) = open(&settings).await?;
        let fed: Arc<[SinkName]> = sinks.iter().map(sink::Fed::name).collect();
        let audit = open_audit(&settings, &store, fed).await?;
        if audit.is_none() && !sinks.is_empty() {
            return Err(StartError::SinksWithoutStore);
        }
        let replica: Arc<str> = settings.replica.clone().unwrap_or_else(|| replica_name(grpc_addr)).into();

        let delivery_metrics = DeliveryMetrics::default();
        let ingest_metrics = IngestMetrics::default();
        let retention_metrics = RetentionMetrics::default();
        let sink_metrics = SinkMetrics::default();
        let metrics = Metrics::new(|registry| {
            delivery_metrics.register(registry);
            ingest_metrics.register(registry);
            retention_metrics.register(registry);
            sink_metrics.register(registry);
            tls_metrics.register(registry);
        });
        let mirror = Mirror::start(
            Arc::clone(&store),
            settings.mirror,
            metrics.mirror.clone(),
            &tasks,
            stops.ending.clone(),
        );
        if !matches!(timeout(settings.first_load, mirror.ready()).await, Ok(true)) {
            let fault =
                mirror.contact().fault.map_or_else(|| "it does not answer".to_owned(), |f| f.to_string());
            return Err(StartError::Store(StoreError::Unavailable(fault)));
        }
        let bootstrap = bootstrap::run(&store, &settings.data_dir, &replica).await?;
        if let Some(audit) = &audit {
            repeat_ledger(audit, &settings, &tasks, &stops.ending).await?;
            let cutting = audit::cut_expired(audit.clone(), settings.retention, retention_metrics);
            let ending = stops.ending.clone();
            tasks.spawn(async move { ending.run_until_cancelled(cutting).await });
            for fed in sinks {
                let (store, metrics) = (Arc::clone(&audit.store), sink_metrics.clone());
                let feeding = sink::run(store, Arc::clone(&replica), fed, metrics);
                let ending = stops.ending.clone();
                tasks.spawn(async move { ending.run_until_cancelled(feeding).await });
            }
        }
        let bodies = Bodies::new(Arc::clone(&store), settings.body_cache_bytes);
        let registry = Registry::new(
            Arc::clone(&store),
            mirror.clone(),
            bodies.clone(),
            settings.trust.clone(),
            metrics.clone(),
        );
        let options =
            crate::delivery::DeliveryOptions { replica: replica.to_string(), ..settings.delivery.clone() };
        let delivery = Delivery::new(
            mirror.clone(),
            bodies.clone(),
            Arc::clone(&store),
            options,
            delivery_metrics,
            &tasks,
            &stops.ending,
        );
        let (tidier, ending) = (registry.clone(), stops.ending.clone());
        tasks.spawn(async move { ending.run_until_cancelled(tidier.tidy()).await });
        if let Some(listener) = admin_listener {
            let admin = Admin {
                mirror: mirror.clone(),
                delivery: delivery.clone(),
                metrics: metrics.clone(),
                store: store.kind(),
                replica: Arc::clone(&replica),
                tls: tls.clone(),
                draining: stops.draining.clone(),
            };
            tasks.spawn(admin.accept(listener, tasks.clone(), stops.ending.clone()));
        }
        let health = HealthReporter::new();
        report(&health, ServingStatus::Serving).await;
        let services = Services {
            registry,
            mirror: mirror.clone(),
            bodies,
            delivery: delivery.clone(),
            audit: audit.clone(),
            tasks: tasks.clone(),
            draining: stops.draining.clone(),
        };
        let ingest = audit.map(|audit| {
            let stops = (stops.draining.clone(), stops.ending.clone());
            Ingest::new(audit, settings.ingest.clone(), ingest_metrics, Arc::clone(&replica), &tasks, stops)
        });
        let gate = GateLayer::new(mirror.clone(), metrics);
        let serving = serve(Served { services, ingest }, gate, &health, tls, listener, &stops, &tasks)?;
        abort.disarm();
        tracing::info!(address = %grpc_addr, replica = &*replica, store = store.kind(), "Control plane serves.");
        Ok(Running {
            grpc_addr,
            admin_addr,
            replica,
            mirror,
            bootstrap,
            delivery,
            health,
            drain: settings.drain,
            shutdown: settings.shutdown,
            stops,
            serving,
            tasks,
            opened,
        })
    }
}

/// What is served: to people and gateways, and the streams of records where they are kept.
struct Served {
    services: Services,
    ingest: Option<Ingest>,
}

fn serve(
    Served { services, ingest }: Served,
    gate: GateLayer,
    health: &HealthReporter,
    tls: Option<Arc<Certificates>>,
    listener: TcpListener,
    stops: &Stops,
    tasks: &TaskTracker,
) -> Result<tokio::task::JoinHandle<()>, StartError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(kt_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|_| StartError::Descriptors)?;
    let health = tonic_health::pb::health_server::HealthServer::new(
        tonic_health::server::HealthService::from_health_reporter(health.clone()),
    );
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADERS);
    let router = server
        .layer(gate)
        .add_service(health)
        .add_service(reflection)
        .add_service(
            pack_service_server::PackServiceServer::new(services.clone())
                .max_decoding_message_size(MAX_UPLOAD),
        )
        .add_service(
            fleet_service_server::FleetServiceServer::new(services.clone())
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            key_service_server::KeyServiceServer::new(services.clone())
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            token_service_server::TokenServiceServer::new(services.clone())
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            audit_service_server::AuditServiceServer::new(services.clone())
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(services.delivery.service());
    let router = match ingest {
        Some(ingest) => router.add_service(ingest.service()),
        None => router.add_service(NoIngest::service()),
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
    let closing = stops.closing.clone();
    let closed = closing.clone().cancelled_owned();
    Ok(match tls {
        Some(tls) => {
            let incoming = tls.incoming(incoming, tasks, closing);
            tasks.spawn(until_end(router.serve_with_incoming_shutdown(incoming, closed)))
        }
        None => tasks.spawn(until_end(router.serve_with_incoming_shutdown(incoming, closed))),
    })
}

async fn until_end(serving: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = serving.await {
        tracing::error!(error = &error as &dyn std::error::Error, "Listener has ended.");
    }
}

// === impl Running ===

impl Running {
    /// Serves until told to stop, then drains.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            // Only when the listener has failed.
            _ = &mut self.serving => {}
        }
        self.stop().await;
    }

    /// Says that we go, sends the gateways elsewhere, lets calls in flight end.
    async fn stop(self) {
        tracing::info!(gateways = self.delivery.connected(), "Control plane drains.");
        self.stops.draining.cancel();
        report(&self.health, ServingStatus::NotServing).await;
        self.delivery.drain(self.drain).await;
        self.stops.closing.cancel();
        if !self.serving.is_finished() && timeout(self.shutdown, self.serving).await.is_err() {
            tracing::warn!("Calls were cut off.");
        }
        self.stops.ending.cancel();
        self.tasks.close();
        if timeout(self.shutdown, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "Tasks were left behind.");
        }
        match self.opened {
            Opened::Plain => {}
            #[cfg(feature = "etcd")]
            Opened::Etcd(etcd) => {
                // What is not given back goes by itself.
                let _ = timeout(self.shutdown, etcd.close()).await;
            }
        }
        tracing::info!("Control plane has stopped.");
    }
}

async fn report(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}

/// Opens what keeps audit records. A file not on a runtime's thread: it is read and may be brought to a new form.
async fn open_audit(
    settings: &Settings,
    packs: &Arc<dyn Store>,
    sinks: Arc<[SinkName]>,
) -> Result<Option<Audit>, StartError> {
    let ledger = Ledger::new(Arc::clone(packs));
    let path = match &settings.audit {
        AuditSettings::Off => return Ok(None),
        AuditSettings::Given(store) => {
            return Ok(Some(Audit::new(Arc::clone(store), witness(settings)?, ledger, sinks)));
        }
        #[cfg(feature = "postgres")]
        AuditSettings::Postgres(postgres) => {
            let witness = witness(settings)?;
            let keys = Keys { witness: witness.public().0, persons: witness.persons_id() };
            let store = Postgres::start(postgres.as_ref().clone().with_keys(keys)).await?;
            return Ok(Some(Audit::new(Arc::new(store), witness, ledger, sinks)));
        }
        AuditSettings::Sqlite(path) => path.clone(),
    };
    #[cfg(feature = "etcd")]
    if matches!(settings.store, StoreSettings::Etcd(_)) {
        return Err(StartError::AuditReplicas);
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder(folder)?;
    }
    let witness = witness(settings)?;
    let stopped = sqlite::OpenError::Io { path: path.clone(), source: io::Error::other("it was stopped") };
    let opening = tokio::task::spawn_blocking(move || sqlite::Sqlite::open(&path));
    let store = opening.await.map_err(|_| StartError::Audit(stopped))??;
    Ok(Some(Audit::new(Arc::new(store), witness, ledger, sinks)))
}

/// The keys of the audit.
fn witness(settings: &Settings) -> Result<Arc<Witness>, StartError> {
    let folder = settings.audit_key_dir.as_ref().unwrap_or(&settings.data_dir);
    make_folder(folder)?;
    Ok(Arc::new(Witness::open(folder)?))
}

/// Tells the records what was erased and is held, which they may have forgotten with a backup. Before any gateway or
/// person is served; where the server of the records is away, as soon as it is back.
async fn repeat_ledger(
    audit: &Audit,
    settings: &Settings,
    tasks: &TaskTracker,
    ending: &CancellationToken,
) -> Result<(), StartError> {
    let may_be_away = !matches!(settings.audit, AuditSettings::Sqlite(_));
    match audit.ledger.repeat(&*audit.store).await {
        Err(LedgerError::Audit(AuditStoreError::Unavailable(_))) if may_be_away => {
            let (audit, ending) = (audit.clone(), ending.clone());
            let repeating = async move {
                let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
                while let Err(error) = audit.ledger.repeat(&*audit.store).await {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "Erasures and holds can't be told to the store of audit records yet."
                    );
                    tokio::time::sleep(backoff.next()).await;
                }
            };
            tasks.spawn(async move { ending.run_until_cancelled(repeating).await });
            Ok(())
        }
        ended => Ok(ended?),
    }
}

async fn open(settings: &Settings) -> Result<(Arc<dyn Store>, Opened), StartError> {
    match &settings.store {
        StoreSettings::Given(store) => Ok((Arc::clone(store), Opened::Plain)),
        StoreSettings::Embedded(path) => {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                make_folder(folder)?;
            }
            Ok((Arc::new(embedded::Embedded::open(path).await?), Opened::Plain))
        }
        #[cfg(feature = "etcd")]
        StoreSettings::Etcd(etcd) => {
            let store = connect(etcd, settings.first_load).await?;
            Ok((Arc::clone(&store) as Arc<dyn Store>, Opened::Etcd(store)))
        }
    }
}

/// Connects, and tries again for a while where the cluster does not answer: it may be starting too.
#[cfg(feature = "etcd")]
async fn connect(
    etcd: &crate::store::etcd::EtcdSettings,
    within: Duration,
) -> Result<Arc<crate::store::etcd::EtcdStore>, StartError> {
    use crate::store::etcd::{EtcdError, EtcdStore};

    let deadline = tokio::time::Instant::now() + within;
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    loop {
        match EtcdStore::connect(etcd).await {
            Ok(store) => return Ok(Arc::new(store)),
            Err(EtcdError::Store(StoreError::Unavailable(reason)))
                if tokio::time::Instant::now() < deadline =>
            {
                tracing::info!(reason, "Store does not answer yet.");
                tokio::time::sleep(backoff.next()).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

fn address(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen { address: asked, source })
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt as _;

    // Tokens and packs are nobody else's business; a folder that is there keeps the mode that somebody gave it.
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::Folder { path: path.to_owned(), source })
}

/// The host's name with the port: stable over restarts, and two replicas on one machine differ.
fn replica_name(address: SocketAddr) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host
        .trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        .take(63)
        .collect();
    let host = if host.is_empty() { "control-plane".to_owned() } else { host };
    format!("{host}-{}", address.port())
}
