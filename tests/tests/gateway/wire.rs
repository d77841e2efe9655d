//! What a client may try with the bytes themselves.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::world::{LLAMA, Pack, World, chat, raw, read_to_end, within};

const PATH: &str = "/v1/chat/completions";

fn request(extra: &str, body: &str) -> String {
    format!("POST {PATH} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n{extra}\r\n{body}")
}

/// The status lines of the answers in `text`.
fn statuses(text: &str) -> Vec<&str> {
    text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)).collect()
}

#[tokio::test]
async fn a_smuggled_request_is_refused_and_the_connection_closed() {
    let world = World::start(&Pack::llama()).await;
    let body = chat(LLAMA, "say: hello").to_string();
    let hidden = request(&format!("Content-Length: {}\r\n", body.len()), &body);
    for extra in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
    ] {
        let bytes = request(extra, &format!("0\r\n\r\n{hidden}"));
        let answer = raw(world.running.addr, bytes.as_bytes()).await;
        assert_eq!(statuses(&answer), ["400"], "{extra}");
        assert!(answer.contains("ambiguous_length"), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    assert_eq!(world.fake.count(), 0);
}

#[tokio::test]
async fn a_smuggled_request_behind_a_good_one_is_refused_in_its_turn() {
    let world = World::start(&Pack::llama()).await;
    let body = chat(LLAMA, "say: hello").to_string();
    let good = request(&format!("Content-Length: {}\r\n", body.len()), &body);
    let bad = request("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n");
    let answer = raw(world.running.addr, format!("{good}{good}{bad}{good}").as_bytes()).await;
    assert_eq!(statuses(&answer), ["200", "200", "400"]);
    assert_eq!(world.fake.count(), 2);
}

#[tokio::test]
async fn an_upgrade_and_connect_are_refused_and_the_connection_closed() {
    let world = World::start(&Pack::llama()).await;
    let upgrade = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answer = raw(world.running.addr, upgrade.as_bytes()).await;
    assert_eq!(statuses(&answer), ["400"]);
    assert!(answer.contains("upgrade_refused"));
    let connect = format!("CONNECT {} HTTP/1.1\r\nHost: {0}\r\n\r\n", world.fake.addr());
    let answer = raw(world.running.addr, connect.as_bytes()).await;
    assert_eq!(statuses(&answer), ["400"]);
    assert!(answer.contains("connect_refused"));
    assert_eq!(world.fake.count(), 0);
}

#[tokio::test]
async fn an_absolute_target_is_served_by_its_path() {
    let world = World::start(&Pack::llama()).await;
    let body = chat(LLAMA, "say: hello").to_string();
    let bytes = format!(
        "POST http://evil.example:1{PATH} HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw(world.running.addr, bytes.as_bytes()).await;
    assert_eq!(statuses(&answer), ["200"]);
    let seen = world.fake.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("host"), Some(world.fake.addr().to_string().as_str()));
    let bytes = "GET http://evil.example/admin HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let answer = raw(world.running.addr, bytes.as_bytes()).await;
    assert!(answer.contains("not_governed"), "{answer}");
}

#[tokio::test]
async fn nothing_that_is_not_http_gets_an_answer_that_is() {
    let world = World::start(&Pack::llama()).await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\n"[..],
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
        b"\x00\x00\x00\x00\r\n\r\n",
    ] {
        let answer = raw(world.running.addr, bytes).await;
        assert_eq!(statuses(&answer), ["400"], "{answer}");
    }
    assert_eq!(world.get(world.url("/healthz")).await.status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let world =
        World::plan(&Pack::llama()).settings(|settings| settings.limits.head_bytes = 4096).start().await;
    let answer = raw(
        world.running.addr,
        format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(5000)).as_bytes(),
    )
    .await;
    assert_eq!(statuses(&answer), ["431"]);
    let many = "X: a\r\n".repeat(200);
    let answer =
        raw(world.running.addr, format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes()).await;
    assert_eq!(statuses(&answer), ["431"]);
}

