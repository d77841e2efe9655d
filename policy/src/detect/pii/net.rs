//! Addresses of machines: IPv4, IPv6, MAC, and web addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    context::{Context, Topic},
    domain,
    found::{Claims, Kind},
    view::View,
};

/// The schemes of web addresses. Data bases and the like carry credentials and are the business of `dlp-filter`.
const SCHEMES: [&str; 12] =
    ["http", "https", "ftp", "ftps", "sftp", "ws", "wss", "hxxp", "hxxps", "gopher", "rtsp", "rtmp"];

/// The longest web address that is looked at.
const LONGEST_URL: usize = 4096;

/// Claims web addresses.
pub(super) fn find_urls(view: &View<'_>, claims: &mut Claims) {
    let mut done = 0;
    for at in memchr::memmem::find_iter(view.bytes(), "://") {
        if at < done {
            continue;
        }
        let Some(start) = scheme(view, at, done) else { continue };
        let end = url_end(view, at + 3);
        if end > at + 3 && host_plausible(view, at + 3, end) {
            claims.push(start, end, Kind::Url, 0.95);
            done = end;
        }
    }
    done = 0;
    for at in memchr::memmem::find_iter(view.bytes(), "www.") {
        let inside = view
            .char_before(at)
            .is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '@' | '.' | '-' | '_'));
        if at < done || inside {
            continue;
        }
        if domain::read(view, at, false).is_some_and(|host| host.last > at + 4) {
            done = url_end(view, at);
            claims.push(at, done, Kind::Url, 0.9);
        }
    }
    // `example.org/path`: a slash after a known top-level domain.
    done = 0;
    for slash in memchr::memchr_iter(b'/', view.bytes()) {
        if slash < done || !view.before(slash).is_ascii_alphabetic() {
            continue;
        }
        if let Some(start) = bare_host(view, slash, done) {
            done = url_end(view, slash);
            claims.push(start, done, Kind::Url, 0.6);
        }
    }
}

fn scheme(view: &View<'_>, end: usize, from: usize) -> Option<usize> {
    let from = from.max(end.saturating_sub(8));
    let letters =
        view.bytes().get(from..end)?.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    // The longest scheme that the letters end with: `请看https` is one word to nobody.
    let name = view.slice(end - letters, end);
    SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(name)).then_some(end - letters)
}

/// The end of the web address whose host starts at or before `from`: up to a space, a quote or a bracket, less what
/// ends a sentence.
fn url_end(view: &View<'_>, from: usize) -> usize {
    let mut end = from;
    for (at, c) in view.text.get(from..).unwrap_or("").char_indices() {
        let at = from + at;
        let escaped = view.percent_escaped(at);
        let stop = c.is_whitespace()
            || c.is_control()
            || matches!(c, '"' | '<' | '>' | '`' | '\\' | '^' | '{' | '}' | '|' | '\'')
            || matches!(u32::from(c), 0x3000..=0x30ff | 0x3400..=0x9fff | 0xac00..=0xd7af | 0xff00..=0xffef | 0x2018..=0x201f);
        if (stop && !escaped) || at - from > LONGEST_URL {
            break;
        }
        end = at + c.len_utf8();
    }
    loop {
        match view.before(end) {
            b'.' | b',' | b';' | b':' | b'!' | b'?' | b'*' | b'_' | b'&' if end > from => end -= 1,
            b')' if end > from && unbalanced(view.slice(from, end), '(', ')') => end -= 1,
            b']' if end > from && unbalanced(view.slice(from, end), '[', ']') => end -= 1,
            _ => return end,
        }
    }
}

fn unbalanced(text: &str, open: char, close: char) -> bool {
    // Only what an address of reasonable length holds is counted, so that a run of brackets costs no square.
    let count = |c| text.chars().rev().take(256).filter(|&x| x == c).count();
    count(close) > count(open)
}

fn host_plausible(view: &View<'_>, start: usize, end: usize) -> bool {
    let rest = view.slice(start, end);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = authority.rsplit('@').next().unwrap_or("");
    let name = host.split(':').next().unwrap_or("");
    name == "localhost"
        || host.starts_with('[')
        || (name.contains('.') && name.chars().any(char::is_alphanumeric))
        || name.len() >= 3 && rest.len() > authority.len()
}

