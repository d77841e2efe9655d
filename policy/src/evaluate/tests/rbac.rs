//! Each sentence of the rules of `rbac`.

use super::{super::rbac::glob, *};
use crate::pack::kinds::{OnExcess, RbacAction, RoleAction};

fn guarded(rbac: Rbac) -> CompiledPack {
    pack(vec![entry(PolicyKind::Rbac, CompiledPolicy::Rbac(rbac)), audit()])
}

fn bounded(models: &[&str], bound: u64) -> RbacRole {
    RbacRole { max_tokens_per_request: Some(bound), ..super::models(models) }
}

fn ask(pack: &CompiledPack, model: &str, more: &str, roles: &[&str]) -> Judgement {
    chat(pack, &body(model, more), &caller(roles))
}

fn refusal(pack: &CompiledPack, model: &str, more: &str, roles: &[&str]) -> Option<(u16, &'static str)> {
    ask(pack, model, more, roles).refusal.map(|refusal| (refusal.status, refusal.code))
}

/// The body as the first target gets it.
fn sent_for(pack: &CompiledPack, model: &str, more: &str, roles: &[&str]) -> String {
    let body = body(model, more);
    sent(pack, &chat(pack, &body, &caller(roles)), &body)
}

#[test]
fn token_bounds_under_other_names_are_judged_and_do_not_stand_for_a_bound() {
    let analyst = RbacRole { max_tokens_per_request: Some(200), ..models(&["70b"]) };
    let pack = guarded(rbac(&[("analyst", analyst)]));
    let exceeded = Some((403, "max_tokens_exceeded"));
    for more in [
        r#","extra_params":{"maxOutputTokens":201}"#,
        r#","extra_params":{"max_gen_len":"4096"}"#,
        r#","extra_params":{"generationConfig":{"maxOutputTokens":2e2,"thinkingConfig":{"thinkingBudget":201}}}"#,
        r#","extra_params":{"thinking":{"type":"enabled","budget_tokens":1024}}"#,
        r#","thinking":{"type":"enabled","budget_tokens":1024},"max_tokens":100"#,
        r#","reasoning":{"max_tokens":200.5}"#,
        r#","maxTokens":201"#,
    ] {
        assert_eq!(refusal(&pack, "70b", more, &["analyst"]), exceeded, "{more}");
    }
    for more in [
        r#","extra_params":{"maxOutputTokens":200,"thinkingBudget":-1}"#,
        r#","thinking":{"type":"enabled","budget_tokens":200}"#,
        r#","custom_inputs":{"max_tokens":4096}"#,
    ] {
        assert_eq!(refusal(&pack, "70b", more, &["analyst"]), None, "{more}");
        let body = body("70b", more);
        let judgement = chat(&pack, &body, &caller(&["analyst"]));
        let sent = sent(&pack, &judgement, &body);
        assert!(sent.starts_with(r#"{"max_tokens":200,"#), "the answer is bounded all the same: {sent}");
    }
    let thinking = body("70b", r#","thinking":{"budget_tokens":1024}"#);
    let refused = chat(&pack, &thinking, &caller(&["analyst"])).refusal.expect("refused");
    assert_eq!(refused.param.as_deref(), Some("thinking.budget_tokens"));
}

#[test]
fn tools_within_a_tool_are_judged_by_their_names() {
    let careful =
        RbacRole { denied_tools: vec!["*_secret".to_owned(), "crm".to_owned()], ..models(&["70b"]) };
    let pack = guarded(rbac(&[("r", careful)]));
    let denied = Some((403, "tool_not_allowed"));
    for more in [
        r#","tools":[{"type":"namespace","name":"a","tools":[{"type":"function","name":"read_secret"}]}]"#,
        r#","tools":[{"type":"namespace","name":"a","tools":[{"type":"namespace","tools":[{"function":{"name":"read_secret"}}]}]}]"#,
        r#","tools":[{"functionDeclarations":[{"name":"read_secret"}]}]"#,
        r#","tools":[{"type":"namespace","name":"crm","tools":[]}]"#,
        r#","extra_params":{"tools":[{"functions":[{"name":"read_secret"}]}]}"#,
    ] {
        assert_eq!(refusal(&pack, "70b", more, &["r"]), denied, "{more}");
    }
    let fine =
        r#","tools":[{"type":"namespace","name":"a","tools":[{"type":"function","name":"read_file"}]}]"#;
    assert_eq!(refusal(&pack, "70b", fine, &["r"]), None);
}

#[test]
fn a_caller_without_roles_is_refused_when_there_is_no_default_role() {
    let pack = guarded(rbac(&[("analyst", models(&["70b"]))]));
    assert_eq!(refusal(&pack, "70b", "", &[]), Some((403, "role_required")));
    let anonymous = chat(&pack, &body("70b", ""), &Caller::anonymous());
    assert_eq!(code(&anonymous), Some("role_required"));
}

#[test]
fn the_action_for_unlisted_roles_does_not_let_a_caller_without_role_pass() {
    let rbac = Rbac { action: RbacAction::Allow, ..rbac(&[("analyst", models(&["70b"]))]) };
    assert_eq!(refusal(&guarded(rbac), "70b", "", &[]), Some((403, "role_required")));
}

#[test]
fn a_caller_without_roles_has_the_default_role() {
    let rbac = Rbac { default_role: Some("analyst".to_owned()), ..rbac(&[("analyst", models(&["70b"]))]) };
    let pack = guarded(rbac);
    assert_eq!(refusal(&pack, "70b", "", &[]), None);
    assert_eq!(refusal(&pack, "405b", "", &[]), Some((403, "model_not_allowed")));
}

#[test]
fn the_default_role_is_not_added_to_roles() {
    let rbac = Rbac { default_role: Some("analyst".to_owned()), ..rbac(&[("analyst", models(&["70b"]))]) };
    assert_eq!(refusal(&guarded(rbac), "70b", "", &["stranger"]), Some((403, "role_blocked")));
}

#[test]
fn unlisted_roles_get_the_action_of_the_policy() {
    let listed = rbac(&[("analyst", models(&["70b"]))]);
    assert_eq!(refusal(&guarded(listed.clone()), "70b", "", &["stranger"]), Some((403, "role_blocked")));
    let open = guarded(Rbac { action: RbacAction::Allow, ..listed });
    assert_eq!(refusal(&open, "405b", r#","max_tokens":999999"#, &["stranger"]), None);
}

#[test]
fn of_several_roles_the_listed_ones_count() {
    let pack = guarded(rbac(&[("analyst", models(&["70b"]))]));
    assert_eq!(refusal(&pack, "70b", "", &["stranger", "analyst"]), None);
    assert_eq!(refusal(&pack, "405b", "", &["stranger", "analyst"]), Some((403, "model_not_allowed")));
}

#[test]
fn a_matching_role_with_action_block_denies_whatever_the_others_allow() {
    let blocked = RbacRole { action: RoleAction::Block, ..RbacRole::default() };
    let pack = guarded(rbac(&[("read-only", blocked), ("analyst", RbacRole::default())]));
    assert_eq!(refusal(&pack, "70b", "", &["analyst", "read-only"]), Some((403, "role_blocked")));
    assert_eq!(refusal(&pack, "70b", "", &["analyst"]), None);
}

#[test]
fn absent_models_are_no_limit_and_an_empty_list_is_none() {
    let pack = guarded(rbac(&[("all", RbacRole::default()), ("none", models(&[]))]));
    assert_eq!(refusal(&pack, "405b", "", &["all"]), None);
    assert_eq!(refusal(&pack, "405b", "", &["none"]), Some((403, "model_not_allowed")));
}

#[test]
fn the_refusal_of_a_model_names_policy_rule_and_param() {
    let pack = guarded(rbac(&[("analyst", models(&["70b"]))]));
    let refusal = ask(&pack, "405b", "", &["analyst"]).refusal.expect("refused");
    assert_eq!(refusal.policy, Some(PolicyKind::Rbac));
    assert_eq!(refusal.rule.as_deref(), Some("model_not_allowed"));
    assert_eq!(refusal.param.as_deref(), Some("model"));
    assert_eq!(refusal.kind.as_str(), "permission_denied");
    assert_eq!(refusal.message, "model `405b` is not allowed for the caller's roles");
}

#[test]
fn a_model_is_judged_by_its_endpoint_name_never_by_its_alias() {
    let by_alias = guarded(rbac(&[("analyst", models(&["big"]))]));
    assert_eq!(refusal(&by_alias, "big", "", &["analyst"]), Some((403, "model_not_allowed")));
    let by_name = guarded(rbac(&[("analyst", models(&["405b"]))]));
    assert_eq!(refusal(&by_name, "big", "", &["analyst"]), None);
    assert!(sent_for(&by_name, "big", "", &["analyst"]).starts_with(r#"{"model":"405b","#));
}

#[test]
fn of_several_roles_that_allow_the_model_the_largest_bound_holds() {
    let roles = [
        ("small", bounded(&["70b"], 100)),
        ("large", bounded(&["70b"], 200)),
        ("other", bounded(&["405b"], 900)),
    ];
    let pack = guarded(rbac(&roles));
    let all = ["small", "large", "other"];
    assert_eq!(refusal(&pack, "70b", r#","max_tokens":200"#, &all), None);
    // The bound of a role that does not allow the model does not count.
    let refused = ask(&pack, "70b", r#","max_tokens":201"#, &all).refusal.expect("refused");
    assert_eq!((refused.status, refused.code, refused.limit), (403, "max_tokens_exceeded", Some(200)));
    assert_eq!(refused.param.as_deref(), Some("max_tokens"));
    assert_eq!(refusal(&pack, "405b", r#","max_tokens":900"#, &all), None);
}

#[test]
fn a_role_without_bound_has_none() {
    let pack = guarded(rbac(&[("small", bounded(&["70b"], 100)), ("free", models(&["70b"]))]));
    assert_eq!(refusal(&pack, "70b", r#","max_tokens":100000"#, &["small", "free"]), None);
    assert_eq!(sent_for(&pack, "70b", "", &["small", "free"]), body("70b", ""));
}

#[test]
fn the_number_of_answers_counts_times_the_value() {
    let pack = guarded(rbac(&[("analyst", bounded(&["70b", "complete"], 1000))]));
    let analyst = ["analyst"];
    assert_eq!(refusal(&pack, "70b", r#","n":4,"max_tokens":250"#, &analyst), None);
    assert_eq!(
        refusal(&pack, "70b", r#","n":4,"max_tokens":251"#, &analyst),
        Some((403, "max_tokens_exceeded"))
    );
    assert_eq!(
        refusal(&pack, "70b", r#","n":18446744073709551615,"max_tokens":2"#, &analyst),
        Some((403, "max_tokens_exceeded"))
    );
    let completion = |more: &str| {
        let body = format!(r#"{{"model":"complete","prompt":["a","b","c","d"]{more}}}"#);
        code(&judge(&pack, Endpoint::Completions, &body, &caller(&analyst)))
    };
    assert_eq!(completion(r#","max_tokens":250"#), None);
    assert_eq!(completion(r#","max_tokens":251"#), Some("max_tokens_exceeded"));
    assert_eq!(completion(r#","max_tokens":100,"best_of":3"#), Some("max_tokens_exceeded"));
}

#[test]
fn every_name_of_the_bound_is_judged() {
    let pack = guarded(rbac(&[("analyst", bounded(&["70b"], 100))]));
    for name in ["max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens"] {
        let more = format!(r#","{name}":101"#);
        assert_eq!(refusal(&pack, "70b", &more, &["analyst"]), Some((403, "max_tokens_exceeded")), "{name}");
    }
    let both = r#","max_tokens":1,"max_completion_tokens":101"#;
    assert_eq!(refusal(&pack, "70b", both, &["analyst"]), Some((403, "max_tokens_exceeded")));
    let smuggled = r#","extra_params":{"max_tokens":"101"}"#;
    assert_eq!(refusal(&pack, "70b", smuggled, &["analyst"]), Some((403, "max_tokens_exceeded")));
    let escaped = r#","max\u005ftokens":101"#;
    assert_eq!(refusal(&pack, "70b", escaped, &["analyst"]), Some((403, "max_tokens_exceeded")));
}

#[test]
fn on_excess_clamp_lowers_the_value_in_place() {
    let clamping = RbacRole { on_excess: Some(OnExcess::Clamp), ..bounded(&["70b"], 100) };
    let pack = guarded(rbac(&[("analyst", clamping)]));
    assert_eq!(
        sent_for(&pack, "70b", r#", "max_completion_tokens" : 5000 ,"x":1"#, &["analyst"]),
        body("70b", r#", "max_completion_tokens" : 100 ,"x":1"#)
    );
    assert_eq!(
        sent_for(&pack, "70b", r#","n":3,"max_tokens":5000"#, &["analyst"]),
        body("70b", r#","n":3,"max_tokens":33"#)
    );
    // More answers than tokens: there is nothing to lower to.
    assert_eq!(refusal(&pack, "70b", r#","n":101"#, &["analyst"]), Some((403, "max_tokens_exceeded")));
    // A value that is passed on as text is not edited.
    let smuggled = r#","extra_params":{"max_tokens":"101"}"#;
    assert_eq!(refusal(&pack, "70b", smuggled, &["analyst"]), Some((403, "max_tokens_exceeded")));
}

#[test]
fn the_policy_may_clamp_for_all_roles_and_a_role_may_reject() {
    let strict = RbacRole { on_excess: Some(OnExcess::Reject), ..bounded(&["70b"], 100) };
    let rbac =
        Rbac { on_excess: OnExcess::Clamp, ..rbac(&[("soft", bounded(&["70b"], 100)), ("strict", strict)]) };
    let pack = guarded(rbac);
    assert_eq!(refusal(&pack, "70b", r#","max_tokens":101"#, &["soft"]), None);
    assert_eq!(
        refusal(&pack, "70b", r#","max_tokens":101"#, &["strict"]),
        Some((403, "max_tokens_exceeded"))
    );
}

#[test]
fn where_none_is_named_the_smallest_of_bound_output_limit_and_room_is_set() {
    let by = |bound: u64, more: &str| {
        let pack = guarded(rbac(&[("analyst", bounded(&["70b", "mixtral"], bound))]));
        sent_for(&pack, "70b", more, &["analyst"])
    };
    // The role's bound.
    assert_eq!(by(100, ""), body("70b", "").replacen('{', r#"{"max_tokens":100,"#, 1));
    // The table's output limit.
    assert!(by(100_000, "").starts_with(r#"{"max_tokens":4096,"#));
    // The bound is for all answers together.
    assert!(by(100, r#","n":4"#).starts_with(r#"{"max_tokens":25,"#));
    // What the input leaves of the window: 8192 tokens.
    let long = format!(r#","user":"{}""#, "word ".repeat(5000));
    let sent = by(100_000, &long);
    let set: u64 = serde_json::from_str::<serde_json::Value>(&sent).expect("JSON")["max_tokens"]
        .as_u64()
        .expect("a number");
    assert!((1500..2000).contains(&set), "{set}");
    // Never less than one.
    let endless = format!(r#","user":"{}""#, "word ".repeat(50_000));
    assert!(by(100_000, &endless).starts_with(r#"{"max_tokens":1,"#));
}

#[test]
fn the_bound_is_set_under_the_name_that_the_table_gives() {
    let pack = guarded(rbac(&[("analyst", bounded(&["70b", "mixtral", "405b"], 100))]));
    let sent = |model| sent_for(&pack, model, "", &["analyst"]);
    assert!(sent("mixtral").starts_with(r#"{"max_completion_tokens":100,"model""#));
    assert!(sent("405b").starts_with(r#"{"max_tokens":100,"model""#));
    let responses = r#"{"model":"mixtral","input":"a"}"#;
    let judgement = judge(&pack, Endpoint::Responses, responses, &caller(&["analyst"]));
    assert_eq!(
        super::sent(&pack, &judgement, responses),
        r#"{"max_output_tokens":100,"model":"mixtral","input":"a"}"#
    );
}

#[test]
fn a_null_value_names_no_bound_and_is_replaced() {
    let pack = guarded(rbac(&[("analyst", bounded(&["70b"], 100))]));
    assert_eq!(
        sent_for(&pack, "70b", r#","max_tokens": null"#, &["analyst"]),
        body("70b", r#","max_tokens": 100"#)
    );
    // Another name is left alone, and the key is never there twice.
    assert_eq!(
        sent_for(&pack, "70b", r#","max_completion_tokens":null"#, &["analyst"]),
        body("70b", r#","max_completion_tokens":null"#).replacen('{', r#"{"max_tokens":100,"#, 1)
    );
}

#[test]
fn a_named_value_within_the_bound_is_left_as_it_is() {
    let pack = guarded(rbac(&[("analyst", bounded(&["mixtral"], 100))]));
    assert_eq!(
        sent_for(&pack, "mixtral", r#","max_tokens":7"#, &["analyst"]),
        body("mixtral", r#","max_tokens":7"#)
    );
}

#[test]
fn no_bound_is_ever_set_on_embeddings() {
    let pack = guarded(rbac(&[("analyst", bounded(&["embed"], 100))]));
    let body = r#"{"model":"embed","input":"a"}"#;
    let judgement = judge(&pack, Endpoint::Embeddings, body, &caller(&["analyst"]));
    assert_eq!(sent(&pack, &judgement, body), body);
}

#[test]
fn a_target_that_refuses_the_parameter_is_sent_none_and_the_bound_is_known() {
    let pack = guarded(rbac(&[("analyst", bounded(&["70b"], 100))]));
    let body = body("70b", "");
    let judgement = chat(&pack, &body, &caller(&["analyst"]));
    let authorised = pack.authorise(&judgement, 0, &Table).expect("authorised");
    let options = RenderOptions { omit_token_bound: true, ..RenderOptions::default() };
    assert_eq!(authorised.render(body.as_bytes(), &options).expect("the body").body, body);
    assert_eq!(authorised.token_bound(), Some(100));
    assert_eq!(authorised.added_parameter(), Some("max_tokens"));
    let named = self::body("70b", r#","max_tokens":7"#);
    let judgement = chat(&pack, &named, &caller(&["analyst"]));
    let authorised = pack.authorise(&judgement, 0, &Table).expect("authorised");
    assert_eq!(authorised.added_parameter(), None, "what the client names is its own");
}

#[test]
fn tools_are_allowed_by_one_role_that_allows_the_model_and_denied_by_any() {
    let globs = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>();
    let readers = RbacRole { allowed_tools: Some(globs(&["read_*"])), ..models(&["70b"]) };
    let writers = RbacRole { allowed_tools: Some(globs(&["write_*", "read_*"])), ..models(&["405b"]) };
    let careful = RbacRole { denied_tools: globs(&["*_secret"]), ..models(&[]) };
    let none = RbacRole { allowed_tools: Some(Vec::new()), ..models(&["70b"]) };
    let pack = guarded(rbac(&[
        ("r", readers),
        ("w", writers),
        ("c", careful),
        ("n", none),
        ("free", models(&["70b"])),
    ]));
    let with = |tool: &str, roles: &[&str]| {
        let more = format!(r#","tools":[{{"type":"function","function":{{"name":"{tool}"}}}}]"#);
        refusal(&pack, "70b", &more, roles)
    };
    let denied = Some((403, "tool_not_allowed"));
    assert_eq!(with("read_file", &["r"]), None);
    assert_eq!(with("write_file", &["r"]), denied);
    // `w` allows the tool but not the model, so it does not count.
    assert_eq!(with("write_file", &["r", "w"]), denied);
    assert_eq!(with("read_secret", &["r"]), None);
    assert_eq!(with("read_secret", &["r", "c"]), denied);
    assert_eq!(with("anything", &["free"]), None);
    assert_eq!(with("anything", &["n"]), denied);
    assert_eq!(refusal(&pack, "70b", "", &["n"]), None);
}

#[test]
fn every_way_to_offer_a_tool_is_judged() {
    let role = RbacRole { allowed_tools: Some(vec!["ok".to_owned()]), ..models(&["70b"]) };
    let pack = guarded(rbac(&[("r", role)]));
    let denied = Some((403, "tool_not_allowed"));
    for more in [
        r#","tools":[{"type":"function","function":{"name":"ok"}},{"type":"function","function":{"name":"bad"}}]"#,
        r#","tools":[{"type":"custom","custom":{"name":"bad"}}]"#,
        r#","tools":[{"type":"function","name":"bad"}]"#,
        r#","tools":[{"type":"web_search"}]"#,
        r#","tools":[{"type":"mcp","server_label":"ok"}]"#,
        r#","tools":[{"type":"function"}]"#,
        r#","functions":[{"name":"bad"}]"#,
        r#","web_search_options":{}"#,
    ] {
        assert_eq!(refusal(&pack, "70b", more, &["r"]), denied, "{more}");
    }
    let refused = ask(&pack, "70b", r#","tools":[{"type":"function","function":{"name":"bad"}}]"#, &["r"]);
    let refused = refused.refusal.expect("refused");
    assert_eq!(refused.param.as_deref(), Some("tools[0]"));
    assert_eq!(refused.message, "tool `bad` is not allowed for the caller's roles");
    assert_eq!(
        refusal(&pack, "70b", r#","tools":[{"type":"function","function":{"name":"ok"}}]"#, &["r"]),
        None
    );
}

#[test]
fn identity_is_asked_for_before_anything_else() {
    for rbac in [
        Rbac { require_auth: true, ..rbac(&[("analyst", models(&["70b"]))]) },
        Rbac { deny_if_missing: vec!["X-User-ID".to_owned()], ..rbac(&[("analyst", models(&["70b"]))]) },
    ] {
        let pack = guarded(rbac);
        let anonymous = chat(&pack, &body("70b", ""), &Caller::anonymous()).refusal.expect("refused");
        assert_eq!((anonymous.status, anonymous.code), (401, "identity_required"));
        let unproven = Caller { proof: Proof::Anonymous, ..caller(&["analyst"]) };
        assert_eq!(code(&chat(&pack, &body("70b", ""), &unproven)), Some("identity_required"));
        assert_eq!(refusal(&pack, "70b", "", &["analyst"]), None);
    }
}

#[test]
fn observing_forbids_nothing_and_sets_nothing() {
    let mut pack = guarded(rbac(&[("analyst", bounded(&["70b"], 100))]));
    pack.chain[0].mode = Mode::Observe;
    let judgement = ask(&pack, "405b", "", &["analyst"]);
    assert_eq!(judgement.verdict, Verdict::Allow);
    assert_eq!(judgement.outcomes[0].outcome, Outcome::Observed { would: Verdict::Block });
    assert_eq!(judgement.outcomes[0].rule.as_deref(), Some("model_not_allowed"));
    pack.authorise(&judgement, 1, &Table).expect("observed only");
    assert_eq!(sent_for(&pack, "70b", "", &["analyst"]), body("70b", ""));
}

#[test]
fn a_forbidden_fallback_is_excluded_and_can_not_be_authorised() {
    let pack = falls_back_to(
        guarded(rbac(&[("analyst", models(&["70b"])), ("scientist", models(&["70b", "mixtral"]))])),
        &[2],
    );
    let analyst = ask(&pack, "70b", "", &["analyst"]);
    assert_eq!(
        analyst.candidates,
        [
            Candidate { target: 0, fallback: false, excluded: None },
            Candidate { target: 2, fallback: true, excluded: Some(Exclusion::Rbac("model_not_allowed")) },
        ]
    );
    assert_eq!(analyst.targets().collect::<Vec<_>>(), [0]);
    assert_eq!(
        pack.authorise(&analyst, 2, &Table).expect_err("forbidden"),
        Denied::Rbac("model_not_allowed")
    );
    let scientist = ask(&pack, "70b", "", &["scientist"]);
    assert_eq!(scientist.targets().collect::<Vec<_>>(), [0, 2]);
    assert_eq!(&**pack.authorise(&scientist, 2, &Table).expect("allowed").model(), "mixtral");
}

#[test]
fn a_fallback_does_not_stand_in_for_a_forbidden_model() {
    let pack = falls_back_to(guarded(rbac(&[("analyst", models(&["70b"]))])), &[0]);
    assert_eq!(refusal(&pack, "405b", "", &["analyst"]), Some((403, "model_not_allowed")));
}

#[test]
fn the_bound_is_that_of_the_target_at_hand() {
    let roles = [("a", bounded(&["70b"], 300)), ("b", bounded(&["mixtral"], 50))];
    let pack = falls_back_to(guarded(rbac(&roles)), &[2]);
    // Named above the bound of the fallback: it is out.
    let judgement = ask(&pack, "70b", r#","max_tokens":200"#, &["a", "b"]);
    assert_eq!(judgement.candidates[1].excluded, Some(Exclusion::Rbac("max_tokens_exceeded")));
    // Named none: each target gets its own.
    let body = body("70b", "");
    let judgement = chat(&pack, &body, &caller(&["a", "b"]));
    let render = |target| {
        let authorised = pack.authorise(&judgement, target, &Table).expect("allowed");
        authorised.render(body.as_bytes(), &RenderOptions::default()).expect("the body").body.into_owned()
    };
    assert!(render(0).starts_with(r#"{"max_tokens":300,"model":"70b""#));
    assert!(render(2).starts_with(r#"{"max_completion_tokens":50,"model":"mixtral""#));
}

#[test]
fn nothing_is_authorised_for_a_refused_request_or_a_target_that_is_no_candidate() {
    let pack = guarded(rbac(&[("analyst", models(&["70b"]))]));
    let refused = ask(&pack, "405b", "", &["analyst"]);
    assert_eq!(pack.authorise(&refused, 1, &Table).expect_err("refused"), Denied::Refused);
    let fine = ask(&pack, "70b", "", &["analyst"]);
    for target in [1, 4, 99] {
        assert_eq!(pack.authorise(&fine, target, &Table).expect_err("no candidate"), Denied::NotACandidate);
    }
}

#[test]
fn globs_match_whole_names() {
    for (pattern, name, fits) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("*", "", true),
        ("*", "anything", true),
        ("read_*", "read_", true),
        ("read_*", "xread_a", false),
        ("*_x", "a_x", true),
        ("a*b*c", "a12b34c", true),
        ("a*b*c", "abc", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
        ("*ab", "aab", true),
        ("a**b", "ab", true),
        ("", "", true),
        ("", "a", false),
        ("mcp:*", "mcp:x", true),
    ] {
        assert_eq!(glob(pattern, name), fits, "{pattern} {name}");
    }
}

#[test]
fn an_expired_waiver_of_a_denial_ends_by_itself() {
    let mut pack = guarded(rbac(&[("analyst", bounded(&["70b"], 100))]));
    pack.exceptions.push(crate::compiled::CompiledException {
        policy: PolicyKind::Rbac,
        rule: Some(Arc::from("model_not_allowed")),
        scope: crate::pack::ExceptionScope { models: vec!["405b".to_owned()], ..Default::default() },
        ticket: None,
        expires: "2026-12-01T00:00:00Z".parse().expect("a time"),
    });
    let judgement = ask(&pack, "405b", "", &["analyst"]);
    assert_eq!(judgement.outcomes[0].outcome, Outcome::Waived);
    pack.authorise(&judgement, 1, &Table).expect("waived");
    // Only that rule: the bound of the caller's roles holds.
    assert_eq!(
        refusal(&pack, "405b", r#","max_tokens":101"#, &["analyst"]),
        Some((403, "max_tokens_exceeded"))
    );
    assert_eq!(refusal(&pack, "mixtral", "", &["analyst"]), Some((403, "model_not_allowed")));
    let later = Env { now: "2026-12-01T00:00:00Z".parse().expect("a time"), ..env() };
    let judgement =
        judge_in(&pack, Endpoint::ChatCompletions, &body("405b", ""), &caller(&["analyst"]), &later);
    assert_eq!(code(&judgement), Some("model_not_allowed"));
}
