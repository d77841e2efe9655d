//! Other readings of a text: what is left when invisible characters, escapes, line wraps and encodings are undone,
//! with a map back to the text itself.
//!
//! All work is linear: a reading is never longer than the text that it comes from, and readings nest at most
//! [`MAX_DEPTH`] deep.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::chars::{Set, at, before, run, run_back};

/// Encodings inside encodings beyond this stay closed.
pub(super) const MAX_DEPTH: usize = 2;
/// Shorter runs of base64 or hexadecimal digits hold no secret worth the name.
const MIN_ENCODED: usize = 24;
/// Runs of single characters with separators shorter than this are spelling, not disguise.
const MIN_SPACED: usize = 16;
/// Lines of a wrapped token have at least this many characters.
const MIN_WRAPPED: usize = 4;

/// A reading of a part of a text.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) text: String,
    /// Places in `text` where something was left out.
    pub(super) seams: Vec<usize>,
    map: Map,
}

#[derive(Debug)]
enum Map {
    /// Every part stands for this whole range.
    Whole(usize, usize),
    /// Pieces in order.
    Pieces(Vec<Piece>),
}

/// `text[start..]`, up to the next piece, came from `from..from + len`.
#[derive(Debug, Clone, Copy)]
struct Piece {
    start: usize,
    from: usize,
    /// Absent: copied byte for byte.
    len: Option<usize>,
}

impl Reading {
    fn new() -> Self {
        Self { text: String::new(), seams: Vec::new(), map: Map::Pieces(Vec::new()) }
    }

    fn whole(text: String, from: usize, to: usize) -> Self {
        Self { text, seams: Vec::new(), map: Map::Whole(from, to) }
    }

    fn copy(&mut self, text: &str, from: usize, to: usize) {
        let Some(part) = text.get(from..to).filter(|part| !part.is_empty()) else { return };
        self.piece(Piece { start: self.text.len(), from, len: None });
        self.text.push_str(part);
    }

    fn put(&mut self, with: char, from: usize, len: usize) {
        self.piece(Piece { start: self.text.len(), from, len: Some(len) });
        self.text.push(with);
    }

    fn leave_out(&mut self) {
        if self.seams.last() != Some(&self.text.len()) {
            self.seams.push(self.text.len());
        }
    }

    fn piece(&mut self, piece: Piece) {
        if let Map::Pieces(pieces) = &mut self.map {
            pieces.push(piece);
        }
    }

    /// The range of the original text that `start..end` of this reading came from.
    pub(super) fn origin(&self, start: usize, end: usize) -> (usize, usize) {
        match &self.map {
            Map::Whole(from, to) => (*from, *to),
            Map::Pieces(pieces) => {
                let of = |place: usize| {
                    let next = pieces.partition_point(|piece| piece.start <= place);
                    next.checked_sub(1).and_then(|index| pieces.get(index)).copied()
                };
                let first = of(start).map_or(0, |piece| match piece.len {
                    None => piece.from + (start - piece.start),
                    Some(_) => piece.from,
                });
                let last = end.checked_sub(1).and_then(of).map_or(0, |piece| match piece.len {
                    None => piece.from + (end - piece.start),
                    Some(len) => piece.from + len,
                });
                (first, last)
            }
        }
    }
}

/// The text without invisible characters, line continuations and joined strings, with escapes (`\u0064`, `%64`,
/// `&#100;`) and look-alike letters replaced. `None` when that is the text itself.
pub(super) fn plain(text: &str) -> Option<Reading> {
    let bytes = text.as_bytes();
    let mut reading: Option<Reading> = None;
    let (mut done, mut place) = (0, 0);
    while let Some(&byte) = bytes.get(place) {
        if byte.is_ascii() && !matches!(byte, b'\\' | b'%' | b'&' | b'"' | b'\'' | b'=') {
            place += 1;
            continue;
        }
        let Some((len, with)) = undo(text, place) else {
            place += if byte.is_ascii() { 1 } else { char_len(text, place) };
            continue;
        };
        let reading = reading.get_or_insert_with(Reading::new);
        reading.copy(text, done, place);
        match with {
            Some(with) => reading.put(with, place, len),
            None => reading.leave_out(),
        }
        place += len;
        done = place;
    }
    let mut reading = reading?;
    reading.copy(text, done, text.len());
    Some(reading)
}

