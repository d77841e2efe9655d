//! What every store promises, as checks that take a store and a prefix of their own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all};
use tokio::time::timeout;

use crate::store::{
    Change, Commit, Committed, EPHEMERAL_SECONDS, MAX_COMMIT_BYTES, MAX_KEY_BYTES, MAX_OPERATIONS,
    MAX_VALUE_BYTES, PROGRESS_SECONDS, Precondition, Revision, Store, StoreError, Watch, WatchEnd,
    WatchEvent, Write,
};

/// Far longer than any answer takes; a check that meets it has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A store and the prefix that a check has to itself; it ends with `/`.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) store: Arc<dyn Store>,
    pub(super) prefix: String,
}

/// One check for each module of `contract_of!`.
macro_rules! for_each_check {
    ($each:ident, $open:expr) => {
        $each! { $open;
            a_key_is_created_once,
            a_key_is_replaced_only_at_the_revision_that_was_read,
            a_deleted_key_is_absent_for_preconditions,
            a_commit_is_written_whole_or_not_at_all,
            every_write_of_a_commit_has_its_revision,
            concurrent_publishes_yield_one_winner_and_one_conflict,
            a_counter_raised_by_many_loses_nothing,
            a_read_sees_every_acknowledged_commit,
            a_load_is_ordered_and_of_one_revision,
            a_load_of_many_large_values_is_whole,
            prefixes_do_not_mix,
            deleting_what_is_absent_changes_nothing,
            commits_over_the_limits_are_refused,
            a_commit_at_the_limits_is_taken,
            a_commit_that_contradicts_itself_is_refused,
            a_watch_tells_every_change_in_order_and_once,
            a_commit_is_told_whole,
            a_watch_resumes_after_the_last_revision_seen,
            a_watch_from_a_load_misses_nothing_in_between,
            a_quiet_watch_shows_progress_within_the_limit,
            progress_never_runs_ahead_of_changes,
            a_watch_of_the_future_is_told_of_a_restore,
            an_ephemeral_value_is_read_and_watched_like_others,
            a_dropped_call_leaves_the_store_usable,
        }
    };
}
pub(super) use for_each_check;

// === impl Place ===

impl Place {
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) async fn put(&self, name: &str, value: &'static str) -> Revision {
        done(self.store.commit(put(&self.key(name), value)).await)
    }

    async fn value(&self, name: &str) -> Option<Bytes> {
        self.store.get(&self.key(name)).await.unwrap().map(|entry| entry.value)
    }

    async fn values(&self) -> Vec<(String, Bytes)> {
        let snapshot = self.store.load(&self.prefix).await.unwrap();
        snapshot.entries.into_iter().map(|entry| (entry.key.to_string(), entry.value)).collect()
    }

    async fn revision(&self) -> Revision {
        self.store.load(&self.prefix).await.unwrap().revision
    }

    pub(super) async fn watch(&self) -> Watch {
        self.store.watch(&self.prefix, self.revision().await)
    }
}

pub(super) fn put(key: &str, value: &'static str) -> Commit {
    Commit {
        preconditions: Vec::new(),
        writes: vec![Write::Put(key.to_owned(), Bytes::from_static(value.as_bytes()))],
    }
}

pub(super) fn done(committed: Result<Committed, StoreError>) -> Revision {
    match committed.unwrap() {
        Committed::Done(revision) => revision,
        Committed::Conflict => panic!("a conflict where there is none"),
    }
}

/// The next changes of a watch; progress in between is passed over.
pub(super) async fn next_changes(watch: &mut Watch) -> (Revision, Vec<Change>) {
    loop {
        let event = timeout(PATIENCE, watch.next()).await.expect("a change is told in time");
        match event.expect("the watch goes on").expect("the watch goes on") {
            WatchEvent::Changes { revision, changes } => return (revision, changes),
            WatchEvent::Progress { .. } => {}
        }
    }
}

/// How a watch ends; what comes before is passed over.
pub(super) async fn end_of(watch: &mut Watch) -> WatchEnd {
    loop {
        match timeout(PATIENCE, watch.next()).await.expect("the watch ends in time") {
            Some(Ok(_)) => {}
            Some(Err(end)) => {
                assert_eq!(watch.next().await, None, "the end is the last");
                return end;
            }
            None => panic!("a watch ends with its reason"),
        }
    }
}

