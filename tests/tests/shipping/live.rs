//! A log that is written and delivered at the same time.

use std::time::Duration;

use kt_audit::{
    dir::AuditDir,
    record::{Body, Kind},
};
use kt_tests::fake_ingest::FakeIngest;
use tokio::time::Instant;

use crate::spool::{Spool, assert_delivered, records};

#[tokio::test]
async fn what_is_written_is_delivered_in_order_once_and_whole() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    let earlier = spool.write(300).await;
    let run = spool.run(&server.url());
    let ids = spool.append(&run.log, 3_000).await;
    assert!(run.stop().await, "everything is acknowledged");
    let kept = store.kept();
    assert_delivered(&kept, &[earlier, ids].concat());
    assert_eq!((kept.duplicates, kept.conflicts, kept.losses.len()), (0, 0, 0));
    let written = records(&spool.audit());
    assert_eq!(
        kept.len(),
        written.len(),
        "the log's own records are delivered too, the last checkpoint as well"
    );
    let shipped = AuditDir::open(&spool.audit()).unwrap().shipped().unwrap().unwrap();
    let last = written.last().unwrap();
    assert_eq!(
        shipped.marks.last().map(|mark| (mark.sequence, Some(mark.hash))),
        Some((last.sequence, last.hash()))
    );
    let hello = &kept.hellos[0];
    assert_eq!((hello.gateway_id.as_str(), hello.runs.len(), hello.public_keys.len()), ("gateway-1", 2, 1));
}

#[tokio::test]
async fn a_checkpoint_is_countersigned_and_the_word_is_kept() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    let run = spool.run(&server.url());
    spool.append(&run.log, 10).await;
    assert!(run.stop().await);
    let shipped = AuditDir::open(&spool.audit()).unwrap().shipped().unwrap().unwrap();
    let countersigned = shipped.countersigned.expect("the last batch holds the checkpoint of the stop");
    assert_eq!(countersigned.key, store.key().id());
    let covered = records(&spool.audit()).iter().rev().nth(1).unwrap().hash();
    assert_eq!(Some(countersigned.covers.hash), covered);
}

#[tokio::test]
async fn records_arrive_while_the_log_is_written_not_only_at_its_end() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    let run = spool.run(&server.url());
    for round in 1..=3 {
        spool.append(&run.log, 5).await;
        store.until(|kept| (kept.closed().len() == 5 * round).then_some(())).await;
    }
    assert_eq!(store.kept().hellos.len(), 1, "one connection does");
    run.stop().await;
}

#[tokio::test]
async fn names_are_sent_beside_the_batches_and_never_in_them() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    let run = spool.run(&server.url());
    let pseudonym = run.log.subject("person1@example.com").pseudonym();
    spool.append(&run.log, 30).await;
    assert!(run.stop().await);
    let kept = store.kept();
    let mut names: Vec<_> = kept.names.values().cloned().collect();
    names.sort();
    assert_eq!(names, ["person0@example.com", "person1@example.com", "person2@example.com"]);
    assert_eq!(kept.names[&hex::decode(pseudonym.to_string()).unwrap()], "person1@example.com");
    for run in kept.runs.values() {
        for stored in run.values() {
            assert!(!String::from_utf8_lossy(&stored.payload).contains("person"), "a name is in a record");
        }
    }
    // They are not sent again.
    server.stop().await;
    let again = FakeIngest::new();
    let server = again.serve(0).await.unwrap();
    assert!(spool.run(&server.url()).stop().await);
    assert_eq!(again.kept().names.len(), 0);
}

#[tokio::test]
async fn whoever_is_to_be_erased_is_forgotten_and_the_erasure_is_recorded_and_delivered() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    spool.write(30).await;
    let pseudonym = {
        let (log, writer) = kt_data_plane::audit::open(&spool.audit(), &spool.settings).unwrap();
        writer.close(crate::spool::PATIENCE).await.unwrap();
        log.subject("person1@example.com").pseudonym()
    };
    let dir = AuditDir::open(&spool.audit()).unwrap();
    assert_eq!(dir.names().unwrap().name(pseudonym).as_deref(), Some("person1@example.com"));
    let backup = std::fs::read(spool.audit().join("subjects.keys")).unwrap();
    let bytes = hex::decode(pseudonym.to_string()).unwrap();
    store.set(|manner| manner.erase = vec![bytes.clone()]);

    let run = spool.run(&server.url());
    let erased = store.until(|kept| kept.erased.first().cloned()).await;
    assert_eq!((erased.pseudonym, erased.sealed), (bytes, 1));
    assert_eq!(dir.names().unwrap().name(pseudonym), None);
    // The person comes again: no name is sealed any more, the records have the pseudonym all the same.
    spool.append(&run.log, 30).await;
    assert!(run.stop().await);
    assert_eq!(dir.names().unwrap().name(pseudonym), None);
    let records: Vec<_> = store.kept().records().collect();
    let erasures: Vec<_> = records
        .iter()
        .filter_map(|record| if let Body::Erasure(erasure) = &record.body { Some(erasure) } else { None })
        .collect();
    assert_eq!(erasures.len(), 1);
    assert_eq!((erasures[0].subject, erasures[0].sealed), (pseudonym, 1));
    assert_eq!(erasures[0].reference.as_deref(), Some("T-1"));
    assert_eq!(dir.verify(None, &[]).unwrap().breaks, []);

    // Keys that are put back from a backup are destroyed at the next start; nothing is recorded twice.
    std::fs::write(spool.audit().join("subjects.keys"), backup).unwrap();
    let run = spool.run(&server.url());
    assert_eq!(dir.names().unwrap().name(pseudonym), None);
    store.until(|kept| (kept.erased.len() == 2).then_some(())).await;
    assert!(run.stop().await);
    let kinds: Vec<_> = store.kept().records().map(|record| record.body.kind()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Erasure).count(), 1);
}

#[tokio::test]
async fn delivered_segments_are_cut_and_others_never_are() {
    let mut spool = Spool::new();
    spool.settings.delivery.as_mut().unwrap().keep = Duration::ZERO;
    // Long out of their retention, were they not to be delivered.
    spool.settings.default_retention.days = 1;
    let segments = |spool: &Spool| AuditDir::open(&spool.audit()).unwrap().segments().unwrap().len();
    let store = FakeIngest::new();
    store.set(|manner| manner.is_frozen = true);
    let server = store.serve(0).await.unwrap();
    let run = spool.run(&server.url());
    let mut ids = spool.append(&run.log, 2_000).await;
    store.until(|kept| (kept.batches > 0).then_some(())).await;
    let before = segments(&spool);
    assert!(before > 5, "{before} segments");
    // Two looks of the writer later nothing is gone.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(segments(&spool), before, "nothing is acknowledged");
    run.abandon().await;

    store.set(|manner| manner.is_frozen = false);
    let run = spool.run(&server.url());
    let started = Instant::now();
    while segments(&spool) > 3 {
        assert!(started.elapsed() < crate::spool::PATIENCE, "{} segments are left", segments(&spool));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ids.extend(spool.append(&run.log, 10).await);
    assert!(run.stop().await);
    let kept = store.kept();
    assert_delivered(&kept, &ids);
    let report = AuditDir::open(&spool.audit()).unwrap().verify(None, &[]).unwrap();
    assert_eq!(report.breaks, [], "tombstones explain what is gone");
    let is_delivered = |record: kt_audit::Record| match record.body {
        Body::Tombstone(tombstone) => Some(tombstone.delivered),
        _ => None,
    };
    assert_eq!(kept.records().find_map(is_delivered), Some(true));
}
