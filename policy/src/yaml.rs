//! Source bytes to a tree with spans. The only module that knows the YAML library.
//!
//! What must hold:
//! - every span lies in the source, on character borders;
//! - keys that stand twice in a mapping are all kept, in order: the decoder reports them;
//! - the budgets bound the work before the tree is built, so a bomb is refused in milliseconds;
//! - a document that is not YAML, or is more than this house reads of it, gives exactly one diagnostic.
//!
//! JSON is read as the subset of YAML that it is.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{
    Error, Location, Spanned,
    budget::BudgetBreach,
    options::{AliasLimits, DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy},
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
    let places = Places { text, shift };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options()) {
        Ok(root) => Ok(places.node(root)),
        Err(error) => Err(places.refusal(&error)),
    }
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

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            flow_nesting_limit: MAX_DEPTH,
            max_events: 4 * MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_recorded_anchor_events: MAX_NODES,
            max_depth: MAX_DEPTH,
            max_documents: 1,
            max_nodes: MAX_NODES,
            max_total_scalar_bytes: 2 * MAX_BYTES,
            enforce_alias_anchor_ratio: false,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        alias_limits: alias_limits(),
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

fn alias_limits() -> AliasLimits {
    serde_saphyr::alias_limits! {
        max_total_replayed_events: MAX_ALIASED_NODES,
        max_replay_stack_depth: 8,
    }
}

// === impl Raw ===

/// What the library hands over, before places are worked out.
enum Raw {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Int(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Int(value))
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Raw, E> {
        i128::try_from(value).map(Raw::Int).map_err(|_| E::custom("a number is too large"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<Raw>>()? {
            if matches!(key.value, Raw::List(_) | Raw::Map(_)) {
                return Err(A::Error::custom("a key is a list or a mapping, not a text"));
            }
            entries.push((key, map.next_value()?));
        }
        Ok(Raw::Map(entries))
    }
}

// === impl Places ===

/// Turns the library's places into spans of the source.
struct Places<'s> {
    text: &'s str,
    /// Bytes of the source before `text`.
    shift: usize,
}

impl Places<'_> {
    fn span(&self, location: Location) -> Option<Span> {
        let span = location.span();
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let len = usize::try_from(span.byte_len()?).ok()?;
        let start = self.text.floor_char_boundary(start);
        let end = self.text.ceil_char_boundary(start.saturating_add(len)).max(start);
        // A block scalar and a multi-line plain one end behind their line break.
        let end = start + self.text.get(start..end)?.trim_end().len();
        Some(Span { start: start + self.shift, end: end + self.shift })
    }

    fn node(&self, raw: Spanned<Raw>) -> Node {
        let own = self.span(raw.defined).unwrap_or(Span { start: self.shift, end: self.shift });
        match raw.value {
            Raw::Null => Node { value: Value::Null, span: own },
            Raw::Bool(value) => Node { value: Value::Bool(value), span: own },
            Raw::Int(value) => Node { value: Value::Int(value), span: own },
            Raw::Float(value) => Node { value: Value::Float(value), span: own },
            Raw::Text(value) => Node { value: Value::Text(value), span: own },
            Raw::List(items) => {
                let items: Vec<Node> = items.into_iter().map(|item| self.node(item)).collect();
                let span = covering(own, items.iter().map(|item| item.span));
                Node { value: Value::List(items), span }
            }
            Raw::Map(entries) => {
                let entries: Vec<Entry> = entries.into_iter().map(|entry| self.entry(entry)).collect();
                let span = covering(own, entries.iter().map(|entry| entry.value.span));
                Node { value: Value::Map(entries), span }
            }
        }
    }

    fn entry(&self, (key, value): (Spanned<Raw>, Spanned<Raw>)) -> Entry {
        let key = self.node(key);
        let written = match key.value {
            Value::Text(text) => text,
            // As it is written: `409`, `true`, `1.0`.
            _ => self.slice(key.span).to_owned(),
        };
        Entry { key: written, key_span: key.span, value: self.node(value) }
    }

