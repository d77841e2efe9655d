//! Which endpoint a request is for. Only the path counts: the authority of an absolute target chooses nothing.

use http::Method;
use kt_policy::verdict::Endpoint;

use crate::{error::GatewayError, health::Health};

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Whether the gateway lives and serves.
    Health(Health),
    /// The models that the caller may use.
    Models,
    /// One of them.
    Model(String),
    /// An endpoint that the policies govern.
    Governed(Endpoint),
}

impl Route {
    /// The endpoint as records have it.
    pub(crate) const fn endpoint(&self) -> Option<kt_audit::record::Endpoint> {
        use kt_audit::record::Endpoint as Recorded;
        match self {
            Self::Health(_) => None,
            Self::Models | Self::Model(_) => Some(Recorded::Models),
            Self::Governed(Endpoint::ChatCompletions) => Some(Recorded::ChatCompletions),
            Self::Governed(Endpoint::Completions) => Some(Recorded::Completions),
            Self::Governed(Endpoint::Embeddings) => Some(Recorded::Embeddings),
            Self::Governed(Endpoint::Responses) => Some(Recorded::Responses),
        }
    }
}

/// The route of a method and a path.
pub(crate) fn of(method: &Method, path: &str) -> Result<Route, GatewayError> {
    let (route, is_allowed, allow) = match path {
        "/healthz" => (Route::Health(Health::Live), is_read(method), "GET, HEAD"),
        "/readyz" => (Route::Health(Health::Ready), is_read(method), "GET, HEAD"),
        "/health" => (Route::Health(Health::Report), is_read(method), "GET, HEAD"),
        "/v1/models" => (Route::Models, is_read(method), "GET, HEAD"),
        "/v1/chat/completions" => {
            (Route::Governed(Endpoint::ChatCompletions), method == Method::POST, "POST")
        }
        "/v1/completions" => (Route::Governed(Endpoint::Completions), method == Method::POST, "POST"),
        "/v1/embeddings" => (Route::Governed(Endpoint::Embeddings), method == Method::POST, "POST"),
        "/v1/responses" => (Route::Governed(Endpoint::Responses), method == Method::POST, "POST"),
        _ => match path.strip_prefix("/v1/models/") {
            Some(id) if !id.is_empty() && id.len() <= 256 => {
                let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy().into_owned();
                (Route::Model(id), is_read(method), "GET, HEAD")
            }
            _ => return Err(GatewayError::NotGoverned),
        },
    };
    if is_allowed { Ok(route) } else { Err(GatewayError::MethodNotAllowed { allow }) }
}

fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_governed_is_served() {
        assert_eq!(of(&Method::POST, "/v1/embeddings"), Ok(Route::Governed(Endpoint::Embeddings)));
        assert_eq!(of(&Method::GET, "/v1/models/a%2Fb"), Ok(Route::Model("a/b".to_owned())));
        for path in [
            "/",
            "/v1/chat/completions/",
            "/v1//chat/completions",
            "/V1/chat/completions",
            "/v1/chat/completions/../../x",
            "/serving-endpoints/x/invocations",
            "/api/2.0/serving-endpoints",
            "/v1/files",
            "/metrics",
            "/keeptrusts/config",
            "/v1/models/",
        ] {
            assert_eq!(of(&Method::POST, path), Err(GatewayError::NotGoverned), "{path}");
        }
        assert_eq!(
            of(&Method::GET, "/v1/chat/completions"),
            Err(GatewayError::MethodNotAllowed { allow: "POST" })
        );
        assert_eq!(
            of(&Method::DELETE, "/v1/models"),
            Err(GatewayError::MethodNotAllowed { allow: "GET, HEAD" })
        );
    }
}
