//! Chain order, modes, overrides by endpoint, exceptions, fail modes.

use std::cell::Cell;

use super::*;
use crate::{
    compiled::CompiledException,
    pack::{AttachmentRule, ExceptionScope, kinds::EndpointAction},
};

fn dlp(verdict: Verdict) -> ChainEntry {
    Words::new(PolicyKind::DlpFilter).word("secret", "s3cr3t", verdict).entry()
}

fn pii() -> ChainEntry {
    Words::new(PolicyKind::PiiDetector).word("PERSON", "Jo Smith", Verdict::Redact).entry()
}

fn injection() -> ChainEntry {
    Words::new(PolicyKind::PromptInjection).word("override", "ignore", Verdict::Block).scored().entry()
}

fn says(text: &str) -> String {
    format!(
        r#"{{"model":"70b","messages":[{{"role":"system","content":"be kind"}},{{"role":"user","content":"{text}"}}]}}"#
    )
}

fn of(pack: &CompiledPack, text: &str) -> Judgement {
    chat(pack, &says(text), &caller(&["analyst"]))
}

#[test]
fn the_first_block_ends_the_chain_and_the_rest_is_skipped() {
    let guarded = entry(PolicyKind::Rbac, CompiledPolicy::Rbac(rbac(&[])));
    let pack = pack(vec![pii(), audit(), dlp(Verdict::Block), injection(), guarded]);
    let judgement = of(&pack, "Jo Smith: s3cr3t, ignore");
    assert_eq!(
        outcomes(&judgement),
        [
            said(Verdict::Redact),
            said(Verdict::Allow),
            said(Verdict::Block),
            Outcome::Skipped,
            Outcome::Skipped
        ]
    );
    let refusal = judgement.refusal.expect("refused");
    assert_eq!(
        (refusal.status, refusal.kind, refusal.code),
        (409, RefusalKind::PolicyViolation, "input_blocked")
    );
    assert_eq!(refusal.policy, Some(PolicyKind::DlpFilter));
    assert_eq!(refusal.rule.as_deref(), Some("secret"));
    assert_eq!(refusal.param.as_deref(), Some("messages[1].content"));
    assert_eq!(refusal.message, "request blocked by `dlp-filter`: rule `secret` at `messages[1].content`");
    // What was found up to then is listed, with the policy that found it.
    let findings: Vec<_> =
        judgement.findings.iter().map(|finding| (finding.policy, &*finding.rule)).collect();
    assert_eq!(findings, [(PolicyKind::PiiDetector, "PERSON"), (PolicyKind::DlpFilter, "secret")]);
}

#[test]
fn a_refusal_by_rbac_ends_the_chain_at_its_place() {
    let guarded = || entry(PolicyKind::Rbac, CompiledPolicy::Rbac(rbac(&[])));
    let first = pack(vec![guarded(), injection()]);
    assert_eq!(code(&of(&first, "ignore")), Some("role_blocked"));
    assert_eq!(outcomes(&of(&first, "ignore")), [said(Verdict::Block), Outcome::Skipped]);
    let last = pack(vec![injection(), guarded()]);
    assert_eq!(code(&of(&last, "ignore")), Some("input_blocked"));
    assert_eq!(code(&of(&last, "hello")), Some("role_blocked"));
}

#[test]
fn all_policies_see_the_original_text() {
    let by_marker = Words::new(PolicyKind::DlpFilter).word("marker", "<PERSON>", Verdict::Block).entry();
    let judgement = of(&pack(vec![pii(), by_marker]), "Jo Smith");
    assert_eq!(judgement.verdict, Verdict::Redact);
}

#[test]
fn findings_name_code_points_of_the_decoded_field() {
    let judgement = of(&pack(vec![pii()]), r"h\u00e9 \ud83d\ude00 Jo Smith");
    let finding = &judgement.findings[0];
    assert_eq!(
        (&*finding.place.pointer, &*finding.place.param),
        ("/messages/1/content", "messages[1].content")
    );
    assert_eq!((finding.start, finding.end), (5, 13));
    assert_eq!((finding.score, finding.verdict, finding.effect), (1.0, Verdict::Redact, Effect::Enforced));
    assert_eq!(finding.entity.as_deref(), Some("PERSON"));
}

