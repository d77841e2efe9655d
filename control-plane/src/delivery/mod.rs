//! Delivery: what a fleet is to have is pushed to its gateways, and what they do with it is known.
//!
//! - [`session`]: the protocol of one stream, as a state machine without sockets;
//! - [`offer`], [`outbox`], [`wire`]: a document is encoded once for a fleet, waits at most once for each stream;
//! - [`stream`]: the task that runs a session; [`admission`]: how many may come at once;
//! - [`hub`]: the task that knows who is there and what is wanted; [`status`]: what is derived from that;
//! - [`keeper`]: what is written to the store, which nobody waits for.
//!
//! Everything is served from the mirror, so gateways are served while the store is away. A session costs a task and
//! the connection; documents, lists of features and packs are shared.

mod admission;
mod hub;
mod keeper;
mod metrics;
mod offer;
mod outbox;
mod service;
mod session;
mod status;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use kt_proto::{
    refusal::{Code, Refusal},
    v1,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    admission::Gate,
    hub::{Event, Hub},
    keeper::{Chore, Keeper},
    session::{Now, Timing},
};
pub use self::{metrics::DeliveryMetrics, service::DeliveryServer};
use crate::{bodies::Bodies, mirror::Mirror, store::Store};

/// How delivery behaves.
#[derive(Debug, Clone)]
pub struct DeliveryOptions {
    /// The name of this replica, as in status and `Welcome`.
    pub replica: String,
    /// Between two heartbeats of either side.
    pub heartbeat: Duration,
    /// After so long without a word a gateway counts as silent; after twice that its stream is ended.
    pub silence: Duration,
    /// How long a stream lives, give or take 15 %, so that load moves to new replicas.
    pub age: Duration,
    /// How long a gateway may take to leave when it is asked to because of its age.
    pub leave: Duration,
    /// How long an unanswered offer holds back the next one.
    pub patience: Duration,
    /// How long a new stream may take to say Hello.
    pub hello: Duration,
    /// How many Hellos a second are admitted, and how many at once after a pause.
    pub hello_rate: u32,
    /// See `hello_rate`.
    pub hello_burst: u32,
    /// The most streams that may be open without having said Hello.
    pub max_handshakes: usize,
    /// The most sessions.
    pub max_sessions: usize,
    /// How long a gateway may take to take a message.
    pub send: Duration,
    /// The most bodies that are sent at once.
    pub max_fetches: usize,
    /// The most bytes of bodies that are sent at once.
    pub max_fetch_bytes: usize,
    /// How often the use of keys is written down.
    pub key_use: Duration,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            replica: "control-plane".to_owned(),
            heartbeat: Duration::from_secs(3),
            silence: Duration::from_secs(9),
            age: Duration::from_hours(1),
            leave: Duration::from_secs(10),
            patience: Duration::from_secs(1),
            hello: Duration::from_secs(10),
            hello_rate: 500,
            hello_burst: 500,
            max_handshakes: 2048,
            max_sessions: 20_000,
            send: Duration::from_secs(30),
            max_fetches: 256,
            max_fetch_bytes: 256 * 1024 * 1024,
            key_use: Duration::from_mins(1),
        }
    }
}

/// Delivery to the gateways; cheap to clone.
#[derive(Clone)]
pub struct Delivery(Arc<Shared>);

/// What sessions and calls share.
struct Shared {
    mirror: Mirror,
    bodies: Bodies,
    options: DeliveryOptions,
    metrics: DeliveryMetrics,
    events: mpsc::Sender<Event>,
    chores: mpsc::Sender<Chore>,
    gate: Gate,
    handshakes: Semaphore,
    fetches: Arc<Semaphore>,
    fetch_bytes: Arc<Semaphore>,
    open: AtomicUsize,
    connected: watch::Receiver<usize>,
    /// Set when the server goes away: within this time.
    draining: watch::Sender<Option<Duration>>,
    /// Ends all sessions at once.
    cut: CancellationToken,
    tasks: TaskTracker,
}

/// How long the hub may take to answer; it never waits for anything but its own work.
const HUB_TIMEOUT: Duration = Duration::from_secs(10);
/// Events that may wait for the hub.
const EVENTS: usize = 4096;
const CHORES: usize = 256;

// === impl Delivery ===

