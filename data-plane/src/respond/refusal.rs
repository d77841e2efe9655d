//! The other two answers to a blocked request (`block_response`): for chat clients that keep the history, where a
//! blocked message would block every later turn with a 409.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CACHE_CONTROL, header::CONTENT_TYPE};
use kt_policy::verdict::Endpoint;
use serde_json::{Value, json};

use super::{Body, body, json as json_response};
use crate::error::PolicyRefusal;

/// A 400 as OpenAI's own content filter gives it.
pub(crate) fn content_filter(refusal: &PolicyRefusal, request_id: &str) -> Response<Body> {
    let value = json!({"error": {
        "message": refusal.message,
        "type": "invalid_request_error",
        "param": refusal.param,
        "code": "content_filter",
        "policy": refusal.policy.map(kt_policy::verdict::PolicyKind::as_str),
        "rule": refusal.rule.as_deref(),
        "request_id": request_id,
    }});
    json_response(StatusCode::BAD_REQUEST, value.to_string())
}

/// A 200 with a refusal in the place of the answer, streamed when a stream was asked for. `None`: embeddings have no
/// place for one.
pub(crate) fn refusal(
    endpoint: Endpoint,
    stream: bool,
    model: &str,
    refusal: &PolicyRefusal,
    request_id: &str,
    now: i64,
) -> Option<Response<Body>> {
    let text = refusal.message.as_str();
    let events = match endpoint {
        Endpoint::Embeddings => return None,
        Endpoint::ChatCompletions => chat(stream, model, text, request_id, now),
        Endpoint::Completions => vec![json!({
            "id": format!("cmpl-{request_id}"),
            "object": "text_completion",
            "created": now,
            "model": model,
            "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": "content_filter"}],
            "usage": if stream { Value::Null } else { no_tokens() },
        })],
        Endpoint::Responses => responses(stream, model, text, request_id, now),
    };
    if !stream {
        return events.first().map(|event| json_response(StatusCode::OK, event.to_string()));
    }
    let mut out = String::new();
    for event in &events {
        if endpoint == Endpoint::Responses
            && let Some(name) = event.get("type").and_then(Value::as_str)
        {
            out.push_str("event: ");
            out.push_str(name);
            out.push('\n');
        }
        out.push_str("data: ");
        out.push_str(&event.to_string());
        out.push_str("\n\n");
    }
    if endpoint != Endpoint::Responses {
        out.push_str("data: [DONE]\n\n");
    }
    let mut response = Response::new(body(Bytes::from(out)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

fn chat(stream: bool, model: &str, text: &str, request_id: &str, now: i64) -> Vec<Value> {
    let id = format!("chatcmpl-{request_id}");
    if !stream {
        return vec![json!({
            "id": id, "object": "chat.completion", "created": now, "model": model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": null, "refusal": text},
                "logprobs": null,
                "finish_reason": "content_filter",
            }],
            "usage": no_tokens(),
        })];
    }
    let chunk = |delta: Value, finish: Value| {
        json!({
            "id": id, "object": "chat.completion.chunk", "created": now, "model": model,
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
        })
    };
    vec![
        chunk(json!({"role": "assistant", "content": null, "refusal": text}), Value::Null),
        chunk(json!({}), json!("content_filter")),
    ]
}

fn responses(stream: bool, model: &str, text: &str, request_id: &str, now: i64) -> Vec<Value> {
    let item_id = format!("msg_{request_id}");
    let item = json!({
        "type": "message", "id": item_id, "status": "completed", "role": "assistant",
        "content": [{"type": "refusal", "refusal": text}],
    });
    let response_of = |status: &str, output: Value| {
        json!({
            "id": format!("resp_{request_id}"), "object": "response", "created_at": now, "status": status,
            "error": null, "incomplete_details": null, "model": model, "output": output,
            "parallel_tool_calls": false, "tool_choice": "auto", "tools": [],
            "usage": {
                "input_tokens": 0, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 0, "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 0,
            },
        })
    };
    let response = response_of("completed", json!([item]));
    if !stream {
        return vec![response];
    }
    let begun = response_of("in_progress", json!([]));
    let part = json!({"type": "refusal", "refusal": text});
    let place = |kind: &str, number: u32, more: Value| {
        let mut event = json!({
            "type": kind, "sequence_number": number, "item_id": item_id, "output_index": 0, "content_index": 0,
        });
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        event
    };
    vec![
        json!({"type": "response.created", "sequence_number": 0, "response": begun}),
        json!({"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": {
            "type": "message", "id": item_id, "status": "in_progress", "role": "assistant", "content": [],
        }}),
        place("response.content_part.added", 2, json!({"part": {"type": "refusal", "refusal": ""}})),
        place("response.refusal.delta", 3, json!({"delta": text})),
        place("response.refusal.done", 4, json!({"refusal": text})),
        place("response.content_part.done", 5, json!({"part": part})),
        json!({"type": "response.output_item.done", "sequence_number": 6, "output_index": 0, "item": item}),
        json!({"type": "response.completed", "sequence_number": 7, "response": response}),
    ]
}

fn no_tokens() -> Value {
    json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})
}
