//! What stands in the file, and how a commit changes it.

use bytes::Bytes;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, WriteTransaction};

use crate::store::{Change, Commit, Committed, Entry, Precondition, Revision, Write};

/// The format of the file; grows when an older build could not read it.
pub(super) const FORMAT: u64 = 1;

/// Key to (revision that wrote it, value).
pub(super) const VALUES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("kt-values");
/// The keys whose values go away at the next start.
pub(super) const EPHEMERAL: TableDefinition<'_, &str, ()> = TableDefinition::new("kt-ephemeral");
/// `format` and `revision`.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("kt-numbers");
/// `epoch`.
pub(super) const TEXTS: TableDefinition<'_, &str, &str> = TableDefinition::new("kt-texts");

/// The first revision; 0 means "before everything" to a watcher.
pub(super) const FIRST: Revision = 1;

/// A commit inside a transaction that is not on the disk yet.
pub(super) struct Staged {
    pub(super) revision: Revision,
    pub(super) outcome: Committed,
    pub(super) changes: Vec<Change>,
}

/// Does commits one after the other, each with a revision of its own, in one transaction that is not committed.
pub(super) fn stage(
    database: &Database,
    commits: &[Commit],
) -> Result<(WriteTransaction, Vec<Staged>), redb::Error> {
    // Durability is `Immediate` unless it is set otherwise: `commit` returns when the data is on the disk.
    let transaction = database.begin_write()?;
    let mut all = Vec::with_capacity(commits.len());
    {
        let mut tables = Tables::open(&transaction)?;
        let before = tables.revision()?;
        let mut revision = before;
        for commit in commits {
            let staged = tables.stage(commit, revision)?;
            revision = staged.revision;
            all.push(staged);
        }
        if revision != before {
            tables.numbers.insert("revision", revision)?;
        }
    }
    Ok((transaction, all))
}

/// The tables in a transaction.
pub(super) struct Tables<'t> {
    values: Table<'t, &'static str, (u64, &'static [u8])>,
    ephemeral: Table<'t, &'static str, ()>,
    pub(super) numbers: Table<'t, &'static str, u64>,
}

// === impl Tables ===

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            values: transaction.open_table(VALUES)?,
            ephemeral: transaction.open_table(EPHEMERAL)?,
            numbers: transaction.open_table(NUMBERS)?,
        })
    }

    pub(super) fn revision(&self) -> Result<Revision, redb::Error> {
        Ok(self.numbers.get("revision")?.map_or(FIRST, |revision| revision.value()))
    }

    fn stage(&mut self, commit: &Commit, before: Revision) -> Result<Staged, redb::Error> {
        for precondition in &commit.preconditions {
            let modified = self.values.get(precondition.key())?.map(|value| value.value().0);
            let holds = match precondition {
                Precondition::Absent(_) => modified.is_none(),
                Precondition::Unchanged(_, revision) => modified == Some(*revision),
            };
            if !holds {
                return Ok(Staged { revision: before, outcome: Committed::Conflict, changes: Vec::new() });
            }
        }
        let mut changes = Vec::with_capacity(commit.writes.len());
        let modified = before + 1;
        for write in &commit.writes {
            match write {
                Write::Put(key, value) => {
                    self.ephemeral.remove(key.as_str())?;
                    changes.push(self.put(key, value, modified)?);
                }
                Write::PutEphemeral(key, value) => {
                    self.ephemeral.insert(key.as_str(), ())?;
                    changes.push(self.put(key, value, modified)?);
                }
                Write::Delete(key) => {
                    self.ephemeral.remove(key.as_str())?;
                    if self.values.remove(key.as_str())?.is_some() {
                        changes.push(Change::Delete { key: key.as_str().into(), modified });
                    }
                }
            }
        }
        let revision = if changes.is_empty() { before } else { modified };
        Ok(Staged { revision, outcome: Committed::Done(revision), changes })
    }

    fn put(&mut self, key: &str, value: &Bytes, modified: Revision) -> Result<Change, redb::Error> {
        self.values.insert(key, (modified, value.as_ref()))?;
        Ok(Change::Put(Entry { key: key.into(), value: value.clone(), modified }))
    }

    /// Drops what the processes before this one left for their lifetime.
    pub(super) fn drop_ephemeral(&mut self) -> Result<(), redb::Error> {
        let mut keys = Vec::new();
        for item in self.ephemeral.iter()? {
            keys.push(item?.0.value().to_owned());
        }
        let mut dropped = false;
        for key in &keys {
            self.ephemeral.remove(key.as_str())?;
            dropped |= self.values.remove(key.as_str())?.is_some();
        }
        if dropped {
            let revision = self.revision()?;
            self.numbers.insert("revision", revision + 1)?;
        }
        Ok(())
    }
}

// === Reading ===

pub(super) fn read_prefix(database: &Database, prefix: &str) -> Result<Vec<Entry>, redb::Error> {
    let table = database.begin_read()?.open_table(VALUES)?;
    let mut entries = Vec::new();
    for item in table.range(prefix..)? {
        let (key, value) = item?;
        if !key.value().starts_with(prefix) {
            break;
        }
        entries.push(entry(key.value(), value.value()));
    }
    Ok(entries)
}

pub(super) fn read_key(database: &Database, key: &str) -> Result<Option<Entry>, redb::Error> {
    let table = database.begin_read()?.open_table(VALUES)?;
    Ok(table.get(key)?.map(|value| entry(key, value.value())))
}

fn entry(key: &str, (modified, value): (u64, &[u8])) -> Entry {
    Entry { key: key.into(), value: Bytes::copy_from_slice(value), modified }
}