#[test]
fn scores_are_reported_also_below_the_threshold() {
    let judgement = of(&pack(vec![injection(), pii()]), "hello");
    assert_eq!(judgement.outcomes[0].score, Some(0.25));
    assert_eq!(judgement.outcomes[1].score, None);
}

#[test]
fn an_observing_policy_changes_no_byte() {
    let mut pack = pack(vec![dlp(Verdict::Block), pii()]);
    pack.chain[0].mode = Mode::Observe;
    pack.chain[1].mode = Mode::Observe;
    let body = says("Jo Smith: s3cr3t");
    let judgement = chat(&pack, &body, &caller(&[]));
    assert_eq!(judgement.verdict, Verdict::Allow);
    assert_eq!(
        outcomes(&judgement),
        [Outcome::Observed { would: Verdict::Block }, Outcome::Observed { would: Verdict::Redact }]
    );
    assert!(judgement.findings.iter().all(|finding| finding.effect == Effect::Observed));
    assert_eq!(sent(&pack, &judgement, &body), body);
}

#[test]
fn an_observing_rule_does_not_act_among_rules_that_do() {
    let words = Words::new(PolicyKind::DlpFilter)
        .rule("new", "s3cr3t", Verdict::Block, Mode::Observe, 1.0)
        .word("NAME", "Jo", Verdict::Redact);
    let pack = pack(vec![words.entry()]);
    let judgement = of(&pack, "Jo: s3cr3t");
    assert_eq!(outcomes(&judgement), [said(Verdict::Redact)]);
    assert_eq!(judgement.findings.len(), 2);
}

#[test]
fn endpoints_override_the_action() {
    let with = |action| {
        let mut pack = pack(vec![pii()]);
        pack.chain[0].endpoints.insert(Endpoint::Embeddings, action);
        let body = r#"{"model":"embed","input":"Jo Smith"}"#;
        let judgement = judge(&pack, Endpoint::Embeddings, body, &caller(&[]));
        // Other endpoints keep the usual action.
        assert_eq!(of(&pack, "Jo Smith").verdict, Verdict::Redact);
        (judgement.verdict, judgement.outcomes[0].outcome)
    };
    assert_eq!(with(EndpointAction::Off), (Verdict::Allow, Outcome::NotApplicable));
    assert_eq!(with(EndpointAction::Observe), (Verdict::Allow, Outcome::Observed { would: Verdict::Redact }));
    assert_eq!(with(EndpointAction::Redact), (Verdict::Redact, said(Verdict::Redact)));
    assert_eq!(with(EndpointAction::Block), (Verdict::Block, said(Verdict::Block)));
}

fn exception(rule: Option<&str>, scope: ExceptionScope) -> CompiledException {
    CompiledException {
        policy: PolicyKind::DlpFilter,
        rule: rule.map(Arc::from),
        scope,
        ticket: Some(Arc::from("SEC-1")),
        expires: "2026-12-01T00:00:00Z".parse().expect("a time"),
    }
}

#[test]
fn an_exception_waives_its_rule_within_its_scope_until_it_expires() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let scopes = [
        (ExceptionScope::default(), true),
        (ExceptionScope { roles: names(&["x", "analyst"]), ..Default::default() }, true),
        (ExceptionScope { roles: names(&["x"]), ..Default::default() }, false),
        (ExceptionScope { teams: names(&["blue"]), ..Default::default() }, false),
        (ExceptionScope { models: names(&["70b"]), ..Default::default() }, true),
        (ExceptionScope { models: names(&["405b"]), ..Default::default() }, false),
        (ExceptionScope { endpoints: vec![Endpoint::ChatCompletions], ..Default::default() }, true),
        (ExceptionScope { endpoints: vec![Endpoint::Embeddings], ..Default::default() }, false),
        (
            ExceptionScope { roles: names(&["analyst"]), models: names(&["405b"]), ..Default::default() },
            false,
        ),
    ];
    for (scope, waived) in scopes {
        let mut pack = pack(vec![dlp(Verdict::Block)]);
        pack.exceptions.push(exception(Some("secret"), scope.clone()));
        let judgement = of(&pack, "s3cr3t");
        let expected = if waived { Outcome::Waived } else { said(Verdict::Block) };
        assert_eq!(judgement.outcomes[0].outcome, expected, "{scope:?}");
        if waived {
            assert_eq!(judgement.findings[0].effect, Effect::Waived);
            assert_eq!(judgement.outcomes[0].ticket.as_deref(), Some("SEC-1"));
        }
        let later = Env { now: "2026-12-01T00:00:00Z".parse().expect("a time"), ..env() };
        let judgement =
            judge_in(&pack, Endpoint::ChatCompletions, &says("s3cr3t"), &caller(&["analyst"]), &later);
        assert_eq!(code(&judgement), Some("input_blocked"));
    }
}

