//! HTTP clients, and what an answer is before anyone looks into it.
//!
//! No redirects are followed, nothing is unpacked (no such feature is compiled in), nothing is retried here. One client
//! serves all targets of one way out (straight, or by the proxies of the environment) and one time to connect, so that
//! a new pack keeps the connections of the old one.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use crate::{error::UpstreamFault, headers, server::workers};

/// Idle connections to a host that are kept.
const MAX_IDLE: usize = 256;
/// Bytes of an error's body that are read.
const MAX_ERROR_BYTES: usize = 256 * 1024;
/// How long the body of an error may take.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The clients, by way out and time to connect.
#[derive(Debug)]
pub(crate) struct Clients {
    proxy_from_environment: bool,
    extra_roots: Vec<reqwest::Certificate>,
    clients: HashMap<(bool, Duration), Client>,
}

/// A client on each thread that serves connections: a connection to an upstream is then driven by the thread that uses
/// it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    workers: Arc<[reqwest::Client]>,
    elsewhere: reqwest::Client,
}

impl Client {
    /// The client of this thread.
    pub(crate) fn here(&self) -> &reqwest::Client {
        let worker = workers::number().checked_sub(1);
        worker.and_then(|index| self.workers.get(index)).unwrap_or(&self.elsewhere)
    }
}

impl Clients {
    /// `extra_roots` are trusted beside the system's.
    pub(crate) fn new(proxy_from_environment: bool, extra_roots: Vec<reqwest::Certificate>) -> Self {
        Self { proxy_from_environment, extra_roots, clients: HashMap::new() }
    }

    /// The client for a target at `url`.
    pub(crate) fn get(
        &mut self,
        url: &reqwest::Url,
        connect_timeout: Duration,
    ) -> Result<Client, reqwest::Error> {
        let uses_proxy = self.proxy_from_environment && !is_loopback(url);
        let key = (uses_proxy, connect_timeout);
        if let Some(client) = self.clients.get(&key) {
            return Ok(client.clone());
        }
        let build = || build(uses_proxy, connect_timeout, &self.extra_roots);
        let workers = (0..workers::count()).map(|_| build()).collect::<Result<_, _>>()?;
        let client = Client { workers, elsewhere: build()? };
        self.clients.insert(key, client.clone());
        Ok(client)
    }
}

fn build(
    uses_proxy: bool,
    connect_timeout: Duration,
    extra_roots: &[reqwest::Certificate],
) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("kt-gateway/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(30))
        .tcp_keepalive_interval(Duration::from_secs(10))
        .http2_keep_alive_interval(Duration::from_secs(30))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_mins(1))
        .pool_max_idle_per_host(MAX_IDLE)
        .tls_certs_merge(extra_roots.iter().cloned());
    if !uses_proxy {
        builder = builder.no_proxy();
    }
    builder.build()
}

/// Whether the host of `url` is this machine.
pub(crate) fn is_loopback(url: &reqwest::Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    host == "localhost"
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// What is sent to a target.
pub(crate) struct Outgoing {
    pub(crate) url: reqwest::Url,
    pub(crate) headers: HeaderMap,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) body: Bytes,
}

/// An answer whose head was read.
pub(crate) enum Incoming {
    /// A stream of events.
    Stream(HeaderMap, reqwest::Body),
    /// A whole answer.
    Whole(HeaderMap, Bytes),
    /// A refusal.
    Refusal(StatusCode, HeaderMap, Bytes),
}

/// How long one attempt may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptLimits {
    pub(crate) first_byte: Duration,
    pub(crate) total: Duration,
    pub(crate) answer_bytes: usize,
}

/// Sends one request and reads the answer: whole when it is no stream. `on_head` is called as soon as the head is
/// there.
pub(crate) async fn send(
    client: &reqwest::Client,
    outgoing: Outgoing,
    limits: AttemptLimits,
    on_head: impl FnOnce(),
) -> Result<Incoming, UpstreamFault> {
    let started = Instant::now();
    let mut request = reqwest::Request::new(http::Method::POST, outgoing.url);
    *request.headers_mut() = outgoing.headers;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(authorization) = outgoing.authorization {
        headers.insert(header::AUTHORIZATION, authorization);
    }
    *request.body_mut() = Some(outgoing.body.into());

    let response = tokio::time::timeout(limits.first_byte, client.execute(request))
        .await
        .map_err(|_| UpstreamFault::FirstByteTimeout)?
        .map_err(|error| fault_of(&error))?;
    on_head();
    let (parts, body) = http::Response::from(response).into_parts();
    let status = parts.status;
    if status.is_redirection() {
        return Err(UpstreamFault::Redirect);
    }
    if status.is_informational()
        || !(status.is_success() || status.is_client_error() || status.is_server_error())
    {
        return Err(UpstreamFault::UnexpectedStatus);
    }
    if !status.is_success() {
        // Whatever can be read of it; a refusal is a refusal without its text, too.
        let bytes = tokio::time::timeout(ERROR_BODY_TIMEOUT, read_some(body, MAX_ERROR_BYTES))
            .await
            .unwrap_or_default();
        return Ok(Incoming::Refusal(status, parts.headers, bytes));
    }
    if headers::is_encoded(&parts.headers) {
        return Err(UpstreamFault::Encoded);
    }
    if headers::is_event_stream(&parts.headers) {
        return Ok(Incoming::Stream(parts.headers, body));
    }
    if !headers::is_json(&parts.headers) {
        return Err(UpstreamFault::NotJson);
    }
    let left = limits.total.saturating_sub(started.elapsed());
    let bytes = tokio::time::timeout(left, read_whole(body, limits.answer_bytes))
        .await
        .map_err(|_| UpstreamFault::TotalTimeout)??;
    if bytes.trim_ascii().is_empty() {
        return Err(UpstreamFault::Empty);
    }
    Ok(Incoming::Whole(parts.headers, bytes))
}

/// Reads a body to its end; more than `limit` bytes, or a cut, is a failure.
async fn read_whole(mut body: reqwest::Body, limit: usize) -> Result<Bytes, UpstreamFault> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| UpstreamFault::BrokeOff)?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            return Err(UpstreamFault::TooLarge);
        }
        // Most answers come in one piece, which is then not copied.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
                first = Bytes::new();
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// Reads up to `limit` bytes of a body, as far as it goes.
async fn read_some(mut body: reqwest::Body, limit: usize) -> Bytes {
    let mut bytes = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        let room = limit - bytes.len();
        bytes.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
        if bytes.len() >= limit {
            break;
        }
    }
    bytes.freeze()
}

/// What a failure of the client means. Its text, which can hold the address, goes nowhere.
fn fault_of(error: &reqwest::Error) -> UpstreamFault {
    if error.is_timeout() && !error.is_connect() {
        UpstreamFault::FirstByteTimeout
    } else if error.is_connect() || error.is_builder() {
        UpstreamFault::Unreachable
    } else {
        UpstreamFault::BrokeOff
    }
}
