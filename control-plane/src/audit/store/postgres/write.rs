//! What is written, each in one transaction.

use std::{borrow::Cow, pin::pin};

use kt_audit::{Digest, InstanceId, Position, Pseudonym, record::Retention};
use tokio_postgres::{
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use super::{
    super::{Appended, Batch, NewRow, Noted, Origin, SubjectRow, Trouble},
    codes::{int, text, verdict_code},
    link::{Fault, Link, Writing},
    read::{fixed, retention},
    schema::DAY_US,
};

/// A record that is on its way to its table.
struct Pending<'b> {
    id: i64,
    run: i64,
    stored_us: i64,
    keep: Retention,
    new: &'b NewRow,
}

/// How long the first records of a run are kept, where none has said anything yet: the default of a pack.
const UNASKED: Retention = Retention { days: 365, immutable: false };

/// The mark of a run, as it stands in its row.
struct Run {
    no: i64,
    last: Option<(u64, Digest)>,
    /// What a record that asks for nothing is kept by: what the one before has asked for.
    keep: Retention,
}

/// Adds batches in one transaction. Until its end no other replica adds any: places become visible in their order, and
/// of two batches of one instance the second sees what the first has done.
pub(super) async fn append_all(link: &mut Link, batches: &[Box<Batch>]) -> Result<Vec<Appended>, Fault> {
    let mut writing = link.transaction().await?;
    let last: i64 = writing.query_one("SELECT last FROM arrival FOR UPDATE", &[]).await?.try_get(0)?;
    let mut adding = Adding { writing, last, pending: Vec::new() };
    let mut appended = Vec::with_capacity(batches.len());
    for batch in batches {
        appended.push(adding.append(batch).await?);
    }
    adding.flush().await?;
    let Adding { mut writing, last, .. } = adding;
    writing.execute("UPDATE arrival SET last = $1", &[&last]).await?;
    writing.commit().await?;
    Ok(appended)
}

struct Adding<'a, 'b> {
    writing: Writing<'a>,
    /// The last place that was given away.
    last: i64,
    pending: Vec<Pending<'b>>,
}

// === impl Adding ===

