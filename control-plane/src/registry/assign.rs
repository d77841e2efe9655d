//! What a fleet is to enforce: publish, rollback and recover are one compare-and-swap of its head.
//!
//! What must hold: a generation names one statement for ever; heads only grow; while a gateway has shown more than the
//! head, only a recovery goes through.

use jiff::Timestamp;
use kt_audit::Digest;
use kt_proto::{
    refusal::{Code, Refusal},
    signed::{self, NotTrusted, Statement},
    v1::{self, AssignmentKind},
};

use super::{By, Registry, Stored, Tried, as_read, change, errors::refused, fleets::FleetRead, names, put};
use crate::{
    paths::{self, StateKey},
    store::{Commit, Precondition, Write},
};

/// Assignments that are kept of each fleet.
const HISTORY: u64 = 1000;
/// A statement is small: packs are named in it, not held.
const MAX_STATEMENT_BYTES: usize = 64 * 1024;
/// More signatures than anybody has signers.
const MAX_SIGNATURES: usize = 16;
/// For now; gateways refuse more by name.
const PACKS: usize = 1;

/// A statement as it was sent, read.
struct Asked<'a> {
    fleet: &'a str,
    expected: u64,
    sealed: v1::SignedStatement,
    statement: v1::AssignmentStatement,
    digest: Digest,
    kind: AssignmentKind,
    request_id: String,
}

impl Registry {
    /// Moves the head of a fleet.
    pub(crate) async fn assign(
        &self,
        actor: &str,
        request: &v1::AssignRequest,
    ) -> Result<v1::AssignResponse, Refusal> {
        let result = self.try_assign(By { actor, reason: &request.reason }, request).await;
        let action = action(request.kind());
        self.count(action, &result, |response| response.is_unchanged);
        if let Err(refusal) = &result {
            tracing::info!(action, code = %refusal.code, actor, "Assignment was refused.");
        }
        result
    }

    async fn try_assign(
        &self,
        by: By<'_>,
        request: &v1::AssignRequest,
    ) -> Result<v1::AssignResponse, Refusal> {
        let asked = self.asked(by, request)?;
        let mut unknown = None;
        for _ in 0..super::TRIES {
            let fleet = self.read_fleet(asked.fleet).await?;
            if let Some(done) = self.done_before(&asked, &fleet).await? {
                return Ok(done);
            }
            self.fits(&asked, &fleet).await?;
            let (assignment, commit) = commit(by, &asked, &fleet);
            match self.write(commit).await? {
                Tried::Done => {
                    let generation = asked.statement.generation;
                    let action = action(asked.kind);
                    tracing::info!(
                        fleet = asked.fleet,
                        generation,
                        action,
                        actor = by.actor,
                        "Fleet was assigned."
                    );
                    return Ok(v1::AssignResponse { assignment: Some(assignment), is_unchanged: false });
                }
                // Who was faster shows in the next reading.
                Tried::Again(error) => unknown = error,
            }
        }
        Err(Self::given_up(unknown))
    }

    /// What can be judged of a request by itself.
    fn asked<'a>(&self, by: By<'_>, request: &'a v1::AssignRequest) -> Result<Asked<'a>, Refusal> {
        names::words("reason", by.reason)?;
        let request_id = names::request_id(&request.request_id)?;
        let kind = request.kind();
        if kind == AssignmentKind::Unspecified {
            return Err(refused(Code::ArgumentInvalid, "the kind is missing: publish, rollback or recover"));
        }
        let sealed = request.assignment.clone().unwrap_or_default();
        bounded(&sealed)?;
        let statement: v1::AssignmentStatement = self.sealed(&sealed)?;
        if statement.fleet != request.fleet {
            let message = format!(
                "the statement is for the fleet `{}`, not for `{}`: sign it for the fleet that it goes to",
                names::shown(&statement.fleet),
                names::shown(&request.fleet)
            );
            return Err(invalid(message));
        }
        if statement.packs.len() != PACKS {
            let message =
                format!("the statement names {} packs; gateways enforce exactly one", statement.packs.len());
            return Err(invalid(message));
        }
        let digest = signed::digest(&sealed);
        let (fleet, expected) = (request.fleet.as_str(), request.expected_generation);
        Ok(Asked { fleet, expected, sealed, statement, digest, kind, request_id })
    }

