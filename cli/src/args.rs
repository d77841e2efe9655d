//! What can be typed. Each command's own arguments stand beside its code in [`crate::commands`].

use clap::{Parser, Subcommand};

use crate::{
    commands::{
        audit_erase, audit_hold, audit_sink, audit_verify, auth, changes, completions, control_plane_run,
        doctor, events, explain, fleet, gateway_key, gateway_run, gateways, init, key, pack, policy_lint,
        policy_scan, policy_test, spool,
    },
    output::Format,
};

/// An open, self-hosted policy gateway for AI traffic, made for Databricks Model Serving.
///
/// Exit codes: 0 done, 1 something was found or failed, 2 called wrongly. Data goes to stdout, the rest to stderr.
#[derive(Debug, Parser)]
#[command(name = "kt", version, max_term_width = 110)]
pub(crate) struct Cli {
    /// The form of the data on stdout.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `kt` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The gateway.
    #[command(subcommand)]
    Gateway(Gateway),
    /// The control plane: keeps packs, says what each fleet enforces, and pushes it to the gateways.
    #[command(subcommand)]
    ControlPlane(ControlPlane),
    /// The keys that clients of a gateway present.
    #[command(subcommand)]
    GatewayKey(gateway_key::Command),
    /// Policy packs before they are in use.
    #[command(subcommand)]
    Policy(Policy),
    /// Versions of packs at a control plane: publish, roll back, compare.
    #[command(subcommand)]
    Pack(pack::Command),
    /// Groups of gateways: what they should enforce, and what they do.
    #[command(subcommand)]
    Fleet(fleet::Command),
    /// The keys that packs and key sets are signed with.
    #[command(subcommand)]
    Key(key::Command),
    /// Who you are to a control plane.
    #[command(subcommand)]
    Auth(auth::Command),
    /// Who changed what at a control plane, when and why.
    #[command(subcommand)]
    Changes(changes::Command),
    /// Writes a first pack with tests.
    Init(init::Args),
    /// Looks at this machine and says what would stop a gateway.
    Doctor(Box<doctor::Args>),
    /// The records of an audit directory, or of all gateways that send theirs to a control plane.
    #[command(subcommand)]
    Events(events::Command),
    /// Proof that records are whole, and persons who are forgotten.
    #[command(subcommand)]
    Audit(Audit),
    /// Audit records that wait for their delivery to a control plane.
    #[command(subcommand)]
    Spool(spool::Command),
    /// Explains an error code, `KT0101` for example.
    Explain(explain::Args),
    /// Prints the completions of a shell.
    Completions(completions::Args),
    /// Prints the version.
    Version,
}

/// The gateway.
#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    /// Serves the OpenAI API, enforces a pack, forwards to Databricks.
    Run(Box<gateway_run::Args>),
    /// Lists the gateways that a control plane knows, and what each enforces.
    #[command(after_help = "Examples:
  kt gateway list
  kt gateway list --fleet eu -o json")]
    List(gateways::List),
    /// The tokens that gateways connect to a control plane with.
    #[command(subcommand)]
    Token(gateways::TokenCommand),
}

/// The control plane.
#[derive(Debug, Subcommand)]
pub(crate) enum ControlPlane {
    /// Serves people and gateways over an embedded store or etcd.
    Run(Box<control_plane_run::Args>),
}

/// Policy packs before they are in use.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Checks packs and shows every finding.
    Lint(policy_lint::Args),
    /// Runs the tests of a pack.
    Test(policy_test::Args),
    /// Runs the content policies of a pack over texts.
    Scan(policy_scan::Args),
    /// Prints the JSON Schema of a pack.
    Schema,
}

/// Proof that records are whole, and persons who are forgotten.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Verifies the chain of an audit directory and names the first break of each kind.
    Verify(audit_verify::Args),
    /// Forgets a person: their name is destroyed, their records stay without it.
    Erase(audit_erase::Args),
    /// What must neither be erased nor cut by retention.
    #[command(subcommand)]
    Hold(audit_hold::Hold),
    /// What is fed with audit records beside the store.
    #[command(subcommand)]
    Sink(audit_sink::Sink),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }
}
