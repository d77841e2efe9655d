//! `kt fleet recover`: after a restore, one generation above every one that a gateway has shown.

use kt_proto::v1;
use uuid::Uuid;

use crate::{
    commands::{
        assign::{self, Choice, Plan},
        rollout::{self, Outcome, WaitArgs},
        signing::SignArgs,
    },
    exit::{CliError, Exit},
    output::Format,
    server::{self, ServerArgs},
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

    /// Why, for the history.
    #[arg(long, short, value_name = "TEXT", default_value = "")]
    message: String,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    sign: SignArgs,

    #[command(flatten)]
    server: ServerArgs,
}

/// Recovers.
pub(super) fn run(format: Format, args: &Args) -> Result<Exit, CliError> {
    let signing = args.sign.load()?;
    let named = args
        .to
        .as_deref()
        .map(|written| {
            written
                .rsplit_once('@')
                .ok_or_else(|| CliError::usage(format!("`--to {written}` is not `NAME@VERSION`")))
        })
        .transpose()?;
    server::run(&args.server, async |session| {
        let plan = Plan {
            fleet: &args.fleet,
            kind: v1::AssignmentKind::Recover,
            reason: &args.message,
            request_id: Uuid::now_v7(),
            signing: &signing,
            expected: None,
        };
        let assigned = assign::assign(&session, &plan, async |fleet| {
            if fleet.divergence.is_none() {
                return Err(CliError::failure(format!("the fleet `{}` has not diverged", args.fleet))
                    .with_help("there is nothing to recover; `kt pack publish` assigns a version"));
            }
            if let Some((name, version)) = named {
                let request =
                    v1::GetPackVersionRequest { name: name.to_owned(), version: version.to_owned() };
                let answer = session
                    .call(request, async |session, request| session.packs().get_pack_version(request).await)
                    .await?;
                return Ok(Choice::Packs(
                    answer.version.and_then(|version| version.pack).into_iter().collect(),
                ));
            }
            let head = assign::statement(fleet)?.ok_or_else(|| {
                CliError::usage(format!("the store knows nothing that `{}` enforced", args.fleet))
                    .with_help("upload the pack if need be, and name it: `--to NAME@VERSION`")
            })?;
            Ok(Choice::Packs(head.packs))
        })
        .await?;
        rollout::finish(&session, format, Outcome::new("recovered", &args.fleet, assigned), &args.wait).await
    })
}
