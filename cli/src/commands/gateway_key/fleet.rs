//! Gateway keys of a fleet: the key set that the control plane pushes, read, changed, signed and put back whole.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kt_data_plane::identity::keys;
use kt_proto::{refusal::Code, signed, v1};
use serde::Serialize;
use uuid::Uuid;

use super::{Create, List, Revoke, Rotate, expiry, random_hex};
use crate::{
    commands::{
        rollout::{self, ChangeArgs},
        signing::Signing,
    },
    exit::{CliError, Exit},
    output::{Format, note, print, table},
    server::{self, Session, view},
};

/// How often a set that moved is read again.
const ATTEMPTS: u32 = 5;

#[derive(Serialize)]
struct Created<'a> {
    id: &'a str,
    key: &'a str,
    fleet: &'a str,
    generation: u64,
    roles: &'a [String],
    expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated_from: Option<&'a str>,
    /// When the older key ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    older_expires: Option<Timestamp>,
}

#[derive(Serialize)]
struct Listed {
    id: String,
    user: Option<String>,
    team: Option<String>,
    cost_center: Option<String>,
    roles: Vec<String>,
    created: Option<Timestamp>,
    created_by: String,
    expires: Option<Timestamp>,
    expired: bool,
    rotated_from: Option<String>,
    last_used: Option<Timestamp>,
}

/// Makes a key of a fleet.
pub(super) fn create(format: Format, fleet: &str, args: &Create) -> Result<Exit, CliError> {
    let signing = args.change.sign.load()?;
    let now = Timestamp::now();
    let text = format!("{}{}", keys::PREFIX, random_hex::<32>()?);
    let mut key = new_key(&text, now)?;
    key.user.clone_from(&args.user);
    key.team.clone_from(&args.team);
    key.cost_center.clone_from(&args.cost_center);
    key.roles.clone_from(&args.roles);
    key.expires_us = match args.expires_in_days {
        Some(days) => expiry(now, days)?.as_microsecond(),
        None => 0,
    };
    let change = Change { fleet, reason: &args.change.message, signing: &signing, above: None };
    let generation = server::run(&args.change.server, async |session| {
        let key = with_author(&session, key.clone()).await?;
        put(&session, &change, |set| {
            set.push(key.clone());
            Ok(())
        })
        .await
    })?;
    let created = Created {
        id: &key.id,
        key: &text,
        fleet,
        generation,
        roles: &key.roles,
        expires: view::moment(key.expires_us),
        rotated_from: None,
        older_expires: None,
    };
    print(format, &created, |out| writeln!(out, "{text}"))?;
    if format == Format::Table {
        note(&format!("made `{}` for `{fleet}`; the key is shown this once", key.id));
    }
    wait(fleet, generation, &args.change)
}