/// Collects the changes of a watch until one of this revision.
async fn changes_until(watch: &mut Watch, last: Revision) -> Vec<Change> {
    let mut all = Vec::new();
    loop {
        let (revision, changes) = next_changes(watch).await;
        all.extend(changes);
        if revision >= last {
            return all;
        }
    }
}

// === The checks ===

pub(super) async fn a_key_is_created_once(at: Place) {
    let create = |value| {
        let mut commit = put(&at.key("a"), value);
        commit.preconditions.push(Precondition::Absent(at.key("a")));
        commit
    };
    done(at.store.commit(create("first")).await);
    assert_eq!(at.store.commit(create("second")).await, Ok(Committed::Conflict));
    assert_eq!(at.value("a").await, Some(Bytes::from_static(b"first")));
}

pub(super) async fn a_key_is_replaced_only_at_the_revision_that_was_read(at: Place) {
    let first = at.put("a", "1").await;
    let replace = |revision, value| {
        let mut commit = put(&at.key("a"), value);
        commit.preconditions.push(Precondition::Unchanged(at.key("a"), revision));
        commit
    };
    let second = done(at.store.commit(replace(first, "2")).await);
    assert!(second > first);
    assert_eq!(at.store.commit(replace(first, "stale")).await, Ok(Committed::Conflict));
    let entry = at.store.get(&at.key("a")).await.unwrap().unwrap();
    assert_eq!((entry.modified, entry.value.as_ref()), (second, b"2".as_slice()));
    // What another key was written by says nothing.
    let other = at.put("b", "1").await;
    assert_eq!(at.store.commit(replace(other, "3")).await, Ok(Committed::Conflict));
}

pub(super) async fn a_deleted_key_is_absent_for_preconditions(at: Place) {
    let written = at.put("a", "1").await;
    let delete = Commit {
        preconditions: vec![Precondition::Unchanged(at.key("a"), written)],
        writes: vec![Write::Delete(at.key("a"))],
    };
    done(at.store.commit(delete.clone()).await);
    assert_eq!(at.value("a").await, None);
    assert_eq!(at.store.commit(delete).await, Ok(Committed::Conflict));
    let mut create = put(&at.key("a"), "2");
    create.preconditions.push(Precondition::Absent(at.key("a")));
    assert!(done(at.store.commit(create).await) > written);
}

pub(super) async fn a_commit_is_written_whole_or_not_at_all(at: Place) {
    at.put("taken", "1").await;
    let before = at.values().await;
    let revision = at.revision().await;
    let commit = Commit {
        preconditions: vec![Precondition::Absent(at.key("free")), Precondition::Absent(at.key("taken"))],
        writes: vec![
            Write::Put(at.key("free"), Bytes::from_static(b"x")),
            Write::Put(at.key("taken"), Bytes::from_static(b"x")),
            Write::PutEphemeral(at.key("z"), Bytes::from_static(b"x")),
        ],
    };
    assert_eq!(at.store.commit(commit).await, Ok(Committed::Conflict));
    assert_eq!(at.values().await, before);
    assert_eq!(at.revision().await, revision);
}

pub(super) async fn every_write_of_a_commit_has_its_revision(at: Place) {
    let commit = Commit {
        preconditions: Vec::new(),
        writes: (0..10).map(|n| Write::Put(at.key(&format!("k{n}")), Bytes::from_static(b"v"))).collect(),
    };
    let revision = done(at.store.commit(commit).await);
    let snapshot = at.store.load(&at.prefix).await.unwrap();
    assert_eq!(snapshot.entries.len(), 10);
    assert!(snapshot.entries.iter().all(|entry| entry.modified == revision));
    assert!(snapshot.revision >= revision);
}

pub(super) async fn concurrent_publishes_yield_one_winner_and_one_conflict(at: Place) {
    let head = at.put("head", "generation 1").await;
    let publish = |name: &str| Commit {
        preconditions: vec![Precondition::Unchanged(at.key("head"), head)],
        writes: vec![
            Write::Put(at.key("head"), Bytes::from(name.to_owned())),
            Write::Put(at.key(&format!("history/{name}")), Bytes::from(name.to_owned())),
        ],
    };
    let (a, b) = tokio::join!(at.store.commit(publish("a")), at.store.commit(publish("b")));
    let winner = match (a.unwrap(), b.unwrap()) {
        (Committed::Done(_), Committed::Conflict) => "a",
        (Committed::Conflict, Committed::Done(_)) => "b",
        other => panic!("one wins, one conflicts: {other:?}"),
    };
    let values: BTreeMap<_, _> = at.values().await.into_iter().collect();
    assert_eq!(values.len(), 2, "the loser has written nothing");
    assert_eq!(values[&at.key("head")], winner);
    assert_eq!(values[&at.key(&format!("history/{winner}"))], winner);
}

