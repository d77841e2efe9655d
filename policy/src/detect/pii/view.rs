//! The form of a text that the matchers read, with a way back.
//!
//! Most texts are read as they are. Where characters stand for others (full-width and other scripts' digits, odd
//! spaces and dashes, `%40`, `&#64;`, `[.]`, `(at)`, Cyrillic letters inside Latin words) they are replaced, and
//! characters that are not seen are left out; a map leads from each byte of the form to the bytes it came from.
//! The form is only for matching: every offset that leaves this module is one of the original text.

/// Working memory of a view.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    text: String,
    /// For each byte of `text`: where the character that it belongs to began and ended in the original.
    map: Vec<(u32, u32)>,
}

/// A text as the matchers read it.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// What is matched.
    pub(super) text: &'a str,
    source: &'a str,
    /// `None`: the text is the original.
    map: Option<&'a [(u32, u32)]>,
}

impl<'a> View<'a> {
    /// Reads `source`, writing into `buffers` only when something in it is to be replaced.
    ///
    /// A text of 4 GiB or more is read as it is.
    pub(super) fn new(source: &'a str, buffers: &'a mut Buffers) -> Self {
        buffers.text.clear();
        buffers.map.clear();
        if u32::try_from(source.len()).is_err() || !rewrite(source, buffers) {
            return Self { text: source, source, map: None };
        }
        Self { text: &buffers.text, source, map: Some(&buffers.map) }
    }

    /// The bytes that are matched.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The byte at `at`, 0 past the end.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes().get(at).copied().unwrap_or(0)
    }

    /// The byte before `at`, 0 at the start.
    pub(super) fn before(&self, at: usize) -> u8 {
        at.checked_sub(1).map_or(0, |at| self.byte(at))
    }

    /// The text from `start` to `end`; empty when that is not a piece of it.
    pub(super) fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or("")
    }

    /// The character that begins at `at`.
    pub(super) fn char_at(&self, at: usize) -> Option<char> {
        self.text.get(at..).and_then(|rest| rest.chars().next())
    }

    /// The character that ends at `at`.
    pub(super) fn char_before(&self, at: usize) -> Option<char> {
        self.text.get(..at).and_then(|rest| rest.chars().next_back())
    }

    /// Whether the character at `at` was written in another way in the original.
    pub(super) fn disguised(&self, at: usize) -> bool {
        let Some(&(start, end)) = self.map.and_then(|map| map.get(at)) else { return false };
        self.source
            .get(start as usize..end as usize)
            .is_some_and(|was| !self.text.get(at..).is_some_and(|now| now.starts_with(was)))
    }

    /// Whether the character at `at` was a percent escape in the original.
    pub(super) fn percent_escaped(&self, at: usize) -> bool {
        let Some(&(start, _)) = self.map.and_then(|map| map.get(at)) else { return false };
        self.source.as_bytes().get(start as usize) == Some(&b'%') && self.byte(at) != b'%'
    }

    /// The span of the original that `start..end` came from, on character borders and not empty when `start < end`.
    pub(super) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        let Some(map) = self.map else { return (start, end) };
        match (map.get(start), end.checked_sub(1).and_then(|last| map.get(last))) {
            (Some(&(from, _)), Some(&(_, to))) => (from as usize, to as usize),
            _ => (0, 0),
        }
    }
}

/// What becomes of a piece of the original.
enum Piece {
    /// It stays.
    Same,
    /// It is left out.
    Drop,
    /// It is read as this.
    As(char),
}

