//! Every stream style, as the bytes that a client reads.

use std::fmt::Write as _;

use kt_tests::fake_databricks::TABLE;
use serde_json::{Value, json};

use crate::client::{Wire, chat, chat_body, fake, post};

const STREAM: fn() -> Value = || json!({"stream": true});

/// A stream and its unary twin for each style that ends by itself.
#[tokio::test]
async fn every_stream_style_has_its_form() {
    let endless =
        ["stream-stall", "stream-endless", "stream-flood", "stream-huge-event", "stream-byte-by-byte"];
    let mut seen = String::new();
    for behaviour in
        TABLE.iter().filter(|row| row.name.starts_with("stream-") && !endless.contains(&row.name))
    {
        let fake = fake().await;
        let wire = chat(&fake, &format!("fake-{}", behaviour.name), "say: Hello you", STREAM()).await;
        assert_eq!(wire.status(), 200, "{}", behaviour.name);
        let whole = if wire.pieces().1 { "whole" } else { "broken off" };
        let reset = if wire.reset { ", reset" } else { "" };
        let body = String::from_utf8_lossy(&wire.pieces().0.concat()).replace('\r', "␍");
        write!(seen, "### {}: {whole}{reset}\n{body}\n", behaviour.name).unwrap();
    }
    insta::assert_snapshot!("streams", seen);
}

#[tokio::test]
async fn every_family_streams_and_answers_in_its_own_form() {
    let mut seen = String::new();
    for model in [
        "databricks-meta-llama-3-3-70b-instruct",
        "databricks-llama-4-maverick",
        "databricks-claude-sonnet-4-6",
        "databricks-gpt-5",
        "databricks-gpt-oss-120b",
        "databricks-gemini-2-5-flash",
        "databricks-gemini-3-1-pro",
        "databricks-qwen35-122b-a10b",
        "databricks-inkling",
        "databricks-glm-5-2",
    ] {
        let fake = fake().await;
        let unary = chat(&fake, model, "say: Hello you", json!({"max_tokens": 13})).await;
        let stream = chat(&fake, model, "say: Hello you", json!({"stream": true, "max_tokens": 13})).await;
        write!(seen, "### {model}\n{}\n\n{}\n", unary.body(), stream.body()).unwrap();
        assert_eq!(stream.header("content-type").as_deref(), Some("text/event-stream; charset=utf-8"));
    }
    insta::assert_snapshot!("families", seen);
}

