//! What an upstream's failures look like to a client.

use std::time::Duration;

use kt_tests::fake_databricks::Rule;
use serde_json::json;

use crate::world::{LLAMA, Pack, World, chat};

/// A pack of fake endpoints, each a chat target with short limits.
fn fakes(models: &[&str]) -> Pack {
    models.iter().fold(Pack::new(), |pack, model| {
        pack.target(model, "chat", "timeout_seconds: 1\ntotal_timeout_seconds: 2\nstream_idle_seconds: 1")
    })
}

#[tokio::test]
async fn refusals_of_databricks_get_the_codes_of_openai() {
    let cases = [
        ("fake-401", "401 upstream_credential_refused"),
        ("fake-403-invalid-token", "403 upstream_credential_refused"),
        ("fake-403-expiring-token", "403 upstream_credential_refused"),
        ("fake-400-invalid-token", "400 upstream_credential_refused"),
        ("fake-403-permission", "403 upstream_permission_denied"),
        ("fake-400-plain", "400 context_length_exceeded"),
        ("fake-400-nested-twice", "400 context_length_exceeded"),
        ("fake-400-external", "400 context_length_exceeded"),
        ("fake-400-nested-once", "400 invalid_request"),
        ("fake-400-text", "400 invalid_request"),
        ("fake-400-code-text", "400 invalid_request"),
        ("fake-400-error-string", "400 invalid_request"),
        ("fake-400-grammar", "400 invalid_request"),
        ("fake-400-input-guardrail", "400 content_filter"),
        ("fake-400-output-guardrail", "400 content_filter"),
        ("fake-400-rate-limit", "429 rate_limit_exceeded"),
        ("fake-404-endpoint", "404 model_not_found"),
        ("fake-404-model", "404 model_not_found"),
        ("fake-404-path", "404 upstream_path_not_found"),
        ("fake-413", "413 request_too_large"),
        ("fake-429", "429 rate_limit_exceeded"),
        ("fake-429-resource", "429 rate_limit_exceeded"),
        ("fake-429-documented", "429 rate_limit_exceeded"),
        ("fake-500", "500 upstream_server_error"),
        ("fake-500-empty", "500 upstream_server_error"),
        ("fake-502-html", "502 upstream_server_error"),
        ("fake-503", "503 upstream_server_error"),
        ("fake-504", "504 upstream_server_error"),
        ("fake-200-login-html", "502 upstream_not_json"),
        ("fake-302-login", "502 upstream_redirect"),
        ("fake-redirect", "502 upstream_redirect"),
        ("fake-101", "502 upstream_unexpected_status"),
        ("fake-200-empty", "502 upstream_empty_answer"),
        ("fake-wrong-type", "502 upstream_not_json"),
        ("fake-gzip", "502 upstream_content_encoding"),
        ("fake-gzip-bomb", "502 upstream_content_encoding"),
        ("fake-not-http", "502 upstream_broke_off"),
        ("fake-bad-chunk", "502 upstream_broke_off"),
        ("fake-close-before-head", "502 upstream_broke_off"),
        ("fake-reset-before-head", "502 upstream_broke_off"),
        ("fake-reset-after-head", "502 upstream_broke_off"),
        ("fake-close-mid-body", "502 upstream_broke_off"),
        ("fake-stall", "504 upstream_timeout"),
        ("fake-stall-after-head", "504 upstream_total_timeout"),
        ("fake-huge-header-2000", "502 upstream_broke_off"),
        ("fake-many-headers-2000", "502 upstream_broke_off"),
    ];
    let models: Vec<&str> = cases.iter().map(|(model, _)| *model).collect();
    let world = World::start(&fakes(&models)).await;
    let mut wrong = Vec::new();
    for (model, expected) in cases {
        let answer = world.chat(model, "hello").await;
        let error = answer.json()["error"].clone();
        if answer.error() != expected {
            wrong.push(format!("{model}: {} instead of {expected}: {error}", answer.error()));
        }
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{model}");
        assert_eq!(error["request_id"].as_str(), answer.header("x-request-id"), "{model}");
        assert_eq!(answer.header("x-keeptrusts-target"), Some(model));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_back() {
    let world = World::start(&fakes(&["fake-429", "fake-429-retry-after-9", "fake-429-documented-21"])).await;
    for (model, seconds) in
        [("fake-429", "1"), ("fake-429-retry-after-9", "9"), ("fake-429-documented-21", "21")]
    {
        assert_eq!(world.chat(model, "hello").await.header("retry-after"), Some(seconds), "{model}");
        let answer = world.chat(model, "hello").await;
        let remaining = answer.header("x-ratelimit-remaining-requests");
        assert_eq!(remaining, (model == "fake-429-retry-after-9").then_some("0"), "{model}");
        assert!(answer.header("x-keeptrusts-upstream-request-id").is_some(), "{model}");
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed_and_a_101_opens_nothing() {
    let world = World::start(&fakes(&["fake-redirect", "fake-101"])).await;
    world.chat("fake-redirect", "hello").await;
    world.chat("fake-101", "hello").await;
    assert_eq!(world.fake.count(), 2);
}

#[tokio::test]
async fn headers_of_the_upstream_stay_behind() {
    let world = World::start(&fakes(&["fake-stray-headers"])).await;
    let answer = world.chat("fake-stray-headers", "hello").await;
    assert_eq!(answer.status, 200);
    let mut names: Vec<&str> = answer.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    for stray in ["set-cookie", "server", "authorization", "x-databricks-org-id", "www-authenticate"] {
        assert!(!names.contains(&stray), "{names:?}");
    }
    assert!(answer.header("x-keeptrusts-upstream-request-id").is_some());
}

#[tokio::test]
async fn nothing_of_the_client_but_the_body_goes_up() {
    let world = World::start(&Pack::llama()).await;
    let response = world
        .client
        .post(world.url("/v1/chat/completions"))
        .bearer_auth("unused")
        .header("cookie", "a=b")
        .header("x-user-id", "jane")
        .header("x-user-role", "admin")
        .header("x-forwarded-for", "10.0.0.1")
        .header("x-stainless-lang", "python")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("content-type", "application/json; charset=utf-8")
        .header("accept-encoding", "gzip, br")
        .body(chat(LLAMA, "say: hello").to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let seen = &world.fake.requests()[0];
    let mut names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "accept-encoding",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "traceparent",
            "user-agent"
        ]
    );
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {}", world.fake.token()).as_str()));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.path, "/serving-endpoints/chat/completions");
    assert_eq!(seen.text(), chat(LLAMA, "say: hello").to_string());
}

#[tokio::test]
async fn a_target_that_fails_is_followed_by_the_next() {
    let pack = fakes(&["fake-503", "fake-429", "fake-stall", "fake-400-nested-once", LLAMA]).providers(&format!(
        "fallback:\n  order: [{LLAMA}]\n  triggers: [rate_limit, server_error, timeout]\n  max_fallback_attempts: 1"
    ));
    let world = World::start(&pack).await;
    for model in ["fake-503", "fake-429", "fake-stall"] {
        let answer = world.chat(model, "say: hello").await;
        assert_eq!((answer.status, answer.header("x-keeptrusts-target")), (200, Some(LLAMA)), "{model}");
    }
    let sent = world.fake.requests_to(LLAMA);
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[0].json()["model"], LLAMA);
    // The request itself was refused: another target would say the same.
    assert_eq!(world.chat("fake-400-nested-once", "hello").await.status, 400);
    assert_eq!(world.fake.requests_to(LLAMA).len(), 3);
}

#[tokio::test]
async fn without_fallback_the_failure_is_the_answer() {
    let world = World::start(&Pack::llama().chat("databricks-mixtral-8x7b-instruct")).await;
    world.fake.script([Rule::next(LLAMA, "503", 1)]).unwrap();
    assert_eq!(world.chat(LLAMA, "hello").await.status, 503);
    assert_eq!(world.fake.count(), 1);
    assert_eq!(world.chat(LLAMA, "hello").await.status, 200);
}

#[tokio::test]
async fn usage_is_asked_for_again_without_where_a_target_refuses_it() {
    let pack = Pack::new().target("fake-stream-gemini", "chat", "include_usage: true").target(
        "fake-stream-external",
        "chat",
        "include_usage: true",
    );
    let world = World::start(&pack).await;
    for _ in 0..2 {
        let text = world.stream("fake-stream-gemini", "hello").await.text().await.unwrap();
        assert!(text.contains("[DONE]"), "{text}");
    }
    let seen = world.fake.requests();
    let asked: Vec<bool> =
        seen.iter().map(|request| request.json().get("stream_options").is_some()).collect();
    assert_eq!(asked, [true, false, false]);
    let text = world.stream("fake-stream-external", "hello").await.text().await.unwrap();
    assert!(text.contains("\"usage\":{"), "{text}");
    assert_eq!(
        world.fake.requests_to("fake-stream-external")[0].json()["stream_options"],
        json!({"include_usage": true})
    );
}

#[tokio::test]
async fn a_workspace_that_is_down_is_502_and_then_seen_again() {
    let world = World::start(&Pack::llama()).await;
    let addr = world.fake.addr();
    let World { fake, running, client, dir } = world;
    fake.shutdown().await;
    let url = format!("http://{}/v1/chat/completions", running.addr);
    let call = async || {
        client
            .post(&url)
            .header("content-type", "application/json")
            .body(chat(LLAMA, "say: hello").to_string())
            .send()
            .await
            .unwrap()
    };
    let response = call().await;
    assert_eq!(response.status(), 502);
    assert!(response.text().await.unwrap().contains("upstream_unreachable"));
    let _fake = kt_tests::fake_databricks::FakeDatabricks::builder().listen(addr).start().await.unwrap();
    assert_eq!(call().await.status(), 200);
    drop((dir, Duration::ZERO));
}
