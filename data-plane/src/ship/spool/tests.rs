use kt_audit::dir::layout::SegmentName as Name;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::audit::engine::tests::disk::Disk;

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(9));
const LIMITS: Limits = Limits { bytes: 1 << 20, records: 1_000 };

/// Segments of runs, made by hand: so many records in each segment of each run.
struct Chain {
    disk: Disk,
    hashes: Vec<Position>,
}

fn epoch(run: u64) -> Epoch {
    Epoch([u8::try_from(run).unwrap(); 16])
}

impl Chain {
    fn new(runs: &[&[u64]]) -> Self {
        let disk = Disk::default();
        let (mut number, mut previous, mut hashes) = (0, Digest::ZERO, Vec::new());
        for (ordinal, segments) in (1..).zip(runs) {
            let mut sequence = 0;
            for count in *segments {
                number += 1;
                let header = Header {
                    instance: INSTANCE,
                    epoch: epoch(ordinal),
                    ordinal,
                    segment: number,
                    first_sequence: sequence,
                    previous,
                    created_us: 5,
                    retention: kt_audit::record::Retention { days: 1, immutable: false },
                };
                let mut bytes = header.encode().to_vec();
                for _ in 0..*count {
                    let payload = format!("{{\"n\":{sequence}}}");
                    let state = kt_audit::chain::ChainState {
                        instance: INSTANCE,
                        epoch: epoch(ordinal),
                        next_sequence: sequence,
                        previous,
                        last_time: 5,
                    };
                    let (after, time) = state.after(5, payload.as_bytes());
                    kt_audit::segment::encode_frame(
                        &mut bytes,
                        sequence,
                        time,
                        &previous,
                        payload.as_bytes(),
                    )
                    .unwrap();
                    previous = after.previous;
                    hashes.push(after.last().unwrap());
                    sequence += 1;
                }
                disk.put(&Name::new(number).to_string(), bytes);
            }
        }
        Self { disk, hashes }
    }

    fn spool(&self) -> Spool<Disk> {
        let mut spool = Spool::new(Arc::new(self.disk.clone()), INSTANCE);
        spool.begin(&[]).unwrap();
        spool
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Vec<u8>)) {
        let name = Name::new(number).to_string();
        let mut bytes = self.disk.content(&name).unwrap();
        change(&mut bytes);
        self.disk.put(&name, bytes);
    }
}

/// Everything that it gives, as (run, first, count, loss).
fn batches(spool: &mut Spool<Disk>, limits: Limits) -> Vec<(u64, u64, u32, Option<Loss>)> {
    let mut batches = Vec::new();
    while let Some(batch) = spool.next(limits, None).unwrap() {
        batches.push((batch.ordinal, batch.first_sequence, batch.count, batch.loss));
        assert!(batches.len() < 1_000);
    }
    batches
}

#[test]
fn a_batch_is_of_one_run_and_goes_over_segments() {
    let chain = Chain::new(&[&[5, 5], &[3]]);
    assert_eq!(batches(&mut chain.spool(), LIMITS), [(1, 0, 10, None), (2, 0, 3, None)]);
    let few = Limits { records: 4, ..LIMITS };
    let told = batches(&mut chain.spool(), few);
    assert_eq!(told, [(1, 0, 4, None), (1, 4, 4, None), (1, 8, 2, None), (2, 0, 3, None)]);
}

#[test]
fn it_goes_on_behind_its_marks_and_reads_nothing_twice() {
    let chain = Chain::new(&[&[5, 5], &[3, 2]]);
    for (index, mark) in chain.hashes.iter().enumerate() {
        let mut spool = chain.spool();
        let before: Vec<Position> = chain.hashes.iter().copied().take(index + 1).collect();
        let mut marks = vec![*mark];
        marks.extend(before.iter().rev().find(|other| other.epoch != mark.epoch));
        assert_eq!(spool.begin(&marks).unwrap(), []);
        let rest: u32 = batches(&mut spool, LIMITS)
            .iter()
            .map(|(_, _, count, loss)| {
                assert_eq!(*loss, None, "behind {index}");
                *count
            })
            .sum();
        assert_eq!(rest as usize, chain.hashes.len() - index - 1);
        assert_eq!(spool.backlog(None).unwrap(), u64::from(rest));
    }
}

#[test]
fn a_mark_that_is_another_record_sends_its_run_from_the_beginning() {
    let chain = Chain::new(&[&[5], &[3]]);
    let wrong = Position { hash: Digest::of(b"another"), ..chain.hashes[6] };
    let beyond = Position { sequence: 77, ..chain.hashes[7] };
    for mark in [wrong, beyond] {
        let mut spool = chain.spool();
        assert_eq!(spool.begin(&[chain.hashes[4], mark]).unwrap(), [mark]);
        assert_eq!(batches(&mut spool, LIMITS), [(2, 0, 3, None)]);
    }
    // A run that is not here any more is no matter.
    let mut spool = chain.spool();
    let gone = Position { epoch: epoch(9), ..chain.hashes[0] };
    assert_eq!(spool.begin(&[gone]).unwrap(), []);
}

