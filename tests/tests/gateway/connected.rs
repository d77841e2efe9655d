//! A gateway with a control plane: what is pushed, what is refused, and what it does while nobody is there.

use std::{path::Path, time::Duration};

use kt_audit::{
    Body, Digest,
    record::{Config, ConfigAction},
    sign::Signer,
};
use kt_data_plane::{
    ControlError, StartError,
    settings::{ControlSettings, Origin},
};
use kt_proto::{
    signed::{Trust, countersign, seal},
    v1::{self, Document, Stage, gateway_message::Message},
};
use kt_tests::{
    egress::{Authority, TlsFront},
    fake_control_plane::{FakeControlPlane, TOKEN, assignment},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::Instant,
};

use crate::{
    records,
    world::{self, LLAMA, Pack, World, chat, from_file, within},
};

/// A control plane, and what a gateway keeps over its restarts.
pub(crate) struct Fleet {
    pub(crate) plane: FakeControlPlane,
    dir: tempfile::TempDir,
    trust: Trust,
}

impl Fleet {
    pub(crate) async fn new() -> Self {
        Self::trusting(Trust::default()).await
    }

    async fn trusting(trust: Trust) -> Self {
        Self { trust, ..Self::of(FakeControlPlane::start().await.unwrap()) }
    }

    pub(crate) fn of(plane: FakeControlPlane) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), TOKEN).unwrap();
        Self { plane, dir, trust: Trust::default() }
    }

    pub(crate) fn settings(&self) -> ControlSettings {
        ControlSettings {
            state_dir: self.dir.path().join("state"),
            trust: self.trust.clone(),
            ..ControlSettings::new(self.plane.url(), self.dir.path().join("token"))
        }
    }

    fn plan(&self) -> world::Plan {
        plan(self.settings())
    }

    pub(crate) async fn gateway(&self) -> World {
        self.plan().start().await
    }

    /// Publishes and waits until it is in force.
    pub(crate) async fn publish(&self, generation: u64, pack: &Pack, signers: &[Signer]) {
        self.plane.publish(generation, &version(generation), &source(pack), signers);
        self.plane.applied(Document::Assignment, generation).await;
    }

    fn state(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("state").join(name)
    }

    /// Ends the control plane; nothing listens at its address any more.
    fn without_plane(self) -> (tempfile::TempDir, ControlSettings) {
        let settings = self.settings();
        drop(self.plane);
        (self.dir, settings)
    }
}

fn plan(control: ControlSettings) -> world::Plan {
    World::plan(&Pack::llama()).settings(|settings| settings.origin = Origin::ControlPlane(Box::new(control)))
}

fn version(generation: u64) -> String {
    format!("1.0.{generation}")
}

/// The pack of a generation: its version says which.
pub(crate) fn pack(generation: u32) -> Pack {
    Pack::llama().version(generation)
}

pub(crate) fn source(pack: &Pack) -> String {
    from_file(&pack.yaml())
}

fn stopping(generation: u32) -> Pack {
    pack(generation)
        .chain(&["dlp-filter"])
        .policy("dlp-filter:\n  blocked_terms:\n    - project falcon\n  action: block\n")
}

fn trust(signers: &[&Signer], threshold: usize) -> Trust {
    Trust { keys: signers.iter().map(|signer| signer.public()).collect(), threshold }
}

