//! Runs of a text that hold another text in an encoding: base64, base32, hex, binary digits, percent-encoding,
//! character escapes.
//!
//! One pass over the bytes finds candidates; only those are decoded, and only what comes out as readable text is
//! given, with the span of the encoded run. What was decoded is searched again, up to [`MAX_DEPTH`]. All together is
//! linear: a decoded text is shorter than its run, runs of one kind do not overlap.

use std::ops::Range;

use base64::{Engine as _, alphabet, engine};

/// How often a decoded text is decoded again.
pub const MAX_DEPTH: u8 = 2;

/// At most this much decoded text is kept of one text; what comes later is not decoded.
pub const MAX_DECODED_BYTES: usize = 4 << 20;

/// Shorter runs of base64, base32 or hex are taken for words.
const MIN_RUN: usize = 12;

/// Fewer groups of separated digits (`49 67 6e`) are taken for numbers.
const MIN_GROUPS: usize = 6;

/// Base32 has up to six `=`, base64 two.
const MAX_PADDING: usize = 6;

/// Escapes of one run stand at most this many bytes apart.
const MAX_ESCAPE_GAP: usize = 24;

/// Which encodings are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    /// Base64 (standard and URL alphabet, padded or not, wrapped lines) and base32.
    pub base64: bool,
    /// Percent-encoding.
    pub percent: bool,
    /// Hexadecimal and binary digits, in one run or in separated groups.
    pub hex: bool,
    /// `\u0041`, `\x41`, `\u{41}`, `&#65;`, `&#x41;`.
    pub escapes: bool,
}

impl Kinds {
    /// Every encoding.
    pub const ALL: Self = Self { base64: true, percent: true, hex: true, escapes: true };
}

/// An encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    /// Base64, any alphabet.
    Base64,
    /// Base32.
    Base32,
    /// Hexadecimal digits.
    Hex,
    /// Binary digits.
    Binary,
    /// Percent-encoding.
    Percent,
    /// Character escapes of JSON, C, HTML.
    Escape,
}

/// A decoded run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// What it says.
    pub text: &'a str,
    /// First byte of the encoded run in the text given to [`Decoder::find`].
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
    /// The outermost encoding.
    pub encoding: Encoding,
    /// 1 for a run of the text itself, 2 for a run found inside a decoded one.
    pub depth: u8,
}

#[derive(Debug, Clone)]
struct Found {
    span: Range<usize>,
    decoded: Range<usize>,
    encoding: Encoding,
    depth: u8,
}

/// Finds and decodes; keeps its memory between texts.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    buffer: String,
    found: Vec<Found>,
    candidates: Vec<Candidate>,
    escapes: Vec<Escape>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Candidate {
    span: Range<usize>,
    shape: Shape,
}

/// What a candidate looks like; several encodings may be tried on one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A run over the base64 alphabets.
    Dense,
    /// Groups of two hexadecimal digits.
    HexGroups,
    /// Groups of eight binary digits.
    BinaryGroups,
    /// Words with percent escapes.
    Percent,
    /// Words with character escapes: a range of the list of escapes.
    Escapes { first: usize, last: usize },
}

#[derive(Debug, Clone, Copy)]
struct Escape {
    start: usize,
    end: usize,
    code: u32,
}

