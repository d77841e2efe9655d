//! Check digits and the numbers that issuers give out.

/// Luhn's formula (ISO/IEC 7812-1, annex B) over digit values, last one the check digit.
pub(super) fn luhn(digits: &[u8]) -> bool {
    luhn_sum(digits).is_multiple_of(10)
}

fn luhn_sum(digits: &[u8]) -> u32 {
    digits.iter().rev().enumerate().fold(0, |sum, (place, &digit)| {
        let value = u32::from(digit);
        sum + if place % 2 == 0 { value } else { value * 2 / 10 + value * 2 % 10 }
    })
}

/// How sure the digits are a payment card by issuer range and length, before Luhn's formula; `None`: no issuer.
pub(super) fn issuer(digits: &[u8]) -> Option<f32> {
    let first = |count| digits.iter().take(count).fold(0_u32, |value, &digit| value * 10 + u32::from(digit));
    let length = digits.len();
    let (six, four, three, two) = (first(6), first(4), first(3), first(2));
    Some(match (two, length) {
        (40..=49, 16 | 19) | (51..=55, 16) | (34 | 37, 15) => 0.99,
        (40..=49, 13) => 0.45,
        (22..=27, 16) if (2221..=2720).contains(&four) => 0.99,
        (22, 16..=19) if (2200..=2204).contains(&four) => 0.95,
        (60 | 64 | 65, 16..=19) if four == 6011 || two == 65 || (644..=649).contains(&three) => 0.99,
        (62, 16..=19) if six >= 622_126 || two == 62 => 0.95,
        (36 | 38 | 39, 14..=19) => 0.9,
        (30, 14..=19) if (300..=305).contains(&three) || three == 309 => 0.9,
        (35, 16..=19) if (3528..=3589).contains(&four) => 0.99,
        (50 | 56..=58 | 67, 16..=19) => 0.85,
        (63, 16..=19) if matches!(four, 6304 | 6390 | 6362 | 6363) => 0.85,
        (60 | 81 | 82, 16) => 0.8,
        (50 | 56..=58 | 67, 12..=15) => 0.4,
        _ => return None,
    })
}

/// NHS numbers (NHS data dictionary): ten digits, weights 10 to 2, modulo 11.
pub(super) fn nhs(digits: &[u8]) -> bool {
    if digits.len() != 10 || digits.iter().all(|digit| Some(digit) == digits.first()) {
        return false;
    }
    let sum: u32 =
        digits.iter().take(9).zip((2..=10).rev()).map(|(&digit, weight)| u32::from(digit) * weight).sum();
    let check = (11 - sum % 11) % 11;
    digits.last().is_some_and(|&last| u32::from(last) == check)
}

/// US provider numbers (45 CFR 162.406): ten digits from 1 or 2, Luhn's formula with 80840 before them.
pub(super) fn npi(digits: &[u8]) -> bool {
    let prefixed: u32 = luhn_sum(digits) + 24;
    digits.len() == 10 && matches!(digits.first(), Some(1 | 2)) && prefixed.is_multiple_of(10)
}

/// US routing numbers (ABA): nine digits, weights 3, 7, 1, modulo 10, a Federal Reserve district in front.
pub(super) fn routing(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .zip([3, 7, 1].into_iter().cycle())
        .map(|(&digit, weight)| u32::from(digit) * weight)
        .sum();
    let district = digits.iter().take(2).fold(0, |value, &digit| value * 10 + digit);
    digits.len() == 9
        && sum > 0
        && sum.is_multiple_of(10)
        && matches!(district, 0..=12 | 21..=32 | 61..=72 | 80)
}

/// The three parts of a nine-digit number of the US Social Security Administration or tax service.
fn parts(digits: &[u8]) -> Option<(u32, u32, u32)> {
    let number = |from: usize, to: usize| {
        digits.get(from..to).map(|part| part.iter().fold(0, |value, &digit| value * 10 + u32::from(digit)))
    };
    (digits.len() == 9).then_some(())?;
    Some((number(0, 3)?, number(3, 5)?, number(5, 9)?))
}

/// US social security numbers: areas 000, 666 and 900 up are never given, nor are groups 00 and serials 0000
/// (20 CFR 422.103, SSA randomisation 2011); two numbers became void by being printed in advertisements.
pub(super) fn ssn(digits: &[u8]) -> bool {
    let Some((area, group, serial)) = parts(digits) else { return false };
    area != 0
        && area != 666
        && area < 900
        && group != 0
        && serial != 0
        && !matches!((area, group, serial), (78, 5, 1120) | (219, 9, 9999))
}

/// US individual taxpayer numbers (IRS): 900 up, with the groups that are given out.
pub(super) fn itin(digits: &[u8]) -> bool {
    let Some((area, group, _)) = parts(digits) else { return false };
    area >= 900 && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// The first ten digits of an ISBN-13 with its check digit, or an EAN in general (GS1).
pub(super) fn ean13(digits: &[u8]) -> bool {
    let sum: u32 =
        digits.iter().zip([1, 3].into_iter().cycle()).map(|(&digit, weight)| u32::from(digit) * weight).sum();
    digits.len() == 13 && sum.is_multiple_of(10)
}
