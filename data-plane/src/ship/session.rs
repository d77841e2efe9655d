//! The life of the connection that records go by, as a state machine: no socket, no clock of its own, no file.
//!
//! ```text
//! Waiting ─▶ Connecting ─▶ Greeting ─▶ Live ─▶ Waiting
//! ```
//!
//! Whoever drives it asks [`Session::step`] what to do, tells it what happened, and waits until the moment that it
//! names. It connects only when there is something to send.
//!
//! # Invariants
//! - At most a window of batches is without an answer, and their number and place is known until they have one.
//! - A batch counts as acknowledged only by an answer that names its number and its last record. Any other answer ends
//!   the connection and acknowledges nothing.
//! - While an answer is outstanding, a batch that is not full waits for the answer or for [`LINGER`]: few large
//!   batches under load, no delay without.
//! - A connection that ends, in order or not, is followed by a wait drawn at random below a bound that doubles from
//!   0.5 s to 30 s, and falls back only after an acknowledgement.

use std::{collections::VecDeque, time::Duration};

use kt_audit::{Digest, Epoch, Position};
use kt_proto::{refusal::Code, v1};
use tokio::time::Instant;

use super::spool::{Limits, MAX_FRAME};
use crate::control::session::Random;

/// The bound of the first wait.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The bound of the longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// What only a person can change is tried again after this long to twice as long.
const SLOW_WAIT: Duration = Duration::from_secs(15);
/// From a connection being opened to the answer to the hello.
const GREETING_LIMIT: Duration = Duration::from_secs(9);
/// Silence after which the other side is taken for dead, whatever it says.
const LONGEST_SILENCE: Duration = Duration::from_secs(9);
/// No ping is asked for more often.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// How long a batch may be without an answer although the other side lives.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_mins(1);
/// How long records wait for others to share a batch with.
pub(crate) const LINGER: Duration = Duration::from_millis(100);
/// The largest batch, whatever the server takes.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// The most records of a batch, whatever the server takes.
pub(crate) const MAX_RECORDS: u32 = 10_000;
/// The most batches without an answer, whatever the server takes.
pub(crate) const MAX_WINDOW: usize = 16;
/// The longest pause that a server may ask for at a time.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Nothing is to be done for so long unless something happens.
const IDLE: Duration = Duration::from_hours(1);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing before this moment, unless something happens.
    Wait(Instant),
    /// Open a connection; a fresh one, whatever became of the last.
    Connect,
    /// Read a batch, send it, and say [`Session::sent`]; or [`Session::empty`] when there is none.
    Fill(Limits),
    /// Send a ping.
    Ping,
    /// Close the connection.
    Leave,
}

/// Why a connection is not there (any more).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// No connection, or it broke.
    Broken(String),
    /// The token file can't be read, or the settings of the connection are bad.
    Unusable(String),
    /// The server refused the stream, with a code of ours.
    Denied(Code, String, Option<Duration>),
    /// The server takes no audit records.
    Unsupported,
    /// The server ended the stream in order.
    Closed,
    /// Nothing came for too long.
    Silent,
    /// A batch was not answered for too long.
    Unanswered,
    /// The server does not take what is sent.
    Stuck,
    /// It said something that makes no sense.
    Nonsense(&'static str),
    /// The spool can't be read.
    Spool(String),
    /// The server asked for it.
    Drained,
    /// Everything was acknowledged, and the gateway stops.
    Finished,
}

impl Ended {
    /// For people.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Broken(error) => format!("can't be reached: {error}"),
            Self::Unusable(error) => error.clone(),
            Self::Denied(code, message, _) => {
                format!("refuses the records of this gateway ({code}): {message}")
            }
            Self::Unsupported => "takes no audit records: it is older than this gateway".to_owned(),
            Self::Closed => "ended the connection".to_owned(),
            Self::Silent => "has fallen silent".to_owned(),
            Self::Unanswered => "does not acknowledge what was sent".to_owned(),
            Self::Stuck => "takes no messages".to_owned(),
            Self::Nonsense(what) => format!("does not speak the protocol: {what}"),
            Self::Spool(error) => format!("can't be sent what can't be read here: {error}"),
            Self::Drained => "asked to connect again".to_owned(),
            Self::Finished => "has everything".to_owned(),
        }
    }

    /// Only a person can help.
    pub(crate) fn needs_a_person(&self) -> bool {
        match self {
            Self::Unusable(_) | Self::Unsupported => true,
            Self::Denied(code, ..) => !code.is_retryable(),
            _ => false,
        }
    }

    /// Two ends of one kind are said once.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Denied(one, ..), Self::Denied(two, ..)) => one == two,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// A batch on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) last: Position,
    pub(crate) records: u64,
    /// The writer's time of its first record.
    pub(crate) first_time_us: i64,
    /// The segment that holds its last record.
    pub(crate) segment: u64,
    /// Records that were missing before it.
    pub(crate) lost: u64,
}

