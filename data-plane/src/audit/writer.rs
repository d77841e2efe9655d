//! The two threads behind the queue: one writes, one syncs.
//!
//! The writer waits for a message, takes all that wait, appends them in one write, and answers. What requests write
//! past it (`pen`) it looks after too: fsync, checkpoints and retention are its own. It never runs an fsync itself, so a slow one delays `sync` appends and nobody else. An append that finds no room is kept aside
//! and tried again until its deadline.

#![expect(
    clippy::disallowed_types,
    reason = "these are plain threads off the runtime: there is no paused time to follow"
)]

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kt_audit::chain::Epoch;
use kt_audit::dir::layout;
use rustix::fs::FlockOperation;
use tokio::sync::{Semaphore, oneshot, watch};

use super::engine::{Engine, SyncDone, SyncJob};
use super::fs::{Fs, RealFs};
use super::handle::{Append, AppendError, AuditHandle, Entry, Erase, Message, Receipt, Shared};
use super::metrics::AuditMetrics;
use super::pen::Pen;
use super::settings::{Durability, Settings};
use super::state::OpenError;

/// How many appends go into one write at most, and how many bytes.
const BATCH_RECORDS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// How often things that are due by the clock are looked at.
const TICK: Duration = Duration::from_millis(500);

/// How soon an append without room is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// How far ahead of a steady clock the wall clock is believed when it comes to cutting old segments.
const CLOCK_TRUST_US: i64 = 86_400_000_000;

/// The log itself. Dropping it stops the writer in the background; [`AuditLog::close`] waits for it.
#[derive(Debug)]
pub struct AuditLog {
    sender: Sender<Message>,
    writer: Option<JoinHandle<()>>,
}

/// The log did not close in time; what it has acknowledged is safe all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("audit log did not close within its time")]
pub struct CloseError;

impl AuditLog {
    /// Writes what is queued, signs a last checkpoint, syncs, writes the head and lets go of the directory.
    ///
    /// # Errors
    /// When that takes longer than `limit`.
    pub async fn close(mut self, limit: Duration) -> Result<(), CloseError> {
        let (done, closed) = oneshot::channel();
        // A writer that is gone has closed already.
        if self.sender.send(Message::Stop(Some(done))).is_ok() {
            tokio::time::timeout(limit, closed).await.map_err(|_| CloseError)?.ok();
        }
        if let Some(writer) = self.writer.take()
            && writer.is_finished()
        {
            writer.join().ok();
        }
        Ok(())
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.sender.send(Message::Stop(None)).ok();
    }
}

pub(crate) fn start(dir: &Path, settings: &Settings) -> Result<(AuditHandle, AuditLog), OpenError> {
    settings.check()?;
    DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(OpenError::Dir)?;
    let lock = lock(dir)?;
    let mut epoch = [0; 16];
    getrandom::fill(&mut epoch).map_err(|_| kt_audit::sign::KeyError::NoRandomness)?;
    let metrics = Arc::new(AuditMetrics::default());
    let engine = Engine::open(RealFs::new(dir), settings.clone(), Epoch(epoch), wall_us(), metrics.clone())?;

    // Each message holds a permit of `room`, but for the syncer's and one `Wrote` between two runs of it: the
    // channel's length is bounded by that.
    let (sender, receiver) = mpsc::channel();
    let room = Arc::new(Semaphore::new(settings.queue_records));
    let (identity, epoch) = (engine.identity().clone(), engine.epoch());
    let pen = Arc::new(Pen::new(engine));
    let (synced_count, synced) = watch::channel(0);
    let handle = AuditHandle::new(Shared {
        pen: pen.clone(),
        sender: sender.clone(),
        room: room.clone(),
        unwaited: Arc::default(),
        metrics: metrics.clone(),
        identity,
        epoch,
        settings: settings.clone(),
        synced,
    });

    let (jobs, work) = mpsc::sync_channel::<SyncJob<RealFs>>(1);
    let reports = sender.clone();
    let spawned = std::thread::Builder::new().name("audit-sync".to_owned()).spawn(move || {
        while let Ok(job) = work.recv() {
            if reports.send(Message::Synced(job.run())).is_err() {
                return;
            }
        }
    });
    spawned.map_err(OpenError::Threads)?;

    let writer = Writer {
        pen,
        receiver,
        jobs,
        room,
        metrics,
        fsync_interval: settings.fsync_interval,
        parked: VecDeque::new(),
        waiting: VecDeque::new(),
        unsynced_at: None,
        syncing: false,
        synced_count,
        next_tick: Instant::now() + TICK,
        started: (Instant::now(), wall_us()),
    };
    let thread = std::thread::Builder::new().name("audit-write".to_owned()).spawn(move || {
        let told = writer.run();
        // Whoever waits for the end may open the directory again at once.
        drop(lock);
        if let Some(told) = told {
            told.send(()).ok();
        }
    });
    let writer = Some(thread.map_err(OpenError::Threads)?);
    Ok((handle, AuditLog { sender, writer }))
}