/// Makes a key that takes the place of another: both live until the older one ends.
pub(super) fn rotate(format: Format, args: &Rotate) -> Result<Exit, CliError> {
    let signing = args.change.sign.load()?;
    let now = Timestamp::now();
    let text = format!("{}{}", keys::PREFIX, random_hex::<32>()?);
    let key = new_key(&text, now)?;
    let older_expires =
        now.checked_add(args.overlap).map_err(|_| CliError::usage("`--overlap` is beyond the calendar"))?;
    let expires = args.expires_in_days.map(|days| expiry(now, days)).transpose()?;
    let change = Change { fleet: &args.fleet, reason: &args.change.message, signing: &signing, above: None };
    let mut made = key.clone();
    let mut ends = older_expires;
    let generation = server::run(&args.change.server, async |session| {
        let key = with_author(&session, key.clone()).await?;
        put(&session, &change, |set| {
            if let Some(next) = set.iter().find(|key| key.rotated_from.as_ref() == Some(&args.id)) {
                return Err(CliError::failure(format!(
                    "`{}` was rotated already, to `{}`",
                    args.id, next.id
                ))
                .with_help(
                    "revoke the older one when nobody uses it: `kt gateway-key list` shows last use",
                ));
            }
            let older = find(set, &args.id, &args.fleet)?;
            if older.expires_us != 0 && older.expires_us <= now.as_microsecond() {
                return Err(CliError::failure(format!("`{}` has expired", args.id))
                    .with_help("make a new one: `kt gateway-key create`"));
            }
            // A key that ends sooner anyway is not made to live longer.
            if older.expires_us == 0 || older.expires_us > older_expires.as_microsecond() {
                older.expires_us = older_expires.as_microsecond();
            }
            ends = view::moment(older.expires_us).unwrap_or(older_expires);
            made = v1::GatewayKey {
                user: older.user.clone(),
                team: older.team.clone(),
                cost_center: older.cost_center.clone(),
                roles: older.roles.clone(),
                expires_us: expires.map_or(0, Timestamp::as_microsecond),
                rotated_from: Some(args.id.clone()),
                ..key.clone()
            };
            set.push(made.clone());
            Ok(())
        })
        .await
    })?;
    let created = Created {
        id: &made.id,
        key: &text,
        fleet: &args.fleet,
        generation,
        roles: &made.roles,
        expires: view::moment(made.expires_us),
        rotated_from: Some(&args.id),
        older_expires: Some(ends),
    };
    print(format, &created, |out| writeln!(out, "{text}"))?;
    if format == Format::Table {
        note(&format!(
            "made `{}` in place of `{}`, which ends {ends:.0}; the key is shown this once",
            made.id, args.id
        ));
    }
    wait(&args.fleet, generation, &args.change)
}

/// Lists the keys of a fleet.
pub(super) fn list(format: Format, fleet: &str, args: &List) -> Result<Exit, CliError> {
    let (set, last_used) = server::run(&args.server, async |session| {
        let (_, set, last_used) = read(&session, fleet).await?;
        Ok((set, last_used))
    })?;
    let now = Timestamp::now();
    let listed: Vec<Listed> = set
        .keys
        .into_iter()
        .map(|key| Listed {
            last_used: last_used.get(&key.id).copied().and_then(view::moment),
            expired: key.expires_us != 0 && key.expires_us <= now.as_microsecond(),
            expires: view::moment(key.expires_us),
            created: view::moment(key.created_us),
            id: key.id,
            user: key.user,
            team: key.team,
            cost_center: key.cost_center,
            roles: key.roles,
            created_by: key.created_by,
            rotated_from: key.rotated_from,
        })
        .collect();
    print(format, &listed, |out| {
        let rows = listed.iter().map(|key| {
            let text = |value: &Option<String>| view::or_dash(value.as_deref().unwrap_or_default());
            [
                key.id.clone(),
                text(&key.user),
                text(&key.team),
                text(&key.cost_center),
                view::or_dash(&key.roles.join(",")),
                view::expiry(key.expires),
                view::age(key.last_used),
                text(&key.rotated_from),
            ]
        });
        let header = ["ID", "USER", "TEAM", "COST CENTRE", "ROLES", "EXPIRES", "LAST USED", "ROTATED FROM"];
        write!(out, "{}", table(header, rows))
    })?;
    Ok(Exit::Success)
}

/// Takes a key out of the set.
pub(super) fn revoke(fleet: &str, args: &Revoke) -> Result<Exit, CliError> {
    let signing = args.change.sign.load()?;
    let change = Change { fleet, reason: &args.change.message, signing: &signing, above: None };
    let generation = server::run(&args.change.server, async |session| {
        put(&session, &change, |set| {
            find(set, &args.id, fleet)?;
            set.retain(|key| key.id != args.id);
            Ok(())
        })
        .await
    })?;
    note(&format!("revoked `{}`: gateways of `{fleet}` refuse it within a second of hearing it", args.id));
    wait(fleet, generation, &args.change)
}

/// Waits for the gateways where that was asked. What was done has been said: a key is shown even if none takes it.
fn wait(fleet: &str, generation: u64, args: &ChangeArgs) -> Result<Exit, CliError> {
    if !args.wait.is_wanted() {
        return Ok(Exit::Success);
    }
    server::run(&args.server, async |session| {
        rollout::finish_keys(&session, fleet, generation, &args.wait).await
    })
}

