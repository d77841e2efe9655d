//! Retention and holds.

use kt_audit::{identity::PseudonymKey, record::Retention, sign::Signer};

use super::*;

const DAY: i64 = 86_400_000_000;

contract![
    records_go_when_their_days_are_over_and_a_tombstone_says_what_went,
    a_record_that_asks_for_nothing_is_kept_like_the_one_before_it,
    a_clock_that_leaps_ahead_cuts_nothing_that_the_gateways_have_not_lived,
    what_was_cut_does_not_come_back_when_it_is_sent_again,
    a_gap_is_not_taken_into_a_cut,
    a_tombstone_that_does_not_fit_cuts_nothing,
    what_a_hold_covers_stays_until_it_is_released,
    a_hold_that_comes_between_look_and_cut_is_kept,
    a_hold_refuses_the_erasure_of_whoever_it_covers_and_of_nobody_else,
];

/// The end of a request that asks to be kept for so many days.
fn kept(id: u128, days: u32) -> Body {
    closed(id, |closed| closed.request.retention = Some(Retention { days, immutable: days > 100 }))
}

/// Takes out everything that is due; the cuts.
async fn cut(place: &Place, now_us: i64, least_days: u32) -> Vec<StoreCut> {
    let signer = Signer::generate().unwrap();
    let mut cuts = Vec::new();
    while let Some(due) = place.store().due(now_us, least_days, None, 3).await.unwrap() {
        let tombstone = StoreTombstone::sign(&signer, due.instance, due.cut);
        assert!(place.store().cut(due.instance, tombstone).await.unwrap());
        cuts.push(due.cut);
    }
    cuts
}

async fn left(place: &Place) -> Vec<u64> {
    let chain = place.store().chain(INSTANCE, None, 100).await.unwrap();
    chain.into_iter().map(|stored| stored.row.sequence).collect()
}

/// A later run with one record, whose time makes `now` believable.
async fn later(place: &Place, now_us: i64) {
    let mut run = Run::new(INSTANCE, Epoch([99; 16]), 99);
    let mut batch = run.batch(vec![kept(999, 9_000)]);
    batch.rows[0].row.time_us = now_us;
    place.store().append(batch).await.unwrap();
}

async fn records_go_when_their_days_are_over_and_a_tombstone_says_what_went(engine: Engine) {
    let mut place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let rows: Vec<Row> = {
        let batch =
            run.batch(vec![kept(1, 10), kept(2, 10), kept(3, 40), kept(4, 10), kept(5, 400), kept(6, 10)]);
        let rows = batch.rows.iter().map(|new| new.row.clone()).collect();
        place.store().append(batch).await.unwrap();
        rows
    };
    later(&place, T0 + 500 * DAY).await;
    assert_eq!(cut(&place, T0 + 9 * DAY, 0).await, []);
    assert_eq!(cut(&place, T0 + 20 * DAY, 30).await, [], "the operator keeps everything for longer");

    let cuts = cut(&place, T0 + 20 * DAY, 0).await;
    // The last record of a run stays: it is the mark.
    assert_eq!(left(&place).await, [2, 4, 5, 0]);
    let expected = |first: usize, last: usize, now_us| StoreCut {
        epoch: EPOCH,
        first: first as u64,
        last: last as u64,
        before: rows[first].previous,
        last_hash: rows[last].hash,
        records: (last - first + 1) as u64,
        newest_us: rows[last].time_us,
        retention: Retention { days: 10, immutable: false },
        cut_us: now_us,
    };
    assert_eq!(cuts, [expected(0, 1, T0 + 20 * DAY), expected(3, 3, T0 + 20 * DAY)]);
    let kept: Vec<StoreCut> =
        place.store().tombstones(INSTANCE).await.unwrap().iter().map(|tombstone| tombstone.cut).collect();
    assert_eq!(kept, cuts);

    // Their columns went with them.
    assert_eq!(all(place.store(), EventFilter::default()).await.len(), 4);
    assert_eq!(place.store().request(Uuid::from_u128(1)).await.unwrap(), []);
    assert_eq!(place.store().instances().await.unwrap()[0].records, 4);
    place.reopen().await;
    assert_eq!(left(&place).await, [2, 4, 5, 0]);
}

