//! The words of a text and what is known of each.

use super::{
    super::{found::Claims, found::Kind, view::View},
    lexicon::{self, FAMILY, GIVEN},
};

/// How a word stands after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// The first word, or something else stands between.
    Apart,
    /// One to three spaces.
    Space,
    /// A line break, with spaces around it.
    Line,
    /// A comma and a space.
    Comma,
    /// `:` or `=` and perhaps spaces or a quotation mark.
    Sign,
}

/// How a word is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Lower,
    /// `Maria`, `McDonald`
    Capital,
    /// `MARIA`
    Upper,
    /// `J.` or `J`
    Initial,
    /// A part of an identifier, an address, a number.
    Code,
}

/// One word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) flags: u16,
    pub(super) shape: Shape,
    pub(super) gap: Gap,
    /// Whether a sentence, a line or a quotation begins with it.
    pub(super) first: bool,
}

impl Word {
    pub(super) const fn is(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    /// A given or family name.
    pub(super) const fn known(&self) -> bool {
        self.is(GIVEN | FAMILY)
    }
}

/// Splits `view` into words of alphabetic scripts with case.
pub(super) fn split(
    view: &View<'_>,
    claims: &Claims,
    taken: &mut Vec<(usize, usize, Kind)>,
    words: &mut Vec<Word>,
) {
    words.clear();
    taken.clear();
    taken.extend(claims.all().iter().filter(|c| c.kind != Kind::Person).map(|c| (c.start, c.end, c.kind)));
    taken.sort_by_key(|&(start, end, _)| (start, std::cmp::Reverse(end)));
    let text = view.text;
    let mut folded = String::new();
    let mut claim = 0;
    let mut chars = text.char_indices().peekable();
    let mut last_end = 0;
    while let Some((start, c)) = chars.next() {
        if !is_letter(c) {
            continue;
        }
        let mut end = start + c.len_utf8();
        while let Some(&(at, next)) = chars.peek() {
            let inside = is_letter(next)
                || unicode_normalization::char::is_combining_mark(next)
                || (matches!(next, '\'' | '-')
                    && text.get(at + 1..).and_then(|rest| rest.chars().next()).is_some_and(is_letter));
            if !inside {
                break;
            }
            end = at + next.len_utf8();
            chars.next();
        }
        let (start, end) = trim(text, start, end);
        let word = view.slice(start, end);
        while taken.get(claim).is_some_and(|&(_, to, _)| to <= start) {
            claim += 1;
        }
        let code = taken.get(claim).is_some_and(|&(from, to, _)| from < end && start < to)
            || is_code(view, start, end);
        let gap = gap(view.slice(last_end, start), words.is_empty());
        let first = gap == Gap::Line || starts_sentence(view, start);
        let shape = if code { Shape::Code } else { shape(view, word, end) };
        let end = if shape == Shape::Initial && view.byte(end) == b'.' { end + 1 } else { end };
        folded.clear();
        let flags = if code { 0 } else { known(word, &mut folded) };
        words.push(Word { start, end, flags, shape, gap, first });
        last_end = end;
    }
}

/// Letters of scripts that write names with capitals.
fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || (!c.is_ascii() && (c.is_lowercase() || c.is_uppercase()))
}

/// Cuts a possessive (`Maria's`) and an elided article (`l'Anna`, `all'Anna`).
fn trim(text: &str, start: usize, end: usize) -> (usize, usize) {
    let word = text.get(start..end).unwrap_or("");
    if let Some(rest) = word.strip_suffix("'s").or_else(|| word.strip_suffix("'S")) {
        return (start, start + rest.len());
    }
    if let Some((head, tail)) = word.split_once('\'') {
        let elided = head.len() <= 6 && head.chars().all(char::is_lowercase);
        if elided && tail.chars().next().is_some_and(char::is_uppercase) {
            return (end - tail.len(), end);
        }
    }
    (start, end)
}

fn is_code(view: &View<'_>, start: usize, end: usize) -> bool {
    let odd = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'_' | b'@' | b'#' | b'/' | b'\\' | b'$');
    let (before, after) = (view.before(start), view.byte(end));
    odd(before)
        || before == b'.'
            && start >= 2
            && view.byte(start - 2).is_ascii_alphanumeric()
            && end - start > 1
            && !view.byte(start).is_ascii_uppercase()
        || before == b'-' && start >= 2 && view.byte(start - 2) == b'-'
        || (odd(after) && after != b'/')
        || after == b'(' && view.byte(end + 1) != b' ' && !view.before(start).is_ascii_whitespace()
        || matches!(after, b'.') && view.byte(end + 1).is_ascii_lowercase()
}

fn shape(view: &View<'_>, word: &str, end: usize) -> Shape {
    let mut chars = word.chars();
    let Some(first) = chars.next() else { return Shape::Lower };
    if !first.is_uppercase() {
        return Shape::Lower;
    }
    let mut letters = 0;
    let mut upper = 0;
    for c in chars.filter(|c| c.is_alphabetic()) {
        letters += 1;
        upper += usize::from(c.is_uppercase());
    }
    match (letters, upper) {
        (0, _) if view.byte(end) == b'.' => Shape::Initial,
        (0, _) => Shape::Code,
        (n, m) if n == m => Shape::Upper,
        (_, m) if m <= 2 => Shape::Capital,
        _ => Shape::Code,
    }
}

/// What is known of the word; of a word with hyphens also what its parts are.
fn known(word: &str, folded: &mut String) -> u16 {
    lexicon::fold(word, folded);
    let mut flags = lexicon::look_up(folded);
    if flags & (GIVEN | FAMILY) == 0 {
        for part in word.split('-').filter(|part| part.len() > 2 && part.len() < word.len()) {
            folded.clear();
            lexicon::fold(part, folded);
            flags |= lexicon::look_up(folded) & (GIVEN | FAMILY);
        }
    }
    flags
}

fn gap(between: &str, none_before: bool) -> Gap {
    if none_before || between.is_empty() || between.len() > 24 {
        return Gap::Apart;
    }
    let blank = between.trim_start_matches([' ', '\t']);
    if blank.is_empty() {
        return if between.len() <= 3 { Gap::Space } else { Gap::Apart };
    }
    if between.bytes().all(|b| b.is_ascii_whitespace()) {
        return Gap::Line;
    }
    match between.trim_matches(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\'' | '*' | '`')) {
        "," if between.contains('\n') => Gap::Line,
        "," if between.starts_with(", ") && between.len() == 2 => Gap::Comma,
        "." if between == ". " => Gap::Apart,
        ":" | "=" | "=>" | "->" if !between.contains('\n') => Gap::Sign,
        _ => Gap::Apart,
    }
}

fn starts_sentence(view: &View<'_>, start: usize) -> bool {
    let before = view.slice(0, start);
    let mut back = before.char_indices().rev().take(4).map(|(_, c)| c);
    loop {
        match back.next() {
            None => return before.len() < 4,
            Some(' ' | '"' | '\'' | '(' | '*' | '\u{2022}' | '-') => {}
            Some('.' | '!' | '?' | '\n' | '>' | '|' | ';') => return true,
            Some(_) => return false,
        }
    }
}
