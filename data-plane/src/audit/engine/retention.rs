//! Cutting segments that nobody needs to keep any longer.

use kt_audit::record::{Body, CutRun, Retention, SignedRun, Tombstone};
use kt_audit::segment::{Header, Item, scan};
use kt_audit::sign::tombstone_message;
use kt_audit::value::Digest;

use super::recover::{Closed, merge_cut};
use super::{Engine, Results};
use crate::audit::fs::{Fs, FsFile as _};
use crate::audit::metrics::add;

const DAY_US: i64 = 86_400_000_000;

/// A row of neighbouring segments that have expired.
struct Expired {
    first: u64,
    last: u64,
    before: Digest,
    /// What the first record after them names as previous.
    last_hash: Digest,
    retention: Retention,
}

impl<F: Fs> Engine<F> {
    /// Cuts whole segments whose longest retention has passed. The tombstone is written and synced first: a crash
    /// in between leaves files that are cut again, never a gap that nobody explains.
    pub(super) fn cut_expired(&mut self, now_us: i64, retention_now_us: i64) {
        while let Some(expired) = self.next_expired(retention_now_us) {
            if !self.cut(&expired, now_us) {
                return;
            }
        }
    }

    fn next_expired(&self, now_us: i64) -> Option<Expired> {
        let mut row: Option<Expired> = None;
        for (index, segment) in self.closed.iter().enumerate() {
            // What can't be read can't be judged; it stays, and so does the gap around it.
            let Some(header) = segment.header else { if row.is_some() { break } else { continue } };
            let Some(next) = self.header_after(index) else { break };
            let expired = end_of_keep(&header, &next) <= now_us && next.segment > header.segment;
            let joins = row.as_ref().is_none_or(|row| row.last + 1 == header.segment);
            if !(expired && joins) {
                if row.is_some() { break } else { continue }
            }
            let Some(last_hash) = self.hash_after(segment, &header, &next) else { continue };
            let start = Expired {
                first: header.segment,
                last: header.segment,
                before: header.previous,
                last_hash,
                retention: header.retention,
            };
            row = Some(match row {
                Some(row) => Expired {
                    last: header.segment,
                    last_hash,
                    retention: row.retention.longest(header.retention),
                    ..row
                },
                None => start,
            });
        }
        row
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
        let in_row = |number: u64| (expired.first..=expired.last).contains(&number);
        let gone: Vec<_> =
            self.closed.iter().filter(|segment| in_row(segment.name.number)).copied().collect();
        let tombstone = Tombstone {
            cut,
            segments: gone.len() as u64,
            bytes: gone.iter().map(|segment| segment.bytes).sum(),
        };
        let before = self.written.next_sequence;
        self.stage_own(Body::Tombstone(Box::new(tombstone)), now_us);
        self.flush(&mut Results::new());
        let told = self.written.next_sequence > before;
        let synced = self.current.as_ref().is_some_and(|current| current.file.sync().is_ok());
        if !told || !synced {
            return false;
        }
        merge_cut(&mut self.cuts, cut);
        let mut all = true;
        for segment in gone {
            if self.fs.remove(&segment.name.to_string()).is_ok() {
                self.space.used = self.space.used.saturating_sub(segment.bytes);
                self.closed.retain(|other| other.name != segment.name);
                add(&self.metrics.segments_cut, 1);
            } else {
                all = false;
            }
        }
        let _ = self.fs.sync_dir();
        all
    }

    /// The gap that a cut leaves, together with older cuts that touch it. A gap that no tombstone explains is not
    /// taken in: it stays a gap.
    fn whole_gap(&self, expired: &Expired) -> CutRun {
        let mut run = CutRun {
            first_segment: expired.first,
            last_segment: expired.last,
            before: expired.before,
            last: expired.last_hash,
            retention: expired.retention,
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
