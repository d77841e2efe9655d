//! Each kind of tampering, by its name and place.

use uuid::Uuid;

use super::*;
use crate::chain::ChainState;
use crate::record::{CheckpointReason, Closed, CutRun, Damage, EpochStart, Opened, RequestFacts, Tombstone};
use crate::segment::{encode_frame, parse_frame};
use crate::sign::Signer;
use crate::value::Label;

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(1));
const KEEP: Retention = Retention { days: 30, immutable: false };

/// Writes segments in memory as a gateway would.
struct Log {
    signer: Signer,
    chain: ChainState,
    ordinal: u64,
    segments: Vec<(u64, Vec<u8>)>,
    /// Offsets of the records in their segments.
    places: Vec<(usize, usize)>,
}

impl Log {
    fn new() -> Self {
        let mut log = Self {
            signer: Signer::generate().unwrap(),
            chain: ChainState::start(INSTANCE, Epoch([0; 16]), Digest::ZERO),
            ordinal: 0,
            segments: Vec::new(),
            places: Vec::new(),
        };
        log.epoch(log.chain.last(), Vec::new());
        log
    }

    /// A log of two runs, three segments in the first, with a checkpoint in each.
    fn rich() -> Self {
        let mut log = Self::new();
        log.requests(5);
        log.checkpoint();
        log.roll();
        log.requests(5);
        log.checkpoint();
        log.roll();
        log.requests(3);
        log.checkpoint();
        log.epoch(log.chain.last(), Vec::new());
        log.requests(4);
        log.checkpoint();
        log
    }

    fn epoch(&mut self, previous: Option<Position>, damage: Vec<Damage>) {
        self.ordinal += 1;
        let epoch = Epoch([u8::try_from(self.ordinal).unwrap(); 16]);
        let hash = previous.map_or(Digest::ZERO, |last| last.hash);
        self.chain = ChainState::start(INSTANCE, epoch, hash);
        self.roll();
        self.push(Body::Epoch(Box::new(EpochStart {
            instance: INSTANCE,
            epoch,
            ordinal: self.ordinal,
            previous,
            gateway_version: Label::new("0"),
            public_key: self.signer.public(),
            pseudonym_key: self.signer.public().id(),
            damage,
            damage_omitted: 0,
        })));
    }

    fn roll(&mut self) {
        let segment = self.segments.last().map_or(1, |(number, _)| number + 1);
        let header = Header {
            instance: INSTANCE,
            epoch: self.chain.epoch,
            ordinal: self.ordinal,
            segment,
            first_sequence: self.chain.next_sequence,
            previous: self.chain.previous,
            created_us: 0,
            retention: KEEP,
        };
        self.segments.push((segment, header.encode().to_vec()));
    }

    fn push(&mut self, body: Body) {
        let payload = Record::new(body).payload().unwrap();
        let (after, time) = self.chain.after(i64::try_from(self.places.len()).unwrap(), &payload);
        let index = self.segments.len() - 1;
        let bytes = &mut self.segments[index].1;
        self.places.push((index, bytes.len()));
        encode_frame(bytes, self.chain.next_sequence, time, &self.chain.previous, &payload).unwrap();
        self.chain = after;
    }

    fn requests(&mut self, count: u128) {
        for _ in 0..count {
            let id = Uuid::from_u128(self.places.len() as u128);
            let request = RequestFacts { retention: Some(KEEP), ..RequestFacts::default() };
            self.push(Body::Opened(Box::new(Opened { id, request, ..Opened::default() })));
            self.push(Body::Closed(Box::new(Closed { id, ..Closed::default() })));
        }
    }

    fn checkpoint(&mut self) {
        let covers = self.chain.last().unwrap();
        let signature = self.signer.sign(&checkpoint_message(INSTANCE, &covers));
        self.push(Body::Checkpoint(Box::new(Checkpoint {
            covers,
            reason: CheckpointReason::Count,
            open: None,
            cuts: Vec::new(),
            key: self.signer.public().id(),
            signature,
        })));
    }

