//! `kt audit hold create|list|release`

use jiff::Timestamp;
use kt_audit::Pseudonym;
use kt_proto::v1::{self, create_audit_hold_request::Subject};
use serde::Serialize;
use uuid::Uuid;

use super::when;
use crate::{
    exit::{CliError, Exit},
    output::{Format, facts, print, table},
    server::{self, ServerArgs, view},
};

/// Holds: what they cover is neither erased nor cut by retention, until they are released.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Hold {
    /// Puts a hold on records; it stands when the command ends. Needs the role admin.
    ///
    /// Without a person it covers everybody, without a fleet all of them, without a time all of it. Only what is in the
    /// control plane's store, or comes later, can be held.
    Create(CreateArgs),
    /// Lists holds, the oldest first. Needs the role admin or auditor.
    List(ListArgs),
    /// Releases a hold: retention goes on with what it covered, and persons may be erased. Needs the role admin.
    Release(ReleaseArgs),
}

/// Options of `create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kt audit hold create dana@example.com --reason 'case 2026-114'
  kt audit hold create --fleet payments --since 2026-10-01T00:00:00Z --until 2026-11-01T00:00:00Z --reason 'case 2026-115'")]
pub(crate) struct CreateArgs {
    /// Only records of this person, by name.
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Only records with this pseudonym.
    #[arg(long, value_name = "PSEUDONYM", conflicts_with = "name")]
    pseudonym: Option<Pseudonym>,

    /// Only records of this fleet.
    #[arg(long)]
    fleet: Option<String>,

    /// Only records from then on: `5m`, `1h`, `7d`, or a moment (RFC 3339).
    #[arg(long, value_name = "WHEN", value_parser = when::past)]
    since: Option<Timestamp>,

    /// Only records before then.
    #[arg(long, value_name = "WHEN", value_parser = when::past)]
    until: Option<Timestamp>,

    /// Holds every record there is or will be.
    #[arg(long, conflicts_with_all = ["name", "pseudonym", "fleet", "since", "until"])]
    all: bool,

    /// Why, such as the number of a case; no name. Everybody who lists holds reads it.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    server: ServerArgs,
}

/// Options of `list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Those too that were released.
    #[arg(long)]
    released: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// Options of `release`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReleaseArgs {
    /// The hold.
    #[arg(value_name = "ID")]
    id: Uuid,

    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    server: ServerArgs,
}

/// A hold as it is shown.
#[derive(Serialize)]
struct Shown {
    id: String,
    /// A person who was given by name: a hash, the name is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pseudonym: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Timestamp>,
    reason: String,
    created_by: String,
    created: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    released_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    released: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_reason: Option<String>,
}

impl From<v1::AuditHold> for Shown {
    fn from(hold: v1::AuditHold) -> Self {
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            id: hold.id,
            person: text(hex::encode(hold.person)),
            pseudonym: text(hex::encode(hold.pseudonym)),
            fleet: text(hold.fleet),
            from: view::moment(hold.from_us),
            to: view::moment(hold.to_us),
            reason: hold.reason,
            created_by: hold.created_by,
            created: view::moment(hold.created_us),
            released_by: text(hold.released_by),
            released: view::moment(hold.released_us),
            release_reason: text(hold.release_reason),
        }
    }
}

impl Shown {
    /// What it covers, in a few words.
    fn covers(&self) -> String {
        let mut parts = Vec::new();
        if let Some(person) = &self.person {
            parts.push(format!("person {person}"));
        }
        if let Some(pseudonym) = &self.pseudonym {
            parts.push(format!("pseudonym {pseudonym}"));
        }
        if let Some(fleet) = &self.fleet {
            parts.push(format!("fleet {fleet}"));
        }
        if self.from.is_some() {
            parts.push(format!("from {}", view::time(self.from)));
        }
        if self.to.is_some() {
            parts.push(format!("to {}", view::time(self.to)));
        }
        if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") }
    }
}

/// Creates, lists or releases.
pub(crate) fn run(format: Format, hold: Hold) -> Result<Exit, CliError> {
    match hold {
        Hold::Create(args) => create(format, args),
        Hold::List(args) => list(format, &args),
        Hold::Release(args) => release(format, args),
    }
}

fn create(format: Format, args: CreateArgs) -> Result<Exit, CliError> {
    let is_bounded = args.name.is_some()
        || args.pseudonym.is_some()
        || args.fleet.is_some()
        || args.since.is_some()
        || args.until.is_some();
    if !is_bounded && !args.all {
        return Err(CliError::usage("it is not said what is held")
            .with_help("name a person, `--fleet`, `--since` or `--until`, or `--all` for every record"));
    }
    let subject = match (args.name, args.pseudonym) {
        (_, Some(pseudonym)) => Some(Subject::Pseudonym(pseudonym.to_bytes().to_vec())),
        (Some(name), None) if name.is_empty() => return Err(CliError::usage("the name is empty")),
        (name, None) => name.map(Subject::Name),
    };
    let request = v1::CreateAuditHoldRequest {
        subject,
        fleet: args.fleet.unwrap_or_default(),
        from_us: args.since.map_or(0, Timestamp::as_microsecond),
        to_us: args.until.map_or(0, Timestamp::as_microsecond),
        reason: args.reason,
        request_id: Uuid::now_v7().to_string(),
    };
    let answer = server::run(&args.server, async |session| {
        let call =
            session.call(request, async |session, request| session.events().create_audit_hold(request).await);
        Ok(call.await?)
    })?;
    show(format, answer.hold)
}

fn release(format: Format, args: ReleaseArgs) -> Result<Exit, CliError> {
    let request = v1::ReleaseAuditHoldRequest { id: args.id.to_string(), reason: args.reason };
    let answer = server::run(&args.server, async |session| {
        let call = session
            .call(request, async |session, request| session.events().release_audit_hold(request).await);
        Ok(call.await?)
    })?;
    show(format, answer.hold)
}

fn show(format: Format, hold: Option<v1::AuditHold>) -> Result<Exit, CliError> {
    let shown = Shown::from(hold.unwrap_or_default());
    print(format, &shown, |out| {
        let mut lines = vec![
            ("hold", shown.id.clone()),
            ("covers", shown.covers()),
            ("reason", shown.reason.clone()),
            ("created", format!("{} by {}", view::time(shown.created), shown.created_by)),
        ];
        if let Some(by) = &shown.released_by {
            let why = shown.release_reason.as_deref().unwrap_or("-");
            lines.push(("released", format!("{} by {by}: {why}", view::time(shown.released))));
        }
        write!(out, "{}", facts(lines))
    })?;
    Ok(Exit::Success)
}

fn list(format: Format, args: &ListArgs) -> Result<Exit, CliError> {
    let request = v1::ListAuditHoldsRequest { with_released: args.released };
    let answer = server::run(&args.server, async |session| {
        let call =
            session.call(request, async |session, request| session.events().list_audit_holds(request).await);
        Ok(call.await?)
    })?;
    let holds: Vec<Shown> = answer.holds.into_iter().map(Shown::from).collect();
    print(format, &holds, |out| {
        let rows = holds.iter().map(|hold| {
            [
                hold.id.clone(),
                hold.covers(),
                hold.created_by.clone(),
                view::time(hold.created),
                view::time(hold.released),
                hold.reason.clone(),
            ]
        });
        write!(out, "{}", table(["ID", "COVERS", "CREATED BY", "CREATED", "RELEASED", "WHY"], rows))
    })?;
    Ok(Exit::Success)
}
