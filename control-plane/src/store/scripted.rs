//! A store in memory that keeps the contract until it is told to break it.
//!
//! For tests of what stands above the trait. It uses tokio's time only, so that tests can pause it. Clones share one
//! store, as replicas share one cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::sync::watch;

use super::{
    Change, Commit, Committed, Entry, Precondition, Revision, Snapshot, Store, StoreError, Watch, WatchEnd,
    Write,
    history::{self, History, Limits},
};

/// How long a call to a store that hangs takes to fail.
pub const HANG_DEADLINE: Duration = Duration::from_secs(5);
/// How long a watch of a store that hangs takes to notice.
pub const SILENCE: Duration = Duration::from_secs(8);

/// What a commit is told to answer, instead of what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is done, and answered with [`StoreError::OutcomeUnknown`].
    UnknownButDone,
    /// It is not done, and answered with [`StoreError::OutcomeUnknown`].
    UnknownAndNotDone,
    /// It is done and acknowledged, but no watcher is ever told.
    DoneButNotWatched,
    /// It is not done, and answered with this.
    Refused(StoreError),
}

/// The store. See the module.
#[derive(Clone)]
pub struct Scripted {
    inner: Arc<Mutex<Inner>>,
    hanging: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner {
    values: BTreeMap<Arc<str>, Entry>,
    ephemeral: BTreeSet<Arc<str>>,
    revision: Revision,
    history: History,
    /// The whole state after each revision; [`Scripted::go_back`] returns to one.
    past: BTreeMap<Revision, BTreeMap<Arc<str>, Entry>>,
    cluster: u64,
    restores: u64,
    faults: Vec<Fault>,
    refusal: Option<StoreError>,
    counts: Counts,
}

/// How often the store was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`Store::load`].
    pub loads: u64,
    /// [`Store::get`].
    pub gets: u64,
    /// [`Store::commit`].
    pub commits: u64,
    /// [`Store::watch`].
    pub watches: u64,
}

// === impl Scripted ===

impl Default for Scripted {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripted").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

impl Scripted {
    /// An empty store at revision 1.
    pub fn new() -> Self {
        let inner = Inner {
            values: BTreeMap::new(),
            ephemeral: BTreeSet::new(),
            revision: 1,
            history: History::new(1, Limits::default()),
            past: BTreeMap::from([(1, BTreeMap::new())]),
            cluster: 1,
            restores: 0,
            faults: Vec::new(),
            refusal: None,
            counts: Counts::default(),
        };
        Self { inner: Arc::new(Mutex::new(inner)), hanging: watch::Sender::new(false) }
    }

    // Never held across an await; what a panicking test leaves behind is whole, since no step of it can panic.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the store stands.
    pub fn revision(&self) -> Revision {
        self.inner().revision
    }

    /// How often it was asked so far.
    pub fn counts(&self) -> Counts {
        self.inner().counts
    }

    /// Forgets the changes before `revision`: a watch from before it ends with [`WatchEnd::Compacted`].
    pub fn compact(&self, revision: Revision) {
        self.inner().history.compact(revision);
    }

    /// Stops answering: reads fail with [`StoreError::Unavailable`] and commits (not done) with
    /// [`StoreError::OutcomeUnknown`] after [`HANG_DEADLINE`], watches end with [`WatchEnd::Lost`] after [`SILENCE`].
    pub fn hang(&self) {
        self.hanging.send_replace(true);
    }

    /// Answers again; calls that were waiting go on.
    pub fn recover(&self) {
        self.hanging.send_replace(false);
    }

    /// Answers every read and commit with this error (nothing is written) and ends the watches, until
    /// [`Scripted::accept`].
    pub fn refuse(&self, error: StoreError) {
        let mut inner = self.inner();
        inner.history.end_watches(&WatchEnd::Lost(error.to_string()));
        inner.refusal = Some(error);
    }

    /// Ends [`Scripted::refuse`].
    pub fn accept(&self) {
        self.inner().refusal = None;
    }

