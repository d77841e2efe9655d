//! What only the file can show: locking, crashes, damage, what a restart keeps.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use bytes::Bytes;
use redb::{Database, TableDefinition};
use tempfile::TempDir;

use super::{Embedded, OpenError};
use crate::store::{
    Commit, Committed, Precondition, Revision, Store as _, StoreError, WatchEnd, WatchEvent, Write,
};

async fn open(folder: &TempDir) -> Embedded {
    Embedded::open(folder.path().join("store")).await.unwrap()
}

async fn put(store: &Embedded, key: &str, value: &str) -> Revision {
    commit(store, Write::Put(key.to_owned(), Bytes::from(value.to_owned()))).await
}

async fn commit(store: &Embedded, write: Write) -> Revision {
    match store.commit(Commit { preconditions: Vec::new(), writes: vec![write] }).await.unwrap() {
        Committed::Done(revision) => revision,
        Committed::Conflict => panic!("no precondition, no conflict"),
    }
}

async fn end_of(store: &Embedded, after: Revision) -> WatchEnd {
    futures_util::StreamExt::next(&mut store.watch("", after)).await.unwrap().unwrap_err()
}

#[tokio::test]
async fn a_restart_keeps_values_revisions_and_epoch() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let (first, epoch) = (put(&store, "a", "1").await, store.epoch());
    drop(store);
    let store = open(&folder).await;
    let entry = store.get("a").await.unwrap().unwrap();
    assert_eq!((entry.modified, entry.value.as_ref(), store.epoch()), (first, b"1".as_slice(), epoch));
    assert_eq!(put(&store, "a", "2").await, first + 1);
    let mode = fs::metadata(store.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may read it");
    let other = TempDir::new().unwrap();
    assert_ne!(open(&other).await.epoch(), store.epoch(), "another file is another store");
}

#[tokio::test]
async fn ephemeral_values_go_at_the_next_start() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    for key in ["goes", "overwritten", "deleted"] {
        commit(&store, Write::PutEphemeral(key.to_owned(), Bytes::from_static(b"e"))).await;
    }
    put(&store, "overwritten", "stays").await;
    commit(&store, Write::Delete("deleted".to_owned())).await;
    let last = put(&store, "deleted", "made again").await;
    drop(store);
    let store = open(&folder).await;
    let loaded = store.load("").await.unwrap();
    assert_eq!(loaded.revision, last + 1, "that they went is a change of its own");
    let keys: Vec<_> = loaded.entries.iter().map(|entry| entry.key.as_ref()).collect();
    assert_eq!(keys, ["deleted", "overwritten"]);
    drop(store);
    assert_eq!(open(&folder).await.load("").await.unwrap().revision, last + 1, "and happens once");
}

#[tokio::test]
async fn a_watch_from_before_the_start_is_told_that_the_past_is_forgotten() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let first = put(&store, "a", "1").await;
    let second = put(&store, "a", "2").await;
    drop(store);
    let store = open(&folder).await;
    assert_eq!(end_of(&store, first).await, WatchEnd::Compacted(second + 1));
    assert_eq!(end_of(&store, second + 1).await, WatchEnd::Restored);
    let mut watch = store.watch("", second);
    let third = put(&store, "a", "3").await;
    let event = futures_util::StreamExt::next(&mut watch).await.unwrap().unwrap();
    assert!(matches!(event, WatchEvent::Changes { revision, .. } if revision == third), "{event:?}");
}

#[tokio::test]
async fn a_watch_ends_when_the_store_is_closed() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let revision = put(&store, "a", "1").await;
    let mut open_watch = store.watch("", revision - 1);
    futures_util::StreamExt::next(&mut open_watch).await.unwrap().unwrap();
    let mut unopened = store.watch("", revision);
    drop(store);
    for watch in [&mut open_watch, &mut unopened] {
        let end = futures_util::StreamExt::next(watch).await.unwrap();
        assert!(matches!(end, Err(WatchEnd::Lost(_))), "{end:?}");
        assert!(futures_util::StreamExt::next(watch).await.is_none());
    }
}

#[tokio::test]
async fn a_second_process_is_told_who_holds_the_file() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let path = store.path().to_owned();
    let error = Embedded::open(&path).await.unwrap_err();
    let expected = format!(
        "`{}` is in use by process {}; only one control plane may use it (several need `--store etcd://…`)",
        path.display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
    put(&store, "a", "1").await;
    drop(store);
    open(&folder).await;
}

