//! Every metric of the gateway, in one place.
//!
//! Labels come from closed sets: endpoints, targets and models of the pack, codes of ours. What a client or an
//! upstream writes never becomes a label.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::ship::status::ShipStatus;

/// Label values.
type Text = Arc<str>;

/// Where a model or target of the pack is not known (yet).
pub(crate) const NONE: &str = "";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) endpoint: &'static str,
    pub(crate) provider: Text,
    pub(crate) model: Text,
    pub(crate) status: u16,
    pub(crate) verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct EndpointLabels {
    pub(crate) endpoint: &'static str,
    pub(crate) stream: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct EvaluationLabels {
    pub(crate) policy: &'static str,
    pub(crate) result: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TokenLabels {
    pub(crate) direction: &'static str,
    pub(crate) model: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ModelLabels {
    pub(crate) model: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TargetLabels {
    pub(crate) target: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct AttemptLabels {
    pub(crate) target: Text,
    pub(crate) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ErrorLabels {
    pub(crate) code: &'static str,
    pub(crate) blame: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StageLabels {
    pub(crate) stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ResultLabels {
    pub(crate) result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PackLabels {
    pub(crate) name: Text,
    pub(crate) version: String,
    pub(crate) digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabels {
    pub(crate) reason: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DocumentLabels {
    pub(crate) document: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RejectionLabels {
    pub(crate) document: &'static str,
    pub(crate) stage: &'static str,
}

type Seconds = Family<StageLabels, Histogram, fn() -> Histogram>;

/// The metrics, as they are counted.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) request_duration: Family<EndpointLabels, Histogram, fn() -> Histogram>,
    pub(crate) stage_duration: Seconds,
    pub(crate) errors: Family<ErrorLabels, Counter>,
    pub(crate) evaluations: Family<EvaluationLabels, Counter>,
    pub(crate) tokens: Family<TokenLabels, Counter>,
    pub(crate) cost: Family<ModelLabels, Counter<f64, AtomicU64>>,
    pub(crate) attempts: Family<AttemptLabels, Counter>,
    pub(crate) upstream_up: Family<TargetLabels, Gauge>,
    pub(crate) secret_age: Family<TargetLabels, Gauge<f64, AtomicU64>>,
    pub(crate) pack: Family<PackLabels, Gauge>,
    pub(crate) pack_loads: Family<ResultLabels, Counter>,
    pub(crate) key_loads: Family<ResultLabels, Counter>,
    pub(crate) keys: Gauge,
    pub(crate) ready: Gauge,
    pub(crate) degraded: Family<ReasonLabels, Gauge>,
    pub(crate) identities: Family<ResultLabels, Counter>,
    pub(crate) identity_headers: Counter,
    pub(crate) anonymous_exposed: Gauge,
    pub(crate) connections: Family<ResultLabels, Counter>,
    pub(crate) connections_open: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) connected: Gauge,
    pub(crate) policy_age: Gauge<f64, AtomicU64>,
    pub(crate) last_applied: Family<DocumentLabels, Gauge<f64, AtomicU64>>,
    pub(crate) generation: Family<DocumentLabels, Gauge>,
    pub(crate) rejections: Family<RejectionLabels, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// 100 µs to 105 s.
fn request_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 21))
}

/// 1 µs to 67 s.
fn stage_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_001, 4.0, 14))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("keeptrusts_gateway"),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(request_buckets),
            stage_duration: Family::new_with_constructor(stage_buckets),
            errors: Family::default(),
            evaluations: Family::default(),
            tokens: Family::default(),
            cost: Family::default(),
            attempts: Family::default(),
            upstream_up: Family::default(),
            secret_age: Family::default(),
            pack: Family::default(),
            pack_loads: Family::default(),
            key_loads: Family::default(),
            keys: Gauge::default(),
            ready: Gauge::default(),
            degraded: Family::default(),
            identities: Family::default(),
            identity_headers: Counter::default(),
            anonymous_exposed: Gauge::default(),
            connections: Family::default(),
            connections_open: Gauge::default(),
            in_flight: Gauge::default(),
            connected: Gauge::default(),
            policy_age: Gauge::default(),
            last_applied: Family::default(),
            generation: Family::default(),
            rejections: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        macro_rules! register {
            ($($field:ident: $name:literal, $help:literal;)*) => {
                $(self.registry.register($name, $help, self.$field.clone());)*
            };
        }
        register! {
            requests: "requests", "Requests that were answered, by target, model, status and verdict";
            request_duration: "request_duration_seconds", "From the request's head to the last byte of its answer";
            stage_duration: "stage_duration_seconds", "Time by stage of a request's life";
            errors: "errors", "Refused and failed requests, by code and who is to blame";
            evaluations: "policy_evaluations", "What each policy of the chain said, by mode";
            tokens: "tokens", "Tokens as upstreams report them";
            cost: "cost_usd", "Cost by the model table; requests with an unknown price are not in it";
            attempts: "upstream_attempts", "Attempts at targets, by outcome";
            upstream_up: "upstream_up", "Whether the last attempt or probe at a target got an answer below 500";
            secret_age: "secret_age_seconds", "Time since a target's secret was last seen to change";
            pack: "pack_info", "The pack that is enforced";
            pack_loads: "pack_loads", "Packs that were looked at, by result";
            key_loads: "key_loads", "Key files that were looked at, by result";
            keys: "keys", "Gateway keys in force";
            ready: "ready", "Whether the gateway serves";
            degraded: "degraded", "Why the gateway serves with less than it should";
            identities: "identities", "How callers proved who they are, or why they were refused";
            identity_headers: "identity_headers_stripped", "Identity headers of callers that were ignored";
            anonymous_exposed: "anonymous_exposed", "Whether callers without identity are served beyond the loopback";
            connections: "connections", "Connections, by result";
            connections_open: "connections_open", "Connections that are open";
            in_flight: "requests_in_flight", "Requests that are being answered";
            connected: "control_plane_connected", "Whether the control plane is connected; 0 without one";
            policy_age: "policy_age_seconds", "Time since the control plane was last heard; 0 without one";
            last_applied: "last_applied_timestamp_seconds", "When a pushed document was taken";
            generation: "applied_generation", "The generation of a pushed document that is in force";
            rejections: "rejections", "Pushed documents that were refused, by stage";
        }
    }

    /// Everything in the text format of Prometheus.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    pub(crate) fn stage(&self, stage: &'static str, took: Duration) {
        self.stage_duration.get_or_create(&StageLabels { stage }).observe(took.as_secs_f64());
    }

    /// Counts a pushed document that was refused.
    pub(crate) fn rejection(&self, document: &'static str, stage: &'static str) {
        self.rejections.get_or_create(&RejectionLabels { document, stage }).inc();
    }

    pub(crate) fn result(family: &Family<ResultLabels, Counter>, result: &'static str) {
        family.get_or_create(&ResultLabels { result }).inc();
    }
}

/// Appends the counters of the audit log, which keeps its own, before the end mark of the text.
pub(crate) fn append_audit(
    text: &mut String,
    recorder: &crate::recorder::Recorder,
    delivery: Option<&ShipStatus>,
) {
    use std::{fmt::Write as _, sync::atomic::Ordering::Relaxed};

    let Some(handle) = recorder.handle() else { return };
    let metrics = handle.metrics();
    let end = text.strip_suffix("# EOF\n").map(str::len);
    if let Some(end) = end {
        text.truncate(end);
    }
    let counters = [
        ("records_admitted", "Records handed to the audit log", metrics.admitted.load(Relaxed)),
        ("records_written", "Records that the system has taken", metrics.written.load(Relaxed)),
        ("records_synced", "Records that an fsync covers", metrics.synced.load(Relaxed)),
        ("records_refused", "Records that could not be written, and said so", metrics.refused.load(Relaxed)),
        ("write_errors", "Writes that failed", metrics.write_errors.load(Relaxed)),
        ("syncs", "Runs of fdatasync", metrics.syncs.load(Relaxed)),
        ("sync_errors", "Runs of fdatasync that failed", metrics.sync_errors.load(Relaxed)),
        ("segments_cut", "Segments that retention cut", metrics.segments_cut.load(Relaxed)),
        ("damage", "Places that the start found damaged", metrics.damage.load(Relaxed)),
        ("interrupted", "Requests of earlier runs closed as interrupted", metrics.interrupted.load(Relaxed)),
        ("erasures", "Persons whose key was destroyed", metrics.erasures.load(Relaxed)),
    ];
    for (name, help, value) in counters {
        let name = format!("keeptrusts_gateway_audit_{name}");
        // Writing to a string cannot fail.
        let _ = write!(text, "# HELP {name} {help}.\n# TYPE {name} counter\n{name}_total {value}\n");
    }
    let name = "keeptrusts_gateway_audit_records_dropped";
    let _ = write!(text, "# HELP {name} Records that were dropped.\n# TYPE {name} counter\n");
    for (reason, value) in metrics.dropped() {
        let _ = writeln!(text, "{name}_total{{reason=\"{}\"}} {value}", reason.as_str());
    }
    let gauges = [
        ("bytes", "Bytes of the audit directory", metrics.bytes.load(Relaxed)),
        ("max_bytes", "Bytes that the audit directory may have", metrics.max_bytes.load(Relaxed)),
        ("open_requests", "Requests opened and not closed", metrics.open_requests.load(Relaxed)),
        (
            "oldest_unsynced_microseconds",
            "Age of the oldest record without an fsync",
            metrics.oldest_unsynced_age_us(jiff::Timestamp::now().as_microsecond()),
        ),
    ];
    for (name, help, value) in gauges {
        let name = format!("keeptrusts_gateway_audit_{name}");
        let _ = write!(text, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}\n");
    }
    if let Some(delivery) = delivery {
        append_delivery(text, delivery, metrics.written.load(Relaxed));
    }
    text.push_str("# EOF\n");
}

/// Appends what is counted of the delivery of records. `written`: records of this run.
fn append_delivery(text: &mut String, delivery: &ShipStatus, written: u64) {
    use std::{fmt::Write as _, sync::atomic::Ordering::Relaxed};

    let counters = [
        ("connections", "Connections that were opened for audit records", &delivery.connections),
        ("batches", "Batches sent", &delivery.batches),
        ("batch_bytes", "Bytes of the batches sent, compressed", &delivery.sent_bytes),
        ("records_sent", "Records sent, those sent again included", &delivery.sent),
        ("records_acknowledged", "Records that the control plane has stored", &delivery.acked),
        ("records_duplicated", "Records that the control plane had already", &delivery.duplicates),
        ("records_lost", "Records that the spool could not give any more", &delivery.lost),
        ("names", "Names of persons sent", &delivery.names),
    ];
    for (name, help, value) in counters {
        let (name, value) = (format!("keeptrusts_gateway_audit_delivery_{name}"), value.load(Relaxed));
        // Writing to a string cannot fail.
        let _ = write!(text, "# HELP {name} {help}.\n# TYPE {name} counter\n{name}_total {value}\n");
    }
    let name = "keeptrusts_gateway_audit_delivery_notices";
    let help = "What the control plane has found wrong with the records";
    let _ = write!(text, "# HELP {name} {help}.\n# TYPE {name} counter\n");
    for (kind, value) in delivery.notices() {
        let _ = writeln!(text, "{name}_total{{kind=\"{kind}\"}} {value}");
    }
    let gauges = [
        ("undelivered_records", "Records written and not acknowledged", delivery.undelivered(written)),
        (
            "oldest_unacknowledged_seconds",
            "Age of the oldest record that is not acknowledged",
            delivery.oldest_age().as_secs(),
        ),
        (
            "delivery_connected",
            "Whether audit records have a connection to the control plane",
            u64::from(delivery.is_connected()),
        ),
    ];
    for (name, help, value) in gauges {
        let name = format!("keeptrusts_gateway_audit_{name}");
        let _ = write!(text, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}\n");
    }
}
