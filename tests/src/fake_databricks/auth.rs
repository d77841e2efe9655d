//! Credentials: personal access tokens that were configured, and OAuth M2M tokens that were handed out
//! (`reference/databricks-serving.md` §2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::errors::Subject;
use super::reply::Reply;

/// Who may do what.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// Personal access tokens, each with the endpoints that it may not query.
    pub(crate) tokens: BTreeMap<String, BTreeSet<String>>,
    /// OAuth clients: id and secret.
    pub(crate) clients: BTreeMap<String, String>,
    /// Life of an OAuth token.
    pub(crate) ttl: Duration,
    /// OAuth tokens handed out, and when each dies.
    pub(crate) minted: Mutex<BTreeMap<String, Instant>>,
}

/// What a request's credential is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing<'a> {
    /// None, or not a bearer token.
    Missing,
    /// Unknown or expired.
    Invalid,
    /// Good, but not for these endpoints.
    Valid(Option<&'a BTreeSet<String>>),
}

impl Standing<'_> {
    pub(crate) fn may_query(&self, endpoint: &str) -> bool {
        matches!(self, Self::Valid(denied) if denied.is_none_or(|denied| !denied.contains(endpoint)))
    }
}

impl Credentials {
    fn minted(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.minted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn standing(&self, headers: &HeaderMap) -> Standing<'_> {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = header.and_then(|value| value.split_once(' ')) else {
            return Standing::Missing;
        };
        if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
            return Standing::Missing;
        }
        let token = token.trim();
        if let Some(denied) = self.tokens.get(token) {
            return Standing::Valid(Some(denied));
        }
        match self.minted().get(token) {
            Some(expiry) if *expiry > Instant::now() => Standing::Valid(None),
            _ => Standing::Invalid,
        }
    }

    /// Every OAuth token handed out so far is dead from now on.
    pub(crate) fn expire_minted(&self) {
        self.minted().clear();
    }

    /// Answers `POST /oidc/v1/token`.
    pub(crate) fn grant(&self, headers: &HeaderMap, form: &str, subject: &Subject<'_>) -> Reply {
        let form: BTreeMap<String, String> = fields(form).collect();
        let field = |name: &str| form.get(name).map(String::as_str);
        let basic = basic(headers);
        let client = basic
            .as_ref()
            .map(|(id, secret)| (id.as_str(), secret.as_str()))
            .or_else(|| Some((field("client_id")?, field("client_secret")?)));
        let Some((id, _)) =
            client.filter(|(id, secret)| self.clients.get(*id).is_some_and(|own| own == secret))
        else {
            return refused(subject);
        };
        match (field("grant_type"), field("scope")) {
            (Some("client_credentials"), Some("all-apis")) => self.mint(id, headers),
            (Some("client_credentials"), _) => {
                oauth_error(StatusCode::BAD_REQUEST, "invalid_scope", "The scope must be 'all-apis'.")
            }
            _ => oauth_error(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "Only 'client_credentials' is supported.",
            ),
        }
    }

    fn mint(&self, client: &str, headers: &HeaderMap) -> Reply {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let now = jiff::Timestamp::now().as_second();
        let ttl = self.ttl.as_secs();
        let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let head = part(json!({"alg": "RS256", "typ": "at+jwt", "kid": "fake"}));
        let claims = part(json!({
            "iss": format!("http://{host}/oidc"), "aud": "1234567890123456", "sub": client, "client_id": client,
            "scope": "all-apis", "iat": now, "exp": now.saturating_add_unsigned(ttl), "jti": Uuid::now_v7(),
        }));
        // Opaque to clients: Databricks checks its own tokens, and so does the fake, by looking them up.
        let signature = URL_SAFE_NO_PAD.encode(Uuid::now_v7().as_bytes());
        let token = format!("{head}.{claims}.{signature}");
        self.minted().insert(token.clone(), Instant::now() + self.ttl);
        let body =
            json!({"access_token": token, "token_type": "Bearer", "expires_in": ttl, "scope": "all-apis"});
        Reply::json(StatusCode::OK, &body)
    }
}

/// The discovery document of a workspace.
pub(crate) fn discovery(headers: &HeaderMap) -> Reply {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let oidc = format!("http://{host}/oidc");
    Reply::json(
        StatusCode::OK,
        &json!({
            "issuer": oidc,
            "authorization_endpoint": format!("{oidc}/v1/authorize"),
            "token_endpoint": format!("{oidc}/v1/token"),
            "jwks_uri": format!("{oidc}/jwks.json"),
            "grant_types_supported": ["client_credentials", "authorization_code", "refresh_token"],
            "scopes_supported": ["all-apis", "offline_access"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        }),
    )
}

fn oauth_error(status: StatusCode, error: &str, description: &str) -> Reply {
    Reply::json(status, &json!({"error": error, "error_description": description}))
}

pub(crate) fn refused(_: &Subject<'_>) -> Reply {
    oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", "Client authentication failed")
}

pub(crate) fn refused_old(_: &Subject<'_>) -> Reply {
    let body = json!({"errorCode": "invalid_client", "errorSummary": "Client authentication failed"});
    Reply::json(StatusCode::UNAUTHORIZED, &body)
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// The fields of an `application/x-www-form-urlencoded` body.
fn fields(form: &str) -> impl Iterator<Item = (String, String)> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    form.split('&').filter_map(|pair| pair.split_once('=')).map(move |(k, v)| (decoded(k), decoded(v)))
}
