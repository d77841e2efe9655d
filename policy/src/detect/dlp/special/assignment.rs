//! Values that the name before them gives away.

use super::{
    super::{
        builtin::Builtin,
        chars::{Set, at, before, classes, entropy, has_word, holds, is_random, is_stand_in, run},
        scan::{Found, View},
    },
    found,
    token::value_after,
};

const NAME: Set = Set::URL64.one(b'.');
/// Longest name and value that are looked at.
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 256;

/// Words for secrets that a name can end in. Lower case.
const WORDS: [&str; 19] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "access-key",
    "authkey",
    "auth_key",
    "privatekey",
    "private_key",
    "credential",
    "encryption_key",
    "signing_key",
];
/// What may follow the word in a name without changing what the value is.
const TAILS: [&str; 22] = [
    "",
    "s",
    "key",
    "value",
    "val",
    "text",
    "string",
    "str",
    "prod",
    "production",
    "dev",
    "stage",
    "staging",
    "live",
    "main",
    "primary",
    "secondary",
    "admin",
    "root",
    "db",
    "plain",
    "raw",
];
/// Names of things that are no secrets though a word for one stands in them.
const HARMLESS: [&str; 10] =
    ["public", "csrf", "xsrf", "page", "cursor", "continuation", "next", "max", "min", "count"];

/// What a name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Promise {
    /// Perhaps a secret.
    Weak,
    /// A secret, also without quotes.
    Strong,
}

fn judge(name: &[u8]) -> Option<Promise> {
    let lower = name.to_ascii_lowercase();
    if HARMLESS.iter().any(|word| holds(name, word)) {
        return None;
    }
    let mut promise = None;
    for word in WORDS {
        let Some(place) = lower.windows(word.len()).rposition(|part| part == word.as_bytes()) else {
            continue;
        };
        let tail: Vec<u8> = lower
            .get(place + word.len()..)
            .unwrap_or_default()
            .iter()
            .copied()
            .filter(|byte| !matches!(byte, b'_' | b'-' | b'.') && !byte.is_ascii_digit())
            .collect();
        if !TAILS.iter().any(|known| known.as_bytes() == tail) {
            continue;
        }
        let own = matches!(word, "password" | "passwd" | "pwd" | "passphrase")
            || (word == "secret" && (place > 0 || tail == b"key"));
        promise = promise.max(Some(if own { Promise::Strong } else { Promise::Weak }));
    }
    promise
}

/// Whether `key` names a secret and `text`, all of it, can be one.
pub(crate) fn names_and_holds_secret(key: &str, text: &str) -> bool {
    key.len() <= MAX_NAME
        && judge(key.as_bytes()).is_some_and(|promise| {
            let value = text.as_bytes();
            value.len() <= MAX_VALUE && value.iter().all(u8::is_ascii_graphic) && is_secret(value, promise)
        })
}

