//! The body of chat completions.

use super::{
    FieldKind, RequestError, RequestErrorKind, vocabulary,
    walk::{Walker, invalid, wrong_type},
};
use crate::{
    detect::Origin,
    json::{Kind, NodeId},
};

impl Walker<'_> {
    pub(super) fn chat(&mut self, root: NodeId) -> Result<(), RequestError> {
        let mut messages = None;
        let mut members = self.document.children(root, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            if self.document.is_key(key, "messages") {
                messages = Some(value);
                self.messages(value)?;
            } else if self.document.is_key(key, "prediction") {
                self.prediction(value);
            } else {
                self.common(key, value)?;
            }
        }
        if messages.is_none() {
            return Err(RequestError::new(RequestErrorKind::Missing, "messages"));
        }
        Ok(())
    }

    fn messages(&mut self, list: NodeId) -> Result<(), RequestError> {
        if self.document.kind(list) != Kind::Array {
            return Err(wrong_type("messages", "a list"));
        }
        let items: Vec<_> = self.document.items(list).collect();
        if items.is_empty() {
            return Err(invalid("messages", "a list with at least one message"));
        }
        for (index, message) in items.into_iter().enumerate() {
            self.message(message, || format!("messages[{index}]"))?;
        }
        Ok(())
    }

    /// A message with a role, here or as an item of responses. `name` gives its place for errors.
    pub(super) fn message(&mut self, message: NodeId, name: impl Fn() -> String) -> Result<(), RequestError> {
        if self.document.kind(message) != Kind::Object {
            return Err(wrong_type(name(), "an object"));
        }
        let role_param = || format!("{}.role", name());
        let Some(role) = self.document.get(message, "role") else {
            return Err(RequestError::new(RequestErrorKind::Missing, role_param()));
        };
        let Some(role) = self.document.string(role) else {
            return Err(wrong_type(role_param(), "a string"));
        };
        if !vocabulary::is_role(&role) {
            return Err(invalid(role_param(), "one of system, developer, user, assistant, tool"));
        }
        let origin = match &*role {
            "system" | "developer" => Origin::Operator,
            "user" => Origin::User,
            "assistant" => Origin::Assistant,
            _ => Origin::Data,
        };
        let content_kind = if origin == Origin::Data { FieldKind::ToolResult } else { FieldKind::Content };
        let mut members = self.document.children(message, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            let member = self.document.decoded(key);
            match &*member {
                "role" => {}
                "content" => self.content(value, content_kind, origin),
                "name" => self.everything(value, FieldKind::Name, Origin::Other),
                "refusal" => self.everything(value, FieldKind::Refusal, origin),
                "reasoning_content" | "reasoning" | "reasoning_details" | "thinking" => {
                    self.content(value, FieldKind::Reasoning, origin);
                }
                "tool_calls" | "function_call" => self.calls(value),
                "tool_call_id" | "id" => self.everything(value, FieldKind::Identifier, Origin::Other),
                _ => {
                    self.visit(key, FieldKind::Key, Origin::Other);
                    self.everything(value, FieldKind::Unknown, origin);
                }
            }
        }
        Ok(())
    }

    /// A string, a list of parts, or whatever else stands there.
    pub(super) fn content(&mut self, value: NodeId, kind: FieldKind, origin: Origin) {
        if self.document.kind(value) != Kind::Array {
            self.everything(value, kind, origin);
            return;
        }
        let mut parts = self.document.children(value, Kind::Array);
        while let Some(part) = parts.step(&self.document) {
            self.part(value, part, kind, origin);
        }
    }

    fn part(&mut self, list: NodeId, part: NodeId, kind: FieldKind, origin: Origin) {
        let from = self.fields.len();
        let part_type =
            self.document.get(part, "type").and_then(|value| self.document.string(value)).unwrap_or_default();
        match &*part_type {
            "image_url" | "input_image" | "image" => self.attachment(part, "image/*", origin),
            "input_audio" => self.attachment(part, "audio/*", origin),
            "file" | "input_file" | "document" => self.attachment(part, "*/*", origin),
            "refusal" => {
                self.everything(part, FieldKind::Refusal, origin);
                self.piece(list, part, FieldKind::Refusal, from);
            }
            "reasoning" | "thinking" | "redacted_thinking" => {
                self.holder(part, &["summary", "content"], FieldKind::Reasoning, origin);
                self.piece(list, part, FieldKind::Reasoning, from);
            }
            "tool_use" => self.everything(part, FieldKind::ToolArguments, Origin::Assistant),
            "tool_result" => self.holder(part, &["content"], FieldKind::ToolResult, Origin::Data),
            _ => {
                self.everything(part, kind, origin);
                self.piece(list, part, kind, from);
            }
        }
    }

    /// Calls that the model made in an earlier turn.
    pub(super) fn calls(&mut self, value: NodeId) {
        for node in self.document.subtree(value) {
            let key = self.document.nearest_key(node);
            let named = |name| key.is_some_and(|key| self.document.is_key(key, name));
            let kind = if named("id") || named("call_id") {
                FieldKind::Identifier
            } else {
                FieldKind::ToolArguments
            };
            self.visit(node, kind, Origin::Assistant);
        }
    }

    /// Text that is expected to come back for the most part: a file, say.
    fn prediction(&mut self, value: NodeId) {
        self.holder(value, &["content"], FieldKind::Content, Origin::Data);
    }
}