/// A change of a key set.
pub(in crate::commands) struct Change<'a> {
    pub(in crate::commands) fleet: &'a str,
    pub(in crate::commands) reason: &'a str,
    pub(in crate::commands) signing: &'a Signing,
    /// Set for a recovery: the generation that a gateway has shown.
    pub(in crate::commands) above: Option<u64>,
}

fn new_key(text: &str, now: Timestamp) -> Result<v1::GatewayKey, CliError> {
    Ok(v1::GatewayKey {
        id: format!("gk_{}", random_hex::<6>()?),
        sha256: keys::hash(text.as_bytes()).to_vec(),
        created_us: now.as_microsecond(),
        ..Default::default()
    })
}

/// Names who makes the key: the set is signed by the client, so the client says it.
async fn with_author(session: &Session, key: v1::GatewayKey) -> Result<v1::GatewayKey, CliError> {
    let token = crate::commands::auth::who_am_i(session).await?;
    let created_by = if token.name.is_empty() { token.id } else { token.name };
    Ok(v1::GatewayKey { created_by, ..key })
}

fn find<'a>(
    set: &'a mut [v1::GatewayKey],
    id: &str,
    fleet: &str,
) -> Result<&'a mut v1::GatewayKey, CliError> {
    set.iter_mut().find(|key| key.id == id).ok_or_else(|| {
        CliError::failure(format!("no key `{id}` in the fleet `{fleet}`"))
            .with_help(format!("`kt gateway-key list --fleet {fleet}` shows the ids"))
    })
}

type Read = (Option<v1::SignedStatement>, v1::KeySetStatement, BTreeMap<String, i64>);

async fn read(session: &Session, fleet: &str) -> Result<Read, CliError> {
    let request = v1::GetKeySetRequest { fleet: fleet.to_owned() };
    let answer =
        session.call(request, async |session, request| session.keys().get_key_set(request).await).await?;
    let set = match &answer.key_set {
        Some(signed) => signed::read(signed)
            .map_err(|error| CliError::failure(format!("the key set of `{fleet}` can't be read: {error}")))?,
        None => v1::KeySetStatement { fleet: fleet.to_owned(), ..Default::default() },
    };
    Ok((answer.key_set, set, answer.last_used_us))
}

/// Changes the set and puts it back; a set that moved meanwhile is changed again.
pub(in crate::commands) async fn put(
    session: &Session,
    plan: &Change<'_>,
    mut change: impl FnMut(&mut Vec<v1::GatewayKey>) -> Result<(), CliError>,
) -> Result<u64, CliError> {
    let request_id = Uuid::now_v7().to_string();
    for attempt in 1.. {
        let (before, mut set, _) = read(session, plan.fleet).await?;
        let expected_generation = set.generation;
        plan.signing.follows(&format!("the key set of `{}`", plan.fleet), before.as_ref())?;
        change(&mut set.keys)?;
        set.generation = set.generation.max(plan.above.unwrap_or_default()) + 1;
        set.expires_us = plan.signing.expires_us;
        let request = v1::PutKeySetRequest {
            fleet: plan.fleet.to_owned(),
            expected_generation,
            key_set: Some(signed::seal(&set, &plan.signing.signers)),
            reason: plan.reason.to_owned(),
            request_id: request_id.clone(),
            is_recovery: plan.above.is_some(),
        };
        match session.call(request, async |session, request| session.keys().put_key_set(request).await).await
        {
            Ok(answer) => return Ok(answer.generation),
            Err(error) if error.code() == Some(Code::GenerationConflict) && attempt < ATTEMPTS => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(CliError::failure(format!("the key set of `{}` is being changed by others", plan.fleet)))
}

/// The overlap of two keys when none is given.
pub(super) const OVERLAP: &str = "24h";

/// Reads `--overlap`.
pub(super) fn overlap(written: &str) -> Result<SignedDuration, String> {
    crate::commands::when::span(written)
}
