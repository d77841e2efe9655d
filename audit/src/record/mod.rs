//! What is written down: one JSON object a record, its exact bytes kept and hashed.
//!
//! - Every payload begins with `v` (the version of the record's form, now [`RECORD_VERSION`]) and `type`.
//! - A reader ignores fields that it does not know, so that a later version may add some.
//! - A record never holds the text of a prompt or an answer, nor the name of a person: a finding has places but
//!   no content, a caller has a [`Pseudonym`](crate::Pseudonym) but no name.
//! - Instance, epoch, sequence and the writer's time are not in the payload but in the frame around it
//!   ([`segment`](crate::segment)): the writer assigns them.
//!
//! An admitted request is two records that share one `id` (UUIDv7): `opened` before the first byte upstream,
//! `closed` before the last byte to the client. A block or a refusal writes `closed` alone. `closed` repeats the
//! facts of `opened`, so that each question is answered from one record.

mod chain;
mod outcome;
mod request;
mod usage;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::chain::{
    Checkpoint, CheckpointReason, Config, ConfigAction, CutRun, Damage, DamageKind, DropReason, Dropped,
    EpochStart, Erasure, OpenRequest, SignedRun, Tombstone,
};
pub use self::outcome::{
    Disposition, Edits, Effect, Finding, Mode, ModelRewrite, Outcome, Phase, PolicyOutcome, TokenBound,
    Verdict, Would,
};
pub use self::request::{
    Caller, Closed, End, Endpoint, Opened, PackRef, Proof, Refusal, RequestFacts, Retention,
};
pub use self::usage::{Attempt, Cost, Latency, Target, TokenSource, Tokens};

/// The version of the record's form that this crate writes.
pub const RECORD_VERSION: u16 = 1;

/// One record, as written and as read back.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Body {
    /// The first record of each run of a gateway.
    Epoch(Box<EpochStart>),
    /// A request is about to go upstream.
    Opened(Box<Opened>),
    /// A request has ended.
    Closed(Box<Closed>),
    /// Records were dropped, so that a gap is always loss or tampering.
    Dropped(Dropped),
    /// The gateway vouches for the chain up to here.
    Checkpoint(Box<Checkpoint>),
    /// Retention cut whole segments.
    Tombstone(Box<Tombstone>),
    /// A pack was activated or refused.
    Config(Box<Config>),
    /// The key of a subject was destroyed.
    Erasure(Box<Erasure>),
}

/// A record under the form that this crate writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The version of its form.
    pub v: u16,
    /// What it says.
    pub body: Body,
}

/// The types of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Body::Epoch`].
    Epoch,
    /// [`Body::Opened`].
    Opened,
    /// [`Body::Closed`].
    Closed,
    /// [`Body::Dropped`].
    Dropped,
    /// [`Body::Checkpoint`].
    Checkpoint,
    /// [`Body::Tombstone`].
    Tombstone,
    /// [`Body::Config`].
    Config,
    /// [`Body::Erasure`].
    Erasure,
}

impl Kind {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::Epoch,
        Self::Opened,
        Self::Closed,
        Self::Dropped,
        Self::Checkpoint,
        Self::Tombstone,
        Self::Config,
        Self::Erasure,
    ];
}

/// Why a payload is not a record that can be shown or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is not the JSON object that its type demands.
    #[error("record is not in the form of version {v}")]
    Malformed {
        /// The version that it names, or the one that was expected.
        v: u16,
        /// Where the reader stopped.
        #[source]
        source: serde_json::Error,
    },
    /// It was written by a later version and this one can't read it.
    #[error("record has form {v}, newer than the {RECORD_VERSION} that this program reads")]
    Newer {
        /// The version that it names.
        v: u16,
    },
    /// Its `type` is not one of [`Kind`].
    #[error("record has an unknown type")]
    UnknownType,
    /// It stays over [`MAX_PAYLOAD`](crate::segment::MAX_PAYLOAD) bytes even without its findings.
    #[error("record has {length} bytes, more than {max}", max = crate::segment::MAX_PAYLOAD)]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
}

/// The few fields that every reader needs, read without the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Peek {
    /// The version of the form.
    pub v: u16,
    /// The type, none when it is unknown here.
    #[serde(rename = "type", deserialize_with = "known_kind")]
    pub kind: Option<Kind>,
    /// The request's id, of `opened` and `closed`.
    #[serde(default)]
    pub id: Option<Uuid>,
}

