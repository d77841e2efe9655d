//! What sinks count.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Whose.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    /// A name from the settings.
    sink: String,
}

/// What is counted; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct SinkMetrics {
    records: Family<Label, Counter>,
    batches: Family<Label, Counter>,
    failures: Family<Label, Counter>,
    lag_records: Family<Label, Gauge>,
    lag_seconds: Family<Label, Gauge>,
}

// === impl SinkMetrics ===

impl SinkMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let families: [(&str, &str, &Family<Label, Counter>); 3] = [
            ("audit_sink_records", "Records that a sink has taken", &self.records),
            ("audit_sink_batches", "Batches that a sink has taken", &self.batches),
            ("audit_sink_failures", "Times that a batch did not arrive; it is sent again", &self.failures),
        ];
        for (name, help, family) in families {
            registry.register(name, help, family.clone());
        }
        registry.register(
            "audit_sink_lag_records",
            "Records that a sink has yet to take",
            self.lag_records.clone(),
        );
        registry.register(
            "audit_sink_lag_seconds",
            "How long the oldest of them has waited",
            self.lag_seconds.clone(),
        );
    }

    pub(super) fn delivered(&self, sink: &str, records: usize) {
        let label = Label { sink: sink.to_owned() };
        self.records.get_or_create(&label).inc_by(u64::try_from(records).unwrap_or(u64::MAX));
        self.batches.get_or_create(&label).inc();
    }

    pub(super) fn failed(&self, sink: &str) {
        self.failures.get_or_create(&Label { sink: sink.to_owned() }).inc();
    }

    pub(super) fn lags(&self, sink: &str, lag: super::Lag, now_us: i64) {
        let label = Label { sink: sink.to_owned() };
        self.lag_records.get_or_create(&label).set(i64::try_from(lag.records).unwrap_or(i64::MAX));
        let waited = lag.oldest_us.map_or(0, |oldest| now_us.saturating_sub(oldest).max(0) / 1_000_000);
        self.lag_seconds.get_or_create(&label).set(waited);
    }
}
