//! Everything that Databricks says instead of an answer: the envelopes of `reference/databricks-serving.md` §2.2
//! and §3, word for word where someone has seen them. Forms that are nobody's observation are marked *invented*
//! in the table of behaviours.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use serde::Serialize;
use serde_json::{Value, json};

use super::reply::Reply;

/// What an error text names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// The endpoint that was asked for; the path where there is none.
    pub(crate) endpoint: &'a str,
    /// `X-Request-Id` of this reply.
    pub(crate) request_id: &'a str,
    /// Number that was given with the behaviour, or its default.
    pub(crate) arg: u64,
}

/// `error_code` is a string almost everywhere and an integer in refusals of a credential.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(crate) enum Code<'a> {
    Name(&'a str),
    Number(u16),
}

#[derive(Serialize)]
struct Envelope<'a> {
    error_code: Code<'a>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<[RequestInfo<'a>; 1]>,
}

#[derive(Serialize)]
struct RequestInfo<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    request_id: &'a str,
    serving_data: &'static str,
}

/// The usual envelope, without details.
pub(crate) fn envelope(status: StatusCode, code: Code<'_>, message: &str) -> Reply {
    Reply::json(status, &Envelope { error_code: code, message, details: None })
}

/// The usual envelope with a `RequestInfo`.
pub(crate) fn detailed(status: StatusCode, code: Code<'_>, message: &str, request_id: &str) -> Reply {
    let kind = "type.googleapis.com/google.rpc.RequestInfo";
    let details = Some([RequestInfo { kind, request_id, serving_data: "" }]);
    Reply::json(status, &Envelope { error_code: code, message, details })
}

/// 400 `BAD_REQUEST`, the message as it is.
pub(crate) fn bad_request(message: &str) -> Reply {
    envelope(StatusCode::BAD_REQUEST, Code::Name("BAD_REQUEST"), message)
}

/// 400 `BAD_REQUEST` whose message is a JSON string.
pub(crate) fn nested(inner: &Value) -> Reply {
    bad_request(&inner.to_string())
}

fn plain_text(status: StatusCode, text: &str) -> Reply {
    Reply::typed(status, "text/plain; charset=utf-8", text.to_owned())
}

fn html(status: StatusCode, text: &str) -> Reply {
    Reply::typed(status, "text/html; charset=utf-8", text.to_owned())
}

// Credentials (§2.2).

pub(crate) fn no_credential(s: &Subject<'_>) -> Reply {
    let message = format!(
        "Credential was not sent or was of an unsupported type for this API. [ReqId: {}]",
        s.request_id
    );
    reasoned(envelope(StatusCode::UNAUTHORIZED, Code::Number(401), &message), "Credential was not sent.")
}

pub(crate) fn invalid_token(s: &Subject<'_>) -> Reply {
    let message = format!("Invalid access token. [ReqId: {}]", s.request_id);
    reasoned(envelope(StatusCode::FORBIDDEN, Code::Number(403), &message), "Invalid access token.")
}

/// The header that carries the reason besides the body (databricks-sdk-go#1046).
fn reasoned(reply: Reply, reason: &'static str) -> Reply {
    reply.with(HeaderName::from_static("x-databricks-reason-phrase"), HeaderValue::from_static(reason))
}

pub(crate) fn expiring_token(_: &Subject<'_>) -> Reply {
    envelope(StatusCode::FORBIDDEN, Code::Number(403), "Token is expiring within 30 seconds. (token expired)")
}

pub(crate) fn invalid_token_under_400(_: &Subject<'_>) -> Reply {
    envelope(StatusCode::BAD_REQUEST, Code::Number(400), "Invalid Token")
}

pub(crate) fn wrong_audience(_: &Subject<'_>) -> Reply {
    plain_text(
        StatusCode::BAD_REQUEST,
        "io.jsonwebtoken.IncorrectClaimException: Expected aud claim to be: \
         2ff814a6-3304-4ab8-85cb-cd0e6f879c1d, but was: https://management.core.windows.net/.",
    )
}

