//! The records that a control plane keeps.

use std::time::Duration;

use kt_audit::{Digest, Epoch, InstanceId, dir::Entry};
use kt_proto::v1;
use serde::Serialize;
use uuid::Uuid;

use super::{VerdictOption, Which, json, row::Row};
use crate::{
    exit::{CliError, Exit},
    output::{Format, print, print_record, sanitize::clean, table},
    server::{self, ServerArgs, Session},
};

/// The most records that one call asks for.
const PAGE: usize = 500;

/// Counts requests, over all gateways that send their records to the control plane.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kt events stats --by policy --since 24h
  kt events stats --by rule --by team --verdict block
  kt events stats --by day -o json")]
pub(crate) struct Stats {
    /// What requests are counted by: policy, rule, role, team, cost_center, model, target, verdict, fleet, hour, day; at
    /// most two.
    #[arg(long = "by", value_name = "WHAT")]
    by: Vec<String>,
    /// Rows at most, the largest first.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Only requests of this fleet.
    #[arg(long)]
    fleet: Option<String>,
    /// Only requests of this person, by name.
    #[arg(long)]
    user: Option<String>,
    /// Only requests that a policy would have stopped or masked, if it enforced.
    #[arg(long)]
    would: bool,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    server: ServerArgs,
}

/// The filter of a command line.
pub(super) fn filter(which: &Which, fleet: Option<&str>, user: Option<&str>, would: bool) -> v1::EventFilter {
    let list = |value: &Option<String>| value.iter().cloned().collect();
    let verdict = which.verdict.map(|verdict| match verdict {
        VerdictOption::Allow => "allow",
        VerdictOption::Redact => "redact",
        VerdictOption::Block => "block",
    });
    let micros = |time: Option<jiff::Timestamp>| time.map_or(0, jiff::Timestamp::as_microsecond);
    v1::EventFilter {
        fleet: fleet.unwrap_or_default().to_owned(),
        from_us: micros(which.since),
        to_us: micros(which.until),
        verdicts: verdict.map(str::to_owned).into_iter().collect(),
        policies: list(&which.policy),
        rules: list(&which.rule),
        roles: list(&which.role),
        teams: list(&which.team),
        models: list(&which.model),
        subject_name: user.unwrap_or_default().to_owned(),
        would,
        ..v1::EventFilter::default()
    }
}

/// A record as a directory would have it. `None`: it is not what the protocol says.
fn entry(event: &v1::StoredEvent) -> Option<Entry> {
    let position = event.position.as_ref()?;
    Some(Entry {
        instance: Some(InstanceId(Uuid::from_slice(&event.instance).ok()?)),
        epoch: Some(Epoch(position.epoch.as_slice().try_into().ok()?)),
        sequence: position.sequence,
        time_us: event.time_us,
        previous: Digest::ZERO,
        segment: 0,
        offset: 0,
        payload: event.payload.to_vec(),
    })
}

/// The record with what is known of it here.
fn value(event: &v1::StoredEvent) -> Result<serde_json::Value, CliError> {
    let strange = || CliError::failure("the control plane has answered with a record that can't be read");
    let mut value = json(&entry(event).ok_or_else(strange)?)?;
    if let Some(at) = value.get_mut("at").and_then(serde_json::Value::as_object_mut) {
        for local in ["segment", "offset", "previous"] {
            at.remove(local);
        }
        at.insert("hash".to_owned(), event.position.as_ref().map(|at| hex(&at.hash)).into());
        at.insert("fleet".to_owned(), event.fleet.as_str().into());
        let stored = jiff::Timestamp::from_microsecond(event.stored_us).ok();
        at.insert("stored".to_owned(), stored.map(|time| time.to_string()).into());
    }
    if let Some(fields) = value.as_object_mut().filter(|_| !event.subject_name.is_empty()) {
        fields.insert("subject_name".to_owned(), event.subject_name.as_str().into());
    }
    Ok(value)
}

fn hex(bytes: &[u8]) -> String {
    <[u8; 32]>::try_from(bytes).map_or_else(|_| String::new(), |bytes| Digest(bytes).to_string())
}

/// Lists requests, the newest last.
pub(super) fn list(
    format: Format,
    args: &ServerArgs,
    filter: v1::EventFilter,
    limit: usize,
) -> Result<Exit, CliError> {
    let mut events = server::run(args, async |session| all(&session, filter, limit).await)?;
    events.reverse();
    if format == Format::Table {
        let rows = events.iter().filter_map(entry).filter_map(|entry| Row::of(&entry)).map(Row::cells);
        let text = table(super::row::HEADER, rows).to_string();
        print(format, &(), |out| write!(out, "{text}"))?;
    } else {
        for event in &events {
            print_record(format, &value(event)?, |_| Ok(()))?;
        }
    }
    Ok(Exit::Success)
}

