//! Records about the log itself.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::is_default;
use super::request::{PackRef, Retention};
use crate::chain::{Epoch, InstanceId, Position};
use crate::identity::Pseudonym;
use crate::sign::{KeyId, PublicKey, Signature};
use crate::value::{Digest, Label};

/// `epoch`: the first record of each run. Its previous hash is the last hash of the run before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochStart {
    /// The instance.
    pub instance: InstanceId,
    /// This run.
    pub epoch: Epoch,
    /// Its number among the runs of the instance, from 1. Two runs with one number: a copied directory.
    pub ordinal: u64,
    /// The last record of the run before; none at the first start, or when nothing of it could be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Position>,
    /// The version of the gateway.
    pub gateway_version: Label,
    /// The key that signs this run's checkpoints.
    pub public_key: PublicKey,
    /// Which pseudonym key this run uses (never the key).
    pub pseudonym_key: KeyId,
    /// What the start found broken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damage: Vec<Damage>,
    /// Damage left off because there was too much of it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub damage_omitted: u64,
}

/// Something that a start found broken and set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// What kind.
    pub what: DamageKind,
    /// The number of the segment; none where the directory as a whole is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u64>,
    /// Where in its file.
    #[serde(default)]
    pub offset: u64,
    /// Bytes that hold no readable record.
    #[serde(default)]
    pub bytes: u64,
}

/// The kinds of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DamageKind {
    /// The last write of the run before had not ended; its bytes were set aside.
    TornTail,
    /// Bytes before the end are not what was written; the file was renamed and stays.
    CorruptMiddle,
    /// The head of a segment can't be read; the file was renamed and stays.
    UnreadableHeader,
    /// The signed head names records that are not there.
    CutTail,
    /// A segment is of a later format; it was left as it is, and the chain begins anew.
    NewerFormat,
    /// The signed head, the instance file or a segment is missing or can't be read.
    LostState,
}

/// `dropped`: records that were not written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: DropReason,
}

/// Why records were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The queue to the writer was full.
    QueueFull,
    /// The directory was at its byte cap, or the disk was full.
    NoSpace,
    /// The disk refused the write.
    Io,
    /// The record was over the size limit.
    TooLarge,
    /// The gateway was stopping.
    ShuttingDown,
}

impl DropReason {
    /// The name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::NoSpace => "no_space",
            Self::Io => "io",
            Self::TooLarge => "too_large",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// `checkpoint`: the gateway signs the record before this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The record before this one.
    pub covers: Position,
    /// What made it due.
    pub reason: CheckpointReason,
    /// The requests that are open here, so that a start need not read further back. Absent: not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Vec<OpenRequest>>,
    /// The gaps that retention has left so far, beside `open`: a tombstone whose own segment is cut one day is
    /// told again here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<SignedRun>,
    /// The signing key.
    pub key: KeyId,
    /// Its signature; see [`sign`](crate::sign) for what it covers.
    pub signature: Signature,
}

/// What made a checkpoint due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointReason {
    /// A start has closed what the run before left open.
    Start,
    /// So many records since the last.
    Count,
    /// So much time since the last.
    Interval,
    /// A segment begins.
    Roll,
    /// A clean stop.
    Shutdown,
}

/// A request that is open at a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpenRequest {
    /// Its id.
    pub id: Uuid,
    /// The segment that holds its `opened` record.
    pub segment: u64,
    /// The run that wrote it.
    pub epoch: Epoch,
    /// The sequence of the record.
    pub sequence: u64,
}

/// `tombstone`: retention cut whole segments, and this explains the gap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The whole gap that the cut leaves, older cuts beside it included.
    pub cut: SignedRun,
    /// Segments cut this time.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// A control plane had acknowledged every record of them, so they went before their retention was over.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delivered: bool,
}

/// A gap that the gateway vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRun {
    /// The gap.
    pub run: CutRun,
    /// The signing key.
    pub key: KeyId,
    /// Its signature; see [`sign`](crate::sign) for what it covers.
    pub signature: Signature,
}

/// A run of segments that are no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutRun {
    /// The first segment cut.
    pub first_segment: u64,
    /// The last segment cut.
    pub last_segment: u64,
    /// The hash before its first record.
    pub before: Digest,
    /// The hash of its last record: what the first record after the gap names as previous.
    pub last: Digest,
    /// The longest retention that the cut segments bore.
    pub retention: Retention,
}

/// `config`: a pack was activated or refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// What happened.
    pub action: ConfigAction,
    /// The pack; none where the bytes could not be read as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackRef>,
    /// SHA-256 of the bytes in question.
    pub digest: Digest,
    /// Codes of what stood against it, such as `KT0101`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Label>,
}

/// What happened to a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigAction {
    /// It serves from here on.
    Activated,
    /// It was refused; what served before still does.
    Refused,
}

/// `erasure`: the key of a subject was destroyed; the name can't be recovered from what we hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Erasure {
    /// The pseudonym that remains.
    pub subject: Pseudonym,
    /// Who asked for it, as a pseudonym.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Pseudonym>,
    /// The reference of the request, such as a ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Label>,
    /// Sealed names that became unreadable.
    #[serde(default)]
    pub sealed: u64,
}
