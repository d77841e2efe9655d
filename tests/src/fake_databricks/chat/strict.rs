//! What the real endpoints refuse (`reference/databricks-serving.md` §3.2, §5.1, §9.9, §9.10). Texts that are not
//! quoted there follow the nearest one that is.

use serde_json::{Value, json};

use super::super::errors::{self, Subject};
use super::super::persona::{Fields, Rules};
use super::super::reply::Reply;
use super::request::{ChatRequest, text_of};

/// Documented, or sent by OpenAI's clients in ordinary use and harmless.
const DOCUMENTED: &[&str] = &[
    "model",
    "messages",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "n",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "thinking",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "seed",
    "user",
    "service_tier",
    "client_request_id",
    "usage_context",
    "extra_params",
    "databricks_options",
    "custom_inputs",
];

/// Further ones that models of OpenAI's making take.
const OPENAI_TOO: &[&str] = &[
    "max_completion_tokens",
    "metadata",
    "store",
    "verbosity",
    "prediction",
    "modalities",
    "web_search_options",
    "prompt_cache_key",
    "safety_identifier",
];

const CLAUDE_MESSAGE_FIELDS: &[&str] =
    &["role", "content", "tool_calls", "tool_call_id", "name", "refusal", "function_call"];

/// The first thing that the endpoint refuses in a request.
pub(crate) fn refusal(request: ChatRequest<'_>, rules: &Rules, subject: &Subject<'_>) -> Option<Reply> {
    token_bound(request, rules)
        .or_else(|| unknown_field(request, rules))
        .or_else(|| malformed(request))
        .or_else(|| out_of_range(request, rules))
        .or_else(|| wrong_messages(request, rules))
        .or_else(|| wrong_tools(request, rules))
        .or_else(|| vendor_refusal(request, rules, subject))
}

fn unknown_field(request: ChatRequest<'_>, rules: &Rules) -> Option<Reply> {
    let known = |name: &str| match rules.fields {
        Fields::Any => true,
        Fields::Documented => DOCUMENTED.contains(&name),
        Fields::OpenAi => DOCUMENTED.contains(&name) || OPENAI_TOO.contains(&name),
    };
    let databricks = |name: &str| matches!(name, "client_request_id" | "usage_context");
    let refused =
        request.fields.keys().find(|name| !known(name) || rules.no_databricks_fields && databricks(name))?;
    Some(unknown(refused, rules))
}

/// Endpoints (agents, some external models) that take no bound on their output under any name.
pub(crate) fn token_bound(request: ChatRequest<'_>, rules: &Rules) -> Option<Reply> {
    let names = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
    let named =
        names.into_iter().find(|name| request.get(name).is_some()).filter(|_| rules.no_token_bounds)?;
    Some(unknown(named, rules))
}

/// Claude endpoints pass on Anthropic's words, nested; the others answer in Databricks' own.
fn unknown(field: &str, rules: &Rules) -> Reply {
    if rules.claude {
        errors::nested(&json!({"message": format!("{field}: Extra inputs are not permitted")}))
    } else {
        errors::bad_request(&format!("Bad request: json: unknown field \"{field}\""))
    }
}

fn malformed(request: ChatRequest<'_>) -> Option<Reply> {
    if request.get("messages").is_none_or(|messages| !messages.is_array()) || request.messages().is_empty() {
        return Some(errors::bad_request("'messages' must be a list with at least one message."));
    }
    let numbers = ["max_tokens", "max_completion_tokens", "n", "top_k"];
    let bad =
        numbers.into_iter().find(|name| request.get(name).is_some_and(|v| v.as_u64().is_none_or(|v| v == 0)));
    bad.map(|name| errors::bad_request(&format!("'{name}' must be a positive integer.")))
}

fn out_of_range(request: ChatRequest<'_>, rules: &Rules) -> Option<Reply> {
    if rules.fields == Fields::Any {
        return None;
    }
    if request.choices() > 5 {
        return Some(errors::bad_request("'n' must be between 1 and 5."));
    }
    let temperature = request.get("temperature").and_then(Value::as_f64);
    if temperature.is_some_and(|value| !(0.0..=2.0).contains(&value)) {
        return Some(errors::bad_request("'temperature' must be between 0 and 2."));
    }
    let (asked, limit) = (request.max_tokens()?, rules.max_output?);
    (asked > limit).then(|| errors::too_many_output_tokens(asked, limit))
}

