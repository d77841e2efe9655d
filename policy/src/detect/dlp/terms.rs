//! Blocked terms: whole words in any case of any alphabet, on request with spelling mistakes.
//!
//! Exact terms are one Aho-Corasick pass. For mistakes, a term is cut into `distance + 1` pieces: whatever is within
//! that distance of the term holds one of them unchanged, so one more pass over the pieces of all terms gives the
//! places where it is worth measuring, and the distance is measured only for windows of whole words of a length that
//! can match.

use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};

/// Automata with fewer bytes of terms are tables.
const MAX_TABLE: usize = 64 << 10;

/// The blocked terms of a pack.
pub(super) struct Terms {
    exact: AhoCorasick,
    blocked: Vec<Term>,
    /// A term has a space in it, so that line breaks and double spaces matter.
    spaces: bool,
    fuzzy: Option<Fuzzy>,
}

struct Term {
    chars: Vec<char>,
    words: usize,
    /// Whether a border must stand before and after it.
    borders: (bool, bool),
}

struct Fuzzy {
    distance: usize,
    pieces: AhoCorasick,
    /// By piece: the terms that it comes from.
    sources: Vec<Vec<Source>>,
}

#[derive(Clone, Copy)]
struct Source {
    term: u32,
    /// Characters of the term before the piece.
    offset: u32,
    /// Words of the term before the one that the piece begins in.
    word: u32,
}

/// Working memory of a scan.
#[derive(Debug, Default)]
pub(super) struct TermScratch {
    folded: String,
    /// By byte of `folded`, and one more: where it came from.
    map: Vec<u32>,
    words: Vec<Word>,
    found: Vec<Near>,
    rows: (Vec<u16>, Vec<u16>),
    window: Vec<char>,
}

/// A word of the folded text.
#[derive(Debug, Clone, Copy)]
struct Word {
    start: usize,
    end: usize,
    first_char: usize,
    end_char: usize,
}

/// A term with mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Near {
    term: u32,
    distance: usize,
    len: usize,
    start: usize,
    end: usize,
}

impl Terms {
    /// Compiles terms that are not empty; `distance` is above zero for those with mistakes. `None` when they are too
    /// many for an automaton.
    pub(super) fn new(terms: &[String], distance: usize) -> Option<Self> {
        let folded: Vec<String> = terms.iter().map(|term| fold_term(term)).collect();
        let exact = automaton(&folded)?;
        let spaces = folded.iter().any(|term| term.contains(' '));
        let terms: Vec<Term> = folded.iter().map(|term| Term::new(term)).collect();
        let fuzzy = if distance == 0 { None } else { Some(Fuzzy::new(&terms, distance)?) };
        Some(Self { exact, blocked: terms, spaces, fuzzy })
    }

    /// Calls `out(term, start, end, score)` for the terms in `text`, byte offsets.
    pub(super) fn find(
        &self,
        text: &str,
        scratch: &mut TermScratch,
        out: &mut impl FnMut(usize, usize, usize, f32),
    ) {
        let direct = text.is_ascii() && self.fuzzy.is_none() && !(self.spaces && has_odd_spaces(text));
        if direct {
            self.find_exact(text, &mut |term, start, end| out(term, start, end, 1.0));
            return;
        }
        fold_text(text, scratch);
        let TermScratch { folded, map, .. } = &*scratch;
        let origin = |place: usize| map.get(place).map_or(0, |place| *place as usize);
        self.find_exact(folded, &mut |term, start, end| out(term, origin(start), origin(end), 1.0));
        if let Some(fuzzy) = &self.fuzzy {
            fuzzy.find(&self.blocked, scratch);
            let TermScratch { map, found, .. } = &*scratch;
            let origin = |place: usize| map.get(place).map_or(0, |place| *place as usize);
            for near in found.iter().filter(|near| near.distance > 0) {
                let len = self.blocked.get(near.term as usize).map_or(1, |term| term.chars.len().max(1));
                #[expect(clippy::cast_precision_loss, reason = "both are below 300")]
                let score = 1.0 - near.distance as f32 / len as f32;
                out(near.term as usize, origin(near.start), origin(near.end), score);
            }
        }
    }

