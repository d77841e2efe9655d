//! The name of a node: JSON Pointer (RFC 6901), and the form that OpenAI's errors use (`messages[7].content`).

use std::fmt::Write as _;

use super::{Document, Kind, NodeId};

/// One step from a container to what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The member with this key.
    Key(NodeId),
    /// The value at this place of an array.
    Index(usize),
}

impl Document<'_> {
    /// The steps from the root to a node. A key has the steps of its value.
    pub(crate) fn steps(&self, id: NodeId) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = id;
        while let Some(parent) = self.parent(at) {
            steps.push(match (self.kind(parent), self.kind(at)) {
                (Kind::Object, Kind::Key) => Step::Key(at),
                (Kind::Object, _) => self.key(at).map_or(Step::Index(self.slot(at)), Step::Key),
                _ => Step::Index(self.slot(at)),
            });
            at = parent;
        }
        steps.reverse();
        steps
    }

    /// The JSON Pointer of a node; of a key, that of its value. Spells every key: not for records.
    pub fn pointer(&self, id: NodeId) -> String {
        let mut pointer = String::new();
        for step in self.steps(id) {
            match step {
                Step::Key(key) => push_pointer(&self.decoded(key), &mut pointer),
                Step::Index(index) => push_index(index, &mut pointer),
            }
        }
        pointer
    }

    /// The name of a node as OpenAI's errors have it: `messages[7].content`. Spells every key: not for records.
    pub fn param(&self, id: NodeId) -> String {
        let mut param = String::new();
        for step in self.steps(id) {
            match step {
                Step::Key(key) => push_param(&self.decoded(key), &mut param),
                Step::Index(index) => push_param_index(index, &mut param),
            }
        }
        param
    }
}

pub(crate) fn push_pointer(key: &str, out: &mut String) {
    out.push('/');
    for character in key.chars() {
        match character {
            '~' => out.push_str("~0"),
            '/' => out.push_str("~1"),
            other => out.push(other),
        }
    }
}

pub(crate) fn push_index(index: usize, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, "/{index}");
}

pub(crate) fn push_param(key: &str, out: &mut String) {
    if !out.is_empty() {
        out.push('.');
    }
    out.push_str(key);
}

pub(crate) fn push_param_index(index: usize, out: &mut String) {
    let _ = write!(out, "[{index}]");
}
