//! Every text that content policies read: the fields of a request, and what is inside fields that are JSON themselves.
//!
//! A field whose text is JSON (tool arguments, tool results, a document in a prompt) is read twice: as a whole, and by
//! key and decoded leaf, because a value may be disguised by escapes and a pattern may span structure. Leaves that are
//! JSON again are taken apart in the same way, up to [`MAX_LEVEL`]; what lies deeper is an error, never a gap.
//!
//! The table is flat: an entry points at its parent by index, its text lies in the request or in one common buffer.
//! Children of an entry are consecutive, in the order of the text, and always behind it. The first entries are the
//! fields, each at its own index.

use std::{borrow::Cow, fmt, ops::Range};

use super::joined::Joined;
use crate::{
    detect::Origin,
    json::{Document, JsonErrorKind, Kind, Limits, Node, NodeId, Reading},
    request::{FieldKind, Inspected},
};

/// Levels of JSON inside JSON that are taken apart.
pub(super) const MAX_LEVEL: u8 = 8;
/// Keys and leaves inside texts, of one request.
const MAX_ENTRIES: usize = 500_000;
/// Beyond any reader's own limit; the parser does not recurse.
const NESTED_LIMITS: Limits = Limits { depth: 4096, nodes: 500_000 };

/// What texts are taken from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Body(Inspected<'a>),
    Plain(&'a str),
    /// A text of an answer that comes in pieces; `json`: it is taken apart where it is JSON.
    Streamed {
        text: &'a str,
        json: bool,
    },
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body(_) => "Body",
            Self::Plain(_) => "Plain",
            Self::Streamed { .. } => "Streamed",
        })
    }
}

impl<'a> Source<'a> {
    fn len(self) -> usize {
        match self {
            Self::Body(body) => body.fields.len(),
            Self::Plain(_) | Self::Streamed { .. } => 1,
        }
    }

    pub(super) fn text(self, field: usize) -> &'a str {
        match self {
            Self::Body(body) => body.fields.get(field).map_or("", |field| &field.text),
            Self::Plain(text) | Self::Streamed { text, .. } => text,
        }
    }

    pub(super) fn origin(self, field: usize) -> Origin {
        match self {
            Self::Body(body) => body.fields.get(field).map_or(Origin::Other, |field| field.origin),
            Self::Plain(_) => Origin::User,
            Self::Streamed { .. } => Origin::Assistant,
        }
    }

    /// The key of a value that stands in a part of the request that the protocol does not know.
    fn key(self, field: usize) -> Option<Cow<'a, str>> {
        let Self::Body(body) = self else { return None };
        let field = body.fields.get(field)?;
        matches!(field.kind, FieldKind::Metadata | FieldKind::Unknown | FieldKind::ToolArguments)
            .then(|| body.document.nearest_key(field.node))
            .flatten()
            .map(|key| body.document.decoded(key))
    }

    fn leaf(self, field: usize) -> Leaf {
        let Self::Body(body) = self else { return Leaf::String };
        let kind = body.fields.get(field).map(|field| body.document.kind(field.node));
        match kind {
            Some(Kind::Key) => Leaf::Key,
            Some(Kind::Number) => Leaf::Number,
            _ => Leaf::String,
        }
    }

    /// The node of a field in the request.
    pub(super) fn node(self, field: usize) -> Option<NodeId> {
        match self {
            Self::Body(body) => body.fields.get(field).map(|field| field.node),
            Self::Plain(_) | Self::Streamed { .. } => None,
        }
    }

    /// Whether texts that are JSON are taken apart.
    const fn takes_apart(self) -> bool {
        !matches!(self, Self::Streamed { json: false, .. })
    }
}

/// What an entry is in the JSON around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    String,
    Key,
    Number,
    /// `true`, `false`, `null`: not scanned, but masked when a finding covers nothing else.
    Literal,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) field: u32,
    /// The entry whose text it stands in; `None` for a field itself.
    pub(super) parent: Option<u32>,
    pub(super) leaf: Leaf,
    pub(super) escaped: bool,
    /// Its text is JSON, taken apart into children (none in `{}`).
    pub(super) json: bool,
    /// The object that it is a key of, in the JSON that it stands in.
    pub(super) object: Option<NodeId>,
    level: u8,
    key: Option<u32>,
    /// Where its content stands in the text of the parent.
    raw: (u32, u32),
    /// Its decoded text in the buffer.
    text: (u32, u32),
    children: (u32, u32),
}

impl Entry {
    pub(super) fn raw(&self) -> Range<usize> {
        self.raw.0 as usize..self.raw.1 as usize
    }

    pub(super) fn children(&self) -> Range<usize> {
        self.children.0 as usize..self.children.1 as usize
    }
}

/// More memory than this is not kept for the next request.
const KEPT_BYTES: usize = 1024 * 1024;
const KEPT_ENTRIES: usize = 16 * 1024;

/// The table of texts of one request, and the memory for the next.
#[derive(Default)]
pub(super) struct Texts {
    entries: Vec<Entry>,
    buffer: String,
    nodes: Vec<Node>,
    copy: String,
    keys: Vec<(NodeId, u32)>,
    joined: Joined,
    too_nested: bool,
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Texts").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Texts {
    /// Forgets the texts, and gives memory back that one large request took.
    pub(super) fn clear(&mut self) {
        self.joined.clear(KEPT_BYTES, KEPT_ENTRIES);
        self.entries.clear();
        self.buffer.clear();
        self.copy.clear();
        self.keys.clear();
        self.entries.shrink_to(KEPT_ENTRIES);
        self.buffer.shrink_to(KEPT_BYTES);
        self.copy.shrink_to(KEPT_BYTES);
        self.keys.shrink_to(KEPT_ENTRIES);
        self.nodes.clear();
        self.nodes.shrink_to(KEPT_ENTRIES);
    }

