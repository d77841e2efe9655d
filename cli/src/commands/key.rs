//! `kt key generate|show`: the ed25519 keys that packs and key sets are signed with.

use std::{fs, io::Write as _, path::PathBuf};

use kt_audit::sign::{PublicKey, Signer};
use serde::Serialize;

use super::signing;
use crate::{
    exit::{CliError, Exit},
    output::{Format, facts, note, print},
    server::config::private_file,
};

/// The keys that packs and key sets are signed with.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a signing key: FILE with the secret part (mode 0600), FILE.pub with the public one.
    #[command(after_help = "Examples:
  kt key generate release.key
  kt pack publish policy-config.yaml --sign-key release.key
  kt gateway run --trust-key release.key.pub …")]
    Generate(File),
    /// Shows the public key and the id of a signing key, or of its public part.
    #[command(after_help = "Examples:
  kt key show release.key
  kt key show release.key.pub -o json")]
    Show(File),
}

/// A key file.
#[derive(Debug, clap::Args)]
pub(crate) struct File {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Serialize)]
struct Key {
    key_id: String,
    public_key: String,
    public_file: Option<String>,
}

/// Does what was asked.
pub(crate) fn run(format: Format, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Generate(args) => generate(format, &args),
        Command::Show(args) => show(format, &args),
    }
}

fn generate(format: Format, args: &File) -> Result<Exit, CliError> {
    let secret_path = &args.file;
    let public_path = signing::public_file(secret_path);
    let signer =
        Signer::generate().map_err(|error| CliError::failure(format!("can't make a key: {error}")))?;
    let seed = signer.seed_hex().map_err(|error| CliError::failure(format!("can't make a key: {error}")))?;
    // The public file first: where it can't be made, no secret is left behind.
    let mut public = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&public_path)
        .map_err(|error| not_made(&public_path, &error))?;
    let made = private_file(secret_path, false).map_err(|error| not_made(secret_path, &error));
    let mut secret = match made {
        Ok(secret) => secret,
        Err(error) => {
            // Ours, made a moment ago and still empty.
            let _ = fs::remove_file(&public_path);
            return Err(error);
        }
    };
    let written = writeln!(secret, "{seed}")
        .and_then(|()| secret.sync_all())
        .and_then(|()| writeln!(public, "{}", signer.public()))
        .and_then(|()| public.sync_all());
    written.map_err(|error| not_made(secret_path, &error))?;
    shown(format, signer.public(), Some(public_path.display().to_string()))?;
    if format == Format::Table {
        note(&format!(
            "made `{}`: keep it secret and safe; gateways get its public part",
            secret_path.display()
        ));
    }
    Ok(Exit::Success)
}

fn show(format: Format, args: &File) -> Result<Exit, CliError> {
    let text = fs::read_to_string(&args.file)
        .map_err(|error| CliError::usage(format!("can't read `{}`: {error}", args.file.display())))?;
    // Both parts are 64 digits: the name tells them apart.
    let public = if args.file.extension().is_some_and(|extension| extension == "pub") {
        text.trim().parse::<PublicKey>().map_err(|error| {
            CliError::usage(format!("`{}` is no public key: {error}", args.file.display()))
        })?
    } else {
        signing::load(&args.file)?.public()
    };
    shown(format, public, None)?;
    Ok(Exit::Success)
}

fn shown(format: Format, public: PublicKey, public_file: Option<String>) -> Result<(), CliError> {
    let key = Key { key_id: public.id().to_string(), public_key: public.to_string(), public_file };
    print(format, &key, |out| {
        let mut lines = vec![("key id", key.key_id.clone()), ("public key", key.public_key.clone())];
        lines.extend(key.public_file.iter().map(|file| ("in", file.clone())));
        write!(out, "{}", facts(lines))
    })
}

fn not_made(path: &std::path::Path, error: &std::io::Error) -> CliError {
    let message = format!("can't make `{}`: {error}", path.display());
    if error.kind() == std::io::ErrorKind::AlreadyExists {
        CliError::failure(message).with_help("a key is never overwritten: choose another name")
    } else {
        CliError::failure(message)
    }
}
