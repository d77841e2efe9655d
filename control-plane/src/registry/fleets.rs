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
}

impl Registry {
    /// Makes a fleet.
    pub(crate) async fn create_fleet(
        &self,
        actor: &str,
        name: &str,
        description: &str,
    ) -> Result<v1::Fleet, Refusal> {
        let result = self.try_create_fleet(By { actor, reason: "" }, name, description).await;
        self.count("fleet.create", &result, |_| false);
        result
    }

    async fn try_create_fleet(
        &self,
        by: By<'_>,
        name: &str,
        description: &str,
    ) -> Result<v1::Fleet, Refusal> {
        names::fleet(name)?;
        names::words("description", description)?;
        let now = Timestamp::now();
        let key = StateKey::Fleet(name).path();
        let record = store::FleetRecord {
            name: name.to_owned(),
            description: description.to_owned(),
            created_by: by.actor.to_owned(),
            created_us: now.as_microsecond(),
        };
        let mut unknown = None;
        for _ in 0..super::TRIES {
            if let Some(taken) = self.read::<store::FleetRecord>(&key).await? {
                // A try of ours whose outcome was not known.
                if taken.record == record {
                    self.mirror.wait_for(taken.modified).await;
                    return Ok(fleet(name, &taken.record, None, None, 0));
                }
                return Err(refused(Code::FleetExists, format!("there is a fleet `{name}` already")));
            }
            let commit = Commit {
                preconditions: vec![Precondition::Absent(key.clone())],
                writes: vec![put(key.clone(), &record), change(by, "fleet.create", name, now)],
            };
            match self.write(commit).await? {
                Tried::Done => return Ok(fleet(name, &record, None, None, 0)),
                Tried::Again(error) => unknown = error,
            }
        }
        Err(Self::given_up(unknown))
    }

    /// A fleet, read from the store.
    pub(crate) async fn fleet(&self, name: &str) -> Result<v1::Fleet, Refusal> {
        let read = self.read_fleet(name).await?;
        let keys = self.read::<store::KeySetRecord>(&StateKey::KeySet(name).path()).await?;
        Ok(fleet(
            name,
            &read.record.record,
            read.head.map(|head| head.record),
            read.divergence.map(|divergence| divergence.record),
            keys.map_or(0, |keys| keys.record.generation),
        ))
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
        let head = self.read(&StateKey::Head(name).path()).await?;
        Ok(FleetRead { record, head, divergence })
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

fn fleet(
    name: &str,
    record: &store::FleetRecord,
    head: Option<v1::Assignment>,
    divergence: Option<v1::Divergence>,
    key_set_generation: u64,
) -> v1::Fleet {
    v1::Fleet {
        name: name.to_owned(),
        description: record.description.clone(),
        created_by: record.created_by.clone(),
        created_us: record.created_us,
        head,
        key_set_generation,
        divergence,
    }
}

/// Every fleet of the mirror, by name.
pub(crate) fn list(state: &State) -> Vec<v1::Fleet> {
    let one = |(name, known): (&std::sync::Arc<str>, &std::sync::Arc<FleetState>)| {
        let head = known.head.as_ref().map(|head| head.assignment.clone());
        let keys = known.key_set.as_ref().map_or(0, |keys| keys.record.generation);
        fleet(name, &known.record, head, known.divergence.clone(), keys)
    };
    // What was left of a fleet without its record is none.
    state.fleets.iter().filter(|(_, fleet)| fleet.revisions.record.is_some()).map(one).collect()
}
