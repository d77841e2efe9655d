//! What follows an assignment: it is shown, and waited for where that was asked.

mod wait;

use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;

use self::wait::{End, Goal, Waited};
use super::{assign::Assigned, fleet, signing::SignArgs, when};
use crate::{
    exit::{CliError, Exit},
    output::{Format, note, print, sanitize::clean, table},
    server::{ServerArgs, Session, view},
};

/// Whether to wait, and how long.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WaitArgs {
    /// Waits until every connected gateway enforces it; exits 1 with the refusals, or when the time is over.
    #[arg(long)]
    wait: bool,

    /// How long to wait.
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = when::span)]
    timeout: SignedDuration,
}

/// What every change of a fleet takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ChangeArgs {
    /// Why, for the history.
    #[arg(long, short, value_name = "TEXT", default_value = "")]
    pub(super) message: String,

    #[command(flatten)]
    pub(super) wait: WaitArgs,

    #[command(flatten)]
    pub(super) sign: SignArgs,

    #[command(flatten)]
    pub(super) server: ServerArgs,
}

// === impl WaitArgs ===

impl WaitArgs {
    pub(super) fn is_wanted(&self) -> bool {
        self.wait
    }

    fn timeout(&self) -> Result<Duration, CliError> {
        Duration::try_from(self.timeout).map_err(|_| CliError::usage("`--timeout` is no span of time"))
    }
}

/// What was assigned, as data.
#[derive(Serialize)]
pub(super) struct Outcome {
    /// "published", "rolled back", "recovered"
    #[serde(skip)]
    verb: &'static str,
    pub(super) fleet: String,
    pub(super) unchanged: bool,
    pub(super) assignment: view::Assignment,
    /// The key set, where that was recovered too.
    #[serde(flatten)]
    keys: Option<RecoveredKeys>,
    /// What the gateways did; absent without `--wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<Waited>,
}

/// A key set that was recovered.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RecoveredKeys {
    pub(super) key_set_generation: u64,
    /// Keys that were revoked since the copy of the store, and count again; absent: no gateway has said what it held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) returning_keys: Option<Vec<ReturningKey>>,
    /// Keys that were made since, and are gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) missing_keys: Option<Vec<String>>,
    /// There are more of both.
    #[serde(skip)]
    pub(super) is_cut: bool,
}

/// A key that counts again.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ReturningKey {
    pub(super) id: String,
    pub(super) user: Option<String>,
}

// === impl Outcome ===

impl Outcome {
    pub(super) fn new(verb: &'static str, fleet: &str, assigned: Assigned) -> Self {
        Self {
            verb,
            fleet: fleet.to_owned(),
            unchanged: assigned.is_unchanged,
            assignment: (&assigned.assignment).into(),
            keys: None,
            rollout: None,
        }
    }

    /// The key set was lifted too.
    pub(super) fn with_keys(self, keys: Option<RecoveredKeys>) -> Self {
        Self { keys, ..self }
    }

    fn line(&self) -> String {
        let packs = view::packs(&self.assignment.packs);
        let generation = self.assignment.generation;
        if self.unchanged {
            return format!("{packs} is what `{}` enforces since generation {generation}", self.fleet);
        }
        match self.verb {
            "published" => format!("published {packs} to `{}` as generation {generation}", self.fleet),
            verb => {
                let keys = match &self.keys {
                    Some(keys) => format!(", and its key set as generation {}", keys.key_set_generation),
                    None => String::new(),
                };
                format!("{verb} `{}` to {packs} as generation {generation}{keys}", self.fleet)
            }
        }
    }
}

/// Shows what was assigned; waits where that was asked.
pub(super) async fn finish(
    session: &Session,
    format: Format,
    mut outcome: Outcome,
    args: &WaitArgs,
) -> Result<Exit, CliError> {
    if !args.wait {
        print(format, &outcome, |out| writeln!(out, "{}", clean(&outcome.line())))?;
        return Ok(Exit::Success);
    }
    if format == Format::Table {
        // At once: whoever stops waiting has seen what was done.
        print(format, &(), |out| writeln!(out, "{}", clean(&outcome.line())))?;
    }
    let goal = Goal::Assignment(outcome.assignment.generation);
    let mut waited = wait::until_applied(session, &outcome.fleet, goal, args.timeout()?).await?;
    let exit = waited.exit();
    if format == Format::Table {
        print(format, &(), |out| human(out, &waited))?;
        said(&waited, &outcome.fleet, goal, args);
    } else {
        if waited.more_gateways > 0 {
            waited.gateways = fleet::exceptions(session, &outcome.fleet).await?;
            waited.more_gateways = 0;
        }
        outcome.rollout = Some(waited);
        print(format, &outcome, |_| Ok(()))?;
    }
    Ok(exit)
}

