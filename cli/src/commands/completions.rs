//! `kt completions SHELL`

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{
    args::Cli,
    exit::{CliError, Exit},
};

/// Prints the completions of a shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script to stdout.
pub(crate) fn run(args: &Args) -> Result<Exit, CliError> {
    // Rendered into memory first: the generator panics when a write fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kt", &mut script);
    anstream::stdout().lock().write_all(&script)?;
    Ok(Exit::Success)
}
