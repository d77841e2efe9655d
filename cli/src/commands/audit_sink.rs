//! `kt audit sink list`

use jiff::{SignedDuration, Timestamp};
use kt_proto::v1;
use serde::Serialize;

use super::pack_file::counted;
use crate::{
    exit::{CliError, Exit},
    output::{Format, print, table},
    server::{self, ServerArgs, view},
};

/// Sinks: object storage and systems that watch for trouble, fed by the control plane.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Sink {
    /// Lists sinks and how far behind each is. Needs the role admin or auditor.
    ///
    /// What a sink has yet to take stays in the store until it has: one that is down delays and loses nothing.
    List(ListArgs),
}

/// Options of `list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// A sink as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    pub(crate) name: String,
    /// Absent: the replica that answered is not set up with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    position: u64,
    lag_records: u64,
    /// When the store had the oldest record that it has yet to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<Timestamp>,
    /// Why it stands still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem_since: Option<Timestamp>,
}

// === impl Shown ===

impl From<v1::AuditSink> for Shown {
    fn from(sink: v1::AuditSink) -> Self {
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            name: sink.name,
            kind: text(sink.kind),
            position: sink.position,
            lag_records: sink.lag_records,
            oldest: view::moment(sink.oldest_us),
            delivered: view::moment(sink.delivered_us),
            problem: text(sink.problem),
            problem_since: view::moment(sink.problem_us),
        }
    }
}

impl Shown {
    /// Whether a control plane works for it.
    pub(crate) fn is_fed(&self) -> bool {
        self.kind.is_some()
    }

    /// How far behind it is, in a few words.
    pub(crate) fn behind(&self, now: Timestamp) -> String {
        let Some(oldest) = self.oldest else { return "up to date".to_owned() };
        let records = counted(usize::try_from(self.lag_records).unwrap_or(usize::MAX), "record");
        let waited = SignedDuration::from_secs(now.duration_since(oldest).as_secs().max(0));
        format!("{records} behind, the oldest for {waited:#}")
    }
}

/// Lists.
pub(crate) fn run(format: Format, sink: Sink) -> Result<Exit, CliError> {
    let Sink::List(args) = sink;
    let answer = server::run(&args.server, async |session| {
        let request = v1::ListAuditSinksRequest {};
        let call =
            session.call(request, async |session, request| session.events().list_audit_sinks(request).await);
        Ok(call.await?)
    })?;
    let sinks: Vec<Shown> = answer.sinks.into_iter().map(Shown::from).collect();
    let now = Timestamp::now();
    print(format, &sinks, |out| {
        if sinks.is_empty() {
            return writeln!(out, "no sink is fed: `kt control-plane run --audit-sinks FILE` sets some up");
        }
        let rows = sinks.iter().map(|sink| {
            [
                sink.name.clone(),
                sink.kind.clone().unwrap_or_else(|| "not set up here".to_owned()),
                sink.behind(now),
                view::time(sink.delivered),
                sink.problem.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        });
        write!(out, "{}", table(["SINK", "KIND", "", "DELIVERED", "PROBLEM"], rows))
    })?;
    Ok(Exit::Success)
}