    /// Takes the texts of `source` apart.
    pub(super) fn fill(&mut self, source: Source<'_>) {
        self.entries.clear();
        self.buffer.clear();
        self.too_nested = false;
        self.joined.fill(source);
        for field in 0..source.len() {
            self.entries.push(Entry {
                field: narrow(field),
                parent: None,
                leaf: source.leaf(field),
                escaped: false,
                json: false,
                object: None,
                level: 0,
                key: None,
                raw: (0, 0),
                text: (0, 0),
                children: (0, 0),
            });
        }
        let mut index = 0;
        while let Some(entry) = self.entries.get(index).copied() {
            if source.takes_apart() && entry.leaf == Leaf::String && looks_like_json(self.text(source, index))
            {
                self.take_apart(source, index, entry);
            }
            index += 1;
        }
    }

    /// Something was nested deeper, or was more, than is taken apart.
    pub(super) const fn too_nested(&self) -> bool {
        self.too_nested
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What was sent in pieces, joined.
    pub(super) const fn joined(&self) -> &Joined {
        &self.joined
    }

    pub(super) fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    pub(super) fn text<'a>(&'a self, source: Source<'a>, index: usize) -> &'a str {
        match self.entries.get(index) {
            Some(entry) if entry.parent.is_none() => source.text(entry.field as usize),
            Some(entry) => self.buffer.get(entry.text.0 as usize..entry.text.1 as usize).unwrap_or_default(),
            None => "",
        }
    }

    pub(super) fn key<'a>(&'a self, source: Source<'a>, entry: &Entry) -> Option<Cow<'a, str>> {
        match (entry.key, entry.parent) {
            (Some(key), _) => Some(Cow::Borrowed(self.text(source, key as usize))),
            (None, None) => source.key(entry.field as usize),
            (None, Some(_)) => None,
        }
    }

    /// The children of an entry that overlap a range of its text.
    pub(super) fn overlapped(&self, entry: &Entry, range: &Range<usize>) -> Range<usize> {
        let children = entry.children();
        let slice = self.entries.get(children.clone()).unwrap_or_default();
        let first = slice.partition_point(|child| child.raw.1 as usize <= range.start);
        let count = slice
            .get(first..)
            .unwrap_or_default()
            .partition_point(|child| (child.raw.0 as usize) < range.end);
        children.start + first..children.start + first + count
    }

    fn take_apart(&mut self, source: Source<'_>, index: usize, entry: Entry) {
        let mut copy = std::mem::take(&mut self.copy);
        let text: &str = if entry.parent.is_none() {
            source.text(entry.field as usize)
        } else {
            // The buffer grows while its own text is read.
            copy.clear();
            copy.push_str(self.text(source, index));
            &copy
        };
        let nodes = std::mem::take(&mut self.nodes);
        match Document::parse_text(text, NESTED_LIMITS, Reading::Lenient, nodes) {
            Ok(document) if entry.level >= MAX_LEVEL => {
                self.too_nested = true;
                self.nodes = document.into_nodes();
            }
            Ok(document) => {
                let first = narrow(self.entries.len());
                self.add(&document, index, entry);
                let children = (first, narrow(self.entries.len()));
                if let Some(entry) = self.entries.get_mut(index) {
                    entry.json = true;
                    entry.children = children;
                }
                self.nodes = document.into_nodes();
            }
            Err(error) => {
                self.too_nested |= error.kind == JsonErrorKind::TooManyNodes;
            }
        }
        self.copy = copy;
    }

    fn add(&mut self, document: &Document<'_>, parent: usize, around: Entry) {
        self.keys.clear();
        for node in document.all() {
            let leaf = match document.kind(node) {
                Kind::Object | Kind::Array => continue,
                Kind::Key => Leaf::Key,
                Kind::String => Leaf::String,
                Kind::Number => Leaf::Number,
                Kind::True | Kind::False | Kind::Null => Leaf::Literal,
            };
            if self.entries.len() >= MAX_ENTRIES {
                self.too_nested = true;
                return;
            }
            let start = narrow(self.buffer.len());
            self.buffer.push_str(&document.decoded(node));
            let raw = document.content_span(node);
            let key = if leaf == Leaf::Key { None } else { document.nearest_key(node) };
            let key = key.and_then(|key| {
                let at = self.keys.binary_search_by_key(&key, |(node, _)| *node).ok()?;
                self.keys.get(at).map(|(_, entry)| *entry)
            });
            let index = narrow(self.entries.len());
            self.entries.push(Entry {
                field: around.field,
                parent: Some(narrow(parent)),
                leaf,
                escaped: document.is_escaped(node),
                json: false,
                object: if leaf == Leaf::Key { document.parent(node) } else { None },
                level: around.level + 1,
                key,
                raw: (narrow(raw.start), narrow(raw.end)),
                text: (start, narrow(self.buffer.len())),
                children: (0, 0),
            });
            if leaf == Leaf::Key {
                self.keys.push((node, index));
            }
        }
    }
}

/// Texts that may be read as JSON by whoever gets them: an object, a list, or one string of JSON.
pub(super) fn looks_like_json(text: &str) -> bool {
    text.trim_start_matches([' ', '\n', '\t', '\r']).starts_with(['{', '[', '"'])
}

fn narrow(number: usize) -> u32 {
    // Bodies have at most 4 GiB, and no text is longer than its body.
    u32::try_from(number).unwrap_or(u32::MAX)
}