    fn tombstone(&mut self, run: CutRun) {
        let signature = self.signer.sign(&tombstone_message(INSTANCE, &run));
        let cut = SignedRun { run, key: self.signer.public().id(), signature };
        self.push(Body::Tombstone(Box::new(Tombstone { cut, segments: 1, bytes: 1, delivered: false })));
    }

    fn head(&self) -> Head {
        let (segment, _) = self.segments.last().unwrap();
        Head::sign(&self.signer, INSTANCE, self.ordinal, self.chain.last().unwrap(), *segment, 9)
    }

    fn trust(&self) -> Trust {
        Trust {
            keys: vec![self.signer.public()],
            heads: vec![("head.json".to_owned(), self.head())],
            ..Trust::default()
        }
    }

    fn verify(&self) -> Report {
        verify(self.trust(), &self.segments)
    }

    /// Replaces the payload of record `index`, with a right checksum.
    fn rewrite(&mut self, index: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let (segment, offset) = self.places[index];
        let bytes = self.segments[segment].1.clone();
        let frame = parse_frame(&bytes[offset..]).unwrap();
        let mut payload = frame.payload.to_vec();
        change(&mut payload);
        let mut new = bytes[..offset].to_vec();
        encode_frame(&mut new, frame.sequence, frame.time_us, &frame.previous, &payload).unwrap();
        new.extend_from_slice(&bytes[offset + frame.stored_len()..]);
        self.segments[segment].1 = new;
    }

    fn frame_len(&self, index: usize) -> usize {
        let (segment, offset) = self.places[index];
        parse_frame(&self.segments[segment].1[offset..]).unwrap().stored_len()
    }

    /// The bytes of record `index`, taken out of its segment.
    fn take(&mut self, index: usize) -> Vec<u8> {
        let (segment, offset) = self.places[index];
        let length = self.frame_len(index);
        self.segments[segment].1.drain(offset..offset + length).collect()
    }
}

fn verify(trust: Trust, segments: &[(u64, Vec<u8>)]) -> Report {
    let mut verifier = Verifier::new(trust);
    for (number, bytes) in segments {
        verifier.segment(*number, &format!("{number}"), bytes);
    }
    verifier.finish()
}

fn kinds(report: &Report) -> Vec<BreakKind> {
    report.breaks.iter().map(|found| found.kind).collect()
}

#[test]
fn an_untouched_log_is_intact_and_signed_to_its_end() {
    let log = Log::rich();
    let report = log.verify();
    assert_eq!(report.breaks, []);
    assert_eq!((report.epochs, report.segments, report.checkpoints), (2, 4, 4));
    assert_eq!(report.records, log.places.len() as u64);
    assert_eq!(report.signed_through, log.chain.last());
    assert_eq!(report.unsigned_records, 0);
}

#[test]
fn every_flipped_byte_is_named_in_its_segment() {
    let mut log = Log::new();
    log.requests(1);
    log.checkpoint();
    log.roll();
    log.requests(1);
    log.epoch(log.chain.last(), Vec::new());
    log.checkpoint();
    for segment in 0..log.segments.len() {
        for index in 0..log.segments[segment].1.len() {
            let mut segments = log.segments.clone();
            segments[segment].1[index] ^= 0x20;
            let report = verify(log.trust(), &segments);
            assert!(!report.is_intact(), "segment {segment} byte {index}");
            let named = report.breaks.iter().any(|found| found.file == format!("{}", segment + 1));
            assert!(named, "segment {segment} byte {index}: {report:?}");
        }
    }
}

#[test]
fn a_record_rewritten_with_its_checksum_is_altered_where_it_stands() {
    let mut log = Log::rich();
    log.rewrite(4, |payload| {
        let at = payload.len() - 10;
        payload[at] ^= 1;
    });
    let report = log.verify();
    let found = report.first(BreakKind::Altered).unwrap();
    let (segment, offset) = log.places[4];
    assert_eq!(found.file, format!("{}", segment + 1));
    assert_eq!((found.offset, found.sequence), (offset as u64, Some(4)));
}

