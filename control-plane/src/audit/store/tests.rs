//! What every store of audit records must do, whichever engine is behind it.

#[cfg(feature = "postgres")]
mod postgres;

use std::sync::Arc;

use kt_audit::{
    Body, Digest, Epoch, InstanceId, Kind, Label, Position, Record,
    chain::record_hash,
    identity::PseudonymKey,
    record::{
        Caller, Closed, Cost, Disposition, Effect, End, Finding, Opened, Refusal, RequestFacts, Target,
        Tokens, Verdict,
    },
};
use uuid::Uuid;

use super::{sqlite::Sqlite, *};

pub(in crate::audit) const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(7));
pub(in crate::audit) const EPOCH: Epoch = Epoch([9; 16]);
pub(in crate::audit) const T0: i64 = 1_764_000_000_000_000;

fn origin(instance: InstanceId) -> Origin {
    Origin { instance, fleet: "default".into(), gateway: "gw".into(), name: "gw-1".into() }
}

/// Records of one run, bound to each other.
pub(in crate::audit) struct Run {
    instance: InstanceId,
    epoch: Epoch,
    ordinal: u64,
    next: u64,
    previous: Digest,
}

impl Run {
    pub(in crate::audit) fn new(instance: InstanceId, epoch: Epoch, ordinal: u64) -> Self {
        Self { instance, epoch, ordinal, next: 0, previous: Digest::ZERO }
    }

    pub(in crate::audit) fn batch(&mut self, bodies: Vec<Body>) -> Batch {
        let rows = bodies
            .into_iter()
            .map(|body| NewRow::new(self.row(Record::new(body).payload().unwrap())))
            .collect();
        Batch {
            origin: origin(self.instance),
            epoch: self.epoch,
            ordinal: self.ordinal,
            rows,
            stored_us: T0 + 5,
        }
    }

    fn row(&mut self, payload: Vec<u8>) -> Row {
        let (sequence, previous) = (self.next, self.previous);
        let time_us = T0 + i64::try_from(sequence).unwrap() * 1_000_000;
        let hash = record_hash(self.instance, self.epoch, sequence, time_us, &previous, &payload);
        self.next += 1;
        self.previous = hash;
        Row { sequence, time_us, previous, hash, payload }
    }
}

pub(in crate::audit) fn closed(id: u128, change: impl FnOnce(&mut Closed)) -> Body {
    let mut closed = Closed {
        id: Uuid::from_u128(id),
        end: End::Completed,
        status: Some(200),
        request: RequestFacts {
            requested_model: Some(Label::new("llama")),
            caller: Caller {
                roles: vec![Label::new("analyst"), Label::new("admin")],
                team: Some(Label::new("red")),
                ..Caller::default()
            },
            ..RequestFacts::default()
        },
        target: Some(Target { id: Label::new("t"), model: Label::new("llama-70b"), region: None }),
        tokens: Some(Tokens { prompt: Some(10), completion: Some(5), ..Tokens::default() }),
        cost: Some(Cost { micro_usd: Some(3), price_table: Label::new("1") }),
        ..Closed::default()
    };
    change(&mut closed);
    Body::Closed(Box::new(closed))
}

pub(in crate::audit) fn blocked(id: u128) -> Body {
    closed(id, |closed| {
        closed.verdict = Verdict::Block;
        closed.end = End::Blocked;
        closed.status = Some(409);
        closed.refusal = Some(Refusal {
            status: 409,
            code: Label::new("input_blocked"),
            policy: Some(Label::new("dlp-filter")),
            rule: Some(Label::new("databricks-pat")),
            param: None,
        });
    })
}

fn observed(id: u128) -> Body {
    closed(id, |closed| {
        let finding = |rule: &str| Finding {
            policy: Label::new("pii-detector"),
            rule: Label::new(rule),
            entity: None,
            phase: kt_audit::record::Phase::Input,
            field: Label::new("/messages/0/content"),
            start: 0,
            end: 1,
            score: None,
            effect: Effect::Redact,
            disposition: Disposition::Observed,
        };
        closed.findings = vec![finding("PERSON"), finding("PERSON"), finding("EMAIL_ADDRESS")];
    })
}

fn opened(id: u128) -> Body {
    Body::Opened(Box::new(Opened { id: Uuid::from_u128(id), ..Opened::default() }))
}

