//! What a policy can say of a request, and how strongly.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The policy kinds that a chain can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Finds attempts to override the instructions of the model.
    PromptInjection,
    /// Finds personal data.
    PiiDetector,
    /// Finds secrets and whatever the pack's patterns and terms name.
    DlpFilter,
    /// Decides by role which models, tools and token bounds a caller may use.
    Rbac,
    /// Turns request records on and says how durable they are.
    AuditLogger,
    /// Filters targets by their declared data policy and region.
    DataRoutingPolicy,
}

impl PolicyKind {
    /// Every kind, in the order of the reference page.
    pub const ALL: [Self; 6] = [
        Self::PromptInjection,
        Self::PiiDetector,
        Self::DlpFilter,
        Self::Rbac,
        Self::AuditLogger,
        Self::DataRoutingPolicy,
    ];

    /// The name as written in a pack, in records and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PromptInjection => "prompt-injection",
            Self::PiiDetector => "pii-detector",
            Self::DlpFilter => "dlp-filter",
            Self::Rbac => "rbac",
            Self::AuditLogger => "audit-logger",
            Self::DataRoutingPolicy => "data-routing-policy",
        }
    }

    /// Whether the kind reads texts (and is governed by chain order, markers and `endpoints`).
    pub const fn reads_content(self) -> bool {
        matches!(self, Self::PromptInjection | Self::PiiDetector | Self::DlpFilter)
    }
}

/// In which half of a request's life something is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// On the request.
    Input,
    /// On the answer.
    Output,
}

impl Phase {
    /// The name as written in a pack and in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The answer of a policy, weakest first. There is deliberately no default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to object to.
    Allow,
    /// Goes on with the named spans replaced.
    Redact,
    /// Reserved: waits for a person.
    Escalate,
    /// Does not go on.
    Block,
}

impl Verdict {
    /// The name as written in records, metrics and the `x-keeptrusts-verdict` header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Redact => "redact",
            Self::Escalate => "escalate",
            Self::Block => "block",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a policy or a rule acts, or only records what it would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Acts.
    #[default]
    Enforce,
    /// Changes no byte; the record says `would_block` or `would_redact`.
    Observe,
}

/// What a content policy does with a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Replace the finding by its marker.
    Redact,
    /// Refuse the request.
    Block,
}

impl From<Action> for Verdict {
    fn from(action: Action) -> Self {
        match action {
            Action::Redact => Self::Redact,
            Action::Block => Self::Block,
        }
    }
}

/// The endpoints of the OpenAI surface that the gateway governs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `/v1/chat/completions`
    ChatCompletions,
    /// `/v1/completions`
    Completions,
    /// `/v1/embeddings`
    Embeddings,
    /// `/v1/responses`
    Responses,
}

impl Endpoint {
    /// The name as written in packs, records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
        }
    }
}
