//! The names behind the pseudonyms, from the tables of the audit directory.

use std::io;

use kt_audit::{
    dir::{Names, layout},
    identity::SealedName,
    sign::KeyId,
};
use kt_proto::v1;

use crate::audit::fs::Fs;

/// The most names of one message.
const AT_ONCE: usize = 1_000;

/// The most bytes of the table that are looked at for one message.
const PIECE: u64 = 1 << 20;

/// Names to be sent, and how far in the table they reach.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rows {
    pub(crate) subjects: Vec<v1::ShipSubject>,
    /// Bytes of `subjects.sealed` that are dealt with after these.
    pub(crate) through: u64,
}

/// The names of the table behind its first `from` bytes. A name without its key (erased) or that does not open is
/// passed over.
pub(crate) fn read<F: Fs>(fs: &F, from: u64, key_id: KeyId) -> io::Result<Option<Rows>> {
    let piece = match fs.read_at(layout::SEALED_NAMES, from, PIECE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        piece => piece?,
    };
    let mut through = from;
    let mut lines: Vec<&[u8]> = Vec::new();
    for line in piece.split_inclusive(|byte| *byte == b'\n').take(AT_ONCE) {
        if !line.ends_with(b"\n") {
            break;
        }
        through += line.len() as u64;
        lines.push(line);
    }
    if lines.is_empty() {
        return Ok(None);
    }
    let keys = match fs.read(layout::SUBJECT_KEYS, u64::MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        keys => keys?,
    };
    let keys = zeroize::Zeroizing::new(keys);
    let table: Vec<u8> = lines.concat();
    let names = Names::parse(&table, &keys);
    let rows = lines.iter().filter_map(|line| serde_json::from_slice::<SealedName>(line).ok());
    let subjects = rows
        .filter_map(|row| {
            let pseudonym = hex::decode(row.subject.to_string()).ok()?;
            let name = names.name(row.subject)?;
            Some(v1::ShipSubject { pseudonym, pseudonym_key_id: key_id.0.to_vec(), name })
        })
        .collect();
    Ok(Some(Rows { subjects, through }))
}
