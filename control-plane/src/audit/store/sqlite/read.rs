//! What is read.

use std::{fmt::Write as _, sync::Arc};

use kt_audit::{
    Digest, Epoch, InstanceId, Position, Pseudonym,
    facts::What,
    record::{End, Kind, Verdict},
};
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, ToSql, params, params_from_iter};
use uuid::Uuid;

use super::{
    super::{
        ChainPlace, Dimension, EventFilter, InstanceRow, Mark, Noted, Origin, Page, PageToken, Row, Sealed,
        StatRow, StatsQuery, Stored, Trouble, Vouched,
    },
    write::{int, verdict_code},
};

const STORED: &str = "SELECT r.id, i.instance, i.fleet, u.epoch, u.ordinal, r.stored_us, r.sequence, r.time_us, r.previous, r.hash, r.payload
 FROM records r JOIN runs u ON u.no = r.run_no JOIN instances i ON i.no = u.instance_no";
/// The same, found by what people filter by.
const FOUND: &str = " JOIN facts f ON f.record = r.id";

const HOUR_US: i64 = 3_600_000_000;

pub(super) fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn stored(row: &SqlRow<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        id: natural(row.get(0)?),
        instance: InstanceId(Uuid::from_bytes(row.get(1)?)),
        fleet: row.get(2)?,
        epoch: Epoch(row.get(3)?),
        ordinal: natural(row.get(4)?),
        stored_us: row.get(5)?,
        row: Row {
            sequence: natural(row.get(6)?),
            time_us: row.get(7)?,
            previous: Digest(row.get(8)?),
            hash: Digest(row.get(9)?),
            payload: row.get(10)?,
        },
    })
}

pub(super) fn fleet_of(connection: &Connection, instance: InstanceId) -> rusqlite::Result<Option<Arc<str>>> {
    connection
        .prepare_cached("SELECT fleet FROM instances WHERE instance = ?1")?
        .query_row([instance.0.as_bytes()], |row| row.get(0))
        .optional()
}

pub(super) fn marks(connection: &Connection, instance: InstanceId) -> rusqlite::Result<Vec<Mark>> {
    connection
        .prepare_cached(
            "SELECT u.ordinal, u.epoch, u.sequence, u.hash FROM runs u JOIN instances i ON i.no = u.instance_no
             WHERE i.instance = ?1 AND u.sequence >= 0 ORDER BY u.ordinal, u.no",
        )?
        .query_map([instance.0.as_bytes()], |row| {
            let last = Position {
                epoch: Epoch(row.get(1)?),
                sequence: natural(row.get(2)?),
                hash: Digest(row.get(3)?),
            };
            Ok(Mark { ordinal: natural(row.get(0)?), last })
        })?
        .collect()
}

/// A condition, and what it is bound to. Values never stand in the text.
#[derive(Default)]
struct Condition {
    text: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Condition {
    fn and(&mut self, text: &str) {
        self.text.push_str(if self.text.is_empty() { " WHERE " } else { " AND " });
        self.text.push_str(text);
    }

    fn value(&mut self, text: &str, value: impl ToSql + 'static) {
        self.values.push(Box::new(value));
        let number = self.values.len();
        self.and(&text.replace('?', &format!("?{number}")));
    }

    fn one_of<T: ToSql + 'static>(&mut self, column: &str, values: impl IntoIterator<Item = T>) {
        let mut places = Vec::new();
        for value in values {
            self.values.push(Box::new(value));
            places.push(format!("?{}", self.values.len()));
        }
        if !places.is_empty() {
            self.and(&format!("{column} IN ({})", places.join(", ")));
        }
    }

