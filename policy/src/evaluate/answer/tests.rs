mod against_whole;
mod evasion;
mod load;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    compile::compile,
    evaluate::{Outcome, RefusalKind},
    pack::parse,
};

const PII: &str = "policy:\n  pii-detector: {entities: all}\n";
const DLP_BLOCK: &str = "policy:\n  dlp-filter: {builtin: all, action: block}\n";

fn pack(chain: &str, policy: &str) -> CompiledPack {
    let source = format!(
        "pack: {{name: t, version: 1.0.0}}\npolicies:\n  chain: [{chain}]\n{policy}\
         providers:\n  targets:\n    - {{id: a, provider: 'databricks:chat:m', base_url: 'https://x/serving-endpoints', secret_key_ref: {{env: T}}}}\n"
    );
    let (parsed, problems) = parse(source.as_bytes());
    let (pack, found) = compile(&parsed.unwrap_or_else(|| panic!("{problems:?}")));
    pack.unwrap_or_else(|| panic!("{found:?}"))
}

fn with_context<T>(endpoint: Endpoint, work: impl FnOnce(&AnswerContext<'_>) -> T) -> T {
    let caller = Caller::anonymous();
    work(&AnswerContext {
        endpoint,
        caller: &caller,
        models: &["m"],
        now: Timestamp::UNIX_EPOCH,
        deadline: Deadline::NEVER,
        fail_mode: FailMode::Block,
        timer: Timer::NONE,
        limits: Limits::default(),
    })
}

fn judge<'b>(pack: &CompiledPack, body: &'b str) -> Answered<'b> {
    with_context(Endpoint::ChatCompletions, |context| {
        pack.judge_answer(body, context, &mut Workspace::default()).unwrap()
    })
}

fn chat(content: &str) -> String {
    json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}).to_string()
}

/// What a stream gave: the data of the events that left, and the refusal or fault that ended it.
struct Passed {
    events: Vec<String>,
    stopped: Option<Stopped>,
    report: AnswerReport,
}

fn pass(pack: &CompiledPack, endpoint: Endpoint, events: &[String]) -> Passed {
    let mut stream = AnswerStream::new(pack, endpoint, StreamSettings { held_bytes: 1 << 24 });
    let mut work = Workspace::default();
    let mut left = Vec::new();
    let stopped = with_context(endpoint, |context| {
        for event in events {
            let pushed = stream.push(event.clone(), event, pack, context, &mut work);
            while let Some(released) = stream.pop() {
                left.push(released.data.unwrap_or(released.frame));
            }
            pushed?;
        }
        stream.end(pack, context, &mut work)
    });
    while let Some(released) = stream.pop() {
        left.push(released.data.unwrap_or(released.frame));
    }
    let stopped = stopped.err();
    let report = stream.report(pack, stopped.is_some());
    Passed { events: left, stopped, report }
}

fn delta(content: &str) -> String {
    json!({"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}]}).to_string()
}

fn text_of(events: &[String]) -> String {
    let text = |event: &String| {
        let event: Value = serde_json::from_str(event).ok()?;
        Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())
    };
    events.iter().filter_map(text).collect()
}

/// The text in pieces of these lengths (code points), again and again.
fn cut(text: &str, lengths: &[usize]) -> Vec<String> {
    let mut rest: Vec<char> = text.chars().collect();
    let mut events = Vec::new();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let behind = rest.split_off((*length).clamp(1, rest.len()));
        events.push(delta(&rest.iter().collect::<String>()));
        rest = behind;
    }
    events.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).to_string());
    events.push("[DONE]".to_owned());
    events
}

const LONG: &str = "The ticket was opened on Monday. It is about the invoice that nobody has seen, and the customer \
    asked twice for an answer. She can be reached at jane.roe@example.com or under +44 20 7946 0958, she wrote, and \
    she would like to be called in the morning. Her card 4111 1111 1111 1111 was charged twice; the second charge is \
    to be given back. Nothing else is known of the matter, and whoever takes it up should read the thread first. \
    There is a note of the team lead as well, which says that such cases are to be handled within two days.";

