//! The oracle: every acknowledged record is read back in order, exactly once, and the chain verifies.

use std::collections::HashSet;

use kt_audit::record::{End, Kind};
use proptest::prelude::*;
use uuid::Uuid;

use super::disk::{Disk, Fault};
use super::*;

#[derive(Debug, Clone)]
enum Action {
    /// Append so many records in one batch.
    Append(Vec<What>),
    Sync,
    Maintain,
    /// Die after so many operations, within whatever comes next; the machine goes on.
    Kill(u32),
    /// The same, and the machine loses power. The bytes decide what survives.
    PowerCut(u32, Vec<u8>),
    Fail(Fault),
    /// So many more bytes fit on the disk.
    Fill(usize),
    Free,
    ClockBack,
    Stop,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Open,
    /// Close the oldest open request, or refuse one.
    Close,
}

fn action() -> impl Strategy<Value = Action> {
    let what = prop_oneof![2 => Just(What::Open), 2 => Just(What::Close)];
    let fault = prop_oneof![
        Just(Fault::Write),
        Just(Fault::Sync),
        Just(Fault::SetLen),
        Just(Fault::Create),
        Just(Fault::Rename),
        Just(Fault::Remove),
    ];
    prop_oneof![
        12 => proptest::collection::vec(what, 1..8).prop_map(Action::Append),
        4 => Just(Action::Sync),
        2 => Just(Action::Maintain),
        2 => (0_u32..12).prop_map(Action::Kill),
        1 => (0_u32..12, proptest::collection::vec(any::<u8>(), 8)).prop_map(|(n, luck)| Action::PowerCut(n, luck)),
        2 => fault.prop_map(Action::Fail),
        1 => (0_usize..4_000).prop_map(Action::Fill),
        2 => Just(Action::Free),
        1 => Just(Action::ClockBack),
        1 => Just(Action::Stop),
    ]
}

type Key = (Kind, Uuid);

/// What a record can survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Safe {
    /// The death of the process.
    Written,
    /// A power cut.
    Synced,
    /// The death of the process; an fsync that should have covered it failed, and nobody knows.
    Doubtful,
}

/// What must be true of the disk.
#[derive(Default)]
struct Oracle {
    /// Acknowledged, in order.
    acked: Vec<(Key, Safe)>,
    /// Refused while the process was alive: they must not be there.
    refused: Vec<Key>,
    next: u128,
    open: Vec<Uuid>,
    /// An fsync has failed: the log's own records may be doubtful too.
    doubtful: bool,
    /// Power was cut while some of it was not synced: the chain may show what was lost.
    lossy: bool,
}

struct World {
    disk: Disk,
    engine: Option<Engine<Disk>>,
    oracle: Oracle,
    runs: u8,
    now: i64,
    luck: Option<Vec<u8>>,
}

impl World {
    fn engine(&mut self) -> &mut Engine<Disk> {
        if self.engine.is_none() {
            self.runs += 1;
            self.disk.restart();
            self.engine = Some(start(&self.disk, settings(), self.runs, self.now));
        }
        self.engine.as_mut().unwrap()
    }

    fn act(&mut self, action: Action) {
        self.now += 1_000;
        let now = self.now;
        match action {
            Action::Append(batch) => self.append(&batch),
            Action::Sync => self.sync(),
            Action::Maintain => self.engine().maintain(now, now),
            Action::Kill(operations) => {
                self.engine();
                self.disk.die_after(operations);
            }
            Action::PowerCut(operations, luck) => {
                self.engine();
                self.disk.die_after(operations);
                self.luck = Some(luck);
            }
            Action::Fail(fault) => self.disk.fail_next(fault),
            Action::Fill(bytes) => self.disk.set_capacity(Some(self.disk.used() + bytes)),
            Action::Free => {
                self.disk.set_capacity(None);
                self.disk.forgive();
            }
            Action::ClockBack => self.now -= 60_000_000,
            Action::Stop => {
                self.engine().stop(now);
                self.sync();
                self.engine = None;
            }
        }
        if self.disk.is_dead() {
            self.die();
        }
    }

    fn append(&mut self, batch: &[What]) {
        let now = self.now;
        let mut keys = Vec::new();
        let mut entries = Vec::new();
        for what in batch {
            let (kind, id) = match what {
                What::Close if !self.oracle.open.is_empty() => (Kind::Closed, self.oracle.open.remove(0)),
                _ => {
                    self.oracle.next += 1;
                    let kind = if matches!(what, What::Open) { Kind::Opened } else { Kind::Closed };
                    (kind, Uuid::from_u128(self.oracle.next))
                }
            };
            let body = if kind == Kind::Opened { opened(id.as_u128()) } else { closed(id.as_u128()) };
            keys.push((kind, id));
            entries.push(entry(body));
        }
        let results = self.engine().append(&entries.iter().collect::<Vec<_>>(), now);
        let alive = !self.disk.is_dead();
        for (key, result) in keys.into_iter().zip(results) {
            match result {
                Ok(_) => {
                    self.oracle.acked.push((key, Safe::Written));
                    if key.0 == Kind::Opened {
                        self.oracle.open.push(key.1);
                    }
                }
                Err(_) if alive => self.oracle.refused.push(key),
                Err(_) => {}
            }
        }
    }

