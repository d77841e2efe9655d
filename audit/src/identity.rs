//! Persons in the log: a pseudonym in the chain, the name sealed beside it under a key that can be destroyed.
//!
//! - The **pseudonym** is HMAC-SHA-256 of the subject's name under the instance's (or the fleet's) pseudonym key,
//!   cut to 16 bytes. One person has one pseudonym, so records can be filtered and counted by person, and without
//!   the key nobody can try names against it.
//! - The **name** is padded to a multiple of 64 bytes and sealed with AES-256-GCM under a random key of its own
//!   ([`SubjectKey`]). Sealed names and keys are two tables in two files. Destroying a key erases the person from
//!   what we hold and leaves every hash of the chain as it was.
//! - [`Subject`] can't be serialised and prints only its pseudonym; records take a [`Pseudonym`], which is made
//!   from a name only by the keyed function. So a name can't get into the chain by accident.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use serde::{Deserialize, Serialize};

use crate::sign::KeyId;
use crate::value::{Digest, NotHex, hex_array, serde_as_text};

const SUBJECT_DOMAIN: &[u8] = b"kt-audit-subject-v1\0";
const PSEUDONYM_KEY_DOMAIN: &[u8] = b"kt-audit-pseudonym-key-id-v1\0";
const PADDING: usize = 64;

/// A person in the chain: 16 bytes that only the pseudonym key joins to a name; text form: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pseudonym([u8; 16]);

impl Pseudonym {
    /// The pseudonym of these bytes, as a wire or a table has it.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Pseudonym {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        Ok(Self(hex_array(text)?))
    }
}

serde_as_text!(Pseudonym);

/// Why a name could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The operating system gave no randomness.
    #[error("no randomness to seal a name with")]
    NoRandomness,
    /// Key and sealed name do not belong together, or one of them was altered.
    #[error("sealed name does not open with this key")]
    DoesNotOpen,
    /// A name of more than 65,535 bytes.
    #[error("name of a subject is too long")]
    TooLong,
    /// The text is no key of 64 hexadecimal digits.
    #[error("not a key of 64 hexadecimal digits")]
    NotAKey,
}

/// The key that turns names into pseudonyms; the same in all gateways of a fleet, so that one person is one
/// pseudonym. It can't be printed.
#[derive(Clone)]
pub struct PseudonymKey {
    key: hmac::Key,
    id: KeyId,
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PseudonymKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PseudonymKey {
    /// The key of these 32 bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        let mut named = PSEUDONYM_KEY_DOMAIN.to_vec();
        named.extend_from_slice(bytes);
        let id = KeyId::from_digest(&Digest::of(&named));
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, bytes), id }
    }

    /// The key of 64 hexadecimal digits, as in `pseudonym.key`.
    ///
    /// # Errors
    /// When `text` is something else.
    pub fn from_hex(text: &str) -> Result<Self, SealError> {
        Ok(Self::new(&hex_array(text.trim()).map_err(|_| SealError::NotAKey)?))
    }

    /// Its name, which tells nothing of the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The pseudonym of `name`, and the name itself, ready to be sealed.
    pub fn subject(&self, name: &str) -> Subject {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(SUBJECT_DOMAIN);
        context.update(name.as_bytes());
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        Subject { pseudonym: Pseudonym(bytes), name: name.into() }
    }
}

/// Thirty-two random bytes as hexadecimal digits, for a new key file.
///
/// # Errors
/// When there is no randomness.
pub fn random_key_hex() -> Result<String, SealError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| SealError::NoRandomness)?;
    Ok(hex::encode(bytes))
}

/// A person: the pseudonym for the chain, the name for the sealed table. Not serialisable; prints no name.
#[derive(Clone)]
pub struct Subject {
    pseudonym: Pseudonym,
    name: Arc<str>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("pseudonym", &self.pseudonym).finish_non_exhaustive()
    }
}

impl Subject {
    /// What stands for this person in the chain.
    pub fn pseudonym(&self) -> Pseudonym {
        self.pseudonym
    }

    /// The name. For sealing, and for answering the person's own gateway; never for a log or a record.
    pub fn expose_name(&self) -> &str {
        &self.name
    }

