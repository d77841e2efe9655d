use kt_proto::v1::{refused::Why, server_message::Message};

use super::*;

/// The worst luck: every wait is as long as it may be.
fn unlucky(now: Instant) -> Session {
    Session::new(now, Box::new(|bound| bound))
}

fn welcome(interval: u32, silence: u32) -> Message {
    Message::Welcome(v1::Welcome {
        heartbeat_interval_ms: interval,
        silence_limit_ms: silence,
        ..v1::Welcome::default()
    })
}

fn beat(assignment: u64, key_set: u64) -> Message {
    Message::Heartbeat(v1::ServerHeartbeat {
        server_time_us: 0,
        assignment_generation: assignment,
        key_set_generation: key_set,
        ..v1::ServerHeartbeat::default()
    })
}

#[test]
fn the_same_generation_with_another_digest_is_a_conflict_and_nothing_else_is() {
    let held = |generation| Some(Held { generation, digest: kt_audit::Digest([1; 32]) });
    let beat = |generation, digest: &[u8]| v1::ServerHeartbeat {
        assignment_generation: generation,
        assignment_digest: digest.to_vec(),
        key_set_generation: generation,
        key_set_digest: digest.to_vec(),
        ..v1::ServerHeartbeat::default()
    };
    let conflicts = |beat, held| Session::conflicts(&beat, held, held);
    assert_eq!(conflicts(beat(3, &[2; 32]), held(3)), [Some(3), Some(3)]);
    assert_eq!(conflicts(beat(3, &[1; 32]), held(3)), [None, None]);
    // An older control plane says no digest; a lagging one speaks of another generation.
    assert_eq!(conflicts(beat(3, &[]), held(3)), [None, None]);
    assert_eq!(conflicts(beat(2, &[2; 32]), held(3)), [None, None]);
    assert_eq!(conflicts(beat(3, &[2; 32]), None), [None, None]);
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn connect(session: &mut Session, now: Instant, known: Known) {
    assert_eq!(session.step(now), Step::Connect);
    session.greeting(known);
    assert_eq!(session.heard(now, &welcome(1000, 5000)), None);
}

/// How long it waits before it connects again.
fn wait(session: &mut Session, now: Instant) -> Duration {
    match session.step(now) {
        Step::Wait(until) => until - now,
        step => panic!("{step:?}"),
    }
}

#[test]
fn clean_stream_end_backs_off() {
    let now = Instant::now();
    let mut session = unlucky(now);
    let mut waits = Vec::new();
    let mut now = now;
    for _ in 0..9 {
        connect(&mut session, now, Known::default());
        session.ended(now, &Ended::Closed);
        waits.push(wait(&mut session, now).as_millis());
        now += secs(60);
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    // A welcome proves nothing; a heartbeat does.
    connect(&mut session, now, Known::default());
    session.heard(now, &beat(0, 0));
    session.ended(now, &Ended::Closed);
    assert_eq!(wait(&mut session, now), Duration::from_millis(500));
}

#[test]
fn waits_are_drawn_over_their_whole_range() {
    let now = Instant::now();
    let mut session = Session::new(now, Box::new(|_| 0));
    connect(&mut session, now, Known::default());
    session.ended(now, &Ended::Broken("reset".to_owned()));
    assert_eq!(session.step(now), Step::Connect);
}

#[test]
fn silence_ends_a_connection_within_ten_seconds_whatever_the_server_says() {
    for (interval, silence) in [(1000, 5000), (0, 0), (60_000, 600_000), (1, 1)] {
        let now = Instant::now();
        let mut session = unlucky(now);
        assert_eq!(session.step(now), Step::Connect);
        session.greeting(Known::default());
        session.heard(now, &welcome(interval, silence));
        let mut at = now;
        loop {
            match session.step(at) {
                Step::Wait(until) => at = until,
                Step::Beat => {}
                Step::Leave => break,
                Step::Connect => panic!("connected twice"),
            }
        }
        assert_eq!(session.reason(at), Ended::Silent);
        assert!(at - now < secs(10), "{interval} {silence}: {:?}", at - now);
    }
}

#[test]
fn a_server_that_never_greets_is_left() {
    let now = Instant::now();
    let mut session = unlucky(now);
    assert_eq!(session.step(now), Step::Connect);
    let until = now + wait(&mut session, now);
    assert!(until - now < secs(10));
    assert_eq!((session.step(until), session.reason(until)), (Step::Leave, Ended::Silent));
}

#[test]
fn a_message_before_the_welcome_ends_the_connection() {
    let now = Instant::now();
    let mut session = unlucky(now);
    assert_eq!(session.step(now), Step::Connect);
    session.greeting(Known::default());
    assert!(matches!(session.heard(now, &beat(1, 1)), Some(Ended::Broken(_))));
}

#[test]
fn heartbeats_go_out_at_the_interval_of_the_server() {
    let now = Instant::now();
    let mut session = unlucky(now);
    connect(&mut session, now, Known::default());
    assert_eq!(wait(&mut session, now), secs(1));
    assert_eq!(session.step(now + secs(1)), Step::Beat);
    assert_eq!(session.step(now + secs(1)), Step::Wait(now + secs(2)));
}

#[test]
fn a_document_that_is_spoken_of_and_not_sent_is_asked_for_again_ever_more_seldom() {
    let now = Instant::now();
    let known = Known { assignment: 4, key_set: 9 };
    let mut session = unlucky(now);
    let mut at = now;
    let mut patience = Vec::new();
    for _ in 0..3 {
        connect(&mut session, at, known);
        let began = at;
        while session.step(at) != Step::Leave {
            at += Duration::from_millis(500);
            session.heard(at, &beat(5, 9));
        }
        assert_eq!(session.reason(at), Ended::Behind);
        patience.push((at - began).as_secs());
        session.ended(at, &Ended::Behind);
        at += wait(&mut session, at);
    }
    assert_eq!(patience, [3, 6, 12]);
}

#[test]
fn what_was_offered_or_refused_is_not_missed() {
    let now = Instant::now();
    let mut session = unlucky(now);
    connect(&mut session, now, Known { assignment: 5, key_set: 0 });
    let mut at = now;
    for _ in 0..20 {
        at += Duration::from_millis(500);
        session.heard(at, &beat(5, 0));
        assert_ne!(session.step(at), Step::Leave);
    }
    session.heard(at, &beat(6, 0));
    session.knows(v1::Document::Assignment, 6);
    session.heard(at, &beat(6, 0));
    at += secs(4);
    session.heard(at, &beat(6, 0));
    assert_ne!(session.step(at), Step::Leave);
}

#[test]
fn a_drain_is_followed_at_a_random_moment_and_not_by_a_wait() {
    let now = Instant::now();
    let mut session = Session::new(now, Box::new(|bound| bound / 2));
    connect(&mut session, now, Known::default());
    session.heard(now, &Message::Drain(v1::Drain { within_ms: 4000, reason: "age".to_owned() }));
    assert!(matches!(session.step(now), Step::Wait(_)));
    let at = now + secs(2);
    assert_eq!((session.step(at), session.reason(at)), (Step::Leave, Ended::Drained));
    assert!(!session.ended(at, &Ended::Drained));
    assert_eq!(session.step(at), Step::Connect);
}

#[test]
fn a_server_that_goes_before_the_drawn_moment_does_not_hurry_the_gateways() {
    let now = Instant::now();
    let mut session = unlucky(now);
    connect(&mut session, now, Known::default());
    session.heard(now, &Message::Drain(v1::Drain { within_ms: 4000, reason: "shutdown".to_owned() }));
    session.ended(now + secs(1), &Ended::Closed);
    assert_eq!(wait(&mut session, now + secs(1)), secs(3));
}

fn refusal(why: Why, retry_after_ms: u32) -> Message {
    Message::Refused(v1::Refused { why: why.into(), message: "no".to_owned(), retry_after_ms })
}

#[test]
fn a_busy_server_is_left_alone_for_as_long_as_it_asks() {
    let now = Instant::now();
    let mut session = unlucky(now);
    assert_eq!(session.step(now), Step::Connect);
    session.greeting(Known::default());
    let end = session.heard(now, &refusal(Why::Busy, 7000)).unwrap();
    session.ended(now, &end);
    assert_eq!(wait(&mut session, now), Duration::from_millis(7500));
}

#[test]
fn what_only_a_person_can_lift_is_asked_about_slowly_and_said_once() {
    let mut now = Instant::now();
    let mut session = unlucky(now);
    let mut said = Vec::new();
    for why in [Why::UnknownFleet, Why::UnknownFleet, Why::WrongFleet, Why::WrongFleet] {
        assert_eq!(session.step(now), Step::Connect);
        session.greeting(Known::default());
        let end = session.heard(now, &refusal(why, 0)).unwrap();
        assert!(end.needs_a_person());
        said.push(session.ended(now, &end));
        let wait = wait(&mut session, now);
        assert!(wait >= secs(15), "{wait:?}");
        now += wait;
    }
    assert_eq!(said, [true, false, true, false]);
    let denied = Ended::Denied(Code::TokenRevoked, "revoked".to_owned());
    assert!(denied.needs_a_person());
    assert!(!Ended::Denied(Code::NotReady, "starting".to_owned()).needs_a_person());
}
