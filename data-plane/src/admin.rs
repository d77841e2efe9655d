//! What the operator may look at: metrics, health, and the configuration without its secrets.

use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    active::Active,
    control::status::{ControlStatus, InForce},
    error::GatewayError,
    health::{self, Health},
    respond::{self, Body},
    settings::{Origin, Settings},
    shared::Shared,
};

const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers one request on the admin listener. Nothing here changes anything.
pub(crate) fn answer<B>(shared: &Shared, request: &Request<B>) -> Response<Body> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let error = match (request.uri().path(), is_read) {
        ("/metrics", true) => return metrics(shared),
        ("/healthz", true) => return health::answer(shared, Health::Live),
        ("/readyz", true) => return health::answer(shared, Health::Ready),
        ("/health", true) => return health::answer(shared, Health::Report),
        ("/keeptrusts/config", true) => return respond::json(StatusCode::OK, config(shared).to_string()),
        ("/metrics" | "/healthz" | "/readyz" | "/health" | "/keeptrusts/config", false) => {
            GatewayError::MethodNotAllowed { allow: "GET, HEAD" }
        }
        _ => GatewayError::NotGoverned,
    };
    respond::error(&error, "")
}

fn metrics(shared: &Shared) -> Response<Body> {
    health::update_gauges(shared);
    let mut text = shared.metrics.encode().unwrap_or_default();
    crate::metrics::append_audit(&mut text, &shared.recorder, shared.delivery.as_deref());
    respond::full(StatusCode::OK, PROMETHEUS, text)
}

/// The running configuration. Names of variables and files that hold secrets are named; what they hold is nowhere here.
fn config(shared: &Shared) -> Value {
    let settings = &shared.settings;
    let mut config = json!({
        "gateway": {"version": env!("CARGO_PKG_VERSION"), "uptime_seconds": shared.started.elapsed().as_secs()},
        "upstream_overrides": settings.bind.upstream,
        "identity": {
            "keys_file": settings.identity.keys_file.as_ref().map(|path| path.display().to_string()),
            "keys": shared.metrics.keys.get(),
            "keys_fault": shared.keys_fault.load().as_deref(),
            "require_identity": settings.identity.require_identity,
            "anonymous": shared.identity.serves_anonymous(),
        },
        "settings": shown_settings(settings),
    });
    let parts = [
        shared.control.as_deref().map(|control| json!({"control_plane": control_plane(control)})),
        shared.active.load().as_deref().map(|active| shown_pack(shared, active)),
    ];
    for part in parts {
        if let (Some(all), Some(Value::Object(part))) = (config.as_object_mut(), part) {
            all.extend(part);
        }
    }
    config
}

/// What the control plane has pushed, and whose signatures it must carry.
fn control_plane(control: &ControlStatus) -> Value {
    let document = |in_force: &InForce| {
        json!({
            "generation": in_force.held.generation,
            "digest": in_force.held.digest.to_string(),
            "source": in_force.source.as_str(),
            "since": in_force.since.to_string(),
            "signed_by": in_force.signers,
        })
    };
    json!({
        "url": control.url,
        "fleet": control.fleet,
        "connected": control.is_connected(),
        "last_contact_seconds_ago": control.contact_age().map(|age| age.as_secs()),
        "fault": control.link_fault.load().as_deref(),
        "assignment": control.assignment.load().as_deref().map(document),
        "key_set": control.key_set.load().as_deref().map(document),
        "trust": {
            "keys": control.trust.keys.iter().map(|key| key.id().to_string()).collect::<Vec<_>>(),
            "threshold": if control.trust.is_required() { control.trust.threshold.max(1) } else { 0 },
        },
    })
}