pub(crate) fn permission_denied(s: &Subject<'_>) -> Reply {
    let message = format!("User does not have permission 'View' on Endpoint {}", s.endpoint);
    detailed(StatusCode::FORBIDDEN, Code::Name("PERMISSION_DENIED"), &message, s.request_id)
}

pub(crate) fn disabled_by_rate_limit(_: &Subject<'_>) -> Reply {
    envelope(
        StatusCode::FORBIDDEN,
        Code::Name("PERMISSION_DENIED"),
        "PERMISSION_DENIED: The endpoint is temporarily disabled due to a Databricks-set rate limit of 0.",
    )
}

pub(crate) fn login_page(_: &Subject<'_>) -> Reply {
    html(
        StatusCode::OK,
        "<!DOCTYPE html><html><head><title>Databricks - Sign In</title></head>\
         <body><div id=\"login-page\"></div></body></html>",
    )
}

pub(crate) fn login_redirect(_: &Subject<'_>) -> Reply {
    let to = HeaderValue::from_static("/login.html?error=private-link-validation-error");
    html(StatusCode::FOUND, "").with(LOCATION, to)
}

// 400 in its many forms (§3.1, §3.2).

pub(crate) fn plain_message(_: &Subject<'_>) -> Reply {
    envelope(
        StatusCode::BAD_REQUEST,
        Code::Name("INVALID_PARAMETER_VALUE"),
        "Input is too long for requested model.",
    )
}

pub(crate) fn nested_once(_: &Subject<'_>) -> Reply {
    nested(&json!({"message": "tools.0.custom.strict: Extra inputs are not permitted"}))
}

pub(crate) fn nested_twice(_: &Subject<'_>) -> Reply {
    let inner = json!({"message": "Input is too long for requested model."}).to_string();
    nested(
        &json!({"external_model_provider": "databricks-model-serving", "external_model_error": {"message": inner}}),
    )
}

pub(crate) fn external_context_length(_: &Subject<'_>) -> Reply {
    let message = "input length and `max_tokens` exceed context limit: 196758 + 8192 > 200000, \
                   decrease input length or `max_tokens` and try again";
    nested(&json!({
        "external_model_provider": "anthropic",
        "external_model_error": {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": message},
            "request_id": "req_011CTfake",
        },
    }))
}

pub(crate) fn text_only(_: &Subject<'_>) -> Reply {
    too_many_output_tokens(10_000, 8192)
}

/// The plain-text 400 of databricks-sdk-go#1183.
pub(crate) fn too_many_output_tokens(asked: u64, limit: u64) -> Reply {
    plain_text(
        StatusCode::BAD_REQUEST,
        &format!(
            "Bad request: rpc error: code = InvalidArgument desc = max_tokens ({asked}) cannot exceed {limit}. \
             Please reduce the length of max output tokens generated."
        ),
    )
}

pub(crate) fn code_and_text(_: &Subject<'_>) -> Reply {
    content_must_be_text()
}

/// Older models take string contents only (llama_index#17239).
pub(crate) fn content_must_be_text() -> Reply {
    plain_text(
        StatusCode::BAD_REQUEST,
        "BAD_REQUEST: Unable to parse json body for request, field 'messages.content' expects input with json \
         type 'string' but got 'array'",
    )
}

pub(crate) fn error_string(_: &Subject<'_>) -> Reply {
    Reply::json(StatusCode::BAD_REQUEST, &json!({"error": "Invalid request body"}))
}

pub(crate) fn error_object(_: &Subject<'_>) -> Reply {
    Reply::json(
        StatusCode::BAD_REQUEST,
        &json!({"error": {
            "message": "Unsupported value: 'temperature' does not support 0.2 with this model.",
            "type": "invalid_request_error", "param": "temperature", "code": "unsupported_value",
        }}),
    )
}

pub(crate) fn grammar_too_large(_: &Subject<'_>) -> Reply {
    nested(&json!({"message": "Compiled grammar size (486.7MB) exceeds maximum allowed size (300MB)"}))
}

