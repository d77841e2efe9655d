//! Exports: a folder with a manifest and, for each instance, its records as segments, JSON Lines, CSV or Parquet.
//!
//! Segments and JSON Lines hold the exact bytes, so an export of either is proven by itself: each record by its hash and
//! the next one, the chain by the gateway's checkpoints, its end by the control plane's signature over the last record,
//! gaps by signed tombstones. CSV and Parquet are for tables: only that their files are those of the manifest can be shown.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::{
    chain::{Epoch, InstanceId, Position},
    record::Retention,
    segment::{Frame, Header, encode_frame},
    sign::{PublicKey, Signature, StoreTombstone, countersignature_message},
    value::Digest,
    verify::{Break, BreakKind, Cause, Report, Trust, Verifier},
};

/// The manifest, beside the folders of the instances.
pub const MANIFEST: &str = "manifest.json";
/// The version of the manifest.
pub const VERSION: u16 = 1;

/// The form of the records of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Segments, as the gateway has them.
    Segments,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values.
    Csv,
    /// Parquet.
    Parquet,
}

impl Form {
    /// Whether the exact bytes of records are in it.
    pub fn is_proof(self) -> bool {
        matches!(self, Self::Segments | Self::Jsonl)
    }
}

/// `manifest.json`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this form.
    pub v: u16,
    /// The form of the records.
    pub format: Form,
    /// When it was made.
    pub made: Timestamp,
    /// The version of `kt` that made it.
    pub made_by: String,
    /// Only records of this fleet; none: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// Only records from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only records before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// The key that the control plane signs tombstones and heads with.
    pub witness: PublicKey,
    /// Whose records there are.
    pub instances: Vec<Exported>,
}

/// The records of one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exported {
    /// The instance; its folder has its name.
    pub instance: InstanceId,
    /// The fleet.
    pub fleet: String,
    /// The gateway's name, for people.
    pub name: String,
    /// Keys that have signed for the instance.
    pub keys: Vec<PublicKey>,
    /// How many records.
    pub records: u64,
    /// The files, in their order.
    pub files: Vec<ExportedFile>,
    /// What retention has taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tombstones: Vec<StoreTombstone>,
    /// The last record of each run, signed by the control plane.
    pub heads: Vec<SignedEnd>,
}

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportedFile {
    /// Its name in the folder of its instance.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// The control plane's word for the last record of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedEnd {
    /// The record.
    pub covers: Position,
    /// When it was signed, microseconds since 1970 UTC.
    pub signed_us: i64,
    /// The signature.
    pub signature: Signature,
}

/// A record in JSON Lines: `record` has the exact bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line<'a> {
    /// The run.
    pub epoch: Epoch,
    /// The number of the run.
    pub ordinal: u64,
    /// The record's number.
    pub sequence: u64,
    /// The writer's time, microseconds since 1970 UTC.
    pub time_us: i64,
    /// The hash of the record before.
    pub previous: Digest,
    /// Its own hash.
    pub hash: Digest,
    /// The record.
    #[serde(borrow)]
    pub record: &'a RawValue,
}

/// Why an export can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file.
    #[error("can't read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The manifest.
    #[error("`{}` is no manifest of an export", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Where the reader stopped.
        #[source]
        source: serde_json::Error,
    },
    /// The manifest of a later version.
    #[error("the export has form {found}, newer than the {VERSION} that this program reads")]
    Newer {
        /// Its version.
        found: u16,
    },
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// The form of the records.
    pub format: Form,
    /// Each instance.
    pub instances: Vec<VerifiedExport>,
}

/// One instance of an export.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifiedExport {
    /// The instance.
    pub instance: InstanceId,
    /// The fleet.
    pub fleet: String,
    /// Files that are not those of the manifest, or are not there.
    pub changed_files: Vec<String>,
    /// The chain; of CSV and Parquet empty.
    pub report: Report,
}

impl Verified {
    /// Whether nothing is broken.
    pub fn is_intact(&self) -> bool {
        self.instances.iter().all(|each| each.changed_files.is_empty() && each.report.is_intact())
    }
}

/// Reads the manifest of an export.
///
/// # Errors
/// When it is not there or can't be read.
pub fn manifest(folder: &Path) -> Result<Manifest, ExportError> {
    #[derive(Deserialize)]
    struct Version {
        v: u16,
    }

    let path = folder.join(MANIFEST);
    let bytes = fs::read(&path).map_err(|source| ExportError::Io { path: path.clone(), source })?;
    let of = |source| ExportError::Manifest { path: path.clone(), source };
    let version: Version = serde_json::from_slice(&bytes).map_err(of)?;
    if version.v > VERSION {
        return Err(ExportError::Newer { found: version.v });
    }
    serde_json::from_slice(&bytes).map_err(of)
}

/// Verifies an export with these keys; without them with those of its manifest, which proves less: who can rewrite the
/// records can replace them too.
///
/// # Errors
/// When the manifest can't be read. A file that is missing or another one is a finding, not an error.
pub fn verify(folder: &Path, keys: Option<&[PublicKey]>) -> Result<Verified, ExportError> {
    let manifest = manifest(folder)?;
    let mut instances = Vec::with_capacity(manifest.instances.len());
    for exported in &manifest.instances {
        let own: Vec<PublicKey> = exported.keys.iter().copied().chain([manifest.witness]).collect();
        instances.push(instance(folder, &manifest, exported, keys.unwrap_or(&own)));
    }
    Ok(Verified { format: manifest.format, instances })
}

