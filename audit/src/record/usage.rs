//! What a request used: targets, tokens, money, time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::is_default;
use crate::value::Label;

/// A target as it was resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// Its id in the pack.
    pub id: Label,
    /// The concrete endpoint or model name upstream.
    pub model: Label,
    /// Its declared region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Label>,
}

/// One candidate that was tried, or passed over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The target.
    pub target: Target,
    /// The upstream's status; none where no answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The class of the error, such as `rate_limit`, `timeout`, `connect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Label>,
    /// Why it was never tried, such as `model_not_allowed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Label>,
    /// Microseconds from the attempt's start to its first byte, or to its failure.
    #[serde(default, skip_serializing_if = "is_default")]
    pub us: u64,
    /// The upstream's request id for this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_request_id: Option<Label>,
}

/// Token counts by class. A class that is not known is absent, never 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// Who counted.
    pub source: TokenSource,
    /// Input, cached part included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<u64>,
    /// Output, reasoning included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion: Option<u64>,
    /// Both, as the upstream gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Input that was read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    /// Input that was written to a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<u64>,
    /// Output spent on reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<u64>,
    /// Audio, in and out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<u64>,
}

/// Who counted the tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// The upstream.
    Reported,
    /// The gateway, from the text.
    #[default]
    Estimated,
}

/// What a request cost by the price table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Millionths of a US dollar; none where a price is unknown, never 0 for that.
    pub micro_usd: Option<u64>,
    /// The version of the table.
    pub price_table: Label,
}

/// Microseconds by stage. A stage that did not happen is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// From acceptance to this record.
    pub total: u64,
    /// Reading the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Establishing who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identify: Option<u64>,
    /// Parsing and walking the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parse: Option<u64>,
    /// The input policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_in: Option<u64>,
    /// Appending `opened`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_open: Option<u64>,
    /// From the first attempt to the first byte of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<u64>,
    /// From the first attempt to the answer's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<u64>,
    /// The output policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_out: Option<u64>,
    /// Stages that a later version names.
    #[serde(flatten)]
    pub other: BTreeMap<Label, u64>,
}
