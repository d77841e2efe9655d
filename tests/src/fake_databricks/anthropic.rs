//! Anthropic Messages, served for Claude endpoints only.

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Prompt, pieces};
use super::chat::request::{ChatRequest, text_of, tool_choice, tool_of};
use super::dispatch::Call;
use super::errors;
use super::persona::Persona;
use super::reply::Reply;
use super::sse::{Event, Terminator, plan, with};

/// Answers a Messages request, or refuses it as the endpoint would.
pub(crate) fn answer(call: &Call<'_>, persona: &Persona) -> Reply {
    let request = ChatRequest { fields: call.fields };
    let Some(max_tokens) = request.max_tokens() else {
        return errors::nested(&json!({"message": "max_tokens: Field required"}));
    };
    if request.messages().is_empty() {
        return errors::nested(&json!({"message": "messages: at least one message is required"}));
    }
    let is_user = |message: &&Value| message.get("role").is_some_and(|role| role == "user");
    let last = request.messages().iter().rev().find(is_user);
    let prompt = Prompt {
        endpoint: call.endpoint.name,
        last_user: last.map(text_of).unwrap_or_default(),
        characters: request.messages().iter().map(|message| text_of(message).chars().count()).sum(),
        tools: request.list("tools").iter().filter_map(tool_of).collect(),
        tool_choice: tool_choice(request.get("tool_choice")),
        max_tokens: Some(max_tokens),
        ..Prompt::default()
    };
    let answer = Answer::to(&prompt, persona);
    let stop_reason = match answer.finish {
        "length" => "max_tokens",
        "tool_calls" => "tool_use",
        _ => "end_turn",
    };
    let blocks = blocks(&answer);
    let message = |content: &[Value], stop: Option<&str>, written: u64| {
        json!({
            "id": format!("msg_{}", call.reply_id), "type": "message", "role": "assistant",
            "model": call.endpoint.served, "content": content, "stop_reason": stop, "stop_sequence": null,
            "usage": {"input_tokens": prompt.tokens(), "output_tokens": written},
        })
    };
    if !request.streams() || persona.style.never_streams {
        return Reply::json(StatusCode::OK, &message(&blocks, Some(stop_reason), answer.tokens()));
    }
    let mut events = vec![Event::named(
        "message_start",
        &json!({"type": "message_start", "message": message(&[], None, 0)}),
    )];
    for (index, block) in blocks.iter().enumerate() {
        block_events(index, block, &mut events);
    }
    events.push(Event::named(
        "message_delta",
        &json!({
            "type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": null},
            "usage": {"output_tokens": answer.tokens()},
        }),
    ));
    events.push(Event::named("message_stop", &json!({"type": "message_stop"})));
    Reply::events(plan(&events, &persona.style, Terminator::LastEvent))
}

fn blocks(answer: &Answer) -> Vec<Value> {
    let thinking = answer
        .reasoning
        .iter()
        .map(|text| json!({"type": "thinking", "thinking": text, "signature": "c2ln"}));
    let text = answer.text.iter().map(|text| json!({"type": "text", "text": text}));
    let calls = answer.calls.iter().enumerate().map(|(index, call)| {
        let input: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
        json!({"type": "tool_use", "id": format!("toolu_fake_{index}"), "name": call.name, "input": input})
    });
    thinking.chain(text).chain(calls).collect()
}

fn block_events(index: usize, block: &Value, events: &mut Vec<Event>) {
    let (field, delta_type, delta_field) = match block.get("type").and_then(Value::as_str) {
        Some("thinking") => ("thinking", "thinking_delta", "thinking"),
        Some("tool_use") => ("input", "input_json_delta", "partial_json"),
        _ => ("text", "text_delta", "text"),
    };
    let whole = match block.get(field) {
        Some(Value::String(text)) => text.clone(),
        other => other.map(Value::to_string).unwrap_or_default(),
    };
    let opened = with(block.clone(), field, if field == "input" { json!({}) } else { json!("") });
    let start = json!({"type": "content_block_start", "index": index, "content_block": opened});
    events.push(Event::named("content_block_start", &start));
    for piece in pieces(&whole) {
        let body = json!({
            "type": "content_block_delta", "index": index, "delta": {"type": delta_type, delta_field: piece},
        });
        events.push(Event::named("content_block_delta", &body));
    }
    let stop = json!({"type": "content_block_stop", "index": index});
    events.push(Event::named("content_block_stop", &stop));
}
