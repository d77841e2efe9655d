//! What is written, each in one transaction.

use kt_audit::{
    Digest, InstanceId, Position, Pseudonym,
    record::{Retention, Verdict},
};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::super::{Appended, Batch, NewRow, Noted, Origin, SubjectRow, Trouble};

/// A number as SQLite has it. Sequences, counts and prices are far below the limit.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The stored form of a verdict.
pub(super) const fn verdict_code(verdict: Verdict) -> i64 {
    match verdict {
        Verdict::Allow => 0,
        Verdict::Redact => 1,
        Verdict::Escalate => 2,
        Verdict::Block => 3,
    }
}

/// Adds batches in one transaction.
pub(super) fn append_all(
    connection: &mut Connection,
    batches: &[Box<Batch>],
) -> rusqlite::Result<Vec<Appended>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut appended = Vec::with_capacity(batches.len());
    for batch in batches {
        appended.push(append(&transaction, batch)?);
    }
    transaction.commit()?;
    Ok(appended)
}

pub(super) const DAY_US: i64 = 86_400_000_000;

/// How long the first records of an instance are kept, where none has said anything yet: the default of a pack.
const UNASKED: Retention = Retention { days: 365, immutable: false };

/// The mark of a run, as it stands in its row.
struct Run {
    no: i64,
    last: Option<(u64, Digest)>,
    /// What a record that asks for nothing is kept by: what the one before has asked for.
    keep: Retention,
}

fn append(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<Appended> {
    let instance = put_instance(transaction, &batch.origin, batch.stored_us)?;
    let mut noted = Vec::new();
    let mut run = run(transaction, instance, batch, &mut noted)?;
    let place = |trouble, first, last| Noted { trouble, epoch: batch.epoch, first, last };

    let mark = run.last;
    let is_new = |new: &&NewRow| mark.is_none_or(|(sequence, _)| new.row.sequence > sequence);
    let known = batch.rows.iter().take_while(|new| !is_new(new)).count();
    let (old, new) = batch.rows.split_at_checked(known).unwrap_or((&batch.rows, &[]));
    let mut duplicates = 0;
    for again in old {
        if repeats(transaction, instance, &mut run, batch, again)? {
            duplicates += 1;
        } else {
            let sequence = again.row.sequence;
            noted.push(place(Trouble::Quarantined, sequence, sequence));
        }
    }
    if let Some(NewRow { row: first, .. }) = new.first() {
        let expected = mark.map_or(0, |(sequence, _)| sequence.saturating_add(1));
        if first.sequence > expected {
            noted.push(place(Trouble::Gap, expected, first.sequence - 1));
        } else if mark.is_some_and(|(_, hash)| hash != first.previous) {
            noted.push(place(Trouble::BrokenChain, first.sequence, first.sequence));
        }
    }
    for row in new {
        insert(transaction, &mut run, batch.stored_us, row)?;
    }
    if let Some(NewRow { row: last, .. }) = new.last() {
        transaction
            .prepare_cached(
                "UPDATE runs SET sequence = ?2, hash = ?3, keep_days = ?4, keep_immutable = ?5 WHERE no = ?1",
            )?
            .execute(params![run.no, int(last.sequence), last.hash.0, run.keep.days, run.keep.immutable])?;
        transaction
            .prepare_cached("UPDATE instances SET last_stored_us = ?2, records = records + ?3 WHERE no = ?1")?
            .execute(params![instance, batch.stored_us, int(new.len() as u64)])?;
    }
    for noted in &noted {
        put_note(transaction, instance, noted, batch.stored_us)?;
    }
    Ok(Appended { duplicates, noted })
}

/// The row of the run; a first batch makes it. Two runs with one ordinal are two machines.
fn run(
    transaction: &Transaction<'_>,
    instance: i64,
    batch: &Batch,
    noted: &mut Vec<Noted>,
) -> rusqlite::Result<Run> {
    let known = transaction
        .prepare_cached(
            "SELECT no, sequence, hash, keep_days, keep_immutable FROM runs WHERE instance_no = ?1 AND epoch = ?2",
        )?
        .query_row(params![instance, batch.epoch.0], |row| {
            let (sequence, hash): (i64, [u8; 32]) = (row.get(1)?, row.get(2)?);
            let last = u64::try_from(sequence).ok().map(|sequence| (sequence, Digest(hash)));
            let keep = Retention { days: row.get(3)?, immutable: row.get(4)? };
            Ok(Run { no: row.get(0)?, last, keep })
        })
        .optional()?;
    if let Some(run) = known {
        return Ok(run);
    }
    let is_taken: bool = transaction
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM runs WHERE instance_no = ?1 AND ordinal = ?2)")?
        .query_row(params![instance, int(batch.ordinal)], |row| row.get(0))?;
    if is_taken {
        let first = batch.rows.first().map_or(0, |new| new.row.sequence);
        noted.push(Noted { trouble: Trouble::Cloned, epoch: batch.epoch, first, last: first });
    }
    // As the run before it was kept last.
    let keep = transaction
        .prepare_cached(
            "SELECT keep_days, keep_immutable FROM runs WHERE instance_no = ?1 ORDER BY no DESC LIMIT 1",
        )?
        .query_row([instance], |row| Ok(Retention { days: row.get(0)?, immutable: row.get(1)? }))
        .optional()?
        .unwrap_or(UNASKED);
    transaction
        .prepare_cached(
            "INSERT INTO runs (instance_no, epoch, ordinal, sequence, hash, keep_days, keep_immutable)
             VALUES (?1, ?2, ?3, -1, zeroblob(32), ?4, ?5)",
        )?
        .execute(params![instance, batch.epoch.0, int(batch.ordinal), keep.days, keep.immutable])?;
    Ok(Run { no: transaction.last_insert_rowid(), last: None, keep })
}

