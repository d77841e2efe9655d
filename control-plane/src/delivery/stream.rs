//! The task that runs a session: it reads, writes and keeps time, and decides nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use kt_proto::{
    refusal::{Code, Refusal},
    v1,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tonic::Status;

use super::{
    Shared,
    hub::{Admitted, Event, Feed, Tokens},
    jitter,
    keeper::Chore,
    now,
    offer::Wanted,
    outbox::message,
    session::{Ahead, End, Greeting, Session, refused},
    wire::{self, Inbound, Piece},
};
use crate::{state::State, store::StoreError};

/// How long a last word may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// A refresh that failed is tried again after this.
const REFRESH_AGAIN: Duration = Duration::from_secs(5);

pub(super) type Out = mpsc::Sender<Piece>;

/// Whose stream it is, by its token.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) fleet: Arc<str>,
    /// The SHA-256 of the token's text.
    pub(super) token: [u8; 32],
}

// === impl Caller ===

impl Caller {
    /// Whether the token is still good; the state is what it was last known to be.
    fn check(&self, state: &State, now_us: i64) -> Result<(), Refusal> {
        let Some(token) = state.tokens.get(&self.token) else {
            return Err(Refusal::new(Code::TokenUnknown, "the token of this gateway is gone"));
        };
        let token = token.record.token.as_ref();
        let revoked_us = token.map_or(0, |token| token.revoked_us);
        let expires_us = token.map_or(0, |token| token.expires_us);
        if revoked_us != 0 {
            return Err(Refusal::new(Code::TokenRevoked, "the token of this gateway was revoked"));
        }
        if expires_us != 0 && expires_us <= now_us {
            return Err(Refusal::new(Code::TokenExpired, "the token of this gateway has expired"));
        }
        Ok(())
    }
}

/// Runs a stream from its first message to its end.
pub(super) async fn run(
    shared: Arc<Shared>,
    caller: Caller,
    mut inbound: Inbound<v1::GatewayMessage>,
    out: Out,
) {
    let (greeting, contact_us, admitted) = match greet(&shared, &caller, &mut inbound).await {
        Ok(admitted) => admitted,
        Err(None) => return,
        Err(Some(refused)) => {
            shared.metrics.refused(refused.why());
            let _ = timeout(FAREWELL, out.send(Ok(farewell(refused)))).await;
            return;
        }
    };
    let session = admitted.session;
    let mut run = Run::new(&shared, &caller, &greeting, contact_us, admitted);
    let end = run.until_end(&mut inbound, &out).await;
    shared.metrics.ended(&end);
    let leave =
        Event::Leave { fleet: Arc::clone(&caller.fleet), gateway: Arc::clone(&greeting.gateway_id), session };
    shared.tell(leave).await;
    let last = match end {
        End::Gone | End::Stuck => return,
        End::Silent => Err(Box::new(Status::deadline_exceeded("nothing was heard for too long"))),
        End::Drained => Err(Box::new(Status::unavailable("this control plane goes away: connect again"))),
        End::Replaced => Ok(farewell(refused(
            v1::refused::Why::Replaced,
            "the same gateway has connected again: this stream is the older one",
        ))),
        End::Malformed(what) => Ok(farewell(refused(v1::refused::Why::Malformed, what))),
        End::Unauthorised(refusal) => Err(Box::new(refusal.into())),
    };
    let _ = timeout(FAREWELL, out.send(last)).await;
}

fn farewell(refused: v1::Refused) -> bytes::Bytes {
    wire::outgoing(&message(v1::server_message::Message::Refused(refused)))
}

type Greeted = (Arc<Greeting>, Arc<AtomicI64>, Admitted);

