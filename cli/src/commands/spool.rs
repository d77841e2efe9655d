//! `kt spool inspect|verify|ship`: the audit directory of a gateway as the place that records are delivered from.

mod survey;

use std::{io::IsTerminal as _, path::PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use kt_data_plane::{
    settings::ControlSettings,
    ship::{ShipError, ShipOptions, ship_directory},
};
use serde::Serialize;

use self::survey::Survey;
use super::{audit_verify, events, pack_file::counted, runtime, signals};
use crate::{
    exit::{CliError, Exit},
    output::{Format, facts, print, table},
};

/// Audit records that wait for their delivery to a control plane.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Shows what an audit directory holds, and how much of it the control plane has acknowledged.
    ///
    /// Reads only, also while a gateway writes there.
    #[command(after_help = "Examples:
  kt spool inspect --audit-dir /var/lib/kt/audit
  kt spool inspect --audit-dir /var/lib/kt/audit -o json")]
    Inspect(Inspect),
    /// Verifies the chain of an audit directory, and that what was acknowledged is in it.
    ///
    /// Exits 0 when it is whole, 1 when something is broken, 2 when it can't be read.
    Verify(audit_verify::Local),
    /// Delivers what is left in the audit directory of a gateway that does not run.
    ///
    /// Requests that have no end are closed as interrupted, as the gateway's own next start would. What is acknowledged
    /// stays in the directory. Exits 0 when everything is acknowledged, 1 when something is left.
    #[command(after_help = "Examples:
  kt spool ship --audit-dir /mnt/lost-node/kt-audit --control-plane https://kt.example.com:7443 --token-file gw.token
  kt spool ship --audit-dir /mnt/lost-node/kt-audit --control-plane https://kt.example.com:7443 --token-file gw.token \\
    --read-only")]
    Ship(Ship),
}

/// Which directory.
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// The audit directory.
    #[arg(long, value_name = "FOLDER", env = "KEEPTRUSTS_GATEWAY_AUDIT_DIR")]
    audit_dir: PathBuf,
}

/// What to deliver, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Ship {
    /// The audit directory.
    #[arg(long, value_name = "FOLDER", env = "KEEPTRUSTS_GATEWAY_AUDIT_DIR")]
    audit_dir: PathBuf,
    /// The control plane: `https://host:7443`. `http://` on the loopback only.
    #[arg(long, value_name = "URL", env = "KEEPTRUSTS_GATEWAY_CONTROL_PLANE")]
    control_plane: String,
    /// Allows a control plane in clear text beyond the loopback: whoever is in between can read the token.
    #[arg(long)]
    insecure_control_plane: bool,
    /// Certificates (PEM) that are trusted beside the system's.
    #[arg(long, value_name = "FILE", env = "KEEPTRUSTS_GATEWAY_CONTROL_PLANE_CA_FILE")]
    control_plane_ca_file: Option<PathBuf>,
    /// The file of a gateway's token (`kt_gw_…`) of the fleet that the records are of.
    #[arg(long, value_name = "FILE", env = "KEEPTRUSTS_GATEWAY_TOKEN_FILE")]
    token_file: PathBuf,
    /// Leaves the directory as it is, but for the note of how far it is delivered: requests without an end stay so, and
    /// nobody is erased in it.
    #[arg(long)]
    read_only: bool,
}

/// Does what was asked.
pub(crate) fn run(format: Format, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Inspect(args) => inspect(format, &args),
        Command::Verify(args) => verify(format, &args),
        Command::Ship(args) => ship(format, args),
    }
}

fn inspect(format: Format, args: &Inspect) -> Result<Exit, CliError> {
    let dir = events::open(&args.audit_dir)?;
    let survey = Survey::of(&dir).map_err(|error| events::unreadable(&error))?;
    print(format, &survey, |out| {
        write!(out, "{}", facts(survey.facts()))?;
        if !survey.runs.is_empty() {
            let header = ["RUN", "EPOCH", "RECORDS", "SEQUENCES", "DELIVERED", "WAITING", "FROM", "TO"];
            write!(out, "\n{}", table(header, survey.runs.iter().map(survey::Run::row)))?;
        }
        Ok(())
    })?;
    Ok(Exit::Success)
}

fn verify(format: Format, args: &audit_verify::Local) -> Result<Exit, CliError> {
    let dir = events::open(args.audit_dir())?;
    let survey = Survey::of(&dir).map_err(|error| events::unreadable(&error))?;
    audit_verify::verify(format, args, &survey.known)
}

/// What became of a delivery.
#[derive(Serialize)]
struct Shipped {
    complete: bool,
    acknowledged: u64,
    duplicates: u64,
    lost: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

fn ship(format: Format, args: Ship) -> Result<Exit, CliError> {
    let control = ControlSettings {
        allow_clear_text: args.insecure_control_plane,
        ca_file: args.control_plane_ca_file,
        ..ControlSettings::new(args.control_plane, args.token_file)
    };
    let options = ShipOptions { dir: args.audit_dir, control, read_only: args.read_only };
    let runtime = runtime::start()?;
    let bar = bar();
    let shipped = runtime.block_on(async {
        let stop = signals::stop()?;
        let progress = |done: u64, left: u64| {
            bar.set_length(done.saturating_add(left));
            bar.set_position(done);
        };
        ship_directory(options, stop, progress).await.map_err(|error| refused(&error))
    })?;
    bar.finish_and_clear();
    let shipped = Shipped {
        complete: shipped.is_complete,
        acknowledged: shipped.records,
        duplicates: shipped.duplicates,
        lost: shipped.lost,
        fault: shipped.fault.filter(|_| !shipped.is_complete),
    };
    print(format, &shipped, |out| {
        let records = counted(usize::try_from(shipped.acknowledged).unwrap_or(usize::MAX), "record");
        writeln!(out, "{records} acknowledged, {} of them known before", shipped.duplicates)?;
        if shipped.lost > 0 {
            writeln!(out, "  {} are missing in the directory", shipped.lost)?;
        }
        Ok(())
    })?;
    if shipped.complete {
        return Ok(Exit::Success);
    }
    let why = shipped.fault.map(|fault| format!(": the control plane {fault}")).unwrap_or_default();
    Err(CliError::failure(format!("not everything is delivered{why}"))
        .with_help("what is left stays in the directory; the same command goes on where it stopped"))
}

/// A bar on a terminal, nothing elsewhere.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} records, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    bar
}

fn refused(error: &ShipError) -> CliError {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        message = format!("{message}: {source}");
        cause = source.source();
    }
    let help = match error {
        ShipError::Address(_) => "write the address as `https://host:7443`",
        ShipError::Open { .. } => {
            "a gateway that runs delivers by itself; `--read-only` delivers from a directory that can't be written"
        }
        ShipError::Dir(_) | ShipError::NoInstance { .. } => {
            "a gateway writes its log below `--audit-dir`, by default ./kt-audit"
        }
    };
    CliError::usage(message).with_help(help)
}
