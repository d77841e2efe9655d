use proptest::prelude::*;

use super::{
    super::{
        offer::{Offer, testing},
        session::Report,
    },
    *,
};
use crate::state::FleetState;

const SECOND: i64 = 1_000_000;
const SILENCE: i64 = 9 * SECOND;

fn greeting(id: u128, process: u128) -> (Greeting, Features) {
    let hello = v1::Hello {
        fleet: "default".to_owned(),
        gateway_id: uuid::Uuid::from_u128(id).to_string(),
        name: format!("gw-{id}"),
        process_id: uuid::Uuid::from_u128(process).to_string(),
        build: "1.2.3".to_owned(),
        features: vec!["policy:rbac".to_owned()],
        ..v1::Hello::default()
    };
    let message = v1::GatewayMessage { message: Some(v1::gateway_message::Message::Hello(hello)) };
    Greeting::read(message, "default").unwrap()
}

struct Fleet {
    roster: Roster,
    name: Arc<str>,
    sessions: u64,
}

struct Connected {
    id: Arc<str>,
    session: u64,
    contact_us: Arc<AtomicI64>,
    replaced: oneshot::Receiver<()>,
    joined: Joined,
}

impl Fleet {
    fn new(replica: &str) -> Self {
        Self { roster: Roster::new(replica.into(), SILENCE), name: "default".into(), sessions: 0 }
    }

    fn connect(&mut self, id: u128, process: u128, now_us: i64) -> Connected {
        self.sessions += 1;
        let (greeting, features) = greeting(id, process);
        let contact_us = Arc::new(AtomicI64::new(now_us));
        let (replace, replaced) = oneshot::channel();
        let link =
            Link { session: self.sessions, replace, contact_us: Arc::clone(&contact_us), since_us: now_us };
        let joined = self.roster.join(&self.name, &greeting, Arc::new(features), link);
        Connected { id: greeting.gateway_id, session: self.sessions, contact_us, replaced, joined }
    }

    fn reports(&mut self, gateway: &Connected, report: Report) {
        self.roster.report("default", &gateway.id, gateway.session, report);
    }

    fn leaves(&mut self, gateway: &Connected) {
        self.roster.leave("default", &gateway.id, gateway.session);
    }

    fn counts(&self, wanted: &Wanted, now_us: i64) -> v1::fleet_status::Counts {
        self.roster.status("default", &FleetState::default(), wanted, now_us).counts.unwrap()
    }

    fn record(&self, wanted: &Arc<Wanted>, now_us: i64) -> Arc<store::ReplicaRecord> {
        let parts = self.roster.parts(|_| Arc::clone(wanted), now_us);
        let bytes = record::pack(&self.roster.replica, parts, now_us);
        Arc::new(prost::Message::decode(bytes).unwrap())
    }

    fn hears(&mut self, records: &[&Arc<store::ReplicaRecord>], now_us: i64) -> bool {
        let records =
            records.iter().map(|record| (Arc::from(&*record.replica), Arc::clone(record))).collect();
        self.roster.read_others(&records, now_us)
    }
}

fn applied(offer: &Offer) -> Report {
    let held = Held { generation: offer.generation, digest: offer.digest, is_from_disk: false };
    Report { assignment: Some(held), last_applied_us: 5, ..Report::default() }
}

fn rejected(offer: &Offer) -> Report {
    let reason = v1::Reason { code: "KT0413".to_owned(), line: 41, ..v1::Reason::default() };
    let refusal = v1::gateway_status::Refusal {
        generation: offer.generation,
        digest: offer.digest.0.to_vec(),
        stage: v1::Stage::Compile.into(),
        reasons: vec![reason],
        is_key_set: false,
    };
    Report { assignment_refusal: Some(Arc::new(refusal)), ..Report::default() }
}

