//! Who was erased and what is held, kept apart from the audit records: in the store of the packs.
//!
//! The store of audit records is a file or a database that an operator may put back from a backup. Names that were erased
//! since would be back with it, and holds would be gone. So both are written here too, and each start tells the store again.

use std::sync::Arc;

use jiff::Timestamp;
use kt_audit::Pseudonym;
use kt_proto::{store::v1 as store, v1};
use prost::Message as _;
use uuid::Uuid;

use super::store::{AuditStore, AuditStoreError, Erasing, Erasure, Hold, Who};
use crate::{
    paths,
    store::{Commit, Committed, Precondition, Store, StoreError, Write},
};

/// Why the ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store of the packs.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store of the audit records.
    #[error(transparent)]
    Audit(#[from] AuditStoreError),
}

/// The ledger; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<dyn Store>);

impl Ledger {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Notes that a person was erased; again changes nothing.
    pub(crate) async fn erased(
        &self,
        id: Uuid,
        person: Pseudonym,
        reference: &str,
        now_us: i64,
    ) -> Result<(), StoreError> {
        let record = store::ErasureRecord {
            person: person.to_bytes().to_vec(),
            reference: reference.to_owned(),
            erased_us: now_us,
        };
        let key = format!("{}{id}", paths::ERASURES);
        let commit = Commit {
            preconditions: vec![Precondition::Absent(key.clone())],
            writes: vec![Write::Put(key, record.encode_to_vec().into())],
        };
        self.0.commit(commit).await.map(drop)
    }

    /// Keeps a hold, and returns what is kept: the first one of this id.
    pub(crate) async fn hold(&self, hold: v1::AuditHold) -> Result<v1::AuditHold, StoreError> {
        let key = format!("{}{}", paths::HOLDS, hold.id);
        let commit = Commit {
            preconditions: vec![Precondition::Absent(key.clone())],
            writes: vec![Write::Put(key.clone(), hold.encode_to_vec().into())],
        };
        match self.0.commit(commit).await? {
            Committed::Done(_) => Ok(hold),
            Committed::Conflict => Ok(self.find(&key).await?.map_or(hold, |(kept, _)| kept)),
        }
    }

    /// Marks a hold as released; none: there is none of this id. One that was released before stays as it is.
    pub(crate) async fn release(
        &self,
        id: Uuid,
        by: &str,
        reason: &str,
        now_us: i64,
    ) -> Result<Option<v1::AuditHold>, StoreError> {
        let key = format!("{}{id}", paths::HOLDS);
        loop {
            let Some((mut hold, modified)) = self.find(&key).await? else { return Ok(None) };
            if hold.released_us != 0 {
                return Ok(Some(hold));
            }
            by.clone_into(&mut hold.released_by);
            reason.clone_into(&mut hold.release_reason);
            hold.released_us = now_us;
            let commit = Commit {
                preconditions: vec![Precondition::Unchanged(key.clone(), modified)],
                writes: vec![Write::Put(key.clone(), hold.encode_to_vec().into())],
            };
            if let Committed::Done(_) = self.0.commit(commit).await? {
                return Ok(Some(hold));
            }
        }
    }

    /// Every hold, the oldest first.
    pub(crate) async fn holds(&self) -> Result<Vec<v1::AuditHold>, StoreError> {
        let entries = self.0.load(paths::HOLDS).await?.entries;
        let mut holds: Vec<v1::AuditHold> =
            entries.into_iter().filter_map(|entry| v1::AuditHold::decode(entry.value).ok()).collect();
        holds.sort_by(|a, b| (a.created_us, &a.id).cmp(&(b.created_us, &b.id)));
        Ok(holds)
    }

    async fn find(&self, key: &str) -> Result<Option<(v1::AuditHold, u64)>, StoreError> {
        let Some(entry) = self.0.get(key).await? else { return Ok(None) };
        let hold = v1::AuditHold::decode(entry.value)
            .map_err(|_| StoreError::Corrupt(format!("`{key}` holds no hold")))?;
        Ok(Some((hold, entry.modified)))
    }

    /// Tells the store of audit records what it may have forgotten. What it knows already changes nothing.
    pub(crate) async fn repeat(&self, records: &dyn AuditStore) -> Result<(), LedgerError> {
        for hold in self.holds().await? {
            let (Some(kept), Ok(id)) = (stored(&hold), Uuid::try_parse(&hold.id)) else { continue };
            if hold.released_us == 0 {
                records.put_hold(kept).await?;
            } else {
                records.release_hold(id).await?;
            }
        }
        let now_us = Timestamp::now().as_microsecond();
        for entry in self.0.load(paths::ERASURES).await?.entries {
            let id = entry.key.strip_prefix(paths::ERASURES).and_then(|id| Uuid::try_parse(id).ok());
            let record = store::ErasureRecord::decode(entry.value).ok();
            let person = |record: &store::ErasureRecord| <[u8; 16]>::try_from(record.person.as_slice()).ok();
            let (Some(id), Some((record, person))) =
                (id, record.and_then(|record| person(&record).map(|person| (record, person))))
            else {
                // What can't be read must not keep the others from being erased.
                tracing::error!(key = &*entry.key, "Erasure in the ledger can't be read.");
                continue;
            };
            let erasure = Erasure {
                id,
                who: Who::Person(Pseudonym::from_bytes(person)),
                reference: record.reference.as_str().into(),
                now_us,
                is_repeat: true,
            };
            if let Erasing::Done(erased) = records.erase(erasure).await?
                && erased.sealed > 0
                && record.erased_us < now_us
            {
                tracing::debug!(erasure = %id, "Person is erased.");
            }
        }
        Ok(())
    }
}

/// A hold as the store of audit records has it; none: it is not readable.
pub(crate) fn stored(hold: &v1::AuditHold) -> Option<Hold> {
    let bytes = |field: &[u8]| <[u8; 16]>::try_from(field).ok().map(Pseudonym::from_bytes);
    let who = match (hold.person.as_slice(), hold.pseudonym.as_slice()) {
        ([], []) => None,
        ([], pseudonym) => Some(Who::Behind(bytes(pseudonym)?)),
        (person, _) => Some(Who::Person(bytes(person)?)),
    };
    Some(Hold {
        id: Uuid::try_parse(&hold.id).ok()?,
        who,
        fleet: (!hold.fleet.is_empty()).then(|| hold.fleet.as_str().into()),
        from_us: (hold.from_us != 0).then_some(hold.from_us),
        to_us: (hold.to_us != 0).then_some(hold.to_us),
    })
}
