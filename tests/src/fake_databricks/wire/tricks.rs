//! Replies that are right in content and wrong in transport. Each takes the ordinary reply and a number.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};

use super::super::reply::{Head, Reply};
use super::body::{Plan, Step};
use super::gzip::{self, Bomb};
use super::socket::{Raw, Then};

/// Pause before a deliberate break, so that what was sent before it has left this machine's buffers.
const SETTLE: Step = Step::Pause(Duration::from_millis(20));

pub(crate) fn slow_first_byte(reply: Reply, millis: u64) -> Reply {
    reply.delayed(Duration::from_millis(millis))
}

pub(crate) fn slow_body(mut reply: Reply, millis: u64) -> Reply {
    let body = reply.plan.concat();
    let pause = Step::Pause(Duration::from_millis(millis));
    reply.plan = Plan::steps([Step::Flush, pause, Step::Send(body.into())]);
    reply
}

pub(crate) fn never_answers(_: Reply, _: u64) -> Reply {
    Reply::headless(Head::Never)
}

pub(crate) fn close_before_head(_: Reply, _: u64) -> Reply {
    Reply::headless(Head::Close)
}

pub(crate) fn reset_before_head(_: Reply, _: u64) -> Reply {
    Reply::headless(Head::Reset)
}

pub(crate) fn reset_after_head(mut reply: Reply, _: u64) -> Reply {
    let length = reply.plan.concat().len() as u64;
    reply.plan = Plan::steps([Step::Flush, SETTLE, Step::Reset]).announcing(length);
    reply
}

pub(crate) fn stall_after_head(mut reply: Reply, _: u64) -> Reply {
    let length = reply.plan.concat().len() as u64;
    reply.plan = Plan::steps([Step::Flush, Step::Hang]).announcing(length);
    reply
}

pub(crate) fn close_mid_body(mut reply: Reply, _: u64) -> Reply {
    let body = Bytes::from(reply.plan.concat());
    let half = body.slice(..body.len() / 2);
    let steps = [Step::Send(half), Step::Flush, SETTLE, Step::Close];
    reply.plan = Plan::steps(steps).announcing(body.len() as u64);
    reply
}

pub(crate) fn drip(mut reply: Reply, millis: u64) -> Reply {
    let body = Bytes::from(reply.plan.concat());
    let pause = Step::Pause(Duration::from_millis(millis));
    let bytes = (0..body.len()).flat_map(|i| [Step::Send(body.slice(i..=i)), Step::Flush, pause.clone()]);
    reply.plan = Plan::steps(bytes);
    reply
}

pub(crate) fn endless_body(mut reply: Reply, _: u64) -> Reply {
    let spaces = Bytes::from(vec![b' '; 16 * 1024]);
    reply.plan = Plan::steps([]).then_forever(vec![Step::Send(spaces), Step::Flush]);
    reply
}

pub(crate) fn zipped(mut reply: Reply, _: u64) -> Reply {
    reply.plan = Plan::whole(gzip::member(&reply.plan.concat()));
    reply.with(CONTENT_ENCODING, HeaderValue::from_static("gzip"))
}

pub(crate) fn zip_bomb(mut reply: Reply, mib: u64) -> Reply {
    let bomb = Bomb::new();
    let pieces = mib.saturating_mul(1024 * 1024) / Bomb::PIECE_INFLATED;
    let body = (0..pieces).map(|_| Step::Send(bomb.piece.clone()));
    reply.plan = Plan::steps([Step::Send(bomb.head)].into_iter().chain(body));
    reply.with(CONTENT_ENCODING, HeaderValue::from_static("gzip"))
}

pub(crate) fn huge_header(reply: Reply, kib: u64) -> Reply {
    let long = "h".repeat(usize::try_from(kib * 1024).unwrap_or_default());
    let value = HeaderValue::from_str(&long).unwrap_or(HeaderValue::from_static("h"));
    reply.with(HeaderName::from_static("x-fake-huge"), value)
}

pub(crate) fn many_headers(mut reply: Reply, count: u64) -> Reply {
    for number in 0..count {
        reply.headers.append(HeaderName::from_static("x-fake-many"), HeaderValue::from(number));
    }
    reply
}

pub(crate) fn close_after(reply: Reply, _: u64) -> Reply {
    reply.with(CONNECTION, HeaderValue::from_static("close"))
}

pub(crate) fn wrong_type(reply: Reply, _: u64) -> Reply {
    reply.with(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
}

pub(crate) fn stray_headers(mut reply: Reply, _: u64) -> Reply {
    let set = [
        ("set-cookie", "session=upstream; Path=/"),
        ("authorization", "Bearer leaked-by-upstream"),
        ("x-ratelimit-remaining-tokens", "17"),
        ("x-keeptrusts-verdict", "forged"),
        ("trailer", "x-fake-trailer"),
    ];
    for (name, value) in set {
        reply.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    reply
}

/// Leads back to this fake, so that a client that follows shows in the echo log.
pub(crate) fn redirect(_: Reply, code: u64) -> Reply {
    let code = u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok());
    let to = HeaderValue::from_static("/serving-endpoints/fake-redirect-target/invocations");
    Reply::new(code.unwrap_or(StatusCode::FOUND), Plan::whole("")).with(LOCATION, to)
}

fn raw(head: &str, then: Then) -> Reply {
    let raw = Raw { bytes: head.as_bytes().to_vec(), then };
    Reply { raw: Some(raw), ..Reply::headless(Head::Raw) }
}

/// 101 without being asked; afterwards the connection echoes, as the far end of a tunnel would.
pub(crate) fn switching_protocols(_: Reply, _: u64) -> Reply {
    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    raw(head, Then::Echo)
}

pub(crate) fn not_http(_: Reply, _: u64) -> Reply {
    raw("220 mail.example.com ESMTP ready\r\n", Then::Close)
}

pub(crate) fn bad_chunk(_: Reply, _: u64) -> Reply {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n";
    raw(head, Then::Close)
}

pub(crate) fn both_lengths(_: Reply, _: u64) -> Reply {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
                transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    raw(head, Then::Close)
}

pub(crate) fn two_lengths(_: Reply, _: u64) -> Reply {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\ncontent-length: 40\r\n\r\n{}";
    raw(head, Then::Close)
}

/// A second answer behind the first, that nobody asked for: it must not reach the next request.
pub(crate) fn extra_response(_: Reply, _: u64) -> Reply {
    let one = |text: &str| {
        let body = format!(r#"{{"choices":[],"note":"{text}"}}"#);
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    raw(&format!("{}{}", one("asked for"), one("smuggled")), Then::Close)
}