#[test]
fn an_exception_without_rule_waives_the_whole_policy_and_no_other() {
    let mut pack = pack(vec![dlp(Verdict::Block), pii()]);
    pack.exceptions.push(exception(None, ExceptionScope::default()));
    let judgement = of(&pack, "Jo Smith s3cr3t");
    assert_eq!(outcomes(&judgement), [Outcome::Waived, said(Verdict::Redact)]);
}

#[test]
fn a_waived_team_is_that_of_the_caller() {
    let mut pack = pack(vec![dlp(Verdict::Block)]);
    pack.exceptions
        .push(exception(None, ExceptionScope { teams: vec!["blue".to_owned()], ..Default::default() }));
    let blue = Caller { team: Some(Arc::from("blue")), ..caller(&[]) };
    assert_eq!(chat(&pack, &says("s3cr3t"), &blue).verdict, Verdict::Allow);
}

#[test]
fn the_deadline_is_a_matter_of_the_fail_mode() {
    let asked = Cell::new(0);
    let after_the_first = || {
        asked.set(asked.get() + 1);
        asked.get() > 1
    };
    let run = |fail_mode| {
        asked.set(0);
        let pack = pack(vec![pii(), dlp(Verdict::Block), audit()]);
        let env = Env { deadline: Deadline::when(&after_the_first), fail_mode, ..env() };
        judge_in(&pack, Endpoint::ChatCompletions, &says("Jo Smith s3cr3t"), &caller(&[]), &env)
    };
    let blocked = run(FailMode::Block);
    let refusal = blocked.refusal.as_ref().expect("refused");
    assert_eq!((refusal.status, refusal.code), (503, "policy_deadline_exceeded"));
    assert_eq!(refusal.policy, Some(PolicyKind::DlpFilter));
    let allowed = run(FailMode::Allow);
    assert_eq!(
        outcomes(&allowed),
        [said(Verdict::Redact), Outcome::Bypassed { why: BypassReason::Deadline }, said(Verdict::Allow)]
    );
    // What was found in time is still masked.
    assert_eq!(allowed.verdict, Verdict::Redact);
}

#[test]
fn each_policy_that_ran_tells_how_long_it_took() {
    use std::{cell::Cell, time::Duration};

    let guarded = entry(PolicyKind::Rbac, CompiledPolicy::Rbac(rbac(&[("analyst", models(&[]))])));
    let pack = pack(vec![pii(), guarded, pii()]);
    let now = Cell::new(0);
    let elapsed = || {
        now.set(now.get() + 7);
        Duration::from_micros(now.get())
    };
    let env = Env { timer: Timer::with(&elapsed), ..env() };
    let judgement = judge_in(&pack, Endpoint::ChatCompletions, &says("hi"), &caller(&["analyst"]), &env);
    let took: Vec<_> = judgement.outcomes.iter().map(|outcome| outcome.took).collect();
    let once = Some(Duration::from_micros(7));
    assert_eq!(code(&judgement), Some("model_not_allowed"));
    assert_eq!(took, [once, once, None], "what was skipped took no time");

    let judgement =
        judge_in(&pack, Endpoint::ChatCompletions, &says("hi"), &caller(&["analyst"]), &super::env());
    assert!(judgement.outcomes.iter().all(|outcome| outcome.took.is_none()), "nothing is measured unasked");
}