/// Whether the run has the record now under its number. One that fills a gap is added and counts as there, for the mark
/// has passed it; another one than is there is kept apart.
fn repeats(
    transaction: &Transaction<'_>,
    instance: i64,
    run: &mut Run,
    batch: &Batch,
    new: &NewRow,
) -> rusqlite::Result<bool> {
    let row = &new.row;
    let stored: Option<[u8; 32]> = transaction
        .prepare_cached("SELECT hash FROM records WHERE run_no = ?1 AND sequence = ?2")?
        .query_row(params![run.no, int(row.sequence)], |row| row.get(0))
        .optional()?;
    match stored {
        Some(hash) if hash == row.hash.0 => Ok(true),
        // Retention has taken it out; it does not come back.
        None if is_cut(transaction, run.no, row.sequence)? => Ok(true),
        // The number was missing: it is filled, and nothing is replaced.
        None => {
            insert(transaction, run, batch.stored_us, new)?;
            transaction
                .prepare_cached("UPDATE instances SET records = records + 1 WHERE no = ?1")?
                .execute([instance])?;
            Ok(true)
        }
        Some(_) => {
            transaction
                .prepare_cached(
                    "INSERT OR IGNORE INTO quarantine
                     (instance_no, epoch, sequence, hash, time_us, previous, payload, stored_us)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    instance,
                    batch.epoch.0,
                    int(row.sequence),
                    row.hash.0,
                    row.time_us,
                    row.previous.0,
                    row.payload,
                    batch.stored_us,
                ])?;
            Ok(false)
        }
    }
}

fn is_cut(transaction: &Transaction<'_>, run: i64, sequence: u64) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM cuts WHERE run_no = ?1 AND ?2 BETWEEN first AND last)")?
        .query_row(params![run, int(sequence)], |row| row.get(0))
}

fn insert(
    transaction: &Transaction<'_>,
    run: &mut Run,
    stored_us: i64,
    new: &NewRow,
) -> rusqlite::Result<()> {
    let NewRow { row, facts } = new;
    run.keep = facts.retention.unwrap_or(run.keep);
    transaction
        .prepare_cached(
            "INSERT INTO records (run_no, sequence, time_us, stored_us, previous, hash, payload, keep_until_us, keep_days,
               keep_immutable)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            run.no,
            int(row.sequence),
            row.time_us,
            stored_us,
            row.previous.0,
            row.hash.0,
            row.payload,
            row.time_us.saturating_add(DAY_US.saturating_mul(i64::from(run.keep.days))),
            run.keep.days,
            run.keep.immutable
        ])?;
    // What this build can't read is kept, and found by its place alone.
    let Some(kind) = facts.kind else { return Ok(()) };
    let record = transaction.last_insert_rowid();
    transaction
        .prepare_cached(
            "INSERT INTO facts (record, run_no, time_us, kind, request, verdict, ending, status, model, target,
               target_model, roles, team, cost_centre, subject, input_tokens, output_tokens, micro_usd, unpriced)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
        )?
        .execute(params![
            record,
            run.no,
            row.time_us,
            kind as i64,
            facts.request.map(uuid::Uuid::into_bytes),
            facts.verdict.map(verdict_code),
            facts.end.map(|end| end as i64),
            facts.status,
            facts.model,
            facts.target,
            facts.target_model,
            facts.roles,
            facts.team,
            facts.cost_centre,
            facts.subject.map(Pseudonym::to_bytes),
            facts.input_tokens.map(int),
            facts.output_tokens.map(int),
            facts.micro_usd.map(int),
            facts.is_priced && facts.micro_usd.is_none(),
        ])?;
    if !facts.deeds.is_empty() {
        let mut add = transaction.prepare_cached(
            "INSERT INTO deeds (time_us, record, policy, rule, what) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for deed in &facts.deeds {
            add.execute(params![row.time_us, record, deed.policy, deed.rule, deed.what.code()])?;
        }
    }
    Ok(())
}

