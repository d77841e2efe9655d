//! Which headers travel. Both directions are allow-lists: what is not named here stays on its side.
//!
//! So the caller's credential, cookies and identity headers never reach an upstream, the upstream's cookies and
//! credentials never reach a caller, and hop-by-hop headers (RFC 9110, 7.6.1) have nothing to be stripped from.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

/// Headers of a request that go up: trace context (W3C), and what Databricks documents for callers.
const UP: [HeaderName; 5] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
    HeaderName::from_static("databricks-ai-gateway-request-tags"),
    HeaderName::from_static("x-mlflow-return-trace-id"),
];

/// Headers of an upstream's answer that come down. `x-request-id` is the gateway's own; the upstream's comes down
/// under [`UPSTREAM_REQUEST_ID`].
const DOWN: [HeaderName; 3] = [CONTENT_TYPE, RETRY_AFTER, HeaderName::from_static("served-model-name")];

/// How much of its limits a caller has left, and when it has more: of answers and of refusals.
const LIMITS: [HeaderName; 6] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// The upstream's request id, as Databricks' support asks for it.
pub(crate) const UPSTREAM_REQUEST_ID: HeaderName =
    HeaderName::from_static("x-keeptrusts-upstream-request-id");

/// Headers by which a caller could pretend to be somebody. They are ignored, and counted.
const IDENTITY: [HeaderName; 6] = [
    HeaderName::from_static("x-user-id"),
    HeaderName::from_static("x-user-role"),
    HeaderName::from_static("x-user-roles"),
    HeaderName::from_static("x-user-email"),
    HeaderName::from_static("x-forwarded-user"),
    HeaderName::from_static("x-forwarded-email"),
];

/// What goes up of a caller's headers.
pub(crate) fn up(from: &HeaderMap) -> HeaderMap {
    pick(from, &UP)
}

/// What comes down of an upstream's headers.
pub(crate) fn down(from: &HeaderMap) -> HeaderMap {
    let mut headers = refused(from);
    headers.extend(pick(from, &DOWN));
    headers
}

/// What comes down of the headers of an upstream's refusal, whose body the gateway writes anew.
pub(crate) fn refused(from: &HeaderMap) -> HeaderMap {
    let mut headers = pick(from, &LIMITS);
    if let Some(id) = upstream_request_id(from)
        && let Ok(value) = HeaderValue::from_str(id)
    {
        headers.insert(UPSTREAM_REQUEST_ID, value);
    }
    headers
}

/// The request id of an upstream's answer, when it is one: short and printable.
pub(crate) fn upstream_request_id(headers: &HeaderMap) -> Option<&str> {
    sane_id(headers.get("x-request-id")?)
}

/// The caller's own request id, kept as a field of the record when it is short and printable.
pub(crate) fn client_request_id(headers: &HeaderMap) -> Option<&str> {
    sane_id(headers.get("x-request-id")?)
}

/// How many identity headers a request carries.
pub(crate) fn identity_headers(headers: &HeaderMap) -> u64 {
    IDENTITY.iter().filter(|name| headers.contains_key(*name)).count() as u64
}

/// Whether the body is said to be JSON, plain.
pub(crate) fn is_plain_json(headers: &HeaderMap) -> bool {
    is_json(headers) && !is_encoded(headers)
}

/// Whether the content is said to be JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|kind| {
        kind.eq_ignore_ascii_case("application/json")
            || (kind.len() > 17
                && kind.get(..12).is_some_and(|start| start.eq_ignore_ascii_case("application/"))
                && kind.get(kind.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case("+json")))
    })
}

/// Whether the content is said to be a stream of events.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"))
}

/// Whether the content is compressed.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(http::header::CONTENT_ENCODING).iter().any(|value| {
        let value = value.as_bytes().trim_ascii();
        !value.is_empty() && !value.eq_ignore_ascii_case(b"identity")
    })
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

fn pick(from: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in names {
        for value in from.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

fn sane_id(value: &HeaderValue) -> Option<&str> {
    let id = value.to_str().ok()?;
    let is_sane = (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'));
    // A credential that strayed into this header must not get into a record.
    (is_sane && !id.starts_with("dapi") && !id.starts_with("kt_")).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn nothing_that_identifies_the_caller_goes_up() {
        let from = headers(&[
            ("authorization", "Bearer kt_gk_x"),
            ("cookie", "a=b"),
            ("x-user-id", "jane"),
            ("x-forwarded-for", "10.0.0.1"),
            ("connection", "traceparent"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ]);
        let up = up(&from);
        assert_eq!(up.len(), 1);
        assert!(up.contains_key("traceparent"));
        assert_eq!(identity_headers(&from), 1);
    }

    #[test]
    fn nothing_that_identifies_the_gateway_comes_down() {
        let from = headers(&[
            ("set-cookie", "a=b"),
            ("server", "databricks"),
            ("content-type", "application/json"),
            ("x-request-id", "8a0c"),
            ("x-databricks-org-id", "1"),
            ("x-ratelimit-remaining-tokens", "7"),
            ("content-length", "5"),
        ]);
        let down = down(&from);
        assert_eq!(down.len(), 3);
        assert_eq!(down.get(UPSTREAM_REQUEST_ID).unwrap(), "8a0c");
        let refused = refused(&from);
        assert_eq!(refused.len(), 2, "a refusal is in words of the gateway: {refused:?}");
        assert_eq!(refused.get("x-ratelimit-remaining-tokens").unwrap(), "7");
    }

    #[test]
    fn json_is_told_by_its_media_type() {
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"] {
            assert!(is_plain_json(&headers(&[("content-type", kind)])), "{kind}");
        }
        for kind in
            ["text/plain", "application/jsonp", "text/html", "application/x-www-form-urlencoded", "+json"]
        {
            assert!(!is_plain_json(&headers(&[("content-type", kind)])), "{kind}");
        }
        assert!(!is_plain_json(&HeaderMap::new()));
        assert!(!is_plain_json(&headers(&[
            ("content-type", "application/json"),
            ("content-encoding", "gzip")
        ])));
        assert!(is_plain_json(&headers(&[
            ("content-type", "application/json"),
            ("content-encoding", "identity")
        ])));
    }

    #[test]
    fn request_ids_are_kept_when_they_are_short_and_printable() {
        assert_eq!(client_request_id(&headers(&[("x-request-id", "abc-1:2")])), Some("abc-1:2"));
        let long = "a".repeat(129);
        for id in
            ["", "a b", "<script>", long.as_str(), "dapi0123456789abcdef0123456789abcdef", "kt_gk_secret"]
        {
            assert_eq!(client_request_id(&headers(&[("x-request-id", id)])), None, "{id}");
        }
    }
}
