//! The gateway's own ed25519 key, the three things that it signs, and the two that the control plane does.
//!
//! | what | signed bytes, integers little-endian |
//! |---|---|
//! | checkpoint | `kt-audit-checkpoint-v1\0`, instance (16), epoch (16), sequence (u64), hash (32) |
//! | head | `kt-audit-head-v1\0`, instance (16), ordinal (u64), epoch (16), sequence (u64), hash (32), segment (u64), time (i64) |
//! | countersignature (the control plane's) | `kt-audit-countersignature-v1\0`, instance (16), epoch (16), sequence (u64), hash (32), time (i64) |
//! | tombstone | `kt-audit-tombstone-v1\0`, instance (16), first and last segment (u64 each), before (32), last (32), days (u32), immutable (u8) |
//! | tombstone of the store (the control plane's) | `kt-audit-store-tombstone-v1\0`, instance (16), epoch (16), first and last sequence (u64 each), before (32), last (32), records (u64), newest (i64), days (u32), immutable (u8), cut (i64) |
//!
//! A prefix of its own for each keeps a signature of one kind from passing as another.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::chain::{Epoch, InstanceId, Position};
use crate::record::{CutRun, Retention};
use crate::value::{Digest, NotHex, hex_array, serde_as_text};

/// An ed25519 public key; text form: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// The name of a key: the first 16 bytes of a SHA-256; text form: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 16]);

/// An ed25519 signature; text form: 128 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

macro_rules! hex_text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = NotHex;

            fn from_str(text: &str) -> Result<Self, NotHex> {
                Ok(Self(hex_array(text)?))
            }
        }

        serde_as_text!($type);
    };
}

hex_text!(PublicKey);
hex_text!(KeyId);
hex_text!(Signature);

impl KeyId {
    /// The first 16 bytes of a digest.
    pub fn from_digest(digest: &Digest) -> Self {
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(digest.0) {
            *to = from;
        }
        Self(id)
    }
}

impl PublicKey {
    /// The name of this key.
    pub fn id(&self) -> KeyId {
        KeyId::from_digest(&Digest::of(&self.0))
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, &signature.0).is_ok()
    }
}

/// Why a signing key can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no ed25519 seed.
    #[error("not an ed25519 signing key")]
    Rejected,
    /// The operating system gave no randomness.
    #[error("no randomness for a new key")]
    NoRandomness,
}

/// The gateway's signing key. It can't be printed, and its seed leaves it only through [`Signer::seed_hex`].
pub struct Signer {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Signer {
    /// A new key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        Self::new(Ed25519KeyPair::generate().map_err(|_| KeyError::NoRandomness)?)
    }

    /// The key of a seed of 64 hexadecimal digits, as in `gateway.key`.
    ///
    /// # Errors
    /// When `seed` is something else.
    pub fn from_seed_hex(seed: &str) -> Result<Self, KeyError> {
        let seed: [u8; 32] = hex_array(seed.trim()).map_err(|_| KeyError::Rejected)?;
        Self::new(Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Rejected)?)
    }

    fn new(pair: Ed25519KeyPair) -> Result<Self, KeyError> {
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Rejected)?;
        Ok(Self { pair, public: PublicKey(bytes) })
    }

    /// The seed, to be written to a file that only the gateway can read.
    ///
    /// # Errors
    /// When the key can't give it.
    pub fn seed_hex(&self) -> Result<String, KeyError> {
        let seed = self.pair.seed().map_err(|_| KeyError::Rejected)?;
        Ok(hex::encode(seed.as_be_bytes().map_err(|_| KeyError::Rejected)?.as_ref()))
    }

    /// The public part.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(self.pair.sign(message).as_ref()) {
            *to = *from;
        }
        Signature(bytes)
    }
}

/// What a checkpoint's signature covers.
pub fn checkpoint_message(instance: InstanceId, covers: &Position) -> Vec<u8> {
    let mut message = Vec::with_capacity(112);
    message.extend_from_slice(b"kt-audit-checkpoint-v1\0");
    message.extend_from_slice(instance.0.as_bytes());
    message.extend_from_slice(&covers.epoch.0);
    message.extend_from_slice(&covers.sequence.to_le_bytes());
    message.extend_from_slice(&covers.hash.0);
    message
}

