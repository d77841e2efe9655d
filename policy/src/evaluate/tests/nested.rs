//! Texts that are JSON: read as a whole and by key and leaf, and JSON again after masking.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn words(words: &[(&str, &str)]) -> CompiledPack {
    let mut detector = Words::new(PolicyKind::DlpFilter);
    for (id, word) in words {
        detector = detector.word(id, word, Verdict::Redact);
    }
    pack(vec![detector.entry()])
}

fn call(arguments: &str) -> String {
    json!({"model": "70b", "messages": [{"role": "assistant", "content": null,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]}]})
    .to_string()
}

/// The arguments as they would reach the model.
fn masked(pack: &CompiledPack, arguments: &str) -> String {
    let body = call(arguments);
    let judgement = chat(pack, &body, &caller(&[]));
    let sent: Value = serde_json::from_str(&sent(pack, &judgement, &body)).expect("JSON");
    sent["messages"][0]["tool_calls"][0]["function"]["arguments"].as_str().expect("a string").to_owned()
}

#[test]
fn a_leaf_is_masked_in_place() {
    let pack = words(&[("NAME", "Jo")]);
    assert_eq!(masked(&pack, r#"{ "to" : "dear Jo!", "n": 1 }"#), r#"{ "to" : "dear <NAME>!", "n": 1 }"#);
}

#[test]
fn a_disguised_leaf_is_found_and_reported_in_the_field() {
    let pack = words(&[("NAME", "Jo")]);
    let arguments = r#"{"a":"\n\u004ao"}"#;
    assert_eq!(masked(&pack, arguments), r#"{"a":"\n<NAME>"}"#);
    let judgement = chat(&pack, &call(arguments), &caller(&[]));
    let finding = &judgement.findings[0];
    assert_eq!(&*finding.place.param, "messages[0].tool_calls[0].function.arguments");
    assert_eq!(arguments.get(finding.start..finding.end), Some(r"\u004ao"));
}

#[test]
fn a_masked_number_becomes_a_string() {
    let pack = words(&[("CARD", "4111")]);
    assert_eq!(
        masked(&pack, r#"{"card":4111222233334444,"x":[-4111.5e3]}"#),
        r#"{"card":"<CARD>","x":["<CARD>"]}"#
    );
}

#[test]
fn a_masked_key_stays_a_key_and_different_keys_stay_different() {
    let pack = words(&[("NAME", "Jo")]);
    assert_eq!(
        masked(&pack, r#"[{"Jo":1,"x":2,"<NAME>":3},{"Jo":{"Jo":1}}]"#),
        r#"[{"<NAME>_2":1,"x":2,"<NAME>":3},{"<NAME>":{"<NAME>":1}}]"#
    );
    let pack = words(&[("NAME", "Jo"), ("NAME", "Al")]);
    assert_eq!(
        masked(&pack, r#"{"Jo":1,"x Jo":2,"Al":3,"x Al":4}"#),
        r#"{"<NAME>":1,"x <NAME>":2,"<NAME>_2":3,"x <NAME>_2":4}"#
    );
}

#[test]
fn very_many_masked_keys_take_reasonable_time() {
    // Counting from one for each would be 50 million tries.
    let pack = words(&[("N", "1"), ("N", "0")]);
    let members: Vec<String> = (0..10_000).map(|n| format!("\"{n:014b}\":true")).collect();
    let sent: Value =
        serde_json::from_str(&masked(&pack, &format!("{{{}}}", members.join(",")))).expect("JSON");
    assert_eq!(sent.as_object().expect("an object").len(), 10_000);
}

#[test]
fn a_finding_that_spans_structure_masks_each_leaf_under_it() {
    let pack = words(&[("CRED", r#""user":"root","pin":1234,"ok":true"#)]);
    assert_eq!(
        masked(&pack, r#"{"user":"root","pin":1234,"ok":true}"#),
        r#"{"<CRED>":"<CRED>","<CRED>_2":"<CRED>","<CRED>_3":true}"#
    );
    let across = words(&[("X", r#"end","b":"start"#)]);
    assert_eq!(masked(&across, r#"{"a":"the end","b":"start here"}"#), r#"{"a":"the <X>","<X>":"<X> here"}"#);
}

#[test]
fn a_finding_over_a_literal_alone_masks_it() {
    let pack = words(&[("FLAG", ":true")]);
    assert_eq!(masked(&pack, r#"{"admin":true,"x":false}"#), r#"{"admin":"<FLAG>","x":false}"#);
}

#[test]
fn a_finding_over_structure_alone_masks_the_whole_text() {
    let pack = words(&[("S", "}}"), ("NAME", "Jo")]);
    assert_eq!(masked(&pack, r#"{"a":{"b":"Jo"}}"#), r#""<S>""#);
}

#[test]
fn json_inside_json_is_taken_apart_too() {
    let pack = words(&[("NAME", "Jo"), ("CARD", "4111")]);
    let inner = json!({"n": "\u{e9} Jo", "c": 41_112_222}).to_string();
    let middle = json!({"inner": inner, "list": [inner]}).to_string();
    let outer = json!({"middle": middle}).to_string();
    let sent: Value = serde_json::from_str(&masked(&pack, &outer)).expect("JSON");
    let middle: Value = serde_json::from_str(sent["middle"].as_str().expect("a string")).expect("JSON");
    for inner in [&middle["inner"], &middle["list"][0]] {
        let inner: Value = serde_json::from_str(inner.as_str().expect("a string")).expect("JSON");
        assert_eq!(inner, json!({"n": "\u{e9} <NAME>", "c": "<CARD>"}));
    }
}

#[test]
fn what_only_a_lenient_reader_accepts_is_taken_apart_too() {
    let pack = words(&[("NAME", "Jo")]);
    assert_eq!(masked(&pack, r#"{"a":"\u004ao","a":"x"}"#), r#"{"a":"<NAME>","a":"x"}"#);
    assert_eq!(masked(&pack, "{\"a\":1}\n{\"b\":\"\\u004ao\"}"), "{\"a\":1}\n{\"b\":\"<NAME>\"}");
    assert_eq!(masked(&pack, r#"["\ud800\u004ao",NaN]"#), r#"["\ud800<NAME>",NaN]"#);
    assert_eq!(masked(&pack, r#"  "\u004ao""#), r#"  "<NAME>""#);
}

#[test]
fn what_is_nearly_json_is_text() {
    let pack = words(&[("NAME", "Jo")]);
    assert_eq!(masked(&pack, r#"{"a":"Jo",}"#), r#"{"a":"<NAME>",}"#);
    assert_eq!(masked(&pack, "[Jo]"), "[<NAME>]");
}

#[test]
fn detectors_are_told_the_key_of_a_leaf() {
    let pack = words(&[("SSN", "ssn=123"), ("M", "team=blue")]);
    assert_eq!(
        masked(&pack, r#"{"ssn":"123","x":"123","list":[{"a":1},"123"],"deep":{"ssn":[["123"]]}}"#),
        r#"{"ssn":"<SSN>","x":"123","list":[{"a":1},"123"],"deep":{"ssn":[["<SSN>"]]}}"#
    );
    let body = body("70b", r#","metadata":{"team":"blue","other":"blue"}"#);
    let judgement = chat(&pack, &body, &caller(&[]));
    assert!(sent(&pack, &judgement, &body).contains(r#"{"team":"<M>","other":"blue"}"#));
}

#[test]
fn deeper_nesting_than_is_taken_apart_is_an_error_not_a_gap() {
    let pack = words(&[("NAME", "Jo")]);
    let nest = |levels: usize| (0..levels).fold("[1]".to_owned(), |text, _| json!([text]).to_string());
    let ok = chat(&pack, &call(&nest(7)), &caller(&[]));
    assert_eq!(ok.verdict, Verdict::Allow);
    let refused = chat(&pack, &call(&nest(8)), &caller(&[])).refusal.expect("refused");
    assert_eq!((refused.status, refused.code), (400, "json_nested_too_deep"));
    let env = Env { fail_mode: FailMode::Allow, ..env() };
    let bypassed = judge_in(&pack, Endpoint::ChatCompletions, &call(&nest(8)), &caller(&[]), &env);
    assert_eq!(outcomes(&bypassed), [Outcome::Bypassed { why: BypassReason::TooNested }]);
}

#[test]
fn more_leaves_than_are_taken_apart_is_an_error_not_a_gap() {
    let pack = words(&[("NAME", "Jo")]);
    let many = format!("[{}1]", "1,".repeat(510_000));
    assert_eq!(code(&chat(&pack, &call(&many), &caller(&[]))), Some("json_nested_too_deep"));
}

#[test]
fn brackets_without_end_are_text() {
    let pack = words(&[("NAME", "Jo")]);
    let text = format!("{}Jo", "[".repeat(100_000));
    assert!(masked(&pack, &text).ends_with("[<NAME>"));
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[a-cJo \"\\\\\né😀]{0,12}".prop_map(Value::String),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec(("[a-cJo]{0,3}", inner.clone()), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
            // A text that is JSON again.
            inner.prop_map(|value| Value::String(value.to_string())),
        ]
    })
}

/// Every string and key at every level of JSON in JSON.
fn all_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            texts.push(text.clone());
            if let Ok(inner) = serde_json::from_str::<Value>(text)
                && (inner.is_array() || inner.is_object() || inner.is_string())
            {
                all_texts(&inner, texts);
            }
        }
        Value::Number(number) => texts.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| all_texts(item, texts)),
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            texts.push(key.clone());
            all_texts(value, texts);
        }),
        _ => {}
    }
}

proptest! {
    #[test]
    fn whatever_is_masked_stays_json_and_nothing_found_is_left(
        value in tree().prop_map(|value| if value.is_object() { value } else { json!([value]) }),
        words_of in prop::collection::vec(prop_oneof![
            Just("Jo"), Just("a"), Just("b c"), Just("1"), Just("\","), Just(":\""), Just("é"), Just("\\"), Just("}")
        ], 1..3),
    ) {
        let text = value.to_string();
        let ids = ["<", ">"];
        let pairs: Vec<(&str, &str)> = ids.into_iter().zip(words_of.iter().copied()).collect();
        // Markers `<<>` and `<>>` hold none of the words.
        let pack = words(&pairs);
        let body = call(&text);
        let judgement = chat(&pack, &body, &caller(&[]));
        let sent = sent(&pack, &judgement, &body);
        let outer: Value = serde_json::from_str(&sent).expect("JSON");
        let arguments = outer["messages"][0]["tool_calls"][0]["function"]["arguments"].as_str().expect("a string");
        let inner: Value = serde_json::from_str(arguments).expect("the arguments are JSON again");
        let mut texts = Vec::new();
        all_texts(&inner, &mut texts);
        for word in ["Jo", "a", "b c", "é"] {
            if words_of.contains(&word) {
                // `a` also stands in the words true, false and null of JSON texts inside texts.
                let left = texts.iter().any(|text| text.contains(word) && serde_json::from_str::<Value>(text).is_err());
                prop_assert!(!left, "{word} is left in {arguments} of {text}");
            }
        }
    }
}
