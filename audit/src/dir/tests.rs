use std::fs;

use uuid::Uuid;

use super::*;
use crate::chain::{ChainState, Epoch};
use crate::identity::PseudonymKey;
use crate::record::{Body, Caller, Closed, Kind, Record, RequestFacts, Retention, Verdict};
use crate::segment::encode_frame;
use crate::value::Digest;

/// Writes a directory by hand: `segments` lists how many `closed` records each segment has.
struct Written {
    dir: tempfile::TempDir,
    chain: ChainState,
    segment: u64,
}

impl Written {
    fn new() -> Self {
        let instance = InstanceId(Uuid::from_u128(5));
        let dir = tempfile::tempdir().unwrap();
        let file = layout::InstanceFile { v: 1, instance };
        fs::write(dir.path().join(layout::INSTANCE), serde_json::to_vec(&file).unwrap()).unwrap();
        let chain = ChainState::start(instance, Epoch([1; 16]), Digest::ZERO);
        Self { dir, chain, segment: 0 }
    }

    fn open(&self) -> AuditDir {
        AuditDir::open(self.dir.path()).unwrap()
    }

    fn append(&self, bytes: &[u8]) {
        use std::io::Write as _;
        let path = self.dir.path().join(SegmentName::new(self.segment).to_string());
        fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
    }

    fn roll(&mut self) {
        self.segment += 1;
        let header = Header {
            instance: self.chain.instance,
            epoch: self.chain.epoch,
            ordinal: 1,
            segment: self.segment,
            first_sequence: self.chain.next_sequence,
            previous: self.chain.previous,
            created_us: 0,
            retention: Retention { days: 1, immutable: false },
        };
        self.append(&header.encode());
    }

    fn frame(&mut self, closed: Closed) -> Vec<u8> {
        let payload = Record::new(Body::Closed(Box::new(closed))).payload().unwrap();
        let (after, time) = self.chain.after(i64::try_from(self.chain.next_sequence).unwrap(), &payload);
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, self.chain.next_sequence, time, &self.chain.previous, &payload).unwrap();
        self.chain = after;
        bytes
    }

    fn record(&mut self) {
        let bytes = self.frame(Closed::default());
        self.append(&bytes);
    }
}

fn sequences(entries: impl IntoIterator<Item = Entry>) -> Vec<u64> {
    entries.into_iter().map(|entry| entry.sequence).collect()
}

#[test]
fn records_come_in_either_order_across_segments() {
    let mut log = Written::new();
    for _ in 0..3 {
        log.roll();
        log.record();
        log.record();
    }
    let all = |order| sequences(log.open().records(order).unwrap().map(Result::unwrap));
    assert_eq!(all(Order::OldestFirst), [0, 1, 2, 3, 4, 5]);
    assert_eq!(all(Order::NewestFirst), [5, 4, 3, 2, 1, 0]);
}

#[test]
fn unreadable_bytes_are_passed_over_and_counted() {
    let mut log = Written::new();
    log.roll();
    log.record();
    log.append(b"garbage");
    log.record();
    let mut records = log.open().records(Order::OldestFirst).unwrap();
    assert_eq!(sequences(records.by_ref().map(Result::unwrap)), [0, 1]);
    assert_eq!(records.unreadable_bytes(), 7);
}

#[test]
fn following_gives_each_record_once_and_waits_for_half_written_ones() {
    let mut log = Written::new();
    log.roll();
    log.record();
    let mut follow = log.open().follow().unwrap();
    assert_eq!(sequences(follow.poll().unwrap()), [] as [u64; 0]);
    log.record();
    let frame = log.frame(Closed::default());
    log.append(&frame[..20]);
    assert_eq!(sequences(follow.poll().unwrap()), [1]);
    log.append(&frame[20..]);
    log.record();
    log.roll();
    assert_eq!(sequences(follow.poll().unwrap()), [2, 3]);
    log.record();
    assert_eq!(sequences(follow.poll().unwrap()), [4]);
    assert_eq!(follow.poll().unwrap(), []);
}

#[test]
fn an_entry_shown_as_json_has_its_place_and_hash() {
    let mut log = Written::new();
    log.roll();
    log.record();
    let entry = log.open().records(Order::OldestFirst).unwrap().next().unwrap().unwrap();
    let json = entry.to_json().unwrap();
    assert_eq!(json["type"], "closed");
    assert_eq!(json["at"]["sequence"], 0);
    assert_eq!(json["at"]["hash"], log.chain.previous.to_string());
    assert_eq!(json["at"]["time"], "1970-01-01T00:00:00Z");
}

#[test]
fn each_condition_of_a_filter_counts() {
    let mut log = Written::new();
    log.roll();
    let ada = PseudonymKey::new(&[1; 32]).subject("ada").pseudonym();
    let caller = Caller {
        subject: Some(ada),
        roles: vec!["analyst".into()],
        team: Some("risk".into()),
        ..Caller::default()
    };
    let request = RequestFacts { caller, requested_model: Some("llama".into()), ..RequestFacts::default() };
    let bytes = log.frame(Closed { request, verdict: Verdict::Block, ..Closed::default() });
    log.append(&bytes);
    log.record();
    let hits = |filter: Filter| {
        let records = log.open().records(Order::OldestFirst).unwrap().map(Result::unwrap);
        sequences(records.filter(|entry| filter.matches(entry)))
    };
    let base = Filter::default();
    assert_eq!(hits(base.clone()), [0, 1]);
    let one: [Filter; 6] = [
        Filter { verdict: Some(Verdict::Block), ..base.clone() },
        Filter { subject: Some(ada), ..base.clone() },
        Filter { role: Some("analyst".to_owned()), ..base.clone() },
        Filter { team: Some("risk".to_owned()), ..base.clone() },
        Filter { model: Some("llama".to_owned()), ..base.clone() },
        Filter { until_us: Some(1), ..base.clone() },
    ];
    for filter in one {
        assert_eq!(hits(filter.clone()), [0], "{filter:?}");
    }
    assert_eq!(hits(Filter { since_us: Some(1), ..base.clone() }), [1]);
    assert_eq!(hits(Filter { kinds: vec![Kind::Opened], ..base.clone() }), [] as [u64; 0]);
    assert_eq!(hits(Filter { policy: Some("pii".to_owned()), ..base }), [] as [u64; 0]);
}

#[test]
fn what_is_no_audit_directory_is_said_so() {
    let empty = tempfile::tempdir().unwrap();
    let error = AuditDir::open(empty.path()).unwrap_err();
    assert!(matches!(error, DirError::NotADirectory { .. }));
    let error = AuditDir::open(&empty.path().join("nowhere")).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn a_name_is_found_until_its_key_is_gone() {
    let key = PseudonymKey::new(&[1; 32]);
    let ada = key.subject("ada@example.com");
    let (sealed, subject_key) = ada.seal().unwrap();
    let mut names = serde_json::to_vec(&sealed).unwrap();
    names.extend_from_slice(b"\n{\"torn");
    let keys = serde_json::to_vec(&subject_key).unwrap();
    let found = Names::parse(&names, &keys);
    assert_eq!(found.name(ada.pseudonym()).as_deref(), Some("ada@example.com"));
    assert_eq!(Names::parse(&names, b"").name(ada.pseudonym()), None);
}
