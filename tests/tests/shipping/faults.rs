//! Stores that are slow, frozen, silent, gone, forgetful or of another version.

use std::time::Duration;

use kt_audit::{dir::AuditDir, segment::HEADER_LEN};
use kt_proto::{
    refusal::{Code, Refusal},
    v1,
};
use kt_tests::fake_ingest::FakeIngest;

use crate::spool::{Spool, assert_delivered, records};

/// Records that fill several batches of the smallest size.
const MANY: usize = 3_000;

/// Small batches, so that there are many.
fn small(store: &FakeIngest) {
    store.set(|manner| manner.max_batch_records = 50);
}

#[tokio::test]
async fn a_stream_that_breaks_between_store_and_answer_costs_duplicates_and_loses_nothing() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    small(&store);
    store.set(|manner| manner.breaks_after = Some(7));
    let server = store.serve(0).await.unwrap();
    let run = spool.run(&server.url());
    let ids = spool.append(&run.log, MANY).await;
    store.until(|kept| (kept.hellos.len() >= 4).then_some(())).await;
    store.set(|manner| manner.breaks_after = None);
    store.until(|kept| (kept.closed().len() == MANY).then_some(())).await;
    assert!(run.stop().await);
    let kept = store.kept();
    assert_delivered(&kept, &ids);
    assert_eq!(kept.conflicts, 0);
}

#[tokio::test]
async fn a_store_that_comes_back_at_the_same_address_gets_what_it_misses() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    let (url, port) = (server.url(), server.addr.port());
    let run = spool.run(&url);
    let mut ids = spool.append(&run.log, 100).await;
    store.until(|kept| (kept.closed().len() == 100).then_some(())).await;
    server.stop().await;
    ids.extend(spool.append(&run.log, 200).await);
    let _server = store.serve(port).await.unwrap();
    store.until(|kept| (kept.closed().len() == 300).then_some(())).await;
    assert!(run.stop().await);
    let kept = store.kept();
    assert_delivered(&kept, &ids);
    assert_eq!(kept.duplicates, 0, "it goes on where the store says that it is");
}

#[tokio::test]
async fn a_frozen_store_is_given_no_more_than_a_window_and_a_thawed_one_gets_the_rest() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    small(&store);
    store.set(|manner| {
        manner.is_frozen = true;
        manner.window = 3;
    });
    let server = store.serve(0).await.unwrap();
    let run = spool.run(&server.url());
    let ids = spool.append(&run.log, MANY).await;
    store.until(|kept| (kept.batches == 3).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(store.kept().batches, 3, "a window, and not a batch more");
    // It never answers what it has; the gateway stops, and the next run begins anew.
    run.abandon().await;
    store.set(|manner| manner.is_frozen = false);
    let run = spool.run(&server.url());
    assert!(run.stop().await);
    let kept = store.kept();
    assert_delivered(&kept, &ids);
    assert_eq!(kept.conflicts, 0);
}

#[tokio::test]
async fn a_silent_store_is_taken_for_dead_within_its_own_limit() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    store.set(|manner| manner.is_silent = true);
    let server = store.serve(0).await.unwrap();
    let run = spool.run(&server.url());
    spool.append(&run.log, 10).await;
    store.until(|kept| (kept.hellos.len() >= 2).then_some(())).await;
    store.set(|manner| manner.is_silent = false);
    store.until(|kept| (kept.closed().len() == 10).then_some(())).await;
    assert!(run.stop().await);
    assert_eq!(store.kept().breaks(), Vec::<String>::new());
}

#[tokio::test]
async fn a_slow_store_and_one_that_asks_for_time_get_everything_in_order() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    small(&store);
    store.set(|manner| {
        manner.delay = Duration::from_millis(5);
        manner.slow_down = Some(Duration::from_millis(300));
    });
    let server = store.serve(0).await.unwrap();
    let run = spool.run(&server.url());
    let ids = spool.append(&run.log, MANY).await;
    assert!(run.stop().await);
    let kept = store.kept();
    assert_delivered(&kept, &ids);
    assert_eq!(kept.duplicates, 0);
}

#[tokio::test]
async fn a_store_that_was_put_back_from_a_backup_gets_again_what_is_still_here() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    let run = spool.run(&server.url());
    let mut ids = spool.append(&run.log, 500).await;
    assert!(run.stop().await);
    store.forget_from(120);
    let run = spool.run(&server.url());
    ids.extend(spool.append(&run.log, 5).await);
    assert!(run.stop().await);
    let kept = store.kept();
    assert_delivered(&kept, &ids);
}

#[tokio::test]
async fn a_server_that_drains_is_left_and_found_again_without_a_duplicate() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    small(&store);
    store.set(|manner| manner.drains_after = Some(5));
    let server = store.serve(0).await.unwrap();
    let run = spool.run(&server.url());
    let ids = spool.append(&run.log, MANY).await;
    assert!(run.stop().await);
    let kept = store.kept();
    assert!(kept.hellos.len() > 1, "{} connections", kept.hellos.len());
    assert_delivered(&kept, &ids);
    assert_eq!(kept.duplicates, 0);
}

