//! Regular expressions that a pack brings along, many at once.
//!
//! **Cost does not grow with their number.** One Aho-Corasick pass finds the literals that matches must hold
//! (module `literals`); only expressions whose literal stands in the text run, and only where it stands. Expressions
//! without a literal share one lazy automaton that tells in one pass which of them match at all; lint warns of each.
//!
//! **Cost is linear in the text, by construction** (module `search`): every step of an automaton is counted, a step either
//! moves past bytes that are never looked at again or is paid for from a budget of 16 steps
//! a byte. Where a text has used up the budget of an expression, results stay safe: a match may end earlier or start
//! earlier than that of an unlimited engine, but none is lost.
//!
//! **Validity is deterministic.** Length, nesting, compiled size, sum and count decide; time never does.
//!
//! Matches have no length limit: to cut one would leave the rest of a long secret in the text. They are found as
//! `regex::Regex::find_iter` finds them, each expression for itself, without token borders.

mod literals;
mod parse;
mod search;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind as AcMatchKind};
use regex_automata::{Input, PatternSet as Matching, hybrid::dfa, util::pool::Pool};
use regex_syntax::hir::Hir;

use self::{
    literals::Literal,
    parse::{error, parse, too_large},
    search::{Matcher, MatcherCache},
};
use super::{Problem, ProblemKind};
use crate::diag::Severity;

/// Longest expression, in bytes.
pub const MAX_PATTERN_LEN: usize = 1024;
/// Most expressions in one set.
pub const MAX_PATTERNS: usize = 2_000;
/// Largest compiled size of one expression, in bytes.
pub const MAX_COMPILED: usize = 1 << 20;
/// Largest compiled size of one set, in bytes.
pub const MAX_COMPILED_TOTAL: usize = 64 << 20;
/// Deepest nesting of groups, repetitions and classes.
pub const MAX_NESTING: u32 = 64;

/// Expressions without a literal beyond this many compiled bytes are searched one by one.
const MAX_SHARED: usize = 16 << 20;
/// Memory of the lazy automaton that they share.
const SHARED_CACHE: usize = 8 << 20;
/// Up to this many bytes of literals the prefilter is a table (one load a byte), above it a compact automaton.
const MAX_TABLE: usize = 64 << 10;
/// Automata that one thread keeps warm.
const MAX_WARM: usize = 128;

/// An expression as a pack brings it.
#[derive(Debug, Clone, Copy)]
pub struct PatternSource<'a> {
    /// What messages call it (`databricks-pat`, `detect_patterns[0]`).
    pub id: &'a str,
    /// The expression in the syntax of the `regex` crate.
    pub regex: &'a str,
    /// Whether it matches in any case from the start.
    pub case_insensitive: bool,
}

/// Many compiled expressions.
pub struct PatternSet {
    matchers: Vec<Matcher>,
    /// Finds the literals; absent when no expression has one.
    prefilter: Option<AhoCorasick>,
    /// By literal: who wants to know, and from where to look.
    wanted: Vec<Vec<Wanted>>,
    /// Expressions without a literal, in one automaton.
    shared: Option<Shared>,
    /// Lazy automata by thread: they stay warm from one text to the next.
    caches: Pool<
        Caches,
        Box<dyn Fn() -> Caches + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>,
    >,
}

struct Wanted {
    pattern: u32,
    min_offset: u32,
    /// Absent: the literal only says that a match is possible somewhere.
    max_offset: Option<u32>,
}

struct Shared {
    /// By pattern of the automaton.
    patterns: Vec<u32>,
    /// Absent when all together would be too large: then each is searched.
    automaton: Option<dfa::DFA>,
}

/// Working memory of [`PatternSet::find_all`].
#[derive(Debug, Default)]
pub struct PatternScratch {
    /// Where to try which expression.
    candidates: Vec<(u32, u32)>,
    /// By expression: how many candidates.
    counts: Vec<u32>,
    /// Expressions to search in the whole text.
    whole: Vec<u32>,
}

