//! The attempts at the targets of one request, in the order of its candidates.
//!
//! Every attempt holds a proof of `kt-policy` that this request may go to this target; a target that `rbac` or
//! `data-routing-policy` forbids is passed over and recorded, also as a fallback. An attempt that fails in a way that
//! the pack names as a trigger is followed by the next candidate. An answer counts as begun, and nothing is tried
//! again, once its first bytes are there.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CACHE_CONTROL};
use http_body_util::BodyExt as _;
use kt_audit::{
    Label,
    record::{Attempt, TokenBound},
};
use kt_policy::{
    evaluate::{Authorised, Denied, RenderOptions},
    pack::providers::Trigger,
    usage::Usage,
    verdict::Endpoint,
};
use tokio::time::Instant;

use super::{Closing, Exchange, answer, bound::OutputBound, exchange::micros, record, refuse, relay};
use crate::{
    active::{Active, TargetRuntime},
    error::{AnswerClass, GatewayError, UpstreamFault},
    headers,
    metrics::{AttemptLabels, TargetLabels},
    respond::{self, Body},
    shared::Shared,
    upstream::{
        client::{self, AttemptLimits, Incoming, Outgoing},
        errors,
    },
};

/// An answer whose first bytes are there.
#[derive(Debug)]
pub(crate) struct Answered {
    headers: HeaderMap,
    payload: Payload,
    /// What a stream is held to when its target took no parameter for it.
    bound: Option<Box<OutputBound>>,
}

/// What an attempt asks for beside what the client asks for.
#[derive(Debug, Clone, Copy)]
struct Extras {
    include_usage: bool,
    /// The bound on the output that the gateway sets goes as a parameter; otherwise the stream is counted.
    token_bound: bool,
}

#[derive(Debug)]
enum Payload {
    Whole(Bytes),
    Stream { first: Bytes, rest: reqwest::Body, idle: std::time::Duration },
}

