//! Source bytes to a tree with spans. The only module that knows the YAML library.
//!
//! What must hold:
//! - every span lies in the source, on character borders;
//! - keys that stand twice in a mapping are all kept, in order: the decoder reports them;
//! - the budgets bound the work while the tree is built, so a bomb is refused in milliseconds;
//! - a document that is not YAML, or is more than this house reads of it, gives exactly one diagnostic.
//!
//! The tree is built from the event parser that serde-saphyr brings along, not through its deserializer: that one
//! recurses, and needs more stack for 64 levels than a test thread has. JSON is read as the subset of YAML that it is.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span as Place, Tag,
};

use crate::{
    codes,
    diag::{Diagnostic, Span},
};

/// The largest source that is read, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The largest number of mappings, lists and scalars (keys included).
pub const MAX_NODES: usize = 500_000;
/// The deepest nesting of mappings and lists.
pub const MAX_DEPTH: usize = 64;
/// The largest number of aliases (`*name`).
pub const MAX_ALIASES: usize = 100;
/// The largest number of nodes that aliases may stand for, all of them together.
const MAX_ALIASED_NODES: usize = 10_000;

/// A value with its place in the source. Below an alias, the place is that of the anchored value.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What stands there.
    pub value: Value,
    /// Where it stands; for mappings and lists from the first to the last entry.
    pub span: Span,
}

/// What stands at a place.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`; `yes` and `on` are texts.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a point or an exponent; `.inf` and `.nan` included.
    Float(f64),
    /// Anything else that is written as one scalar, and whatever is in quotes.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the source; keys can repeat.
    Map(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key. Numbers and the like are kept as they are written.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

/// Reads one document.
///
/// # Errors
/// The one diagnostic that says why the bytes are not a document that is read here. An empty document is no error:
/// it is [`Value::Null`].
pub fn parse(source: &[u8]) -> Result<Node, Diagnostic> {
    let text = decode_utf8(source)?;
    // The library's offsets count from behind a byte order mark.
    let (text, shift) = match text.strip_prefix('\u{feff}') {
        Some(rest) => (rest, '\u{feff}'.len_utf8()),
        None => (text, 0),
    };
    let options = serde_saphyr::granit_parser::options! {
        emit_comments: false,
        // One more than is allowed, so that the builder speaks first.
        flow_nesting_limit: MAX_DEPTH + 1,
        block_nesting_limit: MAX_DEPTH + 1,
    };
    let mut builder = Builder { source: Source { text, shift }, ..Builder::default() };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, place)) => builder.take(event, &place)?,
            Err(error) => return Err(builder.source.refusal(&error)),
        }
    }
    let empty = Span { start: shift, end: shift };
    Ok(builder.root.unwrap_or(Node { value: Value::Null, span: empty }))
}

/// The text of a source, or the diagnostic for what keeps it from being one.
///
/// # Errors
/// Larger than [`MAX_BYTES`], or not UTF-8.
pub fn decode_utf8(source: &[u8]) -> Result<&str, Diagnostic> {
    if source.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, more than {MAX_BYTES}", source.len());
        return Err(Diagnostic::error(codes::TOO_LARGE, "", None, message)
            .help("a pack is read by people: move data such as long term lists elsewhere"));
    }
    str::from_utf8(source).map_err(|error| {
        let at = error.valid_up_to();
        let message = match (source.first_chunk::<2>(), source.get(at)) {
            (Some([0xff, 0xfe] | [0xfe, 0xff]), _) => "the file is UTF-16, not UTF-8".to_owned(),
            (_, Some(byte)) => format!("the file is not UTF-8: byte 0x{byte:02x} at offset {at}"),
            (_, None) => format!("the file is not UTF-8: it ends within a character at offset {at}"),
        };
        let span = Span { start: at, end: at };
        Diagnostic::error(codes::NOT_UTF8, "", Some(span), message).help("save the file as UTF-8")
    })
}

// === impl Builder ===

/// Builds the tree from events, without recursion.
#[derive(Default)]
struct Builder<'s> {
    source: Source<'s>,
    root: Option<Node>,
    /// The mappings and lists that are open, outermost first.
    open: Vec<Frame>,
    /// Values that were anchored, by the library's number; `None` while one is open or when it is too large.
    anchors: BTreeMap<usize, Option<Anchored>>,
    /// Mappings, lists and scalars so far.
    nodes: usize,
    aliases: usize,
    aliased_nodes: usize,
    documents: usize,
}