async fn a_record_that_asks_for_nothing_is_kept_like_the_one_before_it(engine: Engine) {
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let plain = |id| closed(id, |_| ());
    place.store().append(run.batch(vec![plain(1), kept(2, 10), plain(3)])).await.unwrap();
    place.store().append(run.batch(vec![plain(4), plain(5)])).await.unwrap();
    later(&place, T0 + 500 * DAY).await;
    cut(&place, T0 + 20 * DAY, 0).await;
    // The first one is before any that says something: a year, as packs do.
    assert_eq!(left(&place).await, [0, 4, 0]);
    cut(&place, T0 + 366 * DAY, 0).await;
    assert_eq!(left(&place).await, [4, 0]);
}

async fn a_clock_that_leaps_ahead_cuts_nothing_that_the_gateways_have_not_lived(engine: Engine) {
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    place.store().append(run.batch(vec![kept(1, 10), kept(2, 10)])).await.unwrap();
    assert_eq!(cut(&place, T0 + 4_000 * DAY, 0).await, []);
    later(&place, T0 + 12 * DAY).await;
    assert_eq!(cut(&place, T0 + 4_000 * DAY, 0).await.len(), 1);
}

async fn what_was_cut_does_not_come_back_when_it_is_sent_again(engine: Engine) {
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let batch = run.batch(vec![kept(1, 10), kept(2, 10), kept(3, 10)]);
    place.store().append(batch.clone()).await.unwrap();
    later(&place, T0 + 12 * DAY).await;
    assert_eq!(cut(&place, T0 + 12 * DAY, 0).await.len(), 1);
    let again = place.store().append(batch).await.unwrap();
    assert_eq!(again, Appended { duplicates: 3, noted: vec![] });
    assert_eq!(left(&place).await, [2, 0]);
}

async fn a_gap_is_not_taken_into_a_cut(engine: Engine) {
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let first = run.batch(vec![kept(1, 10), kept(2, 10)]);
    run.batch(vec![kept(3, 10)]);
    let last = run.batch(vec![kept(4, 10), kept(5, 10)]);
    place.store().append(first).await.unwrap();
    assert_eq!(place.store().append(last).await.unwrap().noted.len(), 1);
    later(&place, T0 + 12 * DAY).await;
    let cuts = cut(&place, T0 + 12 * DAY, 0).await;
    assert_eq!(cuts.iter().map(|cut| (cut.first, cut.last)).collect::<Vec<_>>(), [(0, 1), (3, 3)]);
}

async fn a_tombstone_that_does_not_fit_cuts_nothing(engine: Engine) {
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    place.store().append(run.batch(vec![kept(1, 10), kept(2, 10), kept(3, 10)])).await.unwrap();
    later(&place, T0 + 12 * DAY).await;
    let due = place.store().due(T0 + 12 * DAY, 0, None, 10).await.unwrap().unwrap();
    let signer = Signer::generate().unwrap();
    for cut in [
        StoreCut { records: 1, ..due.cut },
        StoreCut { last: 2, records: 3, ..due.cut },
        StoreCut { epoch: Epoch([1; 16]), ..due.cut },
    ] {
        let tombstone = StoreTombstone::sign(&signer, INSTANCE, cut);
        assert!(!place.store().cut(INSTANCE, tombstone).await.unwrap(), "{cut:?}");
    }
    assert_eq!(left(&place).await, [0, 1, 2, 0]);
    assert_eq!(place.store().tombstones(INSTANCE).await.unwrap(), []);
}

fn hold(id: u128) -> Hold {
    Hold { id: Uuid::from_u128(id), who: None, fleet: None, from_us: None, to_us: None }
}

