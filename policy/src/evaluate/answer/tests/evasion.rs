//! Ways in which a text could get past: nothing of a finding may leave, however it comes.

use super::*;

const MAIL: [&str; 3] = ["jane.", "roe@exam", "ple.com"];
const CHAT: Endpoint = Endpoint::ChatCompletions;

fn mail_pack() -> CompiledPack {
    pack("pii-detector", "policy:\n  pii-detector: {entities: [EMAIL_ADDRESS]}\n")
}

/// What leaves of events that spell an address among them, each as `event` has it.
fn spelled(endpoint: Endpoint, event: impl Fn(usize, &str) -> Value) -> Passed {
    let events: Vec<String> =
        MAIL.iter().enumerate().map(|(index, piece)| event(index, piece).to_string()).collect();
    let passed = pass(&mail_pack(), endpoint, &events);
    assert_eq!(passed.events.len(), events.len(), "{:?} {:?}", passed.stopped, passed.events);
    passed
}

fn tells_nothing(passed: &Passed) {
    let left = passed.events.concat();
    assert!(!left.contains("jane") && !left.contains("roe@") && !left.contains("ple.com"), "{left}");
    assert_eq!(left.matches("<EMAIL_ADDRESS>").count(), 1, "{left}");
    for event in &passed.events {
        serde_json::from_str::<Value>(event).unwrap();
    }
}

#[test]
fn every_place_of_a_delta_goes_on() {
    let shapes: [fn(&str) -> Value; 12] = [
        |piece| json!({"content": piece}),
        |piece| json!({"content": [{"type": "text", "text": piece}]}),
        |piece| json!({"content": [piece]}),
        |piece| json!({"content": {"text": piece}}),
        |piece| json!({"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": piece}]}]}),
        |piece| json!({"content": [{"type": "text", "note": {"said": piece}}]}),
        |piece| json!({"reasoning_details": [{"type": "reasoning.text", "format": "f", "index": 0, "text": piece}]}),
        |piece| json!({"mood": piece}),
        |piece| json!({"refusal": piece}),
        |piece| json!({"audio": {"transcript": piece}}),
        |piece| json!({"tool_calls": [{"index": 0, "function": {"name": piece, "arguments": ""}}]}),
        |piece| json!({"tool_calls": [{"index": 0, "id": "c", "function": {"note": piece}}]}),
    ];
    for shape in shapes {
        tells_nothing(&spelled(CHAT, |_, piece| json!({"choices": [{"index": 0, "delta": shape(piece)}]})));
        tells_nothing(&spelled(CHAT, |_, piece| json!({"delta": shape(piece)})));
    }
    tells_nothing(&spelled(CHAT, |_, piece| json!({"choices": [{"index": 0, "note": piece}]})));
    tells_nothing(&spelled(
        CHAT,
        |_, piece| json!({"choices": [{"index": 0, "message": {"content": piece}}]}),
    ));
    tells_nothing(&spelled(Endpoint::Completions, |_, piece| json!({"choices": [{"text": piece}]})));
}

#[test]
fn a_message_beside_the_deltas_is_a_text_of_its_own() {
    let passed = spelled(
        CHAT,
        |_, piece| json!({"choices": [{"index": 0, "delta": {"content": piece}, "message": {"content": "and "}}]}),
    );
    tells_nothing(&passed);
}

#[test]
fn an_index_in_any_form_is_the_same_text() {
    for index in
        [json!(0), json!("0"), json!(0.0), json!(-1), json!(1e300), json!(null), json!(u64::MAX), json!([])]
    {
        tells_nothing(&spelled(
            CHAT,
            |_, piece| json!({"choices": [{"index": index, "delta": {"content": piece}}]}),
        ));
    }
    tells_nothing(&spelled(CHAT, |at, piece| {
        let choice = json!({"delta": {"content": piece}});
        let mut named = choice.clone();
        named["index"] = json!(0);
        json!({"choices": [if at == 1 { choice } else { named }]})
    }));
    let passed = spelled(
        CHAT,
        |_, piece| json!({"choices": [{"delta": {"content": piece}}, {"delta": {"content": "other"}}]}),
    );
    tells_nothing(&passed);
}

