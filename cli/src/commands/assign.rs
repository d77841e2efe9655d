//! The compare-and-swap behind publish, rollback and recover: read the head, sign against it, assign.
//!
//! One request id holds over all attempts: whoever finds it in the head knows that an earlier attempt went through.

use kt_proto::{refusal::Code, signed, v1};
use uuid::Uuid;

use super::signing::Signing;
use crate::{
    exit::CliError,
    server::{Session, call::CallError, view},
};

/// How often a head that moved is read again.
const ATTEMPTS: u32 = 5;

/// What is wanted, and by whom it is signed.
pub(super) struct Plan<'a> {
    pub(super) fleet: &'a str,
    pub(super) kind: v1::AssignmentKind,
    pub(super) reason: &'a str,
    pub(super) request_id: Uuid,
    pub(super) signing: &'a Signing,
    /// Only while the head has this generation.
    pub(super) expected: Option<u64>,
}

/// What to assign, once the head is known.
pub(super) enum Choice {
    /// These packs.
    Packs(Vec<v1::PackRef>),
    /// Nothing: the head is what is wanted.
    Nothing,
}

/// What was assigned.
pub(super) struct Assigned {
    pub(super) assignment: v1::Assignment,
    /// The head was what is wanted already.
    pub(super) is_unchanged: bool,
}

/// Reads a fleet from the store.
pub(super) async fn fleet(session: &Session, name: &str) -> Result<v1::Fleet, CliError> {
    let request = v1::GetFleetRequest { name: name.to_owned() };
    let answer =
        session.call(request, async |session, request| session.fleets().get_fleet(request).await).await?;
    answer
        .fleet
        .ok_or_else(|| CliError::failure(format!("the control plane does not describe the fleet `{name}`")))
}

/// The statement of a head; absent where the fleet has none.
pub(super) fn statement(fleet: &v1::Fleet) -> Result<Option<v1::AssignmentStatement>, CliError> {
    let Some(head) = &fleet.head else { return Ok(None) };
    let signed = head.assignment.clone().unwrap_or_default();
    signed::read(&signed)
        .map(Some)
        .map_err(|error| CliError::failure(format!("the head of `{}` can't be read: {error}", fleet.name)))
}

/// Assigns what `choose` chooses for the head that is there; a head that moves meanwhile is chosen for again.
pub(super) async fn assign(
    session: &Session,
    plan: &Plan<'_>,
    mut choose: impl AsyncFnMut(&v1::Fleet) -> Result<Choice, CliError>,
) -> Result<Assigned, CliError> {
    let request_id = plan.request_id.to_string();
    for attempt in 1.. {
        let fleet = fleet(session, plan.fleet).await?;
        let head = statement(&fleet)?;
        if let Some(assignment) = fleet.head.clone().filter(|head| head.request_id == request_id) {
            return Ok(Assigned { assignment, is_unchanged: false });
        }
        let generation = head.as_ref().map_or(0, |head| head.generation);
        expect(plan, generation)?;
        let packs = match (choose(&fleet).await?, fleet.head.clone()) {
            (Choice::Packs(packs), _) => packs,
            (Choice::Nothing, Some(assignment)) => return Ok(Assigned { assignment, is_unchanged: true }),
            (Choice::Nothing, None) => {
                return Err(CliError::failure(format!("the fleet `{}` enforces nothing yet", plan.fleet)));
            }
        };
        let before = fleet.head.as_ref().and_then(|head| head.assignment.as_ref());
        plan.signing.follows(&format!("generation {generation} of `{}`", plan.fleet), before)?;
        let next = match plan.kind {
            v1::AssignmentKind::Recover => {
                generation.max(fleet.divergence.as_ref().map_or(0, |divergence| divergence.seen_generation))
            }
            _ => generation,
        };
        let statement = v1::AssignmentStatement {
            fleet: plan.fleet.to_owned(),
            generation: next + 1,
            packs,
            expires_us: plan.signing.expires_us,
        };
        let sealed = signed::seal(&statement, &plan.signing.signers);
        match put(session, plan, generation, sealed).await {
            Ok(assigned) => return Ok(assigned),
            Err(error)
                if error.code() == Some(Code::GenerationConflict)
                    && plan.expected.is_none()
                    && attempt < ATTEMPTS => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(CliError::failure(format!("the fleet `{}` is being changed by others", plan.fleet)))
}

/// Assigns a statement that was made and signed elsewhere.
pub(super) async fn assign_made(
    session: &Session,
    plan: &Plan<'_>,
    made: v1::SignedStatement,
    generation: u64,
) -> Result<Assigned, CliError> {
    put(session, plan, generation.saturating_sub(1), made).await.map_err(CliError::from)
}

async fn put(
    session: &Session,
    plan: &Plan<'_>,
    expected_generation: u64,
    sealed: v1::SignedStatement,
) -> Result<Assigned, CallError> {
    let request = v1::AssignRequest {
        fleet: plan.fleet.to_owned(),
        expected_generation,
        assignment: Some(sealed),
        kind: plan.kind.into(),
        reason: plan.reason.to_owned(),
        request_id: plan.request_id.to_string(),
    };
    let answer =
        session.call(request, async |session, request| session.fleets().assign(request).await).await?;
    // `is_unchanged` says that this very request was carried out before: by an earlier attempt of ours.
    Ok(Assigned { assignment: answer.assignment.unwrap_or_default(), is_unchanged: false })
}

fn expect(plan: &Plan<'_>, generation: u64) -> Result<(), CliError> {
    match plan.expected {
        Some(expected) if expected != generation => Err(CliError::failure(format!(
            "the fleet `{}` has generation {generation}, not {expected} ({})",
            plan.fleet,
            Code::GenerationConflict
        ))
        .with_help("look at `kt fleet history`, then try again with what you see there")),
        _ => Ok(()),
    }
}

/// The assignments of a fleet, the newest first, until `stop` has seen enough.
pub(super) async fn history(
    session: &Session,
    fleet: &str,
    mut stop: impl FnMut(&[v1::Assignment]) -> bool,
) -> Result<Vec<v1::Assignment>, CliError> {
    let mut all: Vec<v1::Assignment> = Vec::new();
    let mut before_generation = 0;
    loop {
        let request = v1::ListAssignmentsRequest { fleet: fleet.to_owned(), limit: PAGE, before_generation };
        let page = session
            .call(request, async |session, request| session.fleets().list_assignments(request).await)
            .await?
            .assignments;
        let oldest = page.iter().map(|assignment| view::Assignment::from(assignment).generation).min();
        let is_last = page.len() < PAGE as usize;
        all.extend(page);
        match oldest {
            // A server that does not go back would be asked for ever.
            Some(oldest)
                if !is_last && oldest > 1 && (before_generation == 0 || oldest < before_generation) =>
            {
                before_generation = oldest;
            }
            _ => return Ok(all),
        }
        if stop(&all) {
            return Ok(all);
        }
    }
}

const PAGE: u32 = 100;
