//! What is kept for how long: retention takes records out, and leaves a tombstone; holds forbid it.

use kt_audit::{
    Digest, Epoch, InstanceId,
    sign::{KeyId, Signature, StoreCut, StoreTombstone},
};
use uuid::Uuid;

use super::{
    super::{Due, Hold, Who},
    codes::{int, text},
    link::{Fault, Link, Writing},
    read::{fixed, number, retention},
    schema::DAY_US,
    write::bytes,
};

/// That a hold covers the record `r` of the instance `i`.
macro_rules! held {
    () => {
        "EXISTS (SELECT 1 FROM holds h WHERE (h.fleet IS NULL OR h.fleet = i.fleet)
           AND (h.from_us IS NULL OR r.time_us >= h.from_us) AND (h.to_us IS NULL OR r.time_us < h.to_us)
           AND (h.person IS NULL OR EXISTS (SELECT 1 FROM facts f JOIN pseudonyms p ON p.pseudonym = f.subject
                WHERE f.record = r.id AND f.stored_us = r.stored_us AND p.person = h.person))
           AND (h.subject IS NULL OR EXISTS (SELECT 1 FROM facts f
                WHERE f.record = r.id AND f.stored_us = r.stored_us AND f.subject = h.subject)))"
    };
}

/// Of several lines, with the above in one place or two.
macro_rules! with_held {
    ($before:literal, $after:literal) => {
        concat!($before, held!(), $after)
    };
}

