//! What `kt doctor` says of the control plane that this person works with: reachable, token, clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser};
use kt_proto::{refusal::Refusal, v1};
use tonic::{Response, Status as Answer, metadata::MetadataMap};

use super::{Check, Status, add};
use crate::{
    commands::audit_sink,
    exit::CliError,
    server::{self, ServerArgs, Session, call::CallError, view},
};

const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// A header says the second; the way takes its time too.
const CLOCK_WITHIN: SignedDuration = SignedDuration::from_secs(5);
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Looks at the control plane, where one is known.
pub(super) fn check(context: Option<&str>, checks: &mut Vec<Check>) {
    let from = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let args = ServerArgs {
        context: context.map(ToOwned::to_owned),
        server: from("KEEPTRUSTS_API_URL"),
        ca_file: from("KEEPTRUSTS_API_CA_FILE").map(Into::into),
    };
    match args.is_configured() {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => return failed("contexts", &error, checks),
    }
    let session = args.resolve().and_then(|target| server::block_on(async { ask(&target).await }));
    match session {
        Ok((server, answer, sinks)) => {
            judge(&server, answer, checks);
            judge_sinks(&sinks, checks);
        }
        Err(error) => failed("control plane", &error, checks),
    }
}

fn failed(check: &str, error: &CliError, checks: &mut Vec<Check>) {
    let help = error.help().map(|help| format!(" ({help})")).unwrap_or_default();
    add(checks, check, Status::Failed, format!("{error}{help}"));
}

type Who = Result<Response<v1::WhoAmIResponse>, Answer>;

async fn ask(target: &server::Target) -> Result<(String, Who, Vec<audit_sink::Shown>), CliError> {
    let session = Session::new(target)?;
    let mut tokens = session.tokens();
    let answer = tokio::time::timeout(ANSWERS_WITHIN, tokens.who_am_i(v1::WhoAmIRequest {})).await;
    let answer = match answer {
        Ok(Err(status)) if Refusal::of(&status).is_none() => return Err(session.error(status).into()),
        Ok(answer) => answer,
        Err(_) => return Err(CallError::Late { server: session.server().to_owned() }.into()),
    };
    // Not everybody may ask; then there is nothing to say about them.
    let mut events = session.events();
    let sinks = events.list_audit_sinks(v1::ListAuditSinksRequest {});
    let sinks = match tokio::time::timeout(ANSWERS_WITHIN, sinks).await {
        Ok(Ok(answer)) => answer.into_inner().sinks.into_iter().map(audit_sink::Shown::from).collect(),
        _ => Vec::new(),
    };
    Ok((session.server().to_owned(), answer, sinks))
}

/// What a sink has yet to take is kept for it; a person should know all the same.
fn judge_sinks(sinks: &[audit_sink::Shown], checks: &mut Vec<Check>) {
    let now = Timestamp::now();
    for sink in sinks {
        let behind = sink.behind(now);
        let (status, detail) = match &sink.problem {
            _ if !sink.is_fed() => {
                (Status::Warning, format!("{behind}; this control plane is not set up with it"))
            }
            Some(problem) => (Status::Warning, format!("{behind}: {problem}")),
            None => (Status::Ok, behind),
        };
        add(checks, &format!("audit sink {}", sink.name), status, detail);
    }
}

fn judge(server: &str, answer: Who, checks: &mut Vec<Check>) {
    let now = Timestamp::now();
    add(checks, "control plane", Status::Ok, format!("{server} answers"));
    let date = match &answer {
        Ok(answer) => date(answer.metadata()),
        Err(status) => date(status.metadata()),
    };
    match answer {
        Ok(answer) => token(&answer.into_inner().token.unwrap_or_default(), now, checks),
        Err(status) => {
            let refused = Refusal::of(&status).map(|refusal| CliError::from(CallError::Refused(refusal)));
            match refused {
                Some(error) => failed("token", &error, checks),
                None => add(checks, "token", Status::Failed, status.message()),
            }
        }
    }
    if let Some(date) = date {
        let off = now.duration_since(date);
        let (status, detail) = if off.abs() <= CLOCK_WITHIN {
            (Status::Ok, "agrees with that of the control plane".to_owned())
        } else {
            let way = if off.is_negative() { "behind" } else { "ahead of" };
            (
                Status::Warning,
                format!(
                    "{} s {way} that of the control plane: expiry is judged by different clocks",
                    off.abs().as_secs()
                ),
            )
        };
        add(checks, "clock", status, detail);
    }
}

fn token(token: &v1::Token, now: Timestamp, checks: &mut Vec<Check>) {
    let token = view::Token::from(token);
    let who = format!("{} ({})", token.name, token.roles.join(", "));
    let (status, detail) = match token.expires {
        _ if token.is_bootstrap => (
            Status::Warning,
            format!("{who}: the bootstrap token; make one of your own: `kt auth token create`"),
        ),
        Some(at) if at.duration_since(now) < EXPIRES_SOON => {
            (Status::Warning, format!("{who}, ends {at:.0}"))
        }
        Some(at) => (Status::Ok, format!("{who}, ends {at:.0}")),
        None => (Status::Ok, who),
    };
    add(checks, "token", status, detail);
}

/// The server's clock, to the second.
fn date(headers: &MetadataMap) -> Option<Timestamp> {
    let text = headers.get("date")?.to_str().ok()?;
    DateTimeParser::new().parse_timestamp(text).ok()
}
