//! Segments: what the spool, the standalone log and an export are made of.
//!
//! # Constraints
//! - One writer appends; any number of readers read at the same time, also of the file that is being written.
//! - A crash at any byte leaves a file whose whole records are all readable, and the torn rest tells itself apart.
//! - A flipped byte anywhere is found, costs the record that it is in and no other.
//! - Each record can be checked against the one before it without any state beside the segments.
//! - Bounds are known before anything is allocated: a payload has 2 to [`MAX_PAYLOAD`] bytes.
//! - The same bytes mean the same on every machine: integers are little-endian, nothing is padded or aligned.
//!
//! # Format, version 1
//! A segment is one header of [`HEADER_LEN`] bytes and then frames until its end.
//!
//! | header | bytes | |
//! |---|---|---|
//! | 0 | 8 | magic, `KTAUDSEG` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | length of the header, 128 |
//! | 12 | 4 | flags: bit 0 = a record in here is immutable |
//! | 16 | 16 | instance |
//! | 32 | 16 | epoch |
//! | 48 | 8 | ordinal of the epoch among the runs of the instance |
//! | 56 | 8 | number of the segment in the instance, from 1 |
//! | 64 | 8 | sequence of the first record |
//! | 72 | 32 | hash of the record before the first one |
//! | 104 | 8 | created, microseconds since 1970 UTC, signed |
//! | 112 | 4 | longest retention of its records, days |
//! | 116 | 8 | zero |
//! | 124 | 4 | CRC-32C of bytes 0 to 123 |
//!
//! | frame | bytes | |
//! |---|---|---|
//! | 0 | 4 | length of the payload |
//! | 4 | 4 | CRC-32C of the length and of everything from byte 8 on |
//! | 8 | 8 | sequence in the epoch, from 0, without gaps |
//! | 16 | 8 | the writer's time, microseconds since 1970 UTC, signed; never earlier than the record before |
//! | 24 | 32 | hash of the record before |
//! | 56 | … | payload: one JSON object, UTF-8 |
//!
//! The hash of a record is [`record_hash`](crate::chain::record_hash). All records of a segment belong to one
//! epoch; a start begins a segment. The header only repeats what can be derived from the records, so that a
//! store or an export may cut segments elsewhere without touching a hash; nothing that is proven rests on it.
//!
//! # Operation
//! A record whose retention is longer than its segment's begins a new segment, as do size and age. So the header
//! says how long a segment must be kept, and retention reads 128 bytes a file. A segment is never written again
//! once the next one has begun.
//!
//! # Damage
//! [`scan`] yields what it can read and names what it can't. After unreadable bytes it looks for the next place
//! where a whole frame with a fitting sequence and a right CRC begins. Unreadable bytes with no frame after them
//! are a *torn tail*: a write that had not ended, or a last record that was altered; the two look the same, so
//! only what is known of the end (the next segment, a checkpoint, the head) tells them apart. Unreadable bytes
//! with a frame after them are a *corrupt middle*.

mod frame;
mod header;
mod scan;

pub use self::frame::{FRAME_LEN, Frame, FrameError, encode_frame, parse_frame};
pub use self::header::{Header, HeaderError};
pub use self::scan::{Item, Scan, guess_epoch, scan};

/// The format version that this crate writes.
pub const FORMAT_VERSION: u16 = 1;

/// Bytes of a segment's header.
pub const HEADER_LEN: usize = 128;

/// The most bytes of a payload: 512 KiB, so that a record always fits in a batch of delivery.
pub const MAX_PAYLOAD: usize = 512 * 1024;

/// The fewest bytes of a payload: `{}`. Frames of zero bytes, as a power cut leaves them, are none.
pub const MIN_PAYLOAD: usize = 2;

#[cfg(test)]
mod tests;
