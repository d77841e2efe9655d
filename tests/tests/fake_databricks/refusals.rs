//! Strictness: what the real endpoints refuse, by family.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::client::{chat, chat_body, fake, post};

const LLAMA: &str = "databricks-meta-llama-3-3-70b-instruct";
const CLAUDE: &str = "databricks-claude-sonnet-4-6";

#[tokio::test]
async fn each_family_refuses_in_its_own_words() {
    let fake = fake().await;
    let strict_tool = json!([{"type": "function", "function": {"name": "f", "strict": true}}]);
    let schema = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}});
    let mut seen = String::new();
    for (model, extra) in [
        (LLAMA, json!({"made_up": 1})),
        (LLAMA, json!({"metadata": {"a": "b"}})),
        (LLAMA, json!({"max_completion_tokens": 5})),
        (LLAMA, json!({"max_tokens": 10_000})),
        (LLAMA, json!({"max_tokens": 0})),
        (LLAMA, json!({"n": 6})),
        (LLAMA, json!({"temperature": 3})),
        (LLAMA, json!({"messages": []})),
        (LLAMA, json!({"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]})),
        (LLAMA, json!({"tools": strict_tool})),
        (LLAMA, json!({"tools": [{"type": "web_search"}]})),
        (LLAMA, json!({"reasoning_effort": {"effort": "low"}})),
        (
            "databricks-dbrx-instruct",
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}),
        ),
        (CLAUDE, json!({"made_up": 1})),
        (CLAUDE, json!({"tools": strict_tool})),
        (CLAUDE, json!({"reasoning_effort": "low"})),
        (CLAUDE, json!({"messages": [{"role": "user", "content": ""}]})),
        (CLAUDE, json!({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]})),
        (CLAUDE, json!({"messages": [{"role": "user", "content": "a", "name": "jo"}]})),
        (CLAUDE, json!({"messages": [{"role": "assistant", "content": "a", "reasoning_details": []}]})),
        (
            CLAUDE,
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]}),
        ),
        (CLAUDE, json!({"response_format": schema})),
        (CLAUDE, json!({"thinking": {"type": "enabled", "budget_tokens": 100}})),
        (CLAUDE, json!({"max_tokens": 1024, "thinking": {"type": "enabled", "budget_tokens": 1024}})),
        ("databricks-claude-opus-4-8", json!({"temperature": 0})),
        ("databricks-gemini-2-5-flash", json!({"stream": true, "stream_options": {"include_usage": true}})),
        ("databricks-gpt-5", json!({"made_up": 1})),
        ("fake-refuse-max-tokens", json!({"max_tokens": 5})),
        ("fake-refuse-request-id", json!({"client_request_id": "a"})),
        ("fake-refuse-sampling", json!({"top_p": 1})),
        ("fake-refuse-lists", json!({"messages": [{"role": "user", "content": []}]})),
        ("databricks-bge-large-en", json!({})),
    ] {
        let wire = chat(&fake, model, "hi", extra.clone()).await;
        assert_eq!(wire.status(), 400, "{model} {extra}");
        write!(seen, "{model} {extra}\n  {}\n", wire.body()).unwrap();
    }
    insta::assert_snapshot!("refusals", seen);
}

#[tokio::test]
async fn ordinary_requests_of_openai_clients_pass() {
    let fake = fake().await;
    let tool = json!([{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}]);
    let usual = json!({
        "stream": true, "stream_options": {"include_usage": true}, "tools": tool, "tool_choice": "auto",
        "parallel_tool_calls": false, "user": "u", "seed": 1, "stop": ["x"], "top_p": 0.5, "temperature": 0.2,
        "max_tokens": 100, "frequency_penalty": 0, "presence_penalty": 0, "logprobs": false, "client_request_id": "r",
        "response_format": {"type": "text"},
    });
    for model in [LLAMA, CLAUDE, "databricks-gpt-5", "databricks-gpt-oss-20b", "fake-lenient"] {
        let wire = chat(&fake, model, "hi", usual.clone()).await;
        assert_eq!(wire.status(), 200, "{model}: {}", wire.body());
    }
    let openai = json!({"metadata": {"a": "b"}, "store": false, "max_completion_tokens": 9, "tools": [
        {"type": "function", "function": {"name": "f", "strict": true}}]});
    assert_eq!(chat(&fake, "databricks-gpt-5", "hi", openai).await.status(), 200);
    let anything = json!({"made_up": {"a": 1}, "n": 9, "max_tokens": 1_000_000});
    assert_eq!(chat(&fake, "fake-lenient", "hi", anything).await.status(), 200);
}

#[tokio::test]
async fn bodies_that_are_no_request_are_refused() {
    let fake = fake().await;
    let path = "/serving-endpoints/chat/completions";
    for body in [json!([]), json!("text"), json!(null), json!({}), json!({"model": 7})] {
        let wire = post(&fake, path, &body).await;
        assert_eq!((wire.status(), &wire.json()["error_code"]), (400, &json!("BAD_REQUEST")), "{body}");
    }
    let broken = crate::client::send(&fake, "POST", path, "{\"model\":").await;
    let message: Value = broken.json()["message"].clone();
    assert_eq!(message, "Unable to parse json body for request: expected a JSON object");
    let wire = post(&fake, path, &chat_body(LLAMA, "hi", json!({"messages": "hi"}))).await;
    assert_eq!(wire.status(), 400);
}