/// Tries the candidates until one answers.
pub(super) async fn run(
    exchange: &mut Exchange,
    endpoint: Endpoint,
    body: &Bytes,
    up: HeaderMap,
) -> Result<Answered, GatewayError> {
    let active = Arc::clone(exchange.active());
    let fallback = active.pack.fallback.as_ref();
    let mut attempts_left = fallback.map_or(1, |fallback| fallback.max_attempts.saturating_add(1));
    let mut last_error = None;
    let candidates: Vec<(usize, Option<&'static str>)> = exchange
        .state()
        .judgement
        .iter()
        .flat_map(|judgement| &judgement.candidates)
        .map(|candidate| (candidate.target, candidate.excluded.map(kt_policy::evaluate::Exclusion::as_str)))
        .collect();
    exchange.state_mut().upstream_started = Some(Instant::now());
    for (index, excluded) in candidates {
        let Some(target) = active.targets.get(index) else { continue };
        if let Some(reason) = excluded {
            skip(exchange, index, reason);
            continue;
        }
        if attempts_left == 0 {
            break;
        }
        let authorised = {
            let Some(judgement) = &exchange.state().judgement else { break };
            active.pack.authorise(judgement, index, &*active.models)
        };
        let authorised = match authorised {
            Ok(authorised) => authorised,
            Err(denied) => {
                skip(exchange, index, denied_name(denied));
                continue;
            }
        };
        if let Some(reason) = target.unavailable() {
            skip(exchange, index, reason);
            last_error.get_or_insert(GatewayError::TargetUnavailable { reason });
            continue;
        }
        attempts_left -= 1;
        let error = match attempt(exchange, &active, target, &authorised, endpoint, body, &up).await {
            Ok(answered) => return Ok(answered),
            Err(error) => error,
        };
        let goes_on = trigger_of(&error)
            .is_some_and(|trigger| fallback.is_some_and(|fallback| fallback.triggers.contains(&trigger)));
        last_error = Some(error);
        if !goes_on {
            break;
        }
    }
    Err(last_error.unwrap_or(GatewayError::Internal { stage: "attempts" }))
}

/// One attempt, and further ones at the same target without what the gateway itself had added and the target refuses.
async fn attempt(
    exchange: &mut Exchange,
    active: &Active,
    target: &TargetRuntime,
    authorised: &Authorised,
    endpoint: Endpoint,
    body: &Bytes,
    up: &HeaderMap,
) -> Result<Answered, GatewayError> {
    let state = exchange.state();
    let asks_usage = target.include_usage
        && state.stream
        && !state.names_include_usage
        && endpoint != Endpoint::Responses
        && !target.refuses_usage.load(Ordering::Relaxed);
    // What is not streamed cannot be counted while it comes: there the parameter goes, and its refusal is the answer.
    let parameter = authorised.added_parameter().filter(|_| state.stream);
    let asks_bound = parameter.is_some() && !target.refuses_token_bound.load(Ordering::Relaxed);
    let mut extras = Extras { include_usage: asks_usage, token_bound: asks_bound || parameter.is_none() };
    loop {
        let result = attempt_once(exchange, active, target, authorised, endpoint, body, up, extras).await;
        let refusal = match &result {
            Err(GatewayError::Upstream(answer))
                if answer.class == AnswerClass::Request && answer.status == StatusCode::BAD_REQUEST =>
            {
                answer
            }
            Ok(_) => {
                if asks_usage && !extras.include_usage {
                    target.refuses_usage.store(true, Ordering::Relaxed);
                }
                if asks_bound && !extras.token_bound {
                    target.refuses_token_bound.store(true, Ordering::Relaxed);
                }
                return result;
            }
            Err(_) => return result,
        };
        if extras.token_bound
            && parameter.is_some_and(|parameter| errors::refuses_parameter(refusal, parameter))
        {
            extras.token_bound = false;
        } else if extras.include_usage {
            extras.include_usage = false;
        } else {
            return result;
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "an attempt is all of these, once")]
async fn attempt_once(
    exchange: &mut Exchange,
    active: &Active,
    target: &TargetRuntime,
    authorised: &Authorised,
    endpoint: Endpoint,
    body: &Bytes,
    up: &HeaderMap,
    extras: Extras,
) -> Result<Answered, GatewayError> {
    let shared = Arc::clone(exchange.shared());
    let options = RenderOptions {
        client_request_id: target.client_request_id.then_some(exchange.request_id()),
        include_usage: extras.include_usage,
        omit_token_bound: !extras.token_bound,
    };
    let rendered =
        authorised.render(body, &options).map_err(|_| GatewayError::Internal { stage: "render" })?;
    let bytes = match rendered.body {
        std::borrow::Cow::Borrowed(_) => body.clone(),
        std::borrow::Cow::Owned(text) => Bytes::from(text),
    };
    let outgoing = Outgoing {
        url: target.url(endpoint).clone(),
        headers: up.clone(),
        authorization: target.authorization(),
        body: bytes,
    };
    let limits = AttemptLimits {
        first_byte: target.first_byte_timeout,
        total: target.total_timeout,
        answer_bytes: shared.settings.limits.answer_bytes,
    };
    let parameter = authorised.added_parameter().filter(|_| !extras.token_bound);
    let state = exchange.state_mut();
    // From here on the request may be there, whatever becomes of the answer.
    state.target = Some(authorised.target());
    state.upstream_request_id = None;
    state.edits = rendered.edits;
    state.counted_bound = parameter.zip(authorised.token_bound()).map(|(parameter, value)| TokenBound {
        parameter: Label::new(parameter),
        value,
        clamped: false,
        counted: true,
        reached: false,
    });
    let started = Instant::now();
    let mut first_byte = None;
    let result =
        client::send(target.client.here(), outgoing, limits, || first_byte = Some(started.elapsed())).await;
    let result = match result {
        Ok(incoming) => settle(incoming, active, target, started).await,
        Err(fault) => Err((GatewayError::from(fault), None)),
    };
    let result = result.and_then(|(answered, id)| match parameter {
        None => Ok((answered, id)),
        Some(_) => match answered.bounded(authorised, endpoint, extras, &shared) {
            Ok(answered) => Ok((answered, id)),
            Err(fault) => Err((fault.into(), id)),
        },
    });
    let took = micros(first_byte.unwrap_or_else(|| started.elapsed()));

    let mut noted = Attempt { us: took, ..Attempt::default() };
    if let Some(named) = record::target_of(active, authorised.target()) {
        noted.target = named;
    }
    let state = exchange.state_mut();
    match result {
        Ok((answered, upstream_id)) => {
            noted.status = Some(200);
            noted.upstream_request_id = upstream_id.as_deref().map(Label::new);
            state.attempts.push(noted);
            state.upstream_request_id = upstream_id;
            state.latency.first_byte = state.upstream_started.map(|begun| micros(begun.elapsed()));
            observe(&shared, target, "ok", true);
            Ok(answered)
        }
        Err((error, upstream_id)) => {
            if let GatewayError::Upstream(answer) = &error {
                noted.status = Some(answer.status.as_u16());
            }
            noted.error = Some(Label::new(error.metric_code()));
            noted.upstream_request_id = upstream_id.as_deref().map(Label::new);
            state.attempts.push(noted);
            state.upstream_request_id = upstream_id;
            let is_up =
                matches!(&error, GatewayError::Upstream(answer) if answer.class != AnswerClass::ServerError);
            observe(&shared, target, error.metric_code(), is_up);
            Err(error)
        }
    }
}

type Settled = Result<(Answered, Option<String>), (GatewayError, Option<String>)>;

/// From an answer's head to its first bytes.
async fn settle(incoming: Incoming, active: &Active, target: &TargetRuntime, started: Instant) -> Settled {
    match incoming {
        Incoming::Whole(head, bytes) => {
            let id = headers::upstream_request_id(&head).map(str::to_owned);
            let payload = Payload::Whole(bytes);
            Ok((Answered { headers: headers::down(&head), payload, bound: None }, id))
        }
        Incoming::Stream(head, mut rest) => {
            let id = headers::upstream_request_id(&head).map(str::to_owned);
            let left = target.first_byte_timeout.saturating_sub(started.elapsed());
            let first = tokio::time::timeout(left, first_bytes(&mut rest)).await;
            let fault = match first {
                Ok(Ok(Some(first))) => {
                    let payload = Payload::Stream { first, rest, idle: target.stream_idle_timeout };
                    return Ok((Answered { headers: headers::down(&head), payload, bound: None }, id));
                }
                Ok(Ok(None)) => UpstreamFault::StreamCut,
                Ok(Err(fault)) => fault,
                Err(_) => UpstreamFault::FirstByteTimeout,
            };
            Err((fault.into(), id))
        }
        Incoming::Refusal(status, head, bytes) => {
            let successor = active.successor(&target.model);
            let mut answer = errors::translate(status, &head, &bytes, &target.model, successor);
            let id = answer.request_id.clone();
            if answer.class == AnswerClass::Credential {
                tracing::warn!(
                    target = &*target.id,
                    status = status.as_u16(),
                    "Upstream refused the credential."
                );
            }
            answer.message.shrink_to_fit();
            Err((GatewayError::Upstream(Box::new(answer)), id))
        }
    }
}

async fn first_bytes(body: &mut reqwest::Body) -> Result<Option<Bytes>, UpstreamFault> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| UpstreamFault::BrokeOff)?;
        match frame.into_data() {
            Ok(data) if !data.is_empty() => return Ok(Some(data)),
            _ => {}
        }
    }
    Ok(None)
}

