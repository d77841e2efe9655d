//! The oracle: whatever an fsync has covered is in the store in the end, once, in its place, with its bytes; nothing
//! else is; and the store's chain leads from each run to the next.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use kt_audit::{
    Body, Digest, Epoch, InstanceId, Position, Record,
    dir::SegmentName,
    record::DropReason,
    segment::{Item, Scan, scan},
};
use kt_proto::v1::{self, ship_response::Message};
use proptest::prelude::*;
use tokio::time::Instant;

use crate::{
    audit::{
        AuditMetrics, Delivery, Settings,
        engine::{
            Engine,
            tests::disk::{Disk, Fault},
        },
        tests::support::{closed, opened},
    },
    ship::{
        session::{Ended, Sent, Session, Step, Told},
        spool::{Batch, Spool, Through},
    },
};

#[derive(Debug, Clone)]
enum Action {
    /// Append so many records.
    Append(u8),
    /// Append one that is larger than most batches.
    AppendLarge,
    Sync,
    /// Checkpoints, retention, time.
    Maintain,
    /// The process dies within the next operations.
    Kill(u32),
    /// The same, and the machine loses power.
    PowerCut(u32, Vec<u8>),
    Fail(Fault),
    /// The gateway does what its session asks, so often at most.
    Pump(u8),
    /// The store takes so many batches.
    Store(u8),
    /// The gateway hears so many answers.
    Answer(u8),
    /// The connection breaks; what is under way is gone.
    Break,
    /// Time goes by.
    Wait(u16),
    SlowDown,
    Drain,
    /// So many records were dropped for want of room in the queue.
    Drop(u8),
}

fn action() -> impl Strategy<Value = Action> {
    let fault =
        prop_oneof![Just(Fault::Write), Just(Fault::SetLen), Just(Fault::Create), Just(Fault::Remove),];
    prop_oneof![
        8 => (1_u8..20).prop_map(Action::Append),
        1 => Just(Action::AppendLarge),
        6 => Just(Action::Sync),
        3 => Just(Action::Maintain),
        1 => (0_u32..12).prop_map(Action::Kill),
        1 => (0_u32..12, proptest::collection::vec(any::<u8>(), 8)).prop_map(|(n, luck)| Action::PowerCut(n, luck)),
        1 => fault.prop_map(Action::Fail),
        10 => (1_u8..12).prop_map(Action::Pump),
        8 => (1_u8..4).prop_map(Action::Store),
        8 => (1_u8..4).prop_map(Action::Answer),
        2 => Just(Action::Break),
        3 => (1_u16..3_000).prop_map(Action::Wait),
        1 => Just(Action::SlowDown),
        1 => Just(Action::Drain),
        1 => (1_u8..9).prop_map(Action::Drop),
    ]
}

/// The store: what it has, what is on its way to it, and its answers on their way back.
#[derive(Default)]
struct Store {
    runs: BTreeMap<Epoch, BTreeMap<u64, (Digest, Digest)>>,
    order: Vec<Epoch>,
    coming: VecDeque<(u64, Batch)>,
    answers: VecDeque<Message>,
    /// Drops that each run has told of.
    dropped: BTreeMap<Epoch, u64>,
    /// Power was cut while not everything was synced: the chain on disk may have a hole, which is told.
    is_lossy: bool,
}