    fn find_exact(&self, text: &str, out: &mut impl FnMut(usize, usize, usize)) {
        for hit in self.exact.find_overlapping_iter(text) {
            let index = hit.pattern().as_usize();
            let Some(term) = self.blocked.get(index) else { continue };
            let before = text.get(..hit.start()).and_then(|part| part.chars().next_back());
            let after = text.get(hit.end()..).and_then(|part| part.chars().next());
            let clear = |border: bool, beside: Option<char>| !border || !beside.is_some_and(in_word);
            if clear(term.borders.0, before) && clear(term.borders.1, after) {
                out(index, hit.start(), hit.end());
            }
        }
    }
}

impl Term {
    fn new(folded: &str) -> Self {
        let chars: Vec<char> = folded.chars().collect();
        let border = |c: Option<&char>| c.is_some_and(|c| in_word(*c) && !written_without_spaces(*c));
        Self {
            borders: (border(chars.first()), border(chars.last())),
            words: words(folded).count().max(1),
            chars,
        }
    }
}

impl Fuzzy {
    fn new(terms: &[Term], distance: usize) -> Option<Self> {
        let mut by_piece: std::collections::BTreeMap<String, Vec<Source>> = std::collections::BTreeMap::new();
        for (index, term) in terms.iter().enumerate() {
            let count = distance + 1;
            for piece in 0..count {
                let from = term.chars.len() * piece / count;
                let to = term.chars.len() * (piece + 1) / count;
                let text: String = term.chars.get(from..to)?.iter().collect();
                let head: String = term.chars.get(..=from)?.iter().collect();
                by_piece.entry(text).or_default().push(Source {
                    term: u32::try_from(index).ok()?,
                    offset: u32::try_from(from).ok()?,
                    word: u32::try_from(words(&head).count().saturating_sub(1)).ok()?,
                });
            }
        }
        let pieces: Vec<&String> = by_piece.keys().collect();
        let pieces = automaton(&pieces)?;
        Some(Self { distance, pieces, sources: by_piece.into_values().collect() })
    }

    /// Leaves in `scratch.found` the windows within the distance of a term, the nearest of those that overlap.
    fn find(&self, terms: &[Term], scratch: &mut TermScratch) {
        let TermScratch { folded, words: table, found, rows, window, .. } = scratch;
        found.clear();
        table.clear();
        let mut chars = 0;
        let mut place = 0;
        for (start, end) in words(folded) {
            chars += folded.get(place..start).map_or(0, |gap| gap.chars().count());
            let len = folded.get(start..end).map_or(0, |word| word.chars().count());
            table.push(Word { start, end, first_char: chars, end_char: chars + len });
            chars += len;
            place = end;
        }
        if table.is_empty() {
            return;
        }
        let distance = self.distance;
        for hit in self.pieces.find_overlapping_iter(folded.as_str()) {
            let Some(sources) = self.sources.get(hit.pattern().as_usize()) else { continue };
            // The word that the piece begins in; a piece that begins with a separator belongs to the one before.
            let at_word = table.partition_point(|word| word.start <= hit.start()).saturating_sub(1);
            let Some(word) = table.get(at_word) else { continue };
            let inside = folded.get(word.start..hit.start()).map_or(0, |part| part.chars().count());
            let hit_char = word.first_char + inside;
            for source in sources {
                let Some(term) = terms.get(source.term as usize) else { continue };
                let guess = (at_word + 1).saturating_sub(source.word as usize + 1);
                for first in guess.saturating_sub(1)..=guess + 1 {
                    let Some(from) = table.get(first) else { continue };
                    // The piece stands in the window about where it stands in the term.
                    if hit_char.saturating_sub(from.first_char).abs_diff(source.offset as usize) > distance
                        || hit_char + distance < from.first_char
                    {
                        continue;
                    }
                    for count in term.words.saturating_sub(1).max(1)..=term.words + 1 {
                        let Some(to) = table.get(first + count - 1) else { continue };
                        let len = to.end_char - from.first_char;
                        if len.abs_diff(term.chars.len()) > distance {
                            continue;
                        }
                        window.clear();
                        window.extend(folded.get(from.start..to.end).unwrap_or_default().chars());
                        if let Some(distance) = within(&term.chars, window, distance, rows) {
                            found.push(Near {
                                term: source.term,
                                distance,
                                len,
                                start: from.start,
                                end: to.end,
                            });
                        }
                    }
                }
            }
        }
        nearest(found);
    }
}

