//! `kt fleet recover`: after a restore, one generation above every one that a gateway has shown, of what has diverged:
//! the assignment, the key set, or both.

use std::collections::BTreeMap;

use kt_proto::v1;
use uuid::Uuid;

use crate::{
    commands::{
        assign::{self, Assigned, Choice, Plan},
        gateway_key, rollout,
        rollout::{ChangeArgs, Outcome, RecoveredKeys, ReturningKey},
        signing::Signing,
    },
    exit::{CliError, Exit},
    output::{Format, note, print, sanitize::clean},
    server::{self, Session},
};

/// Recovers a fleet.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The fleet.
    #[arg(default_value = "default")]
    fleet: String,

    /// The version to enforce, `NAME@VERSION`; without it, what the restored store says.
    #[arg(long, value_name = "PACK")]
    to: Option<String>,

    /// Ends every gateway key where the restored store has no key set.
    #[arg(long)]
    without_keys: bool,

    #[command(flatten)]
    change: ChangeArgs,
}

/// What was done, as data, where only the key set had diverged.
#[derive(serde::Serialize)]
struct Keys<'a> {
    fleet: &'a str,
    #[serde(flatten)]
    keys: &'a RecoveredKeys,
}

/// Recovers.
pub(super) fn run(format: Format, args: &Args) -> Result<Exit, CliError> {
    let signing = args.change.sign.load()?;
    let named = args
        .to
        .as_deref()
        .map(|written| {
            written
                .rsplit_once('@')
                .ok_or_else(|| CliError::usage(format!("`--to {written}` is not `NAME@VERSION`")))
        })
        .transpose()?;
    server::run(&args.change.server, async |session| {
        let fleet = assign::fleet(&session, &args.fleet).await?;
        if fleet.divergence.is_none() && fleet.key_set_divergence.is_none() {
            return Err(not_diverged(&args.fleet));
        }
        let assigned = match fleet.divergence {
            Some(_) => Some(assignment(&session, args, &signing, named).await?),
            None => None,
        };
        let keys = match fleet.key_set_divergence {
            Some(divergence) => Some(keys(&session, args, &signing, &divergence).await?),
            None => None,
        };
        let of_packs = match assigned {
            Some(assigned) => {
                let outcome = Outcome::new("recovered", &args.fleet, assigned).with_keys(keys.clone());
                rollout::finish(&session, format, outcome, &args.change.wait).await?
            }
            None => Exit::Success,
        };
        let Some(keys) = keys else { return Ok(of_packs) };
        let generation = keys.key_set_generation;
        if fleet.divergence.is_none() {
            let done = Keys { fleet: &args.fleet, keys: &keys };
            print(format, &done, |out| {
                writeln!(out, "recovered the key set of `{}` as generation {generation}", args.fleet)
            })?;
        }
        tell(&args.fleet, &keys);
        let of_keys = rollout::finish_keys(&session, &args.fleet, generation, &args.change.wait).await?;
        Ok(if of_packs == Exit::Success { of_keys } else { of_packs })
    })
}

async fn assignment(
    session: &Session,
    args: &Args,
    signing: &Signing,
    named: Option<(&str, &str)>,
) -> Result<Assigned, CliError> {
    let plan = Plan {
        fleet: &args.fleet,
        kind: v1::AssignmentKind::Recover,
        reason: &args.change.message,
        request_id: Uuid::now_v7(),
        signing,
        expected: None,
    };
    assign::assign(session, &plan, async |fleet| {
        if fleet.divergence.is_none() {
            return Err(not_diverged(&args.fleet));
        }
        if let Some((name, version)) = named {
            let request = v1::GetPackVersionRequest { name: name.to_owned(), version: version.to_owned() };
            let answer = session
                .call(request, async |session, request| session.packs().get_pack_version(request).await)
                .await?;
            return Ok(Choice::Packs(answer.version.and_then(|version| version.pack).into_iter().collect()));
        }
        let head = assign::statement(fleet)?.ok_or_else(|| {
            CliError::usage(format!("the store knows nothing that `{}` enforced", args.fleet))
                .with_help("upload the pack if need be, and name it: `--to NAME@VERSION`")
        })?;
        Ok(Choice::Packs(head.packs))
    })
    .await
}

/// Lifts the key set that the store has above the one that was seen.
async fn keys(
    session: &Session,
    args: &Args,
    signing: &Signing,
    divergence: &v1::Divergence,
) -> Result<RecoveredKeys, CliError> {
    let change = gateway_key::fleet::Change {
        fleet: &args.fleet,
        reason: &args.change.message,
        signing,
        above: Some(divergence.seen_generation),
    };
    let mut users = BTreeMap::new();
    let key_set_generation = gateway_key::fleet::put(session, &change, |set| {
        if set.is_empty() && !args.without_keys {
            return Err(CliError::usage(format!(
                "the store has no gateway key of `{}`, and gateways have some",
                args.fleet
            ))
            .with_help("`--without-keys` ends them all; make new ones then: `kt gateway-key create`"));
        }
        users = set.iter().map(|key| (key.id.clone(), key.user.clone())).collect();
        Ok(())
    })
    .await?;
    let changes = divergence.keys.as_ref();
    let returning = changes.map(|changes| {
        // One that was revoked since the gateway said so does not come back.
        let back = changes.returning.iter().filter_map(|id| users.get_key_value(id));
        back.map(|(id, user)| ReturningKey { id: id.clone(), user: user.clone() }).collect()
    });
    Ok(RecoveredKeys {
        key_set_generation,
        returning_keys: returning,
        missing_keys: changes.map(|changes| changes.missing.clone()),
        is_cut: changes.is_some_and(|changes| changes.is_cut),
    })
}

/// Says which keys are not as they were before the store went back.
fn tell(fleet: &str, keys: &RecoveredKeys) {
    let (Some(returning), Some(missing)) = (&keys.returning_keys, &keys.missing_keys) else {
        note("keys that were made or revoked since the copy of the store are as they were then");
        note(&format!("  help: look at `kt gateway-key list --fleet {fleet}`, and revoke again"));
        return;
    };
    let more = if keys.is_cut { ", and more" } else { "" };
    if returning.is_empty() && missing.is_empty() {
        note("no key was made or revoked since the copy of the store");
    }
    if !returning.is_empty() {
        let named = returning.iter().map(|key| match key.user.as_deref() {
            Some(user) => format!("`{}` ({})", clean(&key.id), clean(user)),
            None => format!("`{}`", clean(&key.id)),
        });
        let named: Vec<String> = named.collect();
        note(&format!("keys that were revoked and count again: {}{more}", named.join(", ")));
        note(&format!("  help: revoke each again: `kt gateway-key revoke ID --fleet {fleet}`"));
    }
    if !missing.is_empty() {
        let named: Vec<String> = missing.iter().map(|id| format!("`{}`", clean(id))).collect();
        note(&format!("keys that were made since and are gone: {}{more}", named.join(", ")));
        note(&format!("  help: make new ones: `kt gateway-key create --fleet {fleet}`"));
    }
}

fn not_diverged(fleet: &str) -> CliError {
    CliError::failure(format!("the fleet `{fleet}` has not diverged"))
        .with_help("there is nothing to recover; `kt pack publish` assigns a version")
}