impl Store {
    fn take(&mut self, instance: InstanceId) {
        let Some((number, batch)) = self.coming.pop_front() else { return };
        assert!(batch.loss.is_none() || self.is_lossy, "nothing was damaged");
        let epoch = batch.last.epoch;
        if !self.order.contains(&epoch) {
            self.order.push(epoch);
        }
        let run = self.runs.entry(epoch).or_default();
        let mut expected = batch.first_sequence;
        let mut previous = batch.previous;
        for item in Scan::resume(&batch.frames, 0, None) {
            let Item::Frame { frame, .. } = item else { panic!("{item:?}") };
            assert_eq!((frame.sequence, frame.previous), (expected, previous));
            previous = frame.hash(instance, epoch);
            let was = run.insert(frame.sequence, (frame.previous, previous));
            let is_new = was.is_none();
            assert!(was.is_none_or(|was| was == (frame.previous, previous)), "another record in its place");
            if is_new
                && let Some(before) = frame.sequence.checked_sub(1)
                && !run.contains_key(&before)
            {
                let is_told = batch.loss.is_some() && frame.sequence == batch.first_sequence;
                assert!(is_told, "{} came before {before}", frame.sequence);
            }
            if is_new && let Ok(Record { body: Body::Dropped(dropped), .. }) = Record::parse(frame.payload) {
                *self.dropped.entry(epoch).or_default() += dropped.count;
            }
            expected += 1;
        }
        assert_eq!(expected - batch.first_sequence, u64::from(batch.count));
        assert_eq!(previous, batch.last.hash);
        let position = v1::AuditPosition {
            epoch: epoch.0.to_vec(),
            sequence: batch.last.sequence,
            hash: batch.last.hash.0.to_vec(),
        };
        let ack = v1::ShipAck { number, position: Some(position), ..v1::ShipAck::default() };
        self.answers.push_back(Message::Ack(ack));
    }

    fn welcome(&self) -> Message {
        let last = |(epoch, run): (&Epoch, &BTreeMap<u64, (Digest, Digest)>)| {
            let (sequence, (_, hash)) = run.last_key_value()?;
            Some(v1::AuditPosition { epoch: epoch.0.to_vec(), sequence: *sequence, hash: hash.0.to_vec() })
        };
        Message::Welcome(v1::ShipWelcome {
            resume: self.runs.iter().filter_map(last).collect(),
            window: 3,
            max_batch_bytes: 1 << 20,
            max_batch_records: 7,
            heartbeat_interval_ms: 1_000,
            silence_limit_ms: 9_000,
            ..v1::ShipWelcome::default()
        })
    }
}

/// A gateway process.
struct Process {
    engine: Engine<Disk>,
    spool: Spool<Disk>,
    session: Session,
    delivery: Delivery,
    /// Records of this run that an fsync covers.
    synced: u64,
    is_connected: bool,
    metrics: Arc<AuditMetrics>,
    /// Records that were dropped in this run.
    dropped: u64,
}

struct World {
    disk: Disk,
    process: Option<Process>,
    store: Store,
    runs: u8,
    now_us: i64,
    now: Instant,
    next: u128,
    luck: Option<Vec<u8>>,
    /// What must arrive.
    safe: BTreeMap<(Epoch, u64), Digest>,
    instance: Option<InstanceId>,
}

impl World {
    fn new() -> Self {
        Self {
            disk: Disk::default(),
            process: None,
            store: Store::default(),
            runs: 0,
            now_us: 1_800_000_000_000_000,
            now: Instant::now(),
            next: 0,
            luck: None,
            safe: BTreeMap::new(),
            instance: None,
        }
    }

    fn process(&mut self) -> &mut Process {
        if self.process.is_none() {
            self.runs += 1;
            self.disk.restart();
            let delivery = Delivery { keep: Duration::ZERO, ..Delivery::new() };
            let settings = Settings {
                segment_bytes: 4 << 10,
                max_bytes: 8 << 20,
                reserve_bytes: 64 << 10,
                checkpoint_records: 16,
                delivery: Some(delivery.clone()),
                ..Settings::default()
            };
            let epoch = Epoch([self.runs; 16]);
            let metrics = Arc::new(AuditMetrics::default());
            let engine = Engine::open(self.disk.clone(), settings, epoch, self.now_us, Arc::clone(&metrics))
                .expect("damage never stops a start");
            let instance = engine.identity().instance;
            self.instance = Some(instance);
            let mut spool = Spool::new(Arc::new(self.disk.clone()), instance);
            spool.begin(&[]).unwrap();
            let session = Session::new(self.now, Box::new(|bound| bound / 2));
            self.process = Some(Process {
                engine,
                spool,
                session,
                delivery,
                synced: 0,
                is_connected: false,
                metrics,
                dropped: 0,
            });
        }
        self.process.as_mut().unwrap()
    }

