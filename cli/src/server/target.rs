//! Which control plane a command talks to, and as whom: flag before environment before the file of contexts.
//!
//! A stored token goes only to the server that it was stored for.

use std::path::PathBuf;

use super::{
    config::{Context, Contexts},
    connect,
    token::{self, Token},
};
use crate::exit::CliError;

/// Which control plane.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Control plane")]
pub(crate) struct ServerArgs {
    /// A stored context, as `kt auth contexts` lists them; without it the current one.
    #[arg(long, value_name = "NAME", env = "KT_CONTEXT")]
    pub(crate) context: Option<String>,

    /// The control plane, `https://host:port`; its token is in KEEPTRUSTS_API_TOKEN or was stored by `kt auth login`.
    #[arg(long, value_name = "URL", env = "KEEPTRUSTS_API_URL")]
    pub(crate) server: Option<String>,

    /// Certificates (PEM) to trust besides those of the system.
    #[arg(long, value_name = "FILE", env = "KEEPTRUSTS_API_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

/// A control plane and a token for it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Its address.
    pub(crate) server: String,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) token: Token,
    /// The stored context that this is, if any.
    pub(crate) context: Option<String>,
}

// === impl ServerArgs ===

impl ServerArgs {
    /// Whether something says which control plane: then its absence is not the reason why a call fails.
    pub(crate) fn is_configured(&self) -> Result<bool, CliError> {
        Ok(self.context.is_some()
            || self.server.is_some()
            || Contexts::load()?.current.is_some_and(|current| !current.is_empty()))
    }

    pub(crate) fn resolve(&self) -> Result<Target, CliError> {
        let contexts = Contexts::load()?;
        if let Some(name) = &self.context {
            let context = contexts.get(name)?;
            self.no_other_server(name, context)?;
            return self.with(name, context, Token::parse(&context.token, "the stored token")?);
        }
        let from_environment = Token::from_environment()?;
        if let Some(server) = &self.server {
            let server = normal(server)?;
            let stored = contexts.of_server(&server);
            let token = match (from_environment, stored) {
                (Some(token), _) => token,
                (None, Some((_, context))) => Token::parse(&context.token, "the stored token")?,
                (None, None) => return Err(not_logged_in(&server)),
            };
            let ca_file =
                self.ca_file.clone().or_else(|| stored.and_then(|(_, context)| context.ca_file.clone()));
            let context = stored.map(|(name, _)| name.to_owned());
            return Ok(Target { server, ca_file, token, context });
        }
        let Some(name) = contexts.current.clone().filter(|name| !name.is_empty()) else {
            return Err(CliError::usage("no control plane is known").with_help(format!(
                "`kt auth login --server https://host:7443`, or set KEEPTRUSTS_API_URL and {}",
                token::VARIABLE
            )));
        };
        let context = contexts.get(&name)?;
        let token = match from_environment {
            Some(token) => token,
            None => Token::parse(&context.token, "the stored token")?,
        };
        self.with(&name, context, token)
    }

    fn with(&self, name: &str, context: &Context, token: Token) -> Result<Target, CliError> {
        Ok(Target {
            server: normal(&context.server)?,
            ca_file: self.ca_file.clone().or_else(|| context.ca_file.clone()),
            token,
            context: Some(name.to_owned()),
        })
    }

    fn no_other_server(&self, name: &str, context: &Context) -> Result<(), CliError> {
        match &self.server {
            Some(server) if normal(server)? != normal(&context.server)? => Err(CliError::usage(format!(
                "the context `{name}` is of `{}`, and `{server}` is asked for",
                context.server
            ))
            .with_help("give either `--context` or `--server` (KEEPTRUSTS_API_URL)")),
            _ => Ok(()),
        }
    }
}

/// An address as it is compared and stored.
pub(crate) fn normal(server: &str) -> Result<String, CliError> {
    let uri = connect::address(server)?;
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority =
        uri.authority().map(|authority| authority.as_str().to_ascii_lowercase()).unwrap_or_default();
    Ok(format!("{scheme}://{authority}"))
}

fn not_logged_in(server: &str) -> CliError {
    CliError::usage(format!("no token for `{server}`"))
        .with_help(format!("`kt auth login --server {server}`, or set {}", token::VARIABLE))
}
