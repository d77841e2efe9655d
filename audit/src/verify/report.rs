//! What a verification says.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::chain::{Epoch, InstanceId, Position};
use crate::record::DropReason;

/// The kinds of break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakKind {
    /// Bytes are not what was written.
    Altered,
    /// Records or segments are gone from the middle or the beginning, and no tombstone explains it.
    Missing,
    /// Records or segments stand in another order, or twice.
    Reordered,
    /// A segment ends before its last record did, and later segments exist.
    Truncated,
    /// A signature is not by a trusted key, or signs something else.
    Forged,
    /// The end of the chain is gone: something signed names a later record.
    CutTail,
}

impl BreakKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Altered, Self::Missing, Self::Reordered, Self::Truncated, Self::Forged, Self::CutTail];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Missing => "missing",
            Self::Reordered => "reordered",
            Self::Truncated => "truncated",
            Self::Forged => "forged",
            Self::CutTail => "cut_tail",
        }
    }
}

impl fmt::Display for BreakKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something counts as a break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The CRC of a record is wrong, or no record can be read.
    #[error("{bytes} bytes hold no readable record")]
    Unreadable {
        /// How many.
        bytes: u64,
    },
    /// The header of a segment is not what was written.
    #[error("the header of the segment is not what was written")]
    Header,
    /// The payload of a record with a right CRC is no record.
    #[error("the record has a right checksum but no readable content")]
    Payload,
    /// The record after this one names another hash for it.
    #[error("the record after it names another hash")]
    Hash,
    /// Something signed names another hash for this record.
    #[error("a signed checkpoint or head names another hash for it")]
    SignedHash,
    /// The times of records go back.
    #[error("its time is earlier than that of the record before")]
    Time,
    /// These sequences are gone.
    #[error("{} not there", records(*first, *last))]
    Records {
        /// The first that is gone.
        first: u64,
        /// The last that is gone.
        last: u64,
    },
    /// The chain goes on from a record that is not there.
    #[error("the chain goes on here from a record that is not there")]
    Link,
    /// A record stands out of its order.
    #[error("the record stands out of its order")]
    Order,
    /// A segment stands under the number of another.
    #[error("the segment belongs under number {number}")]
    SegmentOrder {
        /// The number in its header.
        number: u64,
    },
    /// A segment is of another instance.
    #[error("the segment is of another instance")]
    Instance,
    /// The signing key is not trusted.
    #[error("it is signed by a key that is not trusted")]
    UnknownKey,
    /// The signature does not fit.
    #[error("its signature does not fit")]
    Signature,
    /// A checkpoint signs another record than the one before it.
    #[error("it signs another record than the one before it")]
    Covers,
    /// A signed head, checkpoint or later run names this record, which is past the end of the chain.
    #[error("something signed, or the run after, names record {sequence}, and the chain ends before it")]
    EndsBefore {
        /// The record.
        sequence: u64,
    },
}

fn records(first: u64, last: u64) -> String {
    if first == last { format!("record {first} is") } else { format!("records {first} to {last} are") }
}

/// A break, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// Its kind.
    pub kind: BreakKind,
    /// The file, as the caller named it.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// The run, where it is known.
    pub epoch: Option<Epoch>,
    /// The record's number in the run, where it is known.
    pub sequence: Option<u64>,
    /// Why.
    pub cause: Cause,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kind)?;
        if self.file.is_empty() {
            // What is missed may be all that there was.
            f.write_str("no segment")?;
        } else {
            write!(f, "`{}` at byte {}", self.file, self.offset)?;
        }
        if let Some(sequence) = self.sequence {
            write!(f, ", record {sequence}")?;
        }
        if let Some(epoch) = self.epoch {
            write!(f, " of run {epoch}")?;
        }
        write!(f, ": {}", self.cause)
    }
}

/// What was verified, and the first break of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The first break of each kind, in the order of [`BreakKind`].
    pub breaks: Vec<Break>,
    /// How many breaks of each kind were found.
    pub counts: BTreeMap<BreakKind, u64>,
    /// The instance.
    pub instance: Option<InstanceId>,
    /// Segments read.
    pub segments: u64,
    /// Records read.
    pub records: u64,
    /// Runs whose first record was read.
    pub epochs: u64,
    /// Checkpoints whose signature fits.
    pub checkpoints: u64,
    /// Gaps that a signed tombstone explains.
    pub cut_by_retention: u64,
    /// Ends of segments that were torn by a crash and cost no acknowledged record.
    pub torn_tails: u64,
    /// Damaged places that starts have told of.
    pub damage_told: u64,
    /// Segments of a later format, which could not be read.
    pub newer_segments: u64,
    /// Records that the gateway dropped and told of.
    pub dropped: BTreeMap<DropReason, u64>,
    /// The last record.
    pub last: Option<Position>,
    /// The last record that a trusted signature covers.
    pub signed_through: Option<Position>,
    /// Records after that.
    pub unsigned_records: u64,
    /// Time of the first and of the last record, microseconds since 1970 UTC.
    pub times_us: Option<(i64, i64)>,
}

impl Report {
    /// Whether nothing is broken.
    pub fn is_intact(&self) -> bool {
        self.breaks.is_empty()
    }

    /// The first break of that kind.
    pub fn first(&self, kind: BreakKind) -> Option<&Break> {
        self.breaks.iter().find(|each| each.kind == kind)
    }

    pub(super) fn add(&mut self, found: Break) {
        *self.counts.entry(found.kind).or_default() += 1;
        if self.first(found.kind).is_none() {
            self.breaks.push(found);
            self.breaks.sort_by_key(|each| each.kind);
        }
    }
}