/// What is behind the trait.
#[derive(Debug, Clone, Copy)]
enum Engine {
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// A store of its own.
struct Place {
    store: Option<Arc<dyn AuditStore>>,
    kept: Kept,
}

/// Where it is.
enum Kept {
    Folder(tempfile::TempDir),
    #[cfg(feature = "postgres")]
    Server(postgres::Server),
}

impl Place {
    async fn new(engine: Engine) -> Self {
        let kept = match engine {
            Engine::Sqlite => Kept::Folder(tempfile::tempdir().unwrap()),
            #[cfg(feature = "postgres")]
            Engine::Postgres => Kept::Server(postgres::Server::start().await),
        };
        let mut place = Self { store: None, kept };
        place.reopen().await;
        place
    }

    fn store(&self) -> &dyn AuditStore {
        &**self.store.as_ref().unwrap()
    }

    /// Whether the bytes are in any of the files.
    async fn has(&self, wanted: &[u8]) -> bool {
        let folder = match &self.kept {
            Kept::Folder(folder) => folder.path().to_owned(),
            #[cfg(feature = "postgres")]
            Kept::Server(server) => server.settled().await,
        };
        has(&folder, wanted)
    }

    /// As after a crash or a restart.
    async fn reopen(&mut self) {
        self.store = None;
        let store: Arc<dyn AuditStore> = match &self.kept {
            // The threads let go of the file once they have seen the end of their queues.
            Kept::Folder(folder) => Arc::new(Sqlite::open(&folder.path().join("audit.sqlite")).unwrap()),
            #[cfg(feature = "postgres")]
            Kept::Server(server) => Arc::new(server.open().await.unwrap()),
        };
        self.store = Some(store);
    }
}

/// Whether the bytes are in any file of a folder.
fn has(folder: &std::path::Path, wanted: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        // What ends meanwhile holds nothing.
        if path.is_dir() {
            has(&path, wanted)
        } else {
            std::fs::read(path).is_ok_and(|bytes| memory(&bytes, wanted))
        }
    })
}

fn memory(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|part| part == wanted)
}

/// Every test of the contract, for each engine.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Engine::Sqlite).await;
            })*
        }

        #[cfg(feature = "postgres")]
        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Engine::Postgres).await;
            })*
        }
    };
}

mod keep;
mod sinks;

contract![
    the_exact_bytes_come_back_in_the_order_of_the_chain_also_after_a_restart,
    a_chain_is_read_in_pages_over_the_borders_of_runs,
    what_comes_again_is_counted_and_changes_nothing,
    another_record_under_the_same_number_is_kept_apart,
    a_gap_is_noted_and_what_fills_it_later_is_taken,
    a_chain_that_does_not_fit_and_a_cloned_machine_are_noted,
    records_are_found_by_what_is_in_them,
    pages_neither_repeat_nor_miss_anything_while_records_come,
    requests_are_counted_once_by_whatever_is_asked,
    keys_and_countersignatures_are_remembered,
    a_person_is_one_behind_the_pseudonyms_of_several_gateways,
    an_erased_person_is_in_no_byte_of_the_files_and_stays_erased,
    a_person_can_be_erased_before_their_name_comes_and_a_pseudonym_of_nobody_can_not,
    batches_that_come_together_are_each_answered,
];

async fn all(store: &dyn AuditStore, filter: EventFilter) -> Vec<Stored> {
    store.events(filter, true, None, 1_000).await.unwrap().events
}

async fn the_exact_bytes_come_back_in_the_order_of_the_chain_also_after_a_restart(engine: Engine) {
    let mut place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let first = run.batch(vec![opened(1), closed(1, |_| ())]);
    let second = run.batch(vec![blocked(2)]);
    let expected: Vec<Row> = [&first, &second]
        .into_iter()
        .flat_map(|batch| batch.rows.iter().map(|new| new.row.clone()))
        .collect();
    for batch in [first, second] {
        let appended = place.store().append(batch).await.unwrap();
        assert_eq!(appended, Appended { duplicates: 0, noted: vec![] });
    }
    place.reopen().await;
    let chain = place.store().chain(INSTANCE, None, 100).await.unwrap();
    assert_eq!(chain.into_iter().map(|stored| stored.row).collect::<Vec<_>>(), expected);
    let marks = place.store().marks(INSTANCE).await.unwrap();
    let last = Position { epoch: EPOCH, sequence: 2, hash: run.previous };
    assert_eq!(marks, [Mark { ordinal: 1, last }]);
}

