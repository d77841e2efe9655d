//! `kt-train`: makes the model files that `kt-policy` embeds.

use std::{
    error::Error,
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use kt_training::injection::{
    examples::{self, Reader},
    generate::Generator,
    grammar::Part,
    measure::Table,
    train::{self, Settings},
};

/// Trains the models of kt. The same command writes the same bytes on every machine.
#[derive(Debug, Parser)]
#[command(name = "kt-train", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trains the model of prompt-injection and prints what it finds.
    Injection {
        /// Texts beside the generated ones: JSON Lines with id, text, label and source.
        #[arg(long, value_name = "FILE")]
        data: Vec<PathBuf>,
        /// Sources to leave out and to measure on instead.
        #[arg(long, value_name = "SOURCE")]
        leave_out: Vec<String>,
        /// Texts to generate.
        #[arg(long, value_name = "COUNT", default_value_t = 40_000)]
        texts: usize,
        /// Seed of the generated texts and of the training.
        #[arg(long, default_value_t = 7)]
        seed: u64,
        /// Where the model goes; without it, nothing is written.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Prints generated texts as JSON Lines.
    InjectionTexts {
        /// Only by the lines of the grammars that training does not use.
        #[arg(long)]
        held_back: bool,
        /// How many.
        #[arg(long, value_name = "COUNT", default_value_t = 1000)]
        texts: usize,
        /// Their seed.
        #[arg(long, default_value_t = 11)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if stderr is closed.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    match command {
        Command::InjectionTexts { held_back, texts, seed } => {
            let part = if held_back { Part::HeldBack } else { Part::Training };
            for sample in Generator::new(part, seed).samples(texts) {
                writeln!(out, "{}", serde_json::to_string(&sample)?)?;
            }
        }
        Command::Injection { data, leave_out, texts, seed, out: file } => {
            let mut reader = Reader::new()?;
            let mut learnt = Vec::new();
            let mut left_out = Vec::new();
            let mut samples = Generator::new(Part::Training, seed).samples(texts);
            for path in &data {
                samples.extend(examples::read(path)?);
            }
            for sample in &samples {
                let example = reader.example(sample);
                let measured = leave_out.contains(&example.source);
                if measured { &mut left_out } else { &mut learnt }.push(example);
            }
            let mut made = |part, seed| -> Vec<_> {
                Generator::new(part, seed).samples(6000).iter().map(|sample| reader.example(sample)).collect()
            };
            let calibration = made(Part::HeldBack, seed + 1);
            let model = train::train(&learnt, &calibration, &Settings { seed, ..Settings::default() });
            let mut table = Table::new(&mut out, &model)?;
            table.row("learnt from", &learnt)?;
            table.row("same lines, other seed", &made(Part::Training, seed + 2))?;
            let held_back = made(Part::HeldBack, seed + 3);
            table.row("lines held back", &held_back)?;
            for source in &leave_out {
                let attacks = left_out.iter().filter(|example| &example.source == source);
                let others = held_back.iter().filter(|example| !example.attack);
                table.row(source, attacks.chain(others))?;
            }
            let mut sources: Vec<&str> = learnt.iter().map(|example| example.source.as_str()).collect();
            sources.sort_unstable();
            sources.dedup();
            for source in sources {
                table.row(source, learnt.iter().filter(|example| example.source == source))?;
            }
            if let Some(file) = file {
                fs::write(&file, model.write())
                    .map_err(|error| format!("can't write `{}`: {error}", file.display()))?;
            }
        }
    }
    Ok(())
}
