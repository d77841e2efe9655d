//! `kt gateway run`

mod options;
mod telemetry;

use std::path::PathBuf;

use kt_data_plane::{Gateway, settings::Settings};
use tokio_util::sync::CancellationToken;

use self::options::Options;
use crate::exit::{CliError, Exit};

/// Serves the OpenAI API, enforces a pack, forwards to Databricks.
///
/// Every setting is a flag, an environment variable and a key of the settings file (`--admin-listen` is
/// `admin_listen` there); the flag wins over the variable, the variable over the file, the file over the default.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The settings file, YAML.
    #[arg(long, value_name = "FILE", env = "KEEPTRUSTS_GATEWAY_CONFIG")]
    config: Option<PathBuf>,

    #[command(flatten)]
    options: Options,
}

/// Runs until SIGTERM or SIGINT, then drains.
pub(crate) fn run(args: Args) -> Result<Exit, CliError> {
    let options = match &args.config {
        Some(path) => args.options.over(Options::read(path)?),
        None => args.options,
    };
    telemetry::start(options.log_format(), options.log_level())?;
    // First thing: one TLS provider for everything in the process. A second call changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = options.settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failure(format!("can't start the runtime: {error}")))?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<Exit, CliError> {
    let stop = CancellationToken::new();
    let signals = signals()?;
    let running = Gateway::start(settings).await.map_err(|error| {
        let failure = CliError::failure(format!("the gateway can't start: {error}"));
        match error.help() {
            Some(help) => failure.with_help(help),
            None => failure,
        }
    })?;
    tokio::select! {
        () = signals => stop.cancel(),
        () = running.stopped() => {}
    }
    running.shutdown().await;
    Ok(Exit::Success)
}

/// Resolves at the first SIGTERM or SIGINT. Registered before anything is served, so none is missed.
fn signals() -> Result<impl Future<Output = ()>, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| CliError::failure(format!("can't listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
