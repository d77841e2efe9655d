//! OpenAI Responses: one body or named events, without `[DONE]`.

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Format, Prompt, pieces};
use super::chat::request::{ChatRequest, text_of, tool_choice, tool_of};
use super::chat::stream::call_id;
use super::dispatch::Call;
use super::errors;
use super::persona::Persona;
use super::reply::Reply;
use super::sse::{Event, Terminator, plan, with};

/// Refused with 400 (`reference/databricks-serving.md` §5.2).
const UNSUPPORTED: &[&str] = &["background", "store", "conversation", "service_tier"];

const TOOL_TYPES: &[&str] = &["function", "custom", "mcp", "image_generation", "shell"];

/// Answers a Responses request, or refuses it as the endpoint would.
pub(crate) fn answer(call: &Call<'_>, persona: &Persona) -> Reply {
    let request = ChatRequest { fields: call.fields };
    if request.get("messages").is_some() {
        return errors::bad_request("'messages' field is not supported. Please use 'input'");
    }
    // The OpenAI client sends `store: false` only when told to; a null is as good as absent.
    if let Some(name) = UNSUPPORTED.iter().find(|name| request.get(name).is_some()) {
        return errors::bad_request(&format!("'{name}' is not supported."));
    }
    if let Some(refusal) = super::chat::strict::token_bound(request, &persona.rules) {
        return refusal;
    }
    let unknown_tool = request.list("tools").iter().find(|tool| {
        let kind = tool.get("type").and_then(Value::as_str);
        kind.is_none_or(|kind| !TOOL_TYPES.contains(&kind))
    });
    if unknown_tool.is_some() {
        return errors::bad_request("tool type is not supported.");
    }
    let Some(input) = request.get("input") else {
        return errors::bad_request("'input' is required.");
    };
    let prompt = prompt(call.endpoint.name, request, input);
    let answer = Answer::to(&prompt, persona);
    let response = |status: &str, output: Value| {
        let usage = json!({
            "input_tokens": prompt.tokens(), "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": answer.tokens(), "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt.tokens() + answer.tokens(),
        });
        let incomplete = answer.finish == "length";
        json!({
            "id": format!("resp_{}", call.reply_id), "object": "response", "created_at": call.created,
            "status": status, "model": call.endpoint.served, "output": output,
            "error": null, "instructions": request.get("instructions"), "metadata": request.get("metadata"),
            "incomplete_details": incomplete.then(|| json!({"reason": "max_output_tokens"})),
            "parallel_tool_calls": true, "tool_choice": request.get("tool_choice").cloned().unwrap_or("auto".into()),
            "tools": request.list("tools"),
            "usage": if status == "in_progress" { Value::Null } else { usage },
        })
    };
    let status = if answer.finish == "length" { "incomplete" } else { "completed" };
    let whole = response(status, output(&answer));
    if !request.streams() || persona.style.never_streams {
        return Reply::json(StatusCode::OK, &whole);
    }
    let started = response("in_progress", json!([]));
    let mut events = vec![("response.created", json!({"response": started}))];
    events.push(("response.in_progress", json!({"response": started})));
    for (index, item) in output(&answer).as_array().into_iter().flatten().enumerate() {
        item_events(index, item, &mut events);
    }
    let ended = if status == "incomplete" { "response.incomplete" } else { "response.completed" };
    events.push((ended, json!({ "response": whole })));
    let numbered = events.into_iter().enumerate().map(|(number, (name, body))| {
        Event::named(name, &with(with(body, "type", name), "sequence_number", number))
    });
    Reply::events(plan(&numbered.collect::<Vec<_>>(), &persona.style, Terminator::LastEvent))
}

