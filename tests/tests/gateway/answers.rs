//! The content policies on answers, whole and streamed.

use kt_audit::record::{End, Outcome, Phase, Verdict};
use kt_tests::fake_databricks::Builder;
use serde_json::{Value, json};

use crate::{
    records::{closed, read},
    world::{LLAMA, Pack, World, chat, within},
};

const MAIL: &str = "jane.roe@example.com";
const TOKEN: &str = "dapi0a1b2c3d4e5f60718293a4b5c6d7e8f9";
/// Served by the responses API.
const GPT: &str = "fake-external-openai";
/// More than is held back.
const FILLER: &str = "and these are words that say nothing of anybody, so they may leave; ";

/// Answers alone are read, so that a test can have the fake say what it likes.
fn reading(model: &str, kind: &str) -> Pack {
    Pack::new().target(model, kind, "").chain(&["pii-detector", "dlp-filter", "audit-logger"]).policy(
        "pii-detector: {phases: [output], entities: all}\ndlp-filter: {phases: [output], builtin: all, action: block}",
    )
}

async fn ask(world: &World, path: &str, body: &Value) -> reqwest::Response {
    let request = world.client.post(world.url(path)).header("content-type", "application/json");
    request.body(body.to_string()).send().await.unwrap()
}

async fn streamed(world: &World, model: &str, text: &str) -> String {
    let mut body = chat(model, text);
    body["stream"] = json!(true);
    within(ask(world, "/v1/chat/completions", &body).await.text()).await.unwrap()
}

/// Everything that the events say under `content`, parts of lists included.
fn said(stream: &str) -> String {
    let text = |event: Value| match &event["choices"][0]["delta"]["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    };
    data(stream).into_iter().map(text).collect()
}

/// The events as JSON; the lines of data of one event belong together.
fn data(stream: &str) -> Vec<Value> {
    let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
    let event = |event: &str| {
        let lines: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
        serde_json::from_str(&lines.join("\n")).ok()
    };
    stream.split("\n\n").filter_map(event).collect()
}

#[tokio::test]
async fn a_whole_answer_is_masked_on_every_endpoint() {
    let say = format!("say: write to {MAIL} today");
    for (kind, path, body) in [
        ("chat", "/v1/chat/completions", chat(LLAMA, &say)),
        ("completion", "/v1/completions", json!({"model": LLAMA, "prompt": say})),
        ("responses", "/v1/responses", json!({"model": GPT, "input": say})),
    ] {
        let model = body["model"].as_str().unwrap();
        let world = World::plan(&reading(model, kind)).audit().start().await;
        let response = ask(&world, path, &body).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["x-keeptrusts-verdict"], "redact");
        let text = response.text().await.unwrap();
        assert!(text.contains("write to <EMAIL_ADDRESS> today") && !text.contains(MAIL), "{text}");
        serde_json::from_str::<Value>(&text).unwrap();

        let records = read(&world.path("audit"));
        let record = closed(records.last().unwrap());
        assert_eq!((record.end, record.verdict), (End::Completed, Verdict::Redact));
        assert!(record.edits.redactions_out >= 1 && record.edits.redactions_in == 0);
        assert!(record.latency.policy_out.is_some());
        let finding =
            record.findings.iter().find(|finding| finding.rule.as_str() == "EMAIL_ADDRESS").unwrap();
        assert_eq!(finding.phase, Phase::Output);
        let phases: Vec<Phase> = record.outcomes.iter().map(|outcome| outcome.phase).collect();
        assert_eq!(phases.iter().filter(|phase| **phase == Phase::Output).count(), 2);
    }
}

