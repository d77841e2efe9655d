//! `kt pack rollback`: a new generation that names an older version.

use kt_proto::{signed, v1};
use uuid::Uuid;

use super::name_and_version;
use crate::{
    commands::{
        assign::{self, Choice, Plan},
        rollout::{self, ChangeArgs, Outcome},
    },
    exit::{CliError, Exit},
    output::Format,
    server::{self, Session},
};

/// Makes a fleet enforce an older version again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The fleet.
    #[arg(long, value_name = "FLEET", default_value = "default")]
    fleet: String,

    /// The version, of the pack that is enforced; or `NAME@VERSION`.
    #[arg(long, value_name = "VERSION", conflicts_with = "to_generation")]
    to: Option<String>,

    /// What this generation enforced.
    #[arg(long, value_name = "GENERATION")]
    to_generation: Option<u64>,

    #[command(flatten)]
    change: ChangeArgs,
}

/// Rolls back.
pub(crate) fn run(format: Format, args: &Args) -> Result<Exit, CliError> {
    let signing = args.change.sign.load()?;
    server::run(&args.change.server, async |session| {
        let plan = Plan {
            fleet: &args.fleet,
            kind: v1::AssignmentKind::Rollback,
            reason: &args.change.message,
            request_id: Uuid::now_v7(),
            signing: &signing,
            expected: None,
        };
        // "The one before" is about the head that was there when it was asked for: of another head it is another one.
        let mut seen = None;
        let assigned = assign::assign(&session, &plan, async |fleet| {
            let head = assign::statement(fleet)?.ok_or_else(|| {
                CliError::failure(format!("the fleet `{}` enforces nothing yet", args.fleet))
                    .with_help("`kt pack publish` makes it enforce something")
            })?;
            let is_relative = args.to.is_none() && args.to_generation.is_none();
            let before = *seen.get_or_insert(head.generation);
            if is_relative && before != head.generation {
                return Err(CliError::failure(format!(
                    "the fleet `{}` went from generation {before} to {} meanwhile",
                    args.fleet, head.generation
                ))
                .with_help("look at `kt fleet history`, then say where to go with `--to`"));
            }
            let packs = target(&session, args, &head).await?;
            Ok(if packs == head.packs { Choice::Nothing } else { Choice::Packs(packs) })
        })
        .await?;
        rollout::finish(
            &session,
            format,
            Outcome::new("rolled back", &args.fleet, assigned),
            &args.change.wait,
        )
        .await
    })
}

async fn target(
    session: &Session,
    args: &Args,
    head: &v1::AssignmentStatement,
) -> Result<Vec<v1::PackRef>, CliError> {
    if let Some(written) = &args.to {
        let (name, version) = match (name_and_version(written), &*head.packs) {
            (Some(both), _) => both,
            (None, [pack, ..]) => (&*pack.name, &**written),
            (None, []) => return Err(CliError::usage("`--to` needs `NAME@VERSION` here")),
        };
        let request = v1::GetPackVersionRequest { name: name.to_owned(), version: version.to_owned() };
        let answer = session
            .call(request, async |session, request| session.packs().get_pack_version(request).await)
            .await?;
        return Ok(answer.version.and_then(|version| version.pack).into_iter().collect());
    }
    if let Some(generation) = args.to_generation {
        let is_there =
            |all: &[v1::Assignment]| all.iter().any(|past| statement(past).generation == generation);
        let past = assign::history(session, &args.fleet, is_there).await?;
        let found = past.iter().map(statement).find(|past| past.generation == generation);
        return found.map(|past| past.packs).ok_or_else(|| {
            CliError::failure(format!("the fleet `{}` never had generation {generation}", args.fleet))
                .with_help("`kt fleet history` shows those that it had")
        });
    }
    let past = assign::history(session, &args.fleet, |all| previous(all).is_some()).await?;
    previous(&past).ok_or_else(|| {
        let packs: Vec<String> = head.packs.iter().map(ToString::to_string).collect();
        CliError::failure(format!(
            "the fleet `{}` has enforced nothing before {}",
            args.fleet,
            packs.join(",")
        ))
        .with_help("`--to VERSION` names a version: `kt pack versions`")
    })
}

fn statement(assignment: &v1::Assignment) -> v1::AssignmentStatement {
    assignment.assignment.as_ref().and_then(|signed| signed::read(signed).ok()).unwrap_or_default()
}

/// What was enforced before, given the assignments from the newest on. What was rolled back from is not gone back to.
fn previous(newest_first: &[v1::Assignment]) -> Option<Vec<v1::PackRef>> {
    let mut rest = newest_first;
    let (mut at, mut older) = rest.split_first()?;
    let mut packs = statement(at).packs;
    while at.kind() == v1::AssignmentKind::Rollback {
        // Where this version was enforced the time before.
        let place = older.iter().position(|past| statement(past).packs == packs)?;
        rest = older.get(place..)?;
        (at, older) = rest.split_first()?;
        packs = statement(at).packs;
    }
    older.iter().map(|past| statement(past).packs).find(|past| *past != packs)
}

#[cfg(test)]
mod tests {
    use v1::AssignmentKind::{Publish, Recover, Rollback};

    use super::*;

    fn past(oldest_first: &[(v1::AssignmentKind, &str)]) -> Vec<v1::Assignment> {
        let assignment = |(place, (kind, version)): (usize, &(v1::AssignmentKind, &str))| {
            let pack =
                v1::PackRef { name: "demo".to_owned(), version: (*version).to_owned(), ..Default::default() };
            let statement = v1::AssignmentStatement {
                generation: place as u64 + 1,
                packs: vec![pack],
                ..Default::default()
            };
            v1::Assignment {
                assignment: Some(signed::seal(&statement, &[])),
                kind: (*kind).into(),
                ..Default::default()
            }
        };
        let mut all: Vec<_> = oldest_first.iter().enumerate().map(assignment).collect();
        all.reverse();
        all
    }

    fn before(oldest_first: &[(v1::AssignmentKind, &str)]) -> Option<String> {
        previous(&past(oldest_first)).map(|packs| packs[0].version.clone())
    }

    #[test]
    fn the_one_before_is_the_last_other_version() {
        assert_eq!(before(&[]), None);
        assert_eq!(before(&[(Publish, "1")]), None);
        assert_eq!(before(&[(Publish, "1"), (Publish, "2")]).unwrap(), "1");
        assert_eq!(before(&[(Publish, "1"), (Publish, "2"), (Recover, "2")]).unwrap(), "1");
        assert_eq!(before(&[(Publish, "1"), (Publish, "2"), (Rollback, "1"), (Publish, "3")]).unwrap(), "1");
    }

    #[test]
    fn a_rollback_after_a_rollback_goes_further_back_and_never_forward() {
        assert_eq!(before(&[(Publish, "1"), (Publish, "2"), (Publish, "3"), (Rollback, "2")]).unwrap(), "1");
        assert_eq!(before(&[(Publish, "1"), (Publish, "2"), (Rollback, "1")]), None);
        let twice = [(Publish, "1"), (Publish, "2"), (Publish, "3"), (Rollback, "2"), (Rollback, "1")];
        assert_eq!(before(&twice), None);
    }
}
