//! Records as Parquet, read back by what people read it with.

use std::path::{Path, PathBuf};

use kt_audit::{
    Record,
    record::{Body, Closed, End, Verdict},
};
use kt_data_plane::audit::Durability;
use serde_json::Value;

use crate::{
    common::repository,
    kt::Person,
    records::{Plane, delivering, files, people},
};

/// Runs a script of `tests/python` over files; the JSON Lines that it prints.
pub(crate) fn python<'a>(script: &str, files: impl IntoIterator<Item = &'a PathBuf>) -> Vec<Value> {
    let mut command = std::process::Command::new(repository(".venv/bin/python"));
    command.arg(repository("tests/python").join(script)).args(files);
    let output = command.output().expect("`scripts/setup.sh test` makes .venv");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows of Parquet files, as pyarrow and DuckDB both see them, in the order of the chain.
pub(crate) fn rows(files: &[PathBuf]) -> Vec<Value> {
    python("read_parquet.py", files)
}

/// Delivers requests with every field that a record has, and a block.
pub(crate) async fn deliver_rich(plane: &Plane, folder: &Path) {
    let examples = std::fs::read_to_string(repository("audit/tests/fixtures/v1/records.jsonl")).unwrap();
    let bodies = examples.lines().map(|line| Record::parse(line.as_bytes()).unwrap().body);
    let blocked = Closed { verdict: Verdict::Block, end: End::Blocked, ..Closed::default() };
    let requests = bodies
        .filter(|body| matches!(body, Body::Opened(_) | Body::Closed(_)))
        .chain([Body::Closed(Box::new(blocked))]);
    delivering(plane, folder, async |log| {
        for body in requests {
            log.append(body, Durability::Block, None).await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_as_parquet_holds_what_the_exact_records_say() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let plane = Plane::start(&at("plane"), 0).await;
    let person = Person::of(plane.url.clone());
    let auditor = people(&plane, &person, &at("token"));
    let reader = Person::holding(plane.url.clone(), &auditor);
    deliver_rich(&plane, folder.path()).await;
    deliver_rich(&plane, folder.path()).await;
    for form in ["parquet", "jsonl"] {
        reader.ok(&["events", "export", "--format", form, "--out", at(form).to_str().unwrap()]);
    }
    let exact = std::fs::read_to_string(&files(&at("jsonl"))[0]).unwrap();
    let exact: Vec<&str> = exact.lines().collect();
    let rows = rows(&files(&at("parquet")));
    assert_eq!(rows.len(), exact.len());
    for (row, line) in rows.iter().zip(&exact) {
        let told: Value = serde_json::from_str(line).unwrap();
        for name in ["epoch", "ordinal", "sequence", "previous", "hash"] {
            assert_eq!(row[name], told[name], "{name}");
        }
        assert_eq!(row["time"], told["time_us"]);
        assert_eq!(row["type"], told["record"]["type"]);
        let record = row["record"].as_str().unwrap();
        assert!(line.ends_with(&format!("\"record\":{record}}}")), "the exact bytes");
    }
    let closed = rows.iter().find(|row| row["type"] == "closed").unwrap();
    let record: Value = serde_json::from_str(closed["record"].as_str().unwrap()).unwrap();
    assert_eq!(closed["id"], record["id"]);
    assert_eq!(closed["roles"], record["request"]["caller"]["roles"]);
    assert_eq!(closed["input_tokens"], record["tokens"]["prompt"]);
    assert_eq!(closed["stream"], record["request"]["stream"]);
    assert!(closed["policies"].as_array().is_some_and(|policies| !policies.is_empty()), "{closed}");
    assert_eq!(rows[0]["roles"], Value::Array(Vec::new()), "a record of the log has none");

    // Its files are those of the manifest; one that is not is named.
    let verified = |code: i32| {
        let run = reader.kt(&["audit", "verify", "--export", at("parquet").to_str().unwrap()]);
        assert_eq!(run.code, code, "{}{}", run.out, run.err);
    };
    verified(0);
    let file = files(&at("parquet")).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
    verified(1);
}
