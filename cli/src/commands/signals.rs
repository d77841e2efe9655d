//! The signals that end a server.

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::CliError;

/// Resolves at the first SIGTERM or SIGINT. Registered before anything is served, so none is missed.
pub(super) fn stop() -> Result<impl Future<Output = ()>, CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| refused(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| refused(&error))?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Why signals can't be heard.
pub(super) fn refused(error: &std::io::Error) -> CliError {
    CliError::failure(format!("can't listen for signals: {error}"))
}
