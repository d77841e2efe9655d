use super::*;

fn key(id: &str) -> v1::GatewayKey {
    let sha256 = kt_audit::Digest::of(id.as_bytes()).0.to_vec();
    v1::GatewayKey { id: id.to_owned(), sha256, roles: vec!["analyst".to_owned()], ..Default::default() }
}

fn put(expected: u64, generation: u64, keys: Vec<v1::GatewayKey>) -> v1::PutKeySetRequest {
    let statement = v1::KeySetStatement { fleet: "default".to_owned(), generation, keys, expires_us: 0 };
    v1::PutKeySetRequest {
        fleet: "default".to_owned(),
        expected_generation: expected,
        key_set: Some(signed::seal(&statement, &[])),
        reason: String::new(),
        request_id: request_id(),
        is_recovery: false,
    }
}

async fn ask(plane: &Plane, request: &v1::PutKeySetRequest) -> Result<v1::PutKeySetResponse, Refusal> {
    plane.registry.put_key_set("ann (at_1)", request).await
}

#[tokio::test(start_paused = true)]
async fn a_key_set_is_replaced_whole_and_only_grows() {
    let plane = Plane::new().await;
    let first = put(0, 1, vec![key("a")]);
    assert_eq!(ask(&plane, &first).await.unwrap().generation, 1);
    assert!(ask(&plane, &first).await.unwrap().is_unchanged);
    // After a restore, gateways may have seen more than the store: numbers may be left out.
    ask(&plane, &put(1, 5, vec![key("a"), key("b")])).await.unwrap();
    assert!(ask(&plane, &first).await.unwrap().is_unchanged);
    let state = plane.registry.mirror.state();
    let stored = plane.registry.key_set(&state, "default").await.unwrap().key_set.unwrap();
    let statement: v1::KeySetStatement = signed::read(&stored).unwrap();
    assert_eq!((statement.generation, statement.keys.len()), (5, 2));
    assert_eq!(plane.registry.fleet("default").await.unwrap().key_set_generation, 5);
    assert_eq!(plane.changes().await[0], "key-set.put default generation 5: 2 keys");
}