/// The row of an instance, made or renewed.
fn put_instance(transaction: &Transaction<'_>, origin: &Origin, now_us: i64) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO instances (instance, fleet, gateway, name, first_seen_us, last_stored_us)
             VALUES (?1, ?2, ?3, ?4, ?5, 0)
             ON CONFLICT (instance) DO UPDATE SET
               fleet = excluded.fleet,
               gateway = CASE WHEN excluded.gateway = '' THEN gateway ELSE excluded.gateway END,
               name = CASE WHEN excluded.name = '' THEN name ELSE excluded.name END
             RETURNING no",
        )?
        .query_row(
            params![origin.instance.0.as_bytes(), &*origin.fleet, &*origin.gateway, &*origin.name, now_us],
            |row| row.get(0),
        )
}

fn put_note(
    transaction: &Transaction<'_>,
    instance: i64,
    noted: &Noted,
    now_us: i64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO notes (instance_no, noted_us, trouble, epoch, first, last)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            instance,
            now_us,
            noted.trouble.as_str(),
            noted.epoch.0,
            int(noted.first),
            int(noted.last)
        ])?;
    Ok(())
}

pub(super) fn put_keys(
    connection: &mut Connection,
    origin: &Origin,
    keys: &[[u8; 32]],
    now_us: i64,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let instance = put_instance(&transaction, origin, now_us)?;
    for key in keys {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO keys (instance_no, key, seen_us) VALUES (?1, ?2, ?3)")?
            .execute(params![instance, key, now_us])?;
    }
    transaction.commit()
}

pub(super) fn put_countersigned(
    connection: &mut Connection,
    instance: InstanceId,
    position: &Position,
    now_us: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE instances SET countersigned_epoch = ?2, countersigned_sequence = ?3, countersigned_hash = ?4,
               last_stored_us = max(last_stored_us, ?5)
             WHERE instance = ?1",
        )?
        .execute(params![
            instance.0.as_bytes(),
            position.epoch.0,
            int(position.sequence),
            position.hash.0,
            now_us
        ])?;
    Ok(())
}

pub(super) fn note(
    connection: &mut Connection,
    instance: InstanceId,
    noted: &Noted,
    now_us: i64,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let no: Option<i64> = transaction
        .prepare_cached("SELECT no FROM instances WHERE instance = ?1")?
        .query_row([instance.0.as_bytes()], |row| row.get(0))
        .optional()?;
    if let Some(no) = no {
        put_note(&transaction, no, noted, now_us)?;
    }
    transaction.commit()
}

pub(super) fn put_subjects(
    connection: &mut Connection,
    instance: InstanceId,
    rows: &[SubjectRow],
    now_us: i64,
) -> rusqlite::Result<()> {
    let text = |value: serde_json::Result<String>| {
        value.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for row in rows {
        let person = row.person.to_bytes();
        let is_new = transaction
            .prepare_cached("INSERT OR IGNORE INTO persons (person, sealed) VALUES (?1, ?2)")?
            .execute(params![person, text(serde_json::to_string(&row.sealed))?])?;
        if is_new > 0 {
            transaction
                .prepare_cached("INSERT INTO person_keys (person, key) VALUES (?1, ?2)")?
                .execute(params![person, text(serde_json::to_string(&row.key))?])?;
        }
        transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO pseudonyms (pseudonym, pseudonym_key, instance_no, person, seen_us)
                 SELECT ?1, ?2, no, ?3, ?4 FROM instances WHERE instance = ?5",
            )?
            .execute(params![
                row.pseudonym.to_bytes(),
                row.pseudonym_key,
                person,
                now_us,
                instance.0.as_bytes()
            ])?;
    }
    transaction.commit()
}
