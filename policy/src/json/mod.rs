//! JSON, read once, with the exact place of everything in it.
//!
//! Why not `serde_json`: a gateway that keeps bytes as they came needs to know where each text stands, so that an edit
//! replaces a span and nothing else; and it must read a request exactly once, in one flat allocation, refusing what
//! two readers could understand differently (duplicate keys, lone surrogates, numbers beyond a double, a byte order
//! mark). `serde_json` gives neither spans nor duplicates.
//!
//! What must hold:
//! - whatever [`Document::parse`] accepts, `serde_json` accepts with the same value; whatever `serde_json` refuses, it
//!   refuses (a property test);
//! - time is linear in the input, up to a logarithm for objects with many keys, whatever the input;
//! - nothing panics; a failure is a [`JsonError`] with its byte offset, and holds no text of the input.
//!
//! Nodes lie in one vector in the order of the text: a container, then what is in it; the members of an object as key,
//! value, key, value. A subtree is therefore a range.

mod error;
mod parse;
mod path;
mod scan;
#[cfg(test)]
mod tests;
mod text;

use std::{borrow::Cow, fmt};

pub use error::{JsonError, JsonErrorKind};
pub(crate) use path::{Step, push_index, push_param, push_param_index, push_pointer};
pub use text::{OffsetMap, escape_into, unescape};

/// What a document may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Containers inside each other.
    pub depth: u32,
    /// Values and keys together.
    pub nodes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 64, nodes: 500_000 }
    }
}

/// How strictly a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A request: RFC 8259, one value, no duplicate keys.
    Strict,
    /// An answer, or an event of one: one value, no duplicate keys (a client reads one of them, and which texts go on in
    /// which then depends on the client), otherwise as lenient as clients are.
    Answer,
    /// A text inside a request that somebody else will read as JSON, perhaps a lenient reader: several values in a row,
    /// duplicate keys, lone surrogates, `NaN` and `Infinity` are read too, so that nothing hides behind them.
    Lenient,
}

/// A node of a [`Document`]; valid for the document that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// The key of a member; the node after it is the value.
    Key,
    /// `"…"`
    String,
    /// `12`, `-1.5e3`
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// First byte; of a string, its quote.
    start: u32,
    /// One past the last byte.
    end: u32,
    /// The node after this subtree.
    next: u32,
    /// The container, or `NONE`.
    parent: u32,
    /// How many values (or members) stand before it in its container.
    slot: u32,
    kind: Kind,
    /// A string or key with escapes.
    escaped: bool,
}

/// A parsed text. Its debug form tells sizes, never the text.
#[derive(Clone)]
pub struct Document<'b> {
    text: &'b str,
    nodes: Vec<Node>,
}

impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("bytes", &self.text.len()).field("nodes", &self.nodes.len()).finish()
    }
}

impl<'b> Document<'b> {
    /// Reads `body` as one JSON value in UTF-8.
    ///
    /// # Errors
    /// [`JsonError`] for anything but strict RFC 8259 within `limits`, duplicate keys included.
    pub fn parse(body: &'b [u8], limits: Limits) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(body)
            .map_err(|error| JsonError::new(JsonErrorKind::InvalidUtf8, error.valid_up_to()))?;
        Self::parse_text(text, limits, Reading::Strict, Vec::new())
    }

    /// Reads `text`; `nodes` is a vector whose memory is used again.
    pub(crate) fn parse_text(
        text: &'b str,
        limits: Limits,
        reading: Reading,
        nodes: Vec<Node>,
    ) -> Result<Self, JsonError> {
        parse::parse(text, limits, reading, nodes).map(|nodes| Self { text, nodes })
    }

    /// Gives the memory of the nodes back for another [`Document::parse_text`].
    pub(crate) fn into_nodes(self) -> Vec<Node> {
        self.nodes
    }

