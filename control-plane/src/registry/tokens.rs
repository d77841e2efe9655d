//! Tokens of people and gateways. What is stored is a hash; the secret is shown once, to whoever asked for it.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use kt_audit::Digest;
use kt_proto::{
    refusal::{Code, Refusal},
    store::v1 as store,
    v1::{self, Role},
};
use secrecy::SecretString;

use super::{By, Registry, Stored, Tried, change, errors::refused, names, put};
use crate::{
    auth::{self, GATEWAY_PREFIX, PERSON_PREFIX},
    paths::{self, StateKey},
    state::State,
    store::{Commit, Precondition, Write},
};

/// A new token: its secret and what is stored of it.
pub(crate) struct Minted {
    pub(crate) id: String,
    pub(crate) secret: SecretString,
    pub(crate) sha256: [u8; 32],
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Makes a secret of 256 random bits and an id.
pub(crate) fn mint(is_gateway: bool) -> Result<Minted, Refusal> {
    let mut random = [0_u8; 40];
    getrandom::fill(&mut random).map_err(|_| refused(Code::Busy, "the system gives no random numbers"))?;
    let (key, id) = random.split_at(32);
    let (prefix, kind) = if is_gateway { (GATEWAY_PREFIX, "gw") } else { (PERSON_PREFIX, "at") };
    let secret = format!("{prefix}{}", hex::encode(key));
    let sha256 = Digest::of(secret.as_bytes()).0;
    Ok(Minted { id: format!("{kind}_{}", hex::encode(id)), secret: secret.into(), sha256 })
}

impl Registry {
    /// Makes a token; its secret comes back and is nowhere else. The first admin token ends the bootstrap token.
    pub(crate) async fn create_token(
        &self,
        actor: &str,
        request: &v1::CreateTokenRequest,
    ) -> Result<(v1::Token, SecretString), Refusal> {
        let result = self.try_create_token(By { actor, reason: "" }, request).await;
        self.count("token.create", &result, |_| false);
        result
    }

    async fn try_create_token(
        &self,
        by: By<'_>,
        request: &v1::CreateTokenRequest,
    ) -> Result<(v1::Token, SecretString), Refusal> {
        let request_id = names::request_id(&request.request_id)?;
        let now = Timestamp::now();
        let roles = makes_sense(request, now)?;
        let is_gateway = roles.contains(&Role::Gateway);
        if is_gateway {
            self.read_fleet(&request.fleet).await?;
        }
        let minted = mint(is_gateway)?;
        let token = v1::Token {
            id: minted.id.clone(),
            name: request.name.clone(),
            roles: roles.iter().map(|role| i32::from(*role)).collect(),
            fleet: request.fleet.clone(),
            created_by: by.actor.to_owned(),
            created_us: now.as_microsecond(),
            expires_us: request.expires_us,
            revoked_us: 0,
            is_bootstrap: false,
        };
        let key = StateKey::Token(&minted.id).path();
        let record = store::TokenRecord {
            token: Some(token.clone()),
            sha256: minted.sha256.to_vec(),
            request_id: request_id.clone(),
        };
        let mut unknown = None;
        for _ in 0..super::TRIES {
            let all = self.read_all::<store::TokenRecord>(&paths::tokens()).await?;
            if let Some(known) = all.iter().find(|known| known.record.request_id == request_id) {
                // Ours, when it was written by a try whose outcome was not known.
                if known.record == record {
                    self.mirror.wait_for(known.modified).await;
                    return Ok((token, minted.secret));
                }
                let id = known.record.token.as_ref().map_or("", |token| &token.id);
                let message = format!(
                    "this request has made the token `{id}` already, and its secret is not kept: revoke it and ask again \
                     with a new request id"
                );
                return Err(refused(Code::RequestIdReused, message));
            }
            let subject = format!("{} ({})", token.name, token.id);
            let mut commit = Commit {
                preconditions: vec![Precondition::Absent(key.clone())],
                writes: vec![put(key.clone(), &record), change(by, "token.create", &subject, now)],
            };
            if roles.contains(&Role::Admin) {
                end_bootstrap(&mut commit, &all, now);
            }
            match self.write(commit).await? {
                Tried::Done => {
                    tracing::info!(token = token.id, actor = by.actor, "Token was made.");
                    return Ok((token, minted.secret));
                }
                Tried::Again(error) => unknown = error,
            }
        }
        Err(Self::given_up(unknown))
    }

    /// Revokes a token; one that is revoked already stays as it is.
    pub(crate) async fn revoke_token(
        &self,
        actor: &str,
        id: &str,
        reason: &str,
    ) -> Result<v1::Token, Refusal> {
        let result = self.try_revoke_token(By { actor, reason }, id).await;
        self.count("token.revoke", &result, |_| false);
        result
    }