pub(super) async fn a_counter_raised_by_many_loses_nothing(at: Place) {
    const TASKS: u64 = 8;
    const EACH: u64 = 5;
    at.put("counter", "0").await;
    let raise = |_| async {
        for _ in 0..EACH {
            loop {
                let entry = at.store.get(&at.key("counter")).await.unwrap().unwrap();
                let value: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                let commit = Commit {
                    preconditions: vec![Precondition::Unchanged(at.key("counter"), entry.modified)],
                    writes: vec![Write::Put(at.key("counter"), Bytes::from((value + 1).to_string()))],
                };
                if matches!(at.store.commit(commit).await.unwrap(), Committed::Done(_)) {
                    break;
                }
            }
        }
    };
    timeout(PATIENCE * 2, join_all((0..TASKS).map(raise))).await.expect("somebody always wins");
    assert_eq!(at.value("counter").await, Some(Bytes::from((TASKS * EACH).to_string())));
}

pub(super) async fn a_read_sees_every_acknowledged_commit(at: Place) {
    for n in 0..20 {
        let value = Bytes::from(format!("{n}"));
        let commit =
            Commit { preconditions: Vec::new(), writes: vec![Write::Put(at.key("a"), value.clone())] };
        let revision = done(at.store.commit(commit).await);
        let entry = at.store.get(&at.key("a")).await.unwrap().unwrap();
        assert_eq!((entry.value, entry.modified), (value, revision));
        assert!(at.revision().await >= revision);
    }
}

pub(super) async fn a_load_is_ordered_and_of_one_revision(at: Place) {
    // Two keys are always written together, so no load may see one without the other.
    let pair = |n: u64| Commit {
        preconditions: Vec::new(),
        writes: vec![
            Write::Put(at.key("a"), Bytes::from(n.to_string())),
            Write::Put(at.key("zz"), Bytes::from(n.to_string())),
        ],
    };
    let filling = Commit {
        preconditions: Vec::new(),
        writes: (0..90).map(|n| Write::Put(at.key(&format!("m/{n:03}")), Bytes::from_static(b"x"))).collect(),
    };
    done(at.store.commit(filling).await);
    done(at.store.commit(pair(0)).await);
    let write = async {
        for n in 1..=40 {
            done(at.store.commit(pair(n)).await);
        }
    };
    let read = async {
        for _ in 0..20 {
            let snapshot = at.store.load(&at.prefix).await.unwrap();
            assert_eq!(snapshot.entries.len(), 92);
            assert!(snapshot.entries.is_sorted_by(|a, b| a.key < b.key));
            let (first, last) = (&snapshot.entries[0], &snapshot.entries[91]);
            assert_eq!((&first.value, first.modified), (&last.value, last.modified));
            assert!(snapshot.entries.iter().all(|entry| entry.modified <= snapshot.revision));
        }
    };
    tokio::join!(write, read);
}

pub(super) async fn a_load_of_many_large_values_is_whole(at: Place) {
    // More than one message of gRPC takes, more than one page.
    let value = Bytes::from(vec![7_u8; MAX_VALUE_BYTES]);
    for n in 0..12 {
        let commit = Commit {
            preconditions: Vec::new(),
            writes: vec![Write::Put(at.key(&format!("big/{n:02}")), value.clone())],
        };
        done(at.store.commit(commit).await);
    }
    for page in 0..5 {
        let commit = Commit {
            preconditions: Vec::new(),
            writes: (0..80)
                .map(|n| Write::Put(at.key(&format!("small/{page}/{n:02}")), Bytes::from_static(b"s")))
                .collect(),
        };
        done(at.store.commit(commit).await);
    }
    let values = at.values().await;
    assert_eq!(values.len(), 12 + 400);
    assert!(values.iter().take(12).all(|(_, loaded)| *loaded == value));
    assert!(values.is_sorted_by(|a, b| a.0 < b.0));
}