impl Delivery {
    /// Starts delivery on `tasks`, until `stop`.
    pub fn new(
        mirror: Mirror,
        bodies: Bodies,
        store: Arc<dyn Store>,
        options: DeliveryOptions,
        metrics: DeliveryMetrics,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let replica: Arc<str> = options.replica.as_str().into();
        let (events, told) = mpsc::channel(EVENTS);
        let (chores, to_do) = mpsc::channel(CHORES);
        let (record, recorded) = watch::channel(Bytes::new());
        let (connected_writer, connected) = watch::channel(0);
        let hub = Hub::new(mirror.clone(), Arc::clone(&replica), options.silence, record, connected_writer);
        tasks.spawn(hub.run(told, stop.clone()));
        tasks.spawn(Keeper::new(Arc::clone(&store), metrics.clone()).run(
            to_do,
            options.key_use,
            stop.clone(),
        ));
        tasks.spawn(keeper::write_record(store, replica, recorded, stop.clone()));
        Self(Arc::new(Shared {
            mirror,
            bodies,
            metrics,
            events,
            chores,
            gate: Gate::new(options.hello_rate, options.hello_burst, Instant::now()),
            handshakes: Semaphore::new(options.max_handshakes),
            fetches: Arc::new(Semaphore::new(options.max_fetches)),
            fetch_bytes: Arc::new(Semaphore::new(options.max_fetch_bytes / service::PIECE)),
            open: AtomicUsize::new(0),
            connected,
            draining: watch::Sender::new(None),
            cut: stop.child_token(),
            tasks: tasks.clone(),
            options,
        }))
    }

    /// The gRPC service `keeptrusts.v1.DeliveryService`.
    pub fn service(&self) -> DeliveryServer {
        DeliveryServer::new(Arc::clone(&self.0))
    }

    /// Wanted against applied, over all replicas; `None`: there is no such fleet.
    ///
    /// # Errors
    /// When delivery has been stopped.
    pub async fn status(&self, fleet: &str) -> Result<Option<v1::FleetStatus>, Refusal> {
        self.0.ask(|answer| Event::Status { fleet: fleet.into(), answer }).await
    }

    /// Every gateway of a fleet that was heard of within a day; `None`: there is no such fleet.
    ///
    /// # Errors
    /// When delivery has been stopped.
    pub async fn gateways(&self, fleet: &str) -> Result<Option<Vec<v1::GatewayStatus>>, Refusal> {
        self.0.ask(|answer| Event::Gateways { fleet: fleet.into(), answer }).await
    }

    /// The status now, and again whenever it changes, at most ten times a second; `None`: there is no such fleet.
    ///
    /// # Errors
    /// When delivery has been stopped.
    pub async fn watch_status(
        &self,
        fleet: &str,
    ) -> Result<Option<impl Stream<Item = v1::FleetStatus> + Send + use<>>, Refusal> {
        let watched = self.0.ask(|answer| Event::Watch { fleet: fleet.into(), answer }).await?;
        Ok(watched
            .map(|watched| tokio_stream::wrappers::WatchStream::new(watched).map(|status| (*status).clone())))
    }

    /// How many gateways are connected to this replica.
    pub fn connected(&self) -> usize {
        *self.0.connected.borrow()
    }

    /// Asks every gateway to go elsewhere within a time, and waits until they have, or the time is over; then the rest
    /// is cut off. New ones are refused from now on.
    pub async fn drain(&self, within: Duration) {
        self.0.draining.send_replace(Some(within));
        let mut connected = self.0.connected.clone();
        let _ = timeout(within, connected.wait_for(|connected| *connected == 0)).await;
        self.0.cut.cancel();
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("replica", &self.0.options.replica)
            .field("connected", &self.connected())
            .finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    async fn tell(&self, event: Event) {
        // The hub is gone only when everything ends.
        let _ = self.events.send(event).await;
    }

    async fn ask<T>(&self, event: impl FnOnce(oneshot::Sender<T>) -> Event) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.tell(event(answer)).await;
        match timeout(HUB_TIMEOUT, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(Refusal::new(Code::NotReady, "the control plane goes away")),
        }
    }

    fn timing(&self) -> Timing {
        let DeliveryOptions { heartbeat, silence, age, leave, patience, .. } = self.options;
        Timing { heartbeat, silence, age, leave, patience }
    }
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn now() -> Now {
    Now { at: Instant::now(), us: now_us() }
}

/// A random number from 0 to 1.
fn jitter() -> f64 {
    crate::backoff::between(Duration::ZERO, Duration::from_secs(1)).as_secs_f64()
}
