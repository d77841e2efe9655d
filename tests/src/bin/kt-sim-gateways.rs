//! Simulated gateways as a process; prints what came of them as JSON.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use kt_tests::{
    process::terminated,
    sim::{Fleet, Options, Person, Published, Series, SimError, Standing},
};
use serde::Serialize;

/// Opens many sessions with a control plane, each on a connection of its own, as gateways do, and enforces nothing.
///
/// `connected` is printed once all are. With --publishes and --key-changes it publishes by itself, prints a line of JSON
/// for each publish, and measures from the call that changes the head to the last gateway that has applied. Then it holds the sessions until SIGINT or SIGTERM,
/// or as long as --hold says, and prints its report.
#[derive(Debug, Parser)]
#[command(name = "kt-sim-gateways", version)]
struct Args {
    /// `http://HOST:PORT` of a control plane; may be given several times, gateways are dealt out in turn.
    #[arg(required = true)]
    control_plane: Vec<String>,
    /// How many gateways.
    #[arg(short = 'n', long, default_value_t = 1000, value_name = "COUNT")]
    gateways: usize,
    /// How many start a second.
    #[arg(long, default_value_t = 500.0, value_name = "PER_SECOND")]
    start_rate: f64,
    /// The fleet.
    #[arg(long, default_value = "default", value_name = "NAME")]
    fleet: String,
    /// File with the token of the gateways, kt_gw_….
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// File with the token of a person who may publish, kt_at_….
    #[arg(long, value_name = "FILE")]
    person_token_file: Option<PathBuf>,
    /// How often to publish.
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    publishes: usize,
    /// How often to change the key set.
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    key_changes: usize,
    /// The pack to publish; {{version}} in it becomes a version of its own each time.
    #[arg(long, value_name = "FILE")]
    pack: Option<PathBuf>,
    /// Seconds between two pushes.
    #[arg(long, default_value_t = 0.2, value_name = "SECONDS")]
    pause: f64,
    /// Seconds that all have to connect.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    connect_within: u64,
    /// End after so many seconds, measured from the moment that all is done.
    #[arg(long, value_name = "SECONDS")]
    hold: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Report {
    gateways: usize,
    connect_seconds: f64,
    publishes: Option<Series>,
    key_changes: Option<Series>,
    standing: Standing,
}

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to complain when stderr is gone.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(args))
}

async fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let options = Options {
        control_planes: args.control_plane.clone(),
        fleet: args.fleet.clone(),
        token: std::fs::read_to_string(&args.token_file)?.trim().to_owned(),
        gateways: args.gateways,
        start_rate: args.start_rate,
    };
    let began = tokio::time::Instant::now();
    let fleet = Fleet::start(&options)?;
    fleet.connected(Duration::from_secs(args.connect_within)).await?;
    let connect_seconds = began.elapsed().as_secs_f64();
    say("connected")?;
    let (publishes, key_changes) = push(args, &fleet).await?;
    say("done")?;
    match args.hold {
        Some(hold) => tokio::time::sleep(Duration::from_secs_f64(hold)).await,
        None => terminated().await?,
    }
    let standing = fleet.standing();
    let report = Report { gateways: args.gateways, connect_seconds, publishes, key_changes, standing };
    fleet.stop().await;
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &report)?;
    writeln!(out)?;
    Ok(())
}

async fn push(
    args: &Args,
    fleet: &Fleet,
) -> Result<(Option<Series>, Option<Series>), Box<dyn std::error::Error>> {
    let Some(token) = &args.person_token_file else { return Ok((None, None)) };
    let token = std::fs::read_to_string(token)?;
    let address = args.control_plane.first().map_or("", String::as_str);
    let mut person = Person::connect(address, token.trim(), &args.fleet).await?;
    let pause = Duration::from_secs_f64(args.pause);
    let mut publishes = None;
    if args.publishes > 0 {
        let pack = args.pack.as_ref().ok_or(SimError::Pack("name one with --pack".to_owned()))?;
        let source = std::fs::read_to_string(pack)?;
        let told = |published: &Published| {
            // Nobody listens any more: the report at the end says so too.
            let _ = serde_json::to_string(published).map(|line| say(&line));
        };
        publishes = Some(fleet.publishes(&mut person, &source, args.publishes, pause, told).await?);
    }
    let mut key_changes = None;
    if args.key_changes > 0 {
        key_changes = Some(fleet.key_changes(&mut person, args.key_changes, pause).await?);
    }
    Ok((publishes, key_changes))
}

fn say(word: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{word}")?;
    out.flush()
}
