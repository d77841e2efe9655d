//! Tokens with a checkable inside, or that are known by what stands beside them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    super::{
        builtin::Builtin,
        chars::{Set, at, before, classes, entropy, is_mask, is_random, is_stand_in, run},
        scan::{Found, View},
        views::{MAX_DEPTH, decoded_at},
    },
    found,
};

pub(super) fn aws_access_key(view: &View<'_>, start: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    let end = run(bytes, after, Set::UPPER_DIGIT, 17);
    let end = if end - after == 17 && view.seam(after + 16) { after + 16 } else { end };
    let upper = bytes.get(start..after).is_some_and(|id| id.iter().all(u8::is_ascii_uppercase));
    let Some(value) = bytes.get(after..end) else { return };
    let closed = view.closes(end);
    if !upper || value.len() != 16 || !view.opens(start) || !closed || is_mask(value) {
        return;
    }
    out(found(Builtin::AwsAccessKeyId, start, end));
    // Where the id stands, the secret is often next to it, without its name.
    let mut place = end;
    let limit = (end + 120).min(bytes.len());
    while place < limit {
        let stop = run(bytes, place, Set::BASE64, 64);
        if let Some(stop) = aws_secret_at(view, place) {
            out(found(Builtin::AwsSecretAccessKey, place, stop));
            return;
        }
        place = stop + 1;
    }
}

pub(super) fn aws_secret_key(view: &View<'_>, _: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    let place = value_after(bytes, after);
    if let Some(end) = aws_secret_at(view, place) {
        out(found(Builtin::AwsSecretAccessKey, place, end));
        return;
    }
    // Its name is not encoded with it.
    let Some((mut decoded, end)) = decoded_at(view.text, place) else { return };
    for _ in 0..MAX_DEPTH {
        let inner = View::new(decoded.trim_end());
        if aws_secret_at(&inner, 0) == Some(inner.text.len()) {
            out(found(Builtin::AwsSecretAccessKey, place, end));
            return;
        }
        let Some((next, _)) = decoded_at(&decoded, 0) else { return };
        decoded = next;
    }
}

/// Where a value begins that a name before `after` announces.
pub(super) fn value_after(bytes: &[u8], after: usize) -> usize {
    const BETWEEN: Set = Set::NONE
        .one(b' ')
        .one(b'\t')
        .one(b'"')
        .one(b'\'')
        .one(b'`')
        .one(b':')
        .one(b'=')
        .one(b'>')
        .one(b',')
        .one(b'(')
        .one(b'[')
        .one(b'\\');
    let mut place = run(bytes, after, BETWEEN, 12);
    for word in [&b"is "[..], b"was "] {
        if bytes.get(place..place + word.len()) == Some(word) {
            place = run(bytes, place + word.len(), BETWEEN, 4);
        }
    }
    place
}

/// The end of the AWS secret at `place`: 40 characters of base64 that only chance can have made.
fn aws_secret_at(view: &View<'_>, place: usize) -> Option<usize> {
    let bytes = view.bytes();
    let end = run(bytes, place, Set::BASE64, 41);
    let end = if end - place == 41 && view.seam(place + 40) { place + 40 } else { end };
    let value = bytes.get(place..end).filter(|value| value.len() == 40)?;
    let mixed = value.iter().any(u8::is_ascii_lowercase)
        && value.iter().any(u8::is_ascii_uppercase)
        && classes(value) >= 3;
    let closed = at(bytes, end) != b'=' && view.closes(end);
    (mixed
        && closed
        && !Set::BASE64.has(before(bytes, place))
        && entropy(value) >= 960
        && !is_stand_in(value))
    .then_some(end)
}

pub(super) fn slack(view: &View<'_>, start: usize, _: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    if !view.opens(start) {
        return;
    }
    // `xoxe.xoxp-1-…` is a rotating token around another prefix.
    let outer = bytes.get(start..start + 5) == Some(b"xoxe.");
    let inner = if outer { start + 5 } else { start };
    let dash = run(bytes, inner, Set::LOWER, 5);
    let end = run(bytes, dash, Set::URL64, 400);
    let Some(body) = bytes.get(dash + 1..end) else { return };
    let prefix = bytes.get(inner..dash).unwrap_or_default();
    if at(bytes, dash) != b'-' || !(prefix == b"xapp" || (prefix.starts_with(b"xox") && prefix.len() == 4)) {
        return;
    }
    let groups: Vec<&[u8]> = body.split(|byte| *byte == b'-').collect();
    let (Some(first), Some(last)) = (groups.first(), groups.last()) else { return };
    let digits = |group: &[u8]| group.iter().all(u8::is_ascii_digit);
    let numbered = groups.len() >= 2
        && groups.iter().take(groups.len() - 1).filter(|group| digits(group) && group.len() >= 8).count()
            >= 1
        && groups.len() <= 5
        && last.len() >= 18;
    let versioned = (outer || prefix == b"xapp" || prefix == b"xoxe") && digits(first) && last.len() >= 40;
    if (numbered || versioned) && !is_mask(last) && view.closes(end) {
        out(found(Builtin::SlackToken, start, end));
    }
}

