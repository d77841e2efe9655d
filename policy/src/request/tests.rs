use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parse(endpoint: Endpoint, body: &str) -> Result<Request<'_>, RequestError> {
    Request::parse(endpoint, body.as_bytes(), &Limits::default())
}

fn chat(body: &str) -> Request<'_> {
    parse(Endpoint::ChatCompletions, body).expect("a request")
}

fn texts<'r>(request: &'r Request<'_>) -> Vec<(&'r str, FieldKind, Origin)> {
    request.fields().iter().map(|field| (&*field.text, field.kind, field.origin)).collect()
}

#[test]
fn what_decisions_need_is_read() {
    let request = chat(
        r#"{"model":"m\u0031","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true},
            "n":3,"max_tokens":10,"max_completion_tokens":20,"client_request_id":"x",
            "tools":[{"type":"function","function":{"name":"f"}},{"type":"mcp","server_label":"s"}]}"#,
    );
    assert_eq!(request.model(), "m1");
    assert!(request.stream() && request.names_include_usage() && request.names_client_request_id());
    assert_eq!((request.choices(), request.answers(), request.max_tokens()), (3, 3, Some(20)));
    let tools: Vec<_> = request.tools().iter().map(|tool| &*tool.name).collect();
    assert_eq!(tools, ["f", "mcp:s"]);
}

