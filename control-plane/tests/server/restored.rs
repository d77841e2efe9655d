//! The store goes back in time, gateways do not.

use std::{sync::Arc, time::Duration};

use kt_control_plane::store::scripted::Scripted;
use kt_proto::{
    signed,
    v1::{
        self, Role, delivery_service_client::DeliveryServiceClient, gateway_message::Message as Said,
        server_message::Message as Heard,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::plane::{Caller, LONG, Plane, code};

/// A gateway that takes whatever is newer than what it has.
struct Gateway {
    says: mpsc::Sender<v1::GatewayMessage>,
    hears: tonic::Streaming<v1::ServerMessage>,
    held: Option<v1::Held>,
    keys: Option<v1::Held>,
}

impl Gateway {
    /// Connects, and says what it has; returns the epoch that it is told.
    async fn connect(caller: &Caller, held: Option<v1::Held>, keys: Option<v1::Held>) -> (Self, String) {
        let (says, said) = mpsc::channel(8);
        let hello = v1::Hello {
            fleet: "default".to_owned(),
            gateway_id: uuid::Uuid::from_u128(1).to_string(),
            process_id: uuid::Uuid::from_u128(2).to_string(),
            name: "edge-1".to_owned(),
            build: "0.1.0".to_owned(),
            features: kt_policy::features::supported().to_vec(),
            max_pack_bytes: 4 << 20,
            assignment: held.clone(),
            key_set: keys.clone(),
            ..v1::Hello::default()
        };
        says.send(v1::GatewayMessage { message: Some(Said::Hello(hello)) }).await.unwrap();
        let mut client = DeliveryServiceClient::new(caller.service());
        let hears = client.subscribe(ReceiverStream::new(said)).await.unwrap().into_inner();
        let mut gateway = Self { says, hears, held, keys };
        let Some(Heard::Welcome(welcome)) = gateway.hear().await else { panic!("no welcome") };
        (gateway, welcome.store_epoch)
    }

    /// The next message that is no heartbeat.
    async fn hear(&mut self) -> Option<Heard> {
        loop {
            let heard = tokio::time::timeout(LONG, self.hears.message()).await.expect("a message");
            match heard.unwrap()?.message {
                Some(Heard::Heartbeat(_)) => {}
                message => return message,
            }
        }
    }

    /// Takes the next assignment, which must be newer; returns its generation.
    async fn take(&mut self) -> u64 {
        let Some(Heard::Assign(assign)) = self.hear().await else { panic!("no assignment") };
        let sealed = assign.assignment.unwrap();
        let statement: v1::AssignmentStatement = signed::read(&sealed).unwrap();
        let before = self.held.as_ref().map_or(0, |held| held.generation);
        assert!(statement.generation > before, "{} after {before}", statement.generation);
        let digest = signed::digest(&sealed).0.to_vec();
        self.held = Some(v1::Held {
            generation: statement.generation,
            digest: digest.clone(),
            source: v1::held::Source::Live.into(),
        });
        let applied = v1::Applied {
            document: v1::Document::Assignment.into(),
            nonce: assign.nonce,
            generation: statement.generation,
            digest,
            applied_us: 1,
        };
        self.says.send(v1::GatewayMessage { message: Some(Said::Applied(applied)) }).await.unwrap();
        statement.generation
    }

    /// Takes the next key set, which must be newer; returns the ids of its keys.
    async fn take_keys(&mut self) -> Vec<String> {
        let Some(Heard::AssignKeys(assign)) = self.hear().await else { panic!("no key set") };
        let sealed = assign.key_set.unwrap();
        let statement: v1::KeySetStatement = signed::read(&sealed).unwrap();
        let before = self.keys.as_ref().map_or(0, |held| held.generation);
        assert!(statement.generation > before, "{} after {before}", statement.generation);
        let digest = signed::digest(&sealed).0.to_vec();
        self.keys = Some(v1::Held {
            generation: statement.generation,
            digest: digest.clone(),
            source: v1::held::Source::Live.into(),
        });
        let applied = v1::Applied {
            document: v1::Document::KeySet.into(),
            nonce: assign.nonce,
            generation: statement.generation,
            digest,
            applied_us: 1,
        };
        self.says.send(v1::GatewayMessage { message: Some(Said::Applied(applied)) }).await.unwrap();
        statement.keys.into_iter().map(|key| key.id).collect()
    }

    /// Says that it lives, for a while, and hears no assignment meanwhile.
    async fn keeps_what_it_has(&mut self, how_long: Duration) {
        let heard = tokio::time::timeout(how_long, self.hear()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
}

#[tokio::test]
async fn restored_store_recovers_without_going_back() {
    let store = Arc::new(Scripted::new());
    let plane = Plane::over(store.clone()).await;
    let ann = plane.caller(Some(&plane.first().token("ann", &[Role::Admin], "").await));
    let edge = plane.caller(Some(&ann.token("edge", &[Role::Gateway], "default").await));
    let (old, new) = (ann.upload("1.0.0").await, ann.upload("1.1.0").await);
    ann.publish(0, &old).await.unwrap();
    let backup = store.revision();
    let (mut gateway, epoch) = Gateway::connect(&edge, None, None).await;
    assert_eq!(gateway.take().await, 1);
    for generation in 1..3 {
        ann.publish(generation, &new).await.unwrap();
        assert_eq!(gateway.take().await, generation + 1);
    }

    // Somebody restores the backup: the store knows of generation 1 only.
    store.go_back(backup, true);
    let held = gateway.held.clone();
    drop(gateway);
    let gone_back = async {
        while ann.generation().await != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, gone_back).await.unwrap();
    let (mut gateway, restored) = tokio::time::timeout(LONG, async {
        loop {
            let (gateway, restored) = Gateway::connect(&edge, held.clone(), None).await;
            if restored != epoch {
                break (gateway, restored);
            }
        }
    })
    .await
    .unwrap();
    assert_ne!(restored, epoch);
    // It is not sent back, and nothing is published over it.
    gateway.keeps_what_it_has(Duration::from_millis(300)).await;
    let diverged = async {
        loop {
            let request = v1::GetFleetRequest { name: "default".to_owned() };
            let fleet = ann.fleets().get_fleet(request).await.unwrap().into_inner().fleet.unwrap();
            if let Some(divergence) = fleet.divergence {
                break divergence;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(tokio::time::timeout(LONG, diverged).await.unwrap().seen_generation, 3);
    assert_eq!(code(ann.publish(1, &new).await), "fleet_diverged");

    // A person decides what holds now: one above whatever was seen.
    let statement = v1::AssignmentStatement {
        fleet: "default".to_owned(),
        generation: 4,
        packs: vec![new.clone()],
        expires_us: 0,
    };
    let recover = v1::AssignRequest {
        fleet: "default".to_owned(),
        expected_generation: 1,
        assignment: Some(signed::seal(&statement, &[])),
        kind: v1::AssignmentKind::Recover.into(),
        reason: "restored from the backup of last night".to_owned(),
        ..v1::AssignRequest::default()
    };
    ann.fleets().assign(recover).await.unwrap();
    assert_eq!(gateway.take().await, 4);
    ann.publish(4, &old).await.unwrap();
    assert_eq!(gateway.take().await, 5);
    drop(gateway);
    plane.stop().await;
}

fn put_keys(expected: u64, generation: u64, ids: &[&str]) -> v1::PutKeySetRequest {
    let key = |id: &&str| v1::GatewayKey {
        id: (*id).to_owned(),
        sha256: kt_audit::Digest::of(id.as_bytes()).0.to_vec(),
        ..v1::GatewayKey::default()
    };
    let keys = ids.iter().map(key).collect();
    let statement = v1::KeySetStatement { fleet: "default".to_owned(), generation, keys, expires_us: 0 };
    v1::PutKeySetRequest {
        fleet: "default".to_owned(),
        expected_generation: expected,
        key_set: Some(signed::seal(&statement, &[])),
        ..v1::PutKeySetRequest::default()
    }
}

/// What was revoked since the backup is in the restored set again, and the gateway keeps the newer set. Counted on from
/// the backup, revocations would not reach the gateway until the counter had passed; they are refused by name instead.
#[tokio::test]
async fn keys_are_revoked_again_after_a_restore() {
    let store = Arc::new(Scripted::new());
    let plane = Plane::over(store.clone()).await;
    let ann = plane.caller(Some(&plane.first().token("ann", &[Role::Admin], "").await));
    let edge = plane.caller(Some(&ann.token("edge", &[Role::Gateway], "default").await));
    let put = async |request: v1::PutKeySetRequest| ann.keys().put_key_set(request).await;
    put(put_keys(0, 1, &["lost", "kept"])).await.unwrap();
    let backup = store.revision();
    let (mut gateway, epoch) = Gateway::connect(&edge, None, None).await;
    assert_eq!(gateway.take_keys().await, ["lost", "kept"]);
    put(put_keys(1, 2, &["lost", "kept", "more"])).await.unwrap();
    assert_eq!(gateway.take_keys().await, ["lost", "kept", "more"]);
    put(put_keys(2, 3, &["kept", "more"])).await.unwrap();
    assert_eq!(gateway.take_keys().await, ["kept", "more"]);

    store.go_back(backup, true);
    let held = gateway.keys.clone();
    drop(gateway);
    let mut gateway = tokio::time::timeout(LONG, async {
        loop {
            let (gateway, restored) = Gateway::connect(&edge, None, held.clone()).await;
            if restored != epoch {
                break gateway;
            }
        }
    })
    .await
    .unwrap();
    gateway.keeps_what_it_has(Duration::from_millis(300)).await;
    let fleet = async || {
        let request = v1::GetFleetRequest { name: "default".to_owned() };
        ann.fleets().get_fleet(request).await.unwrap().into_inner().fleet.unwrap()
    };
    let diverged = async {
        loop {
            if let Some(divergence) = fleet().await.key_set_divergence {
                break divergence;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(tokio::time::timeout(LONG, diverged).await.unwrap().seen_generation, 3);
    assert_eq!(code(put(put_keys(1, 2, &["kept"])).await), "fleet_diverged");
    // Only the gateway still knows what was revoked and made since.
    let held_keys = v1::HeldKeys { generation: 3, ids: vec!["more".to_owned(), "kept".to_owned()] };
    let beat = v1::GatewayHeartbeat { held_keys: Some(held_keys), ..v1::GatewayHeartbeat::default() };
    gateway.says.send(v1::GatewayMessage { message: Some(Said::Heartbeat(beat)) }).await.unwrap();
    let changes = async {
        loop {
            if let Some(changes) = fleet().await.key_set_divergence.and_then(|divergence| divergence.keys) {
                break changes;
            }
            tokio::task::yield_now().await;
        }
    };
    let changes = tokio::time::timeout(LONG, changes).await.unwrap();
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let wanted = v1::KeyChanges { returning: ids(&["lost"]), missing: ids(&["more"]), is_cut: false };
    assert_eq!(changes, wanted);
    assert!(plane.get("/readyz").await.1.contains("kt fleet recover default"));

    // `kt fleet recover` lifts what the store has; then keys are revoked as ever.
    put(v1::PutKeySetRequest { is_recovery: true, ..put_keys(1, 4, &["lost", "kept"]) }).await.unwrap();
    assert_eq!(gateway.take_keys().await, ["lost", "kept"]);
    put(put_keys(4, 5, &["kept"])).await.unwrap();
    assert_eq!(gateway.take_keys().await, ["kept"]);
    assert_eq!(fleet().await.key_set_divergence, None);
    drop(gateway);
    plane.stop().await;
}
