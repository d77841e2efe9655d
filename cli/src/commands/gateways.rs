//! `kt gateway list` and `kt gateway token`: the gateways of a control plane, and what they connect with.

use std::path::PathBuf;

use jiff::Timestamp;
use kt_proto::v1;

use super::{fleet, tokens, when};
use crate::{
    exit::{CliError, Exit},
    output::{Format, print, table},
    server::{self, ServerArgs, view},
};

/// Lists gateways.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only of this fleet.
    #[arg(long, value_name = "FLEET")]
    fleet: Option<String>,

    #[command(flatten)]
    server: ServerArgs,
}

/// The tokens that gateways connect with.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TokenCommand {
    /// Makes a token for gateways of a fleet and shows it once.
    #[command(after_help = "Examples:
  kt gateway token create --fleet default --out gateway-token
  kt gateway token create --fleet eu --name frankfurt --expires 365d")]
    Create(Create),
    /// Lists tokens of gateways, without their secrets.
    #[command(after_help = "Examples:
  kt gateway token list
  kt gateway token list --fleet eu --all -o json")]
    List(TokenList),
    /// Ends a token: gateways that connect with it are cut off.
    #[command(after_help = "Examples:
  kt gateway token revoke gw_01jd… --message \"machine retired\"")]
    Revoke(tokens::Revoke),
}

/// Makes a token.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// The fleet; a gateway with the token sees nothing of others.
    #[arg(long, value_name = "FLEET")]
    fleet: String,

    /// What it is for, for lists and the history.
    #[arg(long, default_value = "gateway")]
    name: String,

    /// When it ends: `365d`, or a moment (RFC 3339). Without it, it does not.
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
pub(crate) struct TokenList {
    /// Only of this fleet.
    #[arg(long, value_name = "FLEET")]
    fleet: Option<String>,

    /// Revoked ones too.
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// Lists gateways.
pub(crate) fn list(format: Format, args: &List) -> Result<Exit, CliError> {
    let gateways = server::run(&args.server, async |session| {
        let fleets = match &args.fleet {
            Some(fleet) => vec![fleet.clone()],
            None => fleet::fleets(&session).await?.into_iter().map(|fleet| fleet.name).collect(),
        };
        let mut all = Vec::new();
        for fleet in fleets {
            let request = v1::ListGatewaysRequest { fleet: fleet.clone() };
            let answer = session
                .call(request, async |session, request| session.fleets().list_gateways(request).await)
                .await?;
            all.extend(
                answer
                    .gateways
                    .iter()
                    .map(|gateway| Listed { fleet: fleet.clone(), gateway: gateway.into() }),
            );
        }
        Ok(all)
    })?;
    print(format, &gateways, |out| {
        let rows = gateways.iter().map(|listed| {
            let gateway = &listed.gateway;
            [
                listed.fleet.clone(),
                view::or_dash(&gateway.name),
                gateway.id.clone(),
                gateway.state.clone(),
                gateway.generation.map_or_else(|| "-".to_owned(), |generation| generation.to_string()),
                view::or_dash(&gateway.pack),
                view::age(gateway.last_contact),
                view::or_dash(&gateway.build),
            ]
        });
        let header = ["FLEET", "NAME", "ID", "STATE", "GENERATION", "ENFORCES", "HEARD OF", "BUILD"];
        write!(out, "{}", table(header, rows))
    })?;
    Ok(Exit::Success)
}

#[derive(serde::Serialize)]
struct Listed {
    fleet: String,
    #[serde(flatten)]
    gateway: view::Gateway,
}

/// Does what was asked with tokens.
pub(crate) fn token(format: Format, command: TokenCommand) -> Result<Exit, CliError> {
    match command {
        TokenCommand::Create(args) => server::run(&args.server, async |session| {
            let roles = vec![v1::Role::Gateway.into()];
            let request = tokens::request(args.name.clone(), roles, &args.fleet, args.expires);
            tokens::create(&session, format, request, args.out.as_deref()).await
        }),
        TokenCommand::List(args) => server::run(&args.server, async |session| {
            let is_meant = |token: &v1::Token| match &args.fleet {
                Some(fleet) => token.fleet == *fleet,
                None => !token.fleet.is_empty(),
            };
            tokens::list(&session, format, args.all, is_meant).await
        }),
        TokenCommand::Revoke(args) => tokens::revoke(&args),
    }
}
