//! Logging in, and what the token is never seen in.

use crate::{
    double::{Double, Fault, TOKEN},
    kt::{Person, mode, pack},
};
use kt_proto::refusal::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_checked_stored_for_the_owner_alone_and_forgotten() {
    let double = Double::start().await;
    let person = Person::stranger(&double);
    let nothing = person.kt(&["auth", "whoami"]);
    assert_eq!(nothing.code, 2);
    insta::assert_snapshot!("not_logged_in", nothing.shown());
    let login = person.kt_with(&["auth", "login", "--server", &person.server, "--token-stdin"], TOKEN);
    insta::assert_snapshot!("login", login.shown());
    let file = person.file(".config/kt/config.yaml");
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    insta::assert_snapshot!("whoami_json", person.kt(&["auth", "whoami", "-o", "json"]).shown());
    insta::assert_snapshot!("contexts", person.kt(&["auth", "contexts"]).shown());
    insta::assert_snapshot!("logout", person.kt(&["auth", "logout"]).shown());
    assert!(!std::fs::read_to_string(&file).unwrap().contains(TOKEN));
    assert_eq!(person.kt(&["auth", "whoami"]).code, 2);
    assert_eq!(person.kt(&["auth", "logout"]).code, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_does_not_open_is_not_stored() {
    let double = Double::start().await;
    let person = Person::stranger(&double);
    let login = ["auth", "login", "--server", &person.server, "--token-stdin"];
    let wrong = person.kt_with(&login, "kt_at_somethingelse\n");
    assert_eq!(wrong.code, 1);
    assert!(!wrong.err.contains("somethingelse"), "{}", wrong.err);
    insta::assert_snapshot!("login_wrong", wrong.shown());
    let gateway = person.kt_with(&login, "kt_gw_ofagateway\n");
    assert_eq!(gateway.code, 2);
    assert!(!gateway.err.contains("ofagateway"), "{}", gateway.err);
    assert!(!person.file(".config/kt/config.yaml").try_exists().unwrap());
    let no_terminal = person.kt(&["auth", "login", "--server", &person.server]);
    insta::assert_snapshot!("login_no_terminal", no_terminal.shown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contexts_are_chosen_by_name_and_a_stored_token_goes_nowhere_else() {
    let (one, two) = (Double::start().await, Double::start().await);
    let person = Person::stranger(&one);
    let other = format!("http://{}", two.addr);
    for (name, server) in [("one", &person.server), ("two", &other)] {
        let login = ["auth", "login", "--server", server, "--context", name, "--token-stdin"];
        assert_eq!(person.kt_with(&login, TOKEN).code, 0);
    }
    person.ok(&["fleet", "list"]);
    assert_eq!(
        (one.ids("list_fleets").len(), two.ids("list_fleets").len()),
        (0, 1),
        "the last one is current"
    );
    person.ok(&["fleet", "list", "--context", "one"]);
    person.ok(&["auth", "use", "one"]);
    person.ok(&["fleet", "list"]);
    person.ok(&["fleet", "list", "--server", &other.to_uppercase().replace("HTTP", "http")]);
    assert_eq!((one.ids("list_fleets").len(), two.ids("list_fleets").len()), (2, 2));
    // A third server gets none of the two tokens.
    let third = Double::start().await;
    let refused = person.kt(&["fleet", "list", "--server", &format!("http://{}", third.addr)]);
    assert_eq!((refused.code, third.state().calls.len()), (2, 0));
    assert_eq!(person.kt(&["fleet", "list", "--context", "one", "--server", &other]).code, 2);
    assert_eq!(person.kt(&["fleet", "list", "--context", "three"]).code, 2);
    assert_eq!(person.kt(&["fleet", "list", "--server", "http://kt.example.com"]).code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_contexts_that_others_can_read_or_that_is_none_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let double = Double::start().await;
    let person = Person::stranger(&double);
    let login = ["auth", "login", "--server", &person.server, "--token-stdin"];
    assert_eq!(person.kt_with(&login, TOKEN).code, 0);
    let file = person.file(".config/kt/config.yaml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = person.kt(&["auth", "whoami"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("chmod 600"), "{}", refused.err);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, format!("contexts: [token: {TOKEN}")).unwrap();
    // What is wrong with it is said without showing it: `kt` checks that of all output here.
    assert_eq!(person.kt(&["auth", "whoami"]).code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_skips_login_and_the_token_is_in_no_argument() {
    let double = Double::start().await;
    let person = Person::with_token(&double);
    person.ok(&["auth", "whoami"]);
    assert!(!person.file(".config").try_exists().unwrap(), "nothing is stored");
    // There is no option for a token: neither spelled so nor as an argument.
    for arguments in [["auth", "login", "--token", TOKEN], ["fleet", "list", "--token", TOKEN]] {
        let mut command = person.command(&arguments);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_keys_are_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let double = Double::start().await;
    let person = Person::with_token(&double);
    insta::assert_snapshot!("key_generate", person.kt(&["key", "generate", "release.key"]).shown());
    let (secret, public) = (person.file("release.key"), person.file("release.key.pub"));
    assert_eq!(mode(&secret), 0o600);
    let seed = std::fs::read_to_string(&secret).unwrap();
    assert_eq!((seed.trim().len(), std::fs::read_to_string(&public).unwrap().trim().len()), (64, 64));
    let again = person.kt(&["key", "generate", "release.key"]);
    assert_eq!(again.code, 1);
    std::fs::remove_file(&public).unwrap();
    assert_eq!(person.kt(&["key", "generate", "release.key"]).code, 1, "a secret is not lost either");
    assert!(!public.try_exists().unwrap(), "and no half of another key is left");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), seed);
    let shown = person.kt(&["key", "show", "release.key", "-o", "json"]);
    assert_eq!(shown.code, 0);
    assert!(!shown.out.contains(seed.trim()));
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = person.kt(&["key", "show", "release.key"]);
    assert_eq!(refused.code, 2);
    assert!(!format!("{refused:?}").contains(seed.trim()));
    person.write("one.yaml", &pack("1.0.0", ""));
    assert_eq!(person.kt(&["pack", "publish", "one.yaml", "--sign-key", "release.key"]).code, 2);
    assert!(double.state().calls.is_empty(), "nothing is sent before the keys are read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_looks_at_the_control_plane_too() {
    let double = Double::start().await;
    let person = Person::with_token(&double);
    let checks = |person: &Person| -> Vec<serde_json::Value> {
        let ended = person.kt(&["doctor", "-o", "json"]);
        let all: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        let is_meant = |check: &&serde_json::Value| {
            ["control plane", "token", "clock"].iter().any(|name| check["check"] == *name)
        };
        all.as_array().unwrap().iter().filter(is_meant).cloned().collect()
    };
    let good = checks(&person);
    assert_eq!(good.len(), 3, "{good:?}");
    assert!(good.iter().all(|check| check["status"] == "ok"), "{good:?}");
    double.fail("who_am_i", Fault::Refuse(Code::TokenExpired));
    let expired = checks(&person);
    assert_eq!(
        (&expired[0]["status"], &expired[1]["status"]),
        (&"ok".into(), &"failed".into()),
        "{expired:?}"
    );
    let nobody = Person::stranger(&double);
    assert!(checks(&nobody).is_empty(), "without a context there is nothing to look at");
}