#[test]
fn an_answer_without_findings_leaves_as_it_came() {
    let body = chat("nothing to see here");
    let answered = judge(&pack("pii-detector", PII), &body);
    assert!(matches!(answered.body, Ok(Cow::Borrowed(_))));
    assert_eq!(answered.report.verdict, Verdict::Allow);
    assert_eq!(answered.report.outcomes.len(), 1);
}

#[test]
fn personal_data_in_an_answer_is_masked() {
    let body = chat("write to jane.roe@example.com");
    let answered = judge(&pack("pii-detector", PII), &body);
    assert_eq!(answered.body.unwrap(), chat("write to <EMAIL_ADDRESS>"));
    assert_eq!(answered.report.verdict, Verdict::Redact);
    let finding = &answered.report.findings[0];
    assert_eq!(&*finding.place.pointer, "/choices/0/message/content");
    assert_eq!((finding.start, finding.end, finding.phase), (9, 29, Phase::Output));
}

#[test]
fn a_secret_in_an_answer_blocks_it_and_the_policies_behind_are_skipped() {
    let pack = pack("dlp-filter, pii-detector", DLP_BLOCK);
    let body = chat("use dapi0a1b2c3d4e5f60718293a4b5c6d7e8f9");
    let answered = judge(&pack, &body);
    let refusal = answered.body.unwrap_err();
    assert_eq!((refusal.kind, refusal.code), (RefusalKind::PolicyViolation, "output_blocked"));
    assert_eq!(refusal.param.as_deref(), Some("choices[0].message.content"));
    let outcomes: Vec<Outcome> = answered.report.outcomes.iter().map(|outcome| outcome.outcome).collect();
    assert_eq!(outcomes, [Outcome::Evaluated { verdict: Verdict::Block }, Outcome::Skipped]);
}