impl Decoder {
    /// Forgets what was found, keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.found.clear();
    }

    /// Finds the encoded runs of `text` that hold readable text; [`iter`](Self::iter) gives them.
    pub fn find(&mut self, text: &str, kinds: Kinds) {
        self.clear();
        let mut level = 0..0;
        for depth in 1..=MAX_DEPTH {
            if depth == 1 {
                self.find_in(text, None, depth, kinds);
            } else {
                // Texts decoded in the last round, searched again.
                for at in level.clone() {
                    let Some(outer) = self.found.get(at).cloned() else { break };
                    let inner = self.buffer.get(outer.decoded.clone()).unwrap_or_default().to_owned();
                    self.find_in(&inner, Some(&outer), depth, kinds);
                }
            }
            level = level.end..self.found.len();
            if level.is_empty() {
                break;
            }
        }
    }

    /// What was found; outer runs in the order of the text, then runs inside them.
    pub fn iter(&self) -> impl Iterator<Item = Decoded<'_>> {
        self.found.iter().map(|found| Decoded {
            text: self.buffer.get(found.decoded.clone()).unwrap_or_default(),
            start: found.span.start,
            end: found.span.end,
            encoding: found.encoding,
            depth: found.depth,
        })
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    fn find_in(&mut self, text: &str, outer: Option<&Found>, depth: u8, kinds: Kinds) {
        self.candidates.clear();
        self.escapes.clear();
        collect(text, kinds, &mut self.candidates, &mut self.escapes);
        group_escapes(text, kinds, &mut self.candidates, &mut self.escapes);
        for at in 0..self.candidates.len() {
            let Some(Candidate { span, shape }) = self.candidates.get(at).cloned() else { break };
            if self.buffer.len() + span.len() > MAX_DECODED_BYTES {
                break;
            }
            let run = text.get(span.clone()).unwrap_or_default();
            let from = self.buffer.len();
            let Some(encoding) = self.decode(run, span.start, shape, kinds) else { continue };
            let decoded = from..self.buffer.len();
            let (span, encoding) = match outer {
                Some(outer) => (outer.span.clone(), outer.encoding),
                None => (span, encoding),
            };
            self.found.push(Found { span, decoded, encoding, depth });
        }
    }

    /// Appends what `run` holds to the buffer when that is readable text.
    fn decode(&mut self, run: &str, start: usize, shape: Shape, kinds: Kinds) -> Option<Encoding> {
        let tries: &[Encoding] = match shape {
            Shape::Dense => &[Encoding::Hex, Encoding::Binary, Encoding::Base64, Encoding::Base32],
            Shape::HexGroups => &[Encoding::Hex],
            Shape::BinaryGroups => &[Encoding::Binary],
            Shape::Percent => &[Encoding::Percent],
            Shape::Escapes { first, last } => {
                let from = self.buffer.len();
                let mut at = start;
                for escape in self.escapes.get(first..=last).unwrap_or_default() {
                    self.buffer.push_str(run.get(at - start..escape.start - start).unwrap_or_default());
                    self.buffer.push(char::from_u32(escape.code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    at = escape.end;
                }
                self.buffer.push_str(run.get(at - start..).unwrap_or_default());
                if is_readable(self.buffer.get(from..).unwrap_or_default()) {
                    return Some(Encoding::Escape);
                }
                self.buffer.truncate(from);
                return None;
            }
        };
        for &encoding in tries {
            self.bytes.clear();
            let done = match encoding {
                Encoding::Hex => kinds.hex && digits(run, 16, &mut self.bytes),
                Encoding::Binary => kinds.hex && digits(run, 2, &mut self.bytes),
                Encoding::Base64 => kinds.base64 && base64_bytes(run, &mut self.bytes),
                Encoding::Base32 => kinds.base64 && base32_bytes(run, &mut self.bytes),
                Encoding::Percent => percent_bytes(run, &mut self.bytes),
                Encoding::Escape => false,
            };
            if done && push_readable(&self.bytes, &mut self.buffer) {
                return Some(encoding);
            }
        }
        None
    }
}

// === finding candidates ===

const DENSE: u8 = 1;
const HEX: u8 = 2;
const BIT: u8 = 4;
const MARK: u8 = 8;

/// What each byte can be a part of.
static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0_usize;
    while at < 128 {
        #[expect(clippy::cast_possible_truncation, reason = "below 128")]
        let byte = at as u8;
        let mut class = 0;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_') {
            class |= DENSE;
        }
        if byte.is_ascii_hexdigit() {
            class |= HEX;
        }
        if matches!(byte, b'0' | b'1') {
            class |= BIT;
        }
        if matches!(byte, b'%' | b'\\' | b'&') {
            class |= MARK;
        }
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            table[at] = class;
        }
        at += 1;
    }
    table
};

