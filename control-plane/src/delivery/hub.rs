//! The hub: one task that owns the roster, what each fleet is to have, and the single refresh that is under way.
//!
//! Sessions tell it what has changed and hear through a watch what is wanted. It never waits for the store: what has
//! to be written goes to the [`super::keeper`].

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kt_audit::Digest;
use kt_proto::v1;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    now_us,
    offer::Wanted,
    session::{Features, Greeting, Report},
    status::{Joined, Link, Roster, record},
};
use crate::{
    mirror::Mirror,
    state::{FleetState, State},
    store::StoreError,
};

/// How often a watched status may change.
const SHOWN_EVERY: Duration = Duration::from_millis(100);
/// How often it is looked for what changes by itself: silence, and the record that is due.
const LOOKED_EVERY: Duration = Duration::from_millis(500);
/// Between two records of this replica, at least and at most; the larger it is the rarer.
const RECORD_AFTER: Duration = Duration::from_secs(2);
const RECORD_WITHIN: Duration = Duration::from_secs(5);
const RECORD_SLOWER_PER_BYTES: usize = 32 * 1024;
/// Packs of earlier assignments that a gateway may still be fetching.
const MAX_RECENT: usize = 16;

/// What the sessions of a fleet hear.
#[derive(Debug, Clone, Default)]
pub(crate) struct Feed {
    pub(crate) wanted: Arc<Wanted>,
    /// Changes when any token has: each session looks whether its own is still valid.
    pub(crate) tokens: Tokens,
}

/// How many tokens there are, and the revision that last wrote one.
pub(crate) type Tokens = (usize, u64);

/// A gateway that was let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) session: u64,
    pub(crate) joined: Joined,
    pub(crate) feed: watch::Receiver<Arc<Feed>>,
    pub(crate) replaced: oneshot::Receiver<()>,
}

/// What is told to the hub, and asked of it. A fleet that it does not know is answered with `None`.
#[derive(Debug)]
pub(crate) enum Event {
    Join {
        fleet: Arc<str>,
        greeting: Arc<Greeting>,
        features: Arc<Features>,
        contact_us: Arc<AtomicI64>,
        answer: oneshot::Sender<Option<Admitted>>,
    },
    Report {
        fleet: Arc<str>,
        gateway: Arc<str>,
        session: u64,
        report: Box<Report>,
    },
    Leave {
        fleet: Arc<str>,
        gateway: Arc<str>,
        session: u64,
    },
    /// The store is to be read; what the fleet is to have by then.
    Refresh {
        fleet: Arc<str>,
        answer: oneshot::Sender<Result<Option<Arc<Wanted>>, StoreError>>,
    },
    /// Whether the pack is or was lately assigned to the fleet.
    MayFetch {
        fleet: Arc<str>,
        digest: Digest,
        answer: oneshot::Sender<bool>,
    },
    Status {
        fleet: Arc<str>,
        answer: oneshot::Sender<Option<v1::FleetStatus>>,
    },
    Gateways {
        fleet: Arc<str>,
        answer: oneshot::Sender<Option<Vec<v1::GatewayStatus>>>,
    },
    Watch {
        fleet: Arc<str>,
        answer: oneshot::Sender<Option<watch::Receiver<Arc<v1::FleetStatus>>>>,
    },
}

type Refreshed = oneshot::Sender<Result<Option<Arc<Wanted>>, StoreError>>;

/// See the module.
pub(crate) struct Hub {
    mirror: Mirror,
    state: Arc<State>,
    roster: Roster,
    fleets: BTreeMap<Arc<str>, FleetDesk>,
    replica: Arc<str>,
    sessions: u64,
    /// The refresh under way, and who waits for it.
    refreshing: Option<BoxFuture<'static, Result<Arc<State>, StoreError>>>,
    served: Vec<(Arc<str>, Refreshed)>,
    /// Who asked after it had begun: what it sees may be older than what they have seen.
    asked: Vec<(Arc<str>, Refreshed)>,
    record: watch::Sender<Bytes>,
    is_record_due: bool,
    recorded_at: Option<Instant>,
    connected: watch::Sender<usize>,
}

#[derive(Debug)]
struct FleetDesk {
    feed: watch::Sender<Arc<Feed>>,
    recent: VecDeque<Digest>,
    viewers: Option<watch::Sender<Arc<v1::FleetStatus>>>,
    is_changed: bool,
}

// === impl Hub ===