    /// Reads a statement, with what can be said of its form, its expiry and, where keys are trusted, its signatures.
    pub(super) fn sealed<S: Statement>(&self, sealed: &v1::SignedStatement) -> Result<S, Refusal> {
        if sealed.signatures.len() > MAX_SIGNATURES {
            let message = format!(
                "the statement has {} signatures; {MAX_SIGNATURES} are the most",
                sealed.signatures.len()
            );
            return Err(refused(Code::SignatureInvalid, message));
        }
        for (at, signature) in sealed.signatures.iter().enumerate() {
            let is_whole = signature.key_id.len() == 16 && signature.signature.len() == 64;
            let is_twice = sealed.signatures.iter().take(at).any(|other| other.key_id == signature.key_id);
            if !is_whole || is_twice {
                let why = if is_twice { "is of a key that has signed already" } else { "has a wrong length" };
                let message = format!("signature {} {why}: sign the statement again", at + 1);
                return Err(refused(Code::SignatureInvalid, message));
            }
        }
        let statement: S = self.trust.open(sealed).map_err(|reason| match reason {
            NotTrusted::Malformed => invalid("the statement can't be read: make it with `kt pack sign`"),
            other => refused(Code::SignatureInvalid, other.to_string()),
        })?;
        let expires = statement.expires_us();
        if expires != 0 && expires <= Timestamp::now().as_microsecond() {
            let message = "the statement has expired: sign it again with a later expiry";
            return Err(refused(Code::StatementExpired, message));
        }
        Ok(statement)
    }

    /// Whether this very request was carried out, also when the head has moved on since.
    async fn done_before(
        &self,
        asked: &Asked<'_>,
        fleet: &FleetRead,
    ) -> Result<Option<v1::AssignResponse>, Refusal> {
        let generation = asked.statement.generation;
        let past = self.read::<v1::Assignment>(&paths::assignment(asked.fleet, generation)).await?;
        let same_request = past
            .as_ref()
            .into_iter()
            .chain(fleet.head.as_ref())
            .find(|known| known.record.request_id == asked.request_id);
        let Some(Stored { record: known, modified }) = same_request else { return Ok(None) };
        self.mirror.wait_for(*modified).await;
        if known.assignment.as_ref().is_some_and(|sealed| signed::digest(sealed) == asked.digest) {
            return Ok(Some(v1::AssignResponse { assignment: Some(known.clone()), is_unchanged: true }));
        }
        let message = "this request id was used for another assignment: take a new one";
        Err(refused(Code::RequestIdReused, message))
    }

    /// Whether a request fits what the store has.
    async fn fits(&self, asked: &Asked<'_>, fleet: &FleetRead) -> Result<(), Refusal> {
        let head = match &fleet.head {
            None => 0,
            Some(head) => generation(asked.fleet, &head.record)?,
        };
        let next = asked.statement.generation;
        match (&fleet.divergence, asked.kind) {
            (Some(divergence), AssignmentKind::Publish | AssignmentKind::Rollback) => {
                let message = format!(
                    "a gateway has shown generation {} of `{}` and the store has {head}: nothing is published \
                     until `kt fleet recover {}`",
                    divergence.record.seen_generation, asked.fleet, asked.fleet
                );
                return Err(refused(Code::FleetDiverged, message));
            }
            (None, AssignmentKind::Recover) => {
                let message = format!(
                    "the fleet `{}` has not diverged: there is nothing to recover from; publish instead",
                    asked.fleet
                );
                return Err(invalid(message));
            }
            _ => {}
        }
        if asked.expected != head {
            self.metrics.generation_conflicts.inc();
            let message = format!(
                "the head of `{}` is generation {head}, not {}: read it again and sign for what comes after it",
                asked.fleet, asked.expected
            );
            return Err(refused(Code::GenerationConflict, message));
        }
        let seen = fleet.divergence.as_ref().map_or(0, |divergence| divergence.record.seen_generation);
        let wanted = head.max(seen).checked_add(1);
        // A recovery may leave more room: who signs it may have seen more than this replica.
        let is_next = match asked.kind {
            AssignmentKind::Recover => wanted.is_some_and(|wanted| next >= wanted),
            _ => wanted == Some(next),
        };
        if !is_next {
            let wanted = wanted.map_or_else(|| "nothing".to_owned(), |wanted| wanted.to_string());
            let message = format!(
                "the statement is of generation {next}; what comes after {} is {wanted}",
                head.max(seen)
            );
            return Err(invalid(message));
        }
        for pack in &asked.statement.packs {
            self.is_stored(pack).await?;
        }
        Ok(())
    }

