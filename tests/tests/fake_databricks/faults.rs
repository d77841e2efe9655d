//! Every answer that replaces the model's, head and body.

use std::fmt::Write as _;

use kt_tests::fake_databricks::{TABLE, markdown};
use serde_json::json;

use crate::client::{chat, exchange, fake, post, request, send};

/// The names of the table that stand in the given part of it.
fn names(from: &str, to: &str) -> Vec<&'static str> {
    let names: Vec<&str> = TABLE.iter().map(|behaviour| behaviour.name).collect();
    let at = |name: &str| names.iter().position(|other| *other == name).unwrap();
    names[at(from)..=at(to)].to_vec()
}

#[tokio::test]
async fn every_fault_has_its_documented_form() {
    let mut seen = String::new();
    for name in [vec!["retired"], names("401", "200-error")].concat() {
        let fake = fake().await;
        let wire = chat(&fake, &format!("fake-{name}"), "hello", json!({})).await;
        let (pieces, whole) = wire.pieces();
        assert!(whole, "{name}");
        write!(seen, "### {name}\n{}\n\n{}\n\n", wire.head(), String::from_utf8(pieces.concat()).unwrap())
            .unwrap();
    }
    insta::assert_snapshot!("faults", seen);
}

#[tokio::test]
async fn a_number_changes_retry_after() {
    let fake = fake().await;
    let wire = chat(&fake, "fake-429-retry-after-42", "hello", json!({})).await;
    assert_eq!((wire.status(), wire.header("retry-after").as_deref()), (429, Some("42")));
    let wire = chat(&fake, "fake-429-documented-42", "hello", json!({})).await;
    assert_eq!(wire.json()["error"]["retry_after"], 42);
}

#[tokio::test]
async fn inner_messages_can_be_parsed_again() {
    let fake = fake().await;
    let once = chat(&fake, "fake-400-nested-once", "hello", json!({})).await.json();
    let inner: serde_json::Value = serde_json::from_str(once["message"].as_str().unwrap()).unwrap();
    assert_eq!(inner["message"], "tools.0.custom.strict: Extra inputs are not permitted");
    let twice = chat(&fake, "fake-400-nested-twice", "hello", json!({})).await.json();
    let inner: serde_json::Value = serde_json::from_str(twice["message"].as_str().unwrap()).unwrap();
    let innermost = inner["external_model_error"]["message"].as_str().unwrap();
    let innermost: serde_json::Value = serde_json::from_str(innermost).unwrap();
    assert_eq!(innermost["message"], "Input is too long for requested model.");
    let guardrail = chat(&fake, "fake-400-input-guardrail", "hello", json!({})).await.json();
    let inner: serde_json::Value = serde_json::from_str(guardrail["message"].as_str().unwrap()).unwrap();
    assert_eq!(inner["finishReason"], "input_guardrail_triggered");
}

#[tokio::test]
async fn unknown_paths_endpoints_and_methods_are_404_in_their_own_ways() {
    let fake = fake().await;
    let mut seen = String::new();
    for (method, path, model) in [
        ("POST", "/v1/chat/completions", "databricks-gpt-5"),
        ("GET", "/serving-endpoints/chat/completions", ""),
        ("GET", "/serving-endpoints/models", ""),
        ("POST", "/api/2.0/serving-endpoints/databricks-gpt-5/invocations", ""),
        ("POST", "/serving-endpoints/chat/completions", "no-such-endpoint"),
        ("POST", "/serving-endpoints/chat/completions", "system.ai.gpt-5"),
        ("POST", "/serving-endpoints/chat/completions", "fake-no-such-behaviour"),
        ("POST", "/serving-endpoints/no-such-endpoint/invocations", ""),
        ("POST", "/ai-gateway/mlflow/v1/chat/completions", "no-such-endpoint"),
        ("GET", "/api/2.0/serving-endpoints/no-such-endpoint", ""),
    ] {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]}).to_string();
        let wire = send(&fake, method, path, &body).await;
        write!(seen, "{method} {path} {model}\n  {} {}\n", wire.status(), redacted(&wire.body())).unwrap();
    }
    insta::assert_snapshot!("not_found", seen);
}

/// Counted ids differ from request to request in a fake that serves many.
fn redacted(text: &str) -> String {
    let mut out = text.to_owned();
    while let Some(at) = out.find("00000000-0000-") {
        out.replace_range(at..at + 36, "ID");
    }
    out
}

