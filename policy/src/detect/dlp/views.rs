//! Other readings of a text: what is left when invisible characters, escapes, line wraps and encodings are undone,
//! with a map back to the text itself.
//!
//! All work is linear: a reading is never longer than the text that it comes from, and readings nest at most
//! [`MAX_DEPTH`] deep.

mod encoded;
mod joined;

pub(super) use encoded::{decoded_at, encoded};
pub(super) use joined::{spaced, wrapped};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::chars::{Set, at, before, run};

/// Encodings inside encodings beyond this stay closed.
pub(super) const MAX_DEPTH: usize = 2;
/// Shorter runs of encoded text, or shorter wrapped tokens, hold no secret worth the name.
const MIN_ENCODED: usize = 24;

/// A reading of a part of a text.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) text: String,
    /// Places in `text` where lines were put together.
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
    const MARKS: Set = Set::NONE.one(b'\\').one(b'%').one(b'&').one(b'"').one(b'\'').one(b'=');
    let bytes = text.as_bytes();
    // Ordinary texts hold none of this, which is told at the speed of memory.
    let marked = !text.is_ascii()
        || memchr::memchr3(b'\\', b'%', b'&', bytes).is_some()
        || memchr::memchr(b'+', bytes).is_some()
        || [&b"\"\n"[..], b"'\n", b"\"\r", b"'\r", b"\" . \"", b"' . '", b"=\n", b"=\r", b"=3D", b"=3d"]
            .iter()
            .any(|joint| memchr::memmem::find(bytes, joint).is_some());
    if !marked {
        return None;
    }
    let mut reading: Option<Reading> = None;
    let (mut done, mut place) = (0, 0);
    while let Some(ahead) =
        bytes.get(place..).and_then(|rest| rest.iter().position(|byte| !byte.is_ascii() || MARKS.has(*byte)))
    {
        place += ahead;
        let byte = at(bytes, place);
        let Some((len, with)) = undo(text, place) else {
            place += if byte.is_ascii() { 1 } else { char_len(text, place) };
            continue;
        };
        let reading = reading.get_or_insert_with(Reading::new);
        reading.copy(text, done, place);
        match with {
            Left::Char(with) => reading.put(with, place, len),
            Left::Nothing => {
                if bytes.get(place..place + len).is_some_and(|gone| gone.contains(&b'\n')) {
                    reading.leave_out();
                }
            }
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
fn undo(text: &str, place: usize) -> Option<(usize, Left)> {
    let bytes = text.as_bytes();
    match at(bytes, place) {
        b'\\' => backslash(bytes, place),
        b'%' => {
            let byte = hex(bytes, place + 1, 2)?;
            printable(byte).map(|c| (3, Left::Char(c)))
        }
        b'&' => entity(bytes, place),
        b'=' => {
            // Quoted-printable: a line that goes on, or an escaped equals sign.
            if has(bytes, place, b"=3D") || has(bytes, place, b"=3d") {
                return Set::WORD.has(at(bytes, place + 3)).then_some((3, Left::Char('=')));
            }
            let line = line_break(bytes, place + 1)?;
            let inside = Set::URL64.has(before(bytes, place)) && Set::URL64.has(at(bytes, place + 1 + line));
            inside.then_some((1 + line, Left::Nothing))
        }
        quote @ (b'"' | b'\'') => joined_strings(bytes, place, quote).map(|len| (len, Left::Nothing)),
        _ => {
            let c = text.get(place..)?.chars().next()?;
            let len = c.len_utf8();
            if let Some(with) = look_alike(c) {
                // Within a word of its own alphabet it is what it is.
                return beside_latin(text, place, place + len).then_some((len, Left::Char(with)));
            }
            if let '\u{ff01}'..='\u{ff5e}' = c {
                // Full-width punctuation is ordinary beside ideographs, not beside other full-width forms.
                let beside = |c: Option<char>| c.is_some_and(|c| matches!(c, '\u{ff01}'..='\u{ff5e}'));
                let plain = char::from_u32(u32::from(c) - 0xfee0)?;
                let neighbours = beside(text.get(..place)?.chars().next_back())
                    || beside(text.get(place + len..)?.chars().next());
                return (plain.is_ascii_alphanumeric() || neighbours).then_some((len, Left::Char(plain)));
            }
            disguise(c).map(|with| (len, with))
        }
    }
}

fn backslash(bytes: &[u8], place: usize) -> Option<(usize, Left)> {
    match at(bytes, place + 1) {
        b'u' if at(bytes, place + 2) == b'{' => {
            let end = run(bytes, place + 3, Set::HEX, 6);
            (at(bytes, end) == b'}').then_some(())?;
            let with = printable(hex(bytes, place + 3, end - place - 3)?)?;
            Some((end + 1 - place, Left::Char(with)))
        }
        b'u' => match hex(bytes, place + 2, 4)? {
            0x200b..=0x200f | 0x2060..=0x2064 | 0xfeff | 0xad => Some((6, Left::Nothing)),
            code => printable(code).map(|with| (6, Left::Char(with))),
        },
        b'x' => printable(hex(bytes, place + 2, 2)?).map(|with| (4, Left::Char(with))),
        quote @ (b'"' | b'\'' | b'/') => Some((2, Left::Char(char::from(quote)))),
        b'\n' | b'\r' => {
            let line = line_break(bytes, place + 1)?;
            let indent = run(bytes, place + 1 + line, Set::NONE.one(b' ').one(b'\t'), 64);
            Some((indent - place, Left::Nothing))
        }
        _ => None,
    }
}

fn entity(bytes: &[u8], place: usize) -> Option<(usize, Left)> {
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
        return Some((end - place, Left::Char(with)));
    }
    [("&amp;", '&'), ("&quot;", '"'), ("&lt;", '<'), ("&gt;", '>'), ("&apos;", '\'')]
        .into_iter()
        .find(|(name, _)| has(bytes, place, name.as_bytes()))
        .map(|(name, with)| (name.len(), Left::Char(with)))
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

/// Whether the letters at `start..end`, and look-alikes around them, stand beside ASCII letters or digits.
fn beside_latin(text: &str, start: usize, end: usize) -> bool {
    let first = |mut chars: Box<dyn Iterator<Item = char> + '_>| {
        chars.find(|c| look_alike(*c).is_none()).is_some_and(|c| c.is_ascii_alphanumeric())
    };
    let (head, tail) = (text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default());
    first(Box::new(head.chars().rev().take(8))) || first(Box::new(tail.chars().take(8)))
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

/// What an undone escape or disguise leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// This character.
    Char(char),
    /// Nothing.
    Nothing,
}

/// What an invisible or compatibility character stands for.
fn disguise(c: char) -> Option<Left> {
    match c {
        '\u{e0020}'..='\u{e007e}' => {
            return char::from_u32(u32::from(c) - 0xe0000).map(Left::Char);
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
        | '\u{e0000}'..='\u{e0fff}' => return Some(Left::Nothing),
        _ => {}
    }
    if is_combining_mark(c) {
        return Some(Left::Nothing);
    }
    // Full-width, mathematical and circled forms.
    let mut plain = std::iter::once(c).nfkc();
    let first = plain.next()?;
    (plain.next().is_none() && (first.is_ascii_alphanumeric() || matches!(first, '-' | '_' | '.')))
        .then_some(Left::Char(first))
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
