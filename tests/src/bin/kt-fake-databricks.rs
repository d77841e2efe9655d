//! The fake Databricks as a process, for the demo and for hand-made tests.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kt_tests::fake_databricks::{DEFAULT_TOKEN, FakeDatabricks, markdown};
use kt_tests::process::{announce, terminated};

/// A fake Databricks workspace: real HTTP, invented answers, every oddity chosen by endpoint name.
#[derive(Debug, Parser)]
#[command(name = "kt-fake-databricks", version)]
struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: SocketAddr,
    /// Personal access token to accept; may be given several times.
    #[arg(long, default_value = DEFAULT_TOKEN, value_name = "TOKEN", env = "KT_FAKE_TOKEN", hide_env_values = true)]
    token: Vec<String>,
    /// A token that is accepted, but not for one endpoint.
    #[arg(long, value_name = "TOKEN=ENDPOINT", value_parser = pair)]
    deny: Vec<(String, String)>,
    /// OAuth M2M client.
    #[arg(long, value_name = "ID:SECRET", value_parser = client)]
    oauth_client: Vec<(String, String)>,
    /// Life of an OAuth token in seconds.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    oauth_ttl: u64,
    /// Retired models answer 404, as the real ones do today.
    #[arg(long)]
    retired: bool,
    /// Pause between the frames of a stream in milliseconds.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    token_delay_ms: u64,
    /// File to append every request to, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    echo_log: Option<PathBuf>,
    /// How many requests `GET /__fake/requests` can show.
    #[arg(long, default_value_t = 10_000, value_name = "COUNT")]
    keep: usize,
    /// File to write the address to once it listens.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// Print the table of behaviours in Markdown and exit.
    #[arg(long)]
    list_behaviours: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    split(text, '=').ok_or_else(|| "expected TOKEN=ENDPOINT".to_owned())
}

fn client(text: &str) -> Result<(String, String), String> {
    split(text, ':').ok_or_else(|| "expected ID:SECRET".to_owned())
}

fn split(text: &str, at: char) -> Option<(String, String)> {
    text.split_once(at).map(|(left, right)| (left.to_owned(), right.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to complain when stderr is gone.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    if args.list_behaviours {
        write!(io::stdout(), "{}", markdown())?;
        return Ok(());
    }
    let mut builder = FakeDatabricks::builder()
        .listen(args.listen)
        .oauth_ttl(Duration::from_secs(args.oauth_ttl))
        .retired_models(!args.retired)
        .pace(Duration::from_millis(args.token_delay_ms))
        .keep(args.keep);
    for token in &args.token {
        builder = builder.token(token);
    }
    for (token, endpoint) in &args.deny {
        builder = builder.token_denied(token, endpoint);
    }
    for (id, secret) in &args.oauth_client {
        builder = builder.oauth_client(id, secret);
    }
    if let Some(path) = args.echo_log {
        builder = builder.echo_log(path);
    }
    let fake = builder.start().await?;
    announce(fake.addr(), args.port_file.as_deref())?;
    terminated().await?;
    fake.shutdown().await;
    Ok(())
}