/// What the control plane's countersignature covers: its word that it holds `covers`, and of the
/// chain before it whatever came.
pub fn countersignature_message(instance: InstanceId, covers: &Position, signed_us: i64) -> Vec<u8> {
    let mut message = Vec::with_capacity(120);
    message.extend_from_slice(b"kt-audit-countersignature-v1\0");
    message.extend_from_slice(instance.0.as_bytes());
    message.extend_from_slice(&covers.epoch.0);
    message.extend_from_slice(&covers.sequence.to_le_bytes());
    message.extend_from_slice(&covers.hash.0);
    message.extend_from_slice(&signed_us.to_le_bytes());
    message
}

/// What a tombstone's signature covers.
pub fn tombstone_message(instance: InstanceId, run: &CutRun) -> Vec<u8> {
    let mut message = Vec::with_capacity(136);
    message.extend_from_slice(b"kt-audit-tombstone-v1\0");
    message.extend_from_slice(instance.0.as_bytes());
    message.extend_from_slice(&run.first_segment.to_le_bytes());
    message.extend_from_slice(&run.last_segment.to_le_bytes());
    message.extend_from_slice(&run.before.0);
    message.extend_from_slice(&run.last.0);
    message.extend_from_slice(&run.retention.days.to_le_bytes());
    message.push(u8::from(run.retention.immutable));
    message
}

/// What retention has taken out of the store of a control plane: records of one run, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCut {
    /// The run.
    pub epoch: Epoch,
    /// The first record that was cut.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// What the first one named as previous.
    pub before: Digest,
    /// The hash of the last one: what the record behind the gap names as previous.
    pub last_hash: Digest,
    /// How many there were.
    pub records: u64,
    /// The time of the newest among them, microseconds since 1970 UTC.
    pub newest_us: i64,
    /// The longest that any of them asked for.
    pub retention: Retention,
    /// When they were cut, microseconds since 1970 UTC.
    pub cut_us: i64,
}

/// A [`StoreCut`] with the control plane's word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreTombstone {
    /// What was cut.
    pub cut: StoreCut,
    /// The key that signed.
    pub key: KeyId,
    /// Its signature.
    pub signature: Signature,
}

impl StoreTombstone {
    /// A tombstone signed by `signer`.
    pub fn sign(signer: &Signer, instance: InstanceId, cut: StoreCut) -> Self {
        let signature = signer.sign(&store_tombstone_message(instance, &cut));
        Self { cut, key: signer.public().id(), signature }
    }

    /// Whether `key` signed it for this instance.
    pub fn is_signed_by(&self, key: &PublicKey, instance: InstanceId) -> bool {
        key.id() == self.key && key.verifies(&store_tombstone_message(instance, &self.cut), &self.signature)
    }
}

fn store_tombstone_message(instance: InstanceId, cut: &StoreCut) -> Vec<u8> {
    let mut message = Vec::with_capacity(192);
    message.extend_from_slice(b"kt-audit-store-tombstone-v1\0");
    message.extend_from_slice(instance.0.as_bytes());
    message.extend_from_slice(&cut.epoch.0);
    message.extend_from_slice(&cut.first.to_le_bytes());
    message.extend_from_slice(&cut.last.to_le_bytes());
    message.extend_from_slice(&cut.before.0);
    message.extend_from_slice(&cut.last_hash.0);
    message.extend_from_slice(&cut.records.to_le_bytes());
    message.extend_from_slice(&cut.newest_us.to_le_bytes());
    message.extend_from_slice(&cut.retention.days.to_le_bytes());
    message.push(u8::from(cut.retention.immutable));
    message.extend_from_slice(&cut.cut_us.to_le_bytes());
    message
}

/// `head.json`: the last record that was known to be on disk, signed, so that a cut tail is seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The version of this form, 1.
    pub v: u16,
    /// The instance.
    pub instance: InstanceId,
    /// The number of the run among the runs of the instance.
    pub ordinal: u64,
    /// The last record known to be on disk.
    pub last: Position,
    /// The segment that holds it.
    pub segment: u64,
    /// When the head was written, microseconds since 1970 UTC.
    pub time_us: i64,
    /// The signing key.
    pub key: KeyId,
    /// Its signature.
    pub signature: Signature,
}

impl Head {
    /// A head signed by `signer`.
    pub fn sign(
        signer: &Signer,
        instance: InstanceId,
        ordinal: u64,
        last: Position,
        segment: u64,
        time_us: i64,
    ) -> Self {
        let signature = signer.sign(&head_message(instance, ordinal, &last, segment, time_us));
        Self { v: 1, instance, ordinal, last, segment, time_us, key: signer.public().id(), signature }
    }

