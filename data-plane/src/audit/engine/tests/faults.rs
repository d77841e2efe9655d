//! Damage, full disks and failing ones, one at a time.

use std::sync::atomic::Ordering::Relaxed;

use kt_audit::record::{DamageKind, DropReason, End, Kind};
use kt_audit::verify::BreakKind;

use super::disk::{Disk, Fault};
use super::*;

fn kinds(disk: &Disk) -> Vec<Kind> {
    stored(disk).iter().map(|record| record.body.kind()).collect()
}

fn damage(disk: &Disk) -> Vec<DamageKind> {
    let records = stored(disk);
    let last = records.iter().rev().find_map(|record| match &record.body {
        Body::Epoch(start) => Some(start.damage.iter().map(|damage| damage.what).collect()),
        _ => None,
    });
    last.unwrap()
}

/// A log of one run with some requests, stopped cleanly.
fn written(disk: &Disk, requests: u128) {
    let mut engine = start(disk, settings(), 1, NOW);
    for id in 0..requests {
        put(&mut engine, opened(id), NOW).unwrap();
        put(&mut engine, closed(id), NOW).unwrap();
    }
    engine.stop(NOW);
    assert!(sync(&mut engine, NOW));
}

#[test]
fn a_kill_at_every_operation_leaves_a_log_that_starts_and_verifies() {
    for operations in 0..200 {
        let disk = Disk::default();
        let mut acked = 0;
        disk.die_after(operations);
        let opened_first = Engine::open(disk.clone(), settings(), Epoch([1; 16]), NOW, Arc::default());
        if let Ok(mut engine) = opened_first {
            for id in 0..30 {
                acked += u128::from(put(&mut engine, closed(id), NOW).is_ok());
                if id % 7 == 0 {
                    sync(&mut engine, NOW);
                }
            }
        }
        let died = disk.is_dead();
        disk.restart();
        let mut engine = start(&disk, settings(), 2, NOW);
        put(&mut engine, closed(99), NOW).unwrap();
        let closed = kinds(&disk).iter().filter(|kind| **kind == Kind::Closed).count() as u128;
        assert!(closed > acked, "after {operations} operations");
        assert_eq!(verify(&disk).breaks, [], "after {operations} operations");
        if !died {
            return;
        }
    }
    panic!("200 operations were not enough");
}

#[test]
fn a_short_write_is_continued() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    // Longer than the disk takes at once.
    let entries: Vec<_> = (0..8).map(|id| entry(closed(id))).collect();
    let results = engine.append(&entries.iter().collect::<Vec<_>>(), NOW);
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(verify(&disk).breaks, []);
}

#[test]
fn a_failed_write_moves_to_a_new_segment_and_loses_only_what_was_refused() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    put(&mut engine, closed(1), NOW).unwrap();
    for fault in [&[Fault::Write][..], &[Fault::Write, Fault::SetLen]] {
        for each in fault {
            disk.fail_next(*each);
        }
        assert!(matches!(put(&mut engine, closed(2), NOW), Err(AppendError::Io(_))));
        put(&mut engine, closed(3), NOW).unwrap();
        disk.forgive();
    }
    assert_eq!(verify(&disk).breaks, []);
    assert_eq!(segments(&disk).len(), 3);
    assert_eq!(engine.metrics.write_errors.load(Relaxed), 2);
}

#[test]
fn a_disk_that_takes_nothing_gathers_no_files() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    for _ in 0..20 {
        disk.fail_next(Fault::Write);
        disk.fail_next(Fault::Write);
        put(&mut engine, closed(2), NOW).unwrap_err();
    }
    disk.forgive();
    assert!(segments(&disk).len() <= 2, "{:?}", disk.names());
    put(&mut engine, closed(3), NOW).unwrap();
    assert_eq!(verify(&disk).breaks, []);
}

#[test]
fn a_failed_fsync_is_not_asked_again_for_the_same_file() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    put(&mut engine, closed(1), NOW).unwrap();
    disk.fail_next(Fault::Sync);
    assert!(!sync(&mut engine, NOW));
    put(&mut engine, closed(2), NOW).unwrap();
    assert!(sync(&mut engine, NOW));
    assert_eq!(segments(&disk).len(), 2);
    assert_eq!(engine.metrics.sync_errors.load(Relaxed), 1);
}