struct Caches {
    by_pattern: Vec<Option<Box<MatcherCache>>>,
    warm: std::collections::VecDeque<u32>,
    shared: Option<(dfa::Cache, Matching)>,
}

impl PatternSet {
    /// Compiles `sources`.
    ///
    /// The set is absent when one of them is in error. Problems name the index of their source; their `path` is
    /// empty, the caller knows where the source stands.
    pub fn compile(sources: &[PatternSource<'_>]) -> (Option<Self>, Vec<(usize, Problem)>) {
        let mut problems = Vec::new();
        let mut matchers = Vec::new();
        let mut literals = Vec::new();
        let mut without = Vec::new();
        let mut total = 0_usize;
        if let Some(first) = sources.get(MAX_PATTERNS) {
            problems.push((
                MAX_PATTERNS,
                error(
                    ProblemKind::PatternTooLarge,
                    format!(
                        "pattern `{}` is one of {}, the limit is {MAX_PATTERNS}",
                        first.id,
                        sources.len()
                    ),
                    Some("join patterns with `|`, or list plain words as `blocked_terms`"),
                ),
            ));
        }
        for (index, source) in sources.iter().enumerate().take(MAX_PATTERNS) {
            let compiled =
                parse(source).and_then(|hir| Ok((Matcher::new(&hir).map_err(|()| too_large(source))?, hir)));
            let (matcher, hir) = match compiled {
                Ok(compiled) => compiled,
                Err(problem) => {
                    problems.push((index, problem));
                    continue;
                }
            };
            total = total.saturating_add(matcher.size());
            if total > MAX_COMPILED_TOTAL {
                problems.push((
                    index,
                    error(
                        ProblemKind::PatternTooLarge,
                        format!(
                            "the patterns up to `{}` compile to more than {} MiB together",
                            source.id,
                            MAX_COMPILED_TOTAL >> 20
                        ),
                        Some("use fewer bounded repetitions of large classes such as `\\w{50}`"),
                    ),
                ));
                break;
            }
            let required = literals::required(&hir);
            if required.is_none() {
                problems.push((
                    index,
                    Problem {
                        path: String::new(),
                        severity: Severity::Warning,
                        kind: ProblemKind::PatternWithoutLiteral,
                        message: format!(
                            "pattern `{}` has no fixed text of two characters or more",
                            source.id
                        ),
                        help: Some(
                            "each text is searched for it in full; a fixed word in it makes the search cheap"
                                .to_owned(),
                        ),
                    },
                ));
                without.push((index, hir));
            }
            literals.push(required);
            matchers.push(matcher);
        }
        if problems.iter().any(|(_, problem)| problem.severity == Severity::Error) {
            return (None, problems);
        }
        let set = Self::assemble(matchers, &literals, &without).ok();
        if set.is_none() {
            let id = sources.first().map_or("", |source| source.id);
            problems.push((
                0,
                error(
                    ProblemKind::PatternTooLarge,
                    format!(
                        "the fixed texts of `{id}` and the patterns after it are too many for one automaton"
                    ),
                    None,
                ),
            ));
        }
        (set, problems)
    }

    fn assemble(
        matchers: Vec<Matcher>,
        literals: &[Option<Vec<Literal>>],
        without: &[(usize, Hir)],
    ) -> Result<Self, ()> {
        let mut by_literal: BTreeMap<&[u8], Vec<Wanted>> = BTreeMap::new();
        for (pattern, required) in literals.iter().enumerate() {
            let pattern = u32::try_from(pattern).map_err(|_| ())?;
            for literal in required.iter().flatten() {
                by_literal.entry(&literal.bytes).or_default().push(Wanted {
                    pattern,
                    min_offset: u32::try_from(literal.min_offset).unwrap_or(u32::MAX),
                    max_offset: literal
                        .max_offset
                        .filter(|_| literal.locates())
                        .and_then(|max| u32::try_from(max).ok()),
                });
            }
        }
        let prefilter = if by_literal.is_empty() {
            None
        } else {
            let bytes: usize = by_literal.keys().map(|literal| literal.len()).sum();
            Some(
                AhoCorasickBuilder::new()
                    .match_kind(AcMatchKind::Standard)
                    .ascii_case_insensitive(true)
                    // Without it speed is the same for one literal and for thousands.
                    .prefilter(false)
                    .kind(Some(if bytes <= MAX_TABLE {
                        AhoCorasickKind::DFA
                    } else {
                        AhoCorasickKind::ContiguousNFA
                    }))
                    .build(by_literal.keys())
                    .map_err(|_| ())?,
            )
        };
        let shared = (!without.is_empty()).then(|| Shared {
            patterns: without.iter().filter_map(|(index, _)| u32::try_from(*index).ok()).collect(),
            automaton: search::shared_automaton(without.iter().map(|(_, hir)| hir), MAX_SHARED, SHARED_CACHE),
        });
        let patterns = matchers.len();
        Ok(Self {
            matchers,
            prefilter,
            wanted: by_literal.into_values().collect(),
            shared,
            caches: Pool::new(Box::new(move || Caches::new(patterns))),
        })
    }

    /// How many expressions there are.
    pub fn len(&self) -> usize {
        self.matchers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.matchers.is_empty()
    }

    /// Calls `out(index, start, end)` for the matches of every expression: byte offsets on character borders, not
    /// empty, by expression in order of their start and without overlaps.
    pub fn find_all(
        &self,
        text: &str,
        scratch: &mut PatternScratch,
        out: &mut impl FnMut(usize, usize, usize),
    ) {
        scratch.candidates.clear();
        scratch.whole.clear();
        self.collect(text, scratch);
        if scratch.candidates.is_empty() && scratch.whole.is_empty() && self.shared.is_none() {
            return;
        }
        let mut guard = self.caches.get();
        let caches: &mut Caches = &mut guard;
        self.ask_shared(text, caches, &mut scratch.whole);
        scratch.whole.sort_unstable();
        scratch.whole.dedup();
        scratch.candidates.sort_unstable();
        scratch.candidates.dedup();

        for &pattern in &scratch.whole {
            let Some(matcher) = self.matchers.get(pattern as usize) else { continue };
            let cache = caches.of(pattern, matcher);
            matcher.find_from(text, 0, cache, &mut |start, end| out(pattern as usize, start, end));
        }
        for group in scratch.candidates.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(pattern, _)) = group.first() else { continue };
            if scratch.whole.binary_search(&pattern).is_ok() {
                continue;
            }
            let Some(matcher) = self.matchers.get(pattern as usize) else { continue };
            let cache = caches.of(pattern, matcher);
            let starts = group.iter().map(|&(_, start)| start as usize);
            matcher.find_at(text, starts, cache, &mut |start, end| out(pattern as usize, start, end));
        }
    }

    /// Notes where expressions can match, by their literals.
    fn collect(&self, text: &str, scratch: &mut PatternScratch) {
        let Some(prefilter) = &self.prefilter else { return };
        // Offsets of candidates are kept in 32 bits; nobody sends more than that in one field.
        if u32::try_from(text.len()).is_err() {
            scratch.whole.extend((0..self.matchers.len()).filter_map(|pattern| u32::try_from(pattern).ok()));
            return;
        }
        if scratch.counts.len() < self.matchers.len() {
            scratch.counts.resize(self.matchers.len(), 0);
        }
        // An expression with more candidates than this is searched in the whole text, which finds the same: memory
        // for candidates stays in proportion to the text.
        let most_each = 1024 + text.len() / 64;
        let most = 65_536 + text.len() / 8;
        let plain = without_odd_letters(text);
        let searched = plain.as_ref().map_or(text, |plain| &plain.text);
        for hit in prefilter.find_overlapping_iter(searched) {
            let Some(wanted) = self.wanted.get(hit.pattern().as_usize()) else { continue };
            let place = plain.as_ref().map_or(hit.start(), |plain| plain.origin(hit.start()));
            for want in wanted {
                let Some(count) = scratch.counts.get_mut(want.pattern as usize) else { continue };
                if *count == u32::MAX {
                    continue;
                }
                let Some(max_offset) = want.max_offset else {
                    *count = u32::MAX;
                    scratch.whole.push(want.pattern);
                    continue;
                };
                if *count as usize >= most_each || scratch.candidates.len() >= most {
                    *count = u32::MAX;
                    scratch.whole.push(want.pattern);
                    continue;
                }
                let Some(last) = place.checked_sub(want.min_offset as usize) else { continue };
                let first = place.saturating_sub(max_offset as usize);
                for start in (first..=last).filter(|&start| text.is_char_boundary(start)) {
                    *count += 1;
                    scratch.candidates.push((want.pattern, u32::try_from(start).unwrap_or(u32::MAX)));
                }
            }
        }
        for &(pattern, _) in &scratch.candidates {
            if let Some(count) = scratch.counts.get_mut(pattern as usize) {
                *count = 0;
            }
        }
        for &pattern in &scratch.whole {
            if let Some(count) = scratch.counts.get_mut(pattern as usize) {
                *count = 0;
            }
        }
    }

    /// Adds to `whole` which expressions without a literal match somewhere.
    fn ask_shared(&self, text: &str, caches: &mut Caches, whole: &mut Vec<u32>) {
        let Some(shared) = &self.shared else { return };
        let Some(automaton) = &shared.automaton else {
            whole.extend(&shared.patterns);
            return;
        };
        let (cache, matching) = caches
            .shared
            .get_or_insert_with(|| (automaton.create_cache(), Matching::new(automaton.pattern_len())));
        matching.clear();
        match automaton.try_which_overlapping_matches(cache, &Input::new(text), matching) {
            Ok(()) => whole.extend(
                matching.iter().filter_map(|pattern| shared.patterns.get(pattern.as_usize()).copied()),
            ),
            // The automaton does not fit into its memory for this text.
            Err(_) => whole.extend(&shared.patterns),
        }
    }
}