/// Writes the form of `source` into `buffers`; false when it is the same as the original.
fn rewrite(source: &str, buffers: &mut Buffers) -> bool {
    let bytes = source.as_bytes();
    let mut at = 0;
    // Everything before this has been copied; nothing is copied until something differs.
    let mut copied = 0;
    let mut changed = false;
    // Whether confusable letters of the word at hand are read as Latin ones, and where that word ends.
    let mut word_end = 0;
    let mut word_mixed = false;
    while let Some(&byte) = bytes.get(at) {
        let (piece, length) = match byte {
            b'%' => percent(bytes, at),
            b'&' => entity(bytes, at),
            b'[' | b'(' | b'{' => bracketed(bytes, at),
            0..=0x7f => {
                at += 1;
                continue;
            }
            _ => {
                let Some(c) = source.get(at..).and_then(|rest| rest.chars().next()) else {
                    at += 1;
                    continue;
                };
                let mut piece = fold(c);
                if matches!(piece, Piece::Same)
                    && let Some(latin) = confusable(c)
                {
                    if at >= word_end {
                        (word_end, word_mixed) = mixed_word(source, at);
                    }
                    if word_mixed {
                        piece = Piece::As(latin);
                    }
                }
                (piece, c.len_utf8())
            }
        };
        if !matches!(piece, Piece::Same) {
            changed = true;
            copy(source, copied, at, buffers);
            if let Piece::As(c) = piece {
                buffers.text.push(c);
                let span = (to_u32(at), to_u32(at + length));
                buffers.map.extend(std::iter::repeat_n(span, c.len_utf8()));
            }
            copied = at + length;
        }
        at += length;
    }
    if changed {
        copy(source, copied, source.len(), buffers);
    }
    changed
}

fn copy(source: &str, from: usize, to: usize, buffers: &mut Buffers) {
    let Some(piece) = source.get(from..to) else { return };
    buffers.text.push_str(piece);
    for (at, c) in piece.char_indices() {
        let start = to_u32(from + at);
        let span = (start, start + to_u32(c.len_utf8()));
        buffers.map.extend(std::iter::repeat_n(span, c.len_utf8()));
    }
}

