//! The work for a sink, step by step, over a real store and a sink that can be told to fail.

use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use kt_audit::record::{Body, Kind, Verdict};

use super::{
    run::{Feeding, Step},
    *,
};
use crate::audit::store::{
    AuditStore,
    sqlite::Sqlite,
    tests::{EPOCH, INSTANCE, Run, blocked, closed},
};

/// The places of a batch, the sequences of its records, and whether it arrived.
type Given = ((u64, u64), Vec<u64>, bool);

/// A sink that remembers what it was given.
#[derive(Default)]
struct Double {
    batches: Mutex<Vec<Given>>,
    fails: Mutex<bool>,
}

// === impl Double ===

impl Double {
    fn fail(&self, fails: bool) {
        *self.fails.lock().unwrap_or_else(PoisonError::into_inner) = fails;
    }

    fn batches(&self) -> Vec<Given> {
        std::mem::take(&mut self.batches.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Double {
    fn deliver<'a>(&'a self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), Undelivered>> {
        async move {
            let fails = *self.fails.lock().unwrap_or_else(PoisonError::into_inner);
            let sequences = batch.records.iter().map(|(stored, _)| stored.row.sequence).collect();
            self.batches.lock().unwrap_or_else(PoisonError::into_inner).push((
                batch.places,
                sequences,
                !fails,
            ));
            if fails { Err(Undelivered::new("it is told to fail")) } else { Ok(()) }
        }
        .boxed()
    }
}

struct Place {
    _folder: tempfile::TempDir,
    store: Arc<dyn AuditStore>,
    sink: Arc<Double>,
    run: Run,
    metrics: SinkMetrics,
}

// === impl Place ===

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open(&folder.path().join("audit.sqlite")).unwrap());
        Self {
            _folder: folder,
            store,
            sink: Arc::default(),
            run: Run::new(INSTANCE, EPOCH, 1),
            metrics: SinkMetrics::default(),
        }
    }

    async fn add(&mut self, bodies: Vec<Body>) {
        self.store.append(self.run.batch(bodies)).await.unwrap();
    }

    fn feeding(&self, settings: SinkSettings) -> Feeding {
        let fed = Fed { settings, kind: "https", sink: Arc::clone(&self.sink) as Arc<dyn Sink> };
        Feeding::new(Arc::clone(&self.store), "one".into(), fed, self.metrics.clone())
    }

    fn metrics(&self) -> String {
        let (mut registry, mut told) = (prometheus_client::registry::Registry::default(), String::new());
        self.metrics.register(&mut registry);
        prometheus_client::encoding::text::encode(&mut told, &registry).unwrap();
        told
    }

    async fn state(&self) -> crate::audit::store::SinkState {
        self.store.sinks().await.unwrap().remove(0).1
    }
}

fn settings() -> SinkSettings {
    SinkSettings {
        name: "siem".to_owned(),
        object_store: None,
        https: None,
        otlp: None,
        only: Only::default(),
        begin: Begin::Oldest,
        every_seconds: Some(0),
        max_records: Some(3),
        max_bytes: None,
    }
}

fn ends(ids: std::ops::Range<u128>) -> Vec<Body> {
    ids.map(|id| closed(id, |_| ())).collect()
}

async fn steps(feeding: &Feeding) {
    while let Step::Gone = feeding.step().await.unwrap() {}
}

#[tokio::test]
async fn records_go_in_the_order_of_arrival_once() {
    let mut place = Place::new();
    let feeding = place.feeding(settings());
    steps(&feeding).await;
    assert_eq!(place.sink.batches(), []);
    place.add(ends(0..5)).await;
    steps(&feeding).await;
    place.add(ends(5..7)).await;
    // Another start goes on where this one was.
    let feeding = place.feeding(settings());
    steps(&feeding).await;
    place.add(ends(7..8)).await;
    place.sink.fail(true);
    assert!(feeding.step().await.is_err());
    let told = place.metrics();
    for line in [
        "audit_sink_records_total{sink=\"siem\"} 7",
        "audit_sink_batches_total{sink=\"siem\"} 3",
        "audit_sink_failures_total{sink=\"siem\"} 1",
        "audit_sink_lag_records{sink=\"siem\"} 1",
    ] {
        assert!(told.contains(line), "{told}");
    }
    let expected = [((0, 3), vec![0, 1, 2], true), ((3, 5), vec![3, 4], true), ((5, 7), vec![5, 6], true)];
    assert_eq!(place.sink.batches()[..3], expected);
}

#[tokio::test]
async fn a_batch_that_did_not_arrive_is_sent_again_as_it_was_and_nothing_overtakes_it() {
    let mut place = Place::new();
    place.add(ends(0..2)).await;
    place.sink.fail(true);
    let feeding = place.feeding(settings());
    assert!(feeding.step().await.is_err());
    place.add(ends(2..9)).await;
    // Also by whoever goes on after a crash.
    let feeding = place.feeding(settings());
    assert!(feeding.step().await.is_err());
    let state = place.state().await;
    assert_eq!(state.mark.position, 0);
    assert_eq!(&*state.problem.unwrap().0, "it is told to fail");
    place.sink.fail(false);
    steps(&feeding).await;
    let batches = place.sink.batches();
    assert_eq!(
        batches[..3],
        [((0, 2), vec![0, 1], false), ((0, 2), vec![0, 1], false), ((0, 2), vec![0, 1], true)]
    );
    let rest: Vec<u64> = batches[3..].iter().flat_map(|(_, sequences, _)| sequences.clone()).collect();
    assert_eq!(rest, [2, 3, 4, 5, 6, 7, 8]);
    let state = place.state().await;
    assert!(state.problem.is_none() && state.delivered_us.is_some(), "{state:?}");
}