fn skip(exchange: &mut Exchange, index: usize, reason: &str) {
    let target = record::target_of(exchange.active(), index).unwrap_or_default();
    exchange.state_mut().attempts.push(Attempt {
        target,
        skipped: Some(Label::new(reason)),
        ..Attempt::default()
    });
}

fn observe(shared: &Shared, target: &TargetRuntime, outcome: &'static str, is_up: bool) {
    let metrics = &shared.metrics;
    metrics.attempts.get_or_create(&AttemptLabels { target: Arc::clone(&target.id), outcome }).inc();
    metrics.upstream_up.get_or_create(&TargetLabels { target: Arc::clone(&target.id) }).set(i64::from(is_up));
}

const fn denied_name(denied: Denied) -> &'static str {
    match denied {
        Denied::Refused => "refused",
        Denied::NotACandidate => "not_a_candidate",
        Denied::NotCompliant(what) => what.as_str(),
        Denied::Rbac(code) => code,
    }
}

/// The trigger that a failure is, if it is one.
const fn trigger_of(error: &GatewayError) -> Option<Trigger> {
    match error {
        GatewayError::Upstream(answer) => match answer.class {
            AnswerClass::RateLimit => Some(Trigger::RateLimit),
            AnswerClass::ServerError => Some(Trigger::ServerError),
            AnswerClass::Credential | AnswerClass::Request => None,
        },
        GatewayError::UpstreamFailed(UpstreamFault::FirstByteTimeout | UpstreamFault::TotalTimeout) => {
            Some(Trigger::Timeout)
        }
        GatewayError::UpstreamFailed(_) => Some(Trigger::ServerError),
        _ => None,
    }
}

impl Answered {
    /// Holds a stream to the bound that its target did not take.
    fn bounded(
        mut self,
        authorised: &Authorised,
        endpoint: Endpoint,
        extras: Extras,
        shared: &Shared,
    ) -> Result<Self, UpstreamFault> {
        if matches!(self.payload, Payload::Whole(_)) {
            return Err(UpstreamFault::NotStreamed);
        }
        let Some(limit) = authorised.total_token_bound() else { return Ok(self) };
        let mut bound = OutputBound::new(endpoint, limit, shared.settings.limits.event_bytes);
        bound.estimated_input = authorised.estimated_input();
        bound.tells_usage = extras.include_usage || authorised.wants_usage();
        self.bound = Some(Box::new(bound));
        Ok(self)
    }

    /// The answer to the client. A whole one is recorded as closed before its first byte; a stream before its last.
    pub(super) async fn into_response(self, mut exchange: Exchange) -> Response<Body> {
        match self.payload {
            Payload::Whole(bytes) => {
                exchange.state_mut().usage = Usage::of_answer(&bytes);
                let bytes = match answer::whole(&mut exchange, bytes).await {
                    Ok(bytes) => bytes,
                    Err(error) => return refuse(exchange, error).await,
                };
                exchange.state_mut().bytes_out = bytes.len() as u64;
                if let Err(error) = exchange.close(Closing::completed(200)).await {
                    return refuse(exchange, error).await;
                }
                let mut response = Response::new(respond::body(bytes));
                *response.headers_mut() = self.headers;
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                exchange.finish_response(response)
            }
            Payload::Stream { first, rest, idle } => {
                let mut head = Response::new(());
                *head.headers_mut() = self.headers;
                head.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                let (parts, ()) = head.into_parts();
                let empty = Response::from_parts(parts, respond::body(Bytes::new()));
                let (parts, _) = exchange.finish_response(empty).into_parts();
                Response::from_parts(parts, relay::body(exchange, first, rest, idle, self.bound))
            }
        }
    }
}
