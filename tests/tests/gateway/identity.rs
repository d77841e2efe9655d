//! Who is asking.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::world::{LLAMA, Pack, World, chat, within, write_atomically};

/// A keys file and the keys behind it.
pub(crate) struct Keys {
    pub(crate) file: String,
    pub(crate) secrets: Vec<String>,
}

/// Keys of (id, user, roles).
pub(crate) fn keys(entries: &[(&str, &str, &[&str])]) -> Keys {
    let secrets: Vec<String> =
        entries.iter().map(|(id, ..)| format!("kt_gk_{id}_0123456789abcdefghij")).collect();
    let list: Vec<_> = entries
        .iter()
        .zip(&secrets)
        .map(|((id, user, roles), secret)| {
            json!({"id": id, "sha256": hex::encode(Sha256::digest(secret)), "user": user, "roles": roles, "team": "data"})
        })
        .collect();
    Keys { file: json!({"version": 1, "keys": list}).to_string(), secrets }
}

async fn error_as(world: &World, key: &str) -> String {
    let answer = world.post_as(key, "/v1/chat/completions", &chat(LLAMA, "say: hello")).await;
    if answer.status == 200 { "200".to_owned() } else { answer.error() }
}

#[tokio::test]
async fn the_pages_unused_key_is_anonymous_while_no_keys_are_configured() {
    let world = World::start(&Pack::llama()).await;
    assert_eq!(error_as(&world, "unused").await, "200");
    assert_eq!(error_as(&world, "kt_gk_something").await, "401 invalid_api_key");
    assert_eq!(error_as(&world, world.fake.token()).await, "401 databricks_token_refused");
}

#[tokio::test]
async fn with_keys_a_bad_credential_is_401_and_none_is_anonymous() {
    let keys = keys(&[("k1", "jane", &["analyst"])]);
    let world = World::plan(&Pack::llama()).keys(&keys.file).start().await;
    assert_eq!(error_as(&world, &keys.secrets[0]).await, "200");
    assert_eq!(error_as(&world, "unused").await, "401 invalid_api_key");
    assert_eq!(error_as(&world, "kt_gk_wrong").await, "401 invalid_api_key");
    let answer = world.chat(LLAMA, "say: hello").await;
    assert_eq!(answer.status, 200);
    let refused = world.post_as("unused", "/v1/chat/completions", &json!({})).await;
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn required_identity_refuses_the_anonymous() {
    let world = World::plan(&Pack::llama())
        .settings(|settings| settings.identity.require_identity = true)
        .start()
        .await;
    assert_eq!(world.chat(LLAMA, "say: hello").await.error(), "401 missing_credential");
    assert_eq!(error_as(&world, "unused").await, "401 missing_credential");
    assert_eq!(world.get(world.url("/v1/models")).await.error(), "401 missing_credential");
    assert_eq!(world.get(world.url("/healthz")).await.status, 200);
}

#[tokio::test]
async fn new_keys_are_taken_and_bad_files_change_nothing() {
    let (old, new) = (keys(&[("k1", "jane", &["analyst"])]), keys(&[("k2", "john", &["analyst"])]));
    let world = World::plan(&Pack::llama()).keys(&old.file).start().await;
    for bad in ["", "{", "{\"version\":1,\"keys\":[{}]}"] {
        std::fs::write(world.path("keys.json"), bad).unwrap();
        let ready = world.until_ready(|_, value| value["status"] == "degraded").await;
        assert!(ready["degraded"][0].as_str().unwrap().starts_with("keys: "), "{ready}");
        assert_eq!(error_as(&world, &old.secrets[0]).await, "200");
        std::fs::write(world.path("keys.json"), &old.file).unwrap();
        world.until_ready(|_, value| value["status"] == "ok").await;
    }
    write_atomically(&world.path("keys.json"), &new.file);
    within(async {
        while error_as(&world, &new.secrets[0]).await != "200" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(error_as(&world, &old.secrets[0]).await, "401 invalid_api_key");
}

#[tokio::test]
async fn a_gateway_does_not_start_with_keys_that_it_cannot_read() {
    let error = World::plan(&Pack::llama()).keys("{").try_start().await.err().unwrap();
    assert!(error.to_string().contains("keys file"), "{error}");
}
