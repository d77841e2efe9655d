//! `kt pack sign`: the statement of a publish, made and signed without the control plane.

use std::path::PathBuf;

use jiff::Timestamp;
use kt_proto::{signed, v1};

use super::statement_file;
use crate::{
    commands::{pack_file, signing, when},
    exit::{CliError, Exit},
    output::{Format, note, print, sanitize::clean},
};

/// Signs the statement of a publish.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pack.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The fleet.
    #[arg(long, value_name = "FLEET", default_value = "default")]
    fleet: String,

    /// The generation that it will be: one more than the fleet has (`kt fleet status`).
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    generation: u64,

    /// The signing key; repeat it for several.
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,

    /// After this time, a gateway that sees the statement for the first time refuses it: `30d`, or a moment (RFC 3339).
    #[arg(long, value_name = "WHEN", value_parser = when::future)]
    expires_in: Option<Timestamp>,

    /// Where the signed statement is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Signs.
pub(crate) fn run(format: Format, args: &Args) -> Result<Exit, CliError> {
    let source = pack_file::read(&args.file)?;
    let pack = pack_file::compile(&args.file)?;
    let signers = args.keys.iter().map(|path| signing::load(path)).collect::<Result<Vec<_>, _>>()?;
    let statement = v1::AssignmentStatement {
        fleet: args.fleet.clone(),
        generation: args.generation,
        packs: vec![v1::PackRef {
            name: pack.id.name.to_string(),
            version: pack.id.version.to_string(),
            digest: pack.id.digest.to_vec(),
            size: source.len() as u64,
        }],
        expires_us: args.expires_in.map_or(0, Timestamp::as_microsecond),
    };
    let sealed = signed::seal(&statement, &signers);
    let written = statement_file::write(&args.out, &sealed, &statement)?;
    print(format, &written, |out| {
        let (id, fleet) = (pack.id.to_string(), &args.fleet);
        let line = format!("signed {id} for `{fleet}` as generation {}", args.generation);
        writeln!(out, "{}", clean(&line))
    })?;
    if format == Format::Table {
        let (file, out) = (args.file.display(), args.out.display());
        note(&format!("publish it with `kt pack publish {file} --fleet {} --signature {out}`", args.fleet));
    }
    Ok(Exit::Success)
}