/// What a message of the server means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing that the driver has to act on.
    Nothing,
    /// Records after these are wanted, of each run that the server knows.
    Welcome(Vec<Position>),
    /// These batches are durable, in order.
    Acked(Vec<Sent>),
}

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Connecting { until: Instant },
    Greeting { until: Instant },
    Live(Live),
}

#[derive(Debug)]
struct Live {
    heard: Instant,
    silence: Duration,
    interval: Duration,
    /// When to say something for the sake of it.
    ping: Instant,
    window: usize,
    limits: Limits,
    /// What has no answer yet, with its number and when it was sent.
    outstanding: VecDeque<(u64, Instant, Sent)>,
    next_number: u64,
    /// When a batch may go out that is not full.
    small: Instant,
    paused: Option<Instant>,
    leave: Option<Leave>,
    /// A batch is being read.
    is_filling: bool,
}

/// The server has asked to connect again.
#[derive(Debug, Clone, Copy)]
struct Leave {
    /// Nothing is sent from here on.
    at: Instant,
    /// Answers are waited for no longer.
    latest: Instant,
}

/// The connection that records go by.
pub(crate) struct Session {
    state: State,
    random: Random,
    /// Connections since the last sign of health.
    failures: u32,
    /// There may be something to send.
    has_more: bool,
    /// The gateway stops: nothing new is written.
    is_finishing: bool,
    said: Option<Ended>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Session {
    /// Not connected, with something to send perhaps.
    pub(crate) fn new(now: Instant, random: Random) -> Self {
        Self {
            state: State::Waiting { until: now },
            random,
            failures: 0,
            has_more: true,
            is_finishing: false,
            said: None,
        }
    }

    /// What is to be done now. After `Connect` and `Ping` it is done; after `Leave`, say [`Session::ended`].
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        match &mut self.state {
            State::Waiting { .. } if !self.has_more => Step::Wait(now + IDLE),
            State::Waiting { until } if now < *until => Step::Wait(*until),
            State::Waiting { .. } => {
                self.state = State::Connecting { until: now + GREETING_LIMIT };
                Step::Connect
            }
            State::Connecting { until } | State::Greeting { until } => {
                if now < *until {
                    Step::Wait(*until)
                } else {
                    Step::Leave
                }
            }
            State::Live(live) => {
                if live.end(now, self.is_finishing && !self.has_more).is_some() {
                    return Step::Leave;
                }
                if self.has_more && live.may_fill(now) {
                    live.is_filling = true;
                    return Step::Fill(live.limits);
                }
                if now >= live.ping {
                    live.ping = now + live.interval;
                    return Step::Ping;
                }
                Step::Wait(live.next(now, self.has_more))
            }
        }
    }

    /// Why a step was `Leave`.
    pub(crate) fn reason(&self, now: Instant) -> Ended {
        match &self.state {
            State::Live(live) => live.end(now, self.is_finishing && !self.has_more).unwrap_or(Ended::Closed),
            State::Waiting { .. } | State::Connecting { .. } | State::Greeting { .. } => Ended::Silent,
        }
    }

    /// There may be something to send.
    pub(crate) fn more(&mut self) {
        self.has_more = true;
    }

