//! Finding the next byte of a string that means something: a quote, a backslash or a control character.
//!
//! Blocks of 32 bytes are judged whole (the compiler makes vector code of the loop), then words of 8, then bytes.

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// How many bytes of `bytes` come before the first quote, backslash or control character; its length if there is none.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let mut run = 0;
    // Most strings are keys and short words: one word first, blocks only for what is longer.
    if let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let mask = special(u64::from_le_bytes(*word));
        if mask != 0 {
            return first(mask);
        }
        rest = tail;
        run = 8;
    }
    while let Some((block, tail)) = rest.split_first_chunk::<32>() {
        if !is_plain(block) {
            break;
        }
        rest = tail;
        run += 32;
    }
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let mask = special(u64::from_le_bytes(*word));
        if mask != 0 {
            return run + first(mask);
        }
        rest = tail;
        run += 8;
    }
    run + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len())
}

fn is_plain(block: &[u8; 32]) -> bool {
    let mut found = 0;
    for &byte in block {
        found |= u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\');
    }
    found == 0
}

/// The high bit of each special byte. Bits above the lowest one set may be wrong (a borrow), the lowest never is.
const fn special(word: u64) -> u64 {
    let quote = word ^ (LOW * b'"' as u64);
    let backslash = word ^ (LOW * b'\\' as u64);
    let control = word.wrapping_sub(LOW * 0x20) & !word;
    ((quote.wrapping_sub(LOW) & !quote) | (backslash.wrapping_sub(LOW) & !backslash) | control) & HIGH
}

const fn first(mask: u64) -> usize {
    (mask.trailing_zeros() / 8) as usize
}