/// Takes the directory for this process; the lock goes with the file.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(layout::LOCK);
    let opened =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(&path);
    let mut file = opened.map_err(OpenError::io(layout::LOCK))?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        (&file).take(32).read_to_string(&mut holder).ok();
        let pid = holder.trim();
        let holder = match pid.parse::<u32>() {
            Ok(pid) => format!("pid {pid}"),
            Err(_) => "unknown".to_owned(),
        };
        return Err(OpenError::InUse { holder });
    }
    // Who holds it is only a hint for the message above.
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).ok();
    Ok(file)
}

fn wall_us() -> i64 {
    Timestamp::now().as_microsecond()
}

struct Writer<F: Fs> {
    pen: Arc<Pen<F>>,
    receiver: Receiver<Message>,
    jobs: SyncSender<SyncJob<F>>,
    room: Arc<Semaphore>,
    metrics: Arc<AuditMetrics>,
    fsync_interval: Duration,
    /// Appends that found no room, oldest first.
    parked: VecDeque<(Append, AppendError)>,
    /// `sync` appends that are written and wait for an fsync, by sequence.
    waiting: VecDeque<(u64, Append)>,
    /// When the oldest record without an fsync was written.
    unsynced_at: Option<Instant>,
    syncing: bool,
    /// Told how many records of this run an fsync covers.
    synced_count: watch::Sender<u64>,
    next_tick: Instant,
    started: (Instant, i64),
}

/// What the messages asked for.
enum Then {
    GoOn,
    /// To stop, and whom to tell.
    Stop(Option<oneshot::Sender<()>>),
}

impl<F: Fs> Writer<F> {
    /// Runs until it is told to stop; the answer goes to whom it returns, once the directory is free.
    fn run(mut self) -> Option<oneshot::Sender<()>> {
        let mut batch = Vec::new();
        loop {
            // Nothing more is done where a holder of the pen died; the channels close, and callers are told so.
            if let Then::Stop(done) = self.step(&mut batch)? {
                self.stop()?;
                return done;
            }
        }
    }

    fn step(&mut self, batch: &mut Vec<Append>) -> Option<Then> {
        self.note_unsynced()?;
        let then = self.receive(batch)?;
        self.append(batch)?;
        if self.next_tick <= Instant::now() {
            self.next_tick = Instant::now() + TICK;
            self.pen.take()?.engine.maintain(wall_us(), self.retention_now());
            self.note_unsynced()?;
        }
        self.start_sync()?;
        Some(then)
    }

