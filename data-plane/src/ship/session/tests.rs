use kt_proto::{refusal::Code, v1::ship_response::Message};

use super::*;
use crate::{
    ship::spool::MAX_FRAME,
    waits::{FIRST_WAIT, SLOW_WAIT},
};

const EPOCH: Epoch = Epoch([7; 16]);

/// The worst luck: every wait is as long as it may be.
fn unlucky(now: Instant) -> Session {
    Session::new(now, Box::new(|bound| bound))
}

fn welcome(window: u32) -> Message {
    Message::Welcome(v1::ShipWelcome {
        window,
        max_batch_bytes: 1 << 20,
        max_batch_records: 100,
        heartbeat_interval_ms: 1_000,
        silence_limit_ms: 5_000,
        ..v1::ShipWelcome::default()
    })
}

fn place(sequence: u64) -> Position {
    Position { epoch: EPOCH, sequence, hash: Digest::of(&sequence.to_le_bytes()) }
}

fn ack(number: u64, last: Position) -> Message {
    let position = v1::AuditPosition {
        epoch: last.epoch.0.to_vec(),
        sequence: last.sequence,
        hash: last.hash.0.to_vec(),
    };
    Message::Ack(v1::ShipAck { number, position: Some(position), ..v1::ShipAck::default() })
}

