use super::*;

fn texts(endpoint: Endpoint, form: Form, body: &str) -> Vec<String> {
    let answer = Answer::parse(endpoint, form, body, Limits::default()).unwrap();
    let inspected = answer.inspected();
    let streamed: Vec<usize> = answer.streamed.iter().map(|streamed| streamed.field).collect();
    inspected
        .fields
        .iter()
        .enumerate()
        .filter(|(index, _)| !streamed.contains(index))
        .map(|(_, field)| field.text.to_string())
        .collect()
}

fn channels(endpoint: Endpoint, event: &str) -> Vec<(String, String)> {
    let mut answer = Answer::parse(endpoint, Form::Event, event, Limits::default()).unwrap();
    answer.take_streamed().into_iter().map(|taken| (taken.channel.pointer, taken.text.into_owned())).collect()
}

#[test]
fn every_text_of_a_chat_answer_is_read_and_no_word_of_the_protocol() {
    let body = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1764000000,"model":"m","choices":[
        {"index":0,"message":{"role":"assistant","content":"one","reasoning_content":"two","refusal":"three",
         "tool_calls":[{"id":"call_1","type":"function","function":{"name":"four","arguments":"{\"a\":\"five\"}"}}],
         "audio":{"id":"a","data":"UklGRg==","transcript":"six","expires_at":1},"mood":"seven"},
         "finish_reason":"stop","logprobs":null,"extra":{"eight":"nine"}}],
        "usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3},"note":10}"#;
    assert_eq!(
        texts(Endpoint::ChatCompletions, Form::Whole, body),
        [
            "one",
            "two",
            "three",
            "four",
            r#"{"a":"five"}"#,
            "six",
            "mood",
            "seven",
            "extra",
            "eight",
            "nine",
            "note",
            "10"
        ]
    );
}

#[test]
fn parts_of_databricks_models_are_read() {
    let body = r#"{"choices":[{"message":{"role":"assistant","content":[
        {"type":"reasoning","summary":[{"type":"summary_text","text":"one","signature":"c2ln"}]},
        {"type":"text","text":"two"}]}}]}"#;
    assert_eq!(texts(Endpoint::ChatCompletions, Form::Whole, body), ["one", "two"]);
}

#[test]
fn every_text_of_a_response_is_read() {
    let body = r#"{"id":"resp_1","object":"response","status":"completed","output":[
        {"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"one"}],"encrypted_content":"x"},
        {"id":"msg_1","type":"message","role":"assistant","content":[{"type":"output_text","text":"two","annotations":[]}]},
        {"id":"fc_1","type":"function_call","call_id":"c","name":"three","arguments":"{}"},
        {"type":"image_generation_call","result":"aGk="}]}"#;
    assert_eq!(texts(Endpoint::Responses, Form::Whole, body), ["one", "two", "three", "{}"]);
}

#[test]
fn pieces_of_a_stream_name_their_place_in_the_answer() {
    let chat = Endpoint::ChatCompletions;
    let event = r#"{"choices":[{"index":3,"delta":{"role":"assistant","content":"a",
        "tool_calls":[{"index":2,"function":{"arguments":"b"}}]}},{"delta":{"content":[{"type":"text","text":"c"},
        {"type":"reasoning","summary":[{"type":"summary_text","text":"d"}]}]}}]}"#;
    assert_eq!(
        channels(chat, event),
        [
            ("/choices/3/message/content".into(), "a".into()),
            ("/choices/3/message/tool_calls/2/function/arguments".into(), "b".into()),
            ("/choices/1/message/content".into(), "c".into()),
            ("/choices/1/message/content/reasoning/summary/summary_text".into(), "d".into()),
        ] as [(String, String); 4]
    );
    assert_eq!(channels(Endpoint::Completions, r#"{"choices":[{"text":"a"}]}"#)[0].0, "/choices/0/text");
    let event = r#"{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"a"}"#;
    assert_eq!(channels(Endpoint::Responses, event), [("/output/1/content/0/text".into(), "a".into())]);
    let event = r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":"{"}"#;
    assert_eq!(channels(Endpoint::Responses, event), [("/output/2/arguments".into(), "{".into())]);
}

#[test]
fn what_repeats_a_text_is_read_as_a_text_by_itself() {
    let responses = Endpoint::Responses;
    for (event, expected) in [
        (r#"{"type":"response.output_text.done","output_index":0,"text":"one"}"#, "one"),
        (r#"{"type":"response.content_part.done","part":{"type":"output_text","text":"one"}}"#, "one"),
        (r#"{"type":"response.output_item.done","item":{"type":"function_call","arguments":"{}"}}"#, "{}"),
        (
            r#"{"type":"response.completed","response":{"output":[{"type":"message","content":[{"type":"output_text","text":"one"}]}]}}"#,
            "one",
        ),
    ] {
        assert_eq!(texts(responses, Form::Event, event), [expected], "{event}");
    }
}
