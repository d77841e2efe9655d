//! From the tree to values, collecting every finding: a small set of combinators that the pack and the model table
//! are read with.
//!
//! What must hold: nothing stops at the first mistake; each finding has a stable code, a path and a span; a value
//! that cannot be read is replaced by its default, which is never used, since a finding refuses the document; user
//! input is shown cut and without control characters.

mod map;
mod object;
mod path;
mod scalar;

pub(crate) use map::{list, map, non_empty_list, unique_list};
pub(crate) use object::Object;
pub use path::SourceMap;
pub(crate) use path::{Path, head};
pub(crate) use scalar::{amount, boolean, choice, fraction, integer, json, text, unknown_value};

use crate::{
    diag::{Code, Diagnostic, Span},
    yaml::{Node, Value},
};

/// What one reading collects.
#[derive(Debug, Default)]
pub(crate) struct Cx {
    /// The findings, in the order in which they were made.
    pub(crate) found: Vec<Diagnostic>,
    /// Paths of lists and mappings that could not be read or lost an item: what they would say of the rest is unknown.
    pub(crate) lost: Vec<String>,
}

impl Cx {
    /// Notes an error at a place.
    pub(crate) fn error(&mut self, code: Code, path: &Path<'_>, span: Span, message: String) {
        self.found.push(Diagnostic::error(code, path, Some(span), message));
    }

    /// Notes an error at a place, with what to do.
    pub(crate) fn error_help(
        &mut self,
        code: Code,
        path: &Path<'_>,
        span: Span,
        message: String,
        help: impl Into<String>,
    ) {
        self.found.push(Diagnostic::error(code, path, Some(span), message).help(help));
    }
}

/// User input as it may stand in a message: one line, cut, without control and bidirectional characters.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MOST {
            out.push('…');
            break;
        }
        let invisible = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if invisible {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// What stands at a place, as a message names it.
pub(crate) fn described(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Int(value) => format!("the number `{value}`"),
        Value::Float(value) => format!("the number `{value:?}`"),
        Value::Text(text) if text.is_empty() => "an empty text".to_owned(),
        Value::Text(text) => format!("the text `{}`", shown(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}

/// The name among `known` that was probably meant.
pub(crate) fn closest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' ', '.'], "");
    let wanted = plain(written);
    if wanted.is_empty() || wanted.chars().count() > 128 {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        let candidate = plain(name);
        // `SSN` for `US_SSN`, `email` for `EMAIL_ADDRESS`.
        let part = wanted.len() >= 3 && name.split(['_', '-']).any(|word| word.eq_ignore_ascii_case(written));
        let distance = if part { 1 } else { strsim::damerau_levenshtein(&wanted, &candidate) };
        let allowed = (candidate.chars().count().max(wanted.chars().count()) / 3).clamp(1, 4);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// Names for a help text: `a`, `b` and `c`.
pub(crate) fn listed<'k>(names: impl IntoIterator<Item = &'k str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_forgive_spelling_separators_and_short_forms() {
        let known = ["detect_patterns", "blocked_terms", "US_SSN", "EMAIL_ADDRESS", "action"];
        assert_eq!(closest("detect-pattern", known), Some("detect_patterns"));
        assert_eq!(closest("actions", known), Some("action"));
        assert_eq!(closest("SSN", known), Some("US_SSN"));
        assert_eq!(closest("email", known), Some("EMAIL_ADDRESS"));
        assert_eq!(closest("retention", known), None);
        assert_eq!(closest("", known), None);
    }

    #[test]
    fn shown_input_is_cut_and_visible() {
        assert_eq!(shown("a\u{202e}b\nc"), "a\\u{202e}b\\u{a}c");
        assert_eq!(shown(&"x".repeat(100)), format!("{}…", "x".repeat(60)));
    }
}
