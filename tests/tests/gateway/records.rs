//! What is written down of a request, read back from the directory.

use std::path::Path;

use kt_audit::{
    Body, Record,
    record::{Closed, End, Opened, Phase, Proof, Verdict},
    segment::{self, Item},
};
use serde_json::json;

use crate::world::{LLAMA, Pack, World, within};

/// The records of requests in a directory, oldest first.
pub(crate) fn read(dir: &Path) -> Vec<Body> {
    let mut records = all(dir);
    records.retain(|body| matches!(body, Body::Opened(_) | Body::Closed(_)));
    records
}

/// All records in a directory, oldest first.
pub(crate) fn all(dir: &Path) -> Vec<Body> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            kt_audit::dir::layout::SegmentName::parse(path.file_name().unwrap().to_str().unwrap()).is_some()
        })
        .collect();
    names.sort();
    let mut records = Vec::new();
    for name in names {
        let bytes = std::fs::read(&name).unwrap();
        let (header, items) = segment::scan(&bytes);
        header.unwrap();
        for item in items {
            if let Item::Frame { frame, .. } = item {
                records.push(Record::parse(frame.payload).unwrap().body);
            }
        }
    }
    records
}

pub(crate) fn opened(body: &Body) -> &Opened {
    let Body::Opened(opened) = body else { panic!("not an opened record: {body:?}") };
    opened
}

pub(crate) fn closed(body: &Body) -> &Closed {
    let Body::Closed(closed) = body else { panic!("not a closed record: {body:?}") };
    closed
}

fn audited(pack: Pack) -> Pack {
    pack.chain(&["audit-logger"])
}

