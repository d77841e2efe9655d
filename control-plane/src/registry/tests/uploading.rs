use super::{packs::Uploaded, *};

async fn upload(plane: &Plane, source: Bytes, id: &str) -> Result<Uploaded, Refusal> {
    plane.registry.upload("ann (at_1)", source, "first", id).await
}

fn is_unchanged(uploaded: &Uploaded) -> bool {
    matches!(uploaded, Uploaded::Stored { is_unchanged: true, .. })
}

#[tokio::test(start_paused = true)]
async fn the_same_bytes_again_change_nothing_and_other_bytes_are_refused() {
    let plane = Plane::new().await;
    let first = upload(&plane, pack("1.0.0", ""), &request_id()).await.unwrap();
    assert!(!is_unchanged(&first));
    let before = plane.everything().await;
    assert!(is_unchanged(&upload(&plane, pack("1.0.0", ""), &request_id()).await.unwrap()));
    let refusal = upload(&plane, pack("1.0.0", "# other\n"), &request_id()).await.unwrap_err();
    assert_eq!(refusal.code, Code::VersionTaken);
    let refusal = plane.registry.check_pack(pack("1.0.0", "# other\n")).await.unwrap_err();
    assert_eq!(refusal.code, Code::VersionTaken);
    assert_eq!(plane.everything().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_pack_with_errors_is_refused_with_its_findings_and_not_stored() {
    let plane = Plane::new().await;
    let before = plane.everything().await;
    let source = Bytes::from_static(b"pack: {name: demo, version: 1.0.0}\npolicies: {chain: [nothing]}\n");
    let Uploaded::Refused(findings) = upload(&plane, source.clone(), &request_id()).await.unwrap() else {
        panic!("stored")
    };
    assert!(findings.iter().any(|finding| finding.is_error && finding.line == 2));
    let admission = plane.registry.check_pack(source).await.unwrap();
    assert_eq!((admission.pack, admission.findings), (None, findings));
    let huge = vec![b'#'; crate::bodies::MAX_SOURCE_BYTES + 1];
    assert_eq!(upload(&plane, huge.into(), &request_id()).await.unwrap_err().code, Code::PackTooLarge);
    assert_eq!(plane.everything().await, before);
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_outcome_was_unknown_is_the_one_that_was_asked_for() {
    for fault in [Fault::UnknownButDone, Fault::UnknownAndNotDone] {
        let plane = Plane::new().await;
        // The piece of the body first, then the record.
        for _ in 0..2 {
            plane.store.fault_next(fault.clone());
        }
        let uploaded = upload(&plane, pack("1.0.0", ""), &request_id()).await.unwrap();
        assert!(!is_unchanged(&uploaded), "{fault:?}");
        let digest = kt_audit::Digest::of(&pack("1.0.0", ""));
        assert_eq!(plane.registry.bodies.get(digest).await.unwrap(), pack("1.0.0", ""));
        let uploads = plane.changes().await.iter().filter(|change| change.starts_with("pack.")).count();
        assert_eq!(uploads, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn versions_are_listed_newest_first_in_pages_that_miss_none() {
    let plane = Plane::new().await;
    for version in ["1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1"] {
        plane.upload(version).await;
    }
    let state = plane.registry.mirror.state();
    let mut request = v1::ListPackVersionsRequest { limit: 3, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = packs::list(&state, &request).unwrap();
        seen.extend(page.versions.iter().map(|version| version.pack.as_ref().unwrap().version.clone()));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, ["2.0.0-rc.1", "1.9.0", "1.10.0", "1.0.0"]);
    let highest = packs::get(&state, "demo", "").unwrap();
    assert_eq!(highest.version.to_string(), "2.0.0-rc.1");
    for (name, version) in [("other", ""), ("demo", "3.0.0"), ("", "")] {
        assert_eq!(packs::get(&state, name, version).unwrap_err().code, Code::PackUnknown);
    }
    request.page_token = "x".to_owned();
    assert_eq!(packs::list(&state, &request).unwrap_err().code, Code::ArgumentInvalid);
}

#[tokio::test(start_paused = true)]
async fn old_changes_are_deleted_and_pages_go_on_where_they_stopped() {
    let plane = Plane::new().await;
    for version in 0..60 {
        let by = By { actor: "ann", reason: "" };
        let write = change(by, "test", &version.to_string(), Timestamp::now());
        plane.store.commit(Commit { writes: vec![write], ..Commit::default() }).await.unwrap();
    }
    assert_eq!(plane.registry.trim_changes(10).await.unwrap(), 51);
    let mut request = v1::ListChangesRequest { limit: 4, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = plane.registry.changes(&request).await.unwrap();
        seen.extend(page.changes.iter().map(|change| change.subject.clone()));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, (50..60).rev().map(|version| version.to_string()).collect::<Vec<_>>());
}
