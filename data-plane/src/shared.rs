//! What all requests share. Nothing here is locked on their way: packs and keys are swapped whole.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};
use tokio_util::task::TaskTracker;

use crate::{
    active::Active, control::status::ControlStatus, identity::Identity, metrics::Metrics, recorder::Recorder,
    settings::Settings, ship::status::ShipStatus,
};

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    /// The pack in force; absent while a control plane has not sent one.
    pub(crate) active: ArcSwapOption<Active>,
    /// What is known of the control plane; absent without one.
    pub(crate) control: Option<Arc<ControlStatus>>,
    /// What is known of the delivery of audit records; absent where they are not delivered.
    pub(crate) delivery: Option<Arc<ShipStatus>>,
    pub(crate) identity: Identity,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    /// One for each request that may be answered at the same time.
    pub(crate) slots: Arc<Semaphore>,
    /// Everything that must have ended before the gateway does.
    pub(crate) tasks: TaskTracker,
    pub(crate) started: Instant,
    /// Why the newest pack is not in force; written by the task that reloads.
    pub(crate) pack_fault: ArcSwapOption<String>,
    /// Why the newest keys are not in force; written by the task that reloads.
    pub(crate) keys_fault: ArcSwapOption<String>,
    /// Told whenever a connection of a caller has ended.
    pub(crate) connection_closed: Notify,
    public_connections: AtomicUsize,
    is_draining: AtomicBool,
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        active: Option<Active>,
        control: Option<Arc<ControlStatus>>,
        delivery: Option<Arc<ShipStatus>>,
        identity: Identity,
        recorder: Recorder,
        metrics: Metrics,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(settings.limits.concurrency.min(Semaphore::MAX_PERMITS)));
        Self {
            settings,
            active: ArcSwapOption::from_pointee(active),
            control,
            delivery,
            identity,
            recorder,
            metrics,
            slots,
            tasks: TaskTracker::new(),
            started: Instant::now(),
            pack_fault: ArcSwapOption::empty(),
            keys_fault: ArcSwapOption::empty(),
            connection_closed: Notify::new(),
            public_connections: AtomicUsize::new(0),
            is_draining: AtomicBool::new(false),
        }
    }

    /// Whether the gateway is going away.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Whether the control plane was not heard for longer than the operator allows.
    pub(crate) fn is_policy_too_old(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.is_too_old())
    }

    /// Connections of callers that are open.
    pub(crate) fn public_connections(&self) -> usize {
        self.public_connections.load(Ordering::Acquire)
    }

    /// Counts a connection of a caller.
    pub(crate) fn connection_opened(&self) {
        self.public_connections.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts its end.
    pub(crate) fn connection_ended(&self) {
        self.public_connections.fetch_sub(1, Ordering::AcqRel);
        self.connection_closed.notify_one();
    }

    pub(crate) fn begin_draining(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }
}
