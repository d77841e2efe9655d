//! The one task that keeps the mirror fresh.
//!
//! It loads, then watches from the revision of the load. A watch that breaks is opened again from the last revision
//! seen; one that the store has forgotten, or a store that was restored, is loaded again and only differences are
//! taken over. Every few minutes, and soon after a watch has broken, it loads beside the watch and compares: a
//! difference is an event that the watch has lost, or shows that the store was restored and has come past what was known.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Contact, Publisher,
    picture::{Differences, Picture},
};
use crate::{
    backoff::{Backoff, between},
    paths,
    store::{PROGRESS_SECONDS, Revision, Snapshot, Store, StoreError, WatchEnd, WatchEvent},
};

/// A load that takes longer has failed.
const LOAD_TIMEOUT: Duration = Duration::from_secs(20);
/// A watch that says nothing for so long is lost, whatever the store thinks of it.
const SILENCE: Duration = Duration::from_secs(3 * PROGRESS_SECONDS);

/// When to compare after a watch has broken, from and to: who restores a store ends the watches on it, and where it has
/// grown past the last revision that was seen, nothing else tells.
const AFTER_BREAK: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

/// Asks for a load; answered when it was taken over.
pub(super) type Request = oneshot::Sender<Result<(), StoreError>>;

pub(super) struct Keeper {
    pub(super) store: Arc<dyn Store>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) publisher: Publisher,
    pub(super) stop: CancellationToken,
    /// How often to compare, from and to.
    pub(super) compare: (Duration, Duration),
}

/// Why a watch is not read any more.
enum End {
    /// Open it again from what was seen.
    Resume,
    /// Load first.
    Reload,
    /// The mirror is not needed any more.
    Stop,
}

/// What a load was made for.
enum Loading {
    /// For those who asked.
    Asked(Vec<Request>),
    /// To compare.
    Compare,
}

impl Keeper {
    pub(super) async fn run(mut self) {
        let mut picture = Picture::default();
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut is_loaded = false;
        loop {
            let is_resumed = is_loaded;
            if !is_loaded {
                match self.load_first(&mut picture).await {
                    Ok(()) => is_loaded = true,
                    Err(None) => return,
                    Err(Some(error)) => {
                        self.publisher.contact_lost(&error.to_string());
                        if self.rest(backoff.next()).await.is_break() {
                            return;
                        }
                        continue;
                    }
                }
            }
            match self.watch(&mut picture, &mut backoff, is_resumed).await {
                End::Stop => return,
                End::Resume => {}
                End::Reload => is_loaded = false,
            }
            if self.rest(backoff.next()).await.is_break() {
                return;
            }
        }
    }

    /// Loads everything and takes over what differs; `None`: stopped.
    async fn load_first(&mut self, picture: &mut Picture) -> Result<(), Option<StoreError>> {
        let snapshot = tokio::select! {
            () = self.stop.cancelled() => return Err(None),
            loaded = load(Arc::clone(&self.store)) => loaded.map_err(Some)?,
        };
        self.take_over(picture, snapshot);
        Ok(())
    }

    fn take_over(&mut self, picture: &mut Picture, snapshot: Snapshot) -> usize {
        let epoch = self.store.epoch();
        let is_restored = snapshot.revision < picture.state().revision
            || (!picture.state().epoch.is_empty() && *picture.state().epoch != *epoch);
        let revision = snapshot.revision;
        let differences = picture.replace(snapshot, &epoch);
        if is_restored {
            tracing::warn!(revision, differences, "Store was restored or replaced.");
            self.publisher.metrics.restored.inc();
        }
        self.publisher.publish(picture, differences > 0 || is_restored);
        differences
    }

    /// Waits, answering nobody but the one who says stop.
    async fn rest(&mut self, wait: Duration) -> std::ops::ControlFlow<()> {
        tokio::select! {
            () = self.stop.cancelled() => std::ops::ControlFlow::Break(()),
            () = sleep(wait) => std::ops::ControlFlow::Continue(()),
        }
    }

