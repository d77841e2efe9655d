//! What an fsync must cover, and what it has covered.

use std::io;
use std::sync::Arc;

use kt_audit::dir::layout;
use kt_audit::sign::Head;

use super::Engine;
use crate::audit::fs::{Fs, FsFile as _, replace};
use crate::audit::metrics::add;

/// Work for the thread that syncs.
pub(crate) struct SyncJob<F: Fs> {
    fs: Arc<F>,
    files: Vec<Arc<F::File>>,
    dir: bool,
    head: Option<Head>,
    /// Every record up to this sequence is covered; none: this run has none.
    upto: Option<u64>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct SyncDone {
    pub(crate) upto: Option<u64>,
    pub(crate) result: io::Result<()>,
}

impl<F: Fs> SyncJob<F> {
    /// Runs fdatasync on each file, then on the directory, and replaces the head only then: it never names a
    /// record that a power cut could take.
    pub(crate) fn run(self) -> SyncDone {
        let mut result = self.files.iter().try_for_each(|file| file.sync());
        if result.is_ok() && self.dir {
            result = self.fs.sync_dir();
        }
        if let (Ok(()), Some(head)) = (&result, &self.head) {
            // A head that can't be written is an older head: it names less, and nothing wrong.
            let _ = replace(&*self.fs, layout::HEAD, &serde_json::to_vec(head).unwrap_or_default(), false);
        }
        SyncDone { upto: self.upto, result }
    }
}

/// What is written and not synced.
pub(super) struct State<F: Fs> {
    files: Vec<Arc<F::File>>,
    dir: bool,
    subjects: bool,
    /// When the first record without an fsync was written.
    since_us: Option<i64>,
    /// Records written since the last job was taken.
    pending: u64,
    running: Option<Running<F>>,
    head_us: Option<i64>,
}

/// The job that is running.
struct Running<F: Fs> {
    files: Vec<Arc<F::File>>,
    records: u64,
    since_us: Option<i64>,
}

impl<F: Fs> State<F> {
    /// `files` are those that the run before may have left without an fsync.
    pub(super) fn new(files: Vec<Arc<F::File>>, now_us: i64) -> Self {
        Self {
            since_us: (!files.is_empty()).then_some(now_us),
            files,
            dir: true,
            subjects: false,
            pending: 0,
            running: None,
            head_us: None,
        }
    }

    pub(super) fn began(&mut self, file: Arc<F::File>) {
        self.files.push(file);
        self.dir = true;
    }

    /// A file that nothing more is written to, and whose last records may not be synced.
    pub(super) fn left(&mut self, file: Arc<F::File>) {
        if !self.files.iter().any(|other| Arc::ptr_eq(other, &file)) {
            self.files.push(file);
        }
    }

    pub(super) fn touch_subjects(&mut self) {
        self.subjects = true;
        self.dir = true;
    }

    pub(super) fn wrote(&mut self, time_us: i64) {
        self.since_us = self.since_us.or(Some(time_us));
        self.pending += 1;
    }

    pub(super) fn oldest_unsynced(&self) -> Option<i64> {
        self.running.as_ref().and_then(|running| running.since_us).or(self.since_us)
    }
}

impl<F: Fs> Engine<F> {
    /// Since when records wait for an fsync that is not running yet.
    pub(crate) fn unsynced_since(&self) -> Option<i64> {
        self.sync.since_us
    }

    /// What an fsync must cover now; none where there is nothing, or one is running.
    pub(crate) fn sync_job(&mut self, now_us: i64, with_head: bool) -> Option<SyncJob<F>> {
        if self.sync.running.is_some() || (self.sync.since_us.is_none() && !with_head) {
            return None;
        }
        // None while the disk takes not even the run's first record; the run before may still need an fsync.
        let last = self.written.last();
        let mut files = std::mem::take(&mut self.sync.files);
        if let Some(current) = &self.current
            && !files.iter().any(|file| Arc::ptr_eq(file, &current.file))
        {
            files.push(current.file.clone());
        }
        if std::mem::take(&mut self.sync.subjects) {
            // Names before the records that point to them.
            files.splice(0..0, self.subjects.files());
        }
        let interval = i64::try_from(self.settings.checkpoint_interval.as_micros()).unwrap_or(i64::MAX);
        let head_due =
            self.sync.head_us.is_none_or(|at| now_us.saturating_sub(at) >= interval || now_us < at);
        let head = last.filter(|_| with_head || head_due).map(|last| {
            self.sync.head_us = Some(now_us);
            let segment = self.next_segment.saturating_sub(1);
            Head::sign(&self.identity.signer, self.identity.instance, self.ordinal, last, segment, now_us)
        });
        self.sync.running = Some(Running {
            files: files.clone(),
            records: std::mem::take(&mut self.sync.pending),
            since_us: self.sync.since_us.take(),
        });
        let dir = std::mem::take(&mut self.sync.dir);
        Some(SyncJob { fs: self.fs.clone(), files, dir, head, upto: last.map(|last| last.sequence) })
    }

    /// Takes note of an fsync. After one that failed the segment is not written again: what the disk has of it is
    /// unknown, and asking again would give a false answer.
    pub(crate) fn sync_done(&mut self, done: &SyncDone) {
        let Some(running) = self.sync.running.take() else { return };
        add(&self.metrics.syncs, 1);
        if done.result.is_ok() {
            add(&self.metrics.synced, running.records);
        } else {
            add(&self.metrics.sync_errors, 1);
            self.forget_failed(&running.files);
        }
        self.metrics.set_oldest_unsynced(self.sync.oldest_unsynced());
    }

    fn forget_failed(&mut self, failed: &[Arc<F::File>]) {
        let has_failed = |file: &Arc<F::File>| failed.iter().any(|other| Arc::ptr_eq(other, file));
        if self.current.as_ref().is_some_and(|current| has_failed(&current.file)) {
            self.end_segment();
        }
        self.sync.files.retain(|file| !has_failed(file));
        self.sync.dir = true;
    }
}
