//! What is read.

use std::{fmt::Write as _, sync::Arc};

use kt_audit::{
    Digest, Epoch, InstanceId, Position, Pseudonym,
    facts::What,
    record::{End, Kind, Retention, Verdict},
};
use tokio_postgres::{Row as SqlRow, types::ToSql};
use uuid::Uuid;

use super::{
    super::{
        ChainPlace, Dimension, EventFilter, InstanceRow, Mark, Noted, Origin, Page, PageToken, Row, Sealed,
        StatRow, StatsQuery, Stored, Trouble, Vouched,
    },
    codes::{int, natural, text, verdict_code},
    link::{Bound, Fault, Link},
    write::bytes,
};

/// The columns of [`stored`], for all that ask for records.
macro_rules! stored {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, i.instance, i.fleet, u.epoch, u.ordinal, r.stored_us, r.sequence, r.time_us, r.previous,
               r.hash, r.payload
             FROM records r JOIN runs u ON u.no = r.run_no JOIN instances i ON i.no = u.instance_no ",
            $rest
        )
    };
}

/// The same, found by what people filter by. The day of arrival leads to one partition.
const FOUND: &str = "JOIN facts f ON f.record = r.id AND f.stored_us = r.stored_us";

/// A column of a fixed length.
pub(super) fn fixed<const N: usize>(row: &SqlRow, at: usize) -> Result<[u8; N], Fault> {
    let bytes: &[u8] = row.try_get(at)?;
    <[u8; N]>::try_from(bytes)
        .map_err(|_| Fault::Corrupt(format!("a value has {} bytes instead of {N}", bytes.len())))
}

/// Days and whether they can be shortened.
pub(super) fn retention(row: &SqlRow, at: usize) -> Result<Retention, Fault> {
    let days: i64 = row.try_get(at)?;
    let days = u32::try_from(days).map_err(|_| Fault::Corrupt(format!("{days} days of retention")))?;
    Ok(Retention { days, immutable: row.try_get(at + 1)? })
}

pub(super) fn words(row: &SqlRow, at: usize) -> Result<Arc<str>, Fault> {
    Ok(row.try_get::<_, &str>(at)?.into())
}

pub(super) fn number(row: &SqlRow, at: usize) -> Result<u64, Fault> {
    Ok(natural(row.try_get(at)?))
}

fn stored(row: &SqlRow) -> Result<Stored, Fault> {
    Ok(Stored {
        id: number(row, 0)?,
        instance: InstanceId(row.try_get(1)?),
        fleet: words(row, 2)?,
        epoch: Epoch(fixed(row, 3)?),
        ordinal: number(row, 4)?,
        stored_us: row.try_get(5)?,
        row: Row {
            sequence: number(row, 6)?,
            time_us: row.try_get(7)?,
            previous: Digest(fixed(row, 8)?),
            hash: Digest(fixed(row, 9)?),
            payload: row.try_get(10)?,
        },
    })
}

pub(super) async fn fleet_of(link: &mut Link, instance: InstanceId) -> Result<Option<Arc<str>>, Fault> {
    let row =
        link.asking().query_opt("SELECT fleet FROM instances WHERE instance = $1", &[&instance.0]).await?;
    row.map(|row| words(&row, 0)).transpose()
}

pub(super) async fn marks(link: &mut Link, instance: InstanceId) -> Result<Vec<Mark>, Fault> {
    link.asking()
        .query(
            "SELECT u.ordinal, u.epoch, u.sequence, u.hash FROM runs u JOIN instances i ON i.no = u.instance_no
             WHERE i.instance = $1 AND u.sequence >= 0 ORDER BY u.ordinal, u.no",
            &[&instance.0],
        )
        .await?
        .iter()
        .map(|row| mark(row, 0))
        .collect()
}

