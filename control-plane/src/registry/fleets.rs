//! Fleets: their records and heads, as the store has them.

use jiff::Timestamp;
use kt_proto::{
    refusal::{Code, Refusal},
    store::v1 as store,
    v1,
};

use super::{By, Registry, Stored, Tried, change, errors::refused, names, put};
use crate::{
    paths::{self, StateKey},
    state::{FleetState, State},
    store::{Commit, Precondition},
};

/// Assignments in one page.
const PAGE: usize = 50;
const MAX_PAGE: usize = 1000;

/// A fleet as it was read from the store.
#[derive(Debug)]
pub(super) struct FleetRead {
    pub(super) record: Stored<store::FleetRecord>,
    pub(super) head: Option<Stored<v1::Assignment>>,
    pub(super) divergence: Option<Stored<v1::Divergence>>,
    pub(super) key_set_divergence: Option<Stored<v1::Divergence>>,
}

impl Registry {
    /// Makes a fleet.
    pub(crate) async fn create_fleet(
        &self,
        actor: &str,
        request: &v1::CreateFleetRequest,
    ) -> Result<v1::Fleet, Refusal> {
        let result = self.try_create_fleet(By { actor, reason: "" }, request).await;
        self.count("fleet.create", &result, |_| false);
        result
    }

    async fn try_create_fleet(
        &self,
        by: By<'_>,
        request: &v1::CreateFleetRequest,
    ) -> Result<v1::Fleet, Refusal> {
        let v1::CreateFleetRequest { name, description, request_id } = request;
        names::fleet(name)?;
        names::words("description", description)?;
        let request_id = names::request_id(request_id)?;
        let now = Timestamp::now();
        let key = StateKey::Fleet(name).path();
        let record = store::FleetRecord {
            name: name.clone(),
            description: description.clone(),
            created_by: by.actor.to_owned(),
            created_us: now.as_microsecond(),
            request_id,
        };
        let mut unknown = None;
        for _ in 0..super::TRIES {
            if let Some(taken) = self.read::<store::FleetRecord>(&key).await? {
                // A try of ours whose outcome was not known, or the same request again.
                if taken.record.request_id == record.request_id {
                    if taken.record.description != record.description {
                        let message = "this request id was used for another fleet: take a new one";
                        return Err(refused(Code::RequestIdReused, message));
                    }
                    self.mirror.wait_for(taken.modified).await;
                    return self.fleet(name).await;
                }
                return Err(refused(Code::FleetExists, format!("there is a fleet `{name}` already")));
            }
            let commit = Commit {
                preconditions: vec![Precondition::Absent(key.clone())],
                writes: vec![put(key.clone(), &record), change(by, "fleet.create", name, now)],
            };
            match self.write(commit).await? {
                Tried::Done => return Ok(fleet(&record)),
                Tried::Again(error) => unknown = error,
            }
        }
        Err(Self::given_up(unknown))
    }

    /// A fleet, read from the store.
    pub(crate) async fn fleet(&self, name: &str) -> Result<v1::Fleet, Refusal> {
        let read = self.read_fleet(name).await?;
        let keys = self.read::<store::KeySetRecord>(&StateKey::KeySet(name).path()).await?;
        Ok(v1::Fleet {
            head: read.head.map(|head| head.record),
            divergence: read.divergence.map(|divergence| divergence.record),
            key_set_divergence: read.key_set_divergence.map(|divergence| divergence.record),
            key_set_generation: keys.map_or(0, |keys| keys.record.generation),
            ..fleet(&read.record.record)
        })
    }

    /// What a write to a fleet rests on.
    pub(super) async fn read_fleet(&self, name: &str) -> Result<FleetRead, Refusal> {
        let unknown = || {
            let message =
                format!("there is no fleet `{}`: `kt fleet list` lists what there is", names::shown(name));
            refused(Code::FleetUnknown, message)
        };
        // What can't be a name names nothing, and must not become part of a key.
        names::fleet(name).map_err(|_| unknown())?;
        // The head last: what is read before it is at most older, and the commit compares both.
        let record = self.read(&StateKey::Fleet(name).path()).await?.ok_or_else(unknown)?;
        let divergence = self.read(&StateKey::Divergence(name).path()).await?;
        let key_set_divergence = self.read(&StateKey::KeySetDivergence(name).path()).await?;
        let head = self.read(&StateKey::Head(name).path()).await?;
        Ok(FleetRead { record, head, divergence, key_set_divergence })
    }

    /// The assignments of a fleet, the newest generation first.
    pub(crate) async fn assignments(
        &self,
        request: &v1::ListAssignmentsRequest,
    ) -> Result<v1::ListAssignmentsResponse, Refusal> {
        self.read_fleet(&request.fleet).await?;
        let limit = match request.limit {
            0 => PAGE,
            limit => usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE),
        };
        let all = self.read_all::<v1::Assignment>(&paths::assignments(&request.fleet)).await?;
        let generation = |assignment: &v1::Assignment| {
            let sealed = assignment.assignment.as_ref()?;
            let statement: v1::AssignmentStatement = kt_proto::signed::read(sealed).ok()?;
            Some(statement.generation)
        };
        let is_asked_for = |assignment: &v1::Assignment| {
            request.before_generation == 0
                || generation(assignment).is_some_and(|generation| generation < request.before_generation)
        };
        let newest_first = all.into_iter().rev().map(|stored| stored.record);
        let assignments = newest_first.filter(is_asked_for).take(limit).collect();
        Ok(v1::ListAssignmentsResponse { assignments })
    }
}

/// A fleet that has nothing yet.
fn fleet(record: &store::FleetRecord) -> v1::Fleet {
    v1::Fleet {
        name: record.name.clone(),
        description: record.description.clone(),
        created_by: record.created_by.clone(),
        created_us: record.created_us,
        ..v1::Fleet::default()
    }
}

/// Every fleet of the mirror, by name.
pub(crate) fn list(state: &State) -> Vec<v1::Fleet> {
    let one = |known: &std::sync::Arc<FleetState>| v1::Fleet {
        head: known.head.as_ref().map(|head| head.assignment.clone()),
        divergence: known.divergence.clone(),
        key_set_divergence: known.key_set_divergence.clone(),
        key_set_generation: known.key_set.as_ref().map_or(0, |keys| keys.record.generation),
        ..fleet(&known.record)
    };
    // What was left of a fleet without its record is none.
    state.fleets.values().filter(|fleet| fleet.revisions.record.is_some()).map(one).collect()
}
