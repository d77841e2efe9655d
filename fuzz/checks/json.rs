//! What must hold of the JSON reader on any input.

use kt_policy::json::{Document, JsonErrorKind, Kind, Limits, NodeId};
use serde_json::Value;

/// What is accepted has the value that `serde_json` gives; what is refused and not by `serde_json`, is refused for a
/// reason that it does not know.
pub(crate) fn check(input: &[u8]) {
    let theirs = serde_json::from_slice::<Value>(input);
    match Document::parse(input, Limits::default()) {
        Ok(document) => {
            let theirs = theirs.expect("serde_json accepts what is accepted here");
            assert_eq!(value(&document, document.root()), theirs);
            for node in document.all() {
                let span = document.span(node);
                assert!(span.start < span.end && document.text().get(span).is_some());
                assert!(document.pointer(node).starts_with('/') || node == document.root());
            }
        }
        Err(error) => {
            assert!(error.offset <= input.len());
            if theirs.is_ok() {
                let stricter = [
                    JsonErrorKind::DuplicateKey,
                    JsonErrorKind::TooDeep,
                    JsonErrorKind::TooManyNodes,
                    JsonErrorKind::TooLarge,
                ];
                assert!(stricter.contains(&error.kind), "{error}");
            }
        }
    }
}

fn value(document: &Document<'_>, id: NodeId) -> Value {
    match document.kind(id) {
        Kind::Object => Value::Object(
            document
                .members(id)
                .map(|(key, member)| (document.decoded(key).into_owned(), value(document, member)))
                .collect(),
        ),
        Kind::Array => document.items(id).map(|item| value(document, item)).collect(),
        Kind::String | Kind::Key => Value::String(document.decoded(id).into_owned()),
        Kind::Number => serde_json::from_str(document.raw(id)).expect("a number"),
        Kind::True => Value::Bool(true),
        Kind::False => Value::Bool(false),
        Kind::Null => Value::Null,
    }
}