    /// Whether nothing waits and nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        let is_outstanding = match &self.state {
            State::Live(live) => !live.outstanding.is_empty() || live.is_filling,
            _ => false,
        };
        !self.has_more && !is_outstanding
    }

    /// Nothing new is written any more: once everything is acknowledged, the connection is closed. A wait that is
    /// under way is cut short, once.
    pub(crate) fn finish(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.is_finishing, true) {
            self.has_more = true;
            if let State::Waiting { until } = &mut self.state {
                *until = now;
            }
        }
    }

    /// The connection is open, and the hello is on its way.
    pub(crate) fn greeting(&mut self) {
        if let State::Connecting { until } = self.state {
            self.state = State::Greeting { until };
        }
    }

    /// The number of the next batch.
    pub(crate) fn number(&self) -> u64 {
        match &self.state {
            State::Live(live) => live.next_number,
            _ => 0,
        }
    }

    /// A batch went out, under [`Session::number`].
    pub(crate) fn sent(&mut self, now: Instant, sent: Sent, is_full: bool) {
        let State::Live(live) = &mut self.state else { return };
        live.is_filling = false;
        live.outstanding.push_back((live.next_number, now, sent));
        live.next_number += 1;
        live.ping = now + live.interval;
        live.small = if is_full { now } else { now + LINGER };
    }

    /// There was nothing to read. `is_over`: nor was any told of meanwhile.
    pub(crate) fn empty(&mut self, is_over: bool) {
        if let State::Live(live) = &mut self.state {
            live.is_filling = false;
        }
        if is_over {
            self.has_more = false;
        }
    }

    /// A message came. Returns what it means, or why the connection ends.
    pub(crate) fn heard(
        &mut self,
        now: Instant,
        message: &v1::ship_response::Message,
    ) -> Result<Told, Ended> {
        use v1::ship_response::Message;
        if let (State::Greeting { .. }, Message::Welcome(welcome)) = (&self.state, message) {
            let resume = welcome.resume.iter().map(position).collect::<Option<Vec<_>>>();
            let resume = resume.ok_or(Ended::Nonsense("a place in its welcome is none"))?;
            self.state = State::Live(Live::new(now, welcome)?);
            self.has_more = true;
            return Ok(Told::Welcome(resume));
        }
        let State::Live(live) = &mut self.state else {
            return Err(Ended::Nonsense("its first message is no welcome"));
        };
        live.heard = now;
        match message {
            Message::Ack(ack) => {
                let acked = live.acked(ack)?;
                self.failures = 0;
                self.said = None;
                return Ok(Told::Acked(acked));
            }
            Message::SlowDown(slow) => {
                let wait = Duration::from_millis(u64::from(slow.wait_ms)).min(LONGEST_PAUSE);
                live.paused = Some(now + wait);
            }
            Message::Drain(drain) => {
                let within = u64::from(drain.within_ms);
                let at = now + Duration::from_millis((self.random)(within));
                live.leave = Some(Leave { at, latest: now + Duration::from_millis(within) });
            }
            Message::Welcome(_) => return Err(Ended::Nonsense("it welcomes twice")),
            Message::Ping(_) | Message::SubjectsAck(_) | Message::Notice(_) | Message::Erase(_) => {}
        }
        Ok(Told::Nothing)
    }

    /// There is no connection any more; what was under way is to be sent again. Returns whether this is worth a word:
    /// the same is not said again and again.
    pub(crate) fn ended(&mut self, now: Instant, why: &Ended) -> bool {
        let (is_drawn, had_more) = match &self.state {
            State::Live(live) => (live.leave.is_some(), !live.outstanding.is_empty() || live.is_filling),
            _ => (false, false),
        };
        self.has_more |= had_more;
        let asked = match why {
            Ended::Denied(_, _, Some(after)) => *after,
            _ => Duration::ZERO,
        };
        let wait = match why {
            Ended::Finished => Duration::ZERO,
            // The moment was drawn for this gateway already.
            _ if is_drawn => Duration::ZERO,
            _ if why.needs_a_person() => SLOW_WAIT + self.draw(SLOW_WAIT),
            _ => {
                let bound = FIRST_WAIT.saturating_mul(1 << self.failures.min(6)).min(LONGEST_WAIT);
                self.failures = self.failures.saturating_add(1);
                self.draw(bound)
            }
        };
        self.state = State::Waiting { until: now + asked + wait };
        let is_in_order = matches!(why, Ended::Finished | Ended::Drained) || is_drawn;
        let is_new = !is_in_order && !self.said.as_ref().is_some_and(|said| said.is_like(why));
        if is_new {
            self.said = Some(why.clone());
        }
        is_new
    }

    /// A wait of zero to a bound.
    fn draw(&mut self, bound: Duration) -> Duration {
        Duration::from_millis((self.random)(u64::try_from(bound.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Live {
    fn new(now: Instant, welcome: &v1::ShipWelcome) -> Result<Self, Ended> {
        let millis = |ms: u32| Duration::from_millis(u64::from(ms));
        let interval = match welcome.heartbeat_interval_ms {
            0 => LONGEST_SILENCE / 3,
            ms => millis(ms).clamp(SHORTEST_INTERVAL, LONGEST_SILENCE / 2),
        };
        let silence = match welcome.silence_limit_ms {
            0 => LONGEST_SILENCE,
            // Less than two intervals would end connections that are well.
            ms => millis(ms).max(interval * 2).min(LONGEST_SILENCE),
        };
        let bytes = usize::try_from(welcome.max_batch_bytes).unwrap_or(usize::MAX);
        if bytes < MAX_FRAME {
            return Err(Ended::Nonsense("it takes no batch that every record fits into"));
        }
        let window = usize::try_from(welcome.window).unwrap_or(usize::MAX);
        Ok(Self {
            heard: now,
            silence,
            interval,
            ping: now + interval,
            window: window.clamp(1, MAX_WINDOW),
            limits: Limits {
                bytes: bytes.min(MAX_BYTES),
                records: welcome.max_batch_records.clamp(1, MAX_RECORDS),
            },
            outstanding: VecDeque::new(),
            next_number: 1,
            small: now,
            paused: None,
            leave: None,
            is_filling: false,
        })
    }

    fn acked(&mut self, ack: &v1::ShipAck) -> Result<Vec<Sent>, Ended> {
        let count = self.outstanding.iter().take_while(|(number, ..)| *number <= ack.number).count();
        let newest = count.checked_sub(1).and_then(|last| self.outstanding.get(last));
        let Some((number, _, sent)) = newest else {
            return Err(Ended::Nonsense("it acknowledges what was not sent"));
        };
        let place = ack.position.as_ref().and_then(position);
        if *number != ack.number || place != Some(sent.last) {
            return Err(Ended::Nonsense("it acknowledges another record than was sent"));
        }
        Ok(self.outstanding.drain(..count).map(|(_, _, sent)| sent).collect())
    }

    fn may_fill(&self, now: Instant) -> bool {
        !self.is_filling
            && self.outstanding.len() < self.window
            && self.paused.is_none_or(|until| now >= until)
            && self.leave.is_none_or(|leave| now < leave.at)
            && (self.outstanding.is_empty() || now >= self.small)
    }

    /// Why it ends now, when it does. `is_done`: there is nothing more to send, ever.
    fn end(&self, now: Instant, is_done: bool) -> Option<Ended> {
        let is_empty = self.outstanding.is_empty() && !self.is_filling;
        if self.leave.is_some_and(|leave| now >= leave.latest || (now >= leave.at && is_empty)) {
            return Some(Ended::Drained);
        }
        if now >= self.heard + self.silence {
            return Some(Ended::Silent);
        }
        if self.outstanding.front().is_some_and(|(_, sent, _)| now >= *sent + ANSWER_LIMIT) {
            return Some(Ended::Unanswered);
        }
        (is_done && is_empty).then_some(Ended::Finished)
    }

    /// When something is to be done next.
    fn next(&self, now: Instant, has_more: bool) -> Instant {
        let answer = self.outstanding.front().map(|(_, sent, _)| *sent + ANSWER_LIMIT);
        let leave = self.leave.map(|leave| if now < leave.at { leave.at } else { leave.latest });
        let is_free = !self.is_filling && self.outstanding.len() < self.window;
        let is_leaving = self.leave.is_some_and(|leave| now >= leave.at);
        let fill = (has_more && is_free && !is_leaving).then(|| {
            let small = if self.outstanding.is_empty() { now } else { self.small };
            self.paused.map_or(small, |until| until.max(small))
        });
        [answer, leave, fill]
            .into_iter()
            .flatten()
            .fold(self.ping.min(self.heard + self.silence), Instant::min)
    }
}

/// A place as the protocol says it.
pub(crate) fn position(message: &v1::AuditPosition) -> Option<Position> {
    Some(Position {
        epoch: Epoch(message.epoch.as_slice().try_into().ok()?),
        sequence: message.sequence,
        hash: Digest(message.hash.as_slice().try_into().ok()?),
    })
}

#[cfg(test)]
mod tests;
