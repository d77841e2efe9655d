//! Beginning and ending segments.

use std::io;
use std::sync::Arc;

use kt_audit::dir::layout::SegmentName;
use kt_audit::record::{CheckpointReason, Retention};
use kt_audit::segment::{HEADER_LEN, Header};

use super::recover::Closed;
use super::space::Class;
use super::{Engine, Results};
use crate::audit::fs::{Fs, FsFile as _, write_all};
use crate::audit::handle::AppendError;

/// The segment that is being written.
pub(crate) struct Current<F: Fs> {
    pub(crate) file: Arc<F::File>,
    pub(crate) header: Header,
    pub(crate) name: SegmentName,
    /// Its bytes, header and whole frames.
    pub(crate) length: u64,
}

impl<F: Fs> Engine<F> {
    /// Whether a record of `length` bytes must begin a new segment.
    pub(super) fn needs_roll(&self, retention: Option<Retention>, length: u64, now_us: i64) -> bool {
        let Some(current) = &self.current else { return true };
        let kept = current.header.retention;
        if retention.is_some_and(|wanted| wanted != kept) {
            return true;
        }
        let staged = self.buffer.len() as u64;
        let grown = current.length + staged + length > self.settings.segment_bytes;
        let age = i64::try_from(self.settings.segment_age.as_micros()).unwrap_or(i64::MAX);
        let old = now_us.saturating_sub(current.header.created_us) >= age;
        // A segment that holds nothing but its first record is not ended for that: it would never end.
        let records = self.chain.next_sequence.saturating_sub(current.header.first_sequence);
        (grown || old) && records > if current.header.first_sequence == 0 { 2 } else { 1 }
    }

    /// Ends the current segment and begins the next. Nothing may be staged.
    pub(super) fn roll(&mut self, retention: Option<Retention>, now_us: i64) -> Result<(), AppendError> {
        self.space.check(Class::Own, HEADER_LEN as u64, 0)?;
        let header = Header {
            instance: self.identity.instance,
            epoch: self.written.epoch,
            ordinal: self.ordinal,
            segment: self.next_segment,
            first_sequence: self.written.next_sequence,
            previous: self.written.previous,
            created_us: now_us.max(self.written.last_time),
            retention: retention
                .or(self.current.as_ref().map(|current| current.header.retention))
                .unwrap_or(self.settings.default_retention),
        };
        let name = SegmentName::new(self.next_segment);
        let file_name = name.to_string();
        let file = match self.fs.create(&file_name, false) {
            Ok(file) => file,
            Err(error) => {
                if error.kind() == io::ErrorKind::AlreadyExists {
                    self.next_segment += 1;
                }
                return Err(self.write_error(error));
            }
        };
        // A number is used once, even where the header can't be written.
        self.next_segment += 1;
        let (done, written) = write_all(&file, &header.encode());
        if let Err(error) = written {
            if self.fs.remove(&file_name).is_ok() {
                self.next_segment -= 1;
            } else {
                self.space.used += done as u64;
            }
            return Err(self.write_error(error));
        }
        self.end_segment();
        self.space.used += HEADER_LEN as u64;
        let file = Arc::new(file);
        self.sync.began(file.clone());
        self.current = Some(Current { file, header, name, length: HEADER_LEN as u64 });
        if self.written.next_sequence > 0 {
            self.stage_checkpoint(CheckpointReason::Roll, now_us);
            self.flush(&mut Results::new());
        }
        Ok(())
    }

    /// Lets go of the current segment: it is complete, or its file can't be written any more.
    pub(super) fn end_segment(&mut self) {
        if let Some(current) = self.current.take() {
            let Current { file, header, name, length } = current;
            self.sync.left(file);
            self.closed.push(Closed { name, header: Some(header), bytes: length });
        }
    }

    /// Lets go of a segment that the disk takes nothing more of. One without a record is removed, so that a broken
    /// disk does not gather empty files.
    pub(super) fn abandon_segment(&mut self) {
        if let Some(current) = &self.current
            && current.length == HEADER_LEN as u64
            && self.fs.remove(&current.name.to_string()).is_ok()
        {
            self.space.used = self.space.used.saturating_sub(current.length);
            self.current = None;
        }
        self.end_segment();
    }

    /// Takes the first `bytes` of a frame, which the disk took no further, off the end of the file.
    pub(super) fn cut_partial(&mut self, bytes: u64) {
        let Some(current) = &self.current else { return };
        if current.file.set_len(current.length).is_ok() {
            self.space.used = self.space.used.saturating_sub(bytes);
        } else {
            // The torn bytes stay; the chain goes on in a new segment, where readers follow it.
            self.end_segment();
        }
    }
}
