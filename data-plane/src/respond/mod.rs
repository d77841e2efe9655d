//! Answers of the gateway's own, in OpenAI's shape.

pub(crate) mod refusal;

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use kt_policy::verdict::PolicyKind;
use serde::Serialize;

use crate::error::{GatewayError, Retry};

/// The body of an answer. A stream is pulled by whoever writes it to the client, so back-pressure needs no queue.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A stream that cannot be completed: the connection is cut, so that nobody takes it for complete.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct BodyError;

/// The id of a request, minted by the gateway.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What the policies said: `allow`, `redact` or `block`.
pub(crate) const VERDICT: HeaderName = HeaderName::from_static("x-keeptrusts-verdict");
/// `name@version` of the pack that was enforced.
pub(crate) const PACK: HeaderName = HeaderName::from_static("x-keeptrusts-pack");
/// The target that answered.
pub(crate) const TARGET: HeaderName = HeaderName::from_static("x-keeptrusts-target");
/// What the caller should know of the model (retired, say).
pub(crate) const NOTICE: HeaderName = HeaderName::from_static("x-keeptrusts-notice");
/// Redactions by type.
pub(crate) const REDACTIONS: HeaderName = HeaderName::from_static("x-keeptrusts-redactions");
/// Read by OpenAI's clients.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// An error as OpenAI's clients read it.
#[derive(Serialize)]
struct Envelope<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    message: String,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    request_id: &'a str,
}

/// The JSON of `error`.
pub(crate) fn error_json(error: &GatewayError, request_id: &str) -> Vec<u8> {
    let refusal = match error {
        GatewayError::Refused(refusal) => Some(refusal),
        _ => None,
    };
    let envelope = Envelope {
        error: Inner {
            message: error.to_string(),
            r#type: error.kind(),
            param: error.param(),
            code: error.code(),
            policy: refusal.and_then(|refusal| refusal.policy).map(PolicyKind::as_str),
            rule: refusal.and_then(|refusal| refusal.rule.as_deref()),
            limit: refusal.and_then(|refusal| refusal.limit),
            request_id,
        },
    };
    // Strings and options of strings: there is nothing here that could fail to be written.
    serde_json::to_vec(&envelope).unwrap_or_default()
}

/// The answer to a request that failed before any byte of another answer.
pub(crate) fn error(error: &GatewayError, request_id: &str) -> Response<Body> {
    let mut response = json(error.status(), error_json(error, request_id));
    let headers = response.headers_mut();
    match error.retry() {
        Retry::Never => {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        Retry::After(after) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        Retry::Unsaid => {}
    }
    match error {
        GatewayError::Upstream(answer) => headers.extend(answer.headers.clone()),
        GatewayError::MethodNotAllowed { allow } => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        GatewayError::Credential(_) => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // The rest of the request stands in the way of the next one.
        GatewayError::Wire(_)
        | GatewayError::BodyTooLarge { .. }
        | GatewayError::BodyTimeout
        | GatewayError::BodyBroken => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

/// `bytes` of JSON.
pub(crate) fn json(status: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    full(status, HeaderValue::from_static("application/json"), bytes)
}

/// `bytes` of whatever kind. Nothing that the gateway says may be kept by a cache.
pub(crate) fn full(status: StatusCode, kind: HeaderValue, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A body in one piece.
pub(crate) fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Sets `name` unless `value` cannot stand in a header.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Seconds for `Retry-After`, rounded up and never 0.
fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests;
