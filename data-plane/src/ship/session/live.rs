//! A connection that is there: what is outstanding, and when something is due.

use std::collections::VecDeque;

use kt_proto::v1;
use tokio::time::Instant;

use super::{ANSWER_LIMIT, Ended, MAX_BYTES, MAX_RECORDS, MAX_WINDOW, Sent, position};
use crate::{
    ship::spool::{Limits, MAX_FRAME},
    waits::{LONGEST_SILENCE, Rhythm},
};

#[derive(Debug)]
pub(super) struct Live {
    pub(super) heard: Instant,
    pub(super) rhythm: Rhythm,
    /// When to say something for the sake of it.
    pub(super) ping: Instant,
    pub(super) window: usize,
    pub(super) limits: Limits,
    /// What has no answer yet, with its number and when it was sent.
    pub(super) outstanding: VecDeque<(u64, Instant, Sent)>,
    pub(super) next_number: u64,
    /// When a batch may go out that is not full.
    pub(super) small: Instant,
    pub(super) paused: Option<Instant>,
    pub(super) leave: Option<Leave>,
    /// A batch is being read.
    pub(super) is_filling: bool,
}

/// The server has asked to connect again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leave {
    /// Nothing is sent from here on.
    pub(super) at: Instant,
    /// Answers are waited for no longer.
    pub(super) latest: Instant,
}

impl Live {
    pub(super) fn new(now: Instant, welcome: &v1::ShipWelcome) -> Result<Self, Ended> {
        let (interval, silence) = (welcome.heartbeat_interval_ms, welcome.silence_limit_ms);
        // Two of them fit into the longest silence.
        let rhythm = Rhythm::new(interval, silence, LONGEST_SILENCE / 2);
        let bytes = usize::try_from(welcome.max_batch_bytes).unwrap_or(usize::MAX);
        if bytes < MAX_FRAME {
            return Err(Ended::Nonsense("it takes no batch that every record fits into"));
        }
        let window = usize::try_from(welcome.window).unwrap_or(usize::MAX);
        Ok(Self {
            heard: now,
            rhythm,
            ping: now + rhythm.interval,
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

    pub(super) fn acked(&mut self, ack: &v1::ShipAck) -> Result<Vec<Sent>, Ended> {
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

    pub(super) fn may_fill(&self, now: Instant) -> bool {
        !self.is_filling
            && self.outstanding.len() < self.window
            && self.paused.is_none_or(|until| now >= until)
            && self.leave.is_none_or(|leave| now < leave.at)
            && (self.outstanding.is_empty() || now >= self.small)
    }

    /// Why it ends now, when it does. `is_done`: there is nothing more to send, ever.
    pub(super) fn end(&self, now: Instant, is_done: bool) -> Option<Ended> {
        let is_empty = self.outstanding.is_empty() && !self.is_filling;
        if self.leave.is_some_and(|leave| now >= leave.latest || (now >= leave.at && is_empty)) {
            return Some(Ended::Drained);
        }
        if now >= self.heard + self.rhythm.silence {
            return Some(Ended::Silent);
        }
        if self.outstanding.front().is_some_and(|(_, sent, _)| now >= *sent + ANSWER_LIMIT) {
            return Some(Ended::Unanswered);
        }
        (is_done && is_empty).then_some(Ended::Finished)
    }

    /// When something is to be done next.
    pub(super) fn next(&self, now: Instant, has_more: bool) -> Instant {
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
            .fold(self.ping.min(self.heard + self.rhythm.silence), Instant::min)
    }
}
