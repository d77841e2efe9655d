//! One expression: finding its matches in a number of steps that is linear in the text.
//!
//! One search with an automaton is linear; *all* matches are not: an expression such as `.*x|a` reads to the end of
//! the text for each `a`. Here the steps are ours, so they are counted:
//!
//! 1. At a candidate ([`Matcher::find_at`]) the automaton runs anchored and stops as soon as it can't match any more.
//!    Steps that end in no match are paid from the budget. When it is spent, the search goes on unanchored
//!    (2.), which reads each byte once until a match is found.
//! 2. Unanchored ([`Matcher::find_from`]), steps up to the end of a match are free: the next search starts behind it.
//! 3. Behind the end of a match the automaton reads on, as a longer match may be preferred: [`FREE_LOOK`] steps are
//!    free, more are paid. When the budget is spent, the match found so far stands.
//! 4. The start of an unanchored match is found by reading backwards from its end, at most to the end of the match
//!    before.
//!
//! So one expression makes at most `STEPS_A_BYTE·n + BASE_STEPS` paid steps, `n` free steps forwards and `n`
//! backwards, and `FREE_LOOK` for each match, of which there are at most `n`: linear in `n`.
//!
//! Unicode word borders can't be told by such an automaton. They are left out of it, so that it finds a superset, and
//! each match is confirmed by the full expression on the bytes that the automaton has read, which costs as much again.
//! When the budget is spent, unconfirmed matches stand: too much is hidden rather than too little.

use std::sync::OnceLock;

use regex_automata::{
    Anchored, Input, MatchKind,
    hybrid::dfa,
    nfa::thompson::{
        self, NFA, WhichCaptures,
        pikevm::{self, PikeVM},
    },
    util::primitives::NonMaxUsize,
};
use regex_syntax::hir::{Capture, Hir, HirKind, Look, Repetition};

use super::MAX_COMPILED;

/// Paid steps for each byte of the text.
pub(super) const STEPS_A_BYTE: usize = 16;
/// Paid steps for any text.
const BASE_STEPS: usize = 64 << 10;
/// Steps behind a match that cost nothing.
const FREE_LOOK: usize = 32;
/// Memory of one lazy automaton.
const CACHE: usize = 512 << 10;

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Matcher {
    /// The expression without Unicode word borders.
    searched: Hir,
    /// The expression itself, when it has such borders.
    full: Option<Hir>,
    forward: dfa::DFA,
    /// Reads backwards. Built when it is first needed, which for most expressions is never.
    backward: OnceLock<Option<dfa::DFA>>,
    /// Runs `full`. Built when it is first needed.
    confirm: OnceLock<Option<PikeVM>>,
}

/// Working memory of a [`Matcher`].
pub(super) struct MatcherCache {
    forward: dfa::Cache,
    backward: Option<dfa::Cache>,
    confirm: Option<pikevm::Cache>,
    /// Steps made, for tests of linearity.
    #[cfg(test)]
    pub(super) steps: usize,
}

/// How a run of the forward automaton ended.
struct Run {
    /// End of the match.
    end: Option<usize>,
    /// No byte from here on was looked at.
    stop: usize,
    /// The budget was spent.
    spent: bool,
}

struct Budget {
    left: usize,
}

impl Budget {
    fn new(text: &str) -> Self {
        Self { left: text.len().saturating_mul(STEPS_A_BYTE).saturating_add(BASE_STEPS) }
    }

    fn pay(&mut self, steps: usize) {
        self.left = self.left.saturating_sub(steps);
    }

    /// Pays for reading on to `at` behind a match that ends at `end`.
    fn pay_look(&mut self, end: Option<usize>, at: usize) {
        if let Some(end) = end {
            self.pay(at.saturating_sub(end).saturating_sub(FREE_LOOK));
        }
    }
}

impl Matcher {
    /// Compiles an expression; `Err` when it is too large.
    pub(super) fn new(hir: &Hir) -> Result<Self, ()> {
        let borders = hir.properties().look_set().contains_word_unicode();
        let searched = if borders { without_borders(hir) } else { hir.clone() };
        let forward = lazy(automaton([&searched], false, Some(MAX_COMPILED))?, MatchKind::LeftmostFirst)?;
        Ok(Self {
            searched,
            full: borders.then(|| hir.clone()),
            forward,
            backward: OnceLock::new(),
            confirm: OnceLock::new(),
        })
    }

    /// Bytes of the compiled form.
    pub(super) fn size(&self) -> usize {
        self.forward.get_nfa().memory_usage()
    }

    pub(super) fn cache(&self) -> MatcherCache {
        MatcherCache {
            forward: self.forward.create_cache(),
            backward: None,
            confirm: None,
            #[cfg(test)]
            steps: 0,
        }
    }