fn char_len(text: &str, place: usize) -> usize {
    text.get(place..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
}

/// The escape or disguise at `place`: its length, and what it stands for.
fn undo(text: &str, place: usize) -> Option<(usize, Option<char>)> {
    let bytes = text.as_bytes();
    match at(bytes, place) {
        b'\\' => backslash(bytes, place),
        b'%' => {
            let byte = hex(bytes, place + 1, 2)?;
            printable(byte).map(|c| (3, Some(c)))
        }
        b'&' => entity(bytes, place),
        b'=' => {
            // Quoted-printable: a line that goes on, or an escaped equals sign.
            if has(bytes, place, b"=3D") || has(bytes, place, b"=3d") {
                return Set::WORD.has(at(bytes, place + 3)).then_some((3, Some('=')));
            }
            let line = line_break(bytes, place + 1)?;
            let inside = Set::URL64.has(before(bytes, place)) && Set::URL64.has(at(bytes, place + 1 + line));
            inside.then_some((1 + line, None))
        }
        quote @ (b'"' | b'\'') => joined_strings(bytes, place, quote).map(|len| (len, None)),
        _ => {
            let c = text.get(place..)?.chars().next()?;
            let len = c.len_utf8();
            if let Some(with) = look_alike(c) {
                // Within a word of its own alphabet it is what it is.
                let inside = Set::URL64.has(before(bytes, place)) || Set::URL64.has(at(bytes, place + len));
                return inside.then_some((len, Some(with)));
            }
            disguise(c).map(|with| (len, with))
        }
    }
}

fn backslash(bytes: &[u8], place: usize) -> Option<(usize, Option<char>)> {
    match at(bytes, place + 1) {
        b'u' if at(bytes, place + 2) == b'{' => {
            let end = run(bytes, place + 3, Set::HEX, 6);
            (at(bytes, end) == b'}').then_some(())?;
            let with = printable(hex(bytes, place + 3, end - place - 3)?)?;
            Some((end + 1 - place, Some(with)))
        }
        b'u' => match hex(bytes, place + 2, 4)? {
            0x200b..=0x200f | 0x2060..=0x2064 | 0xfeff | 0xad => Some((6, None)),
            code => printable(code).map(|with| (6, Some(with))),
        },
        b'x' => printable(hex(bytes, place + 2, 2)?).map(|with| (4, Some(with))),
        quote @ (b'"' | b'\'' | b'/') => Some((2, Some(char::from(quote)))),
        b'\n' | b'\r' => {
            let line = line_break(bytes, place + 1)?;
            let indent = run(bytes, place + 1 + line, Set::NONE.one(b' ').one(b'\t'), 64);
            Some((indent - place, None))
        }
        _ => None,
    }
}

fn entity(bytes: &[u8], place: usize) -> Option<(usize, Option<char>)> {
    if at(bytes, place + 1) == b'#' {
        let (digits, radix, set) = if matches!(at(bytes, place + 2), b'x' | b'X') {
            (place + 3, 16, Set::HEX)
        } else {
            (place + 2, 10, Set::DIGIT)
        };
        let end = run(bytes, digits, set, 6);
        let code = std::str::from_utf8(bytes.get(digits..end)?).ok()?;
        let with = printable(u32::from_str_radix(code, radix).ok()?)?;
        let end = if at(bytes, end) == b';' { end + 1 } else { end };
        return Some((end - place, Some(with)));
    }
    [("&amp;", '&'), ("&quot;", '"'), ("&lt;", '<'), ("&gt;", '>'), ("&apos;", '\'')]
        .into_iter()
        .find(|(name, _)| has(bytes, place, name.as_bytes()))
        .map(|(name, with)| (name.len(), Some(with)))
}

/// `" + "` and the like between two parts of a token: the length from one quote to the other.
fn joined_strings(bytes: &[u8], place: usize, quote: u8) -> Option<usize> {
    const SPACE: Set = Set::NONE.one(b' ').one(b'\t').one(b'\n').one(b'\r');
    const TOKEN: Set = Set::URL64.one(b'.').one(b'/').one(b'+').one(b'=');
    if !TOKEN.has(before(bytes, place)) {
        return None;
    }
    let mut end = run(bytes, place + 1, SPACE, 64);
    let line = bytes.get(place + 1..end)?.contains(&b'\n');
    let operator = run(bytes, end, Set::NONE.one(b'+').one(b'.').one(b'&').one(b'\\'), 2);
    if operator == end && !line {
        return None;
    }
    end = run(bytes, operator, SPACE, 64);
    (at(bytes, end) == quote && TOKEN.has(at(bytes, end + 1))).then_some(end + 1 - place)
}

/// The Latin letter that a letter of another alphabet looks like.
fn look_alike(c: char) -> Option<char> {
    let latin = match c {
        'а' | 'α' => 'a',
        'е' => 'e',
        'о' | 'ο' => 'o',
        'р' | 'ρ' => 'p',
        'с' | 'ϲ' => 'c',
        'у' => 'y',
        'х' => 'x',
        'і' | 'ι' => 'i',
        'ј' => 'j',
        'ѕ' => 's',
        'ԁ' => 'd',
        'һ' => 'h',
        'ԛ' => 'q',
        'ԝ' => 'w',
        'А' | 'Α' => 'A',
        'В' | 'Β' => 'B',
        'С' => 'C',
        'Е' | 'Ε' => 'E',
        'Н' | 'Η' => 'H',
        'І' | 'Ι' => 'I',
        'К' | 'Κ' => 'K',
        'М' | 'Μ' => 'M',
        'О' | 'Ο' => 'O',
        'Р' | 'Ρ' => 'P',
        'Ѕ' => 'S',
        'Т' | 'Τ' => 'T',
        'Х' | 'Χ' => 'X',
        '\u{2010}'..='\u{2013}' | '\u{2212}' => '-',
        _ => return None,
    };
    Some(latin)
}

/// What an invisible or compatibility character stands for: `Some(None)` for nothing.
fn disguise(c: char) -> Option<Option<char>> {
    match c {
        '\u{e0020}'..='\u{e007e}' => {
            return Some(char::from_u32(u32::from(c) - 0xe0000));
        }
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{e0000}'..='\u{e0fff}' => return Some(None),
        _ => {}
    }
    if is_combining_mark(c) {
        return Some(None);
    }
    // Full-width, mathematical and circled forms.
    let mut plain = std::iter::once(c).nfkc();
    let first = plain.next()?;
    (plain.next().is_none() && (first.is_ascii_alphanumeric() || matches!(first, '-' | '_' | '.')))
        .then_some(Some(first))
}

/// Runs of base64 or hexadecimal digits that decode to text.
pub(super) fn encoded(text: &str, mut each: impl FnMut(Reading)) {
    const RUN: Set = Set::BASE64.one(b'-').one(b'_');
    let bytes = text.as_bytes();
    // A run of this length covers a place that is a multiple of it.
    let mut place = MIN_ENCODED - 1;
    while place < bytes.len() {
        if !RUN.has(at(bytes, place)) {
            place += MIN_ENCODED;
            continue;
        }
        let start = run_back(bytes, place, RUN, MIN_ENCODED);
        let mut end = run(bytes, place, RUN, usize::MAX);
        if end - start < MIN_ENCODED {
            place = end + MIN_ENCODED;
            continue;
        }
        // Lines of equal length, as mail and PEM have them.
        while end - start >= 60
            && let Some(line) = line_break(bytes, end)
        {
            let next = run(bytes, end + line, RUN, usize::MAX);
            if next - end - line < 2 {
                break;
            }
            end = next;
        }
        let padding = run(bytes, end, Set::NONE.one(b'='), 2);
        if let Some(reading) = decode(text, start, end, padding) {
            each(reading);
        }
        place = padding.max(end) + MIN_ENCODED;
    }
}

/// Decodes the run `start..end`; its last part when the run begins with something else (a path, a prefix).
fn decode(text: &str, start: usize, end: usize, padded: usize) -> Option<Reading> {
    let bytes = text.as_bytes();
    let run = bytes.get(start..end)?;
    if run.iter().all(|byte| Set::HEX.has(*byte))
        && let Some(decoded) = hex_text(run)
    {
        return Some(Reading::whole(decoded, start, end));
    }
    let mut from = start;
    for _ in 0..8 {
        let part = bytes.get(from..end)?;
        if part.len() < MIN_ENCODED {
            return None;
        }
        if starts_like_text(part)
            && let Some(decoded) = base64_text(part)
        {
            return Some(Reading::whole(decoded, from, padded));
        }
        let separator = part.iter().position(|byte| matches!(byte, b'/' | b'-' | b'_' | b'+'))?;
        from += separator + 1;
    }
    None
}

fn digit64(byte: u8) -> Option<u32> {
    let digit = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u32::from(digit))
}

