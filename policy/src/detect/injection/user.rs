//! The pack's own `attack_patterns`.
//!
//! They are matched without regard to case (`(?-i)` in a pattern changes that), in the text as written and in its
//! canonical form, so that a disguise does not help against them.

use std::ops::Range;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use crate::{
    detect::{Problem, ProblemKind},
    diag::Severity,
    text::canonical::Canonical,
};

/// Longer patterns are refused, because the size of the automaton does not bound the time to compile it.
const MAX_PATTERN_BYTES: usize = 1024;

/// More patterns are refused.
const MAX_PATTERNS: usize = 256;

/// Each pattern compiles to at most this much.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// What the cache of the automaton over all patterns may take.
const CACHE_BYTES: usize = 16 << 20;

/// Of one pattern, at most this many places in a text are reported: searching on after each match could take time that
/// grows with the square of the length.
const MAX_MATCHES: usize = 64;

/// The compiled patterns.
#[derive(Debug)]
pub(super) struct UserPatterns {
    /// Which of them match at all, in one pass.
    any: RegexSet,
    each: Vec<Regex>,
}

impl UserPatterns {
    pub(super) fn compile(patterns: &[String], problems: &mut Vec<Problem>) -> Self {
        let before = problems.len();
        if patterns.len() > MAX_PATTERNS {
            problems.push(Problem {
                path: "detection.attack_patterns".to_owned(),
                severity: Severity::Error,
                kind: ProblemKind::PatternTooLarge,
                message: format!("there are {} patterns, more than {MAX_PATTERNS}", patterns.len()),
                help: Some("join patterns with `|`".to_owned()),
            });
        }
        let each: Vec<Regex> = patterns
            .iter()
            .take(MAX_PATTERNS)
            .enumerate()
            .filter_map(|(at, pattern)| compile_one(at, pattern, problems))
            .collect();
        let set = if problems.len() > before { &[][..] } else { patterns };
        let any = RegexSetBuilder::new(set)
            .case_insensitive(true)
            .size_limit(MAX_COMPILED_BYTES * 16)
            .dfa_size_limit(CACHE_BYTES)
            .build()
            .unwrap_or_else(|_| {
                problems.push(Problem {
                    path: "detection.attack_patterns".to_owned(),
                    severity: Severity::Error,
                    kind: ProblemKind::PatternTooLarge,
                    message: "the patterns together compile to too much".to_owned(),
                    help: Some("use fewer or simpler patterns".to_owned()),
                });
                RegexSet::empty()
            });
        Self { any, each }
    }

    pub(super) fn len(&self) -> usize {
        self.each.len()
    }

    /// Gives each match: the pattern's index and its place in `text`.
    pub(super) fn find(&self, text: &str, canonical: &Canonical, mut found: impl FnMut(usize, Range<usize>)) {
        if self.each.is_empty() {
            return;
        }
        for at in &self.any.matches(text) {
            for place in self.each.get(at).iter().flat_map(|one| one.find_iter(text)).take(MAX_MATCHES) {
                if !place.is_empty() {
                    found(at, place.range());
                }
            }
        }
        if canonical.is_identity() {
            return;
        }
        for at in &self.any.matches(canonical.text()) {
            for place in
                self.each.get(at).iter().flat_map(|one| one.find_iter(canonical.text())).take(MAX_MATCHES)
            {
                let origin = canonical.origin(place.range());
                let seen = text
                    .get(origin.clone())
                    .is_some_and(|as_written| self.each.get(at).is_some_and(|one| one.is_match(as_written)));
                if !origin.is_empty() && !seen {
                    found(at, origin);
                }
            }
        }
    }
}

fn compile_one(at: usize, pattern: &str, problems: &mut Vec<Problem>) -> Option<Regex> {
    let mut problem = |kind, message: String, help: &str| {
        problems.push(Problem {
            path: format!("detection.attack_patterns[{at}]"),
            severity: Severity::Error,
            kind,
            message,
            help: Some(help.to_owned()),
        });
    };
    if pattern.len() > MAX_PATTERN_BYTES {
        problem(
            ProblemKind::PatternTooLarge,
            format!("the pattern has {} bytes, more than {MAX_PATTERN_BYTES}", pattern.len()),
            "split it into several patterns",
        );
        return None;
    }
    let built = RegexBuilder::new(pattern)
        .case_insensitive(true)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(CACHE_BYTES)
        .nest_limit(64)
        .build();
    match built {
        Ok(regex) if regex.is_match("") => {
            problem(
                ProblemKind::PatternMatchesEverything,
                format!("the pattern `{pattern}` matches the empty text"),
                "demand at least one character, as with `+` instead of `*`",
            );
            None
        }
        Ok(regex) => Some(regex),
        Err(regex::Error::CompiledTooBig(_)) => {
            problem(
                ProblemKind::PatternTooLarge,
                format!("the pattern `{pattern}` compiles to too much"),
                "use smaller repetitions",
            );
            None
        }
        Err(_) => {
            problem(
                ProblemKind::PatternSyntax,
                format!("the pattern `{pattern}` is not a regular expression"),
                "the syntax is that of Rust's regex crate, without look-around and back references",
            );
            None
        }
    }
}
