//! What comes out of a spool.

use kt_audit::{Digest, Epoch, Position};

/// How much a batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of frames; a single one may have as many as [`MAX_FRAME`](super::MAX_FRAME).
    pub(crate) bytes: usize,
    pub(crate) records: u32,
}

/// Records of one run, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) ordinal: u64,
    pub(crate) first_sequence: u64,
    pub(crate) count: u32,
    /// The hash of the record before.
    pub(crate) previous: Digest,
    pub(crate) last: Position,
    /// The writer's time of the first record.
    pub(crate) first_time_us: i64,
    /// The number of the segment that holds the last record.
    pub(crate) segment: u64,
    pub(crate) frames: Vec<u8>,
    /// What is missing before the first record.
    pub(crate) loss: Option<Loss>,
    /// There is more, and it would not go in here.
    pub(crate) is_full: bool,
}

/// Why records can't be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The bytes are not those that were written.
    Damaged,
    /// The segment is gone.
    Cut,
    /// The segment is of a later format.
    NewerFormat,
}

/// Records that the spool had once and can't give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) why: Why,
    /// Unreadable bytes.
    pub(crate) bytes: u64,
    /// Records, where their numbers tell.
    pub(crate) records: u64,
}

/// A run, as far as the spool holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) epoch: Epoch,
    pub(crate) ordinal: u64,
    pub(crate) first_sequence: u64,
    /// The first of its last segment: there is at least this one.
    pub(crate) last_sequence: u64,
}

/// Records of the run that is being written from this sequence on are not to be read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Through {
    pub(crate) epoch: Epoch,
    pub(crate) below: u64,
}