/// A mapping or list that is open.
struct Frame {
    start: Span,
    anchor: usize,
    /// How many nodes there were before it.
    nodes_before: usize,
    /// The levels below it.
    depth: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        /// The key whose value comes next.
        key: Option<(String, Span)>,
    },
}

/// What an alias stands for.
#[derive(Clone)]
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, place: &Place) -> Result<(), Diagnostic> {
        let span = self.source.span(place);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let message = "the file holds several documents";
                    let help = "a pack is one document: remove the `---` and what belongs to another pack";
                    return Err(
                        Diagnostic::error(codes::SEVERAL_DOCUMENTS, "", Some(span), message).help(help)
                    );
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(span)?;
                let is_text = check_tag(tag.as_deref(), span)?;
                let value = match style {
                    ScalarStyle::Plain if !is_text => plain(&text),
                    _ => Value::Text(text.into_owned()),
                };
                let node = Node { value, span };
                self.anchored(anchor, &node, 1, 0)?;
                self.place(node, 0);
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), span)?;
                self.enter(span, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), span)?;
                self.enter(span, anchor, Content::Map { entries: Vec::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(span)?,
            Event::Alias(id) => self.alias(id, span)?,
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, span: Span) -> Result<(), Diagnostic> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(too_complex(format!("the file holds more than {MAX_NODES} values"), span));
        }
        Ok(())
    }

    fn enter(&mut self, start: Span, anchor: usize, content: Content) -> Result<(), Diagnostic> {
        self.count(start)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(start));
        }
        if anchor != 0 {
            self.new_anchor(anchor, None, start)?;
        }
        self.open.push(Frame { start, anchor, nodes_before: self.nodes - 1, depth: 0, content });
        Ok(())
    }

    fn leave(&mut self, end: Span) -> Result<(), Diagnostic> {
        let Some(frame) = self.open.pop() else { return Ok(()) };
        let depth = frame.depth + 1;
        let (value, last) = match frame.content {
            Content::List(items) => {
                let last = items.iter().map(|item| item.span.end).max();
                (Value::List(items), last)
            }
            Content::Map { entries, .. } => {
                let last = entries.iter().map(|entry| entry.value.span.end).max();
                (Value::Map(entries), last)
            }
        };
        // In block style the library ends a mapping where the next thing begins. Below an alias, children can stand
        // before their parent.
        let is_flow = self.source.slice(end).starts_with(['}', ']']);
        let end = if is_flow { Some(end.end) } else { last.filter(|last| *last >= frame.start.start) };
        let span =
            Span { start: frame.start.start, end: end.unwrap_or(frame.start.end).max(frame.start.start) };
        let node = Node { value, span };
        self.anchored(frame.anchor, &node, self.nodes - frame.nodes_before, depth)?;
        self.place(node, depth);
        Ok(())
    }

    /// Puts a finished value where it belongs; `depth` is that of the value.
    fn place(&mut self, node: Node, depth: usize) {
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        frame.depth = frame.depth.max(depth);
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key } => {
                if let Some((key, key_span)) = key.take() {
                    entries.push(Entry { key, key_span, value: node });
                    return;
                }
                let written = match node.value {
                    Value::Text(text) => text,
                    // As it is written: `409`, `true`, `1.0`, `{a: b}`.
                    _ => self.source.slice(node.span).to_owned(),
                };
                *key = Some((written, node.span));
            }
        }
    }

    fn new_anchor(&mut self, id: usize, what: Option<Anchored>, span: Span) -> Result<(), Diagnostic> {
        self.anchors.insert(id, what);
        if self.anchors.len() > MAX_ALIASES { Err(alias_refusal(span)) } else { Ok(()) }
    }

    /// Remembers a value that aliases may stand for. Large ones are not kept: no alias may stand for them.
    fn anchored(&mut self, id: usize, node: &Node, nodes: usize, depth: usize) -> Result<(), Diagnostic> {
        if id == 0 {
            return Ok(());
        }
        let what = (nodes <= MAX_ALIASED_NODES).then(|| Anchored { node: node.clone(), nodes, depth });
        self.new_anchor(id, what, node.span)
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Diagnostic> {
        self.aliases += 1;
        let is_open = self.open.iter().any(|frame| frame.anchor == id);
        if is_open {
            return Err(Diagnostic::error(
                codes::ALIASES,
                "",
                Some(span),
                "an alias stands inside its own anchor",
            )
            .help("write the value out"));
        }
        let Some(what) = self.anchors.get(&id).cloned().flatten() else { return Err(alias_refusal(span)) };
        self.aliased_nodes += what.nodes;
        if self.aliases > MAX_ALIASES || self.aliased_nodes > MAX_ALIASED_NODES {
            return Err(alias_refusal(span));
        }
        if self.open.len() + what.depth > MAX_DEPTH {
            return Err(too_deep(span));
        }
        self.nodes += what.nodes - 1;
        self.count(span)?;
        self.place(what.node, what.depth);
        Ok(())
    }
}

