//! Chat completions, unary and streamed.

pub(crate) mod request;
pub(crate) mod shape;
pub(crate) mod stream;
pub(crate) mod strict;

use http::StatusCode;

use self::request::ChatRequest;
use self::shape::{CallPart, Choice, Completion, Content, Delta, Function, Part, Usage};
use self::stream::{Stream, call_id, reasoning};
use super::answer::Answer;
use super::dispatch::Call;
use super::persona::{Carrier, Finish, Persona, Style, UsageStyle};
use super::reply::Reply;
use super::sse::{Terminator, plan};

/// Answers a chat request, or refuses it as the endpoint would.
pub(crate) fn answer(call: &Call<'_>, persona: &Persona) -> Reply {
    let request = ChatRequest { fields: call.fields };
    if let Some(refusal) = strict::refusal(request, &persona.rules, &call.subject()) {
        return refusal;
    }
    let mut persona = *persona;
    // Claude reasons when it is told to, and then answers in lists.
    if persona.rules.claude && request.get("thinking").is_some() {
        persona.style.carrier = Carrier::Parts { signature: true };
    }
    let style = &persona.style;
    let prompt = request.prompt(call.endpoint.name);
    let answer = Answer::to(&prompt, &persona);
    let id = format!("chatcmpl_{}", call.reply_id);
    if request.streams() && !style.never_streams {
        let stream = Stream {
            id: &id,
            model: &call.endpoint.served,
            created: call.created,
            prompt_tokens: prompt.tokens(),
            choices: request.choices(),
            wants_usage: request.wants_usage(),
            style,
        };
        return Reply::events(plan(&stream.events(&answer), style, Terminator::Done));
    }
    let counted = Usage::counted(prompt.tokens(), answer.tokens() * request.choices());
    let completion = Completion {
        id: &id,
        object: "chat.completion",
        created: call.created,
        model: &call.endpoint.served,
        choices: (0..request.choices()).map(|index| choice(index, &answer, style)).collect(),
        usage: (style.usage != UsageStyle::Never).then_some(counted),
    };
    Reply::json(StatusCode::OK, &completion)
}

fn choice(index: u64, answer: &Answer, style: &Style) -> Choice {
    let finish_reason = (style.finish != Finish::Never).then_some(answer.finish);
    Choice { index, message: message(answer, style), finish_reason, logprobs: None }
}

fn message(answer: &Answer, style: &Style) -> Delta {
    let text = answer.text.clone();
    let content = match style.carrier {
        Carrier::Parts { .. } | Carrier::Encrypted => {
            let thought = answer.reasoning.clone().map(|text| reasoning(text, style.carrier));
            let parts: Vec<Part> = thought.into_iter().chain(text.map(|text| Part::Text { text })).collect();
            if parts.is_empty() { Content::Null } else { Content::Parts(parts) }
        }
        Carrier::Text | Carrier::ReasoningContent => text.map_or(Content::Null, Content::Text),
    };
    let beside = style.carrier == Carrier::ReasoningContent;
    let tool_calls = (0..).zip(&answer.calls).map(|(index, call)| CallPart {
        index: None,
        id: Some(call_id(index)),
        kind: Some("function"),
        function: Function { name: Some(call.name.clone()), arguments: call.arguments.clone() },
    });
    Delta {
        role: Some("assistant"),
        content: Some(content),
        reasoning_content: answer.reasoning.clone().filter(|_| beside),
        refusal: answer.refusal.clone(),
        tool_calls: tool_calls.collect(),
        id: None,
    }
}
