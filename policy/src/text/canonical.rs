//! The canonical form of a text, with a map back to the bytes that it was made of.
//!
//! What must hold:
//! - the map is monotonic and on character borders on both sides: [`Canonical::origin`] of a part of the canonical
//!   text covers every original character that the part came from;
//! - what was removed between two kept characters lies inside the origin of a span over both, so that a redaction
//!   leaves no invisible rest;
//! - one pass, no memory but the two buffers, which are reused.

use std::ops::Range;

use unicode_normalization::char::{compose, decompose_compatible, is_combining_mark};

use super::confusables::{look_alike, look_alike_folded};

/// Which steps are done. `Options::ALL` is the strongest folding, `Options::NONE` leaves the text as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Compatibility forms become the plain ones (NFKC: full-width, circled, mathematical, ligatures); letters and
    /// marks written apart are composed.
    pub compatibility: bool,
    /// Zero-width, bidi, filler and control characters are removed; text hidden in tag characters (U+E0020 to
    /// U+E007E) or in runs of variation selectors is brought to light.
    pub invisible: bool,
    /// Marks on Latin, Greek, Cyrillic, Arabic and Hebrew letters are removed (`é` → `e`, `й` → `и`).
    pub marks: bool,
    /// Letters and signs that look like ASCII ones become those.
    pub homoglyphs: Homoglyphs,
    /// Everything is in lower case.
    pub case: bool,
    /// A run of white space becomes one line feed when it holds a line break, otherwise one space.
    pub space: bool,
}

impl Options {
    /// Every step.
    pub const ALL: Self = Self {
        compatibility: true,
        invisible: true,
        marks: true,
        homoglyphs: Homoglyphs::Everywhere,
        case: true,
        space: true,
    };

    /// No step: the canonical text is the original.
    pub const NONE: Self = Self {
        compatibility: false,
        invisible: false,
        marks: false,
        homoglyphs: Homoglyphs::Keep,
        case: false,
        space: false,
    };

    /// Undoes disguises and keeps what is written: case, accents, white space, and words of other alphabets.
    pub const READABLE: Self = Self {
        compatibility: true,
        invisible: true,
        marks: false,
        homoglyphs: Homoglyphs::InMixedWords,
        case: false,
        space: false,
    };
}

/// Where look-alikes are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Homoglyphs {
    /// Nowhere.
    Keep,
    /// Only in words that also hold an ASCII letter: a Russian or Greek word stays as it is.
    InMixedWords,
    /// Everywhere, letter by letter. Whoever searches the result has to fold what is searched for in the same way.
    Everywhere,
}

/// What was undone; counts of characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disguises {
    /// Invisible characters removed between two letters or digits.
    pub inside_words: usize,
    /// All invisible characters removed.
    pub invisible: usize,
    /// Characters brought to light from tag characters and variation selectors.
    pub hidden: usize,
    /// Marks removed that stood alone (accents of one composed letter do not count).
    pub marks: usize,
    /// Look-alikes folded in words that also hold an ASCII letter (only counted in [`Homoglyphs::InMixedWords`]).
    pub homoglyphs: usize,
}

/// One piece of the map: what starts at `canon` in the canonical text came from `orig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    canon: usize,
    orig: usize,
    /// Byte for byte when zero; otherwise the whole piece came from this many original bytes.
    block: usize,
}

/// A canonical text. [`Canonical::fill`] refills it and keeps its memory.
#[derive(Debug, Clone, Default)]
pub struct Canonical {
    text: String,
    runs: Vec<Run>,
    hidden: Vec<Range<usize>>,
    disguises: Disguises,
}

impl Canonical {
    /// The canonical form of `original`; for repeated use keep one and [`fill`](Self::fill) it.
    pub fn of(original: &str, options: Options) -> Self {
        let mut canonical = Self::default();
        canonical.fill(original, options);
        canonical
    }

