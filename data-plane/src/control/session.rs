//! The life of the connection to a control plane, as a state machine: no socket, no clock of its own, no task.
//!
//! ```text
//! Waiting ─▶ Connecting ─▶ Greeting ─▶ Live ─▶ Waiting
//! ```
//!
//! Whoever drives it asks [`Session::step`] what to do, tells it what happened, and waits until the moment that it
//! names. A connection that ends for whatever reason, also in order, is followed by a wait: drawn at random below a
//! bound that doubles from 0.5 s to 30 s, and falls back only after a message that proves that the other side works.

use std::time::Duration;

use kt_proto::{refusal::Code, v1};
use tokio::time::Instant;

use super::Held;
use crate::waits::{GREETING_LIMIT, LONGEST_SILENCE, Random, Rhythm, Waits};

/// How long the server may speak of a document that it does not send.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// When asking again has not helped, it is done ever more seldom.
const LONGEST_PATIENCE: Duration = Duration::from_mins(5);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing before this moment, unless something happens.
    Wait(Instant),
    /// Open a connection; a fresh one, whatever became of the last.
    Connect,
    /// Send a heartbeat.
    Beat,
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
    Denied(Code, String),
    /// The server ended the stream in order.
    Closed,
    /// In place of a welcome.
    Refused(v1::refused::Why, String),
    /// Nothing came for too long.
    Silent,
    /// The server speaks of a newer document and does not send it.
    Behind,
    /// The server does not take what is sent.
    Stuck,
    /// A body could not be fetched.
    NoBody(String),
    /// The server asked for it.
    Drained,
}

impl Ended {
    /// For people; without it the kind of end is the same whenever this is.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Broken(error) => format!("can't be reached: {error}"),
            Self::Unusable(error) => error.clone(),
            Self::Denied(code, message) => format!("refuses this gateway ({code}): {message}"),
            Self::Closed => "ended the connection".to_owned(),
            Self::Refused(_, message) => format!("refuses this gateway: {message}"),
            Self::Silent => "has fallen silent".to_owned(),
            Self::Behind => "speaks of a newer assignment and does not send it".to_owned(),
            Self::Stuck => "takes no messages".to_owned(),
            Self::NoBody(error) => format!("does not give the pack: {error}"),
            Self::Drained => "asked to connect again".to_owned(),
        }
    }

    /// Only a person can help.
    pub(crate) fn needs_a_person(&self) -> bool {
        use v1::refused::Why;
        match self {
            Self::Unusable(_) => true,
            Self::Denied(code, _) => !code.is_retryable(),
            Self::Refused(why, _) => {
                matches!(why, Why::UnknownFleet | Why::WrongFleet | Why::Malformed | Why::Replaced)
            }
            _ => false,
        }
    }

    /// Two ends of one kind are said once.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Denied(one, _), Self::Denied(two, _)) => one == two,
            (Self::Refused(one, _), Self::Refused(two, _)) => one == two,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// What is known of the two documents: the highest generation that was offered, applied or refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) assignment: u64,
    pub(crate) key_set: u64,
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
    rhythm: Rhythm,
    beat: Instant,
    /// Since when the server speaks of a document that it has not sent.
    behind: Option<Instant>,
    /// When to leave, as the server asked.
    leave: Option<Instant>,
}

