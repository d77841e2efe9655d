//! Forgetting a person: the keys of their sealed names are destroyed, the chain stays and says so.

use kt_audit::Pseudonym;
use kt_audit::record::{Body, Erasure};
use kt_audit::value::Label;

use super::Engine;
use crate::audit::fs::{Fs, FsFile as _};
use crate::audit::handle::{AppendError, Entry};
use crate::audit::metrics::add;

impl<F: Fs> Engine<F> {
    /// Destroys the keys of `subject`, records it, and remembers it. Returns how many sealed names can't be opened any
    /// more; `0` also where the person was erased before.
    ///
    /// In this order: a crash in between leaves an erasure that is asked for again, never one that is not recorded.
    pub(crate) fn erase(
        &mut self,
        subject: Pseudonym,
        reference: Option<Label>,
        now_us: i64,
    ) -> Result<u64, AppendError> {
        if self.subjects.is_erased(subject) {
            return Ok(0);
        }
        let sealed = self.subjects.destroy(&self.fs, &[subject]).map_err(|error| self.write_error(error))?;
        let record = Erasure { subject, by: None, reference, sealed };
        let entry = Entry::new(Body::Erasure(Box::new(record)), None)?;
        self.append(&[&entry], now_us).pop().unwrap_or(Err(AppendError::Full))?;
        // What is remembered is not done again, so its record must outlive a power cut.
        let synced = self.current.as_ref().map_or(Ok(()), |current| current.file.sync());
        synced.and_then(|()| self.fs.sync_dir()).map_err(|error| self.write_error(error))?;
        let remembered = self.subjects.remember_erased(&self.fs, subject);
        self.space.used += remembered.map_err(|error| self.write_error(error))?;
        add(&self.metrics.erasures, 1);
        Ok(sealed)
    }
}