#[test]
fn a_chain_remade_from_a_record_on_is_forged_at_the_next_checkpoint() {
    let log = Log::rich();
    let mut remade = Log::new();
    remade.signer = Signer::from_seed_hex(&"11".repeat(32)).unwrap();
    remade.requests(4);
    remade.checkpoint();
    let report = verify(log.trust(), &remade.segments);
    assert_eq!(report.first(BreakKind::Forged).unwrap().cause, Cause::UnknownKey);

    // With the right key's old signature pasted over other records.
    let mut pasted = Log::rich();
    let genuine = Log::rich();
    let mut trust = pasted.trust();
    trust.keys.push(genuine.signer.public());
    pasted.requests(1);
    let covers = pasted.chain.last().unwrap();
    let signature = pasted.signer.sign(&checkpoint_message(INSTANCE, &Position { sequence: 1, ..covers }));
    let key = pasted.signer.public().id();
    let reason = CheckpointReason::Count;
    let checkpoint = Checkpoint { covers, reason, open: None, cuts: Vec::new(), key, signature };
    pasted.push(Body::Checkpoint(Box::new(checkpoint)));
    let report = verify(trust, &pasted.segments);
    assert_eq!(report.first(BreakKind::Forged).unwrap().cause, Cause::Signature);
}

#[test]
fn a_checkpoint_moved_to_another_place_is_forged() {
    let mut log = Log::new();
    log.requests(1);
    let old = log.chain.last().unwrap();
    log.requests(1);
    let signature = log.signer.sign(&checkpoint_message(INSTANCE, &old));
    let key = log.signer.public().id();
    let reason = CheckpointReason::Count;
    let checkpoint = Checkpoint { covers: old, reason, open: None, cuts: Vec::new(), key, signature };
    log.push(Body::Checkpoint(Box::new(checkpoint)));
    assert_eq!(log.verify().first(BreakKind::Forged).unwrap().cause, Cause::Covers);
}

#[test]
fn a_record_taken_out_is_missing() {
    let mut log = Log::rich();
    log.take(6);
    let report = log.verify();
    assert_eq!(kinds(&report), [BreakKind::Missing]);
    let found = report.first(BreakKind::Missing).unwrap();
    assert_eq!(found.cause, Cause::Records { first: 6, last: 6 });
    assert_eq!(found.offset, log.places[6].1 as u64);
}

#[test]
fn a_segment_taken_out_is_missing() {
    for index in 0..3 {
        let log = Log::rich();
        let mut segments = log.segments.clone();
        segments.remove(index);
        let report = verify(log.trust(), &segments);
        assert_eq!(kinds(&report), [BreakKind::Missing], "segment {index}");
        assert_eq!(report.breaks[0].file, format!("{}", index + 2));
    }
}

#[test]
fn swapped_records_are_reordered() {
    let mut log = Log::rich();
    let (segment, offset) = log.places[3];
    let record = log.take(3);
    let after_next = offset + log.frame_len_at(segment, offset);
    log.segments[segment].1.splice(after_next..after_next, record);
    let report = log.verify();
    assert_eq!(kinds(&report), [BreakKind::Reordered]);
    assert_eq!(report.breaks[0].sequence, Some(3));
}

#[test]
fn a_record_that_stands_twice_is_reordered() {
    let mut log = Log::rich();
    let (segment, offset) = log.places[3];
    let length = log.frame_len(3);
    let copy: Vec<u8> = log.segments[segment].1[offset..offset + length].to_vec();
    log.segments[segment].1.splice(offset..offset, copy);
    assert_eq!(kinds(&log.verify()), [BreakKind::Reordered]);
}

#[test]
fn a_segment_under_another_number_is_reordered() {
    let mut log = Log::rich();
    log.segments[1].0 = 7;
    let report = log.verify();
    assert_eq!(kinds(&report), [BreakKind::Reordered]);
    assert_eq!(report.breaks[0].cause, Cause::SegmentOrder { number: 2 });
}

