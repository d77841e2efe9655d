//! The changes of the recent past in memory, and the watchers that are told of new ones.
//!
//! For stores that live in this process. One owner records the commits; each watcher has a bounded queue. A watcher
//! whose queue is full is let go (its stream ends with [`WatchEnd::Lost`]), never skipped: it comes back with the last
//! revision it saw and is given the rest from here, or is told that it is forgotten.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::sync::{mpsc, watch};

use super::{Change, Revision, Watch, WatchEnd, WatchEvent};

/// Between two signs of life of a watch; well under [`super::PROGRESS_SECONDS`].
pub(super) const PROGRESS: Duration = Duration::from_secs(3);

/// How much of the past is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Commits.
    pub(super) commits: usize,
    /// Bytes of keys and values.
    pub(super) bytes: usize,
    /// Events that a watcher may be behind.
    pub(super) queue: usize,
}

/// The recent past and those who watch.
#[derive(Debug)]
pub(super) struct History {
    limits: Limits,
    /// Changes up to this revision are forgotten.
    floor: Revision,
    commits: VecDeque<Recorded>,
    bytes: usize,
    watchers: Vec<Watcher>,
    current: watch::Sender<Revision>,
}

#[derive(Debug)]
struct Recorded {
    revision: Revision,
    changes: Vec<Change>,
    bytes: usize,
}

#[derive(Debug)]
struct Watcher {
    prefix: String,
    events: mpsc::Sender<WatchEvent>,
    end: Arc<OnceLock<WatchEnd>>,
}

/// The receiving side of a watcher.
#[derive(Debug)]
pub(super) struct Watching {
    backlog: VecDeque<WatchEvent>,
    events: mpsc::Receiver<WatchEvent>,
    end: Arc<OnceLock<WatchEnd>>,
    current: watch::Receiver<Revision>,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self { commits: 10_000, bytes: 32 << 20, queue: 1_024 }
    }
}

// === impl History ===

impl History {
    /// A past that begins after `current`.
    pub(super) fn new(current: Revision, limits: Limits) -> Self {
        Self {
            limits,
            floor: current,
            commits: VecDeque::new(),
            bytes: 0,
            watchers: Vec::new(),
            current: watch::Sender::new(current),
        }
    }

    /// Keeps a commit and tells the watchers.
    pub(super) fn record(&mut self, revision: Revision, changes: Vec<Change>) {
        self.watchers.retain(|watcher| {
            let Some(event) = event_for(&watcher.prefix, revision, &changes) else {
                return !watcher.events.is_closed();
            };
            match watcher.events.try_send(event) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    // Dropping the sender ends the stream after what is queued.
                    let _ = watcher.end.set(WatchEnd::Lost("the watcher fell behind".to_owned()));
                    false
                }
            }
        });
        self.record_silently(revision, changes);
    }

    /// Keeps a commit and tells nobody: as a store that loses an event.
    pub(super) fn record_silently(&mut self, revision: Revision, changes: Vec<Change>) {
        let bytes = changes.iter().map(bytes).sum();
        self.bytes += bytes;
        self.commits.push_back(Recorded { revision, changes, bytes });
        while self.commits.len() > self.limits.commits || self.bytes > self.limits.bytes {
            let Some(oldest) = self.commits.pop_front() else { break };
            self.bytes -= oldest.bytes;
            self.floor = oldest.revision;
        }
        // After the watchers: who reads this revision and finds its queue empty has seen everything up to it.
        self.current.send_replace(revision);
    }

    /// Forgets the changes before `revision`.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn compact(&mut self, revision: Revision) {
        let below = revision.min(*self.current.borrow() + 1);
        while let Some(oldest) = self.commits.pop_front_if(|oldest| oldest.revision < below) {
            self.bytes -= oldest.bytes;
        }
        self.floor = self.floor.max(below.saturating_sub(1));
    }

    /// Ends every watch.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn end_watches(&mut self, end: &WatchEnd) {
        for watcher in self.watchers.drain(..) {
            let _ = watcher.end.set(end.clone());
        }
    }

    /// A watcher of what comes after `after`.
    pub(super) fn watch(&mut self, prefix: &str, after: Revision) -> Result<Watching, WatchEnd> {
        if after > *self.current.borrow() {
            return Err(WatchEnd::Restored);
        }
        if after < self.floor {
            return Err(WatchEnd::Compacted(self.floor + 1));
        }
        let (sender, events) = mpsc::channel(self.limits.queue);
        let end = Arc::new(OnceLock::new());
        let from = self.commits.partition_point(|commit| commit.revision <= after);
        let backlog = self
            .commits
            .range(from..)
            .filter_map(|commit| event_for(prefix, commit.revision, &commit.changes))
            .collect();
        self.watchers.push(Watcher { prefix: prefix.to_owned(), events: sender, end: Arc::clone(&end) });
        Ok(Watching { backlog, events, end, current: self.current.subscribe() })
    }
}

fn bytes(change: &Change) -> usize {
    match change {
        Change::Put(entry) => entry.key.len() + entry.value.len(),
        Change::Delete { key, .. } => key.len(),
    }
}

fn event_for(prefix: &str, revision: Revision, changes: &[Change]) -> Option<WatchEvent> {
    let changes: Vec<_> = changes.iter().filter(|change| change.key().starts_with(prefix)).cloned().collect();
    (!changes.is_empty()).then_some(WatchEvent::Changes { revision, changes })
}

// === impl Watching ===

impl Watching {
    /// As a stream.
    pub(super) fn into_stream(self) -> Watch {
        stream::unfold(Some(self), |watching| async {
            let mut watching = watching?;
            match watching.next().await {
                Ok(event) => Some((Ok(event), Some(watching))),
                Err(end) => Some((Err(end), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<WatchEvent, WatchEnd> {
        if let Some(event) = self.backlog.pop_front() {
            return Ok(event);
        }
        tokio::select! {
            biased;
            event = self.events.recv() => event.ok_or_else(|| self.ended()),
            () = tokio::time::sleep(PROGRESS) => {
                let revision = *self.current.borrow();
                match self.events.try_recv() {
                    Ok(event) => Ok(event),
                    Err(mpsc::error::TryRecvError::Empty) => Ok(WatchEvent::Progress { revision }),
                    Err(mpsc::error::TryRecvError::Disconnected) => Err(self.ended()),
                }
            }
        }
    }

    fn ended(&self) -> WatchEnd {
        self.end.get().cloned().unwrap_or_else(|| WatchEnd::Lost("the store was closed".to_owned()))
    }
}

/// A watch that ends at once.
pub(super) fn ended(end: WatchEnd) -> Watch {
    stream::once(async { Err(end) }).boxed()
}
