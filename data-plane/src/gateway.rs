//! Starting, running and stopping a gateway.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use kt_audit::{
    Digest,
    record::{Body, Config, ConfigAction},
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    audit::{self, AuditLog},
    identity::Identity,
    load,
    metrics::Metrics,
    pack_source::{self, KeysFault, PackFault, PackSource},
    pipeline::{pack_ref, retention},
    probe,
    recorder::Recorder,
    server::{self, Side, Stop, workers::Workers},
    settings::Settings,
    shared::Shared,
};

/// How long the audit log may take to write what it holds.
const AUDIT_CLOSE: Duration = Duration::from_secs(10);

/// How long what was cut may take to end.
const ABORT: Duration = Duration::from_secs(20);

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no pack to serve.
    #[error(transparent)]
    Pack(#[from] PackFault),
    /// The keys are not there.
    #[error(transparent)]
    Keys(#[from] KeysFault),
    /// The model table is not one.
    #[error("the model table `{path}` is refused: {reason}")]
    Models {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file of trusted certificates is not one.
    #[error("the certificates of `{path}` can't be used: {reason}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The audit log cannot be opened.
    #[error("the audit directory `{dir}` can't be opened")]
    Audit {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        error: audit::OpenError,
    },
    /// There are no threads to serve on.
    #[error("can't start the threads that serve connections")]
    Workers(#[source] io::Error),
    /// An address cannot be listened on.
    #[error("can't listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// How a gateway went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had to be cut when the time was up.
    pub cut: bool,
    /// Whether the audit log was closed with everything written.
    pub audit_closed: bool,
}

/// A gateway to be started.
#[derive(Debug, Clone, Copy)]
pub struct Gateway;

impl Gateway {
    /// Opens everything and serves at once.
    ///
    /// # Errors
    /// [`StartError`]: a gateway never starts without a pack that it can serve, with keys that it cannot read, or
    /// without the audit log that it was told to write.
    pub async fn start(settings: Settings) -> Result<Running, StartError> {
        let models = load::models(settings.models_file.as_deref())
            .map_err(|(path, reason)| StartError::Models { path, reason })?;
        let extra_roots = load::certificates(settings.upstream_ca_file.as_deref())
            .map_err(|(path, reason)| StartError::Certificates { path, reason })?;
        let mut source = PackSource::new(&settings, models, extra_roots);
        let keys = source.look_at_keys().transpose()?;
        let active = source.first_pack(&settings)?;

        let (handle, log) = open_audit(&settings, active.pack.audit.as_ref())?;
        let recorder = Recorder::new(handle);
        let metrics = Metrics::new();
        metrics.keys.set(keys.and_then(|keys| i64::try_from(keys).ok()).unwrap_or(0));
        pack_source::announce(&metrics, &active);

        let public = listen(settings.listen)?;
        let admin = settings.admin_listen.map(listen).transpose()?;
        let addr = server::address(&public)
            .map_err(|error| StartError::Listen { address: settings.listen, error })?;
        let admin_addr = admin.as_ref().and_then(|admin| server::address(admin).ok());

        let identity = Identity::new(source.keys(), settings.identity.require_identity);
        let exposed = identity.serves_anonymous() && !addr.ip().is_loopback();
        metrics.anonymous_exposed.set(i64::from(exposed));
        let config = Config {
            action: ConfigAction::Activated,
            pack: Some(pack_ref(&active)),
            digest: Digest(active.pack.id.digest),
            reasons: Vec::new(),
        };
        tracing::info!(pack = active.id, address = %addr, "Gateway serves.");
        if exposed {
            tracing::warn!(
                address = %addr,
                "Callers without identity are served beyond this machine: configure gateway keys, or listen on the \
                 loopback, or refuse them with --require-identity."
            );
        }
        let shared = Arc::new(Shared::new(settings, active, identity, recorder, metrics));
        record_config(&shared, Body::Config(Box::new(config))).await;

        let stop = Stop::default();
        let housekeeping = CancellationToken::new();
        let reload = Arc::new(Notify::new());
        let workers_stop = CancellationToken::new();
        let workers = Workers::start(&shared.tasks, &workers_stop).map_err(StartError::Workers)?;
        let serving =
            server::accept(Arc::clone(&shared), public, Side::Public, stop.clone(), workers.clone());
        shared.tasks.spawn(serving);
        // Health and metrics are told until the last request is answered.
        let admin_stop = Stop { drain: housekeeping.clone(), abort: stop.abort.clone() };
        if let Some(admin) = admin {
            let serving = server::accept(Arc::clone(&shared), admin, Side::Admin, admin_stop, workers);
            shared.tasks.spawn(serving);
        }
        shared.tasks.spawn(watch(Arc::clone(&shared), source, Arc::clone(&reload), housekeeping.clone()));
        shared.tasks.spawn(probe::run(Arc::clone(&shared), housekeeping.clone()));
        Ok(Running {
            addr,
            admin_addr,
            anonymous_exposed: exposed,
            reload,
            shared,
            log,
            _abort_on_drop: stop.abort.clone().drop_guard(),
            _housekeeping_on_drop: housekeeping.clone().drop_guard(),
            _workers_on_drop: workers_stop.drop_guard(),
            stop,
            housekeeping,
        })
    }
}

fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener, StartError> {
    server::bind(address).map_err(|error| StartError::Listen { address, error })
}

fn open_audit(
    settings: &Settings,
    logger: Option<&kt_policy::pack::AuditLogger>,
) -> Result<(Option<audit::AuditHandle>, Option<AuditLog>), StartError> {
    let Some(audit) = &settings.audit else { return Ok((None, None)) };
    let mut log_settings = audit::Settings { full_wait: settings.timeouts.audit, ..audit.log.clone() };
    if let Some(logger) = logger {
        log_settings.default_retention = retention(logger);
    }
    let (handle, log) = audit::open(&audit.dir, &log_settings)
        .map_err(|error| StartError::Audit { dir: audit.dir.clone(), error })?;
    let damage = handle.metrics().damage.load(std::sync::atomic::Ordering::Relaxed);
    if damage > 0 {
        tracing::warn!(
            places = damage,
            dir = %audit.dir.display(),
            "Audit log was damaged or torn while nothing ran: `kt audit verify` says where."
        );
    }
    Ok((Some(handle), Some(log)))
}

/// Records what became of a pack, when there is a log.
async fn record_config(shared: &Shared, body: Body) {
    if !shared.recorder.is_some() {
        return;
    }
    let durability = shared.active.load().audit.map(|plan| plan.durability).unwrap_or_default();
    if let Err(error) = shared.recorder.append(body, durability, None).await {
        tracing::error!(error = &error as &dyn std::error::Error, "Change of pack can't be recorded.");
    }
}

/// Looks at the files now and then, and when asked to.
async fn watch(shared: Arc<Shared>, mut source: PackSource, reload: Arc<Notify>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = reload.notified() => {}
            () = tokio::time::sleep(shared.settings.reload_interval) => {}
        }
        let looking = {
            let shared = Arc::clone(&shared);
            // Files are read and packs compiled off the workers that serve requests.
            tokio::task::spawn_blocking(move || {
                let record = source.look(&shared);
                (source, record)
            })
        };
        let Ok((again, record)) = looking.await else {
            tracing::error!("Files are not looked at any more.");
            return;
        };
        source = again;
        if let Some(record) = record {
            record_config(&shared, record).await;
        }
    }
}

/// A gateway that serves. Dropped, it stops at once; [`Running::run_until`] stops it in order.
#[derive(Debug)]
pub struct Running {
    /// Where callers connect.
    pub addr: SocketAddr,
    /// Where metrics and configuration are shown.
    pub admin_addr: Option<SocketAddr>,
    /// Callers without identity are served beyond this machine: what the start banner warns of.
    pub anonymous_exposed: bool,
    reload: Arc<Notify>,
    shared: Arc<Shared>,
    log: Option<AuditLog>,
    stop: Stop,
    housekeeping: CancellationToken,
    _abort_on_drop: DropGuard,
    _housekeeping_on_drop: DropGuard,
    /// Last: what the others stop ends where it runs.
    _workers_on_drop: DropGuard,
}

/// Makes a gateway look at its files at once. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reload(Arc<Notify>);

impl Reload {
    /// Looks at the files now.
    pub fn now(&self) {
        self.0.notify_one();
    }
}

impl Running {
    /// What a SIGHUP calls.
    pub fn reload(&self) -> Reload {
        Reload(Arc::clone(&self.reload))
    }

    /// Serves until `shutdown` is ready, then drains: readiness says 503, no new connections are taken, what was begun
    /// is finished within the drain timeout, the rest is cut, and the audit log is closed last.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> Drained {
        shutdown.await;
        let settings = &self.shared.settings;
        tracing::info!("Gateway drains.");
        self.shared.begin_draining();
        if !settings.timeouts.drain_delay.is_zero() {
            tokio::time::sleep(settings.timeouts.drain_delay).await;
        }
        self.stop.drain.cancel();
        let deadline = Instant::now() + settings.timeouts.drain;
        let finished = tokio::time::timeout_at(deadline, self.until_idle()).await.is_ok();
        self.housekeeping.cancel();
        self.stop.abort.cancel();
        self.shared.tasks.close();
        // A disk that never answers holds what writes to it, and must not hold the end.
        let ended = tokio::time::timeout(ABORT, self.shared.tasks.wait()).await.is_ok();
        let audit_closed = match self.log.take() {
            None => true,
            Some(log) => match log.close(AUDIT_CLOSE).await {
                Ok(()) => true,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "Audit log was not closed in order."
                    );
                    false
                }
            },
        };
        let cut = !(finished && ended);
        tracing::info!(cut, "Gateway has stopped.");
        Drained { cut, audit_closed }
    }

    /// Waits until no connection of a caller is left.
    async fn until_idle(&self) {
        // Connections of the operator's listener stay; they are told apart by their number.
        loop {
            if self.shared.public_connections() == 0 {
                return;
            }
            self.shared.connection_closed.notified().await;
        }
    }
}
