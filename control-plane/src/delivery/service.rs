//! The gRPC service: who calls, and what is done for them.
//!
//! It is written out instead of generated, so that a stream costs little; see [`super::wire`].

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kt_audit::Digest;
use kt_proto::{
    refusal::{Code, Refusal},
    v1::{self, delivery_service_server::SERVICE_NAME},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};
use tonic::{Status, body::Body, metadata::MetadataMap};

use super::{
    Shared,
    hub::Event,
    jitter,
    stream::{self, Caller},
    wire::{self, Answer, Inbound, Piece},
};
use crate::auth::{self, Identity};

/// What a source is cut into.
pub(super) const PIECE: usize = 64 * 1024;
/// How long a fetch waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// The service `keeptrusts.v1.DeliveryService`; cheap to clone.
#[derive(Clone)]
pub struct DeliveryServer(Arc<Shared>);

// === impl DeliveryServer ===

impl DeliveryServer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

impl fmt::Debug for DeliveryServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeliveryServer").finish()
    }
}

impl tonic::server::NamedService for DeliveryServer {
    const NAME: &'static str = SERVICE_NAME;
}

impl<B> tower::Service<http::Request<B>> for DeliveryServer
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        let (head, body) = request.into_parts();
        let metadata = MetadataMap::from_headers(head.headers);
        let body = Body::new(body);
        Box::pin(async move {
            let answered = match head.uri.path() {
                "/keeptrusts.v1.DeliveryService/Subscribe" => subscribe(shared, &metadata, body),
                "/keeptrusts.v1.DeliveryService/FetchPack" => fetch_pack(shared, &metadata, body).await,
                _ => Err(Status::unimplemented("there is no such method")),
            };
            Ok(answered.unwrap_or_else(Status::into_http))
        })
    }
}

fn subscribe(
    shared: Arc<Shared>,
    metadata: &MetadataMap,
    body: Body,
) -> Result<http::Response<Body>, Status> {
    let caller = caller(&shared, metadata)?;
    // One message: whatever waits, waits in the outbox, where it can still be replaced.
    let (out, outbound) = mpsc::channel(1);
    let tasks = shared.tasks.clone();
    let open = Open::new(shared);
    tasks.spawn(async move {
        let shared = Arc::clone(&open.0);
        stream::run(shared, caller, Inbound::new(body), out).await;
    });
    Ok(Answer::respond(outbound))
}

async fn fetch_pack(
    shared: Arc<Shared>,
    metadata: &MetadataMap,
    body: Body,
) -> Result<http::Response<Body>, Status> {
    let caller = caller(&shared, metadata)?;
    let mut inbound = Inbound::<v1::FetchPackRequest>::new(body);
    let request = match timeout(TURN, inbound.message()).await {
        Ok(request) => request?.ok_or_else(|| Status::invalid_argument("the request is missing"))?,
        Err(_) => return Err(Status::deadline_exceeded("the request did not come in time")),
    };
    let digest = <[u8; 32]>::try_from(&*request.digest)
        .map(Digest)
        .map_err(|_| Refusal::new(Code::ArgumentInvalid, "`digest` of FetchPack has not 32 bytes"))?;
    may_fetch(&shared, &caller, digest).await?;
    let source = shared.bodies.get(digest).await?;
    let turn = turn(&shared, source.len()).await?;
    let (out, outbound) = mpsc::channel(1);
    let tasks = shared.tasks.clone();
    tasks.spawn(async move { send(&shared, source, &out, turn).await });
    Ok(Answer::respond(outbound))
}

/// An open stream, for as long as it lives.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        shared.metrics.opened();
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.closed();
    }
}

fn caller(shared: &Shared, metadata: &MetadataMap) -> Result<Caller, Status> {
    if !shared.mirror.is_ready() {
        let refusal = Refusal {
            retry_after: Some(Duration::from_secs(1).mul_f64(1.0 + jitter())),
            ..Refusal::new(Code::NotReady, "this control plane has not read its store yet")
        };
        return Err(refusal.into());
    }
    match auth::authenticate(&shared.mirror.state(), metadata, jiff::Timestamp::now())? {
        Identity::Gateway(gateway) => Ok(Caller { fleet: gateway.fleet, token: token_hash(metadata) }),
        Identity::Person(_) => {
            let message = "only gateways subscribe: make a token with `kt gateway token create`";
            Err(Refusal::new(Code::RoleMissing, message).into())
        }
    }
}

/// The key under which the state has the token that has just been authenticated.
fn token_hash(metadata: &MetadataMap) -> [u8; 32] {
    let value = metadata.get("authorization").map_or(&[][..], tonic::metadata::MetadataValue::as_bytes);
    Digest::of(value.get("Bearer ".len()..).unwrap_or_default().trim_ascii()).0
}

/// Only packs of the caller's fleet: assigned now, or so lately that a gateway may still be at it.
async fn may_fetch(shared: &Shared, caller: &Caller, digest: Digest) -> Result<(), Refusal> {
    let ask = |answer| Event::MayFetch { fleet: Arc::clone(&caller.fleet), digest, answer };
    if shared.ask(ask).await? {
        return Ok(());
    }
    // Another replica may have offered what this one has not heard of.
    let refresh = |answer| Event::Refresh { fleet: Arc::clone(&caller.fleet), answer };
    let refreshed = shared.ask(refresh).await?;
    if shared.ask(ask).await? {
        return Ok(());
    }
    if refreshed.is_err() {
        let message = "the store does not answer, and this replica does not know the pack yet";
        return Err(Refusal::new(Code::StoreUnavailable, message));
    }
    let message = format!("no pack with this digest is assigned to fleet `{}`", caller.fleet);
    Err(Refusal::new(Code::WrongFleet, message))
}

type Turn = (OwnedSemaphorePermit, OwnedSemaphorePermit);

async fn turn(shared: &Shared, size: usize) -> Result<Turn, Refusal> {
    let pieces = u32::try_from(size.div_ceil(PIECE).max(1)).unwrap_or(u32::MAX);
    let both = async {
        let fetch = Arc::clone(&shared.fetches).acquire_owned().await.ok()?;
        let bytes = Arc::clone(&shared.fetch_bytes).acquire_many_owned(pieces).await.ok()?;
        Some((fetch, bytes))
    };
    timeout(TURN, both).await.ok().flatten().ok_or_else(|| Refusal {
        retry_after: Some(Duration::from_secs(1).mul_f64(1.0 + jitter())),
        ..Refusal::new(Code::Busy, "too many gateways fetch packs at once")
    })
}

/// Sends the pieces; a reader that takes none for too long loses its turn, and sees by the digest that it has not all.
async fn send(shared: &Shared, source: Bytes, out: &mpsc::Sender<Piece>, turn: Turn) {
    let mut rest = source.clone();
    while !rest.is_empty() {
        let chunk = rest.split_to(PIECE.min(rest.len()));
        for piece in [wire::chunk_head(&chunk), chunk] {
            if !matches!(timeout(shared.options.send, out.send(Ok(piece))).await, Ok(Ok(()))) {
                return;
            }
        }
    }
    shared.metrics.fetched(source.len());
    drop(turn);
}
