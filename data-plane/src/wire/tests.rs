use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 1024, headers: 20 };

/// Gives `bytes` in one piece.
fn clear_at_once(bytes: &[u8]) -> (usize, Option<Fault>) {
    let cleared = Framer::new(LIMITS).clear(bytes);
    (cleared.bytes, cleared.fault)
}

/// Gives `bytes` in pieces, keeping what was not cleared, as the connection does.
fn clear_in_pieces(bytes: &[u8], sizes: &[usize]) -> (usize, Option<Fault>) {
    let mut framer = Framer::new(LIMITS);
    let mut held = Vec::new();
    let mut total = 0;
    let mut rest = bytes;
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
        rest = behind;
        held.extend_from_slice(piece);
        let cleared = framer.clear(&held);
        held.drain(..cleared.bytes);
        total += cleared.bytes;
        if cleared.fault.is_some() {
            return (total, cleared.fault);
        }
    }
    (total, None)
}

fn fault_of(bytes: &str) -> Option<Fault> {
    clear_at_once(bytes.as_bytes()).1
}

#[test]
fn a_usual_request_passes_whole() {
    let request = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(clear_at_once(request.as_bytes()), (request.len(), None));
}

#[test]
fn a_partial_head_is_held_back() {
    let request = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Len";
    assert_eq!(clear_at_once(request.as_bytes()), (0, None));
}

#[test]
fn a_pipelined_head_behind_a_body_is_judged_too() {
    let first = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    let second = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        clear_at_once(format!("{first}{second}").as_bytes()),
        (first.len(), Some(Fault::AmbiguousLength))
    );
}

#[test]
fn a_head_inside_a_body_is_no_head() {
    let inner = "CONNECT a:1 HTTP/1.1\r\n\r\n";
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}", inner.len());
    assert_eq!(clear_at_once(request.as_bytes()), (request.len(), None));
}

#[test]
fn every_ambiguous_length_is_refused() {
    for headers in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\ncontent-length: 2",
        "Content-Length: 2, 2",
        "Content-Length: +2",
        "Content-Length: 0x2",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
        assert_eq!(fault_of(&request), Some(Fault::AmbiguousLength), "{headers}");
    }
    assert_eq!(
        fault_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Some(Fault::AmbiguousLength)
    );
}

#[test]
fn upgrades_and_connect_are_refused() {
    assert_eq!(
        fault_of(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \
             AAMAAABkAAQAAP__\r\n\r\n"
        ),
        Some(Fault::Upgrade)
    );
    assert_eq!(fault_of("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"), Some(Fault::Upgrade));
    assert_eq!(fault_of("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), Some(Fault::Connect));
}

#[test]
fn heads_that_parsers_read_differently_are_refused() {
    for head in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX:\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX:\x0cb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nx-kt-wire-fault: upgrade_refused\r\n\r\n",
    ] {
        assert_eq!(fault_of(head), Some(Fault::MalformedHead), "{head:?}");
    }
}

#[test]
fn large_heads_are_refused_before_they_end() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n", "a".repeat(2000));
    assert_eq!(fault_of(&long), Some(Fault::HeadTooLarge));
    let endless = "a".repeat(1025);
    assert_eq!(fault_of(&endless), Some(Fault::HeadTooLarge));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(20));
    assert_eq!(fault_of(&many), Some(Fault::HeadTooLarge));
}

#[test]
fn a_chunked_body_is_followed_to_its_end() {
    let first = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n";
    let second = "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(clear_at_once(format!("{first}{second}").as_bytes()), (first.len(), Some(Fault::Connect)));
}

#[test]
fn chunks_that_parsers_read_differently_are_refused() {
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX",
        "5\r\nhello\n0\r\n\r\n",
        "0\r\nTrailer: a\r\n\r\n",
        "1234567890123456\r\n",
        "5;\n\r\nhello\r\n0\r\n\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(fault_of(&request), Some(Fault::MalformedChunk), "{body:?}");
    }
}

