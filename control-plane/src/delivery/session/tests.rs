use super::{super::offer::testing, *};

const TIMING: Timing = Timing {
    heartbeat: Duration::from_secs(3),
    silence: Duration::from_secs(9),
    age: Duration::from_secs(3600),
    leave: Duration::from_secs(5),
    patience: Duration::from_secs(1),
};

/// A gateway and the session of its stream, on a clock that only the test moves.
struct Stream {
    session: Session,
    now: Now,
}

fn hello() -> v1::Hello {
    v1::Hello {
        fleet: "default".to_owned(),
        gateway_id: uuid::Uuid::from_u128(1).to_string(),
        name: "gw-1".to_owned(),
        process_id: uuid::Uuid::from_u128(2).to_string(),
        build: "1.2.3".to_owned(),
        features: vec!["policy:rbac".to_owned(), "policy:dlp-filter".to_owned()],
        max_pack_bytes: 4 << 20,
        ..v1::Hello::default()
    }
}

fn held(offer: &Offer) -> v1::Held {
    v1::Held { generation: offer.generation, digest: offer.digest.0.to_vec(), source: 1 }
}

fn ahead(offer: &Offer) -> Ahead {
    Ahead { document: offer.document, generation: offer.generation, digest: offer.digest, keys: None }
}

impl Stream {
    fn open(hello: v1::Hello, wanted: &Arc<Wanted>) -> Self {
        let message = v1::GatewayMessage { message: Some(v1::gateway_message::Message::Hello(hello)) };
        let (greeting, features) = Greeting::read(message, "default").unwrap();
        let features = Arc::new(features);
        let now = Now { at: Instant::now(), us: 1_000_000 };
        let session = Session::open(&greeting, features, Vec::new(), Arc::clone(wanted), TIMING, 0.5, now);
        Self { session, now }
    }

    /// What is sent now: nonce, document and generation of each offer; everything else is left out.
    fn offers(&mut self) -> Vec<Arc<Offer>> {
        std::iter::from_fn(|| self.session.next(self.now))
            .filter_map(|outgoing| match outgoing {
                Outgoing::Offer(offer) => Some(offer),
                Outgoing::Message(_) => None,
            })
            .collect()
    }

    fn generations(&mut self) -> Vec<u64> {
        self.offers().iter().map(|offer| offer.generation).collect()
    }

    fn says(&mut self, message: v1::gateway_message::Message) -> Result<Vec<v1::KeyUse>, End> {
        self.session.receive(v1::GatewayMessage { message: Some(message) }, self.now)
    }

    fn applies(&mut self, offer: &Offer, nonce: u64) {
        let applied = v1::Applied {
            document: 1 + i32::from(offer.document == Document::KeySet),
            nonce,
            generation: offer.generation,
            digest: offer.digest.0.to_vec(),
            applied_us: 0,
        };
        self.says(v1::gateway_message::Message::Applied(applied)).unwrap();
    }

    fn rejects(&mut self, offer: &Offer, nonce: u64) {
        let reason = v1::Reason {
            code: "KT0413".to_owned(),
            message: "`rgex` is no key of a pattern".to_owned(),
            path: "policy.dlp-filter.patterns[2].rgex".to_owned(),
            line: 41,
            column: 9,
            help: None,
        };
        let rejected = v1::Rejected {
            document: 1 + i32::from(offer.document == Document::KeySet),
            nonce,
            generation: offer.generation,
            digest: offer.digest.0.to_vec(),
            stage: v1::Stage::Compile.into(),
            reasons: vec![reason],
        };
        self.says(v1::gateway_message::Message::Rejected(rejected)).unwrap();
    }

    fn beats(&mut self, assignment: Option<v1::Held>) {
        let heartbeat = v1::GatewayHeartbeat { assignment, ..Default::default() };
        self.says(v1::gateway_message::Message::Heartbeat(heartbeat)).unwrap();
    }