    fn slice(&self, span: Span) -> &str {
        span.start
            .checked_sub(self.shift)
            .zip(span.end.checked_sub(self.shift))
            .and_then(|(start, end)| self.text.get(start..end))
            .unwrap_or_default()
    }

    /// Why the document is refused, told by the type of the library's error.
    fn refusal(&self, error: &Error) -> Diagnostic {
        let error = match error {
            Error::AliasError { error, .. } => error,
            other => other,
        };
        let span = error.location().and_then(|location| self.span(location));
        match error {
            Error::MultipleDocuments { .. } => {
                Diagnostic::error(codes::SEVERAL_DOCUMENTS, "", span, "the file holds several documents")
                    .help("a pack is one document: remove the `---` and what belongs to another pack")
            }
            Error::Budget { breach, .. } => budget_refusal(breach, span),
            Error::AliasReplayCounterOverflow { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. } => alias_refusal(span),
            Error::RecursiveReferencesRequireWeakTypes { .. } => {
                Diagnostic::error(codes::ALIASES, "", span, "an alias stands inside its own anchor")
                    .help("write the value out")
            }
            Error::UnknownAnchor { .. } => Diagnostic::error(
                codes::ALIASES,
                "",
                span,
                "an alias names an anchor that is not defined before it",
            )
            .help("put a text that begins with `*` in quotes"),
            Error::Message { msg, .. } => self.syntax(msg, span),
            other => self.syntax(&other.to_string(), span),
        }
    }

    fn syntax(&self, message: &str, span: Option<Span>) -> Diagnostic {
        let first_line = message.lines().next().unwrap_or_default().trim().trim_end_matches('.');
        let diagnostic = Diagnostic::error(
            codes::SYNTAX,
            "",
            span,
            format!("the file is not YAML: {}", lower_first(first_line)),
        );
        let line = span.map(|span| self.line_of(span));
        match line {
            Some(line) if line.trim_start_matches(' ').starts_with('\t') => {
                diagnostic.help("indent with spaces: YAML has no tabs")
            }
            _ => diagnostic,
        }
    }

    fn line_of(&self, span: Span) -> &str {
        let at = span.start.saturating_sub(self.shift);
        let before = self.text.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default()
    }
}

fn covering(own: Span, children: impl Iterator<Item = Span>) -> Span {
    // Below an alias, children can stand before their parent; then the parent's own place is all there is.
    let end = children.map(|child| child.end).filter(|end| *end >= own.start).max();
    Span { start: own.start, end: end.unwrap_or(own.end).max(own.end) }
}

fn budget_refusal(breach: &BudgetBreach, span: Option<Span>) -> Diagnostic {
    let message = match breach {
        BudgetBreach::Depth { .. } => format!("the file is nested deeper than {MAX_DEPTH} levels"),
        BudgetBreach::Documents { .. } => {
            return Diagnostic::error(codes::SEVERAL_DOCUMENTS, "", span, "the file holds several documents");
        }
        BudgetBreach::Aliases { .. }
        | BudgetBreach::Anchors { .. }
        | BudgetBreach::AliasAnchorRatio { .. }
        | BudgetBreach::RecordedAnchorEvents { .. } => return alias_refusal(span),
        _ => format!("the file holds more than {MAX_NODES} values"),
    };
    Diagnostic::error(codes::TOO_COMPLEX, "", span, message)
        .help("a pack is read by people: move data such as long term lists elsewhere")
}

fn alias_refusal(span: Option<Span>) -> Diagnostic {
    let message = format!(
        "aliases stand for too much: at most {MAX_ALIASES} aliases and {MAX_ALIASED_NODES} values in all"
    );
    Diagnostic::error(codes::ALIASES, "", span, message).help("write the values out")
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "it can't be read".to_owned(),
    }
}