pub(super) fn sk(view: &View<'_>, start: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    if bytes.get(start..after) != Some(b"sk-") || !view.opens(start) {
        return;
    }
    let limit = run(bytes, after, Set::URL64, 300);
    for end in view.ends(after, limit) {
        if let Some(kind) = bytes.get(after..end).filter(|_| view.closes(end)).and_then(sk_kind) {
            out(found(kind, start, end));
            return;
        }
    }
}

/// Whose key it is that goes on with `body` after `sk-`.
fn sk_kind(body: &[u8]) -> Option<Builtin> {
    if let Some(rest) = body.strip_prefix(b"ant-") {
        // `api03-`, `admin01-`, `oat01-`: a purpose and a version.
        let dash = rest.iter().position(|byte| *byte == b'-')?;
        let (purpose, secret) = rest.split_at(dash);
        let named = purpose.len() >= 4
            && purpose.iter().all(u8::is_ascii_alphanumeric)
            && purpose.iter().rev().take(2).all(u8::is_ascii_digit);
        let formed = (81..=121).contains(&secret.len()) && secret.ends_with(b"AA");
        return (named && formed && !is_mask(secret)).then_some(Builtin::AnthropicKey);
    }
    // Keys of OpenAI hold its name in base64.
    let marked = body.windows(8).any(|part| part == b"T3BlbkFJ");
    let purposed = [&b"proj-"[..], b"svcacct-", b"admin-"].iter().any(|purpose| body.starts_with(purpose));
    let long = body.len() == 48 && body.iter().all(u8::is_ascii_alphanumeric);
    let formed =
        (marked && body.len() >= 40) || (purposed && body.len() >= 45) || (long && classes(body) == 3);
    (formed && entropy(body) >= 900 && !is_mask(body)).then_some(Builtin::OpenaiKey)
}

pub(super) fn telegram(view: &View<'_>, colon: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    let start = view.run_back(colon, Set::DIGIT, 11);
    let end = run(bytes, after, Set::URL64, 34);
    let end = if end - after == 34 && view.seam(after + 33) { after + 33 } else { end };
    let capitals = bytes.get(colon..after) == Some(b":AA");
    let secret = bytes.get(after..end).unwrap_or_default();
    if capitals
        && (8..=10).contains(&(colon - start))
        && view.opens(start)
        && secret.len() == 33
        && view.closes(end)
        && is_random(secret)
    {
        out(found(Builtin::TelegramToken, start, end));
    }
}

pub(super) fn terraform(view: &View<'_>, dot: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    let start = view.run_back(dot, Set::ALNUM, 14);
    let end = run(bytes, after, Set::URL64.one(b'='), 80);
    let secret = bytes.get(after..end).unwrap_or_default();
    let formed = dot - start == 14 && view.opens(start) && secret.len() >= 60;
    if formed && is_random(secret) && view.closes(end) {
        out(found(Builtin::TerraformToken, start, end));
    }
}

pub(super) fn newrelic_license(view: &View<'_>, mark: usize, after: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    let start = view.run_back(mark, Set::HEX_LOWER, 37);
    let value = bytes.get(start..mark).unwrap_or_default();
    if bytes.get(mark..after) == Some(b"NRAL")
        && value.len() == 36
        && view.opens(start)
        && view.closes(after)
        && is_random(value)
    {
        out(found(Builtin::NewrelicKey, start, after));
    }
}

/// RFC 7515 §3.1: three parts in base64url; the first decodes to a JSON object that names an algorithm.
pub(super) fn jwt(view: &View<'_>, start: usize, _: usize, out: &mut dyn FnMut(Found)) {
    let bytes = view.bytes();
    // Inside of a run there is no other start, so that each run is read once.
    let inside = matches!(before(bytes, start), b'-' | b'_');
    if bytes.get(start..start + 2) != Some(b"ey") || inside || !view.opens(start) {
        return;
    }
    let header_end = run(bytes, start, Set::URL64, 2048);
    if at(bytes, header_end) != b'.' {
        return;
    }
    let mut end = run(bytes, header_end + 1, Set::URL64, 64 << 10);
    if end - header_end < 8 || at(bytes, end) != b'.' {
        return;
    }
    // The signature; an unsigned token ends in a dot, an encrypted one (RFC 7516) has two parts more.
    let mut parts = 2;
    let mut signature = 0;
    while parts < 5 && at(bytes, end) == b'.' {
        let next = run(bytes, end + 1, Set::URL64, 16 << 10);
        if next == end + 1 && parts > 2 {
            break;
        }
        signature = next - end - 1;
        end = next;
        parts += 1;
    }
    let Some(header) = bytes.get(start..header_end) else { return };
    let Ok(header) = URL_SAFE_NO_PAD.decode(header) else { return };
    let Ok(serde_json::Value::Object(header)) = serde_json::from_slice(&header) else { return };
    let algorithm = header.get("alg").and_then(serde_json::Value::as_str);
    let unsigned = algorithm.is_some_and(|name| name.eq_ignore_ascii_case("none"));
    if algorithm.is_some() && (signature >= 16 || (unsigned && signature == 0)) {
        out(found(Builtin::Jwt, start, end));
    }
}