/// Offsets fit: longer texts are not rewritten.
fn to_u32(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// `%40`: printable ASCII only, so that other escapes stay what they are.
fn percent(bytes: &[u8], at: usize) -> (Piece, usize) {
    match (hex_digit(byte(bytes, at + 1)), hex_digit(byte(bytes, at + 2))) {
        (Some(high), Some(low)) if (0x20..0x7f).contains(&(high * 16 + low)) => {
            (Piece::As(char::from(high * 16 + low)), 3)
        }
        _ => (Piece::Same, 1),
    }
}

/// `&#64;`, `&#x40;`, `&commat;`.
fn entity(bytes: &[u8], at: usize) -> (Piece, usize) {
    const NAMED: &[(&[u8], char)] = &[
        (b"amp;", '&'),
        (b"commat;", '@'),
        (b"period;", '.'),
        (b"nbsp;", ' '),
        (b"plus;", '+'),
        (b"lpar;", '('),
        (b"rpar;", ')'),
        (b"colon;", ':'),
        (b"sol;", '/'),
        (b"hyphen;", '-'),
        (b"lowbar;", '_'),
        (b"shy;", '\u{ad}'),
    ];
    let Some(rest) = bytes.get(at + 1..) else { return (Piece::Same, 1) };
    if rest.first() == Some(&b'#') {
        let (radix, from) = if matches!(rest.get(1), Some(b'x' | b'X')) { (16, 2) } else { (10, 1) };
        let mut value = 0;
        let mut end = from;
        while let Some(digit) = rest.get(end).and_then(|&b| char::from(b).to_digit(radix)) {
            value = value * radix + digit;
            end += 1;
            if end > 8 {
                return (Piece::Same, 1);
            }
        }
        if end == from || rest.get(end) != Some(&b';') {
            return (Piece::Same, 1);
        }
        return match char::from_u32(value) {
            Some(c) if c >= ' ' => match fold(c) {
                Piece::Same => (Piece::As(c), end + 2),
                piece => (piece, end + 2),
            },
            _ => (Piece::Same, 1),
        };
    }
    for &(name, c) in NAMED {
        if rest.starts_with(name) {
            let piece = if c == '\u{ad}' { Piece::Drop } else { Piece::As(c) };
            return (piece, name.len() + 1);
        }
    }
    (Piece::Same, 1)
}

/// `[.]`, `(dot)`, `[at]`, `(@)`.
fn bracketed(bytes: &[u8], at: usize) -> (Piece, usize) {
    let close = match byte(bytes, at) {
        b'[' => b']',
        b'(' => b')',
        _ => b'}',
    };
    let Some(inside) = bytes.get(at + 1..(at + 6).min(bytes.len())) else { return (Piece::Same, 1) };
    let Some(length) = inside.iter().position(|&b| b == close) else { return (Piece::Same, 1) };
    let c = match inside.get(..length) {
        Some(word) if word == b"." || word.eq_ignore_ascii_case(b"dot") => '.',
        Some(word) if word == b"@" || word.eq_ignore_ascii_case(b"at") => '@',
        // Defanged schemes: `http[:]//`.
        Some(b":") => ':',
        _ => return (Piece::Same, 1),
    };
    (Piece::As(c), length + 2)
}

/// What a character outside ASCII is read as, whatever stands beside it.
fn fold(c: char) -> Piece {
    let code = u32::from(c);
    match code {
        // Not seen: soft hyphen, joiners, zero-width spaces, direction marks, variation selectors, tags.
        0xad
        | 0x34f
        | 0x61c
        | 0x115f
        | 0x1160
        | 0x17b4
        | 0x17b5
        | 0x180b..=0x180e
        | 0x200b..=0x200f
        | 0x202a..=0x202e
        | 0x2060..=0x206f
        | 0xfe00..=0xfe0f
        | 0xfeff
        | 0xe0000..=0xe0fff => Piece::Drop,
        0xa0 | 0x1680 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => Piece::As(' '),
        0x2010..=0x2015 | 0x2212 | 0xfe58 | 0xfe63 => Piece::As('-'),
        0x2018 | 0x2019 | 0x201b | 0x2bc => Piece::As('\''),
        0x201c..=0x201e => Piece::As('"'),
        0x2024 | 0xfe52 | 0xff0e | 0xff61 => Piece::As('.'),
        0xfe6b => Piece::As('@'),
        0xfe62 | 0x207a => Piece::As('+'),
        0xff01..=0xff5e => char::from_u32(code - 0xfee0).map_or(Piece::Same, Piece::As),
        _ => digit(code).map_or(Piece::Same, Piece::As),
    }
}

/// Decimal digits of other scripts, and the styled ones that text generators offer.
fn digit(code: u32) -> Option<char> {
    /// The zeros of the scripts whose ten digits follow each other.
    const ZEROS: [u32; 22] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0,
        0xf20, 0x1040, 0x17e0, 0x1810, 0x1946, 0x19d0, 0xa620, 0xa8d0,
    ];
    let value = match code {
        0x1d7ce..=0x1d7ff => (code - 0x1d7ce) % 10,
        // Circled: ① is one, the zero stands elsewhere.
        0x2460..=0x2468 => code - 0x2460 + 1,
        0x24ea => 0,
        0x2080..=0x2089 => code - 0x2080,
        0x2074..=0x2079 => code - 0x2070,
        0x660..=0xa8d9 => {
            let zero = ZEROS.iter().rev().find(|&&zero| zero <= code)?;
            Some(code - zero).filter(|&value| value < 10)?
        }
        _ => return None,
    };
    char::from_digit(value, 10)
}

/// The end of the word that begins at or contains `at`, and whether it holds Latin letters too. Each word is read
/// once: the caller asks again only past its end.
fn mixed_word(source: &str, at: usize) -> (usize, bool) {
    // A look back of at most 32 bytes keeps this linear on one endless word.
    let mut latin = false;
    if let Some(before) = source.get(..at) {
        for (index, c) in before.char_indices().rev() {
            if at - index > 32 || !(c.is_alphanumeric() || matches!(fold(c), Piece::Drop)) {
                break;
            }
            latin |= c.is_ascii_alphabetic();
        }
    }
    let mut end = at;
    for c in source.get(at..).unwrap_or("").chars() {
        if !(c.is_alphanumeric() || matches!(fold(c), Piece::Drop)) {
            break;
        }
        latin |= c.is_ascii_alphabetic();
        end += c.len_utf8();
    }
    (end, latin)
}

