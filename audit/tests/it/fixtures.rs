//! A directory of format 1, as it was written when the format was laid down. It must load for ever.
//!
//! `KT_WRITE_FIXTURES=1` writes what is missing; a file that exists is never changed by that.

use std::path::{Path, PathBuf};

use kt_audit::Digest;
use kt_audit::chain::ChainState;
use kt_audit::dir::layout::{self, InstanceFile, SegmentName};
use kt_audit::dir::{AuditDir, Order};
use kt_audit::record::{Body, EpochStart, Record, Retention};
use kt_audit::segment::{Header, encode_frame};
use kt_audit::sign::Head;

use super::examples;

const CREATED: i64 = 1_795_000_000_000_000;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// The files of the directory, as this version writes them; the sealed names apart, which are random.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut chain = ChainState::start(examples::INSTANCE, examples::EPOCH, Digest::ZERO);
    let header = Header {
        instance: examples::INSTANCE,
        epoch: examples::EPOCH,
        ordinal: 1,
        segment: 1,
        first_sequence: 0,
        previous: Digest::ZERO,
        created_us: CREATED,
        retention: Retention { days: 2555, immutable: true },
    };
    let mut segment = header.encode().to_vec();
    let mut payloads = Vec::new();
    let mut push = |chain: &mut ChainState, body: Body| {
        let payload = Record::new(body).payload().unwrap();
        let (after, time) = chain.after(CREATED + i64::try_from(chain.next_sequence).unwrap(), &payload);
        encode_frame(&mut segment, chain.next_sequence, time, &chain.previous, &payload).unwrap();
        payloads.extend_from_slice(&payload);
        payloads.push(b'\n');
        *chain = after;
    };
    let Body::Epoch(start) = examples::epoch() else { panic!("no epoch record") };
    push(&mut chain, Body::Epoch(Box::new(EpochStart { previous: None, ..*start })));
    push(&mut chain, examples::opened());
    push(&mut chain, examples::closed());
    for body in examples::others() {
        push(&mut chain, body);
    }
    let covers = chain.last().unwrap();
    push(&mut chain, examples::checkpoint(covers));
    let signer = examples::signer();
    let head = Head::sign(&signer, examples::INSTANCE, 1, chain.last().unwrap(), 1, CREATED + 100);
    let instance = InstanceFile { v: 1, instance: examples::INSTANCE };
    vec![
        (SegmentName::new(1).to_string(), segment),
        (layout::HEAD.to_owned(), serde_json::to_vec(&head).unwrap()),
        (layout::INSTANCE.to_owned(), serde_json::to_vec(&instance).unwrap()),
        (layout::PUBLIC_KEYS.to_owned(), format!("{}\n", signer.public()).into_bytes()),
        ("records.jsonl".to_owned(), payloads),
    ]
}

fn write_missing() {
    let dir = fixture();
    std::fs::create_dir_all(&dir).unwrap();
    let mut files = files();
    let (name, key) = examples::pseudonyms().subject("ada@example.com").seal().unwrap();
    files.push((layout::SEALED_NAMES.to_owned(), serde_json::to_vec(&name).unwrap()));
    files.push((layout::SUBJECT_KEYS.to_owned(), serde_json::to_vec(&key).unwrap()));
    for (name, content) in files {
        let path = dir.join(name);
        if !path.try_exists().unwrap() {
            std::fs::write(path, content).unwrap();
        }
    }
}

#[test]
fn a_directory_of_format_1_loads_and_verifies() {
    if std::env::var_os("KT_WRITE_FIXTURES").is_some() {
        write_missing();
    }
    let dir = AuditDir::open(&fixture()).unwrap();
    let report = dir.verify(None, &[]).unwrap();
    assert_eq!(report.breaks, []);
    assert_eq!((report.records, report.checkpoints, report.epochs), (8, 1, 1));
    assert_eq!(report.unsigned_records, 0);

    let entries: Vec<_> = dir.records(Order::OldestFirst).unwrap().map(Result::unwrap).collect();
    let lines = std::fs::read(fixture().join("records.jsonl")).unwrap();
    let lines: Vec<_> = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(entries.iter().map(|entry| &entry.payload[..]).collect::<Vec<_>>(), lines);
    let bodies: Vec<_> = entries.iter().map(|entry| entry.record().unwrap().body).collect();
    assert_eq!(bodies[1..3], [examples::opened(), examples::closed()]);

    let names = dir.names().unwrap();
    let subject = examples::pseudonyms().subject("ada@example.com").pseudonym();
    assert_eq!(names.name(subject).as_deref(), Some("ada@example.com"));
}

#[test]
fn format_1_is_still_written_byte_for_byte() {
    for (name, content) in files() {
        let stored = std::fs::read(fixture().join(&name)).unwrap();
        assert!(stored == content, "{name} would be written otherwise now: a new format needs a new version");
    }
}