pub(crate) fn stream_options_refused(_: &Subject<'_>) -> Reply {
    nested(&json!({"error": {
        "code": 400, "status": "INVALID_ARGUMENT",
        "message": "Invalid JSON payload received. Unknown name \"stream_options\": Cannot find field.",
    }}))
}

pub(crate) fn input_guardrail(_: &Subject<'_>) -> Reply {
    nested(&json!({
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
        "input_guardrail": [{
            "flagged": false, "categories": null, "category_scores": null, "pii_detection": true,
            "anonymized_input": [{"role": "user", "content": "write to <EMAIL_ADDRESS> about card <CREDIT_CARD>"}],
        }],
        "finishReason": "input_guardrail_triggered",
    }))
}

pub(crate) fn output_guardrail(_: &Subject<'_>) -> Reply {
    nested(&json!({
        "usage": {"prompt_tokens": 12, "total_tokens": 30},
        "output_guardrail": [{
            "flagged": true, "categories": {"violence": true}, "category_scores": {"violence": 0.98},
            "pii_detection": false, "anonymized_input": null,
        }],
        "finishReason": "output_guardrail_triggered",
    }))
}

// Not found.

pub(crate) fn no_such_endpoint(s: &Subject<'_>) -> Reply {
    let message = format!("Endpoint with name '{}' does not exist.", s.endpoint);
    detailed(StatusCode::NOT_FOUND, Code::Name("RESOURCE_DOES_NOT_EXIST"), &message, s.request_id)
}

/// The gateway surface answers otherwise than the classic one.
pub(crate) fn no_such_model(s: &Subject<'_>) -> Reply {
    let message = format!("Model '{}' does not exist.", s.endpoint);
    envelope(StatusCode::NOT_FOUND, Code::Name("NOT_FOUND"), &message)
}

pub(crate) fn no_such_api(method: &str, path: &str) -> Reply {
    let message = format!("No API found for '{method} {path}'");
    envelope(StatusCode::NOT_FOUND, Code::Name("ENDPOINT_NOT_FOUND"), &message)
}

pub(crate) fn no_api_here(s: &Subject<'_>) -> Reply {
    no_such_api("POST", &format!("/serving-endpoints/{}", s.endpoint))
}

// Limits (§3.4).

fn limit_exceeded(status: StatusCode, what: &str, endpoint: &str) -> Reply {
    let message = format!("REQUEST_LIMIT_EXCEEDED: Exceeded workspace {what} rate limit for {endpoint}.");
    envelope(status, Code::Name("REQUEST_LIMIT_EXCEEDED"), &message)
}

pub(crate) fn rate_limited(s: &Subject<'_>) -> Reply {
    limit_exceeded(StatusCode::TOO_MANY_REQUESTS, "input tokens per minute", s.endpoint)
}

pub(crate) fn rate_limited_retry_after(s: &Subject<'_>) -> Reply {
    let remaining = HeaderName::from_static("x-ratelimit-remaining-requests");
    rate_limited(s).with_number(RETRY_AFTER, s.arg).with_number(remaining, 0)
}

pub(crate) fn rate_limited_output(s: &Subject<'_>) -> Reply {
    limit_exceeded(StatusCode::TOO_MANY_REQUESTS, "output tokens per minute", s.endpoint)
}

pub(crate) fn rate_limited_qps(s: &Subject<'_>) -> Reply {
    let message = format!(
        "REQUEST_LIMIT_EXCEEDED: Exceeded workspace QPS rate limit for {}. Please use a provisioned throughput \
         Foundation Model APIs endpoint for a higher rate limit.",
        s.endpoint
    );
    envelope(StatusCode::TOO_MANY_REQUESTS, Code::Name("REQUEST_LIMIT_EXCEEDED"), &message)
}

pub(crate) fn resource_exhausted(_: &Subject<'_>) -> Reply {
    envelope(
        StatusCode::TOO_MANY_REQUESTS,
        Code::Name("RESOURCE_EXHAUSTED"),
        "RPC token bucket limit has been exceeded",
    )
}