    fn of(filter: &EventFilter) -> Self {
        let mut condition = Self::default();
        // Written out where it is the usual one, so that the partial index is found.
        if filter.kinds.is_empty() {
            condition.and(&format!("f.kind = {}", Kind::Closed as i64));
        } else {
            condition.one_of("f.kind", filter.kinds.iter().map(|kind| *kind as i64));
        }
        if let Some(fleet) = &filter.fleet {
            condition.value("i.fleet = ?", fleet.clone());
        }
        condition.one_of("i.instance", filter.instances.iter().map(|instance| instance.0.into_bytes()));
        if let Some(from) = filter.from_us {
            condition.value("f.time_us >= ?", from);
        }
        if let Some(to) = filter.to_us {
            condition.value("f.time_us < ?", to);
        }
        condition.one_of("f.verdict", filter.verdicts.iter().map(|verdict| verdict_code(*verdict)));
        condition.one_of("f.team", filter.teams.iter().cloned());
        condition.one_of("f.cost_centre", filter.cost_centres.iter().cloned());
        condition.one_of("f.subject", filter.subjects.iter().map(|subject| subject.to_bytes()));
        if !filter.models.is_empty() {
            let mut either = Self { text: String::new(), values: std::mem::take(&mut condition.values) };
            let mut texts = Vec::new();
            for column in ["f.model", "f.target_model", "f.target"] {
                either.text.clear();
                either.one_of(column, filter.models.iter().cloned());
                texts.push(either.text.trim_start_matches(" WHERE ").to_owned());
            }
            condition.values = either.values;
            condition.and(&format!("({})", texts.join(" OR ")));
        }
        // Roles are kept joined; whole names are compared.
        let mut roles = Vec::new();
        for role in &filter.roles {
            condition.values.push(Box::new(format!(",{role},")));
            roles.push(format!("instr(',' || f.roles || ',', ?{}) > 0", condition.values.len()));
        }
        if !roles.is_empty() {
            condition.and(&format!("({})", roles.join(" OR ")));
        }
        condition.deeds(filter);
        condition
    }

    fn deeds(&mut self, filter: &EventFilter) {
        if filter.policies.is_empty() && filter.rules.is_empty() && !filter.would {
            return;
        }
        let mut inner = Self { text: String::new(), values: std::mem::take(&mut self.values) };
        inner.and("d.time_us = f.time_us AND d.record = f.record");
        inner.one_of("d.policy", filter.policies.iter().cloned());
        inner.one_of("d.rule", filter.rules.iter().cloned());
        if filter.would {
            inner.and(&format!("d.what IN ({}, {})", What::WouldBlock.code(), What::WouldRedact.code()));
        }
        self.values = inner.values;
        self.and(&format!("EXISTS (SELECT 1 FROM deeds d{})", inner.text));
    }

    fn bound(&self) -> impl Iterator<Item = &dyn ToSql> {
        self.values.iter().map(|value| &**value)
    }
}

pub(super) fn events(
    connection: &Connection,
    filter: &EventFilter,
    oldest_first: bool,
    page: Option<PageToken>,
    size: u32,
) -> rusqlite::Result<Page> {
    let mut condition = Condition::of(filter);
    if let Some(PageToken(id)) = page {
        condition.value(if oldest_first { "f.record > ?" } else { "f.record < ?" }, int(id));
    }
    let order = if oldest_first { "ASC" } else { "DESC" };
    // Arrival is the order: it never changes, so pages neither repeat nor miss anything.
    let sql = format!(
        "{STORED}{FOUND}{} ORDER BY f.record {order} LIMIT {}",
        condition.text,
        u64::from(size).saturating_add(1)
    );
    let mut events: Vec<Stored> = connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(condition.bound()), stored)?
        .collect::<rusqlite::Result<_>>()?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = events.len() > size;
    events.truncate(size);
    let next = events.last().filter(|_| more).map(|event| PageToken(event.id));
    Ok(Page { events, next })
}

pub(super) fn arrivals(
    connection: &Connection,
    behind: u64,
    upto: Option<u64>,
    limit: u32,
) -> rusqlite::Result<Vec<Stored>> {
    connection
        .prepare_cached(&format!("{STORED} WHERE r.id > ?1 AND r.id <= ?2 ORDER BY r.id LIMIT ?3"))?
        .query_map(params![int(behind), int(upto.unwrap_or(u64::MAX)), limit], stored)?
        .collect()
}

