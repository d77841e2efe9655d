//! The fleet of `deploy/`, adapted to the loopback: three etcd members, PostgreSQL, three control planes, three gateways,
//! HAProxy before both. Real processes, killed with SIGKILL. `KT_FLEET_ROUNDS=200` makes it a longer run.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use kt_control_plane::{audit::store::testing::PostgresServer, store::testing::EtcdCluster};
use kt_tests::{fake_databricks::FakeDatabricks, process::Process};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{common::repository, kt::Person};

/// Elections, health checks of the load balancer and reconnects, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

const RULE: &str = "  dlp-filter:\n    patterns: [{name: nightjar, regex: '(?i)nightjar', action: block}]\n";

fn deployed(path: &str) -> String {
    std::fs::read_to_string(repository("deploy").join(path)).unwrap()
}

/// Replaces the value of a key that the file must have.
fn with(text: &str, key: &str, value: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(&format!("{key}:")));
    text.replace(line.unwrap_or_else(|| panic!("`{key}` is not in the file")), &format!("{key}: {value}"))
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    std::array::from_fn(|at| listeners[at].local_addr().unwrap().port())
}

fn pack(version: &str, rule: bool) -> String {
    let chain = if rule { "dlp-filter, audit-logger" } else { "audit-logger" };
    let rule = if rule { format!("policy:\n{RULE}") } else { String::new() };
    format!(
        "pack: {{name: demo, version: {version}, enabled: true}}\npolicies:\n  chain: [{chain}]\n{rule}\
         providers:\n  targets:\n    - id: llama\n      provider: databricks:chat:databricks-meta-llama-3-3-70b-instruct\n      \
         base_url: https://{{workspace}}.azuredatabricks.net/serving-endpoints\n      secret_key_ref: {{env: DATABRICKS_TOKEN}}\n"
    )
}

struct Fleet {
    person: Person,
    fake: FakeDatabricks,
    etcd: EtcdCluster,
    postgres: PostgresServer,
    replica_ports: [[u16; 2]; 3],
    gateway_ports: [u16; 3],
    processes: BTreeMap<String, Process>,
    key: String,
}

impl Fleet {
    fn path(&self, name: &str) -> String {
        self.person.file(name).display().to_string()
    }

    fn start(&mut self, name: &str, program: &Path, arguments: &[&str], variables: &[(&str, &str)]) {
        let process = Process::start_at(name, program, arguments, variables).unwrap();
        self.processes.insert(name.to_owned(), process);
    }

    fn start_replica(&mut self, number: usize) {
        let name = format!("control-plane{}", number + 1);
        let [grpc, admin] = self.replica_ports[number];
        let mut text = deployed("settings/control-plane.yaml");
        for (key, value) in [
            ("listen", format!("127.0.0.1:{grpc}")),
            ("admin_listen", format!("127.0.0.1:{admin}")),
            ("store", self.etcd.url()),
            ("audit_store", format!("postgres://kt@localhost:{}/kt", self.postgres.port())),
            ("postgres_ca", self.path("ca.pem")),
            ("postgres_password_file", self.path("postgres.password")),
            ("audit_key_dir", self.path("audit-keys")),
            ("data_dir", self.path(&name)),
            ("tls_cert", self.path("ca.pem")),
            ("tls_key", self.path("key.pem")),
        ] {
            text = with(&text, key, &value);
        }
        let config = self.person.write(&format!("{name}.yaml"), &text);
        let config = self.path(&config);
        let variables = [("KEEPTRUSTS_CONTROL_PLANE_REPLICA", name.as_str())];
        let kt = PathBuf::from(env!("CARGO_BIN_EXE_kt"));
        self.start(&name, &kt, &["control-plane", "run", "--config", &config], &variables);
    }

