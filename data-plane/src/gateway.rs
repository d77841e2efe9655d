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
    control::{Control, ControlError},
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
    ship::Ship,
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
    /// The control plane cannot be used as it is set up.
    #[error(transparent)]
    Control(#[from] ControlError),
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
    /// Whether the control plane has every record; what it has not stays on disk. True where nothing is delivered.
    pub delivered: bool,
}

/// A gateway to be started.
#[derive(Debug, Clone, Copy)]
pub struct Gateway;

impl Gateway {
    /// Opens everything and serves at once.
    ///
    /// # Errors
    /// [`StartError`]: a gateway never starts without a pack file that it can serve, with keys that it cannot read, or
    /// without the audit log that it was told to write. With a control plane it starts without a pack, and refuses
    /// requests until it has one.
    pub async fn start(settings: Settings) -> Result<Running, StartError> {
        let models = load::models(settings.models_file.as_deref())
            .map_err(|(path, reason)| StartError::Models { path, reason })?;
        let extra_roots = load::certificates(settings.upstream_ca_file.as_deref())
            .map_err(|(path, reason)| StartError::Certificates { path, reason })?;
        let mut source = PackSource::new(&settings, models, extra_roots);
        source.look_at_keys().transpose()?;
        let control = settings.origin.control_plane().map(Control::open).transpose()?;
        let active = match (source.first_pack(&settings).transpose()?, &control) {
            (None, Some(control)) => control.load(&mut source, &settings),
            (active, _) => active,
        };

        let logger = active.as_ref().and_then(|active| active.pack.audit.as_ref());
        let (handle, log) = open_audit(&settings, logger)?;
        let ship = start_delivery(&settings, control.as_ref(), handle.as_ref());
        let recorder = Recorder::new(handle);
        let metrics = Metrics::new();
        if let Some(active) = &active {
            pack_source::announce(&metrics, active);
        }

        let public = listen(settings.listen)?;
        let admin = settings.admin_listen.map(listen).transpose()?;
        let addr = server::address(&public)
            .map_err(|error| StartError::Listen { address: settings.listen, error })?;
        let admin_addr = admin.as_ref().and_then(|admin| server::address(admin).ok());

        let keys = control.as_ref().map(Control::keys).or_else(|| source.keys());
        if let Some(set) = keys.as_ref().and_then(|keys| keys.load_full()) {
            metrics.keys.set(i64::try_from(set.len()).unwrap_or(i64::MAX));
        }
        let identity = Identity::new(keys, settings.identity.require_identity);
        let exposed = identity.serves_anonymous() && !addr.ip().is_loopback();
        metrics.anonymous_exposed.set(i64::from(exposed));
        let config = active.as_ref().map(|active| Config {
            action: ConfigAction::Activated,
            pack: Some(pack_ref(active)),
            digest: Digest(active.pack.id.digest),
            reasons: Vec::new(),
        });
        if let Some(active) = &active {
            tracing::info!(pack = active.id, address = %addr, "Gateway serves.");
        } else {
            tracing::warn!(
                address = %addr,
                "Gateway has no pack: requests are refused until its control plane has sent one."
            );
        }
        if exposed {
            tracing::warn!(
                address = %addr,
                "Callers without identity are served beyond this machine: configure gateway keys, or listen on the \
                 loopback, or refuse them with --require-identity."
            );
        }
        let status = control.as_ref().map(Control::status);
        let delivery = ship.as_ref().map(Ship::status);
        let shared = Arc::new(Shared::new(settings, active, status, delivery, identity, recorder, metrics));
        if let Some(config) = config {
            record_config(&shared, Body::Config(Box::new(config))).await;
        }

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
        let (again, stopping) = (Arc::clone(&reload), housekeeping.clone());
        match control {
            Some(control) => control.spawn(&shared, source, again, stopping),
            None => drop(shared.tasks.spawn(watch(Arc::clone(&shared), source, again, stopping))),
        }
        shared.tasks.spawn(probe::run(Arc::clone(&shared), housekeeping.clone()));
        Ok(Running {
            addr,
            admin_addr,
            anonymous_exposed: exposed,
            reload,
            shared,
            log,
            ship,
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
    if audit.deliver && settings.origin.control_plane().is_some() {
        log_settings.delivery =
            Some(audit::Delivery { keep: audit.keep_delivered, ..audit::Delivery::new() });
    }
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

/// Begins to deliver the records, where there is a control plane to have them.
fn start_delivery(
    settings: &Settings,
    control: Option<&Control>,
    handle: Option<&audit::AuditHandle>,
) -> Option<Ship> {
    let (to, control) = (settings.origin.control_plane()?, control?);
    let (audit, handle) = (settings.audit.as_ref()?, handle?);
    handle.delivery()?;
    // The address was checked with the control plane.
    Ship::of(handle, &audit.dir, to.clone(), control.gateway_id().to_string()).ok()
}

/// Records what became of a pack, when there is a log.
pub(crate) async fn record_config(shared: &Shared, body: Body) {
    if !shared.recorder.is_some() {
        return;
    }
    let active = shared.active.load_full();
    let durability = active.and_then(|active| active.audit).map(|plan| plan.durability).unwrap_or_default();
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
    ship: Option<Ship>,
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
        let delivered = match self.ship.take() {
            None => true,
            Some(ship) => ship.finish(self.shared.settings.timeouts.deliver).await,
        };
        if !delivered {
            tracing::warn!(
                "Control plane does not have all audit records yet: they are delivered after the next start, or by \
                 `kt spool ship`."
            );
        }
        let cut = !(finished && ended);
        tracing::info!(cut, "Gateway has stopped.");
        Drained { cut, audit_closed, delivered }
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