impl<'b> Adding<'_, 'b> {
    async fn append(&mut self, batch: &'b Batch) -> Result<Appended, Fault> {
        let instance = put_instance(&mut self.writing, &batch.origin, batch.stored_us).await?;
        let mut noted = Vec::new();
        let mut run = run(&mut self.writing, instance, batch, &mut noted).await?;
        let place = |trouble, first, last| Noted { trouble, epoch: batch.epoch, first, last };

        let mark = run.last;
        let is_new = |new: &&NewRow| mark.is_none_or(|(sequence, _)| new.row.sequence > sequence);
        let known = batch.rows.iter().take_while(|new| !is_new(new)).count();
        let (old, new) = batch.rows.split_at_checked(known).unwrap_or((&batch.rows, &[]));
        let (duplicates, filled) = self.repeats(instance, &mut run, batch, old, &mut noted).await?;
        if let Some(NewRow { row: first, .. }) = new.first() {
            let expected = mark.map_or(0, |(sequence, _)| sequence.saturating_add(1));
            if first.sequence > expected {
                noted.push(place(Trouble::Gap, expected, first.sequence - 1));
            } else if mark.is_some_and(|(_, hash)| hash != first.previous) {
                noted.push(place(Trouble::BrokenChain, first.sequence, first.sequence));
            }
        }
        for row in new {
            self.add(&mut run, batch.stored_us, row);
        }
        if let Some(NewRow { row: last, .. }) = new.last() {
            self.writing
                .execute(
                    "UPDATE runs SET sequence = $2, hash = $3, keep_days = $4, keep_immutable = $5 WHERE no = $1",
                    &[
                        &run.no,
                        &int(last.sequence),
                        &last.hash.0.as_slice(),
                        &i64::from(run.keep.days),
                        &run.keep.immutable,
                    ],
                )
                .await?;
        }
        let added = filled + int(u64::try_from(new.len()).unwrap_or(u64::MAX));
        if added > 0 {
            self.writing
                .execute(
                    "UPDATE instances SET last_stored_us = greatest(last_stored_us, $2), records = records + $3
                     WHERE no = $1",
                    &[&instance, &batch.stored_us, &added],
                )
                .await?;
        }
        for noted in &noted {
            put_note(&mut self.writing, instance, noted, batch.stored_us).await?;
        }
        Ok(Appended { duplicates, noted })
    }

    fn add(&mut self, run: &mut Run, stored_us: i64, new: &'b NewRow) {
        self.last = self.last.saturating_add(1);
        run.keep = new.facts.retention.unwrap_or(run.keep);
        self.pending.push(Pending { id: self.last, run: run.no, stored_us, keep: run.keep, new });
    }

    /// What is at or before the mark: there already, taken out by retention, or the filling of a gap, which is added and
    /// counts as there too. What is none of these is kept apart. Tells how many were there and how many were added.
    async fn repeats(
        &mut self,
        instance: i64,
        run: &mut Run,
        batch: &'b Batch,
        old: &'b [NewRow],
        noted: &mut Vec<Noted>,
    ) -> Result<(u64, i64), Fault> {
        let (Some(first), Some(last)) = (old.first(), old.last()) else { return Ok((0, 0)) };
        // Others of the same run may be on their way with this very transaction.
        self.flush().await?;
        let rows = self
            .writing
            .query(
                "SELECT sequence, hash FROM records WHERE run_no = $1 AND sequence BETWEEN $2 AND $3",
                &[&run.no, &int(first.row.sequence), &int(last.row.sequence)],
            )
            .await?;
        let mut stored = std::collections::BTreeMap::new();
        for row in rows {
            stored.insert(row.try_get::<_, i64>(0)?, Digest(fixed(&row, 1)?));
        }
        let cuts = self
            .writing
            .query(
                "SELECT first, last FROM cuts WHERE run_no = $1 AND last >= $2 AND first <= $3",
                &[&run.no, &int(first.row.sequence), &int(last.row.sequence)],
            )
            .await?;
        let mut cut = Vec::with_capacity(cuts.len());
        for row in cuts {
            cut.push(row.try_get::<_, i64>(0)?..=row.try_get::<_, i64>(1)?);
        }
        let (mut duplicates, mut filled) = (0, 0);
        for new in old {
            let NewRow { row, .. } = new;
            match stored.get(&int(row.sequence)) {
                Some(hash) if *hash == row.hash => duplicates += 1,
                // Retention has taken it out; it does not come back.
                None if cut.iter().any(|cut| cut.contains(&int(row.sequence))) => duplicates += 1,
                None => {
                    self.add(run, batch.stored_us, new);
                    (duplicates, filled) = (duplicates + 1, filled + 1);
                }
                Some(_) => {
                    self.writing
                        .execute(
                            "INSERT INTO quarantine
                               (instance_no, epoch, sequence, hash, time_us, previous, payload, stored_us)
                             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                            &[
                                &instance,
                                &batch.epoch.0.as_slice(),
                                &int(row.sequence),
                                &row.hash.0.as_slice(),
                                &row.time_us,
                                &row.previous.0.as_slice(),
                                &row.payload,
                                &batch.stored_us,
                            ],
                        )
                        .await?;
                    noted.push(Noted {
                        trouble: Trouble::Quarantined,
                        epoch: batch.epoch,
                        first: row.sequence,
                        last: row.sequence,
                    });
                }
            }
        }
        Ok((duplicates, filled))
    }

    /// Sends what is on its way.
    async fn flush(&mut self) -> Result<(), Fault> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        let copy = self.writing.copy_in(
            "COPY records (id, run_no, sequence, time_us, stored_us, previous, hash, payload, keep_until_us, keep_days,
               keep_immutable) FROM STDIN BINARY",
        );
        let mut sink = pin!(BinaryCopyInWriter::new(copy.await?, RECORD));
        for one in &pending {
            let row = &one.new.row;
            let (previous, hash) = (row.previous.0.as_slice(), row.hash.0.as_slice());
            let (sequence, time, stored) = (int(row.sequence), &row.time_us, &one.stored_us);
            let days = i64::from(one.keep.days);
            let until = row.time_us.saturating_add(DAY_US.saturating_mul(days));
            sink.as_mut()
                .write(&[
                    &one.id,
                    &one.run,
                    &sequence,
                    time,
                    stored,
                    &previous,
                    &hash,
                    &row.payload,
                    &until,
                    &days,
                    &one.keep.immutable,
                ])
                .await?;
        }
        sink.finish().await?;
        let copy = self.writing.copy_in(
            "COPY facts (record, stored_us, run_no, time_us, kind, request, verdict, ending, status, model, target,
               target_model, roles, team, cost_centre, subject, input_tokens, output_tokens, micro_usd, unpriced)
             FROM STDIN BINARY",
        );
        let mut sink = pin!(BinaryCopyInWriter::new(copy.await?, FACTS));
        for one in &pending {
            // What this build can't read is kept, and found by its place alone.
            if let Some(columns) = Columns::of(one) {
                sink.as_mut().write(&columns.values(one)).await?;
            }
        }
        sink.finish().await?;
        if pending.iter().all(|one| one.new.facts.deeds.is_empty()) {
            return Ok(());
        }
        let copy = self
            .writing
            .copy_in("COPY deeds (record, stored_us, time_us, what, policy, rule) FROM STDIN BINARY");
        let types = [Type::INT8, Type::INT8, Type::INT8, Type::INT4, Type::TEXT, Type::TEXT];
        let mut sink = pin!(BinaryCopyInWriter::new(copy.await?, &types));
        for one in &pending {
            for deed in &one.new.facts.deeds {
                let what = i32::try_from(deed.what.code()).unwrap_or(i32::MAX);
                let (policy, rule) = (text(&deed.policy), text(&deed.rule));
                sink.as_mut()
                    .write(&[&one.id, &one.stored_us, &one.new.row.time_us, &what, &policy, &rule])
                    .await?;
            }
        }
        sink.finish().await?;
        Ok(())
    }
}