    fn sync(&mut self) {
        let now = self.now;
        let synced = sync(self.engine(), now) && !self.disk.is_dead();
        let now_safe = if synced { Safe::Synced } else { Safe::Doubtful };
        self.oracle.doubtful |= now_safe == Safe::Doubtful;
        for (_, safe) in &mut self.oracle.acked {
            if *safe == Safe::Written {
                *safe = now_safe;
            }
        }
    }

    /// The process is dead. Perhaps the machine loses power too; then what was not synced may be gone.
    fn die(&mut self) {
        self.engine = None;
        // The next run closes what was open; nobody is left to close it.
        self.oracle.open.clear();
        let Some(luck) = self.luck.take() else {
            self.disk.restart();
            return;
        };
        let mut luck = luck.into_iter().cycle();
        self.disk.power_cut(|bound| usize::from(luck.next().unwrap()) % bound);
        let there: HashSet<Key> = keys(&self.disk).into_iter().collect();
        self.oracle.lossy |= self.oracle.doubtful;
        self.oracle.lossy |= self.oracle.acked.iter().any(|(_, safe)| *safe != Safe::Synced);
        self.oracle.acked.retain(|(key, safe)| *safe == Safe::Synced || there.contains(key));
        self.oracle.acked.iter_mut().for_each(|(_, safe)| *safe = Safe::Synced);
    }

    fn check(&mut self) {
        self.luck = None;
        self.disk.set_capacity(None);
        self.disk.restart();
        let now = self.now + 1_000;
        let engine = self.engine();
        engine.maintain(now, now);
        engine.stop(now);
        self.sync();
        let there = keys(&self.disk);
        let mut unique = HashSet::new();
        for key in &there {
            assert!(unique.insert(*key), "{key:?} is there twice");
        }
        let refused = self.oracle.refused.iter().find(|key| unique.contains(*key));
        assert_eq!(refused, None, "a refused record is there");
        let acked: Vec<Key> = self.oracle.acked.iter().map(|(key, _)| *key).collect();
        let acked_set: HashSet<Key> = acked.iter().copied().collect();
        let in_order: Vec<Key> = there.into_iter().filter(|key| acked_set.contains(key)).collect();
        assert_eq!(in_order, acked, "acknowledged records are there once, in order");
        let report = verify(&self.disk);
        if !self.oracle.lossy {
            assert_eq!(report.breaks, [], "{:?}", self.disk.names());
        }
        self.check_every_request_ends();
    }

    /// Each `opened` record has one `closed`: its own, or that of the start after.
    fn check_every_request_ends(&self) {
        let records = stored(&self.disk);
        let mut open = HashSet::new();
        for record in &records {
            match &record.body {
                Body::Opened(opened) => assert!(open.insert(opened.id)),
                Body::Closed(closed) if closed.end == End::Interrupted => {
                    assert!(self.oracle.lossy || open.remove(&closed.id), "{} was not open", closed.id);
                }
                Body::Closed(closed) => {
                    open.remove(&closed.id);
                }
                _ => {}
            }
        }
        if !self.oracle.lossy {
            // Only this run's own requests may still be open.
            let mine: HashSet<_> = self.oracle.open.iter().copied().collect();
            let left: Vec<_> = open.into_iter().filter(|id| !mine.contains(id)).collect();
            let acked: HashSet<_> = self.oracle.acked.iter().map(|(key, _)| *key).collect();
            let unfinished =
                left.into_iter().find(|id| !acked.contains(&(Kind::Closed, *id)) && !self.refused_close(*id));
            assert_eq!(unfinished, None, "an earlier request was never closed");
        }
    }

    fn refused_close(&self, id: Uuid) -> bool {
        self.oracle.refused.contains(&(Kind::Closed, id))
    }
}

/// The requests' own records on the disk, those of a start apart.
fn keys(disk: &Disk) -> Vec<Key> {
    let own = stored(disk).into_iter().filter_map(|record| match record.body {
        Body::Opened(opened) => Some((Kind::Opened, opened.id)),
        Body::Closed(closed) if closed.end != End::Interrupted => Some((Kind::Closed, closed.id)),
        _ => None,
    });
    own.collect()
}

proptest! {
    #[test]
    fn acknowledged_records_are_read_back_in_order_exactly_once(
        actions in proptest::collection::vec(action(), 1..40)
    ) {
        let mut world = World {
            disk: Disk::default(),
            engine: None,
            oracle: Oracle::default(),
            runs: 0,
            now: NOW,
            luck: None,
        };
        world.engine();
        for action in actions {
            world.act(action);
        }
        world.check();
    }
}
