//! The state machine behind the writer: chain, segments, room, retention. No thread, no clock, no waiting: the
//! time is an argument and files are behind [`Fs`], so that a test can crash it between any two operations.

mod erase;
mod recover;
mod retention;
mod segments;
mod space;
mod start;
mod sync;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use kt_audit::chain::ChainState;
use kt_audit::record::{Body, Checkpoint, CheckpointReason, Dropped, Kind, OpenRequest, SignedRun};
use kt_audit::segment::{FRAME_LEN, encode_frame};
use kt_audit::sign::checkpoint_message;
use uuid::Uuid;

use self::recover::Closed;
use self::segments::Current;
use self::space::{Class, Held, Space};
use super::fs::{Fs, write_all};
use super::handle::{AppendError, Entry};
use super::metrics::{AuditMetrics, DROP_REASONS, add, set};
use super::settings::Settings;
use super::state::{Identity, Subjects};

pub(crate) use self::sync::{SyncDone, SyncJob};

/// The most open requests that a checkpoint lists.
const OPEN_LISTED: usize = 1_000;

pub(crate) struct Engine<F: Fs> {
    fs: Arc<F>,
    settings: Settings,
    identity: Identity,
    metrics: Arc<AuditMetrics>,
    ordinal: u64,
    /// The chain, frames that are staged and not written yet included.
    chain: ChainState,
    /// The chain as far as write(2) has taken it.
    written: ChainState,
    current: Option<Current<F>>,
    next_segment: u64,
    closed: Vec<Closed>,
    staged: Vec<Staged>,
    buffer: Vec<u8>,
    /// What must be written before anything else: the run's first records, until the disk takes them.
    start: start::Start,
    open: HashMap<Uuid, OpenRequest>,
    cuts: Vec<SignedRun>,
    space: Space,
    held: Held,
    subjects: Subjects<F>,
    sync: sync::State<F>,
    since_checkpoint: u64,
    checkpoint_us: i64,
    chained_drops: [u64; DROP_REASONS.len()],
    room: Room,
}

/// Whether it is worth waiting for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// As far as is known there is some, or there will be.
    Seen,
    /// Somebody has waited for it in vain, and no request has been admitted since.
    Gone,
}

/// A frame in the buffer.
struct Staged {
    /// Where it ends in the buffer.
    end: usize,
    /// The chain after it.
    after: ChainState,
    kind: Kind,
    id: Option<Uuid>,
    /// The position of its result among those of the batch; none for the log's own records.
    slot: Option<usize>,
    /// Which drops it tells of, and how many of them were told before it.
    drops: Option<(usize, u64)>,
}

/// The result of each entry of a batch: its sequence, or why it was not written.
pub(crate) type Results = Vec<Result<u64, AppendError>>;

impl<F: Fs> Engine<F> {
    /// Appends `entries` in order. Each result stands for itself: one that failed has left no record.
    pub(crate) fn append(&mut self, entries: &[&Entry], now_us: i64) -> Results {
        if now_us < self.written.last_time {
            add(&self.metrics.clock_back, 1);
        }
        let mut results: Results = Vec::with_capacity(entries.len());
        for entry in entries {
            let slot = results.len();
            // Replaced when its frame has been written.
            results.push(Err(AppendError::Full));
            if let Err(error) = self.stage_entry(entry, slot, now_us, &mut results)
                && let Some(result) = results.get_mut(slot)
            {
                *result = Err(error);
            }
        }
        if self.since_checkpoint.saturating_add(self.staged.len() as u64) >= self.settings.checkpoint_records
        {
            self.stage_checkpoint(CheckpointReason::Count, now_us);
        }
        self.flush(&mut results);
        self.export();
        results
    }

    fn stage_entry(
        &mut self,
        entry: &Entry,
        slot: usize,
        now_us: i64,
        results: &mut Results,
    ) -> Result<(), AppendError> {
        self.run_start(now_us)?;
        self.stage_drops(now_us);
        let class = Class::of(entry.kind, entry.id.is_some_and(|id| self.open.contains_key(&id)));
        let length = (FRAME_LEN + entry.payload.len()) as u64;
        if self.needs_roll(entry.retention, length, now_us) {
            self.flush(results);
            self.roll(entry.retention, now_us)?;
        }
        let rows = match &entry.subject {
            Some(subject) => {
                self.subjects.rows(subject).map_err(|_| AppendError::Io(io::ErrorKind::Other.into()))?
            }
            None => None,
        };
        let rows_length = rows.as_ref().map_or(0, |(name, key)| (name.len() + key.len()) as u64);
        let staged = self.buffer.len() as u64;
        self.space.check(class, staged + length + rows_length, self.open.len() + self.staged_opens())?;
        if let (Some(subject), Some(rows)) = (&entry.subject, &rows) {
            let written = self.subjects.write(&self.fs, subject, rows);
            self.space.used += rows_length;
            self.sync.touch_subjects();
            written.map_err(|error| self.write_error(error))?;
        }
        self.stage(entry.kind, entry.id, &entry.payload, Some(slot), now_us)
    }

