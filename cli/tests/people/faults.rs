//! What goes wrong on the way, and what is done about it.

use kt_proto::{
    refusal::Code,
    signed::{self, Trust},
    v1::{self, AssignmentStatement},
};

use crate::{
    double::{Double, Fault},
    kt::{Person, RULE, pack},
};

async fn enforcing() -> (Double, Person) {
    let double = Double::start().await;
    let person = Person::with_token(&double);
    person.write("one.yaml", &pack("1.0.0", ""));
    person.write("two.yaml", &pack("1.1.0", RULE));
    person.ok(&["pack", "publish", "one.yaml"]);
    (double, person)
}

fn head(double: &Double) -> (v1::SignedStatement, AssignmentStatement) {
    let signed = double.state().fleets["default"].head.clone().unwrap().assignment.unwrap();
    let statement = signed::read(&signed).unwrap();
    (signed, statement)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_whose_outcome_is_unknown_is_asked_again_with_the_same_id_and_done_once() {
    let (double, person) = enforcing().await;
    double.fail("upload_pack", Fault::Forget);
    double.fail("assign", Fault::Forget);
    let ended = person.kt(&["pack", "publish", "two.yaml"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "published demo@1.1.0 to `default` as generation 2\n"));
    let (uploads, assigns) = (double.ids("upload_pack"), double.ids("assign"));
    assert_eq!((uploads.len(), assigns.len()), (3, 3), "once before, and twice now");
    assert!(uploads[1..].iter().chain(&assigns[1..]).all(|id| *id == uploads[1]), "{uploads:?} {assigns:?}");
    assert_eq!(double.state().assignments.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_whose_making_is_unknown_is_asked_for_again_with_the_same_id_and_made_once() {
    let (double, person) = enforcing().await;
    double.fail("create_fleet", Fault::Forget);
    let ended = person.kt(&["fleet", "create", "eu"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let ids = double.ids("create_fleet");
    assert!(ids.len() == 2 && ids[0] == ids[1] && !ids[0].is_empty(), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_is_overtaken_is_signed_again_for_the_new_head() {
    let (double, person) = enforcing().await;
    person.ok(&["key", "generate", "release.key"]);
    double.fail("assign", Fault::Overtake("1.0.0"));
    person.ok(&["pack", "publish", "two.yaml", "--sign-key", "release.key"]);
    let (signed, statement) = head(&double);
    assert_eq!((statement.generation, statement.packs[0].version.as_str()), (3, "1.1.0"));
    let key = std::fs::read_to_string(person.file("release.key.pub")).unwrap().trim().parse().unwrap();
    let trust = Trust { keys: vec![key], threshold: 1 };
    assert_eq!(trust.open::<AssignmentStatement>(&signed).unwrap(), statement);
    // With a generation that is expected, it is not.
    person.write("three.yaml", &pack("1.2.0", ""));
    double.fail("assign", Fault::Overtake("1.0.0"));
    let refused = person.kt(&["pack", "publish", "three.yaml", "--expect-generation", "3", "--unsigned"]);
    assert_eq!(refused.code, 1);
    insta::assert_snapshot!("overtaken", refused.shown());
    let stale = person.kt(&["pack", "publish", "three.yaml", "--expect-generation", "3"]);
    insta::assert_snapshot!("stale", stale.shown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_never_holds_still_ends_the_publish() {
    let (double, person) = enforcing().await;
    for _ in 0..20 {
        double.fail("assign", Fault::Overtake("1.0.0"));
    }
    let ended = person.kt(&["pack", "publish", "two.yaml"]);
    assert_eq!((ended.code, double.ids("assign").len()), (1, 6));
    assert!(ended.err.contains("generation_conflict"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_to_the_one_before_is_not_made_of_another_head() {
    let (double, person) = enforcing().await;
    person.ok(&["pack", "publish", "two.yaml"]);
    double.fail("assign", Fault::Overtake("1.0.0"));
    let ended = person.kt(&["pack", "rollback"]);
    assert_eq!(ended.code, 1);
    insta::assert_snapshot!("rollback_overtaken", ended.shown());
    assert_eq!(head(&double).1.generation, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_can_pass_is_tried_again() {
    let (double, person) = enforcing().await;
    for code in [Code::StoreUnavailable, Code::NotReady, Code::Busy] {
        double.fail("list_fleets", Fault::Refuse(code));
    }
    person.ok(&["fleet", "list"]);
    assert_eq!(double.ids("list_fleets").len(), 4);
    double.fail("list_fleets", Fault::Refuse(Code::RoleMissing));
    let ended = person.kt(&["fleet", "list"]);
    assert_eq!((ended.code, double.ids("list_fleets").len()), (1, 5));
    insta::assert_snapshot!("role_missing", ended.shown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_version_and_an_unreachable_server_say_what_to_do() {
    let (_double, person) = enforcing().await;
    person.write("other.yaml", &pack("1.0.0", RULE));
    insta::assert_snapshot!("version_taken", person.kt(&["pack", "publish", "other.yaml"]).shown());
    // A port that nothing listens on: bound, and closed again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = person.kt(&["fleet", "list", "--server", &format!("http://{port}")]);
    assert_eq!(gone.code, 1);
    insta::assert_snapshot!("unreachable", gone.shown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_fleet_is_not_made_unsigned_by_accident() {
    let (double, person) = enforcing().await;
    person.ok(&["key", "generate", "release.key"]);
    person.ok(&["pack", "publish", "two.yaml", "--sign-key", "release.key"]);
    let refused = person.kt(&["pack", "rollback"]);
    assert_eq!(refused.code, 2);
    insta::assert_snapshot!("unsigned_refused", refused.shown());
    person.ok(&["pack", "rollback", "--unsigned"]);
    person.ok(&["gateway-key", "create", "--fleet", "default", "--sign-key", "release.key"]);
    assert_eq!(person.kt(&["gateway-key", "create", "--fleet", "default"]).code, 2);
    let signed = double.state().key_sets["default"].clone();
    let key = std::fs::read_to_string(person.file("release.key.pub")).unwrap().trim().parse().unwrap();
    let set: v1::KeySetStatement = Trust { keys: vec![key], threshold: 1 }.open(&signed).unwrap();
    assert_eq!((set.generation, set.keys.len(), set.keys[0].created_by.as_str()), (1, 1, "jane"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_signers_sign_apart_and_a_third_person_publishes() {
    let (double, person) = enforcing().await;
    let mut keys = Vec::new();
    for name in ["jane", "joe"] {
        person.ok(&["key", "generate", name]);
        let public = std::fs::read_to_string(person.file(&format!("{name}.pub"))).unwrap();
        keys.push(public.trim().parse().unwrap());
        let out = format!("{name}.json");
        let ended = person.kt(&[
            "pack",
            "sign",
            "two.yaml",
            "--generation",
            "2",
            "--key",
            name,
            "--expires-in",
            "2999-01-01T00:00:00Z",
            "--out",
            &out,
        ]);
        assert_eq!(ended.code, 0, "{}", ended.err);
        if name == "jane" {
            insta::assert_snapshot!("sign", ended.shown());
        }
    }
    let both = ["pack", "publish", "two.yaml", "--signature", "jane.json", "--signature", "joe.json"];
    person.ok(&both);
    let (signed, statement) = head(&double);
    let trust = Trust { keys, threshold: 2 };
    assert_eq!(trust.open::<AssignmentStatement>(&signed).unwrap(), statement);
    assert_eq!(statement.generation, 2);
    // The head has moved on: a statement is for one generation only, and is not made anew.
    let stale = person.kt(&both);
    assert_eq!(stale.code, 1);
    assert!(stale.err.contains("generation_conflict"), "{}", stale.err);
    let other = person.kt(&["pack", "publish", "one.yaml", "--signature", "jane.json"]);
    insta::assert_snapshot!("sign_other_pack", other.shown());
    let fleet = person.kt(&["pack", "publish", "two.yaml", "--fleet", "eu", "--signature", "jane.json"]);
    assert_eq!(fleet.code, 2);
    person.ok(&["pack", "sign", "two.yaml", "--generation", "3", "--key", "joe", "--out", "third.json"]);
    let mixed =
        person.kt(&["pack", "publish", "two.yaml", "--signature", "jane.json", "--signature", "third.json"]);
    insta::assert_snapshot!("sign_mixed", mixed.shown());
    person.write("none.json", "{}");
    assert_eq!(person.kt(&["pack", "publish", "two.yaml", "--signature", "none.json"]).code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_that_is_too_large_is_not_sent() {
    let (double, person) = enforcing().await;
    let large = format!("{}# {}\n", pack("9.0.0", ""), "x".repeat(4 * 1024 * 1024));
    person.write("large.yaml", &large);
    let ended = person.kt(&["pack", "publish", "large.yaml"]);
    assert_eq!((ended.code, double.ids("upload_pack").len()), (1, 1));
    assert!(ended.err.contains("bytes, more than"), "{}", ended.err);
}
