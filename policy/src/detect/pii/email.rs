//! Addresses of electronic mail, also written with spaces, with words for `@` and `.`, or escaped.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::{
    context::{Context, Topic},
    domain::{self, Dots, is_address_letter},
    found::{Claims, Kind},
    view::View,
};

/// The longest local part (RFC 5321, 4.5.3.1.1).
const LONGEST_LOCAL: usize = 64;

/// Words that stand before "at" in prose, where a local part would.
const PROSE: [&str; 40] = [
    "me",
    "us",
    "him",
    "her",
    "them",
    "it",
    "you",
    "look",
    "looking",
    "is",
    "are",
    "was",
    "were",
    "be",
    "available",
    "live",
    "here",
    "there",
    "more",
    "and",
    "or",
    "site",
    "website",
    "page",
    "hosted",
    "found",
    "visit",
    "online",
    "up",
    "out",
    "one",
    "work",
    "working",
    "works",
    "documentation",
    "docs",
    "code",
    "blog",
    "running",
    "down",
];

/// Claims the addresses in `view`.
pub(super) fn find(view: &View<'_>, context: &Context, claims: &mut Claims) {
    let mut done = 0;
    for at in memchr::memchr_iter(b'@', view.bytes()) {
        if at < done || is_remote(view, at) {
            continue;
        }
        if let Some((start, end, score)) = tight(view, at, done).or_else(|| spaced(view, at, done)) {
            claims.push(start, end, Kind::Email, score);
            done = end;
        }
    }
    worded(view, context, claims);
}

/// `git@host:path`, the way git names a remote.
fn is_remote(view: &View<'_>, at: usize) -> bool {
    let user = at >= 3 && view.slice(at - 3, at) == "git" && !view.before(at - 3).is_ascii_alphanumeric();
    user && domain::read(view, at + 1, false).is_some_and(|host| view.byte(host.end) == b':')
}

/// `jane@example.org`
fn tight(view: &View<'_>, at: usize, from: usize) -> Option<(usize, usize, f32)> {
    let start = local(view, at, from)?;
    let host = domain::read(view, at + 1, false)?;
    let score = if domain::is_top_level(host.top(view)) { 0.99 } else { 0.8 };
    Some((start, host.end, score))
}

/// The start of the local part that ends at `end`.
fn local(view: &View<'_>, end: usize, from: usize) -> Option<usize> {
    let mut start = end;
    for c in view.text.get(from..end)?.chars().rev() {
        let fits = is_address_letter(c) || matches!(c, '.' | '_' | '%' | '+' | '-' | '\'' | '#' | '=' | '~');
        if !fits || end - start > LONGEST_LOCAL {
            break;
        }
        start -= c.len_utf8();
    }
    // What opens a quote or ends a list mark is not part of it, nor is the letter of an escape such as `\n`.
    while start < end && matches!(view.byte(start), b'\'' | b'.' | b'-' | b'%' | b'+' | b'#' | b'=' | b'~') {
        start += 1;
    }
    if view.before(start) == b'\\' && matches!(view.byte(start), b'n' | b't' | b'r') {
        start += 1;
    }
    // `user=jane@example.org`
    if let Some(sign) = view.slice(start, end).rfind('=') {
        start += sign + 1;
    }
    (start < end && view.byte(end - 1) != b'.').then_some(start)
}

/// `jane . roe @ example . org`
fn spaced(view: &View<'_>, at: usize, from: usize) -> Option<(usize, usize, f32)> {
    let left = if view.before(at) == b' ' { at - 1 } else { at };
    let right = if view.byte(at + 1) == b' ' { at + 2 } else { at + 1 };
    let mut start = local(view, left, from)?;
    let host = domain::read(view, right, true)?;
    if !domain::is_top_level(host.top(view)) {
        return None;
    }
    // The dots of the local part are spaced only where others are.
    for _ in 0..4 {
        let before =
            start.checked_sub(3).filter(|&before| before >= from && view.slice(before, start) == " . ");
        let Some(longer) = before.and_then(|before| local(view, before, from)) else { break };
        start = longer;
    }
    Some((start, host.end, 0.85))
}

/// `jane at example dot org`
fn worded(view: &View<'_>, context: &Context, claims: &mut Claims) {
    static AT_WORDS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
        AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build([
                " at ",
                " arroba ",
                " chiocciola ",
                " arobase ",
                " malpa ",
                " małpa ",
                " klammeraffe ",
                " собака ",
            ])
            .ok()
    });
    let Some(words) = AT_WORDS.as_ref() else { return };
    for hit in words.find_iter(view.text) {
        let Some(start) = local(view, hit.start(), 0) else { continue };
        let Some(host) = domain::read(view, hit.end(), true) else { continue };
        if !domain::is_top_level(host.top(view)) {
            continue;
        }
        let local = view.slice(start, hit.start());
        if PROSE.iter().any(|word| word.eq_ignore_ascii_case(local)) {
            continue;
        }
        let handle = local.bytes().any(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'+'));
        let odd = host.dots != Dots::Plain || host.disguised || hit.len() > 4;
        let spoken_of = context.near(Topic::Mail, start, host.end, 24, 0);
        if odd || (handle && spoken_of) {
            claims.push(start, host.end, Kind::Email, if handle || spoken_of { 0.85 } else { 0.7 });
        }
    }
}