    /// Seals the name under a new key.
    ///
    /// # Errors
    /// When there is no randomness, or the name has more than 65,535 bytes.
    pub fn seal(&self) -> Result<(SealedName, SubjectKey), SealError> {
        let mut key = [0; 32];
        let mut nonce = [0; 12];
        rand::fill(&mut key).map_err(|_| SealError::NoRandomness)?;
        rand::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let length = u16::try_from(self.name.len()).map_err(|_| SealError::TooLong)?;
        let mut sealed = length.to_le_bytes().to_vec();
        sealed.extend_from_slice(self.name.as_bytes());
        sealed.resize(sealed.len().next_multiple_of(PADDING), 0);
        let tag = cipher(&key)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(self.pseudonym)),
                &mut sealed,
            )
            .map_err(|_| SealError::TooLong)?;
        sealed.extend_from_slice(tag.as_ref());
        let row = SealedName {
            v: 1,
            subject: self.pseudonym,
            nonce: hex::encode(nonce),
            sealed: hex::encode(sealed),
        };
        Ok((row, SubjectKey { v: 1, subject: self.pseudonym, key: hex::encode(key) }))
    }
}

/// A row of the table of sealed names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedName {
    /// The version of this form, 1.
    pub v: u16,
    /// Whose name it is.
    pub subject: Pseudonym,
    nonce: String,
    sealed: String,
}

/// A row of the table of subject keys. Destroying it erases the person. It prints no key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectKey {
    /// The version of this form, 1.
    pub v: u16,
    /// Whose key it is.
    pub subject: Pseudonym,
    key: String,
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectKey").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl SealedName {
    /// Opens the name with its key.
    ///
    /// # Errors
    /// [`SealError::DoesNotOpen`] when the key is another's or either was altered.
    pub fn open(&self, key: &SubjectKey) -> Result<String, SealError> {
        let key: [u8; 32] = hex_array(&key.key).map_err(|_| SealError::NotAKey)?;
        let nonce: [u8; 12] = hex_array(&self.nonce).map_err(|_| SealError::DoesNotOpen)?;
        let mut bytes = hex::decode(&self.sealed).map_err(|_| SealError::DoesNotOpen)?;
        let plain = cipher(&key)?
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(self.subject)),
                &mut bytes,
            )
            .map_err(|_| SealError::DoesNotOpen)?;
        let (length, rest) = plain.split_first_chunk::<2>().ok_or(SealError::DoesNotOpen)?;
        let name = rest.get(..usize::from(u16::from_le_bytes(*length))).ok_or(SealError::DoesNotOpen)?;
        String::from_utf8(name.to_vec()).map_err(|_| SealError::DoesNotOpen)
    }
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, SealError> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| SealError::NotAKey)?))
}

fn associated(subject: Pseudonym) -> Vec<u8> {
    let mut data = SUBJECT_DOMAIN.to_vec();
    data.extend_from_slice(&subject.0);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PseudonymKey {
        PseudonymKey::new(&[7; 32])
    }

    #[test]
    fn one_person_is_one_pseudonym_under_one_key_only() {
        assert_eq!(
            key().subject("ada@example.com").pseudonym(),
            key().subject("ada@example.com").pseudonym()
        );
        assert_ne!(
            key().subject("ada@example.com").pseudonym(),
            key().subject("Ada@example.com").pseudonym()
        );
        let other = PseudonymKey::new(&[8; 32]);
        assert_ne!(key().subject("ada").pseudonym(), other.subject("ada").pseudonym());
        assert_ne!(key().id(), other.id());
    }

    #[test]
    fn a_sealed_name_opens_with_its_own_key_only() {
        let ada = key().subject("ada@example.com");
        let (sealed, ada_key) = ada.seal().unwrap();
        let (_, bob_key) = key().subject("bob@example.com").seal().unwrap();
        assert_eq!(sealed.open(&ada_key).unwrap(), "ada@example.com");
        assert_eq!(sealed.open(&bob_key), Err(SealError::DoesNotOpen));
        let moved = SealedName { subject: bob_key.subject, ..sealed };
        assert_eq!(moved.open(&ada_key), Err(SealError::DoesNotOpen));
    }

    #[test]
    fn names_of_different_lengths_seal_to_the_same_length() {
        let (short, _) = key().subject("a").seal().unwrap();
        let (long, _) = key().subject(&"a".repeat(62)).seal().unwrap();
        assert_eq!(short.sealed.len(), long.sealed.len());
    }

    #[test]
    fn nothing_prints_a_name_or_a_key() {
        let ada = key().subject("ada@example.com");
        let (sealed, subject_key) = ada.seal().unwrap();
        let printed = format!("{ada:?} {sealed:?} {subject_key:?} {:?}", key());
        assert!(!printed.contains("ada@"), "{printed}");
        assert!(!printed.contains(&subject_key.key), "{printed}");
        assert!(!serde_json::to_string(&sealed).unwrap().contains("ada@"));
    }
}
