//! Listeners and connections: HTTP/1.1 and HTTP/2 with prior knowledge on one port, the guard in front of both.
//!
//! A connection is one task, on one of the [`workers`]. Told to drain, it finishes the requests that it has begun and takes no more; told to
//! abort, it is dropped, and with it every answer under way, each of which is recorded as aborted.

mod sockets;
pub(crate) mod workers;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use pin_project_lite::pin_project;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::sockets::bind;
use self::workers::Workers;
use crate::{
    metrics::Metrics,
    pipeline,
    respond::{Body, BodyError},
    shared::Shared,
    wire::{ConnectionState, Guarded, HeadLimits, InFlight, Times},
};

/// Streams that one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 1024;
/// Headers that hyper takes when it is not told otherwise.
const HYPER_HEADERS: usize = 100;
/// How long accepting rests when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What a connection beyond the limit is told.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: application/json\r\ncontent-length: 157\r\n\r\n\
    {\"error\":{\"message\":\"the gateway has as many connections as it may: try again shortly\",\"type\":\
    \"server_error\",\"param\":null,\"code\":\"too_many_connections\"}}    ";

/// Who answers on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Callers.
    Public,
    /// The operator.
    Admin,
}

/// How a server is told to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// No new connections; those that are open finish what they have begun.
    pub(crate) drain: CancellationToken,
    /// Whatever is open is dropped.
    pub(crate) abort: CancellationToken,
}

/// Accepts connections until told to drain.
pub(crate) async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    side: Side,
    stop: Stop,
    workers: Workers,
) {
    let slots = Arc::new(Semaphore::new(shared.settings.limits.connections.min(Semaphore::MAX_PERMITS)));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.drain.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "Connection can't be accepted.");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            Metrics::result(&shared.metrics.connections, "refused");
            shared.tasks.spawn(turn_away(stream));
            continue;
        };
        Metrics::result(&shared.metrics.connections, "accepted");
        // From here on it belongs to another runtime.
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "Connection can't be handed on.");
                continue;
            }
        };
        let (shared, stop, parts) = (Arc::clone(&shared), stop.clone(), workers.clone());
        workers.spawn_connection(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(shared, stream, side, stop, parts).await,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "Connection can't be handed on."
                    );
                }
            }
            drop(slot);
        });
    }
}

/// Errors of `accept` that say nothing about the next connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

async fn turn_away(mut stream: TcpStream) {
    let telling = async {
        stream.write_all(TOO_MANY).await?;
        stream.shutdown().await
    };
    // Whoever does not listen is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(1), telling).await;
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, side: Side, stop: Stop, workers: Workers) {
    if let Err(error) = sockets::prepare(&stream) {
        tracing::debug!(error = &error as &dyn std::error::Error, "Connection's options can't be set.");
    }
    let limits = &shared.settings.limits;
    let timeouts = &shared.settings.timeouts;
    let connection = Arc::new(ConnectionState::default());
    let guarded = Guarded::new(
        stream,
        HeadLimits { bytes: limits.head_bytes, headers: limits.headers },
        Times { head: timeouts.head, idle: timeouts.idle, stall: timeouts.stall },
        Arc::clone(&connection),
    );
    let builder = builder(&shared, workers);
    let service = {
        let shared = Arc::clone(&shared);
        service_fn(move |request: Request<Incoming>| {
            let (shared, in_flight) = (Arc::clone(&shared), connection.begin());
            async move {
                let response = match side {
                    Side::Public => Box::pin(pipeline::answer(&shared, request)).await,
                    Side::Admin => crate::admin::answer(&shared, &request),
                };
                Ok::<_, Infallible>(hold(response, in_flight))
            }
        })
    };
    shared.metrics.connections_open.inc();
    let is_public = side == Side::Public;
    if is_public {
        shared.connection_opened();
    }
    let serving = builder.serve_connection(TokioIo::new(guarded), service);
    let mut serving = std::pin::pin!(serving);
    let mut is_draining = false;
    loop {
        tokio::select! {
            biased;
            () = stop.abort.cancelled() => break,
            () = stop.drain.cancelled(), if !is_draining => {
                is_draining = true;
                serving.as_mut().graceful_shutdown();
            }
            // How a connection ends is the peer's business; what its requests came to is recorded by each of them.
            _ = serving.as_mut() => break,
        }
    }
    shared.metrics.connections_open.dec();
    if is_public {
        shared.connection_ended();
    }
}

fn builder(shared: &Shared, workers: Workers) -> auto::Builder<PartExecutor> {
    let limits = &shared.settings.limits;
    let mut builder = auto::Builder::new(PartExecutor(workers));
    builder
        .http1()
        .timer(TokioTimer::new())
        // The guard has limits of its own for heads, and answers them.
        .header_read_timeout(None)
        .max_buf_size(limits.head_bytes.max(8 * 1024) * 2)
        .keep_alive(true)
        .half_close(false);
    // Hyper's own limit is as large, and costs no allocation for each request.
    if limits.headers > HYPER_HEADERS {
        builder.http1().max_headers(limits.headers);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15))
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX));
    builder
}

/// Spreads hyper's tasks, which are the streams of HTTP/2 connections, over the workers.
#[derive(Debug, Clone)]
struct PartExecutor(Workers);

impl<F> hyper::rt::Executor<F> for PartExecutor
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn_part(future);
    }
}

pin_project! {
    /// A body that counts its request as in flight until it is gone.
    struct Held {
        #[pin]
        body: Body,
        in_flight: InFlight,
    }
}

fn hold(response: Response<Body>, in_flight: InFlight) -> Response<Held> {
    response.map(|body| Held { body, in_flight })
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The address that a listener really has.
pub(crate) fn address(listener: &TcpListener) -> io::Result<SocketAddr> {
    listener.local_addr()
}
