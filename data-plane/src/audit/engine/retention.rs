//! Cutting segments that nobody needs to keep any longer.

use std::sync::atomic::Ordering;

use kt_audit::record::{Body, CutRun, SignedRun, Tombstone};
use kt_audit::segment::{Header, Item, scan};
use kt_audit::sign::tombstone_message;
use kt_audit::value::Digest;

use super::recover::{Closed, merge_cut};
use super::{Engine, Results, Room};
use crate::audit::fs::{Fs, FsFile as _};
use crate::audit::metrics::add;
use crate::audit::settings::Delivery;

const DAY_US: i64 = 86_400_000_000;

/// The most segments cut at a time: each costs an fsync, and appends wait meanwhile.
const CUTS_AT_ONCE: usize = 4;

/// A segment that has expired.
struct Expired {
    segment: Closed,
    header: Header,
    /// What the first record after it names as previous.
    last: Digest,
}

impl<F: Fs> Engine<F> {
    /// Cuts whole segments whose longest retention has passed, one at a time. Its tombstone is written and synced
    /// first: a crash in between leaves a file that is cut again, never a gap that nobody explains.
    pub(super) fn cut_expired(&mut self, now_us: i64, retention_now_us: i64) {
        for _ in 0..CUTS_AT_ONCE {
            let Some(expired) = self.next_expired(retention_now_us) else { return };
            if !self.cut(&expired, now_us) {
                return;
            }
        }
    }

    fn next_expired(&self, now_us: i64) -> Option<Expired> {
        self.closed.iter().enumerate().find_map(|(index, segment)| {
            // What can't be read can't be judged; it stays, and so does the gap around it.
            let header = segment.header?;
            let next = self.header_after(index)?;
            let is_due = match self.delivered_to() {
                None => end_of_keep(&header, &next) <= now_us,
                Some(delivery) => self.is_delivered(delivery, &header, &next, now_us),
            };
            if !is_due || next.segment <= header.segment {
                return None;
            }
            let last = self.hash_after(segment, &header, &next)?;
            Some(Expired { segment: *segment, header, last })
        })
    }

    /// The delivery, where somebody else keeps what is delivered.
    fn delivered_to(&self) -> Option<&Delivery> {
        self.settings.delivery.as_ref().filter(|delivery| !delivery.is_not_kept.load(Ordering::Acquire))
    }

    /// Whether a segment is needed no longer because somebody else has it: acknowledged in whole, kept for a while,
    /// and no request that it opens is without its end. What is not acknowledged stays, however old it is.
    fn is_delivered(&self, delivery: &Delivery, header: &Header, next: &Header, now_us: i64) -> bool {
        let acked = delivery.acked_below.load(Ordering::Acquire);
        if header.segment >= acked || self.open.values().any(|open| open.segment <= header.segment) {
            return false;
        }
        let keep = i64::try_from(delivery.keep.as_micros()).unwrap_or(i64::MAX);
        let since = header.created_us.max(next.created_us);
        let is_tight = self.room == Room::Gone || self.space.used > self.settings.max_bytes / 2;
        is_tight || since.saturating_add(keep) <= now_us
    }

    /// The header of the next segment that can be read.
    fn header_after(&self, index: usize) -> Option<Header> {
        let later = self.closed.iter().skip(index + 1).find_map(|segment| segment.header);
        later.or_else(|| self.current.as_ref().map(|current| current.header))
    }

    /// The hash of a segment's last record. The next segment names it, unless there is a gap that no tombstone
    /// explains: then it is read, so that a cut never explains what it did not cut.
    fn hash_after(&self, segment: &Closed, header: &Header, next: &Header) -> Option<Digest> {
        if next.segment == header.segment + 1 {
            return Some(next.previous);
        }
        if let Some(known) = self.cuts.iter().find(|cut| cut.run.first_segment == header.segment + 1) {
            return Some(known.run.before);
        }
        let bytes = self.fs.read(&segment.name.to_string(), u64::MAX).ok()?;
        let frames = scan(&bytes).1.filter_map(|item| match item {
            Item::Frame { frame, .. } => Some(frame.hash(header.instance, header.epoch)),
            _ => None,
        });
        Some(frames.last().unwrap_or(header.previous))
    }

    fn cut(&mut self, expired: &Expired, now_us: i64) -> bool {
        let run = self.whole_gap(expired);
        let signer = &self.identity.signer;
        let signature = signer.sign(&tombstone_message(self.identity.instance, &run));
        let cut = SignedRun { run, key: signer.public().id(), signature };
        let delivered = self.delivered_to().is_some();
        let tombstone = Tombstone { cut, segments: 1, bytes: expired.segment.bytes, delivered };
        let before = self.written.next_sequence;
        self.stage_own(Body::Tombstone(Box::new(tombstone)), now_us);
        self.flush(&mut Results::new());
        let told = self.written.next_sequence > before;
        let synced = self.current.as_ref().is_some_and(|current| current.file.sync().is_ok());
        if !told || !synced {
            return false;
        }
        merge_cut(&mut self.cuts, cut);
        if self.fs.remove(&expired.segment.name.to_string()).is_err() {
            return false;
        }
        self.space.used = self.space.used.saturating_sub(expired.segment.bytes);
        self.closed.retain(|other| other.name != expired.segment.name);
        add(&self.metrics.segments_cut, 1);
        // The order of removals must survive a power cut: a later one is only explained after this one.
        self.fs.sync_dir().is_ok()
    }

    /// The gap that a cut leaves, together with older cuts that touch it. A gap that no tombstone explains is not
    /// taken in: it stays a gap.
    fn whole_gap(&self, expired: &Expired) -> CutRun {
        let mut run = CutRun {
            first_segment: expired.header.segment,
            last_segment: expired.header.segment,
            before: expired.header.previous,
            last: expired.last,
            retention: expired.header.retention,
        };
        for known in &self.cuts {
            if known.run.last == run.before && known.run.last_segment < run.first_segment {
                run.first_segment = known.run.first_segment;
                run.before = known.run.before;
                run.retention = run.retention.longest(known.run.retention);
            }
            if known.run.before == run.last && known.run.first_segment > run.last_segment {
                run.last_segment = known.run.last_segment;
                run.last = known.run.last;
                run.retention = run.retention.longest(known.run.retention);
            }
        }
        run
    }
}

/// When the last record of a segment has been kept for as long as the segment asks. Its last record is no later
/// than the beginning of the next segment; where the clock went back in between, the later time counts.
fn end_of_keep(header: &Header, next: &Header) -> i64 {
    let last = header.created_us.max(next.created_us);
    last.saturating_add(DAY_US.saturating_mul(i64::from(header.retention.days)))
}
