//! Candidates: aliases, targets by endpoint, fallback, `data-routing-policy`.

use super::*;
use crate::pack::{DataRoutingPolicy, kinds::OnNoCompliantProvider};

fn indices(judgement: &Judgement) -> Vec<(usize, bool)> {
    judgement.candidates.iter().map(|candidate| (candidate.target, candidate.fallback)).collect()
}

fn routed(policy: DataRoutingPolicy) -> CompiledPack {
    let mut pack = pack(vec![
        Words::new(PolicyKind::DlpFilter).word("w", "never", Verdict::Block).entry(),
        entry(PolicyKind::DataRoutingPolicy, CompiledPolicy::DataRouting(policy)),
        audit(),
    ]);
    // Two more targets of 70b, with declarations.
    let declared = |id: &str, region: &str, days, training| {
        let mut target = target(id, "70b", Serves::Chat);
        target.region = Some(Arc::from(region));
        target.data_policy = DataPolicy {
            zero_data_retention: Some(days == 0),
            training_opt_out: Some(training),
            retention_days: Some(days),
        };
        target
    };
    pack.targets.push(declared("t-eu", "eu-west-1", 0, true));
    pack.targets.push(declared("t-us", "us-east-1", 30, false));
    pack
}

fn excluded(judgement: &Judgement) -> Vec<Option<&'static str>> {
    judgement.candidates.iter().map(|candidate| candidate.excluded.map(Exclusion::as_str)).collect()
}

#[test]
fn targets_of_the_model_come_in_order_then_the_fallbacks_of_a_fitting_kind() {
    let mut pack = falls_back_to(pack(vec![audit()]), &[3, 2, 0, 4]);
    pack.targets.push(target("t-70b-2", "70b", Serves::Chat));
    let judgement = chat(&pack, &body("70b", ""), &caller(&[]));
    // Not the completion target, not the one that is there already; `Any` answers to everything.
    assert_eq!(indices(&judgement), [(0, false), (5, false), (2, true), (4, true)]);
    assert_eq!(judgement.model.as_deref(), Some("70b"));
}

#[test]
fn an_alias_stands_for_an_endpoint_name() {
    let judgement = chat(&pack(vec![audit()]), &body("big", ""), &caller(&[]));
    assert_eq!(indices(&judgement), [(1, false)]);
    assert_eq!(judgement.model.as_deref(), Some("405b"));
}

#[test]
fn an_unknown_model_is_a_404_that_lists_the_models_of_the_endpoint() {
    let pack = pack(vec![audit()]);
    let refusal = chat(&pack, &body("gpt-4", ""), &caller(&[])).refusal.expect("refused");
    assert_eq!((refusal.status, refusal.code), (404, "model_not_found"));
    assert_eq!(
        refusal.message,
        "model `gpt-4` is not served here on chat_completions: the targets of this pack serve `70b`, `405b`, `mixtral`, `embed`"
    );
    let embeddings = judge(&pack, Endpoint::Embeddings, r#"{"model":"70b","input":"a"}"#, &caller(&[]));
    assert_eq!(code(&embeddings), Some("model_not_found"));
    let mut chat_only = super::pack(vec![audit()]);
    chat_only.targets.truncate(3);
    let refusal = judge(&chat_only, Endpoint::Embeddings, r#"{"model":"embed","input":"a"}"#, &caller(&[]));
    let message = refusal.refusal.expect("refused").message;
    let end = "no target of this pack serves that; its targets are `70b`, `405b`, `mixtral`";
    assert!(message.ends_with(end), "{message}");
}

#[test]
fn a_text_in_the_place_of_a_model_is_not_repeated() {
    let judgement = chat(&pack(vec![audit()]), &body("my name is Jo Smith", ""), &caller(&[]));
    assert!(!judgement.refusal.expect("refused").message.contains("Smith"));
}

#[test]
fn a_target_that_declares_nothing_is_out() {
    let pack = routed(DataRoutingPolicy { require_zero_data_retention: true, ..Default::default() });
    let judgement = chat(&pack, &body("70b", ""), &caller(&[]));
    assert_eq!(excluded(&judgement), [Some("zero_data_retention"), None, Some("zero_data_retention")]);
    assert_eq!(judgement.targets().collect::<Vec<_>>(), [5]);
    assert_eq!(
        pack.authorise(&judgement, 0, &Table).expect_err("undeclared"),
        Denied::NotCompliant(NonCompliance::Retention)
    );
    pack.authorise(&judgement, 5, &Table).expect("declared");
}

#[test]
fn every_requirement_counts() {
    let only = |policy: DataRoutingPolicy| {
        chat(&routed(policy), &body("70b", ""), &caller(&[])).targets().collect::<Vec<_>>()
    };
    let regions = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(only(DataRoutingPolicy::default()), [0, 5, 6]);
    assert_eq!(only(DataRoutingPolicy { require_no_training: true, ..Default::default() }), [5]);
    assert_eq!(only(DataRoutingPolicy { max_retention_days: Some(30), ..Default::default() }), [5, 6]);
    assert_eq!(only(DataRoutingPolicy { max_retention_days: Some(29), ..Default::default() }), [5]);
    assert_eq!(
        only(DataRoutingPolicy { allowed_regions: regions(&["us-east-1"]), ..Default::default() }),
        [6]
    );
    assert_eq!(only(DataRoutingPolicy { allowed_regions: regions(&[]), ..Default::default() }), [0; 0]);
}

#[test]
fn no_compliant_target_is_a_403_before_the_chain() {
    let pack = routed(DataRoutingPolicy { require_zero_data_retention: true, ..Default::default() });
    let judgement = chat(&pack, &body("405b", ""), &caller(&[]));
    let refusal = judgement.refusal.as_ref().expect("refused");
    assert_eq!((refusal.status, refusal.code), (403, "no_compliant_target"));
    assert_eq!(outcomes(&judgement), [Outcome::Skipped, said(Verdict::Block), said(Verdict::Allow)]);
}

#[test]
fn a_compliant_fallback_is_left_when_the_others_are_out() {
    let policy = DataRoutingPolicy { require_zero_data_retention: true, ..Default::default() };
    let pack = falls_back_to(routed(policy), &[0, 5]);
    let judgement = chat(&pack, &body("405b", ""), &caller(&[]));
    assert_eq!(judgement.targets().collect::<Vec<_>>(), [5]);
}

#[test]
fn warn_goes_on_with_all_and_says_so() {
    let pack = routed(DataRoutingPolicy {
        require_zero_data_retention: true,
        on_no_compliant_provider: OnNoCompliantProvider::Warn,
        ..Default::default()
    });
    let judgement = chat(&pack, &body("405b", ""), &caller(&[]));
    assert_eq!(judgement.outcomes[1].outcome, Outcome::Observed { would: Verdict::Block });
    pack.authorise(&judgement, 1, &Table).expect("warned only");
    // Where one complies, the others stay out.
    let judgement = chat(&pack, &body("70b", ""), &caller(&[]));
    assert!(pack.authorise(&judgement, 0, &Table).is_err());
}

#[test]
fn observing_excludes_nothing() {
    let mut pack = routed(DataRoutingPolicy { require_zero_data_retention: true, ..Default::default() });
    pack.chain[1].mode = Mode::Observe;
    let judgement = chat(&pack, &body("405b", ""), &caller(&[]));
    assert_eq!(judgement.outcomes[1].outcome, Outcome::Observed { would: Verdict::Block });
    pack.authorise(&judgement, 1, &Table).expect("observed only");
}
