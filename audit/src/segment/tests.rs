use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::chain::{ChainState, Epoch, InstanceId};
use crate::record::Retention;
use crate::value::Digest;

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(1));
const EPOCH: Epoch = Epoch([2; 16]);

fn header() -> Header {
    Header {
        instance: INSTANCE,
        epoch: EPOCH,
        ordinal: 3,
        segment: 4,
        first_sequence: 0,
        previous: Digest::of(b"before"),
        created_us: -5,
        retention: Retention { days: 30, immutable: true },
    }
}

fn segment(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = header().encode().to_vec();
    let mut chain = ChainState::start(INSTANCE, EPOCH, header().previous);
    for (time, payload) in (0..).zip(payloads) {
        let (after, time) = chain.after(time, payload);
        encode_frame(&mut bytes, chain.next_sequence, time, &chain.previous, payload).unwrap();
        chain = after;
    }
    bytes
}

fn payloads(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!("{{\"n\":{index}}}").into_bytes()).collect()
}

fn frames(bytes: &[u8]) -> Vec<u64> {
    let items = scan(bytes).1;
    items
        .filter_map(|item| if let Item::Frame { frame, .. } = item { Some(frame.sequence) } else { None })
        .collect()
}

#[test]
fn a_header_reads_back_and_each_flipped_byte_of_it_is_seen() {
    let bytes = header().encode();
    assert_eq!(Header::parse(&bytes), Ok(header()));
    for index in 0..HEADER_LEN {
        let mut flipped = bytes;
        flipped[index] ^= 0x10;
        assert!(Header::parse(&flipped).is_err(), "byte {index}");
    }
    assert_eq!(Header::parse(&bytes[..100]), Err(HeaderError::Short));
    assert_eq!(Header::parse(b""), Err(HeaderError::Short));
}

#[test]
fn a_later_format_is_told_from_an_altered_version() {
    let mut later = header().encode();
    later[8] = 2;
    assert_eq!(Header::parse(&later), Err(HeaderError::Altered));
    // A later header has a checksum of its own, wherever it is.
    later[20] ^= 1;
    assert_eq!(Header::parse(&later), Err(HeaderError::Newer { version: 2 }));
    assert_eq!(scan(&later).1.count(), 0);
}

#[test]
fn a_payload_out_of_bounds_is_refused_by_type_and_leaves_nothing() {
    let mut out = vec![7];
    for length in [0, 1, MAX_PAYLOAD + 1] {
        let payload = vec![b' '; length];
        assert_eq!(encode_frame(&mut out, 0, 0, &Digest::ZERO, &payload), Err(FrameError::Length));
    }
    assert_eq!(out, [7]);
    encode_frame(&mut out, 0, 0, &Digest::ZERO, &vec![b' '; MAX_PAYLOAD]).unwrap();
}

#[test]
fn a_cut_at_any_byte_leaves_every_whole_record_and_names_the_rest_torn() {
    let whole = segment(&payloads(4));
    let frame = (whole.len() - HEADER_LEN) / 4;
    for cut in HEADER_LEN..whole.len() {
        let bytes = &whole[..cut];
        let kept = (cut - HEADER_LEN) / frame;
        assert_eq!(frames(bytes).len(), kept, "cut at {cut}");
        let rest = (cut - HEADER_LEN) % frame;
        let last = scan(bytes).1.last();
        match last {
            Some(Item::Torn { length, error, .. }) => {
                assert_eq!((length, error), (rest, FrameError::Short), "cut at {cut}");
            }
            other => assert_eq!(rest, 0, "cut at {cut}: {other:?}"),
        }
    }
}

#[test]
fn a_flipped_byte_costs_the_record_that_it_is_in_and_no_other() {
    let whole = segment(&payloads(5));
    let frame = (whole.len() - HEADER_LEN) / 5;
    for index in HEADER_LEN..whole.len() {
        let mut bytes = whole.clone();
        bytes[index] ^= 0x04;
        let hit = (index - HEADER_LEN) / frame;
        let expected: Vec<u64> = (0..5).filter(|sequence| *sequence != hit as u64).collect();
        assert_eq!(frames(&bytes), expected, "byte {index}");
    }
}

#[test]
fn zeroes_after_a_power_cut_are_no_records() {
    let mut bytes = segment(&payloads(2));
    let end = bytes.len();
    bytes.resize(end + 4096, 0);
    assert_eq!(frames(&bytes), [0, 1]);
    let torn = Item::Torn { offset: end, length: 4096, error: FrameError::Length };
    assert_eq!(scan(&bytes).1.last(), Some(torn));
}

#[test]
fn the_epoch_of_a_segment_without_its_header_is_found_again() {
    let bytes = segment(&payloads(3));
    let items = scan(&bytes).1;
    let all: Vec<_> = items
        .filter_map(|item| if let Item::Frame { frame, .. } = item { Some(frame) } else { None })
        .collect();
    let candidates = [Epoch([9; 16]), EPOCH];
    assert_eq!(guess_epoch(INSTANCE, &all, &candidates), Some(EPOCH));
    assert_eq!(guess_epoch(INSTANCE, &all, &candidates[..1]), None);
}

proptest! {
    #[test]
    fn whatever_was_framed_reads_back(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 2..200), 0..20)
    ) {
        let bytes = segment(&payloads);
        let items: Vec<_> = scan(&bytes).1.collect();
        prop_assert_eq!(items.len(), payloads.len());
        for (item, payload) in items.iter().zip(&payloads) {
            let read = if let Item::Frame { frame, .. } = item { Some(frame.payload) } else { None };
            prop_assert_eq!(read, Some(&payload[..]));
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_without_panic_and_accounted_for(
        bytes in proptest::collection::vec(any::<u8>(), 0..4096)
    ) {
        accounts_for_all(&bytes)?;
    }

    #[test]
    fn a_segment_with_arbitrary_damage_is_accounted_for(
        count in 1_usize..8,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = segment(&payloads(count));
        for (index, value) in damage {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        accounts_for_all(&bytes)?;
    }
}

/// Items follow on each other without gap or overlap, and end where the bytes do.
fn accounts_for_all(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (header, items) = scan(bytes);
    if matches!(header, Err(HeaderError::Newer { .. } | HeaderError::Short)) {
        prop_assert_eq!(items.count(), 0);
        return Ok(());
    }
    let mut at = HEADER_LEN;
    for item in items {
        let (offset, length) = match item {
            Item::Frame { offset, frame } => (offset, frame.stored_len()),
            Item::Corrupt { offset, length, .. } | Item::Torn { offset, length, .. } => (offset, length),
        };
        prop_assert_eq!(offset, at);
        at += length;
    }
    prop_assert_eq!(at, bytes.len().max(HEADER_LEN));
    Ok(())
}
