//! The pack as a publisher writes it: `pack`, `policies`, `policy.<kind>`, `providers`, `exceptions`, `testing`.
//!
//! The types are the reference: the JSON Schema (`kt policy schema`) and the decoder follow them, and the doc
//! comments become the descriptions of the reference page.

pub mod kinds;
pub mod providers;
pub(crate) mod read;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

pub use kinds::{
    AuditLogger, DataRoutingPolicy, DlpFilter, Durability, PiiDetector, PromptInjection, Rbac, RbacRole,
};
pub use providers::{Providers, Target};
pub use read::{ParsedPack, parse, parse_tests};

pub use crate::decode::SourceMap;

use crate::verdict::{Endpoint, PolicyKind};

/// A policy pack.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Pack {
    /// Name and version.
    pub pack: PackMeta,
    /// Which policies run, and how refusals look.
    pub policies: Policies,
    /// The policies' own settings, by kind. A kind in the chain without a block runs with its defaults.
    pub policy: PolicyBlocks,
    /// Where requests go.
    pub providers: Providers,
    /// Findings that are let pass for a time.
    pub exceptions: Vec<Exception>,
    /// Test suites that `kt policy test` runs.
    pub testing: Option<Testing>,
}

/// Name and version of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PackMeta {
    /// Letters, digits, `-`, `_` and `.`; at most 128 characters.
    pub name: String,
    /// Semantic version. A published version never changes.
    pub version: semver::Version,
    /// `false`: gateways refuse to serve the pack. Default `true`.
    pub enabled: bool,
    /// What the pack is for.
    pub description: Option<String>,
}

/// Which policies run, and how refusals look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Policies {
    /// The policies that run, in this order. The first block ends the content policies; the rest are skipped.
    pub chain: Vec<PolicyKind>,
    /// What a blocked caller gets: `409` (default), or for chat clients that keep the history either a 400 with
    /// `content_filter` or a 200 with a refusal.
    pub block_response: BlockResponse,
    /// How answers are read.
    pub answers: Answers,
    /// What happens with images, audio and files, by media type (`image/*`, `*`); default allow. They are not
    /// inspected, and the record says so.
    pub attachments: BTreeMap<String, AttachmentRule>,
}

/// How answers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Answers {
    /// How many bytes of a streamed text are held back behind what is let go, 64 to 65536: what is found within so many
    /// bytes, with the words around it, is never let go in part. Default 256.
    pub hold_back: usize,
}

impl Default for Answers {
    fn default() -> Self {
        Self { hold_back: 256 }
    }
}

/// What a blocked caller gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub enum BlockResponse {
    /// 409 `policy_violation`, marked as not to be retried.
    #[default]
    #[serde(rename = "409")]
    Conflict,
    /// 400 with code `content_filter`.
    #[serde(rename = "content_filter")]
    ContentFilter,
    /// 200 with a refusal in the place of the answer.
    #[serde(rename = "refusal")]
    Refusal,
}

/// What happens with one media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttachmentRule {
    /// Passes, recorded as not inspected.
    Allow,
    /// Refused.
    Block,
}

/// The policies' own settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub struct PolicyBlocks {
    /// Settings of `prompt-injection`.
    pub prompt_injection: Option<PromptInjection>,
    /// Settings of `pii-detector`.
    pub pii_detector: Option<PiiDetector>,
    /// Settings of `dlp-filter`.
    pub dlp_filter: Option<DlpFilter>,
    /// Settings of `rbac`.
    pub rbac: Option<Rbac>,
    /// Settings of `audit-logger`.
    pub audit_logger: Option<AuditLogger>,
    /// Settings of `data-routing-policy`.
    pub data_routing_policy: Option<DataRoutingPolicy>,
}

/// A rule that does not act within a scope until a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Exception {
    /// `<policy>` or `<policy>/<rule>`, as named in records (`pii-detector/PERSON`).
    pub rule: String,
    /// For whom; every given condition must hold.
    pub scope: ExceptionScope,
    /// Why.
    pub reason: String,
    /// Where it was decided.
    pub ticket: Option<String>,
    /// From this moment on the rule acts again, without a new publish.
    #[schemars(with = "String")]
    pub expires: Timestamp,
}

/// For whom an exception holds. Empty: for every request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ExceptionScope {
    /// Callers with one of these roles.
    pub roles: Vec<String>,
    /// Callers of one of these teams.
    pub teams: Vec<String>,
    /// Requests for one of these models.
    pub models: Vec<String>,
    /// Requests on one of these endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// Test suites inside a pack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Testing {
    /// The suites.
    pub suites: Vec<TestSuite>,
}

/// A named list of cases.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TestSuite {
    /// Name of the suite.
    pub name: String,
    /// What it shows.
    pub description: Option<String>,
    /// The cases.
    pub cases: Vec<TestCase>,
}

/// One request and what must come of it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TestCase {
    /// Name of the case.
    pub name: String,
    /// The request.
    pub input: TestInput,
    /// What the model answers: a text, or a whole body. It is judged too, and what is expected is then that of both.
    pub answer: Option<TestAnswer>,
    /// What must come of it. Only what is given is compared.
    pub expected: TestExpectation,
}

/// The request of a test case: a body, or `messages` / `input` / `prompt` as a short form of one.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TestInput {
    /// The endpoint; by default told from the body (`messages`: chat, `prompt`: completions, `input`: embeddings).
    pub endpoint: Option<Endpoint>,
    /// The fields of the body, `model` included (default: the first target's).
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub body: serde_json::Map<String, serde_json::Value>,
    /// Request headers of the documented dialect: `X-User-ID` and `X-User-Role` set the caller.
    pub headers: BTreeMap<String, String>,
    /// The caller's roles.
    pub roles: Vec<String>,
    /// The caller's team.
    pub team: Option<String>,
}

/// The answer of a test case.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum TestAnswer {
    /// The text of the model; the body around it is that of the endpoint.
    Text(String),
    /// The whole body.
    Body(
        #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
        serde_json::Map<String, serde_json::Value>,
    ),
}

/// What must come of a test case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TestExpectation {
    /// `allow`, `redact` or `block`.
    pub verdict: Option<crate::verdict::Verdict>,
    /// The policy that decided.
    pub policy: Option<PolicyKind>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// The error code (`model_not_allowed`).
    pub code: Option<String>,
    /// The id of the first candidate target.
    pub target: Option<String>,
    /// Texts, by place, as they would reach the model (`messages[0].content`), or the client
    /// (`choices[0].message.content`).
    pub texts: BTreeMap<String, String>,
}
