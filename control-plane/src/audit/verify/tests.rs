//! Each kind of tampering with the file of the store, by its name and place.

use std::path::PathBuf;

use kt_audit::{
    Body, Digest, Epoch, Label, Record,
    chain::ChainState,
    record::{Checkpoint, CheckpointReason, Closed, EpochStart, RequestFacts},
    sign::{Signer, checkpoint_message},
    verify::BreakKind,
};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::*;
use crate::audit::store::{Batch, NewRow, Origin, Row, sqlite::Sqlite};

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(7));
const DAY: i64 = 86_400_000_000;
/// Days of the records of the first run, and of the others.
const DAYS: [u32; 2] = [10, 900];

/// What a gateway has sent, in a file.
struct Place {
    dir: tempfile::TempDir,
    gateway: Signer,
    witness: Signer,
    /// The last record of the first run, and of the second.
    ends: Vec<u64>,
}

/// The records of one run.
struct Run {
    chain: ChainState,
    rows: Vec<NewRow>,
}

impl Run {
    fn push(&mut self, body: Body) {
        let payload = Record::new(body).payload().unwrap();
        let sequence = self.chain.next_sequence;
        let previous = self.chain.previous;
        let (after, time_us) = self.chain.after(i64::try_from(sequence).unwrap() * 1_000_000, &payload);
        self.chain = after;
        let hash = self.chain.previous;
        self.rows.push(NewRow::new(Row { sequence, time_us, previous, hash, payload }));
    }

    fn checkpoint(&mut self, signer: &Signer) {
        let covers = self.chain.last().unwrap();
        let signature = signer.sign(&checkpoint_message(INSTANCE, &covers));
        self.push(Body::Checkpoint(Box::new(Checkpoint {
            covers,
            reason: CheckpointReason::Count,
            open: None,
            cuts: Vec::new(),
            key: signer.public().id(),
            signature,
        })));
    }
}

impl Place {
    /// Two runs: a start, six ends of requests and a checkpoint each.
    async fn new() -> Self {
        let mut place = Self {
            dir: tempfile::tempdir().unwrap(),
            gateway: Signer::generate().unwrap(),
            witness: Signer::generate().unwrap(),
            ends: Vec::new(),
        };
        let store = place.open();
        let origin =
            Origin { instance: INSTANCE, fleet: "default".into(), gateway: "gw".into(), name: "gw-1".into() };
        store.put_keys(origin.clone(), vec![place.gateway.public().0], 0).await.unwrap();
        let mut last: Option<Position> = None;
        for ordinal in 1..=2_u8 {
            let epoch = Epoch([ordinal; 16]);
            let before = last.map_or(Digest::ZERO, |last| last.hash);
            let mut run = Run { chain: ChainState::start(INSTANCE, epoch, before), rows: Vec::new() };
            run.push(Body::Epoch(Box::new(EpochStart {
                instance: INSTANCE,
                epoch,
                ordinal: ordinal.into(),
                previous: last,
                gateway_version: Label::new("0"),
                public_key: place.gateway.public(),
                pseudonym_key: place.gateway.public().id(),
                damage: Vec::new(),
                damage_omitted: 0,
            })));
            for number in 0..6 {
                let days = DAYS[usize::from(ordinal - 1)];
                let request = RequestFacts {
                    retention: Some(Retention { days, immutable: false }),
                    ..RequestFacts::default()
                };
                let id = Uuid::from_u128(u128::from(ordinal) * 100 + number);
                run.push(Body::Closed(Box::new(Closed { id, request, ..Closed::default() })));
            }
            run.checkpoint(&place.gateway);
            last = run.chain.last();
            let last = last.unwrap();
            place.ends.push(last.sequence);
            let batch = Batch {
                origin: origin.clone(),
                epoch,
                ordinal: ordinal.into(),
                rows: run.rows,
                stored_us: 0,
            };
            assert_eq!(store.append(batch).await.unwrap().noted, []);
            store.put_countersigned(INSTANCE, last, 0).await.unwrap();
        }
        place
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("audit.sqlite")
    }

    fn open(&self) -> Sqlite {
        Sqlite::open(&self.path()).unwrap()
    }

    /// Whoever owns the file can write into it.
    fn tamper(&self, sql: &str) {
        let file = Connection::open(self.path()).unwrap();
        file.execute_batch(sql).unwrap();
    }

    async fn report(&self) -> Report {
        verify(&self.open(), self.witness.public(), INSTANCE, |_| ()).await.unwrap().report
    }

    /// The first break of each kind: its name, run and record.
    async fn breaks(&self) -> Vec<(BreakKind, Option<u8>, Option<u64>)> {
        let report = self.report().await;
        report
            .breaks
            .iter()
            .map(|found| (found.kind, found.epoch.map(|epoch| epoch.0[0]), found.sequence))
            .collect()
    }

    /// Takes out the first run as far as it may go, as retention does.
    async fn cut(&self) -> u64 {
        let store = self.open();
        let mut records = 0;
        while let Some(due) = store.due(100 * DAY, 0, None, 4).await.unwrap() {
            let tombstone = kt_audit::sign::StoreTombstone::sign(&self.witness, due.instance, due.cut);
            assert!(store.cut(due.instance, tombstone).await.unwrap());
            records += due.cut.records;
        }
        records
    }
}

