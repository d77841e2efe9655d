//! Files that change while the gateway runs, and the end of a gateway.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::oneshot;

use crate::world::{Answer, LLAMA, Pack, World, chat, within, write_atomically};

#[tokio::test]
async fn a_new_pack_is_taken_without_a_restart() {
    let world = World::start(&Pack::llama()).await;
    assert_eq!(world.chat("fake-ok", "hello").await.error(), "404 model_not_found");
    world.write_pack(&Pack::llama().chat("fake-ok").version(1));
    world.until_ready(|_, value| value["pack"] == "test@1.0.1").await;
    let answer = world.chat("fake-ok", "hello").await;
    assert_eq!((answer.status, answer.header("x-keeptrusts-pack")), (200, Some("test@1.0.1")));
    assert!(world.metrics().await.contains("keeptrusts_gateway_pack_info{name=\"test\",version=\"1.0.1\""));
}

#[tokio::test]
async fn a_bad_pack_keeps_the_old_one_and_says_so() {
    let world = World::start(&Pack::llama()).await;
    for bad in ["", "pack: [broken", "pack:\n  name: broken\n"] {
        std::fs::write(world.path("pack.yaml"), bad).unwrap();
        let ready = world.until_ready(|_, value| value["status"] == "degraded").await;
        assert_eq!(ready["pack"], "test@1.0.0");
        assert!(ready["degraded"][0].as_str().unwrap().starts_with("pack: "), "{ready}");
        assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
        world.write_pack(&Pack::llama());
        world.until_ready(|_, value| value["status"] == "ok").await;
    }
    let metrics = world.metrics().await;
    assert!(metrics.contains("keeptrusts_gateway_pack_loads_total{result=\"refused\"} 3"), "{metrics}");
    std::fs::remove_file(world.path("pack.yaml")).unwrap();
    world.until_ready(|status, value| status == 200 && value["status"] == "degraded").await;
}

#[tokio::test]
async fn a_pack_that_is_not_enabled_is_not_served() {
    let yaml = Pack::llama().yaml().replace("enabled: true", "enabled: false");
    let error = World::plan_yaml(&yaml).try_start().await.err().unwrap();
    assert_eq!(error.to_string(), "the pack `test@1.0.0` says `enabled: false` and is not served");
    let world = World::start(&Pack::llama()).await;
    write_atomically(&world.path("pack.yaml"), &yaml);
    let ready = world.until_ready(|_, value| value["status"] == "degraded").await;
    assert!(ready["degraded"][0].as_str().unwrap().contains("enabled: false"), "{ready}");
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
}

#[tokio::test]
async fn a_pack_that_wants_records_is_refused_without_a_place_for_them() {
    let error = World::plan(&Pack::llama().chain(&["audit-logger"])).try_start().await.err().unwrap();
    assert!(error.to_string().contains("no audit directory"), "{error}");
}

#[tokio::test]
async fn a_request_keeps_the_pack_that_it_began_with() {
    let pack = Pack::new().target("fake-slow-first-byte-500", "chat", "timeout_seconds: 5");
    let world = World::start(&pack).await;
    let slow = world.chat("fake-slow-first-byte-500", "hello");
    let change = async {
        world.fake.wait_until(|seen| seen.len() == 1).await;
        world.write_pack(&Pack::llama().version(7));
        world.until_ready(|_, value| value["pack"] == "test@1.0.7").await;
    };
    let (answer, ()) = within(async { tokio::join!(slow, change) }).await;
    assert_eq!((answer.status, answer.header("x-keeptrusts-pack")), (200, Some("test@1.0.0")));
}

#[tokio::test]
async fn a_rotated_credential_is_taken_and_a_broken_one_is_not() {
    let world = World::plan(&Pack::llama())
        .fake(|fake| fake.token("dapiaaaa").token("dapibbbb"))
        .token("dapiaaaa")
        .start()
        .await;
    let used = async || {
        world.chat(LLAMA, "say: hello").await;
        world.fake.requests().last().unwrap().header("authorization").unwrap().to_owned()
    };
    assert_eq!(used().await, "Bearer dapiaaaa");
    std::fs::write(world.path("secrets/token"), "").unwrap();
    let ready = world.until_ready(|_, value| value["status"] == "degraded").await;
    assert!(ready["degraded"][0].as_str().unwrap().contains("credential of target"), "{ready}");
    assert_eq!(used().await, "Bearer dapiaaaa");
    std::fs::write(world.path("secrets/new"), "dapibbbb\n").unwrap();
    std::fs::remove_file(world.path("secrets/token")).unwrap();
    std::os::unix::fs::symlink("new", world.path("secrets/token")).unwrap();
    world.until_ready(|_, value| value["status"] == "ok").await;
    within(async { while used().await != "Bearer dapibbbb" {} }).await;
    assert!(world.metrics().await.contains("keeptrusts_gateway_secret_age_seconds{target="));
}

