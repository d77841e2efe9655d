//! The etcd store: many replicas over one cluster.
//!
//! A commit is one transaction; a load is read in pages at one revision; an ephemeral value hangs on a lease of this
//! process. A member that does not answer is left for the next one. A write whose answer did not come is
//! [`StoreError::OutcomeUnknown`], unless it is certain that it was not done. What restores are noticed: [`seen`].

mod failure;
mod lease;
mod members;
mod seen;
mod settings;
mod watch;

use std::{fmt, sync::Arc};

use etcd_client::{
    AlarmAction, AlarmType, Client, Compare, CompareOp, GetOptions, GetResponse, PutOptions, Txn, TxnOp,
    TxnResponse,
};
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::settings::{EtcdSettings, EtcdSettingsError};
use self::{
    failure::Failure,
    lease::Lease,
    members::{Kind, Members},
    seen::{Tracker, for_request, revision},
    watch::start_of,
};
use super::{
    Commit, Committed, Entry, MAX_VALUE_BYTES, Precondition, Revision, Snapshot, Store, StoreError, Watch,
    Write,
};

/// Entries of one page of a load.
const PAGE: usize = 100;
/// The largest answer: a page of the largest values.
const ANSWER_BYTES: usize = (PAGE + 4) * (MAX_VALUE_BYTES + 2048);
/// How often a load begins again because its revision was compacted under it.
const LOADS: usize = 3;

/// The etcd store.
pub struct EtcdStore {
    inner: Arc<Inner>,
    lease: Lease,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Inner {
    members: Arc<Members>,
    tracker: Tracker,
}

/// Why a connection to etcd could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] EtcdSettingsError),
    /// The cluster can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl EtcdStore ===

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

impl EtcdStore {
    /// Connects, and reads once to learn which cluster it is.
    ///
    /// # Errors
    /// Wrong settings; or why the cluster can't be read: it may be tried again after [`StoreError::Unavailable`].
    pub async fn connect(settings: &EtcdSettings) -> Result<Self, EtcdError> {
        let members = Arc::new(Members::new(settings)?);
        let first = members.call(Kind::Read, |client| get(client, crate::paths::NOTHING, None)).await;
        let first = first.map_err(|failure| read_error(&failure))?;
        let header = first.header().ok_or_else(no_header)?;
        let inner = Arc::new(Inner { members: Arc::clone(&members), tracker: Tracker::new(header) });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (lease, keeper) = Lease::new(members, stop.clone());
        tasks.spawn(keeper.run());
        tasks.close();
        Ok(Self { inner, lease, tasks, stop })
    }

    /// Gives the lease back, so that the ephemeral values of this process go at once, and waits for that. After it
    /// no ephemeral value can be written.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    async fn transact(&self, commit: &Commit, lease: Option<i64>) -> Result<TxnResponse, Failure> {
        let compares: Vec<_> = commit.preconditions.iter().map(compare).collect();
        let operations: Vec<_> = commit.writes.iter().map(|write| operation(write, lease)).collect();
        let before = self.inner.tracker.now();
        let response = self
            .inner
            .members
            .call(Kind::Write, |mut client: Client| {
                let transaction = Txn::new().when(compares.clone()).and_then(operations.clone());
                async move { client.txn(transaction).await }
            })
            .await?;
        if let Some(header) = response.header() {
            self.inner.tracker.note(before, header);
        }
        Ok(response)
    }

    async fn commit_leased(&self, commit: &Commit) -> Result<Committed, StoreError> {
        let needs_lease = commit.writes.iter().any(|write| matches!(write, Write::PutEphemeral(..)));
        let mut tried = false;
        loop {
            let lease = if needs_lease {
                let id = self.lease.id().await;
                Some(id.ok_or_else(|| StoreError::Unavailable("there is no lease".to_owned()))?)
            } else {
                None
            };
            return match (self.transact(commit, lease).await, lease) {
                (Ok(response), _) if response.succeeded() => {
                    let header = response.header().ok_or_else(no_header)?;
                    Ok(Committed::Done(revision(header.revision())))
                }
                (Ok(_), _) => Ok(Committed::Conflict),
                (Err(Failure::NoLease), Some(lease)) if !tried => {
                    tried = true;
                    self.lease.is_gone(lease).await;
                    continue;
                }
                (Err(failure), _) => Err(self.write_error(commit, failure).await),
            };
        }
    }

    async fn write_error(&self, commit: &Commit, failure: Failure) -> StoreError {
        let text = failure.text();
        match failure {
            Failure::Silent | Failure::Broken(_) => StoreError::OutcomeUnknown(text),
            Failure::Denied(_) => StoreError::Denied(text),
            Failure::Exhausted(_) if self.inner.has_no_space().await => StoreError::Full(text),
            // The code is the same for "no user" and for "too large"; only the first meets a read too.
            Failure::Refused(_) => {
                let key = commit.writes.first().map(Write::key);
                match self.inner.read(key.unwrap_or(crate::paths::NOTHING)).await {
                    Err(Failure::Refused(_)) => StoreError::Denied(text),
                    _ => StoreError::TooLarge(text),
                }
            }
            _ => StoreError::Unavailable(text),
        }
    }
}

