//! An audit directory, read. The only module of this crate that touches files; it writes none.
//!
//! Reading is safe while a gateway writes: a segment only grows, and what is half-written at its end is taken up
//! once it is whole. A segment that retention cuts in the middle of a reading is passed over.

mod filter;
mod follow;
pub mod layout;
mod names;
mod records;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::chain::{InstanceId, Position};
use crate::segment::{HEADER_LEN, Header, HeaderError};
use crate::sign::{Head, PublicKey};
use crate::verify::{Report, Trust, Verifier};

pub use self::filter::Filter;
pub use self::follow::Follow;
pub use self::layout::SegmentName;
pub use self::names::Names;
pub use self::records::{Entry, Order, Records};

/// More than any segment has: a file beyond it is not read into memory.
const MAX_SEGMENT: u64 = 1 << 30;

/// How often a verification begins anew because retention cut what it was about to read.
const ATTEMPTS: u32 = 3;

/// Why an audit directory can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// There is no directory, or it is not an audit directory.
    #[error("`{dir}` is not an audit directory", dir = dir.display())]
    NotADirectory {
        /// The path.
        dir: PathBuf,
    },
    /// A file can't be read.
    #[error("audit file `{file}` can't be read", file = file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any segment.
    #[error("audit file `{file}` is too large to be a segment", file = file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// A small file does not hold what it should.
    #[error("audit file `{file}` does not hold what it should", file = file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
    },
}

/// An audit directory.
#[derive(Debug, Clone)]
pub struct AuditDir {
    root: PathBuf,
}

/// One segment of a directory.
#[derive(Debug, Clone, Copy)]
pub struct SegmentFile {
    /// Its name.
    pub name: SegmentName,
    /// Its bytes.
    pub bytes: u64,
    /// Its header, or why there is none.
    pub header: Result<Header, HeaderError>,
}

