//! The bodies of completions and embeddings.

use super::{
    FieldKind, RequestError, RequestErrorKind,
    walk::{Walker, invalid},
};
use crate::{
    detect::Origin,
    json::{Kind, NodeId},
};

impl Walker<'_> {
    pub(super) fn completions(&mut self, root: NodeId) -> Result<(), RequestError> {
        let mut found = false;
        let mut members = self.document.children(root, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            if self.document.is_key(key, "prompt") {
                found = true;
                self.prompts = self.text_or_tokens(value, "prompt", FieldKind::Prompt)?;
            } else if self.document.is_key(key, "suffix") {
                self.everything(value, FieldKind::Prompt, Origin::User);
            } else {
                self.common(key, value)?;
            }
        }
        // OpenAI lets `prompt` be absent; there is nothing to complete then.
        if found { Ok(()) } else { Err(RequestError::new(RequestErrorKind::Missing, "prompt")) }
    }

    pub(super) fn embeddings(&mut self, root: NodeId) -> Result<(), RequestError> {
        let mut found = false;
        let mut members = self.document.children(root, Kind::Object);
        while let Some((key, value)) = members.member(&self.document) {
            if self.document.is_key(key, "input") {
                found = true;
                self.text_or_tokens(value, "input", FieldKind::Input)?;
            } else if self.document.is_key(key, "instruction") {
                self.everything(value, FieldKind::Instructions, Origin::Operator);
            } else {
                self.common(key, value)?;
            }
        }
        if found { Ok(()) } else { Err(RequestError::new(RequestErrorKind::Missing, "input")) }
    }

    /// A text, a list of texts, a list of token ids, or a list of such lists. Returns how many inputs there are.
    fn text_or_tokens(
        &mut self,
        value: NodeId,
        param: &'static str,
        kind: FieldKind,
    ) -> Result<u64, RequestError> {
        const EXPECTED: &str = "a string or a list of strings";
        let mut inputs = 0;
        match self.document.kind(value) {
            Kind::String => {
                self.visit(value, kind, Origin::User);
                return Ok(1);
            }
            Kind::Array => {}
            _ => return Err(invalid(param, EXPECTED)),
        }
        let mut flat_tokens = false;
        let mut items = self.document.children(value, Kind::Array);
        while let Some(item) = items.step(&self.document) {
            match self.document.kind(item) {
                Kind::String => {
                    inputs += 1;
                    self.visit(item, kind, Origin::User);
                }
                Kind::Number => {
                    flat_tokens = true;
                    self.token_ids.get_or_insert(value);
                }
                Kind::Array => {
                    inputs += 1;
                    if !self.document.items(item).all(|token| self.document.kind(token) == Kind::Number) {
                        return Err(invalid(param, EXPECTED));
                    }
                    self.token_ids.get_or_insert(value);
                }
                _ => return Err(invalid(param, EXPECTED)),
            }
        }
        Ok(inputs + u64::from(flat_tokens))
    }
}
