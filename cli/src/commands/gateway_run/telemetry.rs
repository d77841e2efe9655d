//! Log lines of the gateway: to stderr, for people or as JSON.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::commands::gateway_options::LogFormat;
use crate::exit::CliError;

/// Starts logging. `level` is a level or a filter (`info`, `kt_data_plane=debug`).
pub(crate) fn start(format: LogFormat, level: &str) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        CliError::usage(format!("`--log-level {level}` is not a level or a filter: {error}"))
            .with_help("use `error`, `warn`, `info`, `debug` or `trace`")
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(colour)).try_init()
        }
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
        }
    };
    started.map_err(|error| CliError::failure(format!("can't start logging: {error}")))
}
