//! One module a command: its arguments and what it does.

pub(crate) mod audit_erase;
pub(crate) mod audit_hold;
pub(crate) mod audit_sink;
pub(crate) mod audit_verify;
pub(crate) mod auth;
pub(crate) mod changes;
pub(crate) mod completions;
pub(crate) mod control_plane_run;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod fleet;
pub(crate) mod gateway_key;
pub(crate) mod gateway_run;
pub(crate) mod gateways;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod pack;
pub(crate) mod policy_lint;
pub(crate) mod policy_scan;
pub(crate) mod policy_schema;
pub(crate) mod policy_test;
pub(crate) mod spool;
pub(crate) mod version;

mod assign;
mod gateway_options;
mod layers;
mod pack_file;
mod rollout;
mod runtime;
mod signals;
mod signing;
mod telemetry;
mod tokens;
mod when;

use crate::{
    args::{Audit, Cli, Command, ControlPlane, Gateway, Policy},
    exit::{CliError, Exit},
};

/// Runs the command.
pub(crate) fn run(cli: Cli) -> Result<Exit, CliError> {
    let format = cli.output;
    match cli.command {
        Command::Gateway(Gateway::Run(args)) => gateway_run::run(*args),
        Command::Gateway(Gateway::List(args)) => gateways::list(format, &args),
        Command::Gateway(Gateway::Token(command)) => gateways::token(format, command),
        Command::ControlPlane(ControlPlane::Run(args)) => control_plane_run::run(*args),
        Command::Pack(command) => pack::run(format, command),
        Command::Fleet(command) => fleet::run(format, command),
        Command::Key(command) => key::run(format, command),
        Command::Auth(command) => auth::run(format, command),
        Command::Changes(command) => changes::run(format, command),
        Command::GatewayKey(command) => gateway_key::run(format, command),
        Command::Policy(Policy::Lint(args)) => policy_lint::run(format, &args),
        Command::Policy(Policy::Test(args)) => policy_test::run(format, &args),
        Command::Policy(Policy::Scan(args)) => policy_scan::run(&args),
        Command::Policy(Policy::Schema) => policy_schema::run(format),
        Command::Init(args) => init::run(&args),
        Command::Doctor(args) => doctor::run(format, *args),
        Command::Events(command) => events::run(format, command),
        Command::Audit(Audit::Verify(args)) => audit_verify::run(format, args),
        Command::Audit(Audit::Erase(args)) => audit_erase::run(format, args),
        Command::Audit(Audit::Hold(hold)) => audit_hold::run(format, hold),
        Command::Audit(Audit::Sink(sink)) => audit_sink::run(format, sink),
        Command::Spool(command) => spool::run(format, command),
        Command::Explain(args) => explain::run(format, &args),
        Command::Completions(args) => completions::run(&args),
        Command::Version => version::run(format),
    }
}

/// What lint is given: now, and the model table that comes with the program.
fn lint_options() -> kt_policy::lint::LintOptions<'static> {
    kt_policy::lint::LintOptions {
        now: jiff::Timestamp::now(),
        models: kt_policy::models::ModelTable::built_in(),
    }
}
