//! Three replicas and twenty gateways while the ways between them break and heal: replicas that lag, that can't reach the
//! store, that gateways can't reach; gateways that come from a replica which is further to one which is not.
//!
//! The order of events is drawn from a seed; what sockets make of it is not, and must not matter.

use std::{collections::BTreeMap, time::Duration};

use kt_proto::{signed, v1};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use v1::server_message::Message;

use super::{
    SOURCE,
    plane::{Gateway, Plane, Replica, hello},
};
use crate::delivery::DeliveryOptions;

const GATEWAYS: u128 = 20;
const STEPS: usize = 150;
/// Longer than a replica takes to find back to the store, and a gateway to a replica.
const PATIENCE: Duration = Duration::from_mins(1);

/// Numbers that look random: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }

    fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(1 + self.below(bound))
    }
}

/// What the world is like.
#[derive(Clone, Copy, Default)]
struct Weather {
    /// Replicas that gateways can't reach.
    is_away: [bool; 3],
    /// Streams stay.
    is_calm: bool,
    is_over: bool,
}

/// What each gateway has in force.
type Board = watch::Sender<BTreeMap<u128, u64>>;

/// A gateway that moves about and takes what is newer than what it has, as real ones do.
async fn live(
    id: u128,
    replicas: &[Replica],
    mut weather: watch::Receiver<Weather>,
    board: &Board,
    seed: u64,
) {
    let mut chance = Chance(seed);
    let mut held: Option<v1::Held> = None;
    while !weather.borrow().is_over {
        let number = chance.index(replicas.len());
        let now = *weather.borrow_and_update();
        if now.is_away[number] {
            sleep(chance.millis(5)).await;
            continue;
        }
        let greeting = v1::Hello { assignment: held.clone(), ..hello(id) };
        let mut gateway = replicas[number].connect_as(greeting, "kt_gw_default").await;
        let stay = async {
            if now.is_calm {
                let _ = weather.wait_for(|weather| weather.is_over).await;
            } else {
                sleep(chance.millis(60)).await;
            }
        };
        tokio::select! {
            () = listen(id, &mut gateway, &mut held, board) => {}
            () = stay => {}
        }
    }
}

/// Until the stream ends. A gateway that shows what it has is never offered less.
async fn listen(id: u128, gateway: &mut Gateway, held: &mut Option<v1::Held>, board: &Board) {
    while let Ok(Some(message)) = gateway.message().await {
        let Message::Assign(assign) = message else { continue };
        let sealed = assign.assignment.unwrap();
        let generation = signed::read::<v1::AssignmentStatement>(&sealed).unwrap().generation;
        let before = held.as_ref().map_or(0, |held| held.generation);
        assert!(generation > before, "{generation} was offered to a gateway that has {before}");
        let digest = signed::digest(&sealed).0.to_vec();
        *held = Some(v1::Held { generation, digest, source: v1::held::Source::Live.into() });
        board.send_modify(|board| {
            board.insert(id, generation);
        });
        gateway.applied(v1::Document::Assignment, assign.nonce, &sealed, generation).await;
    }
}

async fn storm(seed: u64) {
    let plane = Plane::new().await;
    let (mut replicas, mut ways) = (Vec::new(), Vec::new());
    for number in 1..=3 {
        let options = DeliveryOptions {
            replica: format!("r{number}"),
            hello_rate: 10_000,
            hello_burst: 10_000,
            ..DeliveryOptions::default()
        };
        let (replica, way) = plane.start_apart(options).await;
        replicas.push(replica);
        ways.push(way);
    }
    let weather = watch::Sender::new(Weather::default());
    let board = Board::new(BTreeMap::new());
    let mut last = 0;
    let disturb = async {
        let mut chance = Chance(seed);
        let (mut is_held, mut is_cut) = ([false; 3], [false; 3]);
        for _ in 0..STEPS {
            let number = chance.index(3);
            match chance.below(8) {
                0 => {
                    is_held[number] ^= true;
                    ways[number].hold(is_held[number] || is_cut[number]);
                }
                1 => {
                    is_cut[number] ^= true;
                    ways[number].cut(is_cut[number]);
                    ways[number].hold(is_held[number] || is_cut[number]);
                }
                2 => weather.send_modify(|weather| weather.is_away[number] ^= true),
                3..=5 => {
                    last += 1;
                    plane.publish("default", last, SOURCE).await;
                }
                _ => {}
            }
            sleep(chance.millis(12)).await;
        }
        // Everything heals, and everybody comes to have the head.
        ways.iter().for_each(|way| way.cut(false));
        weather.send_modify(|weather| (weather.is_away, weather.is_calm) = ([false; 3], true));
        let mut seen = board.subscribe();
        let have_all = |board: &BTreeMap<u128, u64>| {
            board.len() == usize::try_from(GATEWAYS).unwrap() && board.values().all(|held| *held == last)
        };
        let converged = timeout(PATIENCE, seen.wait_for(have_all)).await;
        assert!(converged.is_ok(), "seed {seed}: {:?} of {last}", board.borrow());
        for replica in &replicas {
            let status =
                replica.status_when("default", |counts| u128::from(counts.applied) == GATEWAYS).await;
            assert!(status.divergence.is_none(), "seed {seed}: a lag was taken for a restored store");
        }
        weather.send_modify(|weather| weather.is_over = true);
    };
    let lives = (0..GATEWAYS).map(|id| {
        live(
            id,
            &replicas,
            weather.subscribe(),
            &board,
            seed.wrapping_mul(31) + u64::try_from(id).unwrap() + 1,
        )
    });
    tokio::join!(futures_util::future::join_all(lives), disturb);
    assert!(last > 20, "seed {seed}: {last} publishes");
}

#[tokio::test]
async fn partitions_heal_reorder_and_no_gateway_goes_back_or_stays_behind() {
    for seed in 1..=4 {
        storm(seed * 0x9e37_79b9).await;
    }
}
