//! Words of a text, with what names are recognised by.

use super::lexicon::{self, Known};
use crate::detect::pii::view::View;

/// How a word is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `anna`
    Lower,
    /// `Anna`, `Jean-Luc`, `O'Brien`
    Title,
    /// `ANNA`
    Upper,
    /// `A`
    Initial,
    /// `iPhone`, `DataFrame`
    Mixed,
}

/// What stands before a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// The start of the text, or punctuation.
    Other,
    /// One space, or two.
    Space,
    /// A line break.
    Line,
    /// A full stop and at most a space.
    Dot,
    /// A comma and a space.
    Comma,
    /// A colon or equals sign, maybe with spaces and quotes.
    Is,
    /// `&` or `+` between spaces.
    And,
    /// A hyphen between spaces is [`Gap::Other`]; this is an apostrophe (`Anna's`).
    Apostrophe,
}

/// A word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) known: Known,
    pub(super) shape: Shape,
    pub(super) gap: Gap,
    /// It begins a sentence, a line or a quotation.
    pub(super) first: bool,
    /// It is a piece of something that is no text (`@anna`, `#anna`, `anna_1`, `x.anna`).
    pub(super) piece: bool,
    /// `'s` follows.
    pub(super) possessive: bool,
    pub(super) letters: u8,
}

impl Token {
    /// Whether it begins with a capital letter.
    pub(super) const fn capital(&self) -> bool {
        !matches!(self.shape, Shape::Lower)
    }
}

/// Reads the words of `view` into `tokens`. Words of scripts that have no case and set no spaces are left out.
pub(super) fn read(view: &View<'_>, buffer: &mut String, tokens: &mut Vec<Token>) {
    tokens.clear();
    let text = view.text;
    let mut last_end = 0;
    let bytes = view.bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte.is_ascii() && !byte.is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let Some(c) = view.char_at(at) else { break };
        let start = at;
        at += c.len_utf8();
        if !is_letter(c) {
            continue;
        }
        let mut end = at;
        let mut letters = 1_usize;
        let mut upper = usize::from(c.is_uppercase());
        let mut inner_upper = false;
        // The letter before was a separator inside the word.
        let mut fresh = false;
        while let Some(&byte) = bytes.get(end) {
            match byte {
                b'a'..=b'z' => {
                    letters += 1;
                    fresh = false;
                    end += 1;
                }
                b'A'..=b'Z' => {
                    letters += 1;
                    upper += 1;
                    inner_upper |= !fresh;
                    fresh = false;
                    end += 1;
                }
                b'-' | b'\'' => {
                    let joins = view.char_at(end + 1).is_some_and(is_letter)
                        && !(byte == b'\'' && contraction(text, start, end));
                    if !joins {
                        break;
                    }
                    fresh = true;
                    end += 1;
                }
                0x80.. => {
                    let Some(c) = view.char_at(end).filter(|&c| is_letter(c)) else { break };
                    letters += 1;
                    if c.is_uppercase() {
                        upper += 1;
                        inner_upper |= !fresh;
                    }
                    fresh = false;
                    end += c.len_utf8();
                }
                _ => break,
            }
        }
        at = end;
        let word = view.slice(start, end);
        let (gap, first) = gap(text.get(last_end..start).unwrap_or(""), last_end == 0);
        let first_upper = c.is_uppercase();
        let shape = match () {
            () if !first_upper && upper == 0 => Shape::Lower,
            () if letters == 1 => Shape::Initial,
            () if upper == letters => Shape::Upper,
            () if first_upper && (!inner_upper || prefixed(word, upper)) => Shape::Title,
            () => Shape::Mixed,
        };
        let before = view.char_before(start);
        let after = view.char_at(end);
        let beyond = text.get(end..).and_then(|rest| rest.chars().nth(1));
        let piece = before.is_some_and(|c| {
            matches!(c, '@' | '#' | '_' | '/' | '\\' | '$' | '~' | '%') || c.is_ascii_digit()
        }) || (before == Some('.')
            && view.char_before(start - 1).is_some_and(char::is_alphanumeric)
            && shape != Shape::Initial
            && !view.disguised(start - 1)
            && last_gap_is_tight(text, start))
            || after.is_some_and(|c| matches!(c, '_' | '@' | '\\') || c.is_ascii_digit())
            || (matches!(after, Some('(')) && shape == Shape::Lower)
            || (matches!(after, Some('.' | ':' | '/'))
                && beyond.is_some_and(|c| c.is_alphanumeric() || c == ':' || c == '/')
                && letters > 1);
        let known = if letters == 1 && first_upper { Known::NONE } else { lexicon::look_up(word, buffer) };
        let possessive = matches!(after, Some('\''));
        tokens.push(Token {
            start,
            end,
            known,
            shape,
            gap,
            first,
            piece,
            possessive,
            letters: u8::try_from(letters).unwrap_or(u8::MAX),
        });
        last_end = end;
    }
}

