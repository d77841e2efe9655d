//! Values as the tables have them.

use std::borrow::Cow;

use kt_audit::record::Verdict;

/// A number as PostgreSQL has it. Sequences, counts and prices are far below the limit.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Text as PostgreSQL can have it: all but the letter 0. The record itself keeps it.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The stored form of a verdict.
pub(super) const fn verdict_code(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Allow => 0,
        Verdict::Redact => 1,
        Verdict::Escalate => 2,
        Verdict::Block => 3,
    }
}
