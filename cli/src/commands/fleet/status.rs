//! `kt fleet status`

use std::time::Duration;

use kt_proto::v1;
use tokio_stream::StreamExt as _;

use crate::{
    exit::{CliError, Exit},
    output::{Format, facts, note, print, print_record, sanitize::clean, table},
    server::{self, ServerArgs, Session, view},
};

/// Wanted against applied.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The fleet.
    #[arg(default_value = "default")]
    fleet: String,

    /// Shows it again whenever it changes, until it is stopped.
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    server: ServerArgs,
}

const PAUSE: Duration = Duration::from_secs(1);

/// Shows the status.
pub(super) fn run(format: Format, args: &Args) -> Result<Exit, CliError> {
    server::run(&args.server, async |session| {
        if args.watch { watch(&session, format, args).await } else { once(&session, format, args).await }
    })
}

async fn once(session: &Session, format: Format, args: &Args) -> Result<Exit, CliError> {
    let request = v1::GetFleetStatusRequest { fleet: args.fleet.clone() };
    let answer = session
        .call(request, async |session, request| session.fleets().get_fleet_status(request).await)
        .await?;
    let mut status = view::FleetStatus::from(&answer.status.unwrap_or_default());
    if format != Format::Table && status.more_exceptions > 0 {
        status.exceptions = super::exceptions(session, &args.fleet).await?;
        status.more_exceptions = 0;
    }
    print(format, &status, |out| human(out, &status))?;
    Ok(if is_settled(&status) { Exit::Success } else { Exit::Findings })
}

/// Whether every connected gateway enforces what is wanted.
fn is_settled(status: &view::FleetStatus) -> bool {
    let counts = status.counts;
    let is_diverged = status.divergence.is_some() || status.key_set_divergence.is_some();
    counts.pending == 0 && counts.rejected == 0 && counts.silent == 0 && !is_diverged
}

async fn watch(session: &Session, format: Format, args: &Args) -> Result<Exit, CliError> {
    loop {
        let request = v1::WatchFleetStatusRequest { fleet: args.fleet.clone() };
        let mut stream = session
            .call(request, async |session, request| session.fleets().watch_fleet_status(request).await)
            .await?;
        let ended = loop {
            match stream.next().await {
                Some(Ok(message)) => {
                    let status = view::FleetStatus::from(&message.status.unwrap_or_default());
                    print_record(format, &status, |out| writeln!(out, "{}", clean(&line(&status))))?;
                }
                Some(Err(error)) => break Some(session.error(error)),
                None => break None,
            }
        };
        if let Some(error) = ended
            && !error.is_passing()
        {
            return Err(error.into());
        }
        note("the stream ended; connecting again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The status in a line, for `--watch`.
fn line(status: &view::FleetStatus) -> String {
    let counts = status.counts;
    let wanted = wanted(status);
    let refused: Vec<String> = status
        .exceptions
        .iter()
        .filter_map(|gateway| Some((gateway, gateway.refusal.as_ref()?)))
        .map(|(gateway, refusal)| format!("{}: {}", gateway.called(), refusal.lines().join("; ")))
        .collect();
    let refused = if refused.is_empty() { String::new() } else { format!("  {}", refused.join("  ")) };
    format!("{:.0}  {wanted}  {}{refused}", jiff::Timestamp::now(), counted(counts))
}

fn wanted(status: &view::FleetStatus) -> String {
    match &status.wanted {
        Some(wanted) => format!("generation {} {}", wanted.generation, view::packs(&wanted.packs)),
        None => "nothing is assigned".to_owned(),
    }
}

fn counted(counts: view::Counts) -> String {
    if counts.gateways == 0 {
        return "no gateway was heard of within a day".to_owned();
    }
    let disconnected = match counts.disconnected {
        0 => String::new(),
        count => format!(", {count} disconnected"),
    };
    format!(
        "{} of {} gateways enforce it{}{disconnected}",
        counts.applied,
        counts.gateways,
        counts.exceptions()
    )
}

fn human(out: &mut dyn std::io::Write, status: &view::FleetStatus) -> std::io::Result<()> {
    let mut lines = vec![("fleet", status.fleet.clone()), ("wanted", wanted(status))];
    if let Some(wanted) = &status.wanted {
        let why = if wanted.reason.is_empty() { String::new() } else { format!(": {}", wanted.reason) };
        lines.push((
            "assigned",
            format!("{} by {} ({}){why}", view::time(wanted.assigned), wanted.assigned_by, wanted.kind),
        ));
    }
    lines.push(("applied", counted(status.counts)));
    lines.push(("key set", format!("generation {}", status.key_set_generation)));
    for (divergence, of, what) in [
        (&status.divergence, "", "nothing is published"),
        (&status.key_set_divergence, " of the key set", "no key is made or revoked"),
    ] {
        let Some(divergence) = divergence else { continue };
        let another = if divergence.is_conflict { "another " } else { "" };
        lines.push((
            "diverged",
            format!(
                "gateway {} has shown {another}generation {}{of} on {}: {what} until `kt fleet recover {}`",
                divergence.gateway_id,
                divergence.seen_generation,
                view::time(divergence.seen),
                status.fleet
            ),
        ));
    }
    for replica in &status.silent_replicas {
        lines.push(("silent replica", format!("{replica}: its gateways may be missing here")));
    }
    write!(out, "{}", facts(lines))?;
    if status.exceptions.is_empty() {
        return Ok(());
    }
    let rows = status.exceptions.iter().flat_map(|gateway| {
        let mut why: Vec<String> = gateway.refusal.iter().flat_map(view::Refusal::lines).collect();
        why.extend(gateway.degraded.iter().map(|text| format!("degraded: {text}")));
        let first = [
            gateway.called().to_owned(),
            gateway.state.clone(),
            gateway.generation.map_or_else(|| "-".to_owned(), |generation| generation.to_string()),
            view::or_dash(&gateway.pack),
            view::age(gateway.last_contact),
            why.first().cloned().unwrap_or_default(),
        ];
        let more = why
            .into_iter()
            .skip(1)
            .map(|why| [String::new(), String::new(), String::new(), String::new(), String::new(), why]);
        std::iter::once(first).chain(more).collect::<Vec<_>>()
    });
    write!(out, "\n{}", table(["EXCEPTION", "STATE", "GENERATION", "ENFORCES", "HEARD OF", "WHY"], rows))?;
    match status.more_exceptions {
        0 => Ok(()),
        more => writeln!(out, "and {more} more: `kt fleet status {} -o json` lists all", status.fleet),
    }
}
