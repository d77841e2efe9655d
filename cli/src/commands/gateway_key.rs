//! `kt gateway-key create|list|revoke|rotate`: in the file that a gateway reads, or in the key set of a fleet.

pub(super) mod fleet;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use kt_data_plane::identity::keys::{self, KeyEntry, KeySet, KeysFile};
use serde::Serialize;

use super::rollout::ChangeArgs;
use crate::{
    exit::{CliError, Exit},
    output::{Format, note, print, table},
    server::ServerArgs,
};

/// The keys that clients of a gateway present.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a key and shows it once; what is kept is its hash. A running gateway takes it within a second.
    #[command(after_help = "Examples:
  kt gateway-key create --fleet default --user jane@example.com --team data --role analyst
  kt gateway-key create --keys-file keys.json --user jane@example.com --role analyst --expires-in-days 90")]
    Create(Box<Create>),
    /// Lists keys; those of a fleet with their last use.
    #[command(after_help = "Examples:
  kt gateway-key list --fleet default
  kt gateway-key list --keys-file keys.json -o json")]
    List(List),
    /// Removes a key. A running gateway refuses it within a second.
    #[command(after_help = "Examples:
  kt gateway-key revoke gk_1a2b3c --fleet default --message \"laptop lost\" --wait
  kt gateway-key revoke gk_1a2b3c --keys-file keys.json")]
    Revoke(Box<Revoke>),
    /// Makes a key in place of another one of a fleet: both work until the older one ends.
    #[command(after_help = "Examples:
  kt gateway-key rotate gk_1a2b3c --fleet default
  kt gateway-key rotate gk_1a2b3c --fleet default --overlap 7d --sign-key release.key")]
    Rotate(Box<Rotate>),
}

/// Where the keys are.
#[derive(Debug, clap::Args)]
pub(crate) struct Where {
    /// The gateway keys file; made when it is not there.
    #[arg(
        long,
        value_name = "FILE",
        env = "KEEPTRUSTS_GATEWAY_KEYS_FILE",
        required_unless_present = "fleet"
    )]
    keys_file: Option<PathBuf>,

    /// The fleet whose key set it is, at the control plane; counts before a keys file in the environment.
    #[arg(long, value_name = "FLEET")]
    fleet: Option<String>,
}

/// Where the keys are, decided.
enum Place<'a> {
    File(&'a Path),
    Fleet(&'a str),
}

// === impl Where ===

impl Where {
    fn place(&self) -> Result<Place<'_>, CliError> {
        match (&self.fleet, &self.keys_file) {
            (Some(_), Some(file))
                if std::env::var_os("KEEPTRUSTS_GATEWAY_KEYS_FILE").as_deref() != Some(file.as_os_str()) =>
            {
                Err(CliError::usage("`--keys-file` and `--fleet` are two places for a key")
                    .with_help("give one of them"))
            }
            (Some(fleet), _) => Ok(Place::Fleet(fleet)),
            (None, Some(file)) => Ok(Place::File(file)),
            (None, None) => Err(CliError::usage("neither `--keys-file` nor `--fleet` is given")),
        }
    }
}

/// Makes a key.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    #[command(flatten)]
    place: Where,

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

    #[command(flatten)]
    change: ChangeArgs,
}

/// Lists keys.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Where,

    #[command(flatten)]
    server: ServerArgs,
}

/// Removes a key.
#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    place: Where,

    /// The id, as `list` shows it.
    id: String,

    #[command(flatten)]
    change: ChangeArgs,
}

/// Replaces a key.
#[derive(Debug, clap::Args)]
pub(crate) struct Rotate {
    /// The id of the older key, as `list` shows it.
    id: String,

    /// The fleet.
    #[arg(long, value_name = "FLEET")]
    fleet: String,

    /// How long the older key still works.
    #[arg(long, value_name = "SPAN", default_value = fleet::OVERLAP, value_parser = fleet::overlap)]
    overlap: SignedDuration,

    /// Days until the new key expires; without it the key does not.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in_days: Option<u32>,

    #[command(flatten)]
    change: ChangeArgs,
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

/// Does what was asked, in the file or for the fleet.
pub(crate) fn run(format: Format, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Create(args) => {
            says_something(&args)?;
            match args.place.place()? {
                Place::Fleet(fleet) => fleet::create(format, fleet, &args),
                Place::File(path) => {
                    only_of_a_fleet(&args.change)?;
                    create(format, path, &args)
                }
            }
        }
        Command::List(args) => match args.place.place()? {
            Place::Fleet(fleet) => fleet::list(format, fleet, &args),
            Place::File(path) => list(format, path),
        },
        Command::Revoke(args) => match args.place.place()? {
            Place::Fleet(fleet) => fleet::revoke(fleet, &args),
            Place::File(path) => {
                only_of_a_fleet(&args.change)?;
                revoke(path, &args.id)
            }
        },
        Command::Rotate(args) => fleet::rotate(format, &args),
    }
}

/// A file has no history, no signature, and nobody who could be waited for.
fn only_of_a_fleet(change: &ChangeArgs) -> Result<(), CliError> {
    let given = [
        ("--message", !change.message.is_empty()),
        ("--wait", change.wait.is_wanted()),
        ("--expires-in", change.sign.has_expiry()),
        ("--unsigned", change.sign.is_unsigned_wanted()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some(("--expires-in", _)) => {
            Err(CliError::usage("`--expires-in` is about the key set of a fleet, not about a key")
                .with_help("`--expires-in-days` ends a key"))
        }
        Some((flag, _)) => Err(CliError::usage(format!("`{flag}` is about the key set of a fleet"))
            .with_help("give `--fleet`, or leave it out")),
        None => Ok(()),
    }
}

/// Refuses what is given and empty.
fn says_something(args: &Create) -> Result<(), CliError> {
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
    Ok(())
}

fn create(format: Format, path: &Path, args: &Create) -> Result<Exit, CliError> {
    let _lock = lock(path)?;
    let mut file = read(path, Absent::Empty)?;
    let now = Timestamp::now();
    let key = format!("{}{}", keys::PREFIX, random_hex::<32>()?);
    let entry = KeyEntry {
        id: format!("gk_{}", random_hex::<6>()?),
        sha256: hex::encode(keys::hash(key.as_bytes())),
        user: args.user.clone(),
        team: args.team.clone(),
        cost_center: args.cost_center.clone(),
        roles: args.roles.clone(),
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

fn list(format: Format, path: &Path) -> Result<Exit, CliError> {
    let file = read(path, Absent::Error)?;
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

fn revoke(path: &Path, id: &str) -> Result<Exit, CliError> {
    let _lock = lock(path)?;
    let mut file = read(path, Absent::Error)?;
    let before = file.keys.len();
    file.keys.retain(|key| key.id != id);
    if file.keys.len() == before {
        return Err(CliError::failure(format!("no key `{id}` in `{}`", path.display()))
            .with_help("`kt gateway-key list` shows the ids"));
    }
    write(path, &file)?;
    note(&format!("revoked `{id}`"));
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