#[test]
fn identity_and_roles_never_fail_open() {
    let guarded = entry(PolicyKind::Rbac, CompiledPolicy::Rbac(rbac(&[])));
    let pack = pack(vec![pii(), guarded]);
    let over = || true;
    let env = Env { deadline: Deadline::when(&over), fail_mode: FailMode::Allow, ..env() };
    let judgement = judge_in(&pack, Endpoint::ChatCompletions, &says("hi"), &caller(&["analyst"]), &env);
    assert_eq!(code(&judgement), Some("role_blocked"));
}

#[derive(Debug)]
struct Broken(Vec<Rule>);

impl Detector for Broken {
    fn kind(&self) -> PolicyKind {
        PolicyKind::DlpFilter
    }

    fn rules(&self) -> &[Rule] {
        &self.0
    }

    fn scan(&self, text: Text<'_>, _: &mut Scratch, hits: &mut Vec<Hit>) -> Option<f32> {
        assert!(!text.text.contains("boom"), "a detector that fails");
        // Borders inside characters, outside the text, the wrong way round, of no rule.
        for (start, end, rule) in [(1, 2, 0), (0, 999, 0), (5, 3, 0), (0, 1, 7)] {
            hits.push(Hit { start, end, rule, score: 1.0 });
        }
        None
    }

    fn replace(&self, _: u32, _: &str, _: &mut String) {}
}

fn broken() -> CompiledPack {
    let rules =
        vec![Rule { id: Arc::from("b"), entity: None, verdict: Verdict::Redact, mode: Mode::Enforce }];
    pack(vec![entry(PolicyKind::DlpFilter, CompiledPolicy::Content(Box::new(Broken(rules))))])
}

#[test]
fn a_detector_that_panics_is_an_error_of_that_policy() {
    let judgement = of(&broken(), "boom");
    let refusal = judgement.refusal.expect("refused");
    assert_eq!((refusal.status, refusal.code), (503, "policy_failed"));
    let env = Env { fail_mode: FailMode::Allow, ..env() };
    let judgement = judge_in(&broken(), Endpoint::ChatCompletions, &says("boom"), &caller(&[]), &env);
    assert_eq!(outcomes(&judgement), [Outcome::Bypassed { why: BypassReason::Error }]);
}

#[test]
fn careless_hits_and_empty_markers_do_no_harm() {
    let pack = broken();
    let body = says("é😀x");
    let judgement = chat(&pack, &body, &caller(&[]));
    assert_eq!(
        sent(&pack, &judgement, &body),
        r#"{"model":"70b","messages":[{"role":"system","content":"<REDACTED>"},{"role":"user","content":"<REDACTED>"}]}"#
    );
}

