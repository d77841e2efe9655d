//! The answer as stream chunks.

use super::super::answer::{Answer, Call, pieces};
use super::super::persona::{Carrier, Finish, Style, UsageStyle};
use super::super::sse::Event;
use super::shape::{CallPart, Chunk, ChunkChoice, Content, Delta, Function, Part, Summary, Usage};

/// What all chunks of a stream share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream<'a> {
    pub(crate) id: &'a str,
    pub(crate) model: &'a str,
    pub(crate) created: i64,
    pub(crate) prompt_tokens: u64,
    pub(crate) choices: u64,
    pub(crate) wants_usage: bool,
    pub(crate) style: &'a Style,
}

impl Stream<'_> {
    /// All events but the terminator.
    pub(crate) fn events(&self, answer: &Answer) -> Vec<Event> {
        let mut events = Vec::new();
        let mut written = 0;
        if self.style.empty_choices {
            events.push(self.event(Vec::new(), written, false));
        }
        for index in 0..self.choices {
            let deltas = deltas(answer, self.style);
            let last_of_all = index + 1 == self.choices;
            let count = deltas.len();
            for (i, (delta, tokens)) in deltas.into_iter().enumerate() {
                written += tokens;
                let delta = self.with_role(delta, i == 0);
                events.push(self.chunk(index, delta, None, written, false));
            }
            let last = Delta { content: self.final_content(answer), ..Delta::default() };
            let last = self.with_role(last, count == 0);
            events.push(self.chunk(index, last, Some(answer.finish), written, last_of_all));
        }
        if self.style.usage == UsageStyle::OnRequest && self.wants_usage {
            let usage = Some(Usage::counted(self.prompt_tokens, written));
            events.push(Event::data(&self.bare(None, Vec::new(), usage)));
        }
        events
    }

    /// The last chunk carries an empty text, or nothing, or null beside tool calls.
    fn final_content(&self, answer: &Answer) -> Option<Content> {
        if self.style.omit_content {
            None
        } else if answer.calls.is_empty() {
            Some(Content::Text(String::new()))
        } else {
            Some(Content::Null)
        }
    }

    fn with_role(&self, delta: Delta, first: bool) -> Delta {
        let role = (first || self.style.role_in_each).then_some("assistant");
        let id = self.style.agent.then(|| "msg_fake".to_owned());
        Delta { role, id, ..delta }
    }

    fn chunk(
        &self,
        index: u64,
        delta: Delta,
        finish: Option<&'static str>,
        written: u64,
        last: bool,
    ) -> Event {
        if self.style.agent {
            let usage = self.usage(written, last);
            return Event::data(&self.bare(Some(delta), Vec::new(), usage));
        }
        let finish_reason = match self.style.finish {
            Finish::NullUntilEnd => Some(finish),
            Finish::AbsentUntilEnd => finish.map(Some),
            Finish::Never => Some(None),
        };
        self.event(vec![ChunkChoice { index, delta, finish_reason, logprobs: None }], written, last)
    }

    fn event(&self, choices: Vec<ChunkChoice>, written: u64, last: bool) -> Event {
        Event::data(&self.bare(None, choices, self.usage(written, last)))
    }

    fn usage(&self, written: u64, last: bool) -> Option<Usage> {
        let counted = Usage::counted(self.prompt_tokens, written);
        match self.style.usage {
            UsageStyle::EachChunk => Some(counted),
            UsageStyle::NullUntilEnd if last => Some(counted),
            UsageStyle::NullUntilEnd => Some(Usage::pending(self.prompt_tokens)),
            UsageStyle::Last => last.then_some(counted),
            UsageStyle::OnRequest | UsageStyle::Never => None,
        }
    }

    fn bare(&self, delta: Option<Delta>, choices: Vec<ChunkChoice>, usage: Option<Usage>) -> Chunk<'_> {
        let object = "chat.completion.chunk";
        Chunk { id: self.id, object, created: self.created, model: self.model, delta, choices, usage }
    }
}

/// The answer in deltas, each with the tokens that it adds.
fn deltas(answer: &Answer, style: &Style) -> Vec<(Delta, u64)> {
    let reasoning =
        answer.reasoning.iter().flat_map(|text| pieces(text)).map(|piece| thought(piece, style.carrier));
    let text = answer.text.iter().flat_map(|text| pieces(text)).map(|piece| said(piece, style.carrier));
    let refusal = answer.refusal.iter().flat_map(|text| pieces(text)).map(|piece| {
        let content = (!style.omit_content).then_some(Content::Null);
        Delta { refusal: Some(piece), content, ..Delta::default() }
    });
    let texts = reasoning.chain(text).chain(refusal).map(|delta| (delta, 1));
    texts.chain(call_deltas(&answer.calls, style)).collect()
}

/// A piece of reasoning.
fn thought(piece: String, carrier: Carrier) -> Delta {
    match carrier {
        Carrier::ReasoningContent => Delta { reasoning_content: Some(piece), ..Delta::default() },
        _ => Delta { content: Some(Content::Parts(vec![reasoning(piece, carrier)])), ..Delta::default() },
    }
}

/// A piece of text.
fn said(piece: String, carrier: Carrier) -> Delta {
    let content = match carrier {
        Carrier::Parts { .. } | Carrier::Encrypted => Content::Parts(vec![Part::Text { text: piece }]),
        Carrier::Text | Carrier::ReasoningContent => Content::Text(piece),
    };
    Delta { content: Some(content), ..Delta::default() }
}

/// Reasoning as a part of a list.
pub(crate) fn reasoning(text: String, carrier: Carrier) -> Part {
    let summary = match carrier {
        Carrier::Encrypted => {
            Summary::SummaryEncryptedText { data: "RW5jcnlwdGVkIHJlYXNvbmluZw==".to_owned() }
        }
        Carrier::Parts { signature: true } => {
            Summary::SummaryText { text, signature: Some("c2lnbmF0dXJl".to_owned()) }
        }
        _ => Summary::SummaryText { text, signature: None },
    };
    Part::Reasoning { summary: vec![summary] }
}

fn call_deltas(calls: &[Call], style: &Style) -> Vec<(Delta, u64)> {
    let content = || (!style.omit_content).then_some(Content::Null);
    let delta = |part: CallPart| Delta { content: content(), tool_calls: vec![part], ..Delta::default() };
    let mut each: Vec<Vec<(Delta, u64)>> = Vec::new();
    for (index, call) in (0..).zip(calls) {
        let mut fragments = vec![(delta(opening(index, call)), 0)];
        fragments.extend(pieces(&call.arguments).into_iter().map(|arguments| {
            let function = Function { name: None, arguments };
            (delta(CallPart { index: Some(index), id: None, kind: None, function }), 1)
        }));
        each.push(fragments);
    }
    if !style.interleave_calls {
        return each.concat();
    }
    let longest = each.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|i| each.iter().filter_map(move |fragments| fragments.get(i).cloned())).collect()
}

/// The first fragment of a call names it and has no arguments yet.
fn opening(index: u64, call: &Call) -> CallPart {
    CallPart {
        index: Some(index),
        id: Some(call_id(index)),
        kind: Some("function"),
        function: Function { name: Some(call.name.clone()), arguments: String::new() },
    }
}

/// The id of the n-th call of an answer.
pub(crate) fn call_id(index: u64) -> String {
    format!("call_fake_{index}")
}
