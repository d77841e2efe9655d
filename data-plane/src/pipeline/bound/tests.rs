use proptest::prelude::*;

use super::*;

fn chunk(text: &str) -> String {
    format!(
        "data: {}\n\n",
        json!({
            "id": "c_1", "object": "chat.completion.chunk", "created": 7, "model": "m",
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": null}],
        })
    )
}

fn bound(limit: u64) -> OutputBound {
    OutputBound::new(Endpoint::ChatCompletions, limit, 64 * 1024)
}

/// What passes of pieces, and the bound afterwards.
fn passed(mut bound: OutputBound, pieces: &[&[u8]]) -> (String, OutputBound) {
    let mut passed = Vec::new();
    for piece in pieces {
        passed.extend_from_slice(&bound.push(piece).unwrap());
    }
    passed.extend_from_slice(&bound.rest().unwrap());
    (String::from_utf8(passed).unwrap(), bound)
}

#[test]
fn whole_events_pass_until_the_bound() {
    let stream = [chunk("abcd"), chunk("efgh"), chunk("ijkl")].concat();
    let (text, bound) = passed(bound(2), &[stream.as_bytes()]);
    assert_eq!(text, [chunk("abcd"), chunk("efgh")].concat());
    assert!(bound.is_reached());
    let (end, usage) = bound.end(Bytes::new(), Usage::default());
    insta::assert_snapshot!(String::from_utf8_lossy(&end), @r#"
    data: {"choices":[{"delta":{},"finish_reason":"length","index":0,"logprobs":null}],"created":7,"id":"c_1","model":"m","object":"chat.completion.chunk"}

    data: [DONE]

    "#);
    assert_eq!((usage.output, usage.total), (Some(2), Some(2)));
}

#[test]
fn usage_is_told_at_the_end_where_it_is_asked_for() {
    let (_, mut bound) = passed(bound(1), &[chunk("abcd").as_bytes(), chunk("e").as_bytes()]);
    bound.estimated_input = 11;
    bound.tells_usage = true;
    let (end, _) = bound.end(Bytes::from_static(b"data: before\n\n"), Usage::default());
    insta::assert_snapshot!(String::from_utf8_lossy(&end), @r#"
    data: before

    data: {"choices":[{"delta":{},"finish_reason":"length","index":0,"logprobs":null}],"created":7,"id":"c_1","model":"m","object":"chat.completion.chunk","usage":null}

    data: {"choices":[],"created":7,"id":"c_1","model":"m","object":"chat.completion.chunk","usage":{"completion_tokens":1,"prompt_tokens":11,"total_tokens":12}}

    data: [DONE]

    "#);
}

#[test]
fn an_answer_that_ends_by_itself_is_not_touched() {
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"stop\"}],\"usage\":\
               {\"completion_tokens\":900}}\n\ndata: [DONE]\n\n";
    let stream = [&chunk("abcd"), ": a comment\n\n", &chunk("efgh"), end].concat();
    let (text, bound) = passed(bound(2), &[stream.as_bytes()]);
    assert_eq!(text, stream);
    assert!(!bound.is_reached());
}

#[test]
fn the_largest_of_the_counts_holds() {
    // A delta is a token at least, however short.
    let short: Vec<String> = (0..6).map(|_| chunk("a")).collect();
    assert_eq!(passed(bound(5), &[short.concat().as_bytes()]).0, short[..5].concat());
    // Characters that are not ASCII are one each.
    assert!(!passed(bound(4), &[chunk("東京🦀ä").as_bytes()]).1.is_reached());
    assert!(passed(bound(3), &[chunk("東京🦀ä").as_bytes()]).1.is_reached());
    // What the upstream reports counts, too.
    let reporting = |tokens: u64| {
        format!(
            "data: {}\n\n",
            json!({"choices": [{"delta": {"content": "a"}}], "usage": {"completion_tokens": tokens}})
        )
    };
    assert!(!passed(bound(8), &[reporting(8).as_bytes()]).1.is_reached());
    assert!(passed(bound(8), &[reporting(9).as_bytes()]).1.is_reached());
}

#[test]
fn everything_that_a_model_writes_is_counted() {
    for delta in [
        json!({"content": "x".repeat(40)}),
        json!({"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "x".repeat(40)}]}]}),
        json!({"reasoning_content": "x".repeat(40)}),
        json!({"refusal": "x".repeat(40)}),
        json!({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "x".repeat(40)}}]}),
    ] {
        let stream = format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]}));
        assert!(passed(bound(9), &[stream.as_bytes()]).1.is_reached(), "{delta}");
    }
    for event in [
        json!({"choices": [{"index": 0, "text": "x".repeat(40)}]}),
        json!({"delta": {"role": "assistant", "content": "x".repeat(40)}, "choices": []}),
        json!({"type": "response.output_text.delta", "delta": "x".repeat(40)}),
    ] {
        let stream = format!("data: {event}\n\n");
        assert!(passed(bound(9), &[stream.as_bytes()]).1.is_reached(), "{event}");
        assert!(!passed(bound(10), &[stream.as_bytes()]).1.is_reached(), "{event}");
    }
}

