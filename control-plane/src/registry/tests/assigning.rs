use super::*;

async fn assign(plane: &Plane, request: &v1::AssignRequest) -> Result<v1::AssignResponse, Refusal> {
    plane.registry.assign("ann (at_1)", request).await
}

async fn publish(plane: &Plane, expected: u64, pack: &v1::PackRef) -> v1::AssignResponse {
    assign(plane, &request(expected, &statement(expected + 1, pack))).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_publish_moves_the_head_and_says_who_did_it() {
    let plane = Plane::new().await;
    let pack = plane.upload("1.0.0").await;
    let done = publish(&plane, 0, &pack).await;
    let assignment = done.assignment.unwrap();
    assert_eq!((assignment.assigned_by.as_str(), assignment.reason.as_str()), ("ann (at_1)", "because"));
    assert!(!done.is_unchanged);
    assert_eq!(plane.head().await, 1);
    assert_eq!(
        plane.changes().await,
        ["fleet.publish default generation 1: demo@1.0.0", "pack.upload demo@1.0.0", "fleet.create default"]
    );
    // Whoever wrote reads it, also from the mirror.
    let state = plane.registry.mirror.state();
    assert_eq!(state.fleet("default").unwrap().head.as_ref().unwrap().statement.generation, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_is_a_new_generation_that_names_an_older_version() {
    let plane = Plane::new().await;
    let (old, new) = (plane.upload("1.0.0").await, plane.upload("1.1.0").await);
    publish(&plane, 0, &old).await;
    publish(&plane, 1, &new).await;
    let mut back = request(2, &statement(3, &old));
    back.set_kind(v1::AssignmentKind::Rollback);
    assign(&plane, &back).await.unwrap();
    assert_eq!(plane.head().await, 3);
    let listed = plane
        .registry
        .assignments(&v1::ListAssignmentsRequest { fleet: "default".to_owned(), ..Default::default() })
        .await
        .unwrap();
    let kinds: Vec<_> = listed.assignments.iter().map(v1::Assignment::kind).collect();
    use v1::AssignmentKind::{Publish, Rollback};
    assert_eq!(kinds, [Rollback, Publish, Publish]);
}

#[tokio::test(start_paused = true)]
async fn publish_retry_after_timeout_is_idempotent() {
    for fault in [Fault::UnknownButDone, Fault::UnknownAndNotDone] {
        let plane = Plane::new().await;
        let pack = plane.upload("1.0.0").await;
        let request = request(0, &statement(1, &pack));
        // The registry itself reads back and finds its own, or writes again.
        plane.store.fault_next(fault.clone());
        let first = assign(&plane, &request).await.unwrap();
        assert_eq!(plane.head().await, 1, "{fault:?}");
        // The answer was lost on the way: the caller asks again, also after others have published.
        let again = assign(&plane, &request).await.unwrap();
        assert!(again.is_unchanged);
        assert_eq!(again.assignment, first.assignment);
        publish(&plane, 1, &pack).await;
        assert!(assign(&plane, &request).await.unwrap().is_unchanged);
        assert_eq!(plane.head().await, 2);
        let published = plane.changes().await.iter().filter(|change| change.starts_with("fleet.")).count();
        assert_eq!(published, 3, "two publishes and the fleet");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_stays_unknown_is_told_and_a_repeat_finds_what_was_done() {
    let plane = Plane::new().await;
    let pack = plane.upload("1.0.0").await;
    let request = request(0, &statement(1, &pack));
    for _ in 0..TRIES {
        plane.store.fault_next(Fault::UnknownAndNotDone);
    }
    assert_eq!(assign(&plane, &request).await.unwrap_err().code, Code::OutcomeUnknown);
    assert_eq!(plane.head().await, 0);
    assert!(!assign(&plane, &request).await.unwrap().is_unchanged);
    assert_eq!(plane.head().await, 1);
}

#[tokio::test(start_paused = true)]
async fn concurrent_publishes_yield_one_winner_and_one_conflict() {
    let one = Plane::new().await;
    let other = Plane::over(one.store.clone(), Trust::default()).await;
    let (first, second) = (one.upload("1.0.0").await, one.upload("2.0.0").await);
    for generation in 0..10 {
        let ask = |pack| request(generation, &statement(generation + 1, pack));
        let (a, b) = (ask(&first), ask(&second));
        let (a, b) = tokio::join!(assign(&one, &a), assign(&other, &b));
        let conflict = match (&a, &b) {
            (Ok(_), Err(refusal)) | (Err(refusal), Ok(_)) => refusal,
            both => panic!("{both:?}"),
        };
        assert_eq!(conflict.code, Code::GenerationConflict);
        assert_eq!(one.head().await, generation + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_diverged_fleet_takes_only_a_recovery_above_what_was_seen() {
    let plane = Plane::new().await;
    let pack = plane.upload("1.0.0").await;
    publish(&plane, 0, &pack).await;
    let mut recover = request(1, &statement(8, &pack));
    recover.set_kind(v1::AssignmentKind::Recover);
    assert_eq!(assign(&plane, &recover).await.unwrap_err().code, Code::StatementInvalid);
    let divergence = v1::Divergence { seen_generation: 7, ..v1::Divergence::default() };
    let key = paths::StateKey::Divergence("default").path();
    plane.store.commit(Commit { writes: vec![put(key, &divergence)], ..Commit::default() }).await.unwrap();
    let refused = assign(&plane, &request(1, &statement(2, &pack))).await.unwrap_err();
    assert_eq!(refused.code, Code::FleetDiverged);
    let mut low = recover.clone();
    low.assignment = Some(signed::seal(&statement(7, &pack), &[]));
    low.request_id = request_id();
    assert_eq!(assign(&plane, &low).await.unwrap_err().code, Code::StatementInvalid);
    assign(&plane, &recover).await.unwrap();
    assert_eq!(plane.head().await, 8);
    let fleet = plane.registry.fleet("default").await.unwrap();
    assert_eq!(fleet.divergence, None);
    publish(&plane, 8, &pack).await;
}

#[tokio::test(start_paused = true)]
async fn bad_assignments_have_their_own_codes_and_leave_the_state_untouched() {
    let plane = Plane::new().await;
    let pack = plane.upload("1.0.0").await;
    publish(&plane, 0, &pack).await;
    let good = || request(1, &statement(2, &pack));
    let with = |change: &dyn Fn(&mut v1::AssignmentStatement)| {
        let mut statement = statement(2, &pack);
        change(&mut statement);
        request(1, &statement)
    };
    let other_bytes = v1::PackRef { digest: vec![7; 32], ..pack.clone() };
    let mut torn = good();
    torn.assignment.as_mut().unwrap().statement = Bytes::from_static(b"\xff\xff");
    let mut badly_signed = good();
    badly_signed.assignment.as_mut().unwrap().signatures =
        vec![v1::Signature { key_id: vec![1; 16], signature: vec![2; 63] }];
    let mut twice = good();
    twice.assignment = Some(signed::seal(&statement(2, &pack), &[signer()]));
    let again = twice.assignment.as_ref().unwrap().signatures[0].clone();
    twice.assignment.as_mut().unwrap().signatures.push(again);
    let head = plane.registry.fleet("default").await.unwrap().head.unwrap();
    let before = plane.everything().await;
    for (what, request, code) in [
        (
            "an unknown fleet",
            v1::AssignRequest { fleet: "edge".to_owned(), ..with(&|s| s.fleet = "edge".to_owned()) },
            Code::FleetUnknown,
        ),
        (
            "a fleet that is no name",
            v1::AssignRequest { fleet: "a/b".to_owned(), ..with(&|s| s.fleet = "a/b".to_owned()) },
            Code::FleetUnknown,
        ),
        ("a statement for another fleet", with(&|s| s.fleet = "edge".to_owned()), Code::StatementInvalid),
        ("a stale precondition", request(0, &statement(1, &pack)), Code::GenerationConflict),
        ("a precondition ahead", request(5, &statement(6, &pack)), Code::GenerationConflict),
        ("a generation left out", with(&|s| s.generation = 3), Code::StatementInvalid),
        ("the same generation again", with(&|s| s.generation = 1), Code::StatementInvalid),
        ("no pack", with(&|s| s.packs.clear()), Code::StatementInvalid),
        ("two packs", with(&|s| s.packs.push(s.packs[0].clone())), Code::StatementInvalid),
        ("an unknown version", with(&|s| s.packs[0].version = "9.9.9".to_owned()), Code::PackUnknown),
        ("a name that is no key", with(&|s| s.packs[0].name = "../x".to_owned()), Code::PackUnknown),
        ("another digest", with(&|s| s.packs[0] = other_bytes.clone()), Code::DigestMismatch),
        ("another size", with(&|s| s.packs[0].size += 1), Code::DigestMismatch),
        ("an expired statement", with(&|s| s.expires_us = 1), Code::StatementExpired),
        ("a torn statement", torn, Code::StatementInvalid),
        ("no statement", v1::AssignRequest { assignment: None, ..good() }, Code::StatementInvalid),
        ("a signature of a wrong length", badly_signed, Code::SignatureInvalid),
        ("two signatures of one key", twice, Code::SignatureInvalid),
        ("no kind", v1::AssignRequest { kind: 0, ..good() }, Code::ArgumentInvalid),
        (
            "a request id that is none",
            v1::AssignRequest { request_id: "1".to_owned(), ..good() },
            Code::ArgumentInvalid,
        ),
        (
            "a request id of another assignment",
            v1::AssignRequest { request_id: head.request_id, ..good() },
            Code::RequestIdReused,
        ),
        (
            "an endless reason",
            v1::AssignRequest { reason: "x".repeat(5000), ..good() },
            Code::ArgumentInvalid,
        ),
    ] {
        let refusal = assign(&plane, &request).await.expect_err(what);
        assert_eq!(refusal.code, code, "{what}: {refusal}");
        assert!(!refusal.message.contains('\n') && !refusal.message.ends_with('.'), "{what}: {refusal}");
        assert_eq!(plane.everything().await, before, "{what}");
    }
    // And all that was wrong were those.
    assign(&plane, &good()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_trusts_keys_refuses_what_they_have_not_signed() {
    let plane = Plane::new().await;
    let pack = plane.upload("1.0.0").await;
    let (trusted, stranger) = (signer(), signer());
    let trust = Trust { keys: vec![trusted.public()], threshold: 1 };
    let strict = Plane::over(plane.store.clone(), trust).await;
    let unsigned = request(0, &statement(1, &pack));
    for signers in [vec![], vec![stranger]] {
        let sealed = signed::seal(&statement(1, &pack), &signers);
        let request = v1::AssignRequest { assignment: Some(sealed), ..unsigned.clone() };
        assert_eq!(assign(&strict, &request).await.unwrap_err().code, Code::SignatureInvalid);
    }
    let sealed = signed::seal(&statement(1, &pack), &[trusted]);
    assign(&strict, &v1::AssignRequest { assignment: Some(sealed), ..unsigned }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn writes_are_refused_and_nothing_changes_while_the_store_is_away() {
    let plane = Plane::new().await;
    let pack = plane.upload("1.0.0").await;
    let before = plane.everything().await;
    for (error, code) in [
        (StoreError::Unavailable("gone".to_owned()), Code::StoreUnavailable),
        (StoreError::Full("no space".to_owned()), Code::StoreFull),
    ] {
        plane.store.refuse(error);
        let refusal = assign(&plane, &request(0, &statement(1, &pack))).await.unwrap_err();
        assert_eq!(refusal.code, code);
        plane.store.accept();
        assert_eq!(plane.everything().await, before);
    }
    plane.store.hang();
    let refusal = assign(&plane, &request(0, &statement(1, &pack))).await.unwrap_err();
    assert_eq!(refusal.code, Code::StoreUnavailable);
}

#[tokio::test(start_paused = true)]
async fn the_history_of_a_fleet_is_bounded_and_paged() {
    let plane = Plane::new().await;
    let pack = plane.upload("1.0.0").await;
    // A head that is far along.
    let sealed = signed::seal(&statement(1004, &pack), &[]);
    let old = v1::Assignment { assignment: Some(sealed), ..v1::Assignment::default() };
    let mut writes = vec![put(paths::StateKey::Head("default").path(), &old)];
    for generation in 4..=8 {
        let sealed = signed::seal(&statement(generation, &pack), &[]);
        let past = v1::Assignment { assignment: Some(sealed), ..v1::Assignment::default() };
        writes.push(put(paths::assignment("default", generation), &past));
    }
    plane.store.commit(Commit { writes, ..Commit::default() }).await.unwrap();
    publish(&plane, 1004, &pack).await;
    publish(&plane, 1005, &pack).await;
    let list = |limit, before_generation| v1::ListAssignmentsRequest {
        fleet: "default".to_owned(),
        limit,
        before_generation,
    };
    let generations = |response: v1::ListAssignmentsResponse| -> Vec<u64> {
        let read = |a: &v1::Assignment| {
            signed::read::<v1::AssignmentStatement>(a.assignment.as_ref().unwrap()).unwrap().generation
        };
        response.assignments.iter().map(read).collect()
    };
    let all = generations(plane.registry.assignments(&list(0, 0)).await.unwrap());
    assert_eq!(all, [1006, 1005, 8, 7, 4]);
    let page = generations(plane.registry.assignments(&list(2, 1005)).await.unwrap());
    assert_eq!(page, [8, 7]);
}
