//! `kt pack`: versions of packs at a control plane.

mod diff;
mod publish;
mod rollback;
mod sign;
mod statement_file;
mod versions;

use crate::{
    exit::{CliError, Exit},
    output::Format,
};

/// Versions of packs, and what fleets enforce.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Uploads a pack and makes a fleet enforce it.
    #[command(after_help = "Examples:
  kt pack publish policy-config.yaml --wait
  kt pack publish policy-config.yaml --fleet eu --message \"stricter secrets\" --sign-key release.key
  kt pack publish policy-config.yaml --dry-run
  kt pack publish policy-config.yaml --signature jane.json --signature joe.json")]
    Publish(Box<publish::Args>),
    /// Makes a fleet enforce an older version again.
    ///
    /// Without `--to` it is the version that was enforced before: a rollback after a rollback goes one further back,
    /// never forward again.
    #[command(after_help = "Examples:
  kt pack rollback --wait
  kt pack rollback --to 1.0.0 --message \"false positives\" --sign-key release.key
  kt pack rollback --to-generation 7")]
    Rollback(Box<rollback::Args>),
    /// Lists versions, the newest first.
    #[command(after_help = "Examples:
  kt pack versions
  kt pack versions demo --limit 10 -o json")]
    Versions(versions::Versions),
    /// Shows a version: who, when, why, what it needs, where it is enforced.
    #[command(after_help = "Examples:
  kt pack show demo
  kt pack show demo@1.0.0 -o yaml")]
    Show(versions::Show),
    /// Shows what differs between two packs: by policy, rule and target, then by line where asked for.
    ///
    /// A side is a version (`demo@1.0.0`), what a fleet enforces (`default:head`, `default:7`), or a file. Exits 0
    /// when nothing differs, 1 when something does.
    #[command(after_help = "Examples:
  kt pack diff default:head policy-config.yaml
  kt pack diff demo@1.0.0 demo@1.1.0 --text")]
    Diff(diff::Args),
    /// Writes the exact bytes of a version to stdout or a file.
    #[command(after_help = "Examples:
  kt pack download demo@1.0.0 > policy-config.yaml
  kt pack download demo@1.0.0 --out policy-config.yaml")]
    Download(versions::Download),
    /// Makes and signs the statement of a publish, on a machine that need not reach the control plane.
    ///
    /// Two signers sign the same bytes: give both the same `--expires-in` moment, or none.
    #[command(after_help = "Examples:
  kt pack sign policy-config.yaml --fleet default --generation 8 --key release.key --out release.json
  kt pack publish policy-config.yaml --signature release.json")]
    Sign(sign::Args),
}

/// Does what was asked.
pub(crate) fn run(format: Format, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Publish(args) => publish::run(format, &args),
        Command::Rollback(args) => rollback::run(format, &args),
        Command::Versions(args) => versions::list(format, &args),
        Command::Show(args) => versions::show(format, &args),
        Command::Diff(args) => diff::run(format, &args),
        Command::Download(args) => versions::download(&args),
        Command::Sign(args) => sign::run(format, &args),
    }
}

/// `name@version`
fn name_and_version(written: &str) -> Option<(&str, &str)> {
    written.rsplit_once('@').filter(|(name, version)| !name.is_empty() && !version.is_empty())
}
