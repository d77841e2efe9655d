//! Listener, connections, and the way of one request through the fake.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue, SERVER, VARY};
use http::{HeaderMap, Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::{Map, Value};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::auth::Credentials;
use super::control;
use super::dispatch::{Arrived, body_limit};
use super::echo::{Arrival, Exchange, Journal, RecordedBody};
use super::reply::{Head, Reply};
use super::routes::{Route, route};
use super::script::Script;
use super::wire::body::{PlanBody, Severed};
use super::wire::socket::{Fate, Socket};

/// What is read of a body that is too large, so that its sender reads the 413 rather than a reset.
const DRAIN_LIMIT: u64 = 64 * 1024 * 1024;

/// All that connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) credentials: Credentials,
    pub(crate) journal: Arc<Journal>,
    pub(crate) script: Script,
    /// Pause between stream frames where a behaviour sets none.
    pub(crate) pace: Duration,
    /// Retired models still answer.
    pub(crate) with_retired: bool,
    pub(crate) ids: Ids,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// Where ids and times come from.
#[derive(Debug)]
pub(crate) enum Ids {
    /// Random, and the clock.
    Real,
    /// Counted, and the first second of 2026: for snapshots.
    Counted(AtomicU64),
}

impl Ids {
    fn next(&self) -> Uuid {
        match self {
            Self::Real => Uuid::now_v7(),
            Self::Counted(last) => Uuid::from_u128(u128::from(last.fetch_add(1, Ordering::Relaxed) + 1)),
        }
    }

    fn now(&self) -> i64 {
        match self {
            Self::Real => jiff::Timestamp::now().as_second(),
            Self::Counted(_) => 1_767_225_600,
        }
    }
}

/// Accepts until the fake stops.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                shared.tasks.spawn(serve(Arc::clone(&shared), stream));
            }
            // Out of descriptors, most likely: some will be free again soon.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Runs what hyper spawns (HTTP/2 streams) on the fake's tracker, and ends it with the fake.
#[derive(Debug, Clone)]
struct Tracked {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(future));
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    // Without it a small write waits for the acknowledgement of the one before, and timings mean nothing.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let fate = Fate::default();
    {
        let socket = TokioIo::new(Socket::new(stream, fate.clone()));
        let service = service_fn(|request| handle(Arc::clone(&shared), fate.clone(), request));
        let executor = Tracked { tasks: shared.tasks.clone(), stop: shared.stop.clone() };
        let mut builder = auto::Builder::new(executor);
        // HTTP/1 peers that die without a word must not hold a test up; the rest is hyper's default.
        builder.http1().timer(TokioTimer::new()).max_headers(1000);
        let connection = builder.serve_connection(socket, service);
        tokio::select! {
            // Peers and behaviours break connections all the time; the log says how each exchange ended.
            _ = connection => {}
            () = shared.stop.cancelled() => return,
        }
    }
    shared.stop.run_until_cancelled(fate.finish()).await;
}

async fn handle(
    shared: Arc<Shared>,
    fate: Fate,
    request: Request<Incoming>,
) -> Result<Response<PlanBody>, Severed> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let route = route(&parts.method, path);
    let (request_id, reply_id) = (shared.ids.next().to_string(), shared.ids.next().to_string());
    if let Route::Control(name) = route {
        let Ok(Some(body)) = read(body, usize::MAX).await.into_body() else { return Err(Severed) };
        let reply = control::answer(&shared, &parts.method, name, &body);
        return Ok(respond(reply, None, &request_id, fate));
    }
    let read = read(body, body_limit(&route)).await;
    let recorded = read.recorded();
    let vanished = matches!(read, Read::Vanished(_));
    let body = read.into_body().unwrap_or_default();
    let arrived = Arrived {
        method: &parts.method,
        path,
        route,
        headers: &parts.headers,
        fields: body.as_deref().and_then(object),
        body: body.as_deref(),
        request_id: &request_id,
        reply_id: &reply_id,
        created: shared.ids.now(),
    };
    let (chosen, unknown) = match arrived.behaviour(&shared) {
        Ok(chosen) => (chosen, None),
        Err(unknown) => (None, Some(unknown)),
    };
    let arrival = Arrival {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or(path, |whole| whole.as_str()).to_owned(),
        version: format!("{:?}", parts.version),
        headers: listed(&parts.headers),
        body: recorded,
        request_id: request_id.clone(),
        endpoint: arrived.endpoint().map(str::to_owned),
        behaviour: chosen.map(|chosen| chosen.to_string()),
    };
    // A log that cannot be written proves nothing, so the request is not answered either.
    let mut exchange = shared.journal.arrived(arrival).map_err(|_| Severed)?;
    if vanished {
        return Err(Severed);
    }
    let reply = match unknown {
        Some(unknown) => control::complain(http::StatusCode::BAD_REQUEST, &unknown.to_string()),
        None => arrived.reply(&shared, chosen),
    };
    if reply.delay > Duration::ZERO {
        tokio::time::sleep(reply.delay).await;
    }
    match reply.head {
        Head::Send => {
            exchange.status(reply.status.as_u16());
            return Ok(respond(reply, Some(exchange), &request_id, fate));
        }
        Head::Never => std::future::pending().await,
        Head::Close => exchange.severed(),
        Head::Reset => {
            fate.reset_on_drop();
            exchange.severed();
        }
        Head::Raw => match reply.raw {
            Some(raw) if parts.version != Version::HTTP_2 => fate.hand_over(raw, exchange),
            _ => exchange.severed(),
        },
    }
    Err(Severed)
}

fn respond(reply: Reply, exchange: Option<Exchange>, request_id: &str, fate: Fate) -> Response<PlanBody> {
    let mut response = Response::new(PlanBody::new(reply.plan, exchange, fate));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    *headers = reply.headers;
    headers.insert(SERVER, HeaderValue::from_static("databricks"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers
        .insert(HeaderName::from_static("x-databricks-org-id"), HeaderValue::from_static("1234567890123456"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

/// How reading a body went.
enum Read {
    Whole(Bytes),
    TooLarge(u64),
    /// The client left, or broke the framing, after so many bytes.
    Vanished(u64),
}

impl Read {
    fn recorded(&self) -> RecordedBody {
        match self {
            Self::Whole(bytes) => RecordedBody::from(bytes.as_ref()),
            Self::TooLarge(bytes) | Self::Vanished(bytes) => RecordedBody::Unread { bytes: *bytes },
        }
    }

    /// The body, none where it was too large.
    fn into_body(self) -> Result<Option<Bytes>, Severed> {
        match self {
            Self::Whole(bytes) => Ok(Some(bytes)),
            Self::TooLarge(_) => Ok(None),
            Self::Vanished(_) => Err(Severed),
        }
    }
}

async fn read(mut body: Incoming, limit: usize) -> Read {
    let mut kept = BytesMut::new();
    let mut arrived: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Read::Vanished(arrived) };
        let Ok(data) = frame.into_data() else { continue };
        arrived += data.len() as u64;
        if arrived > DRAIN_LIMIT {
            break;
        }
        if kept.len() <= limit {
            kept.extend_from_slice(&data);
        }
    }
    if kept.len() > limit { Read::TooLarge(arrived) } else { Read::Whole(kept.freeze()) }
}

fn object(body: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok()
}

fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// The address of a listener.
pub(crate) async fn listen(addr: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}