    fn start_gateway(&mut self, number: usize) {
        let name = format!("gateway{}", number + 1);
        let mut text = deployed("settings/gateway.yaml");
        for (key, value) in [
            ("listen", format!("127.0.0.1:{}", self.gateway_ports[number])),
            ("admin_listen", "127.0.0.1:0".to_owned()),
            ("control_plane", self.person.server.clone()),
            ("control_plane_ca_file", self.path("ca.pem")),
            ("token_file", self.path("gateway.token")),
            ("state_dir", self.path(&format!("{name}/state"))),
            ("audit_dir", self.path(&format!("{name}/audit"))),
        ] {
            text = with(&text, key, &value);
        }
        let config = self.person.write(&format!("{name}.yaml"), &text);
        let config = self.path(&config);
        let upstream = format!("*={}", self.fake.url());
        let token = self.fake.token().to_owned();
        let kt = PathBuf::from(env!("CARGO_BIN_EXE_kt"));
        let arguments = ["gateway", "run", "--config", &config, "--name", &name, "--upstream", &upstream];
        self.start(&name, &kt, &arguments, &[("DATABRICKS_TOKEN", &token)]);
    }

    fn start_load_balancer(&mut self, clients: u16, control: u16) {
        let mut text = deployed("haproxy/haproxy.cfg")
            .replace("maxconn 20000", "maxconn 1000")
            .replace("bind :41002", &format!("bind 127.0.0.1:{clients}"))
            .replace("bind :7443", &format!("bind 127.0.0.1:{control}"));
        for number in 0..3 {
            let [grpc, admin] = self.replica_ports[number];
            let (gateway, n) = (self.gateway_ports[number], number + 1);
            text = text.replace(&format!("gateway{n}:41002"), &format!("127.0.0.1:{gateway}")).replace(
                &format!("control-plane{n}:7443 check port 7444"),
                &format!("127.0.0.1:{grpc} check port {admin}"),
            );
        }
        let config = self.person.write("haproxy.cfg", &text);
        let config = self.path(&config);
        let haproxy = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/usr/bin/haproxy"];
        let haproxy = haproxy.iter().map(Path::new).find(|path| path.is_file());
        let haproxy = haproxy.expect("haproxy is not installed: scripts/setup.sh test");
        self.start("haproxy", haproxy, &["-db", "-f", &config], &[]);
    }

    async fn kill(&mut self, name: &str) {
        self.processes.remove(name).unwrap().kill().await.unwrap();
    }

    fn said(&self) -> String {
        let said = self.processes.iter().map(|(name, process)| {
            let output = process.output();
            let from = output.len().saturating_sub(3_000);
            format!("== {name}\n{}\n", output.get(from..).unwrap_or(&output))
        });
        said.collect()
    }