    /// The next commit that is not refused for its size meets this fault; several are met in turn.
    pub fn fault_next(&self, fault: Fault) {
        self.inner().faults.push(fault);
    }

    /// Ends every watch that is open.
    pub fn end_watches(&self, end: &WatchEnd) {
        self.inner().history.end_watches(end);
    }

    /// Restores the state after an older revision: revisions go on from there, watches end with
    /// [`WatchEnd::Restored`], the epoch changes. With `new_cluster` the cluster is another one too. A revision that
    /// the store never had means the one before it.
    pub fn go_back(&self, to: Revision, new_cluster: bool) {
        let mut inner = self.inner();
        let (revision, values) = inner
            .past
            .range(..=to)
            .next_back()
            .map_or_else(|| (1, BTreeMap::new()), |(revision, values)| (*revision, values.clone()));
        inner.past.retain(|kept, _| *kept <= revision);
        inner.ephemeral = inner.ephemeral.iter().filter(|key| values.contains_key(*key)).cloned().collect();
        inner.values = values;
        inner.revision = revision;
        inner.restores += 1;
        if new_cluster {
            inner.cluster += 1;
        }
        inner.history.end_watches(&WatchEnd::Restored);
        inner.history = History::new(revision, Limits::default());
    }

    /// Restores the state after an older revision and writes until the store has come past where it was, before anybody
    /// asks: watches are only lost, and the epoch stays.
    pub fn go_back_unseen(&self, to: Revision, writes: Vec<Write>) {
        let mut inner = self.inner();
        let was = inner.revision;
        let values =
            inner.past.range(..=to).next_back().map(|(_, values)| values.clone()).unwrap_or_default();
        inner.history.end_watches(&WatchEnd::Lost("the connection was lost".to_owned()));
        inner.past.retain(|kept, _| *kept <= to);
        inner.values = values;
        inner.revision = to;
        inner.history = History::new(to, Limits::default());
        while inner.revision <= was {
            inner.write(writes.clone(), false);
        }
    }

    /// The ephemeral values go away, as when the processes that wrote them are dead.
    pub fn expire_ephemeral(&self) {
        let mut inner = self.inner();
        let writes = std::mem::take(&mut inner.ephemeral)
            .into_iter()
            .map(|key| Write::Delete(key.to_string()))
            .collect();
        inner.write(writes, false);
    }

    /// Waits while the store hangs; false when it hung for `limit`.
    async fn answers_within(&self, limit: Duration) -> bool {
        let mut hanging = self.hanging.subscribe();
        let answers = hanging.wait_for(|hanging| !hanging);
        tokio::time::timeout(limit, answers).await.is_ok_and(|answers| answers.is_ok())
    }

    fn watch_now(&self, prefix: &str, after: Revision) -> Watch {
        let mut inner = self.inner();
        let watching = match &inner.refusal {
            Some(refusal) => Err(WatchEnd::Lost(refusal.to_string())),
            None => inner.history.watch(prefix, after),
        };
        drop(inner);
        match watching {
            Ok(watching) => while_it_answers(self.clone(), watching.into_stream()),
            Err(end) => history::ended(end),
        }
    }

    async fn read<T>(&self, read: impl FnOnce(&mut Inner) -> T) -> Result<T, StoreError> {
        if !self.answers_within(HANG_DEADLINE).await {
            return Err(StoreError::Unavailable("it hangs".to_owned()));
        }
        let mut inner = self.inner();
        match &inner.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(read(&mut inner)),
        }
    }
}

