//! Room: the byte cap, what is held back, and for whom.

use std::io;

use kt_audit::dir::layout;
use kt_audit::record::Kind;

use crate::audit::fs::{Fs, FsFile as _};
use crate::audit::handle::AppendError;
use crate::audit::settings::Settings;

/// What an admitted request is reckoned to need for its `closed` record.
const CLOSE_BYTES: u64 = 4 << 10;

/// Who may use how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A request that is about to be admitted, and everything else that can be refused or put off.
    Admission,
    /// A block or a refusal: it may use the reserve, but not what is held for admitted requests.
    Refusal,
    /// The end of an admitted request: room is held for it.
    Completion,
    /// The log's own records.
    Own,
}

impl Class {
    pub(crate) fn of(kind: Kind, was_opened: bool) -> Self {
        match kind {
            Kind::Closed if was_opened => Self::Completion,
            Kind::Closed | Kind::Config | Kind::Erasure => Self::Refusal,
            Kind::Opened => Self::Admission,
            Kind::Epoch | Kind::Dropped | Kind::Checkpoint | Kind::Tombstone => Self::Own,
        }
    }
}

/// Bytes of the directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    pub(crate) used: u64,
    max: u64,
    reserve: u64,
    own: u64,
}

impl Space {
    pub(crate) fn new(settings: &Settings, used: u64) -> Self {
        Self { used, max: settings.max_bytes, reserve: settings.reserve_bytes, own: settings.own_reserve() }
    }

    /// Whether `bytes` more may be written by `class` while `open` requests wait for their end.
    pub(crate) fn check(&self, class: Class, bytes: u64, open: usize) -> Result<(), AppendError> {
        let held = (open as u64).saturating_mul(CLOSE_BYTES);
        let kept = match class {
            Class::Admission => held.saturating_add(CLOSE_BYTES).saturating_add(self.reserve + self.own),
            Class::Refusal => held.saturating_add(self.own),
            Class::Completion => self.own,
            Class::Own => 0,
        };
        let after = self.used.saturating_add(bytes).saturating_add(kept);
        if after > self.max { Err(AppendError::Full) } else { Ok(()) }
    }
}

/// The most bytes held back on the disk itself.
const HOLD: u64 = 16 << 20;

/// How much of them is let go at a time.
const STEP: u64 = 256 << 10;

/// A file that takes room on the disk, to be given up when other programs have filled it: the byte cap alone can't
/// keep a reserve there.
pub(crate) struct Held {
    target: u64,
    now: u64,
}

impl Held {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { target: settings.reserve_bytes.min(HOLD), now: 0 }
    }

    /// Takes the room that is not held yet; where there is none, later.
    pub(crate) fn fill<F: Fs>(&mut self, fs: &F) {
        if self.now >= self.target {
            return;
        }
        let file = match fs.open(layout::RESERVE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs.create(layout::RESERVE, true),
            other => other,
        };
        if file.and_then(|file| file.allocate(self.target)).is_ok() {
            self.now = self.target;
        }
    }

    /// Gives up a part. False: there is nothing left to give.
    pub(crate) fn give<F: Fs>(&mut self, fs: &F) -> bool {
        if self.now == 0 {
            return false;
        }
        let rest = self.now.saturating_sub(STEP);
        let given = fs.open(layout::RESERVE).and_then(|file| file.set_len(rest)).is_ok();
        self.now = rest;
        given
    }
}
