//! `kt changes list`: the admin history.

use kt_proto::v1;

use crate::{
    exit::{CliError, Exit},
    output::{Format, print, table},
    server::{self, ServerArgs, Session, view},
};

/// Who changed what at the control plane, when and why.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists changes of packs, fleets, keys and tokens, the newest first.
    #[command(after_help = "Examples:
  kt changes list
  kt changes list --limit 500 -o json")]
    List(List),
}

/// Lists changes.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// The most that are shown, from the newest.
    #[arg(long, default_value_t = 50)]
    limit: usize,

    #[command(flatten)]
    server: ServerArgs,
}

/// Does what was asked.
pub(crate) fn run(format: Format, command: Command) -> Result<Exit, CliError> {
    let Command::List(args) = command;
    let changes = server::run(&args.server, async |session| changes(&session, args.limit).await)?;
    print(format, &changes, |out| {
        let rows = changes.iter().map(|change| {
            [
                view::time(change.at),
                view::or_dash(&change.actor),
                change.action.clone(),
                view::or_dash(&change.subject),
                view::or_dash(&change.reason),
            ]
        });
        write!(out, "{}", table(["WHEN", "WHO", "WHAT", "OF", "WHY"], rows))
    })?;
    Ok(Exit::Success)
}

async fn changes(session: &Session, limit: usize) -> Result<Vec<view::Change>, CliError> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    while all.len() < limit {
        let request = v1::ListChangesRequest {
            limit: u32::try_from((limit - all.len()).min(500)).unwrap_or(500),
            page_token: page_token.clone(),
        };
        let page = session
            .call(request, async |session, request| session.fleets().list_changes(request).await)
            .await?;
        all.extend(page.changes.iter().map(view::Change::from));
        if page.next_page_token.is_empty() || page.next_page_token == page_token {
            break;
        }
        page_token = page.next_page_token;
    }
    all.truncate(limit);
    Ok(all)
}
