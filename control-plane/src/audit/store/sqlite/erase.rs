//! Erasing a person: the name, its key, and the bytes that both have left behind.

use kt_audit::{InstanceId, Pseudonym};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::{
    super::{Erased, Erasing, Erasure, ToErase, Who},
    keep,
};

/// What came of an erasure.
pub(super) enum Outcome {
    /// As the trait says; where it is done, the bytes are overwritten.
    Ended(Erasing),
    /// The name is gone from every table, but its bytes may still be in the log: a reader was in the way.
    LeftInLog,
}

pub(super) fn erase(connection: &mut Connection, erasure: &Erasure) -> rusqlite::Result<Outcome> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(person) = person(&transaction, erasure.who)? else {
        return Ok(Outcome::Ended(Erasing::Unknown));
    };
    let held = keep::held(&transaction, &person)?;
    if !held.is_empty() && !erasure.is_repeat && !is_erased(&transaction, &person)? {
        return Ok(Outcome::Ended(Erasing::Held(held)));
    }
    destroy(&transaction, erasure, &person)?;
    let erased = outcome(&transaction, erasure.id, &person)?;
    transaction.commit()?;
    // `secure_delete` has overwritten the pages; the log still has them as they were. A repeat does it again.
    let is_busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(if is_busy { Outcome::LeftInLog } else { Outcome::Ended(Erasing::Done(erased)) })
}

fn person(transaction: &Transaction<'_>, who: Who) -> rusqlite::Result<Option<[u8; 16]>> {
    match who {
        Who::Person(person) => Ok(Some(person.to_bytes())),
        Who::Behind(pseudonym) => transaction
            .query_row(
                "SELECT person FROM pseudonyms WHERE pseudonym = ?1 LIMIT 1",
                [pseudonym.to_bytes()],
                |row| row.get(0),
            )
            .optional(),
    }
}

fn is_erased(transaction: &Transaction<'_>, person: &[u8; 16]) -> rusqlite::Result<bool> {
    transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM persons WHERE person = ?1 AND erased_us IS NOT NULL)",
        [person],
        |row| row.get(0),
    )
}

/// Whoever is erased already keeps their first erasure.
fn destroy(transaction: &Transaction<'_>, erasure: &Erasure, person: &[u8; 16]) -> rusqlite::Result<()> {
    let unsealed = transaction.execute("DELETE FROM person_keys WHERE person = ?1", [person])?;
    transaction.execute(
        "INSERT INTO persons (person, sealed, erased_us, erasure, reference, unsealed) VALUES (?1, '', ?2, ?3, ?4, ?5)
         ON CONFLICT (person) DO UPDATE SET sealed = '', erased_us = ?2, erasure = ?3, reference = ?4, unsealed = ?5
         WHERE erased_us IS NULL",
        params![
            person,
            erasure.now_us,
            erasure.id.as_bytes(),
            &*erasure.reference,
            i64::try_from(unsealed).unwrap_or(i64::MAX)
        ],
    )?;
    Ok(())
}

fn outcome(transaction: &Transaction<'_>, id: Uuid, person: &[u8; 16]) -> rusqlite::Result<Erased> {
    let pseudonyms = transaction
        .prepare("SELECT DISTINCT pseudonym FROM pseudonyms WHERE person = ?1 ORDER BY pseudonym")?
        .query_map([person], |row| Ok(Pseudonym::from_bytes(row.get(0)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let sealed: Option<i64> = transaction
        .query_row(
            "SELECT unsealed FROM persons WHERE person = ?1 AND erasure = ?2",
            params![person, id.as_bytes()],
            |row| row.get(0),
        )
        .optional()?;
    let pending: i64 = transaction.query_row(
        "SELECT count(DISTINCT a.instance_no) FROM pseudonyms a
         LEFT JOIN erased_by e ON e.instance_no = a.instance_no AND e.pseudonym = a.pseudonym
         WHERE a.person = ?1 AND e.pseudonym IS NULL",
        [person],
        |row| row.get(0),
    )?;
    let natural = |number: i64| u64::try_from(number).unwrap_or(0);
    let person = Some(Pseudonym::from_bytes(*person));
    Ok(Erased { person, pseudonyms, sealed: natural(sealed.unwrap_or(0)), pending: natural(pending) })
}

pub(super) fn erasures(connection: &Connection, instance: InstanceId) -> rusqlite::Result<Vec<ToErase>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT p.erasure, a.pseudonym, p.reference FROM pseudonyms a
             JOIN persons p ON p.person = a.person JOIN instances i ON i.no = a.instance_no
             WHERE i.instance = ?1 AND p.erased_us IS NOT NULL ORDER BY p.erased_us, a.pseudonym",
        )?
        .query_map([instance.0.as_bytes()], |row| {
            let reference: String = row.get(2)?;
            Ok(ToErase {
                id: Uuid::from_bytes(row.get(0)?),
                pseudonym: Pseudonym::from_bytes(row.get(1)?),
                reference: reference.into(),
            })
        })?
        .collect()
}

pub(super) fn put_erased(
    connection: &Connection,
    instance: InstanceId,
    pseudonym: Pseudonym,
    now_us: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO erased_by (instance_no, pseudonym, erased_us)
             SELECT no, ?2, ?3 FROM instances WHERE instance = ?1",
        )?
        .execute(params![instance.0.as_bytes(), pseudonym.to_bytes(), now_us])?;
    Ok(())
}
