//! Audit records from a gateway's directory to the store of the real control plane, which goes away in between.

use std::{path::Path, time::Duration};

use kt_audit::{
    dir::{AuditDir, Order},
    record::{Body, Caller, Closed, End, RequestFacts},
};
use kt_control_plane::{ControlPlane, settings::Settings};
use kt_data_plane::{
    audit::{self, AuditHandle, Delivery, Durability},
    settings::ControlSettings,
    ship::{Ship, ShipOptions, ship_directory},
};
use kt_proto::v1::{self, audit_service_client::AuditServiceClient};
use tokio::{sync::oneshot, task::JoinSet, time::Instant};
use tonic::{Request, transport::Channel};
use uuid::Uuid;

use crate::{common::PATIENCE, kt::Person};

/// A control plane on a folder, until it is stopped.
pub(crate) struct Plane {
    pub(crate) url: String,
    stop: oneshot::Sender<()>,
    tasks: JoinSet<()>,
    pub(crate) bootstrap: Option<String>,
}

impl Plane {
    pub(crate) async fn start(data: &Path, port: u16) -> Self {
        Self::with(Settings { listen: ([127, 0, 0, 1], port).into(), ..Settings::new(data) }).await
    }

    pub(crate) async fn with(mut settings: Settings) -> Self {
        settings.admin_listen = None;
        let running = ControlPlane::start(settings).await.unwrap();
        let url = format!("http://{}", running.grpc_addr);
        let bootstrap = running.bootstrap.as_ref().map(|made| std::fs::read_to_string(&made.file).unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            running.run_until(async { drop(stopped.await) }).await;
        });
        Self { url, stop, tasks, bootstrap }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.tasks.join_next()).await.unwrap();
    }
}

/// Appends ends of requests by two people in turn.
pub(crate) async fn append(log: &AuditHandle, from: u128, count: u128) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for number in from..from + count {
        let id = Uuid::from_u128(number);
        let person = log.subject(if number % 2 == 0 { "ada@example.com" } else { "bob@example.com" });
        let caller = Caller { subject: Some(person.pseudonym()), ..Caller::default() };
        let request = RequestFacts { caller, ..RequestFacts::default() };
        let body = Closed { id, request, end: End::Completed, ..Closed::default() };
        log.append(Body::Closed(Box::new(body)), Durability::Block, Some(&person)).await.unwrap();
        ids.push(id);
    }
    ids
}

pub(crate) struct Auditor {
    pub(crate) client: AuditServiceClient<Channel>,
    pub(crate) token: String,
}

impl Auditor {
    pub(crate) fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.token.trim());
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        request
    }

    /// Every stored end of a request, oldest first, and the names behind them.
    pub(crate) async fn closed(&mut self) -> (Vec<Uuid>, Vec<String>) {
        let (mut ids, mut names, mut page_token) = (Vec::new(), Vec::new(), String::new());
        loop {
            let request = v1::ListEventsRequest {
                page_size: 1_000,
                page_token,
                oldest_first: true,
                with_names: true,
                ..v1::ListEventsRequest::default()
            };
            let page = self.client.list_events(self.ask(request)).await.unwrap().into_inner();
            for event in page.events {
                let record = kt_audit::Record::parse(&event.payload).unwrap();
                if let Body::Closed(closed) = record.body {
                    ids.push(closed.id);
                    names.push(event.subject_name);
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                names.sort();
                names.dedup();
                return (ids, names);
            }
        }
    }
}

