//! What is fed from the store: how far each sink has come, and which replica feeds it.

use std::time::Duration;

use tokio_postgres::Row as SqlRow;

use super::{
    super::{NamedSink, SinkMark, SinkState},
    codes::{int, natural},
    link::{Fault, Link},
    read::{number, words},
};

/// The lease is by the clock of the server, and renewed when half of it is over.
pub(super) async fn take(
    link: &mut Link,
    sink: String,
    owner: String,
    lease: Duration,
    begin: u64,
) -> Result<Option<SinkState>, Fault> {
    let lease = lease.as_secs_f64();
    let mut asking = link.asking();
    let held = asking
        .query_opt(
            "SELECT position, planned, delivered_us, problem, problem_us FROM sinks
             WHERE name = $1 AND owner = $2 AND leased_until > clock_timestamp() + make_interval(secs => $3::float8 / 2)",
            &[&sink, &owner, &lease],
        )
        .await?;
    if let Some(held) = held {
        return state(&held, 0).map(Some);
    }
    let taken = asking
        .query_opt(
            "INSERT INTO sinks AS s (name, position, owner, leased_until)
             VALUES ($1, $4, $2, clock_timestamp() + make_interval(secs => $3::float8))
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, leased_until = excluded.leased_until
             WHERE s.owner = excluded.owner OR s.leased_until < clock_timestamp()
             RETURNING position, planned, delivered_us, problem, problem_us",
            &[&sink, &owner, &lease, &int(begin)],
        )
        .await?;
    taken.map(|row| state(&row, 0)).transpose()
}

pub(super) async fn put(link: &mut Link, sink: String, owner: String, new: SinkState) -> Result<bool, Fault> {
    let (problem, since) = new.problem.map(|(problem, since)| (problem.to_string(), since)).unzip();
    let noted = link
        .asking()
        .execute(
            "UPDATE sinks SET position = $3, planned = $4, delivered_us = $5, problem = $6, problem_us = $7
             WHERE name = $1 AND owner = $2",
            &[
                &sink,
                &owner,
                &int(new.mark.position),
                &new.mark.planned.map(int),
                &new.delivered_us,
                &problem,
                &since,
            ],
        )
        .await?;
    Ok(noted > 0)
}

pub(super) async fn all(link: &mut Link) -> Result<Vec<NamedSink>, Fault> {
    let rows = link
        .asking()
        .query(
            "SELECT name, position, planned, delivered_us, problem, problem_us FROM sinks ORDER BY name",
            &[],
        )
        .await?;
    rows.iter().map(|row| Ok((words(row, 0)?, state(row, 1)?))).collect()
}

/// The columns of a state, the first one at `at`.
fn state(row: &SqlRow, at: usize) -> Result<SinkState, Fault> {
    let problem: Option<String> = row.try_get(at + 3)?;
    let since: Option<i64> = row.try_get(at + 4)?;
    Ok(SinkState {
        mark: SinkMark {
            position: number(row, at)?,
            planned: row.try_get::<_, Option<i64>>(at + 1)?.map(natural),
        },
        delivered_us: row.try_get(at + 2)?,
        problem: problem.map(Into::into).zip(since),
    })
}