pub(super) fn generic(view: &View<'_>, start: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    let name_end = run(bytes, after, Set::URL64, MAX_NAME);
    // Quick refusal: in prose a space and a word follow.
    let quoted_name = match at(bytes, name_end) {
        b'"' | b'\'' | b'`' => 1,
        b'\\' if matches!(at(bytes, name_end + 1), b'"' | b'\'') => 2,
        _ => 0,
    };
    let Some(mut place) = operator(bytes, name_end + quoted_name) else { return };
    let name_start = view.run_back(start, NAME, MAX_NAME);
    let Some(name) = bytes.get(name_start..name_end) else { return };
    let name =
        name.get(name.iter().take_while(|byte| matches!(byte, b'-' | b'.')).count()..).unwrap_or_default();
    let name_start = name_end - name.len();
    let Some(promise) = judge(name) else { return };

    // `b"…"`, `r"…"`, `@"…"`
    if matches!(at(bytes, place), b'b' | b'r' | b'u' | b'@') && matches!(at(bytes, place + 1), b'"' | b'\'') {
        place += 1;
    }
    let escaped = usize::from(at(bytes, place) == b'\\' && matches!(at(bytes, place + 1), b'"' | b'\''));
    let quote = at(bytes, place + escaped);
    let opening = matches!(quote, b'"' | b'\'' | b'`');
    let (value_start, value_end, end) = if opening {
        let value_start = place + escaped + 1;
        let window = view.text.get(value_start..).unwrap_or_default().as_bytes();
        let window = window.get(..window.len().min(MAX_VALUE)).unwrap_or_default();
        let Some(len) = window.iter().position(|byte| *byte == quote || matches!(byte, b'\n' | b'\r')) else {
            return;
        };
        if at(bytes, value_start + len) != quote {
            return;
        }
        let value_end =
            value_start + len - usize::from(escaped == 1 && before(bytes, value_start + len) == b'\\');
        (value_start, value_end, value_start + len + 1)
    } else {
        const BARE: Set = Set::NONE
            .range(b'!', b'~')
            .without(b'"')
            .without(b'\'')
            .without(b'`')
            .without(b',')
            .without(b';')
            .without(b'<')
            .without(b'>')
            .without(b'(')
            .without(b')')
            .without(b'[')
            .without(b']')
            .without(b'{')
            .without(b'}')
            .without(b'\\');
        let value_end = run(bytes, place, BARE, MAX_VALUE);
        let value_end = if before(bytes, value_end) == b'.' { value_end - 1 } else { value_end };
        // Code that computes a value, or a text that goes on.
        if matches!(at(bytes, value_end), b'(' | b'[' | b'{' | b'<' | b'"' | b'\'' | b'\\')
            && quoted_name == 0
        {
            return;
        }
        (place, value_end, value_end)
    };
    let Some(value) = bytes.get(value_start..value_end) else { return };
    // The old form of Vault tokens has no prefix worth looking for.
    if let Some(rest) = value.strip_prefix(b"s.")
        && rest.len() == 24
        && rest.iter().all(u8::is_ascii_alphanumeric)
        && classes(rest) == 3
        && is_random(rest)
    {
        out(found(Builtin::VaultToken, value_start, value_end));
        return;
    }
    let fits = if opening {
        value.iter().all(|byte| byte.is_ascii_graphic() || *byte >= 0x80) && is_secret(value, promise)
    } else {
        promise == Promise::Strong && value.len() >= 8 && is_secret(value, promise) && is_bare_secret(value)
    };
    if fits {
        let quote_before =
            usize::from(quoted_name > 0 && matches!(before(bytes, name_start), b'"' | b'\'' | b'`'));
        out(found(Builtin::GenericSecret, name_start - quote_before, end));
    }
}

/// Behind `=`, `:`, `:=` or `=>` and the spaces around it.
fn operator(bytes: &[u8], from: usize) -> Option<usize> {
    const SPACE: Set = Set::NONE.one(b' ').one(b'\t');
    let place = run(bytes, from, SPACE, 16);
    let sign = match (at(bytes, place), at(bytes, place + 1)) {
        (b':', b'=') | (b'=', b'>') => 2,
        (b'=', b'=') | (b':', b':' | b'/') => return None,
        (b'=' | b':', _) => 1,
        _ => return None,
    };
    Some(run(bytes, place + sign, SPACE, 16))
}

/// Whether a value can be a password or a key: long and mixed enough, no stand-in, no name of something else.
fn is_secret(value: &[u8], promise: Promise) -> bool {
    if !(8..=MAX_VALUE).contains(&value.len()) || is_stand_in(value) || names_something(value) {
        return false;
    }
    let kinds = classes(value);
    let bits = entropy(value);
    let digits = value.iter().any(u8::is_ascii_digit);
    match promise {
        Promise::Strong => {
            kinds >= 3 && bits >= 560
                || kinds == 2 && (digits || is_jumbled(value)) && value.len() >= 10 && bits >= 640
        }
        Promise::Weak => {
            kinds >= 3 && value.len() >= 10 && bits >= 640
                || kinds == 2 && digits && value.len() >= 20 && bits >= 720
        }
    }
}

