//! Verification: walks segments in order and names the first break of each kind.
//!
//! What can be proven, given trusted public keys:
//! - Every record up to the last trusted signature (checkpoint or head) is there, in order, as it was written, or
//!   a signed tombstone explains the gap.
//! - After that signature the chain is whole in itself, but someone who can write the files could have remade its
//!   end. Checkpoints that are kept elsewhere ([`Trust::known`]) close that window.
//!
//! The walk goes on after a break as far as it can, so that one flipped byte does not hide a missing segment.

mod report;

use std::collections::BTreeSet;

pub use self::report::{Break, BreakKind, Cause, Report};
use crate::chain::{Epoch, InstanceId, Position};
use serde::Deserialize;

use crate::record::{
    Body, Checkpoint, DamageKind, Kind, RECORD_VERSION, Record, Retention, SignedRun, known_kind,
};
use crate::segment::{Frame, FrameError, HEADER_LEN, Header, HeaderError, Item, guess_epoch, scan};
use crate::sign::{
    Head, KeyId, PublicKey, Signature, StoreCut, StoreTombstone, checkpoint_message, tombstone_message,
};
use crate::value::Digest;

/// What a verification takes for granted.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Keys whose signatures count.
    pub keys: Vec<PublicKey>,
    /// Heads; each must be signed by one of the keys.
    pub heads: Vec<(String, Head)>,
    /// Positions known from elsewhere, such as checkpoints that the control plane holds.
    pub known: Vec<Position>,
    /// The instance, so that records can be followed even where the first header can't be read.
    pub instance: Option<InstanceId>,
    /// Accept any beginning: the segments are an excerpt.
    pub excerpt: bool,
    /// What a control plane has taken out by retention, with its word for it; each must be signed by one of the keys.
    pub cuts: Vec<StoreTombstone>,
}

/// A verification that is under way. Give it the segments in order, then ask for the [`Report`].
#[derive(Debug)]
pub struct Verifier {
    trust: Trust,
    report: Report,
    /// The records that must turn up: of heads and from elsewhere.
    wanted: Vec<Wanted>,
    /// Where the chain stands; none before the first record and after a segment that could not be followed.
    at: Option<At>,
    gaps: Vec<Gap>,
    runs: Vec<SignedRun>,
    /// What a store has cut, as far as its signatures fit.
    cuts: Vec<StoreCut>,
    started: bool,
}

#[derive(Debug)]
struct Wanted {
    position: Position,
    segment: u64,
    found: bool,
}

/// The end of what has been followed.
#[derive(Debug, Clone)]
struct At {
    last: Position,
    time_us: i64,
    /// Number and file of the segment, and where the record begins and ends in it.
    segment: u64,
    file: String,
    start: u64,
    end: u64,
    /// A torn tail after it, which only the next segment can judge.
    torn: bool,
    /// Unreadable bytes after it, so that what follows need not fit.
    unreadable: bool,
}

/// A link that leads nowhere; retention may explain it.
#[derive(Debug)]
struct Gap {
    before: Digest,
    last: Digest,
    otherwise: Break,
}

/// One segment while it is judged.
struct Segment<'a> {
    file: &'a str,
    number: u64,
    instance: InstanceId,
    epoch: Epoch,
    /// The number of each record, and what it names as previous.
    links: Vec<(u64, Digest)>,
}