    /// Forgets the text, keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.runs.clear();
        self.hidden.clear();
        self.disguises = Disguises::default();
    }

    /// The canonical text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What was undone.
    pub const fn disguises(&self) -> Disguises {
        self.disguises
    }

    /// The parts of the canonical text that were brought to light from tag characters and variation selectors.
    pub fn hidden(&self) -> &[Range<usize>] {
        &self.hidden
    }

    /// Whether every byte stands where it stood (case may differ).
    pub fn is_identity(&self) -> bool {
        matches!(self.runs.as_slice(), [] | [Run { canon: 0, orig: 0, block: 0 }])
    }

    /// How many pieces the map has; grows with the disguises, not with the length of a plain text.
    pub fn pieces(&self) -> usize {
        self.runs.len()
    }

    /// The original bytes that the canonical bytes `span` came from. On character borders when `span` is; an empty or
    /// inverted span gives an empty one.
    pub fn origin(&self, span: Range<usize>) -> Range<usize> {
        if span.start >= span.end {
            let at = self.run_at(span.start).map_or(0, |run| run.start_of(span.start));
            return at..at;
        }
        let start = self.run_at(span.start).map_or(span.start, |run| run.start_of(span.start));
        let end = self.run_at(span.end - 1).map_or(span.end, |run| run.end_of(span.end));
        start..end.max(start)
    }

    /// Makes this the canonical form of `original`.
    pub fn fill(&mut self, original: &str, options: Options) {
        self.clear();
        self.text.reserve(original.len());
        if !options.space && is_plain_ascii(original) {
            self.text.push_str(original);
            if options.case {
                self.text.make_ascii_lowercase();
            }
            if !original.is_empty() {
                self.runs.push(Run { canon: 0, orig: 0, block: 0 });
            }
            return;
        }
        Filler {
            out: self,
            original,
            options,
            word: None,
            dropped_in_word: 0,
            last_char: ' ',
            in_hidden: false,
        }
        .run();
    }

    fn run_at(&self, canon: usize) -> Option<Run> {
        let after = self.runs.partition_point(|run| run.canon <= canon);
        self.runs.get(after.checked_sub(1)?).copied()
    }

    /// Appends `text`, which stands at `orig` letter for letter (case may differ).
    fn push_linear(&mut self, text: &str, orig: usize) {
        if text.is_empty() {
            return;
        }
        let canon = self.text.len();
        let goes_on =
            self.runs.last().is_some_and(|run| run.block == 0 && run.orig + (canon - run.canon) == orig);
        if !goes_on {
            self.runs.push(Run { canon, orig, block: 0 });
        }
        self.text.push_str(text);
    }

    /// Appends `c`, which was made of the original bytes `from`.
    fn push_block(&mut self, c: char, from: Range<usize>) {
        let canon = self.text.len();
        // Several canonical characters of one original share its piece.
        if !self.runs.last().is_some_and(|run| run.block == from.len() && run.orig == from.start) {
            self.runs.push(Run { canon, orig: from.start, block: from.len() });
        }
        self.text.push(c);
    }

    /// Lets the last canonical character cover the original up to `end` too.
    fn extend_last(&mut self, end: usize) {
        let Some(last) = self.text.chars().next_back() else { return };
        let canon = self.text.len() - last.len_utf8();
        let Some(run) = self.runs.last_mut() else { return };
        if run.block != 0 {
            run.block = end.saturating_sub(run.orig).max(run.block);
        } else if run.canon == canon {
            run.block = end.saturating_sub(run.orig).max(1);
        } else {
            let orig = run.orig + (canon - run.canon);
            self.runs.push(Run { canon, orig, block: end.saturating_sub(orig).max(1) });
        }
    }

    /// Puts `c` in the place of the last canonical character, which then covers the original up to `end`.
    fn replace_last(&mut self, c: char, end: usize) {
        self.extend_last(end);
        self.text.pop();
        self.text.push(c);
    }
}

impl Run {
    const fn start_of(self, canon: usize) -> usize {
        if self.block == 0 { self.orig + (canon - self.canon) } else { self.orig }
    }

    /// Where the original of the last character before `canon` ends; `canon` lies past this run's start.
    const fn end_of(self, canon: usize) -> usize {
        if self.block == 0 { self.orig + (canon - self.canon) } else { self.orig + self.block }
    }
}