impl Hub {
    pub(crate) fn new(
        mirror: Mirror,
        replica: Arc<str>,
        silence: Duration,
        record: watch::Sender<Bytes>,
        connected: watch::Sender<usize>,
    ) -> Self {
        let silence_us = i64::try_from(silence.as_micros()).unwrap_or(i64::MAX);
        let mut hub = Self {
            state: Arc::default(),
            roster: Roster::new(Arc::clone(&replica), silence_us),
            fleets: BTreeMap::new(),
            replica,
            sessions: 0,
            refreshing: None,
            served: Vec::new(),
            asked: Vec::new(),
            record,
            is_record_due: true,
            recorded_at: None,
            connected,
            mirror,
        };
        hub.see(hub.mirror.state());
        hub
    }

    /// Runs until all who could tell it something are gone, or it is stopped.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<Event>, stop: CancellationToken) {
        let mut states = self.mirror.subscribe();
        let (mut shown, mut looked) = (interval(SHOWN_EVERY), interval(LOOKED_EVERY));
        shown.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looked.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => match event {
                    Some(event) => self.take(event),
                    None => return,
                },
                changed = states.changed() => match changed {
                    Ok(()) => {
                        let state = Arc::clone(&states.borrow_and_update());
                        self.see(state);
                    }
                    Err(_) => return,
                },
                refreshed = under_way(&mut self.refreshing) => {
                    self.refreshing = None;
                    self.refreshed(refreshed);
                }
                _ = shown.tick() => self.show(),
                _ = looked.tick() => self.look(),
            }
        }
    }

    fn take(&mut self, event: Event) {
        // Who asked may be gone by now: answers that nobody takes are dropped.
        match event {
            Event::Join { fleet, greeting, features, contact_us, answer } => {
                let _ = answer.send(self.join(&fleet, &greeting, features, contact_us));
            }
            Event::Report { fleet, gateway, session, report } => {
                self.roster.report(&fleet, &gateway, session, *report);
                self.changed(&fleet);
            }
            Event::Leave { fleet, gateway, session } => {
                self.roster.leave(&fleet, &gateway, session);
                self.changed(&fleet);
                self.connected.send_replace(self.roster.connected());
            }
            Event::Refresh { fleet, answer } => {
                self.asked.push((fleet, answer));
                self.refresh();
            }
            Event::MayFetch { fleet, digest, answer } => {
                let _ =
                    answer.send(self.fleets.get(&fleet).is_some_and(|desk| desk.recent.contains(&digest)));
            }
            Event::Status { fleet, answer } => {
                let _ = answer.send(self.status(&fleet));
            }
            Event::Gateways { fleet, answer } => {
                let gateways = self
                    .fleets
                    .get(&fleet)
                    .map(|desk| self.roster.gateways(&fleet, &desk.wanted(), now_us()));
                let _ = answer.send(gateways);
            }
            Event::Watch { fleet, answer } => {
                let _ = answer.send(self.watch(&fleet));
            }
        }
    }

    fn join(
        &mut self,
        fleet: &Arc<str>,
        greeting: &Greeting,
        features: Arc<Features>,
        contact_us: Arc<AtomicI64>,
    ) -> Option<Admitted> {
        let feed = self.fleets.get(fleet)?.feed.subscribe();
        self.sessions += 1;
        let session = self.sessions;
        let (replace, replaced) = oneshot::channel();
        let link = Link { session, replace, contact_us, since_us: now_us() };
        let joined = self.roster.join(fleet, greeting, features, link);
        self.changed(fleet);
        self.connected.send_replace(self.roster.connected());
        Some(Admitted { session, joined, feed, replaced })
    }

    fn changed(&mut self, fleet: &str) {
        self.is_record_due = true;
        if let Some(desk) = self.fleets.get_mut(fleet) {
            desk.is_changed = true;
        }
    }

    /// Takes the state of the mirror, which is the truth also where its revision has gone down.
    fn see(&mut self, state: Arc<State>) {
        let before = std::mem::replace(&mut self.state, Arc::clone(&state));
        let tokens = tokens(&state);
        let are_tokens_new = tokens != self::tokens(&before);
        for (name, fleet) in &state.fleets {
            let is_known = before.fleets.get(name).is_some_and(|known| Arc::ptr_eq(known, fleet));
            let desk = self.fleets.entry(Arc::clone(name)).or_insert_with(FleetDesk::new);
            if is_known && !are_tokens_new {
                continue;
            }
            desk.see(fleet, &state, tokens);
            self.roster.name(name, &desk.wanted());
        }
        if self.roster.read_others(&state.replicas, now_us()) {
            self.fleets.values_mut().for_each(|desk| desk.is_changed = true);
        }
    }

    fn refresh(&mut self) {
        if self.refreshing.is_none() && !self.asked.is_empty() {
            self.served = std::mem::take(&mut self.asked);
            let mirror = self.mirror.clone();
            self.refreshing = Some(Box::pin(async move { mirror.refresh().await }));
        }
    }

    fn refreshed(&mut self, refreshed: Result<Arc<State>, StoreError>) {
        let result = refreshed.map(|_| self.see(self.mirror.state()));
        for (fleet, answer) in std::mem::take(&mut self.served) {
            let wanted = || self.fleets.get(&fleet).map(FleetDesk::wanted);
            let _ = answer.send(result.clone().map(|()| wanted()));
        }
        self.refresh();
    }

    fn status(&self, fleet: &str) -> Option<v1::FleetStatus> {
        let desk = self.fleets.get(fleet)?;
        let state = self.state.fleet(fleet)?;
        Some(self.roster.status(fleet, state, &desk.wanted(), now_us()))
    }

    fn watch(&mut self, fleet: &str) -> Option<watch::Receiver<Arc<v1::FleetStatus>>> {
        let status = Arc::new(self.status(fleet)?);
        let desk = self.fleets.get_mut(fleet)?;
        let viewers = desk.viewers.get_or_insert_with(|| watch::Sender::new(Arc::clone(&status)));
        viewers.send_replace(status);
        Some(viewers.subscribe())
    }

    /// Shows what has changed to those who watch.
    fn show(&mut self) {
        let now_us = now_us();
        for (name, desk) in &mut self.fleets {
            if !desk.is_changed {
                continue;
            }
            let Some(viewers) = desk.viewers.as_ref().filter(|viewers| viewers.receiver_count() > 0) else {
                desk.viewers = None;
                continue;
            };
            let Some(state) = self.state.fleets.get(name) else { continue };
            desk.is_changed = false;
            let status = Arc::new(self.roster.status(name, state, &desk.wanted(), now_us));
            viewers.send_if_modified(|shown| {
                let is_new = **shown != *status;
                *shown = status;
                is_new
            });
        }
    }

    /// Sees to what changes without an event.
    fn look(&mut self) {
        for desk in self.fleets.values_mut() {
            desk.is_changed |= desk.viewers.is_some();
        }
        let slower = self.record.borrow().len() / RECORD_SLOWER_PER_BYTES;
        let after = RECORD_AFTER + Duration::from_secs(u64::try_from(slower).unwrap_or(u64::MAX));
        let wait = if self.is_record_due { after } else { after.max(RECORD_WITHIN) };
        if self.recorded_at.is_some_and(|at| at.elapsed() < wait) {
            return;
        }
        self.recorded_at = Some(Instant::now());
        self.is_record_due = false;
        self.roster.prune(now_us());
        let wanted = |fleet: &str| self.fleets.get(fleet).map(FleetDesk::wanted).unwrap_or_default();
        let parts = self.roster.parts(wanted, now_us());
        self.record.send_replace(record::pack(&self.replica, parts, now_us()));
    }
}

