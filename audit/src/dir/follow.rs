//! Records as they are written.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::{AuditDir, DirError, Entry, SegmentName};
use crate::chain::{Epoch, InstanceId};
use crate::segment::{HEADER_LEN, Header, Item, Scan};

/// The most bytes taken up at a time.
const CHUNK: u64 = 8 << 20;

/// A reader that waits at the end of a directory. It never blocks: [`Follow::poll`] gives what has come since.
#[derive(Debug)]
pub struct Follow {
    dir: AuditDir,
    segment: Option<SegmentName>,
    origin: Option<(InstanceId, Epoch)>,
    offset: u64,
    last_sequence: Option<u64>,
}

impl Follow {
    pub(super) fn from_end(dir: AuditDir) -> Result<Self, DirError> {
        let mut follow = Self { dir, segment: None, origin: None, offset: 0, last_sequence: None };
        if let Some(last) = follow.dir.segments()?.last() {
            follow.enter(last.name);
            while !follow.take_chunk()?.is_empty() {}
        }
        Ok(follow)
    }

    /// The records that have been written since the last call.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn poll(&mut self) -> Result<Vec<Entry>, DirError> {
        let mut entries = Vec::new();
        loop {
            let taken = self.take_chunk()?;
            if !taken.is_empty() {
                entries.extend(taken);
                continue;
            }
            // A segment is only left for the next once it is read to its end; the next exists only after the last
            // byte of this one was written, so it is looked for first and this one read once more.
            let Some(next) = self.next_segment()? else { return Ok(entries) };
            entries.extend(self.take_chunk()?);
            self.enter(next);
        }
    }

    fn enter(&mut self, segment: SegmentName) {
        self.segment = Some(segment);
        self.origin = None;
        self.offset = 0;
        self.last_sequence = None;
    }

    fn next_segment(&self) -> Result<Option<SegmentName>, DirError> {
        let number = self.segment.map_or(0, |segment| segment.number);
        let later = self.dir.segments()?.into_iter().map(|segment| segment.name);
        Ok(later.filter(|name| name.number > number).min())
    }

    /// The whole records of the current segment that have not been taken up yet, a bounded number at a time.
    fn take_chunk(&mut self) -> Result<Vec<Entry>, DirError> {
        let Some(segment) = self.segment else { return Ok(Vec::new()) };
        let path = self.dir.path().join(segment.to_string());
        let mut bytes = Vec::new();
        let start = if self.offset == 0 { 0 } else { self.offset };
        let read = File::open(&path).and_then(|mut file| {
            file.seek(SeekFrom::Start(start))?;
            file.take(CHUNK).read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => {}
            // Cut by retention, or renamed by a start: what is left of it is read no further.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(DirError::Io { file: path, source }),
        }
        let mut at = 0;
        if self.offset == 0 {
            if bytes.len() < HEADER_LEN {
                return Ok(Vec::new());
            }
            self.origin = Header::parse(&bytes).ok().map(|header| (header.instance, header.epoch));
            at = HEADER_LEN;
        }
        let mut entries = Vec::new();
        let mut scan = Scan::resume(&bytes, at, self.last_sequence);
        loop {
            at = scan.offset();
            match scan.next() {
                Some(Item::Frame { offset, frame }) => {
                    let offset_in_file = usize::try_from(start).unwrap_or(usize::MAX).saturating_add(offset);
                    entries.push(Entry::new(self.origin, segment.number, offset_in_file, &frame));
                    self.last_sequence = Some(frame.sequence);
                }
                Some(Item::Corrupt { .. }) => {}
                // Half-written, or the end of the chunk: taken up next time.
                Some(Item::Torn { .. }) | None => break,
            }
        }
        self.offset = start + at as u64;
        Ok(entries)
    }
}
