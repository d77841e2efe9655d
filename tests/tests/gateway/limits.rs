//! How much a client may ask for, and in which form.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::world::{Answer, LLAMA, Pack, World, chat, read_to_end, within};

async fn post_bytes(world: &World, kind: Option<&str>, body: impl Into<reqwest::Body>) -> Answer {
    let mut request = world.client.post(world.url("/v1/chat/completions")).body(body);
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_before_and_while_it_comes() {
    let world =
        World::plan(&Pack::llama()).settings(|settings| settings.limits.body_bytes = 1000).start().await;
    let large = chat(LLAMA, &"a".repeat(2000)).to_string();
    assert_eq!(
        post_bytes(&world, Some("application/json"), large.clone()).await.error(),
        "413 request_too_large"
    );
    let pieces = futures_util::stream::iter(
        large
            .into_bytes()
            .chunks(100)
            .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
            .collect::<Vec<_>>(),
    );
    let answer = post_bytes(&world, Some("application/json"), reqwest::Body::wrap_stream(pieces)).await;
    assert_eq!(answer.error(), "413 request_too_large");
    assert_eq!(world.fake.count(), 0);
}

#[tokio::test]
async fn only_plain_json_is_taken() {
    let world = World::start(&Pack::llama()).await;
    let body = chat(LLAMA, "say: hello").to_string();
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=a"),
    ] {
        assert_eq!(
            post_bytes(&world, kind, body.clone()).await.error(),
            "415 unsupported_media_type",
            "{kind:?}"
        );
    }
    let encoded = world
        .client
        .post(world.url("/v1/chat/completions"))
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(encoded.status(), 415);
}

#[tokio::test]
async fn malformed_bodies_are_400_and_say_why() {
    let world = World::start(&Pack::llama()).await;
    for (body, code) in [
        (String::new(), "invalid_json"),
        ("{".to_owned(), "invalid_json"),
        (format!("{}x", chat(LLAMA, "a")), "invalid_json"),
        ("[]".to_owned(), "invalid_type"),
        (r#"{"messages":[]}"#.to_owned(), "missing_required_parameter"),
        (r#"{"model":"a","model":"b","messages":[]}"#.to_owned(), "duplicate_key"),
        (
            format!(r#"{{"model":"{LLAMA}","messages":[{{"role":"user","content":"a","content":"b"}}]}}"#),
            "duplicate_key",
        ),
        (
            format!(r#"{{"model":"{LLAMA}","messages":[],"x":{}{}}}"#, "[".repeat(70), "]".repeat(70)),
            "json_limit_exceeded",
        ),
        ("{\"model\":\"\u{0}\"}".to_owned(), "invalid_json"),
    ] {
        let answer = post_bytes(&world, Some("application/json"), body.clone()).await;
        assert_eq!(answer.error(), format!("400 {code}"), "{body}");
    }
    let answer = post_bytes(&world, Some("application/json"), b"{\"model\":\"\xff\"}".to_vec()).await;
    assert_eq!(answer.error(), "400 invalid_json");
    assert_eq!(world.fake.count(), 0);
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let world = World::start(&Pack::llama()).await;
    assert_eq!(world.get(world.url("/v1/files")).await.error(), "404 not_governed");
    assert_eq!(world.get(world.url("/metrics")).await.error(), "404 not_governed");
    assert_eq!(world.get(world.url("/keeptrusts/config")).await.error(), "404 not_governed");
    let answer = world.get(world.url("/v1/chat/completions")).await;
    assert_eq!((answer.error().as_str(), answer.header("allow")), ("405 method_not_allowed", Some("POST")));
}

#[tokio::test]
async fn requests_beyond_the_limit_are_503_at_once() {
    let world = World::plan(&Pack::new().target("fake-slow-first-byte-1500", "chat", "timeout_seconds: 5"))
        .settings(|settings| settings.limits.concurrency = 2)
        .start()
        .await;
    let slow = || world.chat("fake-slow-first-byte-1500", "hello");
    let third = async {
        world.fake.wait_until(|seen| seen.len() == 2).await;
        let answer = world.chat("fake-slow-first-byte-1500", "hello").await;
        // Health is told all the same.
        assert_eq!(world.get(world.url("/readyz")).await.status, 200);
        answer
    };
    let (first, second, third) = within(async { tokio::join!(slow(), slow(), third) }).await;
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!((third.error().as_str(), third.header("retry-after")), ("503 gateway_busy", Some("1")));
    assert_eq!(world.chat("fake-slow-first-byte-1500", "hello").await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_turned_away() {
    let world =
        World::plan(&Pack::llama()).settings(|settings| settings.limits.connections = 1).start().await;
    let first = TcpStream::connect(world.running.addr).await.unwrap();
    world_settles(&world).await;
    let mut second = TcpStream::connect(world.running.addr).await.unwrap();
    let answer = read_to_end(&mut second).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let length: usize =
        answer.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    assert_eq!(body.len(), length);
    let error: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(error["error"]["code"], "too_many_connections");
    drop(first);
    within(async {
        while !raw_ok(&world).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn world_settles(world: &World) {
    within(async {
        while !world.metrics().await.contains("connections_total{result=\"accepted\"} 2") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn raw_ok(world: &World) -> bool {
    crate::world::raw(world.running.addr, b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .starts_with("HTTP/1.1 200")
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let world = World::plan(&Pack::llama())
        .settings(|settings| settings.timeouts.body = Duration::from_millis(200))
        .start()
        .await;
    let mut stream = TcpStream::connect(world.running.addr).await.unwrap();
    stream
        .write_all(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        .await
        .unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("body_timeout"));
}

#[tokio::test]
async fn an_answer_without_end_is_not_taken_in() {
    let world = World::plan(&Pack::new().target("fake-endless-body", "chat", "timeout_seconds: 5"))
        .settings(|settings| settings.limits.answer_bytes = 100_000)
        .start()
        .await;
    assert_eq!(world.chat("fake-endless-body", "hello").await.error(), "502 upstream_answer_too_large");
    let seen = within(world.fake.idle()).await;
    assert!(seen[0].end.as_ref().unwrap().bytes < 50_000_000);
}