/// A control plane that says nothing for so long is taken for gone: it says something every 5 s.
const SILENCE: Duration = Duration::from_secs(15);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Shows requests as the control plane gets them. Where the connection breaks, a later one goes on behind what was shown.
pub(super) fn tail(
    format: Format,
    args: &ServerArgs,
    filter: v1::EventFilter,
    limit: Option<usize>,
) -> Result<Exit, CliError> {
    server::run(args, async |session| {
        let mut request =
            v1::TailEventsRequest { filter: Some(filter), page_token: String::new(), with_names: false };
        let mut shown = 0;
        loop {
            let call = async |session: &Session, request| session.events().tail_events(request).await;
            let mut stream = session.call(request.clone(), call).await?;
            loop {
                match tokio::time::timeout(SILENCE, stream.message()).await {
                    Ok(Ok(Some(told))) => {
                        for event in &told.events {
                            let Some(row) = entry(event).as_ref().and_then(Row::of) else { continue };
                            print_record(format, &value(event)?, |out| {
                                writeln!(out, "{}", clean(&row.line()))
                            })?;
                            shown += 1;
                            if limit.is_some_and(|limit| shown >= limit) {
                                return Ok(Exit::Success);
                            }
                        }
                        request.page_token = told.next_page_token;
                    }
                    // It stops, or the connection is broken or silent.
                    Ok(Ok(None)) | Err(_) => break,
                    Ok(Err(status)) => {
                        let error = session.error(status);
                        if !error.is_passing() {
                            return Err(error.into());
                        }
                        break;
                    }
                }
            }
            // Before the first answer there is no place to go on from: what comes meanwhile would be left out.
            if request.page_token.is_empty() {
                return Err(CliError::failure("the control plane has ended the stream before it began"));
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    })
}

async fn all(
    session: &Session,
    filter: v1::EventFilter,
    limit: usize,
) -> Result<Vec<v1::StoredEvent>, CliError> {
    let mut events = Vec::new();
    let mut page_token = String::new();
    while events.len() < limit {
        let request = v1::ListEventsRequest {
            filter: Some(filter.clone()),
            page_size: u32::try_from((limit - events.len()).min(PAGE)).unwrap_or(100),
            page_token: std::mem::take(&mut page_token),
            ..v1::ListEventsRequest::default()
        };
        let page = session
            .call(request, async |session, request| session.events().list_events(request).await)
            .await?;
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    events.truncate(limit);
    Ok(events)
}

/// Shows the records of one request.
pub(super) fn show(format: Format, args: &ServerArgs, id: Uuid, names: bool) -> Result<Exit, CliError> {
    let request = v1::GetEventsRequest { request_id: id.to_string(), with_names: names };
    let answer = server::run(args, async |session| {
        let call = session.call(request, async |session, request| session.events().get_events(request).await);
        Ok(call.await?)
    })?;
    let form = if format == Format::Table { Format::Yaml } else { format };
    for event in &answer.events {
        print_record(form, &value(event)?, |_| Ok(()))?;
    }
    Ok(Exit::Success)
}

#[derive(Debug, Serialize)]
struct Counts {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    key: Vec<String>,
    requests: u64,
    blocked: u64,
    redacted: u64,
    would_block: u64,
    would_redact: u64,
    failed: u64,
    input_tokens: u64,
    output_tokens: u64,
    micro_usd: u64,
    unpriced: u64,
}

impl From<&v1::EventStats> for Counts {
    fn from(stats: &v1::EventStats) -> Self {
        Self {
            key: stats.key.clone(),
            requests: stats.requests,
            blocked: stats.blocked,
            redacted: stats.redacted,
            would_block: stats.would_block,
            would_redact: stats.would_redact,
            failed: stats.failed,
            input_tokens: stats.input_tokens,
            output_tokens: stats.output_tokens,
            micro_usd: stats.micro_usd,
            unpriced: stats.unpriced,
        }
    }
}

impl Counts {
    fn cells(&self, key: &str, largest: u64) -> [String; 8] {
        [
            clean(key).into_owned(),
            self.requests.to_string(),
            bar(self.requests, largest),
            self.blocked.to_string(),
            self.redacted.to_string(),
            (self.would_block + self.would_redact).to_string(),
            (self.input_tokens + self.output_tokens).to_string(),
            dollars(self.micro_usd, self.unpriced),
        ]
    }
}

#[derive(Debug, Serialize)]
struct Counted {
    by: Vec<String>,
    rows: Vec<Counts>,
    total: Option<Counts>,
}

/// Counts.
pub(super) fn stats(format: Format, args: &Stats) -> Result<Exit, CliError> {
    let request = v1::GetEventStatsRequest {
        filter: Some(filter(&args.which, args.fleet.as_deref(), args.user.as_deref(), args.would)),
        by: args.by.clone(),
        limit: args.limit,
    };
    let answer = server::run(&args.server, async |session| {
        let call =
            session.call(request, async |session, request| session.events().get_event_stats(request).await);
        Ok(call.await?)
    })?;
    let counted = Counted {
        by: args.by.clone(),
        rows: answer.rows.iter().map(Counts::from).collect(),
        total: answer.total.as_ref().map(Counts::from),
    };
    print(format, &counted, |out| {
        let head = if counted.by.is_empty() { "-".to_owned() } else { counted.by.join(" / ").to_uppercase() };
        let header = [head.as_str(), "REQUESTS", "", "BLOCKED", "REDACTED", "WOULD", "TOKENS", "USD"];
        let largest = counted.rows.iter().map(|row| row.requests).max().unwrap_or(0);
        let rows = counted.rows.iter().map(|row| row.cells(&row.key.join(" / "), largest));
        let total = counted.total.iter().map(|total| total.cells("total", 0));
        write!(out, "{}", table(header, rows.chain(total)))
    })?;
    Ok(Exit::Success)
}

/// A small chart: the widest bar is the largest row.
fn bar(count: u64, largest: u64) -> String {
    const WIDTH: u64 = 20;
    let Some(width) = count.saturating_mul(WIDTH).checked_div(largest) else { return String::new() };
    "█".repeat(usize::try_from(width.max(u64::from(count > 0))).unwrap_or(0))
}

/// What is known of the price; `+`: some requests have none.
fn dollars(micro_usd: u64, unpriced: u64) -> String {
    let more = if unpriced > 0 { "+" } else { "" };
    format!("{}.{:04}{more}", micro_usd / 1_000_000, micro_usd % 1_000_000 / 100)
}