impl Verifier {
    /// Begins a verification. Heads that no trusted key has signed are breaks at once.
    pub fn new(trust: Trust) -> Self {
        let mut report = Report { instance: trust.instance, ..Report::default() };
        let mut wanted = Vec::new();
        for (file, head) in &trust.heads {
            let cause = match trust.keys.iter().find(|key| key.id() == head.key) {
                Some(key) if head.is_signed_by(key) => {
                    wanted.push(Wanted { position: head.last, segment: head.segment, found: false });
                    continue;
                }
                Some(_) => Cause::Signature,
                None => Cause::UnknownKey,
            };
            let (file, epoch) = (file.clone(), Some(head.last.epoch));
            let sequence = Some(head.last.sequence);
            report.add(Break { kind: BreakKind::Forged, file, offset: 0, epoch, sequence, cause });
        }
        let mut cuts = Vec::with_capacity(trust.cuts.len());
        for tombstone in &trust.cuts {
            let cause = match trust.keys.iter().find(|key| key.id() == tombstone.key) {
                Some(key) if trust.instance.is_some_and(|instance| tombstone.is_signed_by(key, instance)) => {
                    cuts.push(tombstone.cut);
                    continue;
                }
                Some(_) => Cause::Signature,
                None => Cause::UnknownKey,
            };
            let StoreCut { epoch, first, .. } = tombstone.cut;
            let (file, epoch, sequence) = ("tombstone".to_owned(), Some(epoch), Some(first));
            report.add(Break { kind: BreakKind::Forged, file, offset: 0, epoch, sequence, cause });
        }
        let known = trust.known.iter();
        wanted.extend(known.map(|position| Wanted { position: *position, segment: u64::MAX, found: false }));
        Self { trust, report, wanted, at: None, gaps: Vec::new(), runs: Vec::new(), cuts, started: false }
    }

    /// Takes note of a break that was found outside of the segments.
    pub fn found(&mut self, found: Break) {
        self.report.add(found);
    }

    /// Takes note of a head that can't be read.
    pub fn unreadable_head(&mut self, file: &str) {
        self.note(BreakKind::Altered, file, 0, None, None, Cause::Payload);
    }

    /// Judges the next segment. `number` is the one that its file name gives, `file` is for the report.
    pub fn segment(&mut self, number: u64, file: &str, bytes: &[u8]) {
        self.report.segments += 1;
        let (header, items) = scan(bytes);
        match header {
            Err(HeaderError::Newer { .. }) => {
                self.report.newer_segments += 1;
                self.at = None;
                return;
            }
            // A segment that was being begun when the machine stopped. What should be here shows as a gap.
            Err(HeaderError::Short) => {
                self.report.torn_tails += 1;
                return;
            }
            Ok(_) | Err(HeaderError::Altered | HeaderError::NotASegment) => {}
        }
        let items: Vec<Item<'_>> = items.collect();
        let frames: Vec<Frame<'_>> = items
            .iter()
            .filter_map(|item| match item {
                Item::Frame { frame, .. } => Some(*frame),
                Item::Corrupt { .. } | Item::Torn { .. } => None,
            })
            .collect();
        let Some(segment) = self.identify(number, file, header, &frames) else { return };
        if let Ok(header) = header {
            self.check_header(&segment, &header, &frames);
        }
        self.check_order(&segment, &items);
        self.follow(&segment, header.ok(), items);
    }

