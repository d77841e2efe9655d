//! Numbers of documents that mix letters and digits and have no check: passports, driver licences, medical records,
//! health insurance. They are looked for only beside the words that speak of them.

use super::{
    context::{Context, Topic},
    found::{Claims, Kind},
    view::View,
};

/// How far behind its word a number may stand, in bytes: a name fits between.
const REACH: usize = 80;

/// Claims what stands beside the words that speak of documents.
pub(super) fn find(view: &View<'_>, context: &Context, claims: &mut Claims) {
    for (topic, kind, score) in [
        (Topic::Passport, Kind::Passport, 0.85),
        (Topic::Licence, Kind::Licence, 0.85),
        (Topic::MedicalRecord, Kind::MedicalRecord, 0.85),
        (Topic::HealthInsurance, Kind::HealthInsurance, 0.8),
    ] {
        for word_end in context.ends(topic) {
            if let Some((start, end)) = behind(view, context, word_end, topic) {
                claims.push(start, end, kind, score);
            }
        }
    }
}

/// The first piece behind `from` that has the form, in the same sentence.
fn behind(view: &View<'_>, context: &Context, from: usize, topic: Topic) -> Option<(usize, usize)> {
    let bytes = view.bytes();
    let limit = bytes.len().min(from + REACH);
    let mut at = from;
    while at < limit {
        let byte = view.byte(at);
        if matches!(byte, b'\n' | b';' | b'!' | b'?')
            || (byte == b'.' && view.byte(at + 1) == b' ' && view.before(at).is_ascii_lowercase())
        {
            return None;
        }
        if !byte.is_ascii_alphanumeric() || view.before(at).is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let length = bytes.get(at..).map_or(0, |rest| {
            rest.iter().take(64).take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count()
        });
        let piece = view.slice(at, at + length).trim_end_matches('-');
        let end = at + piece.len();
        let alone = !view.char_before(at).is_some_and(|c| matches!(c, '@' | '.' | '_' | '+' | '/'))
            && !matches!(view.byte(end), b'@' | b'_' | b'/')
            && !(view.byte(end) == b'.' && view.byte(end + 1).is_ascii_alphanumeric());
        if alone && fits(piece, topic) && !nearer_word(context, topic, from, at) {
            return Some((at, end));
        }
        at += length.max(1);
    }
    None
}

/// Whether a word on another topic stands between the word and the number.
fn nearer_word(context: &Context, topic: Topic, from: usize, start: usize) -> bool {
    let own = start - from;
    [
        Topic::Phone,
        Topic::Ssn,
        Topic::Itin,
        Topic::Card,
        Topic::Passport,
        Topic::Licence,
        Topic::Npi,
        Topic::OtherNumber,
    ]
    .into_iter()
    .filter(|&other| other != topic)
    .any(|other| context.distance(other, start, start + 1, own, 0).is_some_and(|distance| distance < own))
}

fn fits(piece: &str, topic: Topic) -> bool {
    let bare = piece.bytes().filter(|&byte| byte != b'-');
    let digits = bare.clone().filter(u8::is_ascii_digit).count();
    let length = bare.clone().count();
    let letters = length - digits;
    let leading = piece.bytes().take_while(u8::is_ascii_alphabetic).count();
    let upper = piece.bytes().all(|byte| !byte.is_ascii_lowercase());
    let tail = piece.bytes().skip(leading).all(|byte| byte.is_ascii_digit());
    match topic {
        // US: nine digits, or a letter and eight; elsewhere one or two letters and six to eight digits.
        Topic::Passport => tail && (matches!((leading, digits), (0, 9) | (1, 7..=8) | (2, 6..=7))),
        // The forms of the states (AAMVA): mostly a letter and 6 to 14 digits, or 7 to 12 digits.
        Topic::Licence => {
            let plain = leading == 0 && letters == 0 && (7..=12).contains(&digits);
            let lettered = (1..=3).contains(&leading) && digits >= 4 && (6..=16).contains(&length);
            let mixed = (8..=18).contains(&length) && digits >= 5 && letters >= 1;
            let date = piece.contains('-') && letters == 0 && length == 8;
            (plain || ((lettered || mixed) && (upper || tail))) && !date
        }
        Topic::MedicalRecord => (5..=12).contains(&length) && digits >= 5 && letters <= 4,
        // Medicare's form (CMS): C A AN N A AN N A A N N among others.
        Topic::HealthInsurance => {
            (6..=16).contains(&length) && digits >= 4 && (letters == 0 && digits >= 7 || letters > 0 && upper)
        }
        _ => false,
    }
}
