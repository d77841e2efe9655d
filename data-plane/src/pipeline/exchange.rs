//! One request and what is known of it: carried through its whole life, recorded at its end.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{HeaderMap, Response, header::CONTENT_LENGTH};
use jiff::Timestamp;
use kt_audit::record::{self as recorded, Attempt, End, Latency};
use kt_policy::{
    caller::Caller,
    edit::EditNote,
    evaluate::{AnswerReport, Judgement, PolicyOutcome},
    usage::Usage,
    verdict::{Endpoint, Verdict},
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use uuid::Uuid;

use super::{decide::Decision, record};
use crate::{
    active::Active,
    error::{CredentialFault, GatewayError, PolicyRefusal},
    headers,
    metrics::{
        EndpointLabels, ErrorLabels, EvaluationLabels, Metrics, ModelLabels, NONE, RequestLabels, TokenLabels,
    },
    respond::{self, Body},
    shared::Shared,
};

/// One request and what is known of it.
///
/// Whoever drops it unclosed has it closed as aborted: the only way to get there is that the client went away.
#[derive(Debug)]
pub(crate) struct Exchange {
    shared: Arc<Shared>,
    state: State,
}

/// What is known of a request.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) active: Arc<Active>,
    pub(super) id: Uuid,
    pub(super) request_id: String,
    pub(super) client_request_id: Option<String>,
    pub(super) accepted: Timestamp,
    pub(super) started: Instant,
    pub(super) endpoint: Option<recorded::Endpoint>,
    pub(super) caller: Option<Caller>,
    pub(super) is_credential_refused: bool,
    pub(super) asked: Option<(Endpoint, String)>,
    pub(super) stream: bool,
    pub(super) judgement: Option<Judgement>,
    /// What the policies said of the answer.
    pub(super) answer: Option<AnswerReport>,
    pub(super) names_include_usage: bool,
    pub(super) edits: Vec<EditNote>,
    /// The bound that the output is counted against, where the target refuses the parameter for it.
    pub(super) counted_bound: Option<recorded::TokenBound>,
    pub(super) attempts: Vec<Attempt>,
    /// Index of the target that was asked last: the one that answers, whose failure ends the request, or that was still
    /// being waited for.
    pub(super) target: Option<usize>,
    pub(super) usage: Usage,
    pub(super) upstream_request_id: Option<String>,
    pub(super) latency: Latency,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) upstream_started: Option<Instant>,
    progress: Progress,
    /// Whom the `opened` record is of: the `closed` one is of the same, and a pseudonym costs a hash.
    subject: Option<kt_audit::identity::Subject>,
    slot: Option<OwnedSemaphorePermit>,
}

/// What has been recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing.
    Begun,
    /// `opened`.
    Opened,
    /// `closed`: nothing is to follow.
    Closed,
}

/// How a request ends.
#[derive(Debug, Clone)]
pub(crate) struct Closing {
    pub(super) end: End,
    pub(super) status: Option<u16>,
    pub(super) refusal: Option<recorded::Refusal>,
    pub(super) is_client_gone: bool,
    error: Option<(&'static str, &'static str)>,
}

impl Closing {
    /// The upstream's answer reached its end.
    pub(crate) const fn completed(status: u16) -> Self {
        Self { end: End::Completed, status: Some(status), refusal: None, is_client_gone: false, error: None }
    }

    /// The client went away.
    pub(crate) const fn aborted(status: Option<u16>) -> Self {
        Self { end: End::Aborted, status, refusal: None, is_client_gone: true, error: None }
    }

    /// The gateway answered, or ended a stream, with an error.
    pub(crate) fn refused(error: &GatewayError, status: http::StatusCode) -> Self {
        let end = match error {
            GatewayError::Refused(refusal) if refusal.is_block() => End::Blocked,
            GatewayError::Upstream(_)
            | GatewayError::UpstreamFailed(_)
            | GatewayError::TargetUnavailable { .. }
            | GatewayError::Internal { .. } => End::Failed,
            _ => End::Refused,
        };
        Self {
            end,
            status: Some(status.as_u16()),
            refusal: Some(record::refusal(error, status)),
            is_client_gone: false,
            error: Some((error.metric_code(), error.blame().as_str())),
        }
    }
}