/// Waits for a key set where that was asked; what was changed is shown already, and how it went goes to stderr.
pub(super) async fn finish_keys(
    session: &Session,
    fleet: &str,
    generation: u64,
    args: &WaitArgs,
) -> Result<Exit, CliError> {
    if !args.wait {
        return Ok(Exit::Success);
    }
    let goal = Goal::Keys(generation);
    let waited = wait::until_applied(session, fleet, goal, args.timeout()?).await?;
    if waited.counts.connected() > 0 {
        note(&format!("key set {generation}: {}", waited.progress()));
    }
    for gateway in waited.gateways.iter().filter(|gateway| gateway.state == "rejected") {
        for line in gateway.refusal.iter().flat_map(view::Refusal::lines) {
            note(&format!("`{}` refused it: {line}", gateway.called()));
        }
    }
    said(&waited, fleet, goal, args);
    Ok(waited.exit())
}

fn human(out: &mut dyn std::io::Write, waited: &Waited) -> std::io::Result<()> {
    let counts = waited.counts;
    if counts.connected() > 0 {
        writeln!(out, "{}", clean(&waited.progress()))?;
    }
    let refused = waited.gateways.iter().filter(|gateway| gateway.state == "rejected");
    let mut rows = Vec::new();
    for gateway in refused {
        let Some(refusal) = &gateway.refusal else { continue };
        for reason in &refusal.reasons {
            let line = reason.line.map_or_else(|| "-".to_owned(), |line| line.to_string());
            rows.push([
                gateway.called().to_owned(),
                refusal.stage.clone(),
                view::or_dash(&reason.path),
                line,
                format!("{} {}", reason.code, reason.message),
            ]);
        }
    }
    if !rows.is_empty() {
        write!(out, "{}", table(["GATEWAY", "STAGE", "RULE", "LINE", "WHY"], rows))?;
    }
    if waited.more_gateways > 0 {
        writeln!(
            out,
            "and {} more that do not enforce it: `kt gateway list` names them",
            waited.more_gateways
        )?;
    }
    Ok(())
}

/// What a person should know beside the data.
fn said(waited: &Waited, fleet: &str, goal: Goal, args: &WaitArgs) {
    let what = goal.to_string();
    if waited.counts.connected() == 0 {
        let away = match waited.counts.disconnected {
            0 => String::new(),
            count => format!("; {count} of the last day will take it when they come back"),
        };
        note(&format!("no gateway is connected to `{fleet}`: nothing enforces {what} yet{away}"));
    } else if waited.counts.disconnected > 0 && waited.end == End::Applied {
        let count = waited.counts.disconnected;
        note(&format!("{count} not connected: they take it when they come back"));
    }
    for replica in &waited.silent_replicas {
        note(&format!("the replica `{replica}` is silent: its gateways may be missing here"));
    }
    match &waited.end {
        End::Applied => {}
        End::Rejected => {
            note(&format!(
                "error: {} of {} connected gateways refused {what}; they enforce what they had",
                waited.counts.rejected,
                waited.counts.connected()
            ));
            note(match goal {
                Goal::Assignment(_) => "  help: publish a version that they take, or `kt pack rollback`",
                Goal::Keys(_) => "  help: sign the key set with a key that they trust, or update them",
            });
        }
        End::Late => {
            let missing =
                waited.gateways.iter().filter(|gateway| matches!(&*gateway.state, "pending" | "silent"));
            let names: Vec<String> = missing
                .map(|gateway| {
                    format!(
                        "`{}` ({}, heard of {})",
                        gateway.called(),
                        gateway.state,
                        view::age(gateway.last_contact)
                    )
                })
                .collect();
            let span = args.timeout.as_secs();
            let who =
                if names.is_empty() { "the control plane's report".to_owned() } else { names.join(", ") };
            note(&format!("error: after {span} s still missing: {who}"));
            note(&format!(
                "  help: they take it when they can; `kt fleet status {fleet} --watch` shows when"
            ));
        }
        End::Superseded { generation: newer, by } => {
            note(&format!("error: `{by}` assigned generation {newer} meanwhile: this one is not waited for"));
            note(&format!("  help: `kt fleet history {fleet}` shows what happened"));
        }
    }
}
