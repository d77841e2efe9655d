use proptest::prelude::*;

use super::*;

fn answer(status: u16, body: &str) -> Answer {
    translate(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes(), "m", None)
}

fn summary(status: u16, body: &str) -> (u16, String, AnswerClass, String) {
    let answer = answer(status, body);
    (answer.status.as_u16(), answer.code.into_owned(), answer.class, answer.message)
}

#[test]
fn the_usual_envelope_is_read() {
    let answer = answer(
        403,
        r#"{"error_code":"PERMISSION_DENIED","message":"User does not have permission 'View' on Endpoint x","details":[{"@type":"type.googleapis.com/google.rpc.RequestInfo","request_id":"8a0c","serving_data":""}]}"#,
    );
    assert_eq!((answer.status.as_u16(), &*answer.code), (403, "upstream_permission_denied"));
    assert_eq!(answer.class, AnswerClass::Request);
    assert_eq!(answer.request_id.as_deref(), Some("8a0c"));
    assert!(answer.message.contains("permission 'View'"));
}

#[test]
fn a_refused_credential_is_told_from_a_missing_permission() {
    for (status, body) in [
        (
            401,
            r#"{"error_code":401,"message":"Credential was not sent or was of an unsupported type for this API. [ReqId: 1-2]"}"#,
        ),
        (403, r#"{"error_code":403,"message":"Invalid access token. [ReqId: 1-2]"}"#),
        (
            403,
            r#"{"error_code":"PERMISSION_DENIED","message":"Token is expiring within 30 seconds. (token expired)"}"#,
        ),
    ] {
        let answer = answer(status, body);
        assert_eq!(answer.class, AnswerClass::Credential, "{body}");
        assert_eq!(answer.status.as_u16(), status);
        assert!(answer.message.starts_with("the upstream refused the credential of the gateway"));
    }
    assert_eq!(
        answer(403, r#"{"error_code":403,"message":"Invalid access token. [ReqId: 1-2]"}"#)
            .request_id
            .as_deref(),
        Some("1-2")
    );
}

#[test]
fn messages_are_unwrapped_once_and_twice() {
    assert_eq!(
        answer(400, r#"{"error_code":"BAD_REQUEST","message":"{\"message\":\"tools.0.custom.strict: Extra inputs are not permitted\"}"}"#).message,
        "tools.0.custom.strict: Extra inputs are not permitted"
    );
    let inner = serde_json::json!({"message": "Input is too long for requested model."}).to_string();
    let middle = serde_json::json!({"external_model_provider": "databricks-model-serving", "external_model_error": {"message": inner}}).to_string();
    let outer = serde_json::json!({"error_code": "BAD_REQUEST", "message": middle}).to_string();
    assert_eq!(
        summary(400, &outer),
        (
            400,
            "context_length_exceeded".to_owned(),
            AnswerClass::Request,
            "Input is too long for requested model.".to_owned()
        )
    );
    let vendor = serde_json::json!({"external_model_provider":"anthropic","external_model_error":{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 196758 + 8192 > 200000"},"request_id":"req_1"}}).to_string();
    let outer = serde_json::json!({"error_code": "BAD_REQUEST", "message": vendor}).to_string();
    assert_eq!(answer(400, &outer).code, "context_length_exceeded");
}

#[test]
fn every_form_of_a_rate_limit_is_one() {
    for (status, body) in [
        (
            429,
            r#"{"error_code":"REQUEST_LIMIT_EXCEEDED","message":"REQUEST_LIMIT_EXCEEDED: Exceeded workspace input tokens per minute rate limit for m."}"#,
        ),
        (400, r#"{"error_code":"REQUEST_LIMIT_EXCEEDED","message":"Exceeded workspace QPS rate limit"}"#),
        (
            429,
            r#"{"error":{"message":"Rate limit exceeded: ITPM limit of 200,000 tokens reached","type":"rate_limit_exceeded","code":429,"retry_after":15}}"#,
        ),
        (429, ""),
    ] {
        let answer = answer(status, body);
        assert_eq!(
            (answer.status.as_u16(), &*answer.code, answer.class),
            (429, "rate_limit_exceeded", AnswerClass::RateLimit),
            "{body}"
        );
    }
    assert_eq!(answer(429, r#"{"error":{"retry_after":15}}"#).retry_after, Some(Duration::from_secs(15)));
    assert_eq!(
        answer(429, r#"{"error":{"code":"insufficient_quota","message":"x"}}"#).code,
        "insufficient_quota"
    );
}

#[test]
fn retry_after_comes_from_the_header_first() {
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, "7".parse().unwrap());
    let answer =
        translate(StatusCode::TOO_MANY_REQUESTS, &headers, br#"{"error":{"retry_after":15}}"#, "m", None);
    assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
    headers.insert(RETRY_AFTER, "99999999999".parse().unwrap());
    let answer = translate(StatusCode::TOO_MANY_REQUESTS, &headers, b"", "m", None);
    assert_eq!(answer.retry_after, Some(MAX_RETRY_AFTER));
}

#[test]
fn a_guardrail_is_a_content_filter_and_repeats_nothing() {
    let inner = r#"{"usage":{"prompt_tokens":0,"total_tokens":0},"input_guardrail":[{"flagged":false,"pii_detection":true,"anonymized_input":[{"role":"user","content":"secret prompt"}]}],"finishReason":"input_guardrail_triggered"}"#;
    let outer = serde_json::json!({"error_code": "BAD_REQUEST", "message": inner}).to_string();
    let answer = answer(400, &outer);
    assert_eq!(answer.code, "content_filter");
    assert!(!answer.message.contains("secret"));
}

#[test]
fn a_missing_model_names_its_successor() {
    let body =
        r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Endpoint with name 'm' does not exist."}"#;
    let answer = translate(StatusCode::NOT_FOUND, &HeaderMap::new(), body.as_bytes(), "m", Some("n"));
    assert_eq!(answer.code, "model_not_found");
    assert_eq!(
        answer.message,
        "Endpoint with name 'm' does not exist. (model `m` is retired; its successor is `n`)"
    );
    let body = r#"{"error_code":"ENDPOINT_NOT_FOUND","message":"No API found for 'POST /x'"}"#;
    assert_eq!(summary(404, body).1, "upstream_path_not_found");
}

#[test]
fn text_pages_and_nothing_are_read_too() {
    assert_eq!(
        summary(
            400,
            "Bad request: rpc error: code = InvalidArgument desc = max_tokens (10000) cannot exceed 8192."
        )
        .3,
        "Bad request: rpc error: code = InvalidArgument desc = max_tokens (10000) cannot exceed 8192."
    );
    assert_eq!(summary(502, "<html><title>x</title></html>").3, "the upstream answered with a web page");
    assert_eq!(
        summary(500, ""),
        (
            500,
            "upstream_server_error".to_owned(),
            AnswerClass::ServerError,
            "the upstream answered with status 500 and no message".to_owned()
        )
    );
    assert_eq!(summary(400, r#"{"error":"old form"}"#).3, "old form");
    assert_eq!(
        summary(503, r#"{"error_code":"TEMPORARILY_UNAVAILABLE","message":"capacity"}"#).2,
        AnswerClass::ServerError
    );
}

proptest! {
    #[test]
    fn anything_can_be_translated(status in 100_u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = translate(status, &HeaderMap::new(), &body, "m", None);
        prop_assert!(!answer.message.is_empty());
    }
}
