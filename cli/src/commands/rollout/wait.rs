//! `--wait`: follows the status of a fleet until a generation has settled.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use kt_proto::v1;
use serde::Serialize;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;

use crate::{
    exit::{CliError, Exit},
    output::note,
    server::{Session, call::CallError, view},
};

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "end", rename_all = "lowercase")]
pub(super) enum End {
    /// Every connected gateway enforces it.
    Applied,
    /// All have answered, some with no.
    Rejected,
    /// Some have not answered in time.
    Late,
    /// Somebody assigned something newer.
    Superseded {
        /// The newer generation.
        generation: u64,
        /// Who.
        by: String,
    },
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// This generation of what the fleet enforces.
    Assignment(u64),
    /// This generation of its gateway keys, or a later one: each set is made from the one before.
    Keys(u64),
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Assignment(generation) => write!(f, "generation {generation}"),
            Self::Keys(generation) => write!(f, "key set {generation}"),
        }
    }
}

/// What the gateways did.
#[derive(Debug, Serialize)]
pub(super) struct Waited {
    #[serde(flatten)]
    pub(super) end: End,
    pub(super) counts: view::Counts,
    /// Those that do not enforce it, and why.
    pub(super) gateways: Vec<view::Gateway>,
    /// How many more of those there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) more_gateways: u32,
    pub(super) silent_replicas: Vec<String>,
}

// === impl Waited ===

impl Waited {
    pub(super) fn progress(&self) -> String {
        progress(self.counts)
    }

    pub(super) fn exit(&self) -> Exit {
        if self.end == End::Applied { Exit::Success } else { Exit::Findings }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

const PAUSE: Duration = Duration::from_millis(500);

/// Waits until `goal` has settled in `fleet`, or `timeout` is over.
pub(super) async fn until_applied(
    session: &Session,
    fleet: &str,
    goal: Goal,
    timeout: Duration,
) -> Result<Waited, CliError> {
    let deadline = Instant::now() + timeout;
    let mut shown = Shown::new(goal);
    let mut last = None;
    loop {
        let followed =
            tokio::time::timeout_at(deadline, follow(session, fleet, goal, &mut shown, &mut last)).await;
        let error = match followed {
            Ok(Ok(waited)) => {
                shown.end();
                return Ok(waited);
            }
            Ok(Err(error)) => error,
            Err(_) => break,
        };
        // The replica went away, or its store did: the next one knows as much.
        if error.as_ref().is_some_and(|error| !error.is_passing()) {
            shown.end();
            return Err(error.map_or_else(|| CliError::failure("no status"), CliError::from));
        }
        if tokio::time::timeout_at(deadline, tokio::time::sleep(PAUSE)).await.is_err() {
            break;
        }
    }
    shown.end();
    let Some(status): Option<view::FleetStatus> = last else {
        return Err(CliError::failure(format!("the control plane said nothing of `{fleet}` in time"))
            .with_help("`kt fleet status` shows what became of it"));
    };
    Ok(waited(End::Late, status))
}

/// Follows one stream; an error that is none says that the stream ended.
async fn follow(
    session: &Session,
    fleet: &str,
    goal: Goal,
    shown: &mut Shown,
    last: &mut Option<view::FleetStatus>,
) -> Result<Waited, Option<CallError>> {
    let request = v1::WatchFleetStatusRequest { fleet: fleet.to_owned() };
    let mut stream = session
        .once(request, async |session, request| session.fleets().watch_fleet_status(request).await)
        .await
        .map_err(Some)?;
    while let Some(message) = stream.next().await {
        let message = message.map_err(|status| Some(session.error(status)))?;
        let mut status = view::FleetStatus::from(&message.status.unwrap_or_default());
        if let Goal::Keys(generation) = goal {
            only_keys(&mut status, generation);
        }
        shown.show(&status);
        if let Some(end) = judge(&status, goal) {
            return Ok(waited(end, status));
        }
        *last = Some(status);
    }
    Err(None)
}

fn waited(end: End, status: view::FleetStatus) -> Waited {
    Waited {
        end,
        counts: status.counts,
        gateways: status.exceptions,
        more_gateways: status.more_exceptions,
        silent_replicas: status.silent_replicas,
    }
}

/// Leaves of a status what is about a generation of the key set: a gateway that has it counts as one that enforces it,
/// whatever pack it enforces.
fn only_keys(status: &mut view::FleetStatus, generation: u64) {
    let counts = &mut status.counts;
    status.exceptions.retain_mut(|gateway| {
        let count = match &*gateway.state {
            "pending" => &mut counts.pending,
            "rejected" => &mut counts.rejected,
            "silent" => &mut counts.silent,
            _ => return true,
        };
        let refuses = gateway.refusal.as_ref().is_some_and(|refusal| refusal.document == "key-set");
        if gateway.key_set_generation >= generation {
            *count = count.saturating_sub(1);
            counts.applied += 1;
            return false;
        }
        if gateway.state == "rejected" && !refuses {
            *count = count.saturating_sub(1);
            counts.pending += 1;
            "pending".clone_into(&mut gateway.state);
        }
        true
    });
}

/// Whether `goal` has settled.
fn judge(status: &view::FleetStatus, goal: Goal) -> Option<End> {
    // A replica may be a moment behind.
    let is_behind = match goal {
        Goal::Assignment(generation) => {
            let wanted = status.wanted.as_ref()?;
            if wanted.generation > generation {
                let by = wanted.assigned_by.clone();
                return Some(End::Superseded { generation: wanted.generation, by });
            }
            wanted.generation < generation
        }
        Goal::Keys(generation) => status.key_set_generation < generation,
    };
    if is_behind || status.counts.pending > 0 || status.counts.silent > 0 {
        return None;
    }
    Some(if status.counts.rejected > 0 { End::Rejected } else { End::Applied })
}

fn progress(counts: view::Counts) -> String {
    let connected = counts.connected();
    let noun = if connected == 1 { "gateway" } else { "gateways" };
    format!("enforced by {} of {connected} connected {noun}{}", counts.applied, counts.exceptions())
}

/// Progress on stderr: a bar on a terminal, a line a change elsewhere.
enum Shown {
    Bar(ProgressBar),
    Lines { goal: Goal, before: Option<view::Counts> },
}

// === impl Shown ===

impl Shown {
    fn new(goal: Goal) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { goal, before: None };
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} gateways {msg}") {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    fn show(&mut self, status: &view::FleetStatus) {
        let counts = status.counts;
        match self {
            // A bar of nothing would look full.
            Self::Bar(_) if counts.connected() == 0 => {}
            Self::Bar(bar) => {
                bar.set_length(counts.connected().into());
                bar.set_position(counts.applied.into());
                bar.set_message(if counts.rejected > 0 {
                    format!("{} refused", counts.rejected)
                } else {
                    String::new()
                });
            }
            Self::Lines { goal, before } => {
                let is_new = *before != Some(counts);
                let is_ours = match goal {
                    Goal::Assignment(generation) => {
                        status.wanted.as_ref().is_some_and(|wanted| wanted.generation >= *generation)
                    }
                    Goal::Keys(generation) => status.key_set_generation >= *generation,
                };
                if is_new && is_ours && counts.pending > 0 {
                    note(&format!("{goal}: {}", progress(counts)));
                }
                *before = Some(counts);
            }
        }
    }

    fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(generation: u64, applied: u32, pending: u32, rejected: u32, silent: u32) -> view::FleetStatus {
        let statement = v1::AssignmentStatement { generation, ..Default::default() };
        let wanted = v1::Assignment {
            assignment: Some(kt_proto::signed::seal(&statement, &[])),
            assigned_by: "joe".to_owned(),
            ..Default::default()
        };
        let counts = v1::fleet_status::Counts {
            gateways: applied + pending + rejected + silent + 1,
            applied,
            pending,
            rejected,
            silent,
            disconnected: 1,
        };
        let status = v1::FleetStatus { wanted: Some(wanted), counts: Some(counts), ..Default::default() };
        (&status).into()
    }

    #[test]
    fn it_ends_when_every_connected_gateway_has_answered() {
        assert_eq!(judge(&status(8, 2, 1, 0, 0), Goal::Assignment(8)), None);
        assert_eq!(judge(&status(8, 2, 0, 0, 1), Goal::Assignment(8)), None, "a silent gateway is connected");
        assert_eq!(judge(&status(8, 2, 1, 1, 0), Goal::Assignment(8)), None, "all refusals are waited for");
        assert_eq!(judge(&status(8, 3, 0, 0, 0), Goal::Assignment(8)), Some(End::Applied));
        assert_eq!(judge(&status(8, 2, 0, 1, 0), Goal::Assignment(8)), Some(End::Rejected));
        assert_eq!(
            judge(&status(8, 0, 0, 0, 0), Goal::Assignment(8)),
            Some(End::Applied),
            "the one that is away is not waited for"
        );
    }

    #[test]
    fn an_older_report_is_not_taken_for_the_answer_and_a_newer_head_ends_it() {
        assert_eq!(judge(&status(7, 3, 0, 0, 0), Goal::Assignment(8)), None);
        let end = Some(End::Superseded { generation: 9, by: "joe".to_owned() });
        assert_eq!(judge(&status(9, 0, 3, 0, 0), Goal::Assignment(8)), end);
        assert_eq!(judge(&(&v1::FleetStatus::default()).into(), Goal::Assignment(8)), None);
    }

    #[test]
    fn for_a_key_set_it_does_not_matter_which_pack_a_gateway_enforces() {
        let gateway =
            |state: v1::gateway_status::State, keys: u64, refusal: Option<bool>| v1::GatewayStatus {
                state: state.into(),
                key_set_generation: keys,
                refusal: refusal
                    .map(|is_key_set| v1::gateway_status::Refusal { is_key_set, ..Default::default() }),
                ..Default::default()
            };
        let status = |exceptions: Vec<v1::GatewayStatus>| {
            use v1::gateway_status::State as Is;
            let count =
                |state: Is| exceptions.iter().filter(|gateway| gateway.state() == state).count() as u32;
            let counts = v1::fleet_status::Counts {
                gateways: 1 + exceptions.len() as u32,
                applied: 1,
                pending: count(Is::Pending),
                rejected: count(Is::Rejected),
                silent: count(Is::Silent),
                disconnected: count(Is::Disconnected),
            };
            let mut status = (&v1::FleetStatus {
                key_set_generation: 5,
                counts: Some(counts),
                exceptions,
                ..Default::default()
            })
                .into();
            only_keys(&mut status, 5);
            (judge(&status, Goal::Keys(5)), status.counts.applied)
        };
        use v1::gateway_status::State::{Disconnected, Pending, Rejected};
        assert_eq!(status(vec![gateway(Rejected, 5, Some(false))]), (Some(End::Applied), 2));
        assert_eq!(status(vec![gateway(Pending, 6, None)]), (Some(End::Applied), 2), "a later set holds it");
        assert_eq!(status(vec![gateway(Rejected, 4, Some(false))]), (None, 1), "the keys are on their way");
        assert_eq!(status(vec![gateway(Rejected, 4, Some(true))]), (Some(End::Rejected), 1));
        assert_eq!(status(vec![gateway(Disconnected, 4, None)]), (Some(End::Applied), 1));
    }
}