pub(super) async fn prefixes_do_not_mix(at: Place) {
    let mut watch = at.store.watch(&at.key("b/"), at.revision().await);
    let mut last = 0;
    for name in ["a/1", "b", "b/1", "b/2", "b0", "c/1", "b/\u{10ffff}"] {
        last = at.put(name, "v").await;
    }
    let loaded = at.store.load(&at.key("b/")).await.unwrap();
    let expected = [at.key("b/1"), at.key("b/2"), at.key("b/\u{10ffff}")];
    assert_eq!(loaded.entries.iter().map(|entry| entry.key.to_string()).collect::<Vec<_>>(), expected);
    let told = changes_until(&mut watch, last).await;
    assert_eq!(told.iter().map(|change| change.key().to_string()).collect::<Vec<_>>(), expected);
}

pub(super) async fn deleting_what_is_absent_changes_nothing(at: Place) {
    let mut watch = at.watch().await;
    let before = at.revision().await;
    let delete = Commit { preconditions: Vec::new(), writes: vec![Write::Delete(at.key("absent"))] };
    assert_eq!(at.store.commit(delete).await, Ok(Committed::Done(before)));
    assert_eq!(at.store.commit(Commit::default()).await, Ok(Committed::Done(before)));
    let absent = Commit { preconditions: vec![Precondition::Absent(at.key("absent"))], writes: Vec::new() };
    assert_eq!(at.store.commit(absent).await, Ok(Committed::Done(before)));
    let written = at.put("a", "1").await;
    let (revision, changes) = next_changes(&mut watch).await;
    assert_eq!((revision, changes.len()), (written, 1), "only what happened is told");
}

pub(super) async fn commits_over_the_limits_are_refused(at: Place) {
    let refused = async |writes, preconditions| {
        let answer = at.store.commit(Commit { preconditions, writes }).await;
        assert!(matches!(answer, Err(StoreError::TooLarge(_))), "{answer:?}");
    };
    let value = |length: usize| Bytes::from(vec![b'v'; length]);
    refused(vec![Write::Put(at.key("a"), value(MAX_VALUE_BYTES + 1))], Vec::new()).await;
    refused(vec![Write::PutEphemeral(at.key("a"), value(MAX_VALUE_BYTES + 1))], Vec::new()).await;
    let third = value(MAX_COMMIT_BYTES / 3 + 1);
    refused(["a", "b", "c"].map(|key| Write::Put(at.key(key), third.clone())).to_vec(), Vec::new()).await;
    let many = |n: usize| (0..n).map(|n| at.key(&n.to_string()));
    refused(many(MAX_OPERATIONS + 1).map(|key| Write::Put(key, value(1))).collect(), Vec::new()).await;
    refused(
        many(MAX_OPERATIONS).map(|key| Write::Put(key, value(1))).collect(),
        vec![Precondition::Absent(at.key("x"))],
    )
    .await;
    refused(vec![Write::Delete("k".repeat(MAX_KEY_BYTES + 1))], Vec::new()).await;
    assert_eq!(at.values().await, []);
}

pub(super) async fn a_commit_at_the_limits_is_taken(at: Place) {
    let longest = |name: &str| format!("{}{}", at.key(name), "k".repeat(MAX_KEY_BYTES - at.key(name).len()));
    let value = Bytes::from(vec![b'v'; MAX_VALUE_BYTES - MAX_KEY_BYTES]);
    let two = Commit {
        preconditions: Vec::new(),
        writes: vec![Write::Put(longest("a"), value.clone()), Write::Put(longest("b"), value.clone())],
    };
    done(at.store.commit(two).await);
    let keys = |n: usize| (0..n).map(|n| at.key(&format!("many/{n}")));
    let many = Commit {
        preconditions: keys(MAX_OPERATIONS / 2).map(Precondition::Absent).collect(),
        writes: keys(MAX_OPERATIONS / 2).map(|key| Write::Put(key, Bytes::from_static(b"1"))).collect(),
    };
    done(at.store.commit(many).await);
    assert_eq!(at.values().await.len(), 2 + MAX_OPERATIONS / 2);
    assert_eq!(at.store.get(&longest("b")).await.unwrap().unwrap().value, value);
}

