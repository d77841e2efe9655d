//! Blocks: private keys, service account files, authorization headers.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    super::{
        builtin::Builtin,
        chars::{Set, at, before, classes, entropy, has_word, holds, is_stand_in, run, run_back},
        scan::{Found, View},
    },
    found,
};

/// Largest block of a key.
const MAX_KEY: usize = 32 << 10;
/// Largest service account file.
const MAX_FILE: usize = 8 << 10;

/// RFC 7468 and OpenPGP armour, with line breaks of its own or as `\n` inside a JSON string.
pub(super) fn private_key(view: &View<'_>, start: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    let label_end = run(bytes, after, Set::UPPER_DIGIT.one(b' '), 48);
    let label = bytes.get(after..label_end).unwrap_or_default();
    if !(label.ends_with(b"PRIVATE KEY") || label.ends_with(b"PRIVATE KEY BLOCK")) {
        return;
    }
    if bytes.get(label_end..label_end + 5) != Some(b"-----") {
        return;
    }
    let body = label_end + 5;
    let window = bytes.get(body..(body + MAX_KEY).min(bytes.len())).unwrap_or_default();
    // The next block is not this one's body: each byte is read for one block only.
    let window =
        memchr::memmem::find(window, b"-----BEGIN ").and_then(|len| window.get(..len)).unwrap_or(window);
    let footer = memchr::memmem::find(window, b"-----END ");
    let body_end = match footer {
        Some(len) => body + len,
        // Cut off: as far as it looks like the inside of a key.
        None => run(bytes, body, Set::BASE64.one(b'=').one(b'\n').one(b'\r').one(b'\\').one(b' '), MAX_KEY),
    };
    let digits: Vec<u8> = key_digits(bytes.get(body..body_end).unwrap_or_default());
    if digits.len() < 40 || entropy(&digits) < 900 || is_stand_in(digits.get(..32).unwrap_or_default()) {
        return;
    }
    let end = match footer {
        Some(_) => {
            let label = run(bytes, body_end + 9, Set::UPPER_DIGIT.one(b' '), 48);
            run(bytes, label, Set::NONE.one(b'-'), 5)
        }
        None => run_back_space(bytes, body_end),
    };
    out(found(Builtin::PrivateKey, start, end));
}

/// The base64 digits of a body, without headers, line breaks and escapes of line breaks.
fn key_digits(body: &[u8]) -> Vec<u8> {
    let mut digits = Vec::new();
    for line in body.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if line.contains(&b':') {
            continue;
        }
        let mut escaped = false;
        for &byte in line {
            if escaped {
                escaped = false;
            } else if byte == b'\\' {
                escaped = true;
            } else if Set::BASE64.has(byte) {
                digits.push(byte);
            }
        }
    }
    digits
}

fn run_back_space(bytes: &[u8], mut end: usize) -> usize {
    while before(bytes, end).is_ascii_whitespace() {
        end -= 1;
    }
    end
}

/// The JSON object around `"type": "service_account"`, when it carries a private key.
pub(super) fn gcp_service_account(view: &View<'_>, start: usize, _: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    let earliest = start.saturating_sub(MAX_FILE);
    let Some(open) = bytes
        .get(earliest..start)
        .and_then(|part| memchr::memrchr2(b'{', b'}', part))
        .map(|index| earliest + index)
        .filter(|&place| at(bytes, place) == b'{')
    else {
        return;
    };
    let window = bytes.get(open..(open + MAX_FILE).min(bytes.len())).unwrap_or_default();
    let mut depth = 0_usize;
    let mut end = None;
    for index in memchr::memchr2_iter(b'{', b'}', window) {
        if at(window, index) == b'{' {
            depth += 1;
            // Such a file holds no objects; some that are wrapped in others do.
            if depth > 4 {
                return;
            }
        } else {
            depth -= 1;
            if depth == 0 {
                end = Some(open + index + 1);
                break;
            }
        }
    }
    let Some(end) = end else { return };
    let object = bytes.get(open..end).unwrap_or_default();
    let keyed = object.windows(13).any(|part| part == b"\"private_key\"")
        || object.windows(14).any(|part| part == b"\"private_key\\\"");
    if keyed && holds(object, "private key-----") {
        out(found(Builtin::GcpServiceAccount, open, end));
    }
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// RFC 7617: `Authorization: Basic` and a user, a colon and a password in base64.
pub(super) fn basic_auth(view: &View<'_>, start: usize, after: usize, out: &mut dyn FnMut(Found)) {
    const BETWEEN: Set =
        Set::NONE.one(b' ').one(b'\t').one(b'"').one(b'\'').one(b':').one(b'=').one(b'\\').one(b'>');
    let bytes = view.bytes();
    let name_end = run_back(bytes, start, BETWEEN, 8);
    let Some(name) = name_end.checked_sub(13).filter(|&name| has_word(bytes, name, "authorization")) else {
        return;
    };
    let name = name.checked_sub(6).filter(|&proxy| has_word(bytes, proxy, "proxy-")).unwrap_or(name);
    if !view.opens(name) {
        return;
    }
    let value = run(bytes, after, Set::NONE.one(b' '), 4);
    let digits = run(bytes, value, Set::BASE64, 1024);
    let end = run(bytes, digits, Set::NONE.one(b'='), 2);
    let Some(Ok(pair)) = bytes.get(value..digits).map(|digits| LENIENT.decode(digits)) else { return };
    let Some(colon) = pair.iter().position(|byte| *byte == b':') else { return };
    let (user, password) = pair.split_at(colon);
    let password = password.get(1..).unwrap_or_default();
    let readable = pair.iter().all(|byte| matches!(byte, b' '..=b'~') || *byte >= 0x80);
    let real = password.len() >= 4
        && !is_stand_in(password)
        && !password.eq_ignore_ascii_case(user)
        && (classes(password) > 1 || password.len() >= 8);
    if readable && real {
        out(found(Builtin::BasicAuth, name, end));
    }
}
