//! From what is known of a request to its records. Nothing of its text is known here any more.

use std::collections::BTreeMap;

use kt_audit::{
    Digest, Label,
    record::{
        self, Body, Closed, Cost, Disposition, Edits, Effect, End, Finding, Latency, ModelRewrite, Opened,
        Outcome, PackRef, PolicyOutcome, Proof, Refusal, RequestFacts, Retention, Target, TokenBound,
        TokenSource, Tokens, Would,
    },
};
use kt_policy::{
    caller,
    edit::EditNote,
    evaluate::{self, AnswerReport, Judgement},
    verdict::{Mode, Verdict},
};

use super::exchange::{Closing, State};
use crate::{active::Active, error::GatewayError};

/// `opened`.
pub(super) fn opened(state: &State) -> Body {
    let mut opened =
        Opened { id: state.id, request: facts(state), bytes_in: state.bytes_in, ..Opened::default() };
    if let Some(judgement) = &state.judgement {
        opened.target = judgement.targets().next().and_then(|target| target_of(&state.active, target));
        opened.verdict = verdict_of(judgement.verdict);
        opened.outcomes = outcomes(&judgement.outcomes).collect();
        opened.findings = findings(&judgement.findings, judgement.verdict).collect();
        opened.findings_omitted = judgement.findings_omitted as u64;
        opened.edits.redactions_in = redactions(&judgement.redactions);
        opened.not_inspected = not_inspected(judgement);
    }
    Body::Opened(Box::new(opened))
}

/// `closed`.
pub(super) fn closed(state: &State, closing: &Closing) -> Body {
    let mut closed = Closed {
        id: state.id,
        request: facts(state),
        end: closing.end,
        verdict: verdict(state, closing.end).into_recorded(),
        refusal: closing.refusal.clone(),
        target: state.target.and_then(|target| target_of(&state.active, target)),
        attempts: state.attempts.clone(),
        tokens: tokens(state),
        cost: cost(state),
        latency: state.latency.clone(),
        upstream_request_id: state.upstream_request_id.as_deref().map(Label::new),
        status: closing.status,
        bytes_in: state.bytes_in,
        bytes_out: state.bytes_out,
        client_aborted: closing.is_client_gone,
        ..Closed::default()
    };
    if let Some(judgement) = &state.judgement {
        closed.outcomes = outcomes(&judgement.outcomes).collect();
        closed.findings = findings(&judgement.findings, judgement.verdict).collect();
        closed.findings_omitted = judgement.findings_omitted as u64;
        closed.not_inspected = not_inspected(judgement);
        closed.edits = edits(state);
        if closed.target.is_some() {
            closed.edits.redactions_in = redactions(&judgement.redactions);
        }
    }
    if let Some(answer) = &state.answer {
        closed.outcomes.extend(outcomes(&answer.outcomes));
        closed.findings.extend(findings(&answer.findings, answer.verdict));
        closed.findings_omitted += answer.findings_omitted as u64;
        closed.edits.redactions_out = redactions(&answer.redactions);
    }
    Body::Closed(Box::new(closed))
}

/// What the gateway answered.
pub(super) fn refusal(error: &GatewayError, status: http::StatusCode) -> Refusal {
    let (policy, rule) = match error {
        GatewayError::Refused(refusal) => (refusal.policy, refusal.rule.clone()),
        _ => (None, None),
    };
    // The parameter of an upstream's refusal is the upstream's text.
    let param = match error {
        GatewayError::Upstream(_) => None,
        _ => error.param(),
    };
    Refusal {
        status: status.as_u16(),
        code: Label::new(match error {
            GatewayError::Upstream(_) => error.metric_code(),
            _ => error.code(),
        }),
        policy: policy.map(|policy| Label::new(policy.as_str())),
        rule: rule.map(|rule| Label::new(&rule)),
        param: param.map(Label::new),
    }
}

/// Whether nothing stood against the request: what `log_all_access: false` leaves out.
pub(super) fn is_plain(state: &State) -> bool {
    state.judgement.as_ref().is_none_or(|judgement| {
        judgement.verdict == Verdict::Allow
            && judgement.findings.is_empty()
            && judgement.findings_omitted == 0
    }) && state.answer.as_ref().is_none_or(|answer| {
        answer.verdict == Verdict::Allow && answer.findings.is_empty() && answer.findings_omitted == 0
    })
}

/// The verdict on request and answer together.
pub(super) fn judged(judgement: &Judgement, answer: Option<&AnswerReport>) -> Verdict {
    answer.map_or(judgement.verdict, |answer| judgement.verdict.max(answer.verdict))
}

/// The final verdict: a refusal by the gateway counts as a block.
pub(super) fn verdict(state: &State, end: End) -> Verdict {
    match end {
        End::Blocked | End::Refused => Verdict::Block,
        _ => {
            let judged = |judgement| judged(judgement, state.answer.as_ref());
            state.judgement.as_ref().map_or(Verdict::Allow, judged)
        }
    }
}

