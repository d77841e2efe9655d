//! Refusals of Databricks in OpenAI's words.
//!
//! Databricks has no `error` key: `{"error_code": <string or number>, "message": "..."}`, where the message is often
//! JSON again, once or twice, and holds the vendor's own error. OpenAI's clients would say "no body". Here every form
//! that was seen is read, the innermost message is kept, and the code is told by status first, then by Databricks'
//! code, and only where neither says it (context length, guardrails) by what stands inside.
//!
//! The texts are for the caller alone: they can repeat a prompt. Nothing here is logged or recorded but status, class,
//! code and request id.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde_json::Value;

use crate::{
    error::{Answer, AnswerClass},
    headers,
};

/// Messages are cut at so many bytes: an error page is not an error message.
const MAX_MESSAGE: usize = 8 * 1024;
/// How often a message is unwrapped.
const MAX_NESTING: usize = 8;
/// No upstream makes a client wait longer than this.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// What could be read out of a body.
#[derive(Debug, Default)]
struct Found {
    code: Option<String>,
    kind: Option<String>,
    message: Option<String>,
    param: Option<String>,
    request_id: Option<String>,
    retry_after: Option<f64>,
    guardrail: bool,
}

/// Translates a refusal. `successor` is what the model table names for a retired model.
pub(crate) fn translate(
    status: StatusCode,
    response_headers: &HeaderMap,
    body: &[u8],
    model: &str,
    successor: Option<&str>,
) -> Answer {
    let is_encoded = headers::is_encoded(response_headers);
    let mut found = if is_encoded { Found::default() } else { read(body) };
    let text = found.message.take().unwrap_or_default();
    let request_id = headers::upstream_request_id(response_headers)
        .map(str::to_owned)
        .or_else(|| found.request_id.take())
        .or_else(|| bracketed_request_id(&text));
    let verdict = classify(status, &found, &text);
    let retry_after = retry_after(response_headers)
        .or_else(|| found.retry_after.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok()))
        .map(|after| after.min(MAX_RETRY_AFTER));
    let mut message = if text.is_empty() {
        format!("the upstream answered with status {} and no message", status.as_u16())
    } else {
        truncated(text)
    };
    if verdict.code == "model_not_found"
        && let Some(successor) = successor
    {
        message = format!("{message} (model `{model}` is retired; its successor is `{successor}`)");
    }
    if verdict.class == AnswerClass::Credential {
        message = format!("the upstream refused the credential of the gateway, not yours: {message}");
    }
    Answer {
        status: verdict.status.unwrap_or(status),
        kind: verdict.kind,
        code: verdict.code,
        message,
        param: found.param,
        request_id,
        retry_after,
        headers: headers::refused(response_headers),
        class: verdict.class,
    }
}

struct Verdict {
    class: AnswerClass,
    kind: &'static str,
    code: Cow<'static, str>,
    /// Where Databricks' status says less than its code.
    status: Option<StatusCode>,
}

fn classify(status: StatusCode, found: &Found, text: &str) -> Verdict {
    let code = found.code.as_deref().unwrap_or_default();
    let verdict =
        |class, kind, code: &'static str| Verdict { class, kind, code: Cow::Borrowed(code), status: None };
    let rate_limited = || {
        let quota = contains(text, "insufficient_quota") || contains(text, "exceeded your current quota");
        let code =
            if quota || code == "insufficient_quota" || found.kind.as_deref() == Some("insufficient_quota") {
                "insufficient_quota"
            } else {
                "rate_limit_exceeded"
            };
        Verdict {
            // OpenAI's clients wait and retry on 429 alone; Databricks was seen to say it under 400.
            status: Some(StatusCode::TOO_MANY_REQUESTS),
            ..verdict(AnswerClass::RateLimit, "rate_limit_error", code)
        }
    };
    if status == StatusCode::TOO_MANY_REQUESTS
        || matches!(code, "REQUEST_LIMIT_EXCEEDED" | "RESOURCE_EXHAUSTED")
    {
        return rate_limited();
    }
    if status.is_server_error() {
        return verdict(AnswerClass::ServerError, "server_error", "upstream_server_error");
    }
    let is_token_text = contains(text, "invalid access token")
        || contains(text, "invalid token")
        || contains(text, "token is expiring")
        || contains(text, "credential was not sent");
    match status.as_u16() {
        401 => {
            return verdict(AnswerClass::Credential, "authentication_error", "upstream_credential_refused");
        }
        403 if code == "403" || is_token_text => {
            return verdict(AnswerClass::Credential, "permission_denied", "upstream_credential_refused");
        }
        403 => return verdict(AnswerClass::Request, "permission_denied", "upstream_permission_denied"),
        404 if code == "ENDPOINT_NOT_FOUND" => {
            return verdict(AnswerClass::Request, "invalid_request_error", "upstream_path_not_found");
        }
        404 => return verdict(AnswerClass::Request, "invalid_request_error", "model_not_found"),
        408 => return verdict(AnswerClass::ServerError, "server_error", "upstream_server_error"),
        413 => return verdict(AnswerClass::Request, "invalid_request_error", "request_too_large"),
        400 if code == "400" && is_token_text => {
            return verdict(AnswerClass::Credential, "authentication_error", "upstream_credential_refused");
        }
        _ => {}
    }
    if found.guardrail {
        return verdict(AnswerClass::Request, "invalid_request_error", "content_filter");
    }
    if is_context_length(text) {
        return verdict(AnswerClass::Request, "invalid_request_error", "context_length_exceeded");
    }
    let code = match code {
        "context_length_exceeded"
        | "content_filter"
        | "insufficient_quota"
        | "model_not_found"
        | "invalid_api_key"
        | "unsupported_parameter"
        | "unsupported_value"
        | "invalid_value" => Cow::Owned(code.to_owned()),
        _ => Cow::Borrowed("invalid_request"),
    };
    Verdict { class: AnswerClass::Request, kind: "invalid_request_error", code, status: None }
}