    async fn watch(&mut self, picture: &mut Picture, backoff: &mut Backoff, is_resumed: bool) -> End {
        let mut watch = self.store.watch(paths::STATE, picture.state().revision);
        let mut silence = Instant::now() + SILENCE;
        let mut compare_at = if is_resumed { after(AFTER_BREAK) } else { after(self.compare) };
        // At most one load beside the watch.
        let mut loading: Option<(Loading, BoxFuture<'static, Result<Snapshot, StoreError>>)> = None;
        // Loaded to compare, until the watch has come as far.
        let mut awaited: Option<Snapshot> = None;
        loop {
            let idle = loading.is_none();
            let load_ends = async {
                match &mut loading {
                    Some((_, load)) => load.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return End::Stop,
                event = watch.next() => {
                    match event {
                        Some(Ok(event)) => {
                            backoff.reset();
                            silence = Instant::now() + SILENCE;
                            self.event(picture, event);
                        }
                        Some(Err(end)) => return self.ended(&end),
                        None => {
                            self.publisher.contact_lost("the watch has ended");
                            return End::Resume;
                        }
                    }
                    if let Some(snapshot) = awaited.take_if(|snapshot| snapshot.revision <= picture.state().revision) {
                        self.compare(picture, snapshot);
                    }
                }
                loaded = load_ends => {
                    match (loading.take(), loaded) {
                        (Some((Loading::Asked(requests), _)), loaded) => {
                            let answer = loaded.map(|snapshot| {
                                // An older one is of a store that was restored, or late.
                                let is_other = self.store.epoch() != *picture.state().epoch;
                                if is_other || picture.state().revision <= snapshot.revision {
                                    self.take_over(picture, snapshot);
                                }
                            });
                            for request in requests {
                                let _ = request.send(answer.clone());
                            }
                        }
                        (Some((Loading::Compare, _)), Ok(snapshot)) if snapshot.revision < picture.state().revision => {
                            // Only a store that was restored goes back.
                            if self.store.epoch() != *picture.state().epoch {
                                return End::Reload;
                            }
                            self.compare(picture, snapshot);
                        }
                        (Some((Loading::Compare, _)), Ok(snapshot)) => awaited = Some(snapshot),
                        (Some((Loading::Compare, _)), Err(error)) => {
                            tracing::warn!(error = &error as &dyn std::error::Error, "Store can't be compared.");
                        }
                        (None, _) => {}
                    }
                }
                Some(request) = self.requests.recv(), if idle => {
                    let mut requests = vec![request];
                    while let Ok(request) = self.requests.try_recv() {
                        requests.push(request);
                    }
                    loading = Some((Loading::Asked(requests), load(Arc::clone(&self.store))));
                }
                () = sleep_until(compare_at), if idle && awaited.is_none() => {
                    compare_at = after(self.compare);
                    loading = Some((Loading::Compare, load(Arc::clone(&self.store))));
                }
                () = sleep_until(silence) => {
                    self.publisher.contact_lost("the watch is silent");
                    return End::Resume;
                }
            }
        }
    }

    fn event(&mut self, picture: &mut Picture, event: WatchEvent) {
        match event {
            WatchEvent::Changes { revision, changes } => {
                let applied = picture.changes(revision, changes);
                self.publisher.publish(picture, applied > 0);
            }
            WatchEvent::Progress { revision } => {
                picture.progress(revision);
                self.publisher.publish(picture, false);
            }
        }
    }

    fn ended(&mut self, end: &WatchEnd) -> End {
        self.publisher.contact_lost(&end.to_string());
        match end {
            WatchEnd::Compacted(_) | WatchEnd::Restored => End::Reload,
            WatchEnd::Lost(_) => End::Resume,
        }
    }

    fn compare(&mut self, picture: &mut Picture, snapshot: Snapshot) {
        let Differences { count, is_of_another_past } = picture.compare(&snapshot);
        if count == 0 {
            picture.compared();
            return;
        }
        if is_of_another_past {
            tracing::warn!(
                revision = snapshot.revision,
                differences = count,
                "Store was restored, and has come past what was known of it."
            );
            self.publisher.metrics.restored.inc();
        } else {
            tracing::error!(lost = count, "Watch has lost changes of the store.");
            self.publisher.metrics.lost_changes.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
        // Newer changes may be known already; the snapshot must not undo them.
        if snapshot.revision >= picture.state().revision {
            self.take_over(picture, snapshot);
        } else {
            picture.repair(snapshot);
            picture.compared();
            self.publisher.publish(picture, true);
        }
    }
}

fn after((least, most): (Duration, Duration)) -> Instant {
    Instant::now() + between(least, most)
}

fn load(store: Arc<dyn Store>) -> BoxFuture<'static, Result<Snapshot, StoreError>> {
    async move {
        match timeout(LOAD_TIMEOUT, store.load(paths::STATE)).await {
            Ok(loaded) => loaded,
            Err(_) => Err(StoreError::Unavailable("a read took too long".to_owned())),
        }
    }
    .boxed()
}

/// What was last heard of the store.
impl Publisher {
    fn contact_lost(&self, error: &str) {
        self.metrics.watch_breaks.inc();
        self.contact.send_modify(|contact| {
            if contact.fault.is_none() {
                tracing::warn!(error, "Store was lost.");
            }
            contact.fault = Some(error.into());
        });
    }

    fn publish(&self, picture: &Picture, is_change: bool) {
        let revision: Revision = picture.state().revision;
        let state = Arc::new(picture.state().clone());
        self.state.send_if_modified(|shown| {
            *shown = state;
            is_change
        });
        self.position.send_replace(Some(revision));
        self.contact.send_modify(|contact| {
            if contact.fault.take().is_some() {
                tracing::info!(revision, "Store is back.");
            }
            *contact = Contact { fault: None, last: Some(Instant::now()) };
        });
        self.metrics.unreadable.set(i64::try_from(picture.unreadable()).unwrap_or(i64::MAX));
        if is_change {
            self.metrics.changes.inc();
        }
    }
}
