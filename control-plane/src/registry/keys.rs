//! Key sets: the gateway keys of a fleet, as hashes. Written whole, by compare-and-swap.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kt_proto::{
    refusal::{Code, Refusal},
    signed,
    store::v1 as store,
    v1,
};

use super::{By, Registry, Stored, Tried, as_read, change, errors::refused, names, put};
use crate::{
    paths::{self, StateKey},
    state::State,
    store::{Commit, MAX_VALUE_BYTES, Precondition, Write},
};

/// Key sets that are kept of each fleet.
const HISTORY: u64 = 100;
/// Four fifths of what a store takes, so that a set never becomes one that can't be written any more.
const MAX_KEY_SET_BYTES: usize = MAX_VALUE_BYTES / 5 * 4;
const MAX_ROLES: usize = 64;

/// What a caller asks for, read.
struct Asked<'a> {
    fleet: &'a str,
    expected: u64,
    record: store::KeySetRecord,
    keys: usize,
    is_recovery: bool,
}

impl Registry {
    /// The key set of a fleet, read from the store.
    pub(crate) async fn key_set(&self, state: &State, fleet: &str) -> Result<v1::GetKeySetResponse, Refusal> {
        self.read_fleet(fleet).await?;
        let stored = self.read::<store::KeySetRecord>(&StateKey::KeySet(fleet).path()).await?;
        let last_used_us = state.fleet(fleet).map(|fleet| fleet.key_use.clone()).unwrap_or_default();
        Ok(v1::GetKeySetResponse { key_set: stored.and_then(|stored| stored.record.key_set), last_used_us })
    }

    /// Replaces the key set of a fleet.
    pub(crate) async fn put_key_set(
        &self,
        actor: &str,
        request: &v1::PutKeySetRequest,
    ) -> Result<v1::PutKeySetResponse, Refusal> {
        let result = self.try_put_key_set(By { actor, reason: &request.reason }, request).await;
        self.count(action(request.is_recovery), &result, |response| response.is_unchanged);
        result
    }

    async fn try_put_key_set(
        &self,
        by: By<'_>,
        request: &v1::PutKeySetRequest,
    ) -> Result<v1::PutKeySetResponse, Refusal> {
        let asked = self.asked_keys(by, request)?;
        let generation = asked.record.generation;
        let key = StateKey::KeySet(asked.fleet).path();
        let mut unknown = None;
        for _ in 0..super::TRIES {
            let fleet = self.read_fleet(asked.fleet).await?;
            let stored = self.read::<store::KeySetRecord>(&key).await?;
            let past = self.read::<store::KeySetRecord>(&paths::key_set(asked.fleet, generation)).await?;
            if let Some(known) = [stored.as_ref(), past.as_ref()]
                .into_iter()
                .flatten()
                .find(|known| known.record.request_id == asked.record.request_id)
            {
                self.mirror.wait_for(known.modified).await;
                return done_before(&asked, known);
            }
            fits(&asked, stored.as_ref(), fleet.key_set_divergence.as_ref())?;
            let history = paths::key_set(asked.fleet, generation);
            let subject = format!("{} generation {generation}: {} keys", asked.fleet, asked.keys);
            let mut writes = vec![
                put(key.clone(), &asked.record),
                put(history.clone(), &asked.record),
                change(by, action(asked.is_recovery), &subject, Timestamp::now()),
            ];
            let diverged = StateKey::KeySetDivergence(asked.fleet).path();
            if fleet.key_set_divergence.is_some() {
                writes.push(Write::Delete(diverged.clone()));
            }
            if let Some(oldest) = generation.checked_sub(HISTORY) {
                writes.push(Write::Delete(paths::key_set(asked.fleet, oldest)));
            }
            let preconditions = vec![
                as_read(key.clone(), stored.as_ref()),
                as_read(StateKey::Fleet(asked.fleet).path(), Some(&fleet.record)),
                as_read(diverged, fleet.key_set_divergence.as_ref()),
                Precondition::Absent(history),
            ];
            match self.write(Commit { preconditions, writes }).await? {
                Tried::Done => {
                    tracing::info!(
                        fleet = asked.fleet,
                        generation,
                        keys = asked.keys,
                        actor = by.actor,
                        "Key set was replaced."
                    );
                    return Ok(v1::PutKeySetResponse { generation, is_unchanged: false });
                }
                Tried::Again(error) => unknown = error,
            }
        }
        Err(Self::given_up(unknown))
    }

