use super::*;
use crate::segment::MAX_PAYLOAD;
use crate::value::Label;

fn finding(index: u64) -> Finding {
    Finding {
        policy: "pii-detector".into(),
        rule: "email".into(),
        entity: Some("EMAIL_ADDRESS".into()),
        phase: Phase::Input,
        field: Label::new("/messages/0/content"),
        start: index,
        end: index + 9,
        score: None,
        effect: Effect::Redact,
        disposition: Disposition::Enforced,
    }
}

#[test]
fn unknown_fields_of_a_later_version_are_passed_over() {
    let payload = br#"{"v":2,"type":"dropped","count":3,"reason":"queue_full","later":{"x":1}}"#;
    let record = Record::parse(payload).unwrap();
    assert_eq!(record.v, 2);
    assert_eq!(record.body, Body::Dropped(Dropped { count: 3, reason: DropReason::QueueFull }));
}

#[test]
fn what_a_later_version_says_otherwise_is_newer_and_not_malformed() {
    let later = br#"{"v":2,"type":"dropped","count":"three","reason":"queue_full"}"#;
    assert!(matches!(Record::parse(later), Err(RecordError::Newer { v: 2 })));
    let unknown = br#"{"v":2,"type":"weather"}"#;
    assert!(matches!(Record::parse(unknown), Err(RecordError::Newer { v: 2 })));
    assert!(matches!(Record::parse(br#"{"v":1,"type":"weather"}"#), Err(RecordError::UnknownType)));
    let malformed = br#"{"v":1,"type":"dropped","count":"three","reason":"queue_full"}"#;
    assert!(matches!(Record::parse(malformed), Err(RecordError::Malformed { v: 1, .. })));
    for other in [&b"[]"[..], b"", b"{}", b"{\"v\":1}", b"\xff\xff"] {
        assert!(Record::parse(other).is_err());
    }
}

#[test]
fn a_record_too_long_to_store_loses_findings_and_says_how_many() {
    let findings: Vec<_> = (0..20_000).map(finding).collect();
    let record = Record::new(Body::Closed(Box::new(Closed { findings, ..Closed::default() })));
    let payload = record.payload().unwrap();
    assert!(payload.len() <= MAX_PAYLOAD);
    let Body::Closed(stored) = Record::parse(&payload).unwrap().body else { panic!("not closed") };
    assert_eq!(stored.findings.len() as u64 + stored.findings_omitted, 20_000);
    assert!(stored.findings_omitted > 0);
    assert_eq!(stored.findings[0].start, 0, "the first ones are kept");
}

#[test]
fn a_record_that_can_not_be_shortened_is_refused_by_type() {
    let reasons = vec![Label::new(&"x".repeat(250)); 4_000];
    let digest = crate::Digest::ZERO;
    let config = Config { action: ConfigAction::Refused, pack: None, digest, reasons };
    let error = Record::new(Body::Config(Box::new(config))).payload().unwrap_err();
    assert!(matches!(error, RecordError::TooLarge { length } if length > MAX_PAYLOAD));
}

#[test]
fn a_plain_request_takes_little_room() {
    let opened = Record::new(Body::Opened(Box::default())).payload().unwrap();
    let expected = concat!(
        r#"{"v":1,"type":"opened","id":"00000000-0000-0000-0000-000000000000","#,
        r#""request":{"accepted_us":0,"endpoint":"other","caller":{"proof":"anonymous"}},"#,
        r#""verdict":"allow","bytes_in":0}"#,
    );
    assert_eq!(String::from_utf8(opened).unwrap(), expected);
}

#[test]
fn an_outcome_reads_as_people_say_it() {
    let outcomes = [
        Outcome::Evaluated,
        Outcome::Bypassed { why: "deadline".into() },
        Outcome::Skipped,
        Outcome::NotApplicable,
        Outcome::Observed { would: Some(Would::Block) },
        Outcome::Waived { rule: "email".into(), ticket: Some("SEC-7".into()) },
    ];
    let mut lines = Vec::new();
    for outcome in outcomes {
        let outcome = PolicyOutcome {
            policy: "pii".into(),
            phase: Phase::Output,
            mode: Mode::Observe,
            outcome,
            verdict: Some(Verdict::Redact),
            us: Some(7),
        };
        let json = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<PolicyOutcome>(&json).unwrap(), outcome);
        lines.push(json);
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"policy":"pii","phase":"output","mode":"observe","outcome":"evaluated","verdict":"redact","us":7}
    {"policy":"pii","phase":"output","mode":"observe","outcome":"bypassed","why":"deadline","verdict":"redact","us":7}
    {"policy":"pii","phase":"output","mode":"observe","outcome":"skipped","verdict":"redact","us":7}
    {"policy":"pii","phase":"output","mode":"observe","outcome":"not_applicable","verdict":"redact","us":7}
    {"policy":"pii","phase":"output","mode":"observe","outcome":"observed","would":"would_block","verdict":"redact","us":7}
    {"policy":"pii","phase":"output","mode":"observe","outcome":"waived","rule":"email","ticket":"SEC-7","verdict":"redact","us":7}
    "#);
}