#[test]
fn what_is_missing_or_unreadable_is_told_with_what_comes_after_it() {
    let chain = Chain::new(&[&[4, 4, 4], &[3]]);
    chain.disk.delete(&Name::new(2).to_string());
    let cut = Loss { why: Why::Cut, bytes: 0, records: 4 };
    assert_eq!(batches(&mut chain.spool(), LIMITS), [(1, 0, 4, None), (1, 8, 4, Some(cut)), (2, 0, 3, None)]);

    let chain = Chain::new(&[&[4, 4], &[3]]);
    let frame = FRAME_LEN + "{\"n\":0}".len();
    chain.change(1, |bytes| bytes[HEADER_LEN + frame + 60] ^= 1);
    let damaged = Loss { why: Why::Damaged, bytes: frame as u64, records: 1 };
    let told = batches(&mut chain.spool(), LIMITS);
    assert_eq!(told, [(1, 0, 1, None), (1, 2, 6, Some(damaged)), (2, 0, 3, None)]);

    // A write that failed leaves bytes, and costs no record.
    let chain = Chain::new(&[&[4, 4], &[3]]);
    chain.change(1, |bytes| bytes.extend_from_slice(b"half a frame"));
    assert_eq!(batches(&mut chain.spool(), LIMITS), [(1, 0, 8, None), (2, 0, 3, None)]);
}

#[test]
fn a_segment_of_a_later_format_stays_and_the_rest_goes() {
    let chain = Chain::new(&[&[4], &[3], &[2]]);
    chain.change(2, |bytes| bytes[8] = 9);
    chain.change(2, |bytes| bytes[30] ^= 1);
    let told = batches(&mut chain.spool(), LIMITS);
    let newer = Loss { why: Why::NewerFormat, bytes: (HEADER_LEN + 3 * (FRAME_LEN + 7)) as u64, records: 0 };
    assert_eq!(told, [(1, 0, 4, None), (3, 0, 2, Some(newer))]);
}

#[test]
fn more_damage_than_a_piece_has_is_passed_over() {
    let chain = Chain::new(&[&[4, 4]]);
    let garbage = vec![0x55; 3 * MAX_FRAME];
    chain.change(1, |bytes| {
        let rest = bytes.split_off(HEADER_LEN + 2 * (FRAME_LEN + 7));
        bytes.extend_from_slice(&garbage);
        bytes.extend_from_slice(&rest);
    });
    // The records behind it fit to those before: nothing is lost.
    let told = batches(&mut chain.spool(), LIMITS);
    assert_eq!(told, [(1, 0, 2, None), (1, 2, 6, None)]);
}

#[test]
fn records_that_no_fsync_covers_yet_are_left_for_later() {
    let chain = Chain::new(&[&[4], &[6]]);
    let mut spool = chain.spool();
    let through = |below| Some(Through { epoch: epoch(2), below });
    let mut next =
        |below| spool.next(LIMITS, through(below)).unwrap().map(|batch| (batch.first_sequence, batch.count));
    assert_eq!(next(0), Some((0, 4)));
    assert_eq!(next(0), None);
    assert_eq!(next(3), Some((0, 3)));
    assert_eq!(next(3), None);
    assert_eq!(next(6), Some((3, 3)));
}

#[test]
fn a_large_record_goes_alone_and_whole() {
    let chain = Chain::new(&[&[2]]);
    let payload = format!("{{\"n\":\"{}\"}}", "x".repeat(MAX_PAYLOAD - 8));
    let previous = chain.hashes[1].hash;
    chain.change(1, |bytes| {
        kt_audit::segment::encode_frame(bytes, 2, 5, &previous, payload.as_bytes()).unwrap();
    });
    let small = Limits { bytes: 200, records: 1_000 };
    assert_eq!(batches(&mut chain.spool(), small), [(1, 0, 2, None), (1, 2, 1, None)]);
}

proptest! {
    /// Whatever is done to the files: it comes to an end, and gives only whole records that were written.
    #[test]
    fn arbitrary_damage_is_survived(
        damage in proptest::collection::vec((1_u64..5, any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in proptest::option::of((1_u64..5, any::<prop::sample::Index>())),
        gone in proptest::option::of(1_u64..5),
    ) {
        let chain = Chain::new(&[&[7, 6], &[5, 4]]);
        for (number, index, value) in damage {
            chain.change(number, |bytes| {
                let index = index.index(bytes.len());
                bytes[index] = value;
            });
        }
        if let Some((number, index)) = cut {
            chain.change(number, |bytes| bytes.truncate(index.index(bytes.len())));
        }
        if let Some(number) = gone {
            chain.disk.delete(&Name::new(number).to_string());
        }
        let mut spool = chain.spool();
        let mut given = 0;
        while let Some(batch) = spool.next(Limits { records: 3, ..LIMITS }, None).unwrap() {
            for item in Scan::resume(&batch.frames, 0, None) {
                let is_frame = matches!(item, Item::Frame { .. });
                prop_assert!(is_frame, "{item:?}");
                given += 1;
            }
            prop_assert!(batch.count <= 3);
        }
        prop_assert!(given <= 22);
        spool.backlog(None).unwrap();
        spool.runs(10).unwrap();
    }
}
