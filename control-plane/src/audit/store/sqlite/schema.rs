//! The tables, and how an older file is brought to them.

use rusqlite::Connection;

/// Each brings a file from the form of its place to the next.
const MIGRATIONS: &[&str] =
    &[include_str!("0001.sql"), include_str!("0002.sql"), include_str!("0003.sql"), include_str!("0004.sql")];

/// The form of the file that this build writes: how many of the migrations it has seen.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_wrap,
    reason = "a handful, and `try_from` is not const"
)]
pub(super) const FORM: i64 = MIGRATIONS.len() as i64;

/// Brings the file to the form of this build, and tells the form that it has then.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    tune(connection)?;
    let form = form(connection)?;
    for (at, migration) in (0..).zip(MIGRATIONS) {
        if at >= form {
            let transaction = connection.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", at + 1)?;
            transaction.commit()?;
        }
    }
    self::form(connection)
}

/// What holds for each connection.
pub(super) fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    // Names that are erased must not stay behind in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -32_768)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn form(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