#[tokio::test]
async fn a_slow_head_is_408_and_an_idle_connection_is_closed() {
    let world = World::plan(&Pack::llama())
        .settings(|settings| {
            settings.timeouts.head = std::time::Duration::from_millis(200);
            settings.timeouts.idle = std::time::Duration::from_millis(200);
        })
        .start()
        .await;
    let answer = raw(world.running.addr, b"GET /healthz HTT").await;
    assert_eq!(statuses(&answer), ["408"]);
    let answer = raw(world.running.addr, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&answer), ["200"]);
    assert_eq!(raw(world.running.addr, b"").await, "");
}

#[tokio::test]
async fn a_long_answer_outlives_the_idle_limit() {
    let world = World::plan(&Pack::new().target("fake-slow-first-byte-800", "chat", "timeout_seconds: 5"))
        .settings(|settings| {
            settings.timeouts.head = std::time::Duration::from_millis(100);
            settings.timeouts.idle = std::time::Duration::from_millis(100);
        })
        .start()
        .await;
    assert_eq!(world.chat("fake-slow-first-byte-800", "hello").await.status, 200);
}

#[tokio::test]
async fn a_chunked_body_is_read_and_a_broken_one_refused() {
    let world = World::start(&Pack::llama()).await;
    let body = chat(LLAMA, "say: hello").to_string();
    let (first, second) = body.split_at(10);
    let chunked = format!("{:x}\r\n{first}\r\n{:X};x=y\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
    let answer = raw(
        world.running.addr,
        request("Transfer-Encoding: chunked\r\nConnection: close\r\n", &chunked).as_bytes(),
    )
    .await;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
    assert_eq!(world.fake.requests()[0].text(), body);
    let broken = format!("{:x}\n{first}\r\n0\r\n\r\n", first.len());
    let answer = raw(world.running.addr, request("Transfer-Encoding: chunked\r\n", &broken).as_bytes()).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    assert_eq!(world.fake.count(), 1);
}

#[tokio::test]
async fn http2_with_prior_knowledge_shares_the_port() {
    let world = World::start(&Pack::llama()).await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let calls = (0..50).map(|number| {
        let request = client
            .post(world.url(PATH))
            .header("content-type", "application/json")
            .body(chat(LLAMA, &format!("say: {number}")).to_string());
        async move {
            let response = request.send().await.unwrap();
            assert_eq!(response.version(), http::Version::HTTP_2);
            response.text().await.unwrap()
        }
    });
    let answers = within(futures_util::future::join_all(calls)).await;
    for (number, answer) in answers.iter().enumerate() {
        assert!(answer.contains(&format!("\"{number}\"")), "{answer}");
    }
}

#[tokio::test]
async fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    let world =
        World::plan(&Pack::llama()).settings(|settings| settings.limits.body_bytes = 1024).start().await;
    let mut stream = TcpStream::connect(world.running.addr).await.unwrap();
    let head = request("Content-Length: 3000000\r\n", "");
    stream.write_all(head.as_bytes()).await.unwrap();
    let body = vec![b' '; 3_000_000];
    let (mut reader, mut writer) = stream.split();
    let (answer, _) = within(async {
        let reading = async {
            let mut answer = Vec::new();
            reader.read_to_end(&mut answer).await.map(|_| String::from_utf8_lossy(&answer).into_owned())
        };
        futures_util::future::join(reading, writer.write_all(&body)).await
    })
    .await;
    assert_eq!(statuses(&answer.unwrap()), ["413"]);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = World::start(&Pack::llama()).await;
    let one = |text: &str, extra: &str| {
        let body = chat(LLAMA, text).to_string();
        request(&format!("{extra}Content-Length: {}\r\n", body.len()), &body)
    };
    let bytes = format!(
        "{}{}{}",
        one("say: first", ""),
        one("say: second", ""),
        one("say: third", "Connection: close\r\n")
    );
    let mut stream = TcpStream::connect(world.running.addr).await.unwrap();
    for piece in bytes.as_bytes().chunks(7) {
        stream.write_all(piece).await.unwrap();
    }
    let answer = read_to_end(&mut stream).await;
    let places: Vec<_> = ["first", "second", "third"].iter().map(|text| answer.find(text).unwrap()).collect();
    assert!(places.is_sorted());
    assert_eq!(statuses(&answer), ["200", "200", "200"]);
}
