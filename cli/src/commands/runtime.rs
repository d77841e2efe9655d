//! What a server of `kt` runs on.

use tokio::runtime::{Builder, Runtime};

use crate::exit::CliError;

/// Starts the runtime of a server.
pub(super) fn start() -> Result<Runtime, CliError> {
    // First thing: one TLS provider for everything in the process. A second call changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failure(format!("can't start the runtime: {error}")))
}