#[test]
fn http2_with_prior_knowledge_passes_untouched() {
    let bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04anything";
    assert_eq!(clear_at_once(bytes), (bytes.len(), None));
    assert_eq!(clear_in_pieces(bytes, &[1]), (bytes.len(), None));
}

#[test]
fn faults_are_found_again_by_their_code() {
    for fault in [Fault::AmbiguousLength, Fault::Upgrade, Fault::Connect, Fault::HeadTimeout] {
        assert_eq!(Fault::from_code(fault.code().as_bytes()), Some(fault));
    }
    assert_eq!(Fault::from_code(b"nothing"), None);
}

/// A request that the guard clears, as its bytes.
fn valid_request() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..64);
    (body, prop::collection::vec(1_usize..16, 1..4), any::<bool>(), 0_usize..3).prop_map(
        |(body, chunk_sizes, is_chunked, padding)| {
            let mut request =
                format!("POST /v1 HTTP/1.1\r\nHost: a\r\n{}", "X-Pad: y\r\n".repeat(padding)).into_bytes();
            if is_chunked {
                request.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                let mut rest = body.as_slice();
                let mut sizes = chunk_sizes.iter().cycle();
                while !rest.is_empty() {
                    let (chunk, behind) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                    rest = behind;
                    request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    request.extend_from_slice(chunk);
                    request.extend_from_slice(b"\r\n");
                }
                request.extend_from_slice(b"0\r\n\r\n");
            } else {
                request.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
                request.extend_from_slice(&body);
            }
            request
        },
    )
}

