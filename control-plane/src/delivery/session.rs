//! One gateway's stream as a state machine: no sockets, no clock but the one that is passed in.
//!
//! What must hold on every stream:
//! - what the gateway has already is not sent; what is wanted now is sent once;
//! - nothing is sent that is lower than what the gateway shows, or of the same generation with another digest. Then
//!   this replica may lag, or the store was restored: the store is read again, and if that does not help the fleet is
//!   marked as diverged;
//! - what the gateway has refused is not sent again; what it can't enforce is not sent at all, and stands as refused;
//! - one offer of a document is under way at a time; meanwhile the latest waits, and those in between are never sent.
//!   A gateway that does not answer for [`Timing::patience`] gets the latest all the same;
//! - within a stream what a gateway shows only grows: an older message that arrives late changes nothing.

mod greeting;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use kt_audit::Digest;
use kt_proto::v1;
use tokio::time::Instant;

pub(crate) use self::greeting::{Features, Greeting, Held, refused};
use super::{
    offer::{Document, Offer, Wanted},
    outbox::{Outbox, Outgoing},
};

/// A gateway says no more keys than this.
const MAX_HELD_KEYS: usize = 20_000;
/// The most refused digests that are remembered; a fleet has two documents, and each digest comes once.
const MAX_REJECTED: usize = 32;
/// Bounds on what a gateway says of itself; the rest is cut off.
const MAX_REASONS: usize = 50;
const MAX_TEXT: usize = 500;
const MAX_DEGRADED: usize = 8;

/// One moment, on the clock that only grows and on the one that people read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    /// Microseconds since 1970 UTC.
    pub(crate) us: i64,
}

/// The times of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// Between two heartbeats of either side.
    pub(crate) heartbeat: Duration,
    /// After so long without a word the gateway counts as silent; after twice that the stream is ended.
    pub(crate) silence: Duration,
    /// How long a stream lives, give or take 15 %.
    pub(crate) age: Duration,
    /// How long a gateway may take to leave after `Drain`.
    pub(crate) leave: Duration,
    /// How long an unanswered offer holds back the next one.
    pub(crate) patience: Duration,
}

/// Why a stream has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The gateway closed it, or the connection broke.
    Gone,
    /// Nothing was heard for too long.
    Silent,
    /// It was asked to leave and did not.
    Drained,
    /// The same gateway connected again.
    Replaced,
    /// The gateway did not take a message in time.
    Stuck,
    /// The token is not valid any more.
    Unauthorised(kt_proto::refusal::Refusal),
    /// A message that makes no sense.
    Malformed(&'static str),
}

/// A document that a gateway shows and the store does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) document: Document,
    pub(crate) generation: u64,
    pub(crate) digest: Digest,
    /// The ids of its keys, where it is a key set and the gateway has said them.
    pub(crate) keys: Option<Arc<[String]>>,
}

/// What status is derived from.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) assignment: Option<Held>,
    pub(crate) key_set: Option<Held>,
    /// The last refusal of each document.
    pub(crate) assignment_refusal: Option<Arc<v1::gateway_status::Refusal>>,
    pub(crate) key_set_refusal: Option<Arc<v1::gateway_status::Refusal>>,
    /// 0: not on this stream.
    pub(crate) last_applied_us: i64,
    pub(crate) degraded: Vec<String>,
}

/// A stream after Hello was taken.
#[derive(Debug)]
pub(crate) struct Session {
    timing: Timing,
    phase: Phase,
    build: Arc<str>,
    features: Arc<Features>,
    max_pack_bytes: u64,
    wanted: Arc<Wanted>,
    assignment: Track,
    key_set: Track,
    rejected: Vec<Digest>,
    outbox: Outbox,
    heard: Instant,
    beat_at: Instant,
    last_applied_us: i64,
    degraded: Vec<String>,
    /// The keys that the gateway has said to hold, with the generation of their set.
    held_keys: Option<(u64, Arc<[String]>)>,
    is_report_due: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Live { until: Instant },
    Draining { until: Instant },
}

/// How the gateway stands to one document.
#[derive(Debug, Default)]
struct Track {
    held: Option<Held>,
    standing: Standing,
    /// The offer that has not been answered.
    awaiting: Option<Awaiting>,
    refusal: Option<Arc<v1::gateway_status::Refusal>>,
}

