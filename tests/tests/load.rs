//! The load generator against the fake, and both as processes.

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use kt_tests::fake_databricks::{DEFAULT_TOKEN, FakeDatabricks, Recorded, Rule};
    use kt_tests::load::{self, LoadError, Options, Report};
    use kt_tests::process::{Process, ProcessError};
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    const LIMIT: Duration = Duration::from_secs(20);

    fn options(fake: &FakeDatabricks) -> Options {
        let bearer = format!("Bearer {}", fake.token());
        Options {
            headers: vec![("authorization".to_owned(), bearer)],
            requests: Some(60),
            connections: 4,
            ..Options::to(&format!("{}/chat/completions", fake.base_url()))
        }
    }

    async fn run(options: &Options) -> Report {
        tokio::time::timeout(LIMIT, load::run(options, CancellationToken::new())).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn completed_requests_are_those_that_the_fake_answered() {
        let dir = tempfile::tempdir().unwrap();
        let fake = FakeDatabricks::start().await.unwrap();
        let ids = dir.path().join("ids");
        let report = run(&Options { ids: Some(ids.clone()), ..options(&fake) }).await;
        assert_eq!((report.completed, report.warm_up, report.errors.len()), (60, 0, 0));
        assert_eq!((report.connects, fake.count()), (4, 60));
        let written = std::fs::read_to_string(ids).unwrap();
        let written: BTreeSet<&str> = written.lines().collect();
        let requests = fake.requests();
        let answered: BTreeSet<&str> = requests.iter().map(|recorded| recorded.request_id.as_str()).collect();
        assert_eq!(written, answered);
        let sent: u64 = requests.iter().map(|recorded| recorded.end.as_ref().unwrap().bytes).sum();
        assert_eq!(report.body_bytes, sent);
        let q = report.latency_us;
        assert!(0 < q.p50 && q.p50 <= q.p90 && q.p90 <= q.p99 && q.p99 <= q.max, "{q:?}");
        assert!(report.first_byte_us.p50 <= q.p50 && report.rps > 0.0);
        assert!(report.client_cpu_us_per_request > 0.0);
    }

    #[tokio::test]
    async fn only_whole_answers_of_status_200_are_completed() {
        let dir = tempfile::tempdir().unwrap();
        let ids = dir.path().join("ids");
        let fake = FakeDatabricks::start().await.unwrap();
        let model = "databricks-meta-llama-3-3-70b-instruct";
        fake.script([
            Rule::next(model, "503", 3),
            Rule::next(model, "close-mid-body", 2),
            Rule::next(model, "reset-before-head", 1),
            Rule::next(model, "bad-chunk", 1),
            Rule::next(model, "429", 4),
            Rule::next(model, "close-after", 2),
            Rule::next(model, "stall", 1),
        ])
        .unwrap();
        let request_timeout = Duration::from_millis(500);
        let options = Options { ids: Some(ids.clone()), request_timeout, connections: 1, ..options(&fake) };
        let report = run(&options).await;
        let errors: Vec<(&str, u64)> =
            report.errors.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        assert_eq!(errors, [("429", 4), ("503", 3), ("closed", 3), ("malformed", 1), ("timeout", 1)]);
        assert_eq!(report.completed, 48);
        assert_eq!(std::fs::read_to_string(ids).unwrap().lines().count(), 48);
        assert_eq!(report.connects, 1 + 3 + 1 + 2 + 1, "a new connection after each that ended");
    }

    #[tokio::test]
    async fn streams_are_read_to_their_end_and_marks_are_unique() {
        let dir = tempfile::tempdir().unwrap();
        let ids = dir.path().join("ids");
        let fake = FakeDatabricks::start().await.unwrap();
        let options = Options { stream: true, mark: true, ids: Some(ids.clone()), ..options(&fake) };
        let report = run(&options).await;
        assert_eq!(report.completed, 60);
        let written = std::fs::read_to_string(ids).unwrap();
        let marks: BTreeSet<&str> = written.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(marks.len(), 60);
        let prompt = |recorded: &Recorded| {
            assert_eq!(recorded.json()["stream"], true);
            recorded.json()["messages"][0]["content"].as_str().unwrap().to_owned()
        };
        let prompts: Vec<String> = fake.requests().iter().map(prompt).collect();
        assert!(prompts.iter().all(|prompt| prompt.len() == 1024));
        assert!(marks.iter().all(|mark| prompts.iter().filter(|prompt| prompt.ends_with(mark)).count() == 1));
    }

    #[tokio::test]
    async fn a_fixed_rate_is_kept_and_a_stall_shows_in_the_latencies() {
        let fake = FakeDatabricks::start().await.unwrap();
        let started = Instant::now();
        let steady = Options { rate: Some(400.0), requests: Some(80), ..options(&fake) };
        let report = run(&steady).await;
        assert_eq!(report.completed, 80);
        assert!(started.elapsed() >= Duration::from_millis(79 * 1000 / 400), "{:?}", started.elapsed());
        // One connection, a stall of 300 ms at the start: the requests due meanwhile have waited too.
        let model = "databricks-meta-llama-3-3-70b-instruct";
        fake.script([Rule::next(model, "slow-first-byte;300", 1)]).unwrap();
        let report =
            run(&Options { rate: Some(100.0), requests: Some(30), connections: 1, ..options(&fake) }).await;
        assert_eq!(report.completed, 30);
        assert!(report.late >= 20, "{} were late", report.late);
        assert!(
            report.latency_us.p50 > 50_000 && report.latency_us.max >= 300_000,
            "{:?}",
            report.latency_us
        );
    }

    #[tokio::test]
    async fn a_stop_and_a_dead_server_end_in_a_report() {
        let fake = FakeDatabricks::start().await.unwrap();
        let endless = Options { requests: None, duration: Duration::from_hours(1), ..options(&fake) };
        let stop = CancellationToken::new();
        let load = load::run(&endless, stop.clone());
        let answered = async {
            fake.wait_until(|requests| requests.len() > 20).await;
            stop.cancel();
        };
        let (report, ()) = tokio::time::timeout(LIMIT, async { tokio::join!(load, answered) }).await.unwrap();
        assert!(report.unwrap().completed > 10);

        let dead = Options { requests: Some(3), connections: 1, ..options(&fake) };
        fake.shutdown().await;
        let report = run(&dead).await;
        assert_eq!((report.completed, report.errors.get("connect")), (0, Some(&3)));
    }

    #[tokio::test]
    async fn the_warm_up_is_not_measured() {
        let fake = FakeDatabricks::start().await.unwrap();
        let report = run(&Options { warm_up: Duration::from_hours(1), ..options(&fake) }).await;
        assert_eq!((report.completed, report.warm_up, report.rps), (0, 60, 0.0));
    }

    #[tokio::test]
    async fn options_that_cannot_work_are_refused() {
        let fake = FakeDatabricks::start().await.unwrap();
        let refused =
            async |options: Options| load::run(&options, CancellationToken::new()).await.unwrap_err();
        assert!(matches!(refused(Options { rate: Some(0.0), ..options(&fake) }).await, LoadError::Rate));
        assert!(matches!(refused(Options::to("https://h/")).await, LoadError::Url(_)));
        let ids = Some("/nonexistent/ids".into());
        assert!(matches!(refused(Options { ids, ..options(&fake) }).await, LoadError::Ids(_)));
    }

    #[tokio::test]
    async fn both_binaries_work_together() {
        let dir = tempfile::tempdir().unwrap();
        let (port_file, echo) = (dir.path().join("port"), dir.path().join("echo.jsonl"));
        let args = ["--port-file", port_file.to_str().unwrap(), "--echo-log", echo.to_str().unwrap()];
        let mut fake = Process::start_at(
            "kt-fake-databricks",
            env!("CARGO_BIN_EXE_kt-fake-databricks").as_ref(),
            args,
            &[],
        )
        .unwrap();
        let addr = fake.wait_for("listening on ", LIMIT).await.unwrap();
        assert_eq!(std::fs::read_to_string(&port_file).unwrap().trim(), addr);
        let url = format!("http://{addr}/serving-endpoints/chat/completions");
        let header = format!("authorization: Bearer {DEFAULT_TOKEN}");
        let args = [url.as_str(), "-n", "50", "--warm-up", "0", "-H", header.as_str(), "--duration", "20"];
        let mut load =
            Process::start_at("kt-load", env!("CARGO_BIN_EXE_kt-load").as_ref(), args, &[]).unwrap();
        let (status, output) = load.wait().await.unwrap();
        assert!(status.success(), "{output}");
        let report: Report = serde_json::from_str(&output).unwrap();
        assert_eq!(report.completed, 50);
        let (status, _) = fake.terminate().await.unwrap();
        assert!(status.success());
        let lines = std::fs::read_to_string(&echo).unwrap();
        assert_eq!(lines.lines().filter(|line| line.starts_with(r#"{"event":"request""#)).count(), 50);
    }

    #[tokio::test]
    async fn a_process_that_never_gets_ready_shows_what_it_said() {
        let args = ["--listen", "203.0.113.1:1"];
        let mut fake = Process::start_at(
            "kt-fake-databricks",
            env!("CARGO_BIN_EXE_kt-fake-databricks").as_ref(),
            args,
            &[],
        )
        .unwrap();
        let error = fake.wait_for("listening on ", LIMIT).await.unwrap_err();
        let ProcessError::NotReady { output, .. } = &error else { panic!("{error}") };
        assert!(output.starts_with("error: cannot listen on `203.0.113.1:1`: "), "{output}");
        let (status, _) = fake.wait().await.unwrap();
        assert_eq!(status.code(), Some(1));
        assert!(matches!(kt_tests::process::binary("no-such-binary"), Err(ProcessError::Missing { .. })));
    }
}