/// The name of an endpoint in metrics and logs.
pub(super) const fn endpoint_name(endpoint: Option<record::Endpoint>) -> &'static str {
    match endpoint {
        Some(record::Endpoint::ChatCompletions) => "chat_completions",
        Some(record::Endpoint::Completions) => "completions",
        Some(record::Endpoint::Embeddings) => "embeddings",
        Some(record::Endpoint::Responses) => "responses",
        Some(record::Endpoint::Models) => "models",
        Some(record::Endpoint::Other) | None => "other",
    }
}

/// What a policy said, in one word.
pub(super) const fn result_name(outcome: evaluate::Outcome) -> &'static str {
    match outcome {
        evaluate::Outcome::Evaluated { verdict } => verdict.as_str(),
        evaluate::Outcome::Observed { would: Verdict::Block } => "would_block",
        evaluate::Outcome::Observed { .. } => "would_redact",
        other => other.as_str(),
    }
}

/// `enforce` or `observe`.
pub(super) const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
    }
}

/// The stages that took place, in microseconds.
pub(super) fn stages(latency: &Latency) -> impl Iterator<Item = (&'static str, u64)> + use<> {
    [
        ("read", latency.read),
        ("identify", latency.identify),
        ("parse", latency.parse),
        ("policy_in", latency.policy_in),
        ("audit_open", latency.audit_open),
        ("first_byte", latency.first_byte),
        ("upstream", latency.upstream),
        ("policy_out", latency.policy_out),
    ]
    .into_iter()
    .filter_map(|(stage, took)| took.map(|took| (stage, took)))
}

/// Millionths of a dollar, when the price is known.
pub(super) fn micro_usd(state: &State) -> Option<u64> {
    cost(state)?.micro_usd
}

fn facts(state: &State) -> RequestFacts {
    let active = &state.active;
    RequestFacts {
        accepted_us: state.accepted.as_microsecond(),
        endpoint: state.endpoint.unwrap_or_default(),
        stream: state.stream,
        request_id: Label::new(&state.request_id),
        client_request_id: state.client_request_id.as_deref().map(Label::new),
        caller: caller_of(state),
        pack: Some(pack_ref(active)),
        detectors: active.detectors.clone(),
        requested_model: state.asked.as_ref().and_then(|(_, model)| model_label(model)),
        retention: active.audit.as_ref().map(|plan| plan.retention),
    }
}

/// The model as asked for, when it looks like the name of one: the field can hold anything.
fn model_label(model: &str) -> Option<Label> {
    let is_name = (1..=128).contains(&model.len())
        && model.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/@".contains(&byte))
        && !model.starts_with("dapi")
        && !model.starts_with("kt_");
    is_name.then(|| Label::new(model))
}

/// The pack as records name it.
pub(crate) fn pack_ref(active: &Active) -> PackRef {
    PackRef {
        name: Label::new(&active.pack.id.name),
        version: Label::new(&active.pack.id.version.to_string()),
        digest: Digest(active.pack.id.digest),
        generation: active.generation,
    }
}

fn caller_of(state: &State) -> record::Caller {
    let Some(caller) = &state.caller else {
        let proof = if state.is_credential_refused { Proof::Refused } else { Proof::Anonymous };
        return record::Caller { proof, ..record::Caller::default() };
    };
    let (proof, key_id) = match &caller.proof {
        caller::Proof::Anonymous => (Proof::Anonymous, None),
        caller::Proof::GatewayKey { key_id } => (Proof::GatewayKey, Some(Label::new(key_id))),
    };
    record::Caller {
        proof,
        // Set together with the subject itself, by the recorder.
        subject: None,
        roles: caller.roles.iter().map(|role| Label::new(role)).collect(),
        team: caller.team.as_deref().map(Label::new),
        cost_centre: caller.cost_center.as_deref().map(Label::new),
        key_id,
        issuer: None,
    }
}

/// A target as records name it.
pub(super) fn target_of(active: &Active, index: usize) -> Option<Target> {
    let target = active.pack.targets.get(index)?;
    Some(Target {
        id: Label::new(&target.id),
        model: Label::new(&target.model),
        region: target.region.as_deref().map(Label::new),
    })
}

fn verdict_of(verdict: Verdict) -> record::Verdict {
    verdict.into_recorded()
}

trait IntoRecorded<T> {
    fn into_recorded(self) -> T;
}

impl IntoRecorded<record::Verdict> for Verdict {
    fn into_recorded(self) -> record::Verdict {
        match self {
            Self::Allow => record::Verdict::Allow,
            Self::Redact => record::Verdict::Redact,
            Self::Escalate => record::Verdict::Escalate,
            Self::Block => record::Verdict::Block,
        }
    }
}

