//! What goes wrong below HTTP.

use std::fmt::Write as _;

use std::time::Duration;

use kt_tests::fake_databricks::{FakeDatabricks, Outcome, Recorded};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client::{LIMIT, Wire, chat, chat_body, fake, post, read_to_end, request};

const LLAMA: &str = "databricks-meta-llama-3-3-70b-instruct";

async fn ended(fake: &FakeDatabricks) -> (Outcome, Option<u16>) {
    let requests = timeout(LIMIT, fake.idle()).await.expect("an exchange never ends");
    let end = requests.last().and_then(|recorded| recorded.end.clone()).unwrap();
    (end.outcome, end.status)
}

/// Opens a connection, sends a chat, and leaves the reading to the test.
async fn open(fake: &FakeDatabricks, model: &str, extra: Value) -> TcpStream {
    let bearer = format!("Bearer {}", fake.token());
    let body = chat_body(model, "say: Hello you", extra).to_string();
    let path = "/serving-endpoints/chat/completions";
    let mut stream = TcpStream::connect(fake.addr()).await.unwrap();
    stream.write_all(request("POST", path, &[("authorization", &bearer)], &body).as_bytes()).await.unwrap();
    stream
}

async fn unary(fake: &FakeDatabricks, model: &str) -> Wire {
    chat(fake, model, "say: Hello you", json!({})).await
}

#[tokio::test]
async fn connections_end_without_a_head_by_close_or_reset() {
    let fake = fake().await;
    let wire = unary(&fake, "fake-close-before-head").await;
    assert_eq!((wire.bytes.len(), wire.reset), (0, false));
    assert_eq!(ended(&fake).await, (Outcome::Severed, None));
    let wire = unary(&fake, "fake-reset-before-head").await;
    assert_eq!((wire.bytes.len(), wire.reset), (0, true));
    assert_eq!(ended(&fake).await, (Outcome::Severed, None));
}

#[tokio::test]
async fn connections_end_within_a_body_by_close_or_reset() {
    let fake = fake().await;
    let whole = unary(&fake, "fake-ok").await.body().len();
    let wire = unary(&fake, "fake-reset-after-head").await;
    assert_eq!((wire.status(), wire.pieces().0.concat().len(), wire.reset), (200, 0, true));
    let wire = unary(&fake, "fake-close-mid-body").await;
    let got = wire.pieces().0.concat().len();
    assert!(got > 0 && got < whole && !wire.reset, "{got} of {whole}");
    assert_eq!(ended(&fake).await, (Outcome::Severed, Some(200)));
    let wire = chat(&fake, "fake-stream-reset", "count: 50", json!({"stream": true})).await;
    assert!(wire.reset && !wire.pieces().1 && wire.bytes.len() > 500);
}

#[tokio::test]
async fn stalls_last_until_the_client_leaves_and_the_log_says_so() {
    for (model, extra, head) in [
        ("fake-stall", json!({}), false),
        ("fake-stall-after-head", json!({}), true),
        ("fake-stream-stall", json!({"stream": true}), true),
        ("fake-stream-endless", json!({"stream": true}), true),
        ("fake-stream-flood", json!({"stream": true}), true),
        ("fake-endless-body", json!({}), true),
    ] {
        let fake = fake().await;
        let mut stream = open(&fake, model, extra).await;
        let mut first = [0; 16];
        if head {
            timeout(LIMIT, stream.read_exact(&mut first)).await.unwrap().unwrap();
        } else {
            timeout(LIMIT, fake.wait_until(|requests| requests.len() == 1)).await.unwrap();
            let read = timeout(Duration::from_millis(50), stream.read(&mut first)).await;
            assert!(read.is_err(), "{model} answered");
        }
        let running = fake.requests();
        assert_eq!(running[0].end, None, "{model}");
        drop(stream);
        let (outcome, status) = ended(&fake).await;
        assert_eq!((outcome, status), (Outcome::Disconnected, head.then_some(200)), "{model}");
    }
}

#[tokio::test]
async fn a_flood_stops_when_nobody_reads() {
    let fake = fake().await;
    let stream = open(&fake, "fake-stream-flood", json!({"stream": true})).await;
    stream.peek(&mut [0; 1]).await.unwrap();
    // Time to do wrong: without back-pressure this is enough for gigabytes.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fake.requests()[0].end, None, "it is still held");
    drop(stream);
    let requests = timeout(LIMIT, fake.idle()).await.unwrap();
    let sent = requests[0].end.as_ref().unwrap().bytes;
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken without a reader");
}

#[tokio::test]
async fn slowness_is_where_it_is_said_to_be() {
    let fake = fake().await;
    let started = Instant::now();
    let wire = unary(&fake, "fake-slow-first-byte-120").await;
    assert!(started.elapsed() >= Duration::from_millis(120));
    assert_eq!(wire.json()["choices"][0]["message"]["content"], "Hello you");

    let mut stream = open(&fake, "fake-slow-body-150", json!({})).await;
    let mut head = [0; 15];
    let started = Instant::now();
    timeout(LIMIT, stream.read_exact(&mut head)).await.unwrap().unwrap();
    let to_head = started.elapsed();
    read_to_end(&mut stream).await;
    assert!(started.elapsed() >= Duration::from_millis(150) && to_head < started.elapsed());

    let wire = unary(&fake, "fake-drip-0").await;
    assert!(wire.pieces().0.iter().all(|piece| piece.len() == 1));
    assert_eq!(wire.json()["object"], "chat.completion");
}

