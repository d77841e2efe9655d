//! `kt gateway-key create|list|revoke`, in the file that a gateway reads.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use kt_data_plane::identity::keys::{self, KeyEntry, KeySet, KeysFile};
use serde::Serialize;

use crate::{
    exit::{CliError, Exit},
    output::{Format, note, print, table},
};

/// The keys that clients of a gateway present.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a key and shows it once; the file holds its hash. A running gateway takes it within a second.
    Create(Create),
    /// Lists keys.
    List(List),
    /// Removes a key. A running gateway refuses it within a second.
    Revoke(Revoke),
}

/// Where the keys are.
#[derive(Debug, clap::Args)]
pub(crate) struct KeysFileArg {
    /// The gateway keys file; made when it is not there.
    #[arg(long, value_name = "FILE", env = "KEEPTRUSTS_GATEWAY_KEYS_FILE")]
    keys_file: PathBuf,
}

/// Makes a key.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    #[command(flatten)]
    file: KeysFileArg,

    /// Who it belongs to.
    #[arg(long)]
    user: Option<String>,

    /// A role; repeat it for several, in the order in which they count.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,

    /// The team that its requests are accounted to.
    #[arg(long)]
    team: Option<String>,

    /// The cost centre that its requests are accounted to.
    #[arg(long)]
    cost_center: Option<String>,

    /// Days until it expires; without it the key does not.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in_days: Option<u32>,
}

/// Lists keys.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    file: KeysFileArg,
}

/// Removes a key.
#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    file: KeysFileArg,

    /// The id, as `list` shows it.
    id: String,
}

/// A new key, the only time that it is shown.
#[derive(Serialize)]
struct Created<'a> {
    id: &'a str,
    key: &'a str,
    roles: &'a [String],
    expires: Option<Timestamp>,
}

#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    user: Option<&'a str>,
    team: Option<&'a str>,
    cost_center: Option<&'a str>,
    roles: &'a [String],
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    expired: bool,
}

/// Does what was asked with the keys file.
pub(crate) fn run(format: Format, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Create(args) => create(format, args),
        Command::List(args) => list(format, &args),
        Command::Revoke(args) => revoke(&args),
    }
}

fn create(format: Format, args: Create) -> Result<Exit, CliError> {
    let path = &args.file.keys_file;
    if let Some(role) = args.roles.iter().find(|role| role.trim().is_empty()) {
        return Err(CliError::usage(format!("`--role {role}` is empty")));
    }
    let told = [("user", &args.user), ("team", &args.team), ("cost-center", &args.cost_center)];
    for (flag, value) in told {
        if value.as_ref().is_some_and(|value| value.trim().is_empty()) {
            return Err(CliError::usage(format!("`--{flag}` is empty"))
                .with_help(format!("leave `--{flag}` out where there is none")));
        }
    }
    let _lock = lock(path)?;
    let mut file = read(path, Absent::Empty)?;
    let now = Timestamp::now();
    let key = format!("{}{}", keys::PREFIX, random_hex::<32>()?);
    let entry = KeyEntry {
        id: format!("gk_{}", random_hex::<6>()?),
        sha256: hex::encode(keys::hash(key.as_bytes())),
        user: args.user,
        team: args.team,
        cost_center: args.cost_center,
        roles: args.roles,
        expires: args.expires_in_days.map(|days| expiry(now, days)).transpose()?,
        created: Some(now),
    };
    file.keys.push(entry.clone());
    write(path, &file)?;
    let created = Created { id: &entry.id, key: &key, roles: &entry.roles, expires: entry.expires };
    print(format, &created, |out| writeln!(out, "{key}"))?;
    if format == Format::Table {
        note(&format!("made `{}`; the key is shown this once, the file holds its hash", entry.id));
    }
    Ok(Exit::Success)
}

fn list(format: Format, args: &List) -> Result<Exit, CliError> {
    let file = read(&args.file.keys_file, Absent::Error)?;
    let now = Timestamp::now();
    let listed: Vec<Listed<'_>> = file
        .keys
        .iter()
        .map(|key| Listed {
            id: &key.id,
            user: key.user.as_deref(),
            team: key.team.as_deref(),
            cost_center: key.cost_center.as_deref(),
            roles: &key.roles,
            created: key.created,
            expires: key.expires,
            expired: key.expires.is_some_and(|expires| now >= expires),
        })
        .collect();
    print(format, &listed, |out| {
        let rows = listed.iter().map(|key| {
            let expires = match key.expires {
                Some(at) if key.expired => format!("{at} (expired)"),
                Some(at) => at.to_string(),
                None => "never".to_owned(),
            };
            let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
            [key.id.to_owned(), text(key.user), text(key.team), key.roles.join(","), expires]
        });
        write!(out, "{}", table(["ID", "USER", "TEAM", "ROLES", "EXPIRES"], rows))
    })?;
    Ok(Exit::Success)
}

fn revoke(args: &Revoke) -> Result<Exit, CliError> {
    let path = &args.file.keys_file;
    let _lock = lock(path)?;
    let mut file = read(path, Absent::Error)?;
    let before = file.keys.len();
    file.keys.retain(|key| key.id != args.id);
    if file.keys.len() == before {
        return Err(CliError::failure(format!("no key `{}` in `{}`", args.id, path.display()))
            .with_help("`kt gateway-key list` shows the ids"));
    }
    write(path, &file)?;
    note(&format!("revoked `{}`", args.id));
    Ok(Exit::Success)
}

fn expiry(now: Timestamp, days: u32) -> Result<Timestamp, CliError> {
    now.checked_add(SignedDuration::from_hours(24 * i64::from(days)))
        .map_err(|_| CliError::usage(format!("`--expires-in-days {days}` is beyond the calendar")))
}

fn random_hex<const N: usize>() -> Result<String, CliError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| CliError::failure(format!("the system gives no random bytes: {error}")))?;
    Ok(hex::encode(bytes))
}

/// What a missing file means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Empty,
    Error,
}

fn read(path: &Path, absent: Absent) -> Result<KeysFile, CliError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && absent == Absent::Empty => {
            return Ok(KeysFile::default());
        }
        Err(error) => return Err(CliError::usage(format!("can't read `{}`: {error}", path.display()))),
    };
    // The gateway's own check first, so that nothing is added to a file that it would refuse.
    KeySet::parse(&bytes).map_err(|error| CliError::usage(format!("`{}`: {error}", path.display())))?;
    serde_json::from_slice(&bytes).map_err(|error| CliError::usage(format!("`{}`: {error}", path.display())))
}

/// Two `kt` at the same time must not lose each other's key: the lock is held from reading to renaming.
fn lock(path: &Path) -> Result<fs::File, CliError> {
    let name = sibling(path, ".lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|error| CliError::failure(format!("can't open `{}`: {error}", name.display())))?;
    file.lock().map_err(|error| CliError::failure(format!("can't lock `{}`: {error}", name.display())))?;
    Ok(file)
}

/// Writes beside the file, then renames: a gateway that looks meanwhile sees the old keys or the new ones.
fn write(path: &Path, file: &KeysFile) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::failure(format!("can't write `{}`: {error}", path.display()));
    let mut text = serde_json::to_vec_pretty(file)
        .map_err(|error| CliError::failure(format!("can't write the keys: {error}")))?;
    text.push(b'\n');
    let next = sibling(path, ".next");
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(&next).map_err(failed)?;
    out.write_all(&text).and_then(|()| out.sync_all()).map_err(failed)?;
    fs::rename(&next, path).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}
