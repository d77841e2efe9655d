//! A request as the record tells it: who asked what of whom, and how it ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::is_default;
use super::outcome::{Edits, Finding, PolicyOutcome, Verdict};
use super::usage::{Attempt, Cost, Latency, Target, Tokens};
use crate::identity::Pseudonym;
use crate::value::{Digest, Label};

/// What is known of a request from its arrival on; the same in `opened` and `closed`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestFacts {
    /// When the gateway accepted it, microseconds since 1970 UTC by the gateway's clock. The frame's time is when
    /// the record was appended.
    pub accepted_us: i64,
    /// The kind of call.
    pub endpoint: Endpoint,
    /// Whether an event stream was asked for.
    #[serde(skip_serializing_if = "is_default")]
    pub stream: bool,
    /// Our own request id, as sent in `x-request-id`.
    #[serde(skip_serializing_if = "is_default")]
    pub request_id: Label,
    /// The `x-request-id` that the client sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_request_id: Option<Label>,
    /// Who asked.
    pub caller: Caller,
    /// The pack that judged it; none where no pack was serving.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackRef>,
    /// SHA-256 of each detector's and model's data, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub detectors: BTreeMap<Label, Digest>,
    /// The `model` value of the request, as far as it is a label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_model: Option<Label>,
    /// How long the pack wants this record kept; none: as long as the segment that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// Who asked, without a name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caller {
    /// How the identity was proven.
    pub proof: Proof,
    /// The keyed pseudonym of the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Pseudonym>,
    /// The roles that counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Label>,
    /// The team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<Label>,
    /// The cost centre.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_centre: Option<Label>,
    /// The public id of the gateway key, the certificate's serial or the token's key id; never a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<Label>,
    /// The issuer that vouched for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Label>,
}

/// How an identity was proven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Not at all: no identity source is configured.
    #[default]
    Anonymous,
    /// A gateway key of the key set.
    GatewayKey,
    /// A signed token of a configured issuer.
    Jwt,
    /// A client certificate.
    ClientCertificate,
    /// Identity headers from a trusted proxy.
    TrustedHeader,
    /// A credential was presented and refused.
    Refused,
}

/// The kind of call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `/v1/chat/completions` and its Databricks forms.
    ChatCompletions,
    /// `/v1/completions`.
    Completions,
    /// `/v1/embeddings`.
    Embeddings,
    /// `/v1/responses`.
    Responses,
    /// `/v1/models`.
    Models,
    /// A path that the gateway does not govern, or a request that never got that far.
    #[default]
    Other,
}

/// The pack version that judged a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PackRef {
    /// `pack.name`.
    pub name: Label,
    /// `pack.version`.
    pub version: Label,
    /// SHA-256 of the exact source bytes.
    pub digest: Digest,
    /// The fleet's generation; none when the pack came from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// How long a record must be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Retention {
    /// Days after the record's time.
    pub days: u32,
    /// Whether no role may shorten that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub immutable: bool,
}

impl Retention {
    /// The one that satisfies both.
    #[must_use]
    pub fn longest(self, other: Self) -> Self {
        Self { days: self.days.max(other.days), immutable: self.immutable || other.immutable }
    }
}

/// `opened`: written before the first byte goes upstream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Opened {
    /// UUIDv7, shared with the `closed` record.
    pub id: Uuid,
    /// Who asked what.
    pub request: RequestFacts,
    /// The candidate that is tried first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The verdict of the input policies.
    pub verdict: Verdict,
    /// What each input policy did, in chain order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outcomes: Vec<PolicyOutcome>,
    /// Where something was found; never what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Findings left off because the record would have been too long.
    #[serde(skip_serializing_if = "is_default")]
    pub findings_omitted: u64,
    /// What the gateway changed in the request.
    #[serde(skip_serializing_if = "is_default")]
    pub edits: Edits,
    /// Attachments that no policy looked into, by media type.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub not_inspected: BTreeMap<Label, u32>,
    /// Bytes of the request body as received.
    pub bytes_in: u64,
}

/// `closed`: written before the last byte goes to the client.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Closed {
    /// UUIDv7, shared with the `opened` record where there is one.
    pub id: Uuid,
    /// Who asked what.
    pub request: RequestFacts,
    /// How it ended.
    pub end: End,
    /// The final verdict. A refusal counts as `block`: the gateway stopped it.
    pub verdict: Verdict,
    /// What the gateway answered instead of an upstream; none where an upstream's answer was passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// The target that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Every candidate that was tried or passed over, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// What each policy did, input then output, in chain order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outcomes: Vec<PolicyOutcome>,
    /// Where something was found; never what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Findings left off because the record would have been too long.
    #[serde(skip_serializing_if = "is_default")]
    pub findings_omitted: u64,
    /// What the gateway changed.
    #[serde(skip_serializing_if = "is_default")]
    pub edits: Edits,
    /// Attachments that no policy looked into, by media type.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub not_inspected: BTreeMap<Label, u32>,
    /// Token counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// What it cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Where the time went.
    #[serde(skip_serializing_if = "is_default")]
    pub latency: Latency,
    /// The upstream's own request id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_request_id: Option<Label>,
    /// The status that the client saw; none where no answer was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes of the request body as received.
    pub bytes_in: u64,
    /// Bytes of the answer's body as sent, without the part that waits for this record.
    pub bytes_out: u64,
    /// Whether the client went away before the end.
    #[serde(skip_serializing_if = "is_default")]
    pub client_aborted: bool,
    /// For `interrupted`: the run that wrote the `opened` record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_epoch: Option<crate::chain::Epoch>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The upstream's answer reached its end.
    Completed,
    /// A content policy blocked it, on the way in or out.
    Blocked,
    /// Refused before any upstream: identity, rbac, limits, malformed, no room for the audit record.
    Refused,
    /// No upstream answered, or the answer broke off.
    Failed,
    /// The client went away.
    Aborted,
    /// The gateway stopped in the middle; written by the next start.
    #[default]
    Interrupted,
}

/// The gateway's own answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The `code` of the error body, such as `input_blocked` or `model_not_allowed`.
    pub code: Label,
    /// The policy that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Label>,
    /// Its rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Label>,
    /// The field that it is about, as in the error body's `param`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<Label>,
}
