//! Delivery of audit records to the control plane.
//!
//! The spool is the audit directory itself: what a request waits for is only that its record is there
//! ([`audit`]). This part reads what an fsync covers, behind the writer, and sends it; what is not
//! acknowledged stays on disk, over any outage and any restart.
//!
//! | part | what it does |
//! |---|---|
//! | [`spool`] | what is still to be sent, in the order of the chain, damage passed over |
//! | [`session`] | the life of the connection, as a state machine |
//! | [`client`] | the channel and the stream |
//! | [`link`] | drives them, and speaks the protocol |
//! | [`marks`] | how far it is acknowledged, on disk |
//! | [`names`] | the names behind pseudonyms |
//! | [`status`] | what people and machines are shown |
//!
//! # Invariants
//! - Nothing is forgotten before it is acknowledged; an acknowledgement follows the store's durable write.
//! - In order for each run; at least once; what is missing between two batches is told with the second.
//! - The disk is the only queue: in memory is at most a window of batches.
//! - No request waits for any of this.

mod client;
mod link;
mod marks;
mod names;
pub(crate) mod session;
mod spool;
pub(crate) mod status;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use kt_audit::{
    dir::{AuditDir, DirError, layout},
    identity::PseudonymKey,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    link::{Link, Origin},
    status::ShipStatus,
};
use crate::{
    audit::{self, AuditHandle, Delivery, fs::RealFs},
    control,
    settings::ControlSettings,
};

/// The delivery of the records of one directory, in the background. Dropped, it ends; what is not acknowledged stays.
#[derive(Debug)]
pub struct Ship {
    tasks: TaskTracker,
    finish: CancellationToken,
    abort: CancellationToken,
    status: Arc<ShipStatus>,
}

impl Ship {
    /// Begins to deliver what `log` writes to `dir`, and what earlier runs have left there. `gateway_id`: who the control
    /// plane knows it as.
    ///
    /// # Errors
    /// When the address of the control plane is none. Everything else is tried again, for as long as it takes.
    pub fn of(
        log: &AuditHandle,
        dir: &Path,
        control: ControlSettings,
        gateway_id: String,
    ) -> Result<Self, ShipError> {
        control::client::check_url(&control).map_err(ShipError::Address)?;
        let delivery = log.delivery().cloned().unwrap_or_default();
        Ok(Self::start(dir, control, delivery, origin(log, dir, gateway_id), Some(log.clone())))
    }

    /// Begins to deliver what is in `dir`. `log`: the log that is being written there.
    fn start(
        dir: &Path,
        settings: ControlSettings,
        delivery: Delivery,
        origin: Origin,
        log: Option<AuditHandle>,
    ) -> Self {
        let (finish, abort) = (CancellationToken::new(), CancellationToken::new());
        let status = Arc::new(ShipStatus::default());
        let fs = Arc::new(RealFs::new(dir));
        let link = Link::new(fs, settings, origin, Arc::clone(&status), delivery, log, finish.clone());
        let tasks = TaskTracker::new();
        let until = abort.clone();
        tasks.spawn(async move { until.run_until_cancelled(link.run()).await });
        tasks.close();
        Self { tasks, finish, abort, status }
    }

    pub(crate) fn status(&self) -> Arc<ShipStatus> {
        Arc::clone(&self.status)
    }

    /// Sends what is left, after the log was closed. `false`: not all of it was acknowledged in time, or the control
    /// plane can't be reached; that is on disk for the next start.
    pub async fn finish(self, limit: Duration) -> bool {
        self.finish.cancel();
        let in_time = tokio::time::timeout(limit, self.tasks.wait()).await.is_ok();
        self.abort.cancel();
        self.tasks.wait().await;
        in_time && self.status.is_complete()
    }
}

impl Drop for Ship {
    fn drop(&mut self) {
        self.abort.cancel();
    }
}

/// Whose records a log writes.
fn origin(log: &AuditHandle, dir: &Path, gateway_id: String) -> Origin {
    let keys = AuditDir::open(dir).and_then(|dir| dir.public_keys()).unwrap_or_default();
    Origin {
        instance: log.instance(),
        public_keys: if keys.is_empty() { vec![log.public_key()] } else { keys },
        pseudonym_key: Some(log.pseudonym_key().id()),
        gateway_id,
    }
}

