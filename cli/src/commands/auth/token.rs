//! `kt auth token create|list|revoke`: tokens of people and programs.

use std::path::PathBuf;

use jiff::Timestamp;
use kt_proto::v1;

use crate::{
    commands::{tokens, when},
    exit::{CliError, Exit},
    output::Format,
    server::{self, ServerArgs},
};

/// The tokens of people and programs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a token and shows it once.
    #[command(after_help = "Examples:
  kt auth token create --name jane --role publisher --expires 90d
  kt auth token create --name ci --role publisher --role viewer --out ci-token")]
    Create(Create),
    /// Lists tokens, without their secrets.
    #[command(after_help = "Examples:
  kt auth token list
  kt auth token list --all -o json")]
    List(List),
    /// Ends a token: it opens nothing from now on.
    #[command(after_help = "Examples:
  kt auth token revoke at_01jd… --message \"Jane left\"")]
    Revoke(tokens::Revoke),
}

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// Everything but the events.
    Admin,
    /// Publishes packs and assigns them to fleets.
    Publisher,
    /// Reads packs and fleets.
    Viewer,
    /// Reads events and the history of changes.
    Auditor,
}

/// Makes a token.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// Whose it is, for lists and the history.
    #[arg(long)]
    name: String,

    /// What it may do; repeat it for several.
    #[arg(long = "role", value_name = "ROLE", value_enum, required = true)]
    roles: Vec<Role>,

    /// When it ends: `90d`, or a moment (RFC 3339). Without it, it does not.
    #[arg(long, value_name = "WHEN", value_parser = when::future)]
    expires: Option<Timestamp>,

    /// Writes the token to this new file (mode 0600) in place of stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    server: ServerArgs,
}

/// Lists tokens.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Revoked ones too.
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// Does what was asked.
pub(crate) fn run(format: Format, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Create(args) => server::run(&args.server, async |session| {
            let roles = args.roles.iter().map(|role| v1::Role::from(*role).into()).collect();
            let request = tokens::request(args.name.clone(), roles, "", args.expires);
            tokens::create(&session, format, request, args.out.as_deref()).await
        }),
        Command::List(args) => server::run(&args.server, async |session| {
            tokens::list(&session, format, args.all, |token| token.fleet.is_empty()).await
        }),
        Command::Revoke(args) => tokens::revoke(&args),
    }
}

impl From<Role> for v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Publisher => Self::Publisher,
            Role::Viewer => Self::Viewer,
            Role::Auditor => Self::Auditor,
        }
    }
}