pub(crate) fn rate_limited_documented(s: &Subject<'_>) -> Reply {
    Reply::json(
        StatusCode::TOO_MANY_REQUESTS,
        &json!({"error": {
            "message": "Rate limit exceeded: ITPM limit of 200,000 tokens reached",
            "type": "rate_limit_exceeded", "code": 429, "limit_type": "input_tokens_per_minute",
            "limit": 200_000, "current": 200_150, "retry_after": s.arg,
        }}),
    )
}

pub(crate) fn rate_limited_under_400(s: &Subject<'_>) -> Reply {
    limit_exceeded(StatusCode::BAD_REQUEST, "input tokens per minute", s.endpoint)
}

/// Databricks' body for a request over 4 MB is unknown (§3.2, §10): this form is an invention.
pub(crate) fn request_too_large(_: &Subject<'_>) -> Reply {
    envelope(
        StatusCode::PAYLOAD_TOO_LARGE,
        Code::Name("REQUEST_TOO_LARGE"),
        "Request size exceeds the limit of 4194304 bytes.",
    )
}

// Faults of the service.

fn simple(status: u16, code: &str, message: &str) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    envelope(status, Code::Name(code), message)
}

pub(crate) fn request_timeout(_: &Subject<'_>) -> Reply {
    simple(408, "REQUEST_TIMEOUT", "Request timed out.")
}

pub(crate) fn cancelled(_: &Subject<'_>) -> Reply {
    simple(499, "CANCELLED", "The request was cancelled.")
}

pub(crate) fn internal_error(_: &Subject<'_>) -> Reply {
    simple(500, "INTERNAL_ERROR", "The server received an unexpected error. Unexpected error")
}

pub(crate) fn empty_500(_: &Subject<'_>) -> Reply {
    Reply::typed(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "")
}

pub(crate) fn not_implemented(_: &Subject<'_>) -> Reply {
    simple(501, "NOT_IMPLEMENTED", "This operation is not implemented.")
}

pub(crate) fn bad_gateway(_: &Subject<'_>) -> Reply {
    simple(502, "BAD_GATEWAY", "Bad gateway.")
}

pub(crate) fn bad_gateway_html(_: &Subject<'_>) -> Reply {
    html(
        StatusCode::BAD_GATEWAY,
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1>\
         </center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
    )
}

pub(crate) fn unavailable(_: &Subject<'_>) -> Reply {
    simple(
        503,
        "TEMPORARILY_UNAVAILABLE",
        "Databricks is unable to satisfy this request due to unexpected capacity constraints - we apologize for \
         the inconvenience.",
    )
}

pub(crate) fn unavailable_retry_after(s: &Subject<'_>) -> Reply {
    unavailable(s).with_number(RETRY_AFTER, s.arg)
}

pub(crate) fn gateway_timeout(s: &Subject<'_>) -> Reply {
    let message = format!(
        "The service at /serving-endpoints/{}/invocations is taking too long to process your request. Please try \
         again later or try a faster operation.",
        s.endpoint
    );
    simple(504, "TEMPORARILY_UNAVAILABLE", &message)
}

pub(crate) fn deadline_exceeded(_: &Subject<'_>) -> Reply {
    simple(504, "DEADLINE_EXCEEDED", "Deadline exceeded.")
}

// Answers that are none.

pub(crate) fn empty_200(_: &Subject<'_>) -> Reply {
    Reply::typed(StatusCode::OK, "application/json", "")
}

pub(crate) fn cut_json(_: &Subject<'_>) -> Reply {
    Reply::typed(
        StatusCode::OK,
        "application/json",
        r#"{"id":"chatcmpl_cut","object":"chat.completion","choices":[{"#,
    )
}

pub(crate) fn json_array(_: &Subject<'_>) -> Reply {
    Reply::typed(StatusCode::OK, "application/json", "[1,2,3]")
}

pub(crate) fn error_under_200(_: &Subject<'_>) -> Reply {
    simple(200, "INTERNAL_ERROR", "The server received an unexpected error. Unexpected error")
}