fn wrong_messages(request: ChatRequest<'_>, rules: &Rules) -> Option<Reply> {
    let role = |message: &Value| message.get("role").and_then(Value::as_str).map(str::to_owned);
    if rules.text_contents && request.messages().iter().any(|m| m.get("content").is_some_and(Value::is_array))
    {
        return Some(errors::content_must_be_text());
    }
    let mut rest = request.messages().iter().skip(1);
    if rules.one_system && rest.any(|message| role(message).as_deref() == Some("system")) {
        return Some(errors::bad_request("'system' role is only allowed once, in the first message."));
    }
    None
}

fn wrong_tools(request: ChatRequest<'_>, rules: &Rules) -> Option<Reply> {
    if rules.fields == Fields::Any {
        return None;
    }
    let tools = request.list("tools");
    if tools.len() > 32 {
        return Some(errors::bad_request("'tools' must have at most 32 entries."));
    }
    if tools.iter().any(|tool| tool.get("type").and_then(Value::as_str) != Some("function")) {
        return Some(errors::bad_request("'tools' may only contain functions."));
    }
    let strict = tools.iter().position(|tool| {
        tool.get("strict").is_some() || tool.pointer("/function/strict").is_some_and(|value| !value.is_null())
    });
    let strict = strict.filter(|_| rules.no_strict)?;
    Some(if rules.claude {
        unknown(&format!("tools.{strict}.custom.strict"), rules)
    } else {
        unknown("strict", rules)
    })
}

fn vendor_refusal(request: ChatRequest<'_>, rules: &Rules, subject: &Subject<'_>) -> Option<Reply> {
    let named = |name: &'static str| request.get(name).map(|_| name);
    if rules.no_sampling
        && let Some(name) = ["temperature", "top_p", "top_k"].into_iter().find_map(named)
    {
        let message = format!("Model {} does not support the {name} parameter.", subject.endpoint);
        return Some(errors::bad_request(&message));
    }
    if rules.no_stream_options && named("stream_options").is_some() {
        return Some(errors::stream_options_refused(subject));
    }
    if rules.no_max_tokens && named("max_tokens").is_some() {
        let message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
                       'max_completion_tokens' instead.";
        return Some(errors::nested(&json!({"message": message})));
    }
    if request.get("reasoning_effort").is_some_and(|effort| !effort.is_string() || rules.claude) {
        return Some(unknown("reasoning_effort", rules));
    }
    rules.claude.then(|| claude_refusal(request)).flatten()
}

fn claude_refusal(request: ChatRequest<'_>) -> Option<Reply> {
    let complain = |message: String| Some(errors::nested(&json!({ "message": message })));
    for (i, message) in request.messages().iter().enumerate() {
        let fields = message.as_object().into_iter().flatten();
        for (name, value) in fields {
            if !CLAUDE_MESSAGE_FIELDS.contains(&name.as_str()) {
                return complain(format!("messages.{i}.{name}: Extra inputs are not permitted"));
            }
            if name == "name" && !value.is_null() && message.get("role").is_some_and(|role| role == "user") {
                return complain(format!("messages.{i}.name: Extra inputs are not permitted"));
            }
        }
        let parts = message.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let empty_part = parts.iter().any(|part| part.get("text").is_some_and(|text| text == ""));
        let empty_text = message.get("content").is_some_and(Value::is_string) && text_of(message).is_empty();
        if empty_part || empty_text {
            return complain(format!("messages.{i}: text content blocks must be non-empty"));
        }
        let remote = |part: &Value| {
            let url = part.pointer("/image_url/url").and_then(Value::as_str);
            url.is_some_and(|url| !url.starts_with("data:"))
        };
        if parts.iter().any(remote) {
            return complain(format!("messages.{i}: image URLs are not supported, send base64 data"));
        }
    }
    let schema = request.get("response_format").and_then(|format| format.pointer("/json_schema/schema"));
    if schema.is_some_and(|schema| schema.get("additionalProperties") != Some(&Value::Bool(false))) {
        return complain(
            "output_format.schema: 'additionalProperties' must be explicitly set to false".to_owned(),
        );
    }
    let budget = request.get("thinking").and_then(|thinking| thinking.get("budget_tokens"))?.as_u64()?;
    if budget < 1024 {
        return complain("thinking.budget_tokens: Input should be greater than or equal to 1024".to_owned());
    }
    if request.max_tokens().is_some_and(|bound| bound <= budget) {
        return complain("`max_tokens` must be greater than `thinking.budget_tokens`".to_owned());
    }
    None
}
