//! Acknowledgement, exclusion and closing.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kt_audit::dir::{AuditDir, layout};
use kt_audit::record::{Body, Closed, DropReason, End, Kind};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::support::{closed, facts, opened, records};
use crate::audit::{AppendError, Durability, OpenError, Receipt, Settings, open};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn each_durability_is_acknowledged_as_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, log) = open(dir.path(), &Settings::default()).unwrap();
    let receipt = handle.append(opened(1), Durability::Block, None).await.unwrap();
    assert_eq!(receipt, Receipt::Written { sequence: 2 });
    assert_eq!(records(dir.path()).last().unwrap().0, 2, "written means readable at once");
    let receipt = handle.append(closed(1), Durability::Sync, None).await.unwrap();
    assert_eq!(receipt, Receipt::Synced { sequence: 3 });
    let receipt = handle.append(closed(2), Durability::BestEffort, None).await.unwrap();
    assert_eq!(receipt, Receipt::Queued);
    log.close(LIMIT).await.unwrap();
    let kinds: Vec<_> = records(dir.path()).iter().map(|(_, record)| record.body.kind()).collect();
    use Kind::{Checkpoint, Closed, Epoch, Opened};
    assert_eq!(kinds, [Epoch, Checkpoint, Opened, Closed, Closed, Checkpoint]);
}

#[tokio::test]
async fn a_directory_has_one_writer_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (_handle, log) = open(dir.path(), &Settings::default()).unwrap();
    let error = open(dir.path(), &Settings::default()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    log.close(LIMIT).await.unwrap();
    open(dir.path(), &Settings::default()).unwrap();
}

#[test]
fn why_a_directory_cannot_be_opened_leaves_its_path_to_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = open(&file, &Settings::default()).unwrap_err();
    assert!(matches!(error, OpenError::Dir(_)), "{error:?}");
    let lock = dir.path().join(layout::LOCK);
    std::fs::create_dir(&lock).unwrap();
    let error = open(dir.path(), &Settings::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("its file `{}` can't be used", layout::LOCK));
}

#[tokio::test]
async fn a_request_left_open_is_closed_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, log) = open(dir.path(), &Settings::default()).unwrap();
    for id in [1, 2] {
        handle.append(opened(id), Durability::Block, None).await.unwrap();
    }
    handle.append(closed(1), Durability::Block, None).await.unwrap();
    log.close(LIMIT).await.unwrap();
    for _ in 0..2 {
        let (_, log) = open(dir.path(), &Settings::default()).unwrap();
        log.close(LIMIT).await.unwrap();
    }
    let interrupted: Vec<_> = records(dir.path())
        .into_iter()
        .filter_map(|(_, record)| match record.body {
            Body::Closed(closed) if closed.end == End::Interrupted => Some(closed),
            _ => None,
        })
        .collect();
    assert_eq!(interrupted.len(), 1);
    assert_eq!(interrupted[0].id.as_u128(), 2);
    assert_eq!(interrupted[0].request.requested_model.as_deref(), Some("llama"));
}

#[tokio::test]
async fn a_name_is_sealed_once_and_stands_in_no_record() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (handle, log) = open(dir.path(), &Settings::default()).unwrap();
        let ada = handle.subject("ada@example.com");
        for id in 0..3 {
            let request = facts(Some(ada.pseudonym()));
            let body =
                Body::Closed(Box::new(Closed { id: Uuid::from_u128(id), request, ..Closed::default() }));
            handle.append(body, Durability::Block, Some(&ada)).await.unwrap();
        }
        log.close(LIMIT).await.unwrap();
    }
    let audit = AuditDir::open(dir.path()).unwrap();
    let subjects: HashSet<_> = records(dir.path())
        .into_iter()
        .filter_map(|(_, record)| match record.body {
            Body::Closed(closed) => closed.request.caller.subject,
            _ => None,
        })
        .collect();
    assert_eq!(subjects.len(), 1);
    let pseudonym = subjects.into_iter().next().unwrap();
    assert_eq!(audit.names().unwrap().name(pseudonym).as_deref(), Some("ada@example.com"));
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        assert!(
            !content.windows(15).any(|bytes| bytes == b"ada@example.com"),
            "{} has the name",
            path.display()
        );
    }
    let sealed = std::fs::read_to_string(dir.path().join(layout::SEALED_NAMES)).unwrap();
    assert_eq!(sealed.lines().count(), 1);
    // Without its key the name is gone, and the chain is whole.
    std::fs::write(dir.path().join(layout::SUBJECT_KEYS), "").unwrap();
    assert_eq!(audit.names().unwrap().name(pseudonym), None);
    assert_eq!(audit.verify(None, &[]).unwrap().breaks, []);
}

