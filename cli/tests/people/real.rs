//! The same commands against the real control plane, over TLS, with a gateway that answers as it is told.

use std::{path::Path, time::Duration};

use kt_control_plane::{
    ControlPlane, Running,
    settings::{Settings, TlsSettings},
};
use kt_proto::{
    signed,
    v1::{self, delivery_service_client::DeliveryServiceClient, gateway_message, server_message},
};
use tokio::sync::oneshot;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{
    Request,
    transport::{Certificate, Channel, ClientTlsConfig},
};

use crate::kt::{Person, RULE, mode, pack};

pub(crate) struct World {
    pub(crate) person: Person,
    authority: String,
    stop: Option<oneshot::Sender<()>>,
    tasks: tokio::task::JoinSet<()>,
    _data: tempfile::TempDir,
}

fn certificates(folder: &Path) -> (TlsSettings, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (TlsSettings { cert, key, client_ca: None }, made.cert.pem())
}

impl World {
    /// A control plane over a new store, and its first admin, logged in.
    pub(crate) async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (tls, authority) = certificates(data.path());
        let mut settings = Settings::new(data.path().join("data"));
        settings.listen = "127.0.0.1:0".parse().unwrap();
        settings.admin_listen = None;
        settings.tls = Some(tls);
        let running: Running = ControlPlane::start(settings).await.unwrap();
        let person = Person::of(format!("https://localhost:{}", running.grpc_addr.port()));
        let bootstrap = std::fs::read_to_string(&running.bootstrap.as_ref().unwrap().file).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            running.run_until(async { drop(stopped.await) }).await;
        });
        person.write("ca.pem", &authority);
        let login = ["auth", "login", "--server", &person.server, "--ca-file", "ca.pem", "--token-stdin"];
        let first = person.kt_with(&login, &bootstrap);
        assert_eq!(first.code, 0, "{}", first.err);
        assert!(first.err.contains("bootstrap token"), "{}", first.err);
        let admin = person.ok(&["auth", "token", "create", "--name", "jane", "--role", "admin"]);
        // The bootstrap token has done its work.
        assert_eq!(person.kt(&["auth", "whoami"]).code, 1);
        let again = person.kt_with(&["auth", "login", "--token-stdin"], &admin);
        assert_eq!(again.code, 0, "{}", again.err);
        assert!(!format!("{}{}", again.out, again.err).contains(admin.trim()));
        Self { person, authority, stop: Some(stop), tasks, _data: data }
    }

    /// A gateway that takes every pack but those of `refused`.
    async fn gateway(&mut self, name: &'static str, refused: &'static str) {
        let token = self.person.ok(&["gateway", "token", "create", "--fleet", "default"]);
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.authority));
        let channel = Channel::from_shared(self.person.server.clone()).unwrap().tls_config(tls).unwrap();
        let mut client = DeliveryServiceClient::new(channel.connect().await.unwrap());
        let (say, said) = tokio::sync::mpsc::channel(16);
        let hello = v1::Hello {
            fleet: "default".to_owned(),
            gateway_id: uuid::Uuid::now_v7().to_string(),
            name: name.to_owned(),
            process_id: uuid::Uuid::now_v7().to_string(),
            build: "0.1.0".to_owned(),
            features: kt_policy::features::supported().iter().map(ToString::to_string).collect(),
            max_pack_bytes: 4 << 20,
            ..Default::default()
        };
        say.send(message(gateway_message::Message::Hello(hello))).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(said));
        let bearer = format!("Bearer {}", token.trim());
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        let mut heard = client.subscribe(request).await.unwrap().into_inner();
        self.tasks.spawn(async move {
            while let Some(Ok(heard)) = heard.next().await {
                let answer = match heard.message.unwrap() {
                    server_message::Message::Assign(offer) => answer(&offer, refused),
                    server_message::Message::AssignKeys(offer) => {
                        let signed = offer.key_set.unwrap();
                        let set: v1::KeySetStatement = signed::read(&signed).unwrap();
                        gateway_message::Message::Applied(v1::Applied {
                            document: v1::Document::KeySet.into(),
                            nonce: offer.nonce,
                            generation: set.generation,
                            digest: signed::digest(&signed).0.to_vec(),
                            applied_us: jiff::Timestamp::now().as_microsecond(),
                        })
                    }
                    server_message::Message::Drain(_) => return,
                    _ => continue,
                };
                if say.send(message(answer)).await.is_err() {
                    return;
                }
            }
        });
    }

    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(60), async {
            while self.tasks.join_next().await.is_some() {}
        })
        .await
        .unwrap();
    }
}

