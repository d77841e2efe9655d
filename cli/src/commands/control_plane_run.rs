//! `kt control-plane run`

mod options;
mod sinks;

use std::{io::IsTerminal as _, path::PathBuf};

use kt_control_plane::{ControlPlane, StartError, bootstrap::Bootstrap, settings::Settings};
use secrecy::ExposeSecret as _;

use self::options::Options;
use super::{runtime, signals, telemetry};
use crate::{
    exit::{CliError, Exit},
    output,
};

/// Serves people and gateways over an embedded store or etcd.
///
/// Every setting is a flag, an environment variable and a key of the settings file (`--data-dir` is `data_dir` there);
/// the flag wins over the variable, the variable over the file, the file over the default.
///
/// The first start over an empty store writes a bootstrap token to `bootstrap-token` in the data folder: log in with
/// it, and make the first admin token; that ends it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The settings file, YAML.
    #[arg(long, value_name = "FILE", env = "KEEPTRUSTS_CONTROL_PLANE_CONFIG")]
    config: Option<PathBuf>,

    #[command(flatten)]
    options: Options,
}

/// Runs until SIGTERM or SIGINT, then drains.
pub(crate) fn run(args: Args) -> Result<Exit, CliError> {
    let options = args.options.over_file(args.config.as_deref())?;
    telemetry::start(options.log_format(), options.log_level())?;
    let runtime = runtime::start()?;
    runtime.block_on(serve(options.settings()?))
}

async fn serve(settings: Settings) -> Result<Exit, CliError> {
    let stop = signals::stop()?;
    let running = Box::pin(ControlPlane::start(settings)).await.map_err(|error| refused(&error))?;
    if let Some(bootstrap) = &running.bootstrap {
        tell(bootstrap)?;
    }
    running.run_until(stop).await;
    Ok(Exit::Success)
}

/// Says where the first token is. The token itself is shown only to a person who looks: a log keeps what it is told.
fn tell(bootstrap: &Bootstrap) -> Result<(), CliError> {
    use std::io::Write as _;

    let file = bootstrap.file.display();
    output::note(&format!("the bootstrap token is in `{file}`, until {}", bootstrap.expires));
    output::note("  help: `kt auth login`, then `kt auth token create --role admin`, which ends it");
    if std::io::stdout().is_terminal() {
        writeln!(anstream::stdout(), "{}", bootstrap.secret.expose_secret())?;
    }
    Ok(())
}

fn refused(error: &StartError) -> CliError {
    let mut message = format!("the control plane does not start: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        // Some errors say what is behind them themselves.
        let said = source.to_string();
        if !message.contains(&said) {
            message = format!("{message}: {said}");
        }
        cause = source.source();
    }
    let failure = CliError::failure(message);
    match error.help() {
        Some(help) => failure.with_help(help),
        None => failure,
    }
}