pub(crate) fn codes(rejected: &v1::Rejected) -> Vec<&str> {
    rejected.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

#[tokio::test]
async fn a_pushed_pack_judges_the_requests_that_come_after_it() {
    let fleet = Fleet::new().await;
    let world = fleet.plan().audit().start().await;
    let ready = world.until_ready(|status, _| status == 503).await;
    assert_eq!((&ready["status"], &ready["pack"]), (&"no_pack".into(), &serde_json::Value::Null));
    let answer = world.chat(LLAMA, "project falcon").await;
    assert_eq!((answer.error().as_str(), answer.header("retry-after")), ("503 no_pack", Some("5")));
    assert_eq!(world.get(world.url("/v1/models")).await.error(), "503 no_pack");
    assert_eq!(world.get(world.url("/nowhere")).await.error(), "404 not_governed");
    assert_eq!(world.get(world.url("/healthz")).await.status, 200);

    let audited = |pack: Pack| pack.chain(&["audit-logger"]);
    fleet.publish(1, &audited(pack(1)), &[]).await;
    let applied = fleet.plane.applied(Document::Assignment, 1).await;
    let wanted = seal(&assignment(1, &[("1.0.1", &source(&audited(pack(1))))]), &[]);
    assert_eq!(applied.digest, Digest::of(&wanted.statement).0);
    assert_eq!(applied.nonce, 1);
    let answer = world.chat(LLAMA, "say: project falcon").await;
    assert_eq!((answer.status, answer.header("x-keeptrusts-pack")), (200, Some("test@1.0.1")));

    let strict = pack(2)
        .chain(&["audit-logger", "dlp-filter"])
        .policy("dlp-filter:\n  blocked_terms:\n    - project falcon\n  action: block\n");
    fleet.publish(2, &strict, &[]).await;
    // `Applied` is said after the swap: the very next request is judged by it.
    assert_eq!(world.chat(LLAMA, "project falcon").await.error(), "409 input_blocked");
    // A rollback is a new generation of an old version.
    fleet.plane.assign(seal(&assignment(3, &[("1.0.1", &source(&audited(pack(1))))]), &[]), Vec::new());
    fleet.plane.applied(Document::Assignment, 3).await;
    assert_eq!(world.chat(LLAMA, "say: project falcon").await.status, 200);
    assert_eq!(fleet.plane.fetches(), 2, "the body of the older version is still there");

    let config = world.get(world.admin("/keeptrusts/config")).await.json();
    let control = &config["control_plane"];
    assert_eq!((&control["fleet"], &control["connected"]), (&"default".into(), &true.into()));
    assert_eq!(
        (&control["assignment"]["generation"], &control["assignment"]["source"]),
        (&3.into(), &"live".into())
    );
    assert_eq!((&config["pack"]["generation"], &config["pack"]["version"]), (&3.into(), &"1.0.1".into()));
    let ready = world.until_ready(|status, _| status == 200).await;
    assert_eq!(
        (&ready["status"], &ready["control_plane"]["assignment"]["generation"]),
        (&"ok".into(), &3.into())
    );
    let metrics = world.metrics().await;
    for line in [
        "keeptrusts_gateway_control_plane_connected 1",
        "keeptrusts_gateway_applied_generation{document=\"assignment\"} 3",
        "keeptrusts_gateway_policy_age_seconds ",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let dir = world.path("audit");
    let generations: Vec<_> = records::all(&dir)
        .into_iter()
        .filter_map(|body| match body {
            Body::Config(config) => {
                let Config { action: ConfigAction::Activated, pack, .. } = *config else { return None };
                pack?.generation
            }
            _ => None,
        })
        .collect();
    assert_eq!(generations, [1, 2, 3]);
    let of_requests: Vec<_> = records::read(&dir)
        .iter()
        .filter_map(|body| match body {
            Body::Closed(closed) => closed.request.pack.as_ref()?.generation,
            _ => None,
        })
        .collect();
    assert_eq!(of_requests, [1, 2, 3]);
}

#[tokio::test]
async fn rejection_names_pack_rule_and_line() {
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    fleet.publish(1, &pack(1), &[]).await;
    let broken = pack(2).chain(&["dlp-filter"]).policy(
        "dlp-filter:\n  patterns:\n    - name: one\n      regex: '('\n    - name: two\n      regex: '['\n  action: block\n",
    );
    let text = source(&broken);
    fleet.plane.publish(2, "1.0.2", &text, &[]);
    let (rejected, skip) = fleet.plane.rejected(0).await;
    assert_eq!(
        (rejected.stage(), rejected.generation, rejected.document()),
        (Stage::Compile, 2, Document::Assignment)
    );
    assert_eq!(codes(&rejected), ["KT0401", "KT0401"]);
    for (reason, regex) in rejected.reasons.iter().zip(["'('", "'['"]) {
        let line = text.lines().position(|line| line.contains(regex)).unwrap() + 1;
        assert_eq!(reason.line as usize, line, "{reason:?}");
        assert!(reason.column > 0 && reason.path.starts_with("policy.dlp-filter.patterns["), "{reason:?}");
    }

    // What the operator does not allow is named, at its own stage.
    let unbound = source(&pack(3)).replace("file: token", "env: HOME_OF_SECRETS");
    fleet.plane.publish(3, "1.0.3", &unbound, &[]);
    let (rejected, skip) = fleet.plane.rejected(skip).await;
    assert_eq!((rejected.stage(), codes(&rejected)), (Stage::Bind, vec!["KT0502"]));
    assert!(
        rejected.reasons[0].line > 0 && rejected.reasons[0].message.contains("HOME_OF_SECRETS"),
        "{rejected:?}"
    );

    let unknown = format!("{}unknown: 1\n", source(&pack(4)));
    fleet.plane.publish(4, "1.0.4", &unknown, &[]);
    let (rejected, skip) = fleet.plane.rejected(skip).await;
    assert_eq!((rejected.stage(), codes(&rejected)), (Stage::Schema, vec!["KT0101"]));

    let features = vec![
        v1::Feature { name: "policy:dlp-filter".to_owned(), path: "policies.chain[0]".to_owned(), line: 5 },
        v1::Feature { name: "policy:mind-reader".to_owned(), path: "policies.chain[1]".to_owned(), line: 6 },
    ];
    fleet.plane.put_body(&source(&pack(5)));
    fleet.plane.assign(seal(&assignment(5, &[("1.0.5", &source(&pack(5)))]), &[]), features);
    let (rejected, skip) = fleet.plane.rejected(skip).await;
    assert_eq!((rejected.stage(), codes(&rejected)), (Stage::Schema, vec!["feature_unsupported"]));
    assert_eq!((rejected.reasons[0].path.as_str(), rejected.reasons[0].line), ("policies.chain[1]", 6));

    let (one, two) = (source(&pack(6)), source(&pack(7)));
    fleet.plane.assign(seal(&assignment(6, &[("1.0.6", &one), ("1.0.7", &two)]), &[]), Vec::new());
    let (rejected, skip) = fleet.plane.rejected(skip).await;
    assert_eq!((rejected.stage(), codes(&rejected)), (Stage::Limits, vec!["too_many_packs"]));

    fleet.plane.assign(seal(&assignment(7, &[("1.0.7", "nobody has it")]), &[]), Vec::new());
    let (rejected, skip) = fleet.plane.rejected(skip).await;
    assert_eq!((rejected.stage(), codes(&rejected)), (Stage::Fetch, vec!["pack_unknown"]));

    fleet.plane.put_wrong_body("another", b"not another");
    fleet.plane.assign(seal(&assignment(8, &[("1.0.8", "another")]), &[]), Vec::new());
    let (rejected, skip) = fleet.plane.rejected(skip).await;
    assert_eq!((rejected.stage(), codes(&rejected)), (Stage::Digest, vec!["digest_mismatch"]));

    // Another pack than the statement names.
    fleet.plane.publish(9, "1.0.9", &source(&pack(7)), &[]);
    let (rejected, _) = fleet.plane.rejected(skip).await;
    assert_eq!((rejected.stage(), codes(&rejected)), (Stage::Digest, vec!["pack_misnamed"]));

    // The first one serves through all of it, and people see why.
    assert_eq!(world.chat(LLAMA, "say: hello").await.header("x-keeptrusts-pack"), Some("test@1.0.1"));
    let ready = world.until_ready(|status, value| status == 200 && value["status"] == "degraded").await;
    let reason = ready["degraded"][0].as_str().unwrap();
    assert!(reason.starts_with("pack: generation 9 is refused: digest: "), "{reason}");
    let metrics = world.metrics().await;
    assert!(
        metrics.contains("keeptrusts_gateway_rejections_total{document=\"assignment\",stage=\"bind\"} 1"),
        "{metrics}"
    );
    fleet.publish(10, &pack(10), &[]).await;
    world.until_ready(|_, value| value["status"] == "ok").await;
}

#[tokio::test]
async fn only_what_trusted_keys_have_signed_is_taken() {
    let (one, two, stranger) =
        (Signer::generate().unwrap(), Signer::generate().unwrap(), Signer::generate().unwrap());
    let fleet = Fleet::trusting(trust(&[&one, &two], 1)).await;
    let world = fleet.gateway().await;
    let text = source(&pack(1));
    fleet.plane.put_body(&text);
    let statement = assignment(1, &[("1.0.1", &text)]);
    let mut skip = 0;
    let mut forged = seal(&statement, std::slice::from_ref(&one));
    forged.signatures[0].signature[5] ^= 1;
    let expired = v1::AssignmentStatement { expires_us: 1, ..statement.clone() };
    let elsewhere = v1::AssignmentStatement { fleet: "staging".to_owned(), ..statement.clone() };
    for (signed, code) in [
        (seal(&statement, &[]), "signature_missing"),
        (seal(&statement, &[stranger]), "signers_missing"),
        (forged, "signature_invalid"),
        (seal(&expired, std::slice::from_ref(&one)), "statement_expired"),
        (seal(&elsewhere, std::slice::from_ref(&one)), "wrong_fleet"),
    ] {
        fleet.plane.assign(signed, Vec::new());
        let (rejected, next) = fleet.plane.rejected(skip).await;
        assert_eq!((rejected.stage(), codes(&rejected)), (Stage::Signature, vec![code]));
        skip = next;
    }
    assert_eq!(fleet.plane.fetches(), 0, "nothing is fetched for a statement that nobody trusted has signed");
    assert_eq!(world.chat(LLAMA, "say: hello").await.error(), "503 no_pack");

    // Rotation: both keys are trusted, and either signs.
    fleet.publish(1, &pack(1), std::slice::from_ref(&one)).await;
    fleet.publish(2, &pack(2), std::slice::from_ref(&two)).await;
    let config = world.get(world.admin("/keeptrusts/config")).await.json();
    assert_eq!(config["control_plane"]["assignment"]["signed_by"][0], two.public().id().to_string());

    // What was signed once is no more than that: older generations, and others under the same number, are refused.
    let replayed = seal(&statement, std::slice::from_ref(&one));
    let other = seal(&assignment(2, &[("1.0.1", &text)]), std::slice::from_ref(&one));
    for (signed, code) in [(replayed, "generation_lower"), (other, "generation_conflict")] {
        fleet.plane.assign(signed, Vec::new());
        let (rejected, next) = fleet.plane.rejected(skip).await;
        assert_eq!((rejected.stage(), codes(&rejected)), (Stage::Signature, vec![code]));
        skip = next;
    }
    assert_eq!(world.chat(LLAMA, "say: hello").await.header("x-keeptrusts-pack"), Some("test@1.0.2"));
}

#[tokio::test]
async fn two_signers_are_two_keys() {
    let (one, two) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let fleet = Fleet::trusting(trust(&[&one, &two], 2)).await;
    let _world = fleet.gateway().await;
    let text = source(&pack(1));
    fleet.plane.put_body(&text);
    let mut signed = seal(&assignment(1, &[("1.0.1", &text)]), std::slice::from_ref(&one));
    fleet.plane.assign(signed.clone(), Vec::new());
    let (rejected, _) = fleet.plane.rejected(0).await;
    assert_eq!(codes(&rejected), ["signers_missing"]);
    // The same statement with the second signature: a refusal for want of one is not held against it.
    countersign::<v1::AssignmentStatement>(&mut signed, &two);
    fleet.plane.assign(signed, Vec::new());
    fleet.plane.applied(Document::Assignment, 1).await;
}

#[tokio::test]
async fn a_statement_that_was_accepted_does_not_expire() {
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    let text = source(&pack(1));
    fleet.plane.put_body(&text);
    let soon = jiff::Timestamp::now() + Duration::from_secs(2);
    let statement =
        v1::AssignmentStatement { expires_us: soon.as_microsecond(), ..assignment(1, &[("1.0.1", &text)]) };
    fleet.plane.assign(seal(&statement, &[]), Vec::new());
    fleet.plane.applied(Document::Assignment, 1).await;
    within(world.stop()).await;
    within(async {
        while jiff::Timestamp::now() <= soon {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let world = fleet.gateway().await;
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
}

#[tokio::test]
async fn starts_offline_from_disk() {
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    let key = "kt_gk_kept_0123456789abcdefghij";
    fleet.plane.assign_keys(seal(&key_set(1, &[("kept", key)]), &[]));
    fleet.publish(1, &stopping(1), &[]).await;
    fleet.plane.applied(Document::KeySet, 1).await;
    within(world.stop()).await;
    let (_dir, settings) = fleet.without_plane();
    let world = plan(settings).start().await;
    assert_eq!(world.chat(LLAMA, "project falcon").await.error(), "409 input_blocked");
    let answer = world.post_as(key, "/v1/chat/completions", &chat(LLAMA, "say: hello")).await;
    assert_eq!(answer.status, 200);
    let answer = world.post_as("kt_gk_other", "/v1/chat/completions", &chat(LLAMA, "say: hello")).await;
    assert_eq!(answer.error(), "401 invalid_api_key");
    let ready = world.until_ready(|status, _| status == 200).await;
    assert_eq!(ready["control_plane"]["assignment"]["source"], "disk");
    assert_eq!(ready["control_plane"]["connected"], false);
    assert!(world.metrics().await.contains("keeptrusts_gateway_control_plane_connected 0"));
}

#[tokio::test]
async fn tampered_body_is_refused_and_previous_serves() {
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    fleet.publish(1, &pack(1), &[]).await;
    fleet.publish(2, &stopping(2), &[]).await;
    within(world.stop()).await;
    let body = fleet.state("bodies").join(Digest::of(source(&stopping(2)).as_bytes()).to_string());
    let harmless = std::fs::read_to_string(&body).unwrap().replace("falcon", "falcom");
    std::fs::write(&body, harmless).unwrap();
    let settings = fleet.settings();
    let unreachable = ControlSettings { url: "http://127.0.0.1:9".to_owned(), ..settings };
    let world = plan(unreachable).start().await;
    assert_eq!(world.chat(LLAMA, "say: hello").await.header("x-keeptrusts-pack"), Some("test@1.0.1"));
    let ready = world.until_ready(|_, value| value["status"] == "degraded").await;
    assert!(ready["degraded"].to_string().contains("the kept assignment is not taken"), "{ready}");
    within(world.stop()).await;
    assert!(fleet.state("assignment.refused").try_exists().unwrap());
    // With the control plane there, it is fetched anew.
    let world = fleet.gateway().await;
    let blocked = async {
        while world.chat(LLAMA, "project falcon").await.status != 409 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(blocked).await;
    assert_eq!(fleet.plane.fetches(), 3);
    world.until_ready(|_, value| value["status"] == "ok").await;
}

#[tokio::test]
async fn a_kept_statement_is_held_to_the_trusted_keys_of_the_new_start() {
    let (one, two) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let mut fleet = Fleet::trusting(trust(&[&one], 1)).await;
    let world = fleet.gateway().await;
    fleet.publish(1, &pack(1), std::slice::from_ref(&one)).await;
    within(world.stop()).await;
    fleet.trust = trust(&[&two], 1);
    fleet.plane.end_streams();
    let world = fleet.gateway().await;
    assert_eq!(world.chat(LLAMA, "say: hello").await.error(), "503 no_pack");
}

#[tokio::test]
async fn worker_never_takes_lower_generation() {
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    fleet.publish(7, &pack(7), &[]).await;
    within(world.stop()).await;
    // Another replica, or a store from a backup.
    let older = Fleet { plane: FakeControlPlane::start().await.unwrap(), ..fleet };
    older.plane.publish(3, "1.0.3", &source(&pack(3)), &[]);
    let world = older.gateway().await;
    let hello = older.plane.hello(1).await;
    assert_eq!(
        hello.assignment.as_ref().map(|held| (held.generation, held.source())),
        Some((7, v1::held::Source::Disk))
    );
    let (rejected, _) = older.plane.rejected(0).await;
    assert_eq!((codes(&rejected), rejected.generation), (vec!["generation_lower"], 3));
    assert_eq!(world.chat(LLAMA, "say: hello").await.header("x-keeptrusts-pack"), Some("test@1.0.7"));
    older.publish(8, &pack(8), &[]).await;
    assert_eq!(world.chat(LLAMA, "say: hello").await.header("x-keeptrusts-pack"), Some("test@1.0.8"));
}

#[tokio::test]
async fn rejected_generation_is_not_resent() {
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    let text = format!("{}unknown: 1\n", source(&pack(1)));
    fleet.plane.publish(1, "1.0.1", &text, &[]);
    let (rejected, skip) = fleet.plane.rejected(0).await;
    let digest = rejected.digest;
    fleet.plane.end_streams();
    let hello = fleet.plane.hello(2).await;
    assert_eq!(hello.rejected, [digest.as_slice()]);
    // A replica that sends it all the same gets the same answer, and nothing is fetched or compiled for it.
    let (again, _) = fleet.plane.rejected(skip).await;
    assert_eq!((again.digest.as_slice(), codes(&again)), (digest.as_slice(), vec!["KT0101"]));
    assert_eq!(fleet.plane.fetches(), 1);
    // Nor after a restart of the same build.
    within(world.stop()).await;
    let _world = fleet.gateway().await;
    assert_eq!(fleet.plane.hello(3).await.rejected, [digest]);
}

#[tokio::test]
async fn reconnect_with_same_digest_sends_no_body() {
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    fleet.publish(1, &pack(1), &[]).await;
    fleet.plane.end_streams();
    let hello = fleet.plane.hello(2).await;
    let held = hello.assignment.unwrap();
    assert_eq!((held.generation, held.source()), (1, v1::held::Source::Live));
    let (applied, _) = fleet
        .plane
        .until(fleet.plane.messages().len(), |message| match message {
            Message::Applied(applied) => Some(applied.clone()),
            _ => None,
        })
        .await;
    assert_eq!((applied.generation, fleet.plane.fetches()), (1, 1));
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
}

#[tokio::test]
async fn a_generation_that_is_spoken_of_and_not_sent_is_asked_for() {
    let fleet = Fleet::new().await;
    let _world = fleet.gateway().await;
    fleet.publish(1, &pack(1), &[]).await;
    let began = Instant::now();
    fleet.plane.speak_of(2);
    fleet.plane.hello(2).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn another_document_of_the_generation_in_force_is_an_alarm_that_health_and_metrics_show() {
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    fleet.publish(3, &pack(3), &[]).await;
    fleet.plane.speak_of_another(3);
    let ready = world.until_ready(|status, value| status == 200 && value["status"] == "degraded").await;
    let reason = "control plane: has another assignment of generation 3";
    assert!(ready["degraded"].to_string().contains(reason), "{ready}");
    let metrics = world.metrics().await;
    let rejection = r#"rejections_total{document="assignment",stage="signature"} 1"#;
    assert!(metrics.contains(rejection), "{metrics}");
    // What is in force stays, and a later generation settles it.
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
    fleet.plane.speak_of(4);
    fleet.publish(4, &pack(4), &[]).await;
    world.until_ready(|_, value| value["status"] == "ok").await;
}

#[tokio::test]
async fn a_drained_gateway_connects_again_and_serves_all_the_while() {
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    fleet.publish(1, &pack(1), &[]).await;
    fleet.plane.drain(Duration::from_millis(300));
    fleet.plane.hello(2).await;
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
}

fn key_set(generation: u64, keys: &[(&str, &str)]) -> v1::KeySetStatement {
    let key = |(id, secret): &(&str, &str)| v1::GatewayKey {
        id: (*id).to_owned(),
        sha256: Digest::of(secret.as_bytes()).0.to_vec(),
        user: Some("jane".to_owned()),
        roles: vec!["analyst".to_owned()],
        ..v1::GatewayKey::default()
    };
    let keys = keys.iter().map(key).collect();
    v1::KeySetStatement { fleet: "default".to_owned(), generation, keys, expires_us: 0 }
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_and_the_use_of_keys_is_reported() {
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    let (one, two) = ("kt_gk_one_0123456789abcdefghij", "kt_gk_two_0123456789abcdefghij");
    let ask = async |key: &str| {
        let answer = world.post_as(key, "/v1/chat/completions", &chat(LLAMA, "say: hello")).await;
        if answer.status == 200 { "200".to_owned() } else { answer.error() }
    };
    fleet.publish(1, &pack(1), &[]).await;
    assert_eq!(ask(one).await, "401 invalid_api_key");
    fleet.plane.assign_keys(seal(&key_set(1, &[("one", one), ("two", two)]), &[]));
    fleet.plane.applied(Document::KeySet, 1).await;
    assert_eq!((ask(one).await, ask(two).await), ("200".to_owned(), "200".to_owned()));
    let skip = fleet.plane.messages().len();
    let used = |id: &'static str| {
        move |message: &Message| match message {
            Message::Heartbeat(beat) => {
                beat.key_use.iter().find(|used| used.key_id == id).map(|used| used.last_used_us)
            }
            _ => None,
        }
    };
    let (at, _) = fleet.plane.until(skip, used("one")).await;
    assert!(jiff::Timestamp::now().as_microsecond() - at < 20_000_000);
    fleet.plane.until(skip, used("two")).await;

    fleet.plane.assign_keys(seal(&key_set(2, &[("two", two)]), &[]));
    fleet.plane.applied(Document::KeySet, 2).await;
    assert_eq!((ask(one).await, ask(two).await), ("401 invalid_api_key".to_owned(), "200".to_owned()));
    assert!(world.metrics().await.contains("keeptrusts_gateway_keys 1"));

    // The server speaks of no key set, as one whose store went back: it is told, once, which keys are held.
    let held = |message: &Message| match message {
        Message::Heartbeat(beat) => beat.held_keys.clone().filter(|held| held.generation == 2),
        _ => None,
    };
    let (told, skip) = fleet.plane.until(0, held).await;
    assert_eq!(told.ids, ["two"]);
    let is_beat = |message: &Message| matches!(message, Message::Heartbeat(_)).then_some(());
    let (_, skip) = fleet.plane.until(skip, is_beat).await;
    fleet.plane.until(skip, is_beat).await;
    assert_eq!(fleet.plane.messages().iter().filter_map(held).count(), 1);

    // All that is wrong with a set is named, and the old one stays.
    let mut bad = key_set(3, &[("two", two), ("two", one), ("bad id", "kt_gk_x")]);
    bad.keys[0].sha256.pop();
    fleet.plane.assign_keys(seal(&bad, &[]));
    let (rejected, _) = fleet.plane.rejected(0).await;
    assert_eq!(codes(&rejected), ["key_hash_invalid", "key_id_twice", "key_id_invalid"]);
    assert_eq!((rejected.document(), rejected.stage()), (Document::KeySet, Stage::Schema));
    assert_eq!(ask(two).await, "200");
    world.until_ready(|_, value| value["degraded"].to_string().contains("keys: generation 3")).await;
}

#[tokio::test]
async fn unsigned_key_sets_are_refused_where_keys_are_trusted() {
    let one = Signer::generate().unwrap();
    let fleet = Fleet::trusting(trust(&[&one], 1)).await;
    let world = fleet.gateway().await;
    let secret = "kt_gk_one_0123456789abcdefghij";
    let keys = key_set(1, &[("one", secret)]);
    fleet.plane.assign_keys(seal(&keys, &[]));
    let (rejected, _) = fleet.plane.rejected(0).await;
    assert_eq!((codes(&rejected), rejected.document()), (vec!["signature_missing"], Document::KeySet));
    fleet.plane.assign_keys(seal(&keys, std::slice::from_ref(&one)));
    fleet.plane.applied(Document::KeySet, 1).await;
    let answer = world.post_as(secret, "/v1/chat/completions", &chat(LLAMA, "hello")).await;
    assert_eq!(answer.error(), "503 no_pack");
}

#[tokio::test]
async fn credentials_of_pushed_targets_are_watched() {
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    fleet.publish(1, &pack(1), &[]).await;
    std::fs::write(world.path("secrets/token"), "").unwrap();
    world.until_ready(|_, value| value["degraded"].to_string().contains("credential of target")).await;
    std::fs::write(world.path("secrets/token"), world.fake.token()).unwrap();
    world.until_ready(|_, value| value["status"] == "ok").await;
}

#[tokio::test]
async fn a_token_is_read_again_at_each_connection_and_never_shown() {
    let fleet = Fleet::new().await;
    std::fs::write(fleet.dir.path().join("token"), "kt_gw_wrong_0123456789").unwrap();
    let settings = ControlSettings { url: fleet.plane.url(), ..fleet.settings() };
    let world = plan(settings).start().await;
    let fault = async {
        loop {
            let config = world.get(world.admin("/keeptrusts/config")).await;
            if !config.json()["control_plane"]["fault"].is_null() {
                return config.text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let fault = within(fault).await;
    assert!(fault.contains("token_unknown") && !fault.contains("kt_gw_wrong"), "{fault}");
}

#[tokio::test]
async fn a_policy_that_is_older_than_allowed_is_not_enforced_any_more() {
    let fleet = Fleet::new().await;
    let world = fleet.plan().start().await;
    fleet.publish(1, &pack(1), &[]).await;
    within(world.stop()).await;
    let (dir, settings) = fleet.without_plane();
    let settings = ControlSettings { max_policy_age: Some(Duration::from_hours(1)), ..settings };
    let world = plan(settings.clone()).start().await;
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
    within(world.stop()).await;
    // As if the last word had come two hours ago.
    let long_ago = (jiff::Timestamp::now() - Duration::from_hours(2)).to_string();
    std::fs::write(dir.path().join("state/contact"), &long_ago).unwrap();
    let kept = dir.path().join("state/assignment");
    let saved = rewritten(&std::fs::read_to_string(&kept).unwrap(), &long_ago);
    std::fs::write(&kept, saved).unwrap();
    let world = plan(settings).start().await;
    let answer = world.chat(LLAMA, "say: hello").await;
    assert_eq!((answer.error().as_str(), answer.header("retry-after")), ("503 policy_too_old", Some("5")));
    world
        .until_ready(|status, value| {
            status == 503 && value["degraded"].to_string().contains("older than allowed")
        })
        .await;
}

/// A kept statement with another moment of being saved, and the checksum for it.
fn rewritten(kept: &str, saved_at: &str) -> String {
    let (_, json) = kept.split_once('\n').unwrap();
    let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
    value["saved_at"] = saved_at.into();
    // In the order of the format; values of JSON alone are sorted by key.
    let json = serde_json::to_string(&value).unwrap();
    format!("{}\n{json}", Digest::of(json.as_bytes()))
}

#[tokio::test]
async fn a_control_plane_behind_tls_is_trusted_by_its_authority_alone() {
    let fleet = Fleet::new().await;
    let authority = Authority::new().unwrap();
    let front = TlsFront::start_speaking(&authority, "localhost", fleet.plane.addr, &["h2"]).await.unwrap();
    let ca = fleet.dir.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let url = format!("https://localhost:{}", front.addr.port());
    let untrusting = ControlSettings { url: url.clone(), ..fleet.settings() };
    let world = plan(untrusting).start().await;
    let broken = async {
        loop {
            let config = world.get(world.admin("/keeptrusts/config")).await.json();
            if let Some(fault) = config["control_plane"]["fault"].as_str() {
                return fault.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let fault = within(broken).await;
    assert!(fault.contains("certificate"), "{fault}");
    assert_eq!(fleet.plane.streams(), 0);
    within(world.stop()).await;
    let trusting = ControlSettings { url, ca_file: Some(ca), ..fleet.settings() };
    let world = plan(trusting).start().await;
    fleet.publish(1, &pack(1), &[]).await;
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
}

#[tokio::test]
async fn clear_text_beyond_the_loopback_and_a_second_gateway_on_one_state_are_refused() {
    let fleet = Fleet::new().await;
    let far = ControlSettings { url: "http://control.example:7443".to_owned(), ..fleet.settings() };
    let error = plan(far).try_start().await.err().unwrap();
    assert!(matches!(error, StartError::Control(ControlError::Address(_))), "{error}");
    let _world = fleet.gateway().await;
    let error = fleet.plan().try_start().await.err().unwrap();
    assert!(error.to_string().contains("in use by another gateway"), "{error}");
}

/// Passes bytes on to the control plane until it is frozen; from then on it takes none and gives none, and its
/// connections stay open: what a host that hangs looks like from outside.
struct Freezer {
    addr: std::net::SocketAddr,
    frozen: watch::Sender<bool>,
    accepted: watch::Receiver<usize>,
    _serving: JoinSet<()>,
}

impl Freezer {
    async fn start(backend: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (count, accepted) = watch::channel(0);
        let frozen = watch::Sender::new(false);
        let state = frozen.clone();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut front, _) = listener.accept().await.unwrap();
                count.send_modify(|count| *count += 1);
                let mut state = state.subscribe();
                connections.spawn(async move {
                    let mut back = TcpStream::connect(backend).await.unwrap();
                    tokio::select! {
                        biased;
                        () = async { drop(state.wait_for(|frozen| *frozen).await) } => std::future::pending::<()>().await,
                        _ = copy_bidirectional(&mut front, &mut back) => {}
                    }
                });
            }
        });
        Self { addr, frozen, accepted, _serving: serving }
    }
}

#[tokio::test]
async fn frozen_server_is_noticed_within_10s() {
    // The server speaks of a silence that is far too long; the gateway has its own limit.
    let plane =
        FakeControlPlane::start_with(Duration::from_millis(500), Duration::from_mins(10)).await.unwrap();
    let mut freezer = Freezer::start(plane.addr).await;
    let fleet = Fleet { plane, ..Fleet::new().await };
    let settings = ControlSettings { url: format!("http://{}", freezer.addr), ..fleet.settings() };
    let world = plan(settings).start().await;
    fleet.publish(1, &pack(1), &[]).await;
    assert_eq!(*freezer.accepted.borrow_and_update(), 1);
    let began = Instant::now();
    freezer.frozen.send_replace(true);
    tokio::time::timeout(Duration::from_secs(15), freezer.accepted.changed())
        .await
        .expect("not noticed")
        .unwrap();
    let noticed = began.elapsed();
    assert!(noticed < Duration::from_secs(10), "{noticed:?}");
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
    // It thaws: a fresh connection carries on.
    freezer.frozen.send_replace(false);
    fleet.publish(2, &pack(2), &[]).await;
    assert_eq!(world.chat(LLAMA, "say: hello").await.header("x-keeptrusts-pack"), Some("test@1.0.2"));
}

#[tokio::test]
async fn a_refusal_is_not_hammered_at() {
    let fleet = Fleet::new().await;
    fleet.plane.refuse(Some(v1::Refused {
        why: v1::refused::Why::Busy.into(),
        message: "busy".to_owned(),
        retry_after_ms: 2000,
    }));
    let began = Instant::now();
    let _world = fleet.gateway().await;
    fleet.plane.hello(2).await;
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_kept_is_nobody_elses_business() {
    use std::os::unix::fs::PermissionsExt as _;

    let fleet = Fleet::new().await;
    let _world = fleet.gateway().await;
    fleet.publish(1, &pack(1), &[]).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fleet.dir.path().join("state")), 0o700);
    for entry in std::fs::read_dir(fleet.state("bodies")).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}
