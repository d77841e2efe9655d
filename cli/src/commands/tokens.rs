//! Tokens: what those of people and those of gateways have in common.

use std::{io::Write as _, path::Path};

use jiff::Timestamp;
use kt_proto::v1;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    exit::{CliError, Exit},
    output::{Format, note, print, table},
    server::{self, ServerArgs, Session, config::private_file, view},
};

/// A new token, the only time that its secret is shown.
#[derive(Serialize)]
struct Created<'a> {
    #[serde(flatten)]
    token: view::Token,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

/// What is asked for.
pub(super) fn request(
    name: String,
    roles: Vec<i32>,
    fleet: &str,
    expires: Option<Timestamp>,
) -> v1::CreateTokenRequest {
    v1::CreateTokenRequest {
        name,
        roles,
        fleet: fleet.to_owned(),
        expires_us: expires.map_or(0, Timestamp::as_microsecond),
        request_id: Uuid::now_v7().to_string(),
    }
}

/// Makes a token; its secret goes to stdout or to a new file.
pub(super) async fn create(
    session: &Session,
    format: Format,
    request: v1::CreateTokenRequest,
    out: Option<&Path>,
) -> Result<Exit, CliError> {
    // The file first: a token that nobody got to see could not be used, and would be in the way.
    let file = out
        .map(|path| {
            private_file(path, false).map(|file| (path, file)).map_err(|error| {
                CliError::usage(format!("can't make `{}`: {error}", path.display()))
                    .with_help("`--out` names a new file")
            })
        })
        .transpose()?;
    let answer = session
        .call(request, async |session, request| session.tokens().create_token(request).await)
        .await
        .inspect_err(|_| {
            if let Some((path, _)) = &file {
                // Ours, made a moment ago and still empty.
                let _ = std::fs::remove_file(path);
            }
        })?;
    let secret = SecretString::from(answer.secret);
    if secret.expose_secret().is_empty() {
        return Err(CliError::failure(
            "the control plane made the token in an earlier attempt, and shows it once",
        )
        .with_help("revoke it and make another: `kt auth token list`"));
    }
    let token = view::Token::from(&answer.token.unwrap_or_default());
    let id = token.id.clone();
    if let Some((path, mut file)) = file {
        writeln!(file, "{}", secret.expose_secret()).and_then(|()| file.sync_all()).map_err(|error| {
            CliError::failure(format!("can't write `{}`: {error}", path.display()))
                .with_help(format!("the token is lost: revoke `{id}`, and make another"))
        })?;
        let created = Created { token, secret: None, file: Some(path.display().to_string()) };
        print(format, &created, |out| writeln!(out, "{id}"))?;
        note(&format!("made `{id}`; the token is in `{}`", path.display()));
        return Ok(Exit::Success);
    }
    let created = Created { token, secret: Some(secret.expose_secret()), file: None };
    print(format, &created, |out| writeln!(out, "{}", secret.expose_secret()))?;
    if format == Format::Table {
        note(&format!("made `{id}`; the token is shown this once"));
    }
    Ok(Exit::Success)
}

/// Lists those that `keeps` keeps.
pub(super) async fn list(
    session: &Session,
    format: Format,
    include_revoked: bool,
    keeps: impl Fn(&v1::Token) -> bool,
) -> Result<Exit, CliError> {
    let request = v1::ListTokensRequest { include_revoked };
    let answer =
        session.call(request, async |session, request| session.tokens().list_tokens(request).await).await?;
    let tokens: Vec<view::Token> =
        answer.tokens.iter().filter(|token| keeps(token)).map(view::Token::from).collect();
    print(format, &tokens, |out| {
        let rows = tokens.iter().map(|token| {
            [
                token.id.clone(),
                view::or_dash(&token.name),
                if token.fleet.is_empty() { token.roles.join(",") } else { token.fleet.clone() },
                view::or_dash(&token.created_by),
                view::time(token.created),
                token.validity(),
            ]
        });
        let what = if tokens.iter().all(|token| token.fleet.is_empty()) { "ROLES" } else { "FLEET" };
        write!(out, "{}", table(["ID", "NAME", what, "CREATED BY", "CREATED", "EXPIRES"], rows))
    })?;
    Ok(Exit::Success)
}

/// Ends a token.
#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    /// The id, as `list` shows it.
    id: String,

    /// Why, for the history.
    #[arg(long, short, value_name = "TEXT", default_value = "")]
    message: String,

    #[command(flatten)]
    server: ServerArgs,
}

/// Ends a token.
pub(super) fn revoke(args: &Revoke) -> Result<Exit, CliError> {
    server::run(&args.server, async |session| {
        let request = v1::RevokeTokenRequest { id: args.id.clone(), reason: args.message.clone() };
        session.call(request, async |session, request| session.tokens().revoke_token(request).await).await?;
        note(&format!("revoked `{}`", args.id));
        Ok(Exit::Success)
    })
}