    /// Whose segment this is, from its header, or from its records where the header can't be read.
    fn identify<'a>(
        &mut self,
        number: u64,
        file: &'a str,
        header: Result<Header, HeaderError>,
        frames: &[Frame<'_>],
    ) -> Option<Segment<'a>> {
        let sequence = frames.first().map(|frame| frame.sequence);
        let (instance, epoch) = if let Ok(header) = header {
            (header.instance, header.epoch)
        } else {
            self.note(BreakKind::Altered, file, 0, None, sequence, Cause::Header);
            let candidates: Vec<_> = self.at.iter().map(|at| at.last.epoch).collect();
            let instance = self.report.instance?;
            if let Some(epoch) = guess_epoch(instance, frames, &candidates) {
                (instance, epoch)
            } else {
                self.at = None;
                return None;
            }
        };
        let known = *self.report.instance.get_or_insert(instance);
        if known != instance {
            self.note(BreakKind::Forged, file, 0, Some(epoch), sequence, Cause::Instance);
        }
        let links = frames.iter().map(|frame| (frame.sequence, frame.previous)).collect();
        Some(Segment { file, number, instance, epoch, links })
    }

    /// A header only repeats what the records say; where it doesn't, it was altered with its checksum.
    fn check_header(&mut self, segment: &Segment<'_>, header: &Header, frames: &[Frame<'_>]) {
        if header.segment != segment.number {
            let cause = Cause::SegmentOrder { number: header.segment };
            let sequence = Some(header.first_sequence);
            self.note(BreakKind::Reordered, segment.file, 0, Some(segment.epoch), sequence, cause);
        }
        // The first record may be among unreadable bytes; then the header can't be held against it.
        let first = frames.iter().find(|frame| frame.sequence == header.first_sequence);
        let differs = first.is_some_and(|first| first.previous != header.previous)
            || frames.iter().any(|frame| frame.sequence < header.first_sequence);
        let wanted = frames
            .iter()
            .filter_map(|frame| Glance::of(frame).ok()?.request.retention)
            .reduce(Retention::longest);
        let too_short = wanted.is_some_and(|wanted| wanted.longest(header.retention) != header.retention);
        if differs || too_short {
            let sequence = Some(header.first_sequence);
            self.note(BreakKind::Altered, segment.file, 0, Some(segment.epoch), sequence, Cause::Header);
        }
    }

    fn check_order(&mut self, segment: &Segment<'_>, items: &[Item<'_>]) {
        let mut highest = None;
        for item in items {
            let Item::Frame { offset, frame } = item else { continue };
            if highest.is_some_and(|highest| frame.sequence <= highest) {
                self.break_at(BreakKind::Reordered, segment, *offset, frame.sequence, Cause::Order);
            }
            highest = highest.max(Some(frame.sequence));
        }
    }

    /// Follows the chain through a segment, its records in the order of their numbers.
    fn follow(&mut self, segment: &Segment<'_>, header: Option<Header>, items: Vec<Item<'_>>) {
        let in_order = {
            let mut sorted = items;
            // Unreadable bytes keep their place after the record before them.
            let mut last = None;
            let mut keyed: Vec<(Option<u64>, Item<'_>)> = Vec::with_capacity(sorted.len());
            for item in sorted.drain(..) {
                if let Item::Frame { frame, .. } = &item {
                    last = Some(frame.sequence);
                }
                keyed.push((last, item));
            }
            keyed.sort_by_key(|(sequence, _)| *sequence);
            keyed
        };
        let mut seen = BTreeSet::new();
        let mut first = true;
        for (_, item) in in_order {
            match item {
                Item::Frame { offset, frame } => {
                    // A second record under one number was named as out of order.
                    if seen.insert(frame.sequence) {
                        self.step(segment, header, offset, &frame, first);
                        first = false;
                    }
                }
                Item::Corrupt { offset, length, .. } => self.unreadable(segment, offset, length, first),
                Item::Torn { offset, length, error } => {
                    if error == FrameError::Short {
                        // Judged by what follows. Where nothing was read before it, there is nothing to cut.
                        if let Some(at) = self.at.as_mut().filter(|at| at.segment == segment.number) {
                            at.torn = true;
                        }
                        self.report.torn_tails += 1;
                    } else {
                        self.unreadable(segment, offset, length, first);
                    }
                }
            }
        }
    }

    fn unreadable(&mut self, segment: &Segment<'_>, offset: usize, length: usize, first: bool) {
        let next = self.at.as_ref().filter(|_| !first).map(|at| at.last.sequence.saturating_add(1));
        let cause = Cause::Unreadable { bytes: length as u64 };
        self.note(BreakKind::Altered, segment.file, offset as u64, Some(segment.epoch), next, cause);
        if let Some(at) = &mut self.at {
            at.unreadable = true;
        }
    }

    /// One record: does it fit to the one before, and what does it say?
    fn step(
        &mut self,
        segment: &Segment<'_>,
        header: Option<Header>,
        offset: usize,
        frame: &Frame<'_>,
        first: bool,
    ) {
        let glance = Glance::of(frame);
        // Records of requests are many and say nothing about the chain: they are not read in full.
        let in_full = glance
            .as_ref()
            .is_ok_and(|glance| !matches!(glance.kind, None | Some(Kind::Opened | Kind::Closed)));
        let record = if in_full { Record::parse(frame.payload).ok() } else { None };
        match &self.at {
            Some(at) if at.last.hash == frame.previous => {
                self.check_successor(segment, offset, frame);
            }
            Some(at) if at.unreadable => {}
            Some(at) => {
                let at = at.clone();
                self.broken_link(segment, offset, frame, &at, first, record.as_ref());
            }
            None if self.started || self.trust.excerpt => {}
            None if frame.previous.is_zero() && frame.sequence == 0 => {}
            None => {
                let cause = Cause::Link;
                let otherwise = at_break(BreakKind::Missing, segment, offset, frame.sequence, cause);
                self.gaps.push(Gap { before: Digest::ZERO, last: frame.previous, otherwise });
            }
        }
        self.started = true;
        let hash = frame.hash(segment.instance, segment.epoch);
        let position = Position { epoch: segment.epoch, sequence: frame.sequence, hash };
        self.report.records += 1;
        self.report.unsigned_records += 1;
        self.check_wanted(segment, offset, &position);
        let first_time = self.report.times_us.map_or(frame.time_us, |times| times.0);
        self.report.times_us = Some((first_time, frame.time_us));
        self.report.last = Some(position);
        self.at = Some(At {
            last: position,
            time_us: frame.time_us,
            segment: header.map_or(segment.number, |header| header.segment),
            file: segment.file.to_owned(),
            start: offset as u64,
            end: (offset + frame.stored_len()) as u64,
            torn: false,
            unreadable: false,
        });
        let readable = glance.is_ok_and(|glance| !in_full || glance.v > RECORD_VERSION);
        if let Some(record) = record {
            self.read(segment, offset, frame, &record);
        } else if !readable {
            self.break_at(BreakKind::Altered, segment, offset, frame.sequence, Cause::Payload);
        }
    }

    /// The link is right; number and time must be too, or the writer of the chain was not ours.
    fn check_successor(&mut self, segment: &Segment<'_>, offset: usize, frame: &Frame<'_>) {
        let Some(at) = &self.at else { return };
        let (same_run, last, time_us) = (at.last.epoch == segment.epoch, at.last.sequence, at.time_us);
        let expected = if same_run { last.saturating_add(1) } else { 0 };
        if frame.sequence != expected {
            self.break_at(BreakKind::Altered, segment, offset, frame.sequence, Cause::Link);
        } else if same_run && frame.time_us < time_us {
            self.break_at(BreakKind::Altered, segment, offset, frame.sequence, Cause::Time);
        }
    }

    fn broken_link(
        &mut self,
        segment: &Segment<'_>,
        offset: usize,
        frame: &Frame<'_>,
        at: &At,
        first: bool,
        record: Option<&Record>,
    ) {
        // A store cuts anywhere in a run, and what it has cut is known beforehand.
        if !self.cuts.is_empty() && self.is_explained(at.last.hash, frame.previous) {
            self.report.cut_by_retention += 1;
            return;
        }
        let same_run = at.last.epoch == segment.epoch;
        let next = at.last.sequence.saturating_add(1);
        if same_run && frame.sequence <= at.last.sequence {
            // A copy of what was read before, from another segment.
            self.break_at(BreakKind::Reordered, segment, offset, frame.sequence, Cause::Order);
            return;
        }
        // What belongs here stands further on, under the number of another one.
        let is_elsewhere =
            |(sequence, previous): &(u64, Digest)| *sequence > next && *previous == at.last.hash;
        if same_run && frame.sequence == next && segment.links.iter().any(is_elsewhere) {
            self.break_at(BreakKind::Reordered, segment, offset, frame.sequence, Cause::Order);
            return;
        }
        if same_run && frame.sequence == next {
            // Both are here and don't fit: the earlier one is not what the later one was chained to.
            let file = at.file.clone();
            let sequence = Some(at.last.sequence);
            self.note(BreakKind::Altered, &file, at.start, Some(segment.epoch), sequence, Cause::Hash);
            return;
        }
        let neighbours = segment.number == at.segment.saturating_add(1);
        if !first {
            let cause = Cause::Records { first: next, last: frame.sequence.saturating_sub(1) };
            self.break_at(BreakKind::Missing, segment, offset, next, cause);
            return;
        }
        if same_run && (neighbours || at.torn) {
            let cause = Cause::Records { first: next, last: frame.sequence.saturating_sub(1) };
            let file = at.file.clone();
            self.note(BreakKind::Truncated, &file, at.end, Some(at.last.epoch), Some(next), cause);
            return;
        }
        if !same_run
            && let Some(Record { body: Body::Epoch(start), .. }) = record
            && let Some(previous) = start.previous
            && previous.epoch == at.last.epoch
            && previous.sequence > at.last.sequence
        {
            // The run before had gone further. If the start saw that itself, its end was cut while nothing ran.
            let file = at.file.clone();
            let told = start.damage.iter().any(|damage| damage.what == DamageKind::CutTail);
            let kind = if told { BreakKind::CutTail } else { BreakKind::Truncated };
            if told || neighbours {
                let cause = Cause::EndsBefore { sequence: previous.sequence };
                self.note(kind, &file, at.end, Some(at.last.epoch), Some(next), cause);
                return;
            }
        }
        let cause = if same_run {
            Cause::Records { first: next, last: frame.sequence.saturating_sub(1) }
        } else {
            Cause::Link
        };
        let otherwise = at_break(BreakKind::Missing, segment, offset, frame.sequence, cause);
        self.gaps.push(Gap { before: at.last.hash, last: frame.previous, otherwise });
    }

    fn check_wanted(&mut self, segment: &Segment<'_>, offset: usize, position: &Position) {
        let mut differs = false;
        let mut signed = false;
        for wanted in &mut self.wanted {
            let same =
                wanted.position.epoch == position.epoch && wanted.position.sequence == position.sequence;
            if same && !wanted.found {
                wanted.found = true;
                differs |= wanted.position.hash != position.hash;
                signed = true;
            }
        }
        if differs {
            self.break_at(BreakKind::Altered, segment, offset, position.sequence, Cause::SignedHash);
        } else if signed {
            self.signed(*position);
        }
    }

    fn signed(&mut self, position: Position) {
        self.report.signed_through = Some(position);
        self.report.unsigned_records = 0;
    }

    /// What the records about the log itself say.
    fn read(&mut self, segment: &Segment<'_>, offset: usize, frame: &Frame<'_>, record: &Record) {
        match &record.body {
            Body::Epoch(start) => {
                self.report.epochs += 1;
                self.report.damage_told += start.damage.len() as u64 + start.damage_omitted;
                if start.epoch != segment.epoch || start.instance != segment.instance {
                    self.break_at(BreakKind::Forged, segment, offset, frame.sequence, Cause::Instance);
                }
            }
            Body::Checkpoint(checkpoint) => {
                self.checkpoint(segment, offset, frame, checkpoint);
                for cut in &checkpoint.cuts {
                    self.tombstone(segment, offset, frame, cut);
                }
            }
            Body::Tombstone(tombstone) => self.tombstone(segment, offset, frame, &tombstone.cut),
            Body::Dropped(dropped) => {
                *self.report.dropped.entry(dropped.reason).or_default() += dropped.count;
            }
            Body::Opened(_) | Body::Closed(_) | Body::Config(_) | Body::Erasure(_) => {}
        }
    }

    fn checkpoint(
        &mut self,
        segment: &Segment<'_>,
        offset: usize,
        frame: &Frame<'_>,
        checkpoint: &Checkpoint,
    ) {
        let covers = &checkpoint.covers;
        let before = covers.epoch == segment.epoch
            && covers.sequence.checked_add(1) == Some(frame.sequence)
            && covers.hash == frame.previous;
        let message = checkpoint_message(segment.instance, covers);
        let cause = match self.judge(checkpoint.key, &message, &checkpoint.signature) {
            Err(cause) => cause,
            Ok(()) if !before => Cause::Covers,
            Ok(()) => {
                self.report.checkpoints += 1;
                // A head may vouch for this record itself.
                if self.report.unsigned_records > 0 {
                    self.signed(*covers);
                    self.report.unsigned_records = 1;
                }
                return;
            }
        };
        self.break_at(BreakKind::Forged, segment, offset, frame.sequence, cause);
    }

    fn tombstone(&mut self, segment: &Segment<'_>, offset: usize, frame: &Frame<'_>, cut: &SignedRun) {
        match self.judge(cut.key, &tombstone_message(segment.instance, &cut.run), &cut.signature) {
            Ok(()) => self.runs.push(*cut),
            Err(cause) => self.break_at(BreakKind::Forged, segment, offset, frame.sequence, cause),
        }
    }

    fn judge(&self, key: KeyId, message: &[u8], signature: &Signature) -> Result<(), Cause> {
        let key = self.trust.keys.iter().find(|each| each.id() == key).ok_or(Cause::UnknownKey)?;
        if key.verifies(message, signature) { Ok(()) } else { Err(Cause::Signature) }
    }

    /// The report, once all segments were given.
    pub fn finish(mut self) -> Report {
        for gap in std::mem::take(&mut self.gaps) {
            if self.is_explained(gap.before, gap.last) {
                self.report.cut_by_retention += 1;
            } else {
                self.report.add(gap.otherwise);
            }
        }
        for wanted in std::mem::take(&mut self.wanted) {
            let cut = self
                .runs
                .iter()
                .any(|cut| (cut.run.first_segment..=cut.run.last_segment).contains(&wanted.segment))
                || self.cuts.iter().any(|cut| {
                    let Position { epoch, sequence, .. } = wanted.position;
                    cut.epoch == epoch && (cut.first..=cut.last).contains(&sequence)
                });
            // What is not there for another reason was named where it should stand.
            let passed = self.at.as_ref().is_some_and(|at| at.segment > wanted.segment);
            if wanted.found || cut || (passed && !self.report.is_intact()) {
                continue;
            }
            let (file, offset) = self
                .at
                .as_ref()
                .map_or_else(|| (String::new(), HEADER_LEN as u64), |at| (at.file.clone(), at.end));
            let sequence = wanted.position.sequence;
            let epoch = Some(wanted.position.epoch);
            let cause = Cause::EndsBefore { sequence };
            let next = self.at.as_ref().filter(|at| at.last.epoch == wanted.position.epoch);
            let sequence = next.map_or(Some(sequence), |at| at.last.sequence.checked_add(1));
            self.report.add(Break { kind: BreakKind::CutTail, file, offset, epoch, sequence, cause });
        }
        self.report
    }

    /// Whether tombstones lead from one hash to the other. A later tombstone takes in what earlier ones had cut, so
    /// from one hash several may go on.
    fn is_explained(&self, before: Digest, last: Digest) -> bool {
        let mut reached = BTreeSet::from([before]);
        let mut next = vec![before];
        while let Some(at) = next.pop() {
            if at == last {
                return true;
            }
            let runs = self.runs.iter().filter(|cut| cut.run.before == at).map(|cut| cut.run.last);
            let cuts = self.cuts.iter().filter(|cut| cut.before == at).map(|cut| cut.last_hash);
            next.extend(runs.chain(cuts).filter(|to| reached.insert(*to)));
        }
        false
    }

    fn break_at(
        &mut self,
        kind: BreakKind,
        segment: &Segment<'_>,
        offset: usize,
        sequence: u64,
        cause: Cause,
    ) {
        let found = at_break(kind, segment, offset, sequence, cause);
        self.report.add(found);
    }

    fn note(
        &mut self,
        kind: BreakKind,
        file: &str,
        offset: u64,
        epoch: Option<Epoch>,
        sequence: Option<u64>,
        cause: Cause,
    ) {
        self.report.add(Break { kind, file: file.to_owned(), offset, epoch, sequence, cause });
    }
}

fn at_break(kind: BreakKind, segment: &Segment<'_>, offset: usize, sequence: u64, cause: Cause) -> Break {
    Break {
        kind,
        file: segment.file.to_owned(),
        offset: offset as u64,
        epoch: Some(segment.epoch),
        sequence: Some(sequence),
        cause,
    }
}

/// The little that is read of every record.
#[derive(Deserialize)]
struct Glance {
    v: u16,
    #[serde(rename = "type", deserialize_with = "known_kind")]
    kind: Option<Kind>,
    #[serde(default)]
    request: GlanceRequest,
}

#[derive(Deserialize, Default)]
struct GlanceRequest {
    #[serde(default)]
    retention: Option<Retention>,
}

impl Glance {
    fn of(frame: &Frame<'_>) -> serde_json::Result<Self> {
        serde_json::from_slice(frame.payload)
    }
}

#[cfg(test)]
mod tests;