fn bare_host(view: &View<'_>, slash: usize, from: usize) -> Option<usize> {
    let from = from.max(slash.saturating_sub(80));
    let bytes = view.bytes().get(from..slash)?;
    let length = bytes
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        .count();
    let start = slash - length;
    let host = view.slice(start, slash);
    let (name, top) = host.rsplit_once('.')?;
    let fits = domain::is_top_level(top)
        && !name.is_empty()
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !name.starts_with(['.', '-'])
        && !matches!(view.before(start), b'/' | b'@' | b'_' | b'\\' | b'$' | b'~' | b':')
        && view.byte(slash + 1).is_ascii_alphanumeric()
        // File names: `main.rs/`, `setup.py/`.
        && !matches!(top, "rs" | "py" | "sh" | "md" | "ml" | "pl" | "cc" | "so" | "ps" | "ai" | "zip" | "java" | "data");
    fits.then_some(start)
}

/// Claims MAC addresses, and IPv6 addresses.
pub(super) fn find_colons(view: &View<'_>, claims: &mut Claims) {
    let bytes = view.bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if !(byte.is_ascii_hexdigit() || byte == b':') {
            at += 1;
            continue;
        }
        // A run of what such addresses consist of.
        let mut end = at;
        let mut colons = 0;
        let mut hyphens = 0;
        let mut dots = 0;
        while let Some(&byte) = bytes.get(end) {
            match byte {
                b':' => colons += 1,
                b'-' => hyphens += 1,
                b'.' => dots += 1,
                byte if byte.is_ascii_hexdigit() => {}
                _ => break,
            }
            end += 1;
        }
        let attached =
            view.char_before(at).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        let runs_on = view.char_at(end).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        if !attached && end - at <= 64 && (colons >= 2 || hyphens == 5 || dots >= 2) {
            address(view, at, end, colons, runs_on, claims);
        }
        at = end.max(at + 1);
    }
}

fn address(view: &View<'_>, start: usize, end: usize, colons: usize, runs_on: bool, claims: &mut Claims) {
    let run = view.slice(start, end);
    let trimmed = run.trim_end_matches(['.', ':', '-']);
    let trimmed = if run.ends_with("::") && trimmed.len() + 2 == run.len() { run } else { trimmed };
    let runs_on = runs_on && trimmed.len() == run.len();
    if runs_on {
        return;
    }
    let end = start + trimmed.len();
    if is_mac(trimmed) {
        claims.push(start, end, Kind::Mac, 0.95);
        return;
    }
    if colons >= 2
        && trimmed.len() >= 4
        && trimmed.bytes().any(|byte| byte.is_ascii_digit())
        && let Ok(address) = trimmed.parse::<Ipv6Addr>()
    {
        let personal = !(address.is_loopback() || address.is_unspecified());
        claims.push(start, end, if personal { Kind::Ip } else { Kind::Other }, 0.9);
    }
}

/// Six pairs with one kind of separator, or three groups of four with dots (IEEE 802, Cisco).
fn is_mac(run: &str) -> bool {
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs =
        |separator| run.split(separator).count() == 6 && run.split(separator).all(|part| hex(part, 2));
    let groups = || run.split('.').count() == 3 && run.split('.').all(|part| hex(part, 4));
    let letters = || run.bytes().any(|byte| byte.is_ascii_alphabetic());
    let zero = || run.bytes().all(|byte| matches!(byte, b'0' | b':' | b'-' | b'.'));
    ((run.len() == 17 && (pairs(':') || pairs('-'))) || (run.len() == 14 && groups() && letters())) && !zero()
}

/// Judges four numbers with dots between; claims them when they are an address.
pub(super) fn ipv4(
    view: &View<'_>,
    context: &Context,
    start: usize,
    end: usize,
    claims: &mut Claims,
) -> bool {
    let Ok(address) = view.slice(start, end).parse::<Ipv4Addr>() else { return false };
    // A longer row of numbers, or a piece of a word, is no address.
    let before = view.char_before(start);
    let dotted =
        before == Some('.') || (view.byte(end) == b'.' && view.byte(end + 1).is_ascii_alphanumeric());
    let attached = before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        || view.char_at(end).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    if dotted || attached {
        return false;
    }
    let address = IpAddr::V4(address);
    let mask = view.slice(start, end).starts_with("255.");
    let version = context.near(Topic::Version, start, end, 12, 0);
    let personal = !(address.is_loopback() || address.is_unspecified() || mask || version);
    claims.push(start, end, if personal { Kind::Ip } else { Kind::Other }, 0.9);
    true
}
