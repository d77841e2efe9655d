//! The tables, and how an older database is brought to them.

use std::ops::RangeInclusive;

use super::{
    link::{Fault, Link, Writing},
    settings::Keys,
};

/// Each brings a database from the form of its place to the next.
const MIGRATIONS: &[&str] = &[include_str!("0001.sql"), include_str!("0002.sql")];

/// The form of the database that this build writes: how many of the migrations it has seen.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a handful, and `try_from` is not const"
)]
pub(super) const FORM: i32 = MIGRATIONS.len() as i32;

/// The oldest server that the statements are written for.
pub(super) const OLDEST: i32 = 14;

/// Locks of replicas against each other, by number.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1802789217, $1)";
const LOCK_FORM: i32 = 1;
const LOCK_PARTITIONS: i32 = 2;

pub(super) const DAY_US: i64 = 86_400_000_000;

/// What the server is.
pub(super) struct Server {
    /// Its main version.
    pub(super) version: i32,
    /// The encoding of the database.
    pub(super) encoding: String,
    /// Whether a commit is on the disk when it returns.
    pub(super) is_durable: bool,
}

pub(super) async fn server(link: &mut Link) -> Result<Server, Fault> {
    let row = link
        .asking()
        .query_one(
            "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_encoding'),
               current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'",
            &[],
        )
        .await?;
    Ok(Server { version: row.try_get(0)?, encoding: row.try_get(1)?, is_durable: row.try_get(2)? })
}

/// Brings the database to the form of this build, and tells the form that it has then. One replica does it, the others
/// wait for it; a later form is left as it is.
pub(super) async fn prepare(link: &mut Link) -> Result<i32, Fault> {
    let mut asking = link.transaction().await?;
    asking.execute(LOCK, &[&LOCK_FORM]).await?;
    // Somebody with more rights may have made it.
    let is_there = asking.query_opt("SELECT 1 FROM pg_namespace WHERE nspname = 'kt_audit'", &[]).await?;
    if is_there.is_none() {
        asking.batch("CREATE SCHEMA kt_audit").await?;
    }
    asking
        .batch(
            "CREATE TABLE IF NOT EXISTS form (
               sole boolean PRIMARY KEY DEFAULT true CHECK (sole),
               form integer NOT NULL
             );
             INSERT INTO form (form) VALUES (0) ON CONFLICT DO NOTHING",
        )
        .await?;
    let found: i32 = asking.query_one("SELECT form FROM form", &[]).await?.try_get(0)?;
    for (at, migration) in (0_i32..).zip(MIGRATIONS) {
        if at >= found {
            asking.batch(migration).await?;
        }
    }
    if found < FORM {
        asking.execute("UPDATE form SET form = $1", &[&FORM]).await?;
    }
    asking.commit().await?;
    Ok(found.max(FORM))
}

/// Notes whose keys countersign and join pseudonyms, where nobody's are noted yet; whether they are these.
pub(super) async fn claim(link: &mut Link, keys: Keys) -> Result<bool, Fault> {
    let (witness, persons) = (keys.witness.as_slice(), keys.persons.as_slice());
    let mut asking = link.asking();
    asking
        .execute(
            "INSERT INTO keepers (witness, persons) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            &[&witness, &persons],
        )
        .await?;
    let row =
        asking.query_one("SELECT witness = $1 AND persons = $2 FROM keepers", &[&witness, &persons]).await?;
    Ok(row.try_get(0)?)
}

/// The day of arrival, counted from 1970.
pub(super) const fn day_of(stored_us: i64) -> i64 {
    stored_us.div_euclid(DAY_US)
}

/// Makes the partitions of these days that are not there.
pub(super) async fn make_days(link: &mut Link, days: RangeInclusive<i64>) -> Result<(), Fault> {
    let mut asking = link.transaction().await?;
    asking.execute(LOCK, &[&LOCK_PARTITIONS]).await?;
    for day in days {
        make_day(&mut asking, day).await?;
    }
    asking.commit().await
}

async fn make_day(asking: &mut Writing<'_>, day: i64) -> Result<(), Fault> {
    let far = || Fault::Corrupt(format!("day {day} of arrival is beyond the calendar"));
    let second = day.checked_mul(86_400).ok_or_else(far)?;
    let date = jiff::Timestamp::from_second(second).map_err(|_| far())?.strftime("%Y%m%d").to_string();
    let from = day.checked_mul(DAY_US).ok_or_else(far)?;
    let to = from.checked_add(DAY_US).ok_or_else(far)?;
    for table in ["records", "facts", "deeds"] {
        let partition = format!("{table}_{date}");
        let there = asking.query_one("SELECT to_regclass($1) IS NOT NULL", &[&partition]).await?;
        if there.try_get(0)? {
            continue;
        }
        // Made apart and then attached: that stands in the way of nobody who reads or writes.
        asking
            .batch(&format!(
                "CREATE TABLE {partition} (LIKE {table} INCLUDING DEFAULTS);
                 ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ({from}) TO ({to})"
            ))
            .await?;
    }
    Ok(())
}