#[test]
fn every_state_is_told_apart_and_the_counts_add_up() {
    let mut fleet = Fleet::new("r1");
    let one = testing::assignment(1, "a");
    let wanted = testing::wanted(Some(&one), None);
    fleet.roster.name(&Arc::from("default"), &wanted);
    let now = 100 * SECOND;
    let gateways: Vec<_> = (0..5).map(|id| fleet.connect(id, id, now)).collect();
    fleet.reports(&gateways[0], applied(&one));
    fleet.reports(&gateways[2], rejected(&one));
    gateways[3].contact_us.store(now - SILENCE - 1, Ordering::Relaxed);
    fleet.leaves(&gateways[4]);

    let status = fleet.roster.status("default", &FleetState::default(), &wanted, now);
    let expected = v1::fleet_status::Counts {
        gateways: 5,
        applied: 1,
        pending: 1,
        rejected: 1,
        silent: 1,
        disconnected: 1,
    };
    assert_eq!(status.counts, Some(expected));
    let exceptions: Vec<_> =
        status.exceptions.iter().map(|gateway| (&*gateway.name, gateway.state())).collect();
    assert_eq!(
        exceptions,
        [
            ("gw-2", Standing::Rejected),
            ("gw-1", Standing::Pending),
            ("gw-3", Standing::Silent),
            ("gw-4", Standing::Disconnected)
        ]
    );
    let refusal = status.exceptions[0].refusal.as_ref().unwrap();
    assert_eq!((refusal.stage(), refusal.reasons[0].line), (v1::Stage::Compile, 41));
    let all = fleet.roster.gateways("default", &wanted, now);
    assert_eq!((&*all[0].pack, all[0].generation, all[0].last_applied_us), ("demo@1.0.0", Some(1), 5));
}

#[test]
fn a_gateway_without_the_wanted_key_set_is_pending() {
    let mut fleet = Fleet::new("r1");
    let one = testing::assignment(1, "a");
    let gateway = fleet.connect(1, 1, 0);
    fleet.reports(&gateway, applied(&one));
    let counts = fleet.counts(&testing::wanted(Some(&one), Some(&testing::key_set(1))), 0);
    assert_eq!((counts.applied, counts.pending), (0, 1));
}

#[test]
fn a_rejection_of_what_is_no_longer_wanted_is_history() {
    let mut fleet = Fleet::new("r1");
    let (one, two) = (testing::assignment(1, "a"), testing::assignment(2, "b"));
    let gateway = fleet.connect(1, 1, 0);
    fleet.reports(&gateway, rejected(&one));
    assert_eq!(fleet.counts(&testing::wanted(Some(&one), None), 0).rejected, 1);
    assert_eq!(fleet.counts(&testing::wanted(Some(&two), None), 0).pending, 1);
}

#[test]
fn the_same_gateway_again_replaces_the_older_stream() {
    let mut fleet = Fleet::new("r1");
    let one = testing::assignment(1, "a");
    let mut old = fleet.connect(1, 1, 0);
    fleet.reports(&old, rejected(&one));
    let new = fleet.connect(1, 1, 0);
    assert_eq!(old.replaced.try_recv(), Ok(()));
    assert_eq!(new.joined.rejected, [one.digest], "the same process has refused it before");
    // What the older one still says is of no interest, nor that it ends.
    fleet.reports(&old, applied(&one));
    fleet.leaves(&old);
    let wanted = testing::wanted(Some(&one), None);
    assert_eq!(fleet.counts(&wanted, 0).rejected, 1);

    // A new process may have other settings, and says itself what it refuses.
    assert_eq!(fleet.connect(1, 2, 0).joined.rejected, []);
}

#[test]
fn gateways_of_a_build_share_what_they_can_do() {
    let mut fleet = Fleet::new("r1");
    let (one, two) = (fleet.connect(1, 1, 0), fleet.connect(2, 2, 0));
    assert!(Arc::ptr_eq(&one.joined.features, &two.joined.features));
}

#[test]
fn a_gateway_that_moved_to_another_replica_counts_once_where_it_is_connected() {
    let (mut here, mut there) = (Fleet::new("r1"), Fleet::new("r2"));
    let one = testing::assignment(1, "a");
    let wanted = testing::wanted(Some(&one), None);
    let left = here.connect(1, 1, 10 * SECOND);
    here.leaves(&left);
    let moved = there.connect(1, 1, 11 * SECOND);
    there.reports(&moved, applied(&one));
    let now = 12 * SECOND;
    let record = there.record(&wanted, now);
    assert!(here.hears(&[&record], now));
    assert!(!here.hears(&[&record], now), "the same record is no news");
    let counts = here.counts(&wanted, now);
    assert_eq!((counts.gateways, counts.applied), (1, 1));
    let record = here.record(&wanted, now);
    there.hears(&[&record], now);
    assert_eq!(there.counts(&wanted, now).applied, 1);
}

#[test]
fn exceptions_are_in_order_of_state_and_name_and_those_that_are_left_out_are_counted() {
    let mut fleet = Fleet::new("r1");
    let one = testing::assignment(1, "a");
    let wanted = testing::wanted(Some(&one), None);
    let gateways: Vec<_> = (100..400_u128).rev().map(|id| fleet.connect(id, id, 0)).collect();
    fleet.reports(&gateways[7], rejected(&one));
    let status = fleet.roster.status("default", &FleetState::default(), &wanted, 0);
    let names: Vec<_> = status.exceptions.iter().map(|gateway| gateway.name.clone()).collect();
    let expected = std::iter::once(392).chain(100..299).map(|id| format!("gw-{id}"));
    assert_eq!(names, expected.collect::<Vec<_>>());
    assert_eq!((status.exceptions.len(), status.more_exceptions), (MAX_EXCEPTIONS, 100));
    let all = fleet.roster.gateways("default", &wanted, 0);
    assert!(all.len() == 300 && all.is_sorted_by_key(|gateway| gateway.name.clone()));
}

