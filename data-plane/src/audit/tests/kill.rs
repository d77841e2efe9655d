//! A real process, killed with SIGKILL under load.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kt_audit::dir::AuditDir;
use kt_audit::record::{Body, End};
use tokio::task::JoinSet;

use super::support::{closed, opened, records};
use crate::audit::{Durability, Settings, open};

const DIR: &str = "KT_TEST_AUDIT_CHILD";
const FIRST: &str = "KT_TEST_AUDIT_FIRST";
const KILLS: u64 = 12;
const NAME: &str = "audit::tests::kill::a_killed_process_has_lost_no_acknowledged_record";

#[test]
fn a_killed_process_has_lost_no_acknowledged_record() {
    // This test is its own victim: it starts itself again as the process that is killed.
    if let Ok(dir) = std::env::var(DIR) {
        return victim(Path::new(&dir), std::env::var(FIRST).unwrap().parse().unwrap());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acked = HashSet::new();
    for round in 0..KILLS {
        let enough = usize::try_from(150 + 97 * round).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(DIR, dir.path())
            .env(FIRST, (round * 1_000_000).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let ids =
            |line: String| -> Option<u64> { line.strip_prefix("acked ")?.strip_suffix(" .")?.parse().ok() };
        acked.extend(lines.by_ref().filter_map(ids).take(enough));
        child.kill().unwrap();
        // What it had said before it died counts too; the last line may be cut.
        acked.extend(lines.filter_map(ids));
        child.wait().unwrap();
    }
    let (_, log) = open(dir.path(), &Settings::default()).unwrap();
    drop(log);

    let mut opens = HashSet::new();
    let mut ends = HashSet::new();
    let mut interrupted = 0;
    for (_, record) in records(dir.path()) {
        match record.body {
            Body::Opened(opened) => assert!(opens.insert(opened.id), "{} is there twice", opened.id),
            Body::Closed(closed) => {
                assert!(ends.insert(closed.id), "{} has two ends", closed.id);
                interrupted += u32::from(closed.end == End::Interrupted);
            }
            _ => {}
        }
    }
    let lost: Vec<_> =
        acked.iter().filter(|id| !ends.contains(&uuid::Uuid::from_u128(u128::from(**id)))).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(opens, ends, "each request has one end");
    assert!(
        acked.len() as u64 > 150 * KILLS && interrupted > 0,
        "{} acked, {interrupted} interrupted",
        acked.len()
    );
    let report = AuditDir::open(dir.path()).unwrap().verify(None, &[]).unwrap();
    assert_eq!(report.breaks, []);
    assert_eq!(report.epochs, KILLS + 1);
}

/// Appends pairs of records from many tasks until it is killed, and says which pairs were acknowledged.
fn victim(dir: &Path, first: u64) {
    let settings = Settings { segment_bytes: 64 << 10, checkpoint_records: 50, ..Settings::default() };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let (handle, _log) = open(dir, &settings).unwrap();
        let next = Arc::new(AtomicU64::new(first));
        let mut tasks = JoinSet::new();
        for task in 0..16 {
            let (handle, next) = (handle.clone(), next.clone());
            let durability = if task % 8 == 0 { Durability::Sync } else { Durability::Block };
            tasks.spawn(async move {
                loop {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    handle.append(opened(u128::from(id)), Durability::Block, None).await.unwrap();
                    handle.append(closed(u128::from(id)), durability, None).await.unwrap();
                    let line = format!("acked {id} .\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            });
        }
        tasks.join_all().await;
    });
}
