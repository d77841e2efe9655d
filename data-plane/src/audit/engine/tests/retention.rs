//! Old segments go, whole and explained; nothing goes early.

use kt_audit::record::{Closed as ClosedRecord, Opened, RequestFacts, Retention};
use kt_audit::verify::BreakKind;

use super::disk::{Disk, Fault};
use super::*;

const DAY: i64 = 86_400_000_000;

fn kept(id: u128, days: u32) -> Body {
    let retention = Some(Retention { days, immutable: false });
    let request = RequestFacts { retention, ..RequestFacts::default() };
    let id = Uuid::from_u128(id);
    Body::Closed(Box::new(ClosedRecord { id, request, ..ClosedRecord::default() }))
}

fn ids(disk: &Disk) -> Vec<u128> {
    stored(disk).iter().filter_map(|record| record.body.request_id()).map(|id| id.as_u128()).collect()
}

#[test]
fn segments_go_when_their_longest_retention_has_passed_and_not_before() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    put(&mut engine, kept(1, 10), NOW).unwrap();
    put(&mut engine, kept(2, 40), NOW + 1).unwrap();
    put(&mut engine, kept(3, 10), NOW + 2).unwrap();
    put(&mut engine, kept(4, 365), NOW + 3).unwrap();
    engine.maintain(NOW + 9 * DAY, NOW + 9 * DAY);
    assert_eq!(ids(&disk), [1, 2, 3, 4]);
    engine.maintain(NOW + 11 * DAY, NOW + 11 * DAY);
    assert_eq!(ids(&disk), [2, 4]);
    sync(&mut engine, NOW + 11 * DAY);
    let report = verify(&disk);
    assert_eq!((report.breaks, report.cut_by_retention), (vec![], 2));
    engine.maintain(NOW + 41 * DAY, NOW + 41 * DAY);
    assert_eq!(ids(&disk), [4]);
    let report = verify(&disk);
    assert_eq!((report.breaks, report.cut_by_retention), (vec![], 1), "the cuts are one gap now");
}

#[test]
fn a_tombstone_outlives_its_own_segment() {
    let disk = Disk::default();
    let mut now = NOW;
    let mut engine = start(
        &disk,
        Settings { default_retention: Retention { days: 10, immutable: false }, ..settings() },
        1,
        now,
    );
    for round in 0..12_u128 {
        for id in 0..30 {
            put(&mut engine, kept(round * 100 + id, 10), now).unwrap();
        }
        now += 4 * DAY;
        engine.maintain(now, now);
        sync(&mut engine, now);
        assert_eq!(verify(&disk).breaks, [], "round {round}");
    }
    assert!(!ids(&disk).contains(&0) && ids(&disk).contains(&1_100));
    // A restart knows the gap as well.
    let mut engine = start(&disk, settings(), 2, now);
    now += 40 * DAY;
    engine.maintain(now, now);
    sync(&mut engine, now);
    assert_eq!(verify(&disk).breaks, []);
}

#[test]
fn a_gap_that_retention_did_not_make_is_never_explained_by_it() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    for id in 0..100 {
        put(&mut engine, kept(id, 10), NOW).unwrap();
    }
    put(&mut engine, kept(200, 365), NOW).unwrap();
    // Somebody takes the last of the short-lived segments.
    let names: Vec<_> = segments(&disk).into_iter().map(|(name, _)| name).collect();
    let stolen = names[names.len() - 2];
    disk.delete(&stolen.to_string());
    drop(engine);
    let mut engine = start(&disk, settings(), 2, NOW);
    for _ in 0..10 {
        engine.maintain(NOW + 20 * DAY, NOW + 20 * DAY);
    }
    assert!(!ids(&disk).contains(&50), "what had expired is gone");
    assert!(verify(&disk).first(BreakKind::Missing).is_some());
}

#[test]
fn a_crash_between_tombstone_and_removal_is_no_break() {
    for operations in 0..12 {
        let disk = Disk::default();
        let mut engine = start(&disk, settings(), 1, NOW);
        for id in 0..60 {
            put(&mut engine, kept(id, 10), NOW).unwrap();
        }
        put(&mut engine, kept(200, 365), NOW).unwrap();
        disk.die_after(operations);
        engine.maintain(NOW + 20 * DAY, NOW + 20 * DAY);
        drop(engine);
        disk.restart();
        let mut engine = start(&disk, settings(), 2, NOW + 20 * DAY);
        assert_eq!(verify(&disk).breaks, [], "after {operations} operations");
        engine.maintain(NOW + 20 * DAY, NOW + 20 * DAY);
        assert_eq!(verify(&disk).breaks, [], "after {operations} operations");
        assert!(!ids(&disk).contains(&0));
    }
}

#[test]
fn a_segment_that_can_not_be_removed_is_tried_again() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    put(&mut engine, kept(1, 10), NOW).unwrap();
    put(&mut engine, kept(2, 365), NOW).unwrap();
    disk.fail_next(Fault::Remove);
    let later = NOW + 400 * DAY;
    put(&mut engine, kept(3, 3_000), NOW + DAY).unwrap();
    engine.maintain(later, later);
    assert_eq!(ids(&disk), [1, 2, 3]);
    engine.maintain(later, later);
    assert_eq!(ids(&disk), [3]);
    assert_eq!(verify(&disk).breaks, []);
}

#[test]
fn a_clock_that_goes_back_cuts_nothing_early() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    put(&mut engine, kept(1, 10), NOW).unwrap();
    // The next segment is begun five days earlier by the wall clock.
    put(&mut engine, kept(2, 365), NOW - 5 * DAY).unwrap();
    engine.maintain(NOW + 9 * DAY, NOW + 9 * DAY);
    assert_eq!(ids(&disk), [1, 2]);
    let times: Vec<_> = verify(&disk).times_us.into_iter().collect();
    assert!(times[0].1 >= NOW);
}

#[test]
fn an_open_request_in_an_old_segment_still_ends() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    let request =
        RequestFacts { retention: Some(Retention { days: 1, immutable: false }), ..RequestFacts::default() };
    let id = Uuid::from_u128(5);
    put(&mut engine, Body::Opened(Box::new(Opened { id, request, ..Opened::default() })), NOW).unwrap();
    put(&mut engine, kept(6, 365), NOW).unwrap();
    engine.maintain(NOW + 3 * DAY, NOW + 3 * DAY);
    drop(engine);
    start(&disk, settings(), 2, NOW + 3 * DAY);
    assert!(ids(&disk).contains(&5));
    assert_eq!(verify(&disk).breaks, []);
}
