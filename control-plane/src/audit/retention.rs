//! Records whose days are over are taken out of the store, each range with a signed tombstone in its place.

use std::time::Duration;

use jiff::Timestamp;
use kt_audit::sign::StoreTombstone;
use prometheus_client::{metrics::counter::Counter, registry::Registry};

use super::{Audit, store::AuditStoreError};
use crate::backoff::between;

/// Records that go in one transaction: batches of gateways wait meanwhile.
const AT_ONCE: u32 = 5_000;

/// When records are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Days that every record is kept at least, whatever the pack says that it was written under. It lengthens only.
    pub least_days: u32,
    /// Time between two looks.
    pub interval: Duration,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { least_days: 0, interval: Duration::from_mins(10) }
    }
}

/// What is counted; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct RetentionMetrics {
    records: Counter,
    failures: Counter,
}

impl RetentionMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("audit_records_cut", "Records that retention has taken out", self.records.clone());
        registry.register(
            "audit_cut_failures",
            "Times that retention could not do its work",
            self.failures.clone(),
        );
    }
}

/// Looks again and again, for as long as it is polled.
pub(crate) async fn run(audit: Audit, settings: RetentionSettings, metrics: RetentionMetrics) {
    loop {
        // Replicas over one store don't look at the same moment.
        tokio::time::sleep(between(settings.interval / 2, settings.interval)).await;
        match cut_all(&audit, settings, Timestamp::now().as_microsecond()).await {
            Ok(0) => {}
            Ok(records) => {
                metrics.records.inc_by(records);
                tracing::info!(records, "Retention has taken audit records out.");
            }
            Err(error) => {
                metrics.failures.inc();
                tracing::error!(error = &error as &dyn std::error::Error, "Retention can't do its work.");
            }
        }
    }
}

/// Takes out what is due; returns how many records.
pub(crate) async fn cut_all(
    audit: &Audit,
    settings: RetentionSettings,
    now_us: i64,
) -> Result<u64, AuditStoreError> {
    let mut records = 0;
    let taken = audit.taken().await?;
    while let Some(due) = audit.store.due(now_us, settings.least_days, taken, AT_ONCE).await? {
        let tombstone: StoreTombstone = audit.witness.tombstone(due.instance, due.cut);
        // Another replica was faster, or a hold came between: the next look tells.
        if !audit.store.cut(due.instance, tombstone).await? {
            break;
        }
        records += due.cut.records;
    }
    Ok(records)
}