/// Stricter, as nothing but a space or the line end says where the value ends.
fn is_bare_secret(value: &[u8]) -> bool {
    classes(value) >= 3
        && value.iter().any(u8::is_ascii_digit)
        && value.iter().any(u8::is_ascii_alphabetic)
        && entropy(value) >= 700
}

/// Addresses, paths, UUIDs, names of settings and of code: not secrets themselves.
fn names_something(value: &[u8]) -> bool {
    let address = value.windows(3).any(|three| three == b"://");
    let path = matches!(at(value, 0), b'/' | b'.' | b'~') && value.contains(&b'/');
    let uuid = value.len() == 36
        && value.iter().enumerate().all(|(index, byte)| {
            if matches!(index, 8 | 13 | 18 | 23) { *byte == b'-' } else { byte.is_ascii_hexdigit() }
        });
    // `NEXUS-GPT4-API-KEY`, `my-app-token`, `process.env.TOKEN`, `auth.tokens.v2`
    let words = value.split(|byte| matches!(byte, b'-' | b'_' | b'.' | b':' | b'/'));
    let parts: Vec<&[u8]> = words.filter(|part| !part.is_empty()).collect();
    let one_case = |part: &&[u8]| {
        let letters = part.iter().filter(|b| b.is_ascii_alphabetic()).count();
        part.iter().all(u8::is_ascii_alphanumeric)
            && (part.len() - letters <= 2 || letters == 0)
            && (part.iter().all(|b| !b.is_ascii_uppercase()) || part.iter().all(|b| !b.is_ascii_lowercase()))
    };
    let names = parts.len() >= 2 && parts.iter().all(one_case) && entropy(value) < 1100;
    let camel = value.iter().all(u8::is_ascii_alphabetic) && !is_jumbled(value);
    let digest = [&b"sha256"[..], b"sha512", b"sha1", b"md5", b"arn:", b"projects/"]
        .iter()
        .any(|p| value.starts_with(p));
    address
        || path
        || uuid
        || names
        || camel
        || digest
        || holds(value, "os.environ")
        || holds(value, "process.env")
}

/// Letters whose case changes more often than in names such as `userPasswordField`.
fn is_jumbled(value: &[u8]) -> bool {
    let changes = value
        .windows(2)
        .filter(|pair| matches!(pair, [a, b] if a.is_ascii_uppercase() != b.is_ascii_uppercase()))
        .count();
    value.len() >= 12 && changes * 3 >= value.len()
}

/// `fastly_token=` and 32 characters: the whole assignment.
pub(super) fn fastly(view: &View<'_>, start: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    if !view.opens(start) {
        return;
    }
    let name_end = run(bytes, after, Set::URL64, 24);
    let name = bytes.get(after..name_end).unwrap_or_default();
    if !["token", "key"]
        .iter()
        .any(|word| name.len() >= word.len() && has_word(bytes, name_end - word.len(), word))
    {
        return;
    }
    let quoted_name = usize::from(matches!(at(bytes, name_end), b'"' | b'\''));
    if operator(bytes, name_end + quoted_name).is_none() {
        return;
    }
    let value = value_after(bytes, name_end);
    let mut end = run(bytes, value, Set::URL64, 33);
    if end - value == 33 && view.seam(value + 32) {
        end = value + 32;
    }
    let secret = bytes.get(value..end).unwrap_or_default();
    if secret.len() != 32 || !is_random(secret) || !view.closes(end) {
        return;
    }
    let quote = before(bytes, value);
    if matches!(quote, b'"' | b'\'') && at(bytes, end) == quote {
        end += 1;
    }
    let first = usize::from(quoted_name > 0 && matches!(before(bytes, start), b'"' | b'\''));
    out(found(Builtin::FastlyToken, start - first, end));
}
