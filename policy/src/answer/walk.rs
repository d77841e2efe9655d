//! The walker of answers: chat, completions, agents; what all share.

use super::{Answer, Channel, Ended, Form, Streamed};
use crate::{
    detect::Origin,
    json::{Document, Kind, NodeId},
    request::{Field, FieldKind, Piece, is_known_key, is_word, sorted},
    verdict::Endpoint,
};

/// Longer ids and words of the protocol are none.
const LONGEST_WORD: usize = 256;

pub(super) struct Walker<'b> {
    pub(super) document: Document<'b>,
    fields: Vec<Field<'b>>,
    pieces: Vec<Piece>,
    streamed: Vec<Streamed>,
    probabilities: Vec<NodeId>,
    pub(super) ends: Vec<Ended>,
    pub(super) form: Form,
}

/// Where in the answer a text stands, and whether it continues.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) pointer: String,
    pub(super) group: u64,
    pub(super) continues: bool,
}

impl At {
    pub(super) fn below(&self, key: &str) -> Self {
        let mut pointer = String::with_capacity(self.pointer.len() + key.len() + 1);
        pointer.push_str(&self.pointer);
        crate::json::push_pointer(key, &mut pointer);
        Self { pointer, ..*self }
    }

    pub(super) fn item(&self, index: u64) -> Self {
        Self { pointer: format!("{}/{index}", self.pointer), ..*self }
    }
}