fn class(byte: u8) -> u8 {
    CLASS.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Separated groups of digits seen so far.
#[derive(Debug, Clone, Copy)]
struct Groups {
    shape: Shape,
    start: usize,
    end: usize,
    count: usize,
}

fn collect(text: &str, kinds: Kinds, candidates: &mut Vec<Candidate>, escapes: &mut Vec<Escape>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut groups: Option<Groups> = None;
    let mut percent: Option<Range<usize>> = None;
    let mut percent_count = 0;
    while let Some(&byte) = bytes.get(at) {
        let kind = class(byte);
        if kind & DENSE != 0 {
            let start = at;
            let mut all = u8::MAX;
            while let Some(&byte) = bytes.get(at) {
                let kind = class(byte);
                if kind & DENSE == 0 {
                    break;
                }
                all &= kind;
                at += 1;
            }
            let length = at - start;
            if length >= MIN_RUN {
                if kinds.base64 || kinds.hex {
                    at = wrapped_end(bytes, start, at);
                    let padding = bytes.get(at..).unwrap_or_default().iter().take(MAX_PADDING);
                    at += padding.take_while(|&&byte| byte == b'=').count();
                    candidates.push(Candidate { span: start..at, shape: Shape::Dense });
                }
                continue;
            }
            if kinds.hex {
                let shape = match (length, all) {
                    (8, all) if all & BIT != 0 => Some(Shape::BinaryGroups),
                    (2, all) if all & HEX != 0 => Some(Shape::HexGroups),
                    (4, _) if is_prefixed_pair(bytes.get(start..at)) => Some(Shape::HexGroups),
                    _ => None,
                };
                step_groups(&mut groups, shape, start, at, candidates);
            }
        } else if kind & MARK != 0 {
            match byte {
                b'%' if kinds.percent && pair(bytes, at + 1).is_some() => {
                    match &mut percent {
                        Some(run) if at - run.end <= MAX_ESCAPE_GAP => {
                            run.end = at + 3;
                            percent_count += 1;
                        }
                        _ => {
                            push_percent(text, percent.take(), percent_count, candidates);
                            percent = Some(at..at + 3);
                            percent_count = 1;
                        }
                    }
                    at += 3;
                }
                b'\\' | b'&' if kinds.escapes => match escape(bytes, at) {
                    Some(found) => {
                        at = found.end;
                        escapes.push(found);
                    }
                    None => at += 1,
                },
                _ => at += 1,
            }
        } else {
            at += 1;
        }
    }
    push_groups(groups, candidates);
    push_percent(text, percent, percent_count, candidates);
}

/// The end of a run that goes on over line breaks: every line but the last is long and whole.
fn wrapped_end(bytes: &[u8], start: usize, first_end: usize) -> usize {
    let width = first_end - start;
    if width < 48 || !width.is_multiple_of(4) {
        return first_end;
    }
    let mut end = first_end;
    loop {
        let breaks = match bytes.get(end..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([b'\n', ..]) => 1,
            _ => return end,
        };
        let from = end + breaks;
        let line =
            bytes.get(from..).unwrap_or_default().iter().take_while(|&&b| class(b) & DENSE != 0).count();
        if line == 0 || line > width {
            return end;
        }
        end = from + line;
        if line < width {
            return end;
        }
    }
}

fn is_prefixed_pair(group: Option<&[u8]>) -> bool {
    matches!(group, Some([b'0', b'x' | b'X', a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

fn step_groups(
    groups: &mut Option<Groups>,
    shape: Option<Shape>,
    start: usize,
    end: usize,
    candidates: &mut Vec<Candidate>,
) {
    const MAX_SEPARATOR: usize = 2;
    match (groups.as_mut(), shape) {
        (Some(open), Some(shape)) if open.shape == shape && start - open.end <= MAX_SEPARATOR => {
            open.end = end;
            open.count += 1;
        }
        (_, shape) => {
            push_groups(groups.take(), candidates);
            *groups = shape.map(|shape| Groups { shape, start, end, count: 1 });
        }
    }
}

fn push_groups(groups: Option<Groups>, candidates: &mut Vec<Candidate>) {
    if let Some(Groups { shape, start, end, count }) = groups
        && count >= MIN_GROUPS
    {
        candidates.push(Candidate { span: start..end, shape });
    }
}

/// Percent escapes with the words that they stand in.
fn push_percent(text: &str, run: Option<Range<usize>>, count: usize, candidates: &mut Vec<Candidate>) {
    if let Some(run) = run
        && count >= 3
    {
        candidates.push(Candidate { span: whole_words(text, run), shape: Shape::Percent });
    }
}

/// `run` widened to white space, at most 64 bytes on each side.
fn whole_words(text: &str, run: Range<usize>) -> Range<usize> {
    const REACH: usize = 64;
    let before = text.get(..run.start).unwrap_or_default();
    let after = text.get(run.end..).unwrap_or_default();
    let within = |(taken, _): &(usize, char)| *taken < REACH;
    let left: usize = before
        .char_indices()
        .rev()
        .map(|(at, c)| (run.start - at, c))
        .take_while(|(taken, c)| *taken <= REACH && !c.is_whitespace())
        .map(|(_, c)| c.len_utf8())
        .sum();
    let right: usize = after
        .char_indices()
        .take_while(|step| within(step) && !step.1.is_whitespace())
        .map(|(_, c)| c.len_utf8())
        .sum();
    run.start - left..run.end + right
}

fn group_escapes(text: &str, kinds: Kinds, candidates: &mut Vec<Candidate>, escapes: &mut [Escape]) {
    if !kinds.escapes {
        return;
    }
    join_surrogates(escapes);
    let mut first = 0;
    while let Some(head) = escapes.get(first).copied() {
        let mut last = first;
        let mut end = head.end;
        while let Some(next) = escapes.get(last + 1)
            && next.start - end <= MAX_ESCAPE_GAP
        {
            end = next.end;
            last += 1;
        }
        if last - first >= 2 {
            let widened = whole_words(text, head.start..end);
            // Never over an escape of the neighbouring groups.
            let left = first.checked_sub(1).and_then(|at| escapes.get(at)).map_or(0, |escape| escape.end);
            let right = escapes.get(last + 1).map_or(text.len(), |escape| escape.start);
            candidates.push(Candidate {
                span: widened.start.max(left)..widened.end.min(right),
                shape: Shape::Escapes { first, last },
            });
        }
        first = last + 1;
    }
}

/// Two `\uXXXX` that are the halves of one character become one: the second keeps no width of its own.
fn join_surrogates(escapes: &mut [Escape]) {
    for at in 1..escapes.len() {
        let [Some(high), Some(low)] = [escapes.get(at - 1).copied(), escapes.get(at).copied()] else {
            continue;
        };
        if high.end == low.start
            && (0xD800..0xDC00).contains(&high.code)
            && (0xDC00..0xE000).contains(&low.code)
        {
            let code = 0x10000 + ((high.code - 0xD800) << 10) + (low.code - 0xDC00);
            if let Some(slot) = escapes.get_mut(at - 1) {
                // A character that is later dropped as invisible.
                slot.code = 0x2060;
            }
            if let Some(slot) = escapes.get_mut(at) {
                slot.code = code;
            }
        }
    }
}

/// The escape that starts at `at`.
fn escape(bytes: &[u8], at: usize) -> Option<Escape> {
    let rest = bytes.get(at..)?;
    let (skip, digits, radix, close): (usize, usize, u32, Option<u8>) = match rest {
        [b'\\', b'u', b'{', ..] => (3, 6, 16, Some(b'}')),
        [b'\\', b'u', ..] => (2, 4, 16, None),
        [b'\\', b'U', ..] => (2, 8, 16, None),
        [b'\\', b'x', ..] => (2, 2, 16, None),
        [b'&', b'#', b'x' | b'X', ..] => (3, 7, 16, Some(b';')),
        [b'&', b'#', ..] => (2, 8, 10, Some(b';')),
        _ => return None,
    };
    let mut code = 0_u32;
    let mut count = 0;
    for &byte in rest.get(skip..)?.iter().take(digits) {
        let Some(digit) = char::from(byte).to_digit(radix) else { break };
        code = code.checked_mul(radix)?.checked_add(digit)?;
        count += 1;
    }
    let whole = if close.is_some() { count > 0 } else { count == digits };
    if !whole {
        return None;
    }
    let mut end = at + skip + count;
    if let Some(close) = close
        && bytes.get(end) == Some(&close)
    {
        end += 1;
    }
    Some(Escape { start: at, end, code })
}

// === decoding ===

/// Two hexadecimal digits at `at`.
fn pair(bytes: &[u8], at: usize) -> Option<u8> {
    let high = char::from(*bytes.get(at)?).to_digit(16)?;
    let low = char::from(*bytes.get(at + 1)?).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

/// Bytes written as digits: two hexadecimal or eight binary ones each; separators and `0x` are skipped.
fn digits(run: &str, radix: u32, out: &mut Vec<u8>) -> bool {
    let width = if radix == 16 { 2 } else { 8 };
    let run = run.trim_end_matches('=');
    let mut value = 0;
    let mut count = 0;
    let mut chars = run.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '0' && count == 0 && matches!(chars.peek(), Some('x' | 'X')) {
            chars.next();
            continue;
        }
        match c.to_digit(radix) {
            Some(digit) => {
                value = value * radix + digit;
                count += 1;
                if count == width {
                    out.push(u8::try_from(value).unwrap_or(0));
                    value = 0;
                    count = 0;
                }
            }
            None if c.is_alphanumeric() || count != 0 => return false,
            None => {}
        }
    }
    count == 0 && out.len() >= MIN_GROUPS
}

const LENIENT: engine::GeneralPurposeConfig = engine::GeneralPurposeConfig::new()
    .with_decode_padding_mode(engine::DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
static STANDARD: engine::GeneralPurpose = engine::GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
static URL_SAFE: engine::GeneralPurpose = engine::GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

fn base64_bytes(run: &str, out: &mut Vec<u8>) -> bool {
    let wrapped = run.contains(['\n', '\r']);
    let joined: String;
    let mut run = run.trim_end_matches('=');
    if wrapped {
        joined = run.chars().filter(|c| !c.is_whitespace()).collect();
        run = &joined;
    }
    // A lone character at the end carries no byte.
    if run.len() % 4 == 1 {
        run = run.get(..run.len() - 1).unwrap_or(run);
    }
    let engine = if run.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    engine.decode_vec(run, out).is_ok()
}

fn base32_bytes(run: &str, out: &mut Vec<u8>) -> bool {
    let mut bits = 0_u32;
    let mut held = 0_u32;
    for byte in run.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return false,
        };
        bits = (bits << 5) | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).unwrap_or(0));
            bits &= (1 << held) - 1;
        }
    }
    true
}

fn percent_bytes(run: &str, out: &mut Vec<u8>) -> bool {
    out.extend(percent_encoding::percent_decode_str(run).map(|byte| if byte == b'+' { b' ' } else { byte }));
    true
}

/// Appends `bytes` to `out` when they are readable text, in UTF-8 or UTF-16.
fn push_readable(bytes: &[u8], out: &mut String) -> bool {
    let from = out.len();
    let whole = match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        // A character cut off at the end is no reason to look away.
        Err(error) if error.error_len().is_none() => {
            bytes.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok())
        }
        Err(_) => None,
    };
    if let Some(text) = whole.filter(|text| is_readable(text)) {
        out.push_str(text);
        return true;
    }
    for big_endian in [false, true] {
        let units = bytes.chunks_exact(2).map(|unit| match unit {
            [a, b] if big_endian => u16::from_be_bytes([*a, *b]),
            [a, b] => u16::from_le_bytes([*a, *b]),
            _ => 0,
        });
        let ascii = units.clone().filter(|unit| (0x20..0x7f).contains(unit)).count();
        if bytes.len() >= 16 && ascii * 4 >= bytes.len() / 2 * 3 {
            out.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
            return true;
        }
    }
    out.truncate(from);
    false
}

/// Whether `text` reads like text: letters and spaces, hardly any control characters.
fn is_readable(text: &str) -> bool {
    let mut total = 0_usize;
    let mut letters = 0_usize;
    let mut odd = 0_usize;
    for c in text.chars() {
        total += 1;
        if c.is_alphabetic() || c == ' ' {
            letters += 1;
        } else if (c.is_control() && !c.is_whitespace()) || c == char::REPLACEMENT_CHARACTER {
            odd += 1;
        }
    }
    total >= 5 && odd * 20 <= total && letters * 2 >= total
}

#[cfg(test)]
mod tests;
