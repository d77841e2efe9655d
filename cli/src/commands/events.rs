//! `kt events list|tail|show|stats|export`: the records of an audit directory, or of a control plane.

pub(crate) mod export;
pub(super) mod remote;
mod row;

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use kt_audit::{
    dir::{AuditDir, DirError, Entry, Filter, Names, Order},
    record::{Body, Kind, Verdict},
};
use uuid::Uuid;

use self::row::Row;
use super::when;
use crate::{
    exit::{CliError, Exit},
    output::{Format, note, print, print_record, sanitize::clean, table},
    server::ServerArgs,
};

/// The records of an audit directory, or of all gateways that send theirs to a control plane.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists requests, the newest last.
    List(List),
    /// Shows requests as they end.
    Tail(Tail),
    /// Shows the records of one request in full.
    Show(Show),
    /// Counts requests, over all gateways that send their records to the control plane.
    Stats(remote::Stats),
    /// Writes the records of a control plane into a folder, with what proves them.
    Export(export::Export),
}

/// Whose records.
#[derive(Debug, clap::Args)]
struct Source {
    /// The audit directory; without it the control plane is asked.
    #[arg(long, value_name = "FOLDER", env = "KEEPTRUSTS_GATEWAY_AUDIT_DIR")]
    audit_dir: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which requests.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only those with this verdict.
    #[arg(long, value_enum)]
    verdict: Option<VerdictOption>,
    /// Only those in which this policy found or refused something.
    #[arg(long)]
    policy: Option<String>,
    /// Only those in which this rule did.
    #[arg(long)]
    rule: Option<String>,
    /// Only callers with this role.
    #[arg(long)]
    role: Option<String>,
    /// Only callers of this team.
    #[arg(long)]
    team: Option<String>,
    /// Only requests for this model, or answered by this model or target.
    #[arg(long)]
    model: Option<String>,
    /// Only since then: `5m`, `1h`, `7d`, or a moment (RFC 3339).
    #[arg(long, value_name = "WHEN", value_parser = when::past)]
    since: Option<Timestamp>,
    /// Only before then.
    #[arg(long, value_name = "WHEN", value_parser = when::past)]
    until: Option<Timestamp>,
}

/// `--verdict`
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum VerdictOption {
    Allow,
    Redact,
    Block,
}

/// Lists requests.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    source: Source,
    /// Only requests of this fleet; of a control plane.
    #[arg(long, conflicts_with = "audit_dir")]
    fleet: Option<String>,
    /// Only requests of this person, by name; of a control plane.
    #[arg(long, conflicts_with = "audit_dir")]
    user: Option<String>,
    /// Only requests that a policy would have stopped or masked, if it enforced; of a control plane.
    #[arg(long, conflicts_with = "audit_dir")]
    would: bool,
    #[command(flatten)]
    which: Which,
    /// The most that are shown, counted from the newest.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

/// Shows requests as they end.
#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    source: Source,
    /// Only requests of this fleet; of a control plane.
    #[arg(long, conflicts_with = "audit_dir")]
    fleet: Option<String>,
    /// Only requests of this person, by name; of a control plane.
    #[arg(long, conflicts_with = "audit_dir")]
    user: Option<String>,
    /// Only requests that a policy would have stopped or masked, if it enforced; of a control plane.
    #[arg(long, conflicts_with = "audit_dir")]
    would: bool,
    #[command(flatten)]
    which: Which,
    /// Ends after this many.
    #[arg(long)]
    limit: Option<usize>,
}

/// Shows one request.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    source: Source,
    /// The request's id, as `x-request-id` and `list` show it.
    id: Uuid,
    /// Resolves the caller's name, where its key is still there and may be read.
    #[arg(long)]
    names: bool,
}

/// How long `tail` waits before it looks again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Does what was asked.
pub(crate) fn run(format: Format, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::List(args) => list(format, &args),
        Command::Tail(args) => tail(format, &args),
        Command::Show(args) => show(format, &args),
        Command::Stats(args) => remote::stats(format, &args),
        Command::Export(args) => export::run(format, &args),
    }
}

fn list(format: Format, args: &List) -> Result<Exit, CliError> {
    let Some(dir) = &args.source.audit_dir else {
        let filter = remote::filter(&args.which, args.fleet.as_deref(), args.user.as_deref(), args.would);
        return remote::list(format, &args.source.server, filter, args.limit);
    };
    let dir = open(dir)?;
    let filter = filter(&args.which);
    let mut entries = Vec::new();
    let mut records = dir.records(Order::NewestFirst).map_err(|error| unreadable(&error))?;
    // Segments overlap in time only where a clock went back; those are few, so nothing ends early here.
    while entries.len() < args.limit
        && let Some(entry) = records.next()
    {
        let entry = entry.map_err(|error| unreadable(&error))?;
        if filter.matches(&entry) {
            entries.push(entry);
        }
    }
    entries.reverse();
    if format == Format::Table {
        let rows = entries.iter().filter_map(Row::of).map(Row::cells);
        let text = table(row::HEADER, rows).to_string();
        print(format, &(), |out| write!(out, "{text}"))?;
    } else {
        for entry in &entries {
            print_record(format, &json(entry)?, |_| Ok(()))?;
        }
    }
    note_damage(records.unreadable_bytes());
    Ok(Exit::Success)
}