pub(super) fn walk(endpoint: Endpoint, form: Form, document: Document<'_>) -> Answer<'_> {
    let root = document.root();
    let mut walker = Walker {
        document,
        fields: Vec::new(),
        pieces: Vec::new(),
        streamed: Vec::new(),
        probabilities: Vec::new(),
        ends: Vec::new(),
        form,
    };
    match (walker.document.kind(root), endpoint) {
        (Kind::Object, Endpoint::Responses) => walker.response(root),
        (Kind::Object, _) => walker.chat(root),
        _ => walker.everything(root, FieldKind::Unknown),
    }
    Answer {
        document: walker.document,
        fields: walker.fields,
        pieces: sorted(walker.pieces),
        streamed: walker.streamed,
        probabilities: walker.probabilities,
        ends: walker.ends,
    }
}

impl Walker<'_> {
    /// The one way for a text into the list of fields.
    fn visit(&mut self, node: NodeId, kind: FieldKind) {
        let text = match self.document.kind(node) {
            Kind::String => {
                let text = self.document.decoded(node);
                let key = self.document.nearest_key(node);
                if key.is_some_and(|key| is_word(&self.document.decoded(key), &text)) {
                    return;
                }
                text
            }
            Kind::Key => {
                let text = self.document.decoded(node);
                if is_known_key(&text) || is_known_here(&text) {
                    return;
                }
                text
            }
            Kind::Number => {
                let known = self.document.nearest_key(node).is_some_and(|key| {
                    let key = self.document.decoded(key);
                    is_known_key(&key) || is_known_here(&key)
                });
                if known {
                    return;
                }
                std::borrow::Cow::Borrowed(self.document.raw(node))
            }
            Kind::Object | Kind::Array | Kind::True | Kind::False | Kind::Null => return,
        };
        if !text.is_empty() {
            self.fields.push(Field { node, kind, origin: Origin::Assistant, text });
        }
    }

    /// Visits everything below a node, keys included.
    pub(super) fn everything(&mut self, node: NodeId, kind: FieldKind) {
        for below in self.document.subtree(node) {
            self.visit(below, kind);
        }
    }

    /// A word or an id at its own place: left out when it looks like one.
    pub(super) fn word(&mut self, value: NodeId) {
        let is_word = match self.document.kind(value) {
            Kind::String => {
                let text = self.document.decoded(value);
                text.len() <= LONGEST_WORD && text.bytes().all(|byte| byte.is_ascii_graphic())
            }
            Kind::Object | Kind::Array => false,
            _ => true,
        };
        if !is_word {
            self.everything(value, FieldKind::Unknown);
        }
    }

    /// A text of the model: in an event perhaps one that goes on.
    pub(super) fn text(&mut self, value: NodeId, kind: FieldKind, at: &At) {
        if !at.continues || self.document.kind(value) != Kind::String {
            self.everything(value, kind);
            return;
        }
        let text = self.document.decoded(value);
        if text.is_empty() {
            return;
        }
        let channel = Channel { pointer: at.pointer.clone(), group: at.group, kind };
        self.streamed.push(Streamed { field: self.fields.len(), channel });
        self.fields.push(Field { node: value, kind, origin: Origin::Assistant, text });
    }

    /// Log probabilities name the tokens of the text.
    pub(super) fn probabilities(&mut self, value: NodeId) {
        if matches!(self.document.kind(value), Kind::Object | Kind::Array) {
            self.probabilities.push(value);
        } else {
            self.word(value);
        }
    }

    pub(super) fn number(&self, object: NodeId, key: &str) -> Option<u64> {
        self.document.unsigned(self.document.get(object, key)?)
    }

    fn chat(&mut self, root: NodeId) {
        let mut members = self.document.children(root, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            match &*self.document.decoded(key) {
                "choices" => self.choices(value),
                // Agents have theirs at the top.
                "delta" => {
                    let continues = self.form == Form::Event;
                    let at = At { pointer: "/message".to_owned(), group: 0, continues };
                    self.message(value, &at);
                }
                "id" | "object" | "created" | "model" | "system_fingerprint" | "service_tier" | "usage" => {
                    self.word(value);
                }
                _ => {
                    self.visit(key, FieldKind::Key);
                    self.everything(value, FieldKind::Unknown);
                }
            }
        }
    }

    fn choices(&mut self, list: NodeId) {
        if self.document.kind(list) != Kind::Array {
            self.everything(list, FieldKind::Unknown);
            return;
        }
        let mut choices = self.document.children(list, Kind::Array);
        while let Some(choice) = choices.step(&self.document) {
            if self.document.kind(choice) == Kind::Object {
                self.choice(choice);
            } else {
                self.everything(choice, FieldKind::Unknown);
            }
        }
    }

    fn choice(&mut self, choice: NodeId) {
        let group = self.number(choice, "index").unwrap_or(0);
        let at = At { pointer: format!("/choices/{group}"), group, continues: self.form == Form::Event };
        let mut members = self.document.children(choice, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            match &*self.document.decoded(key) {
                "delta" => self.message(value, &at.below("message")),
                "message" => self.message(value, &At { continues: false, ..at.below("message") }),
                "text" => self.text(value, FieldKind::Content, &at.below("text")),
                "logprobs" => self.probabilities(value),
                "finish_reason" => {
                    if self.document.kind(value) != Kind::Null {
                        self.ends.push(Ended::Group(group));
                    }
                    self.word(value);
                }
                "index" | "stop_reason" | "native_finish_reason" => self.word(value),
                _ => {
                    self.visit(key, FieldKind::Key);
                    self.everything(value, FieldKind::Unknown);
                }
            }
        }
    }

    /// A message of the model, or what is added to one.
    pub(super) fn message(&mut self, message: NodeId, at: &At) {
        if self.document.kind(message) != Kind::Object {
            self.text(message, FieldKind::Content, at);
            return;
        }
        let mut members = self.document.children(message, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            let name = self.document.decoded(key);
            match &*name {
                "role" | "id" | "type" | "tool_call_id" => self.word(value),
                "content" => self.content(value, FieldKind::Content, &at.below("content")),
                "refusal" => self.text(value, FieldKind::Refusal, &at.below("refusal")),
                "reasoning_content" | "reasoning" | "thinking" => {
                    self.content(value, FieldKind::Reasoning, &at.below(&name));
                }
                "tool_calls" => self.calls(value, &at.below("tool_calls")),
                "function_call" => self.function(value, &at.below("function_call")),
                "audio" => self.audio(value, &at.below("audio")),
                _ => {
                    self.visit(key, FieldKind::Key);
                    match self.document.kind(value) {
                        Kind::String => self.text(value, FieldKind::Unknown, &at.below(&name)),
                        _ => self.everything(value, FieldKind::Unknown),
                    }
                }
            }
        }
    }

    /// A text, or a list of parts.
    pub(super) fn content(&mut self, value: NodeId, kind: FieldKind, at: &At) {
        if self.document.kind(value) != Kind::Array {
            self.text(value, kind, at);
            return;
        }
        let mut parts = self.document.children(value, Kind::Array);
        while let Some(part) = parts.step(&self.document) {
            self.part(value, part, kind, at);
        }
    }

    /// A part. What comes in pieces is told apart by its type: an event has one part, whichever the answer has.
    pub(super) fn part(&mut self, list: NodeId, part: NodeId, kind: FieldKind, at: &At) {
        if self.document.kind(part) != Kind::Object {
            self.text(part, kind, at);
            return;
        }
        let named =
            self.document.get(part, "type").and_then(|value| self.document.string(value)).unwrap_or_default();
        let (kind, at) = match &*named {
            "" | "text" | "output_text" => (kind, at.clone()),
            "refusal" => (FieldKind::Refusal, at.below("refusal")),
            "reasoning" | "thinking" | "redacted_thinking" => (FieldKind::Reasoning, at.below(&named)),
            _ if is_word("type", &named) => (kind, at.below(&named)),
            _ => (kind, at.below("other")),
        };
        let mut members = self.document.children(part, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            let name = self.document.decoded(key);
            match &*name {
                "id" | "index" | "status" => self.word(value),
                // Made by the provider to be given back as it is.
                "signature" | "encrypted_content" => {}
                "type" => self.visit(value, FieldKind::Unknown),
                "text" | "refusal" | "thinking" => {
                    let before = self.fields.len();
                    self.text(value, kind, &at);
                    if !at.continues && self.fields.len() == before + 1 {
                        self.pieces.push(Piece::new(list, kind, before));
                    }
                }
                "summary" | "content" => self.content(value, kind, &at.below(&name)),
                "logprobs" => self.probabilities(value),
                _ => {
                    self.visit(key, FieldKind::Key);
                    self.everything(value, FieldKind::Unknown);
                }
            }
        }
    }

    fn calls(&mut self, list: NodeId, at: &At) {
        if self.document.kind(list) != Kind::Array {
            self.everything(list, FieldKind::ToolArguments);
            return;
        }
        let mut calls = self.document.children(list, Kind::Array);
        let mut position = 0;
        while let Some(call) = calls.step(&self.document) {
            let index = self.number(call, "index").unwrap_or(position);
            position += 1;
            if self.document.kind(call) == Kind::Object {
                self.call(call, &at.item(index));
            } else {
                self.everything(call, FieldKind::ToolArguments);
            }
        }
    }

    fn call(&mut self, call: NodeId, at: &At) {
        let mut members = self.document.children(call, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            let name = self.document.decoded(key);
            match &*name {
                "index" | "id" | "type" => self.word(value),
                "function" | "custom" => self.function(value, &at.below(&name)),
                _ => {
                    self.visit(key, FieldKind::Key);
                    self.everything(value, FieldKind::Unknown);
                }
            }
        }
    }

    fn function(&mut self, function: NodeId, at: &At) {
        if self.document.kind(function) != Kind::Object {
            self.everything(function, FieldKind::ToolArguments);
            return;
        }
        let mut members = self.document.children(function, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            let name = self.document.decoded(key);
            match &*name {
                "name" => self.everything(value, FieldKind::Name),
                "arguments" | "input" => self.text(value, FieldKind::ToolArguments, &at.below(&name)),
                _ => {
                    self.visit(key, FieldKind::Key);
                    self.everything(value, FieldKind::Unknown);
                }
            }
        }
    }

    fn audio(&mut self, audio: NodeId, at: &At) {
        if self.document.kind(audio) != Kind::Object {
            self.word(audio);
            return;
        }
        let mut members = self.document.children(audio, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            match &*self.document.decoded(key) {
                "id" | "expires_at" => self.word(value),
                // Sound in base64.
                "data" if self.document.kind(value) == Kind::String => {}
                "transcript" => self.text(value, FieldKind::Content, &at.below("transcript")),
                _ => {
                    self.visit(key, FieldKind::Key);
                    self.everything(value, FieldKind::Unknown);
                }
            }
        }
    }

    /// A member of an object that the protocol knows but whose name here is not one of the caller's own.
    pub(super) fn other(&mut self, key: NodeId, value: NodeId) {
        self.visit(key, FieldKind::Key);
        self.everything(value, FieldKind::Unknown);
    }
}

