//! Delivery over real connections: a server on a port of its own, gateways that a script plays.

mod partitions;
mod plane;

use std::time::Duration;

use kt_audit::Digest;
use kt_proto::{refusal::Code, v1};
use v1::{gateway_status::State as Standing, refused::Why, server_message::Message};

use self::plane::{Gateway, Plane, Replica, heartbeat, hello};
use super::DeliveryOptions;
use crate::store::StoreError;

const SOURCE: &[u8] = b"pack: {name: demo, version: 1.0.0}\n";

fn options() -> DeliveryOptions {
    DeliveryOptions { replica: "r1".to_owned(), ..DeliveryOptions::default() }
}

async fn started() -> (Plane, Replica) {
    let plane = Plane::new().await;
    let replica = plane.start(options()).await;
    (plane, replica)
}

#[tokio::test]
async fn a_gateway_gets_what_its_fleet_is_to_have_fetches_it_and_applies_it() {
    let (plane, replica) = started().await;
    let digest = plane.publish("default", 1, SOURCE).await;
    plane.keys("default", 1, &["k1"]).await;
    let mut gateway = replica.connect(1, "kt_gw_default").await;
    let Message::Welcome(welcome) = gateway.next().await else { panic!("no welcome") };
    assert_eq!(
        (&*welcome.replica, welcome.heartbeat_interval_ms, welcome.silence_limit_ms),
        ("r1", 3000, 9000)
    );
    assert_eq!(*welcome.store_epoch, *replica.mirror.state().epoch);
    let Message::AssignKeys(keys) = gateway.next().await else { panic!("no keys") };
    let Message::Assign(assign) = gateway.next().await else { panic!("no assignment") };
    let statement: v1::AssignmentStatement =
        kt_proto::signed::read(assign.assignment.as_ref().unwrap()).unwrap();
    assert_eq!(statement.packs[0].digest, digest.0);
    assert_eq!(assign.features[0].name, "policy:rbac");
    assert_eq!(gateway.fetch(digest).await.unwrap(), SOURCE);
    gateway.applied(v1::Document::Assignment, assign.nonce, assign.assignment.as_ref().unwrap(), 1).await;
    gateway.applied(v1::Document::KeySet, keys.nonce, keys.key_set.as_ref().unwrap(), 1).await;
    let status = replica.status_when("default", |counts| counts.applied == 1).await;
    assert_eq!((status.counts.unwrap().gateways, status.key_set_generation), (1, 1));
    assert!(status.exceptions.is_empty() && status.wanted.is_some());
    let gateways = replica.delivery.gateways("default").await.unwrap().unwrap();
    assert_eq!((&*gateways[0].pack, gateways[0].state()), ("demo@1.0.0", Standing::Applied));
    assert!(gateways[0].last_applied_us > 0);
}

#[tokio::test]
async fn a_publish_reaches_every_gateway_of_the_fleet_and_no_other() {
    let (plane, replica) = started().await;
    plane.fleet("other").await;
    plane.token("other", "kt_gw_other").await;
    let mut gateways = Vec::new();
    for id in 0..50 {
        let mut gateway = replica.connect(id, "kt_gw_default").await;
        gateway.welcome().await;
        gateways.push(gateway);
    }
    let mut other =
        replica.connect_as(v1::Hello { fleet: "other".to_owned(), ..hello(99) }, "kt_gw_other").await;
    other.welcome().await;
    plane.publish("default", 1, SOURCE).await;
    for gateway in &mut gateways {
        let assign = gateway.assign().await;
        gateway.applied(v1::Document::Assignment, assign.nonce, assign.assignment.as_ref().unwrap(), 1).await;
    }
    let status = replica.status_when("default", |counts| counts.applied == 50).await;
    assert_eq!(status.counts.unwrap().gateways, 50);
    assert!(other.is_quiet().await);
    assert_eq!(replica.delivery.connected(), 51);
}