/// The Latin letter that a letter of another script is easily taken for.
fn confusable(c: char) -> Option<char> {
    Some(match c {
        'а' | 'α' | 'ɑ' => 'a',
        'А' | 'Α' => 'A',
        'Ь' | 'В' | 'Β' => 'B',
        'с' | 'ϲ' => 'c',
        'С' | 'Ϲ' => 'C',
        'ԁ' => 'd',
        'е' | 'ҽ' => 'e',
        'Е' | 'Ε' => 'E',
        'ɡ' => 'g',
        'һ' => 'h',
        'Н' | 'Η' => 'H',
        'і' | 'ι' | 'ӏ' => 'i',
        'І' | 'Ι' | 'Ӏ' => 'I',
        'ј' => 'j',
        'Ј' => 'J',
        'к' | 'κ' => 'k',
        'К' | 'Κ' => 'K',
        'М' | 'Μ' => 'M',
        'п' | 'η' => 'n',
        'Ν' => 'N',
        'о' | 'ο' | 'օ' => 'o',
        'О' | 'Ο' | 'Օ' => 'O',
        'р' | 'ρ' => 'p',
        'Р' | 'Ρ' => 'P',
        'ԛ' => 'q',
        'г' => 'r',
        'ѕ' => 's',
        'Ѕ' => 'S',
        'т' | 'τ' => 't',
        'Т' | 'Τ' => 'T',
        'υ' | 'ս' => 'u',
        'ν' | 'ѵ' => 'v',
        'ѡ' | 'ԝ' => 'w',
        'х' | 'χ' => 'x',
        'Х' | 'Χ' => 'X',
        'у' | 'γ' => 'y',
        'У' | 'Υ' | 'Ү' => 'Y',
        'Ζ' => 'Z',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> (String, Vec<(usize, usize)>) {
        let mut buffers = Buffers::default();
        let view = View::new(source, &mut buffers);
        let spans = view.text.char_indices().map(|(at, c)| view.original(at, at + c.len_utf8())).collect();
        (view.text.to_owned(), spans)
    }

    #[test]
    fn plain_text_is_read_as_it_is() {
        let mut buffers = Buffers::default();
        let view = View::new("Größe 5 (about) 100 % & [x] привет", &mut buffers);
        assert!(view.map.is_none());
        assert_eq!(view.original(0, 5), (0, 5));
    }

    #[test]
    fn disguises_are_undone_with_a_way_back() {
        for (source, form) in [
            ("a%40b%2Ecom", "a@b.com"),
            ("a&#64;b&#x2e;com", "a@b.com"),
            ("a(at)b[.]com", "a@b.com"),
            ("a [AT] b {dot} com", "a @ b . com"),
            ("+\u{ff13}\u{ff14} \u{661}\u{662}", "+34 12"),
            ("12\u{200b}3\u{ad}4\u{a0}5\u{2011}6", "1234 5-6"),
            ("c\u{43e}nr\u{430}d", "conrad"),
            ("100%zz &x; &#0;", "100%zz &x; &#0;"),
        ] {
            let (text, spans) = read(source);
            assert_eq!(text, form, "{source}");
            for (start, end) in spans {
                assert!(start < end && source.is_char_boundary(start) && source.is_char_boundary(end));
            }
        }
    }

    #[test]
    fn spans_leave_out_what_is_not_seen_at_their_ends() {
        let source = "\u{200b}ab\u{200b}c\u{200b}";
        let mut buffers = Buffers::default();
        let view = View::new(source, &mut buffers);
        let (start, end) = view.original(0, view.text.len());
        assert_eq!(source.get(start..end), Some("ab\u{200b}c"));
    }

    #[test]
    fn a_word_in_one_script_keeps_its_letters() {
        assert_eq!(read("Ромео и Julia\u{ad}").0, "Ромео и Julia");
    }

    #[test]
    fn escapes_are_known_as_such() {
        let mut buffers = Buffers::default();
        let view = View::new("a%20b c", &mut buffers);
        assert_eq!(view.text, "a b c");
        assert!(view.percent_escaped(1) && view.disguised(1));
        assert!(!view.percent_escaped(3) && !view.disguised(3));
    }
}
