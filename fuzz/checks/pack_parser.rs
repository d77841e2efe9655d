//! What must hold of the reader of packs on any input.

use kt_policy::{
    diag::{LineIndex, Severity},
    pack,
};

/// Reading never panics and gives a pack exactly when no finding is an error. Every finding has a known code, one line
/// of message without control characters, and a place that lies in the source on character borders. The same bytes give
/// the same findings.
pub(crate) fn check(input: &[u8]) {
    let (parsed, found) = pack::parse(input);
    assert_eq!(parsed.is_some(), found.iter().all(|finding| finding.severity == Severity::Warning));
    let index = LineIndex::new(input);
    let text = str::from_utf8(input).ok();
    for finding in &found {
        assert!(kt_policy::codes::info(finding.code).is_some(), "{finding:?}");
        assert!(!finding.message.is_empty() && !finding.message.contains(char::is_control), "{finding:?}");
        assert!(!finding.path.contains(char::is_control), "{finding:?}");
        if let Some(span) = finding.span {
            assert!(span.start <= span.end && span.end <= input.len(), "{finding:?}");
            assert!(text.is_none_or(|text| text.get(span.start..span.end).is_some()), "{finding:?}");
            assert!(index.position(span.start).line >= 1);
        }
    }
    let again = pack::parse(input);
    assert_eq!(again.1, found);
    if let Some(parsed) = parsed {
        assert_eq!(again.0.expect("a pack again").pack, parsed.pack);
    }
}
