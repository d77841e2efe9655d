//! What is kept for how long: retention takes records out, and leaves a tombstone; holds forbid it.

use kt_audit::{
    Digest, Epoch, InstanceId,
    record::Retention,
    sign::{KeyId, Signature, StoreCut, StoreTombstone},
};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::{
    super::{Due, Hold, Who},
    read::natural,
    write::{DAY_US, int},
};

/// That a hold covers the record `r`.
const HELD: &str = "EXISTS (SELECT 1 FROM holds h WHERE
   (h.fleet IS NULL OR h.fleet = (SELECT i.fleet FROM runs u JOIN instances i ON i.no = u.instance_no WHERE u.no = r.run_no))
   AND (h.from_us IS NULL OR r.time_us >= h.from_us) AND (h.to_us IS NULL OR r.time_us < h.to_us)
   AND (h.person IS NULL OR EXISTS (SELECT 1 FROM facts f JOIN pseudonyms p ON p.pseudonym = f.subject
        WHERE f.record = r.id AND p.person = h.person))
   AND (h.subject IS NULL OR EXISTS (SELECT 1 FROM facts f WHERE f.record = r.id AND f.subject = h.subject)))";

/// The next records that may go. See the trait.
pub(super) fn due(
    connection: &Connection,
    now_us: i64,
    least_days: u32,
    taken: Option<u64>,
    limit: u32,
) -> rusqlite::Result<Option<Due>> {
    let newest: Option<i64> =
        connection.query_row("SELECT max(time_us) FROM facts WHERE kind = 2", [], |row| row.get(0))?;
    let Some(newest) = newest else { return Ok(None) };
    let now_us = now_us.min(newest.saturating_add(DAY_US));
    let taken = int(taken.unwrap_or(u64::MAX));
    let newer_than = now_us.saturating_sub(DAY_US.saturating_mul(i64::from(least_days)));
    // The last record of a run says how far it has come: it stays.
    let first: Option<(i64, i64, [u8; 16], Uuid)> = connection
        .prepare_cached(&format!(
            "SELECT r.run_no, r.sequence, u.epoch, i.instance FROM records r JOIN runs u ON u.no = r.run_no
             JOIN instances i ON i.no = u.instance_no
             WHERE r.keep_until_us <= ?1 AND r.time_us <= ?2 AND r.id <= ?3 AND r.sequence < u.sequence
               AND NOT {HELD} ORDER BY r.keep_until_us, r.id LIMIT 1"
        ))?
        .query_row([now_us, newer_than, taken], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, Uuid::from_bytes(row.get(3)?)))
        })
        .optional()?;
    let Some((run, first, epoch, instance)) = first else { return Ok(None) };
    let mut select = connection.prepare_cached(&format!(
        "SELECT r.sequence, r.time_us, r.previous, r.hash, r.keep_days, r.keep_immutable,
           r.keep_until_us <= ?3 AND r.time_us <= ?5 AND r.id <= ?6 AND r.sequence < u.sequence AND NOT {HELD}
         FROM records r JOIN runs u ON u.no = r.run_no
         WHERE r.run_no = ?1 AND r.sequence >= ?2 ORDER BY r.sequence LIMIT ?4"
    ))?;
    let mut rows = select.query(params![run, first, now_us, limit, newer_than, taken])?;
    let mut cut: Option<StoreCut> = None;
    while let Some(row) = rows.next()? {
        let (sequence, is_due): (i64, bool) = (row.get(0)?, row.get(6)?);
        let (sequence, previous) = (natural(sequence), Digest(row.get(2)?));
        let (time_us, hash) = (row.get(1)?, Digest(row.get(3)?));
        let retention = Retention { days: row.get(4)?, immutable: row.get(5)? };
        match &mut cut {
            _ if !is_due => break,
            None => {
                cut = Some(StoreCut {
                    epoch: Epoch(epoch),
                    first: sequence,
                    last: sequence,
                    before: previous,
                    last_hash: hash,
                    records: 1,
                    newest_us: time_us,
                    retention,
                    cut_us: now_us,
                });
            }
            // What does not follow is a gap that retention has not made: it must stay to be seen.
            Some(cut) if sequence != cut.last.saturating_add(1) || previous != cut.last_hash => break,
            Some(cut) => {
                cut.last = sequence;
                cut.last_hash = hash;
                cut.records += 1;
                cut.newest_us = cut.newest_us.max(time_us);
                cut.retention = cut.retention.longest(retention);
            }
        }
    }
    Ok(cut.map(|cut| Due { instance: InstanceId(instance), cut }))
}

