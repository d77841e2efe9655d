//! What the simulated gateways have done, counted in one place.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

use super::Standing;

#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) assignments: Tallies,
    pub(super) key_sets: Tallies,
    connected: AtomicUsize,
    welcomes: AtomicU64,
    busy: AtomicU64,
    breaks: AtomicU64,
    went_back: AtomicU64,
    moved: Notify,
}

/// How many have applied what, and when the first and the last did.
#[derive(Debug, Default)]
pub(super) struct Tallies(Mutex<BTreeMap<u64, Tally>>);

#[derive(Debug, Clone, Copy)]
struct Tally {
    count: usize,
    first: Instant,
    last: Instant,
}

// === impl Tallies ===

impl Tallies {
    fn inner(&self) -> MutexGuard<'_, BTreeMap<u64, Tally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, generation: u64, at: Instant) {
        let mut tallies = self.inner();
        let tally = tallies.entry(generation).or_insert(Tally { count: 0, first: at, last: at });
        tally.count += 1;
        tally.last = tally.last.max(at);
    }

    pub(super) fn count(&self, generation: u64) -> usize {
        self.inner().get(&generation).map_or(0, |tally| tally.count)
    }

    /// When the first and the last did.
    pub(super) fn span(&self, generation: u64) -> Option<(Instant, Instant)> {
        self.inner().get(&generation).map(|tally| (tally.first, tally.last))
    }
}

// === impl Board ===

impl Board {
    pub(super) fn welcomed(&self) {
        self.connected.fetch_add(1, Ordering::Relaxed);
        self.welcomes.fetch_add(1, Ordering::Relaxed);
        self.moved.notify_waiters();
    }

    pub(super) fn left(&self) {
        self.connected.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn broke(&self) {
        self.breaks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn busy(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn went_back(&self) {
        self.went_back.fetch_add(1, Ordering::Relaxed);
    }

    /// A gateway has taken the document of a generation for the first time.
    pub(super) fn applied(&self, tallies: &Tallies, generation: u64) {
        tallies.add(generation, Instant::now());
        self.moved.notify_waiters();
    }

    /// Resolves after the next change.
    pub(super) fn moved(&self) -> impl Future<Output = ()> + '_ {
        let mut moved = Box::pin(self.moved.notified());
        moved.as_mut().enable();
        moved
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            connected: self.connected.load(Ordering::Relaxed),
            welcomes: self.welcomes.load(Ordering::Relaxed),
            busy: self.busy.load(Ordering::Relaxed),
            breaks: self.breaks.load(Ordering::Relaxed),
            went_back: self.went_back.load(Ordering::Relaxed),
        }
    }
}
