//! `docs/reference/events.md` says what the types say.

use std::{collections::BTreeSet, fmt::Write as _};

use kt_audit::record::*;
use serde_json::Value;

use super::examples;

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/events.md");
    std::fs::read_to_string(path).unwrap()
}

fn payload(body: Body) -> Value {
    serde_json::from_slice(&Record::new(body).payload().unwrap()).unwrap()
}

fn names(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                // Here the names are data: detectors, media types.
                if name == "detectors" || name == "not_inspected" {
                    into.insert(name.clone());
                    continue;
                }
                into.insert(name.clone());
                names(value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, into)),
        _ => {}
    }
}

#[test]
fn every_field_of_every_record_is_described() {
    let document = document();
    let mut fields = BTreeSet::new();
    for body in examples::all().into_iter().chain([examples::added()]) {
        names(&payload(body), &mut fields);
    }
    assert!(fields.len() > 90, "{} fields", fields.len());
    let missing: Vec<_> = fields.iter().filter(|name| !document.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/reference/events.md: {missing:?}");
}

#[test]
fn every_value_of_every_choice_is_described() {
    let document = document();
    let mut values = Vec::new();
    macro_rules! all {
        ($($value:expr),+ $(,)?) => { $(values.push(serde_json::to_value($value).unwrap());)+ };
    }
    all!(Verdict::Allow, Verdict::Redact, Verdict::Escalate, Verdict::Block);
    all!(End::Completed, End::Blocked, End::Refused, End::Failed, End::Aborted, End::Interrupted);
    all!(Proof::Anonymous, Proof::GatewayKey, Proof::Jwt, Proof::ClientCertificate, Proof::TrustedHeader);
    all!(Proof::Refused, Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings);
    all!(Endpoint::Responses, Endpoint::Models, Endpoint::Other, Mode::Enforce, Mode::Observe);
    all!(Phase::Input, Phase::Output, Effect::Note, Effect::Redact, Effect::Block);
    all!(Disposition::Enforced, Disposition::Observed, Disposition::Waived, Disposition::Superseded);
    all!(Would::Redact, Would::Block, TokenSource::Reported, TokenSource::Estimated);
    all!(DropReason::QueueFull, DropReason::NoSpace, DropReason::Io, DropReason::TooLarge);
    all!(DropReason::ShuttingDown, ConfigAction::Activated, ConfigAction::Refused);
    all!(DamageKind::TornTail, DamageKind::CorruptMiddle, DamageKind::UnreadableHeader, DamageKind::CutTail);
    all!(DamageKind::NewerFormat, DamageKind::LostState, CheckpointReason::Start, CheckpointReason::Count);
    all!(CheckpointReason::Interval, CheckpointReason::Roll, CheckpointReason::Shutdown);
    for outcome in [Outcome::Evaluated, Outcome::Skipped, Outcome::NotApplicable] {
        values.push(serde_json::to_value(outcome).unwrap()["outcome"].clone());
    }
    values.extend(["bypassed", "observed", "waived"].map(Value::from));
    for value in values {
        let value = value.as_str().unwrap();
        assert!(document.contains(&format!("`{value}`")), "`{value}` is not in docs/reference/events.md");
    }
}

#[test]
fn every_example_of_the_document_is_a_record_and_says_all_that_it_can() {
    let document = document();
    let mut rest = document.as_str();
    let mut found = Vec::new();
    while let Some((_, block)) = rest.split_once("```json\n") {
        let (example, after) = block.split_once("```").unwrap();
        let record = Record::parse(example.as_bytes()).unwrap();
        // Nothing in it that the types do not know.
        assert_eq!(payload(record.body.clone()), serde_json::from_str::<Value>(example).unwrap());
        found.push(record.body);
        rest = after;
    }
    assert_eq!(
        found,
        examples::all(),
        "the examples are those of audit/tests/it/examples.rs, in their order"
    );
}

#[test]
fn every_column_of_a_row_is_described() {
    let document = document();
    let mut table = String::from("| column | type | what it holds |\n|---|---|---|\n");
    for column in kt_audit::columns::COLUMNS {
        writeln!(table, "| `{}` | {} | {} |", column.name, column.read.kind(), column.help).unwrap();
    }
    assert!(document.contains(&table), "docs/reference/events.md needs this table:\n{table}");
}
