//! What the store holds, in memory: one immutable [`State`], replaced whole, kept fresh by a watch.
//!
//! What must hold:
//! - nothing is served before the first load, which is linearizable;
//! - while the store is away the last state stays; what is known about its age is told apart from it;
//! - what did not change keeps its address: a reload touches only what differs;
//! - only the watch and loads feed it, never the answers of writes.

mod keeper;
mod picture;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    metrics::MirrorMetrics,
    paths,
    state::State,
    store::{Revision, Store, StoreError},
};

/// How long a write is waited for to come back through the watch.
const READ_YOUR_WRITES: Duration = Duration::from_secs(3);
/// How long a refresh waits for the watch before it loads.
const CATCH_UP: Duration = Duration::from_millis(100);
/// How long the whole of a refresh may take.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(30);
/// A read that only asks for the revision.
const POSITION_TIMEOUT: Duration = Duration::from_secs(5);

/// When to compare the mirror with the store.
#[derive(Debug, Clone, Copy)]
pub struct MirrorOptions {
    /// Not sooner than this after the last time.
    pub compare_after: Duration,
    /// Not later.
    pub compare_before: Duration,
}

impl Default for MirrorOptions {
    fn default() -> Self {
        Self { compare_after: Duration::from_mins(5), compare_before: Duration::from_mins(10) }
    }
}

/// What was last heard of the store.
#[derive(Debug, Clone, Default)]
pub struct Contact {
    /// Why the store is away; absent while the watch lives.
    pub fault: Option<Arc<str>>,
    /// When the store last said something; absent before the first load.
    pub last: Option<Instant>,
}

/// The mirror; cheap to clone.
#[derive(Clone)]
pub struct Mirror {
    store: Arc<dyn Store>,
    state: watch::Receiver<Arc<State>>,
    position: watch::Receiver<Option<Revision>>,
    contact: watch::Receiver<Contact>,
    requests: mpsc::Sender<keeper::Request>,
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("position", &*self.position.borrow()).finish_non_exhaustive()
    }
}

/// The ends that the keeper writes to.
struct Publisher {
    state: watch::Sender<Arc<State>>,
    /// Moves also where nothing changes; absent before the first load.
    position: watch::Sender<Option<Revision>>,
    contact: watch::Sender<Contact>,
    metrics: MirrorMetrics,
}

// === impl Mirror ===

impl Mirror {
    /// Starts to mirror a store, on `tasks`, until `stop`. Returns at once; see [`Mirror::ready`].
    pub fn start(
        store: Arc<dyn Store>,
        options: MirrorOptions,
        metrics: MirrorMetrics,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (state_writer, state) = watch::channel(Arc::new(State::default()));
        let (position_writer, position) = watch::channel(None);
        let (contact_writer, contact) = watch::channel(Contact::default());
        let (requests, asked) = mpsc::channel(64);
        let keeper = keeper::Keeper {
            store: Arc::clone(&store),
            requests: asked,
            publisher: Publisher {
                state: state_writer,
                position: position_writer,
                contact: contact_writer,
                metrics,
            },
            stop,
            compare: (options.compare_after, options.compare_before),
        };
        tasks.spawn(keeper.run());
        Self { store, state, position, contact, requests }
    }

    /// What the store held when it was last heard of; empty before the first load.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// Tells when the state has changed. Its revision alone moves without that.
    pub fn subscribe(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// Whether the first load is done.
    pub fn is_ready(&self) -> bool {
        self.position.borrow().is_some()
    }

    /// Waits for the first load; `false`: the mirror was stopped before.
    pub async fn ready(&self) -> bool {
        self.position.clone().wait_for(Option::is_some).await.is_ok()
    }

    /// What was last heard of the store.
    pub fn contact(&self) -> Contact {
        self.contact.borrow().clone()
    }

    /// Waits until everything up to a revision is in here, so that whoever wrote it reads it; `false`: it took too
    /// long, and will come later.
    pub async fn wait_for(&self, revision: Revision) -> bool {
        let mut position = self.position.clone();
        let reached = position.wait_for(|seen| seen.is_some_and(|seen| seen >= revision));
        matches!(timeout(READ_YOUR_WRITES, reached).await, Ok(Ok(_)))
    }

    /// The state with everything that was committed before the call.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refresh(&self) -> Result<Arc<State>, StoreError> {
        let before = *self.position.borrow();
        let reading = timeout(POSITION_TIMEOUT, self.store.load(paths::NOTHING)).await;
        let revision = reading.map_err(|_| too_long())??.revision;
        let is_going_back = before.is_some_and(|before| revision < before);
        if !is_going_back {
            let mut position = self.position.clone();
            let reached = position.wait_for(|seen| seen.is_some_and(|seen| seen >= revision));
            if matches!(timeout(CATCH_UP, reached).await, Ok(Ok(_))) {
                return Ok(self.state());
            }
        }
        let (answer, answered) = oneshot::channel();
        let gone = || StoreError::Unavailable("the mirror has stopped".to_owned());
        self.requests.send(answer).await.map_err(|_| gone())?;
        let answered = timeout(REFRESH_TIMEOUT, answered).await.map_err(|_| too_long())?;
        answered.map_err(|_| gone())??;
        Ok(self.state())
    }
}

fn too_long() -> StoreError {
    StoreError::Unavailable("a read took too long".to_owned())
}