async fn a_chain_is_read_in_pages_over_the_borders_of_runs(engine: Engine) {
    let place = Place::new(engine).await;
    let mut expected = Vec::new();
    for ordinal in 1..=3_u8 {
        let mut run = Run::new(INSTANCE, Epoch([ordinal; 16]), u64::from(ordinal));
        let batch = run.batch((0..5).map(|id| closed(id, |_| ())).collect());
        expected.extend(batch.rows.iter().map(|new| new.row.hash));
        place.store().append(batch).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut behind = None;
    loop {
        let page = place.store().chain(INSTANCE, behind, 4).await.unwrap();
        let Some(last) = page.last() else { break };
        behind = Some(ChainPlace { epoch: last.epoch, sequence: last.row.sequence });
        seen.extend(page.iter().map(|stored| stored.row.hash));
    }
    assert_eq!(seen, expected);
}

async fn what_comes_again_is_counted_and_changes_nothing(engine: Engine) {
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let batch = run.batch(vec![closed(1, |_| ()), blocked(2)]);
    place.store().append(batch.clone()).await.unwrap();
    let mut longer = batch.clone();
    longer.rows.push(NewRow::new(run.row(Record::new(closed(3, |_| ())).payload().unwrap())));
    let appended = place.store().append(longer).await.unwrap();
    assert_eq!(appended, Appended { duplicates: 2, noted: vec![] });
    assert_eq!(place.store().append(batch).await.unwrap().duplicates, 2);
    assert_eq!(all(place.store(), EventFilter::default()).await.len(), 3);
    assert_eq!(place.store().instances().await.unwrap()[0].records, 3);
}

async fn another_record_under_the_same_number_is_kept_apart(engine: Engine) {
    let place = Place::new(engine).await;
    let batch = Run::new(INSTANCE, EPOCH, 1).batch(vec![closed(1, |_| ())]);
    let other = Run::new(INSTANCE, EPOCH, 1).batch(vec![closed(99, |_| ())]);
    place.store().append(batch.clone()).await.unwrap();
    let appended = place.store().append(other).await.unwrap();
    let noted = Noted { trouble: Trouble::Quarantined, epoch: EPOCH, first: 0, last: 0 };
    assert_eq!(appended, Appended { duplicates: 0, noted: vec![noted] });
    let there = all(place.store(), EventFilter::default()).await;
    assert_eq!(there[0].row, batch.rows[0].row, "the first one stays");
    assert_eq!(place.store().instances().await.unwrap()[0].noted, [noted]);
}

async fn a_gap_is_noted_and_what_fills_it_later_is_taken(engine: Engine) {
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let first = run.batch(vec![closed(1, |_| ())]);
    let lost = run.batch(vec![closed(2, |_| ()), closed(3, |_| ())]);
    let third = run.batch(vec![closed(4, |_| ())]);
    place.store().append(first).await.unwrap();
    let appended = place.store().append(third).await.unwrap();
    assert_eq!(appended.noted, [Noted { trouble: Trouble::Gap, epoch: EPOCH, first: 1, last: 2 }]);
    place.store().append(lost).await.unwrap();
    assert_eq!(all(place.store(), EventFilter::default()).await.len(), 4);
    let chain = place.store().chain(INSTANCE, None, 10).await.unwrap();
    let numbers: Vec<u64> = chain.iter().map(|stored| stored.row.sequence).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
}

async fn a_chain_that_does_not_fit_and_a_cloned_machine_are_noted(engine: Engine) {
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    place.store().append(run.batch(vec![closed(1, |_| ())])).await.unwrap();
    run.previous = Digest::of(b"something else");
    let appended = place.store().append(run.batch(vec![closed(2, |_| ())])).await.unwrap();
    assert_eq!(appended.noted[0].trouble, Trouble::BrokenChain);
    let mut clone = Run::new(INSTANCE, Epoch([8; 16]), 1);
    let appended = place.store().append(clone.batch(vec![closed(3, |_| ())])).await.unwrap();
    assert_eq!(appended.noted[0].trouble, Trouble::Cloned);
    assert_eq!(place.store().marks(INSTANCE).await.unwrap().len(), 2, "both are kept");
}

async fn records_are_found_by_what_is_in_them(engine: Engine) {
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let batch = run.batch(vec![opened(1), closed(1, |_| ()), blocked(2), observed(3)]);
    place.store().append(batch).await.unwrap();
    let mut other = Run::new(InstanceId(Uuid::from_u128(8)), EPOCH, 1);
    place
        .store()
        .append(other.batch(vec![closed(4, |closed| closed.request.caller.team = Some(Label::new("blue")))]))
        .await
        .unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let any = EventFilter::default;
    for (filter, expected) in [
        (any(), vec![1, 2, 3, 4]),
        (EventFilter { kinds: vec![Kind::Opened], ..any() }, vec![1]),
        (EventFilter { verdicts: vec![Verdict::Block], ..any() }, vec![2]),
        (EventFilter { verdicts: vec![Verdict::Block, Verdict::Allow], ..any() }, vec![1, 2, 3, 4]),
        (EventFilter { policies: names(&["dlp-filter"]), ..any() }, vec![2]),
        (EventFilter { rules: names(&["PERSON"]), ..any() }, vec![3]),
        (EventFilter { policies: names(&["dlp-filter"]), rules: names(&["PERSON"]), ..any() }, vec![]),
        (EventFilter { would: true, ..any() }, vec![3]),
        (EventFilter { roles: names(&["admin"]), ..any() }, vec![1, 2, 3, 4]),
        (EventFilter { roles: names(&["adm", "nobody"]), ..any() }, vec![]),
        (EventFilter { teams: names(&["blue"]), ..any() }, vec![4]),
        (EventFilter { models: names(&["llama-70b"]), ..any() }, vec![1, 2, 3, 4]),
        (EventFilter { models: names(&["gpt"]), ..any() }, vec![]),
        (EventFilter { instances: vec![INSTANCE], ..any() }, vec![1, 2, 3]),
        (EventFilter { fleet: Some("other".to_owned()), ..any() }, vec![]),
        (EventFilter { from_us: Some(T0 + 2_000_000), ..any() }, vec![2, 3]),
        (EventFilter { to_us: Some(T0 + 2_000_000), ..any() }, vec![1, 4]),
        (EventFilter { teams: names(&["' OR 1=1 --"]), ..any() }, vec![]),
    ] {
        let found = all(place.store(), filter.clone()).await;
        let ids: Vec<u128> = found
            .iter()
            .map(|stored| Record::parse(&stored.row.payload).unwrap().body.request_id().unwrap().as_u128())
            .collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
    let of_request = place.store().request(Uuid::from_u128(1)).await.unwrap();
    assert_eq!(of_request.len(), 2);
    assert!(place.store().request(Uuid::from_u128(77)).await.unwrap().is_empty());
}

async fn pages_neither_repeat_nor_miss_anything_while_records_come(engine: Engine) {
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    place.store().append(run.batch((0..25).map(|id| closed(id, |_| ())).collect())).await.unwrap();
    let mut seen = Vec::new();
    let mut page = None;
    loop {
        let read = place.store().events(EventFilter::default(), false, page, 10).await.unwrap();
        seen.extend(read.events.iter().map(|stored| stored.row.sequence));
        place.store().append(run.batch(vec![closed(100, |_| ())])).await.unwrap();
        page = read.next;
        if page.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..25).rev().collect::<Vec<u64>>());
}

async fn requests_are_counted_once_by_whatever_is_asked(engine: Engine) {
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let unpriced = |closed: &mut Closed| closed.cost = None;
    let batch = run.batch(vec![opened(1), closed(1, unpriced), blocked(2), blocked(3), observed(4)]);
    place.store().append(batch).await.unwrap();
    let stats = async |by: &[Dimension]| {
        let query = StatsQuery { filter: EventFilter::default(), by: by.to_vec(), limit: 10 };
        place.store().stats(query).await.unwrap()
    };
    let total = &stats(&[]).await[0];
    assert_eq!((total.requests, total.blocked, total.would_redact), (4, 2, 1));
    assert_eq!((total.input_tokens, total.output_tokens, total.micro_usd, total.unpriced), (40, 20, 9, 1));

    let rows = stats(&[Dimension::Policy]).await;
    let key = |row: &StatRow| row.key.join(" ");
    assert_eq!(rows.iter().map(key).collect::<Vec<_>>(), ["dlp-filter", "pii-detector"]);
    assert_eq!((rows[0].requests, rows[0].blocked, rows[0].input_tokens), (2, 2, 20));
    assert_eq!((rows[1].requests, rows[1].would_redact, rows[1].input_tokens), (1, 1, 10));

    let rows = stats(&[Dimension::Rule]).await;
    let keys: Vec<_> = rows.iter().map(key).collect();
    assert_eq!(keys, ["dlp-filter/databricks-pat", "pii-detector/EMAIL_ADDRESS", "pii-detector/PERSON"]);
    let rows = stats(&[Dimension::Verdict, Dimension::Team]).await;
    assert_eq!(rows.iter().map(key).collect::<Vec<_>>(), ["allow red", "block red"]);
    let rows = stats(&[Dimension::Day]).await;
    assert_eq!((key(&rows[0]).as_str(), rows[0].requests), ("2025-11-24", 4));
}

async fn keys_and_countersignatures_are_remembered(engine: Engine) {
    let mut place = Place::new(engine).await;
    let position = Position { epoch: EPOCH, sequence: 3, hash: Digest::of(b"x") };
    place.store().put_keys(origin(INSTANCE), vec![[1; 32], [2; 32]], T0).await.unwrap();
    place.store().put_keys(origin(INSTANCE), vec![[2; 32]], T0 + 1).await.unwrap();
    place.store().put_countersigned(INSTANCE, position, T0).await.unwrap();
    place.reopen().await;
    assert_eq!(place.store().fleet_of(INSTANCE).await.unwrap().as_deref(), Some("default"));
    assert_eq!(place.store().fleet_of(InstanceId(Uuid::from_u128(99))).await.unwrap(), None);
    let vouched = place.store().vouched(INSTANCE).await.unwrap();
    assert_eq!(vouched, Vouched { keys: vec![[1; 32], [2; 32]], countersigned: Some(position) });
}

async fn a_person_is_one_behind_the_pseudonyms_of_several_gateways(engine: Engine) {
    let place = Place::new(engine).await;
    let keys = [[1; 32], [2; 32], [3; 32]].map(|bytes| kt_audit::identity::PseudonymKey::new(&bytes));
    let [here, one, two] = &keys;
    let person = here.subject("jane@example.com");
    for (instance, key) in [(INSTANCE, one), (InstanceId(Uuid::from_u128(8)), two)] {
        place.store().put_keys(origin(instance), vec![], T0).await.unwrap();
        let (sealed, subject_key) = person.seal().unwrap();
        let row = SubjectRow {
            pseudonym: key.subject("jane@example.com").pseudonym(),
            pseudonym_key: key.id().0,
            person: person.pseudonym(),
            sealed,
            key: subject_key,
        };
        place.store().put_subjects(instance, vec![row.clone(), row], T0).await.unwrap();
    }
    let mut expected = vec![one, two].into_iter().map(|key| key.subject("jane@example.com").pseudonym());
    let mut found = place.store().pseudonyms(person.pseudonym()).await.unwrap();
    found.sort_unstable();
    let mut sorted: Vec<_> = expected.by_ref().collect();
    sorted.sort_unstable();
    assert_eq!(found, sorted);
    let names = place.store().names(found).await.unwrap();
    let opened: Vec<String> = names.iter().map(|(_, (sealed, key))| sealed.open(key).unwrap()).collect();
    assert_eq!(opened, ["jane@example.com"; 2]);
    assert!(!place.has(b"jane@exa").await, "the name is nowhere in clear text");
}

/// A name of a person, as a gateway with this key sends it.
fn subject_row(here: &PseudonymKey, gateway: &PseudonymKey, name: &str) -> SubjectRow {
    let person = here.subject(name);
    let (sealed, key) = person.seal().unwrap();
    SubjectRow {
        pseudonym: gateway.subject(name).pseudonym(),
        pseudonym_key: gateway.id().0,
        person: person.pseudonym(),
        sealed,
        key,
    }
}

fn erasure(id: u128, who: Who) -> Erasure {
    Erasure { id: Uuid::from_u128(id), who, reference: "T-1".into(), now_us: T0 + 9, is_repeat: false }
}

async fn erase(place: &Place, erasure: Erasure) -> Erased {
    match place.store().erase(erasure).await.unwrap() {
        Erasing::Done(erased) => erased,
        other => panic!("{other:?}"),
    }
}

async fn an_erased_person_is_in_no_byte_of_the_files_and_stays_erased(engine: Engine) {
    const OTHER: InstanceId = InstanceId(Uuid::from_u128(8));
    let mut place = Place::new(engine).await;
    let [here, one, two, late] = [1, 2, 3, 4].map(|byte| PseudonymKey::new(&[byte; 32]));
    let jane = subject_row(&here, &one, "jane@example.com");
    let sealed = serde_json::to_value(&jane.sealed).unwrap()["sealed"].as_str().unwrap().to_owned();
    let key = serde_json::to_value(&jane.key).unwrap()["key"].as_str().unwrap().to_owned();
    let (person, pseudonym) = (jane.person, jane.pseudonym);
    for instance in [INSTANCE, OTHER] {
        place.store().put_keys(origin(instance), vec![], T0).await.unwrap();
    }
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    place.store().append(run.batch(vec![closed(1, |_| ())])).await.unwrap();
    let omar = subject_row(&here, &one, "omar@example.com");
    place.store().put_subjects(INSTANCE, vec![jane.clone(), omar.clone()], T0).await.unwrap();
    let elsewhere = subject_row(&here, &two, "jane@example.com");
    place.store().put_subjects(OTHER, vec![elsewhere.clone()], T0).await.unwrap();
    assert!(
        place.has(sealed.as_bytes()).await && place.has(key.as_bytes()).await,
        "the search finds what is there"
    );
    let chain = place.store().chain(INSTANCE, None, 10).await.unwrap();

    // By one pseudonym, with all others.
    let erased = erase(&place, erasure(1, Who::Behind(pseudonym))).await;
    let mut all = vec![pseudonym, elsewhere.pseudonym];
    all.sort_unstable();
    assert_eq!(erased, Erased { person: Some(person), pseudonyms: all.clone(), sealed: 1, pending: 2 });
    assert!(!place.has(sealed.as_bytes()).await, "the sealed name is overwritten");
    assert!(!place.has(key.as_bytes()).await, "its key is overwritten");
    assert_eq!(place.store().names(all.clone()).await.unwrap(), vec![]);
    assert_eq!(place.store().pseudonyms(person).await.unwrap(), all, "records are still found");
    assert_eq!(place.store().chain(INSTANCE, None, 10).await.unwrap(), chain, "no record is touched");
    assert_eq!(place.store().names(vec![omar.pseudonym]).await.unwrap().len(), 1, "nobody else is erased");

    // Names that come later, also from a gateway that was never heard of, are not kept.
    let newcomer = subject_row(&here, &late, "jane@example.com");
    place.store().put_subjects(INSTANCE, vec![jane.clone()], T0 + 20).await.unwrap();
    place.store().put_subjects(OTHER, vec![newcomer.clone()], T0 + 20).await.unwrap();
    place.reopen().await;
    all.push(newcomer.pseudonym);
    assert_eq!(place.store().names(all).await.unwrap(), vec![]);

    // Each instance is told of its own pseudonyms, again also after it has answered.
    let to_erase = |id, pseudonym| ToErase { id: Uuid::from_u128(id), pseudonym, reference: "T-1".into() };
    assert_eq!(place.store().erasures(INSTANCE).await.unwrap(), vec![to_erase(1, pseudonym)]);
    assert_eq!(place.store().erasures(OTHER).await.unwrap().len(), 2);
    place.store().put_erased(INSTANCE, pseudonym, T0 + 30).await.unwrap();
    assert_eq!(place.store().erasures(INSTANCE).await.unwrap(), vec![to_erase(1, pseudonym)]);

    // A repeat is the same erasure, a second one changes nothing.
    for (id, sealed) in [(1, 1), (2, 0)] {
        let again = erase(&place, erasure(id, Who::Person(person))).await;
        assert_eq!((again.pseudonyms.len(), again.sealed, again.pending), (3, sealed, 1));
    }
    assert_eq!(place.store().erasures(INSTANCE).await.unwrap(), vec![to_erase(1, pseudonym)]);
}

async fn a_person_can_be_erased_before_their_name_comes_and_a_pseudonym_of_nobody_can_not(engine: Engine) {
    let place = Place::new(engine).await;
    let [here, gateway] = [1, 2].map(|byte| PseudonymKey::new(&[byte; 32]));
    let row = subject_row(&here, &gateway, "jane@example.com");
    let nobody = place.store().erase(erasure(1, Who::Behind(row.pseudonym))).await.unwrap();
    assert_eq!(nobody, Erasing::Unknown);
    let erased = erase(&place, erasure(2, Who::Person(row.person))).await;
    assert_eq!(erased, Erased { person: Some(row.person), ..Erased::default() });
    place.store().put_keys(origin(INSTANCE), vec![], T0).await.unwrap();
    place.store().put_subjects(INSTANCE, vec![row.clone()], T0).await.unwrap();
    assert_eq!(place.store().names(vec![row.pseudonym]).await.unwrap(), vec![]);
    assert_eq!(place.store().erasures(INSTANCE).await.unwrap().len(), 1, "its gateway is told");
}

#[tokio::test]
async fn the_file_is_held_by_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.sqlite");
    let _first = Sqlite::open(&path).unwrap();
    assert!(matches!(Sqlite::open(&path), Err(sqlite::OpenError::InUse { .. })));
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.sqlite");
    std::fs::write(&path, b"this is no database, and long enough to be read as the head of one: 0123456789 0123456789 0123456789").unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(Sqlite::open(&path), Err(sqlite::OpenError::Sqlite { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

async fn batches_that_come_together_are_each_answered(engine: Engine) {
    let place = Place::new(engine).await;
    let store = place.store();
    let appends = (0..50_u128).map(|instance| {
        let mut run = Run::new(InstanceId(Uuid::from_u128(instance)), EPOCH, 1);
        let batch = run.batch((0..20).map(|id| closed(id, |_| ())).collect());
        async move { store.append(batch).await }
    });
    let results = futures_util::future::join_all(appends).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|appended| appended.noted.is_empty())));
    assert_eq!(place.store().instances().await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_file_of_the_second_form_keeps_its_records_and_is_filtered_and_counted_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.sqlite");
    let [first, second] = [closed(1, |_| ()), blocked(2)]
        .map(|body| Run::new(INSTANCE, EPOCH, 1).row(Record::new(body).payload().unwrap()));
    {
        let file = rusqlite::Connection::open(&path).unwrap();
        file.execute_batch(include_str!("sqlite/0001.sql")).unwrap();
        file.execute_batch(include_str!("sqlite/0002.sql")).unwrap();
        file.pragma_update(None, "user_version", 2).unwrap();
        file.execute(
            "INSERT INTO instances (no, instance, fleet, gateway, name, first_seen_us, last_stored_us, records)
             VALUES (1, ?1, 'default', 'gw', 'gw-1', 0, 0, 3)",
            [INSTANCE.0.as_bytes()],
        )
        .unwrap();
        file.execute(
            "INSERT INTO runs (no, instance_no, epoch, ordinal, sequence, hash) VALUES (1, 1, ?1, 1, 2, ?2)",
            rusqlite::params![EPOCH.0, second.hash.0],
        )
        .unwrap();
        // The last one is of a type that this build does not know.
        for (sequence, row, kind, verdict) in
            [(0, &first, Some(2), Some(0)), (1, &second, Some(2), Some(3)), (2, &first, None, None)]
        {
            file.execute(
                "INSERT INTO records (run_no, sequence, time_us, stored_us, previous, hash, payload, kind, request, verdict, team)
                 VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'red')",
                rusqlite::params![
                    sequence,
                    T0 + sequence,
                    T0,
                    row.previous.0,
                    row.hash.0,
                    row.payload,
                    kind,
                    kind.map(|_| Uuid::from_u128(u128::try_from(sequence + 1).unwrap()).into_bytes()),
                    verdict
                ],
            )
            .unwrap();
        }
        file.execute(
            "INSERT INTO deeds (record, time_us, what, policy, rule) VALUES (2, ?1, 0, 'dlp-filter', 'databricks-pat')",
            [T0 + 1],
        )
        .unwrap();
    }
    let store = Sqlite::open(&path).unwrap();
    assert_eq!(store.chain(INSTANCE, None, 10).await.unwrap().len(), 3);
    assert_eq!(store.request(Uuid::from_u128(2)).await.unwrap()[0].row.payload, second.payload);
    let filter = EventFilter {
        verdicts: vec![Verdict::Block],
        policies: vec!["dlp-filter".into()],
        teams: vec!["red".into()],
        ..EventFilter::default()
    };
    let page = store.events(filter.clone(), false, None, 10).await.unwrap();
    assert_eq!(page.events.iter().map(|event| event.id).collect::<Vec<_>>(), [2]);
    let query = StatsQuery { filter, by: vec![Dimension::Policy], limit: 10 };
    let rows = store.stats(query).await.unwrap();
    assert_eq!(
        (rows[0].key.as_slice(), rows[0].requests, rows[0].blocked),
        (&["dlp-filter".to_owned()][..], 1, 1)
    );
}
