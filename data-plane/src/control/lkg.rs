//! Last known good: what a gateway needs to enforce its policy while no control plane can be reached.
//!
//! ```text
//! STATE_DIR/               0700
//!   lock                   held while a gateway runs
//!   gateway-id             a UUID, made once
//!   assignment             the statement in force, with its signatures and a checksum
//!   assignment.previous    the one before
//!   key-set, key-set.previous
//!   bodies/DIGEST          sources of packs, by the SHA-256 of their bytes
//!   contact                when the control plane was last heard, written about once a minute
//!   rejected               statements that this build has refused
//! ```
//!
//! Each file is written beside its place, synced, renamed into it, and the folder synced: a crash between any two of
//! these steps leaves the old file or the new one. A body is there before a statement names it, and is pruned only
//! after no statement names it any more. What is found bad at the start is renamed to `….refused` and never read again.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;
use kt_audit::Digest;
use kt_policy::yaml::MAX_BYTES;
use kt_proto::v1;
use prost::Message as _;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::build;
use crate::watch_file;

/// The version of the format of a kept statement.
const FORMAT: u32 = 1;
/// Room for a key set with some hundred thousand keys.
const MAX_STATEMENT_FILE: u64 = 256 * 1024 * 1024;
/// Refused statements that are remembered; the oldest go first.
const MAX_REJECTED: usize = 64;

/// The steps of writing that a crash can come between. A trait for the tests that crash there.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Makes a file that must not be there, 0600.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Writes everything.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    /// fsync.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Renames, over what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// fsync of a folder.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The file system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// Why a state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It can't be made, read or written.
    #[error("the state directory `{dir}` can't be used: {error}")]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another gateway runs with it.
    #[error("the state directory `{dir}` is in use by another gateway: give each its own with --state-dir")]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
}

/// Which of the two that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one in force.
    Current,
    /// The one before.
    Previous,
}

/// A statement as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) generation: u64,
    pub(crate) signed: v1::SignedStatement,
    pub(crate) saved: Timestamp,
}

/// Why a kept file is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Bad {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
    /// Half written, or changed.
    #[error("its checksum does not fit")]
    Checksum,
    /// Not the format.
    #[error("it is not in format `{FORMAT}`")]
    Format,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    fleet: String,
    generation: u64,
    /// SHA-256 of the statement.
    digest: String,
    saved_at: Timestamp,
    /// The signed statement as the protocol has it, in hexadecimal digits.
    signed: String,
}

/// A statement that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RejectedEntry {
    pub(crate) digest: Digest,
    pub(crate) generation: u64,
    pub(crate) is_key_set: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct RejectedFile {
    build: String,
    entries: Vec<RejectedEntry>,
}

/// The state directory, locked.
pub(crate) struct Lkg {
    dir: PathBuf,
    disk: Box<dyn Disk>,
    temporary: AtomicU64,
    _lock: File,
}

