//! The walker of answers of the responses API: the response itself, its items, and the events of its stream.

use super::{
    Ended, Form,
    walk::{At, Walker},
};
use crate::{
    json::{Kind, NodeId},
    request::FieldKind,
};

impl Walker<'_> {
    /// A response, or an event of one.
    pub(super) fn response(&mut self, root: NodeId) {
        let named =
            self.document.get(root, "type").and_then(|value| self.document.string(value)).unwrap_or_default();
        if self.form == Form::Event && !named.is_empty() {
            let named = named.into_owned();
            self.event(root, &named);
        } else {
            self.object(root);
        }
    }

    fn object(&mut self, response: NodeId) {
        let at = At::new("/output", 0, false);
        let mut members = self.document.children(response, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            match &*self.document.decoded(key) {
                "output" if self.document.kind(value) == Kind::Array => {
                    let mut items = self.document.children(value, Kind::Array);
                    while let Some(item) = items.step(&self.document) {
                        self.item(item, &at);
                    }
                }
                "id"
                | "object"
                | "created_at"
                | "completed_at"
                | "model"
                | "status"
                | "service_tier"
                | "usage"
                | "previous_response_id"
                | "truncation" => self.word(value),
                _ => self.other(key, value),
            }
        }
    }

    /// An item of the output: a message, a call, reasoning.
    fn item(&mut self, item: NodeId, at: &At) {
        if self.document.kind(item) != Kind::Object {
            self.everything(item, FieldKind::Unknown);
            return;
        }
        let mut members = self.document.children(item, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            let name = self.document.decoded(key);
            match &*name {
                "id" | "call_id" | "type" | "status" | "role" | "phase" => self.word(value),
                "encrypted_content" => {}
                "content" => self.content(value, FieldKind::Content, at),
                "summary" => self.content(value, FieldKind::Reasoning, at),
                "name" => self.everything(value, FieldKind::Name),
                "arguments" | "input" | "action" | "code" => self.everything(value, FieldKind::ToolArguments),
                // What the model drew, in base64.
                "result" if self.is_image(item) => {}
                _ => self.other(key, value),
            }
        }
    }

    fn is_image(&self, item: NodeId) -> bool {
        let named = self.document.get(item, "type").and_then(|value| self.document.string(value));
        named.as_deref() == Some("image_generation_call")
    }

    fn event(&mut self, root: NodeId, named: &str) {
        let group = self.number(root, "output_index").unwrap_or(0);
        let continues = named.strip_suffix(".delta").is_some();
        self.ends.extend(self.ended_by(root, named, group));
        let at = At::new(self.pointer_of(root, named, group), group, continues);
        let kind = match named {
            _ if named.contains("arguments") || named.contains("input") || named.contains("code") => {
                FieldKind::ToolArguments
            }
            _ if named.contains("reasoning") => FieldKind::Reasoning,
            _ if named.contains("refusal") => FieldKind::Refusal,
            _ => FieldKind::Content,
        };
        // Sound and images in base64.
        let is_encoded =
            matches!(named, "response.audio.delta" | "response.image_generation_call.partial_image");
        let mut members = self.document.children(root, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            match &*self.document.decoded(key) {
                "type" | "item_id" | "obfuscation" | "sequence_number" | "output_index" | "content_index"
                | "summary_index" => self.word(value),
                "delta" | "partial_image_b64" if is_encoded => {}
                "delta" => self.text(value, kind, &at),
                "response" if self.document.kind(value) == Kind::Object => self.object(value),
                "item" => self.item(value, &at),
                "part" => {
                    let at = At { continues: false, ..at.clone() };
                    self.part(root, value, kind, &at);
                }
                "logprobs" => self.probabilities(value, &at.below("logprobs")),
                "text" | "refusal" | "transcript" => self.everything(value, kind),
                "arguments" | "input" | "code" => self.everything(value, FieldKind::ToolArguments),
                _ => self.unknown(key, value, &at),
            }
        }
    }

    /// Which texts an event ends. Others stand between the pieces of a text: annotations, progress, signs of life.
    fn ended_by(&self, root: NodeId, named: &str, group: u64) -> Option<Ended> {
        match named {
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "error" => Some(Ended::All),
            // Agents of MLflow say their items one after the other, and number nothing.
            "response.output_item.done" if self.document.get(root, "output_index").is_none() => {
                Some(Ended::All)
            }
            _ if named.strip_suffix(".done").is_some()
                && self.document.get(root, "output_index").is_some() =>
            {
                Some(Ended::Group(group))
            }
            _ => None,
        }
    }

    /// Where the text of an event stands in the response.
    fn pointer_of(&self, root: NodeId, named: &str, group: u64) -> String {
        let part = self.number(root, "content_index").map(|index| format!("/content/{index}"));
        let summary = self.number(root, "summary_index").map(|index| format!("/summary/{index}"));
        let place = summary.or(part).unwrap_or_default();
        let what = named.trim_end_matches(".delta").rsplit('.').next().unwrap_or_default();
        let what = match what {
            "function_call_arguments" | "mcp_call_arguments" | "arguments" => "arguments",
            "custom_tool_call_input" => "input",
            "code_interpreter_call_code" => "code",
            "output_text" | "reasoning_text" | "reasoning_summary_text" => "text",
            "refusal" => "refusal",
            "transcript" => "transcript",
            other => return At::new(format!("/output/{group}{place}"), group, true).below(other).pointer,
        };
        format!("/output/{group}{place}/{what}")
    }
}
