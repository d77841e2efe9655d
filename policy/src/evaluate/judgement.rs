//! What an evaluation gives.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc, time::Duration};

use super::prepared::Prepared;
use crate::{
    request::Place,
    verdict::{Mode, Phase, PolicyKind, Verdict},
};

/// What a pack says of a request. Holds no text of it but replacements.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// The answer: `block` exactly when there is a [`Judgement::refusal`], `redact` when something is replaced.
    pub verdict: Verdict,
    /// Why the request does not go on, and how to say so.
    pub refusal: Option<Refusal>,
    /// What each policy of the chain said, in chain order.
    pub outcomes: Vec<PolicyOutcome>,
    /// What was found, in the order of policy and place; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// Findings that are not listed for their number. They act all the same.
    pub findings_omitted: usize,
    /// Targets in the order in which they are to be tried, those that are out included.
    pub candidates: Vec<Candidate>,
    /// The endpoint name that the requested model resolves to; absent when it resolves to none.
    pub model: Option<Arc<str>>,
    /// What was not inspected: media type → how many.
    pub not_inspected: BTreeMap<String, u32>,
    /// Replaced spans by entity (or rule), for `x-keeptrusts-redactions`.
    pub redactions: BTreeMap<Arc<str>, u32>,
    pub(super) prepared: Arc<Prepared>,
}

/// The most findings that a judgement lists.
pub const MAX_FINDINGS: usize = 1_000;

impl Judgement {
    /// The targets that may be tried, in order.
    pub fn targets(&self) -> impl Iterator<Item = usize> + '_ {
        self.candidates
            .iter()
            .filter(|candidate| candidate.excluded.is_none())
            .map(|candidate| candidate.target)
    }
}

/// What one policy of the chain said.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyOutcome {
    /// The policy.
    pub policy: PolicyKind,
    /// Its mode.
    pub mode: Mode,
    /// On what.
    pub phase: Phase,
    /// What it said.
    pub outcome: Outcome,
    /// The rule that decided, when one did.
    pub rule: Option<Arc<str>>,
    /// Where it was decided that its rule does not act, when that let everything pass.
    pub ticket: Option<Arc<str>>,
    /// The highest score of any text, of policies that score, also below the threshold.
    pub score: Option<f32>,
    /// How many findings it has.
    pub findings: usize,
    /// How long it took, when it ran and a [`Timer`](super::Timer) was given. Taking the texts of the request apart
    /// counts for the first content policy.
    pub took: Option<Duration>,
}

/// What a policy said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It ran, and this is its answer.
    Evaluated {
        /// The answer.
        verdict: Verdict,
    },
    /// It ran and let everything pass, but only because it or its rules observe.
    Observed {
        /// The answer that it would have given.
        would: Verdict,
    },
    /// It ran and let everything pass, but only because of exceptions.
    Waived,
    /// It did not run to its end, and the fail mode let the request pass.
    Bypassed {
        /// Why.
        why: BypassReason,
    },
    /// A policy before it refused the request.
    Skipped,
    /// It does not run on this endpoint.
    NotApplicable,
}

impl Outcome {
    /// The name as written in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evaluated { .. } => "evaluated",
            Self::Observed { .. } => "observed",
            Self::Waived => "waived",
            Self::Bypassed { .. } => "bypassed",
            Self::Skipped => "skipped",
            Self::NotApplicable => "not_applicable",
        }
    }
}

/// Why a content policy did not run to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BypassReason {
    /// The deadline passed.
    Deadline,
    /// The detector failed.
    Error,
    /// JSON inside JSON inside JSON, deeper or larger than is taken apart.
    TooNested,
}

impl BypassReason {
    /// The name as written in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Error => "error",
            Self::TooNested => "too_nested",
        }
    }
}

/// What becomes of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// It acts.
    Enforced,
    /// It is only recorded.
    Observed,
    /// An exception lets it pass.
    Waived,
}

