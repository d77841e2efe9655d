//! `kt fleet`: what groups of gateways should enforce, and what they do.

mod recover;
mod status;

use kt_proto::v1;
use uuid::Uuid;

use super::assign;
use crate::{
    exit::{CliError, Exit},
    output::{Format, facts, note, print, table},
    server::{self, ServerArgs, Session, view},
};

/// Groups of gateways: what they should enforce, and what they do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists fleets.
    #[command(after_help = "Examples:
  kt fleet list
  kt fleet list -o json")]
    List(List),
    /// Makes a fleet.
    #[command(after_help = "Examples:
  kt fleet create eu --description \"gateways in Frankfurt\"")]
    Create(Create),
    /// Shows wanted against applied, and each gateway that does not enforce what is wanted.
    ///
    /// Exits 0 when every connected gateway enforces it, 1 otherwise.
    #[command(after_help = "Examples:
  kt fleet status
  kt fleet status eu --watch")]
    Status(status::Args),
    /// Shows the generations of a fleet: which version, who, when, why.
    #[command(after_help = "Examples:
  kt fleet history
  kt fleet history eu --limit 5 -o json")]
    History(History),
    /// After the store was restored from an older copy: assigns a generation above every one that a gateway has shown.
    #[command(after_help = "Examples:
  kt fleet recover eu --message \"store restored from Tuesday\"
  kt fleet recover eu --to demo@1.2.0 --sign-key release.key")]
    Recover(Box<recover::Args>),
}

/// Lists fleets.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    server: ServerArgs,
}

/// Makes a fleet.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// 1 to 63 lower-case letters, digits and `-`.
    name: String,

    /// What it is for.
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,

    #[command(flatten)]
    server: ServerArgs,
}

/// Shows the generations of a fleet.
#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// The fleet.
    #[arg(default_value = "default")]
    fleet: String,

    /// The most that are shown, from the newest.
    #[arg(long, default_value_t = 50)]
    limit: usize,

    #[command(flatten)]
    server: ServerArgs,
}

/// Does what was asked.
pub(crate) fn run(format: Format, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::List(args) => list(format, &args),
        Command::Create(args) => create(format, &args),
        Command::Status(args) => status::run(format, &args),
        Command::History(args) => history(format, &args),
        Command::Recover(args) => recover::run(format, &args),
    }
}

/// Every gateway of a fleet that does not enforce what is wanted, however many.
pub(super) async fn exceptions(session: &Session, fleet: &str) -> Result<Vec<view::Gateway>, CliError> {
    let request = v1::ListGatewaysRequest { fleet: fleet.to_owned() };
    let answer =
        session.call(request, async |session, request| session.fleets().list_gateways(request).await).await?;
    let is_exception = |gateway: &&v1::GatewayStatus| gateway.state() != v1::gateway_status::State::Applied;
    Ok(answer.gateways.iter().filter(is_exception).map(view::Gateway::from).collect())
}

/// The fleets of the control plane.
pub(super) async fn fleets(session: &Session) -> Result<Vec<v1::Fleet>, CliError> {
    let request = v1::ListFleetsRequest {};
    let answer =
        session.call(request, async |session, request| session.fleets().list_fleets(request).await).await?;
    Ok(answer.fleets)
}

fn list(format: Format, args: &List) -> Result<Exit, CliError> {
    let fleets = server::run(&args.server, async |session| fleets(&session).await)?;
    let fleets: Vec<view::Fleet> = fleets.iter().map(view::Fleet::from).collect();
    print(format, &fleets, |out| {
        let rows = fleets.iter().map(|fleet| {
            let head = fleet.head.as_ref();
            [
                fleet.name.clone(),
                head.map_or_else(|| "-".to_owned(), |head| head.generation.to_string()),
                head.map_or_else(|| "-".to_owned(), |head| view::packs(&head.packs)),
                view::time(head.and_then(|head| head.assigned)),
                if fleet.divergence.is_some() || fleet.key_set_divergence.is_some() {
                    "diverged".to_owned()
                } else {
                    "ok".to_owned()
                },
                view::or_dash(&fleet.description),
            ]
        });
        write!(out, "{}", table(["FLEET", "GENERATION", "ENFORCES", "SINCE", "STATE", "DESCRIPTION"], rows))
    })?;
    Ok(Exit::Success)
}

fn create(format: Format, args: &Create) -> Result<Exit, CliError> {
    let request = v1::CreateFleetRequest {
        name: args.name.clone(),
        description: args.description.clone(),
        request_id: Uuid::now_v7().to_string(),
    };
    let answer = server::run(&args.server, async |session| {
        Ok(session
            .call(request, async |session, request| session.fleets().create_fleet(request).await)
            .await?)
    })?;
    let fleet = view::Fleet::from(&answer.fleet.unwrap_or_default());
    print(format, &fleet, |out| {
        write!(out, "{}", facts([("fleet", fleet.name.clone()), ("created", view::time(fleet.created))]))
    })?;
    if format == Format::Table {
        note(&format!("gateways join it with a token: `kt gateway token create --fleet {}`", args.name));
    }
    Ok(Exit::Success)
}

fn history(format: Format, args: &History) -> Result<Exit, CliError> {
    let past = server::run(&args.server, async |session| {
        assign::history(&session, &args.fleet, |all| all.len() >= args.limit).await
    })?;
    let past: Vec<view::Assignment> = past.iter().take(args.limit).map(view::Assignment::from).collect();
    print(format, &past, |out| {
        let rows = past.iter().map(|past| {
            [
                past.generation.to_string(),
                view::packs(&past.packs),
                past.kind.clone(),
                view::or_dash(&past.assigned_by),
                view::time(past.assigned),
                if past.signed_by.is_empty() { "-".to_owned() } else { past.signed_by.len().to_string() },
                view::or_dash(&past.reason),
            ]
        });
        write!(out, "{}", table(["GENERATION", "VERSION", "KIND", "WHO", "WHEN", "SIGNERS", "WHY"], rows))
    })?;
    Ok(Exit::Success)
}
