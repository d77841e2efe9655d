//! What the events of a model's stream say of usage and of the end.
//!
//! Usage is kept as last said, never summed: some models repeat it in every chunk, cumulatively, others send nulls
//! until the end. A stream is complete when a `finish_reason`, `[DONE]` or one of the closing events of the responses
//! API was seen; closed with none of them, it was cut.

use std::borrow::Cow;

use serde::Deserialize;

use kt_policy::usage::Usage;

/// What was seen of a stream so far.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    usage: Usage,
    finished: bool,
    done: bool,
    failed: bool,
    events: u64,
}

/// The few fields of a chunk that count here. Everything else is skipped without being kept.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default, borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    response: Option<ResponseObject>,
    #[serde(default)]
    error: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    databricks_output: Option<DatabricksOutput>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default, borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ResponseObject {
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct DatabricksOutput {
    #[serde(default)]
    error: Option<serde::de::IgnoredAny>,
}

impl Meter {
    /// Takes the data of one event.
    pub(crate) fn event(&mut self, data: &[u8]) {
        self.events += 1;
        if data.trim_ascii() == b"[DONE]" {
            self.done = true;
            return;
        }
        // What is not such a chunk says nothing of usage or end, and is none of our business.
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else { return };
        if let Some(usage) = chunk.usage {
            self.usage.update(usage);
        }
        if chunk.choices.iter().flatten().any(|choice| choice.finish_reason.is_some()) {
            self.finished = true;
        }
        if chunk.error.is_some() || chunk.databricks_output.is_some_and(|output| output.error.is_some()) {
            self.failed = true;
        }
        match chunk.kind.as_deref() {
            Some("response.completed" | "response.incomplete") => {
                self.finished = true;
                self.done = true;
            }
            Some("response.failed" | "error") => self.failed = true,
            _ => {}
        }
        if let Some(usage) = chunk.response.and_then(|response| response.usage) {
            self.usage.update(usage);
        }
    }

    /// Takes over the usage that the gateway itself tells the client.
    pub(crate) const fn tell(&mut self, usage: Usage) {
        self.usage = usage;
    }

    /// Nothing more is to come: `[DONE]`, or the closing event of the responses API.
    pub(crate) const fn is_done(&self) -> bool {
        self.done
    }

    /// The answer is complete.
    pub(crate) const fn is_complete(&self) -> bool {
        self.done || self.finished
    }

    /// The upstream reported a failure inside the stream.
    pub(crate) const fn has_failed(&self) -> bool {
        self.failed
    }

    /// Usage as last said.
    pub(crate) const fn usage(&self) -> Usage {
        self.usage
    }
}
