//! What the policies did.

use serde::{Deserialize, Serialize};

use super::is_default;
use crate::value::Label;

/// The verdict on a request, strongest last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing stood against it.
    #[default]
    Allow,
    /// Something was masked.
    Redact,
    /// Reserved: a person decides.
    Escalate,
    /// It was stopped.
    Block,
}

/// Whether a policy acts or only watches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It acts.
    #[default]
    Enforce,
    /// It changes no byte.
    Observe,
}

/// The side of the exchange that was judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The request.
    #[default]
    Input,
    /// The answer.
    Output,
}

/// One policy of the chain and what it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyOutcome {
    /// Its name in the chain.
    pub policy: Label,
    /// The side that it judged.
    #[serde(default, skip_serializing_if = "is_default")]
    pub phase: Phase,
    /// Whether it acts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Its own verdict; none where it did not judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// How long it took, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub us: Option<u64>,
}

/// What became of a policy in one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It judged, and its verdict counted.
    Evaluated,
    /// It did not judge, and the request went on all the same.
    Bypassed {
        /// Why: such as `deadline`, `error`, `fail_mode_allow`.
        why: Label,
    },
    /// An earlier policy had ended the chain.
    Skipped,
    /// It does not concern this endpoint or request.
    NotApplicable,
    /// It judged in observe mode: no byte was changed.
    Observed {
        /// What it would have done; none: nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        would: Option<Would>,
    },
    /// It found something, and an exception that has not expired let it pass.
    Waived {
        /// The rule of the exception.
        rule: Label,
        /// Its ticket.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ticket: Option<Label>,
    },
}

/// What an observing policy or rule would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Would {
    /// It would have masked something.
    #[serde(rename = "would_redact")]
    Redact,
    /// It would have stopped the request.
    #[serde(rename = "would_block")]
    Block,
}

/// A place where a rule matched. There is no field for what stood there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The policy.
    pub policy: Label,
    /// Its rule.
    pub rule: Label,
    /// The kind of thing found, such as `EMAIL_ADDRESS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<Label>,
    /// The side on which it was found.
    #[serde(default, skip_serializing_if = "is_default")]
    pub phase: Phase,
    /// JSON Pointer of the field, such as `/messages/7/content`. Names that the client made up (keys of
    /// `metadata`, of tool arguments) must be given by their ordinal: they can hold personal data.
    pub field: Label,
    /// First code point of the decoded field.
    pub start: u64,
    /// One past the last code point.
    pub end: u64,
    /// How sure the rule was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// What the rule asks for.
    pub effect: Effect,
    /// What came of it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub disposition: Disposition,
}

/// What a rule asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing: it is noted.
    Note,
    /// Mask it.
    Redact,
    /// Stop the request.
    Block,
}

/// What came of a finding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// The effect was carried out.
    #[default]
    Enforced,
    /// Policy or rule only observes.
    Observed,
    /// An exception let it pass.
    Waived,
    /// A stronger finding on the same span, or a block, made it moot.
    Superseded,
}

/// The complete list of changes that a gateway may make to what passes through it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Edits {
    /// Spans masked in the request.
    #[serde(skip_serializing_if = "is_default")]
    pub redactions_in: u32,
    /// Spans masked in the answer.
    #[serde(skip_serializing_if = "is_default")]
    pub redactions_out: u32,
    /// The `model` value was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelRewrite>,
    /// A token bound was set or lowered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_bound: Option<TokenBound>,
    /// `client_request_id` was added.
    #[serde(skip_serializing_if = "is_default")]
    pub client_request_id: bool,
    /// `stream_options.include_usage` was added.
    #[serde(skip_serializing_if = "is_default")]
    pub include_usage: bool,
}

/// A replaced `model` value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRewrite {
    /// What the client sent.
    pub from: Label,
    /// What went upstream.
    pub to: Label,
}

/// A token bound that the gateway set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBound {
    /// The parameter, such as `max_tokens`.
    pub parameter: Label,
    /// Its value.
    pub value: u64,
    /// Whether a larger value of the client was lowered to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clamped: bool,
    /// The target refuses the parameter: nothing was set, and the streamed output was counted instead.
    #[serde(default, skip_serializing_if = "is_default")]
    pub counted: bool,
    /// The counted output reached the bound, and the answer was ended there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reached: bool,
}
