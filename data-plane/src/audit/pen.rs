//! The one pen of the chain: whoever holds it writes.
//!
//! A hand-over to the writer's thread and back costs two wake-ups, many times the write itself, and a request makes
//! it twice. So an append that finds nobody before it writes where it stands, and everything else goes to the thread:
//! what finds the pen in another hand, what asks for more than one quick write (a new segment, a new name), `sync`
//! and `best_effort`, and all that comes while anything of `best_effort` is queued, so that no end of a request
//! overtakes its beginning.
//!
//! Why this lock is no trap: it is never waited for on a worker (`try_lock`, a few times) and never held across an await. A disk
//! that stops answering holds up the one worker that was writing; the others find the pen taken, queue, and get their
//! answer in time. A disk that is only slow is left to the thread for a while.

#![expect(
    clippy::disallowed_types,
    reason = "how long a write really took is asked of the clock that no test pauses"
)]

use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::fs::Fs;
use super::handle::Entry;

/// A write that takes longer was not just a copy into the page cache.
const QUICK: Duration = Duration::from_millis(2);

/// How long only the thread writes after one that was not quick, as a multiple of what it took: however slow the disk
/// is, workers wait for it in a small part of their time only.
const REST: u32 = 8;

/// How often a pen in another hand is looked at again. A write takes a few microseconds, the way over the thread many
/// times that.
const LOOKS: u32 = 4;

/// How long between two looks, in turns of the processor's pause.
const PAUSES: u32 = 32;

/// The engine, in the hands of one writer at a time.
pub(crate) struct Pen<F: Fs>(Mutex<Held<F>>);

/// What the holder of the pen has.
pub(crate) struct Held<F: Fs> {
    pub(crate) engine: Engine<F>,
    /// The log has been closed: nothing is written any more.
    pub(crate) is_closed: bool,
    rests_until: Option<Instant>,
}

/// What came of trying to write at once.
#[derive(Debug)]
pub(crate) enum Tried {
    /// Written, as this sequence. `is_first`: nothing else waits for an fsync, so the thread has to be told.
    Written { sequence: u64, is_first: bool },
    /// It is for the thread; nothing was written.
    Declined,
    /// The log has been closed.
    Closed,
}

/// A holder of the pen died.
struct Died;

impl<F: Fs> Pen<F> {
    pub(crate) fn new(engine: Engine<F>) -> Self {
        Self(Mutex::new(Held { engine, is_closed: false, rests_until: None }))
    }

