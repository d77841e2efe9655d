//! `kt gateway run`

use kt_data_plane::{Gateway, PackFault, StartError, settings::Settings};
use tokio::signal::unix::{SignalKind, signal};

use super::{gateway_options::GatewayArgs, pack_file, runtime, signals, telemetry};
use crate::exit::{CliError, Exit};

/// Serves the OpenAI API, enforces a pack, forwards to Databricks.
///
/// Every setting is a flag, an environment variable and a key of the settings file (`--admin-listen` is
/// `admin_listen` there); the flag wins over the variable, the variable over the file, the file over the default.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Runs until SIGTERM or SIGINT, then drains.
pub(crate) fn run(args: Args) -> Result<Exit, CliError> {
    let options = args.gateway.layered()?;
    telemetry::start(options.log_format(), options.log_level())?;
    let runtime = runtime::start()?;
    runtime.block_on(serve(options.settings()?))
}

async fn serve(settings: Settings) -> Result<Exit, CliError> {
    let stop = signals::stop()?;
    let mut hangup = signal(SignalKind::hangup()).map_err(|error| signals::refused(&error))?;
    let running = Gateway::start(settings).await.map_err(|error| refused(&error))?;
    let reload = running.reload();
    let serving = running.run_until(stop);
    tokio::pin!(serving);
    let drained = loop {
        tokio::select! {
            drained = &mut serving => break drained,
            Some(()) = hangup.recv() => reload.now(),
        }
    };
    if !drained.audit_closed {
        return Err(CliError::failure("the audit log was not closed in order")
            .with_help("the next start recovers it; `kt audit verify` says what is there"));
    }
    Ok(Exit::Success)
}

/// Why the gateway did not start: findings about the pack are drawn, the rest is one line.
fn refused(error: &StartError) -> CliError {
    if let StartError::Pack(PackFault::Findings { path, findings, source_bytes }) = error
        && let Err(error) = pack_file::draw(path, source_bytes, findings)
    {
        return error;
    }
    let mut message = format!("the gateway does not start: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        message = format!("{message}: {source}");
        cause = source.source();
    }
    CliError::failure(message).with_help("`kt doctor` checks everything that a gateway needs")
}
