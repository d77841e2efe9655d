//! Looking at a file for new content.
//!
//! By content, not by time stamp or event: mounted secrets are swapped by symlink, editors rename, copies take a
//! while, and two writes within one tick of the clock are two contents. The files are small (packs, keys, secrets).

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// A file and what it held when it was last looked at.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    limit: u64,
    seen: Option<[u8; 32]>,
}

/// What a look at the file shows.
#[derive(Debug)]
pub(crate) enum Look {
    /// The same content as before.
    Unchanged,
    /// Other content than before (or the first look).
    Changed(Vec<u8>),
    /// It cannot be read.
    Failed(io::Error),
}

impl WatchedFile {
    /// Watches `path`; more than `limit` bytes are an error.
    pub(crate) fn new(path: impl Into<PathBuf>, limit: u64) -> Self {
        Self { path: path.into(), limit, seen: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the file.
    pub(crate) fn look(&mut self) -> Look {
        let bytes = match read(&self.path, self.limit) {
            Ok(bytes) => bytes,
            Err(error) => {
                // A file that comes back counts as changed, whatever it holds.
                self.seen = None;
                return Look::Failed(error);
            }
        };
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        if self.seen.replace(digest) == Some(digest) { Look::Unchanged } else { Look::Changed(bytes) }
    }
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_alone_decides() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = WatchedFile::new(&path, 10);
        assert!(matches!(file.look(), Look::Failed(_)));
        std::fs::write(&path, "a").unwrap();
        assert!(matches!(file.look(), Look::Changed(bytes) if bytes == b"a"));
        std::fs::write(&path, "a").unwrap();
        assert!(matches!(file.look(), Look::Unchanged));
        std::fs::write(&path, "b").unwrap();
        assert!(matches!(file.look(), Look::Changed(bytes) if bytes == b"b"));
        std::fs::write(&path, "more than ten").unwrap();
        assert!(matches!(file.look(), Look::Failed(_)));
    }

    #[test]
    fn a_swapped_symlink_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two, link) = (dir.path().join("1"), dir.path().join("2"), dir.path().join("link"));
        std::fs::write(&one, "one").unwrap();
        std::fs::write(&two, "two").unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let mut file = WatchedFile::new(&link, 10);
        assert!(matches!(file.look(), Look::Changed(bytes) if bytes == b"one"));
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&two, &link).unwrap();
        assert!(matches!(file.look(), Look::Changed(bytes) if bytes == b"two"));
    }
}
