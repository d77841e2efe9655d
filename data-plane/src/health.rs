//! Whether the gateway lives, and whether it serves.
//!
//! `/readyz` is 200 while a pack serves, however degraded; the reasons stand beside it. It is 503 while draining. (The
//! gateway does not start without a pack.)

use http::{Response, StatusCode};
use serde::Serialize;

use crate::{
    metrics::ReasonLabels,
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
    pack: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
}

#[derive(Serialize)]
struct Report<'a> {
    status: &'static str,
    version: &'static str,
    uptime_seconds: u64,
    pack: &'a str,
    degraded: Vec<String>,
    requests_in_flight: i64,
}

/// Answers a question of health.
pub(crate) fn answer(shared: &Shared, health: Health) -> Response<Body> {
    let active = shared.active.load();
    let is_draining = shared.is_draining();
    let ready_status = if is_draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    match health {
        Health::Live => json(StatusCode::OK, &Live { status: "ok" }),
        Health::Ready => {
            let degraded = reasons(shared);
            json(ready_status, &Ready { status: status(is_draining, &degraded), pack: &active.id, degraded })
        }
        Health::Report => {
            let degraded = reasons(shared);
            let report = Report {
                status: status(is_draining, &degraded),
                version: env!("CARGO_PKG_VERSION"),
                uptime_seconds: shared.started.elapsed().as_secs(),
                pack: &active.id,
                degraded,
                requests_in_flight: shared.metrics.in_flight.get(),
            };
            json(ready_status, &report)
        }
    }
}

const fn status(is_draining: bool, degraded: &[String]) -> &'static str {
    match (is_draining, degraded.is_empty()) {
        (true, _) => "draining",
        (false, false) => "degraded",
        (false, true) => "ok",
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
    for target in &shared.active.load().targets {
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
    metrics.ready.set(i64::from(!shared.is_draining()));
    metrics.degraded.clear();
    for (reason, fault) in [("pack", &shared.pack_fault), ("keys", &shared.keys_fault)] {
        let labels = ReasonLabels { reason: Arc::from(reason) };
        metrics.degraded.get_or_create(&labels).set(i64::from(fault.load().is_some()));
    }
    metrics
        .degraded
        .get_or_create(&ReasonLabels { reason: Arc::from("audit") })
        .set(i64::from(shared.recorder.is_failing()));
    let active = shared.active.load();
    let is_secret_bad = active
        .targets
        .iter()
        .any(|target| target.secret.as_ref().is_some_and(|secret| secret.fault().is_some()));
    metrics
        .degraded
        .get_or_create(&ReasonLabels { reason: Arc::from("credential") })
        .set(i64::from(is_secret_bad));
    metrics.secret_age.clear();
    for target in &active.targets {
        if let Some(age) = target.secret.as_ref().and_then(|secret| secret.age()) {
            let labels = crate::metrics::TargetLabels { target: Arc::clone(&target.id) };
            metrics.secret_age.get_or_create(&labels).set(age.as_secs_f64());
        }
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    respond::json(status, serde_json::to_vec(value).unwrap_or_default())
}