#[tokio::test(start_paused = true)]
async fn a_diverged_key_set_takes_only_a_recovery_above_what_was_seen() {
    let plane = Plane::new().await;
    ask(&plane, &put(0, 1, vec![key("a"), key("b")])).await.unwrap();
    let recover = v1::PutKeySetRequest { is_recovery: true, ..put(1, 8, vec![key("a"), key("b")]) };
    assert_eq!(ask(&plane, &recover).await.unwrap_err().code, Code::StatementInvalid, "it has not diverged");
    let divergence = v1::Divergence { seen_generation: 7, ..v1::Divergence::default() };
    let mark = paths::StateKey::KeySetDivergence("default").path();
    let commit = Commit { writes: vec![super::put(mark, &divergence)], ..Commit::default() };
    plane.store.commit(commit).await.unwrap();
    let fleet = plane.registry.fleet("default").await.unwrap();
    assert_eq!((fleet.key_set_divergence, fleet.divergence), (Some(divergence), None));
    // A revocation that gateways would take for older than what they have is not said to be done.
    let before = plane.everything().await;
    let refused = ask(&plane, &put(1, 2, vec![key("a")])).await.unwrap_err();
    assert_eq!(refused.code, Code::FleetDiverged);
    assert!(refused.message.contains("kt fleet recover default"), "{refused}");
    let low = v1::PutKeySetRequest { is_recovery: true, ..put(1, 7, vec![key("a")]) };
    assert_eq!(ask(&plane, &low).await.unwrap_err().code, Code::StatementInvalid);
    assert_eq!(plane.everything().await, before);
    // Nor does it stop a publish.
    let pack = plane.upload("1.0.0").await;
    let publish = request(0, &statement(1, &pack));
    plane.registry.assign("ann (at_1)", &publish).await.unwrap();

    assert_eq!(ask(&plane, &recover).await.unwrap().generation, 8);
    assert!(ask(&plane, &recover).await.unwrap().is_unchanged);
    assert_eq!(plane.registry.fleet("default").await.unwrap().key_set_divergence, None);
    assert_eq!(plane.changes().await[0], "key-set.recover default generation 8: 2 keys");
    ask(&plane, &put(8, 9, vec![key("a")])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fleet_is_made_once_however_often_the_same_request_comes() {
    let plane = Plane::new().await;
    let edge = fleet("edge", "Frankfurt");
    let create =
        async |request: &v1::CreateFleetRequest| plane.registry.create_fleet("ann (at_1)", request).await;
    let made = create(&edge).await.unwrap();
    let before = plane.everything().await;
    assert_eq!(create(&edge).await.unwrap(), made);
    assert_eq!(create(&fleet("edge", "Frankfurt")).await.unwrap_err().code, Code::FleetExists);
    let other = v1::CreateFleetRequest { description: "Dublin".to_owned(), ..edge };
    assert_eq!(create(&other).await.unwrap_err().code, Code::RequestIdReused);
    assert_eq!(plane.everything().await, before);
    for fault in [Fault::UnknownButDone, Fault::UnknownAndNotDone] {
        let name = format!("{fault:?}").to_lowercase();
        plane.store.fault_next(fault);
        assert_eq!(create(&fleet(&name, "")).await.unwrap().name, name);
    }
    assert_eq!(plane.changes().await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_key_set_whose_outcome_was_unknown_is_written_once() {
    for fault in [Fault::UnknownButDone, Fault::UnknownAndNotDone] {
        let plane = Plane::new().await;
        plane.store.fault_next(fault);
        ask(&plane, &put(0, 1, vec![key("a")])).await.unwrap();
        assert_eq!(plane.registry.fleet("default").await.unwrap().key_set_generation, 1);
        assert_eq!(plane.changes().await.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn bad_key_sets_have_their_own_codes_and_leave_the_state_untouched() {
    let plane = Plane::new().await;
    ask(&plane, &put(0, 1, vec![key("a")])).await.unwrap();
    let before = plane.everything().await;
    let with = |change: &dyn Fn(&mut v1::GatewayKey)| {
        let mut key = key("b");
        change(&mut key);
        put(1, 2, vec![self::key("a"), key])
    };
    let mut elsewhere = put(1, 2, vec![]);
    elsewhere.fleet = "edge".to_owned();
    for (what, request, code) in [
        ("an id twice", with(&|key| key.id = "a".to_owned()), Code::KeySetInvalid),
        ("the same key twice", with(&|key| key.sha256 = self::key("a").sha256), Code::KeySetInvalid),
        ("an empty id", with(&|key| key.id = String::new()), Code::KeySetInvalid),
        ("an id with a slash", with(&|key| key.id = "a/b".to_owned()), Code::KeySetInvalid),
        ("a short hash", with(&|key| key.sha256.truncate(31)), Code::KeySetInvalid),
        ("a role twice", with(&|key| key.roles.push("analyst".to_owned())), Code::KeySetInvalid),
        ("an empty role", with(&|key| key.roles.push(String::new())), Code::KeySetInvalid),
        ("a user with a line break", with(&|key| key.user = Some("a\nb".to_owned())), Code::KeySetInvalid),
        (
            "a key that replaces itself",
            with(&|key| key.rotated_from = Some("b".to_owned())),
            Code::KeySetInvalid,
        ),
        ("a stale precondition", put(0, 2, vec![]), Code::GenerationConflict),
        ("a generation that does not grow", put(1, 1, vec![]), Code::StatementInvalid),
        ("a set of another fleet", elsewhere, Code::StatementInvalid),
        (
            "too many keys",
            put(1, 2, (0..8000).map(|number| self::key(&format!("key-{number}"))).collect()),
            Code::KeySetInvalid,
        ),
    ] {
        let refusal = ask(&plane, &request).await.expect_err(what);
        assert_eq!(refusal.code, code, "{what}: {refusal}");
        assert_eq!(plane.everything().await, before, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_signature_of_an_assignment_is_none_of_a_key_set() {
    let plane = Plane::new().await;
    let signer = signer();
    let trust = Trust { keys: vec![signer.public()], threshold: 1 };
    let strict = Plane::over(plane.store.clone(), trust).await;
    let request = put(0, 1, vec![key("a")]);
    assert_eq!(ask(&strict, &request).await.unwrap_err().code, Code::SignatureInvalid);
    let mut forged = request.clone();
    signed::countersign::<v1::AssignmentStatement>(forged.key_set.as_mut().unwrap(), &signer);
    assert_eq!(ask(&strict, &forged).await.unwrap_err().code, Code::SignatureInvalid);
    let mut right = request;
    signed::countersign::<v1::KeySetStatement>(right.key_set.as_mut().unwrap(), &signer);
    ask(&strict, &right).await.unwrap();
}
