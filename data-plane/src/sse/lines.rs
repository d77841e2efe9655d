//! The lines of an event whose data is judged.
//!
//! What is not data is of no use to a client of a model beyond the name of the event, but it could carry text past the
//! policies. So of the other fields only what is a name or a number is passed on, and of a comment that there was one.

use bytes::Bytes;

/// Longer names of events are none of a model's protocol.
const LONGEST_NAME: usize = 64;
/// Longer numbers in `id` and `retry` are none.
const MOST_DIGITS: usize = 8;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    /// A comment without its text.
    Emptied,
    Dropped,
}

/// The event with nothing but data, names and numbers in it. `is_first`: a byte order mark may stand before it.
pub(crate) fn without_texts(frame: Bytes, is_first: bool) -> Bytes {
    let fate = |index: usize, line| fate_of(line, is_first && index == 0);
    if lines(&frame).enumerate().all(|(index, (line, _))| fate(index, line) == Fate::Kept) {
        return frame;
    }
    let mut left = Vec::with_capacity(frame.len());
    for (index, (line, end)) in lines(&frame).enumerate() {
        match fate(index, line) {
            Fate::Kept => left.extend_from_slice(line),
            Fate::Emptied => left.push(b':'),
            Fate::Dropped => continue,
        }
        left.extend_from_slice(end);
    }
    Bytes::from(left)
}

fn fate_of(line: &[u8], is_first: bool) -> Fate {
    let line = if is_first { line.strip_prefix(BOM).unwrap_or(line) } else { line };
    let colon = memchr::memchr(b':', line);
    let (name, value) = match colon.and_then(|at| line.split_at_checked(at)) {
        Some((name, value)) => (name, value.get(1..).unwrap_or_default()),
        None => (line, &[][..]),
    };
    let value = value.strip_prefix(b" ").unwrap_or(value);
    let is_kept = match name {
        b"" if colon.is_some() => return if value.is_empty() { Fate::Kept } else { Fate::Emptied },
        b"" | b"data" => true,
        b"event" => {
            let is_part = |byte: &u8| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.');
            value.len() <= LONGEST_NAME && value.iter().all(is_part)
        }
        b"id" | b"retry" => value.len() <= MOST_DIGITS && value.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if is_kept { Fate::Kept } else { Fate::Dropped }
}

/// The event with other data: its other lines stay as they came.
pub(crate) fn with_data(frame: &[u8], data: &str, out: &mut Vec<u8>) {
    let mut is_given = false;
    for (index, (line, end)) in lines(frame).enumerate() {
        let name = if index == 0 { line.strip_prefix(BOM).unwrap_or(line) } else { line };
        let is_data =
            name.strip_prefix(b"data").is_some_and(|value| value.is_empty() || value.starts_with(b":"));
        if !is_data {
            out.extend_from_slice(line);
            out.extend_from_slice(end);
        } else if !std::mem::replace(&mut is_given, true) {
            for line in data.split('\n') {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(line.as_bytes());
                out.extend_from_slice(if end.is_empty() { b"\n" } else { end });
            }
        }
    }
}

/// Whether nothing that is written behind `bytes` becomes part of an event in them.
pub(crate) fn is_ended(bytes: &[u8]) -> bool {
    lines(bytes).last().is_none_or(|(line, end)| line.is_empty() && !end.is_empty())
}

/// The lines, each with its end.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let text = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (line, behind) = rest.split_at_checked(text).unwrap_or((rest, &[]));
        let end = match behind {
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => 1,
        };
        let (end, behind) = behind.split_at_checked(end).unwrap_or((behind, &[]));
        rest = behind;
        Some((line, end))
    })
}