    /// Waits for messages and takes all that are there.
    fn receive(&mut self, batch: &mut Vec<Append>) -> Option<Then> {
        let mut bytes = 0;
        let mut message = match self.receiver.recv_timeout(self.patience()) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => return Some(Then::GoOn),
            Err(RecvTimeoutError::Disconnected) => return Some(Then::Stop(None)),
        };
        loop {
            match message {
                Message::Append(append) => {
                    bytes += append.entry.payload.len();
                    batch.push(append);
                }
                Message::Wrote => self.note_unsynced()?,
                Message::Synced(done) => self.synced(&done)?,
                Message::Erase(erase) => self.erase(erase)?,
                Message::Stop(done) => return Some(Then::Stop(done)),
            }
            if batch.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                return Some(Then::GoOn);
            }
            match self.receiver.try_recv() {
                Ok(next) => message = next,
                Err(_) => return Some(Then::GoOn),
            }
        }
    }

    /// How long nothing needs to be done without a message.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let mut until = self.next_tick;
        if let (Some(at), false) = (self.unsynced_at, self.syncing) {
            until = until.min(at + self.fsync_interval);
        }
        if !self.parked.is_empty() {
            until = until.min(now + RETRY);
        }
        until.saturating_duration_since(now)
    }

    fn append(&mut self, batch: &mut Vec<Append>) -> Option<()> {
        if batch.is_empty() && self.parked.is_empty() {
            return Some(());
        }
        let parked = std::mem::take(&mut self.parked);
        let appends: Vec<Append> =
            parked.into_iter().map(|(append, _)| append).chain(batch.drain(..)).collect();
        let entries: Vec<&Entry> = appends.iter().map(|append| &append.entry).collect();
        let mut results = self.pen.take()?.engine.append(&entries, wall_us());
        for (append, result) in appends.iter().zip(&mut results) {
            while matches!(result, Err(AppendError::Full)) {
                let engine = &mut self.pen.take()?.engine;
                if !engine.give_room(&append.entry) {
                    break;
                }
                *result = engine.append(&[&append.entry], wall_us()).pop().unwrap_or(Err(AppendError::Full));
            }
        }
        for (append, result) in appends.into_iter().zip(results) {
            self.answer(append, result)?;
        }
        self.note_unsynced()
    }

    fn answer(&mut self, mut append: Append, result: Result<u64, AppendError>) -> Option<()> {
        match result {
            Ok(sequence) if append.durability == Durability::Sync => {
                self.waiting.push_back((sequence, append));
            }
            Ok(sequence) => reply(&mut append, Ok(Receipt::Written { sequence })),
            // One wait tells that the log is full; the requests behind it, and the same one's end, need none.
            Err(error) if error.is_transient() && self.pen.take()?.engine.may_wait() => {
                if Instant::now() < append.deadline.into_std() {
                    self.parked.push_back((append, error));
                } else {
                    self.pen.take()?.engine.gave_up();
                    self.fail(append, error);
                }
            }
            Err(error) => self.fail(append, error),
        }
        Some(())
    }

    fn fail(&self, mut append: Append, error: AppendError) {
        if append.reply.is_none() {
            self.metrics.count_dropped(error.drop_reason(), 1);
        }
        reply(&mut append, Err(error));
    }

    fn note_unsynced(&mut self) -> Option<()> {
        if self.pen.take()?.engine.unsynced_since().is_none() {
            self.unsynced_at = None;
        } else if self.unsynced_at.is_none() {
            self.unsynced_at = Some(Instant::now());
        }
        Some(())
    }

    /// Starts an fsync when somebody waits for one, or the interval is over. Never two at once: those that come
    /// while one runs share the next.
    fn start_sync(&mut self) -> Option<()> {
        if self.syncing {
            return Some(());
        }
        let overdue = self.unsynced_at.is_some_and(|at| at.elapsed() >= self.fsync_interval);
        if !overdue && self.waiting.is_empty() {
            return Some(());
        }
        let job = self.pen.take()?.engine.sync_job(wall_us(), false);
        if let Some(job) = job {
            self.syncing = self.jobs.send(job).is_ok();
        }
        self.note_unsynced()
    }

    fn synced(&mut self, done: &SyncDone) -> Option<()> {
        self.syncing = false;
        self.pen.take()?.engine.sync_done(done);
        if let (Ok(()), Some(upto)) = (&done.result, done.upto) {
            self.synced_count.send_replace(upto.saturating_add(1));
        }
        while self.waiting.front().is_some_and(|(sequence, _)| Some(*sequence) <= done.upto) {
            let (sequence, mut append) = self.waiting.pop_front()?;
            match &done.result {
                Ok(()) => reply(&mut append, Ok(Receipt::Synced { sequence })),
                Err(error) => self.fail(append, AppendError::Io(error.kind().into())),
            }
        }
        self.note_unsynced()
    }

    /// What waits in the queue before it is not overtaken by much: an erasure is no record of a request.
    fn erase(&mut self, erase: Erase) -> Option<()> {
        let result = self.pen.take()?.engine.erase(erase.subject, erase.reference, wall_us());
        // A caller that has gone away needs no answer.
        erase.reply.send(result).ok();
        self.note_unsynced()
    }

    fn retention_now(&self) -> i64 {
        let (started, started_us) = self.started;
        believed_now(wall_us(), started_us, started.elapsed())
    }

    fn stop(&mut self) -> Option<()> {
        self.room.close();
        let mut batch = Vec::new();
        while let Ok(message) = self.receiver.try_recv() {
            match message {
                Message::Append(append) => batch.push(append),
                Message::Synced(done) => self.synced(&done)?,
                // Whoever asked hears that the log is closed.
                Message::Wrote | Message::Stop(_) | Message::Erase(_) => {}
            }
        }
        self.append(&mut batch)?;
        for (append, error) in std::mem::take(&mut self.parked) {
            self.fail(append, error);
        }
        {
            // From here on nobody writes: the checkpoint is the last record.
            let mut held = self.pen.take()?;
            held.engine.stop(wall_us());
            held.is_closed = true;
        }
        while self.syncing {
            match self.receiver.recv() {
                Ok(Message::Synced(done)) => self.synced(&done)?,
                Ok(Message::Append(append)) => self.fail(append, AppendError::Closed),
                Ok(Message::Wrote | Message::Stop(_) | Message::Erase(_)) => {}
                Err(_) => break,
            }
        }
        let job = self.pen.take()?.engine.sync_job(wall_us(), true);
        if let Some(job) = job {
            self.synced(&job.run())?;
        }
        Some(())
    }
}

/// The time by which old segments are judged: the wall clock, unless it has leapt ahead of a steady one. Then nothing
/// is cut that would not have been due a day after the leap.
fn believed_now(wall_us: i64, started_us: i64, elapsed: Duration) -> i64 {
    let steady = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
    wall_us.min(started_us.saturating_add(steady).saturating_add(CLOCK_TRUST_US))
}

fn reply(append: &mut Append, result: Result<Receipt, AppendError>) {
    if let Some(reply) = append.reply.take() {
        // A caller that has gone away needs no answer.
        reply.send(result).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_leaps_ahead_is_believed_for_a_day_only() {
        let hour = Duration::from_hours(1);
        let hour_us = 3_600_000_000;
        let started = 1_800_000_000_000_000;
        assert_eq!(believed_now(started + hour_us, started, hour), started + hour_us);
        assert_eq!(believed_now(started - hour_us, started, hour), started - hour_us, "back is back");
        let ten_years = started + 10 * 365 * CLOCK_TRUST_US;
        assert_eq!(believed_now(ten_years, started, hour), started + hour_us + CLOCK_TRUST_US);
    }
}
