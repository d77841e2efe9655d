use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn parse(text: &str) -> Result<Document<'_>, JsonError> {
    Document::parse(text.as_bytes(), Limits::default())
}

fn refused(text: &[u8]) -> (JsonErrorKind, usize) {
    let error = Document::parse(text, Limits::default()).expect_err("must be refused");
    (error.kind, error.offset)
}

/// The value as `serde_json` has it.
fn value(document: &Document<'_>, id: NodeId) -> Value {
    match document.kind(id) {
        Kind::Object => Value::Object(
            document
                .members(id)
                .map(|(key, member)| (document.decoded(key).into_owned(), value(document, member)))
                .collect(),
        ),
        Kind::Array => document.items(id).map(|item| value(document, item)).collect(),
        Kind::String | Kind::Key => Value::String(document.decoded(id).into_owned()),
        Kind::Number => serde_json::from_str(document.raw(id)).expect("a number"),
        Kind::True => Value::Bool(true),
        Kind::False => Value::Bool(false),
        Kind::Null => Value::Null,
    }
}

#[test]
fn every_node_knows_its_bytes() {
    let text = r#" {"a": [1, "x\ny", true], "b": {"c": null}} "#;
    let document = parse(text).expect("valid");
    let raws: Vec<&str> = document.all().map(|id| document.raw(id)).collect();
    assert_eq!(
        raws,
        [
            r#"{"a": [1, "x\ny", true], "b": {"c": null}}"#,
            r#""a""#,
            r#"[1, "x\ny", true]"#,
            "1",
            r#""x\ny""#,
            "true",
            r#""b""#,
            r#"{"c": null}"#,
            r#""c""#,
            "null",
        ]
    );
}