    /// Runs `kt` until it does what is asked: a replica that was just killed is a failed call, not a lost one.
    async fn until(&self, arguments: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.person.kt(arguments);
            if ended.code == 0 {
                return ended.out;
            }
            assert!(Instant::now() < deadline, "{arguments:?}: {}{}\n{}", ended.out, ended.err, self.said());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The packs that judge a request at each gateway, and the statuses of the answers.
    async fn judged(&self, text: &str) -> Vec<(u16, String)> {
        let client = reqwest::Client::new();
        let mut judged = Vec::new();
        for port in self.gateway_ports {
            let body = serde_json::json!({
                "model": "databricks-meta-llama-3-3-70b-instruct",
                "messages": [{"role": "user", "content": text}],
            });
            let sent = client
                .post(format!("http://127.0.0.1:{port}/v1/chat/completions"))
                .header("content-type", "application/json")
                .bearer_auth(&self.key)
                .body(body.to_string())
                .send()
                .await;
            judged.push(match sent {
                Ok(reply) => {
                    let pack = reply.headers().get("x-keeptrusts-pack");
                    let pack = pack.and_then(|pack| pack.to_str().ok()).unwrap_or("-").to_owned();
                    (reply.status().as_u16(), pack)
                }
                Err(_) => (0, "-".to_owned()),
            });
        }
        judged
    }

    /// The records of all three gateways are in PostgreSQL, and their chains hold.
    async fn records_are_whole(&self, login: &[&str]) {
        let auditor = ["auth", "token", "create", "--name", "eve", "--role", "auditor", "-o", "json"];
        let auditor: Value = serde_json::from_str(&self.until(&auditor).await).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while self.person.kt_with(login, auditor["secret"].as_str().unwrap()).code != 0 {
            assert!(Instant::now() < deadline, "{}", self.said());
            sleep(Duration::from_millis(50)).await;
        }
        let stored = async || {
            let verified: Value =
                serde_json::from_str(&self.until(&["audit", "verify", "-o", "json"]).await).unwrap();
            let records = verified["instances"].as_array().unwrap();
            records.iter().map(|instance| instance["records"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        // Both records of a request, or the one of a block, of each request that the gateways have answered.
        while stored().await.len() < 3 {
            assert!(Instant::now() < deadline, "{:?}\n{}", stored().await, self.said());
            sleep(Duration::from_millis(50)).await;
        }
        assert!(stored().await.iter().all(|records| *records > 0));
    }

    async fn until_judged(&self, text: &str, status: u16, pack: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let judged = self.judged(text).await;
            if judged.iter().all(|(seen, by)| *seen == status && by == pack) {
                return;
            }
            assert!(Instant::now() < deadline, "wanted {status} by {pack}: {judged:?}\n{}", self.said());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A server as `deploy/` has it: TLS and a password.
async fn postgres(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> PostgresServer {
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let hba = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
    let files = [("server.crt", cert.as_str()), ("server.key", &key), ("pg_hba.conf", hba)];
    let server = PostgresServer::start_with(&["ssl=on"], &files).await.unwrap();
    server.database("kt").await.unwrap();
    server.ask("postgres", "ALTER ROLE kt PASSWORD 'hunter2'").await.unwrap();
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_of_deploy_publishes_rolls_back_and_survives_kills() {
    let etcd = EtcdCluster::start(3).await.unwrap();
    let fake = FakeDatabricks::start().await.unwrap();
    let [clients, control, p1, p2, p3, a1, a2, a3, g1, g2, g3] = free_ports();
    let person = Person::of(format!("https://localhost:{control}"));
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    person.write("ca.pem", &made.cert.pem());
    person.write("key.pem", &made.signing_key.serialize_pem());
    person.write("postgres.password", "hunter2\n");
    let postgres = postgres(&made).await;
    let mut fleet = Fleet {
        person,
        fake,
        etcd,
        postgres,
        replica_ports: [[p1, a1], [p2, a2], [p3, a3]],
        gateway_ports: [g1, g2, g3],
        processes: BTreeMap::new(),
        key: String::new(),
    };
    for number in 0..3 {
        fleet.start_replica(number);
    }
    for process in fleet.processes.values_mut() {
        process.wait_for("Control plane serves.", PATIENCE).await.unwrap();
    }
    fleet.start_load_balancer(clients, control);

    // One of the three made the bootstrap token.
    let tokens = (1..=3).map(|number| fleet.person.file(&format!("control-plane{number}/bootstrap-token")));
    let tokens: Vec<String> = tokens.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let [bootstrap] = &*tokens else { panic!("{} bootstrap tokens", tokens.len()) };
    let server = fleet.person.server.clone();
    let login = ["auth", "login", "--server", &server, "--ca-file", "ca.pem", "--token-stdin"];
    let deadline = Instant::now() + PATIENCE;
    while fleet.person.kt_with(&login, bootstrap).code != 0 {
        assert!(Instant::now() < deadline, "{}", fleet.said());
        sleep(Duration::from_millis(50)).await;
    }
    let admin =
        fleet.until(&["auth", "token", "create", "--name", "ann", "--role", "admin", "-o", "json"]).await;
    let admin: Value = serde_json::from_str(&admin).unwrap();
    assert_eq!(fleet.person.kt_with(&login, admin["secret"].as_str().unwrap()).code, 0);

    fleet.until(&["gateway", "token", "create", "--fleet", "default", "--out", "gateway.token"]).await;
    let key =
        ["gateway-key", "create", "--fleet", "default", "--user", "dana", "--role", "dev", "-o", "json"];
    let key: Value = serde_json::from_str(&fleet.until(&key).await).unwrap();
    fleet.key = key["key"].as_str().unwrap().to_owned();
    fleet.person.write("pack.yaml", &pack("1.0.0", false));
    fleet.until(&["pack", "publish", "pack.yaml"]).await;
    for number in 0..3 {
        fleet.start_gateway(number);
    }
    fleet.until_judged("nightjar", 200, "demo@1.0.0").await;

    // A stricter version, and back.
    fleet.person.write("pack.yaml", &pack("1.1.0", true));
    fleet.until(&["pack", "publish", "pack.yaml"]).await;
    fleet.until_judged("nightjar", 409, "demo@1.1.0").await;
    fleet.until(&["pack", "rollback", "--to", "1.0.0"]).await;
    fleet.until_judged("nightjar", 200, "demo@1.0.0").await;

    // One of each is killed in turn, a version published while it is away, and it comes back.
    let rounds = std::env::var("KT_FLEET_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let version = format!("2.{round}.0");
        let member = round % 3;
        fleet.person.write("pack.yaml", &pack(&version, round % 2 == 0));
        let status = if round % 2 == 0 { 409 } else { 200 };
        fleet.kill(&format!("control-plane{}", member + 1)).await;
        fleet.etcd.kill(member).unwrap();
        fleet.postgres.kill().unwrap();
        fleet.until(&["pack", "publish", "pack.yaml", "--message", "while some are away"]).await;
        fleet.until_judged("nightjar", status, &format!("demo@{version}")).await;
        fleet.kill(&format!("gateway{}", member + 1)).await;
        fleet.start_gateway(member);
        fleet.etcd.restart(member).await.unwrap();
        fleet.postgres.restart().await.unwrap();
        fleet.start_replica(member);
        fleet.until_judged("nightjar", status, &format!("demo@{version}")).await;
    }

    // None was lost, none doubled, and what each gateway shows is the head.
    let history: Value =
        serde_json::from_str(&fleet.until(&["fleet", "history", "--limit", "1000", "-o", "json"]).await)
            .unwrap();
    let mut seen: Vec<(u64, String)> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["generation"].as_u64().unwrap(), one["kind"].as_str().unwrap().to_owned()))
        .collect();
    seen.reverse();
    let kinds = ["publish", "publish", "rollback"].into_iter().chain(std::iter::repeat_n("publish", rounds));
    let wanted: Vec<(u64, String)> = (1..).zip(kinds.map(str::to_owned)).collect();
    assert_eq!(seen, wanted);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status: Value =
            serde_json::from_str(&fleet.until(&["fleet", "status", "-o", "json"]).await).unwrap();
        if status["counts"]["applied"] == 3 && status["counts"]["gateways"] == 3 {
            break;
        }
        assert!(Instant::now() < deadline, "{status}\n{}", fleet.said());
        sleep(Duration::from_millis(50)).await;
    }
    fleet.records_are_whole(&login).await;
}

/// The compose file and the units name commands, files and settings that exist.
#[test]
fn what_deploy_names_exists() {
    let compose: Value = serde_saphyr::from_str(&deployed("compose.yaml")).unwrap();
    let services = compose["services"].as_object().unwrap();
    assert_eq!(services.len(), 11);
    let mut mounted = 0;
    for (name, service) in services {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let from = volume.as_str().unwrap().split(':').next().unwrap();
            if let Some(path) =
                from.strip_prefix("./").filter(|path| path.contains('.') && path.contains('/'))
            {
                assert!(repository("deploy").join(path).is_file(), "{name}: {path}");
                mounted += 1;
            }
        }
    }
    assert_eq!(mounted, 7);
    for (unit, command) in [("kt-gateway", "gateway run"), ("kt-control-plane", "control-plane run")] {
        let text = deployed(&format!("systemd/{unit}.service"));
        assert!(text.contains(&format!("ExecStart=/usr/local/bin/kt {command} --config /etc/kt/")), "{unit}");
    }
}