#[tokio::test]
async fn a_request_is_opened_before_it_goes_up_and_closed_before_it_is_answered() {
    let world = World::plan(&audited(Pack::llama())).audit().start().await;
    let answer = world.chat(LLAMA, "say: hello").await;
    let records = read(&world.path("audit"));
    assert_eq!(records.len(), 2);
    let (opened, closed) = (opened(&records[0]), closed(&records[1]));
    assert_eq!(opened.id, closed.id);
    assert_eq!(Some(opened.request.request_id.as_str()), answer.header("x-request-id"));
    assert_eq!(&*opened.target.as_ref().unwrap().id, LLAMA);
    assert_eq!((closed.end, closed.verdict, closed.status), (End::Completed, Verdict::Allow, Some(200)));
    assert_eq!(closed.request.caller.proof, Proof::Anonymous);
    assert_eq!(closed.attempts.len(), 1);
    assert_eq!(closed.attempts[0].status, Some(200));
    assert_eq!(closed.bytes_out, answer.text.len() as u64);
    let usage = &answer.json()["usage"];
    let tokens = closed.tokens.unwrap();
    assert_eq!(tokens.prompt, usage["prompt_tokens"].as_u64());
    assert_eq!(tokens.completion, usage["completion_tokens"].as_u64());
    assert_eq!(closed.upstream_request_id.as_deref(), answer.header("x-keeptrusts-upstream-request-id"));
    let metrics = world.metrics().await;
    assert!(metrics.contains("keeptrusts_gateway_audit_records_written_total"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_stream_is_closed_before_its_last_byte() {
    let world = World::plan(&audited(Pack::llama())).audit().start().await;
    let text = world.stream(LLAMA, "say: hello").await.text().await.unwrap();
    assert!(text.contains("[DONE]"));
    let records = read(&world.path("audit"));
    let closed = closed(&records[1]);
    assert_eq!(closed.end, End::Completed);
    assert!(closed.request.stream);
    assert!(closed.tokens.unwrap().completion.is_some());
}

#[tokio::test]
async fn refusals_before_the_chain_are_recorded_too() {
    let world = World::plan(&audited(Pack::llama()))
        .audit()
        .settings(|settings| settings.limits.body_bytes = 500)
        .start()
        .await;
    world.get(world.url("/api/2.0/clusters")).await;
    world.post_as("dapi0123456789abcdef0123456789abcdef", "/v1/chat/completions", &json!({})).await;
    world.post("/v1/chat/completions", &json!({})).await;
    world.chat(LLAMA, &"a".repeat(600)).await;
    crate::world::raw(world.running.addr, b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").await;
    let records = read(&world.path("audit"));
    let codes: Vec<String> = records
        .iter()
        .map(|record| {
            let refusal = closed(record).refusal.as_ref().unwrap();
            format!("{} {}", refusal.status, refusal.code)
        })
        .collect();
    assert_eq!(
        codes,
        [
            "404 not_governed",
            "401 databricks_token_refused",
            "400 missing_required_parameter",
            "413 request_too_large",
            "400 connect_refused"
        ]
    );
    assert_eq!(closed(&records[1]).request.caller.proof, Proof::Refused);
    assert!(records.iter().all(|record| closed(record).verdict == Verdict::Block));
}

#[tokio::test]
async fn failures_of_the_upstream_are_recorded_with_every_attempt() {
    let pack = audited(Pack::new().chat("fake-503").chat("fake-429").chat(LLAMA)).providers(&format!(
        "fallback:\n  order: [fake-429, {LLAMA}]\n  triggers: [rate_limit, server_error, timeout]"
    ));
    let world = World::plan(&pack).audit().start().await;
    world.chat("fake-503", "say: hello").await;
    let records = read(&world.path("audit"));
    let closed = closed(&records[1]);
    let attempts: Vec<_> = closed
        .attempts
        .iter()
        .map(|attempt| {
            (attempt.target.id.to_string(), attempt.status, attempt.error.as_ref().map(ToString::to_string))
        })
        .collect();
    assert_eq!(
        attempts,
        [
            ("fake-503".to_owned(), Some(503), Some("upstream_server_error".to_owned())),
            ("fake-429".to_owned(), Some(429), Some("upstream_rate_limit".to_owned())),
            (LLAMA.to_owned(), Some(200), None),
        ]
    );
    assert_eq!(closed.edits.model.as_ref().unwrap().to, LLAMA);
}

#[tokio::test]
async fn a_client_that_went_away_is_recorded_as_such() {
    use futures_util::StreamExt as _;

    let world = World::plan(&audited(Pack::new().chat("fake-stream-endless"))).audit().start().await;
    let mut stream = world.stream("fake-stream-endless", "hello").await.bytes_stream();
    assert!(within(stream.next()).await.unwrap().is_ok());
    drop(stream);
    within(world.fake.idle()).await;
    let (_fake, dir, drained) = world.stop().await;
    assert!(drained.audit_closed);
    let records = read(&dir.path().join("audit"));
    let closed = closed(&records[1]);
    assert_eq!((closed.end, closed.client_aborted), (End::Aborted, true));
    assert!(closed.bytes_out > 0);
}

#[tokio::test]
async fn a_client_that_went_away_before_any_answer_saw_no_status() {
    let fallback = "fallback:\n  order: [fake-stall]\n  triggers: [server_error]\n  max_fallback_attempts: 1";
    let pack =
        Pack::new().chat("fake-503").target("fake-stall", "chat", "timeout_seconds: 60").providers(fallback);
    let world = World::plan(&audited(pack)).audit().start().await;
    let waiting = world.chat("fake-503", "hello");
    tokio::select! {
        _ = waiting => panic!("there is no answer"),
        _ = world.fake.wait_until(|seen| seen.len() == 2) => {}
    }
    let (_fake, dir, _) = world.stop().await;
    let records = read(&dir.path().join("audit"));
    let closed = closed(&records[1]);
    assert_eq!((closed.end, closed.client_aborted, closed.status), (End::Aborted, true, None));
    assert_eq!(closed.target.as_ref().unwrap().id, "fake-stall", "what was waited for");
    assert_eq!(closed.attempts.len(), 1);
}

#[tokio::test]
async fn each_policy_tells_its_time_and_each_detector_its_digest() {
    let pack = Pack::llama()
        .chain(&["pii-detector", "dlp-filter", "audit-logger"])
        .policy("dlp-filter:\n  patterns:\n    - name: word\n      regex: s3cret\n      action: block");
    let world = World::plan(&pack).audit().start().await;
    world.chat(LLAMA, "say: hello").await;
    world.chat(LLAMA, "say: s3cret").await;
    let records = read(&world.path("audit"));
    // Two of the three read the answer as well, where there is one.
    for (outcomes, count) in [
        (&opened(&records[0]).outcomes, 3),
        (&closed(&records[1]).outcomes, 5),
        (&closed(&records[2]).outcomes, 3),
    ] {
        assert_eq!(outcomes.len(), count);
        assert!(outcomes.iter().all(|outcome| outcome.us.is_some()), "{outcomes:?}");
    }
    let closed = closed(&records[1]);
    for (phase, whole) in
        [(Phase::Input, closed.latency.policy_in), (Phase::Output, closed.latency.policy_out)]
    {
        let outcomes = closed.outcomes.iter().filter(|outcome| outcome.phase == phase);
        let sum: u64 = outcomes.filter_map(|outcome| outcome.us).sum();
        assert!(sum <= whole.unwrap(), "parts of {:?}: {:?}", closed.latency, closed.outcomes);
    }
    let digest = |kind| kt_audit::Digest(*kt_policy::detect::digest(kind).unwrap());
    let digests: Vec<_> =
        closed.request.detectors.iter().map(|(name, digest)| (name.as_str(), *digest)).collect();
    use kt_policy::verdict::PolicyKind::{DlpFilter, PiiDetector};
    assert_eq!(digests, [("dlp-filter", digest(DlpFilter)), ("pii-detector", digest(PiiDetector))]);
}

#[tokio::test]
async fn a_cut_stream_is_recorded_as_failed() {
    let world = World::plan(&audited(Pack::new().chat("fake-stream-truncated"))).audit().start().await;
    within(world.stream("fake-stream-truncated", "hello").await.text()).await.unwrap();
    let records = read(&world.path("audit"));
    let closed = closed(&records[1]);
    assert_eq!(closed.end, End::Failed);
    assert_eq!(closed.refusal.as_ref().unwrap().code, "upstream_stream_cut");
}

#[tokio::test]
async fn without_log_all_access_plain_requests_are_left_out() {
    let pack = audited(Pack::llama().chat("fake-500")).policy("audit-logger:\n  log_all_access: false");
    let world = World::plan(&pack).audit().start().await;
    world.chat(LLAMA, "say: hello").await;
    world.stream(LLAMA, "say: hello").await.text().await.unwrap();
    assert_eq!(read(&world.path("audit")).len(), 0);
    world.chat("fake-500", "hello").await;
    let records = read(&world.path("audit"));
    assert_eq!(records.len(), 1);
    assert_eq!(closed(&records[0]).end, End::Failed);
}

#[tokio::test]
async fn without_the_logger_nothing_is_written() {
    let world = World::plan(&Pack::llama()).audit().start().await;
    world.chat(LLAMA, "say: hello").await;
    assert_eq!(read(&world.path("audit")).len(), 0);
    assert!(world.metrics().await.contains("requests_total{endpoint=\"chat_completions\""));
}

#[tokio::test]
async fn a_log_without_room_refuses_before_anything_goes_up() {
    let world = World::plan(&audited(Pack::llama()))
        .audit()
        .settings(|settings| {
            let log = &mut settings.audit.as_mut().unwrap().log;
            log.max_bytes = 2 << 20;
            log.reserve_bytes = 64 << 10;
            log.segment_bytes = 256 << 10;
        })
        .start()
        .await;
    let mut sent = 0;
    let refused = loop {
        let answer = world.chat(LLAMA, "say: hello").await;
        if answer.status != 200 {
            break answer;
        }
        sent += 1;
        assert!(sent < 5_000, "the log never filled");
    };
    assert_eq!(refused.error(), "503 audit_unavailable");
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(world.fake.count(), sent);
    let ready = world.until_ready(|status, _| status == 200).await;
    assert!(ready["degraded"].as_array().is_none_or(Vec::is_empty) || ready["status"] == "degraded");
}

#[tokio::test]
async fn no_record_holds_a_text_or_a_name() {
    let keys = crate::identity::keys(&[("k1", "jane@example.com", &["analyst"])]);
    let world = World::plan(&audited(Pack::llama())).keys(&keys.file).audit().start().await;
    let answer = world
        .post_as(
            &keys.secrets[0],
            "/v1/chat/completions",
            &crate::world::chat(LLAMA, "say: the quick brown fox"),
        )
        .await;
    assert_eq!(answer.status, 200);
    let records = read(&world.path("audit"));
    assert!(closed(&records[1]).request.caller.subject.is_some());
    let text = serde_json::to_string(&records).unwrap();
    for hidden in ["quick brown", "jane", keys.secrets[0].as_str(), world.fake.token()] {
        assert!(!text.contains(hidden), "{hidden}");
    }
}
