//! `GET /api/2.0/serving-endpoints`, which clients use to discover models.

use http::StatusCode;
use serde_json::{Value, json};

use super::catalogue::{self, Endpoint, Task};
use super::errors::{self, Subject};
use super::reply::Reply;

/// All endpoints.
pub(crate) fn all(with_retired: bool) -> Reply {
    let endpoints: Vec<Value> = catalogue::listed(with_retired).map(|endpoint| describe(&endpoint)).collect();
    Reply::json(StatusCode::OK, &json!({ "endpoints": endpoints }))
}

/// One of them.
pub(crate) fn one(name: &str, with_retired: bool, subject: &Subject<'_>) -> Reply {
    let found = catalogue::find(name).filter(|endpoint| with_retired || !endpoint.retired);
    found.map_or_else(
        || errors::no_such_endpoint(subject),
        |endpoint| Reply::json(StatusCode::OK, &describe(&endpoint)),
    )
}

fn describe(endpoint: &Endpoint<'_>) -> Value {
    let task = match endpoint.task {
        Task::Chat | Task::Any => "llm/v1/chat",
        Task::Embeddings(_) => "llm/v1/embeddings",
        Task::ResponsesAgent => "agent/v1/responses",
        Task::Custom => "",
    };
    json!({
        "name": endpoint.name,
        "state": {"ready": "READY", "config_update": "NOT_UPDATING"},
        "config": {"served_entities": [{"name": endpoint.served, "entity_name": endpoint.name}]},
        "task": task,
        "endpoint_type": if endpoint.task == Task::Custom { "CUSTOM_MODEL" } else { "FOUNDATION_MODEL_API" },
        "permission_level": "CAN_QUERY",
    })
}