#[test]
fn arguments_of_calls_stay_json() {
    let arguments = r#"{"to":"jane.roe@example.com","n":1}"#;
    let body = json!({"choices": [{"message": {"tool_calls": [{"function": {"name": "mail", "arguments": arguments}}]}}]});
    let body = body.to_string();
    let answered: Value =
        serde_json::from_str(&judge(&pack("pii-detector", PII), &body).body.unwrap()).unwrap();
    let masked =
        answered["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert_eq!(masked, r#"{"to":"<EMAIL_ADDRESS>","n":1}"#);
}

#[test]
fn log_probabilities_do_not_spell_what_is_masked() {
    let body = r#"{"choices":[{"message":{"content":"to jane.roe@example.com"},"logprobs":{"content":[{"token":"jane"}]}}]}"#;
    let masked = judge(&pack("pii-detector", PII), body).body.unwrap().into_owned();
    assert_eq!(masked, r#"{"choices":[{"message":{"content":"to <EMAIL_ADDRESS>"},"logprobs":null}]}"#);
}

#[test]
fn policies_read_what_their_phases_say() {
    let only_input = pack("pii-detector", "policy:\n  pii-detector: {phases: [input]}\n");
    assert!(!only_input.judges_answers(Endpoint::ChatCompletions));
    assert!(!pack("prompt-injection", "").judges_answers(Endpoint::ChatCompletions), "input is its default");
    let both = pack("pii-detector", "");
    assert!(both.judges_answers(Endpoint::ChatCompletions));
    assert!(!both.judges_answers(Endpoint::Embeddings), "there is no text in them");
    let off = pack("pii-detector", "policy:\n  pii-detector: {endpoints: {completions: off}}\n");
    assert!(!off.judges_answers(Endpoint::Completions));
}

#[test]
fn an_exception_holds_for_answers_too_and_names_its_ticket() {
    let mut pack = pack("dlp-filter", DLP_BLOCK);
    pack.exceptions.push(crate::compiled::CompiledException {
        policy: crate::verdict::PolicyKind::DlpFilter,
        rule: None,
        scope: crate::pack::ExceptionScope::default(),
        ticket: Some(Arc::from("SEC-1")),
        expires: Timestamp::MAX,
    });
    let body = chat("use dapi0a1b2c3d4e5f60718293a4b5c6d7e8f9");
    let answered = judge(&pack, &body);
    assert!(matches!(answered.body, Ok(Cow::Borrowed(_))));
    let outcome = &answered.report.outcomes[0];
    assert_eq!((outcome.outcome, outcome.ticket.as_deref()), (Outcome::Waived, Some("SEC-1")));
}

#[test]
fn what_observes_changes_no_byte_of_an_answer() {
    let pack = pack("pii-detector", "policy:\n  pii-detector: {mode: observe}\n");
    let body = chat("write to jane.roe@example.com");
    let answered = judge(&pack, &body);
    assert!(matches!(answered.body, Ok(Cow::Borrowed(_))));
    assert_eq!(answered.report.outcomes[0].outcome, Outcome::Observed { would: Verdict::Redact });
    let events = cut("write to jane.roe@example.com, please", &[3]);
    let passed = pass(&pack, Endpoint::ChatCompletions, &events);
    assert_eq!(passed.events, events);
    assert_eq!(passed.report.findings.len(), 1);
}

#[test]
fn an_answer_that_is_not_json_cannot_be_judged() {
    let pack = pack("pii-detector", PII);
    with_context(Endpoint::ChatCompletions, |context| {
        pack.judge_answer("<html>", context, &mut Workspace::default()).unwrap_err();
    });
    let passed = pass(&pack, Endpoint::ChatCompletions, &["<html>".to_owned()]);
    assert!(matches!(passed.stopped, Some(Stopped::NotInspectable(_))));
    assert!(passed.events.is_empty());
}

#[test]
fn a_stream_is_masked_however_it_is_cut() {
    let pack = pack("pii-detector", PII);
    let mut whole = None;
    for lengths in [&[1][..], &[3], &[7, 1, 20], &[10_000]] {
        let passed = pass(&pack, Endpoint::ChatCompletions, &cut(LONG, lengths));
        assert_eq!(passed.stopped, None);
        let text = text_of(&passed.events);
        for part in ["jane", "roe@", "7946", "4111", "1111"] {
            assert!(!text.contains(part), "{part} in {text}");
        }
        assert!(text.contains("reached at <EMAIL_ADDRESS> or under <PHONE_NUMBER>, she wrote"), "{text}");
        let seen = (text, passed.report.findings, passed.report.redactions);
        assert_eq!(*whole.get_or_insert_with(|| seen.clone()), seen);
    }
    let (text, findings, _) = whole.unwrap();
    let unary = chat(LONG);
    let answered = judge(&pack, &unary);
    assert_eq!(answered.body.unwrap(), chat(&text), "the same as of the whole");
    assert_eq!(answered.report.findings, findings);
}

#[test]
fn what_is_let_go_lags_no_more_than_the_hold_back() {
    let pack = pack("pii-detector", PII);
    let text = "these are words of no weight at all. ".repeat(60);
    let events = cut(&text, &[5]);
    let mut stream =
        AnswerStream::new(&pack, Endpoint::ChatCompletions, StreamSettings { held_bytes: 1 << 20 });
    let mut work = Workspace::default();
    let (mut given, mut left) = (0, 0);
    with_context(Endpoint::ChatCompletions, |context| {
        for event in &events {
            stream.push(event.clone(), event, &pack, context, &mut work).unwrap();
            given += text_of(std::slice::from_ref(event)).len();
            while let Some(released) = stream.pop() {
                left += text_of(&[released.frame]).len();
            }
            assert!(given - left <= 256 + 64 + 40, "{given} given, {left} left");
        }
    });
    assert_eq!(given, left, "the end lets everything go");
}

#[test]
fn nothing_of_a_blocking_finding_is_let_go_and_nothing_behind_it() {
    let pack = pack("dlp-filter", DLP_BLOCK);
    let before = "here is what you asked for, word by word. ".repeat(12);
    let text = format!("{before}token dapi0a1b2c3d4e5f60718293a4b5c6d7e8f9 and more behind. {before}");
    for lengths in [&[1][..], &[4], &[50], &[10_000]] {
        let passed = pass(&pack, Endpoint::ChatCompletions, &cut(&text, lengths));
        let Some(Stopped::Refused(refusal)) = passed.stopped else { panic!("{lengths:?}") };
        assert_eq!(refusal.code, "output_blocked");
        assert_eq!(refusal.param.as_deref(), Some("choices[0].message.content"));
        let left = text_of(&passed.events);
        assert!(text.starts_with(&left) && !left.contains("dapi") && !left.contains("behind"), "{left}");
        assert_eq!(passed.report.verdict, Verdict::Block);
    }
}

#[test]
fn a_key_that_is_longer_than_the_hold_back_is_held_to_its_end() {
    let pack = pack("dlp-filter", "policy:\n  dlp-filter: {builtin: all}\n");
    let line = |seed: usize| -> String {
        (0..64)
            .map(|at| {
                char::from(
                    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                        [(at * 37 + seed * 11 + at * at) % 64],
                )
            })
            .collect()
    };
    let body: Vec<String> = (0..24).map(line).collect();
    let text = format!(
        "Here it is:\n-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\nKeep it safe. {}",
        body.join("\n"),
        "And now for something else. ".repeat(20)
    );
    for lengths in [&[3][..], &[17, 90], &[10_000]] {
        let passed = pass(&pack, Endpoint::ChatCompletions, &cut(&text, lengths));
        let left = text_of(&passed.events);
        assert!(left.starts_with("Here it is:\n<"), "{left}");
        assert!(left.contains("Keep it safe."));
        assert!(body.iter().all(|line| !left.contains(&line[..16])), "{left}");
    }
}

#[test]
fn arguments_come_in_pieces_and_are_judged_whole() {
    let pack = pack("pii-detector", PII);
    let piece = |arguments: &str| {
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}}]})
            .to_string()
    };
    let mut events: Vec<String> =
        ["{\"to\":\"jane.", "roe@exam", "ple.com\",\"n\":", "1}"].map(piece).to_vec();
    events.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}).to_string());
    let passed = pass(&pack, Endpoint::ChatCompletions, &events);
    let arguments: String = passed
        .events
        .iter()
        .filter_map(|event| {
            let event: Value = serde_json::from_str(event).unwrap();
            Some(event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str()?.to_owned())
        })
        .collect();
    assert_eq!(arguments, r#"{"to":"<EMAIL_ADDRESS>","n":1}"#);
    assert_eq!(passed.events.len(), events.len(), "no event is lost");
    let place = &passed.report.findings[0].place;
    assert_eq!(&*place.param, "choices[0].message.tool_calls[0].function.arguments");
}

