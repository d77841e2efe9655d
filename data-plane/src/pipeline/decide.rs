//! Parse, candidates, chain: what the pack says of a request. No I/O; large bodies are judged off the workers that
//! serve everybody else.

use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;
use kt_policy::{
    caller::Caller,
    evaluate::{Deadline, Env, FailMode, Judgement, Timer, Workspace},
    json,
    request::{Request, RequestError},
    verdict::Endpoint,
};
use tokio::time::Instant;

use super::Exchange;
use crate::{active::Active, error::GatewayError};

/// Larger bodies are judged on the blocking pool: a worker is away from its other connections for a millisecond or two
/// at most.
const INLINE_BYTES: usize = 32 * 1024;

thread_local! {
    /// Memory that judgements on one thread use one after the other.
    static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace::default());
}

/// What was decided of a request; holds nothing of its text.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) endpoint: Endpoint,
    pub(crate) judgement: Judgement,
    pub(crate) requested_model: String,
    pub(crate) stream: bool,
    pub(crate) names_include_usage: bool,
    pub(crate) parse_time: std::time::Duration,
    pub(crate) policy_time: std::time::Duration,
}

struct Question {
    active: Arc<Active>,
    caller: Caller,
    endpoint: Endpoint,
    body: Bytes,
    now: jiff::Timestamp,
    limits: json::Limits,
    fail_mode: FailMode,
    policy_timeout: std::time::Duration,
}

/// Decides.
pub(crate) async fn decide(
    exchange: &Exchange,
    endpoint: Endpoint,
    body: &Bytes,
) -> Result<Decision, GatewayError> {
    let settings = &exchange.shared().settings;
    let question = Question {
        active: Arc::clone(exchange.active()),
        caller: exchange.caller().into_owned(),
        endpoint,
        body: body.clone(),
        now: exchange.accepted(),
        limits: settings.limits.json(),
        fail_mode: settings.fail_mode,
        policy_timeout: settings.timeouts.policy,
    };
    if body.len() <= INLINE_BYTES {
        return question.answer();
    }
    tokio::task::spawn_blocking(move || question.answer())
        .await
        .unwrap_or(Err(GatewayError::Internal { stage: "decide" }))
}

impl Question {
    fn answer(&self) -> Result<Decision, GatewayError> {
        let started = Instant::now();
        let request = Request::parse(self.endpoint, &self.body, &self.limits).map_err(malformed)?;
        let parsed = Instant::now();
        let is_over = || parsed.elapsed() > self.policy_timeout;
        let elapsed = || parsed.elapsed();
        let env = Env {
            now: self.now,
            deadline: Deadline::when(&is_over),
            fail_mode: self.fail_mode,
            timer: Timer::with(&elapsed),
        };
        let judgement = judge(&self.active, &request, &self.caller, &env);
        Ok(Decision {
            endpoint: self.endpoint,
            judgement,
            requested_model: request.model().to_owned(),
            stream: request.stream(),
            names_include_usage: request.names_include_usage(),
            parse_time: parsed - started,
            policy_time: parsed.elapsed(),
        })
    }
}

/// Judges with this thread's memory.
pub(crate) fn judge(active: &Active, request: &Request<'_>, caller: &Caller, env: &Env<'_>) -> Judgement {
    with_workspace(|workspace| active.pack.judge(request, caller, env, workspace))
}

/// Does work with this thread's memory.
pub(super) fn with_workspace<T>(work: impl FnOnce(&mut Workspace) -> T) -> T {
    WORKSPACE.with(|workspace| match workspace.try_borrow_mut() {
        Ok(mut workspace) => work(&mut workspace),
        Err(_) => work(&mut Workspace::default()),
    })
}

fn malformed(error: RequestError) -> GatewayError {
    GatewayError::Malformed { code: error.code(), message: error.message(), param: error.param }
}
