//! Where requests go: targets, routing, fallback, aliases.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// Where requests go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Providers {
    /// The endpoints that the gateway may send requests to.
    pub targets: Vec<Target>,
    /// How a target is chosen among those that serve the requested model.
    pub routing: Routing,
    /// Where a request goes when its target fails before the first byte.
    pub fallback: Option<Fallback>,
    /// Other names for models: name → endpoint name of a target.
    pub aliases: BTreeMap<String, String>,
}

/// One serving endpoint of one workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Target {
    /// Unique in the pack; named in records, metrics and the `x-keeptrusts-target` header.
    pub id: String,
    /// `databricks`, or `databricks:<chat|completion|embedding|responses>:<endpoint name>`.
    pub provider: String,
    /// The endpoint name, when `provider` does not hold it.
    pub model: Option<String>,
    /// `https://…/serving-endpoints`. `{workspace}` and `${NAME}` are filled in by each gateway when it binds the pack.
    pub base_url: String,
    /// Where the credential is.
    pub secret_key_ref: Option<SecretKeyRef>,
    /// The form of the upstream API; `openai` is the only one for now.
    pub format: Option<String>,
    /// Seconds to the first byte of the answer. Default 60.
    pub timeout_seconds: u64,
    /// Seconds for a whole answer that is not streamed. Default 600.
    pub total_timeout_seconds: u64,
    /// Seconds between two pieces of a stream. Default 120.
    pub stream_idle_seconds: u64,
    /// Seconds to connect. Default 5.
    pub connect_timeout_seconds: u64,
    /// A request that the gateway makes now and then to learn whether the target answers.
    pub health_probe: Option<HealthProbe>,
    /// The region that the endpoint runs in, as declared by the publisher.
    pub region: Option<String>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// What the provider does with the data, as declared by the publisher.
    pub data_policy: Option<DataPolicy>,
    /// Sends the gateway's request id along as `client_request_id`, so that records join with Databricks' tables.
    /// Default `false`: some vendors refuse unknown fields.
    pub client_request_id: bool,
    /// Asks for token usage in streams (`stream_options.include_usage`) when the client did not, and retries once
    /// without it where the target refuses it. Default `false`.
    pub include_usage: bool,
}

/// Where a credential is. Exactly one of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretKeyRef {
    /// An environment variable of the gateway; the operator's `pack_env` must allow it.
    Env(String),
    /// A file below the operator's `secrets_dir`.
    File(String),
}

/// A request that the gateway makes now and then to learn whether a target answers. Any HTTP answer below 500 counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct HealthProbe {
    /// Path on the target's host. Default `/api/2.0/serving-endpoints`.
    pub path: String,
    /// Seconds between two probes. Default 30.
    pub interval_seconds: u64,
    /// Seconds to the answer. Default 5.
    pub timeout_seconds: u64,
}

/// What a provider does with the data, as declared by the publisher.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct DataPolicy {
    /// Nothing is kept.
    pub zero_data_retention: Option<bool>,
    /// Nothing is used for training.
    pub training_opt_out: Option<bool>,
    /// Days that data is kept; 0: none.
    pub retention_days: Option<u32>,
}

/// How a target is chosen among those that serve the requested model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Routing {
    /// `ordered`: the first in the list that may be used.
    pub strategy: Strategy,
}

/// How a target is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The first in the list that may be used.
    #[default]
    Ordered,
}

/// Where a request goes when its target fails before the first byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Fallback {
    /// Ids of targets to try after those that serve the requested model, in this order.
    pub order: Vec<String>,
    /// What counts as a failure. Default: all three.
    pub triggers: Vec<Trigger>,
    /// Attempts after the first. Default 3.
    pub max_fallback_attempts: u32,
}

impl Default for Fallback {
    fn default() -> Self {
        Self {
            order: Vec::new(),
            triggers: vec![Trigger::RateLimit, Trigger::ServerError, Trigger::Timeout],
            max_fallback_attempts: 3,
        }
    }
}

/// What counts as a failure of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// 429, or Databricks' own forms of it.
    RateLimit,
    /// 5xx, and connections that fail or break.
    ServerError,
    /// No first byte in time.
    Timeout,
}