    /// Whether appending `entry` is one write to the current segment: no other file is begun, ended or written.
    pub(crate) fn is_one_write(&self, entry: &Entry, now_us: i64) -> bool {
        let length = (FRAME_LEN + entry.payload.len()) as u64;
        matches!(self.start, start::Start::Done)
            && !self.needs_roll(entry.retention, length, now_us)
            && entry.subject.as_ref().is_none_or(|subject| self.subjects.is_sealed(subject))
    }

    fn staged_opens(&self) -> usize {
        self.staged.iter().filter(|staged| staged.kind == Kind::Opened).count()
    }

    /// Frames `payload` at the end of the buffer.
    fn stage(
        &mut self,
        kind: Kind,
        id: Option<Uuid>,
        payload: &[u8],
        slot: Option<usize>,
        now_us: i64,
    ) -> Result<(), AppendError> {
        let (after, time) = self.chain.after(now_us, payload);
        encode_frame(&mut self.buffer, self.chain.next_sequence, time, &self.chain.previous, payload)
            .map_err(|_| kt_audit::record::RecordError::TooLarge { length: payload.len() })?;
        self.chain = after;
        self.staged.push(Staged { end: self.buffer.len(), after, kind, id, slot, drops: None });
        Ok(())
    }

    /// Stages one of the log's own records, if there is room for it; none of them is needed for the chain to hold.
    fn stage_own(&mut self, body: Body, now_us: i64) -> bool {
        let Ok(entry) = Entry::new(body, None) else { return false };
        let length = (self.buffer.len() + FRAME_LEN + entry.payload.len()) as u64;
        self.current.is_some()
            && self.space.check(Class::Own, length, 0).is_ok()
            && self.stage(entry.kind, None, &entry.payload, None, now_us).is_ok()
    }

    /// Tells of what was dropped since this was told last.
    fn stage_drops(&mut self, now_us: i64) {
        let now: Vec<_> = self.metrics.dropped().collect();
        for (index, (reason, total)) in now.into_iter().enumerate() {
            let told = self.chained_drops.get(index).copied().unwrap_or(total);
            let count = total.saturating_sub(told);
            if count > 0 && self.current.is_none() && self.staged.is_empty() {
                // The disk has failed, and nothing was appended since: what was dropped is told all the same.
                let _ = self.roll(None, now_us);
            }
            if count > 0 && self.stage_own(Body::Dropped(Dropped { count, reason }), now_us) {
                self.set_told(index, total);
                if let Some(staged) = self.staged.last_mut() {
                    staged.drops = Some((index, told));
                }
            }
        }
    }

    fn set_told(&mut self, index: usize, count: u64) {
        if let Some(told) = self.chained_drops.get_mut(index) {
            *told = count;
        }
    }

    fn stage_checkpoint(&mut self, reason: CheckpointReason, now_us: i64) -> bool {
        let Some(covers) = self.chain.last() else { return false };
        let lists_state = match reason {
            CheckpointReason::Start => true,
            // Until a start is through, requests of the run before are open that this run does not list.
            CheckpointReason::Roll => matches!(self.start, start::Start::Done),
            CheckpointReason::Count | CheckpointReason::Interval | CheckpointReason::Shutdown => false,
        };
        let open = (lists_state && self.open.len() <= OPEN_LISTED).then(|| {
            let mut open: Vec<_> = self.open.values().copied().collect();
            open.sort_by_key(|request| request.id);
            open
        });
        let cuts = if open.is_some() { self.cuts.clone() } else { Vec::new() };
        let signer = &self.identity.signer;
        let signature = signer.sign(&checkpoint_message(self.identity.instance, &covers));
        let checkpoint = Checkpoint { covers, reason, open, cuts, key: signer.public().id(), signature };
        let staged = self.stage_own(Body::Checkpoint(Box::new(checkpoint)), now_us);
        if staged {
            self.since_checkpoint = 0;
            self.checkpoint_us = now_us;
        }
        staged
    }

