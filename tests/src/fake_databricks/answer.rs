//! What the fake's models say: a pure function of the prompt, so that a test knows the answer beforehand.
//!
//! - `say: TEXT` answers TEXT (all that follows in the last user message);
//! - `count: N` answers `1 2 3 … N`;
//! - `call the tool`, with tools offered, calls the first (`call the tools`: all); `call the tool with {…}` gives
//!   the arguments word for word (`call the tools with {…}`: to each). A `tool_choice` that demands a call gets one too;
//! - after a tool's result the answer repeats it;
//! - with a JSON `response_format` the answer is JSON, shaped after the schema;
//! - anything else gets a sentence that names the endpoint and the length of the message.
//!
//! A token is four characters, in streams as in `usage`.

use serde_json::{Map, Value, json};

use super::persona::{Carrier, Persona, Says};

/// Characters in a token.
const TOKEN: usize = 4;

/// What all request forms have in common.
#[derive(Debug, Default)]
pub(crate) struct Prompt<'a> {
    pub(crate) endpoint: &'a str,
    /// Text of the last user message.
    pub(crate) last_user: String,
    /// Text of the last message, if that is a tool's result.
    pub(crate) tool_result: Option<String>,
    /// Characters in all messages.
    pub(crate) characters: usize,
    pub(crate) tools: Vec<Tool<'a>>,
    pub(crate) tool_choice: ToolChoice<'a>,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) stop: Vec<&'a str>,
    pub(crate) format: Format<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool<'a> {
    pub(crate) name: &'a str,
    pub(crate) parameters: &'a Value,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ToolChoice<'a> {
    #[default]
    Auto,
    None,
    Required,
    Named(&'a str),
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Format<'a> {
    #[default]
    Text,
    Object,
    Schema(&'a Value),
}

/// What the model says, not yet in any form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) reasoning: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) refusal: Option<String>,
    pub(crate) calls: Vec<Call>,
    pub(crate) finish: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: String,
}

impl Prompt<'_> {
    pub(crate) fn tokens(&self) -> u64 {
        tokens_in(self.characters)
    }
}

impl Answer {
    /// The answer to a prompt.
    pub(crate) fn to(prompt: &Prompt<'_>, persona: &Persona) -> Self {
        let reasons = !matches!(persona.style.carrier, Carrier::Text);
        let mut answer = match persona.says {
            Says::Prompted => Self::prompted(prompt),
            Says::Multibyte if prompt.last_user.contains("say:") => Self::prompted(prompt),
            Says::Multibyte => Self::text("Zażółć gęślą jaźń, größer — 東京 🦀 naïve 🇵🇱 końcówka."),
            Says::Long(kib) => {
                Self::text(&"0123456789abcde ".repeat(usize::try_from(kib * 64).unwrap_or(64)))
            }
            Says::Refusal => Self {
                refusal: Some("I can't help with that.".to_owned()),
                finish: "stop",
                ..Self::default()
            },
            Says::Filtered => Self { finish: "content_filter", ..Self::text("This answer was cut") },
            Says::Nothing => Self { finish: "stop", ..Self::default() },
            Says::Calls { parallel } => Self::forced_calls(prompt, parallel),
        };
        if reasons {
            answer.reasoning = Some("The user wants an answer; I shall give one.".to_owned());
        }
        if let Some(limit) = prompt.max_tokens {
            answer.truncate(limit);
        }
        answer
    }

    fn text(text: &str) -> Self {
        Self { text: Some(text.to_owned()), finish: "stop", ..Self::default() }
    }

    fn calling(calls: Vec<Call>) -> Self {
        Self { calls, finish: "tool_calls", ..Self::default() }
    }

    fn prompted(prompt: &Prompt<'_>) -> Self {
        if let Some(result) = &prompt.tool_result {
            return Self::text(&format!("The tool said: {result}"));
        }
        let calls = calls_asked_for(prompt);
        if !calls.is_empty() {
            return Self::calling(calls);
        }
        let said = after(&prompt.last_user, "say:").map(str::to_owned);
        let text = said.or_else(|| counted(&prompt.last_user)).unwrap_or_else(|| {
            let length = prompt.last_user.chars().count();
            format!(
                "This is {} of the fake workspace, answering a message of {length} characters.",
                prompt.endpoint
            )
        });
        let text = match prompt.format {
            Format::Text => text,
            Format::Object => json!({ "answer": text }).to_string(),
            Format::Schema(schema) => sample(schema, &text, 0).to_string(),
        };
        let cut = prompt.stop.iter().filter_map(|stop| text.find(stop)).min();
        Self::text(cut.and_then(|at| text.get(..at)).unwrap_or(&text))
    }