fn message(message: gateway_message::Message) -> v1::GatewayMessage {
    v1::GatewayMessage { message: Some(message) }
}

fn answer(offer: &v1::Assign, refused: &str) -> gateway_message::Message {
    let signed = offer.assignment.as_ref().unwrap();
    let statement: v1::AssignmentStatement = signed::read(signed).unwrap();
    let digest = signed::digest(signed).0.to_vec();
    if statement.packs[0].version == refused {
        return gateway_message::Message::Rejected(v1::Rejected {
            document: v1::Document::Assignment.into(),
            nonce: offer.nonce,
            generation: statement.generation,
            digest,
            stage: v1::Stage::Bind.into(),
            reasons: vec![v1::Reason {
                code: "KT0501".to_owned(),
                message: "the workspace is not set".to_owned(),
                path: "providers.targets[0].base_url".to_owned(),
                line: 17,
                column: 17,
                help: None,
            }],
        });
    }
    gateway_message::Message::Applied(v1::Applied {
        document: v1::Document::Assignment.into(),
        nonce: offer.nonce,
        generation: statement.generation,
        digest,
        applied_us: jiff::Timestamp::now().as_microsecond(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_is_published_to_refused_by_name_and_rolled_back() {
    let mut world = World::start().await;
    world.gateway("takes-all", "none").await;
    world.gateway("picky", "1.1.0").await;
    let person = &world.person;
    person.write("one.yaml", &pack("1.0.0", ""));
    person.write("two.yaml", &pack("1.1.0", RULE));
    let first = person.ok(&["pack", "publish", "one.yaml", "--wait", "--message", "the first"]);
    assert_eq!(
        first,
        "published demo@1.0.0 to `default` as generation 1\nenforced by 2 of 2 connected gateways\n"
    );
    let again = person.ok(&["pack", "publish", "one.yaml", "--wait"]);
    assert!(again.starts_with("demo@1.0.0 is what `default` enforces since generation 1"), "{again}");

    let second = person.kt(&["pack", "publish", "two.yaml", "--wait", "-o", "json"]);
    assert_eq!(second.code, 1, "{}{}", second.out, second.err);
    let report: serde_json::Value = serde_json::from_str(&second.out).unwrap();
    let rollout = &report["rollout"];
    assert_eq!((&rollout["end"], &rollout["counts"]["applied"]), (&"rejected".into(), &1.into()), "{report}");
    let refusal = &rollout["gateways"][0];
    assert_eq!((&refusal["name"], &refusal["refusal"]["stage"]), (&"picky".into(), &"bind".into()));
    assert_eq!(refusal["refusal"]["reasons"][0]["line"], 17);
    let status = person.kt(&["fleet", "status"]);
    assert_eq!(status.code, 1);
    assert!(status.out.contains("providers.targets[0].base_url line 17: KT0501"), "{}", status.out);

    let back = person.ok(&["pack", "rollback", "--wait", "--message", "picky refused it"]);
    assert!(back.starts_with("rolled back `default` to demo@1.0.0 as generation 3"), "{back}");
    assert!(back.contains("enforced by 2 of 2"), "{back}");
    assert_eq!(person.kt(&["fleet", "status"]).code, 0);

    let diff = person.kt(&["pack", "diff", "demo@1.0.0", "default:2"]);
    assert_eq!(diff.code, 1);
    assert!(diff.out.contains("+ patterns[ticket]"), "{}", diff.out);
    assert_eq!(person.ok(&["pack", "download", "demo@1.1.0"]), pack("1.1.0", RULE));
    let history = person.ok(&["fleet", "history"]);
    for part in ["rollback", "publish", "picky refused it", "the first", "jane"] {
        assert!(history.contains(part), "{part}: {history}");
    }
    let gateways = person.ok(&["gateway", "list"]);
    assert!(gateways.contains("takes-all") && gateways.contains("demo@1.0.0"), "{gateways}");
    let changes = person.ok(&["changes", "list", "-o", "json"]);
    let changes: serde_json::Value = serde_json::from_str(&changes).unwrap();
    let actions: Vec<&str> =
        changes.as_array().unwrap().iter().map(|change| change["action"].as_str().unwrap()).collect();
    for action in ["fleet.publish", "fleet.rollback", "token.create"] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_the_real_control_plane_leave_everything_as_it_was() {
    let world = World::start().await;
    let person = &world.person;
    person.write("one.yaml", &pack("1.0.0", ""));
    person.write("other.yaml", &pack("1.0.0", RULE));
    person.write("bad.yaml", &pack("1.0.0", "").replace("action: block", "action: blok"));
    let refused = person.kt(&["pack", "publish", "bad.yaml"]);
    let linted = person.kt(&["policy", "lint", "bad.yaml"]);
    assert_eq!((refused.code, refused.err), (1, linted.err), "the control plane finds what lint finds");
    person.ok(&["pack", "publish", "one.yaml"]);
    let says = |arguments: &[&str], code: &str| {
        let ended = person.kt(arguments);
        assert_ne!(ended.code, 0, "{arguments:?}");
        assert!(ended.err.contains(code), "{arguments:?}: {}", ended.err);
    };
    says(&["pack", "publish", "other.yaml"], "version_taken");
    says(&["pack", "publish", "one.yaml", "--fleet", "nowhere"], "fleet_unknown");
    says(&["pack", "publish", "one.yaml", "--expect-generation", "7"], "generation_conflict");
    says(&["pack", "rollback", "--to", "9.9.9"], "pack_unknown");
    says(&["fleet", "create", "default"], "fleet_exists");
    says(&["fleet", "recover"], "not diverged");
    let viewer = person.ok(&["auth", "token", "create", "--name", "eve", "--role", "viewer"]);
    let login = [
        "auth",
        "login",
        "--server",
        &person.server,
        "--ca-file",
        "ca.pem",
        "--context",
        "eve",
        "--token-stdin",
    ];
    assert_eq!(person.kt_with(&login, &viewer).code, 0);
    says(&["pack", "publish", "one.yaml"], "role_missing");
    person.ok(&["auth", "use", "default"]);
    let listed = person.ok(&["auth", "token", "list", "-o", "json"]);
    let tokens: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let id = |name: &str| {
        let token = tokens.as_array().unwrap().iter().find(|token| token["name"] == name).unwrap();
        token["id"].as_str().unwrap().to_owned()
    };
    person.ok(&["auth", "token", "revoke", &id("eve")]);
    says(&["fleet", "list", "--context", "eve"], "token_revoked");
    says(&["auth", "token", "revoke", &id("jane")], "last_admin");
    assert_eq!(person.ok(&["fleet", "history", "-o", "json"]).matches("\"generation\"").count(), 1);
    // Without the authority, the server is nobody we know.
    std::fs::write(person.file("ca.pem"), "").unwrap();
    says(&["fleet", "list"], "holds no certificate");
    let unknown =
        person.kt(&["auth", "login", "--server", &person.server, "--context", "new", "--token-stdin"]);
    assert_eq!(unknown.code, 2);
    let unknown = person.kt_with(
        &["auth", "login", "--server", &person.server, "--context", "new", "--token-stdin"],
        &viewer,
    );
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("--ca-file"), "{}", unknown.err);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_signed_statements_go_through_the_real_control_plane() {
    let mut world = World::start().await;
    world.gateway("one", "none").await;
    let person = &world.person;
    person.ok(&["key", "generate", "release.key"]);
    person.write("one.yaml", &pack("1.0.0", ""));
    person.ok(&[
        "pack",
        "sign",
        "one.yaml",
        "--generation",
        "1",
        "--key",
        "release.key",
        "--expires-in",
        "30d",
        "--out",
        "signed.json",
    ]);
    // Not there yet for the statement: publish uploads it first.
    person.ok(&["pack", "publish", "one.yaml", "--signature", "signed.json", "--wait"]);
    let created = [
        "gateway-key",
        "create",
        "--fleet",
        "default",
        "--user",
        "jane@example.com",
        "--role",
        "analyst",
        "--sign-key",
        "release.key",
    ];
    person.ok(&created);
    let listed = person.ok(&["gateway-key", "list", "--fleet", "default", "-o", "json"]);
    let id =
        serde_json::from_str::<serde_json::Value>(&listed).unwrap()[0]["id"].as_str().unwrap().to_owned();
    person.ok(&["gateway-key", "rotate", &id, "--fleet", "default", "--sign-key", "release.key"]);
    person.ok(&[
        "gateway-key",
        "revoke",
        &id,
        "--fleet",
        "default",
        "--sign-key",
        "release.key",
        "--message",
        "lost",
    ]);
    let listed = person.ok(&["gateway-key", "list", "--fleet", "default"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains("jane@example.com"), "{listed}");
    assert_eq!(mode(&person.file(".config/kt/config.yaml")), 0o600);
    world.stop().await;
}

/// `kt gateway run` of the same build, which trusts one key and knows no workspace.
fn real_gateway(person: &Person, name: &str) -> kt_tests::process::Process {
    let folder = person.file(name);
    std::fs::create_dir(&folder).unwrap();
    let at = |file: &str| person.file(file).display().to_string();
    person.ok(&["gateway", "token", "create", "--fleet", "default", "--out", &format!("{name}.token")]);
    let arguments = [
        "gateway",
        "run",
        "--name",
        name,
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--control-plane",
        &person.server,
        "--control-plane-ca-file",
        &at("ca.pem"),
        "--token-file",
        &at(&format!("{name}.token")),
        "--trust-key",
        &at("release.key.pub"),
        "--state-dir",
        &at(&format!("{name}/state")),
        "--audit-dir",
        &at(&format!("{name}/audit")),
    ];
    let environment = [("DATABRICKS_TOKEN", "secret")];
    kt_tests::process::Process::start_at("kt", Path::new(env!("CARGO_BIN_EXE_kt")), arguments, &environment)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_gateways_apply_refuse_by_name_and_are_rolled_back() {
    let world = World::start().await;
    let person = &world.person;
    person.ok(&["key", "generate", "release.key"]);
    person.write("one.yaml", &pack("1.0.0", ""));
    person.write("two.yaml", &pack("1.1.0", RULE).replace("adb-1234567890123456.7", "{workspace}"));
    let mut gateways = [real_gateway(person, "gw-a"), real_gateway(person, "gw-b")];
    for gateway in &mut gateways {
        gateway.wait_for("Connected to the control plane", crate::common::PATIENCE).await.unwrap();
    }
    // They take a moment to connect: until both are there, a publish would wait for fewer.
    let deadline = tokio::time::Instant::now() + crate::common::PATIENCE;
    loop {
        let listed = person.ok(&["gateway", "list", "-o", "json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        if listed.as_array().unwrap().len() == 2 {
            break;
        }
        let said: Vec<String> = gateways.iter().map(|gateway| gateway.output()).collect();
        assert!(tokio::time::Instant::now() < deadline, "{said:?}");
    }
    let sign = ["--sign-key", "release.key", "--wait"];
    let publish = |more: &[&str]| person.kt(&[&["pack", "publish"], more].concat());
    let first = publish(&[&["one.yaml"], &sign[..]].concat());
    assert_eq!(first.code, 0, "{}{}", first.out, first.err);
    assert!(first.out.ends_with("enforced by 2 of 2 connected gateways\n"), "{}", first.out);

    let second = publish(&[&["two.yaml"], &sign[..]].concat());
    assert_eq!(second.code, 1, "{}{}", second.out, second.err);
    for part in ["gw-a", "gw-b", "bind", "providers.targets[0].base_url", "KT0501"] {
        assert!(second.out.contains(part), "{part}: {}{}", second.out, second.err);
    }

    let back = person.kt(&[&["pack", "rollback"], &sign[..]].concat());
    assert_eq!(back.code, 0, "{}{}", back.out, back.err);
    let unsigned = person.kt(&["pack", "rollback", "--to", "1.1.0", "--unsigned", "--wait", "-o", "json"]);
    assert_eq!(unsigned.code, 1);
    assert!(unsigned.out.contains("signature_missing"), "{}", unsigned.out);
    person.ok(&[&["pack", "publish", "one.yaml"], &sign[..]].concat());
    assert_eq!(person.kt(&["fleet", "status"]).code, 0);
    drop(gateways);
    world.stop().await;
}
