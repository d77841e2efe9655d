//! Findings about a pack: what is wrong, where, and what to do.

use std::fmt;

use serde::{Serialize, Serializer};

/// A stable number of one kind of mistake, written `KT0123`; `kt explain KT0123` and `docs/errors/KT0123.md` tell
/// more. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KT{:04}", self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The pack is valid; a person should look.
    Warning,
    /// The pack is refused.
    Error,
}

/// A half-open range of bytes in the pack's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// One finding about a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The kind of mistake.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// Lower case, one line, no full stop, user input in backticks.
    pub message: String,
    /// Where in the pack, as `policy.dlp-filter.patterns[2].regex`; empty for the document itself.
    pub path: String,
    /// Where in the source; absent when there is no such place (a missing key points at its parent).
    pub span: Option<Span>,
    /// What to do, when there is something to say beyond the message.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error without help.
    pub fn error(
        code: Code,
        path: impl fmt::Display,
        span: Option<Span>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            path: path.to_string(),
            span,
            help: None,
        }
    }

    /// A warning without help.
    pub fn warning(
        code: Code,
        path: impl fmt::Display,
        span: Option<Span>,
        message: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, path, span, message) }
    }

    /// The same with a help text.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether the pack is refused for it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Sorts findings by their place in the source, so that the order of the checks does not show. Findings without a
/// place come first.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| {
        let key = |d: &Diagnostic| (d.span.map_or(0, |span| span.start), d.code, d.severity);
        key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path)).then_with(|| a.message.cmp(&b.message))
    });
    diagnostics.dedup();
}

/// A place for people: line and column, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1. A tab counts as one.
    pub column: usize,
}

/// Where the lines of a source begin.
#[derive(Debug, Clone)]
pub struct LineIndex<'s> {
    source: &'s [u8],
    /// Offsets of the first byte of each line.
    starts: Vec<usize>,
}

impl<'s> LineIndex<'s> {
    /// Reads a source, which need not be UTF-8.
    pub fn new(source: &'s [u8]) -> Self {
        let starts =
            std::iter::once(0).chain(memchr::memchr_iter(b'\n', source).map(|newline| newline + 1)).collect();
        Self { source, starts }
    }

    /// The line and column of a byte offset; offsets behind the end count as the end.
    pub fn position(&self, offset: usize) -> Position {
        let offset = offset.min(self.source.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|index| self.starts.get(index)).copied().unwrap_or(0);
        let before = self.source.get(start..offset).unwrap_or_default();
        let before = if start == 0 { before.strip_prefix(b"\xef\xbb\xbf").unwrap_or(before) } else { before };
        // Every byte but the continuation bytes of UTF-8 begins a character.
        let column = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1;
        Position { line: line.max(1), column }
    }

    /// The bytes of a line without its line break; lines are counted from 1.
    pub fn line(&self, line: usize) -> Option<&'s [u8]> {
        let start = *self.starts.get(line.checked_sub(1)?)?;
        let end = self.starts.get(line).map_or(self.source.len(), |next| next.saturating_sub(1));
        let bytes = self.source.get(start..end)?;
        Some(bytes.strip_suffix(b"\r").unwrap_or(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_not_bytes() {
        let index = LineIndex::new("a: é\nbé: x\r\nlast".as_bytes());
        assert_eq!(index.position(0), Position { line: 1, column: 1 });
        assert_eq!(index.position("a: é".len()), Position { line: 1, column: 5 });
        assert_eq!(index.position("a: é\nbé".len()), Position { line: 2, column: 3 });
        assert_eq!(index.position(usize::MAX), Position { line: 3, column: 5 });
        assert_eq!(index.line(2), Some("bé: x".as_bytes()));
        assert_eq!(index.line(3), Some("last".as_bytes()));
        assert_eq!(index.line(4), None);
    }

    #[test]
    fn a_byte_order_mark_is_no_column() {
        assert_eq!(LineIndex::new(b"\xef\xbb\xbfpack:").position(3), Position { line: 1, column: 1 });
    }

    #[test]
    fn findings_are_sorted_by_place_and_equal_ones_merged() {
        let at =
            |start, code| Diagnostic::error(Code(code), "p", Some(Span { start, end: start }), "message");
        let mut found = vec![at(9, 1), at(2, 7), at(2, 3), at(9, 1)];
        sort(&mut found);
        assert_eq!(found, [at(2, 3), at(2, 7), at(9, 1)]);
    }
}
