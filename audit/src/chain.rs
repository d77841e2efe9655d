//! Where a record stands and how it is bound to the one before it.
//!
//! The hash of a record covers instance, epoch, sequence, time, the hash before it and the exact payload bytes,
//! under a prefix that no other signed or hashed thing of ours begins with. Cutting, swapping, moving or changing
//! a record therefore changes every hash after it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::value::{Digest, NotHex, hex_array, serde_as_text};

const RECORD_DOMAIN: &[u8] = b"kt-audit-record-v1\0";

/// A gateway instance: one audit directory, made at its first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub Uuid);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One run of a gateway: 128 random bits drawn at each start; text form: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub [u8; 16]);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Epoch {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        Ok(Self(hex_array(text)?))
    }
}

serde_as_text!(Epoch);

/// The place of one record, and what it must hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The run that wrote it.
    pub epoch: Epoch,
    /// Its number in that run, from 0.
    pub sequence: u64,
    /// Its hash.
    pub hash: Digest,
}

/// The hash of one record.
///
/// `time` is the writer's time in microseconds since 1970 UTC, `previous` the hash of the record before
/// ([`Digest::ZERO`] for the first of an instance), `payload` the exact stored bytes.
pub fn record_hash(
    instance: InstanceId,
    epoch: Epoch,
    sequence: u64,
    time: i64,
    previous: &Digest,
    payload: &[u8],
) -> Digest {
    let mut sha = Sha256::new();
    sha.update(RECORD_DOMAIN);
    sha.update(instance.0.as_bytes());
    sha.update(epoch.0);
    sha.update(sequence.to_le_bytes());
    sha.update(time.to_le_bytes());
    sha.update(previous.0);
    sha.update(payload);
    Digest(sha.finalize().into())
}

/// The running end of a chain, as its one writer holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainState {
    /// The instance that the chain belongs to.
    pub instance: InstanceId,
    /// The run that writes.
    pub epoch: Epoch,
    /// The number that the next record takes.
    pub next_sequence: u64,
    /// The hash of the last record.
    pub previous: Digest,
    /// The time of the last record; the next one is never earlier.
    pub last_time: i64,
}

impl ChainState {
    /// The start of `epoch`, after the record that hashes to `previous`.
    pub fn start(instance: InstanceId, epoch: Epoch, previous: Digest) -> Self {
        Self { instance, epoch, next_sequence: 0, previous, last_time: i64::MIN }
    }

    /// The state once a record with `payload`, stamped `now`, has been appended, and the time that it bears:
    /// `now`, or the last time where the clock went back.
    #[must_use]
    pub fn after(&self, now: i64, payload: &[u8]) -> (Self, i64) {
        let time = now.max(self.last_time);
        let hash = record_hash(self.instance, self.epoch, self.next_sequence, time, &self.previous, payload);
        let state = Self {
            next_sequence: self.next_sequence.saturating_add(1),
            previous: hash,
            last_time: time,
            ..*self
        };
        (state, time)
    }

    /// The position of the last record; none before the first.
    pub fn last(&self) -> Option<Position> {
        let sequence = self.next_sequence.checked_sub(1)?;
        Some(Position { epoch: self.epoch, sequence, hash: self.previous })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(7));
    const EPOCH: Epoch = Epoch([9; 16]);

    #[test]
    fn every_covered_field_changes_the_hash() {
        let base = record_hash(INSTANCE, EPOCH, 1, 2, &Digest::ZERO, b"{}");
        let others = [
            record_hash(InstanceId(Uuid::from_u128(8)), EPOCH, 1, 2, &Digest::ZERO, b"{}"),
            record_hash(INSTANCE, Epoch([8; 16]), 1, 2, &Digest::ZERO, b"{}"),
            record_hash(INSTANCE, EPOCH, 2, 2, &Digest::ZERO, b"{}"),
            record_hash(INSTANCE, EPOCH, 1, 3, &Digest::ZERO, b"{}"),
            record_hash(INSTANCE, EPOCH, 1, 2, &Digest::of(b"x"), b"{}"),
            record_hash(INSTANCE, EPOCH, 1, 2, &Digest::ZERO, b"{ }"),
        ];
        for other in others {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_clock_that_jumps_back_never_makes_a_record_earlier_than_the_one_before() {
        let start = ChainState::start(INSTANCE, EPOCH, Digest::ZERO);
        let (state, first) = start.after(1_000, b"a");
        let (state, second) = state.after(400, b"b");
        let (state, third) = state.after(1_001, b"c");
        assert_eq!((first, second, third), (1_000, 1_000, 1_001));
        assert_eq!(state.next_sequence, 3);
        assert_eq!(start.last(), None);
        assert_eq!(state.last().map(|p| p.sequence), Some(2));
    }
}
