use std::sync::Arc;

use bytes::Bytes;
use kt_proto::{signed, store::v1 as store, v1};
use prost::Message as _;

use super::*;
use crate::{
    paths::StateKey,
    store::{
        Commit, WatchEnd, Write,
        scripted::{Fault, Scripted},
    },
};

struct Harness {
    store: Scripted,
    mirror: Mirror,
    metrics: MirrorMetrics,
    stop: CancellationToken,
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn fleet(name: &str, description: &str) -> Write {
    let record = store::FleetRecord {
        name: name.to_owned(),
        description: description.to_owned(),
        ..store::FleetRecord::default()
    };
    Write::Put(StateKey::Fleet(name).path(), record.encode_to_vec().into())
}

fn head(fleet: &str, generation: u64) -> Write {
    let statement =
        v1::AssignmentStatement { fleet: fleet.to_owned(), generation, ..v1::AssignmentStatement::default() };
    let assignment =
        v1::Assignment { assignment: Some(signed::seal(&statement, &[])), ..v1::Assignment::default() };
    Write::Put(StateKey::Head(fleet).path(), assignment.encode_to_vec().into())
}

async fn write(store: &Scripted, writes: Vec<Write>) -> Revision {
    store.commit(Commit { preconditions: vec![], writes }).await.unwrap();
    store.revision()
}

impl Harness {
    async fn start(store: Scripted) -> Self {
        let (metrics, stop) = (MirrorMetrics::default(), CancellationToken::new());
        let mirror = Mirror::start(
            Arc::new(store.clone()),
            MirrorOptions::default(),
            metrics.clone(),
            &TaskTracker::new(),
            stop.clone(),
        );
        assert!(mirror.ready().await);
        Self { store, mirror, metrics, stop }
    }

    async fn write(&self, writes: Vec<Write>) {
        let revision = write(&self.store, writes).await;
        assert!(self.mirror.wait_for(revision).await);
    }

    fn generation(&self, fleet: &str) -> Option<u64> {
        self.mirror.state().fleet(fleet)?.head.as_ref().map(|head| head.statement.generation)
    }