    /// Takes the pen, waiting for it: for the writer's thread alone. `None`: a holder died, and what it left of the
    /// chain is not to be built upon.
    pub(crate) fn take(&self) -> Option<MutexGuard<'_, Held<F>>> {
        self.0.lock().ok()
    }

    /// The pen, when it is free now or in a moment.
    fn look(&self) -> Result<Option<MutexGuard<'_, Held<F>>>, Died> {
        for _ in 0..LOOKS {
            match self.0.try_lock() {
                Ok(held) => return Ok(Some(held)),
                Err(TryLockError::Poisoned(_)) => return Err(Died),
                Err(TryLockError::WouldBlock) => {}
            }
            for _ in 0..PAUSES {
                std::hint::spin_loop();
            }
        }
        Ok(None)
    }

    /// Writes `entry` if that can be done at once. `now_us`: the wall clock, microseconds since 1970 UTC.
    pub(crate) fn try_append(&self, entry: &Entry, now_us: i64) -> Tried {
        let Ok(held) = self.look() else { return Tried::Closed };
        let Some(mut held) = held else { return Tried::Declined };
        if held.is_closed {
            return Tried::Closed;
        }
        let started = Instant::now();
        if held.rests_until.is_some_and(|until| started < until) || !held.engine.is_one_write(entry, now_us) {
            return Tried::Declined;
        }
        let was_synced = held.engine.unsynced_since().is_none();
        let result = held.engine.append(&[entry], now_us).pop();
        let ended = Instant::now();
        let took = ended - started;
        held.rests_until = (took > QUICK).then(|| ended + took * REST);
        match result {
            Some(Ok(sequence)) => Tried::Written { sequence, is_first: was_synced },
            // It has left no record; the thread tries again for as long as the caller waits.
            _ => Tried::Declined,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kt_audit::chain::Epoch;
    use tempfile::TempDir;

    use super::*;
    use crate::audit::fs::RealFs;
    use crate::audit::metrics::AuditMetrics;
    use crate::audit::settings::Settings;
    use crate::audit::tests::support::{closed, opened, records};

    const NOW_US: i64 = 1_800_000_000_000_000;

    fn pen() -> (TempDir, Pen<RealFs>) {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::new(AuditMetrics::default());
        let engine =
            Engine::open(RealFs::new(dir.path()), Settings::default(), Epoch([7; 16]), NOW_US, metrics);
        (dir, Pen::new(engine.unwrap()))
    }

    fn entry(id: u128) -> Entry {
        Entry::new(opened(id), None).unwrap()
    }

    #[test]
    fn what_is_written_is_in_the_file_and_only_the_first_asks_for_an_fsync() {
        let (dir, pen) = pen();
        pen.take().unwrap().engine.sync_job(NOW_US, false);
        assert!(matches!(pen.try_append(&entry(1), NOW_US), Tried::Written { is_first: true, .. }));
        assert!(matches!(pen.try_append(&entry(2), NOW_US), Tried::Written { is_first: false, .. }));
        assert_eq!(records(dir.path()).len(), 4, "two of the start, two of ours");
    }

    #[test]
    fn a_pen_in_another_hand_is_not_waited_for() {
        let (dir, pen) = pen();
        let held = pen.take().unwrap();
        assert!(matches!(pen.try_append(&entry(1), NOW_US), Tried::Declined));
        drop(held);
        assert_eq!(records(dir.path()).len(), 2);
        assert!(matches!(pen.try_append(&entry(1), NOW_US), Tried::Written { .. }));
    }

    #[test]
    fn what_takes_more_than_one_write_is_left_to_the_thread() {
        let (_dir, pen) = pen();
        let ada = pen.take().unwrap().engine.identity().pseudonyms.subject("ada");
        let named = Entry::new(closed(1), Some(ada)).unwrap();
        assert!(matches!(pen.try_append(&named, NOW_US), Tried::Declined), "her name is to be sealed first");
        pen.take().unwrap().engine.append(&[&named], NOW_US).pop().unwrap().unwrap();
        assert!(matches!(pen.try_append(&named, NOW_US), Tried::Written { .. }));
        let later = NOW_US + i64::try_from(Settings::default().segment_age.as_micros()).unwrap();
        assert!(matches!(pen.try_append(&entry(2), later), Tried::Declined), "a segment is to be begun");
    }

    #[test]
    fn a_slow_disk_is_left_to_the_thread_for_a_while() {
        let (_dir, pen) = pen();
        pen.take().unwrap().rests_until = Some(Instant::now() + Duration::from_hours(1));
        assert!(matches!(pen.try_append(&entry(1), NOW_US), Tried::Declined));
        pen.take().unwrap().rests_until = Some(Instant::now());
        assert!(matches!(pen.try_append(&entry(1), NOW_US), Tried::Written { .. }));
    }

    #[test]
    fn nothing_is_written_behind_the_end_or_behind_a_dead_holder() {
        let (dir, pen) = pen();
        pen.take().unwrap().is_closed = true;
        assert!(matches!(pen.try_append(&entry(1), NOW_US), Tried::Closed));
        pen.take().unwrap().is_closed = false;
        let died = std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _held = pen.take().unwrap();
                panic!("dies with the pen in its hand");
            });
            holder.join().is_err()
        });
        assert!(died && pen.take().is_none());
        assert!(matches!(pen.try_append(&entry(1), NOW_US), Tried::Closed));
        assert_eq!(records(dir.path()).len(), 2);
    }
}
