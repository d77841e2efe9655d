//! The real OpenAI client against the real gateway. The cases are in `tests/python/test_openai_sdk.py`.

#[cfg(test)]
mod common;

use common::{gateway, make_key, repository};
use kt_tests::fake_databricks::FakeDatabricks;
use serde_json::json;

fn python() -> std::path::PathBuf {
    let python = repository(".venv/bin/python");
    assert!(python.is_file(), "`{}` is missing: `scripts/setup.sh test` makes it", python.display());
    python
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_package_works_against_the_gateway() {
    let fake = FakeDatabricks::builder().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let keys_file = dir.path().join("keys.json");
    let roles = ["data-engineer", "data-scientist", "analyst"];
    let keys: serde_json::Map<String, serde_json::Value> =
        roles.iter().map(|role| ((*role).to_owned(), make_key(&keys_file, "someone", role).into())).collect();
    let gateway = gateway(
        &fake,
        &repository("examples/demo.yaml"),
        &dir.path().join("audit"),
        &["--keys-file", keys_file.to_str().unwrap(), "--require-identity"],
    )
    .await;
    let mut command = tokio::process::Command::new(python());
    command
        .arg(repository("tests/python/test_openai_sdk.py"))
        .env("KT_BASE_URL", format!("http://{}/v1", gateway.addr))
        .env("KT_FAKE_URL", fake.url())
        .env("KT_KEYS", json!(keys).to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{}", gateway.process.output());
    // A suite that ran nothing would pass too.
    let ran = text.lines().find_map(|line| line.strip_prefix("Ran ")).unwrap_or("0");
    let count: usize = ran.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
    assert!(count >= 20, "{text}");
}

/// Answers alone are read, so that the tests can have the fake say what they like.
const READS_ANSWERS: &str = "
pack: {name: answers, version: 1.0.0}
policies: {chain: [pii-detector, dlp-filter]}
policy:
  pii-detector: {phases: [output], entities: [EMAIL_ADDRESS]}
  dlp-filter: {phases: [output], builtin: all, action: block}
providers:
  targets:
    - {id: a, provider: 'databricks:chat:databricks-meta-llama-3-3-70b-instruct', base_url: 'https://x.azuredatabricks.net/serving-endpoints', secret_key_ref: {env: DATABRICKS_TOKEN}}
    - {id: b, provider: 'databricks:chat:fake-stream-tool-calls-mixed', base_url: 'https://x.azuredatabricks.net/serving-endpoints', secret_key_ref: {env: DATABRICKS_TOKEN}}
    - {id: c, provider: 'databricks:responses:fake-external-openai', base_url: 'https://x.azuredatabricks.net/serving-endpoints', secret_key_ref: {env: DATABRICKS_TOKEN}}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_package_reads_answers_that_are_masked_or_blocked() {
    let fake = FakeDatabricks::builder().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let pack = dir.path().join("pack.yaml");
    std::fs::write(&pack, READS_ANSWERS).unwrap();
    let gateway = gateway(&fake, &pack, &dir.path().join("audit"), &[]).await;
    let mut command = tokio::process::Command::new(python());
    command
        .arg(repository("tests/python/test_openai_answers.py"))
        .env("KT_BASE_URL", format!("http://{}/v1", gateway.addr))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{}", gateway.process.output());
    assert!(text.contains("Ran 9 tests"), "{text}");
}

/// The page's own first pack and client code: `api_key="unused"`, no headers, the minimal pack.
const PAGE_CHAT: &str = r#"
import os, sys
from openai import OpenAI, NotFoundError
client = OpenAI(base_url=os.environ["KT_BASE_URL"], api_key="unused")
response = client.chat.completions.create(
    model="databricks-meta-llama-3-3-70b-instruct",
    messages=[
        {"role": "system", "content": "You are a data engineering expert."},
        {"role": "user", "content": "Write a PySpark query to compute 7-day rolling average sales by region."},
    ],
    max_tokens=1024,
    temperature=0.2,
)
print(response.choices[0].message.content)
"#;

const PAGE_EMBEDDINGS: &str = r#"
import os
from openai import OpenAI, NotFoundError
client = OpenAI(base_url=os.environ["KT_BASE_URL"], api_key="unused")
try:
    embedding = client.embeddings.create(model="databricks-bge-large-en", input="quarterly revenue by product line")
    print(f"Vector dimensions: {len(embedding.data[0].embedding)}")
except NotFoundError as error:
    print(error.code, error.body["message"])
"#;

#[cfg(test)]
async fn page(addr: std::net::SocketAddr, code: &str) -> String {
    let mut command = tokio::process::Command::new(python());
    command.arg("-c").arg(code).env("KT_BASE_URL", format!("http://{addr}/v1"));
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_examples_run_on_the_pages_packs() {
    let fake = FakeDatabricks::builder().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let minimal = gateway(
        &fake,
        &repository("examples/seed/databricks-providers-1.yaml"),
        &dir.path().join("minimal"),
        &[],
    )
    .await;
    assert!(page(minimal.addr, PAGE_CHAT).await.contains("databricks-meta-llama-3-3-70b-instruct"));
    let missing = page(minimal.addr, PAGE_EMBEDDINGS).await;
    assert!(missing.starts_with("model_not_found"), "{missing}");
    assert!(missing.contains("databricks-meta-llama-3-3-70b-instruct"), "{missing}");

    let source = std::fs::read_to_string(repository("examples/seed/databricks-enterprise.yaml")).unwrap();
    let without_rbac = dir.path().join("without-rbac.yaml");
    std::fs::write(&without_rbac, source.replace("    - rbac\n", "")).unwrap();
    let enterprise = gateway(&fake, &without_rbac, &dir.path().join("enterprise"), &[]).await;
    assert_eq!(page(enterprise.addr, PAGE_EMBEDDINGS).await.trim(), "Vector dimensions: 1024");
}
