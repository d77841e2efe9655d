//! How far behind a sink is.

use crate::audit::store::{AuditStore, AuditStoreError};

/// What a sink has yet to take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lag {
    /// Records, at most: those that it does not want are among them.
    pub(crate) records: u64,
    /// When the store had the oldest of them, microseconds since 1970 UTC; none: there is none.
    pub(crate) oldest_us: Option<i64>,
}

/// What a sink that has come to a place has yet to take.
pub(crate) async fn lag(store: &dyn AuditStore, position: u64) -> Result<Lag, AuditStoreError> {
    let records = store.last_arrival().await?.saturating_sub(position);
    if records == 0 {
        return Ok(Lag::default());
    }
    let oldest = store.arrivals(position, None, 1).await?;
    Ok(Lag { records, oldest_us: oldest.first().map(|stored| stored.stored_us) })
}