#[tokio::test]
async fn an_empty_file_or_half_of_a_new_one_is_made_into_a_store() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("store"), "").unwrap();
    fs::write(folder.path().join("store.new"), "half of what a crash has left").unwrap();
    let store = open(&folder).await;
    put(&store, "a", "1").await;
    assert_eq!(fs::metadata(store.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!folder.path().join("store.new").try_exists().unwrap());
}

#[tokio::test]
async fn foreign_damaged_and_newer_files_are_refused_and_left_as_they_are() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store");
    let refused = async |content: &[u8]| {
        fs::write(&path, content).unwrap();
        let error = Embedded::open(&path).await.unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), content, "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        error
    };
    assert!(matches!(refused(b"pack:\n  name: demo\n").await, OpenError::Foreign { .. }));
    assert!(matches!(refused(&vec![0; 100_000]).await, OpenError::Foreign { .. }));

    // A database of somebody else's.
    fs::remove_file(&path).unwrap();
    let foreign = Database::create(&path).unwrap();
    let transaction = foreign.begin_write().unwrap();
    transaction.open_table(TableDefinition::<&str, &str>::new("theirs")).unwrap().insert("a", "b").unwrap();
    transaction.commit().unwrap();
    drop(foreign);
    assert!(matches!(Embedded::open(&path).await.unwrap_err(), OpenError::Foreign { .. }));

    fs::remove_file(&path).unwrap();
    drop(Embedded::open(&path).await.unwrap());
    let newer = Database::create(&path).unwrap();
    let transaction = newer.begin_write().unwrap();
    transaction.open_table(super::tables::NUMBERS).unwrap().insert("format", 7).unwrap();
    transaction.commit().unwrap();
    drop(newer);
    assert!(matches!(Embedded::open(&path).await.unwrap_err(), OpenError::Newer { format: 7, .. }));
}

