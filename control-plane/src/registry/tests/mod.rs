mod assigning;
mod key_sets;
mod minting;
mod uploading;

use kt_audit::sign::Signer;
use kt_proto::signed;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    mirror::MirrorOptions,
    store::scripted::{Fault, Scripted},
};

/// A registry over a scripted store with the fleet `default`.
struct Plane {
    store: Scripted,
    registry: Registry,
    stop: CancellationToken,
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn pack(version: &str, more: &str) -> Bytes {
    format!("pack: {{name: demo, version: {version}}}\npolicies: {{chain: [audit-logger]}}\n{more}").into()
}

fn fleet(name: &str, description: &str) -> v1::CreateFleetRequest {
    let (name, description) = (name.to_owned(), description.to_owned());
    v1::CreateFleetRequest { name, description, request_id: request_id() }
}

fn request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

use bytes::Bytes;

impl Plane {
    async fn new() -> Self {
        let plane = Self::over(Scripted::new(), Trust::default()).await;
        plane.registry.create_fleet("ann (at_1)", &fleet("default", "")).await.unwrap();
        plane
    }

    /// Another replica, or the first one.
    async fn over(store: Scripted, trust: Trust) -> Self {
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let (metrics, stop) = (Metrics::new(|_| {}), CancellationToken::new());
        let mirror = Mirror::start(
            Arc::clone(&shared),
            MirrorOptions::default(),
            metrics.mirror.clone(),
            &TaskTracker::new(),
            stop.clone(),
        );
        assert!(mirror.ready().await);
        let bodies = Bodies::new(Arc::clone(&shared), 1 << 20);
        let registry = Registry::new(shared, mirror, bodies, trust, metrics);
        Self { store, registry, stop }
    }

    async fn upload(&self, version: &str) -> v1::PackRef {
        let source = pack(version, "");
        match self.registry.upload("ann (at_1)", source, "", &request_id()).await.unwrap() {
            packs::Uploaded::Stored { version, .. } => version.pack.unwrap(),
            packs::Uploaded::Refused(findings) => panic!("{findings:?}"),
        }
    }

    async fn head(&self) -> u64 {
        let fleet = self.registry.fleet("default").await.unwrap();
        let sealed = fleet.head.and_then(|head| head.assignment);
        sealed.map_or(0, |sealed| signed::read::<v1::AssignmentStatement>(&sealed).unwrap().generation)
    }

    /// Everything that is stored, so that a test can say that nothing has changed.
    async fn everything(&self) -> Vec<crate::store::Entry> {
        self.store.load(paths::ROOT).await.unwrap().entries
    }

    async fn changes(&self) -> Vec<String> {
        let page = self.registry.changes(&v1::ListChangesRequest::default()).await.unwrap();
        page.changes.into_iter().map(|change| format!("{} {}", change.action, change.subject)).collect()
    }
}

fn statement(generation: u64, pack: &v1::PackRef) -> v1::AssignmentStatement {
    v1::AssignmentStatement {
        fleet: "default".to_owned(),
        generation,
        packs: vec![pack.clone()],
        expires_us: 0,
    }
}

fn request(expected: u64, statement: &v1::AssignmentStatement) -> v1::AssignRequest {
    v1::AssignRequest {
        fleet: "default".to_owned(),
        expected_generation: expected,
        assignment: Some(signed::seal(statement, &[])),
        kind: v1::AssignmentKind::Publish.into(),
        reason: "because".to_owned(),
        request_id: request_id(),
    }
}

fn signer() -> Signer {
    Signer::generate().unwrap()
}