/// The state of one pass.
struct Filler<'a> {
    out: &'a mut Canonical,
    original: &'a str,
    options: Options,
    /// For [`Homoglyphs::InMixedWords`]: the end of the word that has been looked at, and whether it is mixed.
    word: Option<(usize, bool)>,
    /// Invisible characters since the last kept one, when that was a letter or digit.
    dropped_in_word: usize,
    /// The last kept character.
    last_char: char,
    /// Whether it was brought to light from tag characters or variation selectors.
    in_hidden: bool,
}

/// The longest compatibility decomposition is 18 characters.
const LONGEST_DECOMPOSITION: usize = 18;

impl Filler<'_> {
    fn run(&mut self) {
        let original = self.original;
        let mut rest = original;
        while !rest.is_empty() {
            let at = original.len() - rest.len();
            let plain = self.plain_prefix(rest);
            if plain > 0 {
                let (head, tail) = rest.split_at(plain);
                self.keep_ascii(head, at);
                rest = tail;
                continue;
            }
            let mut chars = rest.chars();
            let Some(c) = chars.next() else { break };
            let tail = chars.as_str();
            let taken = self.one(c, at, tail);
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// The length of the ASCII prefix that is kept as it is but for its case.
    fn plain_prefix(&self, rest: &str) -> usize {
        let bytes = rest.as_bytes();
        let mut space = self.last_char.is_whitespace() && !self.out.text.is_empty();
        for (at, &byte) in bytes.iter().enumerate() {
            let stop = match byte {
                b' ' => {
                    let stop = self.options.space && space;
                    space = true;
                    stop
                }
                b'\n' => {
                    let stop = self.options.space
                        && (space || bytes.get(at + 1).is_some_and(u8::is_ascii_whitespace));
                    space = true;
                    stop
                }
                b'\t' | b'\r' | 0x0b | 0x0c => {
                    space = true;
                    self.options.space
                }
                0x21..=0x7e => {
                    space = false;
                    false
                }
                0x00..=0x1f | 0x7f => self.options.invisible,
                _ => true,
            };
            if stop {
                return at;
            }
        }
        bytes.len()
    }

    fn keep_ascii(&mut self, text: &str, at: usize) {
        self.before_kept(text.chars().next().unwrap_or(' '));
        let from = self.out.text.len();
        self.out.push_linear(text, at);
        if self.options.case
            && let Some(added) = self.out.text.get_mut(from..)
        {
            added.make_ascii_lowercase();
        }
        self.last_char = text.chars().next_back().unwrap_or(' ');
    }

    /// Handles `c` at `at`, followed by `tail`; returns how many bytes were used.
    fn one(&mut self, c: char, at: usize, tail: &str) -> usize {
        let len = c.len_utf8();
        if self.options.invisible {
            if let Some(hidden) = tag_letter(c) {
                if self.is_flag_tag() {
                    self.drop_invisible();
                } else {
                    self.keep_hidden(hidden, at..at + len);
                }
                return len;
            }
            if let Some(first) = variation_byte(c) {
                return self.variation_run(first, at, len, tail);
            }
            if is_invisible(c) {
                self.drop_invisible();
                return len;
            }
        }
        if c.is_whitespace() && self.options.space {
            return self.space_run(at, len, tail);
        }
        if self.options.compatibility && !is_stable(c) {
            let mut parts = ['\0'; LONGEST_DECOMPOSITION];
            let mut count = 0;
            decompose_compatible(c, |part| {
                if let Some(slot) = parts.get_mut(count) {
                    *slot = part;
                    count += 1;
                }
            });
            let parts = parts.get(..count).unwrap_or_default();
            for (n, &part) in parts.iter().enumerate() {
                self.part(part, at..at + len, n > 0);
            }
        } else {
            self.part(c, at..at + len, false);
        }
        len
    }

    /// A character after decomposition; `accent`: it belongs to a letter that was one character.
    fn part(&mut self, c: char, from: Range<usize>, accent: bool) {
        if self.options.marks && is_strippable_mark(c) {
            self.out.disguises.marks += usize::from(!accent);
            self.out.extend_last(from.end);
            return;
        }
        if self.options.compatibility
            && !c.is_ascii()
            && is_combining_mark(c)
            && self.dropped_in_word == 0
            && let Some(last) = self.out.text.chars().next_back()
            && let Some(composed) = compose(last, c)
        {
            self.out.replace_last(composed, from.end);
            self.last_char = composed;
            return;
        }
        let folded = match self.options.homoglyphs {
            Homoglyphs::Keep => None,
            Homoglyphs::Everywhere => look_alike(c),
            Homoglyphs::InMixedWords => {
                let folded =
                    look_alike(c).filter(|to| !to.is_ascii_alphabetic() || self.in_mixed_word(&from));
                self.out.disguises.homoglyphs +=
                    usize::from(folded.is_some_and(|to| to.is_ascii_alphabetic()));
                folded
            }
        };
        let c = folded.unwrap_or(c);
        if !self.options.case {
            self.keep(c, from);
            return;
        }
        for lower in c.to_lowercase() {
            if self.options.marks && is_strippable_mark(lower) {
                continue;
            }
            let lower = match self.options.homoglyphs {
                Homoglyphs::Everywhere if !lower.is_ascii() => {
                    look_alike(lower).or_else(|| look_alike_folded(lower)).unwrap_or(lower)
                }
                _ => lower,
            };
            self.keep(if lower == 'ς' { 'σ' } else { lower }, from.clone());
        }
    }

    fn keep(&mut self, c: char, from: Range<usize>) {
        if self.options.space && c == ' ' && self.last_char.is_whitespace() && !self.out.text.is_empty() {
            // Made of something else (a lone accent, a hidden space) beside a space that is there already.
            self.out.extend_last(from.end);
            return;
        }
        self.before_kept(c);
        if c.len_utf8() == from.len() && !self.shares_piece(&from) {
            let mut bytes = [0; 4];
            self.out.push_linear(c.encode_utf8(&mut bytes), from.start);
        } else {
            self.out.push_block(c, from);
        }
        self.last_char = c;
    }

    /// Whether the original bytes `from` have already given a canonical character.
    fn shares_piece(&self, from: &Range<usize>) -> bool {
        self.out.runs.last().is_some_and(|run| {
            if run.block == 0 {
                run.orig + (self.out.text.len() - run.canon) > from.start
            } else {
                run.orig + run.block > from.start
            }
        })
    }

    /// A character brought to light. Hidden text is a text of its own: it does not join the words around it.
    fn keep_hidden(&mut self, c: char, from: Range<usize>) {
        self.out.disguises.hidden += 1;
        if !self.in_hidden && self.last_char.is_alphanumeric() {
            self.keep(' ', from.clone());
        }
        let goes_on = self.in_hidden;
        self.in_hidden = false;
        let start = self.out.text.len();
        self.keep(if self.options.case { c.to_ascii_lowercase() } else { c }, from);
        let end = self.out.text.len();
        match self.out.hidden.last_mut() {
            Some(last) if goes_on => last.end = end,
            _ => self.out.hidden.push(start..end),
        }
        self.in_hidden = true;
    }

    fn before_kept(&mut self, next: char) {
        if self.in_hidden {
            self.in_hidden = false;
            if next.is_alphanumeric() {
                // Belongs to the piece of the last hidden character.
                self.out.text.push(' ');
            }
        }
        if self.dropped_in_word > 0 {
            if next.is_alphanumeric() {
                self.out.disguises.inside_words += self.dropped_in_word;
            }
            self.dropped_in_word = 0;
        }
    }

    fn drop_invisible(&mut self) {
        self.out.disguises.invisible += 1;
        if self.last_char.is_alphanumeric() {
            self.dropped_in_word += 1;
        }
    }

    /// Tag characters after a black flag name a region; that is an emoji, not a message.
    fn is_flag_tag(&self) -> bool {
        self.last_char == '\u{1F3F4}'
    }

    /// A run of variation selectors: up to three after a character choose its form; more carry bytes.
    fn variation_run(&mut self, first: u8, at: usize, len: usize, tail: &str) -> usize {
        const CARRIES_BYTES: usize = 4;
        let run = tail.chars().map_while(|c| variation_byte(c).map(|byte| (byte, c.len_utf8())));
        if run.clone().take(CARRIES_BYTES - 1).count() < CARRIES_BYTES - 1 {
            self.drop_invisible();
            return len;
        }
        let mut end = at;
        for (byte, width) in std::iter::once((first, len)).chain(run) {
            if byte.is_ascii_graphic() || byte == b' ' {
                self.keep_hidden(char::from(byte), end..end + width);
            } else {
                self.drop_invisible();
            }
            end += width;
        }
        end - at
    }

    fn space_run(&mut self, at: usize, len: usize, tail: &str) -> usize {
        let first = self.original.get(at..at + len).unwrap_or_default();
        let mut breaks = first.contains(is_line_break);
        let mut end = at + len;
        for c in tail.chars() {
            let invisible = self.options.invisible && is_invisible(c) && !c.is_whitespace();
            if !c.is_whitespace() && !invisible {
                break;
            }
            breaks |= is_line_break(c);
            self.out.disguises.invisible += usize::from(invisible);
            end += c.len_utf8();
        }
        if self.last_char.is_whitespace() && !self.out.text.is_empty() {
            // The space kept before becomes the space of the whole run.
            let space = if breaks || self.last_char == '\n' { '\n' } else { ' ' };
            self.out.replace_last(space, end);
            self.last_char = space;
        } else {
            self.keep(if breaks { '\n' } else { ' ' }, at..end);
        }
        end - at
    }

    /// Whether the word around the original bytes `from` holds an ASCII letter. Each word is looked at once.
    fn in_mixed_word(&mut self, from: &Range<usize>) -> bool {
        if let Some((end, mixed)) = self.word
            && from.start < end
        {
            return mixed;
        }
        let belongs = |c: &char| c.is_alphanumeric() || is_invisible(*c) || is_combining_mark(*c);
        let before = self.original.get(..from.start).unwrap_or_default();
        let after = self.original.get(from.start..).unwrap_or_default();
        let length: usize = after.chars().take_while(belongs).map(char::len_utf8).sum();
        // Only the word's own beginning is new: earlier parts of it were kept as ASCII in one piece.
        let mixed = after.get(..length).unwrap_or_default().contains(|c: char| c.is_ascii_alphabetic())
            || before.chars().rev().take_while(belongs).take(64).any(|c| c.is_ascii_alphabetic());
        self.word = Some((from.start + length, mixed));
        mixed
    }
}

/// Whether `text` is ASCII that no step but the case changes.
fn is_plain_ascii(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, 0x20..=0x7e | b'\n' | b'\t' | b'\r'))
}