#[test]
fn only_answers_that_go_on_are_finished() {
    let event = |index: u64, text: &str, finish: Value| {
        format!(
            "data: {}\n\n",
            json!({"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}]})
        )
    };
    let stream = [
        event(0, "abcd", Value::Null),
        event(1, "abcd", Value::Null),
        event(0, "", json!("stop")),
        event(2, "abcd", Value::Null),
        event(1, "abcd", Value::Null),
    ];
    let (_, bound) = passed(bound(3), &[stream.concat().as_bytes()]);
    let (end, _) = bound.end(Bytes::new(), Usage::default());
    let end = String::from_utf8(end.to_vec()).unwrap();
    assert_eq!(end.matches("\"finish_reason\":\"length\"").count(), 2);
    assert!(end.contains("\"index\":1") && end.contains("\"index\":2"), "{end}");
}

#[test]
fn a_stream_of_responses_ends_with_its_own_event() {
    let stream = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\
                  \"resp_1\",\"object\":\"response\",\"status\":\"in_progress\",\"output\":[],\"usage\":null}}\n\nevent: \
                  response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\
                  \"delta\":\"abcdefgh\"}\n\n";
    let bound = OutputBound::new(Endpoint::Responses, 1, 4096);
    let (text, bound) = passed(bound, &[stream.as_bytes()]);
    assert!(text.ends_with("\"usage\":null}}\n\n"), "not even the name of the event passes: {text}");
    let (end, _) = bound.end(Bytes::new(), Usage { input: Some(3), ..Usage::default() });
    insta::assert_snapshot!(String::from_utf8_lossy(&end), @r#"
    event: response.incomplete
    data: {"response":{"id":"resp_1","incomplete_details":{"reason":"max_output_tokens"},"object":"response","output":[],"status":"incomplete","usage":{"input_tokens":3,"output_tokens":0,"total_tokens":3}},"sequence_number":1,"type":"response.incomplete"}

    "#);
}

#[test]
fn an_endless_event_is_refused() {
    let mut bound = OutputBound::new(Endpoint::ChatCompletions, 1, 100);
    assert_eq!(bound.push(&[b'a'; 101]), Err(EventTooLarge));
}

proptest! {
    #[test]
    fn what_passes_does_not_depend_on_where_the_bytes_are_cut(
        texts in prop::collection::vec("[a-zäß]{0,9}", 0..12),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        limit in 1_u64..20,
        cuts in prop::collection::vec(1_usize..40, 1..10),
    ) {
        let stream: String = texts.iter().map(|text| chunk(text)).collect();
        let stream = format!(": begin\n\n{stream}data: [DONE]\n\n").replace('\n', end);
        let whole = passed(bound(limit), &[stream.as_bytes()]).0;
        let mut pieces = Vec::new();
        let mut rest = stream.as_bytes();
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        let (cut, bound) = passed(bound(limit), &pieces);
        prop_assert_eq!(cut.trim_end(), whole.trim_end());
        if !bound.is_reached() {
            prop_assert_eq!(cut, stream);
        }
    }

    #[test]
    fn anything_can_come(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bound = bound(3);
        let _ = bound.push(&bytes);
        let _ = bound.rest();
        let _ = bound.end(Bytes::new(), Usage::default());
    }
}
