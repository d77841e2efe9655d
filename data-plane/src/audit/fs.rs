//! The few file operations that the writer needs, behind a trait so that tests can fail each of them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One directory. Names are plain file names in it.
pub(crate) trait Fs: Send + Sync + 'static {
    type File: FsFile;

    /// Names and lengths of all files.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// The first `limit` bytes of a file.
    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>>;
    /// At most `limit` bytes from `offset` on; fewer only where the file ends.
    fn read_at(&self, name: &str, offset: u64, limit: u64) -> io::Result<Vec<u8>>;
    /// Makes a new file and opens it for appending; an error where it exists. `private`: for its owner alone.
    fn create(&self, name: &str, private: bool) -> io::Result<Self::File>;
    /// Opens a file for appending.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One file, open for appending.
pub(crate) trait FsFile: Send + Sync + 'static {
    /// Appends some of `bytes`, and says how many.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Makes the content durable.
    fn sync(&self) -> io::Result<()>;
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Takes room on the disk for the first `length` bytes.
    fn allocate(&self, length: u64) -> io::Result<()>;
}

/// Appends all of `bytes`; on an error, says how many were taken before it.
pub(crate) fn write_all(file: &impl FsFile, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

/// Replaces the content of `name` in one step: a reader, or a start after a crash, sees the old or the new.
pub(crate) fn replace<F: Fs>(fs: &F, name: &str, bytes: &[u8], private: bool) -> io::Result<()> {
    let temporary = format!("{name}.tmp");
    match fs.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = fs.create(&temporary, private)?;
    write_all(&file, bytes).1?;
    file.sync()?;
    fs.rename(&temporary, name)?;
    fs.sync_dir()
}

/// The real directory.
#[derive(Debug, Clone)]
pub(crate) struct RealFs {
    root: Arc<PathBuf>,
}

impl RealFs {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: Arc::new(root.to_owned()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

impl Fs for RealFs {
    type File = File;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&*self.root)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let (true, Some(name)) = (metadata.is_file(), entry.file_name().to_str()) {
                files.push((name.to_owned(), metadata.len()));
            }
        }
        Ok(files)
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path(name))?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_at(&self, name: &str, offset: u64, limit: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path(name))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, name: &str, private: bool) -> io::Result<File> {
        let mode = if private { 0o600 } else { 0o640 };
        OpenOptions::new().append(true).create_new(true).mode(mode).open(self.path(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().append(true).open(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&*self.root)?.sync_all()
    }
}

impl FsFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut &*self, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), 0, length)?)
    }
}
