//! What is fed from the store: how far each sink has come.

use rusqlite::{Connection, Row as SqlRow, params};

use super::{
    super::{NamedSink, SinkMark, SinkState},
    read::natural,
    write::int,
};

pub(super) fn take(connection: &mut Connection, sink: &str, begin: u64) -> rusqlite::Result<SinkState> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO sinks (name, position) VALUES (?1, ?2)")?
        .execute(params![sink, int(begin)])?;
    connection
        .prepare_cached(
            "SELECT position, planned, delivered_us, problem, problem_us FROM sinks WHERE name = ?1",
        )?
        .query_row([sink], |row| state(row, 0))
}

pub(super) fn put(connection: &mut Connection, sink: &str, state: &SinkState) -> rusqlite::Result<()> {
    let (problem, since) = state.problem.as_ref().map(|(problem, since)| (&**problem, *since)).unzip();
    connection
        .prepare_cached(
            "UPDATE sinks SET position = ?2, planned = ?3, delivered_us = ?4, problem = ?5, problem_us = ?6
             WHERE name = ?1",
        )?
        .execute(params![
            sink,
            int(state.mark.position),
            state.mark.planned.map(int),
            state.delivered_us,
            problem,
            since
        ])?;
    Ok(())
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<NamedSink>> {
    connection
        .prepare_cached(
            "SELECT name, position, planned, delivered_us, problem, problem_us FROM sinks ORDER BY name",
        )?
        .query_map([], |row| Ok((row.get::<_, String>(0)?.into(), state(row, 1)?)))?
        .collect()
}

/// The columns of a state, the first one at `at`.
fn state(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<SinkState> {
    let problem: Option<String> = row.get(at + 3)?;
    let since: Option<i64> = row.get(at + 4)?;
    Ok(SinkState {
        mark: SinkMark {
            position: natural(row.get(at)?),
            planned: row.get::<_, Option<i64>>(at + 1)?.map(natural),
        },
        delivered_us: row.get(at + 2)?,
        problem: problem.map(Into::into).zip(since),
    })
}
