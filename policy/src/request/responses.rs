//! The body of responses.

use super::{
    FieldKind, RequestError,
    walk::{Walker, invalid},
};
use crate::{
    detect::Origin,
    json::{Kind, NodeId},
};

impl Walker<'_> {
    pub(super) fn responses(&mut self, root: NodeId) -> Result<(), RequestError> {
        let mut members = self.document.children(root, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            if self.document.is_key(key, "input") {
                self.response_input(value)?;
            } else if self.document.is_key(key, "instructions") {
                self.content_or_items(value, FieldKind::Instructions, Origin::Operator)?;
            } else if self.document.is_key(key, "text") {
                self.everything(value, FieldKind::ResponseFormat, Origin::Operator);
            } else if self.document.is_key(key, "prompt") {
                // A stored prompt and the values of its variables.
                self.everything(value, FieldKind::Prompt, Origin::User);
            } else {
                self.common(key, value)?;
            }
        }
        Ok(())
    }

    fn response_input(&mut self, value: NodeId) -> Result<(), RequestError> {
        match self.document.kind(value) {
            Kind::String | Kind::Array => self.content_or_items(value, FieldKind::Content, Origin::User),
            Kind::Null => Ok(()),
            _ => Err(invalid("input", "a string or a list of items")),
        }
    }

    fn content_or_items(
        &mut self,
        value: NodeId,
        kind: FieldKind,
        origin: Origin,
    ) -> Result<(), RequestError> {
        if self.document.kind(value) != Kind::Array {
            self.everything(value, kind, origin);
            return Ok(());
        }
        let items: Vec<_> = self.document.items(value).collect();
        for (index, item) in items.into_iter().enumerate() {
            self.item(value, item, index, kind, origin)?;
        }
        Ok(())
    }

    fn item(
        &mut self,
        list: NodeId,
        item: NodeId,
        index: usize,
        kind: FieldKind,
        origin: Origin,
    ) -> Result<(), RequestError> {
        let from = self.fields.len();
        match self.document.kind(item) {
            Kind::Object => {}
            Kind::Number => {
                self.token_ids.get_or_insert(item);
                return Ok(());
            }
            _ => {
                self.everything(item, kind, origin);
                self.piece(list, item, kind, from);
                return Ok(());
            }
        }
        let item_type =
            self.document.get(item, "type").and_then(|value| self.document.string(value)).unwrap_or_default();
        match &*item_type {
            "message" => return self.message(item, || format!("input[{index}]")),
            "" if self.document.get(item, "role").is_some() => {
                return self.message(item, || format!("input[{index}]"));
            }
            "reasoning" => {
                self.holder(item, &["summary", "content"], FieldKind::Reasoning, Origin::Assistant);
            }
            "image_generation_call" => self.generated_image(item),
            other if other.ends_with("_output") => self.call_output(item),
            other if other.ends_with("_call") => self.calls(item),
            // Definitions that a remote server gave.
            "mcp_list_tools" => {
                if let Some(list) = self.document.get(item, "tools") {
                    self.note_tools(list, &format!("input[{index}].tools"))?;
                }
                self.everything(item, FieldKind::ToolDefinition, Origin::Data);
            }
            _ => {
                self.everything(item, FieldKind::Unknown, Origin::Data);
                self.piece(list, item, kind, from);
            }
        }
        Ok(())
    }

    /// The result of a call: a text or a list of parts.
    fn call_output(&mut self, item: NodeId) {
        let mut members = self.document.children(item, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            if self.document.is_key(key, "output") {
                self.content(value, FieldKind::ToolResult, Origin::Data);
            } else if self.document.is_key(key, "call_id") || self.document.is_key(key, "id") {
                self.everything(value, FieldKind::Identifier, Origin::Other);
            } else {
                self.visit(key, FieldKind::Key, Origin::Other);
                self.everything(value, FieldKind::ToolResult, Origin::Data);
            }
        }
    }

    /// An image that the provider made in an earlier turn: base64 under `result`.
    fn generated_image(&mut self, item: NodeId) {
        let mut members = self.document.children(item, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            if self.document.is_key(key, "result") {
                self.image_result(value);
            } else {
                self.visit(key, FieldKind::Key, Origin::Other);
                self.everything(value, FieldKind::Unknown, Origin::Assistant);
            }
        }
    }
}