pub(super) fn last_arrival(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT coalesce(max(id), 0) FROM records", [], |row| row.get(0)).map(natural)
}

pub(super) fn request(connection: &Connection, id: Uuid) -> rusqlite::Result<Vec<Stored>> {
    connection
        .prepare_cached(&format!(
            "{STORED}{FOUND} WHERE f.request = ?1 ORDER BY u.ordinal, u.no, r.sequence"
        ))?
        .query_map([id.into_bytes()], stored)?
        .collect()
}

pub(super) fn chain(
    connection: &Connection,
    instance: InstanceId,
    behind: Option<ChainPlace>,
    limit: u32,
) -> rusqlite::Result<Vec<Stored>> {
    // Run by run: two machines with one identity have two runs of one ordinal, each with a chain of its own.
    let runs: Vec<(i64, [u8; 16])> = connection
        .prepare_cached(
            "SELECT u.no, u.epoch FROM runs u JOIN instances i ON i.no = u.instance_no
             WHERE i.instance = ?1 ORDER BY u.ordinal, u.no",
        )?
        .query_map([instance.0.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let start = behind
        .map_or(0, |place| runs.iter().position(|(_, epoch)| *epoch == place.epoch.0).unwrap_or(runs.len()));
    let mut records: Vec<Stored> = Vec::new();
    for (no, _) in runs.iter().skip(start) {
        let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(records.len());
        if left == 0 {
            break;
        }
        let from = match behind {
            Some(place) if records.is_empty() && runs.get(start).is_some_and(|run| run.0 == *no) => {
                int(place.sequence)
            }
            _ => -1,
        };
        let mut select = connection.prepare_cached(&format!(
            "{STORED} WHERE r.run_no = ?1 AND r.sequence > ?2 ORDER BY r.sequence LIMIT ?3"
        ))?;
        let found = select.query_map(params![no, from, int(left as u64)], stored)?;
        for record in found {
            records.push(record?);
        }
    }
    Ok(records)
}

pub(super) fn instances(connection: &Connection) -> rusqlite::Result<Vec<InstanceRow>> {
    let found: Vec<(i64, InstanceRow)> = connection
        .prepare_cached(
            "SELECT no, instance, fleet, gateway, name, last_stored_us, records FROM instances ORDER BY fleet, name, instance",
        )?
        .query_map([], |row| {
            let origin = Origin {
                instance: InstanceId(Uuid::from_bytes(row.get(1)?)),
                fleet: row.get(2)?,
                gateway: row.get(3)?,
                name: row.get(4)?,
            };
            let instance = InstanceRow {
                origin,
                marks: Vec::new(),
                last_stored_us: row.get(5)?,
                records: natural(row.get(6)?),
                noted: Vec::new(),
            };
            Ok((row.get(0)?, instance))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut rows = Vec::with_capacity(found.len());
    for (no, mut instance) in found {
        instance.marks = marks(connection, instance.origin.instance)?;
        instance.noted = connection
            .prepare_cached(
                "SELECT trouble, epoch, first, last FROM notes WHERE instance_no = ?1 ORDER BY noted_us, epoch, first",
            )?
            .query_map([no], |row| {
                let name: Arc<str> = row.get(0)?;
                Ok((name, Epoch(row.get(1)?), natural(row.get(2)?), natural(row.get(3)?)))
            })?
            .filter_map(|row| match row {
                Ok((name, epoch, first, last)) => {
                    trouble(&name).map(|trouble| Ok(Noted { trouble, epoch, first, last }))
                }
                Err(error) => Some(Err(error)),
            })
            .collect::<rusqlite::Result<_>>()?;
        rows.push(instance);
    }
    Ok(rows)
}

fn trouble(name: &str) -> Option<Trouble> {
    Trouble::ALL.into_iter().find(|trouble| trouble.as_str() == name)
}

pub(super) fn vouched(connection: &Connection, instance: InstanceId) -> rusqlite::Result<Vouched> {
    let keys = connection
        .prepare_cached(
            "SELECT k.key FROM keys k JOIN instances i ON i.no = k.instance_no WHERE i.instance = ?1
             ORDER BY k.seen_us, k.key",
        )?
        .query_map([instance.0.as_bytes()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let countersigned = connection
        .prepare_cached(
            "SELECT countersigned_epoch, countersigned_sequence, countersigned_hash FROM instances
             WHERE instance = ?1 AND countersigned_epoch IS NOT NULL",
        )?
        .query_row([instance.0.as_bytes()], |row| {
            Ok(Position {
                epoch: Epoch(row.get(0)?),
                sequence: natural(row.get(1)?),
                hash: Digest(row.get(2)?),
            })
        })
        .optional()?;
    Ok(Vouched { keys, countersigned })
}

pub(super) fn stats(connection: &Connection, query: &StatsQuery) -> rusqlite::Result<Vec<StatRow>> {
    let mut condition = Condition::of(&query.filter);
    let of_deeds = |dimension: &Dimension| matches!(dimension, Dimension::Policy | Dimension::Rule);
    let by_deeds = query.by.iter().any(of_deeds);
    let mut columns = Vec::new();
    for dimension in &query.by {
        match dimension {
            Dimension::Policy => columns.push("d.policy".to_owned()),
            Dimension::Rule => columns.push("d.policy || CASE d.rule WHEN '' THEN '' ELSE '/' || d.rule END".to_owned()),
            Dimension::Role => columns.push("f.roles".to_owned()),
            Dimension::Team => columns.push("f.team".to_owned()),
            Dimension::CostCentre => columns.push("f.cost_centre".to_owned()),
            Dimension::Model => columns.push("f.model".to_owned()),
            Dimension::Target => columns.push("f.target".to_owned()),
            Dimension::Verdict => columns.push("CASE f.verdict WHEN 0 THEN 'allow' WHEN 1 THEN 'redact' WHEN 2 THEN 'escalate' ELSE 'block' END".to_owned()),
            Dimension::Fleet => columns.push("i.fleet".to_owned()),
            Dimension::Hour => columns.push(format!("strftime('%Y-%m-%dT%H:00Z', f.time_us / {HOUR_US} * 3600, 'unixepoch')")),
            Dimension::Day => columns.push("strftime('%Y-%m-%d', f.time_us / 1000000, 'unixepoch')".to_owned()),
        }
    }
    let whats = |what: What, name: &str| {
        if by_deeds {
            format!("sum(d.{name})")
        } else {
            format!(
                "sum(EXISTS (SELECT 1 FROM deeds e WHERE e.time_us = f.time_us AND e.record = f.record AND e.what = {}))",
                what.code()
            )
        }
    };
    let counts = if by_deeds {
        "count(*), sum(d.blocked), sum(d.redacted)".to_owned()
    } else {
        format!("count(*), sum(f.verdict = {}), sum(f.verdict = 1)", verdict_code(Verdict::Block))
    };
    let mut sql = String::from("SELECT ");
    for column in &columns {
        let _ = write!(sql, "coalesce({column}, '-'), ");
    }
    let _ = write!(
        sql,
        "{counts}, {}, {}, sum(f.ending = {}), sum(coalesce(f.input_tokens, 0)), sum(coalesce(f.output_tokens, 0)), sum(coalesce(f.micro_usd, 0)), sum(f.unpriced) FROM facts f",
        whats(What::WouldBlock, "would_block"),
        whats(What::WouldRedact, "would_redact"),
        End::Failed as i64,
    );
    let filter = &query.filter;
    if filter.fleet.is_some() || !filter.instances.is_empty() || query.by.contains(&Dimension::Fleet) {
        sql.push_str(" JOIN runs u ON u.no = f.run_no JOIN instances i ON i.no = u.instance_no");
    }
    if by_deeds {
        let source = deeds_by_request(&mut condition, query);
        let _ = write!(sql, " JOIN {source} d ON d.record = f.record");
    }
    sql.push_str(&condition.text);
    if !columns.is_empty() {
        let places: Vec<String> = (1..=columns.len()).map(|at| at.to_string()).collect();
        let places = places.join(", ");
        let first = columns.len() + 1;
        let _ = write!(sql, " GROUP BY {places} ORDER BY {first} DESC, {places} LIMIT {}", query.limit);
    }
    let width = columns.len();
    let mut select = connection.prepare_cached(&sql)?;
    let rows = select.query_map(params_from_iter(condition.bound()), |row| {
        let key = (0..width).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<String>>>()?;
        let number = |at: usize| -> rusqlite::Result<u64> {
            Ok(natural(row.get::<_, Option<i64>>(width + at)?.unwrap_or(0)))
        };
        Ok(StatRow {
            key,
            requests: number(0)?,
            blocked: number(1)?,
            redacted: number(2)?,
            would_block: number(3)?,
            would_redact: number(4)?,
            failed: number(5)?,
            input_tokens: number(6)?,
            output_tokens: number(7)?,
            micro_usd: number(8)?,
            unpriced: number(9)?,
        })
    })?;
    rows.collect()
}

/// What policies did, once for each request and policy (and rule, where that is asked for), so that nothing of a request
/// counts twice in a row.
fn deeds_by_request(condition: &mut Condition, query: &StatsQuery) -> String {
    let rule = if query.by.contains(&Dimension::Rule) { ", rule" } else { "" };
    let mut inner = Condition { text: String::new(), values: std::mem::take(&mut condition.values) };
    if let Some(from) = query.filter.from_us {
        inner.value("time_us >= ?", from);
    }
    if let Some(to) = query.filter.to_us {
        inner.value("time_us < ?", to);
    }
    condition.values = inner.values;
    let max = |what: What, name: &str| format!("max(what = {}) AS {name}", what.code());
    format!(
        "(SELECT record, policy{rule}, {}, {}, {}, {} FROM deeds{} GROUP BY time_us, record, policy{rule})",
        max(What::Block, "blocked"),
        max(What::Redact, "redacted"),
        max(What::WouldBlock, "would_block"),
        max(What::WouldRedact, "would_redact"),
        inner.text,
    )
}

pub(super) fn names(
    connection: &Connection,
    pseudonyms: &[Pseudonym],
) -> rusqlite::Result<Vec<(Pseudonym, Sealed)>> {
    let mut select = connection.prepare_cached(
        "SELECT p.sealed, k.key FROM pseudonyms a JOIN persons p ON p.person = a.person
         JOIN person_keys k ON k.person = p.person WHERE a.pseudonym = ?1 LIMIT 1",
    )?;
    let mut found = Vec::new();
    for pseudonym in pseudonyms {
        let row: Option<(String, String)> =
            select.query_row([pseudonym.to_bytes()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        // What can't be read any more is a name that can't be shown.
        let sealed = row.and_then(|(sealed, key)| {
            Some((serde_json::from_str(&sealed).ok()?, serde_json::from_str(&key).ok()?))
        });
        if let Some(sealed) = sealed {
            found.push((*pseudonym, sealed));
        }
    }
    Ok(found)
}

pub(super) fn pseudonyms(connection: &Connection, person: Pseudonym) -> rusqlite::Result<Vec<Pseudonym>> {
    connection
        .prepare_cached("SELECT DISTINCT pseudonym FROM pseudonyms WHERE person = ?1 ORDER BY pseudonym")?
        .query_map([person.to_bytes()], |row| Ok(Pseudonym::from_bytes(row.get(0)?)))?
        .collect()
}