#[derive(Debug, Clone, Copy)]
struct Awaiting {
    nonce: u64,
    since: Instant,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It has what is wanted, or nothing is wanted.
    #[default]
    Settled,
    /// In the outbox.
    Waiting,
    /// Sent, and not answered.
    Offered(Digest),
    /// Refused by the gateway, or by us because it could not enforce it.
    Refused(Digest),
    /// It shows what is not below the head and not the head.
    Ahead { is_confirmed: bool },
}

// === impl Session ===

impl Session {
    /// Takes a Hello. `refusals` are what is known of earlier ones; `jitter` is a random number from 0 to 1.
    pub(crate) fn open(
        greeting: &Greeting,
        features: Arc<Features>,
        refusals: Vec<Arc<v1::gateway_status::Refusal>>,
        wanted: Arc<Wanted>,
        timing: Timing,
        jitter: f64,
        now: Now,
    ) -> Self {
        let spread = 0.85 + 0.3 * jitter.clamp(0.0, 1.0);
        let mut session = Self {
            timing,
            phase: Phase::Live { until: now.at + timing.age.mul_f64(spread) },
            build: Arc::clone(&greeting.build),
            features,
            max_pack_bytes: greeting.max_pack_bytes,
            wanted,
            assignment: Track { held: greeting.assignment, ..Track::default() },
            key_set: Track { held: greeting.key_set, ..Track::default() },
            rejected: greeting.rejected.clone(),
            outbox: Outbox::default(),
            heard: now.at,
            // Not all of a herd that came at one moment at one moment.
            beat_at: now.at + timing.heartbeat.mul_f64(jitter.clamp(0.1, 1.0)),
            last_applied_us: 0,
            degraded: Vec::new(),
            held_keys: None,
            is_report_due: true,
        };
        session.rejected.truncate(MAX_REJECTED);
        for refusal in refusals {
            let document = if refusal.is_key_set { Document::KeySet } else { Document::Assignment };
            session.track(document).refusal = Some(refusal);
        }
        session.consider_both();
        session
    }

    /// Puts `Welcome` in front of everything else.
    pub(crate) fn welcome(&mut self, replica: &str, store_epoch: &str, now: Now) {
        self.outbox.welcome(v1::Welcome {
            replica: replica.to_owned(),
            store_epoch: store_epoch.to_owned(),
            server_time_us: now.us,
            heartbeat_interval_ms: millis(self.timing.heartbeat),
            silence_limit_ms: millis(self.timing.silence),
        });
    }

    /// What the fleet is to have has changed.
    pub(crate) fn want(&mut self, wanted: Arc<Wanted>) {
        if wanted.is_same(&self.wanted) {
            return;
        }
        self.wanted = wanted;
        self.consider_both();
    }

    /// The store was read again, as [`Self::needs_refresh`] asked for. Gives what the gateway shows and the store does
    /// not have.
    pub(crate) fn refreshed(&mut self, wanted: Arc<Wanted>) -> Vec<Ahead> {
        self.want(wanted);
        let mut all = Vec::new();
        for document in Document::BOTH {
            let track = self.track(document);
            if let (Standing::Ahead { is_confirmed }, Some(held)) = (&mut track.standing, track.held) {
                *is_confirmed = true;
                all.push(Ahead { document, generation: held.generation, digest: held.digest, keys: None });
            }
        }
        for ahead in &mut all {
            if ahead.document == Document::KeySet {
                ahead.keys = self.keys_of(ahead.generation);
            }
        }
        all
    }

    /// The key set that the store does not have, once the gateway has said its keys.
    pub(crate) fn told_keys(&self) -> Option<Ahead> {
        let held =
            self.key_set.held.filter(|_| self.key_set.standing == Standing::Ahead { is_confirmed: true })?;
        let keys = Some(self.keys_of(held.generation)?);
        Some(Ahead { document: Document::KeySet, generation: held.generation, digest: held.digest, keys })
    }

    fn keys_of(&self, generation: u64) -> Option<Arc<[String]>> {
        self.held_keys.as_ref().filter(|(of, _)| *of == generation).map(|(_, keys)| Arc::clone(keys))
    }