/// The types of the columns of a record.
const RECORD: &[Type] = &[
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::BYTEA,
    Type::BYTEA,
    Type::BYTEA,
    Type::INT8,
    Type::INT8,
    Type::BOOL,
];

/// Those of its facts, in the order of [`Columns::values`].
const FACTS: &[Type] = &[
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT4,
    Type::UUID,
    Type::INT4,
    Type::INT4,
    Type::INT4,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::BYTEA,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::BOOL,
];

/// The facts of a record as the server takes them.
struct Columns<'b> {
    kind: i32,
    verdict: Option<i32>,
    ending: Option<i32>,
    status: Option<i32>,
    texts: [Option<Cow<'b, str>>; 6],
    subject: Option<Vec<u8>>,
    numbers: [Option<i64>; 3],
    unpriced: bool,
}

impl<'b> Columns<'b> {
    fn of(pending: &Pending<'b>) -> Option<Self> {
        let facts = &pending.new.facts;
        let texts =
            [&facts.model, &facts.target, &facts.target_model, &facts.roles, &facts.team, &facts.cost_centre];
        Some(Self {
            kind: facts.kind? as i32,
            verdict: facts.verdict.map(verdict_code),
            ending: facts.end.map(|end| end as i32),
            status: facts.status.map(i32::from),
            texts: texts.map(|found| found.as_deref().map(text)),
            subject: facts.subject.map(|subject| subject.to_bytes().to_vec()),
            numbers: [facts.input_tokens, facts.output_tokens, facts.micro_usd].map(|found| found.map(int)),
            unpriced: facts.is_priced && facts.micro_usd.is_none(),
        })
    }