#[test]
fn an_answer_that_is_json_is_masked_leaf_by_leaf() {
    let pack = pack(
        "pii-detector",
        "policy:\n  pii-detector: {redaction: {custom_markers: {EMAIL_ADDRESS: '\"gone\"'}}}\n",
    );
    let text = format!(r#"{{"mail":"jane.roe@example.com","text":"{}"}}"#, "words ".repeat(100));
    let passed = pass(&pack, Endpoint::ChatCompletions, &cut(&text, &[6]));
    let masked: Value = serde_json::from_str(&text_of(&passed.events)).unwrap();
    assert_eq!(masked["mail"], "\"gone\"");
}

#[test]
fn what_only_begins_like_json_is_not_held_to_its_end() {
    let pack = pack("pii-detector", PII);
    let text = format!("[1] is the first source. {}", "It says nothing of note. ".repeat(40));
    let events = cut(&text, &[8]);
    let passed = pass(&pack, Endpoint::ChatCompletions, &events[..events.len() / 2]);
    assert!(passed.events.len() > 20, "{}", passed.events.len());
}

#[test]
fn a_stream_of_responses_is_masked_in_its_deltas_and_where_they_are_repeated() {
    let pack = pack("pii-detector", PII);
    let text = "write to jane.roe@example.com now";
    let mut events: Vec<String> = text
        .split_inclusive(['.', '@', ' '])
        .map(|piece| {
            json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": piece})
                .to_string()
        })
        .collect();
    let content = json!([{"type": "output_text", "text": text}]);
    events.push(
        json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": text})
            .to_string(),
    );
    events.push(json!({"type": "response.completed", "response": {"output": [{"type": "message", "content": content}]}}).to_string());
    let passed = pass(&pack, Endpoint::Responses, &events);
    let seen: Vec<Value> = passed.events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let deltas: String = seen.iter().filter_map(|event| event["delta"].as_str()).collect();
    let masked = "write to <EMAIL_ADDRESS> now";
    assert_eq!(deltas, masked);
    assert_eq!(seen[seen.len() - 2]["text"], masked);
    assert_eq!(seen[seen.len() - 1]["response"]["output"][0]["content"][0]["text"], masked);
}

#[test]
fn answers_beside_each_other_do_not_mix() {
    let pack = pack("pii-detector", PII);
    let piece = |index: u64, content: &str| {
        json!({"choices": [{"index": index, "delta": {"content": content}}]}).to_string()
    };
    let events = [
        piece(0, "jane."),
        piece(1, "nobody "),
        piece(0, "roe@exa"),
        piece(1, "is here"),
        piece(0, "mple.com"),
        "[DONE]".to_owned(),
    ];
    let passed = pass(&pack, Endpoint::ChatCompletions, &events);
    assert_eq!(passed.events[0], piece(0, "<EMAIL_ADDRESS>"));
    assert_eq!(passed.events[1..5], [piece(1, "nobody "), piece(0, ""), piece(1, "is here"), piece(0, "")]);
}

#[test]
fn more_than_may_be_held_back_ends_the_stream() {
    let pack = pack("pii-detector", PII);
    let mut stream = AnswerStream::new(&pack, Endpoint::ChatCompletions, StreamSettings { held_bytes: 2000 });
    let event =
        json!({"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "x".repeat(300)}}]}}]})
            .to_string();
    let stopped = with_context(Endpoint::ChatCompletions, |context| {
        (0..20).find_map(|_| stream.push((), &event, &pack, context, &mut Workspace::default()).err())
    });
    assert_eq!(stopped, Some(Stopped::TooLarge));
    assert!(stream.pop().is_none());
}

/// Words, names, numbers and disguises, in any order.
fn prose() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => prop::sample::select(vec!["the", "order", "is", "late", "and", "nobody", "knows", "why", "über", "数据", "🙂"]),
        1 => prop::sample::select(vec![
            "jane.roe@example.com", "Jane Roe", "+44 20 7946 0958", "4111 1111 1111 1111", "192.0.2.7",
            "GB82 WEST 1234 5698 7654 32", "dapi0a1b2c3d4e5f60718293a4b5c6d7e8f9", "\n", "{\"a\":", "https://example.com/a?b=c",
            "AKIAIOSFODNN7EXAMPLB", "SSN 536-90-4399",
        ]),
    ];
    prop::collection::vec(word, 0..220).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// What streaming enforcement stands on: text, findings and counts do not depend on the cuts, and no event is lost.
    #[test]
    fn what_leaves_does_not_depend_on_where_the_text_was_cut(
        text in prose(),
        lengths in prop::collection::vec(1_usize..40, 1..6),
    ) {
        let pack = pack("pii-detector, dlp-filter", "policy:\n  pii-detector: {entities: all}\n  dlp-filter: {builtin: all}\n");
        let events = cut(&text, &lengths);
        let in_pieces = pass(&pack, Endpoint::ChatCompletions, &events);
        let at_once = pass(&pack, Endpoint::ChatCompletions, &cut(&text, &[usize::MAX]));
        prop_assert_eq!(&in_pieces.stopped, &None);
        prop_assert_eq!(in_pieces.events.len(), events.len());
        prop_assert_eq!(text_of(&in_pieces.events), text_of(&at_once.events));
        prop_assert_eq!(in_pieces.report.findings, at_once.report.findings);
        prop_assert_eq!(in_pieces.report.redactions, at_once.report.redactions);
    }

    #[test]
    fn any_event_is_taken(events in prop::collection::vec("[{}\\[\\]\":,a-z0-9\\\\ud]{0,60}", 0..6)) {
        let pack = pack("pii-detector", PII);
        for endpoint in [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Responses] {
            pass(&pack, endpoint, &events);
        }
    }
}