/// Whether a refusal is of a parameter that was sent along, and not of how much was asked for with it.
pub(crate) fn refuses_parameter(answer: &Answer, parameter: &str) -> bool {
    let is_open = matches!(&*answer.code, "invalid_request" | "unsupported_parameter" | "unsupported_value");
    is_open && (answer.param.as_deref() == Some(parameter) || contains(&answer.message, parameter))
}

/// The texts in which vendors say that input (and asked output) do not fit, as seen through Databricks.
fn is_context_length(text: &str) -> bool {
    [
        "context_length_exceeded",
        "maximum context length",
        "exceed context limit",
        "input is too long for requested model",
        "prompt is too long",
        "exceeds the model's context",
        "context window",
        "exceeds the maximum number of tokens",
    ]
    .iter()
    .any(|phrase| contains(text, phrase))
}

/// Whether `text` holds `phrase` (lower case) in any case.
fn contains(text: &str, phrase: &str) -> bool {
    text.as_bytes().windows(phrase.len()).any(|window| window.eq_ignore_ascii_case(phrase.as_bytes()))
}

fn read(body: &[u8]) -> Found {
    let body = body.trim_ascii();
    let mut found = Found::default();
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => read_value(&value, &mut found, 0),
        Err(_) => read_text(&String::from_utf8_lossy(body), &mut found),
    }
    found
}

fn read_value(value: &Value, found: &mut Found, depth: usize) {
    match value {
        Value::String(text) => return read_message(text, found, depth),
        Value::Object(_) => {}
        _ => return,
    }
    if let Some(code) = value.get("error_code").or_else(|| value.get("code")) {
        set_scalar(&mut found.code, code);
    }
    if let Some(kind) = value.get("type").and_then(Value::as_str) {
        found.kind.get_or_insert_with(|| kind.to_owned());
    }
    if let Some(param) = value.get("param").and_then(Value::as_str) {
        found.param.get_or_insert_with(|| param.to_owned());
    }
    if let Some(seconds) = value.get("retry_after").and_then(Value::as_f64) {
        found.retry_after.get_or_insert(seconds);
    }
    for detail in value.get("details").and_then(Value::as_array).into_iter().flatten() {
        if let Some(id) = detail.get("request_id").and_then(Value::as_str) {
            found.request_id.get_or_insert_with(|| id.to_owned());
        }
    }
    let is_guardrail = value
        .get("finishReason")
        .and_then(Value::as_str)
        .is_some_and(|reason| matches!(reason, "input_guardrail_triggered" | "output_guardrail_triggered"));
    if is_guardrail {
        found.guardrail = true;
        // The rest repeats the prompt, anonymised or not.
        let side = if value.get("output_guardrail").is_some() { "output" } else { "input" };
        found.message = Some(format!("the {side} guardrail of the upstream refused the request"));
        return;
    }
    if depth >= MAX_NESTING {
        return;
    }
    // Outermost first, so that what stands further in, which says more, wins.
    for key in ["message", "error", "external_model_error", "detail"] {
        if let Some(inner) = value.get(key) {
            read_value(inner, found, depth + 1);
        }
    }
}

/// A message: JSON again, or the text itself.
fn read_message(text: &str, found: &mut Found, depth: usize) {
    let trimmed = text.trim();
    if depth < MAX_NESTING
        && trimmed.starts_with('{')
        && let Ok(value @ Value::Object(_)) = serde_json::from_str::<Value>(trimmed)
    {
        return read_value(&value, found, depth + 1);
    }
    read_text(trimmed, found);
}

/// Plain text, `CODE: text`, or a page of HTML.
fn read_text(text: &str, found: &mut Found) {
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    if text.starts_with('<') {
        found.message = Some("the upstream answered with a web page".to_owned());
        return;
    }
    if let Some((code, rest)) = text.split_once(": ") {
        let is_code = code.len() > 3 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        if is_code {
            found.code.get_or_insert_with(|| code.to_owned());
            // `BAD_REQUEST: {...}`
            if rest.trim_start().starts_with('{') {
                return read_message(rest, found, MAX_NESTING - 1);
            }
        }
    }
    found.message = Some(text.to_owned());
}

fn set_scalar(slot: &mut Option<String>, value: &Value) {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return,
    };
    slot.get_or_insert(text);
}

/// `[ReqId: <uuid>]`, as Databricks writes it into texts.
fn bracketed_request_id(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("[ReqId: ")?;
    let (id, _) = rest.split_once(']')?;
    (id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        .then(|| id.to_owned())
}

/// `Retry-After` in seconds. The form with a date is not used by Databricks.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse::<u64>().ok().map(Duration::from_secs)
}

fn truncated(mut text: String) -> String {
    if text.len() > MAX_MESSAGE {
        text.truncate(text.floor_char_boundary(MAX_MESSAGE));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