    /// The automaton that reads backwards. It is about as large as the one that was admitted, so it has no limit of
    /// its own.
    fn backward(&self) -> Option<&dfa::DFA> {
        let build = || lazy(automaton([&self.searched], true, None).ok()?, MatchKind::All).ok();
        self.backward.get_or_init(build).as_ref()
    }

    fn confirm(&self) -> Option<&PikeVM> {
        let full = self.full.as_ref()?;
        let build = || {
            let nfa = thompson::Compiler::new()
                .configure(thompson::Config::new().which_captures(WhichCaptures::Implicit))
                .build_from_hir(full)
                .ok()?;
            PikeVM::new_from_nfa(nfa).ok()
        };
        self.confirm.get_or_init(build).as_ref()
    }

    /// Matches that start at one of `starts`, which are in order and hold every start of a match.
    pub(super) fn find_at(
        &self,
        text: &str,
        starts: impl Iterator<Item = usize>,
        cache: &mut MatcherCache,
        out: &mut impl FnMut(usize, usize),
    ) {
        let mut budget = Budget::new(text);
        let mut from = 0;
        for start in starts {
            if start < from {
                continue;
            }
            let run = self.run(text, start, Anchored::Yes, cache, &mut budget);
            if run.spent && run.end.is_none() {
                budget.pay(run.stop - start);
                self.search(text, start, cache, &mut budget, out);
                return;
            }
            if let Some(end) = self.confirmed(text, start, &run, cache, &budget) {
                out(start, end);
                from = end;
            } else {
                budget.pay(run.stop - start);
            }
        }
    }

    /// Matches from `from` on.
    pub(super) fn find_from(
        &self,
        text: &str,
        from: usize,
        cache: &mut MatcherCache,
        out: &mut impl FnMut(usize, usize),
    ) {
        self.search(text, from, cache, &mut Budget::new(text), out);
    }

    fn search(
        &self,
        text: &str,
        mut from: usize,
        cache: &mut MatcherCache,
        budget: &mut Budget,
        out: &mut impl FnMut(usize, usize),
    ) {
        while from < text.len() {
            let run = self.run(text, from, Anchored::No, cache, budget);
            let Some(end) = run.end else { return };
            let Some(start) = self.start_of(text, from, end, cache) else { return };
            if self.full.is_none() || budget.left == 0 {
                out(start, end);
                from = end;
                continue;
            }
            // The relaxed automaton says that this is the first place where the expression can match.
            let run = self.run(text, start, Anchored::Yes, cache, budget);
            let confirmed = if run.spent && run.end.is_none() {
                Some(end)
            } else {
                self.confirmed(text, start, &run, cache, budget)
            };
            if let Some(end) = confirmed {
                out(start, end);
                from = end;
            } else {
                budget.pay(run.stop.max(end) - from);
                from = next_char(text, start);
            }
        }
    }

    /// The end of the match at `start`, confirmed by the full expression where there is one.
    fn confirmed(
        &self,
        text: &str,
        start: usize,
        run: &Run,
        cache: &mut MatcherCache,
        budget: &Budget,
    ) -> Option<usize> {
        let end = run.end?;
        if self.full.is_none() || budget.left == 0 {
            return Some(end);
        }
        let Some(engine) = self.confirm() else { return Some(end) };
        let memory = cache.confirm.get_or_insert_with(|| engine.create_cache());
        // What the automaton has read may end within a character.
        let mut stop = run.stop.max(end).min(text.len());
        while !text.is_char_boundary(stop) {
            stop += 1;
        }
        let input = Input::new(text).range(start..stop).anchored(Anchored::Yes);
        let mut slots = [None; 2];
        engine.search_slots(memory, &input, &mut slots)?;
        let [_, end] = slots;
        end.map(NonMaxUsize::get)
    }

    /// Runs the forward automaton until it can't match any more, or the budget is spent.
    fn run(
        &self,
        text: &str,
        start: usize,
        anchored: Anchored,
        cache: &mut MatcherCache,
        budget: &mut Budget,
    ) -> Run {
        let input = Input::new(text).range(start..).anchored(anchored);
        let bytes = text.as_bytes();
        let mut end: Option<usize> = None;
        // Unanchored steps before a match are free: they are never made again.
        let mut limit = if anchored == Anchored::No {
            usize::MAX
        } else {
            start.saturating_add(FREE_LOOK).saturating_add(budget.left)
        };
        let failed = Run { end: None, stop: text.len(), spent: false };
        let Ok(mut state) = self.forward.start_state_forward(&mut cache.forward, &input) else {
            return failed;
        };
        let mut at = start;
        while let Some(&byte) = bytes.get(at) {
            let Ok(next) = self.forward.next_state(&mut cache.forward, state, byte) else { return failed };
            #[cfg(test)]
            {
                cache.steps += 1;
            }
            state = next;
            if state.is_tagged() {
                if state.is_match() {
                    // States are one byte late.
                    budget.pay_look(end, at);
                    end = Some(at);
                    limit = at.saturating_add(FREE_LOOK).saturating_add(budget.left);
                } else if state.is_dead() {
                    budget.pay_look(end, at);
                    return Run { end, stop: at + 1, spent: false };
                }
            }
            at += 1;
            if at >= limit {
                budget.pay_look(end, at);
                return Run { end, stop: at, spent: true };
            }
        }
        if let Ok(state) = self.forward.next_eoi_state(&mut cache.forward, state)
            && state.is_match()
        {
            end = Some(text.len());
        }
        budget.pay_look(end, at);
        Run { end, stop: text.len(), spent: false }
    }