fn textual(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t') || byte >= 0x80
}

/// Whether the first digits decode to ASCII text: refuses almost every run that is not encoded text at once.
fn starts_like_text(part: &[u8]) -> bool {
    part.get(..16).is_some_and(|first| {
        first.chunks(4).all(|four| {
            let bits = four.iter().try_fold(0_u32, |bits, byte| Some(bits << 6 | digit64(*byte)?));
            bits.is_some_and(|bits| {
                bits.to_be_bytes().iter().skip(1).all(|byte| textual(*byte) && byte.is_ascii())
            })
        })
    })
}

fn base64_text(part: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(part.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in part {
        let Some(digit) = digit64(*byte) else { continue };
        bits = bits << 6 | digit;
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push(u8::try_from(bits >> count & 0xff).unwrap_or(0));
        }
    }
    readable(decoded)
}

fn hex_text(run: &[u8]) -> Option<String> {
    if !run.len().is_multiple_of(2) {
        return None;
    }
    let decoded: Option<Vec<u8>> = run
        .chunks(2)
        .map(|pair| hex(pair, 0, 2).and_then(|byte| u8::try_from(byte).ok()).filter(|byte| textual(*byte)))
        .collect();
    readable(decoded?)
}

fn readable(decoded: Vec<u8>) -> Option<String> {
    let decoded = String::from_utf8(decoded).ok()?;
    decoded.bytes().all(textual).then_some(decoded)
}

