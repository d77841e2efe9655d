//! The proxies of a gateway's environment, on the way to its upstreams.

#[cfg(test)]
#[expect(dead_code, reason = "another test binary uses the rest of it")]
mod common;

#[cfg(test)]
mod proxies {
    use std::{net::SocketAddr, path::Path};

    use kt_tests::{
        egress::{Authority, ConnectProxy, TlsFront},
        fake_databricks::FakeDatabricks,
        process::Process,
    };

    use super::common::PATIENCE;

    /// The name of an upstream that only the proxy can reach: no resolver knows it (RFC 6761, 6.4).
    const HOST: &str = "upstream.invalid";
    const PACK: &str = "pack:\n  name: test\n  version: 1.0.0\n  enabled: true\npolicies:\n  chain: []\nproviders:\n  \
                        targets:\n    - id: llama\n      provider: \
                        databricks:chat:databricks-meta-llama-3-3-70b-instruct\n      base_url: \
                        https://adb-1.2.azuredatabricks.net/serving-endpoints\n      secret_key_ref:\n        env: \
                        DATABRICKS_TOKEN\n";

    struct World {
        fake: FakeDatabricks,
        proxy: ConnectProxy,
        front: TlsFront,
        dir: tempfile::TempDir,
    }

    impl World {
        async fn new() -> Self {
            let fake = FakeDatabricks::builder().start().await.unwrap();
            let authority = Authority::new().unwrap();
            let front = TlsFront::start(&authority, HOST, fake.addr()).await.unwrap();
            let proxy = ConnectProxy::start(front.addr).await.unwrap();
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
            std::fs::write(dir.path().join("pack.yaml"), PACK).unwrap();
            Self { fake, proxy, front, dir }
        }

        fn path(&self, name: &str) -> String {
            self.dir.path().join(name).to_str().unwrap().to_owned()
        }

        /// Starts a gateway whose target is at `upstream`, and asks it for one chat.
        async fn ask(&self, upstream: &str, environment: &[(&str, &str)]) -> (u16, String) {
            let (upstream, pack) = (format!("*={upstream}"), self.path("pack.yaml"));
            let (ca, audit) = (self.path("ca.pem"), self.path("audit"));
            let arguments = [
                ["--listen", "127.0.0.1:0"],
                ["--admin-listen", "127.0.0.1:0"],
                ["--log-format", "json"],
                ["--allow-upstream", "upstream.invalid,127.0.0.1"],
                ["--upstream", &upstream],
                ["--policy-config", &pack],
                ["--upstream-ca-file", &ca],
                ["--audit-dir", &audit],
            ];
            let mut all = vec!["gateway", "run"];
            all.extend(arguments.iter().flatten());
            let mut environment = environment.to_vec();
            environment.push(("DATABRICKS_TOKEN", self.fake.token()));
            let kt = Path::new(env!("CARGO_BIN_EXE_kt"));
            let mut process = Process::start_at("kt", kt, &all, &environment).unwrap();
            let rest = process.wait_for("\"Gateway serves.\"", PATIENCE).await.unwrap();
            let addr: SocketAddr =
                rest.split_once("\"address\":\"").unwrap().1.split_once('"').unwrap().0.parse().unwrap();
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let body = r#"{"model":"databricks-meta-llama-3-3-70b-instruct","messages":[{"role":"user","content":"say: hi"}]}"#;
            let request = client.post(format!("http://{addr}/v1/chat/completions"));
            let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }

        fn secure(&self) -> String {
            format!("https://{HOST}:{}", self.front.addr.port())
        }

        fn proxy(&self) -> String {
            format!("http://{}", self.proxy.addr)
        }
    }

    #[tokio::test]
    async fn an_upstream_is_reached_through_the_tunnel_of_the_proxy() {
        let world = World::new().await;
        let (status, text) = world.ask(&world.secure(), &[("HTTPS_PROXY", &world.proxy())]).await;
        assert_eq!(status, 200, "{text}");
        assert_eq!(world.fake.count(), 1);
        let heads = world.proxy.heads();
        let [head] = heads.as_slice() else { panic!("{heads:?}") };
        let target = format!("CONNECT {HOST}:{} HTTP/1.1\r\n", world.front.addr.port());
        assert!(head.starts_with(&target), "{head}");
        assert!(!head.contains(world.fake.token()), "the credential is for the upstream alone");
    }

    #[tokio::test]
    async fn no_proxy_and_the_loopback_go_straight() {
        let world = World::new().await;
        let environment = [("HTTPS_PROXY", world.proxy()), ("NO_PROXY", HOST.to_owned())];
        let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
        let (status, text) = world.ask(&world.secure(), &environment).await;
        assert!(
            status == 502 && text.contains("upstream_unreachable"),
            "nobody knows the name: {status} {text}"
        );
        assert!(world.proxy.heads().is_empty());

        let proxy = world.proxy();
        let environment = [("HTTPS_PROXY", proxy.as_str()), ("HTTP_PROXY", &proxy)];
        let (status, text) = world.ask(&world.fake.url(), &environment).await;
        assert_eq!(status, 200, "{text}");
        assert!(world.proxy.heads().is_empty());
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_there_is_an_upstream_that_cannot_be_reached() {
        let world = World::new().await;
        let (status, text) = world.ask(&world.secure(), &[("HTTPS_PROXY", "http://127.0.0.1:1")]).await;
        assert!(status == 502 && text.contains("upstream_unreachable"), "{status} {text}");
        assert_eq!(world.fake.count(), 0);
    }
}
