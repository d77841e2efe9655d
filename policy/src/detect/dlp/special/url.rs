//! Addresses: JDBC, with a password, webhooks.

use super::{
    super::{
        builtin::Builtin,
        chars::{Set, at, before, holds, is_random, is_stand_in, run},
        scan::{Found, View},
    },
    found,
};

/// Longest address that is looked at.
const MAX_URL: usize = 4096;

/// The end of the address that begins at `from`, without the punctuation of the sentence around it.
fn url_end(view: &View<'_>, from: usize) -> usize {
    let rest = view.text.get(from..).unwrap_or_default();
    let mut end = from;
    for (index, c) in rest.char_indices() {
        let stops =
            c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\' | '|');
        if stops || index > MAX_URL {
            break;
        }
        end = from + index + c.len_utf8();
    }
    let bytes = view.bytes();
    while end > from {
        let open = |open: u8, close: u8| {
            let part = bytes.get(from..end).unwrap_or_default();
            let count = |byte: u8| memchr::memchr_iter(byte, part).count();
            count(close) > count(open)
        };
        match before(bytes, end) {
            b'.' | b',' | b':' => end -= 1,
            b')' if open(b'(', b')') => end -= 1,
            b']' if open(b'[', b']') => end -= 1,
            b'}' if open(b'{', b'}') => end -= 1,
            _ => break,
        }
    }
    end
}

pub(super) fn jdbc(view: &View<'_>, start: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    if !view.opens(start) {
        return;
    }
    let scheme = run(bytes, after, Set::ALNUM.one(b':').one(b'_').one(b'-').one(b'+'), 40);
    // `jdbc:mysql://host`, `jdbc:oracle:thin:user/password@host`; files and memory are nobody's secret.
    let host = if bytes.get(scheme..scheme + 2) == Some(b"//") {
        scheme + 2
    } else {
        let user = run(bytes, scheme, Set::NONE.range(b'!', b'~').without(b'@'), 256);
        if at(bytes, user) != b'@' {
            return;
        }
        user + 1
    };
    let host = if at(bytes, host) == b'/' { host + 2 } else { host };
    if scheme == after || !(Set::ALNUM.has(at(bytes, host)) || at(bytes, host) == b'[') {
        return;
    }
    let end = url_end(view, after);
    let Some(rest) = bytes.get(after..end) else { return };
    let credentials = ["password=", "pwd=", "accesstoken=", "token=", "secret=", "@"];
    let name_end = run(bytes, host, Set::URL64.one(b'.'), 256);
    let name = bytes.get(host..name_end).unwrap_or_default();
    let nowhere = ["localhost", "127.0.0.1", "host", "hostname", "server", "servername", "your", "example"]
        .iter()
        .any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
        || holds(name, "your-")
        || holds(name, "example.com");
    if nowhere && !credentials.iter().any(|word| holds(rest, word)) {
        return;
    }
    out(found(Builtin::JdbcUrl, start, end));
}

pub(super) fn credentials(view: &View<'_>, sign: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    // Quick refusal of ordinary addresses: a user and a colon come before anything else.
    let stop = run(bytes, after, Set::NONE.range(b'!', b'~').without(b'/').without(b'@'), 256);
    if at(bytes, stop) != b'@' {
        return;
    }
    let start = view.run_back(sign, Set::ALNUM.one(b'+').one(b'.').one(b'-'), 20);
    let start = start
        + bytes
            .get(start..sign)
            .map_or(0, |scheme| scheme.iter().take_while(|b| !b.is_ascii_alphabetic()).count());
    if sign - start < 2
        || before(bytes, start) == b':' && start >= 5 && bytes.get(start - 5..start) == Some(b"jdbc:")
    {
        return;
    }
    // A password may hold an unescaped `@`: the last one before the path counts.
    let authority = run(
        bytes,
        after,
        Set::NONE
            .range(b'!', b'~')
            .without(b'/')
            .without(b'"')
            .without(b'\'')
            .without(b'`')
            .without(b'<')
            .without(b'>')
            .without(b'\\'),
        512,
    );
    let Some(user_info) = bytes
        .get(after..authority)
        .and_then(|part| part.iter().rposition(|b| *b == b'@'))
        .map(|len| after + len)
    else {
        return;
    };
    let Some(colon) = bytes.get(after..user_info).and_then(|part| part.iter().position(|b| *b == b':'))
    else {
        return;
    };
    let user = bytes.get(after..after + colon).unwrap_or_default();
    let password = bytes.get(after + colon + 1..user_info).unwrap_or_default();
    let host = at(bytes, user_info + 1);
    let plain = password.len() >= 4
        && !is_stand_in(password)
        && !password.eq_ignore_ascii_case(user)
        && !is_stand_in(host_of(bytes, user_info + 1))
        && (Set::ALNUM.has(host) || host == b'[');
    if plain {
        out(found(Builtin::CredentialUrl, start, url_end(view, user_info + 1).max(user_info + 1)));
    }
}

/// `${HOST}` and the like; a real host is empty here, as `db.example.com` is no stand-in for a database's address.
fn host_of(bytes: &[u8], from: usize) -> &[u8] {
    let end = run(bytes, from, Set::NONE.range(b'!', b'~').without(b'/').without(b':'), 256);
    let host = bytes.get(from..end).unwrap_or_default();
    if host.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')) { b"" } else { host }
}

/// Where the address that names a host at `host` begins: at its scheme.
fn scheme_start(bytes: &[u8], host: usize) -> usize {
    for scheme in [&b"https://"[..], b"http://"] {
        if let Some(start) = host.checked_sub(scheme.len())
            && bytes.get(start..host).is_some_and(|found| found.eq_ignore_ascii_case(scheme))
        {
            return start;
        }
    }
    host
}

pub(super) fn slack_webhook(view: &View<'_>, start: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    let kind = run(bytes, after, Set::LOWER, 12);
    if !matches!(bytes.get(after..kind), Some(b"services" | b"workflows" | b"triggers")) {
        return;
    }
    let mut place = kind;
    let mut parts = 0;
    let mut last = place;
    while at(bytes, place) == b'/' {
        let end = run(bytes, place + 1, Set::ALNUM.one(b'+'), 64);
        if end == place + 1 {
            break;
        }
        last = place + 1;
        place = end;
        parts += 1;
    }
    let secret = bytes.get(last..place).unwrap_or_default();
    if parts >= 3 && secret.len() >= 18 && is_random(secret) {
        out(found(Builtin::SlackWebhook, scheme_start(bytes, start), place));
    }
}

pub(super) fn discord_webhook(view: &View<'_>, start: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    let id = run(bytes, after, Set::DIGIT, 20);
    let token = id + 1;
    let end = run(bytes, token, Set::URL64, 100);
    let secret = bytes.get(token..end).unwrap_or_default();
    if id - after >= 17 && at(bytes, id) == b'/' && secret.len() >= 60 && is_random(secret) {
        let host = ["canary.", "ptb."]
            .into_iter()
            .find_map(|part| {
                let from = start.checked_sub(part.len())?;
                (bytes.get(from..start)? == part.as_bytes()).then_some(from)
            })
            .unwrap_or(start);
        out(found(Builtin::DiscordWebhook, scheme_start(bytes, host), end));
    }
}
