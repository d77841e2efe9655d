//! The embedded store: one crash-safe file, for one process.
//!
//! A thread of its own owns the file; everybody else sends it requests. A commit is acknowledged when it is on the
//! disk, so that a process killed at any time leaves a file with every acknowledged commit, and no half of another.
//! The file is locked for as long as it is open. Watches are served from the memory of this process: one from before
//! its start is told that the past is forgotten.

mod engine;
mod lock;
mod open;
mod tables;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::sync::{mpsc, oneshot};

use self::engine::{Engine, Request};
use super::{Commit, Committed, Entry, Revision, Snapshot, Store, StoreError, Watch, WatchEnd, history};

/// Requests that may wait for the thread; more wait at their sender.
const WAITING: usize = 256;

/// The embedded store. Dropping it closes the file, after what was asked before.
pub struct Embedded {
    path: PathBuf,
    epoch: Arc<str>,
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Somebody has it open.
    #[error("`{}` is in use by {}; only one control plane may use it (several need `--store etcd://…`)", path.display(), holder(*pid))]
    Locked {
        /// The file.
        path: PathBuf,
        /// The process that says it holds the file.
        pid: Option<u32>,
    },
    /// It is something else than a store of ours.
    #[error("`{}` is not a store of a control plane", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer build wrote it.
    #[error("`{}` has format {format}, this build reads up to {}; use a newer build", path.display(), tables::FORMAT)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u64,
    },
    /// It is damaged.
    #[error("`{}` is damaged ({reason}); restore it from a backup", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// It can't be read or written.
    #[error("can't open the store `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

// === impl Embedded ===

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the file, or makes it (mode 0600; its folder must be there). Checks it whole: the time grows with its
    /// size.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        let (requests, receiver) = mpsc::channel(WAITING);
        let (opened, when_opened) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("kt-store".to_owned())
            .spawn({
                let path = path.clone();
                move || match Engine::open(path) {
                    Ok(engine) => {
                        if opened.send(Ok(Arc::clone(engine.epoch()))).is_ok() {
                            engine.run(receiver);
                        }
                    }
                    Err(error) => drop(opened.send(Err(error))),
                }
            })
            .map_err(|source| OpenError::Io { path: path.clone(), source })?;
        let epoch = when_opened.await.unwrap_or_else(|_| {
            // The thread has panicked inside the engine, which its authors reserve for damaged files.
            Err(OpenError::Corrupt { path: path.clone(), reason: "it can't be read".to_owned() })
        })?;
        Ok(Self { path, epoch, requests: Some(requests), thread: Some(thread) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Unanswered> {
        let requests = self.requests.as_ref().ok_or(Unanswered::NotSent)?;
        let (reply, answer) = oneshot::channel();
        requests.send(request(reply)).await.map_err(|_| Unanswered::NotSent)?;
        answer.await.map_err(|_| Unanswered::Sent)
    }
}

/// The store's thread is gone.
enum Unanswered {
    NotSent,
    Sent,
}

const STOPPED: &str = "it is closed";

impl Drop for Embedded {
    fn drop(&mut self) {
        // The thread ends when the last sender is gone. Waiting for it (one commit at the most) means that the file
        // is free again when this returns.
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Store for Embedded {
    fn load<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Snapshot, StoreError>> {
        async move {
            let prefix = prefix.to_owned();
            self.ask(|reply| Request::Load { prefix, reply })
                .await
                .unwrap_or_else(|_| Err(StoreError::Unavailable(STOPPED.to_owned())))
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        async move {
            let key = key.to_owned();
            self.ask(|reply| Request::Get { key, reply })
                .await
                .unwrap_or_else(|_| Err(StoreError::Unavailable(STOPPED.to_owned())))
        }
        .boxed()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            commit.check()?;
            self.ask(|reply| Request::Commit { commit, reply }).await.unwrap_or_else(|unanswered| {
                Err(match unanswered {
                    Unanswered::NotSent => StoreError::Unavailable(STOPPED.to_owned()),
                    Unanswered::Sent => StoreError::OutcomeUnknown(STOPPED.to_owned()),
                })
            })
        }
        .boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        let Some(requests) = self.requests.as_ref().map(mpsc::Sender::downgrade) else {
            return history::ended(WatchEnd::Lost(STOPPED.to_owned()));
        };
        let prefix = prefix.to_owned();
        // Nothing here keeps the store open: a watch that outlives it ends.
        let events = async move {
            let closed = || history::ended(WatchEnd::Lost(STOPPED.to_owned()));
            let Some(requests) = requests.upgrade() else { return closed() };
            let (reply, answer) = oneshot::channel();
            if requests.send(Request::Watch { prefix, after, reply }).await.is_err() {
                return closed();
            }
            drop(requests);
            match answer.await {
                Ok(Ok(watching)) => watching.into_stream(),
                Ok(Err(end)) => history::ended(end),
                Err(_) => closed(),
            }
        };
        stream::once(events).flatten().boxed()
    }

    fn epoch(&self) -> String {
        self.epoch.to_string()
    }

    fn kind(&self) -> &'static str {
        "embedded"
    }
}