#[test]
fn calls_beside_each_other_do_not_mix() {
    let passed = spelled(CHAT, |_, piece| {
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [
            {"index": 0, "function": {"arguments": piece}}, {"index": 1, "function": {"arguments": "x"}}]}}]})
    });
    tells_nothing(&passed);
}

#[test]
fn calls_of_one_index_are_each_taken_apart() {
    let call = |arguments: &str| {
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": arguments}}]}}]})
            .to_string()
    };
    let events = [call(r#"{"n":1}"#), call(r#"{"to":"jane.ro\u0065@example.com"}"#)];
    let passed = pass(&mail_pack(), CHAT, &events);
    assert!(
        passed.events[1].contains("<EMAIL_ADDRESS>") && passed.events[0].contains(r#"{\"n\":1}"#),
        "{:?}",
        passed.events
    );
}

#[test]
fn a_reason_to_finish_that_comes_early_or_is_empty_cuts_nothing() {
    for reason in [json!(""), json!(null), json!(0), json!(false)] {
        tells_nothing(&spelled(
            CHAT,
            |_, piece| json!({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": reason}]}),
        ));
    }
}

#[test]
fn what_comes_behind_the_end_is_read_with_what_came_before_it() {
    let passed = spelled(CHAT, |at, piece| {
        let reason = if at == 1 { json!("stop") } else { json!(null) };
        json!({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": reason}]})
    });
    // The upstream said that it had ended, so what was there has left.
    let left = passed.events.concat();
    assert!(left.contains("roe@exam") && !left.contains("ple.com"), "{left}");
}

#[test]
fn signs_of_life_and_annotations_do_not_cut_a_text() {
    let between = [
        json!({"type": "keepalive", "sequence_number": 3}),
        json!({"type": "response.in_progress", "response": {"id": "r"}}),
        json!({"type": "response.output_text.annotation.added", "output_index": 0, "content_index": 0, "annotation": {"type": "url_citation"}}),
        json!({"type": "response.web_search_call.searching", "output_index": 0}),
    ];
    for between in between {
        let mut events = Vec::new();
        for piece in MAIL {
            events.push(json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": piece}).to_string());
            events.push(between.to_string());
        }
        tells_nothing(&pass(&mail_pack(), Endpoint::Responses, &events));
    }
}

#[test]
fn items_that_are_not_numbered_end_as_they_come() {
    let said =
        |id: &str, piece: &str| json!({"type": "response.output_text.delta", "item_id": id, "delta": piece});
    let done = json!({"type": "response.output_item.done", "item": {"type": "message", "id": "a", "content": [{"type": "output_text", "text": "hello you"}]}});
    let call = json!({"type": "response.output_item.done", "item": {"type": "function_call", "id": "b", "name": "f", "arguments": "{}"}});
    let events =
        [said("a", "hello "), said("a", "you"), done, call, said("c", "held")].map(|event| event.to_string());
    let pack = mail_pack();
    let mut stream = AnswerStream::new(&pack, Endpoint::Responses, StreamSettings { held_bytes: 1 << 20 });
    with_context(Endpoint::Responses, |context| {
        for event in &events {
            stream.push((), event, &pack, context, &mut Workspace::default()).unwrap();
        }
    });
    assert_eq!(std::iter::from_fn(|| stream.pop()).count(), 4);
}

#[test]
fn every_kind_of_delta_of_a_response_goes_on() {
    for named in [
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.mcp_call_arguments.delta",
        "response.code_interpreter_call_code.delta",
        "response.audio.transcript.delta",
        "response.what_comes_next.delta",
    ] {
        for key in ["delta", "said"] {
            let passed = spelled(Endpoint::Responses, |at, piece| {
                let mut event = json!({"type": named, "output_index": 0, "sequence_number": at});
                event[key] = json!(piece);
                event
            });
            tells_nothing(&passed);
        }
        let passed =
            spelled(Endpoint::Responses, |_, piece| json!({"type": named, "delta": {"text": piece}}));
        tells_nothing(&passed);
    }
}

#[test]
fn a_key_twice_or_a_second_value_cannot_be_judged() {
    for event in [
        r#"{"choices":[{"index":0,"delta":{"content":"a","content":"b"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a","c\u006fntent":"b"}}]}"#,
        r#"{"choices":[]} {"choices":[{"delta":{"content":"jane.roe@example.com"}}]}"#,
    ] {
        let passed = pass(&mail_pack(), CHAT, &[event.to_owned()]);
        assert!(matches!(passed.stopped, Some(Stopped::NotInspectable(_))), "{event}");
        assert!(passed.events.is_empty());
        with_context(CHAT, |context| {
            mail_pack().judge_answer(event, context, &mut Workspace::default()).unwrap_err();
        });
    }
}

#[test]
fn events_that_are_no_objects_are_read() {
    for event in [
        r#"["jane.roe@example.com"]"#,
        r#""jane.roe@example.com""#,
        r#"{"x":{"y":["jane.roe@example.com"]}}"#,
    ] {
        for endpoint in [CHAT, Endpoint::Responses] {
            tells_nothing(&pass(&mail_pack(), endpoint, &[event.to_owned()]));
        }
    }
}

#[test]
fn an_event_with_nothing_in_it_ends_nothing() {
    let events = ["", " "].map(str::to_owned);
    let passed = pass(&mail_pack(), CHAT, &events);
    assert_eq!((passed.events, passed.stopped), (events.to_vec(), None));
}

#[test]
fn escapes_and_halves_of_pairs_hide_nothing() {
    let events = [
        r#"{"choices":[{"delta":{"content":"\ud83e"}}]}"#.to_owned(),
        r#"{"choices":[{"delta":{"content":"\udd80 j\u0061ne.r"}}]}"#.to_owned(),
        r#"{"choices":[{"delta":{"content":"o\u0065@example\u002ecom \ud83e"}}]}"#.to_owned(),
    ];
    let passed = pass(&mail_pack(), CHAT, &events);
    assert_eq!(passed.stopped, None);
    assert_eq!(
        passed.events,
        [
            events[0].clone(),
            r#"{"choices":[{"delta":{"content":"\udd80 <EMAIL_ADDRESS>"}}]}"#.to_owned(),
            r#"{"choices":[{"delta":{"content":" \ud83e"}}]}"#.to_owned(),
        ]
    );
}

#[test]
fn log_probabilities_are_read_as_the_text_that_they_spell() {
    let token = |token: &str| json!({"token": token, "logprob": -0.1, "bytes": [1], "top_logprobs": []});
    // The text comes earlier than its tokens.
    let passed = spelled(CHAT, |at, piece| {
        let content = if at == 0 { "nothing" } else { "" };
        json!({"choices": [{"index": 0, "delta": {"content": content}, "logprobs": {"content": [token(piece)]}}]})
    });
    let left = passed.events.concat();
    assert!(!left.contains("jane") && !left.contains("roe@"), "{left}");
    assert_eq!(left.matches(r#""logprobs":null"#).count(), 3, "{left}");
    assert!(left.contains("nothing"));

    // Others that could have come stand beside them.
    let beside = json!({"token": "x", "top_logprobs": [{"token": "jane.roe@example.com", "logprob": -3}]});
    let event =
        json!({"choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": {"content": [beside]}}]});
    let passed = pass(&mail_pack(), CHAT, &[event.to_string()]);
    assert!(passed.events[0].contains(r#""logprobs":null"#), "{:?}", passed.events);

    // Of completions, and of responses.
    let tokens = |piece: &str| json!({"choices": [{"text": "", "logprobs": {"tokens": [piece], "token_logprobs": [-1.5], "top_logprobs": [{piece: -1}]}}]});
    let left = spelled(Endpoint::Completions, |_, piece| tokens(piece)).events.concat();
    assert!(!left.contains("jane") && !left.contains("roe@"), "{left}");
    let left = spelled(
        Endpoint::Responses,
        |_, piece| json!({"type": "response.output_text.delta", "output_index": 0, "delta": "", "logprobs": [token(piece)]}),
    );
    let left = left.events.concat();
    assert!(!left.contains("jane") && left.contains(r#""logprobs":[]"#), "{left}");

    // And in a whole answer.
    let tokens = MAIL.map(token);
    let body =
        json!({"choices": [{"message": {"content": "x"}, "logprobs": {"content": tokens}}]}).to_string();
    let pack = mail_pack();
    let masked = judge(&pack, &body).body.unwrap().into_owned();
    assert_eq!(masked, r#"{"choices":[{"logprobs":null,"message":{"content":"x"}}]}"#);
}

#[test]
fn log_probabilities_in_which_nothing_is_found_stay() {
    let event = json!({"choices": [{"index": 0, "delta": {"content": "hello"}, "logprobs": {"content": [
        {"token": "hello", "logprob": -1.192_092_895_507_812_5e-7, "bytes": [104, 101], "top_logprobs": [{"token": "hi", "logprob": -9.5, "bytes": [104]}]}]}}]})
    .to_string();
    let pack = pack("pii-detector", PII);
    let passed = pass(&pack, CHAT, std::slice::from_ref(&event));
    assert_eq!((passed.events, passed.report.findings), (vec![event], vec![]));
}

#[test]
fn numbers_in_the_place_of_a_text_are_read() {
    let pack = pack("pii-detector", PII);
    for body in [
        r#"{"choices":[{"message":{"content":4111111111111111}}]}"#,
        r#"{"choices":[{"message":{"tool_calls":[{"function":{"arguments":{"user":4111111111111111}}}]}}]}"#,
        r#"{"choices":[{"delta":{"content":4111111111111111}}]}"#,
    ] {
        assert!(!judge(&pack, body).body.unwrap().contains("4111"), "{body}");
        let passed = pass(&pack, CHAT, &[body.to_owned()]);
        assert!(!passed.events[0].contains("4111"), "{body}");
    }
}

#[test]
fn a_key_that_may_be_a_text_is_not_spelled_in_records() {
    let passed =
        spelled(CHAT, |_, piece| json!({"choices": [{"index": 0, "delta": {"John Doe 77": {"b": piece}}}]}));
    tells_nothing(&passed);
    assert_eq!(&*passed.report.findings[0].place.pointer, "/choices/0/message/#/#");
}

#[test]
fn white_space_before_a_document_and_behind_it_does_not_hide_it() {
    let pack = mail_pack();
    let text = format!("\n\n \t{{\"a\":\"jane.r\\u006fe@example.com\",\"b\":\"{}\"}}", "w ".repeat(300));
    for lengths in [&[1][..], &[70], &[10_000]] {
        let left = text_of(&pass(&pack, CHAT, &cut(&text, lengths)).events);
        assert!(!left.contains("jane"), "{left}");
    }
}

#[test]
fn long_runs_and_texts_without_spaces_are_masked() {
    let pack = pack(
        "pii-detector, dlp-filter",
        "policy:\n  pii-detector: {entities: all}\n  dlp-filter: {builtin: all}\n",
    );
    let token = "dapi0a1b2c3d4e5f60718293a4b5c6d7e8f9";
    for filler in ["x".repeat(9000), "数据".repeat(2000), "- ".repeat(3000), "🙂".repeat(1000)] {
        for shift in 0..3 {
            let text = format!("{filler}{} {token} {filler}", "y".repeat(shift));
            for lengths in [&[50][..], &[10_000_000]] {
                let passed = pass(&pack, CHAT, &cut(&text, lengths));
                let left = text_of(&passed.events);
                assert!(!left.contains("dapi0a1b"), "{shift} {lengths:?}");
                assert_eq!(passed.stopped, None);
            }
        }
    }
}