    async fn try_revoke_token(&self, by: By<'_>, id: &str) -> Result<v1::Token, Refusal> {
        names::words("reason", by.reason)?;
        let mut unknown = None;
        for _ in 0..super::TRIES {
            let all = self.read_all::<store::TokenRecord>(&paths::tokens()).await?;
            let known =
                all.iter().find_map(|stored| Some((stored, of(stored).filter(|token| token.id == id)?)));
            let Some((stored, token)) = known else {
                let message = format!("there is no token `{}`: see `kt auth token list`", names::shown(id));
                return Err(refused(Code::TokenNotFound, message));
            };
            if token.revoked_us != 0 {
                return Ok(token.clone());
            }
            let now = Timestamp::now();
            let key = StateKey::Token(id).path();
            let mut preconditions = vec![Precondition::Unchanged(key.clone(), stored.modified)];
            if is_admin(token, now) {
                // Another admin must stay, also when two revoke each other at the same time.
                let other = all.iter().find_map(|stored| {
                    Some((stored, of(stored).filter(|t| is_admin(t, now) && t.id != id)?))
                });
                let Some((other, token)) = other else {
                    let message = format!("`{id}` is the last admin token: make another one first");
                    return Err(refused(Code::LastAdmin, message));
                };
                preconditions
                    .push(Precondition::Unchanged(StateKey::Token(&token.id).path(), other.modified));
            }
            let revoked = v1::Token { revoked_us: now.as_microsecond(), ..token.clone() };
            let subject = format!("{} ({id})", revoked.name);
            let record = store::TokenRecord { token: Some(revoked.clone()), ..stored.record.clone() };
            let writes = vec![put(key, &record), change(by, "token.revoke", &subject, now)];
            match self.write(Commit { preconditions, writes }).await? {
                Tried::Done => {
                    tracing::info!(token = id, actor = by.actor, "Token was revoked.");
                    return Ok(revoked);
                }
                Tried::Again(error) => unknown = error,
            }
        }
        Err(Self::given_up(unknown))
    }
}

/// Revokes the bootstrap token within a commit, and makes sure that it is the one that was read.
fn end_bootstrap(commit: &mut Commit, all: &[Stored<store::TokenRecord>], now: Timestamp) {
    for stored in all {
        let Some(token) = of(stored).filter(|token| token.is_bootstrap && token.revoked_us == 0) else {
            continue;
        };
        let key = StateKey::Token(&token.id).path();
        commit.preconditions.push(Precondition::Unchanged(key.clone(), stored.modified));
        let revoked = v1::Token { revoked_us: now.as_microsecond(), ..token.clone() };
        let record = store::TokenRecord { token: Some(revoked), ..stored.record.clone() };
        commit.writes.push(put(key, &record));
        // It is of no use any more; the next start must not make another one, so its record stays.
        let by = By { actor: "control plane", reason: "the first admin token was made" };
        let subject = format!("{} ({})", token.name, token.id);
        let entry: Write = change(by, "token.revoke", &subject, now);
        commit.writes.push(entry);
    }
}

fn of(stored: &Stored<store::TokenRecord>) -> Option<&v1::Token> {
    stored.record.token.as_ref()
}

/// Whether a token is an admin's, in force and not there only for the beginning.
fn is_admin(token: &v1::Token, now: Timestamp) -> bool {
    token.roles().any(|role| role == Role::Admin)
        && token.revoked_us == 0
        && !token.is_bootstrap
        && !auth::is_expired(token, now)
}

fn makes_sense(request: &v1::CreateTokenRequest, now: Timestamp) -> Result<BTreeSet<Role>, Refusal> {
    let bad = |message: String| Err(refused(Code::ArgumentInvalid, message));
    if !names::is_label(&request.name) {
        return bad(format!(
            "`{}` is no name for a token: use 1 to 128 characters, without spaces at the ends",
            names::shown(&request.name)
        ));
    }
    let mut roles = BTreeSet::new();
    for number in &request.roles {
        match Role::try_from(*number) {
            Ok(role) if role != Role::Unspecified => roles.insert(role),
            _ => {
                return bad(
                    "a role is not known here: admin, publisher, viewer, auditor or gateway".to_owned()
                );
            }
        };
    }
    if roles.is_empty() {
        return bad("the token has no role: give it at least one".to_owned());
    }
    let is_gateway = roles.contains(&Role::Gateway);
    if is_gateway && roles.len() > 1 {
        return bad("the role `gateway` goes with no other role: make two tokens".to_owned());
    }
    if is_gateway == request.fleet.is_empty() {
        return bad("a gateway's token names its fleet, and no other token names one".to_owned());
    }
    if request.expires_us != 0 && request.expires_us <= now.as_microsecond() {
        return bad("the token would have expired already: give a later expiry, or none".to_owned());
    }
    Ok(roles)
}

/// The tokens of the mirror, the oldest first.
pub(crate) fn list(state: &State, include_revoked: bool) -> Vec<v1::Token> {
    let all = state.tokens.values().filter_map(|token| token.record.token.clone());
    let mut tokens: Vec<_> = all.filter(|token| include_revoked || token.revoked_us == 0).collect();
    tokens.sort_by(|a, b| (a.created_us, &a.id).cmp(&(b.created_us, &b.id)));
    tokens
}