    /// Whether the gateway shows more than this replica knows of, so that the store must be asked.
    pub(crate) fn needs_refresh(&self) -> bool {
        [&self.assignment, &self.key_set]
            .iter()
            .any(|track| track.standing == Standing::Ahead { is_confirmed: false })
    }

    /// A message of the gateway.
    pub(crate) fn receive(&mut self, message: v1::GatewayMessage, now: Now) -> Result<Vec<v1::KeyUse>, End> {
        use v1::gateway_message::Message;
        self.heard = now.at;
        match message.message {
            Some(Message::Hello(_)) => Err(End::Malformed("a second Hello on one stream")),
            Some(Message::Applied(applied)) => self.applied(&applied, now).map(|()| Vec::new()),
            Some(Message::Rejected(rejected)) => self.rejected(rejected).map(|()| Vec::new()),
            Some(Message::Heartbeat(heartbeat)) => self.heartbeat(heartbeat),
            // Of a newer build: it lives, and the rest is not for us.
            None => Ok(Vec::new()),
        }
    }

    fn applied(&mut self, applied: &v1::Applied, now: Now) -> Result<(), End> {
        let (document, digest) = named(applied.document(), &applied.digest)?;
        let track = self.track(document);
        // An answer to an older offer is no answer to this one; what it says of the gateway holds all the same.
        if track.awaiting.is_some_and(|awaiting| awaiting.nonce == applied.nonce) {
            track.awaiting = None;
        }
        track.show(Held {
            generation: greeting::generation(applied.generation)?,
            digest,
            is_from_disk: false,
        });
        self.last_applied_us = now.us;
        self.consider(document);
        self.is_report_due = true;
        Ok(())
    }

    fn rejected(&mut self, rejected: v1::Rejected) -> Result<(), End> {
        let (document, digest) = named(rejected.document(), &rejected.digest)?;
        let refusal = v1::gateway_status::Refusal {
            generation: greeting::generation(rejected.generation)?,
            digest: rejected.digest,
            stage: rejected.stage,
            reasons: rejected.reasons.into_iter().take(MAX_REASONS).map(bounded).collect(),
            is_key_set: document == Document::KeySet,
        };
        if !self.rejected.contains(&digest) {
            if self.rejected.len() >= MAX_REJECTED {
                self.rejected.remove(0);
            }
            self.rejected.push(digest);
        }
        let wanted = self.wanted.get(document).map(|offer| offer.digest);
        let track = self.track(document);
        let is_answer = track.awaiting.is_some_and(|awaiting| awaiting.nonce == rejected.nonce);
        if is_answer {
            track.awaiting = None;
        }
        if is_answer || wanted == Some(digest) {
            track.refusal = Some(Arc::new(refusal));
        }
        self.consider(document);
        self.is_report_due = true;
        Ok(())
    }

    fn heartbeat(&mut self, heartbeat: v1::GatewayHeartbeat) -> Result<Vec<v1::KeyUse>, End> {
        for (document, shown) in
            [(Document::Assignment, heartbeat.assignment), (Document::KeySet, heartbeat.key_set)]
        {
            let Some(shown) = shown else { continue };
            let held = Held::read(&shown).map_err(End::Malformed)?;
            if self.track(document).show(held) {
                self.consider(document);
                self.is_report_due = true;
            }
        }
        let mut degraded = heartbeat.degraded;
        degraded.truncate(MAX_DEGRADED);
        let degraded: Vec<String> = degraded.iter().map(|why| greeting::plain(why, MAX_TEXT)).collect();
        if degraded != self.degraded {
            self.degraded = degraded;
            self.is_report_due = true;
        }
        if let Some(told) = heartbeat.held_keys
            && told.ids.len() <= MAX_HELD_KEYS
        {
            self.held_keys = Some((told.generation, told.ids.into()));
        }
        Ok(heartbeat.key_use)
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Now) -> Option<End> {
        if now.at >= self.heard + self.timing.silence * 2 {
            return Some(End::Silent);
        }
        match self.phase {
            Phase::Draining { until } if now.at >= until => return Some(End::Drained),
            Phase::Live { until } if now.at >= until => self.leave("age", self.timing.leave, now),
            _ => {}
        }
        if now.at >= self.beat_at {
            self.beat_at = now.at + self.timing.heartbeat;
            self.outbox.heartbeat(v1::ServerHeartbeat {
                server_time_us: now.us,
                assignment_generation: self.wanted.generation(Document::Assignment),
                key_set_generation: self.wanted.generation(Document::KeySet),
                assignment_digest: self.wanted.digest(Document::Assignment),
                key_set_digest: self.wanted.digest(Document::KeySet),
            });
        }
        None
    }

