//! International bank account numbers (ISO 13616), by country, length and check digits.

use super::{
    found::{Claims, Kind},
    view::View,
};

/// Lengths by country (SWIFT IBAN registry, release 99).
const LENGTHS: [(&[u8; 2], usize); 89] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// Claims the IBANs in `view`, in one piece or in groups.
pub(super) fn find(view: &View<'_>, claims: &mut Claims) {
    let bytes = view.bytes();
    let mut done = 0;
    // Check digits are the anchor: a digit with two letters before it.
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if !byte.is_ascii_digit() || view.before(at).is_ascii_digit() {
            at += 1;
            continue;
        }
        if let Some(start) = country(view, at)
            && start >= done
            && let Some(end) = read(view, start)
        {
            claims.push(start, end, Kind::Iban, 1.0);
            done = end;
            at = end;
            continue;
        }
        at += 1;
    }
}

/// The start of the two letters before `digit`, with at most a space or hyphen between any two, at a word's start.
fn country(view: &View<'_>, digit: usize) -> Option<usize> {
    let mut at = digit;
    for _ in 0..2 {
        if matches!(view.before(at), b' ' | b'-') {
            at -= 1;
        }
        at = at.checked_sub(1).filter(|&at| view.byte(at).is_ascii_alphabetic())?;
    }
    (!view.before(at).is_ascii_alphanumeric()).then_some(at)
}

fn read(view: &View<'_>, start: usize) -> Option<usize> {
    let mut sign = [0_u8; 34];
    let mut count = 0;
    let mut length = sign.len();
    let mut at = start;
    while count < length {
        let byte = view.byte(at);
        if byte.is_ascii_alphanumeric() {
            *sign.get_mut(count)? = byte.to_ascii_uppercase();
            count += 1;
            if count == 2 {
                let country = [*sign.first()?, *sign.get(1)?];
                length = LENGTHS
                    .binary_search_by(|(code, _)| code.as_slice().cmp(&country))
                    .ok()
                    .and_then(|at| LENGTHS.get(at))?
                    .1;
            }
            at += 1;
        } else if matches!(byte, b' ' | b'-' | b'.' | b'\n')
            && view.byte(at + 1).is_ascii_alphanumeric()
            && count > 0
        {
            at += 1;
        } else {
            return None;
        }
    }
    let sign = sign.get(..length)?;
    (!view.byte(at).is_ascii_alphanumeric()
        && sign.iter().skip(2).take(2).all(u8::is_ascii_digit)
        && checks(sign))
    .then_some(at)
}

/// ISO 7064 mod 97-10: the first four characters moved to the end, letters as 10 to 35, remainder 1.
fn checks(sign: &[u8]) -> bool {
    let mut rest = 0_u32;
    for &byte in sign.iter().skip(4).chain(sign.iter().take(4)) {
        let Some(value) = char::from(byte).to_digit(36) else { return false };
        rest = if value < 10 { rest * 10 + value } else { rest * 100 + value } % 97;
    }
    rest == 1
}
