//! Positions × endpoints × (block, redact): a canary in every text position of every endpoint is found, and redaction
//! takes it out of what is sent and changes nothing else.

use serde_json::Value;

use super::*;

const CANARY: &str = "canary-7f3a";

/// Bodies in which every `@@` is a text position.
const BODIES: &[(Endpoint, &str)] = &[
    (
        Endpoint::ChatCompletions,
        r#"{"model":"70b","messages":[
            {"role":"system","content":"s @@ s","name":"n @@"},
            {"role":"developer","content":[{"type":"text","text":"d @@ d","cache_control":{"type":"ephemeral","ttl":"@@"}}]},
            {"role":"user","content":"u @@ u"},
            {"role":"user","content":["bare @@ string",{"type":"text","text":"p @@ p"},
                {"type":"image_url","image_url":{"url":"https://pics.example/@@.png","detail":"auto"}},
                {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo=","detail":"@@"}},
                {"type":"image_url","image_url":{"url":"data:text/plain,@@ in the clear"}},
                {"type":"input_audio","input_audio":{"data":"@@ not base64","format":"@@"}},
                {"type":"file","file":{"file_id":"f-@@","filename":"@@.pdf"}},
                {"type":"text @@","other":"o @@"}]},
            {"role":"assistant","content":null,"refusal":"r @@","reasoning_content":"t @@",
                "tool_calls":[
                    {"id":"call-@@","type":"function","function":{"name":"f_@@","arguments":"{\"to\":\"a @@\",\"deep\":[{\"k @@\":1}]}"}},
                    {"id":"c2","type":"custom","custom":{"name":"g","input":"free @@ text"}}]},
            {"role":"assistant","content":[{"type":"reasoning","summary":[{"type":"summary_text","text":"th @@","signature":"sig@@"}]},
                {"type":"refusal","refusal":"no @@"},{"type":"text","text":"ok @@"}],
                "function_call":{"name":"old_@@","arguments":"not json @@"}},
            {"role":"tool","tool_call_id":"call-@@","content":"{\"rows\":[[\"x @@\"]]}"},
            {"role":"tool","tool_call_id":"c3","content":[{"type":"text","text":"res @@"},
                {"type":"tool_result","tool_use_id":"@@","content":[{"type":"text","text":"@@"}]}]},
            {"role":"function","name":"old","content":"old @@"},
            {"role":"user","content":{"not":"the @@ protocol"},"unknown":{"a":["b @@"],"k@@":true}}],
          "tools":[{"type":"function","function":{"name":"t_@@","description":"does @@","parameters":{"type":"object",
                "properties":{"p_@@":{"type":"string","description":"pd @@","enum":["e @@"],"default":"df @@"}},"required":["@@"]}}}],
          "functions":[{"name":"legacy_@@","description":"l @@"}],
          "tool_choice":{"type":"function","function":{"name":"t_@@"}},
          "response_format":{"type":"json_schema","json_schema":{"name":"s@@","schema":{"title":"@@","properties":{"@@":{}}}}},
          "metadata":{"m":"v @@","@@":"v"},"user":"u-@@","stop":["stop @@","x"],"prediction":{"type":"content","content":"pred @@"},
          "usage_context":{"tag":"@@"},"extra_params":{"x":"@@"},"client_request_id":"id-@@","safety_identifier":"@@",
          "web_search_options":{"user_location":{"city":"@@"}},"audio":{"voice":"@@","format":"wav"},
          "temperature":"@@","logit_bias":{"@@":1},"reasoning_effort":"@@","stream_options":{"odd":"@@"},
          "future_field":"@@","future_object":{"list":[{"x":{"y":"@@"}}]},"key @@":null}"#,
    ),
    (
        Endpoint::Completions,
        r#"{"model":"complete","prompt":["one @@","two @@"],"suffix":"suf @@","stop":"@@","user":"@@","metadata":{"a":"@@"},
            "n":1,"future":["@@"]}"#,
    ),
    (Endpoint::Completions, r#"{"model":"complete","prompt":"only @@"}"#),
    (
        Endpoint::Embeddings,
        r#"{"model":"embed","input":["one @@","{\"json\":\"@@\"}"],"instruction":"in @@","user":"@@","encoding_format":"@@","x":"@@"}"#,
    ),
    (Endpoint::Embeddings, r#"{"model":"embed","input":"only @@"}"#),
    (Endpoint::Responses, r#"{"model":"70b","input":"text @@","instructions":"ins @@"}"#),
    (
        Endpoint::Responses,
        r#"{"model":"70b","instructions":[{"role":"developer","content":"@@"}],"input":["bare @@",
            {"role":"user","content":"u @@"},
            {"type":"message","role":"assistant","id":"m@@","status":"completed","content":[{"type":"output_text","text":"o @@",
                "annotations":[{"type":"url_citation","url":"https://@@","title":"@@"}]}]},
            {"type":"message","role":"user","content":[{"type":"input_text","text":"i @@"},
                {"type":"input_image","image_url":"https://@@/x.png","detail":"low"},
                {"type":"input_file","filename":"@@","file_url":"https://@@"}]},
            {"type":"function_call","call_id":"@@","name":"f@@","arguments":"{\"a\":\"@@\"}"},
            {"type":"function_call_output","call_id":"@@","output":"out @@"},
            {"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"part @@"}],"more":"@@"},
            {"type":"custom_tool_call","name":"n","input":"raw @@"},
            {"type":"custom_tool_call_output","call_id":"c","output":"raw @@"},
            {"type":"reasoning","summary":[{"type":"summary_text","text":"@@"}],"content":[{"type":"reasoning_text","text":"@@"}],
                "encrypted_content":"@@"},
            {"type":"file_search_call","queries":["q @@"],"results":[{"text":"hit @@","filename":"@@"}]},
            {"type":"code_interpreter_call","code":"print('@@')","outputs":[{"type":"logs","logs":"@@"}]},
            {"type":"image_generation_call","result":"@@ no base64","revised_prompt":"@@"},
            {"type":"mcp_call","server_label":"@@","name":"x","arguments":"{\"q\":\"@@\"}","output":"mcp @@"},
            {"type":"mcp_list_tools","server_label":"l","tools":[{"name":"@@","description":"@@","input_schema":{"@@":1}}]},
            {"type":"item_reference","id":"@@"},
            {"type":"brand_new_item","payload":{"deep":["@@"]}},
            {"type":"brand @@ new"}],
          "tools":[{"type":"function","name":"t@@","description":"@@","parameters":{"properties":{"@@":{"description":"@@"}}}},
            {"type":"mcp","server_label":"@@","server_url":"https://@@","headers":{"X":"@@"}}],
          "text":{"format":{"type":"json_schema","name":"@@","schema":{"description":"@@"}}},
          "prompt":{"id":"@@","variables":{"v":"@@"}},"previous_response_id":"@@","metadata":{"k":"@@"},"user":"@@",
          "prompt_cache_key":"@@","reasoning":{"effort":"low","summary":"@@"},"include":["@@"],"surprise":{"@@":"@@"}}"#,
    ),
];

/// Each body with the canary in one position (written as `written`), and all other positions filled.
fn cases(written: &str) -> Vec<(Endpoint, String, usize)> {
    let mut cases = Vec::new();
    for (endpoint, template) in BODIES {
        let parts: Vec<&str> = template.split("@@").collect();
        for position in 1..parts.len() {
            let mut text = parts[0].to_owned();
            for (at, part) in parts.iter().enumerate().skip(1) {
                if at == position {
                    text.push_str(written);
                } else {
                    text.push('w');
                    text.push_str(&at.to_string());
                }
                text.push_str(part);
            }
            cases.push((*endpoint, text, position));
        }
    }
    cases
}

fn finder(verdict: Verdict) -> CompiledPack {
    pack(vec![Words::new(PolicyKind::DlpFilter).word("CANARY", CANARY, verdict).entry(), audit()])
}

#[test]
fn the_table_has_every_position_that_the_page_names() {
    assert!(cases("x").len() > 120, "{}", cases("x").len());
}

#[test]
fn a_canary_in_any_position_blocks_and_the_place_is_named() {
    let pack = finder(Verdict::Block);
    for (endpoint, body, position) in cases(CANARY) {
        let judgement = judge(&pack, endpoint, &body, &caller(&[]));
        let refusal = judgement.refusal.unwrap_or_else(|| panic!("{endpoint:?} position {position}: {body}"));
        assert_eq!((refusal.status, refusal.code), (409, "input_blocked"));
        let param = refusal.param.expect("a place");
        assert!(!param.contains(CANARY), "{param}");
        assert!(!refusal.message.contains(CANARY), "{}", refusal.message);
    }
}

#[test]
fn redaction_takes_the_canary_out_of_any_position_and_changes_nothing_else() {
    let pack = finder(Verdict::Redact);
    for (endpoint, body, position) in cases(CANARY) {
        let judgement = judge(&pack, endpoint, &body, &caller(&[]));
        assert_eq!(judgement.verdict, Verdict::Redact, "{endpoint:?} position {position}");
        let sent = sent(&pack, &judgement, &body);
        serde_json::from_str::<Value>(&sent).expect("JSON");
        assert!(!sent.contains(CANARY), "{sent}");
        // With the marker undone it is the body, byte for byte; one position means one marker.
        assert_eq!(sent.replace("<CANARY>", CANARY), body, "{endpoint:?} position {position}");
    }
}

#[test]
fn escapes_do_not_hide_a_canary() {
    let pack = finder(Verdict::Redact);
    for (endpoint, body, position) in cases("\\u0063anary\\u002d7f3a") {
        let judgement = judge(&pack, endpoint, &body, &caller(&[]));
        assert_eq!(judgement.verdict, Verdict::Redact, "{endpoint:?} position {position}: {body}");
        let sent = sent(&pack, &judgement, &body);
        let value = serde_json::from_str::<Value>(&sent).expect("JSON").to_string();
        assert!(!value.contains(CANARY) && !sent.contains("\\u0063anary"), "{sent}");
    }
}

#[test]
fn escapes_inside_json_inside_a_string_do_not_hide_a_canary() {
    let pack = finder(Verdict::Redact);
    let body = body("70b", r#","metadata":{"a":"{\"x\":\"\\u0063anary-7f3a\",\"n\":1}"}"#);
    let judgement = chat(&pack, &body, &caller(&[]));
    assert!(
        sent(&pack, &judgement, &body).contains(r#""a":"{\"x\":\"<CANARY>\",\"n\":1}""#),
        "{}",
        sent(&pack, &judgement, &body)
    );
}

#[test]
fn a_number_where_the_protocol_knows_none_is_text() {
    let pack = pack(vec![Words::new(PolicyKind::PiiDetector).word("CARD", "4111", Verdict::Redact).entry()]);
    let body = body("70b", r#","metadata":{"card":4111222233334444},"temperature":0.4111,"future":[4111]"#);
    let judgement = chat(&pack, &body, &caller(&[]));
    let sent = sent(&pack, &judgement, &body);
    assert!(
        sent.ends_with(r#""metadata":{"card":"<CARD>"},"temperature":0.4111,"future":["<CARD>"]}"#),
        "{sent}"
    );
}

#[test]
fn words_of_the_protocol_are_no_text() {
    let words = ["user", "system", "function", "text", "content", "object", "model", "role"];
    let mut detector = Words::new(PolicyKind::DlpFilter);
    for word in words {
        detector = detector.word(word, word, Verdict::Block);
    }
    let pack = pack(vec![detector.entry()]);
    let body = r#"{"model":"70b","messages":[{"role":"system","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}]}],
        "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}]}"#;
    assert_eq!(chat(&pack, body, &caller(&[])).verdict, Verdict::Allow);
}

#[test]
fn base64_of_attachments_is_not_scanned_but_recorded() {
    let data = "QUJD".repeat(40);
    let pack = pack(vec![Words::new(PolicyKind::DlpFilter).word("X", "QUJD", Verdict::Block).entry()]);
    let body = format!(
        r#"{{"model":"70b","messages":[{{"role":"user","content":[
            {{"type":"image_url","image_url":{{"url":"data:image/PNG;base64,{data}"}}}},
            {{"type":"input_audio","input_audio":{{"data":"{data}","format":"wav"}}}},
            {{"type":"file","file":{{"file_data":"data:application/pdf;base64,{data}","filename":"a.pdf"}}}},
            {{"type":"image_url","image_url":{{"url":"https://pics.example/a.png"}}}}]}}]}}"#
    );
    let judgement = chat(&pack, &body, &caller(&[]));
    assert_eq!(judgement.verdict, Verdict::Allow);
    let expected = [("application/pdf", 1), ("audio/wav", 1), ("image/*", 1), ("image/png", 1)];
    assert_eq!(judgement.not_inspected, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
}