    fn values<'v>(&'v self, pending: &'v Pending<'b>) -> [&'v (dyn ToSql + Sync); 20] {
        let NewRow { row, facts } = pending.new;
        let [model, target, target_model, roles, team, cost_centre] = &self.texts;
        let [input, output, price] = &self.numbers;
        [
            &pending.id,
            &pending.stored_us,
            &pending.run,
            &row.time_us,
            &self.kind,
            &facts.request,
            &self.verdict,
            &self.ending,
            &self.status,
            model,
            target,
            target_model,
            roles,
            team,
            cost_centre,
            &self.subject,
            input,
            output,
            price,
            &self.unpriced,
        ]
    }
}

/// The row of the run; a first batch makes it. Two runs with one ordinal are two machines.
async fn run(
    writing: &mut Writing<'_>,
    instance: i64,
    batch: &Batch,
    noted: &mut Vec<Noted>,
) -> Result<Run, Fault> {
    let epoch = batch.epoch.0.as_slice();
    let known = writing
        .query_opt(
            "SELECT no, sequence, hash, keep_days, keep_immutable FROM runs WHERE instance_no = $1 AND epoch = $2",
            &[&instance, &epoch],
        )
        .await?;
    if let Some(row) = known {
        let sequence: i64 = row.try_get(1)?;
        let hash = Digest(fixed(&row, 2)?);
        let last = u64::try_from(sequence).ok().map(|sequence| (sequence, hash));
        return Ok(Run { no: row.try_get(0)?, last, keep: retention(&row, 3)? });
    }
    let ordinal = int(batch.ordinal);
    let is_taken = writing
        .query_one(
            "SELECT EXISTS (SELECT 1 FROM runs WHERE instance_no = $1 AND ordinal = $2)",
            &[&instance, &ordinal],
        )
        .await?;
    if is_taken.try_get(0)? {
        let first = batch.rows.first().map_or(0, |new| new.row.sequence);
        noted.push(Noted { trouble: Trouble::Cloned, epoch: batch.epoch, first, last: first });
    }
    let made = writing
        .query_one(
            "INSERT INTO runs (instance_no, epoch, ordinal, sequence, hash, keep_days, keep_immutable)
             VALUES ($1, $2, $3, -1, $4, $5, $6) RETURNING no",
            &[
                &instance,
                &epoch,
                &ordinal,
                &Digest::ZERO.0.as_slice(),
                &i64::from(UNASKED.days),
                &UNASKED.immutable,
            ],
        )
        .await?;
    Ok(Run { no: made.try_get(0)?, last: None, keep: UNASKED })
}

/// The row of an instance, made or renewed.
async fn put_instance(writing: &mut Writing<'_>, origin: &Origin, now_us: i64) -> Result<i64, Fault> {
    let (fleet, gateway, name) = (text(&origin.fleet), text(&origin.gateway), text(&origin.name));
    // Most batches change nothing of it.
    let known = writing
        .query_opt(
            "SELECT no FROM instances WHERE instance = $1 AND fleet = $2
               AND ($3 = '' OR gateway = $3) AND ($4 = '' OR name = $4)",
            &[&origin.instance.0, &fleet, &gateway, &name],
        )
        .await?;
    if let Some(row) = known {
        return Ok(row.try_get(0)?);
    }
    let row = writing
        .query_one(
            "INSERT INTO instances AS i (instance, fleet, gateway, name, first_seen_us, last_stored_us)
             VALUES ($1, $2, $3, $4, $5, 0)
             ON CONFLICT (instance) DO UPDATE SET
               fleet = excluded.fleet,
               gateway = CASE WHEN excluded.gateway = '' THEN i.gateway ELSE excluded.gateway END,
               name = CASE WHEN excluded.name = '' THEN i.name ELSE excluded.name END
             RETURNING no",
            &[&origin.instance.0, &fleet, &gateway, &name, &now_us],
        )
        .await?;
    Ok(row.try_get(0)?)
}

