//! Reading a segment from its bytes, damaged or not.

use super::frame::{FRAME_LEN, Frame, FrameError, parse_frame};
use super::header::{Header, HeaderError};
use super::{HEADER_LEN, MIN_PAYLOAD};
use crate::chain::{Epoch, InstanceId};

/// How far a sequence may lie ahead after unreadable bytes for the next frame to be believed.
const RESYNC_SPAN: u64 = 1 << 20;

/// What stands next in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A record.
    Frame {
        /// Where its frame begins in the segment.
        offset: usize,
        /// The frame.
        frame: Frame<'a>,
    },
    /// Bytes with no record, and at least one record after them.
    Corrupt {
        /// Where they begin.
        offset: usize,
        /// How many they are.
        length: usize,
        /// What is wrong at their beginning.
        error: FrameError,
    },
    /// Bytes with no record up to the end.
    Torn {
        /// Where they begin.
        offset: usize,
        /// How many they are.
        length: usize,
        /// What is wrong at their beginning.
        error: FrameError,
    },
}

/// The records of one segment in stored order, with what can't be read named in between.
///
/// Never fails and never loops: each item lies further on than the one before, [`Item::Torn`] is the last.
#[derive(Debug, Clone)]
pub struct Scan<'a> {
    bytes: &'a [u8],
    offset: usize,
    last_sequence: Option<u64>,
    resumed: Option<(usize, Frame<'a>)>,
}

/// Reads `bytes` as one segment.
///
/// The records can be read even where the header can't, unless it is of a later format.
pub fn scan(bytes: &[u8]) -> (Result<Header, HeaderError>, Scan<'_>) {
    let header = Header::parse(bytes);
    let offset = match header {
        Err(HeaderError::Newer { .. } | HeaderError::Short) => bytes.len(),
        Ok(_) | Err(HeaderError::NotASegment | HeaderError::Altered) => HEADER_LEN.min(bytes.len()),
    };
    (header, Scan { bytes, offset, last_sequence: None, resumed: None })
}

impl<'a> Scan<'a> {
    /// A scan of frames alone that continues at `offset`, after the record with `last_sequence`.
    pub fn resume(bytes: &'a [u8], offset: usize, last_sequence: Option<u64>) -> Self {
        Self { bytes, offset: offset.min(bytes.len()), last_sequence, resumed: None }
    }

    /// Where the next item begins: after the last record, the length of the part that is whole.
    pub fn offset(&self) -> usize {
        self.offset
    }

    fn take(&mut self, offset: usize, frame: Frame<'a>) -> Item<'a> {
        self.offset = offset.saturating_add(frame.stored_len());
        self.last_sequence = Some(frame.sequence);
        Item::Frame { offset, frame }
    }

    /// The next place where a believable frame begins.
    fn resync(&self) -> Option<(usize, Frame<'a>)> {
        let first = self.last_sequence.map_or(0, |last| last.saturating_add(1));
        let last = first.saturating_add(RESYNC_SPAN);
        let mut offset = self.offset.saturating_add(1);
        // The sequence is checked before the checksum, so that a candidate costs a few loads, not its length.
        while let Some(rest) = self.bytes.get(offset..) {
            if rest.len() < FRAME_LEN + MIN_PAYLOAD {
                return None;
            }
            let sequence = rest.get(8..16).and_then(|b| b.first_chunk::<8>()).map(|b| u64::from_le_bytes(*b));
            if sequence.is_some_and(|s| (first..=last).contains(&s))
                && let Ok(frame) = parse_frame(rest)
            {
                return Some((offset, frame));
            }
            offset += 1;
        }
        None
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if let Some((offset, frame)) = self.resumed.take() {
            return Some(self.take(offset, frame));
        }
        let rest = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let offset = self.offset;
        let error = match parse_frame(rest) {
            Ok(frame) => return Some(self.take(offset, frame)),
            Err(error) => error,
        };
        if let Some((next, frame)) = self.resync() {
            self.resumed = Some((next, frame));
            self.offset = next;
            return Some(Item::Corrupt { offset, length: next - offset, error });
        }
        self.offset = self.bytes.len();
        Some(Item::Torn { offset, length: rest.len(), error })
    }
}

/// The epoch of records whose header can't be read: the first of `candidates` under which a record hashes to what
/// the record after it names as previous, or the first of all where no two records stand together.
pub fn guess_epoch(instance: InstanceId, frames: &[Frame<'_>], candidates: &[Epoch]) -> Option<Epoch> {
    let started =
        frames.first().filter(|frame| frame.sequence == 0).and_then(
            |frame| match crate::record::Record::parse(frame.payload) {
                Ok(crate::record::Record { body: crate::record::Body::Epoch(start), .. }) => {
                    Some(start.epoch)
                }
                _ => None,
            },
        );
    let mut pairs = frames.iter().zip(frames.iter().skip(1));
    let Some((one, next)) = pairs.find(|(one, next)| one.sequence.checked_add(1) == Some(next.sequence))
    else {
        return started.or_else(|| candidates.first().copied());
    };
    let all = started.into_iter().chain(candidates.iter().copied());
    all.into_iter().find(|epoch| one.hash(instance, *epoch) == next.previous)
}
