//! Opening the file: whose it is, whether it is whole.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

use redb::{
    Builder, Database, DatabaseError, ReadableTable as _, StorageError, TableHandle as _, WriteTransaction,
};

use super::{
    OpenError,
    tables::{FIRST, FORMAT, NUMBERS, TEXTS, Tables},
};
use crate::store::Revision;

/// The engine keeps pages of this many bytes in memory; packs are read rarely and cached above.
const CACHE_BYTES: usize = 32 << 20;

/// What the file says about itself.
pub(super) struct Identity {
    pub(super) epoch: Arc<str>,
    pub(super) revision: Revision,
}

/// Opens the file; at the start of the process (`starting`) it may be made, and ephemeral values go.
pub(super) fn open_database(path: &Path, starting: bool) -> Result<(Database, Identity), OpenError> {
    if starting {
        make_if_absent(path)?;
    }
    // Checked whole, because the engine may panic on a file that was altered.
    let opened = Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).open(path);
    let database = match opened {
        Ok(database) => database,
        Err(DatabaseError::Storage(StorageError::Io(error)))
            if error.kind() == io::ErrorKind::InvalidData =>
        {
            // What the engine says of a file that is not one of its own.
            return Err(OpenError::Foreign { path: path.to_owned() });
        }
        Err(error) => return Err(open_error(path, error.into())),
    };
    let identity = identify(&database, path, starting)?;
    Ok((database, identity))
}

/// Makes the file where there is none or an empty one, readable by its owner only. It gets its name when it is whole,
/// so that a crash never leaves half of one.
fn make_if_absent(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > 0 => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(new).map_err(io)?;
    let database = Builder::new().create(new).map_err(|error| open_error(path, error.into()))?;
    identify(&database, path, true)?;
    drop(database);
    fs::rename(new, path).map_err(io)?;
    sync_folder(path).map_err(io)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn open_error(path: &Path, error: redb::Error) -> OpenError {
    let path = path.to_owned();
    match error {
        // Not our lock: an older build, or a tool that looks into the file.
        redb::Error::DatabaseAlreadyOpen => OpenError::Locked { path, pid: None },
        redb::Error::Io(source) => OpenError::Io { path, source },
        redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableIsMultimap(_) => OpenError::Foreign { path },
        other => OpenError::Corrupt { path, reason: other.to_string() },
    }
}

/// Reads who the file is, or writes it into a new one; and drops ephemeral values at the start.
fn identify(database: &Database, path: &Path, starting: bool) -> Result<Identity, OpenError> {
    let failed = |error: redb::Error| open_error(path, error);
    let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
    let identity = identify_in(&transaction, path, starting)?;
    transaction.commit().map_err(|error| failed(error.into()))?;
    Ok(identity)
}

fn identify_in(transaction: &WriteTransaction, path: &Path, starting: bool) -> Result<Identity, OpenError> {
    let failed = |error: redb::Error| open_error(path, error);
    let foreign = || OpenError::Foreign { path: path.to_owned() };
    let tables: Vec<_> = transaction.list_tables().map_err(|error| failed(error.into()))?.collect();
    let ours = tables.iter().any(|table| table.name() == NUMBERS.name());
    if !ours && !tables.is_empty() {
        return Err(foreign());
    }
    let mut tables = Tables::open(transaction).map_err(failed)?;
    let mut texts = transaction.open_table(TEXTS).map_err(|error| failed(error.into()))?;
    if !ours {
        let epoch = format!("embedded-{}", uuid::Uuid::now_v7().simple());
        tables.numbers.insert("format", FORMAT).map_err(|error| failed(error.into()))?;
        tables.numbers.insert("revision", FIRST).map_err(|error| failed(error.into()))?;
        texts.insert("epoch", epoch.as_str()).map_err(|error| failed(error.into()))?;
    }
    let format = tables.numbers.get("format").map_err(|error| failed(error.into()))?;
    match format.map(|format| format.value()) {
        Some(1..=FORMAT) => {}
        Some(format) => return Err(OpenError::Newer { path: path.to_owned(), format }),
        None => return Err(foreign()),
    }
    if starting {
        tables.drop_ephemeral().map_err(failed)?;
    }
    let epoch = texts.get("epoch").map_err(|error| failed(error.into()))?.ok_or_else(foreign)?;
    Ok(Identity { epoch: epoch.value().into(), revision: tables.revision().map_err(failed)? })
}