    fn act(&mut self, action: Action) {
        self.now_us += 1_000;
        self.now += Duration::from_millis(1);
        match action {
            Action::Append(count) => {
                for _ in 0..count {
                    self.append(false);
                }
            }
            Action::AppendLarge => self.append(true),
            Action::Sync => self.sync(),
            Action::Maintain => {
                let now_us = self.now_us;
                self.process().engine.maintain(now_us, now_us);
            }
            Action::Kill(operations) => {
                self.process();
                self.disk.die_after(operations);
            }
            Action::PowerCut(operations, luck) => {
                self.process();
                self.disk.die_after(operations);
                self.luck = Some(luck);
            }
            Action::Fail(fault) => self.disk.fail_next(fault),
            Action::Pump(count) => {
                for _ in 0..count {
                    self.pump();
                }
            }
            Action::Store(count) => {
                self.process();
                for _ in 0..count {
                    self.store.take(self.instance.unwrap());
                }
            }
            Action::Answer(count) => {
                for _ in 0..count {
                    self.answer();
                }
            }
            Action::Break => self.hang_up(&Ended::Closed),
            Action::Wait(millis) => {
                self.now += Duration::from_millis(u64::from(millis));
                self.now_us += i64::from(millis) * 1_000;
            }
            Action::SlowDown => {
                let slow_down = v1::ShipSlowDown { wait_ms: 200, reason: String::new() };
                self.store.answers.push_back(Message::SlowDown(slow_down));
            }
            Action::Drop(count) => {
                let process = self.process();
                process.metrics.count_dropped(DropReason::QueueFull, u64::from(count));
                process.dropped += u64::from(count);
            }
            Action::Drain => {
                let drain = v1::ShipDrain { within_ms: 400, reason: "age".to_owned() };
                self.store.answers.push_back(Message::Drain(drain));
            }
        }
        if self.disk.is_dead() {
            self.die();
        }
    }

    fn append(&mut self, is_large: bool) {
        self.next += 1;
        let (id, now_us) = (self.next, self.now_us);
        let mut body = if id % 3 == 0 { opened(id) } else { closed(id) };
        if is_large && let kt_audit::Body::Closed(closed) = &mut body {
            closed.request.requested_model = Some("m".repeat(3_000).as_str().into());
        }
        let entry = crate::audit::engine::tests::entry(body);
        // What is refused is refused; what is written may be delivered.
        let _ = self.process().engine.append(&[&entry], now_us);
    }

    fn sync(&mut self) {
        let now_us = self.now_us;
        let process = self.process();
        let Some(job) = process.engine.sync_job(now_us, false) else { return };
        let done = job.run();
        process.engine.sync_done(&done);
        if done.result.is_ok()
            && let Some(upto) = done.upto
        {
            process.synced = upto + 1;
            process.session.more();
            let epoch = process.engine.epoch();
            self.note_safe(epoch, upto);
        }
    }

    /// Everything that is on the disk of this run up to `upto` must arrive.
    fn note_safe(&mut self, epoch: Epoch, upto: u64) {
        let instance = self.instance.unwrap();
        for name in self.disk.names().iter().filter_map(|name| SegmentName::parse(name)) {
            let bytes = self.disk.content(&name.to_string()).unwrap();
            let (header, items) = scan(&bytes);
            if header.is_ok_and(|header| header.epoch == epoch) {
                for item in items {
                    if let Item::Frame { frame, .. } = item
                        && frame.sequence <= upto
                    {
                        self.safe.insert((epoch, frame.sequence), frame.hash(instance, epoch));
                    }
                }
            }
        }
    }

    /// Does what the session asks for, once.
    fn pump(&mut self) {
        let (now, welcome) = (self.now, self.store.welcome());
        let process = self.process();
        // Not before the first fsync of a run: it covers what the run before has left.
        if process.synced == 0 {
            return;
        }
        match process.session.step(now) {
            Step::Wait(_) => {}
            Step::Connect => {
                process.session.greeting();
                process.is_connected = true;
                let told = process.session.heard(now, &welcome).unwrap();
                let Told::Welcome(resume) = told else { panic!("{told:?}") };
                let diverged = process.spool.begin(&resume).unwrap();
                assert_eq!(diverged, []);
                process.delivery.acked_below.store(process.spool.floor(), Relaxed);
            }
            Step::Fill(limits) => {
                let through = Through { epoch: process.engine.epoch(), below: process.synced };
                match process.spool.next(limits, Some(through)).unwrap() {
                    None => process.session.empty(true),
                    Some(batch) => {
                        let number = process.session.number();
                        let sent = Sent {
                            last: batch.last,
                            records: u64::from(batch.count),
                            first_time_us: batch.first_time_us,
                            segment: batch.segment,
                            lost: 0,
                        };
                        process.session.sent(now, sent, batch.is_full);
                        self.store.coming.push_back((number, batch));
                    }
                }
            }
            Step::Ping => self.store.answers.push_back(Message::Ping(v1::ShipPing {})),
            Step::Leave => {
                let why = process.session.reason(now);
                self.hang_up(&why);
            }
        }
    }