    async fn is_stored(&self, pack: &v1::PackRef) -> Result<(), Refusal> {
        let (name, version) = (names::shown(&pack.name), names::shown(&pack.version));
        let Some(stored) = self.pack_version(&pack.name, &pack.version).await? else {
            let message = format!("there is no version `{version}` of `{name}`: upload it first");
            return Err(refused(Code::PackUnknown, message));
        };
        if stored.digest != pack.digest || stored.size != pack.size {
            let message = format!(
                "the statement names other bytes for `{name}@{version}` than are stored: sign it for the stored ones"
            );
            return Err(refused(Code::DigestMismatch, message));
        }
        Ok(())
    }
}

/// The assignment, and the commit that makes it the head.
fn commit(by: By<'_>, asked: &Asked<'_>, fleet: &FleetRead) -> (v1::Assignment, Commit) {
    let now = Timestamp::now();
    let generation = asked.statement.generation;
    let assignment = v1::Assignment {
        assignment: Some(asked.sealed.clone()),
        kind: asked.kind.into(),
        reason: by.reason.to_owned(),
        assigned_by: by.actor.to_owned(),
        assigned_us: now.as_microsecond(),
        request_id: asked.request_id.clone(),
    };
    let (head, history) = (StateKey::Head(asked.fleet).path(), paths::assignment(asked.fleet, generation));
    let diverged = StateKey::Divergence(asked.fleet).path();
    let packs: Vec<_> = asked.statement.packs.iter().map(ToString::to_string).collect();
    let subject = format!("{} generation {generation}: {}", asked.fleet, packs.join(", "));
    let mut writes = vec![
        put(head.clone(), &assignment),
        put(history.clone(), &assignment),
        change(by, action(asked.kind), &subject, now),
    ];
    if let Some(oldest) = generation.checked_sub(HISTORY) {
        writes.push(Write::Delete(paths::assignment(asked.fleet, oldest)));
    }
    if fleet.divergence.is_some() {
        writes.push(Write::Delete(diverged.clone()));
    }
    let preconditions = vec![
        as_read(head, fleet.head.as_ref()),
        as_read(diverged, fleet.divergence.as_ref()),
        as_read(StateKey::Fleet(asked.fleet).path(), Some(&fleet.record)),
        // A generation names one statement for ever.
        Precondition::Absent(history),
    ];
    (assignment, Commit { preconditions, writes })
}

fn generation(fleet: &str, assignment: &v1::Assignment) -> Result<u64, Refusal> {
    let sealed = assignment.assignment.as_ref();
    let statement = sealed.and_then(|sealed| signed::read::<v1::AssignmentStatement>(sealed).ok());
    statement
        .map(|statement| statement.generation)
        .ok_or_else(|| super::errors::corrupt(&StateKey::Head(fleet).path()))
}

fn invalid(message: impl Into<String>) -> Refusal {
    refused(Code::StatementInvalid, message)
}

fn action(kind: AssignmentKind) -> &'static str {
    match kind {
        AssignmentKind::Unspecified => "fleet.assign",
        AssignmentKind::Publish => "fleet.publish",
        AssignmentKind::Rollback => "fleet.rollback",
        AssignmentKind::Recover => "fleet.recover",
    }
}

/// Larger statements are refused before they are looked at.
fn bounded(sealed: &v1::SignedStatement) -> Result<(), Refusal> {
    if sealed.statement.len() > MAX_STATEMENT_BYTES {
        let message =
            format!("the statement has {} bytes; {MAX_STATEMENT_BYTES} are the most", sealed.statement.len());
        return Err(invalid(message));
    }
    Ok(())
}