    /// The server goes away: the gateway is to be elsewhere within this time.
    pub(crate) fn shut_down(&mut self, within: Duration, now: Now) {
        self.leave("shutdown", within, now);
    }

    fn leave(&mut self, reason: &str, within: Duration, now: Now) {
        self.phase = Phase::Draining { until: now.at + within + self.timing.silence };
        self.outbox.drain(v1::Drain { within_ms: millis(within), reason: reason.to_owned() });
    }

    /// When [`Self::tick`] has something to do.
    pub(crate) fn wakes_at(&self) -> Instant {
        let (Phase::Live { until } | Phase::Draining { until }) = self.phase;
        let mut at = self.beat_at.min(self.heard + self.timing.silence * 2).min(until);
        for track in [&self.assignment, &self.key_set] {
            if let (Standing::Waiting, Some(awaiting)) = (track.standing, track.awaiting) {
                at = at.min(awaiting.since + self.timing.patience);
            }
        }
        at
    }

    /// Whether [`Self::next`] has a message.
    pub(crate) fn has_mail(&self, now: Now) -> bool {
        self.outbox.has(self.free(now))
    }

    /// The documents of which nothing is under way.
    fn free(&self, now: Now) -> impl Fn(Document) -> bool + Copy + use<> {
        let is_free =
            |track: &Track| track.awaiting.is_none_or(|asked| now.at >= asked.since + self.timing.patience);
        let (assignment, key_set) = (is_free(&self.assignment), is_free(&self.key_set));
        move |document| match document {
            Document::Assignment => assignment,
            Document::KeySet => key_set,
        }
    }

    /// The next message to send, if any.
    pub(crate) fn next(&mut self, now: Now) -> Option<Outgoing> {
        let free = self.free(now);
        let outgoing = self.outbox.take(free)?;
        if let Outgoing::Offer(offer) = &outgoing {
            let track = self.track(offer.document);
            track.standing = Standing::Offered(offer.digest);
            track.awaiting = Some(Awaiting { nonce: offer.nonce, since: now.at });
        }
        Some(outgoing)
    }

    /// What status is derived from, when it has changed since it was last taken.
    pub(crate) fn take_report(&mut self) -> Option<Report> {
        std::mem::take(&mut self.is_report_due).then(|| Report {
            assignment: self.assignment.held,
            key_set: self.key_set.held,
            assignment_refusal: self.assignment.refusal.clone(),
            key_set_refusal: self.key_set.refusal.clone(),
            last_applied_us: self.last_applied_us,
            degraded: self.degraded.clone(),
        })
    }

    fn track(&mut self, document: Document) -> &mut Track {
        match document {
            Document::Assignment => &mut self.assignment,
            Document::KeySet => &mut self.key_set,
        }
    }

    fn consider_both(&mut self) {
        for document in Document::BOTH {
            self.consider(document);
        }
    }

    /// Decides what is to be done about a document. Called whenever what is wanted, held or refused has changed.
    fn consider(&mut self, document: Document) {
        let wanted = self.wanted.get(document).cloned();
        let (standing, held) = {
            let track = self.track(document);
            (track.standing, track.held)
        };
        let next = match (&wanted, held) {
            (None, None) => Standing::Settled,
            (Some(offer), Some(held)) if offer.digest == held.digest => Standing::Settled,
            (None, Some(_)) => standing.ahead(),
            (Some(offer), Some(held)) if held.generation >= offer.generation => standing.ahead(),
            (Some(offer), _) => self.offer_or_refuse(document, offer, standing),
        };
        match (&wanted, next) {
            (Some(offer), Standing::Waiting) => self.outbox.offer(Arc::clone(offer)),
            _ => self.outbox.withdraw(document),
        }
        let is_moot = |refusal: &v1::gateway_status::Refusal| {
            wanted.as_ref().is_none_or(|offer| refusal.digest != offer.digest.0)
        };
        let track = self.track(document);
        track.standing = next;
        let is_refused = matches!(next, Standing::Refused(_));
        if track.refusal.as_deref().is_some_and(|refusal| !is_refused || is_moot(refusal)) {
            track.refusal = None;
            self.is_report_due = true;
        }
    }