    /// The leftmost start, not before `from`, of a match that ends at `end`.
    fn start_of(&self, text: &str, from: usize, end: usize, cache: &mut MatcherCache) -> Option<usize> {
        #[cfg(test)]
        {
            cache.steps += end - from;
        }
        let input = Input::new(text).range(from..end).anchored(Anchored::Yes);
        let Some(backward) = self.backward() else { return Some(from) };
        let memory = cache.backward.get_or_insert_with(|| backward.create_cache());
        let found = backward.try_search_rev(memory, &input).ok().flatten()?;
        (found.offset() < end).then_some(found.offset())
    }
}

/// Whether an expression matches in ordinary single characters of every kind, so that it would hide any text.
pub(super) fn matches_everything(hir: &Hir) -> bool {
    if hir.properties().minimum_len() > Some(4) {
        return false;
    }
    let Ok(nfa) = automaton([hir], false, Some(MAX_COMPILED)) else { return false };
    let Ok(engine) = PikeVM::new_from_nfa(nfa) else { return false };
    let mut cache = engine.create_cache();
    ["a", "Z", "0", " ", "-", "é", "漢"].iter().all(|probe| engine.is_match(&mut cache, *probe))
}

/// One automaton for many expressions that tells which of them match; `None` when it would be too large.
pub(super) fn shared_automaton<'a>(
    hirs: impl Iterator<Item = &'a Hir>,
    size: usize,
    cache: usize,
) -> Option<dfa::DFA> {
    let relaxed: Vec<Hir> = hirs.map(without_borders).collect();
    let nfa = thompson::Compiler::new()
        .configure(thompson::Config::new().nfa_size_limit(Some(size)).which_captures(WhichCaptures::None))
        .build_many_from_hir(&relaxed)
        .ok()?;
    dfa::DFA::builder()
        .configure(
            dfa::Config::new()
                .match_kind(MatchKind::All)
                .cache_capacity(cache)
                .skip_cache_capacity_check(true)
                // A text for which the automaton does not fit is better searched expression by expression.
                .minimum_cache_clear_count(Some(4)),
        )
        .build_from_nfa(nfa)
        .ok()
}

fn automaton<'a>(
    hirs: impl IntoIterator<Item = &'a Hir>,
    reverse: bool,
    limit: Option<usize>,
) -> Result<NFA, ()> {
    let hirs: Vec<&Hir> = hirs.into_iter().collect();
    thompson::Compiler::new()
        .configure(
            thompson::Config::new()
                .reverse(reverse)
                .nfa_size_limit(limit)
                .which_captures(WhichCaptures::None),
        )
        .build_many_from_hir(&hirs)
        .map_err(|_| ())
}

fn lazy(nfa: NFA, kind: MatchKind) -> Result<dfa::DFA, ()> {
    dfa::DFA::builder()
        .configure(dfa::Config::new().match_kind(kind).cache_capacity(CACHE).skip_cache_capacity_check(true))
        .build_from_nfa(nfa)
        .map_err(|_| ())
}

/// The expression without its Unicode word borders: matches at least what `hir` matches.
fn without_borders(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Look(
            Look::WordUnicode
            | Look::WordUnicodeNegate
            | Look::WordStartUnicode
            | Look::WordEndUnicode
            | Look::WordStartHalfUnicode
            | Look::WordEndHalfUnicode,
        ) => Hir::empty(),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => hir.clone(),
        HirKind::Repetition(repetition) => Hir::repetition(Repetition {
            sub: Box::new(without_borders(&repetition.sub)),
            ..repetition.clone()
        }),
        HirKind::Capture(capture) => {
            Hir::capture(Capture { sub: Box::new(without_borders(&capture.sub)), ..capture.clone() })
        }
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(without_borders).collect()),
        HirKind::Alternation(branches) => Hir::alternation(branches.iter().map(without_borders).collect()),
    }
}

/// The place of the character after the one at `at`.
fn next_char(text: &str, at: usize) -> usize {
    at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
}

#[cfg(test)]
pub(super) fn steps_of(regex: &str, text: &str) -> (usize, usize) {
    let hir = regex_syntax::parse(regex).unwrap();
    let matcher = Matcher::new(&hir).unwrap();
    let mut cache = matcher.cache();
    let mut matches = 0;
    matcher.find_from(text, 0, &mut cache, &mut |_, _| matches += 1);
    (cache.steps, matches)
}