#[tokio::test]
async fn a_rejection_is_in_the_status_with_stage_rule_and_line() {
    let (plane, replica) = started().await;
    plane.publish("default", 1, SOURCE).await;
    let mut gateway = replica.connect(1, "kt_gw_default").await;
    gateway.welcome().await;
    let assign = gateway.assign().await;
    gateway.rejected(&assign, 1).await;
    let status = replica.status_when("default", |counts| counts.rejected == 1).await;
    let exception = &status.exceptions[0];
    let refusal = exception.refusal.as_ref().unwrap();
    assert_eq!((exception.state(), refusal.stage()), (Standing::Rejected, v1::Stage::Compile));
    assert_eq!((&*refusal.reasons[0].path, refusal.reasons[0].line), ("policy.rbac.roles", 7));
    // It is not sent again when it comes back, and its refusal is still known.
    drop(gateway);
    let mut gateway = replica.connect(1, "kt_gw_default").await;
    gateway.welcome().await;
    assert!(gateway.is_quiet().await);
    let status = replica.delivery.status("default").await.unwrap().unwrap();
    assert_eq!(status.exceptions[0].refusal.as_ref().unwrap().reasons[0].line, 7);
}

#[tokio::test]
async fn a_gateway_that_lacks_a_feature_is_not_sent_the_pack_and_named() {
    let (plane, replica) = started().await;
    plane.publish("default", 1, SOURCE).await;
    let old = v1::Hello { features: vec!["policy:dlp-filter".to_owned()], ..hello(1) };
    let mut gateway = replica.connect_as(old, "kt_gw_default").await;
    gateway.welcome().await;
    let status = replica.status_when("default", |counts| counts.rejected == 1).await;
    let reason = &status.exceptions[0].refusal.as_ref().unwrap().reasons[0];
    assert_eq!((&*reason.code, &*reason.path, reason.line), ("feature_missing", "policy.rbac", 3));
    assert!(gateway.is_quiet().await);
}

#[tokio::test]
async fn a_watched_status_follows_a_publish() {
    use futures_util::StreamExt as _;
    let (plane, replica) = started().await;
    let mut gateway = replica.connect(1, "kt_gw_default").await;
    gateway.welcome().await;
    let mut watched = Box::pin(replica.delivery.watch_status("default").await.unwrap().unwrap());
    assert_eq!(watched.next().await.unwrap().counts.unwrap().applied, 1, "nothing is wanted yet");
    plane.publish("default", 1, SOURCE).await;
    let assign = gateway.assign().await;
    while watched.next().await.unwrap().counts.unwrap().pending == 0 {}
    gateway.applied(v1::Document::Assignment, assign.nonce, assign.assignment.as_ref().unwrap(), 1).await;
    while watched.next().await.unwrap().counts.unwrap().applied == 0 {}
    assert!(replica.delivery.watch_status("nobody").await.unwrap().is_none());
}

