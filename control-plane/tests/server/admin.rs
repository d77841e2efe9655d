//! Health, metrics, reflection, draining.

use kt_proto::v1;
use tokio_stream::StreamExt as _;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::plane::{LONG, Plane};

#[tokio::test]
async fn health_is_told_by_service_and_turns_before_connections_end() {
    let mut plane = Plane::start().await;
    let mut health = HealthClient::new(plane.caller(None).channel);
    for service in ["", "keeptrusts.v1.FleetService", "keeptrusts.v1.DeliveryService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
    let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    drop(plane.stop.take());
    let turned = tokio::time::timeout(LONG, watched.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(turned.status(), ServingStatus::NotServing);
    // The stream of health itself does not keep the server: it is cut off at the deadline.
    drop((watched, health));
    tokio::time::timeout(LONG, plane.stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_services_are_described_to_who_asks() {
    let plane = Plane::start().await;
    let mut reflection = ServerReflectionClient::new(plane.caller(None).channel);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        reflection.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) =
        answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("services")
    };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for service in ["PackService", "FleetService", "KeyService", "TokenService", "DeliveryService"] {
        assert!(names.contains(&format!("keeptrusts.v1.{service}")), "{names:?}");
    }
    drop((answers, reflection));
    plane.stop().await;
}

#[tokio::test]
async fn the_admin_listener_tells_health_and_counts() {
    let plane = Plane::start().await;
    let _ = plane.caller(None).tokens().who_am_i(v1::WhoAmIRequest {}).await;
    plane.first().upload("1.0.0").await;
    let (status, body) = plane.get("/readyz").await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"status\":\"ok\"") && body.contains("\"store\":\"embedded\""), "{body}");
    assert_eq!(plane.get("/healthz").await.0, 200);
    assert_eq!(plane.get("/other").await.0, 404);
    let (_, metrics) = plane.get("/metrics").await;
    for line in [
        "keeptrusts_control_plane_ready 1",
        "keeptrusts_control_plane_store_reachable 1",
        "keeptrusts_control_plane_mirror_lost_changes_total 0",
        "keeptrusts_control_plane_changes_total{action=\"pack.upload\",outcome=\"done\"} 1",
        "keeptrusts_control_plane_calls_total{method=\"/keeptrusts.v1.TokenService/WhoAmI\",outcome=\"token_unknown\"} 1",
        "keeptrusts_control_plane_gateway_sessions 0",
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("kt_at_"));
    plane.stop().await;
}