#[test]
fn another_document_of_the_wanted_generation_is_a_conflict_at_every_replica() {
    let (mut here, mut there) = (Fleet::new("r1"), Fleet::new("r2"));
    let (ours, theirs) = (testing::assignment(2, "ours"), testing::assignment(2, "theirs"));
    let wanted = testing::wanted(Some(&ours), None);
    let gateway = there.connect(1, 1, 0);
    there.reports(&gateway, applied(&theirs));
    here.hears(&[&there.record(&wanted, 0)], 0);
    for fleet in [&there, &here] {
        let status = fleet.roster.status("default", &FleetState::default(), &wanted, 0);
        let exception = &status.exceptions[0];
        assert!(exception.is_conflicting && exception.state() == Standing::Pending);
        assert!(exception.degraded[0].contains("another one"), "{:?}", exception.degraded);
    }
}

#[test]
fn the_same_gateway_at_another_replica_replaces_the_older_stream() {
    let (mut here, mut there) = (Fleet::new("r1"), Fleet::new("r2"));
    let wanted = testing::wanted(None, None);
    let mut old = here.connect(1, 1, 0);
    // The same process has changed replicas, and another process has come at about the same time: neither is sure.
    let same = there.connect(1, 1, (i64::from(CLEARLY_LATER_S) + 1) * SECOND);
    here.hears(&[&there.record(&wanted, 20 * SECOND)], 20 * SECOND);
    there.leaves(&same);
    let close = there.connect(1, 2, i64::from(CLEARLY_LATER_S) * SECOND);
    here.hears(&[&there.record(&wanted, 20 * SECOND)], 20 * SECOND);
    assert!(old.replaced.try_recv().is_err());
    there.leaves(&close);
    let new = there.connect(1, 2, (i64::from(CLEARLY_LATER_S) + 1) * SECOND);
    here.hears(&[&there.record(&wanted, 20 * SECOND)], 20 * SECOND);
    assert_eq!(old.replaced.try_recv(), Ok(()));
    // What the older one still says is of no interest, and the newer one hears nothing of it.
    here.leaves(&old);
    there.hears(&[&here.record(&wanted, 20 * SECOND)], 20 * SECOND);
    let mut replaced = new.replaced;
    assert!(replaced.try_recv().is_err());
    assert_eq!(here.counts(&wanted, 20 * SECOND).gateways, 1);
}

#[test]
fn what_a_silent_replica_said_proves_nothing() {
    let (mut here, mut there) = (Fleet::new("r1"), Fleet::new("r2"));
    let one = testing::assignment(1, "a");
    let wanted = testing::wanted(Some(&one), None);
    let gateway = there.connect(1, 1, 0);
    there.reports(&gateway, applied(&one));
    let record = there.record(&wanted, 0);
    here.hears(&[&record], 0);
    assert_eq!(here.counts(&wanted, RECORD_OLD_US).applied, 1);
    let later = RECORD_OLD_US + 1;
    let status = here.roster.status("default", &FleetState::default(), &wanted, later);
    assert_eq!(status.silent_replicas, ["r2"]);
    assert_eq!(status.counts.unwrap().silent, 1);
    // Its record goes away: its gateways are not connected anywhere.
    here.hears(&[], later);
    let counts = here.counts(&wanted, later);
    assert_eq!((counts.gateways, counts.disconnected), (1, 1));
}

#[test]
fn gateways_that_went_away_are_forgotten_after_a_day() {
    let mut fleet = Fleet::new("r1");
    let gateway = fleet.connect(1, 1, 0);
    fleet.leaves(&gateway);
    fleet.roster.prune(REMEMBERED_US - 1);
    assert_eq!(fleet.counts(&Wanted::default(), REMEMBERED_US - 1).disconnected, 1);
    fleet.roster.prune(REMEMBERED_US);
    assert_eq!(fleet.counts(&Wanted::default(), REMEMBERED_US).gateways, 0);
}