#[test]
fn a_full_disk_refuses_by_type_and_recovers() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    put(&mut engine, opened(1), NOW).unwrap();
    disk.set_capacity(Some(disk.used() + 40));
    assert!(matches!(put(&mut engine, opened(2), NOW), Err(AppendError::Full)));
    disk.set_capacity(None);
    put(&mut engine, opened(3), NOW).unwrap();
    let ids: Vec<_> = stored(&disk).iter().filter_map(|record| record.body.request_id()).collect();
    assert_eq!(ids.iter().map(Uuid::as_u128).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(verify(&disk).breaks, []);
}

#[test]
fn only_an_admitted_request_shows_that_waiting_for_room_helps_again() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    put(&mut engine, opened(1), NOW).unwrap();
    assert!(engine.may_wait());
    engine.gave_up();
    put(&mut engine, closed(1), NOW).unwrap();
    put(&mut engine, closed(2), NOW).unwrap();
    assert!(!engine.may_wait(), "ends and refusals have room of their own");
    put(&mut engine, opened(3), NOW).unwrap();
    assert!(engine.may_wait());
}

#[test]
fn what_is_held_on_the_disk_goes_to_refusals_and_ends_only() {
    let disk = Disk::default();
    let mut engine = start(&disk, Settings { reserve_bytes: 1 << 20, ..settings() }, 1, NOW);
    put(&mut engine, opened(1), NOW).unwrap();
    disk.set_capacity(Some(disk.used()));
    let admission = entry(opened(2));
    assert!(engine.append(&[&admission], NOW)[0].is_err());
    assert!(!engine.give_room(&admission));
    for body in [closed(1), closed(7)] {
        let entry = entry(body);
        assert!(engine.append(&[&entry], NOW)[0].is_err() && engine.give_room(&entry));
        engine.append(&[&entry], NOW)[0].as_ref().unwrap();
        disk.set_capacity(Some(disk.used()));
    }
    disk.set_capacity(None);
    engine.maintain(NOW, NOW);
    assert_eq!(disk.content(layout::RESERVE).unwrap().len(), 1 << 20, "held again once there is room");
}

#[test]
fn the_byte_cap_holds_and_keeps_room_for_ends_and_refusals() {
    let disk = Disk::default();
    let settings = Settings { max_bytes: 1_700 << 10, segment_bytes: 1 << 20, ..settings() };
    let mut engine = start(&disk, settings.clone(), 1, NOW);
    let mut admitted = Vec::new();
    while put(&mut engine, opened(admitted.len() as u128), NOW).is_ok() {
        admitted.push(admitted.len() as u128);
    }
    assert!(!admitted.is_empty());
    let mut refusals = 0_u128;
    while put(&mut engine, closed(1_000_000 + refusals), NOW).is_ok() {
        refusals += 1;
    }
    assert!(refusals > 100, "{refusals} refusals fit in a reserve of 64 KiB");
    for id in admitted {
        put(&mut engine, closed(id), NOW).expect("room is held for the end of each admitted request");
    }
    engine.stop(NOW);
    sync(&mut engine, NOW);
    let reserve = disk.content(layout::RESERVE).map_or(0, |content| content.len());
    assert!((disk.used() - reserve) as u64 <= settings.max_bytes, "{} bytes", disk.used() - reserve);
    assert_eq!(verify(&disk).breaks, []);
}

#[test]
fn a_disk_full_at_the_start_is_a_gateway_that_waits() {
    let disk = Disk::default();
    written(&disk, 2);
    disk.set_capacity(Some(disk.used()));
    let mut engine = start(&disk, settings(), 2, NOW);
    assert!(put(&mut engine, opened(9), NOW).is_err());
    disk.set_capacity(None);
    put(&mut engine, opened(9), NOW).unwrap();
    assert_eq!(verify(&disk).breaks, []);
    assert_eq!(verify(&disk).epochs, 2);
}

#[test]
fn drops_are_told_in_the_chain() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    engine.metrics.count_dropped(DropReason::QueueFull, 3);
    put(&mut engine, closed(1), NOW).unwrap();
    engine.metrics.count_dropped(DropReason::QueueFull, 2);
    engine.maintain(NOW, NOW);
    assert_eq!(verify(&disk).dropped.into_iter().collect::<Vec<_>>(), [(DropReason::QueueFull, 5)]);
}

