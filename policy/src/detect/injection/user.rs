//! The pack's own `attack_patterns`.
//!
//! They are matched without regard to case (`(?-i)` in a pattern changes that), in the text as written and in its
//! canonical form, so that a disguise does not help against them.

use std::ops::Range;

use crate::{
    detect::{
        Problem,
        patterns::{PatternScratch, PatternSet, PatternSource},
    },
    text::canonical::Canonical,
};

/// The compiled patterns.
#[derive(Debug, Default)]
pub(super) struct UserPatterns {
    set: Option<PatternSet>,
}

impl UserPatterns {
    pub(super) fn compile(patterns: &[String], problems: &mut Vec<Problem>) -> Self {
        if patterns.is_empty() {
            return Self::default();
        }
        let names: Vec<String> = (0..patterns.len()).map(|at| format!("attack_patterns[{at}]")).collect();
        let sources: Vec<PatternSource<'_>> = names
            .iter()
            .zip(patterns)
            .map(|(id, regex)| PatternSource { id, regex, case_insensitive: true })
            .collect();
        let (set, found) = PatternSet::compile(&sources);
        problems.extend(
            found
                .into_iter()
                .map(|(at, problem)| Problem { path: format!("detection.attack_patterns[{at}]"), ..problem }),
        );
        Self { set }
    }

    pub(super) fn len(&self) -> usize {
        self.set.as_ref().map_or(0, PatternSet::len)
    }

    /// Gives each match: the pattern's index and its place in `text`.
    pub(super) fn find(
        &self,
        text: &str,
        canonical: &Canonical,
        scratch: &mut PatternScratch,
        mut found: impl FnMut(usize, Range<usize>),
    ) {
        let Some(set) = &self.set else { return };
        set.find_all(text, scratch, &mut |at, start, end| found(at, start..end));
        if canonical.text() == text {
            return;
        }
        set.find_all(canonical.text(), scratch, &mut |at, start, end| {
            let origin = canonical.origin(start..end);
            if !origin.is_empty() {
                found(at, origin);
            }
        });
    }
}