impl Store for Scripted {
    fn load<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Snapshot, StoreError>> {
        self.inner().counts.loads += 1;
        self.read(move |inner| Snapshot {
            revision: inner.revision,
            entries: inner
                .values
                .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(_, entry)| entry.clone())
                .collect(),
        })
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        self.inner().counts.gets += 1;
        self.read(move |inner| inner.values.get(key).cloned()).boxed()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.inner().counts.commits += 1;
        async move {
            commit.check()?;
            if !self.answers_within(HANG_DEADLINE).await {
                return Err(StoreError::OutcomeUnknown("it hangs".to_owned()));
            }
            self.inner().commit(commit)
        }
        .boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        self.inner().counts.watches += 1;
        if !*self.hanging.borrow() {
            return self.watch_now(prefix, after);
        }
        let (store, prefix) = (self.clone(), prefix.to_owned());
        let events = async move {
            if store.answers_within(SILENCE).await {
                store.watch_now(&prefix, after)
            } else {
                history::ended(silent())
            }
        };
        stream::once(events).flatten().boxed()
    }

    fn epoch(&self) -> String {
        let inner = self.inner();
        format!("scripted-{}.{}", inner.cluster, inner.restores)
    }

    fn kind(&self) -> &'static str {
        "scripted"
    }
}

fn silent() -> WatchEnd {
    WatchEnd::Lost("nothing was heard in time".to_owned())
}

/// Holds the events back while the store hangs.
fn while_it_answers(store: Scripted, events: Watch) -> Watch {
    stream::unfold(Some((store, events)), |open| async {
        let (store, mut events) = open?;
        let mut hanging = store.hanging.subscribe();
        loop {
            if *hanging.borrow_and_update() {
                if !store.answers_within(SILENCE).await {
                    return Some((Err(silent()), None));
                }
                continue;
            }
            tokio::select! {
                biased;
                changed = hanging.changed() => if changed.is_err() { return None },
                event = events.next() => return event.map(|event| {
                    let open = event.is_ok().then_some((store, events));
                    (event, open)
                }),
            }
        }
    })
    .boxed()
}

// === impl Inner ===

impl Inner {
    fn commit(&mut self, commit: Commit) -> Result<Committed, StoreError> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let fault = (!self.faults.is_empty()).then(|| self.faults.remove(0));
        match &fault {
            Some(Fault::Refused(error)) => return Err(error.clone()),
            Some(Fault::UnknownAndNotDone) => {
                return Err(StoreError::OutcomeUnknown("it was told to".to_owned()));
            }
            Some(Fault::UnknownButDone | Fault::DoneButNotWatched) | None => {}
        }
        let holds = commit.preconditions.iter().all(|precondition| match precondition {
            Precondition::Absent(key) => !self.values.contains_key(key.as_str()),
            Precondition::Unchanged(key, revision) => {
                self.values.get(key.as_str()).is_some_and(|entry| entry.modified == *revision)
            }
        });
        if holds {
            self.write(commit.writes, fault == Some(Fault::DoneButNotWatched));
        }
        match fault {
            Some(Fault::UnknownButDone) => Err(StoreError::OutcomeUnknown("it was told to".to_owned())),
            _ if holds => Ok(Committed::Done(self.revision)),
            _ => Ok(Committed::Conflict),
        }
    }

    fn write(&mut self, writes: Vec<Write>, silently: bool) {
        let revision = self.revision + 1;
        let mut changes = Vec::with_capacity(writes.len());
        for write in writes {
            match write {
                Write::Put(key, value) => changes.push(self.put(&key, value, revision, false)),
                Write::PutEphemeral(key, value) => changes.push(self.put(&key, value, revision, true)),
                Write::Delete(key) => {
                    if let Some((key, _)) = self.values.remove_entry(key.as_str()) {
                        self.ephemeral.remove(&key);
                        changes.push(Change::Delete { key, modified: revision });
                    }
                }
            }
        }
        if changes.is_empty() {
            return;
        }
        self.revision = revision;
        self.past.insert(revision, self.values.clone());
        if silently {
            self.history.record_silently(revision, changes);
        } else {
            self.history.record(revision, changes);
        }
    }

    fn put(&mut self, key: &str, value: Bytes, modified: Revision, ephemeral: bool) -> Change {
        let key: Arc<str> = key.into();
        if ephemeral {
            self.ephemeral.insert(Arc::clone(&key));
        } else {
            self.ephemeral.remove(&key);
        }
        let entry = Entry { key: Arc::clone(&key), value, modified };
        self.values.insert(key, entry.clone());
        Change::Put(entry)
    }
}
