//! The load generator as a process; prints its report as JSON.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kt_tests::load::{self, Options};
use kt_tests::process::terminated;
use tokio_util::sync::CancellationToken;

/// Sends the same POST again and again over HTTP/1.1 and prints what came of it as JSON.
///
/// A request counts as completed when its whole 200 response has been received. SIGINT or SIGTERM ends a run early;
/// the report is printed all the same.
#[derive(Debug, Parser)]
#[command(name = "kt-load", version)]
struct Args {
    /// `http://HOST:PORT/PATH`.
    url: String,
    /// Connections, each with one request at a time.
    #[arg(short, long, default_value_t = 8, value_name = "COUNT")]
    connections: usize,
    /// Requests a second of all connections together; without it, as fast as they are answered.
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Seconds before anything is measured.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = seconds)]
    warm_up: f64,
    /// Seconds that are measured.
    #[arg(short, long, default_value_t = 10.0, value_name = "SECONDS", value_parser = seconds)]
    duration: f64,
    /// End earlier, after so many requests.
    #[arg(short = 'n', long, value_name = "COUNT")]
    requests: Option<u64>,
    /// Seconds after which a request has failed.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS", value_parser = seconds)]
    timeout: f64,
    /// Further header; may be given several times.
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// File with the request body; without it, a chat with a prompt of 1 KB.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// `model` of the default body.
    #[arg(long, default_value = "databricks-meta-llama-3-3-70b-instruct", value_name = "NAME")]
    model: String,
    /// Ask for a stream (in the default body).
    #[arg(long)]
    stream: bool,
    /// Put a marker that no other request has at the end of the prompt, or at {{mark}} in the file.
    #[arg(long)]
    mark: bool,
    /// File to append the id of each completed request to (with --mark: the id and the marker).
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    threads: usize,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.0..=1e6).contains(&value) {
        Ok(value)
    } else {
        Err("expected seconds from 0 to 1000000".to_owned())
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected `NAME: VALUE`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to complain when stderr is gone.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    // One thread costs least: nothing is handed from core to core.
    let mut builder = match args.threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(args.threads.max(1)).enable_all().build()?.block_on(run(args))
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let body = args.body.map(std::fs::read_to_string).transpose()?;
    let options = Options {
        connections: args.connections,
        rate: args.rate,
        warm_up: Duration::from_secs_f64(args.warm_up),
        duration: Duration::from_secs_f64(args.duration),
        requests: args.requests,
        request_timeout: Duration::from_secs_f64(args.timeout),
        headers: args.header,
        body,
        model: args.model,
        stream: args.stream,
        mark: args.mark,
        ids: args.ids,
        ..Options::to(&args.url)
    };
    let stop = CancellationToken::new();
    let load = load::run(&options, stop.clone());
    tokio::pin!(load);
    let report = tokio::select! {
        report = &mut load => report?,
        signal = terminated() => {
            signal?;
            stop.cancel();
            load.await?
        }
    };
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &report)?;
    writeln!(out)?;
    Ok(())
}