    /// Writes what is staged in one go, and takes note of what the disk took.
    fn flush(&mut self, results: &mut Results) {
        if self.staged.is_empty() {
            return;
        }
        let (done, written) = match &self.current {
            Some(current) => write_all(&*current.file, &self.buffer),
            None => (0, Err(io::ErrorKind::NotFound.into())),
        };
        let whole =
            self.staged.iter().map(|staged| staged.end).take_while(|end| *end <= done).last().unwrap_or(0);
        self.space.used += done as u64;
        if let Some(current) = &mut self.current {
            current.length += whole as u64;
        }
        let mut failure = written.err().map(|error| self.write_error(error));
        if failure.is_some() {
            // Also where no byte was taken by its own account: what failed must leave no record.
            self.cut_partial((done - whole) as u64);
        }
        for staged in std::mem::take(&mut self.staged) {
            let sequence = staged.after.next_sequence.saturating_sub(1);
            let result = if staged.end <= whole {
                self.took(&staged, sequence);
                Ok(sequence)
            } else {
                if let Some((index, told)) = staged.drops {
                    // It is told again; counts only grow, so the first that failed has the least.
                    let now = self.chained_drops.get(index).copied().unwrap_or(told);
                    self.set_told(index, told.min(now));
                }
                Err(match &mut failure {
                    Some(AppendError::Io(error)) => AppendError::Io(error.kind().into()),
                    _ => AppendError::Full,
                })
            };
            if let Some(place) = staged.slot.and_then(|slot| results.get_mut(slot)) {
                *place = result;
            }
        }
        if matches!(failure, Some(AppendError::Io(_))) {
            // A file that failed once is not written again: what follows begins a new one.
            self.abandon_segment();
        }
        self.chain = self.written;
        self.buffer.clear();
    }

    fn took(&mut self, staged: &Staged, sequence: u64) {
        self.written = staged.after;
        if staged.kind != Kind::Checkpoint {
            self.since_checkpoint += 1;
        }
        add(&self.metrics.written, 1);
        self.sync.wrote(staged.after.last_time);
        let Some(id) = staged.id else { return };
        match staged.kind {
            Kind::Opened => {
                // Whatever else there may be needs no more room than the beginning of a request does.
                self.room = Room::Seen;
                let segment = self.current.as_ref().map_or(0, |current| current.header.segment);
                let place = OpenRequest { id, segment, epoch: self.chain.epoch, sequence };
                self.open.insert(id, place);
            }
            Kind::Closed => {
                self.open.remove(&id);
            }
            _ => {}
        }
    }

    fn write_error(&mut self, error: io::Error) -> AppendError {
        add(&self.metrics.write_errors, 1);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::Full,
            _ => AppendError::Io(error),
        }
    }

    /// What is due by the clock: the run's first records, drops to tell, a checkpoint, segments to cut.
    pub(crate) fn maintain(&mut self, now_us: i64, retention_now_us: i64) {
        let mut none = Results::new();
        if self.run_start(now_us).is_ok() {
            self.stage_drops(now_us);
            let interval = i64::try_from(self.settings.checkpoint_interval.as_micros()).unwrap_or(i64::MAX);
            let due = now_us.saturating_sub(self.checkpoint_us) >= interval || now_us < self.checkpoint_us;
            if due && self.since_checkpoint > 0 {
                self.stage_checkpoint(CheckpointReason::Interval, now_us);
            }
            self.flush(&mut none);
            // Here rather than at the next append, so that an idle gateway keeps no segment for longer than asked.
            if self.current.is_some() && self.needs_roll(None, 0, now_us) {
                let _ = self.roll(None, now_us);
            }
            self.cut_expired(now_us, retention_now_us);
        }
        self.held.fill(&*self.fs);
        self.export();
    }

    /// The last checkpoint of a clean stop.
    pub(crate) fn stop(&mut self, now_us: i64) {
        if self.run_start(now_us).is_ok() {
            self.stage_drops(now_us);
            self.stage_checkpoint(CheckpointReason::Shutdown, now_us);
            self.flush(&mut Results::new());
        }
        self.export();
    }

    /// Makes room on a full disk for `entry`, where it is one that the reserve is for. True: trying again may help.
    pub(crate) fn give_room(&mut self, entry: &Entry) -> bool {
        let was_opened = entry.id.is_some_and(|id| self.open.contains_key(&id));
        Class::of(entry.kind, was_opened) != Class::Admission && self.held.give(&*self.fs)
    }

    /// Somebody's wait for room is over. Until a request is admitted again, nobody else's needs to begin: each append
    /// is still tried, so that room is seen at once.
    pub(crate) fn gave_up(&mut self) {
        self.room = Room::Gone;
    }

    /// Whether an append that finds no room may wait for it.
    pub(crate) fn may_wait(&self) -> bool {
        self.room == Room::Seen
    }

    fn export(&self) {
        set(&self.metrics.bytes, self.space.used);
        set(&self.metrics.max_bytes, self.settings.max_bytes);
        set(&self.metrics.open_requests, self.open.len() as u64);
        self.metrics.set_oldest_unsynced(self.sync.oldest_unsynced());
    }

    pub(crate) fn epoch(&self) -> kt_audit::Epoch {
        self.written.epoch
    }
}

#[cfg(test)]
pub(crate) mod tests;
