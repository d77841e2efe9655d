//! The file that carries a signed statement from the machine with the key to the one that publishes.
//!
//! What counts is `statement`, the exact bytes that were signed; the rest says to people what stands in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use kt_audit::sign::{KeyId, Signature};
use kt_proto::{signed, v1};
use serde::{Deserialize, Serialize};

use crate::{exit::CliError, server::view};

const FORMAT: &str = "keeptrusts-assignment-v1";
/// A statement is a few hundred bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// The file, JSON.
#[derive(Serialize)]
pub(super) struct Written {
    format: &'static str,
    fleet: String,
    generation: u64,
    packs: Vec<view::PackRef>,
    expires: Option<Timestamp>,
    /// Base64 of the exact bytes.
    statement: String,
    signatures: Vec<FileSignature>,
}

#[derive(Serialize, Deserialize)]
struct FileSignature {
    key_id: KeyId,
    signature: Signature,
}

#[derive(Deserialize)]
struct ReadBack {
    format: String,
    statement: String,
    signatures: Vec<FileSignature>,
}

/// Writes the file.
pub(super) fn write(
    path: &Path,
    sealed: &v1::SignedStatement,
    statement: &v1::AssignmentStatement,
) -> Result<Written, CliError> {
    let failed =
        |error: &dyn std::fmt::Display| CliError::usage(format!("can't write `{}`: {error}", path.display()));
    let signatures = sealed.signatures.iter().filter_map(|signature| {
        Some(FileSignature {
            key_id: KeyId(signature.key_id.as_slice().try_into().ok()?),
            signature: Signature(signature.signature.as_slice().try_into().ok()?),
        })
    });
    let written = Written {
        format: FORMAT,
        fleet: statement.fleet.clone(),
        generation: statement.generation,
        packs: statement.packs.iter().map(view::PackRef::from).collect(),
        expires: view::moment(statement.expires_us),
        statement: STANDARD.encode(&sealed.statement),
        signatures: signatures.collect(),
    };
    let mut text = serde_json::to_vec_pretty(&written).map_err(|error| failed(&error))?;
    text.push(b'\n');
    fs::write(path, text).map_err(|error| failed(&error))?;
    Ok(written)
}

/// Reads files of several signers of one statement.
pub(super) fn read_all(
    paths: &[PathBuf],
) -> Result<(v1::SignedStatement, v1::AssignmentStatement), CliError> {
    let mut all: Option<(&Path, v1::SignedStatement)> = None;
    for path in paths {
        let one = read(path)?;
        match &mut all {
            None => all = Some((path, one)),
            Some((first, all)) if all.statement == one.statement => {
                let _ = first;
                for signature in one.signatures {
                    all.signatures.retain(|other| other.key_id != signature.key_id);
                    all.signatures.push(signature);
                }
            }
            Some((first, _)) => {
                return Err(CliError::usage(format!(
                    "`{}` and `{}` are not about the same statement",
                    first.display(),
                    path.display()
                ))
                .with_help("all signers sign the same file, fleet, generation and moment of expiry"));
            }
        }
    }
    let (path, signed) = all.ok_or_else(|| CliError::usage("no statement is given"))?;
    let statement = signed::read(&signed).map_err(|error| not_one(path, &error))?;
    Ok((signed, statement))
}

fn read(path: &Path) -> Result<v1::SignedStatement, CliError> {
    let failed = |error: std::io::Error| CliError::usage(format!("can't read `{}`: {error}", path.display()));
    if fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
        return Err(not_one(path, &"it is too large"));
    }
    let bytes = fs::read(path).map_err(failed)?;
    let read: ReadBack = serde_json::from_slice(&bytes).map_err(|error| not_one(path, &error))?;
    if read.format != FORMAT {
        return Err(not_one(path, &format!("its format is `{}`", read.format)));
    }
    let statement = STANDARD.decode(&read.statement).map_err(|error| not_one(path, &error))?;
    let signatures = read
        .signatures
        .into_iter()
        .map(|one| v1::Signature { key_id: one.key_id.0.to_vec(), signature: one.signature.0.to_vec() })
        .collect();
    Ok(v1::SignedStatement { statement: statement.into(), signatures })
}

fn not_one(path: &Path, error: &dyn std::fmt::Display) -> CliError {
    CliError::usage(format!("`{}` is no signed statement: {error}", path.display()))
        .with_help("`kt pack sign` makes one")
}
