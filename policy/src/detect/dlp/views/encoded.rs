//! Runs of base64 and of hexadecimal digits that stand for a text.

use super::{
    super::chars::{Set, at, run, run_back},
    MIN_ENCODED, Map, Reading, hex, line_break,
};

/// Runs of base64 or hexadecimal digits that decode to text.
pub(in crate::detect::dlp) fn encoded(text: &str, mut each: impl FnMut(Reading)) {
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
        // Lines of one block, as mail has them: of one length, the last may be shorter.
        let line = end;
        let (mut block_end, mut whole_end, mut width) = (line, line, usize::MAX);
        while line - start >= 60
            && let Some(gap) = line_break(bytes, block_end)
        {
            let next = run(bytes, block_end + gap, RUN, usize::MAX);
            let len = next - block_end - gap;
            if len < 2 || len > width {
                break;
            }
            whole_end = block_end;
            block_end = next;
            if width != usize::MAX && len < width {
                break;
            }
            width = len;
        }
        // What looks like a last line can be the next line of the text.
        let mut ends = [block_end, whole_end, line];
        ends.sort_unstable_by(|a, b| b.cmp(a));
        end = line;
        let mut tried = 0;
        for stop in ends {
            if stop != tried
                && let Some(reading) = decode(text, start, stop)
            {
                each(reading);
                end = stop;
                break;
            }
            tried = stop;
        }
        place = end + MIN_ENCODED;
    }
}

/// Decodes the run `start..end`; its last part when the run begins with something else (a path, a prefix).
fn decode(text: &str, start: usize, end: usize) -> Option<Reading> {
    let bytes = text.as_bytes();
    let padded = run(bytes, end, Set::NONE.one(b'='), 2);
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

/// The value that the run of base64 or hexadecimal digits at `place` stands for, and where the run ends.
pub(in crate::detect::dlp) fn decoded_at(text: &str, place: usize) -> Option<(String, usize)> {
    let end = run(text.as_bytes(), place, Set::BASE64.one(b'-').one(b'_'), 4096);
    let reading = decode(text, place, end)?;
    match reading.map {
        Map::Whole(from, to) if from == place => Some((reading.text, to)),
        _ => None,
    }
}
