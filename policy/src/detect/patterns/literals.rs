//! The literals that every match of an expression holds, so that one Aho-Corasick pass over the text tells which
//! expressions are worth running, and where.
//!
//! Literals are ASCII lower case and looked for in any ASCII case: that makes case-insensitive expressions as cheap as
//! others, and a candidate is confirmed by the expression itself anyway.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Longer literals don't filter better and make the automaton larger.
const MAX_LEN: usize = 24;
/// More alternatives than this and the expression counts as one without a literal at this place.
const MAX_ALTERNATIVES: usize = 16;
/// Alternatives of whole branches.
const MAX_BRANCHES: usize = 64;
/// A class with more members than this ends a literal.
const MAX_CLASS: usize = 4;
/// Starts are tried one by one when the literal's distance from the start varies by at most this many bytes.
pub(super) const MAX_SPREAD: usize = 8;

/// A literal of a match, and how far from the start of the match it can stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal {
    /// ASCII lower case.
    pub(super) bytes: Vec<u8>,
    /// Smallest distance from the start of a match, in bytes.
    pub(super) min_offset: usize,
    /// Largest distance, when there is one.
    pub(super) max_offset: Option<usize>,
}

impl Literal {
    /// Whether the starts of matches can be told from the places of the literal.
    pub(super) fn locates(&self) -> bool {
        self.max_offset.is_some_and(|max| max - self.min_offset <= MAX_SPREAD)
    }

    fn shifted(mut self, min: usize, max: Option<usize>) -> Self {
        self.min_offset = self.min_offset.saturating_add(min);
        self.max_offset = match (self.max_offset, max) {
            (Some(a), Some(b)) => a.checked_add(b),
            _ => None,
        };
        self
    }
}

/// Literals of which each match of `hir` holds at least one; `None` when there are none worth looking for.
pub(super) fn required(hir: &Hir) -> Option<Vec<Literal>> {
    let found = best(hir)?;
    found.iter().all(|literal| literal.bytes.len() >= 2).then_some(found)
}

/// The better, the more a set of literals narrows down.
fn rank(set: &[Literal]) -> (u8, usize) {
    let shortest = set.iter().map(|literal| literal.bytes.len()).min().unwrap_or(0);
    let locates = set.iter().all(Literal::locates);
    let class = match (locates, shortest) {
        (_, 0) => 0,
        (false, 1) => 1,
        (true, 1) => 2,
        (false, 2 | 3) => 3,
        (true, 2) => 4,
        (false, _) => 5,
        (true, _) => 6,
    };
    (class, shortest.min(12))
}

fn keep_better(best: &mut Option<Vec<Literal>>, candidate: Vec<Literal>) {
    if rank(&candidate).0 > 0 && best.as_ref().is_none_or(|best| rank(&candidate) > rank(best)) {
        *best = Some(candidate);
    }
}

fn best(hir: &Hir) -> Option<Vec<Literal>> {
    let mut found = None;
    keep_better(&mut found, at_start(&[hir]));
    match hir.kind() {
        HirKind::Capture(capture) => {
            if let Some(inner) = best(&capture.sub) {
                keep_better(&mut found, inner);
            }
        }
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            if let Some(inner) = best(&repetition.sub) {
                keep_better(&mut found, inner);
            }
        }
        HirKind::Concat(parts) => {
            let (mut min, mut max) = (0_usize, Some(0_usize));
            for (index, part) in parts.iter().enumerate() {
                let rest: Vec<&Hir> = parts.iter().skip(index).take(MAX_LEN * 2).collect();
                let shift = |set: Vec<Literal>| set.into_iter().map(|l| l.shifted(min, max)).collect();
                keep_better(&mut found, shift(at_start(&rest)));
                if let Some(inner) = best(part) {
                    keep_better(&mut found, shift(inner));
                }
                min = min.saturating_add(part.properties().minimum_len().unwrap_or(0));
                max =
                    max.and_then(|max| part.properties().maximum_len().and_then(|len| max.checked_add(len)));
            }
        }
        HirKind::Alternation(branches) => {
            let sets: Option<Vec<Vec<Literal>>> = branches.iter().map(best).collect();
            if let Some(sets) = sets {
                let all: Vec<Literal> = sets.into_iter().flatten().collect();
                if all.len() <= MAX_BRANCHES {
                    keep_better(&mut found, all);
                }
            }
        }
        _ => {}
    }
    found
}