#[tokio::test]
async fn a_101_opens_a_tunnel_that_echoes() {
    let fake = fake().await;
    let mut stream = open(&fake, "fake-101", json!({})).await;
    let mut head = [0; 80];
    let read = timeout(LIMIT, stream.read(&mut head)).await.unwrap().unwrap();
    assert!(head[..read].starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
    stream.write_all(b"through the tunnel").await.unwrap();
    let mut back = [0; 18];
    timeout(LIMIT, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"through the tunnel");
    drop(stream);
    assert_eq!(ended(&fake).await.0, Outcome::Completed);
}

#[tokio::test]
async fn malformed_responses_are_sent_as_they_are() {
    let mut seen = String::new();
    for name in ["not-http", "bad-chunk", "both-lengths", "two-lengths", "extra-response"] {
        let fake = fake().await;
        let wire = unary(&fake, &format!("fake-{name}")).await;
        write!(seen, "### {name}\n{}\n\n", wire.text().replace("\r\n", "␍\n")).unwrap();
    }
    insta::assert_snapshot!("malformed", seen);
}

#[tokio::test]
async fn a_redirect_that_is_followed_would_show() {
    let fake = fake().await;
    for code in [301, 302, 303, 307, 308] {
        let wire = unary(&fake, &format!("fake-redirect-{code}")).await;
        assert_eq!(wire.status(), code);
        let to = wire.header("location").unwrap();
        let followed = post(&fake, &to, &json!({"messages": [{"role": "user", "content": "hi"}]})).await;
        assert_eq!(followed.status(), 200);
    }
    assert_eq!(fake.requests_to("fake-redirect-target").len(), 5);
}

#[tokio::test]
async fn gzip_and_its_bomb_are_sent_unasked() {
    let fake = fake().await;
    let wire = unary(&fake, "fake-gzip").await;
    assert_eq!(wire.header("content-encoding").as_deref(), Some("gzip"));
    let body = wire.pieces().0.concat();
    assert!(wire.pieces().1);
    assert_eq!(body[..4], [0x1f, 0x8b, 8, 0]);
    let wire = unary(&fake, "fake-gzip-bomb-64").await;
    let sent = wire.pieces().0.concat().len();
    assert!((300_000..700_000).contains(&sent), "{sent} bytes for 64 MiB");
}

#[tokio::test]
async fn headers_can_be_long_many_and_wrong() {
    let fake = fake().await;
    assert_eq!(unary(&fake, "fake-huge-header-100").await.header("x-fake-huge").unwrap().len(), 100 * 1024);
    let wire = unary(&fake, "fake-many-headers-90").await;
    assert_eq!(wire.head().matches("x-fake-many: ").count(), 90);
    let wire = unary(&fake, "fake-stray-headers").await;
    assert_eq!(wire.header("set-cookie").as_deref(), Some("session=upstream; Path=/"));
    let wire = unary(&fake, "fake-wrong-type").await;
    assert_eq!(wire.header("content-type").as_deref(), Some("application/octet-stream"));
    assert_eq!(unary(&fake, "fake-close-after").await.header("connection").as_deref(), Some("close"));
}

#[tokio::test]
async fn a_body_over_four_mebibytes_is_413_and_not_kept() {
    let fake = fake().await;
    let wire = chat(&fake, LLAMA, &"x".repeat(4 * 1024 * 1024), json!({})).await;
    assert_eq!((wire.status(), &wire.json()["error_code"]), (413, &json!("REQUEST_TOO_LARGE")));
    let kept: Vec<Recorded> = fake.requests();
    let expected =
        json!({"unread": {"bytes": kept[0].header("content-length").unwrap().parse::<u64>().unwrap()}});
    assert_eq!(serde_json::to_value(&kept[0].body).unwrap(), expected);
    // Custom models take 16 MB.
    let big = json!({"inputs": ["x".repeat(5 * 1024 * 1024)]});
    let wire = post(&fake, "/serving-endpoints/fake-custom-model/invocations", &big).await;
    assert_eq!((wire.status(), wire.json()), (200, json!({"predictions": [5 * 1024 * 1024 + 2]})));
}

#[tokio::test]
async fn http2_without_tls_is_served_and_its_streams_are_reset_alone() {
    let fake = fake().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let call = |model: &str| {
        let body = chat_body(model, "say: Hello", json!({"stream": true})).to_string();
        let url = format!("{}/chat/completions", fake.base_url());
        client.post(url).bearer_auth(fake.token()).body(body).send()
    };
    let whole = call("fake-ok").await.unwrap();
    assert_eq!(whole.version(), http::Version::HTTP_2);
    assert!(whole.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    assert!(call("fake-reset-before-head").await.is_err());
    assert!(call("fake-101").await.is_err());
    assert!(call("fake-stream-cut-midframe").await.unwrap().text().await.is_err());
    assert_eq!(call("fake-ok").await.unwrap().status(), 200);
    let versions: Vec<String> = fake.requests().into_iter().map(|recorded| recorded.version).collect();
    assert!(versions.iter().all(|version| version == "HTTP/2.0"), "{versions:?}");
}

#[tokio::test]
async fn a_fake_that_is_shut_down_breaks_streams_and_frees_its_port() {
    let fake = fake().await;
    let addr = fake.addr();
    let mut stream = open(&fake, "fake-stream-endless", json!({"stream": true})).await;
    let mut first = [0; 16];
    stream.read_exact(&mut first).await.unwrap();
    timeout(LIMIT, fake.shutdown()).await.expect("it does not stop");
    read_to_end(&mut stream).await;
    assert!(TcpStream::connect(addr).await.is_err());
    let again = FakeDatabricks::builder().listen(addr).start().await.unwrap();
    assert_eq!(unary(&again, LLAMA).await.status(), 200);
}
