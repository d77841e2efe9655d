//! A bound on the output of a stream whose target refuses the parameter that would bound it (`docs/reference/http.md`,
//! "Bounded answers").
//!
//! Events are let through whole, and only while what was counted stays within the bound; the answer is then ended as
//! the model itself would have ended it: `finish_reason: length`, usage where it was asked for, `[DONE]`. The count is
//! the largest of three: what the upstream reports, the number of deltas that hold text (no upstream sends less than a
//! token in one), and an estimate from the text. So it is sooner too large than too small: a bound of `rbac` is never
//! passed, and an answer can end a little before it.

use std::{collections::BTreeSet, ops::ControlFlow};

use bytes::{Bytes, BytesMut};
use kt_policy::{usage::Usage, verdict::Endpoint};
use serde_json::{Map, Value, json};

use crate::sse::{EventTooLarge, Frames};

/// Answers that are told apart in one stream; a request asks for a handful.
const MAX_ANSWERS: usize = 1024;
/// Nesting of a delta that is looked into.
const MAX_DEPTH: u8 = 64;
/// Members of a chunk that every chunk of its stream repeats.
const REPEATED: [&str; 6] = ["id", "object", "created", "model", "service_tier", "system_fingerprint"];
/// Members of a delta that are no output of the model.
const NOT_OUTPUT: [&str; 5] = ["role", "id", "type", "signature", "index"];

/// What the output of one stream is held to.
#[derive(Debug)]
pub(crate) struct OutputBound {
    endpoint: Endpoint,
    limit: u64,
    /// Told as the input where the upstream had told none.
    pub(crate) estimated_input: u64,
    /// Whether the stream is to tell usage at its end.
    pub(crate) tells_usage: bool,
    frames: Frames,
    output: Output,
}

/// The output so far. Its debug form has counts alone.
struct Output {
    limit: u64,
    /// Deltas with text.
    deltas: u64,
    /// Quarters of a token: an ASCII character is one, any other four.
    quarters: u64,
    reported: u64,
    /// What all chunks repeat, or the response of a responses stream.
    repeated: Map<String, Value>,
    sequence: u64,
    /// Answers that were begun and not finished.
    open: BTreeSet<u64>,
    finished: BTreeSet<u64>,
    is_reached: bool,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("limit", &self.limit)
            .field("tokens", &self.tokens())
            .field("is_reached", &self.is_reached)
            .finish_non_exhaustive()
    }
}

impl OutputBound {
    /// A bound of `limit` tokens for all answers of a stream; events of more than `event_bytes` are an error.
    pub(crate) fn new(endpoint: Endpoint, limit: u64, event_bytes: usize) -> Self {
        Self {
            endpoint,
            limit,
            estimated_input: 0,
            tells_usage: false,
            frames: Frames::new(event_bytes),
            output: Output {
                limit,
                deltas: 0,
                quarters: 0,
                reported: 0,
                repeated: Map::new(),
                sequence: 0,
                open: BTreeSet::new(),
                finished: BTreeSet::new(),
                is_reached: false,
            },
        }
    }

    /// Whether the output has come to its bound: nothing more is let through.
    pub(crate) const fn is_reached(&self) -> bool {
        self.output.is_reached
    }

    /// Takes the next bytes and gives what may pass: whole events within the bound.
    pub(crate) fn push(&mut self, data: &[u8]) -> Result<Bytes, EventTooLarge> {
        let mut within = BytesMut::new();
        let output = &mut self.output;
        if output.is_reached {
            return Ok(Bytes::new());
        }
        self.frames.push(data, |frame, data| {
            if let Some(data) = data {
                output.event(data);
            }
            if output.is_reached {
                return ControlFlow::Break(());
            }
            within.extend_from_slice(&frame);
            ControlFlow::Continue(())
        })?;
        Ok(within.freeze())
    }

    /// What is left when the upstream ends: the last event need not be followed by an empty line.
    pub(crate) fn rest(&mut self) -> Result<Bytes, EventTooLarge> {
        let Some((left, data)) = self.frames.rest()? else { return Ok(Bytes::new()) };
        if let Some(data) = data {
            self.output.event(&data);
        }
        Ok(if self.is_reached() { Bytes::new() } else { left })
    }

    /// `data`, which is within the bound, and what ends the answer behind it; with the usage that this told.
    pub(crate) fn end(self, data: Bytes, reported: Usage) -> (Bytes, Usage) {
        let prompt = reported.input.unwrap_or(self.estimated_input);
        let completion = self.output.tokens().min(self.limit);
        let usage = Usage {
            input: Some(prompt),
            output: Some(completion),
            total: Some(prompt.saturating_add(completion)),
            ..reported
        };
        let mut bytes = BytesMut::from(&*data);
        let mut event = |name: &str, data: &Value| {
            if !name.is_empty() {
                bytes.extend_from_slice(format!("event: {name}\n").as_bytes());
            }
            bytes.extend_from_slice(format!("data: {data}\n\n").as_bytes());
        };
        match self.endpoint {
            Endpoint::Responses => {
                let name = "response.incomplete";
                event(name, &self.output.incomplete(prompt, completion));
            }
            Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Embeddings => {
                let told = json!({
                    "prompt_tokens": prompt, "completion_tokens": completion,
                    "total_tokens": prompt.saturating_add(completion),
                });
                let choices = self.output.cut_choices(self.endpoint);
                let mut last = self.output.repeated.clone();
                last.insert("choices".to_owned(), choices);
                if self.tells_usage {
                    last.insert("usage".to_owned(), Value::Null);
                }
                event("", &Value::Object(last.clone()));
                if self.tells_usage {
                    last.insert("choices".to_owned(), json!([]));
                    last.insert("usage".to_owned(), told);
                    event("", &Value::Object(last));
                }
                bytes.extend_from_slice(b"data: [DONE]\n\n");
            }
        }
        (bytes.freeze(), usage)
    }
}

