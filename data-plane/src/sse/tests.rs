use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;

fn events_of(pieces: &[&[u8]]) -> Vec<String> {
    let mut splitter = Splitter::new(1024);
    let mut events = Vec::new();
    for piece in pieces {
        splitter
            .push(piece, |data| {
                events.push(String::from_utf8_lossy(data).into_owned());
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    events
}

#[test]
fn events_are_found_with_any_line_end() {
    for end in ["\n", "\r\n", "\r"] {
        let stream = format!(
            ": comment{end}data: a{end}{end}event: x{end}data:b{end}data: c{end}{end}datax: d{end}{end}"
        );
        assert_eq!(events_of(&[stream.as_bytes()]), ["a", "b\nc"], "{end:?}");
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(events_of(&bytes), ["a", "b\nc"], "{end:?}");
    }
}

#[test]
fn an_event_without_its_empty_line_is_not_complete() {
    let mut splitter = Splitter::new(1024);
    splitter.push(b"data: a\n", |_| panic!("not complete")).unwrap();
    assert!(splitter.is_inside_event());
}

#[test]
fn between_events_is_where_no_line_has_begun() {
    for (bytes, expected) in [
        ("", true),
        ("data: a\n\n", true),
        (": comment\n", true),
        ("data: a\n", false),
        ("dat", false),
        ("data: a\r\r", false),
        ("data: a\r\n\r\n", true),
    ] {
        let mut splitter = Splitter::new(1024);
        splitter.push(bytes.as_bytes(), |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(splitter.is_between_events(), expected, "{bytes:?}");
    }
}

#[test]
fn an_endless_event_is_refused() {
    let mut splitter = Splitter::new(100);
    let nothing = |_: &[u8]| ControlFlow::Continue(());
    assert_eq!(splitter.push(&[b'a'; 101], nothing), Err(EventTooLarge));
    let mut splitter = Splitter::new(100);
    let results: Vec<_> = (0..60).map(|_| splitter.push(b"data: a\n", nothing)).collect();
    assert!(results.contains(&Err(EventTooLarge)));
}

fn passed_on(frame: &str, is_first: bool) -> String {
    String::from_utf8(without_texts(bytes::Bytes::copy_from_slice(frame.as_bytes()), is_first).to_vec())
        .unwrap()
}

#[test]
fn of_the_other_lines_of_an_event_only_names_and_numbers_are_passed_on() {
    for kept in [
        "data: {\"a\":1}\n\n",
        "event: response.output_text.delta\r\ndata: x\r\n\r\n",
        "id: 7\nretry: 3000\nevent: message\ndata:x\n\n",
        ":\n\n",
        "data\n\n",
        "event\rdata: x\r\r",
    ] {
        assert_eq!(passed_on(kept, false), kept);
    }
    for (frame, left) in [
        (": write to jane.roe@example.com\n\n", ":\n\n"),
        (": a\r\n: b\r\ndata: x\r\n\r\n", ":\r\n:\r\ndata: x\r\n\r\n"),
        ("event: Jane Roe\ndata: x\n\n", "data: x\n\n"),
        ("id: dapi0a1b2c3d4e5f\ndata: x\n\n", "data: x\n\n"),
        ("id: 4111111111111111\ndata: x\n\n", "data: x\n\n"),
        ("note: jane\ndatax: jane\njane\ndata: x\n\n", "data: x\n\n"),
        ("\u{feff}data: jane\ndata: x\n\n", "data: x\n\n"),
    ] {
        assert_eq!(passed_on(frame, false), left, "{frame:?}");
    }
    assert_eq!(passed_on("\u{feff}data: x\n\n", true), "\u{feff}data: x\n\n");
}

#[test]
fn an_event_has_ended_where_an_empty_line_follows_it() {
    for (bytes, expected) in [
        ("", true),
        ("data: x\n\n", true),
        ("data: x\r\n\r\n", true),
        ("data: x\r\r", true),
        ("data: x", false),
        ("data: x\n", false),
        ("data: x\r\n", false),
    ] {
        assert_eq!(is_ended(bytes.as_bytes()), expected, "{bytes:?}");
    }
}

fn meter_of(events: &[&str]) -> Meter {
    let mut meter = Meter::default();
    for event in events {
        meter.event(event.as_bytes());
    }
    meter
}

#[test]
fn cumulative_usage_is_not_summed() {
    let meter = meter_of(&[
        r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}],"usage":{"prompt_tokens":30,"completion_tokens":1,"total_tokens":31}}"#,
        r#"{"choices":[{"delta":{"content":"b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":30,"completion_tokens":2,"total_tokens":32}}"#,
    ]);
    assert_eq!(
        (meter.usage().input, meter.usage().output, meter.usage().total),
        (Some(30), Some(2), Some(32))
    );
    assert!(meter.is_complete());
    assert!(!meter.is_done());
}

#[test]
fn usage_of_nulls_is_no_usage_and_keeps_what_was_known() {
    let meter = meter_of(&[
        r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":null,"total_tokens":null}}"#,
        r#"{"choices":[],"usage":null}"#,
        r#"{"choices":null}"#,
        "[DONE]",
    ]);
    assert_eq!(meter.usage().input, Some(5));
    assert_eq!(meter.usage().output, None);
    assert!(meter.is_done());
}

#[test]
fn failures_inside_a_stream_are_seen() {
    for event in [
        r#"{"error":{"message":"x"}}"#,
        r#"{"delta":{},"databricks_output":{"error":{"error_code":"BAD_REQUEST","message":"TimeoutException: x"}}}"#,
        r#"{"type":"response.failed","response":{"error":{"code":"x"}}}"#,
    ] {
        assert!(meter_of(&[event]).has_failed(), "{event}");
    }
    assert!(!meter_of(&[r#"{"error":null,"choices":[]}"#]).has_failed());
}

#[test]
fn the_responses_api_ends_with_its_own_event() {
    let meter = meter_of(&[
        r#"{"type":"response.created","response":{"usage":null}}"#,
        r#"{"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}}"#,
    ]);
    assert!(meter.is_done());
    assert_eq!(meter.usage().total, Some(3));
}

proptest! {
    #[test]
    fn events_do_not_depend_on_where_the_bytes_are_cut(
        bytes in prop::collection::vec(prop_oneof![
            prop::sample::select(b"\r\n: data\xc3\xa4[]{}".to_vec()),
            any::<u8>(),
        ], 0..300),
        cuts in prop::collection::vec(1_usize..20, 1..10),
    ) {
        let whole = events_of(&[&bytes]);
        let mut pieces = Vec::new();
        let mut rest = bytes.as_slice();
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        prop_assert_eq!(whole, events_of(&pieces));
    }

    /// However an event is written, its data is what is given, and a text is nowhere else.
    #[test]
    fn data_is_replaced_and_nothing_else_is_added(
        lines in prop::collection::vec("(data: ?[a-z]{0,4}|: ?secret|id: ?[0-9s]{0,9}|event: ?[a-z.S]{0,9}|secret|data)", 0..6),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        data in "[a-z\n]{0,12}",
    ) {
        let frame: String = lines.iter().map(|line| format!("{line}{end}")).collect::<String>() + end;
        let clean = passed_on(&frame, false);
        prop_assert!(!clean.contains("secret"), "{}", clean);
        prop_assert_eq!(events_of(&[clean.as_bytes()]), events_of(&[frame.as_bytes()]));
        let mut out = Vec::new();
        with_data(clean.as_bytes(), &data, &mut out);
        let expected = if events_of(&[clean.as_bytes()]).is_empty() { vec![] } else { vec![data] };
        prop_assert_eq!(events_of(&[&out]), expected);
    }

    #[test]
    fn the_meter_takes_anything(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut meter = Meter::default();
        meter.event(&data);
    }
}