#[tokio::test]
async fn a_silent_gateway_is_shown_as_silent_and_its_stream_is_ended() {
    let plane = Plane::new().await;
    let short = DeliveryOptions {
        heartbeat: Duration::from_millis(100),
        silence: Duration::from_millis(400),
        ..options()
    };
    let replica = plane.start(short).await;
    let mut silent = replica.connect(1, "kt_gw_default").await;
    let talking = replica.connect(2, "kt_gw_default").await;
    let beat = async {
        loop {
            talking.send(heartbeat()).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let silence = async {
        replica.status_when("default", |counts| counts.silent == 1).await;
        let ended = silent.until_end().await;
        assert_eq!(ended.unwrap_err().code(), tonic::Code::DeadlineExceeded);
        let counts = replica.status_when("default", |counts| counts.disconnected == 1).await.counts.unwrap();
        assert_eq!((counts.gateways, counts.applied), (2, 1));
    };
    tokio::select! { () = beat => {}, () = silence => {} }
}

#[tokio::test]
async fn a_revoked_token_ends_the_stream_within_a_second() {
    let (plane, replica) = started().await;
    let mut gateway = replica.connect(1, "kt_gw_default").await;
    gateway.welcome().await;
    plane.revoke("kt_gw_default").await;
    let ended =
        tokio::time::timeout(Duration::from_secs(1), gateway.until_end()).await.expect("within a second");
    let refusal = kt_proto::refusal::Refusal::of(&ended.unwrap_err()).unwrap();
    assert_eq!(refusal.code, Code::TokenRevoked);
    let mut again = replica.connect(1, "kt_gw_default").await;
    let refusal = kt_proto::refusal::Refusal::of(&again.until_end().await.unwrap_err()).unwrap();
    assert_eq!(refusal.code, Code::TokenRevoked);
}

#[tokio::test]
async fn who_does_not_belong_here_is_refused_by_name() {
    let (plane, replica) = started().await;
    plane.token("gone", "kt_gw_gone").await;
    let other = v1::Hello { fleet: "other".to_owned(), ..hello(1) };
    let refused = replica.connect_as(other, "kt_gw_default").await.refused().await;
    assert_eq!(refused.why(), Why::WrongFleet);
    let of_no_fleet = v1::Hello { fleet: "gone".to_owned(), ..hello(1) };
    assert_eq!(replica.connect_as(of_no_fleet, "kt_gw_gone").await.refused().await.why(), Why::UnknownFleet);
    let no_id = v1::Hello { gateway_id: "me".to_owned(), ..hello(1) };
    assert_eq!(replica.connect_as(no_id, "kt_gw_default").await.refused().await.why(), Why::Malformed);
    for (token, code) in [("kt_gw_nobody", Code::TokenUnknown), ("kt_at_person", Code::RoleMissing)] {
        let mut stranger = replica.connect(1, token).await;
        let refusal = kt_proto::refusal::Refusal::of(&stranger.until_end().await.unwrap_err()).unwrap();
        assert_eq!(refusal.code, code);
    }
}

#[tokio::test]
async fn a_pack_of_another_fleet_is_not_given_out() {
    let (plane, replica) = started().await;
    plane.fleet("other").await;
    let digest = plane.publish("other", 1, SOURCE).await;
    let gateway = replica.connect(1, "kt_gw_default").await;
    let refusal = kt_proto::refusal::Refusal::of(&gateway.fetch(digest).await.unwrap_err()).unwrap();
    assert_eq!(refusal.code, Code::WrongFleet);
    // What was assigned a moment ago is, for whoever is still at it.
    let old = plane.publish("default", 1, b"pack: {name: old}\n").await;
    assert!(gateway.fetch(old).await.is_ok());
    let new = plane.publish("default", 2, SOURCE).await;
    assert!(gateway.fetch(new).await.is_ok());
    assert!(gateway.fetch(old).await.is_ok());
}

#[tokio::test]
async fn a_large_pack_arrives_in_pieces_byte_for_byte() {
    let (plane, replica) = started().await;
    let source: String =
        (0..20_000).map(|line| format!("# {}\n", Digest::of(&u32::to_be_bytes(line)))).collect();
    let digest = plane.publish("default", 1, source.as_bytes()).await;
    let gateway = replica.connect(1, "kt_gw_default").await;
    assert_eq!(gateway.fetch(digest).await.unwrap(), source.as_bytes());
}

#[tokio::test]
async fn the_same_gateway_again_ends_the_older_stream() {
    let (_plane, replica) = started().await;
    let mut first = replica.connect(1, "kt_gw_default").await;
    first.welcome().await;
    let mut second = replica.connect(1, "kt_gw_default").await;
    second.welcome().await;
    assert_eq!(first.refused().await.why(), Why::Replaced);
    assert_eq!(replica.status_when("default", |_| true).await.counts.unwrap().gateways, 1);
}

#[tokio::test]
async fn a_drained_server_asks_its_gateways_to_leave_and_takes_no_new_ones() {
    let (_plane, replica) = started().await;
    let mut gateway = replica.connect(1, "kt_gw_default").await;
    gateway.welcome().await;
    let mut stays = replica.connect(2, "kt_gw_default").await;
    stays.welcome().await;
    let draining = replica.delivery.clone();
    let drained = async move { draining.drain(Duration::from_secs(2)).await };
    let leaves = async {
        let Message::Drain(drain) = gateway.next().await else { panic!("no drain") };
        assert_eq!((&*drain.reason, drain.within_ms), ("shutdown", 2000));
        let refused = replica.connect(3, "kt_gw_default").await.refused().await;
        assert_eq!(refused.why(), Why::Draining);
        drop(gateway);
        assert_eq!(
            stays.until_end().await.unwrap_err().code(),
            tonic::Code::Unavailable,
            "cut off at the end"
        );
    };
    tokio::join!(drained, leaves);
}

#[tokio::test]
async fn a_storm_is_answered_with_busy_and_a_time_to_come_back() {
    let plane = Plane::new().await;
    let replica = plane.start(DeliveryOptions { hello_rate: 1, hello_burst: 2, ..options() }).await;
    let mut waits = Vec::new();
    for id in 0..6 {
        let mut gateway = replica.connect(id, "kt_gw_default").await;
        match gateway.next().await {
            Message::Welcome(_) => {}
            Message::Refused(refused) => {
                assert_eq!(refused.why(), Why::Busy);
                waits.push(refused.retry_after_ms);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(waits.len() >= 3, "{waits:?}");
    assert!(waits.is_sorted() && waits[0] > 0, "each is given a later place: {waits:?}");
}

#[tokio::test]
async fn a_gateway_above_the_head_marks_the_fleet_and_is_sent_nothing() {
    let (plane, replica) = started().await;
    plane.publish("default", 3, SOURCE).await;
    let ahead = v1::Held { generation: 7, digest: vec![7; 32], source: 1 };
    let hello = v1::Hello { assignment: Some(ahead), ..hello(1) };
    let mut gateway = replica.connect_as(hello, "kt_gw_default").await;
    gateway.welcome().await;
    let divergence = plane.divergence("default").await;
    assert_eq!(
        (divergence.seen_generation, &*divergence.gateway_id),
        (7, &*uuid::Uuid::from_u128(1).to_string())
    );
    assert!(gateway.is_quiet().await);
    // Recovery goes above it.
    plane.publish("default", 8, SOURCE).await;
    assert_eq!(gateway.assign_generation().await, 8);
}

#[tokio::test]
async fn a_gateway_with_a_key_set_above_the_stored_one_marks_the_key_set_alone() {
    let (plane, replica) = started().await;
    plane.publish("default", 1, SOURCE).await;
    plane.keys("default", 3, &["k1"]).await;
    replica.status_when("default", |_| replica.generation("default") == 1).await;
    let held = |generation| v1::Held { generation, digest: vec![7; 32], source: 1 };
    let assignment = Some(plane.head("default").await);
    let ahead = v1::Hello { assignment: assignment.clone(), key_set: Some(held(7)), ..hello(1) };
    let mut gateway = replica.connect_as(ahead, "kt_gw_default").await;
    gateway.welcome().await;
    let divergence = plane.key_set_divergence("default").await;
    assert_eq!((divergence.seen_generation, divergence.is_conflict), (7, false));
    assert_eq!(plane.no_divergence("default").await, None);
    assert!(gateway.is_quiet().await);
    replica.status_when("default", |counts| counts.pending == 1).await;
    let status = replica.delivery.status("default").await.unwrap().unwrap();
    assert_eq!(status.key_set_divergence.unwrap().seen_generation, 7);
    // A recovery goes above it, and is pushed.
    plane.keys("default", 8, &["k1"]).await;
    assert_eq!(gateway.keys_generation().await, 8);
}

#[tokio::test]
async fn another_key_set_of_the_stored_generation_is_marked_as_a_conflict() {
    let (plane, replica) = started().await;
    plane.keys("default", 3, &["k1"]).await;
    let ahead = v1::Held { generation: 3, digest: vec![7; 32], source: 1 };
    let hello = v1::Hello { key_set: Some(ahead), ..hello(1) };
    let mut gateway = replica.connect_as(hello, "kt_gw_default").await;
    gateway.welcome().await;
    let divergence = plane.key_set_divergence("default").await;
    assert_eq!((divergence.seen_generation, divergence.is_conflict), (3, true));
}

#[tokio::test]
async fn a_lagging_replica_reads_the_store_before_it_calls_a_fleet_diverged() {
    let (plane, replica) = started().await;
    plane.publish("default", 1, SOURCE).await;
    replica.status_when("default", |_| replica.generation("default") == 1).await;
    // Its watch stands still while the head moves on, and a gateway comes from a replica that is further.
    plane.hold_watches();
    let digest = plane.publish("default", 2, SOURCE).await;
    let held = plane.head("default").await;
    let hello = v1::Hello { assignment: Some(held), ..hello(1) };
    let mut gateway = replica.connect_as(hello, "kt_gw_default").await;
    gateway.welcome().await;
    replica.status_when("default", |counts| counts.applied == 1).await;
    assert_eq!(gateway.fetch(digest).await.unwrap(), SOURCE);
    assert_eq!(plane.no_divergence("default").await, None);
}

#[tokio::test]
async fn gateways_are_served_while_the_store_is_away() {
    let (plane, replica) = started().await;
    let digest = plane.publish("default", 1, SOURCE).await;
    let gateway = replica.connect(1, "kt_gw_default").await;
    gateway.fetch(digest).await.unwrap();
    plane.store.refuse(StoreError::Unavailable("away".to_owned()));
    let mut late = replica.connect(2, "kt_gw_default").await;
    late.welcome().await;
    assert_eq!(late.assign_generation().await, 1);
    assert_eq!(late.fetch(digest).await.unwrap(), SOURCE);
    assert_eq!(replica.delivery.status("default").await.unwrap().unwrap().counts.unwrap().gateways, 2);
}

#[tokio::test]
async fn replicas_know_of_each_others_gateways() {
    let plane = Plane::new().await;
    let one = plane.start(options()).await;
    let two = plane.start(DeliveryOptions { replica: "r2".to_owned(), ..options() }).await;
    plane.publish("default", 1, SOURCE).await;
    let mut gateway = one.connect(1, "kt_gw_default").await;
    gateway.welcome().await;
    let assign = gateway.assign().await;
    gateway.applied(v1::Document::Assignment, assign.nonce, assign.assignment.as_ref().unwrap(), 1).await;
    let status = two.status_when("default", |counts| counts.applied == 1).await;
    assert_eq!(status.counts.unwrap().gateways, 1);
    // One that goes away cleanly takes its record with it; its gateways are not forgotten.
    one.stop().await;
    let status = two.status_when("default", |counts| counts.disconnected == 1).await;
    assert!(status.silent_replicas.is_empty());
}

#[tokio::test]
async fn the_use_of_keys_is_written_down_for_keys_that_exist() {
    let plane = Plane::new().await;
    let replica = plane.start(DeliveryOptions { key_use: Duration::from_millis(50), ..options() }).await;
    plane.keys("default", 1, &["k1", "k2"]).await;
    let gateway = replica.connect(1, "kt_gw_default").await;
    let used = |key: &str, at| v1::KeyUse { key_id: key.to_owned(), last_used_us: at };
    gateway.uses(vec![used("k1", 50), used("stranger", 60)]).await;
    gateway.uses(vec![used("k1", 40)]).await;
    let uses = plane.key_use("default").await;
    assert_eq!(uses.into_iter().collect::<Vec<_>>(), [("k1".to_owned(), 50)]);
}

#[tokio::test]
async fn a_message_that_makes_no_sense_ends_the_stream_with_its_reason() {
    let (_plane, replica) = started().await;
    let mut gateway: Gateway = replica.connect(1, "kt_gw_default").await;
    gateway.welcome().await;
    gateway.send(v1::gateway_message::Message::Hello(hello(1))).await;
    let refused = gateway.refused().await;
    assert_eq!((refused.why(), &*refused.message), (Why::Malformed, "a second Hello on one stream"));
}