/// The next records that may go. See the trait.
pub(super) async fn due(
    link: &mut Link,
    now_us: i64,
    least_days: u32,
    taken: Option<u64>,
    limit: u32,
) -> Result<Option<Due>, Fault> {
    let mut asking = link.asking();
    let newest = asking.query_one("SELECT max(time_us) FROM facts WHERE kind = 2", &[]).await?;
    let Some(newest) = newest.try_get::<_, Option<i64>>(0)? else { return Ok(None) };
    let now_us = now_us.min(newest.saturating_add(DAY_US));
    let taken = int(taken.unwrap_or(u64::MAX));
    let newer_than = now_us.saturating_sub(DAY_US.saturating_mul(i64::from(least_days)));
    // The last record of a run says how far it has come: it stays.
    let first = asking
        .query_opt(
            with_held!(
                "SELECT r.run_no, r.sequence, u.epoch, i.instance FROM records r JOIN runs u ON u.no = r.run_no
                 JOIN instances i ON i.no = u.instance_no
                 WHERE r.keep_until_us <= $1 AND r.time_us <= $2 AND r.id <= $3 AND r.sequence < u.sequence
                   AND NOT ",
                " ORDER BY r.keep_until_us, r.id LIMIT 1"
            ),
            &[&now_us, &newer_than, &taken],
        )
        .await?;
    let Some(first) = first else { return Ok(None) };
    let (run, sequence): (i64, i64) = (first.try_get(0)?, first.try_get(1)?);
    let (epoch, instance) = (Epoch(fixed(&first, 2)?), InstanceId(first.try_get(3)?));
    let rows = asking
        .query(
            with_held!(
                "SELECT r.sequence, r.time_us, r.previous, r.hash, r.keep_days, r.keep_immutable,
                   r.keep_until_us <= $3 AND r.time_us <= $5 AND r.id <= $6 AND r.sequence < u.sequence AND NOT ",
                " FROM records r JOIN runs u ON u.no = r.run_no JOIN instances i ON i.no = u.instance_no
                 WHERE r.run_no = $1 AND r.sequence >= $2 ORDER BY r.sequence LIMIT $4"
            ),
            &[&run, &sequence, &now_us, &i64::from(limit), &newer_than, &taken],
        )
        .await?;
    let mut cut: Option<StoreCut> = None;
    for row in &rows {
        let (sequence, time_us) = (number(row, 0)?, row.try_get(1)?);
        let (previous, hash) = (Digest(fixed(row, 2)?), Digest(fixed(row, 3)?));
        let retention = retention(row, 4)?;
        match &mut cut {
            _ if !row.try_get::<_, bool>(6)? => break,
            None => {
                cut = Some(StoreCut {
                    epoch,
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
    Ok(cut.map(|cut| Due { instance, cut }))
}

/// Takes out what a tombstone says, and keeps the tombstone. Where two replicas do the same, the second finds less than
/// it was told, and does nothing.
pub(super) async fn cut(
    link: &mut Link,
    instance: InstanceId,
    tombstone: StoreTombstone,
) -> Result<bool, Fault> {
    let mut writing = link.transaction().await?;
    no_new_holds(&writing).await?;
    let cut = &tombstone.cut;
    let (first, last, records) = (int(cut.first), int(cut.last), int(cut.records));
    let run = writing
        .query_opt(
            "SELECT u.no, u.instance_no FROM runs u JOIN instances i ON i.no = u.instance_no
             WHERE i.instance = $1 AND u.epoch = $2 AND u.sequence > $3",
            &[&instance.0, &cut.epoch.0.as_slice(), &last],
        )
        .await?;
    let Some(run) = run else { return Ok(false) };
    let (run, instance_no): (i64, i64) = (run.try_get(0)?, run.try_get(1)?);
    let covered = writing
        .query_one(
            with_held!(
                "SELECT count(*) FROM records r JOIN runs u ON u.no = r.run_no JOIN instances i ON i.no = u.instance_no
                 WHERE r.run_no = $1 AND r.sequence BETWEEN $2 AND $3 AND ",
                ""
            ),
            &[&run, &first, &last],
        )
        .await?;
    if covered.try_get::<_, i64>(0)? > 0 {
        return Ok(false);
    }
    for sql in [
        "DELETE FROM deeds d USING records r WHERE r.run_no = $1 AND r.sequence BETWEEN $2 AND $3
           AND d.record = r.id AND d.stored_us = r.stored_us",
        "DELETE FROM facts f USING records r WHERE r.run_no = $1 AND r.sequence BETWEEN $2 AND $3
           AND f.record = r.id AND f.stored_us = r.stored_us",
    ] {
        writing.execute(sql, &[&run, &first, &last]).await?;
    }
    let deleted = writing
        .execute(
            "DELETE FROM records WHERE run_no = $1 AND sequence BETWEEN $2 AND $3",
            &[&run, &first, &last],
        )
        .await?;
    if deleted != cut.records {
        return Ok(false);
    }
    writing
        .execute("UPDATE instances SET records = records - $2 WHERE no = $1", &[&instance_no, &records])
        .await?;
    writing
        .execute(
            "INSERT INTO cuts (run_no, first, last, before, last_hash, records, newest_us, keep_days, keep_immutable,
               cut_us, key, signature)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            &[
                &run,
                &first,
                &last,
                &cut.before.0.as_slice(),
                &cut.last_hash.0.as_slice(),
                &records,
                &cut.newest_us,
                &i64::from(cut.retention.days),
                &cut.retention.immutable,
                &cut.cut_us,
                &tombstone.key.0.as_slice(),
                &tombstone.signature.0.as_slice(),
            ],
        )
        .await?;
    writing.commit().await?;
    Ok(true)
}

pub(super) async fn tombstones(link: &mut Link, instance: InstanceId) -> Result<Vec<StoreTombstone>, Fault> {
    link.asking()
        .query(
            "SELECT u.epoch, c.first, c.last, c.before, c.last_hash, c.records, c.newest_us, c.keep_days,
               c.keep_immutable, c.cut_us, c.key, c.signature
             FROM cuts c JOIN runs u ON u.no = c.run_no JOIN instances i ON i.no = u.instance_no
             WHERE i.instance = $1 ORDER BY c.cut_us, u.ordinal, u.no, c.first",
            &[&instance.0],
        )
        .await?
        .iter()
        .map(|row| {
            let cut = StoreCut {
                epoch: Epoch(fixed(row, 0)?),
                first: number(row, 1)?,
                last: number(row, 2)?,
                before: Digest(fixed(row, 3)?),
                last_hash: Digest(fixed(row, 4)?),
                records: number(row, 5)?,
                newest_us: row.try_get(6)?,
                retention: retention(row, 7)?,
                cut_us: row.try_get(9)?,
            };
            Ok(StoreTombstone { cut, key: KeyId(fixed(row, 10)?), signature: Signature(fixed(row, 11)?) })
        })
        .collect()
}

pub(super) async fn put_hold(link: &mut Link, hold: Hold) -> Result<(), Fault> {
    let of = |who: Option<Who>, is_person: bool| match who {
        Some(Who::Person(person)) if is_person => Some(bytes(person).to_vec()),
        Some(Who::Behind(subject)) if !is_person => Some(bytes(subject).to_vec()),
        _ => None,
    };
    let (person, subject) = (of(hold.who, true), of(hold.who, false));
    let fleet = hold.fleet.as_deref().map(text);
    link.asking()
        .execute(
            "INSERT INTO holds (id, person, subject, fleet, from_us, to_us) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT DO NOTHING",
            &[&hold.id, &person, &subject, &fleet, &hold.from_us, &hold.to_us],
        )
        .await?;
    Ok(())
}

pub(super) async fn release_hold(link: &mut Link, id: Uuid) -> Result<(), Fault> {
    link.asking().execute("DELETE FROM holds WHERE id = $1", &[&id]).await?;
    Ok(())
}

/// Until the end of the transaction no hold comes in between: what is looked at is what counts.
pub(super) async fn no_new_holds(writing: &Writing<'_>) -> Result<(), Fault> {
    writing.batch("LOCK TABLE holds IN SHARE MODE").await
}

/// The holds that cover a person: those of theirs, and those over a record of theirs.
pub(super) async fn held(writing: &mut Writing<'_>, person: &[u8; 16]) -> Result<Vec<Uuid>, Fault> {
    let person = person.as_slice();
    writing
        .query(
            "SELECT h.id FROM holds h WHERE h.person = $1
               OR h.subject IN (SELECT pseudonym FROM pseudonyms WHERE person = $1)
               OR (h.person IS NULL AND h.subject IS NULL AND EXISTS (
                 SELECT 1 FROM pseudonyms p JOIN facts f ON f.subject = p.pseudonym JOIN runs u ON u.no = f.run_no
                 JOIN instances i ON i.no = u.instance_no
                 WHERE p.person = $1 AND (h.fleet IS NULL OR h.fleet = i.fleet)
                   AND (h.from_us IS NULL OR f.time_us >= h.from_us) AND (h.to_us IS NULL OR f.time_us < h.to_us)))
             ORDER BY h.id",
            &[&person],
        )
        .await?
        .iter()
        .map(|row| Ok(row.try_get(0)?))
        .collect()
}
