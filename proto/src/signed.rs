//! Statements: the exact bytes that are stored, digested and signed.
//!
//! A receiver first verifies bytes, then reads the same bytes; nothing is serialised again on the way. A prefix of its
//! own for each kind of statement keeps a signature of one kind from passing as another.

use std::fmt;

use kt_audit::{
    Digest,
    sign::{KeyId, PublicKey, Signature, Signer},
};
use prost::Message;

use crate::v1;

/// A kind of statement.
pub trait Statement: Message + Default {
    /// What stands before the statement in the bytes that are signed.
    const PREFIX: &'static [u8];
    /// The fleet that it is for.
    fn fleet(&self) -> &str;
    /// Its place in the order of statements of that fleet.
    fn generation(&self) -> u64;
    /// From this moment on it is not taken for the first time; microseconds since 1970 UTC, 0: never.
    fn expires_us(&self) -> i64;
}

impl Statement for v1::AssignmentStatement {
    const PREFIX: &'static [u8] = b"keeptrusts-assignment-v1\0";
    fn fleet(&self) -> &str {
        &self.fleet
    }
    fn generation(&self) -> u64 {
        self.generation
    }
    fn expires_us(&self) -> i64 {
        self.expires_us
    }
}

impl Statement for v1::KeySetStatement {
    const PREFIX: &'static [u8] = b"keeptrusts-key-set-v1\0";
    fn fleet(&self) -> &str {
        &self.fleet
    }
    fn generation(&self) -> u64 {
        self.generation
    }
    fn expires_us(&self) -> i64 {
        self.expires_us
    }
}

/// Makes a statement into bytes and signs them with each signer.
pub fn seal<S: Statement>(statement: &S, signers: &[Signer]) -> v1::SignedStatement {
    let bytes = statement.encode_to_vec();
    let message = message::<S>(&bytes);
    let signatures = signers.iter().map(|signer| signature(signer, &message)).collect();
    v1::SignedStatement { statement: bytes.into(), signatures }
}

/// Adds a signature to a statement that was made elsewhere.
pub fn countersign<S: Statement>(signed: &mut v1::SignedStatement, signer: &Signer) {
    let message = message::<S>(&signed.statement);
    let signature = signature(signer, &message);
    signed.signatures.retain(|other| other.key_id != signature.key_id);
    signed.signatures.push(signature);
}

/// The digest of a statement: the SHA-256 of its bytes.
pub fn digest(signed: &v1::SignedStatement) -> Digest {
    Digest::of(&signed.statement)
}

/// Reads a statement without looking at its signatures.
///
/// # Errors
/// When the bytes are no statement of this kind.
pub fn read<S: Statement>(signed: &v1::SignedStatement) -> Result<S, NotTrusted> {
    S::decode(&*signed.statement).map_err(|_| NotTrusted::Malformed)
}

fn message<S: Statement>(statement: &[u8]) -> Vec<u8> {
    [S::PREFIX, statement].concat()
}

fn signature(signer: &Signer, message: &[u8]) -> v1::Signature {
    v1::Signature { key_id: signer.public().id().0.to_vec(), signature: signer.sign(message).0.to_vec() }
}

/// Whose signatures count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// The keys; empty: nothing is asked for.
    pub keys: Vec<PublicKey>,
    /// How many different ones must have signed; at least one where there are keys.
    pub threshold: usize,
}

/// Why a statement is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTrusted {
    /// The bytes are no statement.
    #[error("the statement can't be read")]
    Malformed,
    /// No signature at all.
    #[error(
        "the statement is not signed, and this gateway trusts only signed ones: sign it with a trusted key"
    )]
    Unsigned,
    /// A signature that says it is of a trusted key is not.
    #[error("a signature does not fit the statement: it was changed, or signed with another key")]
    Forged,
    /// Signed, but not by enough trusted keys.
    #[error("the statement is signed by {trusted} trusted keys; {needed} are asked for")]
    TooFew {
        /// How many trusted keys have signed.
        trusted: usize,
        /// How many must have.
        needed: usize,
    },
}

impl NotTrusted {
    /// A word for records and for `Rejected`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "statement_malformed",
            Self::Unsigned => "signature_missing",
            Self::Forged => "signature_invalid",
            Self::TooFew { .. } => "signers_missing",
        }
    }
}

