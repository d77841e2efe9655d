//! Finding built-in secrets: one pass for the texts that formats begin with or hold, a small matcher at each place,
//! the same again on other readings of the text ([`super::views`]).

use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};

use super::{
    builtin::Builtin,
    chars::{Set, at, before, closes, opens, run_back},
    shapes::{SHAPES, Shape},
    special::{self, SPECIALS, Special},
    views::{self, MAX_DEPTH, Reading},
};

/// A text as matchers see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) text: &'a str,
    seams: &'a [usize],
}

impl<'a> View<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, seams: &[] }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Where the run of `set` that ends at `to` begins, at most `most` bytes before, and not before a seam.
    pub(super) fn run_back(&self, to: usize, set: Set, most: usize) -> usize {
        let start = run_back(self.bytes(), to, set, most);
        let next = self.seams.partition_point(|seam| *seam < to);
        let seam = next.checked_sub(1).and_then(|index| self.seams.get(index));
        let start = seam.map_or(start, |seam| start.max(*seam));
        // The letter of an escape such as `\n` is not part of what follows.
        let escape =
            before(self.bytes(), start) == b'\\' && matches!(at(self.bytes(), start), b'n' | b'r' | b't');
        if escape && start < to { start + 1 } else { start }
    }

    /// Ends to try for a token that was read from `start` to `end`: `end`, then earlier seams.
    pub(super) fn ends(&self, start: usize, end: usize) -> impl Iterator<Item = usize> {
        let first = self.seams.partition_point(|seam| *seam <= start);
        let last = self.seams.partition_point(|seam| *seam < end);
        let seams = self.seams.get(first..last).unwrap_or_default();
        std::iter::once(end).chain(seams.iter().rev().take(4).copied())
    }

    /// Whether a token can begin at `place`.
    pub(super) fn opens(&self, place: usize) -> bool {
        opens(self.bytes(), place) || self.seam(place)
    }

    /// Whether a token can end at `place`.
    pub(super) fn closes(&self, place: usize) -> bool {
        closes(self.bytes(), place) || self.seam(place)
    }

    /// Whether lines were put together at `place`, so that a token may begin or end there.
    pub(super) fn seam(&self, place: usize) -> bool {
        self.seams.binary_search(&place).is_ok()
    }
}

/// A secret in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: Builtin,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where it was found.
    pub(super) source: Source,
}

/// How far a finding is from the text as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// In the text itself.
    Text,
    /// Without escapes and invisible characters, or in an encoded run.
    Decoded,
    /// In pieces put together by guess: lines, spaced letters.
    Guessed,
}

/// The built-in detectors of one pack.
pub(super) struct SecretScanner {
    literals: AhoCorasick,
    /// By literal.
    matchers: Vec<Vec<Matcher>>,
    /// Which kinds are wanted.
    wanted: Vec<Builtin>,
}

#[derive(Clone, Copy)]
enum Matcher {
    Shape(&'static Shape),
    /// With its place among the special ones.
    Special(&'static Special, usize),
}

impl SecretScanner {
    /// The scanner for `wanted`; `None` when nothing is.
    pub(super) fn new(mut wanted: Vec<Builtin>) -> Option<Self> {
        wanted.sort_unstable();
        wanted.dedup();
        let mut by_literal: std::collections::BTreeMap<String, Vec<Matcher>> =
            std::collections::BTreeMap::new();
        for shape in SHAPES.iter().filter(|shape| wanted.contains(&shape.kind)) {
            by_literal.entry(shape.text.to_ascii_lowercase()).or_default().push(Matcher::Shape(shape));
        }
        let asked = |special: &&Special| special.kinds.iter().any(|kind| wanted.contains(kind));
        for (index, special) in SPECIALS.iter().filter(asked).enumerate() {
            for literal in special.literals {
                by_literal
                    .entry(literal.to_ascii_lowercase())
                    .or_default()
                    .push(Matcher::Special(special, index));
            }
        }
        if by_literal.is_empty() {
            return None;
        }
        let literals = AhoCorasickBuilder::new()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .prefilter(false)
            .kind(Some(AhoCorasickKind::DFA))
            .build(by_literal.keys())
            .ok()?;
        Some(Self { literals, matchers: by_literal.into_values().collect(), wanted })
    }

    /// Appends the secrets in `text`, which stands under `key`, to `found`: sorted, one for each secret.
    pub(super) fn scan(&self, text: &str, key: Option<&str>, found: &mut Vec<Found>) {
        found.clear();
        self.reading(View::new(text), 0, true, &mut |hit| found.push(hit));
        if let Some(key) = key
            && self.wanted.contains(&Builtin::GenericSecret)
            && special::names_and_holds_secret(key, text)
        {
            found.push(Found {
                kind: Builtin::GenericSecret,
                start: 0,
                end: text.len(),
                source: Source::Text,
            });
        }
        if !found.is_empty() {
            found.retain(|hit| hit.start < hit.end && self.wanted.contains(&hit.kind));
            settle(found);
        }
    }

    /// Scans a text and what can be read out of it; `raw` when its escapes have not been undone yet.
    fn reading(&self, view: View<'_>, depth: usize, raw: bool, out: &mut dyn FnMut(Found)) {
        self.matches(view, out);
        let text = view.text;
        let inner =
            |reading: &Reading, depth: usize, raw: bool, source: Source, out: &mut dyn FnMut(Found)| {
                let view = View { text: &reading.text, seams: &reading.seams };
                let mut mapped = |hit: Found| {
                    let (start, end) = reading.origin(hit.start, hit.end);
                    out(Found { start, end, source: source.max(hit.source), ..hit });
                };
                if depth < MAX_DEPTH {
                    self.reading(view, depth, raw, &mut mapped);
                } else {
                    self.matches(view, &mut mapped);
                }
            };
        if raw && let Some(plain) = views::plain(text) {
            inner(&plain, depth + 1, false, Source::Decoded, out);
        }
        views::encoded(text, |reading| inner(&reading, depth + 1, true, Source::Decoded, out));
        if depth == 0 {
            views::wrapped(text, |reading| inner(&reading, MAX_DEPTH - 1, false, Source::Guessed, out));
            views::spaced(text, |reading| inner(&reading, MAX_DEPTH, false, Source::Guessed, out));
        }
    }

    fn matches(&self, view: View<'_>, out: &mut dyn FnMut(Found)) {
        let mut until = [0_usize; SPECIALS.len()];
        for hit in self.literals.find_overlapping_iter(view.text) {
            let Some(matchers) = self.matchers.get(hit.pattern().as_usize()) else { continue };
            for matcher in matchers {
                match matcher {
                    Matcher::Shape(shape) => {
                        if let Some(end) = shape.end(&view, hit.start()) {
                            out(Found { kind: shape.kind, start: hit.start(), end, source: Source::Text });
                        }
                    }
                    Matcher::Special(special, index) => {
                        // What lies within a finding of the same matcher is not read again.
                        let Some(until) = until.get_mut(*index) else { continue };
                        if hit.start() >= *until {
                            (special.find)(&view, hit.start(), hit.end(), &mut |found| {
                                *until = found.end.max(*until);
                                out(found);
                            });
                        }
                    }
                }
            }
        }
    }
}

impl fmt::Debug for SecretScanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretScanner").field("wanted", &self.wanted.len()).finish_non_exhaustive()
    }
}

