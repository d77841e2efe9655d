//! A client that sees bytes: what it returns has not been through an HTTP library.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use kt_tests::fake_databricks::FakeDatabricks;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Nothing here should take this long; a test that hangs says so instead.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// What came back on a connection before it ended.
pub(crate) struct Wire {
    pub(crate) bytes: Vec<u8>,
    /// The connection was reset rather than closed.
    pub(crate) reset: bool,
}

impl Wire {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn status(&self) -> u16 {
        self.text().split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    fn split(&self) -> (String, &[u8]) {
        let end = self
            .bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map_or(self.bytes.len(), |at| at + 4);
        (String::from_utf8_lossy(&self.bytes[..end]).into_owned(), &self.bytes[end..])
    }

    /// The head, less what varies by the clock.
    pub(crate) fn head(&self) -> String {
        let head = self.split().0;
        let kept = head.lines().filter(|line| !line.starts_with("date: ") && !line.is_empty());
        kept.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let head = self.split().0;
        head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).map(str::to_owned)
    }

    /// The pieces of a chunked body, or the body in one; and whether the body came to its end.
    pub(crate) fn pieces(&self) -> (Vec<Vec<u8>>, bool) {
        let (head, mut rest) = self.split();
        if !head.contains("transfer-encoding: chunked") {
            let announced = self.header("content-length").map_or(0, |length| length.parse().unwrap());
            return (vec![rest.to_vec()], rest.len() == announced);
        }
        let mut pieces = Vec::new();
        while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
            if size == 0 {
                return (pieces, true);
            }
            pieces.push(rest[end + 2..end + 2 + size].to_vec());
            rest = &rest[end + 4 + size..];
        }
        (pieces, false)
    }

    pub(crate) fn body(&self) -> String {
        String::from_utf8(self.pieces().0.concat()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body()).unwrap()
    }

    /// The JSON of a stream's events, `[DONE]` and comments left out.
    pub(crate) fn events(&self) -> Vec<Value> {
        let body = self.body();
        let data = body.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

/// A fake with ids that are counted.
pub(crate) async fn fake() -> FakeDatabricks {
    FakeDatabricks::builder().counted_ids().start().await.unwrap()
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut out = format!("{method} {path} HTTP/1.1\r\nhost: fake\r\nconnection: close\r\n");
    for (name, value) in headers {
        write!(out, "{name}: {value}\r\n").unwrap();
    }
    write!(out, "content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    out
}

/// Sends bytes and reads until the connection ends.
pub(crate) async fn exchange(addr: SocketAddr, request: &str) -> Wire {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Wire {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut bytes)).await.expect("the fake hangs");
    Wire { bytes, reset: read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset) }
}

/// Sends a request with the fake's token.
pub(crate) async fn send(fake: &FakeDatabricks, method: &str, path: &str, body: &str) -> Wire {
    let bearer = format!("Bearer {}", fake.token());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    exchange(fake.addr(), &request(method, path, &headers, body)).await
}

pub(crate) async fn post(fake: &FakeDatabricks, path: &str, body: &Value) -> Wire {
    send(fake, "POST", path, &body.to_string()).await
}

/// A chat with an endpoint; `extra` is added to the body.
pub(crate) async fn chat(fake: &FakeDatabricks, model: &str, prompt: &str, extra: Value) -> Wire {
    post(fake, "/serving-endpoints/chat/completions", &chat_body(model, prompt, extra)).await
}

pub(crate) fn chat_body(model: &str, prompt: &str, extra: Value) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
    let Value::Object(extra) = extra else { panic!("extra fields are an object") };
    body.as_object_mut().unwrap().extend(extra);
    body
}