async fn put_note(writing: &mut Writing<'_>, instance: i64, noted: &Noted, now_us: i64) -> Result<(), Fault> {
    writing
        .execute(
            "INSERT INTO notes (instance_no, noted_us, trouble, epoch, first, last) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT DO NOTHING",
            &[
                &instance,
                &now_us,
                &noted.trouble.as_str(),
                &noted.epoch.0.as_slice(),
                &int(noted.first),
                &int(noted.last),
            ],
        )
        .await?;
    Ok(())
}

pub(super) async fn put_keys(
    link: &mut Link,
    origin: Origin,
    keys: Vec<[u8; 32]>,
    now_us: i64,
) -> Result<(), Fault> {
    let mut writing = link.transaction().await?;
    let instance = put_instance(&mut writing, &origin, now_us).await?;
    for key in &keys {
        writing
            .execute(
                "INSERT INTO keys (instance_no, key, seen_us) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                &[&instance, &key.as_slice(), &now_us],
            )
            .await?;
    }
    writing.commit().await
}

pub(super) async fn put_countersigned(
    link: &mut Link,
    instance: InstanceId,
    position: Position,
    now_us: i64,
) -> Result<(), Fault> {
    link.asking()
        .execute(
            "UPDATE instances SET countersigned_epoch = $2, countersigned_sequence = $3, countersigned_hash = $4,
               last_stored_us = greatest(last_stored_us, $5)
             WHERE instance = $1",
            &[
                &instance.0,
                &position.epoch.0.as_slice(),
                &int(position.sequence),
                &position.hash.0.as_slice(),
                &now_us,
            ],
        )
        .await?;
    Ok(())
}

pub(super) async fn note(
    link: &mut Link,
    instance: InstanceId,
    noted: Noted,
    now_us: i64,
) -> Result<(), Fault> {
    let mut writing = link.transaction().await?;
    let no = writing.query_opt("SELECT no FROM instances WHERE instance = $1", &[&instance.0]).await?;
    if let Some(no) = no {
        put_note(&mut writing, no.try_get(0)?, &noted, now_us).await?;
    }
    writing.commit().await
}

pub(super) async fn put_subjects(
    link: &mut Link,
    instance: InstanceId,
    mut rows: Vec<SubjectRow>,
    now_us: i64,
) -> Result<(), Fault> {
    let json = |value: serde_json::Result<String>| {
        value.map_err(|_| Fault::Corrupt("a sealed name can't be written".to_owned()))
    };
    // Two replicas that name the same people wait for each other in one order.
    rows.sort_unstable_by_key(|row| (row.person, row.pseudonym));
    let mut writing = link.transaction().await?;
    for row in &rows {
        let person: &[u8] = &row.person.to_bytes();
        let is_new = writing
            .execute("INSERT INTO persons (person) VALUES ($1) ON CONFLICT DO NOTHING", &[&person])
            .await?;
        if is_new > 0 {
            let (sealed, key) =
                (json(serde_json::to_string(&row.sealed))?, json(serde_json::to_string(&row.key))?);
            writing
                .execute(
                    "INSERT INTO names (person, sealed, key) VALUES ($1, $2, $3)",
                    &[&person, &sealed, &key],
                )
                .await?;
        }
        writing
            .execute(
                "INSERT INTO pseudonyms (pseudonym, pseudonym_key, instance_no, person, seen_us)
                 SELECT $1, $2, no, $3, $4 FROM instances WHERE instance = $5 ON CONFLICT DO NOTHING",
                &[
                    &bytes(row.pseudonym).as_slice(),
                    &row.pseudonym_key.as_slice(),
                    &person,
                    &now_us,
                    &instance.0,
                ],
            )
            .await?;
    }
    writing.commit().await
}

pub(super) const fn bytes(pseudonym: Pseudonym) -> [u8; 16] {
    pseudonym.to_bytes()
}