#[tokio::test]
async fn keys_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, log) = open(dir.path(), &Settings::default()).unwrap();
    let ada = handle.subject("ada");
    handle.append(closed(1), Durability::Block, Some(&ada)).await.unwrap();
    log.close(LIMIT).await.unwrap();
    for name in [layout::SIGNING_KEY, layout::PSEUDONYM_KEY, layout::SUBJECT_KEYS] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_full_directory_refuses_by_type_after_a_bounded_wait() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        max_bytes: 800 << 10,
        reserve_bytes: 64 << 10,
        full_wait: Duration::from_millis(20),
        ..Settings::default()
    };
    let (handle, log) = open(dir.path(), &settings).unwrap();
    let mut id = 0;
    let error = loop {
        id += 1;
        match handle.append(opened(id), Durability::Block, None).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Full) && error.is_transient());
    let queued = handle.append(opened(2_000_000), Durability::BestEffort, None).await.unwrap();
    assert_eq!(queued, Receipt::Queued);
    let dropped = || handle.metrics().dropped().map(|(_, count)| count).sum::<u64>();
    let told = async {
        while dropped() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, told).await.expect("dropped when its wait is over");
    // A refusal has the reserve, an admitted request its room.
    handle.append(closed(1_000_000), Durability::Block, None).await.unwrap();
    for id in 1..id {
        handle.append(closed(id), Durability::Block, None).await.unwrap();
    }
    log.close(LIMIT).await.unwrap();
    let metrics = handle.metrics();
    assert!(metrics.bytes.load(Ordering::Relaxed) <= settings.max_bytes);
    assert_eq!(dropped(), 1);
    let report = AuditDir::open(dir.path()).unwrap().verify(None, &[]).unwrap();
    assert_eq!(report.breaks, []);
    assert_eq!(report.dropped.values().sum::<u64>(), 1, "the drop is told in the chain");
}

#[tokio::test]
async fn a_log_that_is_known_to_be_full_refuses_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        max_bytes: 800 << 10,
        reserve_bytes: 64 << 10,
        full_wait: Duration::from_hours(1),
        ..Settings::default()
    };
    let (handle, log) = open(dir.path(), &settings).unwrap();
    let full = async {
        let mut id = 0;
        loop {
            // An admission that gets through shows that there is room; this is the wait that another had in vain.
            handle.give_up();
            id += 1;
            if let Err(error) = handle.append(opened(id), Durability::Block, None).await {
                return (id, error);
            }
        }
    };
    let (refused, error) = tokio::time::timeout(LIMIT, full).await.expect("no wait of an hour");
    assert!(matches!(error, AppendError::Full));
    let refusals = async {
        // The end of the refused request has the reserve; when that is used up too, it waits no more than the rest.
        let mut id = refused;
        while handle.append(closed(id), Durability::Block, None).await.is_ok() {
            id += 1_000_000;
        }
        for durability in [Durability::Block, Durability::Sync] {
            let error = handle.append(opened(refused), durability, None).await.unwrap_err();
            assert!(matches!(error, AppendError::Full));
        }
    };
    tokio::time::timeout(LIMIT, refusals).await.expect("no wait of an hour");
    log.close(LIMIT).await.unwrap();
}

#[tokio::test]
async fn many_sync_appends_share_few_fsyncs_and_all_are_covered() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, log) = open(dir.path(), &Settings::default()).unwrap();
    let mut tasks = JoinSet::new();
    for id in 0..400 {
        let handle = handle.clone();
        tasks.spawn(async move { handle.append(closed(id), Durability::Sync, None).await.unwrap() });
    }
    let receipts = tasks.join_all().await;
    assert!(receipts.iter().all(|receipt| matches!(receipt, Receipt::Synced { .. })));
    let syncs = handle.metrics().syncs.load(Ordering::Relaxed);
    assert!(syncs < 100, "{syncs} fsyncs for 400 appends");
    log.close(LIMIT).await.unwrap();
    assert_eq!(records(dir.path()).len(), 400 + 3);
}

#[tokio::test]
async fn a_block_append_is_synced_within_the_interval_without_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { fsync_interval: Duration::from_millis(10), ..Settings::default() };
    let (handle, log) = open(dir.path(), &settings).unwrap();
    handle.append(closed(1), Durability::Block, None).await.unwrap();
    let synced = async {
        while handle.metrics().synced.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, synced).await.expect("synced in the background");
    log.close(LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_closed_log_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, log) = open(dir.path(), &Settings::default()).unwrap();
    log.close(LIMIT).await.unwrap();
    let error = handle.append(closed(1), Durability::Block, None).await.unwrap_err();
    assert!(matches!(error, AppendError::Closed) && !error.is_transient());
    let receipt = handle.append(closed(1), Durability::BestEffort, None).await.unwrap();
    assert_eq!(receipt, Receipt::Dropped { reason: DropReason::ShuttingDown });
}

#[test]
fn settings_that_leave_no_room_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { max_bytes: 100_000, ..Settings::default() };
    let error = open(dir.path(), &settings).unwrap_err();
    assert!(error.to_string().contains("byte cap 100000 is too small"), "{error}");
    let settings = Settings { queue_records: 0, ..Settings::default() };
    assert!(open(dir.path(), &settings).unwrap_err().to_string().contains("`queue_records`"));
}
