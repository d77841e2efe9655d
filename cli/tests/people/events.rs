//! Records of real gateways at a real control plane, asked for by an auditor.

use std::{path::Path, time::Duration};

use kt_tests::{fake_databricks::FakeDatabricks, process::Process};
use serde_json::{Value, json};

use crate::{
    kt::{Person, pack},
    real::World,
};

const LLAMA: &str = "databricks-meta-llama-3-3-70b-instruct";
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway of the fleet, with a directory of its own.
async fn gateway(world: &World, fake: &FakeDatabricks, name: &str) -> (Process, String) {
    let person = &world.person;
    let at = |file: &str| person.file(&format!("{name}-{file}")).to_str().unwrap().to_owned();
    let token = at("token");
    person.ok(&["gateway", "token", "create", "--fleet", "default", "--out", &format!("{name}-token")]);
    let upstream = format!("*={}", fake.url());
    let (state, audit, ca) = (at("state"), at("audit"), person.file("ca.pem").to_str().unwrap().to_owned());
    let arguments = [
        ["gateway", "run"],
        ["--name", name],
        ["--listen", "127.0.0.1:0"],
        ["--admin-listen", "127.0.0.1:0"],
        ["--log-format", "json"],
        ["--allow-upstream", "127.0.0.1"],
        ["--upstream", &upstream],
        ["--control-plane", &person.server],
        ["--control-plane-ca-file", &ca],
        ["--token-file", &token],
        ["--state-dir", &state],
        ["--audit-dir", &audit],
    ];
    let kt = Path::new(env!("CARGO_BIN_EXE_kt"));
    let environment = [("DATABRICKS_TOKEN", fake.token())];
    let mut process = Process::start_at("kt", kt, arguments.concat(), &environment).unwrap();
    let rest = process.wait_for("\"address\":\"", PATIENCE).await.unwrap();
    (process, format!("http://{}", rest.split_once('"').unwrap().0))
}

async fn ask(gateway: &str, key: &str, text: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = json!({"model": LLAMA, "messages": [{"role": "user", "content": text}]}).to_string();
    let request = client.post(format!("{gateway}/v1/chat/completions")).bearer_auth(key);
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.headers()["x-request-id"].to_str().unwrap().to_owned())
}

