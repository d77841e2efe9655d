//! The echo log.

use kt_tests::fake_databricks::{FakeDatabricks, Outcome, Recorded, RecordedBody};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{chat, chat_body, exchange, request, send};

#[tokio::test]
async fn a_request_is_logged_word_for_word() {
    let fake = FakeDatabricks::start().await.unwrap();
    let bearer = format!("Bearer {}", fake.token());
    let body = chat_body("databricks-gpt-5", "żółć <PERSON>", json!({})).to_string();
    let headers = [("authorization", bearer.as_str()), ("x-twice", "1"), ("x-twice", "2")];
    let path = "/serving-endpoints/chat/completions?api-version=1";
    let wire = exchange(fake.addr(), &request("POST", path, &headers, &body)).await;
    let recorded = fake.requests().remove(0);
    assert_eq!((recorded.seq, recorded.method.as_str(), recorded.path.as_str()), (1, "POST", path));
    assert_eq!(recorded.version, "HTTP/1.1");
    assert_eq!(recorded.text(), body);
    assert_eq!(recorded.json()["messages"][0]["content"], "żółć <PERSON>");
    assert_eq!(recorded.header("authorization"), Some(bearer.as_str()));
    assert_eq!(recorded.headers.iter().filter(|(name, _)| name == "x-twice").count(), 2);
    assert_eq!(recorded.endpoint.as_deref(), Some("databricks-gpt-5"));
    assert_eq!(Some(recorded.request_id), wire.header("x-request-id"));
    let end = recorded.end.unwrap();
    assert_eq!(
        (end.outcome, end.status, end.bytes),
        (Outcome::Completed, Some(200), wire.body().len() as u64)
    );
}

#[tokio::test]
async fn the_log_is_on_disk_before_the_first_byte_of_the_reply() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("echo.jsonl");
    let fake = FakeDatabricks::builder().echo_log(&path).start().await.unwrap();
    let bearer = format!("Bearer {}", fake.token());
    let body = chat_body("fake-stall-after-head", "hi", json!({})).to_string();
    let mut stream = TcpStream::connect(fake.addr()).await.unwrap();
    let headers = [("authorization", bearer.as_str())];
    let text = request("POST", "/serving-endpoints/chat/completions", &headers, &body);
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 1]).await.unwrap();
    let lines = |path: &std::path::Path| -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let so_far = lines(&path);
    assert_eq!((so_far.len(), &so_far[0]["event"], &so_far[0]["seq"]), (1, &json!("request"), &json!(1)));
    assert_eq!(so_far[0]["behaviour"], "stall-after-head");
    drop(stream);
    fake.idle().await;
    let end = json!({"event": "end", "seq": 1, "outcome": "disconnected", "status": 200, "bytes": 0});
    assert_eq!(lines(&path)[1], end);
    // The line reads back as what the library returns.
    let read: Recorded = serde_json::from_value(so_far[0].clone()).unwrap();
    assert_eq!(read.headers, fake.requests()[0].headers);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_kept_in_base64_and_answered_400() {
    let fake = FakeDatabricks::start().await.unwrap();
    let bearer = format!("Bearer {}", fake.token());
    let mut stream = TcpStream::connect(fake.addr()).await.unwrap();
    let head = request("POST", "/serving-endpoints/fake-ok/invocations", &[("authorization", &bearer)], "xx");
    let mut bytes = head.trim_end_matches("xx").as_bytes().to_vec();
    bytes.extend([0xff, 0xfe]);
    stream.write_all(&bytes).await.unwrap();
    let wire = crate::client::read_to_end(&mut stream).await;
    assert_eq!(wire.status(), 400);
    assert_eq!(fake.requests()[0].body, RecordedBody::Base64("//4=".to_owned()));
}

#[tokio::test]
async fn memory_keeps_the_last_ones_and_counts_all() {
    let fake = FakeDatabricks::builder().keep(2).start().await.unwrap();
    for i in 0..4 {
        chat(&fake, "fake-ok", &i.to_string(), json!({})).await;
    }
    let kept: Vec<u64> = fake.requests().iter().map(|recorded| recorded.seq).collect();
    assert_eq!((kept, fake.count()), (vec![3, 4], 4));
    let shown = send(&fake, "GET", "/__fake/requests", "").await.json();
    assert_eq!(shown[1]["body"]["text"].as_str().map(|text| text.contains("\"3\"")), Some(true));
    assert_eq!(shown[1]["end"]["outcome"], "completed");
    send(&fake, "DELETE", "/__fake/requests", "").await;
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_while_sending_is_logged_as_gone() {
    let fake = FakeDatabricks::start().await.unwrap();
    let mut stream = TcpStream::connect(fake.addr()).await.unwrap();
    let head =
        "POST /serving-endpoints/fake-ok/invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let seen = fake.wait_until(|requests| requests.iter().any(|recorded| recorded.end.is_some())).await;
    assert_eq!(seen[0].body, RecordedBody::Unread { bytes: 4 });
    assert_eq!(seen[0].end.as_ref().unwrap().outcome, Outcome::Disconnected);
}