impl Drop for EtcdStore {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Store for EtcdStore {
    fn load<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Snapshot, StoreError>> {
        async move {
            for _ in 1..LOADS {
                match self.inner.load(prefix).await {
                    Err(Failure::OutOfRange) => {}
                    loaded => return loaded.map_err(|failure| read_error(&failure)),
                }
            }
            self.inner.load(prefix).await.map_err(|failure| read_error(&failure))
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        async move {
            let response = self.inner.read(key).await.map_err(|failure| read_error(&failure))?;
            Ok(entries(response).pop())
        }
        .boxed()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            commit.check()?;
            self.commit_leased(&commit).await
        }
        .boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        watch::watch(Arc::clone(&self.inner), prefix.to_owned(), after)
    }

    fn epoch(&self) -> String {
        let seen = self.inner.tracker.now();
        format!("etcd-{:016x}.{}", seen.cluster, seen.era)
    }

    fn kind(&self) -> &'static str {
        "etcd"
    }
}

// === impl Inner ===

impl Inner {
    /// A linearizable read of one key.
    async fn read(&self, key: &str) -> Result<GetResponse, Failure> {
        self.noted(|client| get(client, key, None)).await
    }

    async fn noted<F>(&self, call: impl Fn(Client) -> F) -> Result<GetResponse, Failure>
    where
        F: Future<Output = Result<GetResponse, etcd_client::Error>>,
    {
        let before = self.tracker.now();
        let response = self.members.call(Kind::Read, call).await?;
        if let Some(header) = response.header() {
            self.tracker.note(before, header);
        }
        Ok(response)
    }

    async fn linearizable_revision(&self) -> Result<Revision, StoreError> {
        let response = self.read(crate::paths::NOTHING).await.map_err(|failure| read_error(&failure))?;
        Ok(revision(response.header().ok_or_else(no_header)?.revision()))
    }

    async fn load(&self, prefix: &str) -> Result<Snapshot, Failure> {
        let range = |at: Revision| {
            let options = GetOptions::new()
                .with_range(prefix_end(prefix))
                .with_limit(i64::try_from(PAGE).unwrap_or(i64::MAX));
            // 0 is "now".
            options.with_revision(for_request(at))
        };
        let mut page = self.noted(|client| get(client, start_of(prefix), Some(range(0)))).await?;
        let at = page.header().map_or(0, |header| revision(header.revision()));
        let mut all = Vec::new();
        loop {
            let next = page.kvs().last().filter(|_| page.more()).map(|last| {
                let mut key = last.key().to_vec();
                key.push(0);
                key
            });
            all.extend(entries(page));
            let Some(start) = next else { return Ok(Snapshot { revision: at, entries: all }) };
            page = self.noted(|client| get(client, start.clone(), Some(range(at)))).await?;
        }
    }

    async fn has_no_space(&self) -> bool {
        let alarms = self
            .members
            .call(Kind::Read, async |mut client: Client| {
                client.alarm(AlarmAction::Get, AlarmType::None, None).await
            })
            .await;
        alarms.is_ok_and(|alarms| alarms.alarms().iter().any(|alarm| alarm.alarm() == AlarmType::Nospace))
    }
}

async fn get(
    client: Client,
    key: impl Into<Vec<u8>>,
    options: Option<GetOptions>,
) -> Result<GetResponse, etcd_client::Error> {
    client.kv_client().max_decoding_message_size(ANSWER_BYTES).get(key, options).await
}

/// Keys that are not text can't be ours: nobody here could name them.
fn entries(response: GetResponse) -> Vec<Entry> {
    let kvs = response.0.kvs.into_iter();
    kvs.filter_map(|kv| {
        let key = std::str::from_utf8(&kv.key).ok()?.into();
        Some(Entry { key, value: kv.value.into(), modified: revision(kv.mod_revision) })
    })
    .collect()
}

fn compare(precondition: &Precondition) -> Compare {
    match precondition {
        Precondition::Absent(key) => Compare::version(key.as_str(), CompareOp::Equal, 0),
        Precondition::Unchanged(key, revision) => {
            Compare::mod_revision(key.as_str(), CompareOp::Equal, for_request(*revision))
        }
    }
}

fn operation(write: &Write, lease: Option<i64>) -> TxnOp {
    match write {
        Write::Put(key, value) => TxnOp::put(key.as_str(), value.as_ref(), None),
        Write::PutEphemeral(key, value) => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease));
            TxnOp::put(key.as_str(), value.as_ref(), options)
        }
        Write::Delete(key) => TxnOp::delete(key.as_str(), None),
    }
}

fn read_error(failure: &Failure) -> StoreError {
    match failure {
        // A read is refused where a user is needed and none was given.
        Failure::Denied(text) | Failure::Refused(text) => StoreError::Denied(text.clone()),
        other => StoreError::Unavailable(other.text()),
    }
}

fn no_header() -> StoreError {
    StoreError::Unavailable("an answer without a header".to_owned())
}

/// The first key after all that begin with `prefix`; keys are text, so that their bytes are below 0xff.
fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        // To etcd: to the end of all keys.
        None => end.push(0),
    }
    end
}