#[tokio::test]
async fn a_file_with_flipped_bytes_never_opens_as_if_it_were_whole() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    for n in 0..50 {
        put(&store, &format!("key-{n:02}"), &"value ".repeat(200)).await;
    }
    let path = store.path().to_owned();
    let before = store.load("").await.unwrap().entries;
    drop(store);
    let whole = fs::read(&path).unwrap();
    let place = whole.windows(6).position(|window| window == b"key-25").unwrap();
    let mut refused = 0;
    for at in [place, place + 40, place + 4096, whole.len() / 2, 20, 100] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        fs::write(&path, &damaged).unwrap();
        match Embedded::open(&path).await {
            Ok(store) => assert_eq!(store.load("").await.unwrap().entries, before, "byte {at} is not in use"),
            Err(OpenError::Corrupt { .. } | OpenError::Foreign { .. } | OpenError::Io { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    // Cut short.
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(Embedded::open(&path).await.is_err());
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let folder = TempDir::new().unwrap();
    let error = Embedded::open(folder.path().join("absent/store")).await.unwrap_err();
    assert!(matches!(&error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().contains("absent/store"));
}

/// Set for the child of the next test, to the file.
const CHILD: &str = "KT_TEST_EMBEDDED_CHILD";

/// Not a test of its own: commits for ever where [`CHILD`] says so, and prints what was acknowledged.
#[tokio::test]
async fn child_that_commits_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let store = Embedded::open(Path::new(&path)).await.unwrap();
    let last = store.get("last").await.unwrap();
    let mut modified = last.as_ref().map(|entry| entry.modified);
    let mut n: u64 = last.map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap());
    loop {
        n += 1;
        let precondition = match modified {
            Some(revision) => Precondition::Unchanged("last".to_owned(), revision),
            None => Precondition::Absent("last".to_owned()),
        };
        // Of some pages, so that a commit is many writes to the file.
        let value = Bytes::from(format!("{n:010}").repeat(2_000));
        let commit = Commit {
            preconditions: vec![precondition],
            writes: vec![
                Write::Put("last".to_owned(), Bytes::from(n.to_string())),
                Write::Put(format!("body/{}", n % 20), value.clone()),
                Write::Put(format!("copy/{}", n % 20), value),
            ],
        };
        match store.commit(commit).await.unwrap() {
            Committed::Done(revision) => modified = Some(revision),
            Committed::Conflict => panic!("nobody else writes"),
        }
        println!("acknowledged {n}");
    }
}

#[tokio::test]
async fn a_process_killed_while_it_commits_leaves_every_acknowledged_commit() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store");
    let mut acknowledged = 0;
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "store::embedded::tests::child_that_commits_until_it_is_killed"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let numbers = |line: std::io::Result<String>| {
            let line = line.ok()?;
            let (_, number) = line.split_once("acknowledged ")?;
            number.trim().parse::<u64>().ok()
        };
        // Killed after another number of commits each time, somewhere inside the next one.
        while seen <= round * 3 {
            let line = lines.next().expect("it goes on until it is killed");
            if let Some(number) = numbers(line) {
                acknowledged = number;
                seen += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = lines.filter_map(numbers).last().unwrap_or(acknowledged);

        let store = Embedded::open(&path).await.unwrap();
        let values: BTreeMap<_, _> = store
            .load("")
            .await
            .unwrap()
            .entries
            .into_iter()
            .map(|entry| (entry.key.to_string(), (entry.value, entry.modified)))
            .collect();
        let last: u64 = std::str::from_utf8(&values["last"].0).unwrap().parse().unwrap();
        // The one after may be there too: done, and killed before it could say so.
        assert!(last == acknowledged || last == acknowledged + 1, "{last} after {acknowledged}");
        for n in last.saturating_sub(19).max(1)..=last {
            let expected = Bytes::from(format!("{n:010}").repeat(2_000));
            let (body, copy) = (&values[&format!("body/{}", n % 20)], &values[&format!("copy/{}", n % 20)]);
            assert_eq!(body.0, expected, "commit {n} is whole");
            assert_eq!(copy, body, "commit {n} is whole");
        }
        acknowledged = last;
    }
}

#[tokio::test]
async fn many_commits_at_once_share_the_disk_and_keep_their_own_revisions() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder).await;
    let start = store.load("").await.unwrap().revision;
    let commits = (0..200_u64).map(|n| {
        let store = &store;
        async move { put(store, &n.to_string(), "v").await }
    });
    let mut revisions = futures_util::future::join_all(commits).await;
    revisions.sort_unstable();
    assert_eq!(revisions, (start + 1..=start + 200).collect::<Vec<_>>());
    let mut watch = store.watch("", start);
    for revision in revisions {
        let event = futures_util::StreamExt::next(&mut watch).await.unwrap().unwrap();
        assert!(matches!(event, WatchEvent::Changes { revision: told, .. } if told == revision), "{event:?}");
    }
}

/// Set for the child of the next test, to the file.
const FULL_CHILD: &str = "KT_TEST_EMBEDDED_FULL";

/// Not a test of its own: see the next.
#[tokio::test]
async fn child_with_a_small_disk() {
    let Ok(path) = std::env::var(FULL_CHILD) else { return };
    let store = Embedded::open(Path::new(&path)).await.unwrap();
    let big = |n: u32| Commit {
        preconditions: Vec::new(),
        writes: vec![Write::Put(format!("big/{n:04}"), Bytes::from(vec![b'b'; 500_000]))],
    };
    let mut done = 0;
    let error = loop {
        match store.commit(big(done)).await {
            Ok(_) => done += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    // Nothing of it was written; what was acknowledged is there, and small commits may still fit.
    let loaded = store.load("big/").await.unwrap();
    assert_eq!(loaded.entries.len(), done as usize);
    for n in (done / 2..done).rev() {
        let delete = Commit { preconditions: Vec::new(), writes: vec![Write::Delete(format!("big/{n:04}"))] };
        match store.commit(delete).await {
            Ok(_) | Err(StoreError::Full(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(store.load("big/").await.unwrap().entries.len() <= done as usize);
    println!("survived {done}");
}

#[tokio::test]
async fn a_full_disk_is_named_and_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store");
    // A limit on the size of files stands for a full disk: `ulimit` counts in KiB; writing beyond it is EFBIG where
    // the signal is ignored.
    let program = std::env::current_exe().unwrap();
    let output = Command::new("bash")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 12000; exec \"$0\" --exact --nocapture store::embedded::tests::child_with_a_small_disk")
        .arg(program)
        .env(FULL_CHILD, &path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("survived"), "{text}");
}