fn text_of(wire: &Wire) -> String {
    let texts = wire.events();
    texts.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn llama_usage_is_cumulative_and_ends_at_the_unary_count() {
    let fake = fake().await;
    let model = "databricks-meta-llama-3-3-70b-instruct";
    let unary = chat(&fake, model, "count: 30", json!({})).await.json();
    let stream = chat(&fake, model, "count: 30", STREAM()).await;
    let counts: Vec<u64> =
        stream.events().iter().map(|event| event["usage"]["completion_tokens"].as_u64().unwrap()).collect();
    assert!(counts.is_sorted());
    assert_eq!(counts.last().copied(), unary["usage"]["completion_tokens"].as_u64());
    assert_eq!(text_of(&stream), unary["choices"][0]["message"]["content"].as_str().unwrap());
}

#[tokio::test]
async fn external_endpoints_give_usage_only_when_asked() {
    let fake = fake().await;
    let without = chat(&fake, "fake-external-openai", "hi", STREAM()).await;
    assert!(without.events().iter().all(|event| event.get("usage").is_none()));
    let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
    let with = chat(&fake, "fake-external-openai", "hi", asked).await.events();
    let last = with.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"]["total_tokens"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn several_choices_stream_one_after_the_other() {
    let fake = fake().await;
    let wire = chat(&fake, "fake-ok", "say: Hello", json!({"stream": true, "n": 2})).await;
    let indices: Vec<u64> =
        wire.events().iter().map(|event| event["choices"][0]["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 0, 0, 1, 1, 1]);
    let unary = chat(&fake, "fake-ok", "say: Hello", json!({"n": 2})).await.json();
    assert_eq!(unary["choices"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn tool_call_fragments_join_to_the_unary_call() {
    let fake = fake().await;
    let tools = json!([
        {"type": "function", "function": {"name": "get_order", "parameters": {"type": "object", "properties": {
            "order_id": {"type": "string"}, "lines": {"type": "array", "items": {"type": "integer"}}}}}},
        {"type": "function", "function": {"name": "get_customer", "parameters": {"type": "object"}}},
    ]);
    let prompt = r#"call the tools with {"order_id": "żółć 7"}"#;
    for model in ["fake-ok", "fake-stream-tool-calls-mixed"] {
        let unary = chat(&fake, model, prompt, json!({ "tools": tools })).await.json();
        let wire = chat(&fake, model, prompt, json!({"tools": tools, "stream": true})).await;
        let mut joined = vec![String::new(); 2];
        for event in wire.events() {
            for part in event["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
                let index = usize::try_from(part["index"].as_u64().unwrap()).unwrap();
                joined[index].push_str(part["function"]["arguments"].as_str().unwrap());
            }
        }
        let calls = unary["choices"][0]["message"]["tool_calls"].as_array().unwrap().clone();
        assert_eq!(unary["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(unary["choices"][0]["message"]["content"], Value::Null);
        let names: Vec<&str> = calls.iter().map(|call| call["function"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["get_order", "get_customer"]);
        for (call, joined) in calls.iter().zip(joined) {
            assert_eq!(call["function"]["arguments"].as_str(), Some(joined.as_str()), "{model}");
            if model == "fake-ok" {
                assert_eq!(joined, r#"{"order_id": "żółć 7"}"#);
            }
        }
    }
}

#[tokio::test]
async fn split_characters_join_again_and_no_piece_is_text() {
    let fake = fake().await;
    let wire = chat(&fake, "fake-stream-split-utf8", "hi", STREAM()).await;
    let (pieces, whole) = wire.pieces();
    assert!(whole);
    let broken = pieces.iter().filter(|piece| std::str::from_utf8(piece).is_err()).count();
    assert!(broken > 20, "{broken} of {}", pieces.len());
    assert!(text_of(&wire).starts_with("Zażółć gęślą jaźń"));
    let wire = chat(&fake, "fake-stream-split-utf8", "say: 東京 🦀", STREAM()).await;
    assert_eq!(text_of(&wire), "東京 🦀");
}

#[tokio::test]
async fn one_write_holds_all_and_byte_by_byte_holds_one() {
    let fake = fake().await;
    let all = chat(&fake, "fake-stream-one-write", "say: Hello", STREAM()).await;
    assert_eq!(all.pieces().0.len(), 1);
    let single = chat(&fake, "fake-stream-byte-by-byte", "say: Hello", STREAM()).await;
    assert!(single.pieces().0.iter().all(|piece| piece.len() == 1));
    assert_eq!(text_of(&all), text_of(&single));
}

#[tokio::test]
async fn a_huge_event_is_one_frame_of_the_size_asked_for() {
    let fake = fake().await;
    let wire = chat(&fake, "fake-stream-huge-event-300", "say: Hello", STREAM()).await;
    let longest = wire.events().iter().map(|event| event.to_string().len()).max().unwrap();
    assert!((300 * 1024..301 * 1024).contains(&longest), "{longest}");
    assert!(wire.body().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn claude_that_thinks_answers_in_lists() {
    let fake = fake().await;
    let thinking = json!({"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}});
    let reply = chat(&fake, "databricks-claude-sonnet-4-6", "say: Hello", thinking).await.json();
    let content = &reply["choices"][0]["message"]["content"];
    assert_eq!((&content[0]["type"], &content[1]["text"]), (&json!("reasoning"), &json!("Hello")));
}

#[tokio::test]
async fn responses_and_messages_stream_named_events() {
    let mut seen = String::new();
    let input = json!({"model": "databricks-gpt-5", "input": "say: Hello", "stream": true});
    let messages =
        chat_body("databricks-claude-sonnet-4-6", "say: Hello", json!({"max_tokens": 9, "stream": true}));
    let tools = json!([{"type": "function", "name": "find", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}]);
    let calling =
        json!({"model": "databricks-gpt-5", "input": "call the tool", "tools": tools, "stream": true});
    for (path, body) in [
        ("/serving-endpoints/responses", input),
        ("/serving-endpoints/responses", calling),
        ("/serving-endpoints/anthropic/v1/messages", messages),
    ] {
        let fake = fake().await;
        write!(seen, "### {path}\n{}\n", post(&fake, path, &body).await.body()).unwrap();
    }
    insta::assert_snapshot!("named_events", seen);
}
