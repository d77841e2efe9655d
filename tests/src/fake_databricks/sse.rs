//! Server-sent events: how they are framed, how they meet TCP writes, and the many ways in which a stream ends.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::persona::{Ending, Framing, Style, Writes};
use super::wire::body::{Plan, Step};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: Option<&'static str>,
    /// One line of JSON.
    pub(crate) data: String,
}

impl Event {
    pub(crate) fn data(body: &impl Serialize) -> Self {
        Self { name: None, data: serde_json::to_string(body).unwrap_or_default() }
    }

    pub(crate) fn named(name: &'static str, body: &impl Serialize) -> Self {
        Self { name: Some(name), ..Self::data(body) }
    }
}

/// An event's body with one more field, or another value for it.
pub(crate) fn with(mut body: Value, field: &str, value: impl Into<Value>) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.insert(field.to_owned(), value.into());
    }
    body
}

/// Whether a stream is ended by `data: [DONE]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terminator {
    /// Chat and completions.
    Done,
    /// Forms whose last event is the terminator.
    LastEvent,
}

/// The stream of some events in a style. `half` in an [`Ending`] is after half of the events, at least one.
pub(crate) fn plan(events: &[Event], style: &Style, terminator: Terminator) -> Plan {
    let frame = |event: &Event| encode(event, style.framing);
    let (before, after) = events.split_at((events.len() / 2).max(1).min(events.len()));
    let mut frames: Vec<Vec<u8>> = before.iter().map(frame).collect();
    let rest = after.iter().map(frame);
    let half_frame = |frames: &mut Vec<Vec<u8>>| {
        let next = after.first().map(frame).unwrap_or_default();
        frames.push(next.get(..next.len() / 2).unwrap_or_default().to_vec());
    };
    let mut tail = Vec::new();
    let mut forever = Vec::new();
    let mut done = terminator == Terminator::Done;
    match style.ending {
        Ending::Done => frames.extend(rest),
        Ending::NoDone => {
            frames.extend(rest);
            done = false;
        }
        Ending::Truncated => done = false,
        Ending::Empty => {
            frames.clear();
            done = false;
        }
        Ending::EndMidFrame => {
            half_frame(&mut frames);
            done = false;
        }
        Ending::CutMidFrame => {
            half_frame(&mut frames);
            tail.push(Step::Close);
        }
        Ending::Reset => tail.push(Step::Reset),
        Ending::Stall => tail.push(Step::Hang),
        Ending::ErrorEvent => {
            let error =
                json!({"error": {"message": "The model failed.", "type": "server_error", "code": 500}});
            frames.push(frame(&Event::data(&error)));
            done = false;
        }
        Ending::AgentError => {
            frames.push(frame(&Event::data(&json!({
                "delta": {"role": "assistant", "content": "", "id": "msg_fake"},
                "databricks_output": {"error": {
                    "error_code": "BAD_REQUEST",
                    "message": "TimeoutException: The agent took too long.",
                }},
            }))));
            done = false;
        }
        Ending::NotJson => {
            frames.push(frame(&Event {
                name: None,
                data: "upstream connect error or disconnect/reset".to_owned(),
            }));
            frames.extend(rest);
        }
        Ending::HugeEvent { kib } => {
            let filler = "x".repeat(usize::try_from(kib * 1024).unwrap_or_default());
            let huge = json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": filler}}]});
            frames.push(frame(&Event::data(&huge)));
            frames.extend(rest);
        }
        Ending::Endless => {
            let again = after.first().map(frame).unwrap_or_default();
            forever.extend(write(&[again], style));
        }
    }
    if done && tail.is_empty() && forever.is_empty() {
        frames.push(frame(&Event { name: None, data: "[DONE]".to_owned() }));
    }
    let mut steps = write(&frames, style);
    steps.extend(tail);
    Plan::steps(steps).then_forever(forever)
}

fn encode(event: &Event, framing: Framing) -> Vec<u8> {
    let end = if framing == Framing::Crlf { "\r\n" } else { "\n" };
    let mut out = String::new();
    if framing == Framing::Comments {
        out.push_str(": keep-alive\n\n:\n");
    }
    if framing == Framing::Fields {
        out.push_str("id: 7\nretry: 3000\n");
    }
    match (event.name, framing) {
        (Some(name), _) => out.extend(["event: ", name, end]),
        (None, Framing::Fields) => out.push_str("event: message\n"),
        (None, _) => {}
    }
    match (framing, event.data.split_at_checked(1)) {
        (Framing::Tight, _) => out.extend(["data:", &event.data, end]),
        // The line end between two `data:` lines is white space between two tokens of the JSON.
        (Framing::MultiLine, Some((brace @ "{", rest))) => {
            out.extend(["data: ", brace, end, "data: ", rest, end]);
        }
        _ => out.extend(["data: ", &event.data, end]),
    }
    out.push_str(end);
    out.into_bytes()
}

fn write(frames: &[Vec<u8>], style: &Style) -> Vec<Step> {
    let mut steps = Vec::with_capacity(frames.len() * 2);
    if style.writes == Writes::Single {
        steps.push(Step::Send(frames.concat().into()));
        return steps;
    }
    for frame in frames {
        for piece in cut(frame, style.writes) {
            steps.push(Step::Send(Bytes::copy_from_slice(piece)));
            steps.push(Step::Flush);
        }
        if style.pace > Duration::ZERO {
            steps.push(Step::Pause(style.pace));
        }
    }
    steps
}

/// A frame in the pieces that become TCP writes of their own.
fn cut(frame: &[u8], writes: Writes) -> Vec<&[u8]> {
    match writes {
        Writes::PerFrame | Writes::Single => vec![frame],
        Writes::EachByte => frame.chunks(1).collect(),
        // The first byte of a character of several stays behind, the rest goes with what follows.
        Writes::InsideCharacters => frame.split_inclusive(|byte| *byte >= 0xc0).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_databricks::persona::{Family, Persona};

    fn sent(ending: Ending) -> String {
        let events: Vec<Event> = (0..4).map(|i| Event::data(&json!({ "i": i }))).collect();
        let style = Style { ending, ..Persona::of(Family::Llama).style };
        String::from_utf8(plan(&events, &style, Terminator::Done).concat()).unwrap()
    }

    #[test]
    fn a_whole_stream_ends_with_done() {
        insta::assert_snapshot!(sent(Ending::Done), @r#"
        data: {"i":0}

        data: {"i":1}

        data: {"i":2}

        data: {"i":3}

        data: [DONE]

        "#);
    }

    #[test]
    fn a_cut_stream_ends_inside_a_frame() {
        assert!(sent(Ending::CutMidFrame).ends_with("{\"i\":1}\n\ndata: {"));
        assert_eq!(sent(Ending::EndMidFrame), sent(Ending::CutMidFrame));
    }

    #[test]
    fn cuts_inside_characters_leave_no_piece_that_is_text_by_itself() {
        let text = "żółć 🦀".as_bytes();
        let pieces = cut(text, Writes::InsideCharacters);
        assert_eq!(pieces.concat(), text);
        assert_eq!(pieces.iter().filter(|piece| std::str::from_utf8(piece).is_ok()).count(), 0);
    }

    #[test]
    fn several_data_lines_join_to_the_same_json() {
        let event = Event::data(&json!({"a": 1, "b": [2]}));
        let frame = String::from_utf8(encode(&event, Framing::MultiLine)).unwrap();
        let joined: Vec<&str> = frame.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(joined.len(), 2);
        let read: serde_json::Value = serde_json::from_str(&joined.join("\n")).unwrap();
        assert_eq!(read, json!({"a": 1, "b": [2]}));
    }
}
