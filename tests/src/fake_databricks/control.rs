//! The fake's own controls, below `/__fake/`: no credential, no entry in the log.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::behaviours::{self, TABLE};
use super::reply::Reply;
use super::script::Rule;
use super::server::Shared;

#[derive(Deserialize)]
#[serde(untagged)]
enum Rules {
    One(Rule),
    Many(Vec<Rule>),
}

/// Answers a control request.
pub(crate) fn answer(shared: &Shared, method: &Method, control: &str, body: &[u8]) -> Reply {
    let done = |status| Reply::json(status, &json!({"ok": true}));
    match (method.as_str(), control) {
        ("GET", "health") => done(StatusCode::OK),
        ("GET", "requests") => Reply::json(StatusCode::OK, &shared.journal.recent()),
        ("DELETE", "requests") => {
            shared.journal.clear();
            done(StatusCode::OK)
        }
        ("GET", "script") => Reply::json(StatusCode::OK, &shared.script.rules()),
        ("POST", "script") => scripted(shared, body),
        ("DELETE", "script") => {
            shared.script.clear();
            done(StatusCode::OK)
        }
        ("POST", "expire-oauth") => {
            shared.credentials.expire_minted();
            done(StatusCode::OK)
        }
        ("GET", "behaviours") => {
            let names: Vec<_> = TABLE
                .iter()
                .map(|row| json!({"name": row.name, "arg": row.arg.map(|arg| arg.0), "about": row.about}))
                .collect();
            Reply::json(StatusCode::OK, &names)
        }
        ("GET", "behaviours.md") => Reply::typed(StatusCode::OK, "text/markdown", behaviours::markdown()),
        _ => complain(StatusCode::NOT_FOUND, &format!("there is no control `{control}`")),
    }
}

fn scripted(shared: &Shared, body: &[u8]) -> Reply {
    let rules = match serde_json::from_slice(body) {
        Ok(Rules::One(rule)) => vec![rule],
        Ok(Rules::Many(rules)) => rules,
        Err(_) => {
            let help =
                "a rule is {\"endpoint\": NAME, \"behaviour\": NAME, \"times\": N}, a script a list of rules";
            return complain(StatusCode::BAD_REQUEST, help);
        }
    };
    match shared.script.extend(rules) {
        Ok(()) => Reply::json(StatusCode::OK, &shared.script.rules()),
        Err(unknown) => complain(StatusCode::BAD_REQUEST, &unknown.to_string()),
    }
}

/// An error of the controls; no form of Databricks'.
pub(crate) fn complain(status: StatusCode, message: &str) -> Reply {
    Reply::json(status, &json!({"fake_error": message}))
}