impl fmt::Debug for PatternSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatternSet").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Caches {
    fn new(patterns: usize) -> Self {
        Self {
            by_pattern: std::iter::repeat_with(|| None).take(patterns).collect(),
            warm: std::collections::VecDeque::new(),
            shared: None,
        }
    }

    fn of(&mut self, pattern: u32, matcher: &Matcher) -> &mut MatcherCache {
        let cold = self.by_pattern.get(pattern as usize).is_none_or(Option::is_none);
        if cold {
            if self.warm.len() >= MAX_WARM
                && let Some(oldest) = self.warm.pop_front()
                && let Some(slot) = self.by_pattern.get_mut(oldest as usize)
            {
                *slot = None;
            }
            self.warm.push_back(pattern);
        }
        let index = pattern as usize;
        if self.by_pattern.len() <= index {
            self.by_pattern.resize_with(index + 1, || None);
        }
        // The slot exists: it was just made.
        #[expect(clippy::indexing_slicing, reason = "resized above")]
        self.by_pattern[index].get_or_insert_with(|| Box::new(matcher.cache()))
    }
}

/// A text with ASCII in the place of [`literals::ODD_LETTERS`].
struct Plain {
    text: String,
    /// Places in `text` behind which that many bytes more are gone.
    gone: Vec<(usize, usize)>,
}

impl Plain {
    fn origin(&self, place: usize) -> usize {
        let before = self.gone.partition_point(|(at, _)| *at <= place);
        place + before.checked_sub(1).and_then(|index| self.gone.get(index)).map_or(0, |(_, gone)| *gone)
    }
}

/// `None` when there are none, which is almost always.
fn without_odd_letters(text: &str) -> Option<Plain> {
    if text.is_ascii() || !literals::ODD_LETTERS.iter().any(|(odd, _)| text.contains(odd)) {
        return None;
    }
    let mut plain = Plain { text: String::with_capacity(text.len()), gone: Vec::new() };
    let mut gone = 0;
    for c in text.chars() {
        match c {
            '\u{17f}' => plain.text.push('s'),
            '\u{212a}' => plain.text.push('k'),
            _ => {
                plain.text.push(c);
                continue;
            }
        }
        gone += c.len_utf8() - 1;
        plain.gone.push((plain.text.len(), gone));
    }
    Some(plain)
}
