//! The one way in: every call passes here before it gets to a method.
//!
//! The token is looked up, the method is looked up in [`crate::auth::CALLS`], and who called travels on with the
//! request. A method without an entry can't be called, so one that is added without a decision is closed, not open.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use kt_proto::refusal::{Code, Refusal};
use tokio::sync::Semaphore;
use tonic::{Status, metadata::MetadataMap};

use crate::{
    auth::{self, Access, Identity},
    metrics::{CallLabels, Metrics},
    mirror::Mirror,
};

/// Calls of people that are worked on at the same time.
const CALLS_AT_ONCE: usize = 256;
/// When to come back where there are more.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What answers without a token: what load balancers and `grpcurl` ask for. The descriptors are public anyway.
const OPEN: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/"];

/// Puts the gate in front of a service.
#[derive(Debug, Clone)]
pub(crate) struct GateLayer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    mirror: Mirror,
    metrics: Metrics,
    slots: Arc<Semaphore>,
}

/// A service behind the gate.
#[derive(Debug, Clone)]
pub(crate) struct Gate<S> {
    inner: S,
    shared: Arc<Shared>,
}

// === impl GateLayer ===

impl GateLayer {
    pub(crate) fn new(mirror: Mirror, metrics: Metrics) -> Self {
        Self(Arc::new(Shared { mirror, metrics, slots: Arc::new(Semaphore::new(CALLS_AT_ONCE)) }))
    }
}

impl<S> tower::Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, shared: Arc::clone(&self.0) }
    }
}

// === impl Gate ===

impl<S, B, R> tower::Service<http::Request<B>> for Gate<S>
where
    S: tower::Service<http::Request<B>, Response = http::Response<R>, Error = Infallible>,
    S::Future: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = http::Response<R>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<R>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        if OPEN.iter().any(|open| request.uri().path().starts_with(open)) {
            return Box::pin(self.inner.call(request));
        }
        let (method, admitted) = self.shared.admit(&request);
        let count = |outcome| {
            self.shared.metrics.calls.get_or_create(&CallLabels { method, outcome }).inc();
        };
        match admitted {
            Ok((identity, slot)) => {
                count("admitted");
                request.extensions_mut().insert(identity);
                let answering = self.inner.call(request);
                Box::pin(async move {
                    let answer = answering.await;
                    drop(slot);
                    answer
                })
            }
            Err(refusal) => {
                count(refusal.code.as_str());
                Box::pin(async { Ok(Status::from(refusal).into_http()) })
            }
        }
    }
}

// === impl Shared ===

type Admitted = (Identity, Option<tokio::sync::OwnedSemaphorePermit>);

impl Shared {
    fn admit<B>(&self, request: &http::Request<B>) -> (&'static str, Result<Admitted, Refusal>) {
        let Some((method, access)) = auth::access(request.uri().path()) else {
            // Told only to who has a token, as everything else.
            let refusal = self.identity(request).err().unwrap_or_else(|| {
                Refusal::new(
                    Code::ArgumentInvalid,
                    "there is no such method: is `kt` newer than the control plane?",
                )
            });
            return ("unknown", Err(refusal));
        };
        (method, self.identity(request).and_then(|identity| self.may(identity, method, access)))
    }

    fn identity<B>(&self, request: &http::Request<B>) -> Result<Identity, Refusal> {
        if !self.mirror.is_ready() {
            return Err(Refusal {
                retry_after: Some(RETRY_AFTER),
                ..Refusal::new(
                    Code::NotReady,
                    "the control plane has not read its store yet: try again shortly",
                )
            });
        }
        let mut metadata = MetadataMap::new();
        if let Some(value) = request.headers().get(http::header::AUTHORIZATION)
            && let Ok(value) = tonic::metadata::MetadataValue::try_from(value.as_bytes())
        {
            metadata.insert("authorization", value);
        }
        auth::authenticate(&self.mirror.state(), &metadata, jiff::Timestamp::now())
    }

    fn may(&self, identity: Identity, method: &str, access: Access) -> Result<Admitted, Refusal> {
        auth::authorise(&identity, method, access)?;
        // Streams of gateways are counted by delivery.
        if access == Access::Gateways {
            return Ok((identity, None));
        }
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| Refusal {
            retry_after: Some(RETRY_AFTER),
            ..Refusal::new(Code::Busy, "the control plane has as many calls as it may: try again shortly")
        })?;
        Ok((identity, Some(slot)))
    }
}
