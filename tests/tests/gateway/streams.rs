//! Streams on their way through.

use std::time::Duration;

use futures_util::StreamExt as _;
use kt_tests::fake_databricks::{Builder, Outcome};
use serde_json::Value;

use crate::world::{LLAMA, Pack, World, chat, within};

fn target(model: &str) -> Pack {
    Pack::new().target(model, "chat", "timeout_seconds: 2\nstream_idle_seconds: 1")
}

/// The data of the events of a stream.
fn events(text: &str) -> Vec<&str> {
    text.split(['\n', '\r']).filter_map(|line| line.strip_prefix("data:")).map(str::trim).collect()
}

/// The code of the error event that ends a stream.
fn last_error(text: &str) -> Option<String> {
    let last: Value = serde_json::from_str(events(text).last()?).ok()?;
    Some(last["error"]["code"].as_str()?.to_owned())
}

#[tokio::test]
async fn the_bytes_of_a_stream_pass_unchanged() {
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
        "fake-stream-tool-calls-mixed",
        "fake-stream-agent",
        "fake-stream-not-json",
        "fake-stream-huge-event",
        "fake-stream-no-done",
    ] {
        let world = World::plan(&target(model)).fake(Builder::counted_ids).start().await;
        let response = world.stream(model, "say: grüße 🦀 und mehr").await;
        assert_eq!(response.status(), 200, "{model}");
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        let through = response.bytes().await.unwrap();
        // The same, straight from a fake of its own.
        let other = World::plan(&target(model)).fake(Builder::counted_ids).start().await;
        let mut body = chat(model, "say: grüße 🦀 und mehr");
        body["stream"] = true.into();
        let direct = other
            .client
            .post(format!("{}/chat/completions", other.fake.base_url()))
            .bearer_auth(other.fake.token())
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        assert_eq!(through, direct, "{model}");
        assert!(!String::from_utf8_lossy(&through).contains("\"error\""), "{model}");
    }
}

