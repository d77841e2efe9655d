//! What compiling a pack gives: immutable, shared by all requests, evaluated without I/O.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    detect::Detector,
    pack::{
        AttachmentRule, AuditLogger, BlockResponse, DataRoutingPolicy, ExceptionScope, Rbac,
        kinds::EndpointAction,
        providers::{DataPolicy, HealthProbe, SecretKeyRef, Trigger},
    },
    verdict::{Endpoint, Mode, Phase, PolicyKind},
};

/// Identity of one version of a pack: name, semantic version and the SHA-256 of the exact source bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PackId {
    /// The pack's name.
    pub name: Arc<str>,
    /// The pack's version.
    pub version: semver::Version,
    /// SHA-256 of the source bytes.
    pub digest: [u8; 32],
}

impl fmt::Display for PackId {
    /// `name@version`, as in the `x-keeptrusts-pack` header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// A compiled pack.
#[derive(Debug)]
pub struct CompiledPack {
    /// Which version of which pack.
    pub id: PackId,
    /// `false`: a gateway refuses to serve it.
    pub enabled: bool,
    /// The policies in chain order.
    pub chain: Vec<ChainEntry>,
    /// Settings of `audit-logger` when it is in the chain, wherever it stands.
    pub audit: Option<AuditLogger>,
    /// The targets in the order of the pack.
    pub targets: Vec<CompiledTarget>,
    /// Where a request goes when its target fails.
    pub fallback: Option<CompiledFallback>,
    /// Alias → endpoint name.
    pub aliases: BTreeMap<String, Arc<str>>,
    /// What a blocked caller gets.
    pub block_response: BlockResponse,
    /// How many bytes of a streamed answer are held back behind what is let go.
    pub hold_back: usize,
    /// What happens with attachments, by media type pattern.
    pub attachments: BTreeMap<String, AttachmentRule>,
    /// Findings that are let pass for a time.
    pub exceptions: Vec<CompiledException>,
    /// Whether answers carry `x-keeptrusts-redactions`.
    pub redaction_metadata: bool,
}

/// One policy in the chain.
#[derive(Debug)]
pub struct ChainEntry {
    /// Its kind.
    pub kind: PolicyKind,
    /// Whether it acts or only records.
    pub mode: Mode,
    /// What it does on single endpoints instead.
    pub endpoints: BTreeMap<Endpoint, EndpointAction>,
    /// Whether it reads requests, answers or both; of policies that read no texts, requests.
    pub phases: Vec<Phase>,
    /// The message of its block answers, when the pack sets one.
    pub message: Option<Arc<str>>,
    /// What it does.
    pub policy: CompiledPolicy,
}

/// What a policy does.
#[derive(Debug)]
pub enum CompiledPolicy {
    /// Scans texts.
    Content(Box<dyn Detector>),
    /// Decides by role.
    Rbac(Rbac),
    /// Filters targets.
    DataRouting(DataRoutingPolicy),
    /// Turns records on; [`CompiledPack::audit`] has the settings.
    Audit,
}

/// What a target can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Serves {
    /// `databricks:chat:…`: chat completions (and responses, where Databricks offers them).
    Chat,
    /// `databricks:completion:…`
    Completion,
    /// `databricks:embedding:…`
    Embedding,
    /// `databricks:responses:…`
    Responses,
    /// `databricks` with a bare `model`: whatever the endpoint answers to.
    Any,
}

/// A target with its model resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledTarget {
    /// The id in the pack.
    pub id: Arc<str>,
    /// The concrete endpoint name: what authorisation and prices go by.
    pub model: Arc<str>,
    /// What it can be asked for.
    pub serves: Serves,
    /// As written; filled in at binding.
    pub base_url: String,
    /// Where its credential is.
    pub secret: Option<SecretKeyRef>,
    /// To the first byte of the answer.
    pub first_byte_timeout: Duration,
    /// For a whole answer that is not streamed.
    pub total_timeout: Duration,
    /// Between two pieces of a stream.
    pub stream_idle_timeout: Duration,
    /// To connect.
    pub connect_timeout: Duration,
    /// A request made now and then.
    pub health_probe: Option<HealthProbe>,
    /// Declared region.
    pub region: Option<Arc<str>>,
    /// Declared data policy, with the `zdr` shorthand applied.
    pub data_policy: DataPolicy,
    /// Whether `client_request_id` is sent.
    pub client_request_id: bool,
    /// Whether usage is asked for in streams.
    pub include_usage: bool,
}

/// Where a request goes when its target fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledFallback {
    /// Indices into [`CompiledPack::targets`].
    pub order: Vec<usize>,
    /// What counts as a failure.
    pub triggers: Vec<Trigger>,
    /// Attempts after the first.
    pub max_attempts: u32,
}

/// An exception with its rule taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledException {
    /// The policy.
    pub policy: PolicyKind,
    /// The rule; absent: every rule of the policy.
    pub rule: Option<Arc<str>>,
    /// For whom.
    pub scope: ExceptionScope,
    /// Where it was decided.
    pub ticket: Option<Arc<str>>,
    /// From this moment on the rule acts again.
    pub expires: Timestamp,
}
