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
