//! The life of a request under the policies of a pack.

use kt_audit::record::{End, Outcome, Verdict};
use serde_json::{Value, json};

use crate::{
    identity::keys,
    records::{closed, opened, read},
    world::{LLAMA, Pack, World, chat},
};

const MIXTRAL: &str = "databricks-mixtral-8x7b-instruct";
const LLAMA_405B: &str = "databricks-meta-llama-3-1-405b-instruct";
const CHAT: &str = "/v1/chat/completions";

const REDACTING: &str = "pii-detector:\n  action: redact\n  entities: [EMAIL_ADDRESS, PHONE_NUMBER]";
const BLOCKING: &str = "dlp-filter:\n  patterns:\n    - name: databricks-pat\n      regex: dapi[a-f0-9]{32}\n      action: \
                        block\n    - name: jdbc\n      regex: jdbc:databricks://[^\\s]+\n      action: redact";
const ROLES: &str = "rbac:\n  roles:\n    analyst:\n      allowed_models: [databricks-meta-llama-3-3-70b-instruct]\n      \
                     max_tokens_per_request: 2048\n    data-scientist:\n      allowed_models: \
                     [databricks-meta-llama-3-3-70b-instruct, databricks-mixtral-8x7b-instruct, \
                     databricks-meta-llama-3-1-405b-instruct]\n      max_tokens_per_request: 8192";
const TOKEN: &str = "dapi0123456789abcdef0123456789abcdef";

fn governed() -> Pack {
    Pack::llama()
        .chat(MIXTRAL)
        .chat(LLAMA_405B)
        .chain(&["pii-detector", "dlp-filter", "audit-logger"])
        .policy(REDACTING)
        .policy(BLOCKING)
}

fn with_roles() -> Pack {
    Pack::llama().chat(MIXTRAL).chat(LLAMA_405B).chain(&["rbac", "audit-logger"]).policy(ROLES)
}