    /// Whether `key` signed this head.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let message = head_message(self.instance, self.ordinal, &self.last, self.segment, self.time_us);
        key.id() == self.key && key.verifies(&message, &self.signature)
    }
}

fn head_message(instance: InstanceId, ordinal: u64, last: &Position, segment: u64, time_us: i64) -> Vec<u8> {
    let mut message = Vec::with_capacity(128);
    message.extend_from_slice(b"kt-audit-head-v1\0");
    message.extend_from_slice(instance.0.as_bytes());
    message.extend_from_slice(&ordinal.to_le_bytes());
    message.extend_from_slice(&last.epoch.0);
    message.extend_from_slice(&last.sequence.to_le_bytes());
    message.extend_from_slice(&last.hash.0);
    message.extend_from_slice(&segment.to_le_bytes());
    message.extend_from_slice(&time_us.to_le_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn position() -> Position {
        Position { epoch: Epoch([3; 16]), sequence: 41, hash: Digest::of(b"41") }
    }

    #[test]
    fn a_key_survives_its_file_and_can_not_be_printed() {
        let signer = Signer::generate().unwrap();
        let seed = signer.seed_hex().unwrap();
        let again = Signer::from_seed_hex(&format!("{seed}\n")).unwrap();
        assert_eq!(signer.public(), again.public());
        assert!(!format!("{signer:?}").contains(&seed));
        assert_eq!(Signer::from_seed_hex("00").err(), Some(KeyError::Rejected));
    }

    #[test]
    fn a_head_is_bound_to_each_of_its_fields() {
        let signer = Signer::generate().unwrap();
        let head = Head::sign(&signer, InstanceId(Uuid::from_u128(1)), 2, position(), 7, 99);
        let key = signer.public();
        assert!(head.is_signed_by(&key));
        let mut other = head.clone();
        other.last.sequence += 1;
        assert!(!other.is_signed_by(&key));
        assert!(!Head { ordinal: 3, ..head.clone() }.is_signed_by(&key));
        assert!(!Head { time_us: 100, ..head.clone() }.is_signed_by(&key));
        assert!(!Head { segment: 8, ..head.clone() }.is_signed_by(&key));
        assert!(!head.is_signed_by(&Signer::generate().unwrap().public()));
    }

    #[test]
    fn a_tombstone_of_the_store_is_bound_to_each_of_its_fields_and_to_its_instance() {
        let signer = Signer::generate().unwrap();
        let (instance, key) = (InstanceId(Uuid::from_u128(1)), signer.public());
        let cut = StoreCut {
            epoch: Epoch([3; 16]),
            first: 4,
            last: 9,
            before: Digest::of(b"3"),
            last_hash: Digest::of(b"9"),
            records: 6,
            newest_us: 77,
            retention: Retention { days: 30, immutable: false },
            cut_us: 99,
        };
        let signed = StoreTombstone::sign(&signer, instance, cut);
        assert!(signed.is_signed_by(&key, instance));
        assert!(!signed.is_signed_by(&key, InstanceId(Uuid::from_u128(2))));
        let others = [
            StoreCut { epoch: Epoch([4; 16]), ..cut },
            StoreCut { first: 3, ..cut },
            StoreCut { last: 10, ..cut },
            StoreCut { before: cut.last_hash, ..cut },
            StoreCut { last_hash: cut.before, ..cut },
            StoreCut { records: 5, ..cut },
            StoreCut { newest_us: 78, ..cut },
            StoreCut { retention: Retention { days: 30, immutable: true }, ..cut },
            StoreCut { retention: Retention { days: 29, immutable: false }, ..cut },
            StoreCut { cut_us: 98, ..cut },
        ];
        for other in others {
            assert!(!StoreTombstone { cut: other, ..signed }.is_signed_by(&key, instance), "{other:?}");
        }
    }

    #[test]
    fn a_checkpoint_signature_is_no_head_signature() {
        let signer = Signer::generate().unwrap();
        let instance = InstanceId(Uuid::from_u128(1));
        let signature = signer.sign(&checkpoint_message(instance, &position()));
        let mut head = Head::sign(&signer, instance, 2, position(), 7, 99);
        head.signature = signature;
        assert!(!head.is_signed_by(&signer.public()));
    }
}