    fn answer(&mut self) {
        let now = self.now;
        if !self.process().is_connected {
            self.store.answers.clear();
            return;
        }
        let Some(message) = self.store.answers.pop_front() else { return };
        let process = self.process();
        match process.session.heard(now, &message).unwrap() {
            Told::Acked(batches) => {
                for sent in batches {
                    process.spool.acked(sent.last);
                    process.delivery.acked_below.fetch_max(sent.segment, Relaxed);
                }
            }
            Told::Nothing => {}
            Told::Welcome(resume) => panic!("{resume:?}"),
        }
    }

    fn hang_up(&mut self, why: &Ended) {
        let now = self.now;
        let process = self.process();
        if std::mem::take(&mut process.is_connected) {
            process.session.ended(now, why);
        }
        self.store.coming.clear();
        self.store.answers.clear();
    }

    /// The process is dead. Perhaps the machine loses power too; then what was not synced may be gone.
    fn die(&mut self) {
        self.process = None;
        self.store.coming.clear();
        self.store.answers.clear();
        match self.luck.take() {
            None => self.disk.restart(),
            Some(luck) => {
                self.store.is_lossy = true;
                let mut luck = luck.into_iter().cycle();
                self.disk.power_cut(|bound| usize::from(luck.next().unwrap()) % bound);
            }
        }
    }

    /// Nothing fails any more: what is left arrives.
    fn settle(&mut self) {
        self.luck = None;
        self.disk.restart();
        self.disk.forgive();
        self.hang_up(&Ended::Closed);
        self.now += Duration::from_mins(2);
        let now_us = self.now_us;
        self.process().engine.stop(now_us);
        self.sync();
        self.process().session.more();
        for _ in 0..20_000 {
            self.now += Duration::from_millis(50);
            self.pump();
            self.store.take(self.instance.unwrap());
            self.answer();
            if self.process().session.is_idle() && self.store.answers.is_empty() {
                return;
            }
        }
        panic!("it never comes to an end");
    }

    fn judge(&self) {
        for ((epoch, sequence), hash) in &self.safe {
            let stored = self.store.runs.get(epoch).and_then(|run| run.get(sequence));
            assert_eq!(stored.map(|(_, hash)| *hash), Some(*hash), "record {sequence} of {epoch}");
        }
        assert!(self.store.order.is_sorted(), "{:?}", self.store.order);
        if self.store.is_lossy {
            return;
        }
        // What was not written is told.
        let last = self.process.as_ref().unwrap();
        assert_eq!(self.store.dropped.get(&last.engine.epoch()).copied().unwrap_or(0), last.dropped);
        // Runs follow on each other, in the order in which they were, and each is whole from its first record.
        let mut before = Digest::ZERO;
        for epoch in &self.store.order {
            for (expected, (sequence, (previous, hash))) in (0_u64..).zip(&self.store.runs[epoch]) {
                assert_eq!(*sequence, expected);
                assert_eq!(*previous, before, "record {sequence} of {epoch}");
                before = *hash;
            }
        }
    }
}

/// Its place in the store is where the gateway thinks it is.
fn marks_are_true(world: &World) {
    let Some(process) = &world.process else { return };
    for Position { epoch, sequence, hash } in process.spool.marks() {
        assert_eq!(world.store.runs[&epoch][&sequence].1, hash);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_000, ..ProptestConfig::default() })]
    #[test]
    fn what_an_fsync_covers_is_delivered_once_in_order_and_whole(
        actions in proptest::collection::vec(action(), 1..120)
    ) {
        let mut world = World::new();
        for action in actions {
            world.act(action);
            marks_are_true(&world);
        }
        world.settle();
        world.judge();
    }
}