    /// The text that was parsed.
    pub const fn text(&self) -> &'b str {
        self.text
    }

    /// The value of the document.
    pub const fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// All nodes in the order of the text.
    pub fn all(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.nodes.len()).unwrap_or(NONE)).map(NodeId)
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.index())
    }

    /// What the node is; `Null` for a node of another document.
    pub fn kind(&self, id: NodeId) -> Kind {
        self.node(id).map_or(Kind::Null, |node| node.kind)
    }

    /// The bytes of the node, quotes included.
    pub fn span(&self, id: NodeId) -> std::ops::Range<usize> {
        self.node(id).map_or(0..0, |node| node.start as usize..node.end as usize)
    }

    /// The bytes of the node as written.
    pub fn raw(&self, id: NodeId) -> &'b str {
        self.text.get(self.span(id)).unwrap_or_default()
    }

    /// The bytes between the quotes of a string or key; the whole of anything else.
    pub fn content_span(&self, id: NodeId) -> std::ops::Range<usize> {
        let span = self.span(id);
        match self.kind(id) {
            Kind::String | Kind::Key => span.start.saturating_add(1)..span.end.saturating_sub(1),
            _ => span,
        }
    }

    /// What stands between the quotes, still escaped.
    pub fn content(&self, id: NodeId) -> &'b str {
        self.text.get(self.content_span(id)).unwrap_or_default()
    }

    /// Whether a string or key was written with escapes.
    pub fn is_escaped(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|node| node.escaped)
    }

    /// The decoded text of a string or key, borrowed when it has no escapes; the written form of anything else.
    pub fn decoded(&self, id: NodeId) -> Cow<'b, str> {
        let content = self.content(id);
        if self.is_escaped(id) { unescape(content) } else { Cow::Borrowed(content) }
    }

    /// The decoded text of a string; `None` for anything else.
    pub fn string(&self, id: NodeId) -> Option<Cow<'b, str>> {
        (self.kind(id) == Kind::String).then(|| self.decoded(id))
    }

    /// A number without sign, fraction and exponent that fits.
    pub fn unsigned(&self, id: NodeId) -> Option<u64> {
        (self.kind(id) == Kind::Number).then(|| self.raw(id).parse().ok()).flatten()
    }

    /// `true` or `false`; `None` for anything else.
    pub fn boolean(&self, id: NodeId) -> Option<bool> {
        match self.kind(id) {
            Kind::True => Some(true),
            Kind::False => Some(false),
            _ => None,
        }
    }

    /// The container of the node.
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).map(|node| node.parent).filter(|parent| *parent != NONE).map(NodeId)
    }

    /// How many values (of an array) or members (of an object) stand before it in its container.
    pub fn slot(&self, id: NodeId) -> usize {
        self.node(id).map_or(0, |node| node.slot as usize)
    }

    /// The key of a value that stands in an object.
    pub fn key(&self, id: NodeId) -> Option<NodeId> {
        let parent = self.parent(id)?;
        if self.kind(parent) != Kind::Object || self.kind(id) == Kind::Key {
            return None;
        }
        id.0.checked_sub(1).map(NodeId)
    }

    /// The key that a value belongs to: its own, or that of the arrays it stands in (a few levels of them).
    pub fn nearest_key(&self, id: NodeId) -> Option<NodeId> {
        // Bounded, so that many values in deep arrays cost no more than their number.
        const LEVELS: usize = 8;
        let mut at = id;
        for _ in 0..LEVELS {
            if let Some(key) = self.key(at) {
                return Some(key);
            }
            at = self.parent(at).filter(|parent| self.kind(*parent) == Kind::Array)?;
        }
        None
    }

    /// The node and everything in it, in the order of the text.
    pub fn subtree(&self, id: NodeId) -> impl Iterator<Item = NodeId> + use<> {
        let end = self.node(id).map_or(id.0, |node| node.next);
        (id.0..end).map(NodeId)
    }

    /// The members of an object as (key, value); empty for anything else.
    pub fn members(&self, id: NodeId) -> Members<'_, 'b> {
        Members { document: self, cursor: self.children(id, Kind::Object) }
    }

    /// The values of an array; empty for anything else.
    pub fn items(&self, id: NodeId) -> Items<'_, 'b> {
        Items { document: self, cursor: self.children(id, Kind::Array) }
    }

    /// A cursor over the children of a container of `kind`; over nothing for anything else.
    pub(crate) fn children(&self, id: NodeId, kind: Kind) -> Cursor {
        match self.node(id) {
            Some(node) if node.kind == kind => Cursor { at: id.0.saturating_add(1), end: node.next },
            _ => Cursor { at: 0, end: 0 },
        }
    }

    /// The value under `key` in an object.
    pub fn get(&self, object: NodeId, key: &str) -> Option<NodeId> {
        self.members(object).find(|(name, _)| self.is_key(*name, key)).map(|(_, value)| value)
    }

    /// Whether a key, decoded, is `name`.
    pub fn is_key(&self, key: NodeId, name: &str) -> bool {
        if self.is_escaped(key) { self.decoded(key) == name } else { self.content(key) == name }
    }
}

/// A place among the children of a container, for whoever changes things while walking.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    at: u32,
    end: u32,
}

impl Cursor {
    /// The next member of an object.
    pub(crate) fn member(&mut self, document: &Document<'_>) -> Option<(NodeId, NodeId)> {
        Some((self.step(document)?, self.step(document)?))
    }

    /// The next value of an array.
    pub(crate) fn step(&mut self, document: &Document<'_>) -> Option<NodeId> {
        if self.at >= self.end {
            return None;
        }
        let id = NodeId(self.at);
        self.at = document.node(id)?.next;
        Some(id)
    }
}

/// The members of an object.
#[derive(Debug, Clone)]
pub struct Members<'d, 'b> {
    document: &'d Document<'b>,
    cursor: Cursor,
}

impl Iterator for Members<'_, '_> {
    type Item = (NodeId, NodeId);

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.member(self.document)
    }
}

/// The values of an array.
#[derive(Debug, Clone)]
pub struct Items<'d, 'b> {
    document: &'d Document<'b>,
    cursor: Cursor,
}

impl Iterator for Items<'_, '_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.step(self.document)
    }
}
