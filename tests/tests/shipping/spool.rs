//! A directory that is written to, and its delivery.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kt_audit::record::{Body, Caller, Closed, End, Endpoint, RequestFacts};
use kt_data_plane::{
    audit::{self, AuditHandle, AuditLog, Delivery, Durability},
    settings::ControlSettings,
    ship::Ship,
};
use kt_tests::fake_control_plane::TOKEN;
use uuid::Uuid;

/// Nothing in these tests takes longer, or something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An audit directory and a token.
pub(crate) struct Spool {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) settings: audit::Settings,
    next: u128,
}

/// One run of it.
pub(crate) struct Run {
    pub(crate) log: AuditHandle,
    pub(crate) ship: Ship,
    writer: AuditLog,
}

impl Spool {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), TOKEN).unwrap();
        let settings = audit::Settings {
            fsync_interval: Duration::from_millis(20),
            segment_bytes: 64 << 10,
            checkpoint_records: 100,
            delivery: Some(Delivery::new()),
            ..audit::Settings::default()
        };
        Self { dir, settings, next: 0 }
    }

    /// Goes on with other ids.
    pub(crate) fn skip(&mut self, ids: u128) {
        self.next += ids;
    }

    pub(crate) fn audit(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    pub(crate) fn control(&self, url: &str) -> ControlSettings {
        ControlSettings::new(url, self.dir.path().join("token"))
    }

    /// Starts the log, and its delivery to `url`.
    pub(crate) fn run(&self, url: &str) -> Run {
        let (log, writer) = audit::open(&self.audit(), &self.settings).unwrap();
        let ship = Ship::of(&log, &self.audit(), self.control(url), "gateway-1".to_owned()).unwrap();
        Run { log, ship, writer }
    }

    /// Writes so many records without delivering them.
    pub(crate) async fn write(&mut self, count: usize) -> Vec<Uuid> {
        let (log, writer) = audit::open(&self.audit(), &self.settings).unwrap();
        let ids = self.append(&log, count).await;
        writer.close(PATIENCE).await.unwrap();
        ids
    }

    /// Appends so many records of requests, by three people in turn.
    pub(crate) async fn append(&mut self, log: &AuditHandle, count: usize) -> Vec<Uuid> {
        let mut ids = Vec::new();
        for _ in 0..count {
            self.next += 1;
            let id = Uuid::from_u128(self.next);
            let person = log.subject(&format!("person{}@example.com", self.next % 3));
            let request = RequestFacts {
                accepted_us: 1_700_000_000_000_000,
                endpoint: Endpoint::ChatCompletions,
                caller: Caller { subject: Some(person.pseudonym()), ..Caller::default() },
                ..RequestFacts::default()
            };
            let body = Closed { id, request, end: End::Completed, ..Closed::default() };
            log.append(Body::Closed(Box::new(body)), Durability::Block, Some(&person)).await.unwrap();
            ids.push(id);
        }
        ids
    }
}

impl Run {
    /// Closes the log, and says whether everything was delivered.
    pub(crate) async fn stop(self) -> bool {
        self.writer.close(PATIENCE).await.unwrap();
        self.ship.finish(PATIENCE).await
    }

    /// Ends the delivery at once; the log is closed.
    pub(crate) async fn abandon(self) {
        drop(self.ship);
        self.writer.close(PATIENCE).await.unwrap();
    }
}

/// The records of a directory by their types.
pub(crate) fn records(dir: &Path) -> Vec<kt_audit::dir::Entry> {
    let dir = kt_audit::dir::AuditDir::open(dir).unwrap();
    dir.records(kt_audit::dir::Order::OldestFirst).unwrap().map(Result::unwrap).collect()
}

/// Exactly these requests have an end in the store, in this order, and every chain is whole.
#[track_caller]
pub(crate) fn assert_delivered(kept: &kt_tests::fake_ingest::Kept, ids: &[Uuid]) {
    assert_eq!(kept.breaks(), Vec::<String>::new());
    let closed = kept.closed();
    let differs = closed.iter().zip(ids).position(|(one, two)| one != two);
    assert_eq!((closed.len(), differs), (ids.len(), None), "stored, and the first that is another one");
}