#[tokio::test]
async fn what_is_as_it_was_sent_is_intact() {
    let report = Place::new().await.report().await;
    assert_eq!((report.breaks.as_slice(), report.records, report.checkpoints), (&[][..], 16, 2));
}

#[tokio::test]
async fn each_kind_of_tampering_is_named_with_its_place() {
    use BreakKind::{Altered, CutTail, Forged, Missing, Reordered, Truncated};
    let at = |run, sequence| "run_no = ".to_owned() + run + " AND sequence = " + sequence;
    let (third, fourth) = (at("1", "3"), at("1", "4"));
    let forged = {
        // Signed by somebody, and the mark moved, so that all but the key fits.
        let stranger = Signer::generate().unwrap();
        let place = Place::new().await;
        let store = place.open();
        let rows = store.chain(INSTANCE, None, 100).await.unwrap();
        let before = rows.iter().rev().nth(1).unwrap();
        let chain = ChainState {
            instance: INSTANCE,
            epoch: before.epoch,
            next_sequence: before.row.sequence + 1,
            previous: before.row.hash,
            ..ChainState::start(INSTANCE, before.epoch, before.row.hash)
        };
        let mut run = Run { chain, rows: Vec::new() };
        run.checkpoint(&stranger);
        drop(store);
        let new = &run.rows[0].row;
        let file = Connection::open(place.path()).unwrap();
        file.execute(
            "UPDATE records SET payload = ?1, hash = ?2, time_us = ?3 WHERE run_no = 2 AND sequence = 7",
            params![new.payload, new.hash.0, new.time_us],
        )
        .unwrap();
        file.execute("UPDATE runs SET hash = ?1 WHERE no = 2", [new.hash.0]).unwrap();
        drop(file);
        place.breaks().await
    };
    // The countersignature names another record there; the signature in it is a stranger's.
    assert_eq!(forged, [(Altered, Some(2), Some(7)), (Forged, Some(2), Some(7))]);

    for (what, sql, expected) in [
        (
            "a byte of a payload is flipped",
            format!("UPDATE records SET payload = CAST(replace(CAST(payload AS TEXT), '\"closed\"', '\"clOsed\"') AS BLOB) WHERE {third}"),
            vec![(Altered, Some(1), Some(3))],
        ),
        ("a record is deleted", format!("DELETE FROM records WHERE {third}"), vec![(Missing, Some(1), Some(3))]),
        ("the first records are deleted", "DELETE FROM records WHERE run_no = 1 AND sequence < 3".to_owned(), vec![(Missing, Some(1), Some(3))]),
        (
            "two records change their places",
            format!("UPDATE records SET sequence = -1 WHERE {third}; UPDATE records SET sequence = 3 WHERE {fourth};
                     UPDATE records SET sequence = 4 WHERE run_no = 1 AND sequence = -1"),
            // Reading on, neither of the two is what the one behind it was chained to.
            vec![(Altered, Some(1), Some(3)), (Reordered, Some(1), Some(3))],
        ),
        ("the end of a run is deleted", "DELETE FROM records WHERE run_no = 1 AND sequence > 4".to_owned(), vec![(Truncated, Some(1), Some(5)), (CutTail, Some(1), Some(7))]),
        (
            "the end of all is deleted, and the mark with it",
            "DELETE FROM records WHERE run_no = 2 AND sequence > 4;
             UPDATE runs SET sequence = 4, hash = (SELECT hash FROM records WHERE run_no = 2 AND sequence = 4) WHERE no = 2"
                .to_owned(),
            vec![(CutTail, Some(2), Some(5))],
        ),
        ("everything is deleted", "DELETE FROM records".to_owned(), vec![(CutTail, Some(2), Some(7))]),
    ] {
        let place = Place::new().await;
        place.tamper(&sql);
        assert_eq!(place.breaks().await, expected, "{what}");
    }
}

#[tokio::test]
async fn what_retention_took_out_is_no_break_and_a_tombstone_of_somebody_else_explains_nothing() {
    use BreakKind::{Forged, Missing};
    let place = Place::new().await;
    // As if the gateway had gone on for months: only its own clock makes the days believable.
    place.tamper(&format!("UPDATE facts SET time_us = {} WHERE record = 15", 99 * DAY));
    // Of the first run all but its start, before which nothing was asked for, and its last record, which says how far it
    // has come; and the start of the second, which is kept like the run before.
    assert_eq!(place.cut().await, 7);
    let report = place.report().await;
    assert_eq!((report.breaks.as_slice(), report.records), (&[][..], 9));
    assert!(report.cut_by_retention > 0);

    place.tamper("UPDATE cuts SET signature = zeroblob(64) WHERE first = 1");
    assert_eq!(place.breaks().await, [(Missing, Some(1), Some(1)), (Forged, Some(1), Some(1))]);
    place.tamper("DELETE FROM cuts WHERE first = 1");
    assert_eq!(place.breaks().await, [(Missing, Some(1), Some(1))]);
}