    fn forced_calls(prompt: &Prompt<'_>, parallel: bool) -> Self {
        let mut calls: Vec<Call> = prompt.tools.iter().map(|tool| call(tool, prompt)).collect();
        if calls.is_empty() {
            let invented = |name: &str, arguments: Value| Call {
                name: name.to_owned(),
                arguments: arguments.to_string(),
            };
            calls.push(invented("lookup_order", json!({"order_id": "A-1042", "verbose": true})));
            calls.push(invented("lookup_customer", json!({"email": "jo@example.com"})));
        }
        calls.truncate(if parallel { usize::MAX } else { 1 });
        Self::calling(calls)
    }

    fn truncate(&mut self, limit: u64) {
        let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
        for text in [&mut self.reasoning, &mut self.text] {
            let Some(whole) = text else { continue };
            let kept: String = whole.chars().take(left.saturating_mul(TOKEN)).collect();
            if kept.len() < whole.len() {
                self.finish = "length";
            }
            left = left.saturating_sub(pieces(&kept).len());
            // Where the reasoning ate the whole bound there is no text part at all.
            *text = (!kept.is_empty() || whole.is_empty()).then_some(kept);
        }
    }

    /// Completion tokens.
    pub(crate) fn tokens(&self) -> u64 {
        let texts = [&self.reasoning, &self.text, &self.refusal];
        let of_texts: u64 = texts.into_iter().flatten().map(|text| pieces(text).len() as u64).sum();
        of_texts + self.calls.iter().map(|call| pieces(&call.arguments).len() as u64).sum::<u64>()
    }
}

/// A text in tokens.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    let mut pieces = Vec::with_capacity(text.len() / TOKEN + 1);
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        pieces.push(rest.by_ref().take(TOKEN).collect());
    }
    pieces
}

/// Tokens in so many characters, rounded up.
pub(crate) fn tokens_in(characters: usize) -> u64 {
    characters.div_ceil(TOKEN) as u64
}

fn after<'t>(text: &'t str, keyword: &str) -> Option<&'t str> {
    text.split_once(keyword).map(|(_, rest)| rest.trim())
}

fn counted(text: &str) -> Option<String> {
    let upto: u32 = after(text, "count:")?.split_whitespace().next()?.parse().ok()?;
    Some((1..=upto.min(100_000)).map(|i| i.to_string()).collect::<Vec<_>>().join(" "))
}

fn calls_asked_for(prompt: &Prompt<'_>) -> Vec<Call> {
    let asked_all = prompt.last_user.contains("call the tools");
    let asked = prompt.last_user.contains("call the tool");
    let chosen: &[Tool<'_>] = match prompt.tool_choice {
        ToolChoice::None => &[],
        ToolChoice::Named(name) => {
            let named = prompt.tools.iter().find(|tool| tool.name == name);
            named.map(std::slice::from_ref).unwrap_or_default()
        }
        _ if asked_all => &prompt.tools,
        ToolChoice::Auto if !asked => &[],
        ToolChoice::Auto | ToolChoice::Required => prompt.tools.get(..1).unwrap_or_default(),
    };
    chosen.iter().map(|tool| call(tool, prompt)).collect()
}

fn call(tool: &Tool<'_>, prompt: &Prompt<'_>) -> Call {
    let one = after(&prompt.last_user, "call the tool with");
    let given = one.or_else(|| after(&prompt.last_user, "call the tools with"));
    let arguments = given.map_or_else(|| sample(tool.parameters, "fake", 0).to_string(), str::to_owned);
    Call { name: tool.name.to_owned(), arguments }
}

/// A value that a JSON Schema allows, for the common shapes; `text` fills the strings.
fn sample(schema: &Value, text: &str, depth: u8) -> Value {
    if depth > 16 {
        return Value::Null;
    }
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|all| all.first()) {
        return first.clone();
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        other => other.and_then(Value::as_str),
    };
    match kind {
        Some("string") => Value::from(text),
        Some("integer" | "number") => Value::from(1),
        Some("boolean") => Value::from(true),
        Some("null") => Value::Null,
        Some("array") => schema
            .get("items")
            .map_or_else(|| json!([]), |items| Value::Array(vec![sample(items, text, depth + 1)])),
        _ => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let fields: Map<String, Value> = properties
                .into_iter()
                .flatten()
                .map(|(name, schema)| (name.clone(), sample(schema, text, depth + 1)))
                .collect();
            Value::Object(fields)
        }
    }
}

#[cfg(test)]
mod tests;