/// Ordinal, epoch, sequence and hash, from a column on.
fn mark(row: &SqlRow, at: usize) -> Result<Mark, Fault> {
    Ok(Mark { ordinal: number(row, at)?, last: position(row, at + 1)? })
}

fn position(row: &SqlRow, at: usize) -> Result<Position, Fault> {
    Ok(Position {
        epoch: Epoch(fixed(row, at)?),
        sequence: number(row, at + 1)?,
        hash: Digest(fixed(row, at + 2)?),
    })
}

/// A condition, and what it is bound to. Values that others choose never stand in the text.
#[derive(Default)]
struct Condition {
    text: String,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Condition {
    fn and(&mut self, text: &str) {
        self.text.push_str(if self.text.is_empty() { " WHERE " } else { " AND " });
        self.text.push_str(text);
    }

    /// Binds a value, and tells where it stands.
    fn bind(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }

    fn one_of(&mut self, column: &str, values: &[String]) {
        if !values.is_empty() {
            let place = self.bind(texts(values));
            self.and(&format!("{column} = ANY ({place})"));
        }
    }

    /// Of numbers of ours, written out, so that partial indexes are found.
    fn coded(&mut self, column: &str, codes: impl Iterator<Item = i32>) {
        let codes: Vec<String> = codes.map(|code| code.to_string()).collect();
        match codes.as_slice() {
            [] => {}
            [one] => self.and(&format!("{column} = {one}")),
            several => self.and(&format!("{column} IN ({})", several.join(", "))),
        }
    }

    fn of(filter: &EventFilter) -> Self {
        let mut condition = Self::default();
        if filter.kinds.is_empty() {
            condition.and(&format!("f.kind = {}", Kind::Closed as i32));
        } else {
            condition.coded("f.kind", filter.kinds.iter().map(|kind| *kind as i32));
        }
        if let Some(fleet) = &filter.fleet {
            let place = condition.bind(text(fleet).into_owned());
            condition.and(&format!("i.fleet = {place}"));
        }
        if !filter.instances.is_empty() {
            let instances: Vec<Uuid> = filter.instances.iter().map(|instance| instance.0).collect();
            let place = condition.bind(instances);
            condition.and(&format!("i.instance = ANY ({place})"));
        }
        condition.times("f.time_us", filter);
        condition.coded("f.verdict", filter.verdicts.iter().map(|verdict| verdict_code(*verdict)));
        condition.one_of("f.team", &filter.teams);
        condition.one_of("f.cost_centre", &filter.cost_centres);
        if !filter.subjects.is_empty() {
            let subjects: Vec<Vec<u8>> =
                filter.subjects.iter().map(|subject| bytes(*subject).to_vec()).collect();
            let place = condition.bind(subjects);
            condition.and(&format!("f.subject = ANY ({place})"));
        }
        if !filter.models.is_empty() {
            let place = condition.bind(texts(&filter.models));
            let columns = ["f.model", "f.target_model", "f.target"];
            let either = columns.map(|column| format!("{column} = ANY ({place})"));
            condition.and(&format!("({})", either.join(" OR ")));
        }
        if !filter.roles.is_empty() {
            // Roles are kept joined; whole names are compared.
            let place = condition.bind(texts(&filter.roles));
            condition.and(&format!("string_to_array(f.roles, ',') && {place}"));
        }
        condition.deeds(filter);
        condition
    }

    fn times(&mut self, column: &str, filter: &EventFilter) {
        if let Some(from) = filter.from_us {
            let place = self.bind(from);
            self.and(&format!("{column} >= {place}"));
        }
        if let Some(to) = filter.to_us {
            let place = self.bind(to);
            self.and(&format!("{column} < {place}"));
        }
    }

    fn deeds(&mut self, filter: &EventFilter) {
        if filter.policies.is_empty() && filter.rules.is_empty() && !filter.would {
            return;
        }
        let mut inner = Self { text: String::new(), values: std::mem::take(&mut self.values) };
        inner.and("d.record = f.record AND d.stored_us = f.stored_us");
        inner.one_of("d.policy", &filter.policies);
        inner.one_of("d.rule", &filter.rules);
        if filter.would {
            inner.and(&format!("d.what IN ({}, {})", What::WouldBlock.code(), What::WouldRedact.code()));
        }
        self.values = inner.values;
        self.and(&format!("EXISTS (SELECT 1 FROM deeds d{})", inner.text));
    }

    fn bound(&self) -> Vec<Bound<'_>> {
        self.values.iter().map(|value| -> Bound<'_> { &**value }).collect()
    }
}

fn texts(values: &[String]) -> Vec<String> {
    values.iter().map(|value| text(value).into_owned()).collect()
}

pub(super) async fn events(
    link: &mut Link,
    filter: EventFilter,
    oldest_first: bool,
    page: Option<PageToken>,
    size: u32,
) -> Result<Page, Fault> {
    let mut condition = Condition::of(&filter);
    if let Some(PageToken(id)) = page {
        let place = condition.bind(int(id));
        condition.and(&format!("f.record {} {place}", if oldest_first { ">" } else { "<" }));
    }
    let order = if oldest_first { "ASC" } else { "DESC" };
    // Arrival is the order: it never changes, so pages neither repeat nor miss anything.
    let sql = format!(
        "{}{FOUND}{} ORDER BY f.record {order} LIMIT {}",
        stored!(""),
        condition.text,
        u64::from(size).saturating_add(1)
    );
    let rows = link.asking().query_once(&sql, &condition.bound()).await?;
    let mut events: Vec<Stored> = rows.iter().map(stored).collect::<Result<_, _>>()?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = events.len() > size;
    events.truncate(size);
    let next = events.last().filter(|_| more).map(|event| PageToken(event.id));
    Ok(Page { events, next })
}

/// Places become visible in their order: nothing can come later in front of what was read.
pub(super) async fn arrivals(
    link: &mut Link,
    behind: u64,
    upto: Option<u64>,
    limit: u32,
) -> Result<Vec<Stored>, Fault> {
    link.asking()
        .query(
            stored!("WHERE r.id > $1 AND r.id <= $2 ORDER BY r.id LIMIT $3"),
            &[&int(behind), &int(upto.unwrap_or(u64::MAX)), &i64::from(limit)],
        )
        .await?
        .iter()
        .map(stored)
        .collect()
}

pub(super) async fn last_arrival(link: &mut Link) -> Result<u64, Fault> {
    number(&link.asking().query_one("SELECT last FROM arrival", &[]).await?, 0)
}

pub(super) async fn request(link: &mut Link, id: Uuid) -> Result<Vec<Stored>, Fault> {
    link.asking()
        .query(
            stored!(
                "JOIN facts f ON f.record = r.id AND f.stored_us = r.stored_us
             WHERE f.request = $1 ORDER BY u.ordinal, u.no, r.sequence"
            ),
            &[&id],
        )
        .await?
        .iter()
        .map(stored)
        .collect()
}

pub(super) async fn chain(
    link: &mut Link,
    instance: InstanceId,
    behind: Option<ChainPlace>,
    limit: u32,
) -> Result<Vec<Stored>, Fault> {
    // Run by run: two machines with one identity have two runs of one ordinal, each with a chain of its own.
    let mut asking = link.asking();
    let rows = asking
        .query(
            "SELECT u.no, u.epoch FROM runs u JOIN instances i ON i.no = u.instance_no
             WHERE i.instance = $1 ORDER BY u.ordinal, u.no",
            &[&instance.0],
        )
        .await?;
    let mut runs: Vec<(i64, [u8; 16])> = Vec::with_capacity(rows.len());
    for row in &rows {
        runs.push((row.try_get(0)?, fixed(row, 1)?));
    }
    let start = behind
        .map_or(0, |place| runs.iter().position(|(_, epoch)| *epoch == place.epoch.0).unwrap_or(runs.len()));
    let mut from = behind.map_or(-1, |place| int(place.sequence));
    let mut records: Vec<Stored> = Vec::new();
    for (no, _) in runs.iter().skip(start) {
        let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(records.len());
        if left == 0 {
            break;
        }
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        let found = asking
            .query(
                stored!("WHERE r.run_no = $1 AND r.sequence > $2 ORDER BY r.sequence LIMIT $3"),
                &[no, &from, &left],
            )
            .await?;
        for row in &found {
            records.push(stored(row)?);
        }
        from = -1;
    }
    Ok(records)
}

pub(super) async fn instances(link: &mut Link) -> Result<Vec<InstanceRow>, Fault> {
    let mut asking = link.asking();
    let mut rows: Vec<(i64, InstanceRow)> = Vec::new();
    let found = asking
        .query(
            "SELECT no, instance, fleet, gateway, name, last_stored_us, records FROM instances
             ORDER BY fleet COLLATE \"C\", name COLLATE \"C\", instance",
            &[],
        )
        .await?;
    for row in &found {
        let origin = Origin {
            instance: InstanceId(row.try_get(1)?),
            fleet: words(row, 2)?,
            gateway: words(row, 3)?,
            name: words(row, 4)?,
        };
        let instance = InstanceRow {
            origin,
            marks: Vec::new(),
            last_stored_us: row.try_get(5)?,
            records: number(row, 6)?,
            noted: Vec::new(),
        };
        rows.push((row.try_get(0)?, instance));
    }
    // All at once: there may be thousands of instances.
    let marks = asking
        .query(
            "SELECT instance_no, ordinal, epoch, sequence, hash FROM runs WHERE sequence >= 0 ORDER BY ordinal, no",
            &[],
        )
        .await?;
    let notes = asking
        .query(
            "SELECT instance_no, trouble, epoch, first, last FROM notes ORDER BY noted_us, epoch, first",
            &[],
        )
        .await?;
    let places: std::collections::HashMap<i64, usize> =
        rows.iter().enumerate().map(|(at, (no, _))| (*no, at)).collect();
    let place = |row: &SqlRow| -> Result<usize, Fault> {
        Ok(places.get(&row.try_get(0)?).copied().unwrap_or(usize::MAX))
    };
    // What came between two statements belongs to an instance that is not listed yet.
    for row in &marks {
        if let Some((_, instance)) = rows.get_mut(place(row)?) {
            instance.marks.push(mark(row, 1)?);
        }
    }
    for row in &notes {
        let (instance, trouble) = (rows.get_mut(place(row)?), trouble(row.try_get(1)?));
        if let (Some((_, instance)), Some(trouble)) = (instance, trouble) {
            instance.noted.push(Noted {
                trouble,
                epoch: Epoch(fixed(row, 2)?),
                first: number(row, 3)?,
                last: number(row, 4)?,
            });
        }
    }
    Ok(rows.into_iter().map(|(_, instance)| instance).collect())
}

fn trouble(name: &str) -> Option<Trouble> {
    Trouble::ALL.into_iter().find(|trouble| trouble.as_str() == name)
}

pub(super) async fn vouched(link: &mut Link, instance: InstanceId) -> Result<Vouched, Fault> {
    let mut asking = link.asking();
    let keys = asking
        .query(
            "SELECT k.key FROM keys k JOIN instances i ON i.no = k.instance_no WHERE i.instance = $1
             ORDER BY k.seen_us, k.key",
            &[&instance.0],
        )
        .await?
        .iter()
        .map(|row| fixed(row, 0))
        .collect::<Result<_, _>>()?;
    let countersigned = asking
        .query_opt(
            "SELECT countersigned_epoch, countersigned_sequence, countersigned_hash FROM instances
             WHERE instance = $1 AND countersigned_epoch IS NOT NULL",
            &[&instance.0],
        )
        .await?
        .map(|row| position(&row, 0))
        .transpose()?;
    Ok(Vouched { keys, countersigned })
}

pub(super) async fn stats(link: &mut Link, query: StatsQuery) -> Result<Vec<StatRow>, Fault> {
    let mut condition = Condition::of(&query.filter);
    let of_deeds = |dimension: &Dimension| matches!(dimension, Dimension::Policy | Dimension::Rule);
    let by_deeds = query.by.iter().any(of_deeds);
    let at = |form: &str| format!("to_char(to_timestamp(f.time_us / 1000000) AT TIME ZONE 'UTC', '{form}')");
    let columns: Vec<String> = query
        .by
        .iter()
        .map(|dimension| match dimension {
            Dimension::Policy => "d.policy".to_owned(),
            Dimension::Rule => "d.policy || CASE d.rule WHEN '' THEN '' ELSE '/' || d.rule END".to_owned(),
            Dimension::Role => "f.roles".to_owned(),
            Dimension::Team => "f.team".to_owned(),
            Dimension::CostCentre => "f.cost_centre".to_owned(),
            Dimension::Model => "f.model".to_owned(),
            Dimension::Target => "f.target".to_owned(),
            Dimension::Verdict => {
                "CASE f.verdict WHEN 0 THEN 'allow' WHEN 1 THEN 'redact' WHEN 2 THEN 'escalate' ELSE 'block' END"
                    .to_owned()
            }
            Dimension::Fleet => "i.fleet".to_owned(),
            Dimension::Hour => at("YYYY-MM-DD\"T\"HH24:00\"Z\""),
            Dimension::Day => at("YYYY-MM-DD"),
        })
        .collect();
    let mut sql = String::from("SELECT ");
    for column in &columns {
        let _ = write!(sql, "coalesce({column}, '-') COLLATE \"C\", ");
    }
    let counts = if by_deeds {
        let deeds = ["blocked", "redacted", "would_block", "would_redact"];
        deeds.map(|name| format!("count(*) FILTER (WHERE d.{name})")).join(", ")
    } else {
        format!(
            "count(*) FILTER (WHERE f.verdict = {}), count(*) FILTER (WHERE f.verdict = {}),
             count(*) FILTER (WHERE w.would_block), count(*) FILTER (WHERE w.would_redact)",
            verdict_code(Verdict::Block),
            verdict_code(Verdict::Redact),
        )
    };
    let sum = |column: &str| format!("least(coalesce(sum(f.{column}), 0), {})::bigint", i64::MAX);
    let _ = write!(
        sql,
        "count(*), {counts}, count(*) FILTER (WHERE f.ending = {}), {}, {}, {}, count(*) FILTER (WHERE f.unpriced)
         FROM facts f",
        End::Failed as i32,
        sum("input_tokens"),
        sum("output_tokens"),
        sum("micro_usd"),
    );
    let filter = &query.filter;
    if filter.fleet.is_some() || !filter.instances.is_empty() || query.by.contains(&Dimension::Fleet) {
        sql.push_str(" JOIN runs u ON u.no = f.run_no JOIN instances i ON i.no = u.instance_no");
    }
    if by_deeds {
        let source = deeds_by_request(&mut condition, &query);
        let _ = write!(sql, " JOIN {source} d ON d.record = f.record");
    } else {
        let source = woulds(&mut condition, filter);
        let _ = write!(sql, " LEFT JOIN {source} w ON w.record = f.record");
    }
    sql.push_str(&condition.text);
    if !columns.is_empty() {
        let places: Vec<String> = (1..=columns.len()).map(|at| at.to_string()).collect();
        let places = places.join(", ");
        let first = columns.len() + 1;
        let _ = write!(sql, " GROUP BY {places} ORDER BY {first} DESC, {places} LIMIT {}", query.limit);
    }
    let width = columns.len();
    let rows = link.asking().query_once(&sql, &condition.bound()).await?;
    rows.iter()
        .map(|row| {
            let key = (0..width).map(|at| Ok(row.try_get(at)?)).collect::<Result<_, Fault>>()?;
            Ok(StatRow {
                key,
                requests: number(row, width)?,
                blocked: number(row, width + 1)?,
                redacted: number(row, width + 2)?,
                would_block: number(row, width + 3)?,
                would_redact: number(row, width + 4)?,
                failed: number(row, width + 5)?,
                input_tokens: number(row, width + 6)?,
                output_tokens: number(row, width + 7)?,
                micro_usd: number(row, width + 8)?,
                unpriced: number(row, width + 9)?,
            })
        })
        .collect()
}

/// What policies did, once for each request and policy (and rule, where that is asked for), so that nothing of a request
/// counts twice in a row.
fn deeds_by_request(condition: &mut Condition, query: &StatsQuery) -> String {
    let rule = if query.by.contains(&Dimension::Rule) { ", rule" } else { "" };
    let mut inner = Condition { text: String::new(), values: std::mem::take(&mut condition.values) };
    inner.times("time_us", &query.filter);
    condition.values = inner.values;
    format!(
        "(SELECT record, policy{rule}, {}, {}, {}, {} FROM deeds{} GROUP BY record, policy{rule})",
        any(What::Block, "blocked"),
        any(What::Redact, "redacted"),
        any(What::WouldBlock, "would_block"),
        any(What::WouldRedact, "would_redact"),
        inner.text,
    )
}

/// Requests in which a policy would have done something, once each. There are few, and they are looked up once for all.
fn woulds(condition: &mut Condition, filter: &EventFilter) -> String {
    let mut inner = Condition { text: String::new(), values: std::mem::take(&mut condition.values) };
    inner.and(&format!("what IN ({}, {})", What::WouldBlock.code(), What::WouldRedact.code()));
    inner.times("time_us", filter);
    condition.values = inner.values;
    format!(
        "(SELECT record, {}, {} FROM deeds{} GROUP BY record)",
        any(What::WouldBlock, "would_block"),
        any(What::WouldRedact, "would_redact"),
        inner.text,
    )
}

/// Whether any of the grouped deeds is of that kind.
fn any(what: What, name: &str) -> String {
    format!("bool_or(what = {}) AS {name}", what.code())
}

pub(super) async fn names(
    link: &mut Link,
    pseudonyms: Vec<Pseudonym>,
) -> Result<Vec<(Pseudonym, Sealed)>, Fault> {
    let asked: Vec<Vec<u8>> = pseudonyms.iter().map(|pseudonym| bytes(*pseudonym).to_vec()).collect();
    let rows = link
        .asking()
        .query(
            "SELECT DISTINCT ON (a.pseudonym) a.pseudonym, n.sealed, n.key
             FROM pseudonyms a JOIN names n ON n.person = a.person WHERE a.pseudonym = ANY ($1)",
            &[&asked],
        )
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let (sealed, key): (&str, &str) = (row.try_get(1)?, row.try_get(2)?);
        // What can't be read any more is a name that can't be shown.
        if let (Ok(sealed), Ok(key)) = (serde_json::from_str(sealed), serde_json::from_str(key)) {
            found.push((Pseudonym::from_bytes(fixed(row, 0)?), (sealed, key)));
        }
    }
    Ok(found)
}

pub(super) async fn pseudonyms(link: &mut Link, person: Pseudonym) -> Result<Vec<Pseudonym>, Fault> {
    link.asking()
        .query(
            "SELECT DISTINCT pseudonym FROM pseudonyms WHERE person = $1 ORDER BY pseudonym",
            &[&bytes(person).as_slice()],
        )
        .await?
        .iter()
        .map(|row| Ok(Pseudonym::from_bytes(fixed(row, 0)?)))
        .collect()
}