#[tokio::test]
async fn what_is_not_wanted_is_not_sent_and_does_not_hold_up() {
    let mut place = Place::new();
    place.add(vec![closed(1, |_| ()), blocked(2), closed(3, |_| ()), closed(4, |_| ())]).await;
    let only = Only { types: vec![Kind::Closed], verdicts: vec![Verdict::Block], ..Only::default() };
    let feeding = place.feeding(SinkSettings { only, ..settings() });
    steps(&feeding).await;
    assert_eq!(place.sink.batches(), [((0, 3), vec![1], true)]);
    assert_eq!(place.state().await.mark.position, 4);
    let only = |only| place.feeding(SinkSettings { name: "other".to_owned(), only, ..settings() });
    steps(&only(Only { fleets: vec!["payments".to_owned()], ..Only::default() })).await;
    steps(&only(Only { policies: vec!["nobody's".to_owned()], ..Only::default() })).await;
    assert_eq!(place.sink.batches(), []);
}

#[tokio::test]
async fn a_batch_waits_until_it_is_full_or_old_enough() {
    let mut place = Place::new();
    let slow = SinkSettings { every_seconds: Some(u64::MAX / 2), ..settings() };
    place.add(ends(0..2)).await;
    let feeding = place.feeding(slow.clone());
    steps(&feeding).await;
    assert_eq!(place.sink.batches(), []);
    place.add(ends(2..4)).await;
    steps(&feeding).await;
    assert_eq!(place.sink.batches(), [((0, 3), vec![0, 1, 2], true)]);
    // The store had these at a fixed time, long ago.
    let quick = SinkSettings { every_seconds: Some(1), ..slow };
    steps(&place.feeding(quick)).await;
    assert_eq!(place.sink.batches(), [((3, 4), vec![3], true)]);
}

#[tokio::test]
async fn a_batch_ends_where_it_has_enough_bytes() {
    let mut place = Place::new();
    place.add(ends(0..4)).await;
    let small = SinkSettings { max_bytes: Some(1), max_records: None, ..settings() };
    steps(&place.feeding(small)).await;
    let sizes: Vec<usize> = place.sink.batches().iter().map(|(_, sequences, _)| sequences.len()).collect();
    assert_eq!(sizes, [1, 1, 1, 1]);
}

#[tokio::test]
async fn a_new_sink_can_begin_with_what_comes_next() {
    let mut place = Place::new();
    place.add(ends(0..2)).await;
    let newest = SinkSettings { begin: Begin::Newest, ..settings() };
    let feeding = place.feeding(newest);
    steps(&feeding).await;
    place.add(ends(2..3)).await;
    steps(&feeding).await;
    assert_eq!(place.sink.batches(), [((2, 3), vec![2], true)]);
}

#[tokio::test]
async fn retention_waits_for_the_sink_that_is_furthest_behind() {
    let place = Place::new();
    let names = ["a", "b"].map(|name| SinkName { name: name.into(), kind: "https" });
    let audit = |sinks: &[SinkName]| {
        let folder = tempfile::tempdir().unwrap();
        let witness = Arc::new(crate::audit::Witness::open(folder.path()).unwrap());
        let packs = Arc::new(crate::store::scripted::Scripted::new());
        crate::audit::Audit::new(
            Arc::clone(&place.store),
            witness,
            crate::audit::Ledger::new(packs),
            sinks.into(),
        )
    };
    assert_eq!(audit(&[]).taken().await.unwrap(), None);
    assert_eq!(audit(&names).taken().await.unwrap(), Some(0), "one that has not begun has taken nothing");
    for (name, position) in [("a", 7), ("b", 3), ("c", 1)] {
        let lease =
            crate::audit::store::SinkLease { sink: name, owner: "one", time: std::time::Duration::ZERO };
        place.store.take_sink(lease, position).await.unwrap();
    }
    assert_eq!(audit(&names).taken().await.unwrap(), Some(3), "of those that are set up");
}

#[test]
fn everything_that_is_wrong_with_sinks_is_told_at_once() {
    let https = |url: &str| settings::Https {
        url: url.to_owned(),
        body: HttpsBody::JsonLines,
        headers: vec![Header { name: "authorization".to_owned(), value: None, file: None }],
        ca_file: None,
        insecure: false,
    };
    let sinks = [
        SinkSettings { name: "a b".to_owned(), ..settings() },
        SinkSettings { https: Some(https("http://siem.example.com/")), ..settings() },
        SinkSettings { https: Some(https("ftp://u:p@siem")), max_records: Some(0), ..settings() },
    ];
    let faults = set_up(&sinks).err().unwrap();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_batch_has_one_name_wherever_it_goes() {
    let batch = Batch { sink: "lake", places: (7, 12), records: Vec::new() };
    assert_eq!(batch.name(), "lake-00000000000000000007-00000000000000000012");
}
