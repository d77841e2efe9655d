//! One frame: a payload and what binds it to its place.

use super::{MAX_PAYLOAD, MIN_PAYLOAD};
use crate::chain::{Epoch, InstanceId, record_hash};
use crate::value::Digest;

/// Bytes of a frame before its payload.
pub const FRAME_LEN: usize = 56;

/// A frame whose CRC is right, borrowed from the bytes that it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its number in the epoch.
    pub sequence: u64,
    /// The writer's time, microseconds since 1970 UTC.
    pub time_us: i64,
    /// The hash of the record before.
    pub previous: Digest,
    /// The exact payload.
    pub payload: &'a [u8],
}

/// Why no frame begins here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end before the frame does.
    #[error("record is cut off")]
    Short,
    /// Its length is out of bounds.
    #[error("record has an impossible length")]
    Length,
    /// Its bytes are not those that were written.
    #[error("record was altered")]
    Checksum,
}

impl Frame<'_> {
    /// Bytes that the frame takes in its segment.
    pub fn stored_len(&self) -> usize {
        FRAME_LEN + self.payload.len()
    }

    /// The hash of this record.
    pub fn hash(&self, instance: InstanceId, epoch: Epoch) -> Digest {
        record_hash(instance, epoch, self.sequence, self.time_us, &self.previous, self.payload)
    }
}

/// Appends the frame of `payload` to `out`.
///
/// # Errors
/// [`FrameError::Length`] when the payload has fewer than [`MIN_PAYLOAD`] or more than [`MAX_PAYLOAD`] bytes;
/// nothing is appended then.
pub fn encode_frame(
    out: &mut Vec<u8>,
    sequence: u64,
    time_us: i64,
    previous: &Digest,
    payload: &[u8],
) -> Result<(), FrameError> {
    if !(MIN_PAYLOAD..=MAX_PAYLOAD).contains(&payload.len()) {
        return Err(FrameError::Length);
    }
    let length = u32::try_from(payload.len()).map_err(|_| FrameError::Length)?.to_le_bytes();
    let mut fields = [0; FRAME_LEN - 8];
    let values = sequence.to_le_bytes().into_iter().chain(time_us.to_le_bytes()).chain(previous.0);
    for (to, from) in fields.iter_mut().zip(values) {
        *to = from;
    }
    let crc = checksum(length, &fields, payload);
    out.reserve(FRAME_LEN + payload.len());
    out.extend_from_slice(&length);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&fields);
    out.extend_from_slice(payload);
    Ok(())
}

/// Reads the frame that `bytes` begin with.
///
/// # Errors
/// When none begins here.
pub fn parse_frame(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (length_bytes, rest) = bytes.split_first_chunk::<4>().ok_or(FrameError::Short)?;
    let length = usize::try_from(u32::from_le_bytes(*length_bytes)).map_err(|_| FrameError::Length)?;
    if !(MIN_PAYLOAD..=MAX_PAYLOAD).contains(&length) {
        return Err(FrameError::Length);
    }
    let (crc, rest) = rest.split_first_chunk::<4>().ok_or(FrameError::Short)?;
    let (fields, rest) = rest.split_first_chunk::<{ FRAME_LEN - 8 }>().ok_or(FrameError::Short)?;
    let payload = rest.get(..length).ok_or(FrameError::Short)?;
    if checksum(*length_bytes, fields, payload) != u32::from_le_bytes(*crc) {
        return Err(FrameError::Checksum);
    }
    let (sequence, rest) = fields.split_first_chunk::<8>().ok_or(FrameError::Short)?;
    let (time, previous) = rest.split_first_chunk::<8>().ok_or(FrameError::Short)?;
    Ok(Frame {
        sequence: u64::from_le_bytes(*sequence),
        time_us: i64::from_le_bytes(*time),
        previous: Digest(previous.try_into().map_err(|_| FrameError::Short)?),
        payload,
    })
}

fn checksum(length: [u8; 4], fields: &[u8], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&length);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, fields), payload)
}
