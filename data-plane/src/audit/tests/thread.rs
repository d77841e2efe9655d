//! Acknowledgement, exclusion and closing.

use std::time::Duration;

use kt_audit::record::{End, Kind};

use super::support::{closed, opened, records};
use crate::audit::{Durability, OpenError, Receipt, Settings, open};
use kt_audit::record::Body;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn each_durability_is_acknowledged_as_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, log) = open(dir.path(), Settings::default()).unwrap();
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
    let (_handle, log) = open(dir.path(), Settings::default()).unwrap();
    let error = open(dir.path(), Settings::default()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    log.close(LIMIT).await.unwrap();
    open(dir.path(), Settings::default()).unwrap();
}

#[tokio::test]
async fn a_request_left_open_is_closed_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, log) = open(dir.path(), Settings::default()).unwrap();
    for id in [1, 2] {
        handle.append(opened(id), Durability::Block, None).await.unwrap();
    }
    handle.append(closed(1), Durability::Block, None).await.unwrap();
    log.close(LIMIT).await.unwrap();
    for _ in 0..2 {
        let (_, log) = open(dir.path(), Settings::default()).unwrap();
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