async fn what_a_hold_covers_stays_until_it_is_released(engine: Engine) {
    let [here, gateway] = [1, 2].map(|byte| PseudonymKey::new(&[byte; 32]));
    let jane = subject_row(&here, &gateway, "jane@example.com");
    let of_jane = |id| {
        closed(id, |closed| {
            closed.request.retention = Some(Retention { days: 10, immutable: false });
            closed.request.caller.subject = Some(jane.pseudonym);
        })
    };
    // Record `n` is written at T0 + n seconds.
    let cases: [(Hold, &[u64]); 7] = [
        (hold(1), &[0, 1, 2, 3]),
        (Hold { fleet: Some("default".into()), ..hold(2) }, &[0, 1, 2, 3]),
        (Hold { fleet: Some("other".into()), ..hold(3) }, &[]),
        (Hold { who: Some(Who::Person(jane.person)), ..hold(4) }, &[1, 3]),
        (Hold { who: Some(Who::Behind(jane.pseudonym)), ..hold(5) }, &[1, 3]),
        (Hold { from_us: Some(T0 + 2_000_000), ..hold(6) }, &[2, 3]),
        (Hold { who: Some(Who::Person(jane.person)), to_us: Some(T0 + 3_000_000), ..hold(7) }, &[1]),
    ];
    for (hold, stays) in cases {
        let mut place = Place::new(engine).await;
        let mut run = Run::new(INSTANCE, EPOCH, 1);
        let batch = run.batch(vec![kept(1, 10), of_jane(2), kept(3, 10), of_jane(4), kept(5, 9_000)]);
        place.store().append(batch).await.unwrap();
        place.store().put_subjects(INSTANCE, vec![jane.clone()], T0).await.unwrap();
        place.store().put_hold(hold.clone()).await.unwrap();
        place.store().put_hold(hold.clone()).await.unwrap();
        later(&place, T0 + 12 * DAY).await;
        place.reopen().await;
        cut(&place, T0 + 12 * DAY, 0).await;
        let expected: Vec<u64> = stays.iter().copied().chain([4, 0]).collect();
        assert_eq!(left(&place).await, expected, "{hold:?}");
        place.store().release_hold(hold.id).await.unwrap();
        cut(&place, T0 + 12 * DAY, 0).await;
        assert_eq!(left(&place).await, [4, 0], "{hold:?}");
    }
}

async fn a_hold_that_comes_between_look_and_cut_is_kept(engine: Engine) {
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    place.store().append(run.batch(vec![kept(1, 10), kept(2, 10)])).await.unwrap();
    later(&place, T0 + 12 * DAY).await;
    let due = place.store().due(T0 + 12 * DAY, 0, None, 10).await.unwrap().unwrap();
    place.store().put_hold(hold(1)).await.unwrap();
    let tombstone = StoreTombstone::sign(&Signer::generate().unwrap(), INSTANCE, due.cut);
    assert!(!place.store().cut(INSTANCE, tombstone).await.unwrap());
    assert_eq!(left(&place).await, [0, 1, 0]);
}

async fn a_hold_refuses_the_erasure_of_whoever_it_covers_and_of_nobody_else(engine: Engine) {
    let [here, gateway] = [1, 2].map(|byte| PseudonymKey::new(&[byte; 32]));
    let [jane, bob] = ["jane@example.com", "bob@example.com"].map(|name| subject_row(&here, &gateway, name));
    let of_jane = closed(1, |closed| closed.request.caller.subject = Some(jane.pseudonym));
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    place.store().append(run.batch(vec![of_jane])).await.unwrap();
    place.store().put_subjects(INSTANCE, vec![jane.clone(), bob.clone()], T0).await.unwrap();
    let ask = |id, person| erasure(id, Who::Person(person));
    for hold in [
        Hold { who: Some(Who::Person(jane.person)), ..hold(1) },
        Hold { who: Some(Who::Behind(jane.pseudonym)), ..hold(2) },
        Hold { fleet: Some("default".into()), to_us: Some(T0 + 1), ..hold(3) },
    ] {
        place.store().put_hold(hold.clone()).await.unwrap();
        let refused = place.store().erase(ask(1, jane.person)).await.unwrap();
        assert_eq!(refused, Erasing::Held(vec![hold.id]));
        assert_eq!(place.store().names(vec![jane.pseudonym]).await.unwrap().len(), 1, "{hold:?}");
        place.store().release_hold(hold.id).await.unwrap();
    }
    place.store().put_hold(Hold { who: Some(Who::Person(jane.person)), ..hold(4) }).await.unwrap();
    assert_eq!(erase(&place, ask(2, bob.person)).await.sealed, 1);
    // One that was done before the hold came is done again.
    let again = Erasure { is_repeat: true, ..ask(3, jane.person) };
    assert_eq!(erase(&place, again).await.sealed, 1);
    assert_eq!(erase(&place, ask(3, jane.person)).await.sealed, 1, "whoever is erased is erased");
}