    /// Until the state is as it should be.
    async fn until(&self, mut is_so: impl FnMut(&State) -> bool) {
        let mut states = self.mirror.subscribe();
        tokio::time::timeout(Duration::from_hours(1), states.wait_for(|state| is_so(state)))
            .await
            .expect("the state comes")
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_there_and_what_comes_is_mirrored() {
    let store = Scripted::new();
    write(&store, vec![fleet("default", ""), head("default", 3)]).await;
    let harness = Harness::start(store).await;
    assert_eq!(harness.generation("default"), Some(3));
    harness.write(vec![head("default", 4)]).await;
    assert_eq!(harness.generation("default"), Some(4));
    harness.write(vec![Write::Delete(StateKey::Head("default").path())]).await;
    assert_eq!(harness.generation("default"), None);
    harness.write(vec![Write::Delete(StateKey::Fleet("default").path())]).await;
    assert!(harness.mirror.state().fleets.is_empty());
}

#[tokio::test(start_paused = true)]
async fn compacted_watch_relists_and_applies_only_differences() {
    let harness = Harness::start(Scripted::new()).await;
    harness.write(vec![fleet("same", ""), fleet("other", ""), head("same", 1), head("other", 1)]).await;
    let before = harness.mirror.state();
    let changes = harness.metrics.changes.get();
    // The watch breaks; what happens until it is back is forgotten.
    harness.store.refuse(StoreError::Unavailable("away".to_owned()));
    harness.store.accept();
    let revision = write(&harness.store, vec![head("other", 2), fleet("new", "")]).await;
    harness.store.compact(revision);
    harness.until(|state| state.fleet("new").is_some()).await;
    assert_eq!(harness.generation("other"), Some(2));
    let after = harness.mirror.state();
    assert!(Arc::ptr_eq(before.fleet("same").unwrap(), after.fleet("same").unwrap()));
    assert!(!Arc::ptr_eq(before.fleet("other").unwrap(), after.fleet("other").unwrap()));
    assert_eq!(harness.metrics.changes.get(), changes + 1);
    assert_eq!(after.epoch, before.epoch);
}

#[tokio::test(start_paused = true)]
async fn a_relist_without_differences_wakes_nobody() {
    let harness = Harness::start(Scripted::new()).await;
    harness.write(vec![fleet("default", "")]).await;
    let mut states = harness.mirror.subscribe();
    states.mark_unchanged();
    harness.store.end_watches(&WatchEnd::Compacted(harness.store.revision()));
    let loads = harness.store.counts().loads;
    while harness.store.counts().loads == loads {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    harness.mirror.refresh().await.unwrap();
    assert!(!states.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_restored_store_is_loaded_again_and_tells_a_new_epoch() {
    let harness = Harness::start(Scripted::new()).await;
    harness.write(vec![fleet("default", ""), head("default", 1)]).await;
    let old = harness.store.revision();
    harness.write(vec![head("default", 2)]).await;
    let before = harness.mirror.state();
    harness.store.go_back(old, true);
    harness.until(|state| state.epoch != before.epoch).await;
    assert_eq!(harness.generation("default"), Some(1));
    assert_eq!(harness.metrics.restored.get(), 1);
    // And goes on from there.
    harness.write(vec![head("default", 5)]).await;
    assert_eq!(harness.generation("default"), Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_the_watch_lost_is_found_by_comparing() {
    let harness = Harness::start(Scripted::new()).await;
    harness.write(vec![fleet("default", ""), head("default", 1)]).await;
    harness.store.fault_next(Fault::DoneButNotWatched);
    write(&harness.store, vec![head("default", 2)]).await;
    harness.store.fault_next(Fault::DoneButNotWatched);
    write(&harness.store, vec![Write::Delete(StateKey::Fleet("default").path())]).await;
    harness.write(vec![fleet("later", "")]).await;
    assert_eq!(harness.generation("default"), Some(1));
    harness.until(|state| state.fleet("default").is_some_and(|fleet| fleet.revisions.record.is_none())).await;
    assert_eq!(harness.generation("default"), Some(2));
    assert_eq!(harness.metrics.lost_changes.get(), 2);
}

/// The revision and the cluster say nothing, and only one key of many tells.
#[tokio::test(start_paused = true)]
async fn a_store_that_was_restored_and_has_come_past_what_was_known_is_noticed_soon_after_the_watch_broke() {
    let harness = Harness::start(Scripted::new()).await;
    harness.write(vec![fleet("default", ""), head("default", 1)]).await;
    let backup = harness.store.revision();
    harness.write(vec![head("default", 2)]).await;
    harness.write(vec![fleet("later", "")]).await;
    let (before, began) = (harness.mirror.state(), Instant::now());
    harness.store.go_back_unseen(backup, vec![fleet("later", "")]);
    harness
        .until(|state| state.fleet("default").unwrap().head.as_ref().unwrap().statement.generation == 1)
        .await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!((harness.metrics.restored.get(), harness.metrics.lost_changes.get()), (1, 0));
    assert_eq!(harness.mirror.state().epoch, before.epoch);
    harness.write(vec![head("default", 7)]).await;
    assert_eq!(harness.generation("default"), Some(7));
}

#[tokio::test(start_paused = true)]
async fn comparing_a_healthy_mirror_finds_nothing() {
    let harness = Harness::start(Scripted::new()).await;
    for generation in 1..200 {
        harness.write(vec![fleet("default", ""), head("default", generation)]).await;
        harness.write(vec![Write::Delete(StateKey::Fleet("default").path())]).await;
        tokio::time::sleep(Duration::from_secs(7)).await;
    }
    assert!(harness.store.counts().loads >= 3, "{:?}", harness.store.counts());
    assert_eq!(harness.metrics.lost_changes.get(), 0);
    assert_eq!(harness.generation("default"), Some(199));
}

#[tokio::test(start_paused = true)]
async fn the_last_state_is_served_while_the_store_is_away() {
    let harness = Harness::start(Scripted::new()).await;
    harness.write(vec![fleet("default", ""), head("default", 1)]).await;
    assert!(harness.mirror.contact().fault.is_none());
    harness.store.hang();
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert!(harness.mirror.contact().fault.is_some());
    assert_eq!(harness.generation("default"), Some(1));
    assert!(matches!(harness.mirror.refresh().await, Err(StoreError::Unavailable(_))));
    harness.store.recover();
    harness.write(vec![head("default", 2)]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(harness.mirror.contact().fault.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_sees_what_was_committed_before_it() {
    let harness = Harness::start(Scripted::new()).await;
    write(&harness.store, vec![head("default", 1)]).await;
    let state = harness.mirror.refresh().await.unwrap();
    assert_eq!(state.fleet("default").unwrap().head.as_ref().unwrap().statement.generation, 1);
    // Also what the watch has lost.
    harness.store.fault_next(Fault::DoneButNotWatched);
    write(&harness.store, vec![head("default", 2)]).await;
    let state = harness.mirror.refresh().await.unwrap();
    assert_eq!(state.fleet("default").unwrap().head.as_ref().unwrap().statement.generation, 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_leaves_what_was_known() {
    let harness = Harness::start(Scripted::new()).await;
    harness.write(vec![head("default", 1)]).await;
    harness
        .write(vec![Write::Put(StateKey::Head("default").path(), Bytes::from_static(b"\xff\xff\xff"))])
        .await;
    assert_eq!(harness.generation("default"), Some(1));
    assert_eq!(harness.metrics.unreadable.get(), 1);
}