    fn passes(&mut self, time: Duration) {
        self.now.at += time;
        self.now.us += i64::try_from(time.as_micros()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_sent_once_and_settled_by_applied() {
    let (one, keys) = (testing::assignment(1, "a"), testing::key_set(1));
    let mut stream = Stream::open(hello(), &testing::wanted(Some(&one), Some(&keys)));
    let sent = stream.offers();
    assert_eq!(
        sent.iter().map(|offer| offer.document).collect::<Vec<_>>(),
        [Document::KeySet, Document::Assignment]
    );
    assert!(stream.offers().is_empty());
    stream.applies(&one, one.nonce);
    stream.applies(&keys, keys.nonce);
    assert!(stream.offers().is_empty());
    let report = stream.session.take_report().unwrap();
    assert_eq!(report.assignment.map(|held| held.generation), Some(1));
    assert_eq!(report.key_set.map(|held| held.generation), Some(1));
    assert_eq!(stream.session.take_report(), None, "nothing new");
}

#[tokio::test(start_paused = true)]
async fn rejected_generation_is_not_resent() {
    let one = testing::assignment(1, "a");
    let wanted = testing::wanted(Some(&one), None);
    let mut stream = Stream::open(hello(), &wanted);
    assert_eq!(stream.generations(), [1]);
    stream.rejects(&one, one.nonce);
    stream.beats(None);
    stream.session.want(testing::wanted(Some(&one), Some(&testing::key_set(1))));
    let sent = stream.offers();
    assert!(sent.iter().all(|offer| offer.document == Document::KeySet), "only the key set: {sent:?}");

    // Nor on the next stream, where the gateway says so itself.
    let again = v1::Hello { rejected: vec![one.digest.0.to_vec()], ..hello() };
    let mut stream = Stream::open(again, &wanted);
    assert!(stream.offers().is_empty());
    let refusal = stream.session.take_report().unwrap().assignment_refusal.unwrap();
    assert_eq!((refusal.generation, &*refusal.reasons[0].code), (1, "refused_before"));

    // Another build may take it: it does not list it.
    assert_eq!(Stream::open(v1::Hello { build: "1.3.0".to_owned(), ..hello() }, &wanted).generations(), [1]);

    // A new generation is another matter.
    let two = testing::assignment(2, "b");
    stream.session.want(testing::wanted(Some(&two), None));
    assert_eq!(stream.generations(), [2]);
    assert_eq!(stream.session.take_report().unwrap().assignment_refusal, None);
}

#[tokio::test(start_paused = true)]
async fn rejection_names_pack_rule_and_line() {
    let one = testing::assignment(1, "a");
    let mut stream = Stream::open(hello(), &testing::wanted(Some(&one), None));
    stream.offers();
    stream.rejects(&one, one.nonce);
    let refusal = stream.session.take_report().unwrap().assignment_refusal.unwrap();
    let reason = &refusal.reasons[0];
    assert_eq!(refusal.stage(), v1::Stage::Compile);
    assert_eq!((&*reason.path, reason.line), ("policy.dlp-filter.patterns[2].rgex", 41));
    assert_eq!(refusal.digest, one.digest.0);
}

#[tokio::test(start_paused = true)]
async fn worker_never_takes_lower_generation() {
    let (one, three) = (testing::assignment(1, "a"), testing::assignment(3, "c"));
    let lagging = testing::wanted(Some(&one), None);
    let mut stream = Stream::open(v1::Hello { assignment: Some(held(&three)), ..hello() }, &lagging);
    assert!(stream.offers().is_empty());
    assert!(stream.session.needs_refresh());

    // The replica lagged: after the refresh it knows what the gateway has.
    assert_eq!(stream.session.refreshed(testing::wanted(Some(&three), None)), []);
    assert!(!stream.session.needs_refresh() && stream.offers().is_empty());

    // The store was restored: also what it reads afresh is lower. Nothing is sent, and it is said.
    let mut stream = Stream::open(v1::Hello { assignment: Some(held(&three)), ..hello() }, &lagging);
    assert_eq!(stream.session.refreshed(Arc::clone(&lagging)), [ahead(&three)]);
    assert!(!stream.session.needs_refresh() && stream.offers().is_empty());
    let two = testing::assignment(2, "b");
    stream.session.want(testing::wanted(Some(&two), None));
    assert!(stream.offers().is_empty() && stream.session.needs_refresh());

    // `kt fleet recover` goes above what was seen.
    let four = testing::assignment(4, "a");
    stream.session.want(testing::wanted(Some(&four), None));
    assert_eq!(stream.generations(), [4]);
}

#[tokio::test(start_paused = true)]
async fn the_same_generation_with_another_digest_is_never_sent() {
    let (ours, theirs) = (testing::assignment(2, "ours"), testing::assignment(2, "theirs"));
    let wanted = testing::wanted(Some(&ours), None);
    let mut stream = Stream::open(v1::Hello { assignment: Some(held(&theirs)), ..hello() }, &wanted);
    assert_eq!(stream.session.refreshed(wanted), [ahead(&theirs)]);
    assert!(stream.offers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_set_above_the_stored_one_is_said_and_not_replaced_until_it_was_recovered() {
    let (one, keys) = (testing::assignment(1, "a"), testing::key_set(6));
    let restored = testing::wanted(Some(&one), Some(&testing::key_set(4)));
    let mut stream = Stream::open(
        v1::Hello { assignment: Some(held(&one)), key_set: Some(held(&keys)), ..hello() },
        &restored,
    );
    assert!(stream.session.needs_refresh());
    assert_eq!(stream.session.refreshed(restored), [ahead(&keys)]);
    assert!(stream.offers().is_empty());
    // Counted on from the copy: lower, and later the same generation with another content.
    for generation in [5, 6] {
        let next = testing::wanted(Some(&one), Some(&testing::key_set_of(generation, &["k1"])));
        stream.session.want(Arc::clone(&next));
        assert!(stream.offers().is_empty());
        assert_eq!(stream.session.refreshed(next), [ahead(&keys)]);
    }
    stream.session.want(testing::wanted(Some(&one), Some(&testing::key_set(7))));
    assert_eq!(stream.generations(), [7]);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_with_a_document_of_an_empty_fleet_is_ahead() {
    let five = testing::assignment(5, "a");
    let nothing = testing::wanted(None, None);
    let mut stream = Stream::open(v1::Hello { assignment: Some(held(&five)), ..hello() }, &nothing);
    assert!(stream.session.needs_refresh());
    assert_eq!(stream.session.refreshed(nothing), [ahead(&five)]);
}

#[tokio::test(start_paused = true)]
async fn reconnect_with_same_digest_sends_no_body() {
    let (one, keys) = (testing::assignment(1, "a"), testing::key_set(4));
    let again = v1::Hello { assignment: Some(held(&one)), key_set: Some(held(&keys)), ..hello() };
    let mut stream = Stream::open(again, &testing::wanted(Some(&one), Some(&keys)));
    stream.session.welcome("r1", "epoch", stream.now);
    let Some(Outgoing::Message(welcome)) = stream.session.next(stream.now) else { panic!("no welcome") };
    assert!(matches!(welcome.message, Some(v1::server_message::Message::Welcome(_))));
    assert!(stream.session.next(stream.now).is_none(), "no assignment, so no body is asked for");
}

#[tokio::test(start_paused = true)]
async fn superseded_assign_is_replaced_not_queued() {
    let offers: Vec<_> = (1..=50).map(|generation| testing::assignment(generation, "x")).collect();
    let mut stream = Stream::open(hello(), &testing::wanted(Some(&offers[0]), None));
    // Before the stream takes anything.
    for offer in &offers[1..10] {
        stream.session.want(testing::wanted(Some(offer), None));
    }
    assert_eq!(stream.generations(), [10]);
    // While the gateway works on that one.
    for offer in &offers[10..] {
        stream.session.want(testing::wanted(Some(offer), None));
        assert!(stream.offers().is_empty());
    }
    stream.applies(&offers[9], offers[9].nonce);
    assert_eq!(stream.generations(), [50]);
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_offer_holds_the_next_one_back_only_for_a_while() {
    let (one, two) = (testing::assignment(1, "a"), testing::assignment(2, "b"));
    let mut stream = Stream::open(hello(), &testing::wanted(Some(&one), None));
    stream.offers();
    stream.session.want(testing::wanted(Some(&two), None));
    assert!(stream.offers().is_empty());
    assert_eq!(stream.session.wakes_at(), stream.now.at + TIMING.patience);
    stream.passes(TIMING.patience);
    assert_eq!(stream.generations(), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_stale_nonce_acknowledges_nothing_but_its_state_counts() {
    let (one, two) = (testing::assignment(1, "a"), testing::assignment(2, "b"));
    let mut stream = Stream::open(hello(), &testing::wanted(Some(&one), None));
    stream.offers();
    stream.session.want(testing::wanted(Some(&two), None));
    stream.passes(TIMING.patience);
    assert_eq!(stream.generations(), [2]);
    stream.session.take_report();

    // The answer to the first offer arrives late: it is enforced, and the second is still under way.
    stream.applies(&one, one.nonce);
    assert_eq!(stream.session.take_report().unwrap().assignment.unwrap().generation, 1);
    assert!(stream.offers().is_empty(), "the second is not sent twice");
    assert!(stream.session.assignment.awaiting.is_some());

    // A late refusal of the first does not refuse the second.
    stream.rejects(&one, one.nonce);
    assert_eq!(stream.session.take_report().unwrap().assignment_refusal, None);
    stream.applies(&two, two.nonce);
    assert!(stream.session.assignment.awaiting.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_a_gateway_shows_only_grows_within_a_stream() {
    let (one, two) = (testing::assignment(1, "a"), testing::assignment(2, "b"));
    let mut stream = Stream::open(hello(), &testing::wanted(Some(&two), None));
    stream.offers();
    stream.applies(&two, two.nonce);
    stream.beats(Some(held(&one)));
    assert!(stream.offers().is_empty() && !stream.session.needs_refresh());
}

#[tokio::test(start_paused = true)]
async fn what_a_gateway_can_not_enforce_is_not_sent_and_named() {
    let needs = vec![
        v1::Feature { name: "policy:dlp-filter".to_owned(), path: "policy.dlp-filter".to_owned(), line: 4 },
        v1::Feature {
            name: "dlp-filter:fuzzy_matching".to_owned(),
            path: "policy.dlp-filter.fuzzy_matching".to_owned(),
            line: 12,
        },
    ];
    let one = testing::needing(&testing::assignment(1, "a"), needs);
    let mut stream = Stream::open(hello(), &testing::wanted(Some(&one), None));
    assert!(stream.offers().is_empty());
    let refusal = stream.session.take_report().unwrap().assignment_refusal.unwrap();
    assert_eq!(refusal.stage(), v1::Stage::Schema);
    let named: Vec<_> =
        refusal.reasons.iter().map(|reason| (&*reason.code, &*reason.path, reason.line)).collect();
    assert_eq!(named, [("feature_missing", "policy.dlp-filter.fuzzy_matching", 12)]);

    let small = v1::Hello { max_pack_bytes: 999, ..hello() };
    let mut stream = Stream::open(small, &testing::wanted(Some(&testing::assignment(1, "a")), None));
    assert!(stream.offers().is_empty());
    let refusal = stream.session.take_report().unwrap().assignment_refusal.unwrap();
    assert_eq!((refusal.stage(), &*refusal.reasons[0].code), (v1::Stage::Limits, "pack_too_large"));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_carry_the_wanted_generations_and_silence_ends_the_stream() {
    let one = testing::assignment(7, "a");
    let mut stream = Stream::open(hello(), &testing::wanted(Some(&one), None));
    stream.offers();
    let start = stream.now.at;
    let mut beats = 0;
    let end = loop {
        stream.now.at = stream.session.wakes_at();
        if let Some(end) = stream.session.tick(stream.now) {
            break end;
        }
        while let Some(outgoing) = stream.session.next(stream.now) {
            let Outgoing::Message(message) = outgoing else { panic!("an offer again") };
            let Some(v1::server_message::Message::Heartbeat(beat)) = message.message else { panic!() };
            assert_eq!(beat.assignment_generation, 7);
            beats += 1;
        }
    };
    assert_eq!(end, End::Silent);
    assert_eq!(stream.now.at - start, TIMING.silence * 2);
    assert_eq!(beats, 6);
}

#[tokio::test(start_paused = true)]
async fn the_age_of_a_stream_differs_by_fifteen_percent_and_ends_with_drain() {
    let greeting = |hello| {
        let message = v1::GatewayMessage { message: Some(v1::gateway_message::Message::Hello(hello)) };
        Greeting::read(message, "default").unwrap().0
    };
    let now = Now { at: Instant::now(), us: 0 };
    for (jitter, expected) in [(0.0, 3060), (0.5, 3600), (1.0, 4140)] {
        let features = Arc::new(Features::new(Vec::new()));
        let mut session = Session::open(
            &greeting(hello()),
            features,
            Vec::new(),
            testing::wanted(None, None),
            TIMING,
            jitter,
            now,
        );
        let ended = now.at + Duration::from_secs(expected);
        session.heard = ended;
        session.beat_at = ended + Duration::from_secs(60);
        assert_eq!(session.wakes_at(), ended);
        let now = Now { at: ended, us: 0 };
        assert_eq!(session.tick(now), None);
        let Some(Outgoing::Message(message)) = session.next(now) else { panic!("no drain") };
        let Some(v1::server_message::Message::Drain(drain)) = message.message else { panic!("no drain") };
        assert_eq!((&*drain.reason, drain.within_ms), ("age", 5000));
        let later = Now { at: ended + TIMING.leave + TIMING.silence, us: 0 };
        session.heard = later.at;
        assert_eq!(session.tick(later), Some(End::Drained), "it was asked to leave and did not");
    }
}

#[test]
fn a_hello_that_makes_no_sense_is_refused_with_its_reason() {
    use v1::refused::Why;
    let read = |hello: v1::Hello| {
        let message = v1::GatewayMessage { message: Some(v1::gateway_message::Message::Hello(hello)) };
        Greeting::read(message, "default").map(|_| ()).map_err(|refused| (refused.why(), refused.message))
    };
    assert_eq!(read(hello()), Ok(()));
    let other = read(v1::Hello { fleet: "other".to_owned(), ..hello() }).unwrap_err();
    assert_eq!(other.0, Why::WrongFleet);
    assert_eq!(other.1, "the token is of fleet `default`, the gateway wants to join `other`");
    for (hello, field) in [
        (v1::Hello { gateway_id: "x".to_owned(), ..hello() }, "gateway_id"),
        (v1::Hello { process_id: String::new(), ..hello() }, "process_id"),
        (v1::Hello { rejected: vec![vec![1]], ..hello() }, "digest"),
        (v1::Hello { features: vec![String::new(); 5000], ..hello() }, "features"),
        (
            v1::Hello {
                assignment: Some(v1::Held { generation: u64::MAX, digest: vec![0; 32], source: 1 }),
                ..hello()
            },
            "generation",
        ),
    ] {
        let (why, message) = read(hello).unwrap_err();
        assert_eq!(why, Why::Malformed);
        assert!(message.contains(field), "{message}");
    }
    let heartbeat = v1::gateway_message::Message::Heartbeat(v1::GatewayHeartbeat::default());
    let first = v1::GatewayMessage { message: Some(heartbeat) };
    assert_eq!(Greeting::read(first, "default").unwrap_err().why(), Why::Malformed);
}

#[test]
fn what_a_gateway_says_stays_on_one_line_and_within_bounds() {
    let long = v1::Hello { name: format!("a\u{1b}[31m\n{}", "x".repeat(1000)), ..hello() };
    let message = v1::GatewayMessage { message: Some(v1::gateway_message::Message::Hello(long)) };
    let name = Greeting::read(message, "default").unwrap().0.name;
    assert_eq!(name.len(), 128);
    assert!(!name.contains(char::is_control));
}

#[test]
fn a_session_is_small() {
    assert!(size_of::<Session>() <= 1024, "{} bytes", size_of::<Session>());
    assert!(size_of::<super::super::wire::Piece>() <= 32);
}