    fn asked_keys<'a>(&self, by: By<'_>, request: &'a v1::PutKeySetRequest) -> Result<Asked<'a>, Refusal> {
        names::words("reason", by.reason)?;
        let request_id = names::request_id(&request.request_id)?;
        let sealed = request.key_set.clone().unwrap_or_default();
        if sealed.statement.len() > MAX_KEY_SET_BYTES {
            let message = format!(
                "the key set has {} bytes; {MAX_KEY_SET_BYTES} are the most: remove expired keys, or split the fleet",
                sealed.statement.len()
            );
            return Err(invalid(message));
        }
        let statement: v1::KeySetStatement = self.sealed(&sealed)?;
        if statement.fleet != request.fleet {
            let message = format!(
                "the key set is for the fleet `{}`, not for `{}`",
                names::shown(&statement.fleet),
                names::shown(&request.fleet)
            );
            return Err(refused(Code::StatementInvalid, message));
        }
        makes_sense(&statement.keys)?;
        let record = store::KeySetRecord {
            key_set: Some(sealed),
            generation: statement.generation,
            changed_by: by.actor.to_owned(),
            changed_us: Timestamp::now().as_microsecond(),
            reason: by.reason.to_owned(),
            request_id,
        };
        let keys = statement.keys.len();
        let (fleet, expected, is_recovery) =
            (&request.fleet, request.expected_generation, request.is_recovery);
        Ok(Asked { fleet, expected, record, keys, is_recovery })
    }
}

fn action(is_recovery: bool) -> &'static str {
    if is_recovery { "key-set.recover" } else { "key-set.put" }
}

/// Whether the set follows the one that is stored, and what gateways have shown.
fn fits(
    asked: &Asked<'_>,
    stored: Option<&Stored<store::KeySetRecord>>,
    divergence: Option<&Stored<v1::Divergence>>,
) -> Result<(), Refusal> {
    let current = stored.map_or(0, |stored| stored.record.generation);
    let seen = divergence.map_or(0, |divergence| divergence.record.seen_generation);
    if divergence.is_some() != asked.is_recovery {
        if asked.is_recovery {
            let message = format!(
                "the key set of `{}` has not diverged: there is nothing to recover from; change it instead",
                asked.fleet
            );
            return Err(refused(Code::StatementInvalid, message));
        }
        let message = format!(
            "a gateway has shown generation {seen} of the key set of `{}` and the store has {current}: it is not \
             changed until `kt fleet recover {}`",
            asked.fleet, asked.fleet
        );
        return Err(refused(Code::FleetDiverged, message));
    }
    if asked.expected != current {
        let message = format!(
            "the key set of `{}` is generation {current}, not {}: read it again and make the next one from it",
            asked.fleet, asked.expected
        );
        return Err(refused(Code::GenerationConflict, message));
    }
    // It may leave numbers out: who makes it may have seen more than this replica.
    let highest = current.max(seen);
    if asked.record.generation <= highest {
        let message = format!(
            "the key set is of generation {}; {highest} was there already, and generations only grow",
            asked.record.generation
        );
        return Err(refused(Code::StatementInvalid, message));
    }
    Ok(())
}

fn done_before(
    asked: &Asked<'_>,
    known: &Stored<store::KeySetRecord>,
) -> Result<v1::PutKeySetResponse, Refusal> {
    let digest = |record: &store::KeySetRecord| record.key_set.as_ref().map(signed::digest);
    if digest(&known.record) == digest(&asked.record) {
        return Ok(v1::PutKeySetResponse { generation: known.record.generation, is_unchanged: true });
    }
    Err(refused(Code::RequestIdReused, "this request id was used for another key set: take a new one"))
}

/// Whether every key is one, and no two are the same.
fn makes_sense(keys: &[v1::GatewayKey]) -> Result<(), Refusal> {
    let (mut ids, mut hashes) = (BTreeSet::new(), BTreeSet::new());
    for (at, key) in keys.iter().enumerate() {
        let place = at + 1;
        let is_id = (1..=64).contains(&key.id.len())
            && key.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !is_id {
            let message = format!(
                "key {place} has the id `{}`: use 1 to 64 letters, digits, `-`, `_` or `.`",
                names::shown(&key.id)
            );
            return Err(invalid(message));
        }
        let id = &key.id;
        if !ids.insert(id) {
            return Err(invalid(format!("two keys have the id `{id}`: ids are unique in a fleet")));
        }
        if key.sha256.len() != 32 {
            let message = format!("the hash of key `{id}` has {} bytes; a SHA-256 has 32", key.sha256.len());
            return Err(invalid(message));
        }
        if !hashes.insert(&key.sha256) {
            return Err(invalid(format!("key `{id}` is the same as another one: make a new key")));
        }
        let labels = [&key.user, &key.team, &key.cost_center].into_iter().flatten();
        if let Some(label) = labels.chain(&key.roles).find(|label| !names::is_label(label)) {
            let message = format!(
                "key `{id}` holds `{}`: use 1 to 128 characters, without spaces at the ends",
                names::shown(label)
            );
            return Err(invalid(message));
        }
        let roles: BTreeSet<_> = key.roles.iter().collect();
        if roles.len() != key.roles.len() || roles.len() > MAX_ROLES {
            return Err(invalid(format!("key `{id}` names a role twice, or more than {MAX_ROLES} roles")));
        }
        if key.expires_us < 0 || key.rotated_from.as_ref() == Some(id) {
            return Err(invalid(format!("key `{id}` expires before 1970, or replaces itself")));
        }
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> Refusal {
    refused(Code::KeySetInvalid, message)
}