impl std::fmt::Debug for Lkg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lkg").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Lkg {
    /// Opens a state directory, making it where it is not there.
    pub(crate) fn open(dir: &Path) -> Result<Self, StateError> {
        Self::open_on(dir, RealDisk)
    }

    pub(crate) fn open_on(dir: &Path, disk: impl Disk) -> Result<Self, StateError> {
        let failed = |error| StateError::Io { dir: dir.to_owned(), error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir.join("bodies")).map_err(failed)?;
        let lock = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join("lock"))
            .map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StateError::Locked { dir: dir.to_owned() }),
            Err(error) => return Err(failed(error.into())),
        }
        let lkg =
            Self { dir: dir.to_owned(), disk: Box::new(disk), temporary: AtomicU64::new(0), _lock: lock };
        lkg.sweep().map_err(failed)?;
        Ok(lkg)
    }

    /// Removes what writes that a crash ended have left.
    fn sweep(&self) -> io::Result<()> {
        for dir in [self.dir.clone(), self.dir.join("bodies")] {
            for entry in fs::read_dir(dir)? {
                let entry = entry?;
                if entry.file_name().as_encoded_bytes().starts_with(b".new-") {
                    self.disk.remove(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// The id of this gateway, made at the first start.
    pub(crate) fn gateway_id(&self) -> io::Result<Uuid> {
        let path = self.dir.join("gateway-id");
        match watch_file::read(&path, 1024) {
            Ok(bytes) => {
                if let Ok(id) = Uuid::try_parse_ascii(bytes.trim_ascii()) {
                    return Ok(id);
                }
                tracing::warn!("Gateway id can't be read; a new one is made.");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let id = Uuid::now_v7();
        self.replace(&path, format!("{id}\n").as_bytes())?;
        Ok(id)
    }

    fn place(&self, document: v1::Document, which: Which) -> PathBuf {
        let name = match (document, which) {
            (v1::Document::KeySet, Which::Current) => "key-set",
            (v1::Document::KeySet, Which::Previous) => "key-set.previous",
            (_, Which::Current) => "assignment",
            (_, Which::Previous) => "assignment.previous",
        };
        self.dir.join(name)
    }

    fn body_place(&self, digest: &Digest) -> PathBuf {
        self.dir.join("bodies").join(digest.to_string())
    }

    /// A kept statement; `None`: there is none.
    pub(crate) fn load(&self, document: v1::Document, which: Which) -> Option<Result<Kept, Bad>> {
        match watch_file::read(&self.place(document, which), MAX_STATEMENT_FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error.into())),
            Ok(bytes) => Some(decode(&bytes)),
        }
    }

    /// Keeps a statement that is in force; the one before is kept too.
    pub(crate) fn keep(
        &self,
        document: v1::Document,
        fleet: &str,
        generation: u64,
        signed: &v1::SignedStatement,
    ) -> io::Result<()> {
        let bytes = encode(fleet, generation, signed)?;
        let (current, previous) =
            (self.place(document, Which::Current), self.place(document, Which::Previous));
        let beside = self.write_beside(&current, &bytes)?;
        match self.disk.rename(&current, &previous) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.disk.rename(&beside, &current)?;
        self.disk.sync_dir(&self.dir)
    }

    /// Puts a statement that is bad out of the way, where a person can look at it.
    pub(crate) fn set_aside(&self, document: v1::Document, which: Which) -> io::Result<()> {
        let place = self.place(document, which);
        self.disk.rename(&place, &refused(&place))?;
        self.disk.sync_dir(&self.dir)
    }

    /// The source of a pack, when it is there and is what its name says. A body that is not is put out of the way.
    pub(crate) fn body(&self, digest: &Digest) -> Option<Vec<u8>> {
        let place = self.body_place(digest);
        let bytes = watch_file::read(&place, MAX_BYTES as u64).ok()?;
        if Digest::of(&bytes) == *digest {
            return Some(bytes);
        }
        tracing::error!(digest = %digest, "Kept pack is not what its digest says; it is put out of the way.");
        // It is never used, whether or not it can be moved.
        let _ = self.disk.rename(&place, &refused(&place));
        None
    }

    /// Keeps the source of a pack.
    pub(crate) fn put_body(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let place = self.body_place(digest);
        if watch_file::read(&place, MAX_BYTES as u64).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        self.replace(&place, bytes)
    }

    /// Removes the bodies that neither of the kept assignments names.
    pub(crate) fn prune(&self) -> io::Result<()> {
        let mut named = Vec::new();
        for which in [Which::Current, Which::Previous] {
            match self.load(v1::Document::Assignment, which) {
                None => {}
                Some(Ok(kept)) => {
                    let statement = v1::AssignmentStatement::decode(&*kept.signed.statement);
                    named.extend(statement.into_iter().flat_map(|statement| statement.packs));
                }
                // What it names is not known.
                Some(Err(_)) => return Ok(()),
            }
        }
        for entry in fs::read_dir(self.dir.join("bodies"))? {
            let entry = entry?;
            let name = entry.file_name();
            let is_named =
                named.iter().any(|pack| name.to_str().is_some_and(|name| hex::encode(&pack.digest) == name));
            let is_body = name.len() == 64;
            if is_body && !is_named {
                self.disk.remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// When the control plane was last heard, as far as it was written down.
    pub(crate) fn contact(&self) -> Option<Timestamp> {
        let bytes = watch_file::read(&self.dir.join("contact"), 1024).ok()?;
        std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
    }

    /// Writes down that the control plane was heard.
    pub(crate) fn put_contact(&self, at: Timestamp) -> io::Result<()> {
        self.replace(&self.dir.join("contact"), format!("{at}\n").as_bytes())
    }

    /// Statements that this build has refused.
    pub(crate) fn rejected(&self) -> Vec<RejectedEntry> {
        let bytes = watch_file::read(&self.dir.join("rejected"), 1024 * 1024).unwrap_or_default();
        let file: RejectedFile = serde_json::from_slice(&bytes).unwrap_or_default();
        if file.build == build() { file.entries } else { Vec::new() }
    }

    /// Remembers refused statements; the newest come last.
    pub(crate) fn put_rejected(&self, entries: &[RejectedEntry]) -> io::Result<()> {
        let newest = entries.get(entries.len().saturating_sub(MAX_REJECTED)..).unwrap_or_default();
        let file = RejectedFile { build: build().to_owned(), entries: newest.to_vec() };
        self.replace(&self.dir.join("rejected"), &serde_json::to_vec(&file)?)
    }

    /// Puts a file in its place, whole or not at all.
    fn replace(&self, place: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = self.write_beside(place, bytes)?;
        self.disk.rename(&beside, place)?;
        self.disk.sync_dir(place.parent().unwrap_or(&self.dir))
    }

    /// Writes and syncs a file beside its place, under a name that nobody has.
    fn write_beside(&self, place: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let beside = place.with_file_name(format!(".new-{}-{number}", std::process::id()));
        let mut file = self.disk.create(&beside)?;
        self.disk.write(&mut file, bytes)?;
        self.disk.sync(&file)?;
        Ok(beside)
    }
}

fn refused(place: &Path) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".refused");
    place.with_file_name(name)
}

/// The SHA-256 of what follows, a line end, and what follows.
fn encode(fleet: &str, generation: u64, signed: &v1::SignedStatement) -> io::Result<Vec<u8>> {
    let written = Written {
        format: FORMAT,
        fleet: fleet.to_owned(),
        generation,
        digest: Digest::of(&signed.statement).to_string(),
        saved_at: Timestamp::now(),
        signed: hex::encode(signed.encode_to_vec()),
    };
    let json = serde_json::to_vec(&written)?;
    let mut bytes = format!("{}\n", Digest::of(&json)).into_bytes();
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Kept, Bad> {
    let (checksum, json) = bytes.split_at_checked(65).ok_or(Bad::Checksum)?;
    if checksum != format!("{}\n", Digest::of(json)).as_bytes() {
        return Err(Bad::Checksum);
    }
    let written: Written = serde_json::from_slice(json).map_err(|_| Bad::Format)?;
    if written.format != FORMAT {
        return Err(Bad::Format);
    }
    let signed = hex::decode(&written.signed).map_err(|_| Bad::Format)?;
    let signed = v1::SignedStatement::decode(&*signed).map_err(|_| Bad::Format)?;
    if Digest::of(&signed.statement).to_string() != written.digest {
        return Err(Bad::Checksum);
    }
    Ok(Kept { generation: written.generation, signed, saved: written.saved_at })
}

#[cfg(test)]
mod tests;
