//! Whether the gateway lives, and whether it serves.
//!
//! `/readyz` is 200 while a pack serves, however degraded; the reasons stand beside it. It is 503 while draining, and
//! while there is no pack, which a gateway with a control plane can start without.

use http::{Response, StatusCode};
use serde::Serialize;

use crate::{
    control::status::{ControlStatus, InForce},
    metrics::{DocumentLabels, ReasonLabels},
    respond::{self, Body},
    shared::Shared,
};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// `/healthz`
    Live,
    /// `/readyz`
    Ready,
    /// `/health`
    Report,
}

#[derive(Serialize)]
struct Live {
    status: &'static str,
}

#[derive(Serialize)]
struct Ready<'a> {
    status: &'static str,
    pack: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_plane: Option<ControlPlane>,
}

/// Ages, never a mere "connected": a connection can be open and dead.
#[derive(Serialize)]
struct ControlPlane {
    fleet: String,
    connected: bool,
    last_contact_seconds_ago: Option<u64>,
    assignment: Option<Document>,
    key_set: Option<Document>,
}

#[derive(Serialize)]
struct Document {
    generation: u64,
    source: &'static str,
    applied_seconds_ago: i64,
}

impl Document {
    fn of(in_force: &InForce) -> Self {
        Self {
            generation: in_force.held.generation,
            source: in_force.source.as_str(),
            applied_seconds_ago: jiff::Timestamp::now().duration_since(in_force.since).as_secs().max(0),
        }
    }
}

impl ControlPlane {
    fn of(status: &ControlStatus) -> Self {
        Self {
            fleet: status.fleet.clone(),
            connected: status.is_connected(),
            last_contact_seconds_ago: status.contact_age().map(|age| age.as_secs()),
            assignment: status.assignment.load().as_deref().map(Document::of),
            key_set: status.key_set.load().as_deref().map(Document::of),
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    status: &'static str,
    version: &'static str,
    uptime_seconds: u64,
    pack: Option<&'a str>,
    degraded: Vec<String>,
    requests_in_flight: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_plane: Option<ControlPlane>,
}

/// Answers a question of health.
pub(crate) fn answer(shared: &Shared, health: Health) -> Response<Body> {
    let active = shared.active.load();
    let pack = active.as_ref().map(|active| active.id.as_str());
    let standing = Standing { is_draining: shared.is_draining(), has_pack: pack.is_some() };
    let is_ready = pack.is_some() && !standing.is_draining && !shared.is_policy_too_old();
    let ready_status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let control_plane = || shared.control.as_deref().map(ControlPlane::of);
    match health {
        Health::Live => json(StatusCode::OK, &Live { status: "ok" }),
        Health::Ready => {
            let degraded = reasons(shared);
            let status = standing.status(&degraded);
            json(ready_status, &Ready { status, pack, degraded, control_plane: control_plane() })
        }
        Health::Report => {
            let degraded = reasons(shared);
            let report = Report {
                status: standing.status(&degraded),
                version: env!("CARGO_PKG_VERSION"),
                uptime_seconds: shared.started.elapsed().as_secs(),
                pack,
                degraded,
                requests_in_flight: shared.metrics.in_flight.get(),
                control_plane: control_plane(),
            };
            json(ready_status, &report)
        }
    }
}

struct Standing {
    is_draining: bool,
    has_pack: bool,
}

impl Standing {
    const fn status(&self, degraded: &[String]) -> &'static str {
        match (self.is_draining, self.has_pack, degraded.is_empty()) {
            (true, _, _) => "draining",
            (false, false, _) => "no_pack",
            (false, true, false) => "degraded",
            (false, true, true) => "ok",
        }
    }
}

/// Why the gateway serves with less than it should. Names targets of the pack, never secrets.
pub(crate) fn reasons(shared: &Shared) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(fault) = &*shared.pack_fault.load() {
        reasons.push(format!("pack: {fault}"));
    }
    if let Some(fault) = &*shared.keys_fault.load() {
        reasons.push(format!("keys: {fault}"));
    }
    if shared.recorder.is_failing() {
        reasons.push("audit: records can't be written".to_owned());
    }
    if let Some(control) = &shared.control {
        reasons.extend(control.reasons());
    }
    if let Some(delivery) = &shared.delivery {
        reasons.extend(delivery.reasons(shared.recorder.written()));
    }
    for target in shared.active.load().iter().flat_map(|active| &active.targets) {
        if let Some(fault) = target.secret.as_ref().and_then(|secret| secret.fault()) {
            reasons.push(format!("credential of target `{}`: {fault}", target.id));
        }
    }
    reasons
}

/// Brings the gauges up to date that are looked at rather than counted.
pub(crate) fn update_gauges(shared: &Shared) {
    use std::sync::Arc;

    let metrics = &shared.metrics;
    let active = shared.active.load();
    let is_ready = active.is_some() && !shared.is_draining() && !shared.is_policy_too_old();
    metrics.ready.set(i64::from(is_ready));
    metrics.degraded.clear();
    for (reason, fault) in [("pack", &shared.pack_fault), ("keys", &shared.keys_fault)] {
        let labels = ReasonLabels { reason: Arc::from(reason) };
        metrics.degraded.get_or_create(&labels).set(i64::from(fault.load().is_some()));
    }
    metrics
        .degraded
        .get_or_create(&ReasonLabels { reason: Arc::from("audit") })
        .set(i64::from(shared.recorder.is_failing()));
    if let Some(delivery) = &shared.delivery {
        let is_degraded = !delivery.reasons(shared.recorder.written()).is_empty();
        let labels = ReasonLabels { reason: Arc::from("audit_delivery") };
        metrics.degraded.get_or_create(&labels).set(i64::from(is_degraded));
    }
    let targets = || active.iter().flat_map(|active| &active.targets);
    let is_secret_bad =
        targets().any(|target| target.secret.as_ref().is_some_and(|secret| secret.fault().is_some()));
    metrics
        .degraded
        .get_or_create(&ReasonLabels { reason: Arc::from("credential") })
        .set(i64::from(is_secret_bad));
    metrics.secret_age.clear();
    for target in targets() {
        if let Some(age) = target.secret.as_ref().and_then(|secret| secret.age()) {
            let labels = crate::metrics::TargetLabels { target: Arc::clone(&target.id) };
            metrics.secret_age.get_or_create(&labels).set(age.as_secs_f64());
        }
    }
    let Some(control) = &shared.control else { return };
    metrics.connected.set(i64::from(control.is_connected()));
    metrics.policy_age.set(control.contact_age().unwrap_or_else(|| shared.started.elapsed()).as_secs_f64());
    metrics
        .degraded
        .get_or_create(&ReasonLabels { reason: Arc::from("control_plane") })
        .set(i64::from(!control.reasons().is_empty()));
    for (document, in_force) in [("assignment", &control.assignment), ("key set", &control.key_set)] {
        let Some(in_force) = in_force.load_full() else { continue };
        let labels = DocumentLabels { document };
        #[expect(clippy::cast_precision_loss, reason = "a metric; seconds with a fraction are enough")]
        let since = in_force.since.as_microsecond() as f64 / 1e6;
        metrics.last_applied.get_or_create(&labels).set(since);
        let generation = i64::try_from(in_force.held.generation).unwrap_or(i64::MAX);
        metrics.generation.get_or_create(&labels).set(generation);
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    respond::json(status, serde_json::to_vec(value).unwrap_or_default())
}
