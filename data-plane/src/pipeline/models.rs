//! `/v1/models`: what the caller may use, and nothing else. Asked of the policies themselves, model by model, so that
//! the list and the enforcement cannot disagree.

use http::{Response, StatusCode};
use kt_policy::{
    compiled::Serves,
    evaluate::{Deadline, Env, FailMode, Timer},
    json,
    request::Request,
    verdict::Endpoint,
};
use serde::Serialize;

use super::{Closing, Exchange, decide, refuse};
use crate::{
    error::{GatewayError, PolicyRefusal},
    respond::{self, Body},
};

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize, Clone)]
struct Model {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
}

/// The list.
pub(super) async fn list(exchange: Exchange) -> Response<Body> {
    let list = List { object: "list", data: usable(&exchange) };
    answer(exchange, serde_json::to_vec(&list).unwrap_or_default()).await
}

/// One of the list.
pub(super) async fn one(exchange: Exchange, id: &str) -> Response<Body> {
    let Some(model) = usable(&exchange).into_iter().find(|model| model.id == id) else {
        let refusal = PolicyRefusal {
            status: StatusCode::NOT_FOUND,
            kind: "invalid_request_error",
            code: "model_not_found",
            policy: None,
            rule: None,
            param: Some("model".into()),
            message: "there is no such model that you may use: `GET /v1/models` lists those".to_owned(),
            limit: None,
        };
        return refuse(exchange, GatewayError::Refused(Box::new(refusal))).await;
    };
    answer(exchange, serde_json::to_vec(&model).unwrap_or_default()).await
}

async fn answer(mut exchange: Exchange, bytes: Vec<u8>) -> Response<Body> {
    exchange.state_mut().bytes_out = bytes.len() as u64;
    if let Err(error) = exchange.close(Closing::completed(200)).await {
        return refuse(exchange, error).await;
    }
    exchange.finish_response(respond::json(StatusCode::OK, bytes))
}

/// Endpoint names and aliases that the caller may use, in the order of the pack.
fn usable(exchange: &Exchange) -> Vec<Model> {
    let pack = &exchange.active().pack;
    let mut models: Vec<Model> = Vec::new();
    for target in &pack.targets {
        let endpoint = match target.serves {
            Serves::Chat | Serves::Any => Endpoint::ChatCompletions,
            Serves::Completion => Endpoint::Completions,
            Serves::Embedding => Endpoint::Embeddings,
            Serves::Responses => Endpoint::Responses,
        };
        if models.iter().any(|model| *model.id == *target.model)
            || !may_use(exchange, endpoint, &target.model)
        {
            continue;
        }
        let aliases =
            pack.aliases.iter().filter(|(_, name)| ***name == *target.model).map(|(alias, _)| alias.as_str());
        for id in std::iter::once(&*target.model).chain(aliases) {
            models.push(Model {
                id: id.to_owned(),
                object: "model",
                created: exchange.active().since.as_second(),
                owned_by: "databricks",
            });
        }
    }
    models
}

fn may_use(exchange: &Exchange, endpoint: Endpoint, model: &str) -> bool {
    let body = match endpoint {
        Endpoint::ChatCompletions => {
            serde_json::json!({"model": model, "messages": [{"role": "user", "content": "-"}]})
        }
        Endpoint::Completions => serde_json::json!({"model": model, "prompt": "-"}),
        Endpoint::Embeddings | Endpoint::Responses => serde_json::json!({"model": model, "input": "-"}),
    };
    let body = body.to_string();
    let Ok(request) = Request::parse(endpoint, body.as_bytes(), &json::Limits::default()) else {
        return false;
    };
    let active = exchange.active();
    let env = Env {
        now: exchange.accepted(),
        deadline: Deadline::NEVER,
        fail_mode: FailMode::Block,
        timer: Timer::NONE,
    };
    decide::judge(active, &request, &exchange.caller(), &env).refusal.is_none()
}