#[test]
fn a_segment_cut_short_is_truncated_at_its_new_end() {
    let log = Log::rich();
    let (segment, offset) = log.places[7];
    for cut in [offset, offset + 1, offset + 60] {
        let mut segments = log.segments.clone();
        segments[segment].1.truncate(cut);
        let report = verify(log.trust(), &segments);
        assert_eq!(kinds(&report), [BreakKind::Truncated], "cut at {cut}");
        let found = &report.breaks[0];
        assert_eq!((found.offset, found.sequence), (offset as u64, Some(7)));
    }
    // The last segment of a run.
    let mut segments = log.segments.clone();
    let length = segments[2].1.len();
    segments[2].1.truncate(length - 20);
    assert_eq!(kinds(&verify(log.trust(), &segments)), [BreakKind::Truncated]);
}

#[test]
fn an_end_that_the_signed_head_knows_is_a_cut_tail() {
    let log = Log::rich();
    let (segment, offset) = log.places[log.places.len() - 3];
    for cut in [offset, offset + 30] {
        let mut segments = log.segments.clone();
        segments[segment].1.truncate(cut);
        let report = verify(log.trust(), &segments);
        assert_eq!(kinds(&report), [BreakKind::CutTail], "cut at {cut}");
        assert_eq!(report.breaks[0].offset, offset as u64);
        let last = log.chain.last().unwrap().sequence;
        assert_eq!(report.breaks[0].cause, Cause::EndsBefore { sequence: last });
    }
    let whole_run = verify(log.trust(), &log.segments[..3]);
    assert_eq!(kinds(&whole_run), [BreakKind::CutTail]);
    assert_eq!(kinds(&verify(log.trust(), &[])), [BreakKind::CutTail]);
}

#[test]
fn an_end_that_only_another_place_knows_is_a_cut_tail_too() {
    let log = Log::rich();
    let trust = Trust { heads: Vec::new(), known: vec![log.chain.last().unwrap()], ..log.trust() };
    assert!(verify(trust.clone(), &log.segments).is_intact());
    assert_eq!(kinds(&verify(trust, &log.segments[..3])), [BreakKind::CutTail]);
}

#[test]
fn a_cut_tail_stays_visible_after_the_gateway_has_gone_on() {
    let mut log = Log::rich();
    let head = log.chain.last().unwrap();
    let (segment, offset) = log.places[log.places.len() - 2];
    log.segments[segment].1.truncate(offset);
    let damage = Damage { what: DamageKind::CutTail, segment: Some(4), offset: 0, bytes: 0 };
    log.epoch(Some(head), vec![damage]);
    log.checkpoint();
    let report = log.verify();
    assert_eq!(kinds(&report), [BreakKind::CutTail]);
    assert_eq!(report.breaks[0].offset, offset as u64);
}

#[test]
fn a_last_record_remade_is_altered_by_what_the_head_says() {
    let mut log = Log::rich();
    log.requests(1);
    let trust = log.trust();
    let last = log.places.len() - 1;
    log.rewrite(last, |payload| {
        let at = payload.len() - 3;
        payload[at] = b' ';
    });
    let report = verify(trust, &log.segments);
    assert_eq!(report.first(BreakKind::Altered).unwrap().cause, Cause::SignedHash);
}

#[test]
fn a_head_that_nobody_trusted_has_signed_is_forged() {
    let log = Log::rich();
    let mut trust = log.trust();
    trust.heads[0].1.last.sequence += 1;
    assert_eq!(verify(trust, &log.segments).breaks[0].cause, Cause::Signature);
    let other = Trust { keys: vec![Signer::generate().unwrap().public()], ..log.trust() };
    let report = verify(other, &log.segments);
    assert_eq!(report.breaks[0].cause, Cause::UnknownKey);
    assert_eq!(report.signed_through, None);
}