fn outcomes(outcomes: &[evaluate::PolicyOutcome]) -> impl Iterator<Item = PolicyOutcome> + '_ {
    outcomes.iter().map(|outcome| {
        let (what, verdict) = match outcome.outcome {
            evaluate::Outcome::Evaluated { verdict } => (Outcome::Evaluated, Some(verdict)),
            evaluate::Outcome::Observed { would } => {
                let would = match would {
                    Verdict::Block => Some(Would::Block),
                    Verdict::Redact => Some(Would::Redact),
                    Verdict::Allow | Verdict::Escalate => None,
                };
                (Outcome::Observed { would }, Some(Verdict::Allow))
            }
            evaluate::Outcome::Waived => {
                let rule = outcome.rule.as_deref().map(Label::new).unwrap_or_default();
                (
                    Outcome::Waived { rule, ticket: outcome.ticket.as_deref().map(Label::new) },
                    Some(Verdict::Allow),
                )
            }
            evaluate::Outcome::Bypassed { why } => {
                (Outcome::Bypassed { why: Label::new(why.as_str()) }, None)
            }
            evaluate::Outcome::Skipped => (Outcome::Skipped, None),
            evaluate::Outcome::NotApplicable => (Outcome::NotApplicable, None),
        };
        PolicyOutcome {
            policy: Label::new(outcome.policy.as_str()),
            phase: phase_of(outcome.phase),
            mode: match outcome.mode {
                Mode::Enforce => record::Mode::Enforce,
                Mode::Observe => record::Mode::Observe,
            },
            outcome: what,
            verdict: verdict.map(verdict_of),
            us: outcome.took.map(super::exchange::micros),
        }
    })
}

const fn phase_of(phase: evaluate::Phase) -> record::Phase {
    match phase {
        evaluate::Phase::Input => record::Phase::Input,
        evaluate::Phase::Output => record::Phase::Output,
    }
}

/// The findings on a request or an answer with this verdict.
fn findings(findings: &[evaluate::Finding], verdict: Verdict) -> impl Iterator<Item = Finding> + '_ {
    let is_blocked = verdict == Verdict::Block;
    findings.iter().map(move |finding| Finding {
        policy: Label::new(finding.policy.as_str()),
        rule: Label::new(&finding.rule),
        entity: finding.entity.as_deref().map(Label::new),
        phase: phase_of(finding.phase),
        field: Label::new(&finding.place.pointer),
        start: finding.start as u64,
        end: finding.end as u64,
        score: Some(finding.score),
        effect: match finding.verdict {
            Verdict::Block => Effect::Block,
            Verdict::Redact => Effect::Redact,
            Verdict::Allow | Verdict::Escalate => Effect::Note,
        },
        disposition: match finding.effect {
            evaluate::Effect::Observed => Disposition::Observed,
            evaluate::Effect::Waived => Disposition::Waived,
            // A block made the masking moot.
            evaluate::Effect::Enforced if is_blocked && finding.verdict == Verdict::Redact => {
                Disposition::Superseded
            }
            evaluate::Effect::Enforced => Disposition::Enforced,
        },
    })
}

fn not_inspected(judgement: &Judgement) -> BTreeMap<Label, u32> {
    judgement.not_inspected.iter().map(|(kind, count)| (Label::new(kind), *count)).collect()
}

fn redactions(redactions: &BTreeMap<std::sync::Arc<str>, u32>) -> u32 {
    redactions.values().fold(0, |sum: u32, count| sum.saturating_add(*count))
}

fn edits(state: &State) -> Edits {
    let mut edits = Edits { token_bound: state.counted_bound.clone(), ..Edits::default() };
    for note in &state.edits {
        match note {
            EditNote::Redaction { .. } => {}
            EditNote::Model { to } => {
                let from = state.asked.as_ref().map(|(_, model)| Label::new(model)).unwrap_or_default();
                edits.model = Some(ModelRewrite { from, to: Label::new(to) });
            }
            EditNote::TokenBound { parameter, value, clamped } => {
                edits.token_bound = Some(TokenBound {
                    parameter: Label::new(parameter),
                    value: *value,
                    clamped: *clamped,
                    counted: false,
                    reached: false,
                });
            }
            EditNote::ClientRequestId => edits.client_request_id = true,
            EditNote::IncludeUsage => edits.include_usage = true,
        }
    }
    edits
}

fn tokens(state: &State) -> Option<Tokens> {
    let usage = state.usage;
    // What is told of an answer that the gateway ended was counted by the gateway.
    let was_counted = state.counted_bound.as_ref().is_some_and(|bound| bound.reached);
    usage.is_known().then_some(Tokens {
        source: if was_counted { TokenSource::Estimated } else { TokenSource::Reported },
        prompt: usage.input,
        completion: usage.output,
        total: usage.total,
        cached: usage.cache_read,
        cache_write: usage.cache_write,
        reasoning: usage.reasoning,
        audio: None,
    })
}

fn cost(state: &State) -> Option<Cost> {
    let target = state.active.targets.get(state.target?)?;
    if !state.usage.is_known() {
        return None;
    }
    Some(Cost {
        micro_usd: state.active.micro_usd(&target.model, &state.usage),
        price_table: Label::new(&state.active.price_table),
    })
}

/// How long the pack wants records kept.
pub(crate) const fn retention(logger: &kt_policy::pack::AuditLogger) -> Retention {
    Retention { days: logger.retention_days, immutable: logger.immutable }
}
