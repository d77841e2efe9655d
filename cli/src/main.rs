//! `kt`: every command that a person or an init system starts.

mod args;
mod commands;
mod exit;
mod output;

use std::process::ExitCode;

use clap::Parser as _;

/// A request makes hundreds of small, short-lived allocations on several threads; this is what it is best at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = match args::Cli::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    match commands::run(args) {
        Ok(exit) => exit.into(),
        Err(error) => {
            report(&error);
            error.exit().into()
        }
    }
}

/// Help and version are answers on stdout; everything else that clap refuses is a usage error.
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to tell when the terminal is gone.
    let _ = error.print();
    if error.use_stderr() { exit::Exit::Usage.into() } else { exit::Exit::Success.into() }
}

fn report(error: &exit::CliError) {
    if matches!(error, exit::CliError::BrokenPipe) {
        return;
    }
    output::note(&format!("error: {error}"));
    if let Some(help) = error.help() {
        output::note(&format!("  help: {help}"));
    }
}
