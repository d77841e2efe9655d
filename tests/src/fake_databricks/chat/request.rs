//! Reading a chat request.

use serde_json::{Map, Value};

use super::super::answer::{Format, Prompt, Tool, ToolChoice};

/// A chat request's top-level fields, behind questions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChatRequest<'a> {
    pub(crate) fields: &'a Map<String, Value>,
}

impl<'a> ChatRequest<'a> {
    pub(crate) fn get(self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn list(self, name: &str) -> &'a [Value] {
        self.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn messages(self) -> &'a [Value] {
        self.list("messages")
    }

    pub(crate) fn streams(self) -> bool {
        self.get("stream").and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn wants_usage(self) -> bool {
        let asked = self.get("stream_options").and_then(|options| options.get("include_usage"));
        asked.and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn max_tokens(self) -> Option<u64> {
        self.get("max_tokens").or_else(|| self.get("max_completion_tokens")).and_then(Value::as_u64)
    }

    pub(crate) fn choices(self) -> u64 {
        self.get("n").and_then(Value::as_u64).unwrap_or(1)
    }

    pub(crate) fn prompt(self, endpoint: &'a str) -> Prompt<'a> {
        let messages = self.messages();
        let role_of = |message: &Value| message.get("role").and_then(Value::as_str).map(str::to_owned);
        let last_of = |role: &str| messages.iter().rev().find(|m| role_of(m).as_deref() == Some(role));
        let tool_result = messages.last().filter(|m| role_of(m).as_deref() == Some("tool")).map(text_of);
        Prompt {
            endpoint,
            last_user: last_of("user").map(text_of).unwrap_or_default(),
            tool_result,
            characters: messages.iter().map(|message| text_of(message).chars().count()).sum(),
            tools: self.list("tools").iter().filter_map(|tool| tool_of(tool.get("function")?)).collect(),
            tool_choice: tool_choice(self.get("tool_choice")),
            max_tokens: self.max_tokens(),
            stop: texts(self.get("stop")),
            format: format(self.get("response_format")),
        }
    }
}

/// A tool from an object with `name` and `parameters` (or `input_schema`).
pub(crate) fn tool_of(function: &Value) -> Option<Tool<'_>> {
    let parameters =
        function.get("parameters").or_else(|| function.get("input_schema")).unwrap_or(&Value::Null);
    Some(Tool { name: function.get("name")?.as_str()?, parameters })
}

/// `tool_choice` in the forms of Chat Completions, Responses and Anthropic Messages.
pub(crate) fn tool_choice(choice: Option<&Value>) -> ToolChoice<'_> {
    let Some(choice) = choice else { return ToolChoice::Auto };
    let name = choice.pointer("/function/name").or_else(|| choice.get("name")).and_then(Value::as_str);
    if let Some(name) = name {
        return ToolChoice::Named(name);
    }
    match choice.as_str().or_else(|| choice.get("type").and_then(Value::as_str)) {
        Some("none") => ToolChoice::None,
        Some("required" | "any") => ToolChoice::Required,
        _ => ToolChoice::Auto,
    }
}

fn format(format: Option<&Value>) -> Format<'_> {
    match format.and_then(|format| format.get("type")).and_then(Value::as_str) {
        Some("json_object") => Format::Object,
        Some("json_schema") => {
            let schema = format.and_then(|format| format.pointer("/json_schema/schema"));
            schema.map_or(Format::Object, Format::Schema)
        }
        _ => Format::Text,
    }
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The text of a message: its string content, or the texts of its parts joined by line ends.
pub(crate) fn text_of(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}