fn instance(folder: &Path, manifest: &Manifest, exported: &Exported, keys: &[PublicKey]) -> VerifiedExport {
    let folder = folder.join(exported.instance.to_string());
    let changed_files = exported
        .files
        .iter()
        .filter(|file| !is_as_told(&folder.join(&file.name), file))
        .map(|file| file.name.clone());
    let changed_files = changed_files.collect();
    let report =
        if manifest.format.is_proof() { chain(&folder, manifest, exported, keys) } else { Report::default() };
    VerifiedExport { instance: exported.instance, fleet: exported.fleet.clone(), changed_files, report }
}

/// Whether the file is the one of the manifest.
fn is_as_told(path: &Path, told: &ExportedFile) -> bool {
    digest(path).is_ok_and(|(bytes, sha256)| bytes == told.bytes && sha256 == told.sha256)
}

/// Length and digest of a file.
///
/// # Errors
/// When it can't be read.
pub fn digest(path: &Path) -> io::Result<(u64, Digest)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut total) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((total, Digest(hasher.finalize().into())));
        }
        total += read as u64;
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

fn chain(folder: &Path, manifest: &Manifest, exported: &Exported, keys: &[PublicKey]) -> Report {
    let instance = exported.instance;
    let is_signed = |end: &SignedEnd| {
        let message = countersignature_message(instance, &end.covers, end.signed_us);
        keys.iter().any(|key| key.verifies(&message, &end.signature))
    };
    let (signed, forged): (Vec<SignedEnd>, Vec<SignedEnd>) =
        exported.heads.iter().partition(|end| is_signed(end));
    let mut verifier = Verifier::new(Trust {
        keys: keys.to_vec(),
        heads: Vec::new(),
        known: signed.iter().map(|end| end.covers).collect(),
        instance: Some(instance),
        // A range of times begins anywhere.
        excerpt: manifest.from.is_some(),
        cuts: exported.tombstones.clone(),
    });
    for end in &forged {
        verifier.found(Break {
            kind: BreakKind::Forged,
            file: MANIFEST.to_owned(),
            offset: 0,
            epoch: Some(end.covers.epoch),
            sequence: Some(end.covers.sequence),
            cause: Cause::Signature,
        });
    }
    let mut number = 0;
    for file in &exported.files {
        let path = folder.join(&file.name);
        match manifest.format {
            Form::Segments => {
                number += 1;
                // One that is not there shows as a gap.
                if let Ok(bytes) = fs::read(&path) {
                    verifier.segment(number, &file.name, &bytes);
                }
            }
            Form::Jsonl => number = lines(&mut verifier, instance, &path, &file.name, number),
            Form::Csv | Form::Parquet => {}
        }
    }
    verifier.finish()
}

/// Bytes of lines that are judged as one segment.
const LINES_AT_ONCE: usize = 4 * 1024 * 1024;

/// Judges the lines of a file, as the segments that they could stand in; returns the number of the last one.
fn lines(verifier: &mut Verifier, instance: InstanceId, path: &Path, name: &str, mut number: u64) -> u64 {
    let Ok(file) = File::open(path) else { return number };
    let mut reader = BufReader::new(file);
    let mut segment: Option<(Epoch, Vec<u8>)> = None;
    let mut text = Vec::new();
    let mut at = 0;
    loop {
        text.clear();
        let read = match reader.read_until(b'\n', &mut text) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let begins = at;
        at += read as u64;
        let Ok(line) = serde_json::from_slice::<Line<'_>>(&text) else {
            verifier.found(Break {
                kind: BreakKind::Altered,
                file: name.to_owned(),
                offset: begins,
                epoch: segment.as_ref().map(|(epoch, _)| *epoch),
                sequence: None,
                cause: Cause::Payload,
            });
            continue;
        };
        if segment.as_ref().is_some_and(|(epoch, bytes)| *epoch != line.epoch || bytes.len() >= LINES_AT_ONCE)
        {
            flush(&mut segment, verifier, name, &mut number);
        }
        let payload = line.record.get().as_bytes();
        let next = number + 1;
        let (_, bytes) = segment.get_or_insert_with(|| {
            let header = Header {
                instance,
                epoch: line.epoch,
                ordinal: line.ordinal,
                segment: next,
                first_sequence: line.sequence,
                previous: line.previous,
                created_us: line.time_us,
                // What the lines ask for is not held against a header that nobody has written.
                retention: Retention { days: u32::MAX, immutable: true },
            };
            (line.epoch, header.encode().to_vec())
        });
        // A payload of an impossible length was not written by us: its place stays empty, and is named as missing.
        let _ = encode_frame(bytes, line.sequence, line.time_us, &line.previous, payload);
    }
    flush(&mut segment, verifier, name, &mut number);
    number
}

fn flush(segment: &mut Option<(Epoch, Vec<u8>)>, verifier: &mut Verifier, name: &str, number: &mut u64) {
    if let Some((_, bytes)) = segment.take() {
        *number += 1;
        verifier.segment(*number, name, &bytes);
    }
}

/// A frame as a line, with its end.
///
/// # Errors
/// When its payload is no JSON.
pub fn line(
    instance: InstanceId,
    epoch: Epoch,
    ordinal: u64,
    frame: &Frame<'_>,
) -> serde_json::Result<Vec<u8>> {
    let record: &RawValue = serde_json::from_slice(frame.payload)?;
    let line = Line {
        epoch,
        ordinal,
        sequence: frame.sequence,
        time_us: frame.time_us,
        previous: frame.previous,
        hash: frame.hash(instance, epoch),
        record,
    };
    let mut text = serde_json::to_vec(&line)?;
    text.push(b'\n');
    Ok(text)
}
