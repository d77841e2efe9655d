//! Every metric of the control plane but those of delivery, in one place.
//!
//! Labels come from closed sets: methods, codes of ours. What a caller writes never becomes a label.

use std::{fmt, sync::Arc};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CallLabels {
    pub(crate) method: &'static str,
    /// `answered`, or why the call did not get to its method.
    pub(crate) outcome: &'static str,
}

/// How a change of the registry ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ChangeLabels {
    pub(crate) action: &'static str,
    /// `done`, `unchanged`, or the code of the refusal.
    pub(crate) outcome: &'static str,
}

/// What the mirror counts.
#[derive(Debug, Clone, Default)]
pub struct MirrorMetrics {
    /// States that were published since something differed.
    pub changes: Counter,
    /// Watches that broke or went silent.
    pub watch_breaks: Counter,
    /// Times that the store was restored or replaced.
    pub restored: Counter,
    /// Changes that a watch has lost, found by comparing. An alarm: more than 0 is a fault of the store.
    pub lost_changes: Counter,
    /// Records that could not be read.
    pub unreadable: Gauge,
}

/// The metrics, as they are counted.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Of the mirror.
    pub mirror: MirrorMetrics,
    pub(crate) calls: Family<CallLabels, Counter>,
    pub(crate) changes: Family<ChangeLabels, Counter>,
    /// Assignments refused since their generation is taken by another one.
    pub(crate) generation_conflicts: Counter,
    pub(crate) ready: Gauge,
    pub(crate) store_reachable: Gauge,
    pub(crate) state_age: Gauge<f64, std::sync::atomic::AtomicU64>,
    pub(crate) fleets_diverged: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

// === impl Metrics ===

impl Metrics {
    /// The metrics; `more` adds those of other parts.
    pub fn new(more: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix("keeptrusts_control_plane");
        let mirror = MirrorMetrics::default();
        let metrics = Self {
            registry: Arc::new(Registry::default()),
            mirror,
            calls: Family::default(),
            changes: Family::default(),
            generation_conflicts: Counter::default(),
            ready: Gauge::default(),
            store_reachable: Gauge::default(),
            state_age: Gauge::default(),
            fleets_diverged: Gauge::default(),
        };
        macro_rules! register {
            ($($field:expr => $name:literal, $help:literal;)*) => {
                $(registry.register($name, $help, $field.clone());)*
            };
        }
        register! {
            metrics.calls => "calls", "Calls by method, and whether they got there";
            metrics.changes => "changes", "Changes that people asked for, by action and outcome";
            metrics.generation_conflicts => "generation_conflicts",
                "Assignments refused since their generation is another one's";
            metrics.ready => "ready", "Whether the control plane serves";
            metrics.store_reachable => "store_reachable", "Whether the store answers";
            metrics.state_age => "state_age_seconds", "Since the store was last heard of";
            metrics.fleets_diverged => "fleets_diverged", "Fleets that are not published to until they are recovered";
            metrics.mirror.changes => "mirror_changes", "States that differed from the one before";
            metrics.mirror.watch_breaks => "mirror_watch_breaks", "Watches of the store that broke or went silent";
            metrics.mirror.restored => "mirror_restored", "Times that the store was restored or replaced";
            metrics.mirror.lost_changes => "mirror_lost_changes",
                "Changes that a watch has lost, found by comparing; more than 0 is a fault of the store";
            metrics.mirror.unreadable => "mirror_unreadable_records", "Stored records that could not be read";
        }
        more(&mut registry);
        Self { registry: Arc::new(registry), ..metrics }
    }

    /// Everything in the text format of Prometheus.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
