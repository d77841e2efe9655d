//! `--sign-key`, `--expires-in`: who signs a statement, and until when it is taken.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use kt_audit::sign::{PublicKey, Signer};
use kt_proto::v1;
use zeroize::Zeroizing;

use super::when;
use crate::{
    exit::CliError,
    server::{config::private, view},
};

/// Who signs.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Signing")]
pub(crate) struct SignArgs {
    /// Signs with this key, as `kt key generate` makes them; repeat it for several signers.
    #[arg(long = "sign-key", value_name = "FILE", env = "KEEPTRUSTS_SIGN_KEY", value_delimiter = ',')]
    keys: Vec<PathBuf>,

    /// After this time, a gateway that sees the statement for the first time refuses it: `30d`, or a moment (RFC 3339).
    #[arg(long, value_name = "WHEN", value_parser = when::future)]
    expires_in: Option<Timestamp>,

    /// Leaves it unsigned, although what it replaces is signed. Gateways with `--trust-key` will refuse it.
    #[arg(long, conflicts_with = "keys")]
    unsigned: bool,
}

/// Who signs, loaded.
#[derive(Debug)]
pub(crate) struct Signing {
    pub(crate) signers: Vec<Signer>,
    /// 0: never.
    pub(crate) expires_us: i64,
    is_unsigned_wanted: bool,
}

/// A public key, as digits or as a file with them.
pub(crate) fn public_key(written: &str) -> Result<PublicKey, CliError> {
    if let Ok(key) = written.parse() {
        return Ok(key);
    }
    let wrong = |what: String| {
        CliError::usage(what)
            .with_help("a public key is 64 hexadecimal digits; `kt key generate` writes one as `.pub`")
    };
    let text = fs::read_to_string(written)
        .map_err(|error| wrong(format!("`{written}` is no public key and can't be read: {error}")))?;
    text.trim().parse().map_err(|_| wrong(format!("`{written}` holds no public key")))
}

// === impl SignArgs ===

impl SignArgs {
    /// Whether the statement is to end.
    pub(crate) fn has_expiry(&self) -> bool {
        self.expires_in.is_some()
    }

    /// Whether it is to stay unsigned.
    pub(crate) fn is_unsigned_wanted(&self) -> bool {
        self.unsigned
    }

    /// Reads the keys, so that a missing one is known before anything is sent.
    pub(crate) fn load(&self) -> Result<Signing, CliError> {
        let signers = self.keys.iter().map(|path| load(path)).collect::<Result<Vec<_>, _>>()?;
        let expires_us = self.expires_in.map_or(0, Timestamp::as_microsecond);
        Ok(Signing { signers, expires_us, is_unsigned_wanted: self.unsigned })
    }
}

// === impl Signing ===

impl Signing {
    /// Refuses to replace a signed statement by an unsigned one without being told to.
    pub(crate) fn follows(&self, what: &str, before: Option<&v1::SignedStatement>) -> Result<(), CliError> {
        let Some(before) = before.filter(|before| !before.signatures.is_empty()) else { return Ok(()) };
        if !self.signers.is_empty() || self.is_unsigned_wanted {
            return Ok(());
        }
        Err(CliError::usage(format!("{what} is signed by {}", view::signers(before).join(", ")))
            .with_help("sign this one too: `--sign-key FILE`; or `--unsigned`, when no gateway asks for it"))
    }

    /// Whether each signer has signed `statement`.
    pub(crate) fn has_signed(&self, statement: &v1::SignedStatement) -> bool {
        self.signers.iter().all(|signer| {
            let id = signer.public().id();
            statement.signatures.iter().any(|signature| signature.key_id == id.0)
        })
    }
}

/// Reads the secret part of a key.
pub(super) fn load(path: &Path) -> Result<Signer, CliError> {
    let failed = |error: std::io::Error| CliError::usage(format!("can't read `{}`: {error}", path.display()));
    let file = fs::File::open(path).map_err(failed)?;
    if path.extension().is_some_and(|extension| extension == "pub") {
        return Err(CliError::usage(format!("`{}` is the public part of a key", path.display()))
            .with_help("sign with the file beside it, without `.pub`"));
    }
    private(&file, path)?;
    let mut text = Zeroizing::new(String::new());
    file.take(1024).read_to_string(&mut text).map_err(failed)?;
    Signer::from_seed_hex(&text).map_err(|_| {
        CliError::usage(format!("`{}` is not a signing key", path.display()))
            .with_help("`kt key generate FILE` makes one")
    })
}

/// The file of the public part.
pub(super) fn public_file(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".pub");
    path.with_file_name(name)
}
