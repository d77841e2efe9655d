//! `kt-train`: makes the model files that `kt-policy` embeds.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Trains the models of kt. The same command writes the same bytes on every machine.
#[derive(Debug, Parser)]
#[command(name = "kt-train", version)]
struct Args {
    #[command(subcommand)]
    model: Model,
}

#[derive(Debug, Subcommand)]
enum Model {}

fn main() -> ExitCode {
    match Args::parse().model {}
}
