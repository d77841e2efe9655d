//! `kt auth`: who a person is to a control plane.

mod token;

use std::path::PathBuf;

use kt_proto::v1;
use serde::Serialize;

use crate::{
    exit::{CliError, Exit},
    output::{Format, facts, note, print, table},
    server::{
        self, ServerArgs, Session, Target,
        config::{Context, Contexts},
        normal,
        token::{Token, VARIABLE},
        view,
    },
};

/// Who you are to a control plane.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Checks a token and stores it: from KEEPTRUSTS_API_TOKEN, from stdin, or typed without echo.
    #[command(after_help = "Examples:
  kt auth login --server https://kt.example.com:7443
  kt auth login --server https://kt.example.com:7443 --context prod --ca-file ca.pem
  kt auth login --server http://127.0.0.1:7443 --token-stdin < bootstrap-token")]
    Login(Login),
    /// Forgets a stored context. The token stays valid: `kt auth token revoke` ends it.
    #[command(after_help = "Examples:
  kt auth logout
  kt auth logout --context prod")]
    Logout(Logout),
    /// Shows which token is used, and what it may do.
    #[command(after_help = "Examples:
  kt auth whoami
  kt auth whoami --context prod -o json")]
    Whoami(ServerArgs),
    /// Lists the stored contexts.
    #[command(after_help = "Examples:
  kt auth contexts")]
    Contexts,
    /// Makes a stored context the current one.
    #[command(after_help = "Examples:
  kt auth use prod")]
    Use(Use),
    /// The tokens of people and programs.
    #[command(subcommand)]
    Token(token::Command),
}

/// Stores a token.
#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    /// The control plane, `https://host:port`.
    #[arg(long, value_name = "URL", env = "KEEPTRUSTS_API_URL")]
    server: Option<String>,

    /// The name under which it is stored; it becomes the current one.
    #[arg(long, value_name = "NAME", default_value = "default")]
    context: String,

    /// Certificates (PEM) to trust besides those of the system.
    #[arg(long, value_name = "FILE", env = "KEEPTRUSTS_API_CA_FILE")]
    ca_file: Option<PathBuf>,

    /// Reads the token from stdin.
    #[arg(long)]
    token_stdin: bool,
}

/// Forgets a context.
#[derive(Debug, clap::Args)]
pub(crate) struct Logout {
    /// The context; without it the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// Chooses a context.
#[derive(Debug, clap::Args)]
pub(crate) struct Use {
    /// The context.
    context: String,
}

#[derive(Serialize)]
struct Who {
    server: String,
    context: Option<String>,
    token: view::Token,
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    server: &'a str,
    ca_file: Option<String>,
    current: bool,
}

/// Does what was asked.
pub(crate) fn run(format: Format, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Login(args) => login(format, args),
        Command::Logout(args) => logout(args),
        Command::Whoami(args) => whoami(format, &args),
        Command::Contexts => contexts(format),
        Command::Use(args) => choose(&args),
        Command::Token(command) => token::run(format, command),
    }
}

fn login(format: Format, args: Login) -> Result<Exit, CliError> {
    let name = &args.context;
    if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(CliError::usage(format!("`{name}` is no name for a context"))
            .with_help("1 to 64 characters without blanks"));
    }
    // Again to the same place, when a token has expired.
    let stored = Contexts::load()?.contexts.get(name).cloned();
    let server = match (&args.server, &stored) {
        (Some(server), _) => normal(server)?,
        (None, Some(context)) => normal(&context.server)?,
        (None, None) => {
            return Err(CliError::usage("`--server` is missing")
                .with_help("kt auth login --server https://host:7443"));
        }
    };
    let ca_file = match args.ca_file {
        Some(path) => Some(
            std::path::absolute(&path)
                .map_err(|error| CliError::usage(format!("can't find `{}`: {error}", path.display())))?,
        ),
        None => stored
            .filter(|context| normal(&context.server).is_ok_and(|old| old == server))
            .and_then(|context| context.ca_file),
    };
    let token = read_token(args.token_stdin, &server)?;
    let target = Target { server, ca_file, token, context: Some(name.clone()) };
    let who = server::block_on(async { ask(&target).await })?;
    Contexts::change(|contexts| {
        let context = Context {
            server: target.server.clone(),
            ca_file: target.ca_file.clone(),
            token: target.token.expose().to_owned(),
        };
        contexts.contexts.insert(name.clone(), context);
        contexts.current = Some(name.clone());
        Ok(())
    })?;
    show(format, &who)?;
    if who.token.is_bootstrap {
        note("this is the bootstrap token: it ends with the first admin token or after a day");
        note("  help: `kt auth token create --name YOU --role admin`, then `kt auth login` with that one");
    }
    Ok(Exit::Success)
}

