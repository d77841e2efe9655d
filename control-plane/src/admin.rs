//! What the operator may look at: `/healthz`, `/readyz`, `/metrics`. Nothing here changes anything.
//!
//! `/readyz` is 200 once the store was read, however degraded, since gateways are served from memory; the reasons
//! stand beside it. It is 503 while draining.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{delivery::Delivery, metrics::Metrics, mirror::Mirror, tls::Certificates};

const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Connections at the same time; the rest waits in the backlog.
const CONNECTIONS: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may live: whoever asks, asks again.
const LIFETIME: Duration = Duration::from_mins(5);
/// How long accepting rests when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the answers are made of.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) mirror: Mirror,
    pub(crate) delivery: Delivery,
    pub(crate) metrics: Metrics,
    pub(crate) store: &'static str,
    pub(crate) replica: Arc<str>,
    pub(crate) tls: Option<Arc<Certificates>>,
    /// Cancelled once the control plane is told to stop.
    pub(crate) draining: CancellationToken,
}

// === impl Admin ===

impl Admin {
    /// Accepts connections until told to stop.
    pub(crate) async fn accept(self, listener: TcpListener, tasks: TaskTracker, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = async {
                    let slot = Arc::clone(&slots).acquire_owned().await;
                    (slot, listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(slot), Ok((stream, _))) => {
                    let (admin, stop) = (self.clone(), stop.clone());
                    tasks.spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = sleep(LIFETIME) => {}
                            () = admin.serve(stream) => {}
                        }
                        drop(slot);
                    });
                }
                // Never closed.
                (Err(_), _) => return,
                (_, Err(error)) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "Connection can't be accepted."
                    );
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self, stream: TcpStream) {
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = self.answer(request.method(), request.uri().path());
            async { Ok::<_, Infallible>(answer) }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        // How it ends is the business of whoever asked.
        let _ = serving.await;
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        match (path, is_read) {
            ("/healthz", true) => json(StatusCode::OK, &json!({"status": "ok"})),
            ("/readyz", true) => self.ready(),
            ("/metrics", true) => self.encoded(),
            ("/healthz" | "/readyz" | "/metrics", false) => {
                json(StatusCode::METHOD_NOT_ALLOWED, &json!({"error": "only GET and HEAD"}))
            }
            _ => {
                let help = "there is `/healthz`, `/readyz` and `/metrics`";
                json(StatusCode::NOT_FOUND, &json!({"error": help}))
            }
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let is_draining = self.draining.is_cancelled();
        let degraded = self.degraded();
        let status = match (is_draining, self.mirror.is_ready(), degraded.is_empty()) {
            (true, _, _) => "draining",
            (false, false, _) => "starting",
            (false, true, false) => "degraded",
            (false, true, true) => "ok",
        };
        let code = if is_draining || !self.mirror.is_ready() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        };
        let body = json!({
            "status": status,
            "version": env!("CARGO_PKG_VERSION"),
            "replica": &*self.replica,
            "store": self.store,
            "state_age_seconds": self.age().map(|age| age.as_secs()),
            "gateways": self.delivery.connected(),
            "degraded": degraded,
        });
        json(code, &body)
    }

    /// Why less is done than should be.
    fn degraded(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(fault) = self.mirror.contact().fault {
            reasons.push(format!("store: {fault}"));
        }
        if let Some(fault) = self.tls.as_ref().and_then(|tls| tls.fault()) {
            reasons.push(format!("tls: {fault}"));
        }
        let state = self.mirror.state();
        let diverged = state.fleets.iter().filter(|(_, fleet)| fleet.is_diverged());
        reasons.extend(
            diverged.map(|(name, _)| format!("fleet `{name}` has diverged: `kt fleet recover {name}`")),
        );
        reasons
    }

    /// Since the store was last heard of.
    fn age(&self) -> Option<Duration> {
        self.mirror.contact().last.map(|last| Instant::now().saturating_duration_since(last))
    }

    fn encoded(&self) -> Response<Full<Bytes>> {
        let metrics = &self.metrics;
        let is_ready = self.mirror.is_ready() && !self.draining.is_cancelled();
        metrics.ready.set(i64::from(is_ready));
        metrics.store_reachable.set(i64::from(self.mirror.contact().fault.is_none()));
        metrics.state_age.set(self.age().map_or(f64::NAN, |age| age.as_secs_f64()));
        let state = self.mirror.state();
        let diverged = state.fleets.values().filter(|fleet| fleet.is_diverged()).count();
        metrics.fleets_diverged.set(i64::try_from(diverged).unwrap_or(i64::MAX));
        let text = metrics.encode().unwrap_or_default();
        answer(StatusCode::OK, PROMETHEUS, text.into())
    }
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    answer(status, JSON, value.to_string().into())
}

fn answer(status: StatusCode, kind: HeaderValue, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