impl Trust {
    /// Whether signatures are asked for.
    pub fn is_required(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Verifies a statement and reads the same bytes.
    ///
    /// # Errors
    /// When the bytes can't be read, or enough trusted keys have not signed them. A wrong signature of a trusted key
    /// refuses the statement however many others are right.
    pub fn open<S: Statement>(&self, signed: &v1::SignedStatement) -> Result<S, NotTrusted> {
        if self.is_required() {
            self.verify::<S>(signed)?;
        }
        read(signed)
    }

    fn verify<S: Statement>(&self, signed: &v1::SignedStatement) -> Result<(), NotTrusted> {
        if signed.signatures.is_empty() {
            return Err(NotTrusted::Unsigned);
        }
        let message = message::<S>(&signed.statement);
        let mut signers: Vec<KeyId> = Vec::new();
        for signature in &signed.signatures {
            let Some(key) = self.keys.iter().find(|key| key.id().0 == *signature.key_id) else { continue };
            let bytes = <[u8; 64]>::try_from(&*signature.signature).map_err(|_| NotTrusted::Forged)?;
            if !key.verifies(&message, &Signature(bytes)) {
                return Err(NotTrusted::Forged);
            }
            if !signers.contains(&key.id()) {
                signers.push(key.id());
            }
        }
        let needed = self.threshold.max(1);
        if signers.len() < needed {
            return Err(NotTrusted::TooFew { trusted: signers.len(), needed });
        }
        Ok(())
    }
}

impl fmt::Display for v1::PackRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> v1::AssignmentStatement {
        v1::AssignmentStatement { fleet: "default".to_owned(), generation: 7, packs: vec![], expires_us: 0 }
    }

    fn trust(signers: &[&Signer], threshold: usize) -> Trust {
        Trust { keys: signers.iter().map(|signer| signer.public()).collect(), threshold }
    }

    #[test]
    fn a_signed_statement_opens_and_every_changed_byte_is_noticed() {
        let signer = Signer::generate().unwrap();
        let trust = trust(&[&signer], 1);
        let signed = seal(&statement(), std::slice::from_ref(&signer));
        assert_eq!(trust.open::<v1::AssignmentStatement>(&signed), Ok(statement()));
        for place in 0..signed.statement.len() {
            let mut bytes = signed.statement.to_vec();
            bytes[place] ^= 1;
            let changed = v1::SignedStatement { statement: bytes.into(), ..signed.clone() };
            assert_eq!(trust.open::<v1::AssignmentStatement>(&changed), Err(NotTrusted::Forged));
        }
    }

    #[test]
    fn an_unsigned_statement_is_refused_only_where_keys_are_trusted() {
        let signed = seal(&statement(), &[]);
        assert_eq!(Trust::default().open(&signed), Ok(statement()));
        let signer = Signer::generate().unwrap();
        assert_eq!(trust(&[&signer], 1).open::<v1::AssignmentStatement>(&signed), Err(NotTrusted::Unsigned));
    }

    #[test]
    fn a_signature_of_a_key_set_is_none_of_an_assignment() {
        let signer = Signer::generate().unwrap();
        let keys = v1::KeySetStatement { fleet: "default".to_owned(), generation: 7, ..Default::default() };
        let signed = seal(&keys, std::slice::from_ref(&signer));
        let trust = trust(&[&signer], 1);
        assert!(trust.open::<v1::KeySetStatement>(&signed).is_ok());
        assert_eq!(trust.open::<v1::AssignmentStatement>(&signed), Err(NotTrusted::Forged));
    }

    #[test]
    fn two_signatures_of_one_key_are_one_signer() {
        let (one, two) = (Signer::generate().unwrap(), Signer::generate().unwrap());
        let trust = trust(&[&one, &two], 2);
        let mut signed = seal(&statement(), std::slice::from_ref(&one));
        signed.signatures.push(signed.signatures[0].clone());
        let too_few = Err(NotTrusted::TooFew { trusted: 1, needed: 2 });
        assert_eq!(trust.open::<v1::AssignmentStatement>(&signed), too_few);
        countersign::<v1::AssignmentStatement>(&mut signed, &two);
        assert_eq!(trust.open::<v1::AssignmentStatement>(&signed), Ok(statement()));
    }

    #[test]
    fn a_signer_that_nobody_trusts_does_not_count() {
        let (one, other) = (Signer::generate().unwrap(), Signer::generate().unwrap());
        let signed = seal(&statement(), &[other]);
        let too_few = Err(NotTrusted::TooFew { trusted: 0, needed: 1 });
        assert_eq!(trust(&[&one], 1).open::<v1::AssignmentStatement>(&signed), too_few);
    }
}