/// From the first message to a place in the roster; `None`: there is nobody to tell.
async fn greet(
    shared: &Shared,
    caller: &Caller,
    inbound: &mut Inbound<v1::GatewayMessage>,
) -> Result<Greeted, Option<v1::Refused>> {
    use v1::refused::Why;
    let busy = |wait: Duration| {
        let retry_after_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        v1::Refused { retry_after_ms, ..refused(Why::Busy, "too many gateways connect at once") }
    };
    let hello = {
        let Ok(_place) = shared.handshakes.try_acquire() else {
            return Err(Some(busy(Duration::from_secs(1).mul_f64(1.0 + jitter()))));
        };
        match timeout(shared.options.hello, inbound.message()).await {
            Ok(Ok(Some(hello))) => hello,
            Ok(Ok(None) | Err(_)) => return Err(None),
            Err(_) => return Err(Some(refused(Why::Malformed, "no Hello came in time"))),
        }
    };
    let now = now();
    if shared.draining.borrow().is_some() {
        return Err(Some(refused(Why::Draining, "this control plane goes away: connect again")));
    }
    shared.gate.admit(now.at, jitter()).map_err(|wait| Some(busy(wait)))?;
    if shared.open.load(Ordering::Relaxed) > shared.options.max_sessions {
        return Err(Some(busy(Duration::from_secs(10).mul_f64(1.0 + jitter()))));
    }
    if !shared.mirror.is_ready() {
        return Err(Some(refused(Why::Starting, "this control plane has not read its store yet")));
    }
    let (greeting, features) = Greeting::read(hello, &caller.fleet)?;
    let (greeting, features) = (Arc::new(greeting), Arc::new(features));
    let contact_us = Arc::new(AtomicI64::new(now.us));
    let join = |answer| Event::Join {
        fleet: Arc::clone(&caller.fleet),
        greeting: Arc::clone(&greeting),
        features: Arc::clone(&features),
        contact_us: Arc::clone(&contact_us),
        answer,
    };
    let unavailable = |_| Some(refused(Why::Draining, "this control plane goes away: connect again"));
    let mut admitted = shared.ask(join).await.map_err(unavailable)?;
    if admitted.is_none() {
        // This replica may not have heard of a fleet that was just made.
        let refresh = |answer| Event::Refresh { fleet: Arc::clone(&caller.fleet), answer };
        let _ = shared.ask(refresh).await;
        admitted = shared.ask(join).await.map_err(unavailable)?;
    }
    let message = || format!("there is no fleet `{}`", caller.fleet);
    let admitted = admitted.ok_or_else(|| Some(refused(Why::UnknownFleet, message())))?;
    Ok((greeting, contact_us, admitted))
}

type Refreshing = oneshot::Receiver<Result<Option<Arc<Wanted>>, StoreError>>;

/// A session and what it is run with.
struct Run<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
    greeting: &'a Greeting,
    number: u64,
    session: Session,
    contact_us: Arc<AtomicI64>,
    feed: watch::Receiver<Arc<Feed>>,
    replaced: oneshot::Receiver<()>,
    tokens: Tokens,
    refreshing: Option<Refreshing>,
    refresh_at: Option<Instant>,
    /// Since when a message waits to be taken.
    stuck_since: Option<Instant>,
}

// === impl Run ===

impl<'a> Run<'a> {
    fn new(
        shared: &'a Shared,
        caller: &'a Caller,
        greeting: &'a Greeting,
        contact_us: Arc<AtomicI64>,
        admitted: Admitted,
    ) -> Self {
        let Admitted { session: number, joined, mut feed, replaced } = admitted;
        let now = now();
        let heard = Arc::clone(&feed.borrow_and_update());
        let mut greeting_with_memory = greeting.clone();
        greeting_with_memory.rejected.extend(joined.rejected);
        let mut session = Session::open(
            &greeting_with_memory,
            joined.features,
            joined.refusals,
            Arc::clone(&heard.wanted),
            shared.timing(),
            jitter(),
            now,
        );
        session.welcome(&shared.options.replica, &shared.mirror.state().epoch, now);
        Self {
            shared,
            caller,
            greeting,
            number,
            session,
            contact_us,
            feed,
            replaced,
            tokens: heard.tokens,
            refreshing: None,
            refresh_at: None,
            stuck_since: None,
        }
    }

    async fn until_end(&mut self, inbound: &mut Inbound<v1::GatewayMessage>, out: &Out) -> End {
        let mut draining = self.shared.draining.subscribe();
        // Before anything else: the token may have been revoked while the gateway was let in.
        if let Err(refusal) = self.caller.check(&self.shared.mirror.state(), now().us) {
            return End::Unauthorised(refusal);
        }
        loop {
            if let Err(end) = self.settle().await {
                return end;
            }
            let has_mail = self.session.has_mail(now());
            self.stuck_since = if has_mail { self.stuck_since.or(Some(Instant::now())) } else { None };
            let stuck_at = self.stuck_since.map(|since| since + self.shared.options.send);
            let wakes_at =
                [stuck_at, self.refresh_at].into_iter().flatten().fold(self.session.wakes_at(), Instant::min);
            tokio::select! {
                () = self.shared.cut.cancelled() => return End::Drained,
                _ = &mut self.replaced => return End::Replaced,
                message = inbound.message() => match message {
                    Ok(Some(message)) => if let Err(end) = self.receive(message) {
                        return end;
                    },
                    Ok(None) | Err(_) => return End::Gone,
                },
                place = out.reserve(), if has_mail => match place {
                    Ok(place) => {
                        self.stuck_since = None;
                        if let Some(outgoing) = self.session.next(now()) {
                            self.shared.metrics.sent(&outgoing);
                            place.send(Ok(wire::outgoing(&outgoing)));
                        }
                    }
                    Err(_) => return End::Gone,
                },
                () = out.closed(), if !has_mail => return End::Gone,
                changed = self.feed.changed() => if changed.is_err() || !self.hear() {
                    let state = self.shared.mirror.state();
                    return self.caller.check(&state, now().us).err().map_or(End::Drained, End::Unauthorised);
                },
                changed = draining.changed() => if let (Ok(()), Some(within)) = (changed, *draining.borrow()) {
                    self.session.shut_down(within, now());
                },
                refreshed = under_way(&mut self.refreshing) => {
                    self.refreshing = None;
                    self.refreshed(refreshed).await;
                }
                () = sleep_until(wakes_at) => {
                    if stuck_at.is_some_and(|at| at <= Instant::now()) {
                        return End::Stuck;
                    }
                }
            }
        }
    }