/// Leaves one finding for each secret: the longer of two of a kind, the more specific of two kinds.
fn settle(found: &mut Vec<Found>) {
    found.sort_by_key(|hit| (hit.start, hit.end, hit.kind, hit.source));
    found.dedup_by(|b, a| a.start == b.start && a.end == b.end && a.kind == b.kind);
    let mut settled = Vec::with_capacity(found.len());
    // Only findings that hang together are compared: kinds have bounded lengths, so such groups are small.
    let mut rest = found.as_slice();
    while let Some(first) = rest.first() {
        let mut end = first.end;
        let len = rest
            .iter()
            .take_while(|hit| {
                let joined = hit.start < end;
                end = end.max(hit.end);
                joined
            })
            .count()
            .max(1);
        let (group, others) = rest.split_at(len);
        settle_group(group, &mut settled);
        rest = others;
    }
    settled.sort_by_key(|hit| (hit.start, hit.end, hit.kind));
    *found = settled;
}

fn settle_group(group: &[Found], settled: &mut Vec<Found>) {
    let mut kept: Vec<Found> = Vec::with_capacity(group.len());
    // Strongest claims first: vague kinds last, the text itself before other readings, longer before shorter.
    let mut order = group.to_vec();
    order.sort_by_key(|hit| {
        (vague(hit.kind), hit.source, usize::MAX - (hit.end - hit.start), hit.start, hit.kind)
    });
    for hit in order {
        let same = kept.iter_mut().find(|known| known.kind == hit.kind && overlap(known, &hit));
        if let Some(known) = same {
            // The same secret, of which another reading shows more (an address that a line break cuts).
            if hit.source == Source::Decoded && known.start >= hit.start && known.end <= hit.end {
                *known = hit;
            }
        } else if !kept.iter().any(|known| overlap(known, &hit) && absorbs(known, &hit)) {
            kept.push(hit);
        }
    }
    settled.append(&mut kept);
}

/// How much a kind leaves to others: addresses, then assignments.
fn vague(kind: Builtin) -> u8 {
    match kind {
        Builtin::GenericSecret => 2,
        Builtin::CredentialUrl => 1,
        _ => 0,
    }
}

fn overlap(a: &Found, b: &Found) -> bool {
    a.start < b.end && b.start < a.end
}

/// Whether `known` makes `hit` superfluous; they overlap.
fn absorbs(known: &Found, hit: &Found) -> bool {
    if hit.kind == Builtin::GenericSecret {
        return true;
    }
    let inside = known.start <= hit.start && hit.end <= known.end;
    match (known.kind, hit.kind) {
        (Builtin::GcpServiceAccount, _) => inside,
        (Builtin::JdbcUrl, Builtin::CredentialUrl) => true,
        // Addresses with a password that is itself a token give both.
        (Builtin::JdbcUrl | Builtin::CredentialUrl, _) => false,
        _ => hit.source > Source::Text && inside,
    }
}
