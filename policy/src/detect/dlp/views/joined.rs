//! Tokens that are cut: by line breaks, or into single characters.

use super::{
    super::chars::{Set, at, before, run, run_back},
    MIN_ENCODED, Reading, line_break,
};

/// Runs of single characters with separators shorter than this are spelling, not disguise.
const MIN_SPACED: usize = 16;
/// Bytes of a line around a wrapped token that are looked at with it.
const MAX_AROUND: usize = 160;
/// Lines of a wrapped token have at least this many characters.
const MIN_WRAPPED: usize = 4;

/// Runs of single characters with one and the same separator between them (`d a p i 1 …`).
pub(in crate::detect::dlp) fn spaced(text: &str, mut each: impl FnMut(Reading)) {
    const SEPARATORS: Set = Set::NONE.one(b' ').one(b'-').one(b'.').one(b'|').one(b',').one(b'*');
    let bytes = text.as_bytes();
    let mut place = MIN_SPACED;
    while place < bytes.len() {
        let pair = |place: usize, separator: u8| {
            let next = at(bytes, place + 1);
            at(bytes, place) == separator
                && (Set::WORD.has(next) || separator == b' ' && next.is_ascii_graphic())
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
pub(in crate::detect::dlp) fn wrapped(text: &str, mut each: impl FnMut(Reading)) {
    const TOKEN: Set = Set::NONE
        .range(b'!', b'~')
        .without(b'"')
        .without(b'\'')
        .without(b'`')
        .without(b'<')
        .without(b'>')
        .without(b'(')
        .without(b')')
        .without(b'{')
        .without(b'}')
        .without(b',');
    let bytes = text.as_bytes();
    let mut done = 0;
    while let Some(found) = bytes.get(done..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        let newline = done + found;
        let line_end = if before(bytes, newline) == b'\r' { newline - 1 } else { newline };
        let first = run_back(bytes, line_end, TOKEN, MAX_AROUND).max(done.min(line_end));
        let line_start = done.min(line_end);
        done = newline + 1;
        if line_end - first < MIN_WRAPPED {
            continue;
        }
        // The pieces after the first: each from the indentation on, all but the last up to the end of its line.
        let mut pieces = Vec::new();
        let mut after = newline + 1;
        loop {
            let from = indentation(bytes, after);
            let to = run(bytes, from, TOKEN, usize::MAX);
            if to - from < MIN_WRAPPED {
                break;
            }
            pieces.push((from, to));
            let Some(line) = line_break(bytes, to) else { break };
            after = to + line;
        }
        let Some(&(last, last_end)) = pieces.last() else { continue };
        let parts = std::iter::once((first, line_end)).chain(pieces.iter().copied());
        let (mut len, mut digits, mut capitals) = (0, 0, 0);
        for byte in parts.filter_map(|(from, to)| bytes.get(from..to)).flatten().take(4096) {
            len += 1;
            digits += usize::from(byte.is_ascii_digit());
            capitals += usize::from(byte.is_ascii_uppercase());
        }
        // Words of prose at the ends of lines are no token.
        if len >= MIN_ENCODED - 4 && (digits > 0 || capitals >= 4) {
            let mut reading = Reading::new();
            // What announces the token stands before it in the line, what closes it behind it.
            let start = char_start(text, line_start.max(first.saturating_sub(MAX_AROUND)));
            reading.copy(text, start, line_end);
            for &(from, to) in &pieces {
                reading.leave_out();
                reading.copy(text, from, to);
            }
            let rest = bytes.get(last_end..).unwrap_or_default();
            let rest = rest.iter().take(MAX_AROUND).take_while(|byte| !matches!(byte, b'\n' | b'\r')).count();
            reading.copy(text, last_end, char_start(text, last_end + rest));
            each(reading);
        }
        // The last piece may itself be the first of another token.
        done = done.max(last);
    }
}

/// The start of the character that `place` lies in.
fn char_start(text: &str, place: usize) -> usize {
    (0..=place.min(text.len())).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0)
}

fn indentation(bytes: &[u8], from: usize) -> usize {
    run(bytes, from, Set::NONE.one(b' ').one(b'\t').one(b'>'), 32)
}
