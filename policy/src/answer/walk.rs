//! The walker of answers: chat, completions, agents; what all share.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::{Answer, Channel, Ended, Form, Streamed};
use crate::{
    detect::Origin,
    json::{Document, Kind, NodeId},
    request::{Field, FieldKind, Piece, is_known_key, is_word, sorted},
    verdict::Endpoint,
};

/// Longer ids and words of the protocol are none.
const LONGEST_WORD: usize = 256;
/// What the step of a key that is not spelled begins with.
pub(crate) const UNSPELLED: char = '#';

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
    pub(super) is_twin: bool,
}

impl At {
    pub(super) fn new(pointer: impl Into<String>, group: u64, continues: bool) -> Self {
        Self { pointer: pointer.into(), group, continues, is_twin: false }
    }

    /// The member `key`. One that the protocol does not know may be a text: it is told apart, and not spelled.
    pub(super) fn below(&self, key: &str) -> Self {
        if is_known_key(key) || is_known_here(key) {
            return self.step(key);
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.step(&format!("{UNSPELLED}{:x}", hasher.finish()))
    }

    /// A step whose name is one of the protocol.
    fn step(&self, name: &str) -> Self {
        Self { pointer: format!("{}/{name}", self.pointer), ..*self }
    }

    pub(super) fn item(&self, index: u64) -> Self {
        self.step(&index.to_string())
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
        // The names in the arguments of a call are those of the tool.
        let is_known =
            |key: &str| kind != FieldKind::ToolArguments && (is_known_key(key) || is_known_here(key));
        let key = || self.document.nearest_key(node).map(|key| self.document.decoded(key));
        let is_left_out = match self.document.kind(node) {
            Kind::String => key().is_some_and(|key| is_word(&key, &self.document.decoded(node))),
            Kind::Key => is_known(&self.document.decoded(node)),
            Kind::Number => key().is_some_and(|key| is_known(&key)),
            Kind::Object | Kind::Array | Kind::True | Kind::False | Kind::Null => true,
        };
        if !is_left_out {
            self.field(node, kind);
        }
    }

    fn field(&mut self, node: NodeId, kind: FieldKind) {
        let text = match self.document.kind(node) {
            Kind::Number => std::borrow::Cow::Borrowed(self.document.raw(node)),
            _ => self.document.decoded(node),
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
        match self.document.kind(value) {
            Kind::String if at.continues => self.piece(value, kind, at, false),
            // Under a name that the protocol knows, but not as it has it.
            Kind::Number => self.field(value, kind),
            Kind::Object | Kind::Array if at.continues => self.flowing(value, kind, at),
            _ => self.everything(value, kind),
        }
    }

    /// A member that the protocol does not know, of an object that may come in pieces.
    pub(super) fn unknown(&mut self, key: NodeId, value: NodeId, at: &At) {
        self.visit(key, FieldKind::Key);
        if at.continues {
            let at = at.below(&self.document.decoded(key));
            self.flowing(value, FieldKind::Unknown, &at);
        } else {
            self.everything(value, FieldKind::Unknown);
        }
    }

    /// Everything below a node of a delta: clients put strings together wherever they stand, ids and types apart.
    fn flowing(&mut self, node: NodeId, kind: FieldKind, at: &At) {
        // The containers that the walk is in, each with its place.
        let mut open: Vec<(NodeId, At)> = Vec::new();
        for below in self.document.subtree(node) {
            let of = self.document.kind(below);
            if !matches!(of, Kind::String | Kind::Object | Kind::Array) {
                self.visit(below, kind);
                continue;
            }
            let parent = self.document.parent(below);
            while open.last().is_some_and(|(container, _)| Some(*container) != parent) {
                open.pop();
            }
            let key = self.document.key(below).map(|key| self.document.decoded(key));
            let place = match (open.last(), &key) {
                (None, _) => at.clone(),
                (Some((_, around)), Some(key)) => around.below(key),
                (Some((_, around)), None) => around.item(self.document.slot(below) as u64),
            };
            if of != Kind::String {
                open.push((below, place));
            } else if below != node && key.is_some_and(|key| self.is_said_at_once(&key, below)) {
                self.visit(below, kind);
            } else {
                self.piece(below, kind, &place, false);
            }
        }
    }

    /// What no client puts together from pieces.
    fn is_said_at_once(&self, key: &str, value: NodeId) -> bool {
        matches!(key, "type" | "id" | "role" | "status" | "format")
            || is_word(key, &self.document.decoded(value))
    }

    fn piece(&mut self, value: NodeId, kind: FieldKind, at: &At, is_probability: bool) {
        let before = self.fields.len();
        self.field(value, kind);
        if self.fields.len() > before {
            let channel = Channel { pointer: at.pointer.clone(), group: at.group, kind, is_twin: at.is_twin };
            self.streamed.push(Streamed { field: before, channel, is_probability });
        }
    }

    /// Log probabilities: the tokens of a text, which are read as that text once more, and those that stood beside them
    /// to choose from, each by itself.
    pub(super) fn probabilities(&mut self, value: NodeId, at: &At) {
        if !matches!(self.document.kind(value), Kind::Object | Kind::Array) {
            self.word(value);
            return;
        }
        self.probabilities.push(value);
        for below in self.document.subtree(value) {
            match self.document.kind(below) {
                Kind::Key => self.visit(below, FieldKind::Key),
                Kind::String => match self.list_of_token(below) {
                    Some((_, name)) if at.continues => {
                        self.piece(below, FieldKind::Content, &at.below(&name), true);
                    }
                    Some((list, _)) => {
                        let before = self.fields.len();
                        self.field(below, FieldKind::Content);
                        if self.fields.len() > before {
                            self.pieces.push(Piece::new(list, FieldKind::Content, before));
                        }
                    }
                    None => self.visit(below, FieldKind::Unknown),
                },
                _ => {}
            }
        }
    }

    /// The list that a token of the text stands in, and its name.
    fn list_of_token(&self, token: NodeId) -> Option<(NodeId, String)> {
        let key = self.document.nearest_key(token)?;
        if self.document.is_key(key, "tokens") {
            return Some((self.document.parent(token)?, "tokens".to_owned()));
        }
        let list = self.document.parent(self.document.parent(key)?)?;
        let name = self.document.nearest_key(list).map(|key| self.document.decoded(key))?;
        (self.document.is_key(key, "token") && name != "top_logprobs").then(|| (list, name.into_owned()))
    }

    pub(super) fn number(&self, object: NodeId, key: &str) -> Option<u64> {
        self.document.unsigned(self.document.get(object, key)?)
    }

    /// The index that an object names: as a number, or as what clients take for one.
    fn index(&self, object: NodeId, position: u64) -> u64 {
        let Some(value) = self.document.get(object, "index") else { return position };
        let whole = |text: &str| text.strip_suffix(".0").unwrap_or(text).parse().ok();
        match self.document.kind(value) {
            Kind::Number => whole(self.document.raw(value)),
            Kind::String => whole(&self.document.decoded(value)),
            _ => None,
        }
        .unwrap_or(position)
    }

    fn chat(&mut self, root: NodeId) {
        let mut members = self.document.children(root, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            match &*self.document.decoded(key) {
                "choices" => self.choices(value),
                // Agents have theirs at the top.
                "delta" => {
                    let continues = self.form == Form::Event;
                    let at = At::new("/message", 0, continues);
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
        let mut position = 0;
        while let Some(choice) = choices.step(&self.document) {
            if self.document.kind(choice) == Kind::Object {
                self.choice(choice, position);
            } else {
                self.everything(choice, FieldKind::Unknown);
            }
            position += 1;
        }
    }

    fn choice(&mut self, choice: NodeId, position: u64) {
        let group = self.index(choice, position);
        let at = At::new(format!("/choices/{group}"), group, self.form == Form::Event);
        let mut members = self.document.children(choice, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            match &*self.document.decoded(key) {
                "delta" => self.message(value, &at.below("message")),
                "message" => self.message(value, &At { is_twin: true, ..at.below("message") }),
                "text" => self.text(value, FieldKind::Content, &at.below("text")),
                "logprobs" => self.probabilities(value, &at.below("logprobs")),
                "finish_reason" => {
                    // Some say an empty one in every event.
                    if self.document.string(value).is_some_and(|reason| !reason.is_empty()) {
                        self.ends.push(Ended::Group(group));
                    }
                    self.word(value);
                }
                "index" | "stop_reason" | "native_finish_reason" => self.word(value),
                _ => self.unknown(key, value, &at),
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
                _ => self.unknown(key, value, at),
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
            "reasoning" | "thinking" | "redacted_thinking" => (FieldKind::Reasoning, at.step(&named)),
            _ if is_word("type", &named) => (kind, at.step(&named)),
            _ => (kind, at.step("other")),
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
                "logprobs" => self.probabilities(value, &at.below("logprobs")),
                _ => self.unknown(key, value, &at),
            }
        }
    }

    fn calls(&mut self, list: NodeId, at: &At) {
        if self.document.kind(list) != Kind::Array {
            self.text(list, FieldKind::ToolArguments, at);
            return;
        }
        let mut calls = self.document.children(list, Kind::Array);
        let mut position = 0;
        while let Some(call) = calls.step(&self.document) {
            let at = at.item(self.index(call, position));
            position += 1;
            if self.document.kind(call) == Kind::Object {
                self.call(call, &at);
            } else {
                self.text(call, FieldKind::ToolArguments, &at);
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
                _ => self.unknown(key, value, at),
            }
        }
    }

    fn function(&mut self, function: NodeId, at: &At) {
        if self.document.kind(function) != Kind::Object {
            self.text(function, FieldKind::ToolArguments, at);
            return;
        }
        let mut members = self.document.children(function, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            let name = self.document.decoded(key);
            match &*name {
                "name" => self.text(value, FieldKind::Name, &at.below("name")),
                "arguments" | "input" => self.text(value, FieldKind::ToolArguments, &at.below(&name)),
                _ => self.unknown(key, value, at),
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
                _ => self.unknown(key, value, at),
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
pub(crate) fn is_known_here(key: &str) -> bool {
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
            | "token"
            | "tokens"
            | "logprob"
            | "token_logprobs"
            | "text_offset"
            | "tool_calls"
    )
}