#[test]
fn a_torn_tail_is_cut_off_and_told() {
    let disk = Disk::default();
    written(&disk, 1);
    let (name, whole) = segments(&disk).pop().unwrap();
    for tail in [&[1, 2, 3][..], &[0; 5000], &whole[whole.len() - 30..]] {
        let mut torn = whole.clone();
        torn.extend_from_slice(tail);
        let disk = Disk::default();
        written(&disk, 1);
        disk.put(&name.to_string(), torn);
        start(&disk, settings(), 2, NOW);
        assert_eq!(damage(&disk).len(), 1);
    }
}

#[test]
fn bytes_that_a_crash_left_are_cut_and_bytes_that_somebody_changed_are_kept() {
    let disk = Disk::default();
    written(&disk, 1);
    let (name, whole) = segments(&disk).pop().unwrap();
    let mut torn = whole.clone();
    torn.extend_from_slice(&[0; 100]);
    disk.put(&name.to_string(), torn);
    start(&disk, settings(), 2, NOW);
    assert_eq!(damage(&disk), [DamageKind::TornTail]);
    assert_eq!(disk.content(&name.to_string()).unwrap(), whole);
    assert_eq!(verify(&disk).breaks, []);
}

#[test]
fn a_corrupt_middle_is_set_aside_once_and_everything_else_survives() {
    let disk = Disk::default();
    written(&disk, 3);
    let (name, mut bytes) = segments(&disk).pop().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    disk.put(&name.to_string(), bytes);
    let records = stored(&disk).len();

    let engine = start(&disk, settings(), 2, NOW);
    assert_eq!(engine.metrics.damage.load(Relaxed), 1);
    assert_eq!(damage(&disk), [DamageKind::CorruptMiddle]);
    let aside = SegmentName { damaged: true, ..name };
    assert!(disk.names().contains(&aside.to_string()), "{:?}", disk.names());
    assert!(stored(&disk).len() > records);
    let breaks = verify(&disk).breaks;
    assert_eq!(breaks.iter().map(|found| found.kind).collect::<Vec<_>>(), [BreakKind::Altered]);
    assert_eq!(breaks[0].file, aside.to_string());

    start(&disk, settings(), 3, NOW);
    assert_eq!(damage(&disk), []);
}

#[test]
fn each_byte_of_the_last_segment_may_be_flipped_and_the_gateway_starts() {
    let reference = Disk::default();
    written(&reference, 1);
    let (name, bytes) = segments(&reference).pop().unwrap();
    for index in 0..bytes.len() {
        let disk = Disk::default();
        written(&disk, 1);
        let mut flipped = disk.content(&name.to_string()).unwrap();
        let index = index.min(flipped.len() - 1);
        flipped[index] ^= 0x40;
        disk.put(&name.to_string(), flipped);
        let mut engine = start(&disk, settings(), 2, NOW);
        put(&mut engine, closed(77), NOW).unwrap();
        engine.stop(NOW);
        sync(&mut engine, NOW);
        let report = verify(&disk);
        assert!(!report.is_intact(), "byte {index}: {report:?}");
        let report = {
            let mut engine = start(&disk, settings(), 3, NOW);
            put(&mut engine, closed(78), NOW).unwrap();
            verify(&disk)
        };
        assert!(report.epochs >= 2, "byte {index}: {report:?}");
    }
}

#[test]
fn a_tail_cut_while_nothing_ran_stays_visible() {
    let disk = Disk::default();
    written(&disk, 3);
    let (name, mut bytes) = segments(&disk).pop().unwrap();
    bytes.truncate(bytes.len() - 200);
    disk.put(&name.to_string(), bytes);
    let mut engine = start(&disk, settings(), 2, NOW);
    engine.stop(NOW);
    sync(&mut engine, NOW);
    assert!(damage(&disk).contains(&DamageKind::CutTail), "{:?}", damage(&disk));
    assert!(verify(&disk).first(BreakKind::CutTail).is_some());
}