pub(super) async fn a_commit_that_contradicts_itself_is_refused(at: Place) {
    let value = Bytes::from_static(b"v");
    for writes in [
        vec![Write::Put(at.key("a"), value.clone()), Write::Put(at.key("a"), value.clone())],
        vec![Write::Put(at.key("a"), value.clone()), Write::Delete(at.key("a"))],
        vec![Write::Put(String::new(), value.clone())],
    ] {
        let answer = at.store.commit(Commit { preconditions: Vec::new(), writes }).await;
        assert!(matches!(answer, Err(StoreError::Invalid(_))), "{answer:?}");
    }
    assert_eq!(at.values().await, []);
}

pub(super) async fn a_watch_tells_every_change_in_order_and_once(at: Place) {
    let mut watch = at.watch().await;
    let mut expected = Vec::new();
    for n in 0_u32..60 {
        let name = format!("k{}", n % 7);
        let write = if n % 5 == 4 {
            Write::Delete(at.key(&name))
        } else {
            Write::Put(at.key(&name), Bytes::from(n.to_string()))
        };
        let before = at.value(&name).await.is_some();
        let deletes = matches!(write, Write::Delete(_));
        let revision = done(at.store.commit(Commit { preconditions: Vec::new(), writes: vec![write] }).await);
        if !deletes || before {
            expected.push((at.key(&name), revision, (!deletes).then(|| Bytes::from(n.to_string()))));
        }
    }
    let last = expected.last().unwrap().1;
    let told: Vec<_> = changes_until(&mut watch, last)
        .await
        .into_iter()
        .map(|change| match change {
            Change::Put(entry) => (entry.key.to_string(), entry.modified, Some(entry.value)),
            Change::Delete { key, modified } => (key.to_string(), modified, None),
        })
        .collect();
    assert_eq!(told, expected);
}

pub(super) async fn a_commit_is_told_whole(at: Place) {
    let mut watch = at.watch().await;
    // Large, so that a store that cuts its messages has to put them together again.
    let value = Bytes::from(vec![b'v'; 10_000]);
    let mut last = 0;
    for _ in 0..40 {
        let writes = (0..80).map(|n| Write::Put(at.key(&format!("{n:02}")), value.clone())).collect();
        last = done(at.store.commit(Commit { preconditions: Vec::new(), writes }).await);
    }
    let mut resumed = at.store.watch(&at.prefix, 1);
    let mut whole = 0;
    for watch in [&mut watch, &mut resumed] {
        loop {
            let (revision, changes) = next_changes(watch).await;
            let mut sizes = BTreeMap::<_, usize>::new();
            for change in &changes {
                *sizes.entry(change.modified()).or_default() += 1;
            }
            assert!(sizes.values().all(|size| *size == 80), "{sizes:?}");
            assert_eq!(sizes.last_key_value().unwrap().0, &revision);
            whole += sizes.len();
            if revision == last {
                break;
            }
        }
    }
    assert_eq!(whole, 80);
}

pub(super) async fn a_watch_resumes_after_the_last_revision_seen(at: Place) {
    let start = at.revision().await;
    let mut revisions = Vec::new();
    for n in 0..10 {
        let name = format!("{n}");
        revisions.push(done(
            at.store
                .commit(Commit {
                    preconditions: Vec::new(),
                    writes: vec![Write::Put(at.key(&name), Bytes::from(name.clone()))],
                })
                .await,
        ));
    }
    let last = revisions[9];
    for seen in 0..10 {
        let after = if seen == 0 { start } else { revisions[seen - 1] };
        let mut watch = at.store.watch(&at.prefix, after);
        let told: Vec<_> = changes_until(&mut watch, last).await.iter().map(Change::modified).collect();
        assert_eq!(told, revisions[seen..]);
    }
}

pub(super) async fn a_watch_from_a_load_misses_nothing_in_between(at: Place) {
    let writes = async {
        let mut last = 0;
        for n in 0..80 {
            let writes = vec![Write::Put(at.key(&format!("{}", n % 9)), Bytes::from(format!("{n}")))];
            last = done(at.store.commit(Commit { preconditions: Vec::new(), writes }).await);
        }
        last
    };
    let mirror = async {
        let snapshot = at.store.load(&at.prefix).await.unwrap();
        let mut held: BTreeMap<_, _> =
            snapshot.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        let mut watch = at.store.watch(&at.prefix, snapshot.revision);
        let mut seen = snapshot.revision;
        while !held.contains_key(at.key("end").as_str()) {
            let (revision, changes) = next_changes(&mut watch).await;
            for change in changes {
                assert!(change.modified() > seen, "nothing comes twice");
                if let Change::Put(entry) = change {
                    held.insert(entry.key, entry.value);
                }
            }
            seen = revision;
        }
        held
    };
    let (held, ()) = tokio::join!(mirror, async {
        writes.await;
        at.put("end", "").await;
    });
    let held: Vec<_> = held.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    assert_eq!(held, at.values().await);
}