/// Why the records of a directory could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// The address of the control plane.
    #[error("{0}")]
    Address(String),
    /// It is no audit directory, or it can't be read.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// Its writer can't be started, because a gateway runs for example.
    #[error("the audit directory `{dir}` can't be opened")]
    Open {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        error: audit::OpenError,
    },
    /// It has no instance, so that nobody can say whose records these are.
    #[error("the audit directory `{dir}` does not say which gateway it is of")]
    NoInstance {
        /// The directory.
        dir: PathBuf,
    },
}

/// How the records of a directory are delivered without a gateway.
#[derive(Debug, Clone)]
pub struct ShipOptions {
    /// The directory.
    pub dir: PathBuf,
    /// The control plane.
    pub control: ControlSettings,
    /// The directory is left as it is. Without this it is started as a gateway would: torn ends are cut off, requests
    /// without an end are closed as interrupted, and the log is closed again before the last records go.
    pub read_only: bool,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipped {
    /// Records that were acknowledged.
    pub records: u64,
    /// Of those, records that the control plane had already.
    pub duplicates: u64,
    /// Records that are missing in the directory, as far as their numbers tell.
    pub lost: u64,
    /// Whether everything is acknowledged now.
    pub is_complete: bool,
    /// Why not, where that is known.
    pub fault: Option<String>,
}

/// Delivers what is left in a directory whose gateway does not run. `progress` is told now and then how many records
/// are acknowledged, and how many wait.
///
/// # Errors
/// When there is nothing that could be delivered. A control plane that can't be reached is no error but a delivery that
/// is not complete.
pub async fn ship_directory(
    options: ShipOptions,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Shipped, ShipError> {
    control::client::check_url(&options.control).map_err(ShipError::Address)?;
    let dir = AuditDir::open(&options.dir)?;
    let opened = if options.read_only {
        None
    } else {
        let settings = audit::Settings::default();
        let open = || audit::open(&options.dir, &settings);
        let opened = open().map_err(|error| ShipError::Open { dir: options.dir.clone(), error })?;
        Some(opened)
    };
    let origin = match &opened {
        Some((log, _)) => origin(log, &options.dir, String::new()),
        None => read_origin(&dir)?,
    };
    let handle = opened.as_ref().map(|(handle, _)| handle.clone());
    let ship = Ship::start(&options.dir, options.control, Delivery::new(), origin, handle.clone());
    let status = ship.status();
    let left = || {
        let written = handle.as_ref().map_or(0, |handle| handle.metrics().written.load(Relaxed));
        status.undelivered(written)
    };
    let mut log = opened.map(|(_, log)| log);
    let mut ticks = tokio::time::interval(PROGRESS);
    tokio::pin!(stop);
    let is_stopped = loop {
        tokio::select! {
            () = ship.tasks.wait() => break false,
            () = &mut stop => break true,
            _ = ticks.tick() => progress(status.acked.load(Relaxed), left()),
        }
        // The log stays open until all else is delivered: who is to be erased is told at the beginning.
        let is_through = (status.is_connected() && left() == 0) || status.fault.load().is_some();
        if is_through || log.is_none() {
            if let Some(log) = log.take()
                && let Err(error) = log.close(CLOSE).await
            {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "Audit log was not closed in order."
                );
            }
            ship.finish.cancel();
        }
    };
    ship.abort.cancel();
    ship.tasks.wait().await;
    progress(status.acked.load(Relaxed), left());
    let fault = status.fault.load_full().map(|fault| fault.to_string());
    Ok(Shipped {
        records: status.acked.load(Relaxed),
        duplicates: status.duplicates.load(Relaxed),
        lost: status.lost.load(Relaxed),
        is_complete: !is_stopped && status.is_complete(),
        fault,
    })
}

/// How long the log may take to close.
const CLOSE: Duration = Duration::from_secs(10);
/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(100);

fn read_origin(dir: &AuditDir) -> Result<Origin, ShipError> {
    let no_instance = || ShipError::NoInstance { dir: dir.path().to_owned() };
    let instance = if let Ok(Some(instance)) = dir.instance() {
        instance
    } else {
        let headers = dir.segments()?.into_iter().filter_map(|segment| segment.header.ok());
        headers.map(|header| header.instance).next_back().ok_or_else(no_instance)?
    };
    let key = std::fs::read_to_string(dir.path().join(layout::PSEUDONYM_KEY)).map(zeroize::Zeroizing::new);
    let key = key.ok().and_then(|text| PseudonymKey::from_hex(&text).ok());
    Ok(Origin {
        instance,
        public_keys: dir.public_keys().unwrap_or_default(),
        pseudonym_key: key.map(|key| key.id()),
        gateway_id: String::new(),
    })
}

#[cfg(test)]
mod tests;
