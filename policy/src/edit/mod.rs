//! Edits of a body: spans replaced, all other bytes as they came.
//!
//! The complete list of what may be edited is [`EditNote`]; each edit that is made is named there, for the record.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, ops::Range, sync::Arc};

use crate::{request::Place, verdict::PolicyKind};

/// A range of the body and what stands there instead. Its debug form leaves the text out: a marker may keep a
/// character of what it replaces.
#[derive(Clone, PartialEq, Eq)]
pub struct Splice {
    /// Bytes of the body; empty for an insertion.
    pub range: Range<usize>,
    /// As it is written in the body.
    pub text: String,
}

impl fmt::Debug for Splice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splice").field("range", &self.range).field("bytes", &self.text.len()).finish()
    }
}

/// An edit that was made, for the record. Never holds a text of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditNote {
    /// A finding was replaced by its marker.
    Redaction {
        /// The policy that named the marker.
        policy: PolicyKind,
        /// Its rule.
        rule: Arc<str>,
        /// Where.
        place: Place,
    },
    /// The `model` value was replaced by the endpoint name of the target.
    Model {
        /// The endpoint name.
        to: Arc<str>,
    },
    /// A bound of output tokens was set, or lowered.
    TokenBound {
        /// The parameter.
        parameter: Cow<'static, str>,
        /// The bound.
        value: u64,
        /// The client had named a higher one.
        clamped: bool,
    },
    /// `client_request_id` was added.
    ClientRequestId,
    /// `stream_options.include_usage` was added.
    IncludeUsage,
}

/// Applies splices to a body. With none, the body itself.
///
/// Splices are applied in the order of their ranges; one that overlaps an earlier one, or does not lie in the body on
/// character borders, is left out. None of those is ever made: merging makes them disjoint.
pub fn apply<'b>(body: &'b str, splices: &[Splice]) -> Cow<'b, str> {
    if splices.is_empty() {
        return Cow::Borrowed(body);
    }
    let mut order: Vec<&Splice> = splices.iter().collect();
    order.sort_by_key(|splice| (splice.range.start, splice.range.end));
    let added: usize = order.iter().map(|splice| splice.text.len()).sum();
    let mut out = String::with_capacity(body.len() + added);
    let mut at = 0;
    for splice in order {
        let fits = splice.range.start >= at && splice.range.start <= splice.range.end;
        debug_assert!(fits && body.get(splice.range.clone()).is_some(), "splices are disjoint");
        let Some(kept) = body.get(at..splice.range.start).filter(|_| fits) else { continue };
        out.push_str(kept);
        out.push_str(&splice.text);
        at = splice.range.end;
    }
    out.push_str(body.get(at..).unwrap_or_default());
    Cow::Owned(out)
}