#[tokio::test]
async fn a_store_that_refuses_is_asked_again_later_and_nothing_is_lost_meanwhile() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    let refusal = |code| Some(Refusal::new(code, "no"));
    store.set(|manner| manner.refuses = refusal(Code::StoreUnavailable));
    let server = store.serve(0).await.unwrap();
    let run = spool.run(&server.url());
    let ids = spool.append(&run.log, 100).await;
    assert!(!run.stop().await, "it is said that not everything is there");
    store.set(|manner| manner.refuses = refusal(Code::FormatUnsupported));
    assert!(!spool.run(&server.url()).stop().await);
    store.set(|manner| manner.refuses = None);
    assert!(spool.run(&server.url()).stop().await);
    let kept = store.kept();
    assert_delivered(&kept, &ids);
    assert_eq!(kept.hellos[0].runs.len(), 3);
}

#[tokio::test]
async fn a_damaged_spool_delivers_the_rest_and_tells_of_the_hole() {
    let mut spool = Spool::new();
    let ids = spool.write(1_000).await;
    let dir = AuditDir::open(&spool.audit()).unwrap();
    let segments = dir.segments().unwrap();
    // A record in the middle of one segment, the header of another, and all of a third.
    let change = |index: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let path = spool.audit().join(segments[index].name.to_string());
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
    };
    change(1, &|bytes| bytes[HEADER_LEN + 10_000] ^= 1);
    change(2, &|bytes| bytes[20] ^= 1);
    std::fs::remove_file(spool.audit().join(segments[4].name.to_string())).unwrap();
    let readable = records(&spool.audit()).len();

    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    assert!(spool.run(&server.url()).stop().await);
    let kept = store.kept();
    assert_eq!(kept.faults, Vec::<String>::new());
    // What the new run has written is there too.
    assert!(kept.len() > readable, "{} of {readable}", kept.len());
    let closed = kept.closed();
    let lost = ids.iter().filter(|id| !closed.contains(id)).count();
    assert!((2..400).contains(&lost), "{lost} lost");
    let whys: Vec<_> = kept.losses.iter().map(v1::ShipLoss::why).collect();
    assert_eq!(whys, [v1::ship_loss::Why::Damaged, v1::ship_loss::Why::Cut]);
}

#[tokio::test]
async fn records_of_another_chain_under_the_same_numbers_are_sent_and_not_silently_passed_over() {
    // A store that has other records under this run's numbers: a machine that was copied while it ran.
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    spool.write(50).await;
    assert!(spool.run(&server.url()).stop().await);
    store.alter_last();
    assert!(spool.run(&server.url()).stop().await);
    let kept = store.kept();
    assert!(kept.conflicts > 0, "the store sees both");
    assert!(kept.duplicates > 0, "the run is sent from its beginning");
}

#[tokio::test]
async fn a_copied_machine_delivers_both_chains_and_mixes_neither() {
    let mut spool = Spool::new();
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    let before = spool.write(50).await;
    let mut copy = Spool::new();
    std::fs::create_dir(copy.audit()).unwrap();
    for entry in std::fs::read_dir(spool.audit()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.audit().join(path.file_name().unwrap())).unwrap();
    }
    copy.skip(1_000);
    let (one, other) = (spool.run(&server.url()), copy.run(&server.url()));
    let here = spool.append(&one.log, 60).await;
    let there = copy.append(&other.log, 70).await;
    assert!(one.stop().await && other.stop().await);
    let kept = store.kept();
    assert_eq!((kept.breaks(), kept.conflicts), (vec![], 0));
    let mut closed = kept.closed();
    closed.sort();
    assert_eq!(closed, [before, here, there].concat());
    // What tells a store of it: two runs with one number.
    assert_eq!(kept.runs.len(), 3);
    let running: Vec<_> = kept.hellos.iter().map(|hello| hello.runs.last().unwrap().ordinal).collect();
    assert!(running.iter().all(|ordinal| *ordinal == 2), "{running:?}");
    assert_ne!(kept.hellos[0].process_id, kept.hellos[1].process_id);
}

#[tokio::test]
async fn what_was_cut_before_a_store_lost_it_is_told_as_missing() {
    let mut spool = Spool::new();
    spool.settings.delivery.as_mut().unwrap().keep = Duration::ZERO;
    let store = FakeIngest::new();
    let server = store.serve(0).await.unwrap();
    let run = spool.run(&server.url());
    spool.append(&run.log, 2_000).await;
    let dir = AuditDir::open(&spool.audit()).unwrap();
    let first = || dir.segments().unwrap()[0].name.number;
    let cut = async {
        while first() < 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::spool::PATIENCE, cut).await.expect("acknowledged segments go");
    assert!(run.stop().await);
    store.forget_from(0);
    let run = spool.run(&server.url());
    assert!(run.stop().await);
    let kept = store.kept();
    assert_eq!(kept.faults, Vec::<String>::new());
    assert_eq!(kept.losses.iter().map(v1::ShipLoss::why).collect::<Vec<_>>(), [v1::ship_loss::Why::Cut]);
    assert!(kept.len() < 1_500, "{} are here again", kept.len());
}
