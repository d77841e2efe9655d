//! Counters of the audit log, for the data plane to export.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use kt_audit::record::DropReason;

/// Plain counters and gauges; each is read on its own, none is consistent with another.
#[derive(Debug, Default)]
pub struct AuditMetrics {
    /// Records that callers handed over, those that failed later included.
    pub admitted: AtomicU64,
    /// Records that write(2) has taken, the log's own included.
    pub written: AtomicU64,
    /// Records that an fsync covers.
    pub synced: AtomicU64,
    /// Appends that failed with an error to their caller.
    pub refused: AtomicU64,
    /// Bytes that all files of the directory have together.
    pub bytes: AtomicU64,
    /// The byte cap.
    pub max_bytes: AtomicU64,
    /// Requests that have an `opened` and no `closed` record yet.
    pub open_requests: AtomicU64,
    /// Writes that failed.
    pub write_errors: AtomicU64,
    /// Runs of fdatasync, and those that failed.
    pub syncs: AtomicU64,
    /// Runs of fdatasync that failed.
    pub sync_errors: AtomicU64,
    /// Segments that retention cut.
    pub segments_cut: AtomicU64,
    /// Places that the start found damaged.
    pub damage: AtomicU64,
    /// Requests of earlier runs that the start closed as interrupted.
    pub interrupted: AtomicU64,
    /// Persons whose key was destroyed.
    pub erasures: AtomicU64,
    /// Times that the wall clock stood behind the last record.
    pub clock_back: AtomicU64,
    /// When the oldest record without an fsync was written, microseconds since 1970 UTC; 0: there is none.
    oldest_unsynced_us: AtomicI64,
    dropped: [AtomicU64; DROP_REASONS.len()],
}

/// Every reason for a drop, in the order of the counters.
pub(crate) const DROP_REASONS: [DropReason; 5] = [
    DropReason::QueueFull,
    DropReason::NoSpace,
    DropReason::Io,
    DropReason::TooLarge,
    DropReason::ShuttingDown,
];

impl AuditMetrics {
    /// Records that were dropped, by reason; each is also told in the chain.
    pub fn dropped(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DROP_REASONS.into_iter().zip(self.dropped.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// The age of the oldest record that no fsync covers yet, in microseconds; 0 when there is none.
    pub fn oldest_unsynced_age_us(&self, now_us: i64) -> u64 {
        match self.oldest_unsynced_us.load(Ordering::Relaxed) {
            0 => 0,
            since => u64::try_from(now_us.saturating_sub(since)).unwrap_or(0),
        }
    }

    pub(crate) fn set_oldest_unsynced(&self, since_us: Option<i64>) {
        self.oldest_unsynced_us.store(since_us.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn count_dropped(&self, reason: DropReason, count: u64) {
        for (each, counter) in DROP_REASONS.iter().zip(&self.dropped) {
            if *each == reason {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

pub(crate) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Ordering::Relaxed);
}