impl Output {
    fn tokens(&self) -> u64 {
        self.deltas.max(self.quarters.div_ceil(4)).max(self.reported)
    }

    /// Counts an event, unless it is the one that would pass the bound.
    fn event(&mut self, data: &[u8]) {
        if self.is_reached {
            return;
        }
        let Ok(Value::Object(chunk)) = serde_json::from_slice::<Value>(data) else { return };
        let mut text = Text::default();
        let choices = chunk.get("choices").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for choice in choices {
            for key in ["delta", "text"] {
                text.add_delta(choice.get(key));
            }
        }
        // Agents and responses have theirs at the top.
        text.add_delta(chunk.get("delta"));
        let usage = chunk.get("usage").or_else(|| chunk.get("response")?.get("usage"));
        let reported = usage
            .and_then(|usage| usage.get("completion_tokens").or_else(|| usage.get("output_tokens")))
            .and_then(Value::as_u64)
            .unwrap_or(0);
        if text.deltas > 0 {
            let deltas = self.deltas.saturating_add(text.deltas);
            let quarters = self.quarters.saturating_add(text.quarters);
            if deltas.max(quarters.div_ceil(4)).max(reported) > self.limit {
                self.is_reached = true;
                return;
            }
            (self.deltas, self.quarters) = (deltas, quarters);
        }
        self.reported = self.reported.max(reported);
        self.remember(&chunk, choices);
    }

    fn remember(&mut self, chunk: &Map<String, Value>, choices: &[Value]) {
        for choice in choices {
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            if choice.get("finish_reason").is_some_and(|reason| !reason.is_null()) {
                self.open.remove(&index);
                if self.finished.len() < MAX_ANSWERS {
                    self.finished.insert(index);
                }
            } else if self.open.len() < MAX_ANSWERS && !self.finished.contains(&index) {
                self.open.insert(index);
            }
        }
        if let Some(sequence) = chunk.get("sequence_number").and_then(Value::as_u64) {
            self.sequence = sequence;
        }
        if let Some(Value::Object(response)) = chunk.get("response") {
            self.repeated.clone_from(response);
        } else if self.repeated.is_empty() && chunk.contains_key("choices") {
            for name in REPEATED {
                if let Some(value) = chunk.get(name) {
                    self.repeated.insert(name.to_owned(), value.clone());
                }
            }
        }
    }

    /// The choices of the last chunk: each answer that was not finished is finished by its length.
    fn cut_choices(&self, endpoint: Endpoint) -> Value {
        let first = BTreeSet::from([0]);
        let open = if self.open.is_empty() { &first } else { &self.open };
        let cut = |index: &u64| match endpoint {
            Endpoint::Completions => {
                json!({"index": index, "text": "", "finish_reason": "length", "logprobs": null})
            }
            _ => json!({"index": index, "delta": {}, "finish_reason": "length", "logprobs": null}),
        };
        open.iter().map(cut).collect()
    }

    /// The closing event of a responses stream.
    fn incomplete(&self, input: u64, output: u64) -> Value {
        let mut response = self.repeated.clone();
        response.insert("status".to_owned(), json!("incomplete"));
        response.insert("incomplete_details".to_owned(), json!({"reason": "max_output_tokens"}));
        let usage = json!({
            "input_tokens": input, "output_tokens": output, "total_tokens": input.saturating_add(output),
        });
        response.insert("usage".to_owned(), usage);
        json!({
            "type": "response.incomplete", "sequence_number": self.sequence.saturating_add(1), "response": response,
        })
    }
}

/// The text of one event.
#[derive(Debug, Default)]
struct Text {
    deltas: u64,
    quarters: u64,
}

impl Text {
    fn add_delta(&mut self, delta: Option<&Value>) {
        let Some(delta) = delta else { return };
        let before = self.quarters;
        self.add(delta, MAX_DEPTH);
        self.deltas += u64::from(self.quarters > before);
    }

    fn add(&mut self, value: &Value, depth: u8) {
        let Some(depth) = depth.checked_sub(1) else { return };
        match value {
            Value::String(text) => {
                let quarters = text.chars().map(|c| if c.is_ascii() { 1 } else { 4 }).sum::<u64>();
                self.quarters = self.quarters.saturating_add(quarters);
            }
            Value::Array(items) => items.iter().for_each(|item| self.add(item, depth)),
            Value::Object(members) => {
                for (key, member) in members {
                    if !NOT_OUTPUT.contains(&key.as_str()) {
                        self.add(member, depth);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
