//! Each kind of tampering with what is stored, by its name and place.

#[cfg(feature = "postgres")]
use std::sync::Arc;

use kt_audit::{
    Body, Digest, Epoch, Label, Record,
    chain::ChainState,
    record::{Checkpoint, CheckpointReason, Closed, EpochStart, RequestFacts},
    sign::{Signer, checkpoint_message},
    verify::BreakKind,
};
use rusqlite::Connection;
use uuid::Uuid;

use super::*;
use crate::audit::store::{AuditStore, Batch, NewRow, Origin, Row, sqlite::Sqlite};
#[cfg(feature = "postgres")]
use crate::audit::store::{
    postgres::{Postgres, PostgresOptions, PostgresSettings},
    testing::PostgresServer,
};

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(7));
/// The file of the store in its folder.
const FILE: &str = "audit.sqlite";
const DAY: i64 = 86_400_000_000;
/// Days of the records of the first run, and of the others.
const DAYS: [u32; 2] = [10, 900];

/// What a gateway has sent, in a store.
struct Place {
    home: Home,
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

/// Where the store is.
enum Home {
    File(tempfile::TempDir),
    #[cfg(feature = "postgres")]
    Database {
        server: Arc<PostgresServer>,
        name: String,
        url: String,
    },
}

impl Home {
    fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    /// A database of its own.
    #[cfg(feature = "postgres")]
    async fn database(server: &Arc<PostgresServer>) -> Self {
        let name = format!("kt{}", Uuid::now_v7().simple());
        let url = server.database(&name).await.unwrap();
        Self::Database { server: Arc::clone(server), name, url }
    }

    async fn open(&self) -> Box<dyn AuditStore> {
        match self {
            Self::File(folder) => Box::new(Sqlite::open(&folder.path().join(FILE)).unwrap()),
            #[cfg(feature = "postgres")]
            Self::Database { url, .. } => {
                let settings = PostgresSettings::new(url, PostgresOptions::default()).unwrap();
                Box::new(Postgres::open(settings).await.unwrap())
            }
        }
    }

    /// Whoever owns the file or the database can write into it.
    async fn tamper(&self, sql: &str) {
        match self {
            Self::File(folder) => {
                Connection::open(folder.path().join(FILE)).unwrap().execute_batch(sql).unwrap();
            }
            #[cfg(feature = "postgres")]
            Self::Database { server, name, .. } => {
                server.ask(name, &format!("SET search_path TO kt_audit; {sql}")).await.unwrap();
            }
        }
    }

    /// Bytes in a statement.
    fn bytes(&self, bytes: &[u8]) -> String {
        let digits = hex::encode(bytes);
        match self {
            Self::File(_) => format!("X'{digits}'"),
            #[cfg(feature = "postgres")]
            Self::Database { .. } => format!("'\\x{digits}'::bytea"),
        }
    }

    /// Another payload, in a statement that changes one.
    fn altered(&self) -> &'static str {
        match self {
            Self::File(_) => r#"CAST(replace(CAST(payload AS TEXT), '"closed"', '"clOsed"') AS BLOB)"#,
            #[cfg(feature = "postgres")]
            Self::Database { .. } => {
                r#"convert_to(replace(convert_from(payload, 'UTF8'), '"closed"', '"clOsed"'), 'UTF8')"#
            }
        }
    }
}

impl Place {
    async fn new() -> Self {
        Self::at(Home::file()).await
    }

    /// Two runs: a start, six ends of requests and a checkpoint each.
    async fn at(home: Home) -> Self {
        let mut place = Self {
            home,
            gateway: Signer::generate().unwrap(),
            witness: Signer::generate().unwrap(),
            ends: Vec::new(),
        };
        let store = place.home.open().await;
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

    async fn report(&self) -> Report {
        verify(&*self.home.open().await, self.witness.public(), INSTANCE, |_| ()).await.unwrap().report
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
        let store = self.home.open().await;
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
async fn each_kind_of_tampering_with_a_file_is_named_with_its_place() {
    each_kind(async || Home::file()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_tampering_with_a_database_is_named_with_its_place() {
    let server = Arc::new(PostgresServer::start().await.unwrap());
    each_kind(async || Home::database(&server).await).await;
}

async fn each_kind(home: impl AsyncFn() -> Home) {
    use BreakKind::{Altered, CutTail, Forged, Missing, Reordered, Truncated};
    let at = |run, sequence| "run_no = ".to_owned() + run + " AND sequence = " + sequence;
    let (third, fourth) = (at("1", "3"), at("1", "4"));
    let forged = {
        // Signed by somebody, and the mark moved, so that all but the key fits.
        let stranger = Signer::generate().unwrap();
        let place = Place::at(home().await).await;
        let rows = place.home.open().await.chain(INSTANCE, None, 100).await.unwrap();
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
        let new = &run.rows[0].row;
        let (payload, hash) = (place.home.bytes(&new.payload), place.home.bytes(&new.hash.0));
        let time_us = new.time_us;
        let sql = format!(
            "UPDATE records SET payload = {payload}, hash = {hash}, time_us = {time_us} WHERE run_no = 2 AND sequence = 7;
             UPDATE runs SET hash = {hash} WHERE no = 2"
        );
        place.home.tamper(&sql).await;
        place.breaks().await
    };
    // The countersignature names another record there; the signature in it is a stranger's.
    assert_eq!(forged, [(Altered, Some(2), Some(7)), (Forged, Some(2), Some(7))]);

    for (what, sql, expected) in [
        (
            "a byte of a payload is flipped",
            format!("UPDATE records SET payload = {} WHERE {third}", home().await.altered()),
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
        let place = Place::at(home().await).await;
        place.home.tamper(&sql).await;
        assert_eq!(place.breaks().await, expected, "{what}");
    }
}

#[tokio::test]
async fn what_retention_took_out_is_no_break_and_a_tombstone_of_somebody_else_explains_nothing() {
    use BreakKind::{Forged, Missing};
    let place = Place::new().await;
    // As if the gateway had gone on for months: only its own clock makes the days believable.
    place.home.tamper(&format!("UPDATE facts SET time_us = {} WHERE record = 15", 99 * DAY)).await;
    // Of the first run all but its start, before which nothing was asked for, and its last record, which says how far it
    // has come; and the start of the second, which is kept like the run before.
    assert_eq!(place.cut().await, 7);
    let report = place.report().await;
    assert_eq!((report.breaks.as_slice(), report.records), (&[][..], 9));
    assert!(report.cut_by_retention > 0);

    place.home.tamper("UPDATE cuts SET signature = zeroblob(64) WHERE first = 1").await;
    assert_eq!(place.breaks().await, [(Missing, Some(1), Some(1)), (Forged, Some(1), Some(1))]);
    place.home.tamper("DELETE FROM cuts WHERE first = 1").await;
    assert_eq!(place.breaks().await, [(Missing, Some(1), Some(1))]);
}