fn batch(last: u64) -> Sent {
    Sent { last: place(last), records: 10, first_time_us: 5, segment: 1, lost: 0 }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn connect(session: &mut Session, now: Instant, window: u32) {
    assert_eq!(session.step(now), Step::Connect);
    session.greeting();
    assert_eq!(session.heard(now, &welcome(window)), Ok(Told::Welcome(Vec::new())));
}

/// One that is connected.
fn live(now: Instant, window: u32) -> Session {
    let mut session = unlucky(now);
    connect(&mut session, now, window);
    session
}

fn fill(session: &mut Session, now: Instant, last: u64, is_full: bool) {
    assert!(matches!(session.step(now), Step::Fill(_)), "{session:?}");
    session.sent(now, batch(last), is_full);
}

/// How long nothing is to be done.
#[track_caller]
fn wait(session: &mut Session, now: Instant) -> Duration {
    match session.step(now) {
        Step::Wait(until) => until - now,
        step => panic!("{step:?}"),
    }
}

#[test]
fn it_connects_only_when_there_is_something_to_send() {
    let now = Instant::now();
    let mut session = live(now, 4);
    assert!(matches!(session.step(now), Step::Fill(_)));
    session.empty(true);
    assert!(session.is_idle());
    session.ended(now, &Ended::Closed);
    assert_eq!(wait(&mut session, now + secs(3_600)), IDLE);
    session.more();
    assert_eq!(session.step(now + secs(3_600)), Step::Connect);
}

#[test]
fn no_more_than_a_window_is_without_an_answer() {
    let now = Instant::now();
    let mut session = live(now, 2);
    fill(&mut session, now, 9, true);
    fill(&mut session, now, 19, true);
    assert_eq!(wait(&mut session, now), secs(1), "the next thing is a ping");
    let acked = session.heard(now, &ack(1, place(9))).unwrap();
    assert_eq!(acked, Told::Acked(vec![batch(9)]));
    fill(&mut session, now, 29, true);
    assert_eq!(session.number(), 4);
    // One answer stands for all before it.
    let acked = session.heard(now, &ack(3, place(29))).unwrap();
    assert_eq!(acked, Told::Acked(vec![batch(19), batch(29)]));
}

#[test]
fn an_answer_to_something_else_acknowledges_nothing() {
    let now = Instant::now();
    let wrong = [
        ack(2, place(9)),
        ack(0, place(9)),
        ack(1, place(8)),
        ack(1, Position { hash: Digest::ZERO, ..place(9) }),
        ack(1, Position { epoch: Epoch([8; 16]), ..place(9) }),
        Message::Ack(v1::ShipAck { number: 1, ..v1::ShipAck::default() }),
        welcome(4),
    ];
    for message in wrong {
        let mut session = live(now, 4);
        fill(&mut session, now, 9, true);
        assert!(matches!(session.heard(now, &message), Err(Ended::Nonsense(_))), "{message:?}");
        session.ended(now, &Ended::Closed);
        assert!(!session.is_idle(), "it is sent again");
    }
    let mut early = unlucky(now);
    assert_eq!(early.step(now), Step::Connect);
    early.greeting();
    assert!(matches!(early.heard(now, &ack(1, place(9))), Err(Ended::Nonsense(_))));
}

#[test]
fn a_small_batch_waits_for_company_while_an_answer_is_outstanding() {
    let now = Instant::now();
    let mut session = live(now, 4);
    fill(&mut session, now, 9, false);
    assert_eq!(wait(&mut session, now), LINGER);
    fill(&mut session, now + LINGER, 19, true);
    // There was more than went in: no reason to wait.
    fill(&mut session, now + LINGER, 29, false);
    assert_eq!(wait(&mut session, now + LINGER), LINGER);
    session.heard(now + LINGER, &ack(3, place(29))).unwrap();
    fill(&mut session, now + LINGER, 39, false);
}

#[test]
fn a_server_that_asks_for_time_gets_it_within_reason() {
    let now = Instant::now();
    let mut session = live(now, 4);
    fill(&mut session, now, 9, true);
    let slow_down = |wait_ms| Message::SlowDown(v1::ShipSlowDown { wait_ms, reason: String::new() });
    session.heard(now, &slow_down(700)).unwrap();
    session.heard(now, &ack(1, place(9))).unwrap();
    assert_eq!(wait(&mut session, now), millis(700));
    fill(&mut session, now + millis(700), 19, true);
    session.heard(now + millis(700), &slow_down(u32::MAX)).unwrap();
    let Session { state: State::Live(live), .. } = &session else { panic!() };
    assert_eq!(live.paused, Some(now + millis(700) + LONGEST_PAUSE));
}

#[test]
fn a_drained_connection_sends_until_its_moment_and_waits_for_answers_until_the_last() {
    let now = Instant::now();
    let mut session = Session::new(now, Box::new(|bound| bound / 2));
    connect(&mut session, now, 4);
    fill(&mut session, now, 9, true);
    let drain = v1::ShipDrain { within_ms: 4_000, reason: "age".to_owned() };
    session.heard(now, &Message::Drain(drain)).unwrap();
    fill(&mut session, now, 19, true);
    let ping = Message::Ping(v1::ShipPing {});
    session.heard(now + secs(2), &ping).unwrap();
    assert_eq!(session.step(now + secs(2)), Step::Ping);
    assert_eq!(wait(&mut session, now + secs(2)), secs(1), "nothing is sent any more");
    let mut answered = session;
    answered.heard(now + secs(2), &ack(2, place(19))).unwrap();
    assert_eq!(answered.step(now + secs(2)), Step::Leave);
    assert_eq!(answered.reason(now + secs(2)), Ended::Drained);
    assert!(!answered.ended(now + secs(2), &Ended::Drained), "not worth a word");
    answered.more();
    assert_eq!(answered.step(now + secs(2)), Step::Connect, "the moment was drawn already");
}

#[test]
fn silence_and_batches_without_an_answer_end_the_connection() {
    let now = Instant::now();
    let mut session = live(now, 4);
    fill(&mut session, now, 9, true);
    assert_eq!(session.step(now + secs(5)), Step::Leave);
    assert_eq!(session.reason(now + secs(5)), Ended::Silent);
    let mut at = now;
    while at < now + ANSWER_LIMIT {
        assert_ne!(session.step(at), Step::Leave);
        session.heard(at, &Message::Ping(v1::ShipPing {})).unwrap();
        at += secs(1);
    }
    assert_eq!((session.step(at), session.reason(at)), (Step::Leave, Ended::Unanswered));
}

#[test]
fn waits_double_and_only_an_acknowledgement_makes_them_short_again() {
    let start = Instant::now();
    let mut session = unlucky(start);
    let mut waits = Vec::new();
    let mut now = start;
    for _ in 0..8 {
        connect(&mut session, now, 4);
        session.ended(now, &Ended::Closed);
        waits.push(wait(&mut session, now).as_millis());
        now += secs(60);
    }
    assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    connect(&mut session, now, 4);
    fill(&mut session, now, 9, true);
    session.heard(now, &ack(1, place(9))).unwrap();
    session.ended(now, &Ended::Closed);
    session.more();
    assert_eq!(wait(&mut session, now), millis(500));
}

#[test]
fn what_a_server_asks_for_and_what_only_a_person_can_change_is_waited_for() {
    let now = Instant::now();
    let mut session = live(now, 4);
    session.ended(now, &Ended::Denied(Code::Busy, String::new(), Some(secs(40))));
    assert_eq!(wait(&mut session, now), secs(40) + FIRST_WAIT);
    for end in [Ended::Unsupported, Ended::Denied(Code::TokenRevoked, String::new(), None)] {
        let mut session = live(now, 4);
        session.ended(now, &end);
        assert_eq!(wait(&mut session, now), SLOW_WAIT * 2);
    }
}

#[test]
fn the_same_end_is_said_once() {
    let now = Instant::now();
    let mut session = live(now, 4);
    assert!(session.ended(now, &Ended::Broken("one".to_owned())));
    assert!(!session.ended(now, &Ended::Broken("two".to_owned())));
    assert!(session.ended(now, &Ended::Silent));
}

#[test]
fn a_gateway_that_stops_leaves_when_everything_is_acknowledged() {
    let now = Instant::now();
    let mut session = live(now, 4);
    fill(&mut session, now, 9, true);
    session.finish(now);
    fill(&mut session, now, 19, false);
    assert!(matches!(session.step(now + LINGER), Step::Fill(_)));
    session.empty(true);
    assert!(matches!(session.step(now + LINGER), Step::Wait(_)), "answers are outstanding");
    session.heard(now + LINGER, &ack(2, place(19))).unwrap();
    assert_eq!((session.step(now + LINGER), session.reason(now + LINGER)), (Step::Leave, Ended::Finished));
    // A wait is cut short, to try once more.
    let mut waiting = live(now, 4);
    waiting.ended(now, &Ended::Silent);
    waiting.finish(now);
    assert_eq!(waiting.step(now), Step::Connect);
}

#[test]
fn a_server_that_takes_no_large_record_is_not_spoken_with() {
    let now = Instant::now();
    let mut session = unlucky(now);
    session.step(now);
    session.greeting();
    let small = v1::ShipWelcome { window: 0, max_batch_bytes: 1_000, ..v1::ShipWelcome::default() };
    assert!(matches!(session.heard(now, &Message::Welcome(small.clone())), Err(Ended::Nonsense(_))));
    let least = v1::ShipWelcome { max_batch_bytes: u32::try_from(MAX_FRAME).unwrap(), ..small };
    session.heard(now, &Message::Welcome(least)).unwrap();
    let Session { state: State::Live(live), .. } = &session else { panic!() };
    assert_eq!((live.window, live.limits), (1, Limits { bytes: MAX_FRAME, records: 1 }));
}