fn at_start(parts: &[&Hir]) -> Vec<Literal> {
    let mut set = Prefixes::empty();
    for part in parts {
        if !set.exact {
            break;
        }
        set = set.followed_by(&prefixes(part));
    }
    set.alternatives.into_iter().map(|bytes| Literal { bytes, min_offset: 0, max_offset: Some(0) }).collect()
}

/// What matches begin with: one of `alternatives`. When `exact`, that is all that they consist of.
struct Prefixes {
    alternatives: Vec<Vec<u8>>,
    exact: bool,
}

impl Prefixes {
    fn empty() -> Self {
        Self { alternatives: vec![Vec::new()], exact: true }
    }

    fn unknown() -> Self {
        Self { alternatives: vec![Vec::new()], exact: false }
    }

    fn followed_by(self, next: &Self) -> Self {
        if !self.exact {
            return self;
        }
        if self.alternatives.len() * next.alternatives.len() > MAX_ALTERNATIVES {
            return Self { exact: false, ..self };
        }
        let alternatives = self
            .alternatives
            .iter()
            .flat_map(|head| next.alternatives.iter().map(move |tail| [head.as_slice(), tail].concat()))
            .collect();
        Self { alternatives, exact: next.exact }.tidied()
    }

    fn tidied(mut self) -> Self {
        for bytes in &mut self.alternatives {
            if bytes.len() > MAX_LEN {
                bytes.truncate(MAX_LEN);
                self.exact = false;
            }
        }
        self.alternatives.sort();
        self.alternatives.dedup();
        self
    }
}

fn prefixes(hir: &Hir) -> Prefixes {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Prefixes::empty(),
        HirKind::Literal(literal) => {
            Prefixes { alternatives: vec![folded(&literal.0)], exact: true }.tidied()
        }
        HirKind::Class(class) => members(class),
        HirKind::Repetition(repetition) => {
            if repetition.min == 0 {
                return Prefixes::unknown();
            }
            let one = || prefixes(&repetition.sub);
            let mut set = one();
            for _ in 1..repetition.min {
                if !set.exact {
                    return set;
                }
                set = set.followed_by(&one());
            }
            Prefixes { exact: set.exact && repetition.max == Some(repetition.min), ..set }
        }
        HirKind::Capture(capture) => prefixes(&capture.sub),
        HirKind::Concat(parts) => {
            let mut set = Prefixes::empty();
            for part in parts {
                if !set.exact {
                    break;
                }
                set = set.followed_by(&prefixes(part));
            }
            set
        }
        HirKind::Alternation(branches) => {
            let mut union = Prefixes { alternatives: Vec::new(), exact: true };
            for branch in branches {
                let set = prefixes(branch);
                union.exact &= set.exact;
                union.alternatives.extend(set.alternatives);
                if union.alternatives.len() > MAX_ALTERNATIVES {
                    return Prefixes::unknown();
                }
            }
            union.tidied()
        }
    }
}

/// The letters beyond ASCII that match an ASCII one in any case: long s and the sign for kelvin. Literals and the texts
/// in which they are looked for have the ASCII letter in their place, so that `(?i)ssk` has one literal, not eight.
pub(super) const ODD_LETTERS: [(&str, &str); 2] = [("\u{17f}", "s"), ("\u{212a}", "k")];

fn folded(literal: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(literal) else { return literal.to_ascii_lowercase() };
    let mut text = text.to_ascii_lowercase();
    for (odd, plain) in ODD_LETTERS {
        if text.contains(odd) {
            text = text.replace(odd, plain);
        }
    }
    text.into_bytes()
}

fn members(class: &Class) -> Prefixes {
    let mut alternatives: Vec<Vec<u8>> = Vec::new();
    let mut add = |bytes: Vec<u8>| {
        if !alternatives.contains(&bytes) {
            alternatives.push(bytes);
        }
        alternatives.len() <= MAX_CLASS
    };
    let few = match class {
        Class::Unicode(class) => class.iter().all(|range| {
            (range.start()..=range.end()).all(|c| add(folded(c.encode_utf8(&mut [0; 4]).as_bytes())))
        }),
        Class::Bytes(class) => {
            class.iter().all(|range| (range.start()..=range.end()).all(|b| add(vec![b.to_ascii_lowercase()])))
        }
    };
    if few { Prefixes { alternatives, exact: true }.tidied() } else { Prefixes::unknown() }
}
