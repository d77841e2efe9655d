//! Prints what an append costs, per durability, on the disk of the directory given.
//!
//! `cargo run --profile demo -p kt-data-plane --example audit-latency -- [DIR]`

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kt_audit::record::{
    Attempt, Body, Caller, Closed, End, Endpoint, Latency, Opened, PackRef, PolicyOutcome, RequestFacts,
    Target, Tokens,
};
use kt_audit::{Digest, Label};
use kt_data_plane::audit::{self, AuditHandle, Durability, Settings};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let temporary = tempfile::tempdir()?;
    let dir = std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    runtime.block_on(all(&dir))
}

async fn all(dir: &Path) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let cores = std::thread::available_parallelism()?;
    writeln!(
        out,
        "records of {} and {} bytes, {cores} cores, {}",
        size(&opened())?,
        size(&closed())?,
        dir.display()
    )?;
    writeln!(
        out,
        "{:<12} {:>7} {:>10} {:>9} {:>9} {:>9} {:>10}",
        "durability", "at once", "records/s", "p50 µs", "p90 µs", "p99 µs", "max µs"
    )?;
    let mut verified = Verified::default();
    for durability in [Durability::BestEffort, Durability::Block, Durability::Sync] {
        for tasks in [1, 16, 64] {
            let run = dir.join(format!("{durability:?}-{tasks}"));
            let (handle, log) = audit::open(&run, &Settings::default())?;
            let (count, elapsed, mut times) = load(&handle, durability, tasks).await?;
            log.close(Duration::from_secs(30)).await?;
            verified += verify(&run)?;
            times.sort_unstable();
            let at = |share: usize| times.get(times.len() * share / 1000).copied().unwrap_or(0);
            let last = times.last().copied().unwrap_or(0);
            let rate = count * 1_000_000 / elapsed.max(1);
            writeln!(
                out,
                "{:<12} {tasks:>7} {rate:>10} {:>9} {:>9} {:>9} {last:>10}",
                format!("{durability:?}"),
                at(500),
                at(900),
                at(990),
            )?;
        }
    }
    writeln!(out, "verified {} records in {} ms", verified.records, verified.us / 1_000)?;
    Ok(())
}

#[derive(Default)]
struct Verified {
    records: u64,
    us: u64,
}

impl std::ops::AddAssign for Verified {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.us += other.us;
    }
}

/// Verifies what a run has written; a break ends the program.
fn verify(run: &Path) -> Result<Verified, Failure> {
    let before = Instant::now();
    let report = kt_audit::dir::AuditDir::open(run)?.verify(None, &[])?;
    match report.breaks.first() {
        Some(found) => Err(found.to_string().into()),
        None => Ok(Verified { records: report.records, us: micros(before.elapsed()) }),
    }
}

/// Appends pairs of records from `tasks` tasks for two seconds: how many, the time and each append's latency, in
/// microseconds.
async fn load(
    handle: &AuditHandle,
    durability: Durability,
    tasks: usize,
) -> Result<(u64, u64, Vec<u64>), Failure> {
    let started = Instant::now();
    let count = Arc::new(AtomicU64::new(0));
    let mut set = JoinSet::new();
    for _ in 0..tasks {
        let (handle, count) = (handle.clone(), count.clone());
        set.spawn(async move {
            let mut times = Vec::new();
            while started.elapsed() < Duration::from_secs(2) {
                for body in [opened(), closed()] {
                    let before = Instant::now();
                    handle.append(body, durability, None).await?;
                    times.push(micros(before.elapsed()));
                    count.fetch_add(1, Ordering::Relaxed);
                }
                if durability == Durability::BestEffort {
                    // A caller that does not wait would only measure a full queue.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            Ok::<_, audit::AppendError>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = set.join_next().await {
        times.extend(done??);
    }
    Ok((count.load(Ordering::Relaxed), micros(started.elapsed()), times))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn size(body: &Body) -> Result<usize, Failure> {
    Ok(kt_audit::Record::new(body.clone()).payload()?.len())
}

fn facts() -> RequestFacts {
    RequestFacts {
        accepted_us: 1_800_000_000_000_000,
        endpoint: Endpoint::ChatCompletions,
        request_id: Label::new("req_0123456789abcdef"),
        caller: Caller {
            roles: vec!["data-engineer".into()],
            team: Some("platform".into()),
            ..Caller::default()
        },
        pack: Some(PackRef {
            name: "databricks-enterprise".into(),
            version: "1.0.0".into(),
            digest: Digest::of(b"pack"),
            generation: None,
        }),
        requested_model: Some("databricks-meta-llama-3-3-70b-instruct".into()),
        ..RequestFacts::default()
    }
}

fn target() -> Target {
    Target { id: "llama-70b".into(), model: "databricks-meta-llama-3-3-70b-instruct".into(), region: None }
}

fn outcomes() -> Vec<PolicyOutcome> {
    ["prompt-injection", "pii-detector", "dlp-filter", "rbac"]
        .into_iter()
        .map(|policy| PolicyOutcome {
            policy: policy.into(),
            phase: kt_audit::record::Phase::Input,
            mode: kt_audit::record::Mode::Enforce,
            outcome: kt_audit::record::Outcome::Evaluated,
            verdict: Some(kt_audit::record::Verdict::Allow),
            us: Some(40),
        })
        .collect()
}

fn opened() -> Body {
    // One id for all: what is measured does not depend on it, and no request stays open.
    let id = Uuid::from_u128(1);
    let (request, target, outcomes) = (facts(), Some(target()), outcomes());
    Body::Opened(Box::new(Opened { id, request, target, outcomes, bytes_in: 1024, ..Opened::default() }))
}

fn closed() -> Body {
    let attempt = Attempt { target: target(), status: Some(200), us: 180_000, ..Attempt::default() };
    Body::Closed(Box::new(Closed {
        id: Uuid::from_u128(1),
        request: facts(),
        end: End::Completed,
        target: Some(target()),
        attempts: vec![attempt],
        outcomes: outcomes(),
        tokens: Some(Tokens { prompt: Some(250), completion: Some(120), ..Tokens::default() }),
        latency: Latency { total: 190_000, first_byte: Some(180_000), ..Latency::default() },
        status: Some(200),
        bytes_in: 1024,
        bytes_out: 2048,
        ..Closed::default()
    }))
}