#[tokio::test]
async fn an_allowed_request_passes_byte_for_byte() {
    let world = World::plan(&governed()).audit().start().await;
    let body = format!(
        "{{ \"messages\" :[ {{\"role\":\"user\",\"content\":\"say: gr\\u00fc\\u00dfe\"}}],\n\"temperature\":1e-1,\"model\":\"{LLAMA}\" }}"
    );
    let response = world
        .client
        .post(world.url(CHAT))
        .header("content-type", "application/json")
        .body(body.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-keeptrusts-verdict"], "allow");
    assert_eq!(response.headers()["x-keeptrusts-pack"], "test@1.0.0");
    assert_eq!(response.headers()["x-keeptrusts-target"], LLAMA);
    assert_eq!(world.fake.requests()[0].text(), body);
}

#[tokio::test]
async fn personal_data_is_redacted_before_it_goes_up() {
    let world = World::plan(&governed()).audit().start().await;
    let answer = world.chat(LLAMA, "say: write to jane.doe@example.com").await;
    assert_eq!((answer.status, answer.header("x-keeptrusts-verdict")), (200, Some("redact")));
    let seen = world.fake.requests()[0].text().to_owned();
    assert!(seen.contains("write to <EMAIL_ADDRESS>"), "{seen}");
    assert!(!seen.contains("jane.doe"));
    let records = read(&world.path("audit"));
    let record = closed(&records[1]);
    assert_eq!((record.verdict, record.edits.redactions_in), (Verdict::Redact, 1));
    assert_eq!(record.findings[0].field, "/messages/0/content");
    assert_eq!((record.findings[0].start, record.findings[0].end), (14, 34));
    assert_eq!(opened(&records[0]).verdict, Verdict::Redact);
    assert!(!serde_json::to_string(&records).unwrap().contains("jane"));
}

#[tokio::test]
async fn a_secret_is_blocked_with_rule_and_place_and_without_a_retry() {
    let world = World::plan(&governed()).audit().start().await;
    let mut body = chat(LLAMA, "hello");
    body["messages"]
        .as_array_mut()
        .unwrap()
        .push(json!({"role": "user", "content": format!("my token is {TOKEN}")}));
    let answer = world.post(CHAT, &body).await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(answer.header("x-keeptrusts-verdict"), Some("block"));
    let error = answer.json()["error"].clone();
    assert_eq!(error["type"], "policy_violation");
    assert_eq!(error["code"], "input_blocked");
    assert_eq!(error["policy"], "dlp-filter");
    assert_eq!(error["rule"], "databricks-pat");
    assert_eq!(error["param"], "messages[1].content");
    assert!(!answer.text.contains(TOKEN));
    assert_eq!(world.fake.count(), 0);
    let records = read(&world.path("audit"));
    assert_eq!(records.len(), 1);
    let record = closed(&records[0]);
    assert_eq!((record.end, record.verdict, record.status), (End::Blocked, Verdict::Block, Some(409)));
    assert!(!serde_json::to_string(&records).unwrap().contains(TOKEN));
    let metrics = world.metrics().await;
    assert!(
        metrics
            .contains("policy_evaluations_total{policy=\"dlp-filter\",result=\"block\",mode=\"enforce\",phase=\"input\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_block_can_be_a_content_filter_or_a_refusal() {
    let text = format!("my token is {TOKEN}");
    let world = World::plan(&governed().policies("block_response: content_filter")).audit().start().await;
    assert_eq!(world.chat(LLAMA, &text).await.error(), "400 content_filter");

    let world = World::plan(&governed().policies("block_response: refusal")).audit().start().await;
    let answer = world.chat(LLAMA, &text).await;
    assert_eq!(answer.status, 200);
    let choice = answer.json()["choices"][0].clone();
    assert_eq!(choice["finish_reason"], "content_filter");
    assert!(choice["message"]["refusal"].as_str().unwrap().contains("dlp-filter"));
    let response = world.stream(LLAMA, &text).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let streamed = response.text().await.unwrap();
    assert!(streamed.contains("\"refusal\":") && streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
    let embedding = world.post("/v1/embeddings", &json!({"model": LLAMA, "input": text})).await;
    // A chat target serves no embeddings; with one that does there is no place for a refusal either.
    assert_ne!(embedding.status, 200);
    assert_eq!(world.fake.count(), 0);
    let records = read(&world.path("audit"));
    assert_eq!(closed(&records[0]).end, End::Blocked);
}

#[tokio::test]
async fn observing_changes_nothing_and_is_recorded() {
    let pack = Pack::llama()
        .chain(&["dlp-filter", "audit-logger"])
        .policy(&BLOCKING.replace("dlp-filter:\n", "dlp-filter:\n  mode: observe\n"));
    let world = World::plan(&pack).audit().start().await;
    let text = format!("say: my token is {TOKEN}");
    assert_eq!(world.chat(LLAMA, &text).await.status, 200);
    assert!(world.fake.requests()[0].text().contains(TOKEN));
    let records = read(&world.path("audit"));
    assert!(
        closed(&records[1])
            .outcomes
            .iter()
            .any(|outcome| matches!(outcome.outcome, Outcome::Observed { would: Some(_) })),
        "{records:?}"
    );
}

#[tokio::test]
async fn a_role_decides_which_models_may_be_used() {
    let keys =
        keys(&[("a", "ann", &["analyst"]), ("s", "sam", &["data-scientist"]), ("x", "xi", &["unknown"])]);
    let world = World::plan(&with_roles()).keys(&keys.file).audit().start().await;
    let [analyst, scientist, unknown] = [&keys.secrets[0], &keys.secrets[1], &keys.secrets[2]];
    let ask = async |key: &str, model: &str| {
        let answer = world.post_as(key, CHAT, &chat(model, "say: hello")).await;
        if answer.status == 200 { "200".to_owned() } else { answer.error() }
    };
    assert_eq!(ask(analyst, LLAMA).await, "200");
    assert_eq!(ask(analyst, LLAMA_405B).await, "403 model_not_allowed");
    assert_eq!(ask(scientist, LLAMA_405B).await, "200");
    assert!(ask(unknown, LLAMA).await.starts_with("403 "));
    assert_eq!(world.chat(LLAMA, "hello").await.error(), "403 role_required");
    assert_eq!(ask(analyst, "no-such-model").await, "404 model_not_found");

    let models = |answer: Value| -> Vec<String> {
        answer["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| model["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let list = async |key: &str| {
        crate::world::Answer::of(
            world.client.get(world.url("/v1/models")).bearer_auth(key).send().await.unwrap(),
        )
        .await
    };
    assert_eq!(models(list(analyst).await.json()), [LLAMA]);
    assert_eq!(models(list(scientist).await.json()), [LLAMA, MIXTRAL, LLAMA_405B]);
    assert_eq!(models(list(unknown).await.json()), Vec::<String>::new());
}

#[tokio::test]
async fn the_bound_of_a_role_is_set_where_the_request_names_none() {
    let keys = keys(&[("a", "ann", &["analyst"])]);
    let world = World::plan(&with_roles()).keys(&keys.file).audit().start().await;
    assert_eq!(world.post_as(&keys.secrets[0], CHAT, &chat(LLAMA, "say: hello")).await.status, 200);
    assert_eq!(world.fake.requests()[0].json()["max_tokens"], 2048);
    let mut body = chat(LLAMA, "say: hello");
    body["max_tokens"] = json!(4096);
    let answer = world.post_as(&keys.secrets[0], CHAT, &body).await;
    assert_eq!(answer.error(), "403 max_tokens_exceeded");
    assert_eq!(answer.json()["error"]["limit"], 2048);
    let records = read(&world.path("audit"));
    assert_eq!(closed(&records[1]).edits.token_bound.as_ref().unwrap().value, 2048);
}

#[tokio::test]
async fn a_fallback_is_used_by_those_who_may_and_passed_over_for_others() {
    let keys = keys(&[("a", "ann", &["analyst"]), ("s", "sam", &["data-scientist"])]);
    let pack = with_roles().providers(&format!(
        "fallback:\n  order: [{MIXTRAL}]\n  triggers: [rate_limit, server_error, timeout]\n  max_fallback_attempts: 2"
    ));
    let world = World::plan(&pack).keys(&keys.file).audit().start().await;
    world.fake.script([kt_tests::fake_databricks::Rule::always(LLAMA, "503")]).unwrap();
    let answer = world.post_as(&keys.secrets[1], CHAT, &chat(LLAMA, "say: hello")).await;
    assert_eq!((answer.status, answer.header("x-keeptrusts-target")), (200, Some(MIXTRAL)));
    let answer = world.post_as(&keys.secrets[0], CHAT, &chat(LLAMA, "say: hello")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(world.fake.requests_to(MIXTRAL).len(), 1);
    let records = read(&world.path("audit"));
    let attempts = &closed(records.last().unwrap()).attempts;
    assert_eq!(attempts.len(), 2);
    assert_eq!(
        (attempts[1].target.id.as_str(), attempts[1].skipped.as_deref()),
        (MIXTRAL, Some("model_not_allowed"))
    );
}

#[tokio::test]
async fn a_retired_model_goes_up_with_a_notice_and_its_404_names_the_successor() {
    let pack = Pack::new().chat(LLAMA_405B);
    let world = World::start(&pack).await;
    let answer = world.chat(LLAMA_405B, "say: hello").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("x-keeptrusts-notice").unwrap().contains("retired"));
    let world = World::plan(&pack).fake(|fake| fake.retired_models(false)).start().await;
    let answer = world.chat(LLAMA_405B, "say: hello").await;
    assert_eq!(answer.error(), "404 model_not_found");
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("successor"), "{message}");
}

#[tokio::test]
async fn an_alias_is_resolved_and_named() {
    let world = World::start(&Pack::llama().providers(&format!("aliases:\n  fast: {LLAMA}"))).await;
    assert_eq!(world.chat("fast", "say: hello").await.status, 200);
    assert_eq!(world.fake.requests()[0].json()["model"], LLAMA);
    let models = world.get(world.url("/v1/models")).await.json();
    assert_eq!(models["data"][1]["id"], "fast");
    assert_eq!(world.get(world.url("/v1/models/fast")).await.json()["id"], "fast");
    assert_eq!(world.get(world.url("/v1/models/slow")).await.error(), "404 model_not_found");
}

#[tokio::test]
async fn every_endpoint_goes_to_its_path() {
    let pack = Pack::llama().target("databricks-bge-large-en", "embedding", "").target(
        "fake-external-openai",
        "responses",
        "",
    );
    let world = World::start(&pack).await;
    let embedding =
        world.post("/v1/embeddings", &json!({"model": "databricks-bge-large-en", "input": "hello"})).await;
    assert_eq!(embedding.json()["data"][0]["embedding"].as_array().unwrap().len(), 1024);
    let response =
        world.post("/v1/responses", &json!({"model": "fake-external-openai", "input": "say: hello"})).await;
    assert_eq!(response.status, 200, "{}", response.text);
    let paths: Vec<String> = world.fake.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/serving-endpoints/embeddings", "/serving-endpoints/responses"]);
    assert_eq!(
        world.post("/v1/embeddings", &json!({"model": LLAMA, "input": "hello"})).await.error(),
        "404 model_not_found"
    );
}

#[tokio::test]
async fn a_large_prompt_is_judged_too() {
    let world = World::plan(&governed()).audit().start().await;
    let text = format!("say: {} jane.doe@example.com", "word ".repeat(60_000));
    assert_eq!(world.chat(LLAMA, &text).await.status, 200);
    assert!(!world.fake.requests()[0].text().contains("jane.doe"));
}

#[tokio::test]
async fn a_pack_with_findings_is_refused_with_all_of_them() {
    let yaml =
        Pack::llama().yaml().replace("provider:", "provder:").replace("chain: []", "chain: [nonsense]");
    let error = World::plan_yaml(&yaml).try_start().await.err().unwrap();
    let kt_data_plane::StartError::Pack(kt_data_plane::PackFault::Findings { findings, .. }) = error else {
        panic!("not refused for its findings")
    };
    assert!(findings.len() >= 2, "{findings:?}");
}

#[tokio::test]
async fn an_upstream_that_is_not_allowed_is_refused_at_binding() {
    let yaml = Pack::llama().yaml().replace("adb-1.2.azuredatabricks.net", "evil.example");
    let plan = World::plan_yaml(&yaml).settings(|settings| settings.bind.upstream = Vec::new());
    assert!(plan.try_start().await.is_err());
}