/// A connection that gives bytes in given pieces, then ends.
struct Pieces(VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.0.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What comes out of the guard, read with a buffer of `size` bytes.
fn guarded(bytes: &[u8], pieces: &[usize], size: usize) -> Vec<u8> {
    let mut queue = VecDeque::new();
    let mut rest = bytes;
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((*sizes.next().unwrap()).clamp(1, rest.len()));
        queue.push_back(piece.to_vec());
        rest = behind;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let second = Duration::from_secs(1);
        let times = Times { head: second, idle: second, stall: second };
        let mut guarded = Guarded::new(Pieces(queue), LIMITS, times, Arc::new(ConnectionState::default()));
        let mut out = Vec::new();
        let mut buffer = vec![0; size];
        loop {
            let reading = tokio::time::timeout(Duration::from_millis(1), guarded.read(&mut buffer));
            match reading.await {
                Ok(Ok(read)) if read > 0 => out.extend_from_slice(&buffer[..read]),
                // The end, a broken chunk, or a refusal, behind which nothing is read.
                _ => return out,
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_from_its_first_byte() {
    let (mut client, server) = tokio::io::duplex(1024);
    let connection = Arc::new(ConnectionState::default());
    let minute = Duration::from_mins(1);
    let times = Times { head: Duration::from_secs(10), idle: 2 * minute, stall: minute };
    let mut guarded = Guarded::new(server, LIMITS, times, Arc::clone(&connection));
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut buffer = [0; 256];
    client.write_all(request).await.unwrap();
    assert_eq!(guarded.read(&mut buffer).await.unwrap(), request.len());
    // Between two requests there is more time than for a head.
    let reading = tokio::time::timeout(Duration::from_mins(1), guarded.read(&mut buffer));
    assert!(reading.await.is_err());
    client.write_all(b"GET").await.unwrap();
    let begun = tokio::time::Instant::now();
    let read = guarded.read(&mut buffer).await.unwrap();
    assert!(String::from_utf8_lossy(&buffer[..read]).contains("x-kt-wire-fault: head_timeout"));
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_timed_out_while_an_answer_is_under_way() {
    let (mut client, server) = tokio::io::duplex(1024);
    let connection = Arc::new(ConnectionState::default());
    let second = Duration::from_secs(1);
    let times = Times { head: second, idle: second, stall: second };
    let mut guarded = Guarded::new(server, LIMITS, times, Arc::clone(&connection));
    let mut buffer = [0; 256];
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(guarded.read(&mut buffer).await.unwrap() > 0);
    let in_flight = connection.begin();
    assert!(tokio::time::timeout(Duration::from_hours(1), guarded.read(&mut buffer)).await.is_err());
    drop(in_flight);
    assert_eq!(guarded.read(&mut buffer).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up() {
    let (mut client, server) = tokio::io::duplex(16);
    let second = Duration::from_secs(1);
    let times = Times { head: second, idle: second, stall: Duration::from_secs(30) };
    let mut guarded = Guarded::new(server, LIMITS, times, Arc::new(ConnectionState::default()));
    guarded.write_all(&[0; 16]).await.unwrap();
    let begun = tokio::time::Instant::now();
    let writing = async {
        let error = guarded.write_all(&[0; 32]).await.unwrap_err();
        (error.kind(), begun.elapsed().as_secs())
    };
    let taking = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let mut buffer = [0; 16];
        client.read_exact(&mut buffer).await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = writing => assert_eq!(result, (io::ErrorKind::TimedOut, 50)),
        () = taking => {}
    }
}

proptest! {
    #[test]
    fn the_guard_hands_on_just_what_the_framer_clears(
        requests in prop::collection::vec(valid_request(), 1..4),
        bad in prop::option::of(prop::sample::select(vec![
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
        ])),
        pieces in prop::collection::vec(1_usize..60, 1..6),
        size in 1_usize..80,
    ) {
        let good = requests.concat();
        let bytes = [&good, bad.unwrap_or_default().as_bytes()].concat();
        let out = guarded(&bytes, &pieces, size);
        prop_assert_eq!(&out[..good.len()], &good[..]);
        let behind = String::from_utf8_lossy(&out[good.len()..]).into_owned();
        if bad.is_some() {
            prop_assert!(behind.starts_with("GET / HTTP/1.1\r\n"));
            prop_assert!(behind.contains(FAULT_HEADER));
            prop_assert!(behind.ends_with("\r\n\r\n"));
        } else {
            prop_assert_eq!(behind, "");
        }
    }
}

proptest! {
    #[test]
    fn valid_pipelines_pass_whole_however_they_are_split(
        requests in prop::collection::vec(valid_request(), 1..5),
        sizes in prop::collection::vec(1_usize..40, 1..8),
    ) {
        let bytes = requests.concat();
        prop_assert_eq!(clear_in_pieces(&bytes, &sizes), (bytes.len(), None));
    }

    #[test]
    fn a_refused_request_is_never_cleared_whatever_stands_before_it(
        requests in prop::collection::vec(valid_request(), 0..4),
        sizes in prop::collection::vec(1_usize..40, 1..8),
    ) {
        let before = requests.concat();
        let smuggled = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let bytes = [before.as_slice(), smuggled].concat();
        prop_assert_eq!(clear_in_pieces(&bytes, &sizes), (before.len(), Some(Fault::AmbiguousLength)));
    }

    #[test]
    fn any_bytes_are_judged_alike_however_they_are_split(
        bytes in prop::collection::vec(prop_oneof![
            any::<u8>(),
            prop::sample::select(b"\r\n: 0aGPET/HTTP/1.1".to_vec()),
        ], 0..200),
        sizes in prop::collection::vec(1_usize..20, 1..6),
    ) {
        let at_once = clear_at_once(&bytes);
        let in_pieces = clear_in_pieces(&bytes, &sizes);
        prop_assert_eq!(at_once.1, in_pieces.1);
        // The data of a chunk is cleared as it comes, so the place where a broken one is noticed depends on the pieces.
        if at_once.1 != Some(Fault::MalformedChunk) {
            prop_assert_eq!(at_once.0, in_pieces.0);
        }
        prop_assert!(at_once.0 <= bytes.len());
    }
}