pub(super) async fn a_quiet_watch_shows_progress_within_the_limit(at: Place) {
    let mut watch = at.watch().await;
    for _ in 0..2 {
        let event = timeout(Duration::from_secs(PROGRESS_SECONDS), watch.next()).await;
        let event = event.expect("a live watch says so").unwrap().unwrap();
        assert!(matches!(event, WatchEvent::Progress { .. }), "{event:?}");
    }
    let written = at.put("a", "1").await;
    assert_eq!(next_changes(&mut watch).await.0, written, "the watch goes on after progress");
}

pub(super) async fn progress_never_runs_ahead_of_changes(at: Place) {
    let start = at.revision().await;
    let mut watch = at.store.watch(&at.prefix, start);
    let elsewhere = format!("{}-elsewhere/", at.prefix.trim_end_matches('/'));
    let mut seen = start;
    // Changes outside the prefix in between: progress may pass them, never a change inside that is still to come.
    for round in 0..3_u32 {
        for _ in 0..5 {
            done(at.store.commit(put(&format!("{elsewhere}x"), "1")).await);
        }
        let written = at.put(&round.to_string(), "1").await;
        loop {
            match timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap() {
                WatchEvent::Progress { revision } => {
                    assert!(revision >= seen, "progress does not go back");
                    assert!(revision < written, "a change at {written} was still to come");
                    seen = revision;
                }
                WatchEvent::Changes { revision, .. } => {
                    assert!(revision > seen);
                    assert_eq!(revision, written);
                    seen = revision;
                    break;
                }
            }
        }
        match timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap() {
            WatchEvent::Progress { revision } => {
                assert!(revision >= seen);
                seen = revision;
            }
            other @ WatchEvent::Changes { .. } => panic!("nothing was written: {other:?}"),
        }
    }
}

pub(super) async fn a_watch_of_the_future_is_told_of_a_restore(at: Place) {
    let future = at.revision().await + 1_000_000;
    let mut watch = at.store.watch(&at.prefix, future);
    assert_eq!(end_of(&mut watch).await, WatchEnd::Restored);
}

pub(super) async fn an_ephemeral_value_is_read_and_watched_like_others(at: Place) {
    let mut watch = at.watch().await;
    let ephemeral = Commit {
        preconditions: vec![Precondition::Absent(at.key("replica"))],
        writes: vec![
            Write::PutEphemeral(at.key("replica"), Bytes::from_static(b"here")),
            Write::Put(at.key("other"), Bytes::from_static(b"stays")),
        ],
    };
    let revision = done(at.store.commit(ephemeral).await);
    let (told, changes) = next_changes(&mut watch).await;
    assert_eq!((told, changes.len()), (revision, 2));
    // It lives for as long as its writer does, also past its time.
    let end = tokio::time::Instant::now() + Duration::from_secs(EPHEMERAL_SECONDS + 3);
    while tokio::time::Instant::now() < end {
        assert_eq!(at.value("replica").await.as_deref(), Some(b"here".as_slice()));
        let progress = timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
        assert!(matches!(progress, WatchEvent::Progress { .. }), "{progress:?}");
    }
}

pub(super) async fn a_dropped_call_leaves_the_store_usable(at: Place) {
    for n in 0..20 {
        let mut commit = std::pin::pin!(at.store.commit(put(&at.key("a"), "1")));
        // Polled once or twice and forgotten, wherever it is.
        for _ in 0..n % 3 {
            if futures_util::poll!(commit.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let mut watch = at.watch().await;
    drop(at.watch().await);
    let written = at.put("b", "1").await;
    loop {
        let (revision, _) = next_changes(&mut watch).await;
        if revision >= written {
            break;
        }
    }
    assert_eq!(at.value("b").await, Some(Bytes::from_static(b"1")));
}
