//! The scripted store does what it is told.

use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::contract::{Place, done, end_of, next_changes, put};
use crate::store::{
    Committed, PROGRESS_SECONDS, Store as _, StoreError, WatchEnd, Write,
    scripted::{Fault, Scripted},
};

fn place(store: &Scripted) -> Place {
    Place { store: Arc::new(store.clone()), prefix: "/p/".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn compacted_watches_are_told_from_where() {
    let store = Scripted::new();
    let at = place(&store);
    let first = at.put("a", "1").await;
    let second = at.put("a", "2").await;
    let third = at.put("a", "3").await;
    store.compact(third);
    assert_eq!(end_of(&mut store.watch("/p/", first)).await, WatchEnd::Compacted(third));
    assert_eq!(next_changes(&mut store.watch("/p/", second)).await.0, third);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_store_is_noticed_within_the_limit() {
    let store = Scripted::new();
    let at = place(&store);
    let mut watch = at.watch().await;
    store.hang();
    let hanging = Instant::now();
    assert!(matches!(end_of(&mut watch).await, WatchEnd::Lost(_)));
    assert!(hanging.elapsed().as_secs() <= PROGRESS_SECONDS);
    assert!(matches!(store.load("/p/").await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.commit(put("/p/a", "1")).await, Err(StoreError::OutcomeUnknown(_))));
    store.recover();
    assert_eq!(store.get("/p/a").await, Ok(None));
    at.put("a", "1").await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_may_be_either() {
    let store = Scripted::new();
    store.fault_next(Fault::UnknownButDone);
    store.fault_next(Fault::UnknownAndNotDone);
    assert!(matches!(store.commit(put("/p/a", "1")).await, Err(StoreError::OutcomeUnknown(_))));
    assert!(matches!(store.commit(put("/p/b", "1")).await, Err(StoreError::OutcomeUnknown(_))));
    assert!(store.get("/p/a").await.unwrap().is_some());
    assert!(store.get("/p/b").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn going_back_ends_watches_and_changes_the_epoch() {
    let store = Scripted::new();
    let at = place(&store);
    let first = at.put("a", "1").await;
    let second = at.put("a", "2").await;
    let (mut watch, epoch) = (at.watch().await, store.epoch());
    store.go_back(first, false);
    assert_eq!(end_of(&mut watch).await, WatchEnd::Restored);
    assert_ne!(store.epoch(), epoch);
    assert_eq!(store.get("/p/a").await.unwrap().unwrap().value, "1");
    assert_eq!(end_of(&mut store.watch("/p/", second)).await, WatchEnd::Restored);
    assert_eq!(at.put("a", "3").await, second, "revisions are given again");
    let epoch = store.epoch();
    store.go_back(0, true);
    assert_ne!(store.epoch(), epoch);
    assert_eq!(store.load("").await.unwrap().entries, []);
}

#[tokio::test(start_paused = true)]
async fn a_lost_event_is_stored_but_not_told() {
    let store = Scripted::new();
    let at = place(&store);
    let mut watch = at.watch().await;
    store.fault_next(Fault::DoneButNotWatched);
    at.put("lost", "1").await;
    let told = at.put("told", "1").await;
    assert_eq!(next_changes(&mut watch).await.0, told);
    assert!(store.get("/p/lost").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_refusing_store_writes_nothing() {
    let store = Scripted::new();
    let full = StoreError::Full("no space".to_owned());
    store.refuse(full.clone());
    assert_eq!(store.commit(put("/p/a", "1")).await, Err(full.clone()));
    assert_eq!(store.load("/p/").await, Err(full));
    store.accept();
    assert_eq!(store.get("/p/a").await, Ok(None));
    let denied = StoreError::Denied("who".to_owned());
    store.fault_next(Fault::Refused(denied.clone()));
    assert_eq!(store.commit(put("/p/a", "1")).await, Err(denied));
    done(store.commit(put("/p/a", "1")).await);
}

#[tokio::test(start_paused = true)]
async fn ephemeral_values_expire_when_told() {
    let store = Scripted::new();
    let at = place(&store);
    let mut commit = put("/p/stays", "1");
    commit.writes.push(Write::PutEphemeral("/p/goes".to_owned(), "1".into()));
    done(store.commit(commit).await);
    let mut watch = at.watch().await;
    store.expire_ephemeral();
    let (_, changes) = next_changes(&mut watch).await;
    assert_eq!(changes.len(), 1);
    assert_eq!(store.load("/p/").await.unwrap().entries.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_falls_behind_is_let_go_not_skipped() {
    let store = Scripted::new();
    let at = place(&store);
    let mut watch = at.watch().await;
    let mut last = 0;
    for _ in 0..2_000 {
        last = at.put("a", "1").await;
    }
    let mut seen = 0;
    let end = loop {
        match watch.next().await.unwrap() {
            Ok(event) => seen = revision_of(&event),
            Err(end) => break end,
        }
    };
    assert!(matches!(end, WatchEnd::Lost(_)));
    let mut resumed = store.watch("/p/", seen);
    while seen < last {
        let (revision, _) = next_changes(&mut resumed).await;
        assert_eq!(revision, seen + 1, "nothing is left out");
        seen = revision;
    }
    assert_eq!(store.commit(put("/p/a", "1")).await, Ok(Committed::Done(last + 1)));
}

fn revision_of(event: &crate::store::WatchEvent) -> u64 {
    match event {
        crate::store::WatchEvent::Changes { revision, .. }
        | crate::store::WatchEvent::Progress { revision } => *revision,
    }
}