#[test]
fn a_torn_tail_that_cost_nothing_is_no_break() {
    let mut log = Log::rich();
    let index = log.segments.len() - 1;
    log.segments[index].1.extend_from_slice(&[200, 0, 0, 0, 1, 2, 3]);
    log.epoch(log.chain.last(), Vec::new());
    let report = log.verify();
    assert_eq!(report.breaks, []);
    assert_eq!(report.torn_tails, 1);
}

#[test]
fn a_gap_that_a_tombstone_explains_is_no_break() {
    let mut log = Log::rich();
    let second = Header::parse(&log.segments[1].1).unwrap();
    let third = Header::parse(&log.segments[2].1).unwrap();
    let first = CutRun {
        first_segment: 1,
        last_segment: 1,
        before: Digest::ZERO,
        last: second.previous,
        retention: KEEP,
    };
    log.tombstone(first);
    log.checkpoint();
    let cut_one: Vec<_> = log.segments[1..].to_vec();
    let report = verify(log.trust(), &cut_one);
    assert_eq!((kinds(&report), report.cut_by_retention), (vec![], 1));

    // A later cut beside it takes it in.
    log.tombstone(CutRun { last_segment: 2, last: third.previous, ..first });
    log.checkpoint();
    let report = verify(log.trust(), &log.segments[2..]);
    assert_eq!((kinds(&report), report.cut_by_retention), (vec![], 1));

    // A segment more than was told of is missing all the same.
    let report = verify(log.trust(), &log.segments[3..]);
    assert_eq!(kinds(&report), [BreakKind::Missing]);
}

#[test]
fn a_tombstone_with_another_signature_is_forged_and_explains_nothing() {
    let mut log = Log::rich();
    let second = Header::parse(&log.segments[1].1).unwrap();
    let trust_before = log.trust();
    log.signer = Signer::generate().unwrap();
    log.tombstone(CutRun {
        first_segment: 1,
        last_segment: 1,
        before: Digest::ZERO,
        last: second.previous,
        retention: KEEP,
    });
    let trust = Trust { heads: Vec::new(), ..trust_before };
    let report = verify(trust, &log.segments[1..]);
    assert_eq!(kinds(&report), [BreakKind::Missing, BreakKind::Forged]);
}

#[test]
fn a_header_that_promises_less_than_its_records_ask_is_altered() {
    let mut log = Log::rich();
    let mut header = Header::parse(&log.segments[0].1).unwrap();
    header.retention.days = 1;
    log.segments[0].1.splice(..HEADER_LEN, header.encode());
    let report = log.verify();
    assert_eq!(kinds(&report), [BreakKind::Altered]);
    assert_eq!((report.breaks[0].offset, &report.breaks[0].cause), (0, &Cause::Header));
}

#[test]
fn several_kinds_at_once_are_each_named_once() {
    let mut log = Log::rich();
    let last = log.places.len() - 1;
    let (segment, offset) = log.places[last];
    log.segments[segment].1.truncate(offset);
    log.take(15);
    log.rewrite(2, |payload| {
        let at = payload.len() - 10;
        payload[at] ^= 1;
    });
    let report = log.verify();
    assert_eq!(kinds(&report), [BreakKind::Altered, BreakKind::Missing, BreakKind::CutTail]);
}

#[test]
fn a_log_that_goes_on_after_a_segment_of_a_later_format_can_still_be_read() {
    let mut log = Log::rich();
    let bytes = &mut log.segments[1].1;
    bytes[8] = 9;
    bytes[127] ^= 1;
    let report = log.verify();
    assert_eq!(report.newer_segments, 1);
    assert_eq!(kinds(&report), []);
}

#[test]
fn a_break_reads_as_one_line() {
    let mut log = Log::rich();
    log.take(6);
    let found = log.verify().breaks[0].to_string();
    insta::assert_snapshot!(
        found,
        @"missing: `1` at byte 1764, record 6 of run 01010101010101010101010101010101: record 6 is not there"
    );
}

impl Log {
    fn frame_len_at(&self, segment: usize, offset: usize) -> usize {
        parse_frame(&self.segments[segment].1[offset..]).unwrap().stored_len()
    }
}
