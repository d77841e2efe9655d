//! What each command shows, as a table and as JSON.

use kt_proto::v1::{self, gateway_status::State};

use crate::{
    double::{Double, MAX_EXCEPTIONS, gateway},
    kt::{Ended, Person, RULE, mode, pack, redact},
};

macro_rules! shows {
    ($name:literal, $ended:expr) => {
        insta::assert_snapshot!($name, $ended.shown())
    };
}

/// A fleet that enforces 1.0.0, with one gateway for each letter of `states`.
async fn enforcing() -> (Double, Person) {
    let double = Double::start().await;
    let person = Person::with_token(&double);
    person.write("one.yaml", &pack("1.0.0", ""));
    person.write("two.yaml", &pack("1.1.0", RULE));
    person.ok(&["pack", "publish", "one.yaml", "--message", "the first"]);
    (double, person)
}

fn json(ended: &Ended) -> serde_json::Value {
    serde_json::from_str(&ended.out).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_is_shown_with_its_generation_and_the_same_again_changes_nothing() {
    let double = Double::start().await;
    let person = Person::with_token(&double);
    person.write("one.yaml", &pack("1.0.0", ""));
    shows!("publish", person.kt(&["pack", "publish", "one.yaml", "--message", "the first"]));
    shows!("publish_again", person.kt(&["pack", "publish", "one.yaml"]));
    person.write("two.yaml", &pack("1.1.0", RULE));
    shows!("publish_json", person.kt(&["pack", "publish", "two.yaml", "-o", "json"]));
    assert_eq!(double.ids("assign").len(), 2, "the same version again is not assigned again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let (double, person) = enforcing().await;
    shows!("dry_run", person.kt(&["pack", "publish", "two.yaml", "--dry-run"]));
    shows!("dry_run_json", person.kt(&["pack", "publish", "two.yaml", "--dry-run", "-o", "json"]));
    shows!("dry_run_same", person.kt(&["pack", "publish", "one.yaml", "--dry-run"]));
    let packs = double.state().packs.len();
    assert_eq!((packs, double.ids("assign").len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_pack_shows_what_lint_shows() {
    let double = Double::start().await;
    let person = Person::with_token(&double);
    person.write("bad.yaml", &pack("1.0.0", "").replace("action: block", "action: blok"));
    let refused = person.kt(&["pack", "publish", "bad.yaml"]);
    let linted = person.kt(&["policy", "lint", "bad.yaml"]);
    assert_eq!((refused.code, &refused.err), (1, &linted.err));
    assert_eq!(refused.out, "");
    shows!("publish_refused", refused);
    let refused = person.kt(&["pack", "publish", "bad.yaml", "-o", "json"]);
    assert_eq!(refused.code, 1);
    assert_eq!(json(&refused)["findings"][0]["severity"], "error");
    assert_eq!(person.kt(&["pack", "publish", "bad.yaml", "--dry-run"]).code, 1);
    assert!(double.state().packs.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_ends_when_all_have_applied() {
    let (double, person) = enforcing().await;
    double.roll([
        vec![gateway("a", State::Pending, 1), gateway("bb", State::Pending, 1)],
        vec![gateway("a", State::Applied, 2), gateway("bb", State::Pending, 1)],
        vec![
            gateway("a", State::Applied, 2),
            gateway("bb", State::Applied, 2),
            gateway("ccc", State::Disconnected, 1),
        ],
    ]);
    shows!("wait_applied", person.kt(&["pack", "publish", "two.yaml", "--wait"]));
}

fn refusal() -> v1::gateway_status::Refusal {
    v1::gateway_status::Refusal {
        generation: 2,
        stage: v1::Stage::Bind.into(),
        reasons: vec![
            v1::Reason {
                code: "KT0501".to_owned(),
                message: "`${DATABRICKS_HOST}` is not set".to_owned(),
                path: "providers.targets[0].base_url".to_owned(),
                line: 15,
                column: 17,
                help: Some("set it where the gateway runs".to_owned()),
            },
            v1::Reason {
                code: "KT0503".to_owned(),
                message: "bad \u{1b}[31mhost".to_owned(),
                ..Default::default()
            },
        ],
        ..Default::default()
    }
}

fn refusing(name: &str) -> v1::GatewayStatus {
    v1::GatewayStatus { refusal: Some(refusal()), ..gateway(name, State::Rejected, 1) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_ends_with_the_refusals_by_gateway_stage_rule_and_line() {
    let (double, person) = enforcing().await;
    double.roll([vec![gateway("a", State::Applied, 2), refusing("bb")]]);
    shows!("wait_refused", person.kt(&["pack", "publish", "two.yaml", "--wait"]));
    let ended = person.kt(&["pack", "publish", "two.yaml", "--wait", "-o", "json"]);
    assert_eq!(ended.code, 1);
    let rollout = &json(&ended)["rollout"];
    assert_eq!(
        (&rollout["end"], &rollout["gateways"][0]["refusal"]["stage"]),
        (&"rejected".into(), &"bind".into())
    );
    insta::assert_snapshot!("wait_refused_json", redact(&ended.out));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_gives_up_and_names_who_is_missing() {
    let (double, person) = enforcing().await;
    double.roll([vec![
        gateway("a", State::Applied, 2),
        gateway("bb", State::Pending, 1),
        gateway("ccc", State::Silent, 1),
    ]]);
    shows!("wait_late", person.kt(&["pack", "publish", "two.yaml", "--wait", "--timeout", "1s"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_nobody_is_said() {
    let (double, person) = enforcing().await;
    shows!("wait_nobody", person.kt(&["pack", "publish", "two.yaml", "--wait"]));
    double.roll([vec![gateway("a", State::Disconnected, 1)]]);
    shows!("wait_nobody_now", person.kt(&["pack", "publish", "two.yaml", "--wait"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_listed_shown_and_downloaded_byte_for_byte() {
    let (_double, person) = enforcing().await;
    person.ok(&["pack", "publish", "two.yaml"]);
    shows!("versions", person.kt(&["pack", "versions", "demo"]));
    shows!("versions_json", person.kt(&["pack", "versions", "--limit", "1", "-o", "json"]));
    shows!("show", person.kt(&["pack", "show", "demo@1.0.0"]));
    shows!("show_json", person.kt(&["pack", "show", "demo", "-o", "json"]));
    shows!("show_unknown", person.kt(&["pack", "show", "demo@9.9.9"]));
    assert_eq!(person.ok(&["pack", "download", "demo@1.1.0"]), pack("1.1.0", RULE));
    person.ok(&["pack", "download", "demo@1.0.0", "--out", "got.yaml"]);
    assert_eq!(std::fs::read_to_string(person.file("got.yaml")).unwrap(), pack("1.0.0", ""));
    assert_eq!(
        person.kt(&["pack", "download", "demo@1.0.0", "--out", "got.yaml"]).code,
        1,
        "never overwritten"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difference_is_shown_by_rule_and_then_by_line() {
    let (_double, person) = enforcing().await;
    let stricter = pack("1.1.0", RULE)
        .replace("chain: [dlp-filter, audit-logger]", "chain: [prompt-injection, dlp-filter, audit-logger]")
        .replace("id: llama", "id: llama-70b")
        .replace("action: block", "action: redact");
    person.write("two.yaml", &stricter);
    shows!("diff", person.kt(&["pack", "diff", "default:head", "two.yaml"]));
    shows!("diff_text", person.kt(&["pack", "diff", "demo@1.0.0", "two.yaml", "--text"]));
    shows!("diff_json", person.kt(&["pack", "diff", "default:1", "two.yaml", "-o", "json"]));
    shows!("diff_same", person.kt(&["pack", "diff", "one.yaml", "demo@1.0.0"]));
    person.write("comment.yaml", &format!("# reviewed\n{}", pack("1.0.0", "")));
    shows!("diff_comment", person.kt(&["pack", "diff", "one.yaml", "comment.yaml"]));
    assert_eq!(person.kt(&["pack", "diff", "one.yaml", "neither"]).code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_names_an_older_version_as_a_new_generation() {
    let (double, person) = enforcing().await;
    shows!("rollback_nothing", person.kt(&["pack", "rollback"]));
    person.ok(&["pack", "publish", "two.yaml"]);
    shows!("rollback", person.kt(&["pack", "rollback", "--message", "false positives"]));
    shows!("rollback_twice", person.kt(&["pack", "rollback"]));
    shows!("rollback_to", person.kt(&["pack", "rollback", "--to", "1.1.0", "-o", "json"]));
    shows!("rollback_to_generation", person.kt(&["pack", "rollback", "--to-generation", "1"]));
    assert_eq!(person.kt(&["pack", "rollback", "--to-generation", "99"]).code, 1);
    assert_eq!(person.kt(&["pack", "rollback", "--to", "1.0.0"]).code, 0, "it is there already");
    assert_eq!(double.ids("assign").len(), 5);
    shows!("history", person.kt(&["fleet", "history"]));
    shows!("history_json", person.kt(&["fleet", "history", "--limit", "1", "-o", "json"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fleets_are_made_listed_and_their_state_told() {
    let (double, person) = enforcing().await;
    shows!("fleet_create", person.kt(&["fleet", "create", "eu", "--description", "Frankfurt"]));
    shows!("fleet_create_taken", person.kt(&["fleet", "create", "eu"]));
    shows!("fleet_list", person.kt(&["fleet", "list"]));
    shows!("fleet_list_json", person.kt(&["fleet", "list", "-o", "json"]));
    shows!("fleet_status_nobody", person.kt(&["fleet", "status"]));
    double.roll([vec![
        gateway("a", State::Applied, 1),
        refusing("bb"),
        gateway("ccc", State::Disconnected, 1),
    ]]);
    shows!("fleet_status", person.kt(&["fleet", "status"]));
    shows!("fleet_status_json", person.kt(&["fleet", "status", "-o", "json"]));
    shows!("gateways", person.kt(&["gateway", "list"]));
    shows!("gateways_json", person.kt(&["gateway", "list", "--fleet", "default", "-o", "json"]));
    shows!("fleet_unknown", person.kt(&["fleet", "recover", "nowhere"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_fleet_is_a_line_a_change_and_a_document_a_change() {
    use std::io::BufRead as _;
    let (double, person) = enforcing().await;
    for (format, marks) in
        [("table", ["1 of 2 gateways", "2 of 2 gateways"]), ("json", ["\"applied\":1", "\"applied\":2"])]
    {
        double.roll([
            vec![gateway("a", State::Applied, 1), refusing("bb")],
            vec![gateway("a", State::Applied, 1), gateway("bb", State::Applied, 1)],
        ]);
        let mut command = person.command(&["fleet", "status", "--watch", "-o", format]);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        for mark in marks {
            let line = lines.next().unwrap().unwrap();
            assert!(line.contains(mark), "{mark}: {line}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_diverged_fleet_takes_nothing_until_it_is_recovered() {
    let (double, person) = enforcing().await;
    shows!("recover_not_diverged", person.kt(&["fleet", "recover"]));
    let divergence = v1::Divergence {
        seen_generation: 41,
        gateway_id: "01900000-0000-7000-8000-000000000001".to_owned(),
        seen_us: 1,
        ..v1::Divergence::default()
    };
    double.state().fleets.get_mut("default").unwrap().divergence = Some(divergence);
    shows!("diverged_publish", person.kt(&["pack", "publish", "two.yaml"]));
    shows!("diverged_status", person.kt(&["fleet", "status"]));
    shows!("recover", person.kt(&["fleet", "recover", "--message", "restored"]));
    assert_eq!(person.kt(&["fleet", "status"]).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_diverged_key_set_takes_no_revocation_until_it_is_recovered_above_what_was_seen() {
    let (double, person) = enforcing().await;
    let divergence = |seen_generation, is_conflict| v1::Divergence {
        seen_generation,
        gateway_id: "01900000-0000-7000-8000-000000000001".to_owned(),
        seen_us: 1,
        is_conflict,
        keys: None,
    };
    let set = |seen| {
        double.state().fleets.get_mut("default").unwrap().key_set_divergence = Some(divergence(seen, true));
    };
    set(9);
    shows!("keys_diverged_and_none_stored", person.kt(&["fleet", "recover"]));
    assert_eq!(double.ids("put_key_set").len(), 0);
    assert_eq!(person.kt(&["fleet", "recover", "--without-keys"]).code, 0);
    assert_eq!(double.state().fleets["default"].key_set_generation, 10);

    person.ok(&["gateway-key", "create", "--fleet", "default", "--user", "jane@example.com"]);
    let listed = json(&person.kt(&["gateway-key", "list", "--fleet", "default", "-o", "json"]));
    let id = listed[0]["id"].as_str().unwrap();
    set(41);
    shows!("keys_diverged_revoke", person.kt(&["gateway-key", "revoke", id, "--fleet", "default"]));
    shows!("keys_diverged_status", person.kt(&["fleet", "status"]));
    assert!(person.kt(&["fleet", "list"]).out.contains("diverged"));
    shows!("keys_recover", person.kt(&["fleet", "recover", "--message", "restored"]));
    // A gateway has said what it held; one of the keys was revoked once more meanwhile.
    for (name, returning, missing) in
        [("keys_return", &[id, "gk_gone"][..], &["gk_new"][..]), ("keys_are_as_they_were", &[], &[])]
    {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let keys = v1::KeyChanges { returning: ids(returning), missing: ids(missing), is_cut: false };
        double.state().fleets.get_mut("default").unwrap().key_set_divergence =
            Some(v1::Divergence { keys: Some(keys), ..divergence(41, false) });
        insta::assert_snapshot!(name, person.kt(&["fleet", "recover"]).shown());
    }
    assert_eq!(double.state().fleets["default"].key_set_generation, 44);
    assert_eq!(person.kt(&["gateway-key", "revoke", id, "--fleet", "default"]).code, 0);

    // Both at once, and one id for each.
    set(50);
    double.state().fleets.get_mut("default").unwrap().divergence = Some(divergence(7, false));
    shows!("recover_both", person.kt(&["fleet", "recover", "--without-keys"]));
    assert_eq!(person.kt(&["fleet", "status"]).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_keys_waits_for_the_gateways() {
    let (double, person) = enforcing().await;
    let keys = |name: &str, state: State, generation: u64| v1::GatewayStatus {
        key_set_generation: generation,
        ..gateway(name, state, 1)
    };
    // The pack that it refuses is none of the keys' business.
    let refuses_the_pack = v1::GatewayStatus { refusal: Some(refusal()), ..keys("bb", State::Rejected, 1) };
    double.roll([vec![keys("a", State::Pending, 0), refuses_the_pack.clone()], vec![refuses_the_pack]]);
    shows!("key_create_wait", person.kt(&["gateway-key", "create", "--fleet", "default", "--wait"]));
    let of_keys = v1::gateway_status::Refusal {
        is_key_set: true,
        stage: v1::Stage::Signature.into(),
        reasons: vec![v1::Reason {
            code: "signature_missing".to_owned(),
            message: "the key set is not signed".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    double.roll([vec![v1::GatewayStatus { refusal: Some(of_keys), ..keys("bb", State::Rejected, 1) }]]);
    let listed = json(&person.kt(&["gateway-key", "list", "--fleet", "default", "-o", "json"]));
    let id = listed[0]["id"].as_str().unwrap();
    shows!("key_rotate_wait", person.kt(&["gateway-key", "rotate", id, "--fleet", "default", "--wait"]));
    double.roll([vec![keys("ccc", State::Silent, 1)]]);
    shows!(
        "key_revoke_wait",
        person.kt(&["gateway-key", "revoke", id, "--fleet", "default", "--wait", "--timeout", "1s"])
    );
    let file = person.kt(&["gateway-key", "create", "--keys-file", "keys.json", "--user", "a", "--wait"]);
    assert_eq!(file.code, 2, "{}", file.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_exceptions_than_are_listed_are_counted_and_programs_get_them_all() {
    let (double, person) = enforcing().await;
    let many: Vec<_> = (0..MAX_EXCEPTIONS + 7)
        .map(|number| v1::GatewayStatus {
            gateway_id: format!("01900000-0000-7000-8000-{number:012}"),
            ..gateway(&format!("gw-{number:03}"), State::Pending, 1)
        })
        .collect();
    double.roll([many]);
    let shown = person.kt(&["fleet", "status"]);
    assert!(
        shown.out.ends_with("and 7 more: `kt fleet status default -o json` lists all\n"),
        "{}",
        shown.out
    );
    assert_eq!(shown.out.matches("gw-").count(), MAX_EXCEPTIONS);
    let status = json(&person.kt(&["fleet", "status", "-o", "json"]));
    assert_eq!(status["exceptions"].as_array().unwrap().len(), MAX_EXCEPTIONS + 7);
    assert_eq!(status["more_exceptions"], 0);
    let late = person.kt(&["pack", "publish", "two.yaml", "--wait", "--timeout", "1s", "-o", "json"]);
    assert_eq!(json(&late)["rollout"]["gateways"].as_array().unwrap().len(), MAX_EXCEPTIONS + 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_people_and_gateways_are_shown_once() {
    let double = Double::start().await;
    let person = Person::with_token(&double);
    shows!(
        "token_create",
        person.kt(&["auth", "token", "create", "--name", "ci", "--role", "publisher", "--role", "viewer"])
    );
    shows!(
        "token_create_json",
        person.kt(&[
            "auth",
            "token",
            "create",
            "--name",
            "joe",
            "--role",
            "auditor",
            "--expires",
            "90d",
            "-o",
            "json"
        ])
    );
    shows!(
        "gateway_token",
        person.kt(&["gateway", "token", "create", "--fleet", "default", "--out", "token"])
    );
    assert_eq!(mode(&person.file("token")), 0o600);
    assert_eq!(std::fs::read_to_string(person.file("token")).unwrap(), "kt_gw_secretsecretsecret3\n");
    assert_eq!(person.kt(&["gateway", "token", "create", "--fleet", "default", "--out", "token"]).code, 2);
    assert_eq!(double.state().tokens.len(), 3, "no token that nobody gets to see");
    assert_eq!(person.kt(&["auth", "token", "create", "--name", "x"]).code, 2, "without a role");
    shows!("token_list", person.kt(&["auth", "token", "list"]));
    shows!("gateway_token_list", person.kt(&["gateway", "token", "list", "--fleet", "default"]));
    shows!("token_revoke", person.kt(&["auth", "token", "revoke", "at_1", "--message", "left"]));
    shows!("token_list_all_json", person.kt(&["auth", "token", "list", "--all", "-o", "json"]));
    shows!("token_revoke_unknown", person.kt(&["gateway", "token", "revoke", "gw_99"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_keys_of_a_fleet_are_made_rotated_and_revoked() {
    let double = Double::start().await;
    let person = Person::with_token(&double);
    let create = [
        "gateway-key",
        "create",
        "--fleet",
        "default",
        "--user",
        "jane@example.com",
        "--team",
        "data",
        "--cost-center",
        "4711",
        "--role",
        "analyst",
    ];
    shows!("key_create", person.kt(&create));
    let made =
        person.kt(&["gateway-key", "create", "--fleet", "default", "--expires-in-days", "30", "-o", "json"]);
    insta::assert_snapshot!("key_create_json", redact(&made.out));
    let listed = person.kt(&["gateway-key", "list", "--fleet", "default", "-o", "json"]);
    let id = json(&listed)[0]["id"].as_str().unwrap().to_owned();
    double.state().last_used.insert(id.clone(), 1_764_000_000_000_000);
    shows!("key_rotate", person.kt(&["gateway-key", "rotate", &id, "--fleet", "default", "--overlap", "7d"]));
    assert_eq!(person.kt(&["gateway-key", "rotate", &id, "--fleet", "default"]).code, 1, "not twice");
    shows!("key_list", person.kt(&["gateway-key", "list", "--fleet", "default"]));
    let listed = person.kt(&["gateway-key", "list", "--fleet", "default", "-o", "json"]);
    insta::assert_snapshot!("key_list_json", redact(&listed.out));
    let keys = json(&listed);
    assert_eq!((&keys[2]["rotated_from"], &keys[2]["roles"][0]), (&id.as_str().into(), &"analyst".into()));
    assert!(keys[0]["expires"].is_string(), "the older one ends");
    shows!("key_revoke", person.kt(&["gateway-key", "revoke", &id, "--fleet", "default"]));
    assert_eq!(person.kt(&["gateway-key", "revoke", &id, "--fleet", "default"]).code, 1);
    let both = person.kt(&["gateway-key", "list", "--fleet", "default", "--keys-file", "keys.json"]);
    assert_eq!(both.code, 2);
    assert_eq!(person.kt(&["gateway-key", "list"]).code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_of_changes_is_read_over_all_its_pages() {
    let double = Double::start().await;
    let person = Person::with_token(&double);
    double.state().changes = (0..5)
        .map(|number| v1::Change {
            id: format!("01900000-0000-7000-8000-00000000000{number}"),
            at_us: 1_764_000_000_000_000,
            actor: "jane (at_jane)".to_owned(),
            action: "fleet.assign".to_owned(),
            subject: format!("default/{number}"),
            reason: if number == 3 { "evil \u{202e}txt\nsecond line".to_owned() } else { String::new() },
        })
        .collect();
    shows!("changes", person.kt(&["changes", "list"]));
    shows!("changes_json", person.kt(&["changes", "list", "--limit", "3", "-o", "json"]));
}