/// A list that leaves something out says so.
fn note_damage(bytes: u64) {
    if bytes > 0 {
        note(&format!(
            "note: {bytes} bytes of the log hold no readable record; `kt audit verify` says where"
        ));
    }
}

fn tail(format: Format, args: &Tail) -> Result<Exit, CliError> {
    let Some(dir) = &args.source.audit_dir else {
        let filter = remote::filter(&args.which, args.fleet.as_deref(), args.user.as_deref(), args.would);
        return remote::tail(format, &args.source.server, filter, args.limit);
    };
    let dir = open(dir)?;
    let filter = filter(&args.which);
    let mut follow = dir.follow().map_err(|error| unreadable(&error))?;
    let mut shown = 0;
    loop {
        let entries = follow.poll().map_err(|error| unreadable(&error))?;
        for entry in entries.iter().filter(|entry| filter.matches(entry)) {
            let Some(row) = Row::of(entry) else { continue };
            print_record(format, &json(entry)?, |out| writeln!(out, "{}", clean(&row.line())))?;
            shown += 1;
            if args.limit.is_some_and(|limit| shown >= limit) {
                return Ok(Exit::Success);
            }
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn show(format: Format, args: &Show) -> Result<Exit, CliError> {
    let Some(dir) = &args.source.audit_dir else {
        return remote::show(format, &args.source.server, args.id, args.names);
    };
    let dir = open(dir)?;
    let filter = Filter { id: Some(args.id), ..Filter::default() };
    let names = if args.names { dir.names().map_err(|error| unreadable(&error))? } else { Names::default() };
    let mut found = Vec::new();
    let mut records = dir.records(Order::OldestFirst).map_err(|error| unreadable(&error))?;
    for entry in records.by_ref() {
        let entry = entry.map_err(|error| unreadable(&error))?;
        if filter.matches(&entry) {
            let mut value = json(&entry)?;
            if let (Some(name), Some(fields)) = (name_of(&entry, &names), value.as_object_mut()) {
                fields.insert("subject_name".to_owned(), name.into());
            }
            found.push(value);
        }
    }
    note_damage(records.unreadable_bytes());
    if found.is_empty() {
        return Err(CliError::failure(format!("no record of the request `{}`", args.id))
            .with_help("a request is recorded when the pack has `audit-logger` in its chain"));
    }
    // The record itself is what is asked for, so people get it as YAML.
    let form = if format == Format::Table { Format::Yaml } else { format };
    for value in &found {
        print_record(form, value, |_| Ok(()))?;
    }
    Ok(Exit::Success)
}

fn name_of(entry: &Entry, names: &Names) -> Option<String> {
    let subject = match entry.record().ok()?.body {
        Body::Opened(opened) => opened.request.caller.subject,
        Body::Closed(closed) => closed.request.caller.subject,
        _ => None,
    };
    names.name(subject?)
}

/// Opens a directory that is said to hold an audit log.
pub(super) fn open(dir: &Path) -> Result<AuditDir, CliError> {
    AuditDir::open(dir).map_err(|error| {
        unreadable(&error).with_help("a gateway writes its log below `--audit-dir`, by default ./kt-audit")
    })
}

/// Why a log can't be read, with the cause that the file system gave.
pub(super) fn unreadable(error: &DirError) -> CliError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    CliError::usage(format!("{error}{cause}"))
}

fn json(entry: &Entry) -> Result<serde_json::Value, CliError> {
    entry.to_json().map_err(|error| {
        CliError::failure(format!(
            "record {} of segment {} can't be read: {error}",
            entry.sequence, entry.segment
        ))
    })
}

fn filter(which: &Which) -> Filter {
    Filter {
        kinds: vec![Kind::Closed],
        since_us: which.since.map(Timestamp::as_microsecond),
        until_us: which.until.map(Timestamp::as_microsecond),
        verdict: which.verdict.map(|verdict| match verdict {
            VerdictOption::Allow => Verdict::Allow,
            VerdictOption::Redact => Verdict::Redact,
            VerdictOption::Block => Verdict::Block,
        }),
        policy: which.policy.clone(),
        rule: which.rule.clone(),
        role: which.role.clone(),
        team: which.team.clone(),
        model: which.model.clone(),
        ..Filter::default()
    }
}

/// A time of a record, to the millisecond.
pub(super) fn time(microseconds: i64) -> String {
    match Timestamp::from_microsecond(microseconds) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => "-".to_owned(),
    }
}
