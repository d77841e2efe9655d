//! The way out: TLS to upstreams, and probes of their health. Proxies are those of a process's environment: their tests
//! are in `cli/tests/egress.rs`.

use std::path::PathBuf;

use kt_data_plane::StartError;
use kt_tests::{
    egress::{Authority, TlsFront},
    fake_databricks::FakeDatabricks,
};

use crate::world::{LLAMA, Pack, World, within};

/// A gateway in front of a fake behind TLS.
struct Secure {
    world: World,
    upstream: FakeDatabricks,
    _front: TlsFront,
    _dir: tempfile::TempDir,
}

/// `name` stands in the upstream's certificate; its authority is in the file when it is `trusted`.
async fn secure(name: &str, trusted: bool) -> Secure {
    let upstream = FakeDatabricks::builder().start().await.unwrap();
    let authority = Authority::new().unwrap();
    let front = TlsFront::start(&authority, name, upstream.addr()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let port = front.addr.port();
    let world = World::plan(&Pack::llama())
        .token(upstream.token())
        .settings(move |settings| {
            settings.bind.upstream = vec![format!("*=https://localhost:{port}")];
            settings.bind.allow_upstream = vec!["localhost".to_owned()];
            settings.upstream_ca_file = trusted.then_some(file);
        })
        .start()
        .await;
    Secure { world, upstream, _front: front, _dir: dir }
}

#[tokio::test]
async fn an_upstream_of_a_trusted_authority_is_asked() {
    let secure = secure("localhost", true).await;
    let answer = secure.world.chat(LLAMA, "say: hello").await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "hello");
    let text = secure.world.stream(LLAMA, "say: hello").await.text().await.unwrap();
    assert!(text.trim_end().ends_with("[DONE]"), "{text}");
    assert_eq!(secure.upstream.count(), 2);
}

#[tokio::test]
async fn an_upstream_of_an_unknown_authority_gets_not_a_byte() {
    let secure = secure("localhost", false).await;
    assert_eq!(secure.world.chat(LLAMA, "hello").await.error(), "502 upstream_unreachable");
    assert_eq!(secure.upstream.count(), 0);
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused_even_from_a_trusted_authority() {
    let secure = secure("other.example", true).await;
    assert_eq!(secure.world.chat(LLAMA, "hello").await.error(), "502 upstream_unreachable");
    assert_eq!(secure.upstream.count(), 0);
}

#[tokio::test]
async fn a_file_without_certificates_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let broken = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU\n-----END CERTIFICATE-----\n";
    for path in [file("empty", ""), file("text", "no PEM"), file("broken", broken), dir.path().join("none")] {
        let named = path.clone();
        let plan = World::plan(&Pack::llama()).settings(|settings| settings.upstream_ca_file = Some(path));
        let error = plan.try_start().await.err();
        let Some(StartError::Certificates { path, .. }) = error else {
            panic!("{}: {error:?}", named.display())
        };
        assert_eq!(path, named);
    }
}

fn probed(path: &str) -> Pack {
    let probe = format!("health_probe:\n  path: {path}\n  interval_seconds: 1\n  timeout_seconds: 1");
    Pack::new().target(LLAMA, "chat", &probe)
}

/// What `/metrics` says of the target, once it says anything.
async fn up(world: &World, expected: u8) -> String {
    let line = format!("upstream_up{{target=\"{LLAMA}\"}} {expected}");
    within(async {
        loop {
            let metrics = world.metrics().await;
            if metrics.contains(&line) {
                return metrics;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_target_that_answers_its_probe_is_up_without_any_request() {
    let world = World::start(&probed("/api/2.0/serving-endpoints")).await;
    up(&world, 1).await;
    let seen = world.fake.requests();
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("GET", "/api/2.0/serving-endpoints"));
    let authorization = seen[0].header("authorization");
    assert_eq!(
        authorization,
        Some(format!("Bearer {}", world.fake.token()).as_str()),
        "it is asked as usual"
    );
    // Again and again.
    within(world.fake.wait_until(|seen| seen.len() >= 2)).await;
}

#[tokio::test]
async fn a_target_that_fails_its_probe_is_down_and_up_again_with_the_next_good_answer() {
    let world = World::start(&probed("/api/2.0/serving-endpoints/fake-503")).await;
    up(&world, 0).await;
    // A request that is answered says more than a probe.
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
    world.write_pack(&probed("/api/2.0/serving-endpoints").version(1));
    up(&world, 1).await;
}

#[tokio::test]
async fn a_probe_that_is_not_answered_in_time_is_a_failure() {
    let world = World::start(&probed("/api/2.0/serving-endpoints/fake-stall")).await;
    up(&world, 0).await;
}

#[tokio::test]
async fn a_target_without_a_probe_is_left_alone() {
    let world = World::start(&Pack::llama()).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!(world.fake.count(), 0);
    assert!(!world.metrics().await.contains("upstream_up{"));
}
