//! Streams of targets that refuse the parameter that bounds their output: `rbac`'s bound holds all the same.

use kt_audit::record::{End, TokenSource};
use kt_tests::fake_databricks::Outcome;
use serde_json::{Value, json};

use crate::{
    identity::keys,
    records::{closed, read},
    world::{LLAMA, Pack, World, chat, within},
};

const CHAT: &str = "/v1/chat/completions";
const BOUND: u64 = 10;
/// 40 tokens for the fake, four characters each.
const LONG: &str = "say: 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 \
                    0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 ";

fn bounded(model: &str, kind: &str) -> Pack {
    let roles = format!("rbac:\n  roles:\n    analyst:\n      max_tokens_per_request: {BOUND}");
    Pack::new().target(model, kind, "").chain(&["rbac", "audit-logger"]).policy(&roles)
}

async fn world(pack: &Pack) -> (World, String) {
    let keys = keys(&[("a", "ann", &["analyst"])]);
    let world = World::plan(pack).keys(&keys.file).audit().start().await;
    (world, keys.secrets[0].clone())
}

async fn ask(world: &World, key: &str, path: &str, body: &Value) -> reqwest::Response {
    let request =
        world.client.post(world.url(path)).bearer_auth(key).header("content-type", "application/json");
    request.body(body.to_string()).send().await.unwrap()
}

fn streamed(model: &str, text: &str) -> Value {
    let mut body = chat(model, text);
    body["stream"] = json!(true);
    body
}

/// The data of the events, parsed, without `[DONE]`.
fn events(text: &str) -> Vec<Value> {
    text.split(['\n', '\r'])
        .filter_map(|line| line.strip_prefix("data:"))
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

fn said(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn a_stream_is_counted_and_ended_with_length() {
    for model in
        ["fake-refuse-token-bounds", "fake-refuse-token-bounds-claude", "fake-refuse-token-bounds-bytes"]
    {
        let (world, key) = world(&bounded(model, "chat")).await;
        let response = ask(&world, &key, CHAT, &streamed(model, LONG)).await;
        assert_eq!(response.status(), 200, "{model}");
        let text = within(response.text()).await.unwrap();
        assert!(text.ends_with("data: [DONE]\n\n"), "{model}: {text}");
        let events = events(&text);
        let last = events.last().unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], "length", "{model}: {text}");
        assert_eq!(last["object"], "chat.completion.chunk");
        assert_eq!(last["id"], events[0]["id"]);
        let said = said(&events);
        assert!(!said.is_empty() && said.len() as u64 <= 4 * BOUND, "{model}: {said}");
        assert!(LONG.contains(&said), "{model}: {said}");

        let seen = within(world.fake.idle()).await;
        assert_eq!(seen.len(), 2, "once with the parameter, once without");
        assert_eq!(seen[0].json()["max_tokens"], BOUND);
        assert!(seen[1].json().get("max_tokens").is_none());
        let records = read(&world.path("audit"));
        let record = closed(records.last().unwrap());
        let noted = record.edits.token_bound.as_ref().unwrap();
        assert_eq!((noted.parameter.as_str(), noted.value), ("max_tokens", BOUND));
        assert!(noted.counted && noted.reached && !noted.clamped);
        assert_eq!((record.end, record.status), (End::Completed, Some(200)));
        let tokens = record.tokens.as_ref().unwrap();
        assert_eq!((tokens.source, tokens.completion), (TokenSource::Estimated, Some(BOUND)));
        assert_eq!(record.attempts.len(), 2);
    }
}

#[tokio::test]
async fn an_upstream_that_would_go_on_is_let_go() {
    let model = "fake-refuse-token-bounds-endless";
    let (world, key) = world(&bounded(model, "chat")).await;
    let text = within(ask(&world, &key, CHAT, &streamed(model, LONG)).await.text()).await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let seen = within(world.fake.idle()).await;
    assert_eq!(seen[1].end.as_ref().unwrap().outcome, Outcome::Disconnected);
}

#[tokio::test]
async fn a_short_answer_passes_unchanged_and_the_refusal_is_remembered() {
    let model = "fake-refuse-token-bounds";
    let (world, key) = world(&bounded(model, "chat")).await;
    for _ in 0..2 {
        let text = ask(&world, &key, CHAT, &streamed(model, "say: hello")).await.text().await.unwrap();
        assert_eq!(said(&events(&text)), "hello");
        assert!(text.contains("\"finish_reason\":\"stop\"") && !text.contains("\"length\""), "{text}");
    }
    assert_eq!(world.fake.count(), 3, "the second request does not try the parameter again");
    let records = read(&world.path("audit"));
    let record = closed(records.last().unwrap());
    let noted = record.edits.token_bound.as_ref().unwrap();
    assert!(noted.counted && !noted.reached);
    assert_eq!(record.tokens.as_ref().unwrap().source, TokenSource::Reported);
}