#[test]
fn every_name_that_a_reader_may_take_for_a_tool_is_noted() {
    let names = |tools: &str| {
        let body =
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"tools":[{tools}]}}"#);
        chat(&body).tools().iter().map(|tool| tool.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(r#"{"type":"function","function":{"name":"a"},"name":"b"}"#), ["a", "b"]);
    assert_eq!(names(r#"{"type":"function","function":{"name":"a"},"name":"a"}"#), ["a"]);
    assert_eq!(names(r#"{"type":"web_search","function":{"name":"a"}}"#), ["a", "web_search"]);
    assert_eq!(names(r#"{"type":"mcp","server_label":"s","custom":{"name":"a"}}"#), ["a", "mcp:s"]);
    assert_eq!(names(r#"{"type":"function"}"#), [""]);
}

#[test]
fn tools_that_are_no_list_of_objects_are_refused() {
    for (member, param) in [
        (r#""tools":{"type":"function","function":{"name":"f"}}"#, "tools"),
        (r#""tools":"f""#, "tools"),
        (r#""functions":{"name":"f"}"#, "functions"),
        (r#""tools":[{"type":"function","function":{"name":"f"}},"g"]"#, "tools[1]"),
        (r#""extra_params":{"tools":{"name":"f"}}"#, "extra_params.tools"),
        (r#""tools":[{"type":"namespace","tools":{"name":"f"}}]"#, "tools[0].tools"),
    ] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{member}}}"#);
        let error = parse(Endpoint::ChatCompletions, &body).unwrap_err();
        assert_eq!((error.code(), error.param.as_deref()), ("invalid_type", Some(param)), "{body}");
    }
    assert!(
        chat(r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"tools":null}"#).tools().is_empty()
    );
}

#[test]
fn what_is_passed_on_counts_like_what_stands_at_the_top() {
    let request = chat(
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"extra_params":{"n":"3","max_tokens":7,"tools":[{"name":"f"}]}}"#,
    );
    assert_eq!((request.choices(), request.max_tokens()), (3, Some(7)));
    assert_eq!(request.tools().iter().map(|tool| &*tool.name).collect::<Vec<_>>(), ["f"]);
    let other =
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"extra_params":{"model":"other"}}"#;
    let error = parse(Endpoint::ChatCompletions, other).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("extra_params.model"));
}

#[test]
fn null_is_absent() {
    let request = chat(
        r#"{"model":"m","messages":[{"role":"user","content":null}],"stream":null,"n":null,"max_tokens":null,"stream_options":null}"#,
    );
    assert!(!request.stream() && !request.names_include_usage());
    assert_eq!((request.choices(), request.max_tokens()), (1, None));
}

#[test]
fn prompts_count_as_answers() {
    let request = parse(Endpoint::Completions, r#"{"model":"m","prompt":["a","b","c"],"n":2,"best_of":4}"#);
    assert_eq!(request.expect("a request").answers(), 12);
}

#[test]
fn refusals_name_the_param() {
    use Endpoint::{ChatCompletions, Completions, Embeddings, Responses};
    let cases = [
        (ChatCompletions, "[]", "invalid_type", "the body must be a JSON object"),
        (
            ChatCompletions,
            "{",
            "invalid_json",
            "the body is not acceptable JSON: the text ends inside a value at byte 1",
        ),
        (
            ChatCompletions,
            r#"{"model":"a","model":"b"}"#,
            "duplicate_key",
            "the body is not acceptable JSON: duplicate key in an object at byte 13",
        ),
        (ChatCompletions, "{}", "missing_required_parameter", "`model` is required"),
        (ChatCompletions, r#"{"model":1}"#, "invalid_type", "`model` must be a string"),
        (ChatCompletions, r#"{"model":""}"#, "invalid_value", "`model` must be the name of a model"),
        (ChatCompletions, r#"{"model":"m"}"#, "missing_required_parameter", "`messages` is required"),
        (ChatCompletions, r#"{"model":"m","messages":{}}"#, "invalid_type", "`messages` must be a list"),
        (
            ChatCompletions,
            r#"{"model":"m","messages":[]}"#,
            "invalid_value",
            "`messages` must be a list with at least one message",
        ),
        (
            ChatCompletions,
            r#"{"model":"m","messages":["x"]}"#,
            "invalid_type",
            "`messages[0]` must be an object",
        ),
        (
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user"},{}]}"#,
            "missing_required_parameter",
            "`messages[1].role` is required",
        ),
        (
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"Jo"}]}"#,
            "invalid_value",
            "`messages[0].role` must be one of system, developer, user, assistant, tool",
        ),
        (
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user"}],"stream":"yes"}"#,
            "invalid_type",
            "`stream` must be true or false",
        ),
        (
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user"}],"n":0}"#,
            "invalid_value",
            "`n` must be a positive integer",
        ),
        (
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":-1}"#,
            "invalid_value",
            "`max_tokens` must be a positive integer",
        ),
        (
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":1e3}"#,
            "invalid_value",
            "`max_tokens` must be a positive integer",
        ),
        (
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user"}],"max_completion_tokens":"9"}"#,
            "invalid_type",
            "`max_completion_tokens` must be a positive integer",
        ),
        (
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user"}],"extra_params":{"max_tokens":"lots"}}"#,
            "invalid_value",
            "`extra_params.max_tokens` must be a positive integer",
        ),
        (
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user"}],"stream_options":1}"#,
            "invalid_type",
            "`stream_options` must be an object",
        ),
        (Completions, r#"{"model":"m"}"#, "missing_required_parameter", "`prompt` is required"),
        (
            Completions,
            r#"{"model":"m","prompt":{"a":1}}"#,
            "invalid_value",
            "`prompt` must be a string or a list of strings",
        ),
        (Embeddings, r#"{"model":"m"}"#, "missing_required_parameter", "`input` is required"),
        (
            Embeddings,
            r#"{"model":"m","input":[["a"]]}"#,
            "invalid_value",
            "`input` must be a string or a list of strings",
        ),
        (
            Responses,
            r#"{"model":"m","input":7}"#,
            "invalid_value",
            "`input` must be a string or a list of items",
        ),
        (
            Responses,
            r#"{"model":"m","input":[{"role":"boss","content":"x"}]}"#,
            "invalid_value",
            "`input[0].role` must be one of system, developer, user, assistant, tool",
        ),
    ];
    for (endpoint, body, code, message) in cases {
        let error = parse(endpoint, body).expect_err("must be refused");
        assert_eq!((error.code(), error.to_string().as_str()), (code, message), "{body}");
    }
}

#[test]
fn origins_follow_roles_and_parts() {
    let request = chat(
        r#"{"model":"m","messages":[
            {"role":"system","content":"s"},{"role":"developer","content":"d"},{"role":"user","content":"u","name":"n"},
            {"role":"assistant","content":"a","refusal":"r","reasoning_content":"t",
             "tool_calls":[{"id":"i","function":{"name":"f","arguments":"x"}}]},
            {"role":"tool","tool_call_id":"i","content":[{"type":"text","text":"res"}]}],
            "tools":[{"function":{"name":"f","description":"desc"}}]}"#,
    );
    use FieldKind::{
        Content, Identifier, Name, Reasoning, Refusal, ToolArguments, ToolDefinition, ToolResult,
    };
    assert_eq!(
        texts(&request),
        [
            ("s", Content, Origin::Operator),
            ("d", Content, Origin::Operator),
            ("u", Content, Origin::User),
            ("n", Name, Origin::Other),
            ("a", Content, Origin::Assistant),
            ("r", Refusal, Origin::Assistant),
            ("t", Reasoning, Origin::Assistant),
            ("i", Identifier, Origin::Assistant),
            ("f", ToolArguments, Origin::Assistant),
            ("x", ToolArguments, Origin::Assistant),
            ("i", Identifier, Origin::Other),
            ("res", ToolResult, Origin::Data),
            ("f", ToolDefinition, Origin::Operator),
            ("desc", ToolDefinition, Origin::Operator),
        ]
    );
}

#[test]
fn every_kind_of_field_is_met() {
    let bodies = [
        (
            Endpoint::ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"http://x"}}],"name":"x"},
                {"role":"assistant","refusal":"x","reasoning_content":"x","tool_calls":[{"id":"x","function":{"arguments":"x"}}]},
                {"role":"tool","content":"x"}],"tools":[{"function":{"name":"x"}}],"metadata":{"unknown key":"x"},"stop":"x",
                "response_format":{"json_schema":{"name":"x"}},"future":"x"}"#,
        ),
        (Endpoint::Completions, r#"{"model":"m","prompt":"x"}"#),
        (Endpoint::Embeddings, r#"{"model":"m","input":"x"}"#),
        (Endpoint::Responses, r#"{"model":"m","input":"x","instructions":"x"}"#),
    ];
    let kinds: HashSet<FieldKind> = bodies
        .iter()
        .flat_map(|(endpoint, body)| {
            let request = parse(*endpoint, body).expect("a request");
            request.fields().iter().map(|field| field.kind).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(kinds.len(), 17);
}

#[test]
fn base64_that_is_said_to_be_text_is_text() {
    let text = "c2VjcmV0".repeat(20);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": text}}]}]})
    .to_string();
    let request = chat(&body);
    assert_eq!(request.fields().iter().filter(|field| *field.text == *text).count(), 1);
    let types: Vec<_> = request.attachments().iter().map(|attachment| &*attachment.media_type).collect();
    assert_eq!(types, ["*/*", "application/pdf"]);
}

#[test]
fn short_data_is_text_whatever_it_looks_like() {
    let token = "dapi0123456789abcdef0123456789abcdef";
    let body = json!({"model": "m", "messages": [{"role": "user", "content": [
        {"type": "input_audio", "input_audio": {"data": token, "format": "wav"}}]}]})
    .to_string();
    assert!(chat(&body).fields().iter().any(|field| field.text == token));
}

#[test]
fn the_estimate_of_the_input_grows_with_the_text() {
    let tokens = |text: &str| {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": text}]}).to_string();
        chat(&body).estimated_input_tokens()
    };
    assert_eq!(tokens("twelve bytes"), 3 + 4);
    assert_eq!(tokens("日本語"), 3 + 4);
}

/// Any JSON under any key, also under the keys of the protocol.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!("needle-1f")),
        Just(json!("user")),
        Just(json!(7_777_001)),
        Just(json!(true)),
        Just(Value::Null),
        "[a-z]{0,4}".prop_map(Value::String),
    ];
    let keys = prop_oneof![
        Just("content"),
        Just("text"),
        Just("type"),
        Just("role"),
        Just("name"),
        Just("tools"),
        Just("function"),
        Just("arguments"),
        Just("tool_calls"),
        Just("image_url"),
        Just("url"),
        Just("data"),
        Just("detail"),
        Just("input"),
        Just("output"),
        Just("metadata"),
        Just("stop"),
        Just("temperature"),
        Just("parameters"),
        Just("logit_bias"),
        Just("unknown"),
        Just("response_format"),
        Just("user"),
        Just("summary"),
        Just("result"),
        Just("file_data"),
        Just("prediction"),
        Just("extra_params"),
        Just("web_search_options"),
        Just("needle-1f"),
    ];
    let types = prop_oneof![
        Just("text"),
        Just("image_url"),
        Just("input_audio"),
        Just("file"),
        Just("reasoning"),
        Just("tool_use"),
        Just("tool_result"),
        Just("function_call"),
        Just("function_call_output"),
        Just("image_generation_call"),
        Just("mcp_list_tools"),
        Just("brand_new"),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            (prop::option::of(types.clone()), prop::collection::vec((keys.clone(), inner), 0..6)).prop_map(
                |(part_type, members)| {
                    let mut object: serde_json::Map<String, Value> =
                        members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
                    if let Some(part_type) = part_type {
                        object.insert("type".to_owned(), json!(part_type));
                    }
                    Value::Object(object)
                }
            ),
        ]
    })
}

/// How often the needle stands anywhere in a body, as a string, a key or (where there is no known number) a number.
fn needles(value: &Value) -> usize {
    match value {
        Value::String(text) => usize::from(text == "needle-1f"),
        Value::Array(items) => items.iter().map(needles).sum(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| usize::from(key == "needle-1f") + needles(value)).sum()
        }
        _ => 0,
    }
}

proptest! {
    #[test]
    fn no_string_and_no_unknown_key_is_ever_dropped(
        content in anything(), part in anything(), member in anything(), top in anything(), which in 0..4_u8,
    ) {
        let (endpoint, body) = match which {
            0 => (Endpoint::ChatCompletions, json!({"model": "m", "messages": [
                {"role": "user", "content": content, "extra": member},
                {"role": "assistant", "content": [part.clone()], "tool_calls": part}], "top": top, "prediction": member})),
            1 => (Endpoint::Responses, json!({"model": "m", "input": [content, part, {"type": "message", "role": "user",
                "content": member}], "instructions": top, "text": member})),
            2 => (Endpoint::Completions, json!({"model": "m", "prompt": "p", "suffix": content, "tools": part, "stop": member, "top": top})),
            _ => (Endpoint::Embeddings, json!({"model": "m", "input": "i", "instruction": content, "logit_bias": part, "user": top, "x": member})),
        };
        let text = body.to_string();
        // A body may be refused; what is accepted is read in full.
        if let Ok(request) = parse(endpoint, &text) {
            let found = request.fields().iter().filter(|field| field.text == "needle-1f").count();
            prop_assert_eq!(found, needles(&body), "{}", text);
            // In the order of the body, each once.
            let nodes: Vec<_> = request.fields().iter().map(|field| field.node).collect();
            let different: HashSet<_> = nodes.iter().collect();
            prop_assert_eq!(different.len(), nodes.len());
        }
    }

    #[test]
    fn nothing_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), which in 0..4_u8) {
        let endpoint = [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings, Endpoint::Responses];
        let _ = Request::parse(endpoint[which as usize], &bytes, &Limits::default());
    }
}
