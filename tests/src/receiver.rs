//! Whatever takes HTTP requests from a control plane: a SIEM, a collector, an object store that takes files.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// A request that was received.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What it was answered with.
    pub status: StatusCode,
}

/// How requests are answered.
#[derive(Debug, Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Debug)]
struct State {
    answer: Mutex<Answer>,
    received: watch::Sender<Vec<Received>>,
}

/// A server; dropped, it is gone.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens, on loopback.
    pub addr: SocketAddr,
    state: Arc<State>,
    _serving: JoinSet<()>,
}

// === impl Receiver ===

impl Receiver {
    /// Listens on a port of loopback, 0 for a free one, and answers 200.
    ///
    /// # Errors
    /// When the port can't be had.
    pub async fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let addr = listener.local_addr()?;
        let answer = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
        let state = Arc::new(State { answer: Mutex::new(answer), received: watch::Sender::new(Vec::new()) });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&state)));
        Ok(Self { addr, state, _serving: serving })
    }

    /// Answers like this from now on.
    pub fn answer(&self, status: StatusCode, headers: HeaderMap, body: impl Into<Bytes>) {
        *self.state.answer() = Answer { status, headers, body: body.into() };
    }

    /// What was received so far.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.borrow().clone()
    }

    /// Waits until what was received is as wanted.
    pub async fn until(&self, is_there: impl FnMut(&Vec<Received>) -> bool) -> Vec<Received> {
        let mut received = self.state.received.subscribe();
        // The sender lives as long as this server.
        received.wait_for(is_there).await.map(|received| received.clone()).unwrap_or_default()
    }
}

impl State {
    fn answer(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let answer = self.answer().clone();
        let received = Received {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            body,
            status: answer.status,
        };
        self.received.send_modify(|all| all.push(received));
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(state.take(request).await) }
            });
            // The other end may go at any time.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
