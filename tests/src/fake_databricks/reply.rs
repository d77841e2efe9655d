//! A reply before it meets the connection: when the head goes out, what it says, and the plan of the body.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::wire::body::{Plan, Step};
use super::wire::socket::Raw;

/// How an answer leaves the fake.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) plan: Plan,
    /// Waited for before the head goes out.
    pub(crate) delay: Duration,
    pub(crate) head: Head,
    /// For [`Head::Raw`].
    pub(crate) raw: Option<Raw>,
}

/// What happens where the head would go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// It goes out.
    Send,
    /// It never does, and the connection stays open.
    Never,
    /// The connection is closed instead.
    Close,
    /// The connection is reset instead.
    Reset,
    /// Bytes below HTTP go out instead (HTTP/1.1; an HTTP/2 stream is reset).
    Raw,
}

impl Reply {
    pub(crate) fn new(status: StatusCode, plan: Plan) -> Self {
        Self { status, headers: HeaderMap::new(), plan, delay: Duration::ZERO, head: Head::Send, raw: None }
    }

    /// A JSON body. A type of this crate always serialises; should one not, the body says so.
    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(body).unwrap_or_else(|error| error.to_string().into_bytes());
        Self::typed(status, "application/json", bytes)
    }

    pub(crate) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let reply = Self::new(status, Plan::whole(body));
        reply.with(CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// A stream of server-sent events.
    pub(crate) fn events(plan: Plan) -> Self {
        Self::new(StatusCode::OK, plan)
            .with(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"))
    }

    /// No head at all.
    pub(crate) fn headless(head: Head) -> Self {
        Self { head, ..Self::new(StatusCode::OK, Plan::steps([Step::Hang])) }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn with_number(self, name: HeaderName, value: u64) -> Self {
        self.with(name, HeaderValue::from(value))
    }

    pub(crate) fn delayed(mut self, delay: Duration) -> Self {
        self.delay += delay;
        self
    }

    /// Names the served entity (§5.3); a reply that has no head keeps none.
    pub(crate) fn served_by(self, served: &str) -> Self {
        let value = HeaderValue::from_str(served).unwrap_or(HeaderValue::from_static("unnamed"));
        self.with(HeaderName::from_static("served-model-name"), value)
    }
}