/// Logs in an admin, writes the token of a gateway, and returns the token of an auditor.
pub(crate) fn people(plane: &Plane, person: &Person, gateway: &Path) -> String {
    let login = ["auth", "login", "--server", &person.server, "--token-stdin"];
    let first = person.kt_with(&login, plane.bootstrap.as_deref().unwrap());
    assert_eq!(first.code, 0, "{}", first.err);
    let admin = person.ok(&["auth", "token", "create", "--name", "jane", "--role", "admin"]);
    assert_eq!(person.kt_with(&["auth", "login", "--token-stdin"], &admin).code, 0);
    std::fs::write(gateway, person.ok(&["gateway", "token", "create", "--fleet", "default"])).unwrap();
    person.ok(&["auth", "token", "create", "--name", "ann", "--role", "auditor"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_reach_the_store_whole_though_the_control_plane_goes_away_in_between() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let plane = Plane::start(&at("plane"), 0).await;
    let port: u16 = plane.url.rsplit(':').next().unwrap().parse().unwrap();
    let person = Person::of(plane.url.clone());
    let auditor = people(&plane, &person, &at("token"));

    let settings = audit::Settings {
        fsync_interval: Duration::from_millis(20),
        segment_bytes: 64 << 10,
        checkpoint_records: 100,
        delivery: Some(Delivery::new()),
        ..audit::Settings::default()
    };
    let control = ControlSettings::new(plane.url.clone(), at("token"));
    let (log, writer) = audit::open(&at("audit"), &settings).unwrap();
    let ship = Ship::of(&log, &at("audit"), control.clone(), "gateway-1".to_owned()).unwrap();
    let mut ids = append(&log, 1, 1_500).await;
    plane.stop().await;
    ids.extend(append(&log, 10_000, 1_500).await);
    let plane = Plane::start(&at("plane"), port).await;
    ids.extend(append(&log, 20_000, 500).await);

    let client = AuditServiceClient::connect(plane.url.clone()).await.unwrap();
    let mut auditor = Auditor { client: client.max_decoding_message_size(16 << 20), token: auditor };
    let began = Instant::now();
    while auditor.closed().await.0.len() < ids.len() {
        assert!(began.elapsed() < PATIENCE, "{} of {}", auditor.closed().await.0.len(), ids.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    writer.close(PATIENCE).await.unwrap();
    assert!(ship.finish(PATIENCE).await, "everything is acknowledged");
    let (stored, names) = auditor.closed().await;
    assert!(stored == ids, "{} of {} in order", stored.len(), ids.len());
    assert_eq!(names, ["ada@example.com", "bob@example.com"]);

    // The store verifies what it holds, and has as many records as the directory.
    let dir = AuditDir::open(&at("audit")).unwrap();
    let written = dir.records(Order::OldestFirst).unwrap().count() as u64;
    let request = auditor.ask(v1::VerifyAuditRequest::default());
    let mut answers = auditor.client.verify_audit(request).await.unwrap().into_inner();
    let mut verified = None;
    while let Some(answer) = answers.message().await.unwrap() {
        verified = answer.instance.or(verified);
    }
    let verified = verified.unwrap();
    assert_eq!((verified.breaks, verified.records), (vec![], written));
    let shipped = dir.shipped().unwrap().unwrap();
    let countersigned = shipped.countersigned.expect("the checkpoint of the stop is countersigned");
    assert_eq!(
        verified.countersigned_through.map(|through| through.sequence),
        Some(countersigned.covers.sequence)
    );

    // A directory that was forgotten is delivered by hand, and changes nothing that was there.
    let options = ShipOptions { dir: at("audit"), control, read_only: false };
    let again = ship_directory(options, std::future::pending(), |_, _| {}).await.unwrap();
    assert!(again.is_complete && again.duplicates == 0, "{again:?}");
    assert_eq!(auditor.closed().await.0.len(), ids.len());
    plane.stop().await;
}

/// Delivers some requests of Ada and Bob.
async fn deliver(plane: &Plane, folder: &Path) {
    delivering(plane, folder, async |log| drop(append(log, 1, 10).await)).await;
}

/// Delivers what is written into the log of a gateway: one run of it.
pub(crate) async fn delivering(plane: &Plane, folder: &Path, write: impl AsyncFnOnce(&AuditHandle)) {
    let settings = audit::Settings { delivery: Some(Delivery::new()), ..audit::Settings::default() };
    let control = ControlSettings::new(plane.url.clone(), folder.join("token"));
    let (log, writer) = audit::open(&folder.join("audit"), &settings).unwrap();
    let ship = Ship::of(&log, &folder.join("audit"), control, "gateway-1".to_owned()).unwrap();
    write(&log).await;
    writer.close(PATIENCE).await.unwrap();
    assert!(ship.finish(PATIENCE).await, "everything is acknowledged");
}

/// Whether the bytes are in any file below a folder.
fn is_in_a_file(folder: &Path, wanted: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return is_in_a_file(&path, wanted);
        }
        std::fs::read(path).unwrap().windows(wanted.len()).any(|part| part == wanted.as_bytes())
    })
}

/// Waits until the database of records is one file: the store's threads close it after the server has stopped, and the last
/// connection takes the write-ahead log into it.
async fn closed(database: &Path) {
    let log = database.with_extension("sqlite-wal");
    let gone = async {
        while log.try_exists().unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the write-ahead log goes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_refuses_an_erasure_and_a_backup_that_is_put_back_forgets_again_and_holds_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let plane = Plane::start(&at("plane"), 0).await;
    let port: u16 = plane.url.rsplit(':').next().unwrap().parse().unwrap();
    let person = Person::of(plane.url.clone());
    let auditor = people(&plane, &person, &at("token"));
    let reader = Person::holding(plane.url.clone(), &auditor);
    deliver(&plane, folder.path()).await;

    let create = ["audit", "hold", "create", "ada@example.com", "--reason", "case 7", "-o", "json"];
    let hold: serde_json::Value = serde_json::from_str(&person.ok(&create)).unwrap();
    assert!(hold["person"].is_string() && !hold.to_string().contains("ada@"), "{hold}");
    let id = hold["id"].as_str().unwrap();
    let refused = person.kt(&["audit", "erase", "ada@example.com"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("under hold") && refused.err.contains(id), "{}", refused.err);
    let listed = reader.ok(&["audit", "hold", "list"]);
    assert!(listed.contains(id) && listed.contains("case 7"), "{listed}");
    let forbidden = reader.kt(&["audit", "hold", "release", id, "--reason", "mine"]);
    assert!(forbidden.err.contains("needs a token with the role `admin`"), "{}", forbidden.err);

    // A backup from before both.
    plane.stop().await;
    closed(&at("plane/audit.sqlite")).await;
    std::fs::copy(at("plane/audit.sqlite"), at("backup")).unwrap();
    let plane = Plane::start(&at("plane"), port).await;
    person.ok(&["audit", "erase", "bob@example.com"]);
    person.ok(&["audit", "hold", "release", id, "--reason", "closed"]);
    person.ok(&["audit", "erase", "ada@example.com"]);
    person.ok(&["audit", "hold", "create", "--fleet", "default", "--reason", "case 8"]);
    plane.stop().await;
    closed(&at("plane/audit.sqlite")).await;

    std::fs::copy(at("backup"), at("plane/audit.sqlite")).unwrap();
    let plane = Plane::start(&at("plane"), port).await;
    for name in ["ada@example.com", "bob@example.com"] {
        assert_eq!(reader.ok(&["events", "list", "-o", "json"]).matches(name).count(), 0);
    }
    let held = person.kt(&["audit", "erase", "carl@example.com"]);
    assert_eq!(held.code, 0, "nobody of that name has a record: {}", held.err);
    let listed = reader.ok(&["audit", "hold", "list", "--released"]);
    assert!(listed.contains("case 7") && listed.contains("case 8"), "{listed}");
    let verified = reader.kt(&["audit", "verify"]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
    plane.stop().await;
    closed(&at("plane/audit.sqlite")).await;
    // What a name was sealed under is in no file of the store, the backup that was put back included.
    let backup = rusqlite::Connection::open(at("backup")).unwrap();
    let keys: Vec<String> = backup
        .prepare("SELECT key FROM person_keys UNION ALL SELECT sealed FROM persons")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(keys.len(), 4);
    for key in keys {
        assert!(!is_in_a_file(&at("plane"), &key), "a key or a sealed name is left");
    }
    assert!(!is_in_a_file(&at("plane"), "ada@example.com") && !is_in_a_file(&at("plane"), "bob@example.com"));
}

/// The kinds of breaks that verification of an export names.
fn kinds(person: &Person, folder: &Path) -> Vec<String> {
    let ended = person.kt(&["audit", "verify", "--export", folder.to_str().unwrap(), "-o", "json"]);
    let verified: serde_json::Value = serde_json::from_str(&ended.out).expect(&ended.err);
    let found: Vec<String> = verified["instances"][0]["report"]["breaks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["kind"].as_str().unwrap().to_owned())
        .collect();
    let changed = verified["instances"][0]["changed_files"].as_array().unwrap().len();
    assert_eq!(ended.code == 0, found.is_empty() && changed == 0, "{}", ended.out);
    assert_eq!(verified["intact"], ended.code == 0);
    found
}

/// The files of the only instance of an export, in order.
pub(crate) fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let instance =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    let mut files: Vec<_> =
        std::fs::read_dir(instance.unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_proven_without_a_server_and_each_kind_of_tampering_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let plane = Plane::start(&at("plane"), 0).await;
    let person = Person::of(plane.url.clone());
    let auditor = people(&plane, &person, &at("token"));
    let reader = Person::holding(plane.url.clone(), &auditor);
    // Two runs.
    deliver(&plane, folder.path()).await;
    deliver(&plane, folder.path()).await;
    let forbidden = person.kt(&["events", "export", "--out", at("none").to_str().unwrap()]);
    assert!(forbidden.err.contains("needs a token with the role `auditor`"), "{}", forbidden.err);
    assert!(
        !at("none").try_exists().unwrap() && !at("none.part").try_exists().unwrap(),
        "nothing is left of an export that failed"
    );
    for form in ["segments", "jsonl", "csv"] {
        let out = at(form);
        let told = reader.ok(&["events", "export", "--format", form, "--out", out.to_str().unwrap()]);
        assert!(told.starts_with("exported 26 records of 1 gateway"), "{told}");
        let again = reader.kt(&["events", "export", "--format", form, "--out", out.to_str().unwrap()]);
        assert_eq!(again.code, 2, "an export is never written over: {}", again.err);
        assert!(!is_in_a_file(&out, "example.com"), "no name leaves");
    }
    let rows = std::fs::read_to_string(&files(&at("csv"))[0]).unwrap();
    assert_eq!(rows.lines().count(), 21, "a header and twenty requests: {rows}");
    person.ok(&["audit", "erase", "ada@example.com"]);
    plane.stop().await;
    for form in ["segments", "jsonl", "csv"] {
        assert_eq!(kinds(&reader, &at(form)), [""; 0], "{form}, after an erasure and with no server");
    }

    // JSON Lines: `n` is the number of lines of the first run.
    let text = std::fs::read_to_string(&files(&at("jsonl"))[0]).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let first: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    let begins = format!("{{\"epoch\":{}", first["epoch"]);
    let n = lines.iter().filter(|line| line.starts_with(&begins)).count();
    let checkpoint = lines.iter().position(|line| line.contains("\"type\":\"checkpoint\"")).unwrap();
    let signature = {
        let line: serde_json::Value = serde_json::from_str(lines[checkpoint]).unwrap();
        line["record"]["signature"].as_str().unwrap().to_owned()
    };
    let turned: String = signature.chars().rev().collect();
    let without =
        |range: std::ops::Range<usize>| [&lines[..range.start], &lines[range.end..]].concat().join("\n");
    let swapped = {
        let mut lines = lines.clone();
        lines.swap(3, 4);
        lines.join("\n")
    };
    for (what, changed, expected) in [
        ("altered", text.replacen("\"end\":\"completed\"", "\"end\":\"complEted\"", 1), "altered"),
        ("deleted", without(3..4), "missing"),
        ("reordered", swapped, "reordered"),
        ("truncated", without(n - 2..n), "truncated"),
        ("forged", text.replacen(&signature, &turned, 1), "forged"),
        ("cut", without(lines.len() - 2..lines.len()), "cut_tail"),
        ("no JSON", text.replacen("{\"epoch\"", "{\"epoch", 1), "altered"),
    ] {
        std::fs::write(&files(&at("jsonl"))[0], changed + "\n").unwrap();
        let found = kinds(&reader, &at("jsonl"));
        assert!(found.iter().any(|kind| kind == expected), "{what}: {found:?}");
    }

    // Segments: one for each run.
    let [one, two] = [0, 1].map(|at_file| files(&at("segments"))[at_file].clone());
    let whole = [&one, &two].map(|file| std::fs::read(file).unwrap());
    let mut flipped = whole[0].clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (what, changed, expected) in [
        ("altered", [Some(&flipped[..]), Some(&whole[1][..])], "altered"),
        ("deleted", [None, Some(&whole[1][..])], "missing"),
        ("reordered", [Some(&whole[1][..]), Some(&whole[0][..])], "reordered"),
        ("truncated", [Some(&whole[0][..whole[0].len() - 400]), Some(&whole[1][..])], "truncated"),
        ("cut", [Some(&whole[0][..]), Some(&whole[1][..whole[1].len() - 400])], "cut_tail"),
        ("cut whole", [Some(&whole[0][..]), None], "cut_tail"),
    ] {
        for (file, bytes) in [&one, &two].into_iter().zip(changed) {
            let _ = std::fs::remove_file(file);
            if let Some(bytes) = bytes {
                std::fs::write(file, bytes).unwrap();
            }
        }
        let found = kinds(&reader, &at("segments"));
        assert!(found.iter().any(|kind| kind == expected), "{what}: {found:?}");
    }
    // CSV proves its files and nothing more.
    std::fs::write(&files(&at("csv"))[0], rows.replace("completed", "failed")).unwrap();
    assert_eq!(kinds(&reader, &at("csv")), [""; 0]);
    assert_eq!(reader.kt(&["audit", "verify", "--export", at("csv").to_str().unwrap()]).code, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_shows_what_comes_over_all_gateways_and_nothing_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let plane = Plane::start(&at("plane"), 0).await;
    let person = Person::of(plane.url.clone());
    let auditor = people(&plane, &person, &at("token"));
    deliver(&plane, folder.path()).await;
    let reader = Person::holding(plane.url.clone(), &auditor);
    let tailing = tokio::task::spawn_blocking(move || {
        reader.ok(&["events", "tail", "--user", "ada@example.com", "--limit", "5", "-o", "json"])
    });
    // The history tells when it has begun.
    let began = Instant::now();
    while !person.ok(&["changes", "list", "-o", "json"]).contains("events.tail") {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    deliver(&plane, folder.path()).await;
    let shown = tokio::time::timeout(PATIENCE, tailing).await.unwrap().unwrap();
    assert_eq!(shown.lines().count(), 5);
    plane.stop().await;
}