// === impl FleetDesk ===

impl FleetDesk {
    fn new() -> Self {
        Self { feed: watch::Sender::default(), recent: VecDeque::new(), viewers: None, is_changed: true }
    }

    fn wanted(&self) -> Arc<Wanted> {
        Arc::clone(&self.feed.borrow().wanted)
    }

    fn see(&mut self, fleet: &FleetState, state: &State, tokens: Tokens) {
        let before = Arc::clone(&self.feed.borrow());
        let wanted = Arc::new(Wanted::of(fleet, state, &before.wanted));
        for pack in wanted.assignment.iter().flat_map(|offer| &offer.packs) {
            let Ok(digest) = <[u8; 32]>::try_from(&*pack.digest).map(Digest) else { continue };
            self.recent.retain(|recent| *recent != digest);
            self.recent.push_back(digest);
            if self.recent.len() > MAX_RECENT {
                self.recent.pop_front();
            }
        }
        self.is_changed = true;
        if before.tokens != tokens || !wanted.is_same(&before.wanted) {
            self.feed.send_replace(Arc::new(Feed { wanted, tokens }));
        }
    }
}

async fn under_way(
    refreshing: &mut Option<BoxFuture<'static, Result<Arc<State>, StoreError>>>,
) -> Result<Arc<State>, StoreError> {
    match refreshing {
        Some(refreshing) => refreshing.await,
        None => std::future::pending().await,
    }
}

fn tokens(state: &State) -> Tokens {
    (state.tokens.len(), state.tokens.values().map(|token| token.modified).max().unwrap_or_default())
}
