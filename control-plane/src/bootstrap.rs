//! The first start over an empty store: the first token, and the fleet `default`.
//!
//! Among replicas that start together one create-only write picks the one whose token counts. The token dies with the
//! first admin token, or after a day. Where it has died unused and there is no admin, a start makes another one: who
//! can start a control plane over the store owns it anyway.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::{Timestamp, ToSpan as _};
use kt_proto::{
    refusal::Refusal,
    store::v1 as store,
    v1::{self, Role},
};
use prost::Message as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    auth,
    paths::{self, StateKey},
    registry::tokens::{self, Minted},
    store::{Commit, Committed, Entry, Precondition, Store, StoreError, Write},
};

/// The fleet that every gateway and publisher means who names none.
pub const DEFAULT_FLEET: &str = "default";
/// The file of the token, in the data folder.
pub const TOKEN_FILE: &str = "bootstrap-token";
const HOURS: i64 = 24;
const TRIES: usize = 5;

/// The first token.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// Where it is written; mode 0600.
    pub file: PathBuf,
    /// The token.
    pub secret: SecretString,
    /// Until when it can be used.
    pub expires: Timestamp,
}

/// Why there is no first token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file.
    #[error("can't write the bootstrap token to `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// No secret could be made.
    #[error(transparent)]
    Secret(#[from] Refusal),
}

/// Makes the first token and the default fleet where they are missing; `None`: they were there, or another replica
/// has made them.
///
/// # Errors
/// When the store or the file can't be written.
pub(crate) async fn run(
    store: &Arc<dyn Store>,
    data_dir: &Path,
    replica: &str,
) -> Result<Option<Bootstrap>, BootstrapError> {
    make_default_fleet(store).await?;
    let now = Timestamp::now();
    let Some(before) = needed(store, now).await? else { return Ok(None) };
    let minted = tokens::mint(false)?;
    let expires = now.checked_add(HOURS.hours()).unwrap_or(Timestamp::MAX);
    let file = data_dir.join(TOKEN_FILE);
    // The file first: a token that is stored and nowhere written down would be of no use to anybody.
    write_secret(&file, &minted.secret)
        .map_err(|source| BootstrapError::File { path: file.clone(), source })?;
    if make_token(store, &minted, before, replica, now, expires).await? {
        return Ok(Some(Bootstrap { file, secret: minted.secret, expires }));
    }
    // Another replica was faster; on one machine with one folder its token would have been overwritten, but one folder
    // has one store, and an embedded store one process.
    fs::remove_file(&file).map_err(|source| BootstrapError::File { path: file, source })?;
    Ok(None)
}

/// What the create-only write must find: nothing, or a token that has died unused. `None`: there is an admin, or will
/// be.
async fn needed(store: &Arc<dyn Store>, now: Timestamp) -> Result<Option<Precondition>, BootstrapError> {
    let made = store.get(paths::BOOTSTRAP).await?;
    let tokens = store.load(&paths::tokens()).await?.entries;
    let tokens: Vec<v1::Token> = tokens.iter().filter_map(token).collect();
    let is_live = |token: &v1::Token| {
        token.roles().any(|role| role == Role::Admin)
            && token.revoked_us == 0
            && !auth::is_expired(token, now)
    };
    if tokens.iter().any(is_live) {
        return Ok(None);
    }
    Ok(Some(match made {
        None => Precondition::Absent(paths::BOOTSTRAP.to_owned()),
        Some(made) => Precondition::Unchanged(paths::BOOTSTRAP.to_owned(), made.modified),
    }))
}

fn token(entry: &Entry) -> Option<v1::Token> {
    store::TokenRecord::decode(entry.value.clone()).ok()?.token
}

/// Whether this replica's token is the one.
async fn make_token(
    store: &Arc<dyn Store>,
    minted: &Minted,
    before: Precondition,
    replica: &str,
    now: Timestamp,
    expires: Timestamp,
) -> Result<bool, BootstrapError> {
    let created_us = now.as_microsecond();
    let token = v1::Token {
        id: minted.id.clone(),
        name: "bootstrap".to_owned(),
        roles: vec![Role::Admin.into()],
        created_by: "control plane".to_owned(),
        created_us,
        expires_us: expires.as_microsecond(),
        is_bootstrap: true,
        ..v1::Token::default()
    };
    let record =
        store::TokenRecord { token: Some(token), sha256: minted.sha256.to_vec(), request_id: String::new() };
    let bootstrap =
        store::BootstrapRecord { token_id: minted.id.clone(), replica: replica.to_owned(), created_us };
    let commit = Commit {
        preconditions: vec![before],
        writes: vec![
            Write::Put(paths::BOOTSTRAP.to_owned(), bootstrap.encode_to_vec().into()),
            Write::Put(StateKey::Token(&minted.id).path(), record.encode_to_vec().into()),
        ],
    };
    for _ in 0..TRIES {
        match store.commit(commit.clone()).await {
            Ok(Committed::Done(_)) => return Ok(true),
            Ok(Committed::Conflict) | Err(StoreError::OutcomeUnknown(_)) => {
                let made = store.get(paths::BOOTSTRAP).await?;
                let made = made.and_then(|made| store::BootstrapRecord::decode(made.value).ok());
                match made {
                    Some(made) if made == bootstrap => return Ok(true),
                    // Somebody else's, unless it is the one that has died: then it is tried again.
                    Some(made) if made.created_us >= created_us.saturating_sub(HOURS * 3_600_000_000) => {
                        return Ok(false);
                    }
                    _ => {}
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::OutcomeUnknown("the bootstrap token could not be written".to_owned()).into())
}

async fn make_default_fleet(store: &Arc<dyn Store>) -> Result<(), BootstrapError> {
    let record = store::FleetRecord {
        name: DEFAULT_FLEET.to_owned(),
        description: "gateways that name no other fleet".to_owned(),
        created_by: "control plane".to_owned(),
        created_us: Timestamp::now().as_microsecond(),
        request_id: String::new(),
    };
    let key = StateKey::Fleet(DEFAULT_FLEET).path();
    for _ in 0..TRIES {
        if store.get(&key).await?.is_some() {
            return Ok(());
        }
        let commit = Commit {
            preconditions: vec![Precondition::Absent(key.clone())],
            writes: vec![Write::Put(key.clone(), record.encode_to_vec().into())],
        };
        match store.commit(commit).await {
            Ok(Committed::Done(_)) => return Ok(()),
            Ok(Committed::Conflict) | Err(StoreError::OutcomeUnknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::OutcomeUnknown("the fleet `default` could not be written".to_owned()).into())
}

/// A new file that nobody else can read, whole or not there.
fn write_secret(path: &Path, secret: &SecretString) -> io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(secret.expose_secret().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