/// Whether a tag makes the value a text. No other tags are read.
fn check_tag(tag: Option<&Tag>, span: Span) -> Result<bool, Diagnostic> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema_tag("str") => Ok(true),
        Some(_) => Err(Diagnostic::error(codes::SYNTAX, "", Some(span), "tags (`!name`) are not read")
            .help("remove it, or put the text that it is a part of in quotes")),
    }
}

/// What a scalar without quotes is, by YAML 1.2's core schema; numbers with superfluous zeros are texts.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let radix = |prefix: &str, radix: u32| {
        text.strip_prefix(prefix)
            .filter(|digits| !digits.starts_with(['+', '-']))
            .and_then(|digits| i128::from_str_radix(digits, radix).ok())
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Value::Int(number);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Value::Text(text.to_owned());
    }
    if let Ok(number) = text.parse::<i128>() {
        return Value::Int(number);
    }
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse::<f64>() {
        Ok(number) if is_number => Value::Float(number),
        _ => Value::Text(text.to_owned()),
    }
}

// === impl Source ===

/// The text that the library reads, and where it begins in the source.
#[derive(Default, Clone, Copy)]
struct Source<'s> {
    text: &'s str,
    /// Bytes of the source before `text`.
    shift: usize,
}

impl Source<'_> {
    fn offset(&self, marker: &Marker) -> usize {
        // Strings have byte offsets; were there none, the character index would be a place before it.
        self.text.floor_char_boundary(marker.byte_offset().unwrap_or_else(|| marker.index()))
    }

    fn span(&self, place: &Place) -> Span {
        let start = self.offset(&place.start);
        let end = self.offset(&place.end).max(start);
        // A block scalar and a multi-line plain one end behind their line break.
        let written = self.text.get(start..end).unwrap_or_default().trim_end();
        Span { start: start + self.shift, end: start + written.len() + self.shift }
    }

    fn slice(&self, span: Span) -> &str {
        span.start
            .checked_sub(self.shift)
            .zip(span.end.checked_sub(self.shift))
            .and_then(|(start, end)| self.text.get(start..end))
            .unwrap_or_default()
    }

    /// Why the document is refused, told by the kind of the library's error.
    fn refusal(&self, error: &ScanError) -> Diagnostic {
        let at = self.offset(error.marker()) + self.shift;
        let span = Span { start: at, end: at };
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => too_deep(span),
            ErrorKind::UnknownAnchor => {
                let message = "an alias names an anchor that is not defined before it";
                Diagnostic::error(codes::ALIASES, "", Some(span), message)
                    .help("put a text that begins with `*` in quotes")
            }
            _ => self.syntax(&error.info(), span),
        }
    }

    fn syntax(&self, message: &str, span: Span) -> Diagnostic {
        let first_line = message.lines().next().unwrap_or_default().trim().trim_end_matches('.');
        let message = format!("the file is not YAML: {}", lower_first(first_line));
        let diagnostic = Diagnostic::error(codes::SYNTAX, "", Some(span), message);
        if self.line_of(span).trim_start_matches(' ').starts_with('\t') {
            diagnostic.help("indent with spaces: YAML has no tabs")
        } else {
            diagnostic
        }
    }

    fn line_of(&self, span: Span) -> &str {
        let at = span.start.saturating_sub(self.shift);
        let before = self.text.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default()
    }
}

fn too_deep(span: Span) -> Diagnostic {
    too_complex(format!("the file is nested deeper than {MAX_DEPTH} levels"), span)
}

fn too_complex(message: String, span: Span) -> Diagnostic {
    Diagnostic::error(codes::TOO_COMPLEX, "", Some(span), message)
        .help("a pack is read by people: move data such as long term lists elsewhere")
}

fn alias_refusal(span: Span) -> Diagnostic {
    let message = format!(
        "aliases stand for too much: at most {MAX_ALIASES} anchors and aliases, and {MAX_ALIASED_NODES} values in all"
    );
    Diagnostic::error(codes::ALIASES, "", Some(span), message).help("write the values out")
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "it can't be read".to_owned(),
    }
}