#[test]
fn those_that_went_away_are_bounded_the_oldest_go_first() {
    let mut fleet = Fleet::new("r1");
    for id in 0..MAX_REMEMBERED + 10 {
        let gateway = fleet.connect(id as u128, 1, id as i64);
        fleet.leaves(&gateway);
    }
    fleet.roster.prune(0);
    let gateways = fleet.roster.gateways("default", &Wanted::default(), 0);
    assert_eq!(gateways.len(), MAX_REMEMBERED);
    assert_eq!(gateways.iter().map(|gateway| gateway.last_contact_us).min(), Some(10));
}

#[test]
fn the_record_of_ten_thousand_gateways_fits_one_value() {
    let mut fleet = Fleet::new("r1");
    let one = testing::assignment(1, "a");
    let wanted = testing::wanted(Some(&one), None);
    fleet.roster.name(&Arc::from("default"), &wanted);
    let random =
        |seed: u128| u128::from_le_bytes(Digest::of(&seed.to_le_bytes()).0[..16].try_into().unwrap());
    for id in 0..10_000_u128 {
        let now = 1_790_000_000 * SECOND + (id as i64 * 7919) % (3 * SECOND);
        let gateway = fleet.connect(random(id), random(id + 100_000), now);
        fleet.reports(&gateway, applied(&one));
    }
    let now = 1_790_000_004 * SECOND;
    let parts = fleet.roster.parts(|_| Arc::clone(&wanted), now);
    let bytes = record::pack("r1", parts, now);
    assert!(bytes.len() < crate::store::MAX_VALUE_BYTES, "{} bytes", bytes.len());
    let mut other = Fleet::new("r2");
    other.hears(&[&fleet.record(&wanted, now)], now);
    assert_eq!(other.counts(&wanted, now).applied, 10_000);
}

#[test]
fn a_record_that_is_too_large_loses_those_that_went_away_first() {
    let gateway = |id: u64, state: Standing| {
        let noise: String = (0..40)
            .map(|part| Digest::of(&[id.to_le_bytes(), u64::to_le_bytes(part)].concat()).to_string())
            .collect();
        v1::GatewayStatus {
            gateway_id: id.to_string(),
            state: state.into(),
            degraded: vec![noise],
            ..Default::default()
        }
    };
    let away = (0..300).map(|id| gateway(id, Standing::Disconnected));
    let here = (1000..1100).map(|id| gateway(id, Standing::Applied));
    let part = store::replica_record::FleetPart {
        fleet: "default".to_owned(),
        gateways: away.chain(here).collect(),
    };
    let bytes = record::pack("r1", vec![part], 0);
    assert!(bytes.len() <= crate::store::MAX_VALUE_BYTES);
    let gateways = &record::unpack(&prost::Message::decode(bytes).unwrap())["default"];
    let connected = gateways.iter().filter(|gateway| gateway.state() == Standing::Applied).count();
    assert_eq!(connected, 100);
    assert!(gateways.len() < 400);
}

#[test]
fn a_damaged_record_is_no_record() {
    let record = store::ReplicaRecord { compressed: vec![1, 2, 3], ..Default::default() };
    assert!(record::unpack(&record).is_empty());
}

proptest! {
    #[test]
    fn counts_always_add_up(steps in prop::collection::vec((0_u8..6, 0_u128..12, 0_i64..20), 0..120)) {
        let mut replicas = [Fleet::new("r1"), Fleet::new("r2")];
        let offers = [testing::assignment(1, "a"), testing::assignment(2, "b")];
        let wanted = testing::wanted(Some(&offers[1]), None);
        let mut connected: Vec<(usize, Connected)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut now = 0;
        for (step, id, time) in steps {
            now += time * SECOND;
            let place = (id % 2) as usize;
            match step {
                0 | 1 => {
                    seen.insert(id);
                    connected.push((place, replicas[place].connect(id, id, now)));
                }
                2 => if let Some((place, gateway)) = connected.pop() { replicas[place].leaves(&gateway) },
                3 => if let Some((place, gateway)) = connected.last() {
                    replicas[*place].reports(gateway, applied(&offers[place ^ 1]));
                },
                4 => if let Some((place, gateway)) = connected.first() {
                    replicas[*place].reports(gateway, rejected(&offers[1]));
                },
                _ => {
                    let record = replicas[1].record(&wanted, now);
                    replicas[0].hears(&[&record], now);
                }
            }
        }
        let record = replicas[1].record(&wanted, now);
        replicas[0].hears(&[&record], now);
        let counts = replicas[0].counts(&wanted, now);
        let sum = counts.applied + counts.pending + counts.rejected + counts.silent + counts.disconnected;
        prop_assert_eq!(counts.gateways, sum);
        prop_assert_eq!(counts.gateways as usize, seen.len());
    }
}
