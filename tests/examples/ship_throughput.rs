//! How fast a spool is delivered: fills a directory with records of about 1 KB, delivers it to a store in this process
//! that checks every byte and keeps it in memory, and prints records a second and processor time.
//!
//! `cargo run --profile demo -p kt-tests --example ship_throughput -- 300000`

use std::{error::Error, time::Duration};

use kt_audit::record::{
    Body, Caller, Closed, Disposition, Effect, End, Endpoint, Finding, Phase, RequestFacts,
};
use kt_data_plane::{
    audit::{self, Durability},
    settings::ControlSettings,
    ship::{ShipOptions, ship_directory},
};
use kt_tests::{fake_control_plane::TOKEN, fake_ingest::FakeIngest};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;
use uuid::Uuid;

fn record(number: u128) -> Body {
    let finding = Finding {
        policy: "pii-detector".into(),
        rule: "email-address".into(),
        entity: Some("EMAIL_ADDRESS".into()),
        phase: Phase::default(),
        field: "/messages/3/content".into(),
        start: 120,
        end: 141,
        score: None,
        effect: Effect::Redact,
        disposition: Disposition::default(),
    };
    let request = RequestFacts {
        accepted_us: 1_700_000_000_000_000,
        endpoint: Endpoint::ChatCompletions,
        request_id: Uuid::from_u128(number).to_string().as_str().into(),
        requested_model: Some("databricks-meta-llama-3-3-70b-instruct".into()),
        caller: Caller { team: Some("data-platform".into()), ..Caller::default() },
        ..RequestFacts::default()
    };
    Body::Closed(Box::new(Closed {
        id: Uuid::from_u128(number),
        request,
        end: End::Completed,
        findings: vec![finding; 6],
        ..Closed::default()
    }))
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let count: u128 = std::env::args().nth(1).map_or(Ok(100_000), |count| count.parse())?;
    let dir = tempfile::tempdir()?;
    let spool = dir.path().join("audit");
    std::fs::write(dir.path().join("token"), TOKEN)?;
    let (log, writer) = audit::open(&spool, &audit::Settings::default())?;
    let began = Instant::now();
    for number in 0..count {
        log.append(record(number), Durability::Block, None).await?;
    }
    let wrote = began.elapsed();
    let bytes = log.metrics().bytes.load(std::sync::atomic::Ordering::Relaxed);
    writer.close(Duration::from_mins(1)).await?;

    let store = FakeIngest::new();
    let server = store.serve(0).await?;
    let control = ControlSettings::new(server.url(), dir.path().join("token"));
    let options = ShipOptions { dir: spool, control, read_only: true };
    let (began, used) = (Instant::now(), processor_time());
    let shipped = ship_directory(options, std::future::pending(), |_, _| {}).await?;
    let (took, used) = (began.elapsed(), processor_time().saturating_sub(used));
    let kept = store.kept();
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let per_second = |records: u64, took: Duration| records as f64 / took.as_secs_f64();
    let written = u64::try_from(count)?;
    println!(
        "{{\"records\":{},\"bytes_per_record\":{},\"written_per_second\":{:.0},\"delivered_per_second\":{:.0},\
         \"processor_us_per_record\":{:.1},\"batches\":{},\"complete\":{},\"lost\":{}}}",
        shipped.records,
        bytes / written.max(1),
        per_second(written, wrote),
        per_second(shipped.records, took),
        1e6 / per_second(shipped.records, used),
        kept.batches,
        shipped.is_complete,
        kept.breaks().len()
    );
    Ok(())
}
