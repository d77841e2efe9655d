//! Much of everything: time and memory grow with what comes, not with its square.

use std::time::Duration;

use super::*;
use crate::detect::processor_time;

/// Far above what it takes, far below what a square would.
const LONG: Duration = Duration::from_mins(1);

fn timed<T>(work: impl FnOnce() -> T) -> T {
    let started = processor_time();
    let done = work();
    let took = processor_time().saturating_sub(started);
    assert!(took < LONG, "{took:?}");
    done
}

#[test]
fn one_long_piece_is_judged_in_time() {
    let pack = pack("dlp-filter", "policy:\n  dlp-filter: {blocked_terms: [unheard]}\n");
    let event = delta(&"these are words of no weight at all, ".repeat(50_000));
    let passed = timed(|| pass(&pack, Endpoint::ChatCompletions, std::slice::from_ref(&event)));
    assert_eq!(passed.events, [event]);
}

#[test]
fn many_small_events_are_judged_in_time() {
    let pack = pack("dlp-filter", "policy:\n  dlp-filter: {blocked_terms: [unheard]}\n");
    for piece in ["a ", " ", "{"] {
        let events = vec![delta(piece); 100_000];
        let mut stream =
            AnswerStream::new(&pack, Endpoint::ChatCompletions, StreamSettings { held_bytes: 1 << 30 });
        let mut work = Workspace::default();
        timed(|| {
            with_context(Endpoint::ChatCompletions, |context| {
                for event in &events {
                    stream.push((), event, &pack, context, &mut work).unwrap();
                    while stream.pop().is_some() {}
                }
                stream.end(&pack, context, &mut work).unwrap();
            });
        });
        while stream.pop().is_some() {}
        assert_eq!(stream.held_bytes(), 0);
    }
}

#[test]
fn many_texts_beside_each_other_are_judged_in_time() {
    let pack = pack("dlp-filter", "policy:\n  dlp-filter: {blocked_terms: [unheard]}\n");
    let piece = |index: usize, reason: Value| {
        json!({"choices": [{"index": index, "delta": {"content": "word "}, "finish_reason": reason}]})
            .to_string()
    };
    let begun = (0..20_000).map(|index| piece(index, Value::Null));
    let ended = (0..20_000).map(|index| piece(index, json!("stop")));
    let events: Vec<String> = begun.chain(ended).collect();
    let mut stream =
        AnswerStream::new(&pack, Endpoint::ChatCompletions, StreamSettings { held_bytes: 1 << 30 });
    let mut work = Workspace::default();
    timed(|| {
        with_context(Endpoint::ChatCompletions, |context| {
            for event in &events {
                stream.push((), event, &pack, context, &mut work).unwrap();
            }
        });
    });
    let left = std::iter::from_fn(|| stream.pop()).count();
    assert_eq!(left, events.len());
}

#[test]
fn what_is_open_for_long_is_not_read_again_for_every_piece() {
    let pack = pack("dlp-filter", "policy:\n  dlp-filter: {builtin: all}\n");
    let text = format!("-----BEGIN RSA PRIVATE KEY-----\n{}", "MIIEpAIBAAKCAQEA0f3Lx9 \n".repeat(10_000));
    let passed = timed(|| pass(&pack, Endpoint::ChatCompletions, &cut(&text, &[24])));
    assert!(matches!(passed.stopped, None | Some(Stopped::TooLarge)));
}

#[test]
fn deep_and_wide_events_are_judged_in_time() {
    let pack = pack("dlp-filter", "policy:\n  dlp-filter: {blocked_terms: [unheard]}\n");
    let key = "k".repeat(100_000);
    let wide = format!(
        r#"{{"choices":[{{"delta":{{"{key}":[{}]}}}}]}}"#,
        vec![r#"{"a":{"b":{"c":"x"}}}"#; 20_000].join(",")
    );
    let deep = format!("{}1{}", r#"{"choices":[{"delta":{"a":"#, "}}]}")
        .replace('1', &format!("{}1{}", "[".repeat(50), "]".repeat(50)));
    for event in [wide, deep] {
        timed(|| pass(&pack, Endpoint::ChatCompletions, &[event]));
    }
}

#[test]
fn events_without_texts_behind_a_held_one_count_for_what_is_held() {
    let pack = pack("pii-detector", PII);
    let mut stream =
        AnswerStream::new(&pack, Endpoint::ChatCompletions, StreamSettings { held_bytes: 20_000 });
    let stopped = with_context(Endpoint::ChatCompletions, |context| {
        let work = &mut Workspace::default();
        stream.push((), &delta("held"), &pack, context, work).unwrap();
        (0..1000).find_map(|_| stream.push((), r#"{"choices":[]}"#, &pack, context, work).err())
    });
    assert_eq!(stopped, Some(Stopped::TooLarge));
}

#[test]
fn more_texts_than_an_answer_has_end_it() {
    let pack = pack("dlp-filter", "policy:\n  dlp-filter: {blocked_terms: [unheard]}\n");
    let mut stream =
        AnswerStream::new(&pack, Endpoint::ChatCompletions, StreamSettings { held_bytes: 1 << 30 });
    let choices: Vec<Value> = (0..70_000)
        .map(|index| json!({"index": index, "delta": {"content": "a"}, "finish_reason": "stop"}))
        .collect();
    let event = json!({"choices": choices}).to_string();
    let stopped = with_context(Endpoint::ChatCompletions, |context| {
        let limits = Limits { nodes: 1_000_000, ..context.limits };
        let context = AnswerContext { limits, ..*context };
        stream.push((), &event, &pack, &context, &mut Workspace::default()).unwrap_err()
    });
    assert_eq!(stopped, Stopped::TooLarge);
}
