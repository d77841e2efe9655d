//! What is cut at the border of two parts of one message.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parts(texts: &[&str]) -> String {
    let parts: Vec<Value> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
    json!({"model": "70b", "messages": [{"role": "user", "content": parts}]}).to_string()
}

fn secret(verdict: Verdict) -> CompiledPack {
    pack(vec![Words::new(PolicyKind::DlpFilter).word("SECRET", "topsecret", verdict).entry()])
}

/// The texts of the parts as they would reach the model.
fn reach(pack: &CompiledPack, texts: &[&str]) -> Vec<String> {
    let body = parts(texts);
    let judgement = chat(pack, &body, &caller(&[]));
    let sent: Value = serde_json::from_str(&sent(pack, &judgement, &body)).expect("JSON");
    let parts = sent["messages"][0]["content"].as_array().expect("parts");
    parts.iter().map(|part| part["text"].as_str().expect("a text").to_owned()).collect()
}

fn places(judgement: &Judgement) -> Vec<(&str, usize, usize)> {
    judgement.findings.iter().map(|found| (&*found.place.param, found.start, found.end)).collect()
}

#[test]
fn what_lies_over_a_border_is_replaced_once_and_taken_out_of_the_rest() {
    let pack = secret(Verdict::Redact);
    assert_eq!(reach(&pack, &["the tops", "ecret is out"]), ["the <SECRET>", " is out"]);
    assert_eq!(reach(&pack, &["a top", "sec", "ret b"]), ["a <SECRET>", "<SECRET>", " b"], "never empty");
    assert_eq!(reach(&pack, &["tops", "ecret \n"]), ["<SECRET>", "<SECRET> \n"], "never blank");
    assert_eq!(reach(&pack, &["é tops", "ecrettops", "ecret é"]), ["é <SECRET>", "<SECRET>", " é"]);
    let judgement = chat(&pack, &parts(&["the tops", "ecret is out"]), &caller(&[]));
    assert_eq!(
        places(&judgement),
        [("messages[0].content[0].text", 4, 8), ("messages[0].content[1].text", 0, 5)]
    );
    assert_eq!(judgement.redactions.get("SECRET"), Some(&1), "one thing was found");
}

#[test]
fn a_block_names_the_first_part() {
    let judgement = chat(&secret(Verdict::Block), &parts(&["x", "tops", "ecret"]), &caller(&[]));
    assert_eq!(code(&judgement), Some("input_blocked"));
    let refusal = judgement.refusal.expect("refused");
    assert_eq!(refusal.param.as_deref(), Some("messages[0].content[1].text"));
}

#[test]
fn what_a_part_holds_by_itself_is_reported_once() {
    let pack = secret(Verdict::Redact);
    let judgement = chat(&pack, &parts(&["a topsecret", "and topsecret"]), &caller(&[]));
    assert_eq!(
        places(&judgement),
        [("messages[0].content[0].text", 2, 11), ("messages[0].content[1].text", 4, 13)]
    );
}

#[test]
fn what_only_the_parts_together_tell_is_found_in_its_part() {
    // The rule needs what stands at the end of the part before.
    #[derive(Debug)]
    struct After(Words);
    impl Detector for After {
        fn kind(&self) -> PolicyKind {
            self.0.kind()
        }
        fn rules(&self) -> &[Rule] {
            self.0.rules()
        }
        fn scan(&self, text: Text<'_>, _: &mut Scratch, hits: &mut Vec<Hit>) -> Option<f32> {
            let at = text.text.find("ssn 123").map(|at| at + 4);
            hits.extend(at.map(|start| Hit { start, end: start + 3, rule: 0, score: 1.0 }));
            None
        }
        fn replace(&self, rule: u32, matched: &str, out: &mut String) {
            self.0.replace(rule, matched, out);
        }
    }
    let detector = After(Words::new(PolicyKind::PiiDetector).word("SSN", "", Verdict::Redact));
    let pack = pack(vec![entry(PolicyKind::PiiDetector, CompiledPolicy::Content(Box::new(detector)))]);
    assert_eq!(reach(&pack, &["my ssn ", "123"]), ["my ssn ", "<SSN>"]);
}

#[test]
fn parts_of_other_kinds_between_texts_do_not_part_them() {
    let between = [
        json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
        json!({"type": "refusal", "refusal": "no"}),
        json!({"type": "text", "text": ""}),
    ];
    for part in between {
        let content = json!([{"type": "text", "text": "tops", "cache_control": {"type": "ephemeral"}}, part,
            {"text": "ecret", "type": "text"}]);
        let body = json!({"model": "70b", "messages": [{"role": "user", "content": content}]}).to_string();
        let judgement = chat(&secret(Verdict::Block), &body, &caller(&[]));
        assert_eq!(code(&judgement), Some("input_blocked"), "{part}");
    }
}

