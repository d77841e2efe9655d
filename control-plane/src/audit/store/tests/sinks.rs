//! What is fed from the store.

use super::*;

const LEASE: SinkLease<'_> = SinkLease { sink: "lake", owner: "one", time: Duration::from_mins(2) };

contract![
    records_are_read_in_the_order_of_arrival_up_to_a_place,
    a_sink_begins_where_it_is_told_once_and_its_place_outlives_a_restart,
    what_a_sink_has_yet_to_take_is_not_cut,
];

fn ids(stored: &[Stored]) -> Vec<u64> {
    stored.iter().map(|stored| stored.id).collect()
}

async fn records_are_read_in_the_order_of_arrival_up_to_a_place(engine: Engine) {
    let place = Place::new(engine).await;
    assert_eq!(place.store().last_arrival().await.unwrap(), 0);
    assert_eq!(place.store().arrivals(0, None, 10).await.unwrap(), []);
    let (mut one, mut two) =
        (Run::new(INSTANCE, EPOCH, 1), Run::new(InstanceId(Uuid::from_u128(8)), EPOCH, 1));
    for id in 0..3 {
        place.store().append(one.batch(vec![closed(id, |_| ()), opened(id)])).await.unwrap();
        place.store().append(two.batch(vec![closed(id, |_| ())])).await.unwrap();
    }
    assert_eq!(place.store().last_arrival().await.unwrap(), 9);
    let all = place.store().arrivals(0, None, 100).await.unwrap();
    assert_eq!(ids(&all), (1..=9).collect::<Vec<_>>());
    let of_two = all.iter().filter(|stored| stored.instance != INSTANCE);
    assert_eq!(of_two.map(|stored| stored.id).collect::<Vec<_>>(), [3, 6, 9]);
    assert_eq!(ids(&place.store().arrivals(2, None, 3).await.unwrap()), [3, 4, 5]);
    assert_eq!(ids(&place.store().arrivals(2, Some(4), 100).await.unwrap()), [3, 4]);
}

async fn a_sink_begins_where_it_is_told_once_and_its_place_outlives_a_restart(engine: Engine) {
    let mut place = Place::new(engine).await;
    let begun = place.store().take_sink(LEASE, 4).await.unwrap().unwrap();
    assert_eq!(begun, SinkState { mark: SinkMark { position: 4, planned: None }, ..SinkState::default() });
    let state = SinkState {
        mark: SinkMark { position: 7, planned: Some(9) },
        delivered_us: Some(T0),
        problem: Some(("it is away".into(), T0 + 1)),
    };
    assert!(place.store().put_sink("lake", "one", state.clone()).await.unwrap());
    place.reopen().await;
    let after = place.store().take_sink(LEASE, 0).await.unwrap();
    assert_eq!(after, Some(state.clone()));
    let other = SinkLease { sink: "another", ..LEASE };
    place.store().take_sink(other, 0).await.unwrap();
    let all = place.store().sinks().await.unwrap();
    assert_eq!(all, [("another".into(), SinkState::default()), ("lake".into(), state)]);
}

async fn what_a_sink_has_yet_to_take_is_not_cut(engine: Engine) {
    use kt_audit::record::Retention;

    const DAY: i64 = 86_400_000_000;
    let place = Place::new(engine).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let short =
        |id| closed(id, |closed| closed.request.retention = Some(Retention { days: 1, immutable: false }));
    let mut batch = run.batch((0..5).map(short).collect());
    batch.rows[4].row.time_us = T0 + 90 * DAY;
    place.store().append(batch).await.unwrap();
    let due = async |taken| {
        let due = place.store().due(T0 + 50 * DAY, 0, taken, 100).await.unwrap();
        due.map(|due| (due.cut.first, due.cut.last))
    };
    assert_eq!(due(Some(0)).await, None);
    assert_eq!(due(Some(2)).await, Some((0, 1)));
    assert_eq!(due(Some(100)).await, Some((0, 3)));
    assert_eq!(due(None).await, Some((0, 3)));
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_works_for_a_sink_until_its_lease_is_over() {
    let server = super::postgres::Server::start().await;
    let (one, two) = (server.open().await.unwrap(), server.open().await.unwrap());
    let of_two = SinkLease { owner: "two", ..LEASE };
    let short = SinkLease { time: Duration::from_millis(300), ..LEASE };
    let (first, second) = tokio::join!(one.take_sink(LEASE, 0), two.take_sink(of_two, 0));
    assert!(first.unwrap().is_some() ^ second.unwrap().is_some(), "one of them");
    let state = |position| SinkState { mark: SinkMark { position, planned: None }, ..SinkState::default() };
    let (owner, other) =
        if one.put_sink("lake", "one", state(1)).await.unwrap() { ("one", "two") } else { ("two", "one") };
    assert!(!one.put_sink("lake", other, state(2)).await.unwrap(), "who has it not notes nothing");

    // A lease that ends: the other one goes on from where it was left.
    let short = SinkLease { owner, sink: "siem", ..short };
    one.take_sink(short, 0).await.unwrap().unwrap();
    assert!(one.put_sink("siem", owner, state(5)).await.unwrap());
    let waiting = SinkLease { owner: other, sink: "siem", ..LEASE };
    let taken = async {
        loop {
            if let Some(state) = two.take_sink(waiting, 0).await.unwrap() {
                return state;
            }
        }
    };
    let taken = tokio::time::timeout(super::postgres::PATIENCE, taken).await.expect("the lease ends");
    assert_eq!(taken.mark.position, 5);
    assert!(!one.put_sink("siem", owner, state(6)).await.unwrap(), "it has been taken over");
    assert_eq!(one.take_sink(short, 0).await.unwrap(), None);
}
