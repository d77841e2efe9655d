//! Secrets of Azure.

use super::{
    super::{
        builtin::Builtin,
        chars::{Set, at, before, has_word, is_random, run, run_back},
        scan::{Found, View},
    },
    found,
    token::value_after,
};

/// What stands in a connection string, apart from its separators.
const VALUE: Set =
    Set::BASE64.one(b'=').one(b':').one(b'.').one(b'-').one(b'_').one(b'%').one(b'?').one(b'&');

/// Names that a storage connection string can begin with.
const NAMES: [&str; 6] = [
    "DefaultEndpointsProtocol=",
    "AccountName=",
    "BlobEndpoint=",
    "QueueEndpoint=",
    "TableEndpoint=",
    "EndpointSuffix=",
];

pub(super) fn storage_key(view: &View<'_>, start: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    let connection = before(bytes, after) == b'=';
    let value = if connection { after } else { value_after(bytes, after) };
    // 64 bytes, or 32 for the keys of queues and hubs.
    let digits = run(bytes, value, Set::BASE64, 96);
    let mut end = run(bytes, digits, Set::NONE.one(b'='), 2);
    let formed = matches!((digits - value, end - digits), (86, 2) | (43, 1));
    let Some(secret) = bytes.get(value..digits) else { return };
    if !formed || (!connection && secret.len() != 86) || !is_random(secret) || Set::BASE64.has(at(bytes, end))
    {
        return;
    }
    if !connection {
        out(found(Builtin::AzureStorageKey, value, end));
        return;
    }
    // The whole connection string: named parts before and after the key.
    let earliest = run_back(bytes, start, VALUE.one(b';'), 1024);
    let first = (earliest..=start)
        .find(|&place| NAMES.iter().any(|name| has_word(bytes, place, name)) && view.opens(place))
        .unwrap_or(start);
    while at(bytes, end) == b';' && Set::LETTER.has(at(bytes, end + 1)) {
        let name = run(bytes, end + 1, Set::ALNUM, 64);
        if at(bytes, name) != b'=' {
            break;
        }
        end = run(bytes, name + 1, VALUE, 512);
    }
    while matches!(before(bytes, end), b'.' | b'?' | b':') {
        end -= 1;
    }
    out(found(Builtin::AzureStorageKey, first, end));
}

/// Three characters, a digit, `Q~`, 31 to 34 characters.
pub(super) fn client_secret(view: &View<'_>, mark: usize, after: usize, out: &mut dyn FnMut(Found)) {
    const BODY: Set = Set::URL64.one(b'.').one(b'~');
    let bytes = view.bytes();
    let Some(start) = mark.checked_sub(4) else { return };
    let head = bytes.get(start..mark).unwrap_or_default();
    if bytes.get(mark..after) != Some(b"Q~")
        || !head.iter().all(|byte| BODY.has(*byte))
        || !before(bytes, mark).is_ascii_digit()
        || matches!(before(bytes, start), b'.' | b'~' | b'-' | b'_')
        || !view.opens(start)
    {
        return;
    }
    let mut end = run(bytes, after, BODY, 36);
    if let Some(seam) = (31..=34).rev().map(|len| after + len).find(|&place| place < end && view.seam(place))
    {
        end = seam;
    }
    // A full stop behind it ends a sentence.
    if end - after == 35 && before(bytes, end) == b'.' {
        end -= 1;
    }
    let secret = bytes.get(after..end).unwrap_or_default();
    if (31..=34).contains(&secret.len()) && is_random(secret) {
        out(found(Builtin::AzureClientSecret, start, end));
    }
}

/// A query with a version (`sv=`) and a signature (`sig=`).
pub(super) fn sas(view: &View<'_>, start: usize, after: usize, out: &mut dyn FnMut(Found)) {
    const QUERY: Set =
        Set::URL64.one(b'=').one(b'&').one(b'%').one(b':').one(b'.').one(b'+').one(b'/').one(b',');
    let bytes = view.bytes();
    if Set::WORD.has(before(bytes, start)) {
        return;
    }
    let signature = run(bytes, after, Set::BASE64.one(b'%').one(b'=').one(b'_').one(b'-'), 200);
    let Some(secret) = bytes.get(after..signature) else { return };
    if secret.len() < 40 || !is_random(secret) {
        return;
    }
    let mut end = signature;
    while at(bytes, end) == b'&' {
        let name = run(bytes, end + 1, Set::LOWER, 8);
        if name == end + 1 || at(bytes, name) != b'=' {
            break;
        }
        end = run(bytes, name + 1, QUERY.without(b'&'), 200);
    }
    while matches!(before(bytes, end), b'.' | b',' | b':') {
        end -= 1;
    }
    let query = run_back(bytes, start, QUERY, 1024);
    let from = if before(bytes, query) == b'?' {
        Some(query - 1)
    } else {
        (query..start).find(|&place| has_word(bytes, place, "sv=20") && !Set::WORD.has(before(bytes, place)))
    };
    let Some(from) = from else { return };
    let versioned = bytes.get(from..end).is_some_and(|part| {
        part.windows(3).any(|three| three == b"sv=") && part.windows(3).any(|three| three == b"se=")
    });
    if versioned && view.closes(end) {
        out(found(Builtin::AzureSas, from, end));
    }
}