/// Characters that NFKC leaves alone and that make up most texts: no look at the tables.
const fn is_stable(c: char) -> bool {
    matches!(c,
        '\u{0410}'..='\u{0418}' | '\u{041A}'..='\u{0438}' | '\u{043A}'..='\u{044F}'
        | '\u{3041}'..='\u{3096}' | '\u{30A1}'..='\u{30FA}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{AC00}'..='\u{D7A3}' | '\u{1F300}'..='\u{1FAFF}')
}

const fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{0B}' | '\u{0C}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Characters without a glyph of their own, by which a word can be split unseen.
pub const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\0'..='\u{08}' | '\u{0E}'..='\u{1F}' | '\u{7F}' | '\u{80}'..='\u{84}' | '\u{86}'..='\u{9F}' | '\u{AD}'
        | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// The ASCII character that a tag character hides.
fn tag_letter(c: char) -> Option<char> {
    match c {
        '\u{E0020}'..='\u{E007E}' => char::from_u32(u32::from(c) - 0xE0000),
        _ => None,
    }
}

/// The byte that a variation selector stands for when they are used to carry data.
fn variation_byte(c: char) -> Option<u8> {
    match c {
        '\u{FE00}'..='\u{FE0F}' => u8::try_from(u32::from(c) - 0xFE00).ok(),
        '\u{E0100}'..='\u{E01EF}' => u8::try_from(u32::from(c) - 0xE0100 + 16).ok(),
        _ => None,
    }
}

/// Marks that carry no letter of their own in the scripts that use them.
const fn is_strippable_mark(c: char) -> bool {
    matches!(c,
        '\u{0300}'..='\u{036F}' | '\u{0483}'..='\u{0489}' | '\u{0591}'..='\u{05BD}' | '\u{05BF}'..='\u{05C7}'
        | '\u{0610}'..='\u{061A}' | '\u{064B}'..='\u{065F}' | '\u{0670}' | '\u{06D6}'..='\u{06ED}'
        | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}')
}

#[cfg(test)]
mod tests;