    fn offer_or_refuse(&mut self, document: Document, offer: &Arc<Offer>, standing: Standing) -> Standing {
        if self.rejected.contains(&offer.digest) {
            if self.track(document).refusal.as_ref().is_none_or(|known| known.digest != offer.digest.0) {
                self.refuse(offer, v1::Stage::Unspecified, vec![refused_before()]);
            }
            return Standing::Refused(offer.digest);
        }
        if matches!(standing, Standing::Offered(sent) | Standing::Refused(sent) if sent == offer.digest) {
            return standing;
        }
        if let Some((stage, reasons)) = self.unfit(offer) {
            self.refuse(offer, stage, reasons);
            return Standing::Refused(offer.digest);
        }
        Standing::Waiting
    }

    fn refuse(&mut self, offer: &Offer, stage: v1::Stage, reasons: Vec<v1::Reason>) {
        self.track(offer.document).refusal = Some(Arc::new(v1::gateway_status::Refusal {
            generation: offer.generation,
            digest: offer.digest.0.to_vec(),
            stage: stage.into(),
            reasons,
            is_key_set: offer.document == Document::KeySet,
        }));
        self.is_report_due = true;
    }

    /// Why this gateway could not enforce the offer, as far as it has told.
    fn unfit(&self, offer: &Offer) -> Option<(v1::Stage, Vec<v1::Reason>)> {
        let large: Vec<_> = offer
            .packs
            .iter()
            .filter(|pack| self.max_pack_bytes > 0 && pack.size > self.max_pack_bytes)
            .map(|pack| v1::Reason {
                code: "pack_too_large".to_owned(),
                message: format!(
                    "`{pack}` has {} bytes; this gateway takes {} at most",
                    pack.size, self.max_pack_bytes
                ),
                ..v1::Reason::default()
            })
            .collect();
        if !large.is_empty() {
            return Some((v1::Stage::Limits, large));
        }
        let missing: Vec<_> = offer
            .needs
            .iter()
            .filter(|feature| !self.features.has(&feature.name))
            .map(|feature| v1::Reason {
                code: "feature_missing".to_owned(),
                message: format!("build `{}` can't enforce `{}`", self.build, feature.name),
                path: feature.path.clone(),
                line: feature.line,
                help: Some("update this gateway, or publish a pack without it".to_owned()),
                ..v1::Reason::default()
            })
            .collect();
        (!missing.is_empty()).then_some((v1::Stage::Schema, missing))
    }
}

// === impl Track ===

impl Track {
    /// What the gateway shows now; true when that is news.
    fn show(&mut self, held: Held) -> bool {
        let is_news = self.held.is_none_or(|known| {
            held.generation > known.generation
                || (held.generation == known.generation && held.digest != known.digest)
        });
        if is_news {
            self.held = Some(held);
        }
        is_news
    }
}

// === impl Standing ===

impl Standing {
    /// Ahead; asked about once for each head.
    fn ahead(self) -> Self {
        Self::Ahead { is_confirmed: false }
    }
}

fn refused_before() -> v1::Reason {
    v1::Reason {
        code: "refused_before".to_owned(),
        message: "this gateway says that it has refused it before, on another connection".to_owned(),
        help: Some("see the log of the gateway, or publish again".to_owned()),
        ..v1::Reason::default()
    }
}

fn named(document: v1::Document, digest: &[u8]) -> Result<(Document, Digest), End> {
    let document = Document::of(document).ok_or(End::Malformed("an answer that names no document"))?;
    let digest = greeting::digest(digest).map_err(End::Malformed)?;
    Ok((document, digest))
}

fn bounded(reason: v1::Reason) -> v1::Reason {
    v1::Reason {
        code: greeting::plain(&reason.code, 64),
        message: greeting::plain(&reason.message, MAX_TEXT),
        path: greeting::plain(&reason.path, MAX_TEXT),
        line: reason.line,
        column: reason.column,
        help: reason.help.map(|help| greeting::plain(&help, MAX_TEXT)),
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