#[tokio::test]
async fn retired_models_are_gone_where_the_fake_is_told_so() {
    let fake =
        kt_tests::fake_databricks::FakeDatabricks::builder().retired_models(false).start().await.unwrap();
    for model in [
        "databricks-dbrx-instruct",
        "databricks-meta-llama-3-1-405b-instruct",
        "databricks-mixtral-8x7b-instruct",
    ] {
        let wire = chat(&fake, model, "hi", json!({})).await;
        assert_eq!((wire.status(), &wire.json()["error_code"]), (404, &json!("RESOURCE_DOES_NOT_EXIST")));
    }
    let listing = send(&fake, "GET", "/api/2.0/serving-endpoints", "").await.json();
    let names: Vec<&str> =
        listing["endpoints"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"databricks-bge-large-en") && !names.contains(&"databricks-dbrx-instruct"));
    let wire = chat(&fake, "databricks-meta-llama-3-3-70b-instruct", "hi", json!({})).await;
    assert_eq!(wire.status(), 200);
}

#[tokio::test]
async fn the_control_header_works_for_any_endpoint_and_an_unknown_one_is_refused() {
    let fake = fake().await;
    let bearer = format!("Bearer {}", fake.token());
    let body = crate::client::chat_body("databricks-gpt-5", "hi", json!({})).to_string();
    let with = |value: &str| {
        let headers = [("authorization", bearer.as_str()), ("x-fake-behaviour", value)];
        request("POST", "/serving-endpoints/chat/completions", &headers, &body)
    };
    let wire = exchange(fake.addr(), &with("429-retry-after;3")).await;
    assert_eq!((wire.status(), wire.header("retry-after").as_deref()), (429, Some("3")));
    let wire = exchange(fake.addr(), &with("no-such")).await;
    assert_eq!(
        (wire.status(), wire.json()["fake_error"].as_str()),
        (400, Some("there is no behaviour `no-such`"))
    );
}

#[tokio::test]
async fn a_script_decides_before_the_name_and_is_used_up() {
    let fake = fake().await;
    let llama = "databricks-meta-llama-3-3-70b-instruct";
    let rules = json!([
        {"endpoint": llama, "behaviour": "ok", "times": 1},
        {"endpoint": llama, "behaviour": "503", "times": 2},
        {"endpoint": "fake-429", "behaviour": "ok", "times": 1},
        {"endpoint": "@listing", "behaviour": "500-empty", "times": 1},
    ]);
    let wire = post(&fake, "/__fake/script", &rules).await;
    assert_eq!((wire.status(), wire.json().as_array().unwrap().len()), (200, 4));
    let mut statuses = Vec::new();
    for model in [llama, llama, llama, llama, "fake-429", "fake-429"] {
        statuses.push(chat(&fake, model, "hi", json!({})).await.status());
    }
    assert_eq!(statuses, [200, 503, 503, 200, 200, 429]);
    assert_eq!(send(&fake, "GET", "/api/2.0/serving-endpoints", "").await.status(), 500);
    assert_eq!(send(&fake, "GET", "/api/2.0/serving-endpoints", "").await.status(), 200);
    assert_eq!(send(&fake, "GET", "/__fake/script", "").await.json(), json!([]));

    let wire = post(&fake, "/__fake/script", &json!({"endpoint": "*", "behaviour": "typo"})).await;
    assert_eq!(
        (wire.status(), wire.body().as_str()),
        (400, r#"{"fake_error":"there is no behaviour `typo`"}"#)
    );
    post(&fake, "/__fake/script", &json!({"endpoint": "*", "behaviour": "500"})).await;
    assert_eq!(chat(&fake, llama, "hi", json!({})).await.status(), 500);
    assert_eq!(send(&fake, "DELETE", "/__fake/script", "").await.status(), 200);
    assert_eq!(chat(&fake, llama, "hi", json!({})).await.status(), 200);
}

#[tokio::test]
async fn the_controls_list_the_behaviours() {
    let fake = fake().await;
    assert_eq!(send(&fake, "GET", "/__fake/behaviours.md", "").await.body(), markdown());
    let listed = send(&fake, "GET", "/__fake/behaviours", "").await.json();
    assert_eq!(listed.as_array().unwrap().len(), TABLE.len());
    assert_eq!(send(&fake, "GET", "/__fake/nothing", "").await.status(), 404);
    assert!(fake.requests().is_empty(), "controls are not logged");
}