#[test]
fn a_head_that_was_tampered_with_is_not_believed() {
    let disk = Disk::default();
    written(&disk, 2);
    let mut head: Head = serde_json::from_slice(&disk.content(layout::HEAD).unwrap()).unwrap();
    head.last.sequence += 10;
    disk.put(layout::HEAD, serde_json::to_vec(&head).unwrap());
    let mut engine = start(&disk, settings(), 2, NOW);
    engine.stop(NOW);
    sync(&mut engine, NOW);
    assert!(!damage(&disk).contains(&DamageKind::CutTail));
    assert_eq!(verify(&disk).breaks, []);
}

#[test]
fn lost_state_is_made_anew_and_told() {
    for name in [layout::INSTANCE, layout::SIGNING_KEY, layout::PSEUDONYM_KEY] {
        for gone in [true, false] {
            let disk = Disk::default();
            written(&disk, 2);
            if gone {
                disk.delete(name);
            } else {
                disk.put(name, b"\xff nonsense".to_vec());
            }
            let mut engine = start(&disk, settings(), 2, NOW);
            put(&mut engine, closed(9), NOW).unwrap();
            engine.stop(NOW);
            sync(&mut engine, NOW);
            assert_eq!(damage(&disk), [DamageKind::LostState], "{name}");
            assert_eq!(verify(&disk).breaks, [], "{name}: older runs are checked with their own key");
        }
    }
}

#[test]
fn a_segment_of_a_later_format_is_left_alone() {
    let disk = Disk::default();
    written(&disk, 2);
    let (name, mut bytes) = segments(&disk).pop().unwrap();
    bytes[8] = 9;
    bytes[127] ^= 1;
    disk.put(&name.to_string(), bytes.clone());
    let mut engine = start(&disk, settings(), 2, NOW);
    put(&mut engine, closed(9), NOW).unwrap();
    assert_eq!(disk.content(&name.to_string()).unwrap(), bytes);
    assert!(damage(&disk).contains(&DamageKind::NewerFormat));
}

#[test]
fn a_start_that_dies_half_way_is_finished_by_the_next() {
    for operations in 0..40 {
        let disk = Disk::default();
        let mut engine = start(&disk, settings(), 1, NOW);
        for id in 0..6 {
            put(&mut engine, opened(id), NOW).unwrap();
        }
        drop(engine);
        disk.die_after(operations);
        drop(Engine::open(disk.clone(), settings(), Epoch([2; 16]), NOW, Arc::default()));
        disk.restart();
        start(&disk, settings(), 3, NOW);
        start(&disk, settings(), 4, NOW);
        let interrupted = stored(&disk).into_iter().filter_map(|record| match record.body {
            Body::Closed(closed) if closed.end == End::Interrupted => Some(closed.id.as_u128()),
            _ => None,
        });
        let mut ids: Vec<_> = interrupted.collect();
        ids.sort_unstable();
        assert_eq!(ids, [0, 1, 2, 3, 4, 5], "after {operations} operations");
        assert_eq!(verify(&disk).breaks, []);
    }
}

#[test]
fn a_request_opened_many_segments_ago_is_closed_with_its_facts() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    put(&mut engine, opened(500), NOW).unwrap();
    for id in 0..60 {
        put(&mut engine, closed(id), NOW).unwrap();
    }
    assert!(segments(&disk).len() > 3);
    start(&disk, settings(), 2, NOW);
    let closed = stored(&disk).into_iter().find_map(|record| match record.body {
        Body::Closed(closed) if closed.end == End::Interrupted => Some(closed),
        _ => None,
    });
    let closed = closed.unwrap();
    assert_eq!((closed.id.as_u128(), closed.request.requested_model.as_deref()), (500, Some("llama")));
}

#[test]
fn a_drop_whose_record_could_not_be_written_is_told_again() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    disk.fail_next(Fault::Write);
    engine.metrics.count_dropped(DropReason::QueueFull, 3);
    engine.maintain(NOW, NOW);
    assert_eq!(verify(&disk).dropped.len(), 0, "the disk has refused it");
    disk.forgive();
    engine.stop(NOW);
    assert_eq!(verify(&disk).dropped.into_iter().collect::<Vec<_>>(), [(DropReason::QueueFull, 3)]);
}
