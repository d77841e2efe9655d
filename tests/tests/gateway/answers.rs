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
        let came = streamed(&other, model, &text).await;
        // A comment could carry a text: that there was one is passed on, at once.
        assert_eq!(through.matches(":\n\n").count(), came.matches(": keep-alive\n\n").count(), "{model}");
        assert_eq!(through.replace(":\n\n", ""), came.replace(": keep-alive\n\n", ""), "{model}");
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
    let mut record = records.iter().filter_map(|record| match record {
        kt_audit::record::Body::Closed(closed) => Some(closed),
        _ => None,
    });
    let record = record.next_back().unwrap();
    assert_eq!(record.end, End::Aborted);
    let outputs: Vec<&Outcome> = record
        .outcomes
        .iter()
        .filter(|outcome| outcome.phase == Phase::Output)
        .map(|outcome| &outcome.outcome)
        .collect();
    assert_eq!(outputs, [&Outcome::Evaluated, &Outcome::Evaluated]);
}

#[tokio::test]
async fn what_ends_a_stream_that_was_cut_is_the_same_with_policies_and_without() {
    for model in [
        "fake-stream-cut-midframe",
        "fake-stream-end-midframe",
        "fake-stream-truncated",
        "fake-stream-reset",
        "fake-stream-error-event",
    ] {
        let text = format!("say: {}", FILLER.repeat(3));
        let judged = World::plan(&reading(model, "chat")).audit().start().await;
        let left = streamed(&judged, model, &text).await;
        let plain = World::plan(&Pack::new().chat(model)).start().await;
        let came = streamed(&plain, model, &text).await;
        let code = |stream: &str| data(stream).pop().unwrap()["error"]["code"].clone();
        assert_eq!(code(&left), code(&came), "{model}: {left}");
        assert_eq!(said(&left), said(&came), "{model}");
        for line in left.lines().filter(|line| line.starts_with("data:")) {
            serde_json::from_str::<Value>(&line[5..]).unwrap_or_else(|_| panic!("{model}: {line}"));
        }
    }
}

#[tokio::test]
async fn a_stream_answered_whole_is_masked() {
    let model = "fake-stream-ignored";
    let world = World::plan(&reading(model, "chat")).audit().start().await;
    let text = streamed(&world, model, &format!("say: write to {MAIL}")).await;
    assert!(text.contains("<EMAIL_ADDRESS>") && !text.contains("jane"), "{text}");
}

#[tokio::test]
async fn policies_that_run_out_of_time_end_an_answer_or_let_it_pass_as_the_operator_says() {
    use kt_data_plane::settings::FailMode;
    for (mode, stream) in
        [(FailMode::Block, false), (FailMode::Block, true), (FailMode::Allow, false), (FailMode::Allow, true)]
    {
        let world = World::plan(&reading(LLAMA, "chat"))
            .audit()
            .settings(move |settings| {
                settings.fail_mode = mode;
                settings.timeouts.policy = std::time::Duration::ZERO;
            })
            .start()
            .await;
        let mut body = chat(LLAMA, &format!("say: write to {MAIL} {}", FILLER.repeat(9)));
        body["stream"] = json!(stream);
        let response = ask(&world, "/v1/chat/completions", &body).await;
        let status = response.status().as_u16();
        let text = within(response.text()).await.unwrap();
        let records = read(&world.path("audit"));
        let record = closed(records.last().unwrap());
        let outputs: Vec<&Outcome> = record
            .outcomes
            .iter()
            .filter(|outcome| outcome.phase == Phase::Output)
            .map(|outcome| &outcome.outcome)
            .collect();
        if mode == FailMode::Block {
            assert!(!text.contains("jane") && text.contains("\"error\""), "{text}");
            assert_eq!(status, if stream { 200 } else { 503 }, "{text}");
            assert_ne!(record.end, End::Completed);
            assert!(record.refusal.is_some());
            assert!(!text.contains("[DONE]"));
        } else {
            assert_eq!(status, 200);
            assert!(text.contains(MAIL) || said(&text).contains(MAIL), "{text}");
            assert_eq!(record.end, End::Completed);
            assert_eq!(outputs.len(), 2);
            assert!(outputs.iter().all(|outcome| matches!(outcome, Outcome::Bypassed { .. })), "{outputs:?}");
        }
    }
}

#[tokio::test]
async fn a_plain_request_whose_answer_was_masked_is_recorded_where_plain_ones_are_not() {
    for stream in [false, true] {
        let pack = reading(LLAMA, "chat").policy("audit-logger: {log_all_access: false}");
        let world = World::plan(&pack).audit().start().await;
        let mut body = chat(LLAMA, "say: nothing of note");
        body["stream"] = json!(stream);
        within(ask(&world, "/v1/chat/completions", &body).await.text()).await.unwrap();
        assert!(read(&world.path("audit")).is_empty());
        for (text, verdict) in [(MAIL, Verdict::Redact), (TOKEN, Verdict::Block)] {
            let mut body = chat(LLAMA, &format!("say: {text}"));
            body["stream"] = json!(stream);
            within(ask(&world, "/v1/chat/completions", &body).await.text()).await.unwrap();
            let records = read(&world.path("audit"));
            assert_eq!(closed(records.last().unwrap()).verdict, verdict, "{stream} {records:?}");
        }
        assert_eq!(read(&world.path("audit")).len(), 2);
    }
}

#[tokio::test]
async fn offsets_in_the_record_of_a_stream_are_code_points_of_the_whole_text() {
    let plain = format!("{}über 🦀 {MAIL} {}", FILLER.repeat(60), FILLER.repeat(10));
    let world = World::plan(&reading(LLAMA, "chat")).audit().start().await;
    let text = streamed(&world, LLAMA, &format!("say: {plain}")).await;
    let masked = said(&text);
    let records = read(&world.path("audit"));
    let record = closed(records.last().unwrap());
    let finding = record.findings.iter().find(|finding| finding.rule.as_str() == "EMAIL_ADDRESS").unwrap();
    let at = masked.find("<EMAIL_ADDRESS>").unwrap();
    let start = masked[..at].chars().count() as u64;
    assert_eq!((finding.start, finding.end), (start, start + MAIL.chars().count() as u64));
    assert_eq!(finding.field.as_str(), "/choices/0/message/content");
    assert_eq!(record.bytes_out, text.len() as u64);
}

#[tokio::test]
async fn a_client_is_told_that_a_text_is_held_back_where_the_operator_asks_for_it() {
    let model = "fake-stream-slow-300";
    let world = World::plan(&reading(model, "chat"))
        .audit()
        .settings(|settings| settings.heartbeat = Some(std::time::Duration::from_millis(400)))
        .start()
        .await;
    let text = streamed(&world, model, "say: one two three four five six seven").await;
    assert!(text.matches(": keep-alive\n").count() >= 2, "{text}");
    assert_eq!(said(&text).trim(), "one two three four five six seven");
}