impl Exchange {
    /// A request that was accepted just now.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        active: Arc<Active>,
        endpoint: Option<recorded::Endpoint>,
        request_headers: &HeaderMap,
    ) -> Self {
        let id = Uuid::now_v7();
        shared.metrics.in_flight.inc();
        let state = State {
            active,
            id,
            request_id: id.to_string(),
            client_request_id: headers::client_request_id(request_headers).map(str::to_owned),
            accepted: Timestamp::now(),
            started: Instant::now(),
            endpoint,
            caller: None,
            is_credential_refused: false,
            asked: None,
            stream: false,
            judgement: None,
            answer: None,
            names_include_usage: false,
            edits: Vec::new(),
            counted_bound: None,
            attempts: Vec::new(),
            target: None,
            usage: Usage::default(),
            upstream_request_id: None,
            latency: Latency::default(),
            bytes_in: 0,
            bytes_out: 0,
            upstream_started: None,
            progress: Progress::Begun,
            subject: None,
            slot: None,
        };
        Self { shared: Arc::clone(shared), state }
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The pack that judges this request, from its first moment to its last.
    pub(crate) const fn active(&self) -> &Arc<Active> {
        &self.state.active
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.state.request_id
    }

    pub(crate) const fn accepted(&self) -> Timestamp {
        self.state.accepted
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    pub(super) const fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// Takes the slot that the request fills until its end.
    pub(super) fn hold(&mut self, slot: OwnedSemaphorePermit) {
        self.state.slot = Some(slot);
    }

    /// Establishes who is asking.
    pub(super) fn identify(&mut self, request_headers: &HeaderMap) -> Result<(), GatewayError> {
        let started = Instant::now();
        let ignored = headers::identity_headers(request_headers);
        if ignored > 0 {
            self.shared.metrics.identity_headers.inc_by(ignored);
        }
        let result = self.shared.identity.establish(request_headers, self.state.accepted);
        self.state.latency.identify = Some(micros(started.elapsed()));
        match result {
            Ok(caller) => {
                Metrics::result(&self.shared.metrics.identities, caller.proof.as_str());
                self.state.caller = Some(caller);
                Ok(())
            }
            Err(fault) => {
                Metrics::result(&self.shared.metrics.identities, fault.code());
                self.state.is_credential_refused = fault != CredentialFault::Missing;
                Err(fault.into())
            }
        }
    }

    /// Who is asking; anonymous until it was established.
    pub(crate) fn caller(&self) -> std::borrow::Cow<'_, Caller> {
        match &self.state.caller {
            Some(caller) => std::borrow::Cow::Borrowed(caller),
            None => std::borrow::Cow::Owned(Caller::anonymous()),
        }
    }

    /// Endpoint, whether a stream was asked for, and the model as asked for.
    pub(crate) fn asked(&self) -> Option<(Endpoint, bool, &str)> {
        self.state.asked.as_ref().map(|(endpoint, model)| (*endpoint, self.state.stream, model.as_str()))
    }

    pub(super) fn has_read(&mut self, bytes: usize, took: Duration) {
        self.state.bytes_in = bytes as u64;
        self.state.latency.read = Some(micros(took));
    }

    /// Takes over what was decided.
    pub(super) fn has_decided(&mut self, decision: Decision) {
        let state = &mut self.state;
        state.latency.parse = Some(micros(decision.parse_time));
        state.latency.policy_in = Some(micros(decision.policy_time));
        state.asked = Some((decision.endpoint, decision.requested_model));
        state.stream = decision.stream;
        state.names_include_usage = decision.names_include_usage;
        count_outcomes(&self.shared.metrics, &decision.judgement.outcomes);
        state.judgement = Some(decision.judgement);
    }

    /// The endpoint name that the requested model resolves to.
    pub(super) fn resolved_model(&self) -> Option<&str> {
        self.state.judgement.as_ref()?.model.as_deref()
    }

    /// How long the policies took with the answer.
    pub(super) fn has_judged_answer(&mut self, took: Duration) {
        self.state.latency.policy_out = Some(micros(took));
    }

    /// Takes over what the policies say of the answer.
    pub(super) fn has_reported(&mut self, report: AnswerReport) {
        count_outcomes(&self.shared.metrics, &report.outcomes);
        self.state.answer = Some(report);
    }

    /// Why the pack refuses the request, when it does.
    pub(super) fn refusal(&self) -> Option<PolicyRefusal> {
        self.state.judgement.as_ref()?.refusal.as_ref().map(PolicyRefusal::from)
    }

    /// Records that the request is about to go upstream.
    pub(super) async fn open(&mut self) -> Result<(), GatewayError> {
        let Some(plan) = self.state.active.audit.as_ref() else { return Ok(()) };
        if !plan.log_all_access && record::is_plain(&self.state) {
            return Ok(());
        }
        let started = Instant::now();
        let body = record::opened(&self.state);
        let durability = plan.durability;
        self.state.subject = self.subject();
        if let Err(error) = self.shared.recorder.append(body, durability, self.state.subject.clone()).await {
            tracing::error!(
                request_id = self.state.request_id,
                error = &error as &dyn std::error::Error,
                "Request can't be recorded."
            );
            return Err(GatewayError::AuditUnavailable);
        }
        self.state.progress = Progress::Opened;
        self.state.latency.audit_open = Some(micros(started.elapsed()));
        Ok(())
    }

    /// Records how the request ended, and counts it. Nothing may be sent that would complete the answer before this
    /// has returned.
    pub(crate) async fn close(&mut self, closing: Closing) -> Result<(), GatewayError> {
        let Some(append) = self.closed_record(&closing) else { return Ok(()) };
        let mut append = Box::pin(append);
        // Mostly it is written at once. Otherwise it goes on as a task of its own: the client going away must not cut
        // the record off.
        let at_once = std::future::poll_fn(|cx| Poll::Ready(append.as_mut().poll(cx))).await;
        let result = match at_once {
            Poll::Ready(result) => Ok(result),
            Poll::Pending => self.shared.tasks.spawn(append).await,
        };
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::error!(
                    request_id = self.state.request_id,
                    error = &error as &dyn std::error::Error,
                    "Request's end can't be recorded."
                );
                Err(GatewayError::AuditUnavailable)
            }
            Err(_) => Err(GatewayError::AuditUnavailable),
        }
    }

    /// Counts the end of the request and gives what writes its record; `None`: it is not to be recorded, or was.
    fn closed_record(
        &mut self,
        closing: &Closing,
    ) -> Option<impl Future<Output = Result<(), crate::recorder::RecordError>> + Send + use<>> {
        if self.state.progress == Progress::Closed {
            return None;
        }
        let was_opened = self.state.progress == Progress::Opened;
        self.state.progress = Progress::Closed;
        self.state.latency.total = micros(self.state.started.elapsed());
        if let Some(started) = self.state.upstream_started {
            self.state.latency.upstream = Some(micros(started.elapsed()));
        }
        self.count(closing);
        let plan = self.state.active.audit.as_ref()?;
        let is_plain = closing.end == End::Completed && record::is_plain(&self.state);
        if is_plain && !was_opened && !plan.log_all_access {
            return None;
        }
        let durability = plan.durability;
        let body = record::closed(&self.state, closing);
        let subject = self.state.subject.take().or_else(|| self.subject());
        let shared = Arc::clone(&self.shared);
        Some(async move { shared.recorder.append(body, durability, subject).await })
    }

    fn subject(&self) -> Option<kt_audit::identity::Subject> {
        self.shared.recorder.subject(self.state.caller.as_ref()?.subject.as_deref())
    }

    fn count(&self, closing: &Closing) {
        let (state, metrics) = (&self.state, &self.shared.metrics);
        metrics.in_flight.dec();
        let endpoint = record::endpoint_name(state.endpoint);
        let stream = if state.stream { "true" } else { "false" };
        let elapsed = state.started.elapsed();
        metrics
            .request_duration
            .get_or_create(&EndpointLabels { endpoint, stream })
            .observe(elapsed.as_secs_f64());
        let target = state.target.and_then(|target| state.active.targets.get(target));
        let model = match target {
            Some(target) => Arc::clone(&target.model),
            // The model of a refused request is a label only when the pack knows it.
            None => state
                .judgement
                .as_ref()
                .and_then(|judgement| judgement.model.clone())
                .unwrap_or_else(|| NONE.into()),
        };
        let verdict = record::verdict(state, closing.end).as_str();
        metrics
            .requests
            .get_or_create(&RequestLabels {
                endpoint,
                provider: target.map_or_else(|| NONE.into(), |target| Arc::clone(&target.id)),
                model: Arc::clone(&model),
                status: closing.status.unwrap_or(499),
                verdict,
            })
            .inc();
        for (stage, took) in record::stages(&state.latency) {
            metrics.stage(stage, Duration::from_micros(took));
        }
        for (direction, tokens) in [("input", state.usage.input), ("output", state.usage.output)] {
            if let Some(tokens) = tokens {
                let labels = TokenLabels { direction, model: Arc::clone(&model) };
                metrics.tokens.get_or_create(&labels).inc_by(tokens);
            }
        }
        if let Some(micro_usd) = record::micro_usd(state) {
            #[expect(clippy::cast_precision_loss, reason = "a metric; far from 2^52 millionths of a dollar")]
            let dollars = micro_usd as f64 / 1e6;
            metrics.cost.get_or_create(&ModelLabels { model }).inc_by(dollars);
        }
        let status = closing.status.unwrap_or(0);
        if let Some((code, blame)) = closing.error {
            metrics.errors.get_or_create(&ErrorLabels { code, blame }).inc();
            let is_ours = matches!(blame, "gateway" | "upstream");
            let (request_id, endpoint) = (state.request_id.as_str(), endpoint);
            let target = target.map_or("", |target| &*target.id);
            if is_ours {
                tracing::warn!(request_id, endpoint, target, status, code, blame, "Request failed.");
            } else {
                tracing::info!(request_id, endpoint, target, status, code, blame, "Request refused.");
            }
        }
    }

    /// Adds the headers that every answer carries.
    pub(crate) fn finish_response(&self, mut response: Response<Body>) -> Response<Body> {
        let state = &self.state;
        let headers = response.headers_mut();
        respond::set(headers, respond::REQUEST_ID, &state.request_id);
        respond::set(headers, respond::PACK, &state.active.id);
        let verdict = match &state.judgement {
            Some(judgement) => record::judged(judgement, state.answer.as_ref()),
            // Nothing judged it, and it did not go on.
            None if response.status().is_success() => Verdict::Allow,
            None => Verdict::Block,
        };
        let headers = response.headers_mut();
        respond::set(headers, respond::VERDICT, verdict.as_str());
        if let Some(target) = state.target.and_then(|target| state.active.targets.get(target)) {
            respond::set(headers, respond::TARGET, &target.id);
            if let Some(notice) = &target.notice {
                respond::set(headers, respond::NOTICE, notice);
            }
        }
        if state.active.pack.redaction_metadata
            && let Some(judgement) = &state.judgement
        {
            let mut counts = judgement.redactions.clone();
            for (entity, count) in state.answer.iter().flat_map(|answer| &answer.redactions) {
                *counts.entry(Arc::clone(entity)).or_insert(0) += count;
            }
            if !counts.is_empty() {
                let counts: Vec<String> =
                    counts.iter().map(|(entity, count)| format!("{entity}={count}")).collect();
                respond::set(headers, respond::REDACTIONS, &counts.join(", "));
            }
        }
        if response.status() == http::StatusCode::NO_CONTENT {
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        response
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // An answer was begun when its first bytes were there.
        let status = self.state.latency.first_byte.is_some().then_some(200);
        if let Some(append) = self.closed_record(&Closing::aborted(status)) {
            let mut append = Box::pin(append);
            // Where it can be written at once it is, so that it needs no runtime that goes on.
            let mut cx = Context::from_waker(Waker::noop());
            if append.as_mut().poll(&mut cx).is_pending() {
                self.shared.tasks.spawn(append);
            }
        }
    }
}

fn count_outcomes(metrics: &Metrics, outcomes: &[PolicyOutcome]) {
    for outcome in outcomes {
        let labels = EvaluationLabels {
            policy: outcome.policy.as_str(),
            result: record::result_name(outcome.outcome),
            mode: record::mode_name(outcome.mode),
            phase: outcome.phase.as_str(),
        };
        metrics.evaluations.get_or_create(&labels).inc();
    }
}

/// Whole microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