/// The connection to a control plane.
pub(crate) struct Session {
    state: State,
    waits: Waits,
    known: Known,
    patience: Duration,
    said: Option<Ended>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Session {
    /// Not connected, and about to be.
    pub(crate) fn new(now: Instant, random: Random) -> Self {
        Self {
            state: State::Waiting { until: now },
            waits: Waits::new(random),
            known: Known::default(),
            patience: FIRST_PATIENCE,
            said: None,
        }
    }

    /// What is to be done now. After `Connect` and `Beat` it is done; after `Leave`, say [`Session::ended`].
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        match &mut self.state {
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
                if live.end(now, self.patience).is_some() {
                    return Step::Leave;
                }
                if now >= live.beat {
                    live.beat = now + live.rhythm.interval;
                    return Step::Beat;
                }
                Step::Wait(live.next(self.patience))
            }
        }
    }

    /// Why a step was `Leave`.
    pub(crate) fn reason(&self, now: Instant) -> Ended {
        match &self.state {
            State::Live(live) => live.end(now, self.patience).unwrap_or(Ended::Closed),
            State::Waiting { .. } | State::Connecting { .. } | State::Greeting { .. } => Ended::Silent,
        }
    }

    /// The connection is open, and `Hello` is on its way, saying what is held or was refused.
    pub(crate) fn greeting(&mut self, known: Known) {
        self.known = known;
        if let State::Connecting { until } = self.state {
            self.state = State::Greeting { until };
        }
    }

    /// A message came. Returns why the connection ends, when it does.
    pub(crate) fn heard(&mut self, now: Instant, message: &v1::server_message::Message) -> Option<Ended> {
        use v1::server_message::Message;
        if let (State::Greeting { .. }, Message::Welcome(welcome)) = (&self.state, message) {
            self.state = State::Live(Live::new(now, welcome));
            return None;
        }
        if let Message::Refused(refused) = message {
            return Some(self.refused(now, refused));
        }
        let State::Live(live) = &mut self.state else {
            return Some(Ended::Broken("it did not answer with a welcome".to_owned()));
        };
        live.heard = now;
        match message {
            Message::Heartbeat(beat) => {
                let is_behind = beat.assignment_generation > self.known.assignment
                    || beat.key_set_generation > self.known.key_set;
                if is_behind {
                    live.behind.get_or_insert(now);
                } else {
                    live.behind = None;
                    self.patience = FIRST_PATIENCE;
                }
                // Only this proves that the other side works: a welcome comes before anything could go wrong.
                self.waits.reset();
                self.said = None;
            }
            Message::Drain(drain) => {
                let within = Duration::from_millis(u64::from(drain.within_ms));
                live.leave = Some(now + self.waits.draw(within));
            }
            Message::Assign(_) | Message::AssignKeys(_) | Message::Welcome(_) | Message::Refused(_) => {}
        }
        None
    }

    fn refused(&mut self, now: Instant, refused: &v1::Refused) -> Ended {
        // The wait that the server names is kept even where it is longer than ours.
        let asked = Duration::from_millis(u64::from(refused.retry_after_ms));
        self.state = State::Waiting { until: now + asked };
        Ended::Refused(refused.why(), refused.message.clone())
    }

    /// A generation was offered, applied or refused: it is not missed any more.
    pub(crate) fn knows(&mut self, document: v1::Document, generation: u64) {
        let known = match document {
            v1::Document::KeySet => &mut self.known.key_set,
            _ => &mut self.known.assignment,
        };
        *known = generation.max(*known);
    }

    /// The documents of the server's heartbeat that have the generation of a held one and another digest: a forged or
    /// restored store, and an alarm.
    pub(crate) fn conflicts(
        beat: &v1::ServerHeartbeat,
        assignment: Option<Held>,
        key_set: Option<Held>,
    ) -> [Option<u64>; 2] {
        let one = |generation: u64, digest: &[u8], held: Option<Held>| {
            let is_other =
                |held: &Held| held.generation == generation && !digest.is_empty() && *digest != held.digest.0;
            held.filter(is_other).map(|held| held.generation)
        };
        [
            one(beat.assignment_generation, &beat.assignment_digest, assignment),
            one(beat.key_set_generation, &beat.key_set_digest, key_set),
        ]
    }

    /// There is no connection any more. Returns whether this is worth a word: the same is not said again and again.
    pub(crate) fn ended(&mut self, now: Instant, why: &Ended) -> bool {
        let (asked, is_drawn) = match &self.state {
            // Set by a refusal: the server has said when.
            State::Waiting { until } => (until.saturating_duration_since(now), false),
            // The server went before the moment that was drawn for this gateway.
            State::Live(Live { leave: Some(leave), .. }) => (leave.saturating_duration_since(now), true),
            _ => (Duration::ZERO, false),
        };
        let wait = match why {
            _ if is_drawn => Duration::ZERO,
            _ if why.needs_a_person() => self.waits.slow(),
            _ => self.waits.next(),
        };
        if matches!(why, Ended::Behind) {
            self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
        }
        self.state = State::Waiting { until: now + asked + wait };
        let is_new = !is_drawn && !self.said.as_ref().is_some_and(|said| said.is_like(why));
        if is_new {
            self.said = Some(why.clone());
        }
        is_new
    }
}

impl Live {
    fn new(now: Instant, welcome: &v1::Welcome) -> Self {
        let (interval, silence) = (welcome.heartbeat_interval_ms, welcome.silence_limit_ms);
        let rhythm = Rhythm::new(interval, silence, LONGEST_SILENCE);
        Self { heard: now, rhythm, beat: now + rhythm.interval, behind: None, leave: None }
    }

    /// Why it ends now, when it does.
    fn end(&self, now: Instant, patience: Duration) -> Option<Ended> {
        if self.leave.is_some_and(|leave| now >= leave) {
            return Some(Ended::Drained);
        }
        if now >= self.heard + self.rhythm.silence {
            return Some(Ended::Silent);
        }
        self.behind.is_some_and(|since| now >= since + patience).then_some(Ended::Behind)
    }

    /// When something is to be done next.
    fn next(&self, patience: Duration) -> Instant {
        let silent = self.heard + self.rhythm.silence;
        [self.leave, self.behind.map(|since| since + patience)]
            .into_iter()
            .flatten()
            .fold(self.beat.min(silent), Instant::min)
    }
}

#[cfg(test)]
mod tests;
