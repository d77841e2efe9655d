//! The life of a request, on one page.
//!
//! | phase | what happens | what ends it here |
//! |---|---|---|
//! | accept | the guard below hyper has judged the head ([`crate::wire`]) | 400, 408, 431 and the connection closed |
//! | route | path and method name an endpoint; health is answered at once | 404, 405 |
//! | limits | one of the slots is taken, at once or not at all | 503 |
//! | identify | the credential is checked ([`crate::identity`]) | 401 |
//! | read | the body, within its limits | 400, 408, 413, 415 |
//! | decide | parse, candidates, chain: pure functions of `kt-policy` ([`decide`]) | 400, 403, 404, 409 |
//! | record opened | before the first byte upstream ([`record`]) | 503 |
//! | attempts | authorise this target, credentials, upstream; fall back on triggers ([`attempts`]) | the last failure |
//! | stream | bytes pass as they come ([`relay`]) | an error event |
//! | record closed | before the last byte to the client | |
//!
//! One value, the [`Exchange`], lives through all of it and knows what is to be recorded. Whoever drops it before it
//! was closed (the client went away: hyper drops what it was answering) has it closed as aborted.

mod answer;
mod attempts;
mod body;
mod bound;
mod decide;
mod exchange;
mod models;
mod record;
mod relay;
mod route;

use std::sync::Arc;

use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use kt_policy::{pack::BlockResponse, verdict::Endpoint};
use tokio::time::Instant;

use self::route::Route;
pub(crate) use self::{
    exchange::{Closing, Exchange},
    record::{pack_ref, retention},
};
use crate::{
    error::{GatewayError, PolicyRefusal},
    headers,
    metrics::ErrorLabels,
    respond::{self, Body},
    shared::Shared,
    wire::{FAULT_HEADER, Fault},
};

/// Answers one request.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let Some(active) = shared.active.load_full() else { return without_pack(shared, &request) };
    if let Some(fault) = fault_of(&request) {
        let exchange = Exchange::new(shared, active, None, &http::HeaderMap::new());
        return refuse(exchange, fault.into()).await;
    }
    let route = match route::of(request.method(), request.uri().path()) {
        Ok(Route::Health(health)) => return crate::health::answer(shared, health),
        Ok(route) => route,
        Err(error) => return refuse(Exchange::new(shared, active, None, request.headers()), error).await,
    };
    let mut exchange = Exchange::new(shared, active, route.endpoint(), request.headers());
    if shared.is_policy_too_old() {
        return refuse(exchange, GatewayError::PolicyTooOld).await;
    }
    match Arc::clone(&shared.slots).try_acquire_owned() {
        Ok(slot) => exchange.hold(slot),
        Err(_) => return refuse(exchange, GatewayError::Busy).await,
    }
    if let Err(error) = exchange.identify(request.headers()) {
        return refuse(exchange, error).await;
    }
    match route {
        Route::Health(health) => crate::health::answer(shared, health),
        Route::Models => models::list(exchange).await,
        Route::Model(id) => models::one(exchange, &id).await,
        Route::Governed(endpoint) => match govern(endpoint, request, &mut exchange).await {
            Ok(answered) => answered.into_response(exchange).await,
            Err(error) => refuse(exchange, error).await,
        },
    }
}

/// Without a pack there is health and nothing else: nobody has said what may pass, or what is to be recorded.
fn without_pack<B>(shared: &Shared, request: &Request<B>) -> Response<Body> {
    let error = match fault_of(request) {
        Some(fault) => fault.into(),
        None => match route::of(request.method(), request.uri().path()) {
            Ok(Route::Health(health)) => return crate::health::answer(shared, health),
            Ok(_) => GatewayError::NoPack,
            Err(error) => error,
        },
    };
    let labels = ErrorLabels { code: error.metric_code(), blame: error.blame().as_str() };
    shared.metrics.errors.get_or_create(&labels).inc();
    let id = uuid::Uuid::now_v7().to_string();
    let mut response = respond::error(&error, &id);
    respond::set(response.headers_mut(), respond::REQUEST_ID, &id);
    response
}

/// What the guard below hyper has found wrong with a request.
fn fault_of<B>(request: &Request<B>) -> Option<Fault> {
    // The header stands only in requests that the guard made: it refuses those of clients that carry it, and HTTP/2,
    // where it does not look, has no such faults.
    let fault = request.headers().get(FAULT_HEADER).filter(|_| request.version() < Version::HTTP_2)?;
    Some(Fault::from_code(fault.as_bytes()).unwrap_or(Fault::MalformedHead))
}

/// From the body of a request to the head of its answer.
async fn govern(
    endpoint: Endpoint,
    request: Request<Incoming>,
    exchange: &mut Exchange,
) -> Result<attempts::Answered, GatewayError> {
    let (parts, incoming) = request.into_parts();
    if !headers::is_plain_json(&parts.headers) {
        return Err(GatewayError::UnsupportedMediaType);
    }
    let reading = Instant::now();
    let limits = &exchange.shared().settings.limits;
    let timeout = exchange.shared().settings.timeouts.body;
    let body = body::read(&parts.headers, incoming, limits.body_bytes, timeout).await?;
    exchange.has_read(body.len(), reading.elapsed());

    let decision = decide::decide(exchange, endpoint, &body).await?;
    exchange.has_decided(decision);
    if let Some(refusal) = exchange.refusal() {
        return Err(GatewayError::Refused(Box::new(refusal)));
    }
    exchange.open().await?;
    attempts::run(exchange, endpoint, &body, headers::up(&parts.headers)).await
}

/// Ends a request with an answer of the gateway's own.
pub(crate) async fn refuse(mut exchange: Exchange, error: GatewayError) -> Response<Body> {
    let response = refusal_response(&exchange, &error);
    let closing = Closing::refused(&error, response.status());
    // A refusal stands whether or not it can be recorded.
    let _ = exchange.close(closing).await;
    exchange.finish_response(response)
}

fn refusal_response(exchange: &Exchange, error: &GatewayError) -> Response<Body> {
    let id = exchange.request_id();
    if let GatewayError::Refused(refusal) = error
        && refusal.is_block()
        && let Some(response) = block_response(exchange, refusal, id)
    {
        return response;
    }
    respond::error(error, id)
}

/// The answer to a block that the pack asks for; `None`: the usual 409.
fn block_response(exchange: &Exchange, refusal: &PolicyRefusal, id: &str) -> Option<Response<Body>> {
    match exchange.active().pack.block_response {
        BlockResponse::Conflict => None,
        BlockResponse::ContentFilter => Some(respond::refusal::content_filter(refusal, id)),
        BlockResponse::Refusal => {
            let (endpoint, stream, model) = exchange.asked()?;
            let now = exchange.accepted().as_second();
            let response = respond::refusal::refusal(endpoint, stream, model, refusal, id, now)?;
            debug_assert_eq!(response.status(), StatusCode::OK);
            Some(response)
        }
    }
}
