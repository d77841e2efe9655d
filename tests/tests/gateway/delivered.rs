//! A connected gateway and its audit records: where they go, what is shown of it, and what is left at the end.

use kt_audit::record::{Body, End};
use kt_data_plane::settings::{ControlSettings, Origin};
use kt_proto::v1::{self, ship_notice::Kind};
use kt_tests::fake_control_plane::FakeControlPlane;

use crate::{
    connected::Fleet,
    world::{LLAMA, Pack, Plan, World},
};

fn plan(control: ControlSettings) -> Plan {
    World::plan(&Pack::llama())
        .audit()
        .settings(|settings| settings.origin = Origin::ControlPlane(Box::new(control)))
}

fn audited() -> Pack {
    Pack::llama().version(1).chain(&["audit-logger"])
}

/// Requests that have an end at the control plane.
fn ends(plane: &FakeControlPlane) -> Vec<End> {
    let end = |record: kt_audit::Record| match record.body {
        Body::Closed(closed) => Some(closed.end),
        _ => None,
    };
    plane.ingest.kept().records().filter_map(end).collect()
}

#[tokio::test]
async fn records_go_to_the_control_plane_and_a_stop_leaves_none_behind() {
    let fleet = Fleet::new().await;
    let world = plan(fleet.settings()).start().await;
    fleet.publish(1, &audited(), &[]).await;
    for _ in 0..3 {
        assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
    }
    fleet.plane.ingest.until(|kept| (kept.closed().len() == 3).then_some(())).await;
    let hello = fleet.plane.ingest.kept().hellos[0].clone();
    assert_eq!(hello.gateway_id, fleet.plane.hello(1).await.gateway_id, "who it is on both connections");
    assert_eq!(world.get(world.url("/nowhere")).await.status, 404);
    let (_, dir, drained) = world.stop().await;
    assert!(drained.delivered && drained.audit_closed, "{drained:?}");
    assert_eq!(ends(&fleet.plane).len(), 4);
    let kept = fleet.plane.ingest.kept();
    assert_eq!(kept.breaks(), Vec::<String>::new());
    let here = kt_audit::dir::AuditDir::open(&dir.path().join("audit")).unwrap();
    let records = here.records(kt_audit::dir::Order::OldestFirst).unwrap().count();
    assert_eq!(kept.len(), records);
}

#[tokio::test]
async fn metrics_and_configuration_say_how_far_it_is() {
    let fleet = Fleet::new().await;
    let world = plan(fleet.settings()).start().await;
    fleet.publish(1, &audited(), &[]).await;
    world.chat(LLAMA, "say: hello").await;
    fleet.plane.ingest.until(|kept| (kept.closed().len() == 1).then_some(())).await;
    let all_in = async {
        loop {
            let metrics = world.metrics().await;
            if metrics.contains("keeptrusts_gateway_audit_undelivered_records 0\n") {
                return metrics;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let metrics = crate::world::within(all_in).await;
    let stored = fleet.plane.ingest.kept().len();
    for line in [
        format!("keeptrusts_gateway_audit_delivery_records_acknowledged_total {stored}"),
        "keeptrusts_gateway_audit_delivery_connected 1".to_owned(),
        "keeptrusts_gateway_audit_oldest_unacknowledged_seconds 0".to_owned(),
        "keeptrusts_gateway_audit_delivery_notices_total{kind=\"gap\"} 0".to_owned(),
    ] {
        assert!(metrics.lines().any(|each| each == line), "{line} is not in {metrics}");
    }
    let config = world.get(world.admin("/keeptrusts/config")).await.json();
    assert_eq!(config["audit"]["delivered"], true);
}

#[tokio::test]
async fn what_the_control_plane_finds_wrong_degrades_the_gateway() {
    let fleet = Fleet::new().await;
    let notice = v1::ShipNotice {
        kind: Kind::Cloned.into(),
        epoch: vec![7; 16],
        message: "two machines are one".to_owned(),
        ..v1::ShipNotice::default()
    };
    fleet.plane.ingest.set(|manner| manner.notice = Some(notice));
    let world = plan(fleet.settings()).start().await;
    fleet.publish(1, &audited(), &[]).await;
    let ready = world.until_ready(|status, value| status == 200 && value["status"] == "degraded").await;
    assert_eq!(ready["degraded"][0], "audit delivery: cloned: two machines are one");
    assert!(world.metrics().await.contains("keeptrusts_gateway_degraded{reason=\"audit_delivery\"} 1"));
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200, "it serves all the same");
}

#[tokio::test]
async fn a_control_plane_that_is_too_old_for_records_is_named_and_told_what_to_do_about() {
    let fleet = Fleet::of(FakeControlPlane::start_without_ingest().await.unwrap());
    let world = plan(fleet.settings()).start().await;
    fleet.publish(1, &audited(), &[]).await;
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
    let ready = world.until_ready(|status, value| status == 200 && value["status"] == "degraded").await;
    assert_eq!(
        ready["degraded"][0],
        "audit delivery: records stay in the audit directory: the control plane has no service for audit records, \
         it is older than this gateway: update it, or turn delivery off with `--audit-delivery false`"
    );
    assert!(world.metrics().await.contains("keeptrusts_gateway_degraded{reason=\"audit_delivery\"} 1"));
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200, "it serves all the same");
    let (_, dir, drained) = world.stop().await;
    assert!(!drained.delivered, "{drained:?}");
    assert_eq!(crate::records::read(&dir.path().join("audit")).iter().filter(is_closed).count(), 2);
}

fn is_closed(body: &&Body) -> bool {
    matches!(body, Body::Closed(_))
}

#[tokio::test]
async fn a_gateway_that_is_told_not_to_deliver_keeps_its_records() {
    let fleet = Fleet::new().await;
    let control = fleet.settings();
    let world = World::plan(&Pack::llama())
        .audit()
        .settings(|settings| {
            settings.origin = Origin::ControlPlane(Box::new(control));
            settings.audit.as_mut().unwrap().deliver = false;
        })
        .start()
        .await;
    fleet.publish(1, &audited(), &[]).await;
    world.chat(LLAMA, "say: hello").await;
    assert!(!world.metrics().await.contains("undelivered"));
    let (_, dir, drained) = world.stop().await;
    assert!(drained.delivered, "there is nothing to deliver");
    assert_eq!(fleet.plane.ingest.kept().hellos.len(), 0);
    assert!(!crate::records::read(&dir.path().join("audit")).is_empty());
}