#[test]
fn token_ids_are_refused_while_a_policy_reads_content() {
    let ids = ["[1,2,3]", "[[1,2],[3]]", r#"["text",7]"#];
    for ids in ids {
        let body = format!(r#"{{"model":"embed","input":{ids}}}"#);
        let judgement = judge(&pack(vec![audit(), pii()]), Endpoint::Embeddings, &body, &caller(&[]));
        let refusal = judgement.refusal.expect("refused");
        assert_eq!((refusal.status, refusal.code), (400, "token_ids_not_inspectable"));
        assert_eq!(refusal.param.as_deref(), Some("input"));
        // Nobody reads.
        assert_eq!(
            judge(&pack(vec![audit()]), Endpoint::Embeddings, &body, &caller(&[])).verdict,
            Verdict::Allow
        );
        let mut off = pack(vec![pii()]);
        off.chain[0].endpoints.insert(Endpoint::Embeddings, EndpointAction::Off);
        assert_eq!(judge(&off, Endpoint::Embeddings, &body, &caller(&[])).verdict, Verdict::Allow);
    }
    let prompt = r#"{"model":"complete","prompt":[[1,2]]}"#;
    assert_eq!(
        code(&judge(&pack(vec![pii()]), Endpoint::Completions, prompt, &caller(&[]))),
        Some("token_ids_not_inspectable")
    );
}

#[test]
fn attachments_follow_the_most_specific_rule() {
    let part = |url: &str| {
        format!(
            r#"{{"model":"70b","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{url}"}}}}]}}]}}"#
        )
    };
    let run = |rules: &[(&str, AttachmentRule)], url: &str| {
        let mut pack = pack(vec![audit()]);
        pack.attachments = rules.iter().map(|(name, rule)| ((*name).to_owned(), *rule)).collect();
        code(&chat(&pack, &part(url), &caller(&[])))
    };
    use AttachmentRule::{Allow, Block};
    let png = "data:image/png;base64,iVBORw0KGgo=";
    assert_eq!(run(&[], png), None);
    assert_eq!(run(&[("*", Block)], png), Some("attachment_blocked"));
    assert_eq!(run(&[("image/*", Block)], png), Some("attachment_blocked"));
    assert_eq!(run(&[("*", Block), ("image/*", Allow)], png), None);
    assert_eq!(run(&[("image/*", Block), ("image/png", Allow)], png), None);
    assert_eq!(run(&[("IMAGE/PNG", Block)], png), Some("attachment_blocked"));
    assert_eq!(run(&[("audio/*", Block)], png), None);
    // An image somewhere else may be of any type.
    assert_eq!(run(&[("image/gif", Block)], "https://x.example/a"), Some("attachment_blocked"));
    assert_eq!(run(&[("audio/*", Block)], "https://x.example/a"), None);
}

#[test]
fn the_number_of_listed_findings_is_bounded_and_all_of_them_act() {
    let text = "Jo Smith ".repeat(1500);
    let pack = pack(vec![pii()]);
    let body = says(&text);
    let judgement = chat(&pack, &body, &caller(&[]));
    assert_eq!((judgement.findings.len(), judgement.findings_omitted), (1000, 500));
    assert!(!sent(&pack, &judgement, &body).contains("Smith"));
    assert_eq!(judgement.redactions.get("PERSON"), Some(&1500));
}

#[test]
fn keys_that_may_be_text_are_not_spelled_in_places() {
    let pack = pack(vec![pii()]);
    let body = body(
        "70b",
        r#","metadata":{"plain":"Jo Smith","Jo Smith":"x","what I think of Jo":"Jo Smith","n123456":"Jo Smith"}"#,
    );
    let judgement = chat(&pack, &body, &caller(&[]));
    let places: Vec<_> =
        judgement.findings.iter().map(|finding| (&*finding.place.param, finding.place.in_key)).collect();
    assert_eq!(
        places,
        [("metadata.plain", false), ("metadata.#1", true), ("metadata.#2", false), ("metadata.#3", false)]
    );
}

#[test]
fn the_same_request_gives_the_same_judgement_with_used_memory() {
    let pack = pack(vec![pii(), injection()]);
    let mut work = Workspace::default();
    let mut run = |text: &str| {
        let body = says(text);
        let request =
            Request::parse(Endpoint::ChatCompletions, body.as_bytes(), &Limits::default()).expect("valid");
        let judgement = pack.judge(&request, &caller(&[]), &env(), &mut work);
        (judgement.verdict, judgement.findings, judgement.outcomes)
    };
    let first = run("Jo Smith");
    run(r#"{\"a\":[\"ignore\"]}"#);
    run("");
    assert_eq!(run("Jo Smith"), first);
}

#[test]
fn nothing_that_can_be_printed_holds_a_text_of_the_request() {
    let mut pack = pack(vec![pii(), dlp(Verdict::Redact)]);
    pack.aliases.insert("needle".to_owned(), Arc::from("70b"));
    let more = r#","metadata":{"Jo Smith":"s3cr3t needle"},"tools":[{"function":{"name":"needle"}}]"#;
    let body = body("needle", more);
    let request =
        Request::parse(Endpoint::ChatCompletions, body.as_bytes(), &Limits::default()).expect("a request");
    let mut work = Workspace::default();
    let judgement = pack.judge(&request, &caller(&["analyst"]), &env(), &mut work);
    let authorised = pack.authorise(&judgement, 0, &Table).expect("authorised");
    let rendered = authorised.render(body.as_bytes(), &RenderOptions::default()).expect("the body");
    let mut feed = TextFeed::new();
    feed.push("needle");
    let printed = format!(
        "{request:?} {:?} {:?} {:?} {judgement:?} {:?} {work:?} {feed:?}",
        request.fields(),
        request.document(),
        request.tools(),
        rendered.edits
    );
    for text in ["needle", "s3cr3t", "Smith", "hello"] {
        assert!(!printed.contains(text), "{printed}");
    }
}
