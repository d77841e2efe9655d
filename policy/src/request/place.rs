//! The name of a place in a request, fit for records and answers.

use std::{borrow::Cow, sync::Arc};

use super::{Request, vocabulary};
use crate::json::{self, Document, Kind, NodeId, Step};

/// Longer keys are never spelled.
const LONGEST_SPELLED_KEY: usize = 32;
/// Keys with more digits than this are never spelled.
const MOST_DIGITS: usize = 4;

/// Where something stands: never a text of the request.
///
/// A key that the gateway does not know may itself be text. It is spelled only when it is short, looks like an
/// identifier and nothing was found in it; otherwise `#3` names it by its place among the members of its object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// JSON Pointer (RFC 6901): `/messages/7/content`.
    pub pointer: Arc<str>,
    /// The same as OpenAI's errors have it: `messages[7].content`.
    pub param: Arc<str>,
    /// The place is the key of the member, not its value.
    pub in_key: bool,
}

impl Request<'_> {
    /// The place of a node. `found` tells whether something was found in a key.
    pub(crate) fn place(&self, node: NodeId, found: impl Fn(NodeId) -> bool) -> Place {
        Place::of(self.document(), node, found)
    }
}

impl Place {
    /// The place of a node. `found` tells whether something was found in a key.
    pub(crate) fn of(document: &Document<'_>, node: NodeId, found: impl Fn(NodeId) -> bool) -> Self {
        let (mut pointer, mut param) = (String::new(), String::new());
        for step in document.steps(node) {
            match step {
                Step::Index(index) => {
                    json::push_index(index, &mut pointer);
                    json::push_param_index(index, &mut param);
                }
                Step::Key(key) => {
                    let name = document.decoded(key);
                    let name = if may_be_spelled(&name) && !found(key) {
                        name
                    } else {
                        Cow::Owned(format!("#{}", document.slot(key)))
                    };
                    json::push_pointer(&name, &mut pointer);
                    json::push_param(&name, &mut param);
                }
            }
        }
        let in_key = document.kind(node) == Kind::Key;
        Self { pointer: Arc::from(pointer), param: Arc::from(param), in_key }
    }
}

fn may_be_spelled(key: &str) -> bool {
    vocabulary::is_known_key(key)
        || (key.len() <= LONGEST_SPELLED_KEY
            && key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            && key.bytes().filter(u8::is_ascii_digit).count() <= MOST_DIGITS)
}