impl AuditDir {
    /// The directory at `root`.
    ///
    /// # Errors
    /// When there is none, or it holds neither segments nor an instance.
    pub fn open(root: &Path) -> Result<Self, DirError> {
        let dir = Self { root: root.to_owned() };
        let has_instance = matches!(root.join(layout::INSTANCE).try_exists(), Ok(true));
        if root.is_dir() && (has_instance || !dir.segments()?.is_empty()) {
            return Ok(dir);
        }
        Err(DirError::NotADirectory { dir: dir.root })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Its segments by number.
    ///
    /// # Errors
    /// When the directory or a header can't be read.
    pub fn segments(&self) -> Result<Vec<SegmentFile>, DirError> {
        let mut segments = Vec::new();
        let io = |source| DirError::Io { file: self.root.clone(), source };
        for entry in std::fs::read_dir(&self.root).map_err(io)? {
            let entry = entry.map_err(io)?;
            let Some(name) = entry.file_name().to_str().and_then(SegmentName::parse) else { continue };
            let Some(head) = self.read_some(&name.to_string(), HEADER_LEN as u64)? else { continue };
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            segments.push(SegmentFile { name, bytes, header: Header::parse(&head) });
        }
        segments.sort_by_key(|segment| segment.name);
        Ok(segments)
    }

    /// All bytes of a segment; none when it is gone.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read_segment(&self, name: SegmentName) -> Result<Option<Vec<u8>>, DirError> {
        let file = name.to_string();
        let bytes = self.read_some(&file, MAX_SEGMENT)?;
        if bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 >= MAX_SEGMENT) {
            return Err(DirError::TooLarge { file: self.root.join(file) });
        }
        Ok(bytes)
    }

    /// The keys of `gateway.pub`, the newest last.
    ///
    /// # Errors
    /// When the file can't be read or holds something else.
    pub fn public_keys(&self) -> Result<Vec<PublicKey>, DirError> {
        let Some(text) = self.read_text(layout::PUBLIC_KEYS)? else { return Ok(Vec::new()) };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Result<Vec<_>, _> = lines.map(str::parse).collect();
        keys.map_err(|_| DirError::Malformed { file: self.root.join(layout::PUBLIC_KEYS) })
    }

    /// The signed head; none where there is no file.
    ///
    /// # Errors
    /// When it can't be read or holds something else.
    pub fn head(&self) -> Result<Option<Head>, DirError> {
        self.read_json(layout::HEAD)
    }

    /// The instance; none where there is no file.
    ///
    /// # Errors
    /// When it can't be read or holds something else.
    pub fn instance(&self) -> Result<Option<InstanceId>, DirError> {
        Ok(self.read_json::<layout::InstanceFile>(layout::INSTANCE)?.map(|file| file.instance))
    }

    /// How far a control plane has the records; none where there is no such file, or none that can be read: it is
    /// never needed.
    ///
    /// # Errors
    /// When it exists and can't be read.
    pub fn shipped(&self) -> Result<Option<layout::ShippedFile>, DirError> {
        match self.read_json(layout::SHIPPED) {
            Err(DirError::Malformed { .. }) => Ok(None),
            other => other,
        }
    }

    /// Verifies all that is here. `keys`: the public keys to trust, kept elsewhere; none: those of the directory
    /// itself, which proves less, since whoever can write the records can write them too. `known`: positions known
    /// from elsewhere.
    ///
    /// # Errors
    /// When a file can't be read. Damage is not an error but a break in the report.
    pub fn verify(&self, keys: Option<&[PublicKey]>, known: &[Position]) -> Result<Report, DirError> {
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            let (report, moved) = self.verify_once(keys, known)?;
            // Segments that were cut meanwhile would show as missing.
            if !moved || attempts == 0 {
                return Ok(report);
            }
        }
    }

    fn verify_once(
        &self,
        keys: Option<&[PublicKey]>,
        known: &[Position],
    ) -> Result<(Report, bool), DirError> {
        // The head is read first: what is written meanwhile only adds to the segments.
        let (heads, unreadable_head) = match self.head() {
            Ok(head) => (head.map(|head| (layout::HEAD.to_owned(), head)).into_iter().collect(), false),
            Err(DirError::Malformed { .. }) => (Vec::new(), true),
            Err(error) => return Err(error),
        };
        let keys = match keys {
            Some(keys) => keys.to_vec(),
            // An altered key file leaves no key to trust, and every signature will say so.
            None => match self.public_keys() {
                Err(DirError::Malformed { .. }) => Vec::new(),
                other => other?,
            },
        };
        let mut segments = self.segments()?;
        let instance = self.instance().ok().flatten().or_else(|| {
            segments.iter().find_map(|segment| segment.header.ok()).map(|header| header.instance)
        });
        // Where files were renamed, the numbers in their headers give the order in which they can be followed.
        segments.sort_by_key(|segment| segment.header.map_or(segment.name.number, |header| header.segment));
        let trust = Trust { keys, heads, known: known.to_vec(), instance, ..Trust::default() };
        let mut verifier = Verifier::new(trust);
        if unreadable_head {
            verifier.unreadable_head(layout::HEAD);
        }
        let mut moved = false;
        for segment in segments {
            match self.read_segment(segment.name)? {
                Some(bytes) => verifier.segment(segment.name.number, &segment.name.to_string(), &bytes),
                None => moved = true,
            }
        }
        Ok((verifier.finish(), moved))
    }

    /// All records, in the order asked for.
    ///
    /// # Errors
    /// When the directory can't be listed.
    pub fn records(&self, order: Order) -> Result<Records, DirError> {
        Records::new(self.clone(), order)
    }

    /// The names behind pseudonyms, as far as their keys exist and may be read by this user.
    ///
    /// # Errors
    /// When a table exists and can't be read.
    pub fn names(&self) -> Result<Names, DirError> {
        let tables =
            [layout::SEALED_NAMES, layout::SUBJECT_KEYS].map(|file| self.read_some(file, MAX_SEGMENT));
        let [names, keys] = tables;
        Ok(Names::parse(&names?.unwrap_or_default(), &keys?.unwrap_or_default()))
    }

    /// Records as they are written, from the end of what is there now.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn follow(&self) -> Result<Follow, DirError> {
        Follow::from_end(self.clone())
    }

    fn read_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, DirError> {
        let Some(text) = self.read_text(name)? else { return Ok(None) };
        let value = serde_json::from_str(&text);
        value.map(Some).map_err(|_| DirError::Malformed { file: self.root.join(name) })
    }

    fn read_text(&self, name: &str) -> Result<Option<String>, DirError> {
        let Some(bytes) = self.read_some(name, 1 << 20)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| DirError::Malformed { file: self.root.join(name) })
    }

    /// The first `limit` bytes of a file; none when there is no such file.
    fn read_some(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, DirError> {
        let path = self.root.join(name);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DirError::Io { file: path, source }),
        }
    }
}

#[cfg(test)]
mod tests;