/// Keys that only answers have.
fn is_known_here(key: &str) -> bool {
    matches!(
        key,
        "choices"
            | "delta"
            | "message"
            | "finish_reason"
            | "created"
            | "created_at"
            | "completed_at"
            | "expires_at"
            | "usage"
            | "prompt_tokens"
            | "completion_tokens"
            | "total_tokens"
            | "input_tokens"
            | "output_tokens"
            | "cached_tokens"
            | "reasoning_tokens"
            | "audio_tokens"
            | "text_tokens"
            | "accepted_prediction_tokens"
            | "rejected_prediction_tokens"
            | "prompt_tokens_details"
            | "completion_tokens_details"
            | "input_tokens_details"
            | "output_tokens_details"
            | "cache_read_input_tokens"
            | "cache_creation_input_tokens"
            | "system_fingerprint"
            | "item"
            | "item_id"
            | "output_index"
            | "content_index"
            | "summary_index"
            | "sequence_number"
            | "response"
            | "part"
            | "error"
            | "code"
            | "param"
            | "incomplete_details"
            | "reason"
            | "obfuscation"
            | "start_index"
            | "end_index"
            | "file_ids"
            | "annotation_index"
            | "output_text"
            | "databricks_output"
            | "error_code"
            | "transcript"
            | "bytes"
    )
}
