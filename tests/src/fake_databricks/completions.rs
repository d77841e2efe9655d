//! Legacy completions. Databricks' own form is not verified (`reference/databricks-serving.md` §5.2): this is
//! OpenAI's.

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::answer::{Answer, Prompt, pieces};
use super::chat::request::ChatRequest;
use super::chat::shape::Usage;
use super::dispatch::Call;
use super::errors;
use super::persona::{Fields, Persona, UsageStyle};
use super::reply::Reply;
use super::sse::{Event, Terminator, plan};

const KNOWN: &[&str] = &[
    "model",
    "prompt",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "n",
    "stream",
    "stream_options",
    "suffix",
    "echo",
    "logprobs",
    "use_raw_prompt",
    "error_behavior",
    "seed",
    "user",
    "frequency_penalty",
    "presence_penalty",
    "client_request_id",
    "usage_context",
];

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Choice {
    index: usize,
    text: String,
    finish_reason: Option<&'static str>,
    logprobs: Option<()>,
}

/// Answers a completions request, or refuses it as the endpoint would.
pub(crate) fn answer(call: &Call<'_>, persona: &Persona) -> Reply {
    let request = ChatRequest { fields: call.fields };
    let lenient = persona.rules.fields == Fields::Any;
    if let Some(unknown) = call.fields.keys().find(|name| !lenient && !KNOWN.contains(&name.as_str())) {
        return errors::bad_request(&format!("Bad request: json: unknown field \"{unknown}\""));
    }
    if let Some(refusal) = super::chat::strict::token_bound(request, &persona.rules) {
        return refusal;
    }
    let Some(prompts) = prompts(request.get("prompt")) else {
        return errors::bad_request("'prompt' must be a string or a list of strings.");
    };
    let answer_to = |text: &&str| {
        let prompt = Prompt {
            endpoint: call.endpoint.name,
            last_user: (*text).to_owned(),
            max_tokens: request.max_tokens(),
            ..Prompt::default()
        };
        Answer::to(&prompt, persona)
    };
    let answers: Vec<Answer> = prompts.iter().map(answer_to).collect();
    let characters = prompts.iter().map(|text| text.chars().count()).sum();
    let prompt_tokens = super::answer::tokens_in(characters);
    let written = answers.iter().map(Answer::tokens).sum();
    let usage =
        Some(Usage::counted(prompt_tokens, written)).filter(|_| persona.style.usage != UsageStyle::Never);
    let id = format!("cmpl_{}", call.reply_id);
    let shape = |choices: Vec<Choice>, usage| Completion {
        id: &id,
        object: "text_completion",
        created: call.created,
        model: &call.endpoint.served,
        choices,
        usage,
    };
    if !request.streams() || persona.style.never_streams {
        let choices = answers.iter().enumerate().map(|(index, answer)| whole(index, answer)).collect();
        return Reply::json(StatusCode::OK, &shape(choices, usage));
    }
    let mut events = Vec::new();
    for (index, answer) in answers.iter().enumerate() {
        for text in answer.text.iter().flat_map(|text| pieces(text)) {
            let choice = Choice { index, text, finish_reason: None, logprobs: None };
            events.push(Event::data(&shape(vec![choice], None)));
        }
        let last = Choice { text: String::new(), ..whole(index, answer) };
        events.push(Event::data(&shape(vec![last], usage)));
    }
    Reply::events(plan(&events, &persona.style, Terminator::Done))
}

fn whole(index: usize, answer: &Answer) -> Choice {
    let text = answer.text.clone().unwrap_or_default();
    Choice { index, text, finish_reason: Some(answer.finish), logprobs: None }
}

fn prompts(prompt: Option<&Value>) -> Option<Vec<&str>> {
    match prompt? {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) if !list.is_empty() => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}
