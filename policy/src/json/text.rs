//! Strings: from the written form to the text, back, and the offsets between the two.

use std::borrow::Cow;

/// What one escape stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Escape {
    pub(super) character: char,
    /// Bytes of the written form: 2, 6 or 12.
    pub(super) length: usize,
    /// Half of a surrogate pair, read as U+FFFD.
    pub(super) lone: bool,
}

/// Reads the escape that `bytes` starts with; `None` when it is none.
pub(super) fn read_escape(bytes: &[u8]) -> Option<Escape> {
    let simple = |character| Some(Escape { character, length: 2, lone: false });
    match bytes.get(1)? {
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'/' => simple('/'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'u' => {
            let unit = read_unit(bytes.get(2..6)?)?;
            if let Some(character) = char::from_u32(unit) {
                return Some(Escape { character, length: 6, lone: false });
            }
            Some(read_pair(unit, bytes).map_or(
                Escape { character: char::REPLACEMENT_CHARACTER, length: 6, lone: true },
                |character| Escape { character, length: 12, lone: false },
            ))
        }
        _ => None,
    }
}

fn read_pair(high: u32, bytes: &[u8]) -> Option<char> {
    if !(0xd800..0xdc00).contains(&high) || bytes.get(6..8)? != b"\\u" {
        return None;
    }
    let low = read_unit(bytes.get(8..12)?)?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
}

fn read_unit(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

/// The text that stands escaped between quotes. What is no escape is kept as written, which cannot happen with the
/// content of a parsed string.
pub fn unescape(content: &str) -> Cow<'_, str> {
    let bytes = content.as_bytes();
    let Some(mut found) = memchr::memchr(b'\\', bytes) else {
        return Cow::Borrowed(content);
    };
    let mut text = String::with_capacity(content.len());
    let mut at = 0;
    loop {
        text.push_str(content.get(at..found).unwrap_or_default());
        if let Some(escape) = bytes.get(found..).and_then(read_escape) {
            text.push(escape.character);
            at = found + escape.length;
        } else {
            text.push('\\');
            at = found + 1;
        }
        match bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
            Some(next) => found = at + next,
            None => break,
        }
    }
    text.push_str(content.get(at..).unwrap_or_default());
    Cow::Owned(text)
}

/// Appends `text` as it is written between quotes: quotes, backslashes and control characters escaped, all else as is.
pub fn escape_into(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => {
                const DIGITS: [char; 16] =
                    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
                let code = character as usize;
                out.push_str("\\u00");
                out.extend([code >> 4, code & 15].iter().filter_map(|digit| DIGITS.get(*digit)));
            }
            other => out.push(other),
        }
    }
}

/// Offsets between a decoded text and its written form, both in bytes from the start of the content.
///
/// Made only where an edit or a report needs it: one entry an escape.
#[derive(Debug, Clone, Default)]
pub struct OffsetMap {
    escapes: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    raw: usize,
    raw_length: usize,
    decoded: usize,
    decoded_length: usize,
}

impl OffsetMap {
    /// The map of the content of a parsed string.
    pub fn new(content: &str) -> Self {
        let bytes = content.as_bytes();
        let mut escapes = Vec::new();
        let (mut raw, mut decoded) = (0, 0);
        while let Some(found) = bytes.get(raw..).and_then(|rest| memchr::memchr(b'\\', rest)) {
            raw += found;
            decoded += found;
            let (raw_length, decoded_length) = bytes
                .get(raw..)
                .and_then(read_escape)
                .map_or((1, 1), |escape| (escape.length, escape.character.len_utf8()));
            escapes.push(Place { raw, raw_length, decoded, decoded_length });
            raw += raw_length;
            decoded += decoded_length;
        }
        Self { escapes }
    }

    /// Where a decoded range stands in the written form. Borders inside the character of an escape move outwards.
    pub fn to_raw(&self, decoded: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let end = match self.before(decoded.end, |place| place.decoded) {
            Some(place) if decoded.end == place.decoded => place.raw,
            Some(place) if decoded.end <= place.decoded + place.decoded_length => {
                place.raw + place.raw_length
            }
            Some(place) => {
                place.raw + place.raw_length + (decoded.end - place.decoded - place.decoded_length)
            }
            None => decoded.end,
        };
        let start = match self.before(decoded.start, |place| place.decoded) {
            Some(place) if decoded.start < place.decoded + place.decoded_length => place.raw,
            Some(place) => {
                place.raw + place.raw_length + (decoded.start - place.decoded - place.decoded_length)
            }
            None => decoded.start,
        };
        start..end
    }

    /// What a range of the written form stands for. Borders inside an escape move outwards.
    pub fn to_decoded(&self, raw: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let end = match self.before(raw.end, |place| place.raw) {
            Some(place) if raw.end == place.raw => place.decoded,
            Some(place) if raw.end <= place.raw + place.raw_length => place.decoded + place.decoded_length,
            Some(place) => place.decoded + place.decoded_length + (raw.end - place.raw - place.raw_length),
            None => raw.end,
        };
        let start = match self.before(raw.start, |place| place.raw) {
            Some(place) if raw.start < place.raw + place.raw_length => place.decoded,
            Some(place) => place.decoded + place.decoded_length + (raw.start - place.raw - place.raw_length),
            None => raw.start,
        };
        start..end
    }

    /// The last escape that starts at or before `offset`.
    fn before(&self, offset: usize, start: impl Fn(&Place) -> usize) -> Option<&Place> {
        let count = self.escapes.partition_point(|place| start(place) <= offset);
        count.checked_sub(1).and_then(|index| self.escapes.get(index))
    }
}