/// Asks again until the answer is as it is wanted.
async fn until(person: &Person, arguments: &[&str], holds: impl Fn(&Value) -> bool) -> Value {
    tokio::time::timeout(PATIENCE, async {
        loop {
            let ended = person.kt(arguments);
            let value = serde_json::from_str(&ended.out).unwrap_or(Value::Null);
            if ended.code == 0 && holds(&value) {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{:?}", person.kt(arguments)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_reads_what_every_gateway_has_recorded() {
    let world = World::start().await;
    let fake = FakeDatabricks::builder().start().await.unwrap();
    let person = &world.person;
    person.write("pack.yaml", &pack("1.0.0", ""));
    person.ok(&["pack", "publish", "pack.yaml"]);
    let made = person.ok(&["gateway-key", "create", "--fleet", "default", "--user", "dana", "-o", "json"]);
    let key = serde_json::from_str::<Value>(&made).unwrap()["key"].as_str().unwrap().to_owned();
    let (one, first) = gateway(&world, &fake, "gw-1").await;
    let (two, second) = gateway(&world, &fake, "gw-2").await;
    let status = ["fleet", "status", "-o", "json"];
    until(person, &status, |status| status["counts"]["applied"] == 2).await;
    // The keys come behind the pack.
    let came = async |gateway: &str| {
        while ask(gateway, &key, "hello").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(came(&first), came(&second)) }).await.unwrap();
    let (status, id) = ask(&first, &key, "why does dapi0123456789abcdef0123456789abcdef fail?").await;
    assert_eq!(status, 409);
    assert_eq!(ask(&second, &key, "hello").await.0, 200);

    // Who runs the fleet does not read what people ask.
    let refused = person.kt(&["events", "list"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("role_missing"), "{}", refused.err);
    let auditor = person.ok(&["auth", "token", "create", "--name", "ann", "--role", "auditor"]);
    let admin = person.ok(&["auth", "token", "create", "--name", "root", "--role", "admin"]);
    let login_as = |token: &str| {
        let login = ["auth", "login", "--server", &person.server, "--ca-file", "ca.pem", "--token-stdin"];
        let logged_in = person.kt_with(&login, token);
        assert_eq!(logged_in.code, 0, "{}", logged_in.err);
    };
    login_as(&auditor);

    let by = ["events", "stats", "--by", "policy", "-o", "json"];
    let stats = until(person, &by, |stats| {
        stats["total"]["requests"].as_u64() >= Some(4) && stats["total"]["blocked"] == 1
    })
    .await;
    assert_eq!(stats["rows"][0]["key"], json!(["dlp-filter"]));
    assert_eq!((&stats["rows"][0]["blocked"], &stats["rows"][0]["requests"]), (&json!(1), &json!(1)));

    let listed = person.ok(&["events", "list", "--verdict", "block"]);
    assert!(listed.contains(&id) && listed.contains("input_blocked dlp-filter/databricks-pat"), "{listed}");
    let by_name = person.ok(&["events", "list", "--user", "dana", "--verdict", "block", "-o", "json"]);
    assert_eq!(by_name.lines().count(), 1);
    assert_eq!(person.ok(&["events", "list", "--user", "nobody", "-o", "json"]), "");

    let shown = person.ok(&["events", "show", &id, "--names", "-o", "json"]);
    let record: Value = serde_json::from_str(shown.lines().last().unwrap()).unwrap();
    assert_eq!((&record["subject_name"], &record["verdict"]), (&json!("dana"), &json!("block")));
    assert_eq!(
        (&record["at"]["fleet"], &record["refusal"]["rule"]),
        (&json!("default"), &json!("databricks-pat"))
    );
    assert!(!shown.contains("dapi"), "no text is in it");

    // An auditor reads; an admin makes a person forgotten, here and in both gateways while they run.
    let refused = person.kt(&["audit", "erase", "dana"]);
    assert!(refused.code == 1 && refused.err.contains("role_missing"), "{}", refused.err);
    login_as(&admin);
    let erase = ["audit", "erase", "dana", "--reference", "DSR-7", "-o", "json"];
    let erased: Value = serde_json::from_str(&person.ok(&erase)).unwrap();
    assert_eq!(erased["sealed"], 1, "{erased}");
    let erased = until(person, &erase, |erased| erased["pending_instances"] == 0).await;
    assert_eq!(erased["pseudonyms"].as_array().unwrap().len(), 2, "one of each gateway: {erased}");
    login_as(&auditor);
    let forgotten = person.ok(&["events", "show", &id, "--names", "-o", "json"]);
    assert!(!forgotten.contains("dana"), "{forgotten}");
    let still_found = person.ok(&["events", "list", "--user", "dana", "--verdict", "block", "-o", "json"]);
    assert_eq!(still_found.lines().count(), 1, "the record stays");
    let history = person.ok(&["changes", "list"]);
    let mut erasures = history.lines().filter(|line| line.contains("audit.erase"));
    assert!(erasures.clone().count() > 0 && erasures.all(|line| !line.contains("dana")), "{history}");

    // The last records come with the end of a gateway: its checkpoint is countersigned.
    for process in [one, two] {
        process.terminate().await.unwrap();
    }
    let verified: Value = serde_json::from_str(&person.ok(&["audit", "verify", "-o", "json"])).unwrap();
    assert_eq!(verified["intact"], true, "{verified}");
    let instances = verified["instances"].as_array().unwrap();
    assert_eq!(instances.len(), 2);
    for instance in instances {
        assert_eq!(instance["countersigned"], true, "{verified}");
        assert!(instance["checkpoints"].as_u64() >= Some(1));
    }
    let table = person.ok(&["events", "stats", "--by", "verdict"]);
    assert!(table.contains("VERDICT") && table.contains("block"), "{table}");

    // Each read is in the history, which the auditor may see.
    let history = person.ok(&["changes", "list"]);
    for action in ["events.list", "events.show", "events.stats", "audit.verify"] {
        assert!(history.contains(action), "{action} in {history}");
    }
    world.stop().await;
}