/// Takes out what a tombstone says, and keeps the tombstone.
pub(super) fn cut(
    connection: &mut Connection,
    instance: InstanceId,
    tombstone: &StoreTombstone,
) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let cut = &tombstone.cut;
    let run: Option<(i64, i64)> = transaction
        .query_row(
            "SELECT u.no, u.instance_no FROM runs u JOIN instances i ON i.no = u.instance_no
             WHERE i.instance = ?1 AND u.epoch = ?2 AND u.sequence > ?3",
            params![instance.0.as_bytes(), cut.epoch.0, int(cut.last)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((run, instance_no)) = run else { return Ok(false) };
    if !is_as_told(&transaction, run, cut)? {
        return Ok(false);
    }
    transaction.execute(
        "DELETE FROM records WHERE run_no = ?1 AND sequence BETWEEN ?2 AND ?3",
        params![run, int(cut.first), int(cut.last)],
    )?;
    transaction.execute(
        "UPDATE instances SET records = records - ?2 WHERE no = ?1",
        params![instance_no, int(cut.records)],
    )?;
    transaction.execute(
        "INSERT INTO cuts (run_no, first, last, before, last_hash, records, newest_us, keep_days, keep_immutable, cut_us,
           key, signature)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            run,
            int(cut.first),
            int(cut.last),
            cut.before.0,
            cut.last_hash.0,
            int(cut.records),
            cut.newest_us,
            cut.retention.days,
            cut.retention.immutable,
            cut.cut_us,
            tombstone.key.0,
            tombstone.signature.0
        ],
    )?;
    transaction.commit()?;
    Ok(true)
}

/// Whether the records are still there, and no hold came meanwhile.
fn is_as_told(transaction: &Transaction<'_>, run: i64, cut: &StoreCut) -> rusqlite::Result<bool> {
    let (count, held): (i64, i64) = transaction.query_row(
        &format!(
            "SELECT count(*), coalesce(sum({HELD}), 0) FROM records r WHERE r.run_no = ?1 AND r.sequence BETWEEN ?2 AND ?3"
        ),
        params![run, int(cut.first), int(cut.last)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(natural(count) == cut.records && held == 0)
}

pub(super) fn tombstones(
    connection: &Connection,
    instance: InstanceId,
) -> rusqlite::Result<Vec<StoreTombstone>> {
    connection
        .prepare_cached(
            "SELECT u.epoch, c.first, c.last, c.before, c.last_hash, c.records, c.newest_us, c.keep_days, c.keep_immutable,
               c.cut_us, c.key, c.signature
             FROM cuts c JOIN runs u ON u.no = c.run_no JOIN instances i ON i.no = u.instance_no
             WHERE i.instance = ?1 ORDER BY c.cut_us, u.ordinal, u.no, c.first",
        )?
        .query_map([instance.0.as_bytes()], |row| {
            let cut = StoreCut {
                epoch: Epoch(row.get(0)?),
                first: natural(row.get(1)?),
                last: natural(row.get(2)?),
                before: Digest(row.get(3)?),
                last_hash: Digest(row.get(4)?),
                records: natural(row.get(5)?),
                newest_us: row.get(6)?,
                retention: Retention { days: row.get(7)?, immutable: row.get(8)? },
                cut_us: row.get(9)?,
            };
            Ok(StoreTombstone { cut, key: KeyId(row.get(10)?), signature: Signature(row.get(11)?) })
        })?
        .collect()
}

pub(super) fn put_hold(connection: &mut Connection, hold: &Hold) -> rusqlite::Result<()> {
    let person = hold.who.and_then(|who| if let Who::Person(person) = who { Some(person) } else { None });
    let subject = hold.who.and_then(|who| if let Who::Behind(subject) = who { Some(subject) } else { None });
    connection.execute(
        "INSERT OR IGNORE INTO holds (id, person, subject, fleet, from_us, to_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            hold.id.as_bytes(),
            person.map(kt_audit::Pseudonym::to_bytes),
            subject.map(kt_audit::Pseudonym::to_bytes),
            hold.fleet.as_deref(),
            hold.from_us,
            hold.to_us
        ],
    )?;
    Ok(())
}

pub(super) fn release_hold(connection: &mut Connection, id: Uuid) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM holds WHERE id = ?1", [id.as_bytes()])?;
    Ok(())
}

/// The holds that cover a person: those of theirs, and those over a record of theirs.
pub(super) fn held(transaction: &Transaction<'_>, person: &[u8; 16]) -> rusqlite::Result<Vec<Uuid>> {
    transaction
        .prepare(
            "SELECT h.id FROM holds h WHERE h.person = ?1
               OR h.subject IN (SELECT pseudonym FROM pseudonyms WHERE person = ?1)
               OR (h.person IS NULL AND h.subject IS NULL AND EXISTS (
                 SELECT 1 FROM pseudonyms p JOIN facts f ON f.subject = p.pseudonym JOIN runs u ON u.no = f.run_no
                 JOIN instances i ON i.no = u.instance_no
                 WHERE p.person = ?1 AND (h.fleet IS NULL OR h.fleet = i.fleet)
                   AND (h.from_us IS NULL OR f.time_us >= h.from_us) AND (h.to_us IS NULL OR f.time_us < h.to_us)))
             ORDER BY h.id",
        )?
        .query_map([person], |row| Ok(Uuid::from_bytes(row.get(0)?)))?
        .collect()
}
