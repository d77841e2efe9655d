//! A token: read from where nobody else sees it, and never printed.

use std::io::{self, IsTerminal as _, Read as _};

use secrecy::{ExposeSecret as _, SecretString};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

use crate::exit::CliError;

/// The variable that a token is taken from.
pub(crate) const VARIABLE: &str = "KEEPTRUSTS_API_TOKEN";

/// More than any token has.
const MAX_LEN: usize = 512;

/// A person's token, `kt_at_…`. It can't be printed.
#[derive(Clone)]
pub(crate) struct Token(SecretString);

// === impl Token ===

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Takes what a person or a program gave. What it is not is said without showing it.
    pub(crate) fn parse(text: &str, origin: &str) -> Result<Self, CliError> {
        let text = text.trim();
        let is_token = text.len() <= MAX_LEN
            && !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        if !is_token {
            let what = if text.is_empty() { "is empty" } else { "is no token" };
            return Err(CliError::usage(format!("{origin} {what}")).with_help(
                "a token is one line that begins with `kt_at_`; `kt auth token create` makes one",
            ));
        }
        if text.starts_with("kt_gw_") || text.starts_with("kt_gk_") {
            return Err(CliError::usage(format!("{origin} is the token of a gateway or of its clients"))
                .with_help("a person's token begins with `kt_at_`; `kt auth token create` makes one"));
        }
        Ok(Self(SecretString::from(text.to_owned())))
    }

    /// From the environment.
    pub(crate) fn from_environment() -> Result<Option<Self>, CliError> {
        match std::env::var(VARIABLE) {
            Ok(text) => Self::parse(&text, &format!("`{VARIABLE}`")).map(Some),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(CliError::usage(format!("`{VARIABLE}` is no token")))
            }
        }
    }

    /// The first line of stdin.
    pub(crate) fn from_stdin() -> Result<Self, CliError> {
        let mut text = String::new();
        io::stdin()
            .take(64 * 1024)
            .read_to_string(&mut text)
            .map_err(|error| CliError::usage(format!("can't read the token from stdin: {error}")))?;
        Self::parse(&text, "what stdin gave")
    }

    /// From a terminal, without echo; absent where there is none.
    pub(crate) fn from_prompt(server: &str) -> Result<Option<Self>, CliError> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Ok(None);
        }
        let terminal = console::Term::stderr();
        let failed = |error: io::Error| CliError::usage(format!("can't read the token: {error}"));
        let prompt = format!("token for {} (not shown): ", crate::output::sanitize::clean(server));
        terminal.write_str(&prompt).map_err(failed)?;
        let text = terminal.read_secure_line().map_err(failed)?;
        Self::parse(&text, "what you typed").map(Some)
    }

    /// The text, for the file of contexts and the header.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Puts the token on every call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

// === impl Bearer ===

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer")
    }
}

impl Bearer {
    pub(crate) fn new(token: &Token) -> Result<Self, CliError> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.expose())
            .parse()
            .map_err(|_| CliError::usage("the token can't travel in a header"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_in_its_debug_form_nor_in_what_is_said_of_a_wrong_one() {
        let token = Token::parse(" kt_at_abc123\n", "it").unwrap();
        assert_eq!(token.expose(), "kt_at_abc123");
        assert!(!format!("{token:?}{:?}", Bearer::new(&token).unwrap()).contains("abc123"));
        for wrong in ["", "two words", "kt_gw_abc", "kt_gk_abc", "päss", &"x".repeat(513)] {
            let error = Token::parse(wrong, "it").unwrap_err();
            let text = format!("{error} {:?}", error.help());
            assert!(wrong.is_empty() || !text.contains(wrong), "{text}");
        }
    }
}
