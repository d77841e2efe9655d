//! `kill -9` of the real gateway while it serves and delivers, again and again: nothing that a client has got an answer
//! to is missing in the store.

#[cfg(test)]
#[expect(dead_code, reason = "another test binary uses the rest of it")]
mod common;

#[cfg(test)]
mod killed {
    use std::{
        collections::HashSet,
        net::SocketAddr,
        path::Path,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use kt_audit::record::{Body, End};
    use kt_proto::v1::Document;
    use kt_tests::{
        fake_control_plane::{FakeControlPlane, TOKEN},
        fake_databricks::FakeDatabricks,
        process::Process,
    };
    use tokio::task::JoinSet;
    use uuid::Uuid;

    use super::common::PATIENCE;

    const KILLS: usize = 8;
    const PACK: &str = "pack:\n  name: test\n  version: 1.0.1\n  enabled: true\npolicies:\n  chain:\n    - \
                        audit-logger\nproviders:\n  targets:\n    - id: llama\n      provider: \
                        databricks:chat:databricks-meta-llama-3-3-70b-instruct\n      base_url: \
                        https://adb-1.2.azuredatabricks.net/serving-endpoints\n      secret_key_ref:\n        env: \
                        DATABRICKS_TOKEN\n";
    const ASK: &str = "{\"model\":\"databricks-meta-llama-3-3-70b-instruct\",\"messages\":[{\"role\":\"user\",\
                       \"content\":\"hello\"}],\"stream\":false}";

    struct World {
        fake: FakeDatabricks,
        plane: FakeControlPlane,
        dir: tempfile::TempDir,
    }

    impl World {
        fn path(&self, name: &str) -> String {
            self.dir.path().join(name).to_str().unwrap().to_owned()
        }

        async fn gateway(&self) -> (Process, SocketAddr) {
            let (upstream, url) = (format!("*={}", self.fake.url()), self.plane.url());
            let (token, state, audit) = (self.path("token"), self.path("state"), self.path("audit"));
            let arguments = [
                ["gateway", "run"],
                ["--listen", "127.0.0.1:0"],
                ["--admin-listen", "127.0.0.1:0"],
                ["--log-format", "json"],
                ["--allow-upstream", "127.0.0.1"],
                ["--upstream", &upstream],
                ["--control-plane", &url],
                ["--token-file", &token],
                ["--state-dir", &state],
                ["--audit-dir", &audit],
            ];
            let environment = [("DATABRICKS_TOKEN", self.fake.token())];
            let kt = Path::new(env!("CARGO_BIN_EXE_kt"));
            let mut process = Process::start_at("kt", kt, arguments.concat(), &environment).unwrap();
            let rest = process.wait_for("\"address\":\"", PATIENCE).await.unwrap();
            (process, rest.split_once('"').unwrap().0.parse().unwrap())
        }
    }

    /// Asks from several connections until the gateway is gone; keeps the ids of the requests that were answered.
    fn load(addr: SocketAddr, answered: &Arc<Mutex<Vec<Uuid>>>) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for _ in 0..8 {
            let answered = Arc::clone(answered);
            clients.spawn(async move {
                let client = reqwest::Client::builder().no_proxy().build().unwrap();
                loop {
                    let request = client
                        .post(format!("http://{addr}/v1/chat/completions"))
                        .header("content-type", "application/json")
                        .body(ASK);
                    let Ok(answer) = request.send().await else { return };
                    let (status, id) = (answer.status(), answer.headers().get("x-request-id").cloned());
                    if answer.bytes().await.is_ok() && status == 200 {
                        answered.lock().unwrap().push(id.unwrap().to_str().unwrap().parse().unwrap());
                    }
                }
            });
        }
        clients
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_answered_is_in_the_store_whenever_the_gateway_is_killed() {
        let world = World {
            fake: FakeDatabricks::builder().start().await.unwrap(),
            plane: FakeControlPlane::start().await.unwrap(),
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::write(world.path("token"), TOKEN).unwrap();
        world.plane.publish(1, "1.0.1", PACK, &[]);
        let store = &world.plane.ingest;
        store.set(|manner| manner.max_batch_records = 40);
        let answered = Arc::new(Mutex::new(Vec::new()));
        for kill in 0..KILLS {
            // Every other time the store breaks off too, after it has stored and before it says so.
            store.set(|manner| manner.breaks_after = (kill % 2 == 1).then_some(3));
            let (process, addr) = world.gateway().await;
            world.plane.applied(Document::Assignment, 1).await;
            let enough = answered.lock().unwrap().len() + 60 + 23 * kill;
            let stored = store.kept().len();
            let mut clients = load(addr, &answered);
            let served = async {
                while answered.lock().unwrap().len() < enough {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(PATIENCE, served).await.expect("the gateway serves");
            // In the middle of a delivery, not before the first.
            store.until(|kept| (kept.len() > stored).then_some(())).await;
            process.kill().await.unwrap();
            while clients.join_next().await.is_some() {}
        }
        store.set(|manner| manner.breaks_after = None);
        let (process, _) = world.gateway().await;
        let (status, output) = process.terminate().await.unwrap();
        assert!(status.success(), "{output}");
        assert!(!output.contains("does not have all audit records"), "{output}");

        let kept = store.kept();
        let closed: Vec<Uuid> = kept.closed();
        let ids: HashSet<Uuid> = closed.iter().copied().collect();
        assert_eq!(ids.len(), closed.len(), "each request has one end");
        let answered = answered.lock().unwrap();
        let lost: Vec<&Uuid> = answered.iter().filter(|id| !ids.contains(id)).collect();
        let interrupted = kept
            .records()
            .filter(|record| matches!(&record.body, Body::Closed(closed) if closed.end == End::Interrupted))
            .count();
        // Nothing came from nowhere: what is stored went upstream.
        assert!(closed.len() as u64 <= world.fake.count() + interrupted as u64);
        println!(
            "{{\"completed\":{},\"upstream\":{},\"stored\":{},\"interrupted\":{interrupted},\"again\":{},\"conflicts\":{},\"lost\":{}}}",
            answered.len(),
            world.fake.count(),
            closed.len(),
            kept.duplicates,
            kept.conflicts,
            lost.len()
        );
        assert_eq!((lost.len(), kept.conflicts), (0, 0));
        assert_eq!(kept.breaks(), Vec::<String>::new());
        assert_eq!(kept.runs.len(), KILLS + 1);
        let opened: HashSet<Uuid> = kept
            .records()
            .filter_map(|record| if let Body::Opened(opened) = record.body { Some(opened.id) } else { None })
            .collect();
        assert!(opened.is_subset(&ids), "whatever was begun has its end");
    }
}