/// Runs of single characters with one and the same separator between them (`d a p i 1 …`).
pub(super) fn spaced(text: &str, mut each: impl FnMut(Reading)) {
    const SEPARATORS: Set = Set::NONE.one(b' ').one(b'-').one(b'.').one(b'|').one(b',').one(b'*');
    let bytes = text.as_bytes();
    let mut place = MIN_SPACED;
    while place < bytes.len() {
        let pair = |place: usize, separator: u8| {
            at(bytes, place) == separator && Set::WORD.has(at(bytes, place + 1))
        };
        let first = if SEPARATORS.has(at(bytes, place)) { place } else { place + 1 };
        let separator = at(bytes, first);
        if !(SEPARATORS.has(separator) && pair(first, separator) && pair(first + 2, separator)) {
            place += MIN_SPACED;
            continue;
        }
        let mut start = first;
        while let Some(earlier) = start.checked_sub(2)
            && pair(earlier, separator)
        {
            start = earlier;
        }
        // The character before the first separator, unless it ends a word.
        let word = start.checked_sub(2).is_some_and(|place| Set::WORD.has(at(bytes, place)));
        let start = if word { start + 1 } else { start.saturating_sub(1) };
        let mut end = first;
        while pair(end, separator) {
            end += 2;
        }
        // The last one begins a word.
        if Set::WORD.has(at(bytes, end)) {
            end -= 2;
        }
        if end - start >= 2 * MIN_SPACED {
            let mut reading = Reading::new();
            for (index, _) in bytes.get(start..end).unwrap_or_default().iter().enumerate().step_by(2) {
                reading.copy(text, start + index, start + index + 1);
            }
            each(reading);
        }
        place = end.max(place) + MIN_SPACED;
    }
}

/// Tokens that a line break (with indentation, or a quote mark of mail) cuts in two or more.
pub(super) fn wrapped(text: &str, mut each: impl FnMut(Reading)) {
    const TOKEN: Set = Set::URL64
        .one(b'.')
        .one(b'~')
        .one(b'+')
        .one(b'/')
        .one(b'=')
        .one(b':')
        .one(b'@')
        .one(b'&')
        .one(b';')
        .one(b'?');
    let bytes = text.as_bytes();
    let mut done = 0;
    while let Some(found) = bytes.get(done..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        let mut newline = done + found;
        let line_end = if before(bytes, newline) == b'\r' { newline - 1 } else { newline };
        let start = run_back(bytes, line_end, TOKEN, 512).max(done);
        done = newline + 1;
        if line_end - start < MIN_WRAPPED {
            continue;
        }
        let mut reading = Reading::new();
        reading.copy(text, start, line_end);
        loop {
            let from = indentation(bytes, newline + 1);
            let to = run(bytes, from, TOKEN, usize::MAX);
            if to - from < MIN_WRAPPED {
                break;
            }
            reading.leave_out();
            reading.copy(text, from, to);
            done = to;
            let Some(line) = line_break(bytes, to) else { break };
            newline = to + line - 1;
            done = newline;
        }
        let mixed = |set: Set| reading.text.bytes().any(|byte| set.has(byte));
        if !reading.seams.is_empty() && mixed(Set::DIGIT) && mixed(Set::LETTER) {
            each(reading);
        }
        done = done.max(newline);
        if at(bytes, done) == b'\n' {
            done += 1;
        }
    }
}

fn indentation(bytes: &[u8], from: usize) -> usize {
    run(bytes, from, Set::NONE.one(b' ').one(b'\t').one(b'>'), 32)
}

fn line_break(bytes: &[u8], place: usize) -> Option<usize> {
    match (at(bytes, place), at(bytes, place + 1)) {
        (b'\n', _) => Some(1),
        (b'\r', b'\n') => Some(2),
        _ => None,
    }
}

fn hex(bytes: &[u8], from: usize, len: usize) -> Option<u32> {
    let digits = bytes.get(from..from + len).filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0_u32, |value, byte| Some(value << 4 | char::from(*byte).to_digit(16)?))
}

fn printable(code: u32) -> Option<char> {
    char::from_u32(code).filter(|c| matches!(c, ' '..='~'))
}

fn has(bytes: &[u8], place: usize, word: &[u8]) -> bool {
    bytes.get(place..place + word.len()) == Some(word)
}
