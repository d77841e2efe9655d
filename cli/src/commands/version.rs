//! `kt version`

use serde::Serialize;

use crate::{
    exit::{CliError, Exit},
    output::{Format, print},
};

#[derive(Serialize)]
struct Version {
    version: &'static str,
    record_format: u16,
}

/// Prints the version of the program and of the formats that it writes.
pub(crate) fn run(format: Format) -> Result<Exit, CliError> {
    let version =
        Version { version: env!("CARGO_PKG_VERSION"), record_format: kt_audit::record::RECORD_VERSION };
    print(format, &version, |out| writeln!(out, "kt {}", version.version))?;
    Ok(Exit::Success)
}
