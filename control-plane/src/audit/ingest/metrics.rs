//! What is counted of the records that come in.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::audit::store::Noted;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TroubleLabels {
    trouble: &'static str,
}

/// What is counted of the records that come in; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct IngestMetrics {
    pub(super) streams: Gauge,
    pub(super) batches: Counter,
    pub(super) records: Counter,
    pub(super) duplicates: Counter,
    pub(super) failures: Counter,
    pub(super) slow_downs: Counter,
    troubles: Family<TroubleLabels, Counter>,
}

impl IngestMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("audit_streams", "Gateways that send records", self.streams.clone());
        registry.register("audit_batches", "Batches of records that were stored", self.batches.clone());
        registry.register("audit_records", "Records that were stored", self.records.clone());
        registry.register("audit_duplicates", "Records that had been there", self.duplicates.clone());
        registry.register("audit_store_failures", "Batches that could not be stored", self.failures.clone());
        registry.register(
            "audit_slow_downs",
            "Times that a gateway was asked to pause because the store is slow",
            self.slow_downs.clone(),
        );
        registry.register("audit_troubles", "What was noted about records, by kind", self.troubles.clone());
    }

    pub(super) fn trouble(&self, noted: &Noted) {
        self.troubles.get_or_create(&TroubleLabels { trouble: noted.trouble.as_str() }).inc();
    }
}