#[tokio::test]
async fn a_whole_answer_that_is_blocked_is_a_409_that_is_not_retried() {
    let world = World::plan(&reading(LLAMA, "chat")).audit().start().await;
    let response = world.chat(LLAMA, &format!("say: take {TOKEN}")).await;
    assert_eq!(response.status, 409);
    assert_eq!(response.header("x-should-retry"), Some("false"));
    assert_eq!(response.header("x-keeptrusts-verdict"), Some("block"));
    let body = response.json();
    let error = &body["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!("policy_violation"), &json!("output_blocked")));
    assert_eq!((&error["policy"], &error["rule"]), (&json!("dlp-filter"), &json!("DATABRICKS_TOKEN")));
    assert_eq!(error["param"], "choices[0].message.content");
    assert!(!body.to_string().contains(TOKEN));

    let records = read(&world.path("audit"));
    let record = closed(records.last().unwrap());
    assert_eq!((record.end, record.status), (End::Blocked, Some(409)));
    assert!(record.tokens.is_some(), "the model has worked all the same");
}

#[tokio::test]
async fn a_blocked_answer_comes_as_the_pack_wants_it() {
    for (response, status) in [("content_filter", 400), ("refusal", 200)] {
        let pack = reading(LLAMA, "chat").policies(&format!("block_response: {response}"));
        let world = World::plan(&pack).audit().start().await;
        let answered = world.chat(LLAMA, &format!("say: take {TOKEN}")).await;
        assert_eq!(answered.status, status);
        assert!(!answered.text.contains(TOKEN));
    }
}

#[tokio::test]
async fn the_bytes_of_a_stream_without_findings_pass_unchanged() {
    for model in [
        LLAMA,
        "fake-stream-claude",
        "fake-stream-comments",
        "fake-stream-crlf",
        "fake-stream-tight",
        "fake-stream-multiline",
        "fake-stream-fields",
        "fake-stream-split-utf8",
        "fake-stream-byte-by-byte",
        "fake-stream-one-write",
        "fake-stream-empty-choices",
        "fake-stream-no-content-key",
        "fake-stream-no-finish-reason",
        "fake-stream-finish-key-absent",
        "fake-stream-reasoning-list",
        "fake-stream-gpt-oss",
        "fake-stream-agent",
        "fake-stream-huge-event",
        "fake-stream-no-done",
    ] {
        let text = format!("say: grüße 🦀 {}", FILLER.repeat(8));
        let world = World::plan(&reading(model, "chat")).audit().fake(Builder::counted_ids).start().await;
        let through = streamed(&world, model, &text).await;
        let other = World::plan(&Pack::new().chat(model)).fake(Builder::counted_ids).start().await;
        assert_eq!(through, streamed(&other, model, &text).await, "{model}");
    }
}

#[tokio::test]
async fn a_stream_is_masked_in_whatever_form_it_comes() {
    for model in [
        LLAMA,
        "fake-stream-claude",
        "fake-stream-comments",
        "fake-stream-crlf",
        "fake-stream-tight",
        "fake-stream-multiline",
        "fake-stream-fields",
        "fake-stream-byte-by-byte",
        "fake-stream-one-write",
        "fake-stream-gpt-oss",
        "fake-stream-no-done",
    ] {
        let plain = format!("{f}{f}write to {MAIL} today {f}{f}{f}{f}{f}{f}", f = FILLER);
        let world = World::plan(&reading(model, "chat")).audit().start().await;
        let text = streamed(&world, model, &format!("say: {plain}")).await;
        let said = said(&text);
        assert!(said.contains("write to <EMAIL_ADDRESS> today"), "{model}: {text}");
        assert!(!text.contains("jane") && !text.contains("roe@"), "{model}: {text}");
        assert!(!text.contains("\"error\""), "{model}: {text}");
        assert_eq!(said.trim(), plain.replace(MAIL, "<EMAIL_ADDRESS>").trim(), "{model}");

        let records = read(&world.path("audit"));
        let record = closed(records.last().unwrap());
        assert_eq!((record.end, record.verdict), (End::Completed, Verdict::Redact), "{model}");
        assert_eq!(record.edits.redactions_out, 1, "{model}");
        assert!(record.latency.policy_out.is_some());
    }
}

#[tokio::test]
async fn a_stream_that_is_blocked_ends_with_an_error_and_nothing_of_it_is_told() {
    for model in [LLAMA, "fake-stream-claude", "fake-stream-byte-by-byte", "fake-stream-one-write"] {
        let world = World::plan(&reading(model, "chat")).audit().start().await;
        let text =
            streamed(&world, model, &format!("say: {}take {TOKEN} {}", FILLER.repeat(9), FILLER)).await;
        let last = data(&text).pop().unwrap();
        assert_eq!(last["error"]["code"], "output_blocked", "{model}: {text}");
        assert_eq!(last["error"]["rule"], "DATABRICKS_TOKEN");
        assert!(!text.contains("[DONE]") && !said(&text).contains("dapi"), "{model}: {text}");
        assert!(said(&text).starts_with("and these are words"), "what came before has left");

        let records = read(&world.path("audit"));
        let record = closed(records.last().unwrap());
        assert_eq!((record.end, record.verdict, record.status), (End::Blocked, Verdict::Block, Some(200)));
        let refusal = record.refusal.as_ref().unwrap();
        assert_eq!(refusal.code.as_str(), "output_blocked");
    }
}

#[tokio::test]
async fn what_was_held_back_leaves_before_the_error_of_a_stream_that_breaks() {
    let model = "fake-stream-truncated";
    let world = World::plan(&reading(model, "chat")).audit().start().await;
    let text = streamed(&world, model, "hello").await;
    assert!(!said(&text).is_empty(), "{text}");
    assert_eq!(data(&text).pop().unwrap()["error"]["code"], "upstream_stream_cut");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_not_passed_on() {
    let model = "fake-stream-not-json";
    let world = World::plan(&reading(model, "chat")).audit().start().await;
    let text = streamed(&world, model, "hello").await;
    assert_eq!(data(&text).pop().unwrap()["error"]["code"], "upstream_not_inspectable", "{text}");
    let records = read(&world.path("audit"));
    assert_eq!(closed(records.last().unwrap()).end, End::Failed);
}

#[tokio::test]
async fn arguments_of_a_streamed_call_are_masked_and_stay_json() {
    let pack = reading("fake-stream-tool-calls-mixed", "chat").policies("answers: {hold_back: 64}");
    let world = World::plan(&pack).audit().start().await;
    let text = streamed(&world, "fake-stream-tool-calls-mixed", &format!("say: {MAIL}")).await;
    let mut calls: std::collections::BTreeMap<u64, String> = std::collections::BTreeMap::new();
    for event in data(&text) {
        for call in event["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap_or(0);
            calls
                .entry(index)
                .or_default()
                .push_str(call["function"]["arguments"].as_str().unwrap_or_default());
        }
    }
    assert_eq!(calls[&1], r#"{"email":"<EMAIL_ADDRESS>"}"#, "{text}");
    for arguments in calls.values() {
        serde_json::from_str::<Value>(arguments).unwrap();
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_record_of_what_was_read_until_then() {
    use futures_util::StreamExt as _;
    let model = "fake-stream-endless";
    let world = World::plan(&reading(model, "chat")).audit().start().await;
    let mut stream = world.stream(model, "hello").await.bytes_stream();
    assert!(within(stream.next()).await.unwrap().is_ok());
    drop(stream);
    within(world.fake.idle()).await;
    let (_fake, dir, _) = world.stop().await;
    let records = read(&dir.path().join("audit"));
    let record = records.iter().filter_map(|record| match record {
        kt_audit::record::Body::Closed(closed) => Some(closed),
        _ => None,
    });
    let record = record.last().unwrap();
    assert_eq!(record.end, End::Aborted);
    let outputs: Vec<&Outcome> = record
        .outcomes
        .iter()
        .filter(|outcome| outcome.phase == Phase::Output)
        .map(|outcome| &outcome.outcome)
        .collect();
    assert_eq!(outputs, [&Outcome::Evaluated, &Outcome::Evaluated]);
}