/// The parts that are known only with a pack.
fn shown_pack(shared: &Shared, active: &Active) -> Value {
    let pack = &active.pack;
    let targets: Vec<Value> = pack
        .targets
        .iter()
        .zip(&active.targets)
        .map(|(target, runtime)| {
            let url = runtime.url(kt_policy::verdict::Endpoint::ChatCompletions);
            json!({
                "id": target.id,
                "model": target.model,
                "host": url.host_str(),
                "port": url.port_or_known_default(),
                "scheme": url.scheme(),
                "overridden": runtime.is_overridden,
                "credential": match &runtime.secret {
                    None => "none",
                    Some(secret) if secret.fault().is_some() => "degraded",
                    Some(_) => "ok",
                },
                "region": target.region,
                "notice": runtime.notice,
                "timeout_seconds": target.first_byte_timeout.as_secs(),
                "total_timeout_seconds": target.total_timeout.as_secs(),
                "stream_idle_seconds": target.stream_idle_timeout.as_secs(),
                "connect_timeout_seconds": target.connect_timeout.as_secs(),
            })
        })
        .collect();
    let name = |index: &usize| pack.targets.get(*index).map(|target| target.id.to_string());
    json!({
        "pack": {
            "name": pack.id.name,
            "version": pack.id.version.to_string(),
            "digest": hex::encode(pack.id.digest),
            "source": match &shared.settings.origin {
                Origin::File(path) => path.display().to_string(),
                Origin::ControlPlane(control) => control.url.clone(),
            },
            "generation": active.generation,
            "since": active.since.to_string(),
            "fault": shared.pack_fault.load().as_deref(),
        },
        "policies": {
            "chain": pack.chain.iter().map(|entry| json!({"kind": entry.kind.as_str(), "mode": entry.mode})).collect::<Vec<_>>(),
            "block_response": pack.block_response,
            "exceptions": pack.exceptions.len(),
        },
        "targets": targets,
        "aliases": pack.aliases,
        "fallback": pack.fallback.as_ref().map(|fallback| json!({
            "order": fallback.order.iter().filter_map(name).collect::<Vec<_>>(),
            "triggers": fallback.triggers,
            "max_fallback_attempts": fallback.max_attempts,
        })),
        "audit": {
            "in_chain": active.audit.is_some(),
            "dir": shared.settings.audit.as_ref().map(|audit| audit.dir.display().to_string()),
            "delivered": shared.delivery.is_some(),
            "durability": active.audit.map(|plan| plan.durability),
            "log_all_access": active.audit.map(|plan| plan.log_all_access),
            "retention_days": active.audit.map(|plan| plan.retention.days),
        },
        "model_table": active.price_table,
    })
}

fn shown_settings(settings: &Settings) -> Value {
    json!({
            "listen": settings.listen.to_string(),
            "admin_listen": settings.admin_listen.map(|address| address.to_string()),
            "fail_mode": settings.fail_mode.as_str(),
            "pack_env": settings.bind.pack_env,
            "secrets_dir": settings.bind.secrets_dir.as_ref().map(|path| path.display().to_string()),
            "allow_upstream": settings.bind.allow_upstream,
            "upstream_ca_file": settings.upstream_ca_file.as_ref().map(|path| path.display().to_string()),
            "proxy_from_environment": settings.proxy_from_environment,
            "heartbeat_ms": settings.heartbeat.map(|after| after.as_millis()),
            "limits": {
                "body_bytes": settings.limits.body_bytes,
                "head_bytes": settings.limits.head_bytes,
                "headers": settings.limits.headers,
                "json_depth": settings.limits.json_depth,
                "concurrency": settings.limits.concurrency,
                "connections": settings.limits.connections,
                "answer_bytes": settings.limits.answer_bytes,
                "event_bytes": settings.limits.event_bytes,
            },
            "timeouts_ms": {
                "head": settings.timeouts.head.as_millis(),
                "body": settings.timeouts.body.as_millis(),
                "idle": settings.timeouts.idle.as_millis(),
                "policy": settings.timeouts.policy.as_millis(),
                "drain": settings.timeouts.drain.as_millis(),
                "audit": settings.timeouts.audit.as_millis(),
            },
    })
}
