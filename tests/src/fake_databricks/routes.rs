//! Which paths exist (`reference/databricks-serving.md` §1.1, §1.2, §2.1).

use http::Method;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// `POST /serving-endpoints/{name}/invocations`.
    Invocations(&'a str),
    /// A form whose body names the endpoint.
    Api(Api, Surface),
    /// `POST /oidc/v1/token`.
    Token,
    /// `GET /oidc/.well-known/oauth-authorization-server`.
    Discovery,
    /// `GET /api/2.0/serving-endpoints`.
    Listing,
    /// `GET /api/2.0/serving-endpoints/{name}`.
    Described(&'a str),
    /// The fake's own controls, below `/__fake/`.
    Control(&'a str),
    /// All else: 404 `ENDPOINT_NOT_FOUND`.
    Nowhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    Chat,
    Completions,
    Embeddings,
    Responses,
    OpenResponses,
    Messages,
}

/// The two generations; they differ in how a missing model is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    Classic,
    AiGateway,
}

/// The route of a path, without its query.
pub(crate) fn route<'a>(method: &Method, path: &'a str) -> Route<'a> {
    if let Some(control) = path.strip_prefix("/__fake/") {
        return Route::Control(control);
    }
    let post = *method == Method::POST;
    let get = *method == Method::GET;
    match path {
        "/serving-endpoints/chat/completions" if post => Route::Api(Api::Chat, Surface::Classic),
        "/serving-endpoints/completions" if post => Route::Api(Api::Completions, Surface::Classic),
        "/serving-endpoints/embeddings" if post => Route::Api(Api::Embeddings, Surface::Classic),
        "/serving-endpoints/responses" if post => Route::Api(Api::Responses, Surface::Classic),
        "/serving-endpoints/open-responses" if post => Route::Api(Api::OpenResponses, Surface::Classic),
        "/serving-endpoints/anthropic/v1/messages" if post => Route::Api(Api::Messages, Surface::Classic),
        "/ai-gateway/mlflow/v1/chat/completions" if post => Route::Api(Api::Chat, Surface::AiGateway),
        "/ai-gateway/mlflow/v1/embeddings" if post => Route::Api(Api::Embeddings, Surface::AiGateway),
        "/oidc/v1/token" if post => Route::Token,
        "/oidc/.well-known/oauth-authorization-server" if get => Route::Discovery,
        "/api/2.0/serving-endpoints" if get => Route::Listing,
        _ => named(post, get, path),
    }
}

fn named(post: bool, get: bool, path: &str) -> Route<'_> {
    let whole = |name: &&str| !name.is_empty() && !name.contains('/');
    if post
        && let Some(name) = path
            .strip_prefix("/serving-endpoints/")
            .and_then(|rest| rest.strip_suffix("/invocations"))
            .filter(whole)
    {
        return Route::Invocations(name);
    }
    match path.strip_prefix("/api/2.0/serving-endpoints/").filter(whole) {
        Some(name) if get => Route::Described(name),
        _ => Route::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_mistakes_lead_nowhere() {
        let post = |path| route(&Method::POST, path);
        assert_eq!(post("/serving-endpoints/x/invocations"), Route::Invocations("x"));
        assert_eq!(post("/api/2.0/serving-endpoints/x/invocations"), Route::Nowhere);
        assert_eq!(post("/serving-endpoints//invocations"), Route::Nowhere);
        assert_eq!(post("/v1/chat/completions"), Route::Nowhere);
        assert_eq!(route(&Method::GET, "/serving-endpoints/chat/completions"), Route::Nowhere);
        assert_eq!(route(&Method::GET, "/api/2.0/serving-endpoints/x"), Route::Described("x"));
    }
}