fn read_token(from_stdin: bool, server: &str) -> Result<Token, CliError> {
    if from_stdin {
        return Token::from_stdin();
    }
    if let Some(token) = Token::from_environment()? {
        return Ok(token);
    }
    Token::from_prompt(server)?.ok_or_else(|| {
        CliError::usage("there is no terminal to ask for the token").with_help(format!(
            "give it with `--token-stdin` or in {VARIABLE}; it is never an argument, where others could see it"
        ))
    })
}

async fn ask(target: &Target) -> Result<Who, CliError> {
    let session = Session::new(target)?;
    let token = who_am_i(&session).await?;
    Ok(Who { server: session.server().to_owned(), context: target.context.clone(), token: (&token).into() })
}

/// Whose token this is.
pub(super) async fn who_am_i(session: &Session) -> Result<v1::Token, CliError> {
    let answer = session
        .call(v1::WhoAmIRequest {}, async |session, request| session.tokens().who_am_i(request).await)
        .await?;
    answer.token.ok_or_else(|| CliError::failure("the control plane does not say whose token this is"))
}

fn whoami(format: Format, args: &ServerArgs) -> Result<Exit, CliError> {
    let target = args.resolve()?;
    let who = server::block_on(async { ask(&target).await })?;
    show(format, &who)?;
    Ok(Exit::Success)
}

fn show(format: Format, who: &Who) -> Result<(), CliError> {
    print(format, who, |out| {
        let mut lines = vec![("server", who.server.clone())];
        lines.extend(who.context.iter().map(|context| ("context", context.clone())));
        lines.push(("token", format!("{} ({})", who.token.id, who.token.name)));
        lines.push(("roles", who.token.roles.join(", ")));
        lines.push(("expires", view::expiry(who.token.expires)));
        write!(out, "{}", facts(lines))
    })
}

fn logout(args: Logout) -> Result<Exit, CliError> {
    let name = Contexts::change(|contexts| {
        let Some(name) = args.context.or_else(|| contexts.current.clone()) else {
            return Err(CliError::failure("nothing is stored").with_help("`kt auth contexts` lists contexts"));
        };
        if contexts.contexts.remove(&name).is_none() {
            return Err(
                CliError::failure(format!("no context `{name}`")).with_help("`kt auth contexts` lists them")
            );
        }
        if contexts.current.as_ref() == Some(&name) {
            contexts.current = None;
        }
        Ok(name)
    })?;
    note(&format!("forgot `{name}`; its token stays valid until it expires or is revoked"));
    Ok(Exit::Success)
}

fn contexts(format: Format) -> Result<Exit, CliError> {
    let contexts = Contexts::load()?;
    let listed: Vec<Listed<'_>> = contexts
        .contexts
        .iter()
        .map(|(name, context)| Listed {
            name,
            server: &context.server,
            ca_file: context.ca_file.as_ref().map(|path| path.display().to_string()),
            current: contexts.current.as_ref() == Some(name),
        })
        .collect();
    print(format, &listed, |out| {
        let rows = listed.iter().map(|context| {
            let mark = if context.current { "*" } else { "" };
            [mark.to_owned(), context.name.to_owned(), context.server.to_owned()]
        });
        write!(out, "{}", table(["", "NAME", "SERVER"], rows))
    })?;
    Ok(Exit::Success)
}

fn choose(args: &Use) -> Result<Exit, CliError> {
    Contexts::change(|contexts| {
        contexts.get(&args.context)?;
        contexts.current = Some(args.context.clone());
        Ok(())
    })?;
    note(&format!("`{}` is the current context", args.context));
    Ok(Exit::Success)
}