    /// What is due now: time, report, refresh.
    async fn settle(&mut self) -> Result<(), End> {
        let now = now();
        let wakes_at = self.session.wakes_at();
        if let Some(end) = self.session.tick(now) {
            return Err(end);
        }
        if wakes_at <= now.at {
            // As often as a heartbeat: a token expires without a change of the store.
            self.caller.check(&self.shared.mirror.state(), now.us).map_err(End::Unauthorised)?;
        }
        if let Some(report) = self.session.take_report() {
            let report = Event::Report {
                fleet: Arc::clone(&self.caller.fleet),
                gateway: Arc::clone(&self.greeting.gateway_id),
                session: self.number,
                report: Box::new(report),
            };
            self.shared.tell(report).await;
        }
        let may_ask = self.refreshing.is_none() && self.refresh_at.is_none_or(|at| at <= now.at);
        if may_ask && self.session.needs_refresh() {
            let (answer, answered) = oneshot::channel();
            self.refreshing = Some(answered);
            self.refresh_at = None;
            self.shared.tell(Event::Refresh { fleet: Arc::clone(&self.caller.fleet), answer }).await;
        } else if may_ask {
            self.refresh_at = None;
        }
        Ok(())
    }

    fn receive(&mut self, message: v1::GatewayMessage) -> Result<(), End> {
        let now = now();
        self.contact_us.store(now.us, Ordering::Relaxed);
        self.shared.metrics.received(&message);
        let tells_keys = matches!(
            &message.message,
            Some(v1::gateway_message::Message::Heartbeat(heartbeat)) if heartbeat.held_keys.is_some()
        );
        let uses = self.session.receive(message, now)?;
        if tells_keys && let Some(ahead) = self.session.told_keys() {
            // When the keeper can't follow, the next gateway that connects tells as much.
            let _ = self.shared.chores.try_send(self.chore(ahead));
        }
        if !uses.is_empty() {
            let chore = Chore::KeyUse { fleet: Arc::clone(&self.caller.fleet), uses };
            // When the keeper can't follow, a later use tells as much.
            let _ = self.shared.chores.try_send(chore);
        }
        Ok(())
    }

    /// Takes what the hub says; false: the token is not good any more.
    fn hear(&mut self) -> bool {
        let feed = Arc::clone(&self.feed.borrow_and_update());
        if feed.tokens != self.tokens {
            self.tokens = feed.tokens;
            if self.caller.check(&self.shared.mirror.state(), now().us).is_err() {
                return false;
            }
        }
        self.session.want(Arc::clone(&feed.wanted));
        true
    }

    async fn refreshed(
        &mut self,
        refreshed: Result<Result<Option<Arc<Wanted>>, StoreError>, oneshot::error::RecvError>,
    ) {
        let Ok(Ok(Some(wanted))) = refreshed else {
            // The store is away: what is there is served, and it is asked again.
            self.refresh_at = Some(Instant::now() + REFRESH_AGAIN);
            return;
        };
        for ahead in self.session.refreshed(wanted) {
            self.diverged(ahead).await;
        }
    }

    fn chore(&self, ahead: Ahead) -> Chore {
        Chore::Diverged {
            fleet: Arc::clone(&self.caller.fleet),
            gateway: Arc::clone(&self.greeting.gateway_id),
            ahead,
        }
    }

    async fn diverged(&self, ahead: Ahead) {
        let chore = self.chore(ahead);
        // A whole fleet says so at once; one of them is enough, and all say it again when they reconnect.
        let deadline = Instant::now() + FAREWELL;
        let _ = timeout_at(deadline, self.shared.chores.send(chore)).await;
    }
}

async fn under_way(
    refreshing: &mut Option<Refreshing>,
) -> Result<Result<Option<Arc<Wanted>>, StoreError>, oneshot::error::RecvError> {
    match refreshing {
        Some(refreshing) => refreshing.await,
        None => std::future::pending().await,
    }
}