/// Letters of scripts with case (and their marks); what else there is has its own reader.
fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
        || (matches!(u32::from(c), 0xaa..=0x52f | 0x531..=0x587 | 0x10a0..=0x10ff | 0x1e00..=0x1fff)
            && (c.is_alphabetic() || matches!(u32::from(c), 0x300..=0x36f)))
}

/// `x.Anna` without a space is code, `H.Anna` is not.
fn last_gap_is_tight(text: &str, start: usize) -> bool {
    text.get(..start - 1).and_then(|rest| rest.chars().rev().nth(1)).is_some_and(char::is_alphanumeric)
}

/// Whether the apostrophe at `at` of the word from `start` ends it: `Anna's`, `don't`, `l'été`.
fn contraction(text: &str, start: usize, at: usize) -> bool {
    let before = text.get(start..at).unwrap_or("");
    let elided = matches!(
        before,
        "l" | "d"
            | "j"
            | "n"
            | "s"
            | "c"
            | "m"
            | "t"
            | "qu"
            | "L"
            | "J"
            | "C"
            | "all"
            | "dell"
            | "dall"
            | "un"
            | "nell"
            | "sull"
    );
    let after = text.get(at + 1..).unwrap_or("");
    let tail = after.chars().take_while(|&c| is_letter(c)).count();
    let suffix = tail <= 2 && after.starts_with(['s', 't', 'm', 'r', 'l', 'v', 'd', 'S']);
    elided || suffix
}

/// Whether the second capital letter is that of `McDonald`, `LeBron`, `O'Neil` and the like.
fn prefixed(word: &str, upper: usize) -> bool {
    upper == 2
        && ["Mc", "Mac", "De", "Di", "Le", "La", "Fitz", "Van", "Von", "Du", "Al", "El", "Da", "Des", "Jo"]
            .into_iter()
            .any(|prefix| {
                word.strip_prefix(prefix).is_some_and(|rest| {
                    rest.chars().next().is_some_and(char::is_uppercase) && rest.chars().count() >= 3
                })
            })
}

fn gap(between: &str, start: bool) -> (Gap, bool) {
    match between {
        " " if !start => return (Gap::Space, false),
        _ => {}
    }
    let trimmed = between.trim_matches(|c: char| matches!(c, '"' | '\'' | '*' | '_' | '`'));
    let quoted = trimmed.len() != between.len();
    if start {
        return (Gap::Other, true);
    }
    match between {
        " " | "  " => return (Gap::Space, false),
        ", " => return (Gap::Comma, false),
        "." | ". " => return (Gap::Dot, between == ". "),
        "'" => return (Gap::Apostrophe, false),
        ",\n" => return (Gap::Comma, true),
        " & " | " + " => return (Gap::And, false),
        _ => {}
    }
    let line = between.contains('\n');
    if between.trim().is_empty() {
        return (if line { Gap::Line } else { Gap::Other }, line);
    }
    let is = between.contains(':') || between.contains('=');
    let first = line || quoted || between.contains(['.', '!', '?', ':', '|', ';', '<', '(', '[', '>', '-']);
    (if is && !line { Gap::Is } else { Gap::Other }, first)
}
