//! Two replicas of the control plane over one etcd and one PostgreSQL, each with a gateway of its own.

use std::{path::Path, time::Duration};

use kt_control_plane::{
    audit::{
        IngestSettings,
        store::{
            postgres::{PostgresOptions, PostgresSettings},
            testing::PostgresServer,
        },
    },
    settings::{AuditSettings, Settings, StoreSettings},
    store::{etcd::EtcdSettings, testing::EtcdCluster},
};
use kt_data_plane::{
    audit::{self, Delivery},
    settings::ControlSettings,
    ship::Ship,
};
use kt_proto::v1::{self, audit_service_client::AuditServiceClient, erase_subject_request::Subject};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    common::PATIENCE,
    kt::Person,
    records::{Auditor, Plane, append},
};

const EACH: u128 = 400;

async fn replica(folder: &Path, name: &str, etcd: &str, postgres: &str) -> Plane {
    let audit = PostgresSettings::new(postgres, PostgresOptions::default()).unwrap();
    Plane::with(Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        store: StoreSettings::Etcd(EtcdSettings::parse(etcd).unwrap()),
        audit: AuditSettings::Postgres(Box::new(audit)),
        audit_key_dir: Some(folder.join("audit-keys")),
        ingest: IngestSettings { erasures: Duration::from_millis(200), ..IngestSettings::default() },
        ..Settings::new(folder.join(name))
    })
    .await
}

/// Until it is so. The other side are processes.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_two_gateways_are_found_and_persons_erased_over_either_replica() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (etcd, server) = tokio::join!(EtcdCluster::start(1), PostgresServer::start());
    let (etcd, server) = (etcd.unwrap(), server.unwrap());
    let database = server.database("kt").await.unwrap();
    let cluster = etcd.url();
    let (one, two) = tokio::join!(
        replica(folder.path(), "one", &cluster, &database),
        replica(folder.path(), "two", &cluster, &database)
    );
    let bootstrap = one.bootstrap.as_deref().or(two.bootstrap.as_deref()).unwrap();
    let person = Person::of(one.url.clone());
    let login = ["auth", "login", "--server", &person.server, "--token-stdin"];
    // The replica that did not make it learns of it.
    until("the bootstrap token is known", async || person.kt_with(&login, bootstrap).code == 0).await;
    let admin = person.ok(&["auth", "token", "create", "--name", "jane", "--role", "admin"]);
    assert_eq!(person.kt_with(&["auth", "login", "--token-stdin"], &admin).code, 0);
    std::fs::write(at("token"), person.ok(&["gateway", "token", "create", "--fleet", "default"])).unwrap();
    let auditor = person.ok(&["auth", "token", "create", "--name", "ann", "--role", "auditor"]);

    let settings = audit::Settings {
        fsync_interval: Duration::from_millis(20),
        delivery: Some(Delivery::new()),
        ..audit::Settings::default()
    };
    let mut gateways = Vec::new();
    let mut ids: Vec<Uuid> = Vec::new();
    for (number, plane) in [&one, &two].into_iter().enumerate() {
        let dir = at(&format!("audit-{number}"));
        let control = ControlSettings::new(plane.url.clone(), at("token"));
        let (log, writer) = audit::open(&dir, &settings).unwrap();
        let ship = Ship::of(&log, &dir, control, format!("gateway-{number}")).unwrap();
        let from = if number == 0 { 1 } else { 100_001 };
        ids.extend(append(&log, from, EACH).await);
        gateways.push((log, writer, ship));
    }
    ids.sort_unstable();

    let mut auditors = Vec::new();
    for plane in [&one, &two] {
        let client = AuditServiceClient::connect(plane.url.clone()).await.unwrap();
        auditors.push(Auditor { client: client.max_decoding_message_size(16 << 20), token: auditor.clone() });
    }
    for auditor in &mut auditors {
        // Also its token has to come over.
        until("the token is known", async || {
            let request = auditor.ask(v1::ListAuditInstancesRequest::default());
            auditor.client.list_audit_instances(request).await.is_ok()
        })
        .await;
        until("all are stored", async || auditor.closed().await.0.len() == ids.len()).await;
        let (mut stored, names) = auditor.closed().await;
        stored.sort_unstable();
        assert!(stored == ids, "each once");
        assert_eq!(names, ["ada@example.com", "bob@example.com"], "one person behind both gateways");
        let request = auditor.ask(v1::VerifyAuditRequest::default());
        let mut answers = auditor.client.verify_audit(request).await.unwrap().into_inner();
        let mut verified = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            verified.extend(answer.instance);
        }
        assert_eq!(verified.len(), 2);
        assert!(verified.iter().all(|instance| instance.breaks.is_empty()), "{verified:?}");
    }

    // Asked of one replica, it reaches the gateway at the other as well.
    let admin = Auditor { client: auditors[0].client.clone(), token: admin };
    let id = Uuid::now_v7().to_string();
    let erase = async || {
        let request = v1::EraseSubjectRequest {
            request_id: id.clone(),
            subject: Some(Subject::Name("ada@example.com".to_owned())),
            reference: "T-1".to_owned(),
        };
        admin.client.clone().erase_subject(admin.ask(request)).await.unwrap().into_inner()
    };
    let erased = erase().await;
    assert_eq!((erased.sealed, erased.pseudonyms.len()), (1, 2));
    until("both gateways have erased", async || erase().await.pending_instances == 0).await;
    for auditor in &mut auditors {
        assert_eq!(auditor.closed().await.1, ["", "bob@example.com"]);
    }

    for (log, writer, ship) in gateways {
        drop(log);
        writer.close(PATIENCE).await.unwrap();
        assert!(ship.finish(PATIENCE).await, "everything is acknowledged");
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_other_keys_or_a_file_of_its_own_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let (etcd, server) = tokio::join!(EtcdCluster::start(1), PostgresServer::start());
    let (etcd, server) = (etcd.unwrap(), server.unwrap());
    let database = server.database("kt").await.unwrap();
    let first = replica(folder.path(), "one", &etcd.url(), &database).await;
    let person = Person::of(first.url.clone());
    let start = |arguments: &[&str]| {
        let data = person.file("other").display().to_string();
        let common = [
            "control-plane",
            "run",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--data-dir",
            &data,
            "--store",
            &etcd.url(),
        ];
        person.kt(&[&common, arguments].concat())
    };
    let other = start(&["--audit-store", &database]);
    assert_eq!(other.code, 1, "{}", other.err);
    assert!(other.err.contains("the keys of this replica are others"), "{}", other.err);
    assert!(other.err.contains("--audit-key-dir"), "{}", other.err);
    let file = start(&["--audit-store", "sqlite:audit.sqlite"]);
    assert_eq!(file.code, 1, "{}", file.err);
    assert!(file.err.contains("can't each keep audit records in a file"), "{}", file.err);
    assert!(file.err.contains("postgres://"), "{}", file.err);
    first.stop().await;
}