/// Of windows of one term that overlap, the nearest stays.
fn nearest(found: &mut Vec<Near>) {
    found.sort_unstable_by_key(|near| (near.term, near.start, near.distance, near.len, near.end));
    found.dedup();
    let mut kept: Vec<Near> = Vec::with_capacity(found.len());
    for near in found.drain(..) {
        match kept.last_mut() {
            Some(last) if last.term == near.term && near.start < last.end => {
                if (near.distance, near.len) < (last.distance, last.len) {
                    *last = near;
                }
            }
            _ => kept.push(near),
        }
    }
    *found = kept;
}

/// The Levenshtein distance of two texts when it is at most `most`, measured in a band around the diagonal.
fn within(a: &[char], b: &[char], most: usize, rows: &mut (Vec<u16>, Vec<u16>)) -> Option<usize> {
    const FAR: u16 = u16::MAX / 2;
    let (above, row) = (&mut rows.0, &mut rows.1);
    above.clear();
    above.extend((0..=b.len()).map(|place| u16::try_from(place).unwrap_or(FAR)));
    row.clear();
    row.resize(b.len() + 1, FAR);
    for (index, from) in a.iter().enumerate() {
        let index = index + 1;
        row.fill(FAR);
        let first = index.saturating_sub(most);
        let last = (index + most).min(b.len());
        let mut best = FAR;
        let mut left = FAR;
        for place in first..=last {
            let value = if place == 0 {
                u16::try_from(index).unwrap_or(FAR)
            } else {
                let cell = |row: &[u16], place: usize| row.get(place).copied().unwrap_or(FAR);
                let same = b.get(place - 1) == Some(from);
                (cell(above, place - 1) + u16::from(!same)).min(cell(above, place) + 1).min(left + 1)
            };
            if let Some(cell) = row.get_mut(place) {
                *cell = value;
            }
            left = value;
            best = best.min(value);
        }
        if usize::from(best) > most {
            return None;
        }
        std::mem::swap(above, row);
    }
    above.get(b.len()).map(|value| usize::from(*value)).filter(|value| *value <= most)
}

/// How many characters a term has as it is compared.
pub(super) fn folded_len(term: &str) -> usize {
    fold_term(term).chars().count()
}

/// A term as it is compared: lower case, single spaces, no invisible characters.
pub(super) fn fold_term(term: &str) -> String {
    let mut scratch = TermScratch::default();
    fold_text(term.trim(), &mut scratch);
    scratch.folded
}

fn fold_text(text: &str, scratch: &mut TermScratch) {
    let TermScratch { folded, map, .. } = scratch;
    folded.clear();
    map.clear();
    let mut space = false;
    for (place, c) in text.char_indices() {
        if is_invisible(c) {
            continue;
        }
        let before = folded.len();
        if c.is_whitespace() {
            if !space {
                folded.push(' ');
            }
            space = true;
        } else {
            space = false;
            match c {
                'ſ' => folded.push('s'),
                'ς' => folded.push('σ'),
                'ẞ' => folded.push('ß'),
                _ if c.is_ascii() => folded.push(c.to_ascii_lowercase()),
                _ => folded.extend(c.to_lowercase()),
            }
        }
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        map.extend(std::iter::repeat_n(place, folded.len() - before));
    }
    map.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

fn has_odd_spaces(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr3(b'\n', b'\t', b'\r', bytes).is_some() || memchr::memmem::find(bytes, b"  ").is_some()
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Scripts whose words stand side by side: a term is found inside of them.
fn written_without_spaces(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// The words of a text: start and end.
fn words(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut chars = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, c) = chars.find(|(_, c)| in_word(*c))?;
        let mut end = start + c.len_utf8();
        while let Some((place, c)) = chars.next_if(|(_, c)| in_word(*c)) {
            end = place + c.len_utf8();
        }
        Some((start, end))
    })
}

fn automaton<T: AsRef<str>>(terms: &[T]) -> Option<AhoCorasick> {
    let bytes: usize = terms.iter().map(|term| term.as_ref().len()).sum();
    let kind = if bytes <= MAX_TABLE { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
    AhoCorasickBuilder::new()
        .match_kind(MatchKind::Standard)
        .ascii_case_insensitive(true)
        .prefilter(false)
        .kind(Some(kind))
        .build(terms.iter().map(AsRef::as_ref))
        .ok()
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").field("len", &self.blocked.len()).finish_non_exhaustive()
    }
}
