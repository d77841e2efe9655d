//! From the first start to the last, as people see it.

use std::{sync::Arc, time::Duration};

use kt_control_plane::{
    ControlPlane, StartError,
    store::{StoreError, scripted::Scripted},
};
use kt_proto::v1::{self, Role};
use tokio_stream::StreamExt as _;

use crate::plane::{LONG, Plane, code, settings};

#[tokio::test]
async fn a_pack_is_published_found_and_downloaded_byte_for_byte() {
    let plane = Plane::start().await;
    let ann = plane.caller(Some(&plane.first().token("ann", &[Role::Admin], "").await));
    let pack = ann.upload("1.0.0").await;
    ann.publish(0, &pack).await.unwrap();
    assert_eq!(ann.generation().await, 1);
    let request = v1::GetPackVersionRequest { name: "demo".to_owned(), version: String::new() };
    let found = ann.packs().get_pack_version(request).await.unwrap().into_inner();
    assert_eq!(
        (found.version.unwrap().pack.as_ref(), found.fleets),
        (Some(&pack), vec!["default".to_owned()])
    );
    let request = v1::DownloadPackRequest { name: "demo".to_owned(), version: "1.0.0".to_owned() };
    let mut pieces = ann.packs().download_pack(request).await.unwrap().into_inner();
    let mut source = Vec::new();
    while let Some(piece) = pieces.next().await {
        source.extend(piece.unwrap().chunk);
    }
    assert_eq!(kt_audit::Digest::of(&source).0, *pack.digest);
    let status = v1::GetFleetStatusRequest { fleet: "default".to_owned() };
    let status = ann.fleets().get_fleet_status(status).await.unwrap().into_inner().status.unwrap();
    assert_eq!((status.counts.unwrap().gateways, status.wanted.is_some()), (0, true));
    let changes =
        ann.fleets().list_changes(v1::ListChangesRequest::default()).await.unwrap().into_inner().changes;
    assert_eq!(changes[0].action, "fleet.publish");
    assert!(changes[0].actor.starts_with("ann (at_"), "{}", changes[0].actor);
    plane.stop().await;
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart_and_no_second_bootstrap_token() {
    let plane = Plane::start().await;
    let token = plane.first().token("ann", &[Role::Admin], "").await;
    let ann = plane.caller(Some(&token));
    let pack = ann.upload("1.0.0").await;
    ann.publish(0, &pack).await.unwrap();
    let first = plane.first();
    assert_eq!(code(first.tokens().who_am_i(v1::WhoAmIRequest {}).await), "token_revoked");
    let folder = plane.stop().await;
    let plane = Plane::with(settings(folder.path()), folder).await;
    assert_eq!(plane.secret, None);
    let ann = plane.caller(Some(&token));
    assert_eq!(ann.generation().await, 1);
    ann.publish(1, &pack).await.unwrap();
    plane.stop().await;
}

#[tokio::test]
async fn a_revoked_token_is_refused_by_every_replica() {
    let store = Arc::new(Scripted::new());
    let (one, other) = (Plane::over(store.clone()).await, Plane::over(store.clone()).await);
    let secret = one.secret.clone().or_else(|| other.secret.clone());
    let first = one.caller(secret.as_deref());
    let token = first.token("bob", &[Role::Viewer], "").await;
    let bob = other.caller(Some(&token));
    let me = || v1::WhoAmIRequest {};
    // The other replica learns of it through its watch.
    let id = tokio::time::timeout(LONG, async {
        loop {
            if let Ok(answer) = bob.tokens().who_am_i(me()).await {
                break answer.into_inner().token.unwrap().id;
            }
            tokio::task::yield_now().await;
        }
    });
    let id = id.await.unwrap();
    first.tokens().revoke_token(v1::RevokeTokenRequest { id, reason: "left".to_owned() }).await.unwrap();
    let refused = tokio::time::timeout(LONG, async {
        loop {
            match bob.tokens().who_am_i(me()).await {
                Ok(_) => tokio::task::yield_now().await,
                refused => break code(refused),
            }
        }
    });
    assert_eq!(refused.await.unwrap(), "token_revoked");
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn while_the_store_is_away_reads_are_served_from_memory_and_writes_refused() {
    let store = Arc::new(Scripted::new());
    let plane = Plane::over(store.clone()).await;
    let ann = plane.first();
    let pack = ann.upload("1.0.0").await;
    store.refuse(StoreError::Unavailable("connection refused".to_owned()));
    let list = v1::ListPackVersionsRequest::default();
    assert_eq!(ann.packs().list_pack_versions(list).await.unwrap().into_inner().versions.len(), 1);
    assert_eq!(code(ann.publish(0, &pack).await), "store_unavailable");
    let degraded = tokio::time::timeout(LONG, async {
        loop {
            let (status, body) = plane.get("/readyz").await;
            assert_eq!(status, 200, "{body}");
            if body.contains("\"degraded\"") && body.contains("connection refused") {
                break body;
            }
        }
    });
    assert!(degraded.await.unwrap().contains("\"state_age_seconds\""));
    store.accept();
    let back = tokio::time::timeout(LONG, async {
        while ann.publish(0, &pack).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
    back.await.unwrap();
    plane.stop().await;
}

#[tokio::test]
async fn packs_over_the_limit_and_taken_versions_have_their_own_codes() {
    let plane = Plane::start().await;
    let ann = plane.first();
    let pack = ann.upload("1.0.0").await;
    let upload = |source: Vec<u8>| v1::UploadPackRequest { source: source.into(), ..Default::default() };
    let huge = vec![b'#'; 5 << 20];
    assert_eq!(code(ann.packs().upload_pack(upload(huge)).await), "pack_too_large");
    let other = b"pack: {name: demo, version: 1.0.0}\npolicies: {chain: [audit-logger]}\n# other\n";
    assert_eq!(code(ann.packs().upload_pack(upload(other.to_vec())).await), "version_taken");
    let unknown = v1::GetFleetStatusRequest { fleet: "edge".to_owned() };
    assert_eq!(code(ann.fleets().get_fleet_status(unknown).await), "fleet_unknown");
    let unknown = v1::GetFleetRequest { name: "../x".to_owned() };
    assert_eq!(code(ann.fleets().get_fleet(unknown).await), "fleet_unknown");
    assert_eq!(code(ann.publish(4, &pack).await), "generation_conflict");
    let unknown = v1::GetKeySetRequest { fleet: "edge".to_owned() };
    assert_eq!(code(ann.keys().get_key_set(unknown).await), "fleet_unknown");
    plane.stop().await;
}

#[tokio::test]
async fn an_embedded_store_is_taken_once() {
    let plane = Plane::start().await;
    let error = ControlPlane::start(settings(plane.data_dir.path())).await.unwrap_err();
    assert!(matches!(error, StartError::Embedded(_)), "{error}");
    assert!(error.to_string().contains("only one control plane"), "{error}");
    plane.stop().await;
}

#[tokio::test]
async fn clear_text_beyond_the_loopback_is_refused_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut open = settings(folder.path());
    open.listen = "0.0.0.0:0".parse().unwrap();
    let error = ControlPlane::start(open.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::ClearText(_)) && error.help().is_some(), "{error}");
    open.insecure = true;
    let running = ControlPlane::start(open).await.unwrap();
    running.run_until(std::future::ready(())).await;
}

#[tokio::test]
async fn a_store_that_cannot_be_read_keeps_the_control_plane_from_starting() {
    let store = Arc::new(Scripted::new());
    store.refuse(StoreError::Unavailable("no route".to_owned()));
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.store = kt_control_plane::settings::StoreSettings::Given(store);
    settings.first_load = Duration::from_millis(200);
    let error = ControlPlane::start(settings).await.unwrap_err();
    assert!(error.to_string().contains("no route"), "{error}");
}