#[test]
fn places_are_named_by_pointer_and_by_param() {
    let document =
        parse(r#"{"messages":[{"content":"a"},{"content":[{"text":"b"}]}],"x/y~z":{"k":1}}"#).expect("valid");
    let names: Vec<(String, String)> = document
        .all()
        .filter(|id| matches!(document.kind(*id), Kind::String | Kind::Number))
        .map(|id| (document.pointer(id), document.param(id)))
        .collect();
    let expected = [
        ("/messages/0/content", "messages[0].content"),
        ("/messages/1/content/0/text", "messages[1].content[0].text"),
        ("/x~1y~0z/k", "x/y~z.k"),
    ];
    assert_eq!(names, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn keys_are_found_by_their_decoded_name() {
    let document = parse(r#"{"\u0061b": 1, "c": [2], "d": [[3]]}"#).expect("valid");
    let root = document.root();
    let found = document.get(root, "ab").expect("present");
    assert_eq!(document.unsigned(found), Some(1));
    assert!(document.get(root, r"\u0061b").is_none());
    let deep = document.all().last().expect("nodes");
    assert_eq!(document.nearest_key(deep).map(|key| document.decoded(key)).as_deref(), Some("d"));
}

#[test]
fn strings_without_escapes_are_borrowed() {
    let document = parse(r#"["plain é", "tab\t"]"#).expect("valid");
    let texts: Vec<_> = document.items(document.root()).map(|id| document.decoded(id)).collect();
    assert!(matches!(&texts[0], Cow::Borrowed("plain é")));
    assert!(matches!(&texts[1], Cow::Owned(text) if text == "tab\t"));
}

#[test]
fn refusals_name_their_reason_and_offset() {
    let cases: [(&[u8], JsonErrorKind, usize); 33] = [
        (b"", JsonErrorKind::UnexpectedEnd, 0),
        (b"  ", JsonErrorKind::UnexpectedEnd, 2),
        (b"{", JsonErrorKind::UnexpectedEnd, 1),
        (b"[1", JsonErrorKind::UnexpectedEnd, 2),
        (b"tru", JsonErrorKind::UnexpectedEnd, 3),
        (b"\"abc", JsonErrorKind::UnexpectedEnd, 4),
        (b"[1,]", JsonErrorKind::UnexpectedByte, 3),
        (b"{\"a\":1,}", JsonErrorKind::UnexpectedByte, 7),
        (b"{\"a\" 1}", JsonErrorKind::UnexpectedByte, 5),
        (b"{a:1}", JsonErrorKind::UnexpectedByte, 1),
        (b"[1}", JsonErrorKind::UnexpectedByte, 2),
        (b"{\"a\":1]", JsonErrorKind::UnexpectedByte, 6),
        (b"]", JsonErrorKind::UnexpectedByte, 0),
        (b"NaN", JsonErrorKind::UnexpectedByte, 0),
        (b"Infinity", JsonErrorKind::UnexpectedByte, 0),
        (b"'a'", JsonErrorKind::UnexpectedByte, 0),
        (b"// c\n1", JsonErrorKind::UnexpectedByte, 0),
        (b"{} {}", JsonErrorKind::TrailingData, 3),
        (b"1 x", JsonErrorKind::TrailingData, 2),
        (b"[01]", JsonErrorKind::InvalidNumber, 1),
        (b"[-]", JsonErrorKind::InvalidNumber, 1),
        (b"[1.]", JsonErrorKind::InvalidNumber, 1),
        (b"[1e]", JsonErrorKind::InvalidNumber, 1),
        (b"[1e999]", JsonErrorKind::NumberOutOfRange, 1),
        (b"[\"a\nb\"]", JsonErrorKind::ControlCharacter, 3),
        (b"[\"\\x\"]", JsonErrorKind::InvalidEscape, 2),
        (b"[\"\\u12G4\"]", JsonErrorKind::InvalidEscape, 2),
        (b"[\"\\ud800\"]", JsonErrorKind::LoneSurrogate, 2),
        (b"[\"\\udc00\\ud800\"]", JsonErrorKind::LoneSurrogate, 2),
        (b"[\"\\ud800\\u0041\"]", JsonErrorKind::LoneSurrogate, 2),
        (b"[\"\xff\"]", JsonErrorKind::InvalidUtf8, 2),
        (b"[\"\xed\xa0\x80\"]", JsonErrorKind::InvalidUtf8, 2),
        (b"\xef\xbb\xbf{}", JsonErrorKind::ByteOrderMark, 0),
    ];
    for (text, kind, offset) in cases {
        assert_eq!(refused(text), (kind, offset), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn duplicate_keys_are_refused_at_every_level() {
    let cases = [
        (r#"{"a":1,"a":2}"#, 7),
        (r#"{"a":1,"\u0061":2}"#, 7),
        (r#"{"x":[{"b":{},"c":1,"b":[]}]}"#, 20),
        (r#"{"":1,"":2}"#, 6),
    ];
    for (text, offset) in cases {
        assert_eq!(refused(text.as_bytes()), (JsonErrorKind::DuplicateKey, offset), "{text}");
    }
    parse(r#"{"a":{"a":1},"b":{"a":1}}"#).expect("the same key in different objects");
}

#[test]
fn the_first_repetition_is_named_among_many_keys() {
    let mut keys: Vec<String> = (0..40).map(|n| format!("\"k{n}\":0")).collect();
    keys[30] = "\"k5\":0".to_owned();
    keys[35] = "\"k1\":0".to_owned();
    let text = format!("{{{}}}", keys.join(","));
    let at = text.match_indices("\"k5\":0").nth(1).expect("the second one").0;
    assert_eq!(refused(text.as_bytes()), (JsonErrorKind::DuplicateKey, at));
}

#[test]
fn limits_hold() {
    let limits = Limits { depth: 3, nodes: 10 };
    let kind = |text: &str| Document::parse(text.as_bytes(), limits).map(|_| ()).map_err(|error| error.kind);
    assert_eq!(kind("[[[1]]]"), Ok(()));
    assert_eq!(kind("[[[[1]]]]"), Err(JsonErrorKind::TooDeep));
    assert_eq!(kind("[1,2,3,4,5,6,7,8,9]"), Ok(()));
    assert_eq!(kind("[1,2,3,4,5,6,7,8,9,10]"), Err(JsonErrorKind::TooManyNodes));
    let bomb = "[".repeat(1_000_000);
    assert_eq!(refused(bomb.as_bytes()).0, JsonErrorKind::TooDeep);
}

#[test]
fn an_object_with_very_many_keys_is_read_in_reasonable_time() {
    // Each with each would be 5 thousand million comparisons of keys with a long common start.
    let prefix = "x".repeat(40);
    let members: Vec<String> = (0..100_000).map(|n| format!("\"{prefix}{n}\":{n}")).collect();
    let text = format!("{{{}}}", members.join(","));
    let document = parse(&text).expect("valid");
    assert_eq!(document.members(document.root()).count(), 100_000);
}

#[test]
fn a_lenient_reading_sees_what_lenient_readers_see() {
    let read = |text: &'static str| {
        Document::parse_text(text, Limits::default(), Reading::Lenient, Vec::new())
            .map(|document| {
                document
                    .all()
                    .filter(|id| matches!(document.kind(*id), Kind::String | Kind::Number))
                    .map(|id| document.decoded(id).into_owned())
                    .collect::<Vec<_>>()
            })
            .map_err(|error| error.kind)
    };
    assert_eq!(read(r#"{"a":"x","a":"y"}"#), Ok(vec!["x".into(), "y".into()]));
    assert_eq!(read("{\"a\":1}\n{\"a\":2}\n"), Ok(vec!["1".into(), "2".into()]));
    assert_eq!(read(r#"["\ud800z", NaN, -Infinity, 1e999]"#), Ok(vec!["\u{fffd}z".into(), "1e999".into()]));
    assert_eq!(read("{} x"), Err(JsonErrorKind::UnexpectedByte));
}

#[test]
fn plain_runs_end_at_the_first_special_byte_wherever_it_is() {
    for length in 0..100 {
        for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
            let mut bytes = vec![0xc3; 120];
            bytes[length] = special;
            bytes[110] = b'"';
            assert_eq!(scan::plain_run(&bytes), length);
        }
        assert_eq!(scan::plain_run(&vec![b' '; length]), length);
        assert_eq!(scan::plain_run(&vec![0x80; length]), length);
    }
}

/// JSON, nearly JSON, and noise over the characters that matter.
fn texts() -> impl Strategy<Value = String> {
    let valid = value_strategy().prop_map(|value| value.to_string());
    let broken = (value_strategy(), any::<proptest::sample::Index>(), "[\\[\\]{}:,\"\\\\ut0-9eE+. -]{0,3}")
        .prop_map(|(value, index, noise)| {
            let text = value.to_string();
            let at = text.floor_char_boundary(index.index(text.len() + 1));
            let end = text.ceil_char_boundary((at + 1).min(text.len()));
            let (start, end) = (text.get(..at).expect("a border"), text.get(end..).expect("a border"));
            format!("{start}{noise}{end}")
        });
    let noise = "[\\[\\]{}:,\"\\\\untrfalse0-9eE+. \n\t\u{feff}é-]{0,24}";
    prop_oneof![valid, broken, noise]
}

fn value_strategy() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_map(|number| serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number,
        "[a\"\\\\\n\u{0}é😀/]{0,40}".prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            prop::collection::vec(("[a-c\"é]{0,3}", inner), 0..30)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_accepted_has_the_value_that_serde_json_gives(text in texts()) {
        let theirs = serde_json::from_str::<Value>(&text);
        match parse(&text) {
            Ok(document) => {
                let theirs = theirs.expect("serde_json accepts what is accepted here");
                prop_assert_eq!(value(&document, document.root()), theirs);
            }
            Err(error) => {
                prop_assert!(error.offset <= text.len());
                // The only thing that serde_json accepts and that is refused here.
                if theirs.is_ok() {
                    prop_assert_eq!(error.kind, JsonErrorKind::DuplicateKey);
                }
            }
        }
    }

    #[test]
    fn escaping_and_unescaping_are_inverse(text in any::<String>()) {
        let mut escaped = String::new();
        escape_into(&text, &mut escaped);
        prop_assert_eq!(unescape(&escaped), text.as_str());
        let quoted = format!("\"{escaped}\"");
        prop_assert_eq!(serde_json::from_str::<String>(&quoted).expect("valid"), text);
    }

    #[test]
    fn offsets_map_both_ways(
        pieces in prop::collection::vec(
            prop_oneof![Just("a"), Just("é"), Just("😀"), Just("\\n"), Just("\\u00e9"), Just("\\ud83d\\ude00"), Just("\\\"")],
            0..20,
        ),
    ) {
        let content: String = pieces.concat();
        let decoded = unescape(&content);
        let map = OffsetMap::new(&content);
        // Borders of pieces are borders of characters, in both forms.
        let mut borders = vec![(0, 0)];
        let (mut raw, mut text) = (0, 0);
        for piece in &pieces {
            raw += piece.len();
            text += unescape(piece).len();
            borders.push((raw, text));
        }
        for (i, &(raw_start, start)) in borders.iter().enumerate() {
            for &(raw_end, end) in &borders[i..] {
                if start == end {
                    continue;
                }
                prop_assert_eq!(map.to_raw(start..end), raw_start..raw_end);
                prop_assert_eq!(map.to_decoded(raw_start..raw_end), start..end);
                let (content, decoded) = (content.get(raw_start..raw_end), decoded.get(start..end));
                let unescaped = content.map(unescape);
                prop_assert_eq!(unescaped.as_deref(), decoded);
            }
        }
        // Anything inside an escape moves outwards.
        for raw_start in 0..content.len() {
            for raw_end in raw_start + 1..=content.len() {
                let range = map.to_decoded(raw_start..raw_end);
                let back = map.to_raw(range);
                prop_assert!(back.start <= raw_start && back.end >= raw_end);
            }
        }
    }
}
