//! A fake Databricks, a gateway in front of it, and a client.

use std::{fmt::Write as _, path::Path, time::Duration};

use kt_data_plane::{Drained, Gateway, Running, Settings, StartError};
use kt_tests::fake_databricks::{self, FakeDatabricks};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The model that most tests ask for.
pub(crate) const LLAMA: &str = "databricks-meta-llama-3-3-70b-instruct";
/// Nothing in these tests takes longer, or something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The text of a pack.
#[derive(Debug, Clone)]
pub(crate) struct Pack {
    version: u32,
    chain: Vec<&'static str>,
    policies: String,
    policy: String,
    targets: String,
    providers: String,
}

impl Pack {
    /// A pack without policies and without targets.
    pub(crate) fn new() -> Self {
        Self {
            version: 0,
            chain: Vec::new(),
            policies: String::new(),
            policy: String::new(),
            targets: String::new(),
            providers: String::new(),
        }
    }

    /// One chat target for the usual model.
    pub(crate) fn llama() -> Self {
        Self::new().chat(LLAMA)
    }

    pub(crate) fn version(mut self, patch: u32) -> Self {
        self.version = patch;
        self
    }

    pub(crate) fn chain(mut self, chain: &[&'static str]) -> Self {
        self.chain = chain.to_vec();
        self
    }

    /// More keys of `policies`, indented by two.
    pub(crate) fn policies(mut self, yaml: &str) -> Self {
        self.policies.push_str(&indented(yaml, 2));
        self
    }

    /// Blocks of `policy`, indented by two.
    pub(crate) fn policy(mut self, yaml: &str) -> Self {
        self.policy.push_str(&indented(yaml, 2));
        self
    }

    /// A chat target whose id is its model.
    pub(crate) fn chat(self, model: &str) -> Self {
        self.target(model, "chat", "")
    }

    /// A target whose id is its model, with more keys.
    pub(crate) fn target(mut self, model: &str, kind: &str, yaml: &str) -> Self {
        let _ = write!(
            self.targets,
            "    - id: {model}\n      provider: databricks:{kind}:{model}\n      base_url: \
             https://adb-1.2.azuredatabricks.net/serving-endpoints\n      secret_key_ref:\n        env: \
             DATABRICKS_TOKEN\n{}",
            indented(yaml, 6)
        );
        self
    }

    /// More keys of `providers`.
    pub(crate) fn providers(mut self, yaml: &str) -> Self {
        self.providers.push_str(&indented(yaml, 2));
        self
    }

    pub(crate) fn yaml(&self) -> String {
        let mut yaml =
            format!("pack:\n  name: test\n  version: 1.0.{}\n  enabled: true\npolicies:\n", self.version);
        if self.chain.is_empty() {
            yaml.push_str("  chain: []\n");
        } else {
            yaml.push_str("  chain:\n");
            for kind in &self.chain {
                let _ = writeln!(yaml, "    - {kind}");
            }
        }
        yaml.push_str(&self.policies);
        if !self.policy.is_empty() {
            yaml.push_str("policy:\n");
            yaml.push_str(&self.policy);
        }
        yaml.push_str("providers:\n  targets:\n");
        yaml.push_str(&self.targets);
        yaml.push_str(&self.providers);
        yaml
    }
}

fn indented(yaml: &str, by: usize) -> String {
    yaml.lines().filter(|line| !line.trim().is_empty()).fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{:by$}{line}", "");
        text
    })
}

/// What a world is made of.
pub(crate) struct Plan {
    pack: String,
    keys: Option<String>,
    audit: bool,
    fake: fake_databricks::Builder,
    change: Box<dyn FnOnce(&mut Settings)>,
    token: Option<String>,
}

impl Plan {
    pub(crate) fn keys(mut self, keys: &str) -> Self {
        self.keys = Some(keys.to_owned());
        self
    }

    pub(crate) fn audit(mut self) -> Self {
        self.audit = true;
        self
    }

    pub(crate) fn fake(
        mut self,
        change: impl FnOnce(fake_databricks::Builder) -> fake_databricks::Builder,
    ) -> Self {
        self.fake = change(self.fake);
        self
    }

    pub(crate) fn settings(mut self, change: impl FnOnce(&mut Settings) + 'static) -> Self {
        self.change = Box::new(change);
        self
    }

    /// What stands in `secrets/token`; by default what the fake accepts.
    pub(crate) fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub(crate) async fn start(self) -> World {
        self.try_start().await.unwrap()
    }