#[tokio::test]
async fn a_chunk_reaches_the_client_before_the_next_one_is_sent() {
    let world = World::start(&target("fake-stream-endless-100")).await;
    let mut stream = world.stream("fake-stream-endless-100", "hello").await.bytes_stream();
    for _ in 0..5 {
        assert!(within(stream.next()).await.unwrap().is_ok());
    }
    let seen = world.fake.requests();
    assert!(seen[0].end.is_none(), "the upstream is still sending");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_upstream() {
    let world = World::start(&target("fake-stream-endless")).await;
    let mut stream = world.stream("fake-stream-endless", "hello").await.bytes_stream();
    assert!(within(stream.next()).await.unwrap().is_ok());
    drop(stream);
    let seen = within(world.fake.idle()).await;
    assert_eq!(seen[0].end.as_ref().unwrap().outcome, Outcome::Disconnected);
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_first_byte_ends_the_upstream() {
    let world = World::start(&Pack::new().target("fake-stall", "chat", "timeout_seconds: 60")).await;
    let waiting = world.chat("fake-stall", "hello");
    tokio::select! {
        _ = waiting => panic!("there is no answer"),
        _ = world.fake.wait_until(|seen| !seen.is_empty()) => {}
    }
    let World { fake, running, client, dir } = world;
    drop(client);
    let seen = within(fake.idle()).await;
    assert_eq!(seen[0].end.as_ref().unwrap().outcome, Outcome::Disconnected);
    drop((running, dir));
}

#[tokio::test]
async fn a_slow_client_slows_the_upstream_down() {
    let world = World::start(&target("fake-stream-flood")).await;
    let mut stream = world.stream("fake-stream-flood", "hello").await.bytes_stream();
    assert!(within(stream.next()).await.unwrap().is_ok());
    // Nothing is read for a while: what the fake can get rid of is bounded by the sockets' buffers.
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(stream);
    let seen = within(world.fake.idle()).await;
    let sent = seen[0].end.as_ref().unwrap().bytes;
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken in");
}

#[tokio::test]
async fn a_stream_that_is_cut_never_looks_complete() {
    for (model, code) in [
        ("fake-stream-cut-midframe", "upstream_broke_off"),
        ("fake-stream-end-midframe", "upstream_stream_cut"),
        ("fake-stream-truncated", "upstream_stream_cut"),
        ("fake-stream-reset", "upstream_broke_off"),
        ("fake-stream-stall", "upstream_idle_timeout"),
    ] {
        let world = World::start(&target(model)).await;
        let text = within(world.stream(model, "hello").await.text()).await.unwrap();
        assert_eq!(last_error(&text).as_deref(), Some(code), "{model}: {text}");
        assert!(!text.contains("[DONE]"), "{model}");
    }
}

#[tokio::test]
async fn an_error_inside_a_stream_is_passed_on() {
    for model in ["fake-stream-error-event", "fake-stream-agent-error"] {
        let world = World::start(&target(model)).await;
        let text = within(world.stream(model, "hello").await.text()).await.unwrap();
        assert!(text.contains("error"), "{model}: {text}");
    }
}

#[tokio::test]
async fn a_stream_without_an_event_is_an_error_with_a_status() {
    let world = World::start(&target("fake-stream-empty")).await;
    let response = world.stream("fake-stream-empty", "hello").await;
    assert_eq!(response.status(), 502);
    assert!(response.text().await.unwrap().contains("upstream_stream_cut"));
}

#[tokio::test]
async fn an_event_that_is_too_large_ends_the_stream() {
    let world = World::plan(&target("fake-stream-huge-event"))
        .settings(|settings| settings.limits.event_bytes = 64 * 1024)
        .start()
        .await;
    let text = within(world.stream("fake-stream-huge-event", "hello").await.text()).await.unwrap();
    assert!(text.contains("upstream_answer_too_large"));
}

#[tokio::test]
async fn a_stream_that_is_refused_is_an_ordinary_error() {
    let world = World::start(&target("fake-429-retry-after-3")).await;
    let response = world.stream("fake-429-retry-after-3", "hello").await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "3");
}

#[tokio::test]
async fn two_hundred_streams_at_once_come_through_whole() {
    let world = World::start(&target("fake-stream-slow-20")).await;
    let streams = (0..200).map(|number| {
        let (world, text) = (&world, format!("say: number {number} of many"));
        async move {
            let text = world.stream("fake-stream-slow-20", &text).await.text().await.unwrap();
            assert!(text.trim_end().ends_with("[DONE]"), "{text}");
            let said: String = events(&text)
                .iter()
                .filter_map(|event| serde_json::from_str::<Value>(event).ok())
                .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
                .collect();
            assert_eq!(said, format!("number {number} of many"));
        }
    });
    within(futures_util::future::join_all(streams)).await;
    assert_eq!(world.fake.count(), 200);
}

#[tokio::test]
async fn a_stream_request_that_is_answered_whole_passes_as_it_is() {
    let world = World::start(&target("fake-stream-ignored")).await;
    let response = world.stream("fake-stream-ignored", "say: hello").await;
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/json"));
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_given_up() {
    use tokio::io::AsyncWriteExt as _;

    let world = World::plan(&target("fake-stream-flood"))
        .settings(|settings| settings.timeouts.stall = Duration::from_millis(300))
        .start()
        .await;
    let mut body = chat("fake-stream-flood", "hello");
    body["stream"] = true.into();
    let body = body.to_string();
    let mut stream = tokio::net::TcpStream::connect(world.running.addr).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let seen =
        within(world.fake.wait_until(|seen| seen.first().is_some_and(|first| first.end.is_some()))).await;
    assert_eq!(seen[0].end.as_ref().unwrap().outcome, Outcome::Disconnected);
}

/// A stream that is silent now and then, through a gateway with a heartbeat.
async fn with_heartbeat(model: &str, every: u64) -> String {
    let world = World::plan(&target(model))
        .settings(move |settings| settings.heartbeat = Some(Duration::from_millis(every)))
        .start()
        .await;
    within(world.stream(model, "say: grüße 🦀 und mehr").await.text()).await.unwrap()
}

#[tokio::test]
async fn a_silent_stream_gets_comments_between_its_events_when_the_operator_asks_for_them() {
    for model in ["fake-stream-slow-300", "fake-stream-crlf"] {
        let text = with_heartbeat(model, 100).await;
        let beats = text.matches(": keep-alive\n").count();
        assert_eq!(beats > 0, model == "fake-stream-slow-300", "{text}");
        let quiet = World::start(&target(model)).await;
        let plain = within(quiet.stream(model, "say: grüße 🦀 und mehr").await.text()).await.unwrap();
        assert!(!plain.contains("keep-alive"), "off by default");
        let data = |text: &str| events(text).iter().map(|event| said(event)).collect::<String>();
        assert_eq!(data(&text), data(&plain));
        assert!(text.trim_end().ends_with("[DONE]"), "{text}");
    }
}

fn said(event: &str) -> String {
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_heartbeat_keeps_no_dead_upstream_alive_and_never_stands_inside_an_event() {
    let text = with_heartbeat("fake-stream-stall", 150).await;
    assert!(text.matches(": keep-alive\n").count() >= 3, "{text}");
    assert_eq!(last_error(&text).as_deref(), Some("upstream_idle_timeout"), "{text}");
    // A byte every few milliseconds: almost always inside an event.
    let text = with_heartbeat("fake-stream-byte-by-byte", 1).await;
    for line in text.lines().filter(|line| line.contains("keep-alive")) {
        assert_eq!(line, ": keep-alive");
    }
    assert!(text.trim_end().ends_with("[DONE]"), "{text}");
}
