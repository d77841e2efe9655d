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

mod ended;
mod live;

use std::time::Duration;

use kt_audit::{Digest, Epoch, Position};
use kt_proto::v1;
use tokio::time::Instant;

pub(crate) use self::ended::Ended;
use self::live::{Leave, Live};
use super::spool::Limits;
use crate::waits::{GREETING_LIMIT, Random, Waits};

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

/// The connection that records go by.
pub(crate) struct Session {
    state: State,
    waits: Waits,
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
            waits: Waits::new(random),
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
                    live.ping = now + live.rhythm.interval;
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
        live.ping = now + live.rhythm.interval;
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
                self.waits.reset();
                self.said = None;
                return Ok(Told::Acked(acked));
            }
            Message::SlowDown(slow) => {
                let wait = Duration::from_millis(u64::from(slow.wait_ms)).min(LONGEST_PAUSE);
                live.paused = Some(now + wait);
            }
            Message::Drain(drain) => {
                let within = Duration::from_millis(u64::from(drain.within_ms));
                live.leave = Some(Leave { at: now + self.waits.draw(within), latest: now + within });
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
            _ if why.needs_a_person() => self.waits.slow(),
            _ => self.waits.next(),
        };
        self.state = State::Waiting { until: now + asked + wait };
        let is_in_order = matches!(why, Ended::Finished | Ended::Drained) || is_drawn;
        let is_new = !is_in_order && !self.said.as_ref().is_some_and(|said| said.is_like(why));
        if is_new {
            self.said = Some(why.clone());
        }
        is_new
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