#[test]
fn parts_are_joined_wherever_the_protocol_has_them() {
    let two = |kind: &str| json!([{"type": kind, "text": "tops"}, {"type": kind, "text": "ecret"}]);
    let chats = [
        json!({"role": "system", "content": two("text")}),
        json!({"role": "user", "content": ["tops", "ecret"]}),
        json!({"role": "tool", "tool_call_id": "c", "content": two("text")}),
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": two("text")}]}),
        json!({"role": "assistant", "content": [{"type": "refusal", "refusal": "tops"},
            {"type": "refusal", "refusal": "ecret"}]}),
        json!({"role": "assistant", "content": [{"type": "reasoning", "summary": two("summary_text")}]}),
        json!({"role": "assistant", "content": "", "reasoning_details": two("reasoning.text")}),
    ];
    let pack = secret(Verdict::Block);
    for message in chats {
        let body = json!({"model": "70b", "messages": [message]}).to_string();
        assert_eq!(code(&chat(&pack, &body, &caller(&[]))), Some("input_blocked"), "{message}");
    }
    let inputs = [
        json!([{"role": "user", "content": two("input_text")}]),
        json!([{"type": "message", "role": "user", "content": two("input_text")}]),
        json!(two("input_text")),
        json!(["tops", "ecret"]),
        json!([{"type": "function_call_output", "call_id": "c", "output": two("input_text")}]),
        json!([{"type": "reasoning", "summary": two("summary_text")}]),
    ];
    for input in inputs {
        let body = json!({"model": "70b", "input": input}).to_string();
        let judgement = judge(&pack, Endpoint::Responses, &body, &caller(&[]));
        assert_eq!(code(&judgement), Some("input_blocked"), "{input}");
    }
}

#[test]
fn messages_and_inputs_of_their_own_are_not_joined() {
    let pack = secret(Verdict::Block);
    let body = json!({"model": "70b", "messages": [{"role": "user", "content": "tops"},
        {"role": "user", "content": "ecret"}]});
    assert_eq!(code(&chat(&pack, &body.to_string(), &caller(&[]))), None);
    let body = json!({"model": "embed", "input": ["tops", "ecret"]}).to_string();
    assert_eq!(code(&judge(&pack, Endpoint::Embeddings, &body, &caller(&[]))), None);
}

#[test]
fn parts_that_are_json_stay_json() {
    let sent = reach(&secret(Verdict::Redact), &[r#"{"a":"tops"#, "ecret\"}"]);
    assert_eq!(sent.concat(), r#"{"a":"<SECRET>"}"#);
    let sent = reach(&secret(Verdict::Redact), &["tops", r#""ecret""#]);
    assert_eq!(sent, ["tops", r#""ecret""#], "a quote lies between");
    let words = Words::new(PolicyKind::DlpFilter).word("SECRET", r#"x{"k":1"#, Verdict::Redact);
    let sent = reach(&pack(vec![words.entry()]), &["x", r#"{"k":1,"z":2}"#]);
    assert_eq!(sent, ["<SECRET>", r#"{"<SECRET>":"<SECRET>","z":2}"#]);
}

#[test]
fn the_joined_text_has_a_score_too() {
    let words = Words::new(PolicyKind::PromptInjection).word("rule", "ignore all", Verdict::Block).scored();
    let judgement = chat(&pack(vec![words.entry()]), &parts(&["ignore ", "all"]), &caller(&[]));
    assert_eq!(judgement.outcomes[0].score, Some(1.0));
    assert_eq!(code(&judgement), Some("input_blocked"));
}

#[test]
fn many_hits_over_many_parts_stay_few() {
    let long = "ab".repeat(2_000);
    let mut words = Words::new(PolicyKind::DlpFilter);
    for rule in 0..50 {
        words = words.word(&format!("R{rule}"), &long, Verdict::Redact);
    }
    let pack = pack(vec![words.entry()]);
    let texts: Vec<&str> = std::iter::repeat_n(["a", "b"], 2_000).flatten().collect();
    let judgement = chat(&pack, &parts(&texts), &caller(&[]));
    // Each piece once, and first and last of every rule.
    assert_eq!(judgement.findings.len() + judgement.findings_omitted, 4_000 + 49 * 2);
    let sent = reach(&pack, &texts);
    assert!(sent.iter().all(|text| text == "<R0>"), "nothing is left of it");
}

proptest! {
    #[test]
    fn however_a_text_is_cut_nothing_of_a_secret_is_left(
        pieces in prop::collection::vec(
            prop_oneof![Just("topsecret"), Just("é"), Just(" "), Just("tops"), Just("😀"), Just("\"")], 1..12,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let text = pieces.concat();
        let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| borders[cut.index(borders.len())]).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let texts: Vec<&str> = cuts.windows(2).map(|cut| text.get(cut[0]..cut[1]).expect("borders")).collect();
        let sent = reach(&secret(Verdict::Redact), &texts);
        prop_assert_eq!(sent.len(), texts.len());
        let marker = "<SECRET>";
        let rest = |text: &str| text.replace(marker, "");
        prop_assert_eq!(rest(&sent.concat()), text.replace("topsecret", ""));
        prop_assert!(sent.concat().matches(marker).count() >= text.matches("topsecret").count());
        for (before, after) in texts.iter().zip(&sent) {
            prop_assert!(before.trim().is_empty() || !after.trim().is_empty(), "{before:?} became blank");
        }
    }
}