    pub(crate) async fn try_start(self) -> Result<World, StartError> {
        let fake = self.fake.start().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("secrets")).unwrap();
        std::fs::write(at("secrets/token"), self.token.as_deref().unwrap_or(fake.token())).unwrap();
        std::fs::write(at("pack.yaml"), from_file(&self.pack)).unwrap();
        let mut settings = Settings::new(at("pack.yaml"));
        settings.listen = "127.0.0.1:0".parse().unwrap();
        settings.admin_listen = Some("127.0.0.1:0".parse().unwrap());
        settings.reload_interval = Duration::from_millis(50);
        settings.proxy_from_environment = false;
        settings.bind.secrets_dir = Some(at("secrets"));
        settings.bind.upstream = vec![format!("*={}", fake.url())];
        settings.bind.allow_upstream = vec!["127.0.0.1".to_owned()];
        if let Some(keys) = &self.keys {
            std::fs::write(at("keys.json"), keys).unwrap();
            settings.identity.keys_file = Some(at("keys.json"));
        }
        if self.audit {
            settings.audit = Some(kt_data_plane::settings::AuditSettings::new(at("audit")));
        }
        (self.change)(&mut settings);
        let running = Gateway::start(settings).await?;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Ok(World { fake, running, client, dir })
    }
}

/// Secrets come from a file in these tests: they run in one process, whose environment they must not change.
pub(crate) fn from_file(pack: &str) -> String {
    pack.replace("env: DATABRICKS_TOKEN", "file: token")
}

/// A running world. Everything in it stops when it is dropped.
pub(crate) struct World {
    pub(crate) fake: FakeDatabricks,
    pub(crate) running: Running,
    pub(crate) client: reqwest::Client,
    pub(crate) dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn plan(pack: &Pack) -> Plan {
        Self::plan_yaml(&pack.yaml())
    }

    pub(crate) fn plan_yaml(yaml: &str) -> Plan {
        Plan {
            pack: yaml.to_owned(),
            keys: None,
            audit: false,
            fake: FakeDatabricks::builder(),
            change: Box::new(|_| {}),
            token: None,
        }
    }

    pub(crate) async fn start(pack: &Pack) -> Self {
        Self::plan(pack).start().await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.addr)
    }

    pub(crate) fn admin(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.admin_addr.unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write_pack(&self, pack: &Pack) {
        write_atomically(&self.path("pack.yaml"), &from_file(&pack.yaml()));
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(
            self.client
                .post(self.url(path))
                .header("content-type", "application/json")
                .body(body.to_string())
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn post_as(&self, key: &str, path: &str, body: &Value) -> Answer {
        Answer::of(
            self.client
                .post(self.url(path))
                .bearer_auth(key)
                .header("content-type", "application/json")
                .body(body.to_string())
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn chat(&self, model: &str, text: &str) -> Answer {
        self.post("/v1/chat/completions", &chat(model, text)).await
    }

    pub(crate) async fn get(&self, url: String) -> Answer {
        Answer::of(self.client.get(url).send().await.unwrap()).await
    }

    pub(crate) async fn stream(&self, model: &str, text: &str) -> reqwest::Response {
        let mut body = chat(model, text);
        body["stream"] = json!(true);
        self.client
            .post(self.url("/v1/chat/completions"))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn metrics(&self) -> String {
        self.get(self.admin("/metrics")).await.text
    }

    /// Waits until `/readyz` satisfies a condition.
    pub(crate) async fn until_ready(&self, condition: impl Fn(u16, &Value) -> bool) -> Value {
        within(async {
            loop {
                let answer = self.get(self.admin("/readyz")).await;
                let value = answer.json();
                if condition(answer.status, &value) {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// Stops the gateway in order; the fake stays.
    pub(crate) async fn stop(self) -> (FakeDatabricks, tempfile::TempDir, Drained) {
        let drained = within(self.running.run_until(std::future::ready(()))).await;
        (self.fake, self.dir, drained)
    }
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// `status code`, as in `403 model_not_allowed`.
    pub(crate) fn error(&self) -> String {
        format!("{} {}", self.status, self.json()["error"]["code"].as_str().unwrap_or("-"))
    }
}

/// The body of a chat request.
pub(crate) fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

/// Under a limit of time.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Sends bytes and reads whatever comes until the peer closes.
pub(crate) async fn raw(addr: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_to_end(&mut stream).await
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn write_atomically(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}
