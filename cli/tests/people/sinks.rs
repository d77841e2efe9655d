//! What a control plane feeds with audit records: everything, in order, once, however long the other end was away.

use std::path::{Path, PathBuf};

use http::{HeaderMap, StatusCode};
use kt_control_plane::{audit::sink::SinkSettings, settings::Settings};
use kt_tests::receiver::{Received, Receiver};
use serde_json::{Value, json};

use crate::{
    common::{PATIENCE, repository},
    kt::Person,
    parquet::{deliver_rich, python, rows},
    records::{Plane, files, people},
};

fn sink(settings: Value) -> SinkSettings {
    serde_json::from_value(settings).unwrap()
}

/// A control plane on a folder, with sinks. The port is the same as before, so that gateways find it again.
async fn plane(data: &Path, port: u16, sinks: &[SinkSettings]) -> Plane {
    let sinks = sinks.to_vec();
    Plane::with(Settings { listen: ([127, 0, 0, 1], port).into(), sinks, ..Settings::new(data) }).await
}

fn port(plane: &Plane) -> u16 {
    plane.url.rsplit(':').next().unwrap().parse().unwrap()
}

/// Every record of the store, as an export has them.
fn exported(reader: &Person, folder: &Path) -> Vec<Value> {
    reader.ok(&["events", "export", "--format", "jsonl", "--out", folder.to_str().unwrap()]);
    let files = files(folder);
    let text = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect::<String>();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The objects of all bodies that were taken.
fn taken(received: &[Received]) -> Vec<Value> {
    let bodies = received.iter().filter(|request| request.status.is_success());
    bodies
        .flat_map(|request| {
            String::from_utf8(request.body.to_vec())
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect::<Vec<Value>>()
        })
        .collect()
}

/// Where a record stands, and what it says.
fn place(line: &Value) -> (Value, Value, Value, Value) {
    (line["epoch"].clone(), line["sequence"].clone(), line["hash"].clone(), line["record"].clone())
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Somebody who may read, of a control plane whose gateways have their token.
fn reader(plane: &Plane, folder: &Path) -> Person {
    let person = Person::of(plane.url.clone());
    Person::holding(plane.url.clone(), &people(plane, &person, &folder.join("token")))
}

/// Lists the sinks until the list is as wanted.
fn listed(reader: &Person, what: &str, is_there: impl Fn(&str) -> bool) {
    let began = tokio::time::Instant::now();
    let mut list = String::new();
    while !is_there(&list) {
        assert!(began.elapsed() < PATIENCE, "{what}: {list}");
        list = reader.ok(&["audit", "sink", "list"]);
    }
}

fn caught_up(reader: &Person) {
    listed(reader, "it catches up", |list| list.contains("up to date"));
}

async fn patiently<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_down_for_the_whole_run_catches_up_in_order_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let siem = free_port();
    let sinks = [sink(json!({
        "name": "siem",
        "https": {"url": format!("http://127.0.0.1:{siem}/in")},
        "every_seconds": 0,
        "max_records": 4,
    }))];
    let first = plane(&at("plane"), 0, &sinks).await;
    let port = port(&first);
    let reader = reader(&first, folder.path());
    deliver_rich(&first, folder.path()).await;
    deliver_rich(&first, folder.path()).await;
    // It says so, to whoever may know.
    listed(&reader, "the problem is told", |list| list.contains("error sending request"));
    let told: Value = serde_json::from_str(&reader.ok(&["audit", "sink", "list", "-o", "json"])).unwrap();
    assert_eq!(
        (&told[0]["name"], &told[0]["kind"], &told[0]["position"]),
        (&json!("siem"), &json!("https"), &json!(0))
    );
    assert!(told[0]["problem"].as_str().unwrap().contains("error sending request"), "{told}");
    let doctor = reader.kt(&["doctor"]).out;
    assert!(doctor.contains("audit sink siem") && doctor.contains("behind"), "{doctor}");
    first.stop().await;

    // The control plane was stopped too; nothing of it is forgotten.
    let second = plane(&at("plane"), port, &sinks).await;
    deliver_rich(&second, folder.path()).await;
    let expected = exported(&reader, &at("export"));
    let receiver = Receiver::start(siem).await.unwrap();
    let received =
        patiently("everything comes", receiver.until(|received| taken(received).len() >= expected.len()))
            .await;
    let events = taken(&received);
    assert_eq!(events.iter().map(place).collect::<Vec<_>>(), expected.iter().map(place).collect::<Vec<_>>());
    let keys: Vec<&str> =
        received.iter().map(|request| request.headers["idempotency-key"].to_str().unwrap()).collect();
    assert!(keys.is_sorted() && keys[0].starts_with("siem-0000"), "{keys:?}");
    assert!(received.iter().all(|request| request.path == "/in"));
    second.stop().await;

    // Another start sends nothing again.
    let third = plane(&at("plane"), port, &sinks).await;
    deliver_rich(&third, folder.path()).await;
    let more = exported(&reader, &at("later")).len();
    let received =
        patiently("the rest comes", receiver.until(|received| taken(received).len() >= more)).await;
    assert_eq!(taken(&received).len(), more);
    caught_up(&reader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusing_siem_is_asked_again_with_its_secret_and_gets_refusals_only() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let receiver = Receiver::start(0).await.unwrap();
    receiver.answer(StatusCode::SERVICE_UNAVAILABLE, HeaderMap::new(), "");
    std::fs::write(at("siem-token"), "Splunk 0123\n").unwrap();
    let sinks = [sink(json!({
        "name": "refusals",
        "https": {
            "url": format!("http://{}/services/collector/event", receiver.addr),
            "body": "splunk_hec",
            "headers": [{"name": "authorization", "file": at("siem-token")}, {"name": "x-team", "value": "sec"}],
        },
        "every_seconds": 0,
        "only": {"types": ["closed"], "verdicts": ["block"]},
    }))];
    let plane = plane(&at("plane"), 0, &sinks).await;
    let reader = reader(&plane, folder.path());
    deliver_rich(&plane, folder.path()).await;
    patiently("it is tried", receiver.until(|received| !received.is_empty())).await;
    receiver.answer(StatusCode::OK, HeaderMap::new(), r#"{"text":"Success","code":0}"#);
    let received =
        patiently("it is tried again", receiver.until(|received| !taken(received).is_empty())).await;
    assert_eq!(received[0].body, received.last().unwrap().body, "the same batch");
    assert_eq!(received[0].headers["authorization"], "Splunk 0123");
    assert_eq!(received[0].headers["x-team"], "sec");
    let blocked: Vec<Value> = exported(&reader, &at("export"))
        .into_iter()
        .filter(|line| line["record"]["type"] == "closed" && line["record"]["verdict"] == "block")
        .collect();
    assert!(!blocked.is_empty());
    let events = taken(&received);
    let told: Vec<_> = events.iter().map(|event| place(&event["event"])).collect();
    assert_eq!(told, blocked.iter().map(place).collect::<Vec<_>>());
    assert_eq!(events[0]["sourcetype"], "kt:audit");
    assert!(
        (events[0]["time"].as_f64().unwrap() * 1e6 - blocked[0]["time_us"].as_f64().unwrap()).abs() < 10.0
    );
    let shown = reader.ok(&["audit", "sink", "list"]);
    assert!(!shown.contains("0123"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_understands_what_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let receiver = Receiver::start(0).await.unwrap();
    let sinks = [sink(json!({
        "name": "otel", "otlp": {"url": format!("http://{}", receiver.addr)}, "every_seconds": 0,
    }))];
    let plane = plane(&at("plane"), 0, &sinks).await;
    let reader = reader(&plane, folder.path());
    deliver_rich(&plane, folder.path()).await;
    let expected = exported(&reader, &at("export"));
    caught_up(&reader);
    let mut logs = Vec::new();
    for (number, request) in receiver.received().iter().enumerate() {
        assert_eq!(request.path, "/v1/logs");
        let body = at(&format!("body-{number}.json"));
        std::fs::write(&body, &request.body).unwrap();
        logs.push(body);
    }
    // OpenTelemetry's own types read it.
    let logs = python("read_otlp.py", &logs);
    assert_eq!(logs.len(), expected.len());
    for (log, line) in logs.iter().zip(&expected) {
        let record: Value = serde_json::from_str(log["body"].as_str().unwrap()).unwrap();
        assert_eq!(record, line["record"]);
        assert_eq!(log["attributes"]["kt.hash"], line["hash"]);
        assert_eq!(log["attributes"]["kt.sequence"], line["sequence"]);
        assert_eq!(log["time_us"], line["time_us"]);
        assert_eq!(log["event"], format!("kt.audit.{}", line["record"]["type"].as_str().unwrap()));
        assert_eq!(log["resource"]["service.name"], "kt-gateway");
    }
    let severity = |verdict: &str| {
        logs.iter()
            .find(|log| log["event"] == "kt.audit.closed" && log["attributes"]["kt.verdict"] == verdict)
    };
    assert_eq!(severity("block").unwrap()["severity"], "WARN");
}

/// The folder of today's records.
fn day_now() -> String {
    jiff::Timestamp::now().strftime("date=%Y-%m-%d").to_string()
}

/// Every Parquet file below a folder.
fn lake(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for day in std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        found.extend(std::fs::read_dir(day).unwrap().map(|entry| entry.unwrap().path()));
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_on_object_storage_hold_the_records_of_the_store_by_day_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let today = day_now();
    // A file stands where the folder should be: nothing can be written until it is gone.
    std::fs::write(at("lake"), "in the way").unwrap();
    let sinks = [sink(json!({
        "name": "lake", "object_store": {"url": format!("file://{}", at("lake").display())}, "every_seconds": 0,
        "max_records": 7,
    }))];
    let first = plane(&at("plane"), 0, &sinks).await;
    let port = port(&first);
    let reader = reader(&first, folder.path());
    deliver_rich(&first, folder.path()).await;
    deliver_rich(&first, folder.path()).await;
    listed(&reader, "it stands still", |list| list.contains("can't be written"));
    std::fs::remove_file(at("lake")).unwrap();
    caught_up(&reader);
    first.stop().await;
    let second = plane(&at("plane"), port, &sinks).await;
    deliver_rich(&second, folder.path()).await;
    caught_up(&reader);

    let expected = exported(&reader, &at("export"));
    let files = lake(&at("lake"));
    assert!(files.len() >= 3, "{files:?}");
    let rows = rows(&files);
    let of_row = |row: &Value| {
        let record: Value = serde_json::from_str(row["record"].as_str().unwrap()).unwrap();
        (row["epoch"].clone(), row["sequence"].clone(), row["hash"].clone(), record)
    };
    assert_eq!(rows.iter().map(of_row).collect::<Vec<_>>(), expected.iter().map(place).collect::<Vec<_>>());
    // The test may run over midnight.
    let days = [today, day_now()];
    let named = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let day = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
        assert!(days.iter().any(|known| known == day), "{day}");
        name.starts_with("lake-00000000000000000") && name.ends_with(".parquet")
    };
    assert!(files.iter().all(named), "{files:?}");

    // The notebook of the deployment reads them, and has each record once though each file comes twice.
    python(
        "run_notebook.py",
        std::iter::once(&repository("deploy/databricks/audit_records.py")).chain(&files),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_gets_the_files_under_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let receiver = Receiver::start(0).await.unwrap();
    let tag = HeaderMap::from_iter([(http::header::ETAG, "\"1\"".parse().unwrap())]);
    receiver.answer(StatusCode::OK, tag, "");
    let sinks = [sink(json!({
        "name": "lake",
        "object_store": {
            "url": "s3://bucket/kt/audit",
            "options": {
                "aws_endpoint": format!("http://{}", receiver.addr), "aws_allow_http": "true", "aws_region": "eu-west-1",
                "aws_access_key_id": "id", "aws_secret_access_key": "secret",
            },
        },
        "every_seconds": 0,
    }))];
    let plane = plane(&at("plane"), 0, &sinks).await;
    reader(&plane, folder.path());
    deliver_rich(&plane, folder.path()).await;
    let received = patiently("a file comes", receiver.until(|received| !received.is_empty())).await;
    assert_eq!(received[0].method, http::Method::PUT);
    assert!(
        received[0].path.starts_with("/bucket/kt/audit/date=")
            || received[0].path.starts_with("/bucket/kt/audit/date%3D"),
        "{}",
        received[0].path
    );
    assert!(received[0].headers["authorization"].to_str().unwrap().starts_with("AWS4-HMAC-SHA256"));
    let file = at("one.parquet");
    std::fs::write(&file, &received[0].body).unwrap();
    assert!(!rows(&[file]).is_empty());
}