/// Something found in a text: never the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The policy.
    pub policy: PolicyKind,
    /// On the request or on the answer.
    pub phase: Phase,
    /// The rule.
    pub rule: Arc<str>,
    /// The type of thing found, when it has one.
    pub entity: Option<Arc<str>>,
    /// The field.
    pub place: Place,
    /// First code point in the decoded field.
    pub start: usize,
    /// One past the last code point.
    pub end: usize,
    /// How sure the detector is, 0 to 1.
    pub score: f32,
    /// What it asks for.
    pub verdict: Verdict,
    /// What becomes of it.
    pub effect: Effect,
}

/// A target in the order in which it is to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Index into the pack's targets.
    pub target: usize,
    /// It does not serve the requested model but stands in for it.
    pub fallback: bool,
    /// Why it may not be tried.
    pub excluded: Option<Exclusion>,
}

/// Why a target may not be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exclusion {
    /// It does not declare what `data-routing-policy` asks for.
    NotCompliant(NonCompliance),
    /// `rbac` forbids it to the caller; the code of the refusal that it would be.
    Rbac(&'static str),
}

impl Exclusion {
    /// The policy that excludes it.
    pub const fn policy(self) -> PolicyKind {
        match self {
            Self::NotCompliant(_) => PolicyKind::DataRoutingPolicy,
            Self::Rbac(_) => PolicyKind::Rbac,
        }
    }

    /// The reason as written in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotCompliant(what) => what.as_str(),
            Self::Rbac(code) => code,
        }
    }
}

/// What a target does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NonCompliance {
    /// `zero_data_retention: true`
    Retention,
    /// `training_opt_out: true`
    Training,
    /// `retention_days` of at most the bound.
    RetentionDays,
    /// One of the allowed regions.
    Region,
}

impl NonCompliance {
    /// The name as written in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "zero_data_retention",
            Self::Training => "training_opt_out",
            Self::RetentionDays => "retention_days",
            Self::Region => "region",
        }
    }
}

/// The family of an error answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// 409: a content policy objects.
    PolicyViolation,
    /// 403
    PermissionDenied,
    /// 401
    Authentication,
    /// 400
    InvalidRequest,
    /// 404
    NotFound,
    /// 503: the policies could not be evaluated.
    Unavailable,
}

impl RefusalKind {
    /// The `type` of the error body.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PolicyViolation => "policy_violation",
            Self::PermissionDenied => "permission_denied",
            Self::Authentication => "authentication_error",
            Self::InvalidRequest | Self::NotFound => "invalid_request_error",
            Self::Unavailable => "policy_unavailable",
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::PolicyViolation => 409,
            Self::PermissionDenied => 403,
            Self::Authentication => 401,
            Self::InvalidRequest => 400,
            Self::NotFound => 404,
            Self::Unavailable => 503,
        }
    }
}

/// Why a request does not go on, and how to say so.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The family.
    pub kind: RefusalKind,
    /// The stable code of the error body (`input_blocked`).
    pub code: &'static str,
    /// The policy that refused; absent when it was none.
    pub policy: Option<PolicyKind>,
    /// Its rule.
    pub rule: Option<Arc<str>>,
    /// The place, as OpenAI's errors name it.
    pub param: Option<Cow<'static, str>>,
    /// For people; no text of the request but the names of models and tools.
    pub message: String,
    /// The bound that was exceeded.
    pub limit: Option<u64>,
}

impl Refusal {
    pub(super) fn new(kind: RefusalKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: kind.status(),
            kind,
            code,
            policy: None,
            rule: None,
            param: None,
            message: message.into(),
            limit: None,
        }
    }

    pub(super) fn by(mut self, policy: PolicyKind, rule: impl Into<Arc<str>>) -> Self {
        self.policy = Some(policy);
        self.rule = Some(rule.into());
        self
    }

    pub(super) fn at(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