#[tokio::test]
async fn a_target_without_a_credential_is_unavailable_and_the_pack_is_served() {
    let world = World::plan(&Pack::llama()).token("").start().await;
    let answer = world.chat(LLAMA, "hello").await;
    assert_eq!(answer.error(), "503 target_unavailable");
    assert_eq!(world.fake.count(), 0);
    std::fs::write(world.path("secrets/token"), world.fake.token()).unwrap();
    world.until_ready(|_, value| value["status"] == "ok").await;
    assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
}

#[tokio::test]
async fn the_configuration_shows_no_secret() {
    let world = World::start(&Pack::llama()).await;
    let answer = world.get(world.admin("/keeptrusts/config")).await;
    let config = answer.json();
    assert_eq!(config["pack"]["name"], "test");
    assert_eq!(config["targets"][0]["host"], "127.0.0.1");
    assert_eq!(config["targets"][0]["overridden"], true);
    assert_eq!(config["targets"][0]["credential"], "ok");
    assert!(!answer.text.contains(world.fake.token()));
}

#[tokio::test]
async fn a_drain_finishes_what_was_begun_and_takes_nothing_new() {
    let pack = Pack::new().target("fake-stream-slow-100", "chat", "timeout_seconds: 5");
    let world = World::start(&pack).await;
    let World { fake, running, client, dir } = world;
    let (addr, admin) = (running.addr, running.admin_addr.unwrap());
    let mut body = chat("fake-stream-slow-100", "count: 10");
    body["stream"] = true.into();
    let response = client
        .post(format!("http://{addr}/v1/chat/completions"))
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let draining = running.run_until(async {
        let _ = stopped.await;
    });
    let watching = async {
        let mut stream = response.bytes_stream();
        let first = stream.next().await.unwrap().unwrap();
        stop.send(()).unwrap();
        // Readiness is told on the operator's listener until the last answer is out.
        loop {
            let ready = Answer::of(client.get(format!("http://{admin}/readyz")).send().await.unwrap()).await;
            if ready.status == 503 {
                assert_eq!(ready.json()["status"], "draining");
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let fresh = reqwest::Client::builder().no_proxy().build().unwrap();
        assert!(fresh.get(format!("http://{addr}/healthz")).send().await.unwrap_err().is_connect());
        let mut text = String::from_utf8_lossy(&first).into_owned();
        while let Some(chunk) = stream.next().await {
            text.push_str(&String::from_utf8_lossy(&chunk.unwrap()));
        }
        text
    };
    let (drained, text) = within(async { tokio::join!(draining, watching) }).await;
    assert!(text.contains("[DONE]"), "{text}");
    assert!(!drained.cut);
    drop((fake, dir));
}

#[tokio::test]
async fn a_drain_cuts_what_does_not_end() {
    let world = World::plan(&Pack::new().chat("fake-stream-endless"))
        .settings(|settings| settings.timeouts.drain = Duration::from_millis(200))
        .start()
        .await;
    let stream = world.stream("fake-stream-endless", "hello").await;
    let (fake, _dir, drained) = world.stop().await;
    assert!(drained.cut);
    within(fake.idle()).await;
    assert!(stream.text().await.is_err());
}

#[tokio::test]
async fn a_drain_cuts_http2_streams_too() {
    let world = World::plan(&Pack::new().chat("fake-stream-endless"))
        .settings(|settings| settings.timeouts.drain = Duration::from_millis(200))
        .start()
        .await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let mut body = chat("fake-stream-endless", "hello");
    body["stream"] = true.into();
    let request = client.post(world.url("/v1/chat/completions")).header("content-type", "application/json");
    let stream = request.body(body.to_string()).send().await.unwrap();
    let (fake, _dir, drained) = world.stop().await;
    assert!(drained.cut);
    within(fake.idle()).await;
    assert!(stream.text().await.is_err());
}