impl Record {
    /// A record of the current form.
    pub fn new(body: Body) -> Self {
        Self { v: RECORD_VERSION, body }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it isn't JSON, is of an unknown type, or is of a later form that this program can't read.
    pub fn parse(payload: &[u8]) -> Result<Self, RecordError> {
        let peek = Peek::parse(payload)?;
        let Some(kind) = peek.kind else {
            return Err(if peek.v > RECORD_VERSION {
                RecordError::Newer { v: peek.v }
            } else {
                RecordError::UnknownType
            });
        };
        let body = match kind {
            Kind::Epoch => boxed(payload).map(Body::Epoch),
            Kind::Opened => boxed(payload).map(Body::Opened),
            Kind::Closed => boxed(payload).map(Body::Closed),
            Kind::Dropped => serde_json::from_slice(payload).map(Body::Dropped),
            Kind::Checkpoint => boxed(payload).map(Body::Checkpoint),
            Kind::Tombstone => boxed(payload).map(Body::Tombstone),
            Kind::Config => boxed(payload).map(Body::Config),
            Kind::Erasure => boxed(payload).map(Body::Erasure),
        };
        match body {
            Ok(body) => Ok(Self { v: peek.v, body }),
            Err(_) if peek.v > RECORD_VERSION => Err(RecordError::Newer { v: peek.v }),
            Err(source) => Err(RecordError::Malformed { v: peek.v, source }),
        }
    }

    /// The payload to store. Where it is too long, findings are left off from the end and counted in
    /// `findings_omitted`: a record is shortened, not dropped.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`] when even that is not enough.
    pub fn payload(&self) -> Result<Vec<u8>, RecordError> {
        let max = crate::segment::MAX_PAYLOAD;
        let bytes = self.to_bytes()?;
        if bytes.len() <= max {
            return Ok(bytes);
        }
        let mut shorter = self.clone();
        while shorter.halve_findings() {
            let bytes = shorter.to_bytes()?;
            if bytes.len() <= max {
                return Ok(bytes);
            }
        }
        Err(RecordError::TooLarge { length: bytes.len() })
    }

    fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        #[derive(Serialize)]
        struct Versioned<'a> {
            v: u16,
            #[serde(flatten)]
            body: &'a Body,
        }
        let mut bytes = Vec::with_capacity(1024);
        serde_json::to_writer(&mut bytes, &Versioned { v: self.v, body: &self.body })
            .map_err(|source| RecordError::Malformed { v: self.v, source })?;
        Ok(bytes)
    }

    fn halve_findings(&mut self) -> bool {
        let (findings, omitted) = match &mut self.body {
            Body::Opened(opened) => (&mut opened.findings, &mut opened.findings_omitted),
            Body::Closed(closed) => (&mut closed.findings, &mut closed.findings_omitted),
            _ => return false,
        };
        if findings.is_empty() {
            return false;
        }
        let keep = findings.len() / 2;
        *omitted += (findings.len() - keep) as u64;
        findings.truncate(keep);
        true
    }
}

impl Body {
    /// The type of this record.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Epoch(_) => Kind::Epoch,
            Self::Opened(_) => Kind::Opened,
            Self::Closed(_) => Kind::Closed,
            Self::Dropped(_) => Kind::Dropped,
            Self::Checkpoint(_) => Kind::Checkpoint,
            Self::Tombstone(_) => Kind::Tombstone,
            Self::Config(_) => Kind::Config,
            Self::Erasure(_) => Kind::Erasure,
        }
    }

    /// The request's id, of `opened` and `closed`.
    pub fn request_id(&self) -> Option<Uuid> {
        match self {
            Self::Opened(opened) => Some(opened.id),
            Self::Closed(closed) => Some(closed.id),
            _ => None,
        }
    }

    /// How long it must be kept; none: as long as the segment that it is in.
    pub fn retention(&self) -> Option<Retention> {
        match self {
            Self::Opened(opened) => opened.request.retention,
            Self::Closed(closed) => closed.request.retention,
            _ => None,
        }
    }
}

impl Kind {
    /// The name that stands in a payload's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Dropped => "dropped",
            Self::Checkpoint => "checkpoint",
            Self::Tombstone => "tombstone",
            Self::Config => "config",
            Self::Erasure => "erasure",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "epoch" => Self::Epoch,
            "opened" => Self::Opened,
            "closed" => Self::Closed,
            "dropped" => Self::Dropped,
            "checkpoint" => Self::Checkpoint,
            "tombstone" => Self::Tombstone,
            "config" => Self::Config,
            "erasure" => Self::Erasure,
            _ => return None,
        })
    }
}

impl Peek {
    /// Reads version, type and id of a payload.
    ///
    /// # Errors
    /// When the payload is no JSON object with `v` and `type`.
    pub fn parse(payload: &[u8]) -> Result<Self, RecordError> {
        serde_json::from_slice(payload).map_err(|source| RecordError::Malformed { v: RECORD_VERSION, source })
    }
}

fn boxed<T: serde::de::DeserializeOwned>(payload: &[u8]) -> serde_json::Result<Box<T>> {
    serde_json::from_slice(payload).map(Box::new)
}

pub(crate) fn known_kind<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Kind>, D::Error> {
    let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    Ok(Kind::from_name(&name))
}

/// The name that a value of a record has in payloads, such as `chat_completions`; empty for what is no name there.
pub fn name_of<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// Leaves a field out of a payload where it holds its default.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
