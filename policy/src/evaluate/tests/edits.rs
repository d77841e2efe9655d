//! Merging of findings, and the edits that a target asks for.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::edit::EditNote;

fn says(text: &str) -> String {
    format!(r#"{{"model":"70b","messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

fn content(pack: &CompiledPack, text: &str) -> String {
    let body = says(text);
    let judgement = chat(pack, &body, &caller(&[]));
    let sent: Value = serde_json::from_str(&sent(pack, &judgement, &body)).expect("JSON");
    sent["messages"][0]["content"].as_str().expect("a string").to_owned()
}

#[test]
fn overlaps_become_one_span_named_by_the_earliest_in_the_chain() {
    let pii = Words::new(PolicyKind::PiiDetector).word("MAIL", "jo@corp.example", Verdict::Redact);
    let dlp = Words::new(PolicyKind::DlpFilter).word("HOST", "corp.example/secret", Verdict::Redact);
    let one = pack(vec![pii.clone().entry(), dlp.clone().entry()]);
    assert_eq!(content(&one, "to jo@corp.example/secret now"), "to <MAIL> now");
    let other = pack(vec![dlp.entry(), pii.entry()]);
    assert_eq!(content(&other, "to jo@corp.example/secret now"), "to <HOST> now");
}

#[test]
fn overlaps_are_transitive_and_neighbours_stay_apart() {
    let words = Words::new(PolicyKind::DlpFilter)
        .word("A", "abc", Verdict::Redact)
        .word("B", "cde", Verdict::Redact)
        .word("C", "efg", Verdict::Redact)
        .word("D", "hij", Verdict::Redact);
    assert_eq!(content(&pack(vec![words.entry()]), "abcdefghij"), "<A><D>");
}

#[test]
fn a_masked_field_is_never_empty() {
    let words = Words::new(PolicyKind::DlpFilter).word("ALL", "everything", Verdict::Redact);
    assert_eq!(content(&pack(vec![words.entry()]), "everything"), "<ALL>");
}

#[test]
fn markers_are_escaped_for_the_place_they_stand_in() {
    let words = || Words::new(PolicyKind::DlpFilter).word("q\"\\\n", "Jo", Verdict::Redact).entry();
    assert_eq!(content(&pack(vec![words()]), "hi Jo"), "hi <q\"\\\n>");
    assert_eq!(content(&pack(vec![words()]), r#"[\"Jo\"]"#), r#"["<q\"\\\n>"]"#);
}

#[test]
fn redactions_are_noted_with_policy_rule_and_place() {
    let pack = pack(vec![Words::new(PolicyKind::PiiDetector).word("PERSON", "Jo", Verdict::Redact).entry()]);
    let body = says("Jo and Jo");
    let judgement = chat(&pack, &body, &caller(&[]));
    let authorised = pack.authorise(&judgement, 0, &Table).expect("authorised");
    let rendered = authorised.render(body.as_bytes(), &RenderOptions::default()).expect("the body");
    assert_eq!(rendered.edits.len(), 2);
    let EditNote::Redaction { policy, rule, place } = &rendered.edits[0] else { panic!("a redaction") };
    assert_eq!((*policy, &**rule, &*place.param), (PolicyKind::PiiDetector, "PERSON", "messages[0].content"));
    assert_eq!(judgement.redactions.get("PERSON"), Some(&2));
}

#[test]
fn without_edits_the_body_is_borrowed() {
    let pack = pack(vec![audit()]);
    let body = " {\"messages\" : [ {\"content\":\"a\\u0062\",\"role\":\"user\"} ] ,\n\"model\":\"70b\"}\n";
    let judgement = chat(&pack, body, &caller(&[]));
    let authorised = pack.authorise(&judgement, 0, &Table).expect("authorised");
    let rendered = authorised.render(body.as_bytes(), &RenderOptions::default()).expect("the body");
    assert!(matches!(rendered.body, std::borrow::Cow::Borrowed(same) if same == body));
    assert!(rendered.edits.is_empty());
    assert_eq!(authorised.render(b"{}", &RenderOptions::default()), Err(NotTheJudgedBody));
}

#[test]
fn each_edit_of_a_target_is_made_and_noted() {
    let pack = falls_back_to(pack(vec![audit()]), &[2]);
    let body = body("70b", r#","stream":true"#);
    let judgement = chat(&pack, &body, &caller(&[]));
    let authorised = pack.authorise(&judgement, 2, &Table).expect("authorised");
    let options =
        RenderOptions { client_request_id: Some("id\"1"), include_usage: true, ..Default::default() };
    let rendered = authorised.render(body.as_bytes(), &options).expect("the body");
    assert_eq!(
        rendered.body,
        r#"{"client_request_id":"id\"1","stream_options":{"include_usage":true},"model":"mixtral","messages":[{"role":"user","content":"hello"}],"stream":true}"#
    );
    assert_eq!(
        rendered.edits,
        [EditNote::Model { to: Arc::from("mixtral") }, EditNote::ClientRequestId, EditNote::IncludeUsage]
    );
}

#[test]
fn usage_is_asked_for_only_where_the_client_says_nothing() {
    let pack = pack(vec![audit()]);
    let run = |more: &str| {
        let body = body("70b", more);
        let judgement = chat(&pack, &body, &caller(&[]));
        let authorised = pack.authorise(&judgement, 0, &Table).expect("authorised");
        let options = RenderOptions { include_usage: true, ..Default::default() };
        let sent = authorised.render(body.as_bytes(), &options).expect("the body").body.into_owned();
        serde_json::from_str::<Value>(&sent).expect("JSON");
        sent.strip_prefix(super::body("70b", "").strip_suffix('}').expect("an object")).map(str::to_owned)
    };
    let same = |more: &str| Some(format!("{more}}}"));
    assert_eq!(run(""), same(""));
    for settled in [
        r#","stream":false"#,
        r#","stream":true,"stream_options":{"include_usage":false}"#,
        r#","stream":true,"stream_options":{"include_usage":true}"#,
    ] {
        assert_eq!(run(settled), same(settled));
    }
    let cases = [
        (
            r#","stream":true,"stream_options":null"#,
            r#","stream":true,"stream_options":{"include_usage":true}"#,
        ),
        (
            r#","stream":true,"stream_options":{ }"#,
            r#","stream":true,"stream_options":{"include_usage":true }"#,
        ),
        (
            r#","stream":true,"stream_options":{"x":1}"#,
            r#","stream":true,"stream_options":{"include_usage":true,"x":1}"#,
        ),
        (
            r#","stream":true,"stream_options":{"include_usage":null}"#,
            r#","stream":true,"stream_options":{"include_usage":true}"#,
        ),
    ];
    for (before, after) in cases {
        assert_eq!(run(before), same(after));
    }
}

#[test]
fn the_clients_own_request_id_stays() {
    let pack = pack(vec![audit()]);
    let body = body("70b", r#","client_request_id":"mine""#);
    let judgement = chat(&pack, &body, &caller(&[]));
    let authorised = pack.authorise(&judgement, 0, &Table).expect("authorised");
    let options = RenderOptions { client_request_id: Some("ours"), ..Default::default() };
    assert_eq!(authorised.render(body.as_bytes(), &options).expect("the body").body, body);
}

/// Pieces of a JSON string: plain text, escapes, surrogate pairs; `Jo` in several disguises.
fn pieces() -> impl Strategy<Value = Vec<&'static str>> {
    let piece = prop_oneof![
        Just("Jo"),
        Just("\\u004ao"),
        Just("J\\u006f"),
        Just("a"),
        Just("é"),
        Just("😀"),
        Just("\\ud83d\\ude00"),
        Just("\\n"),
        Just("\\\""),
        Just("\\\\"),
        Just("\\/"),
        Just(" "),
        Just("{"),
        Just("\\u0000"),
    ];
    prop::collection::vec(piece, 0..16)
}

proptest! {
    #[test]
    fn only_the_found_spans_change(
        one in pieces(), two in pieces(), gap in "[ \n]{0,3}", stream in any::<bool>(),
    ) {
        let pack = pack(vec![
            Words::new(PolicyKind::PiiDetector).word("P", "Jo", Verdict::Redact).entry(),
            Words::new(PolicyKind::DlpFilter).word("D", "o😀", Verdict::Redact).entry(),
        ]);
        let (one, two) = (one.concat(), two.concat());
        let body = format!(
            r#"{{{gap}"model" :{gap}"70b","messages":[{{"role":"user",{gap}"content":"{one}"}},{{"content":["{two}"],"role":"tool"}}],"stream":{stream}}}{gap}"#
        );
        let judgement = chat(&pack, &body, &caller(&[]));
        let sent = sent(&pack, &judgement, &body);
        let before: Value = serde_json::from_str(&body).expect("JSON");
        let after: Value = serde_json::from_str(&sent).expect("JSON");
        // The decoded texts are what replacing in the decoded texts gives.
        let replaced = |text: &str| text.replace("Jo😀", "<P>").replace("Jo", "<P>").replace("o😀", "<D>");
        let (b, a) = (&before["messages"], &after["messages"]);
        prop_assert_eq!(a[0]["content"].as_str().expect("text"), replaced(b[0]["content"].as_str().expect("text")));
        prop_assert_eq!(a[1]["content"][0].as_str().expect("text"), replaced(b[1]["content"][0].as_str().expect("text")));
        // All bytes outside of the spans are there, in order.
        let mut rest = sent.as_str();
        for kept in body.split("Jo").flat_map(|part| part.split("\\u004ao")).flat_map(|part| part.split("J\\u006f")) {
            // `o😀` may have taken a piece at the start of what follows.
            let kept = kept.strip_prefix("😀").or_else(|| kept.strip_prefix("\\ud83d\\ude00")).unwrap_or(kept);
            let Some((_, after)) = rest.split_once(kept) else {
                prop_assert!(false, "{kept:?} is not kept in {sent}");
                break;
            };
            rest = after;
        }
        if judgement.verdict == Verdict::Allow {
            prop_assert_eq!(sent, body);
        }
    }
}

#[test]
fn masked_keys_of_the_body_stay_different() {
    let words =
        Words::new(PolicyKind::PiiDetector).word("P", "Jo", Verdict::Redact).word("P", "Al", Verdict::Redact);
    let pack = pack(vec![words.entry()]);
    let body = body("70b", r#","metadata":{"Jo":1,"<P>":2,"Al":3}"#);
    let judgement = chat(&pack, &body, &caller(&[]));
    assert!(sent(&pack, &judgement, &body).ends_with(r#""metadata":{"<P>_2":1,"<P>":2,"<P>_3":3}}"#));
}