fn prompt<'a>(endpoint: &'a str, request: ChatRequest<'a>, input: &'a Value) -> Prompt<'a> {
    let items = input.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_user = |item: &&Value| item.get("role").is_some_and(|role| role == "user");
    let last_user = items.iter().rev().find(is_user).map(text_of);
    let result =
        items.last().filter(|item| item.get("type").is_some_and(|kind| kind == "function_call_output"));
    let tool_result = result.map(|item| match item.get("output") {
        Some(Value::String(text)) => text.clone(),
        other => other.map(Value::to_string).unwrap_or_default(),
    });
    let last_user = input.as_str().map(str::to_owned).or(last_user).unwrap_or_default();
    let characters = input.as_str().map_or_else(
        || items.iter().map(|item| text_of(item).chars().count()).sum(),
        |text| text.chars().count(),
    );
    Prompt {
        endpoint,
        last_user,
        tool_result,
        characters,
        tools: request.list("tools").iter().filter_map(tool_of).collect(),
        tool_choice: tool_choice(request.get("tool_choice")),
        max_tokens: request.get("max_output_tokens").and_then(Value::as_u64),
        stop: Vec::new(),
        format: Format::Text,
    }
}

/// The output items of an answer.
fn output(answer: &Answer) -> Value {
    let mut items = Vec::new();
    if let Some(reasoning) = &answer.reasoning {
        let summary = json!([{"type": "summary_text", "text": reasoning}]);
        items.push(json!({"type": "reasoning", "id": "rs_fake", "summary": summary}));
    }
    for (index, call) in (0..).zip(&answer.calls) {
        items.push(json!({
            "type": "function_call", "id": format!("fc_fake_{index}"), "call_id": call_id(index),
            "name": call.name, "arguments": call.arguments, "status": "completed",
        }));
    }
    let refusal = answer.refusal.as_ref().map(|refusal| json!({"type": "refusal", "refusal": refusal}));
    let text =
        answer.text.as_ref().map(|text| json!({"type": "output_text", "text": text, "annotations": []}));
    let content: Vec<Value> = text.into_iter().chain(refusal).collect();
    if !content.is_empty() {
        items.push(json!({
            "type": "message", "id": "msg_fake", "role": "assistant", "status": "completed", "content": content,
        }));
    }
    Value::Array(items)
}

type Named = (&'static str, Value);

fn item_events(index: usize, item: &Value, events: &mut Vec<Named>) {
    let id = item.get("id").cloned().unwrap_or_default();
    let mut opened = item.clone();
    let beginnings = [
        ("content", json!([])),
        ("arguments", json!("")),
        ("summary", json!([])),
        ("status", json!("in_progress")),
    ];
    for (field, empty) in beginnings {
        if let Some(value) = opened.get_mut(field) {
            *value = empty;
        }
    }
    events.push(("response.output_item.added", json!({"output_index": index, "item": opened})));
    let text_of = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    if let Some(arguments) = text_of(item, "arguments") {
        for delta in pieces(&arguments) {
            let body = json!({"item_id": id, "output_index": index, "delta": delta});
            events.push(("response.function_call_arguments.delta", body));
        }
        let body =
            json!({"item_id": id, "output_index": index, "arguments": arguments, "name": item.get("name")});
        events.push(("response.function_call_arguments.done", body));
    }
    for (part, content) in item.get("content").and_then(Value::as_array).into_iter().flatten().enumerate() {
        part_events(&json!({"item_id": id, "output_index": index, "content_index": part}), content, events);
    }
    events.push(("response.output_item.done", json!({"output_index": index, "item": item})));
}

fn part_events(place: &Value, content: &Value, events: &mut Vec<Named>) {
    let at = |extra: &[(&str, Value)]| {
        extra.iter().fold(place.clone(), |body, (name, value)| with(body, name, value.clone()))
    };
    let (field, delta_name, done_name) = if content.get("refusal").is_some() {
        ("refusal", "response.refusal.delta", "response.refusal.done")
    } else {
        ("text", "response.output_text.delta", "response.output_text.done")
    };
    let empty = with(content.clone(), field, "");
    events.push(("response.content_part.added", at(&[("part", empty)])));
    let text = content.get(field).and_then(Value::as_str).unwrap_or_default();
    for delta in pieces(text) {
        events.push((delta_name, at(&[("delta", delta.into()), ("logprobs", json!([]))])));
    }
    events.push((done_name, at(&[(field, text.into()), ("logprobs", json!([]))])));
    events.push(("response.content_part.done", at(&[("part", content.clone())])));
}