#[tokio::test]
async fn usage_ends_the_stream_where_the_client_asked_for_it() {
    let model = "fake-refuse-token-bounds";
    let (world, key) = world(&bounded(model, "chat")).await;
    let mut body = streamed(model, LONG);
    body["stream_options"] = json!({"include_usage": true});
    let text = ask(&world, &key, CHAT, &body).await.text().await.unwrap();
    let events = events(&text);
    let [.., cut, usage] = events.as_slice() else { panic!("{text}") };
    assert_eq!(cut["choices"][0]["finish_reason"], "length");
    assert_eq!(cut["usage"], Value::Null);
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], BOUND);
    let sum = usage["usage"]["prompt_tokens"].as_u64().unwrap() + BOUND;
    assert_eq!(usage["usage"]["total_tokens"], sum);
    assert!(text.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn completions_and_responses_end_in_their_own_form() {
    let model = "fake-refuse-token-bounds";
    let (world_c, key) = world(&bounded(model, "completion")).await;
    let body = json!({"model": model, "prompt": LONG, "stream": true});
    let text = ask(&world_c, &key, "/v1/completions", &body).await.text().await.unwrap();
    let last = events(&text).pop().unwrap();
    assert_eq!(
        (&last["object"], &last["choices"][0]["finish_reason"]),
        (&json!("text_completion"), &json!("length"))
    );
    assert_eq!(last["choices"][0]["text"], "");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");

    let (world, key) = world(&bounded(model, "responses")).await;
    let body = json!({"model": model, "input": LONG, "stream": true});
    let text = ask(&world, &key, "/v1/responses", &body).await.text().await.unwrap();
    let last = events(&text).pop().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["status"], "incomplete");
    assert_eq!(last["response"]["incomplete_details"]["reason"], "max_output_tokens");
    assert!(!text.contains("[DONE]"));
    assert_eq!(world.fake.requests()[0].json()["max_output_tokens"], BOUND);
    let records = read(&world.path("audit"));
    assert!(closed(records.last().unwrap()).edits.token_bound.as_ref().unwrap().reached);
}

#[tokio::test]
async fn what_cannot_be_counted_is_not_sent_unbounded() {
    // An answer that is not streamed: the parameter goes, and the refusal comes back.
    let model = "fake-refuse-token-bounds";
    let (world_u, key) = world(&bounded(model, "chat")).await;
    let answer = world_u.post_as(&key, CHAT, &chat(model, LONG)).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("max_tokens"), "{}", answer.text);
    assert_eq!(world_u.fake.count(), 1);

    // A stream that is answered whole.
    let model = "fake-refuse-token-bounds-whole";
    let (world_w, key) = world(&bounded(model, "chat")).await;
    let response = ask(&world_w, &key, CHAT, &streamed(model, LONG)).await;
    assert_eq!(response.status(), 502);
    let text = response.text().await.unwrap();
    assert!(text.contains("upstream_not_streamed") && !text.contains("0123"), "{text}");

    // A value that the client names is the client's: its refusal, too.
    let mut body = streamed(model, LONG);
    body["max_tokens"] = json!(5);
    let response = ask(&world_w, &key, CHAT, &body).await;
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn the_model_table_can_say_so_beforehand() {
    let keys = keys(&[("a", "ann", &["analyst"])]);
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("models.yaml");
    std::fs::write(&table, format!("version: '1'\nmodels:\n  - {{name: {LLAMA}, token_parameter: none}}\n"))
        .unwrap();
    let world = World::plan(&bounded(LLAMA, "chat"))
        .keys(&keys.file)
        .audit()
        .settings(|settings| settings.models_file = Some(table))
        .start()
        .await;
    let text = ask(&world, &keys.secrets[0], CHAT, &streamed(LLAMA, LONG)).await.text().await.unwrap();
    assert_eq!(events(&text).last().unwrap()["choices"][0]["finish_reason"], "length");
    assert_eq!(world.fake.count(), 1);
    assert!(world.fake.requests()[0].json().get("max_tokens").is_none());
}
