//! The file of contexts: which control planes a person works with, and the tokens for them.
//!
//! `KT_CONFIG`, else `$XDG_CONFIG_HOME/kt/config.yaml`, else `~/.config/kt/config.yaml`. It holds tokens: it is made
//! with mode 0600, and refused when others may read it. It is written beside itself and renamed.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::exit::CliError;

/// The file.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The context that is used when none is named.
    #[serde(default)]
    pub(crate) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// One control plane.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Its address.
    pub(crate) server: String,
    /// Authorities to trust besides those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The token. Nothing but the file and the header sees it.
    pub(crate) token: String,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("server", &self.server).finish_non_exhaustive()
    }
}

// === impl Contexts ===

impl Contexts {
    /// Reads the file; one that is not there is empty.
    pub(crate) fn load() -> Result<Self, CliError> {
        match path() {
            Some(path) => Self::read(&path),
            None => Ok(Self::default()),
        }
    }

    fn read(path: &Path) -> Result<Self, CliError> {
        let failed = |error: io::Error| CliError::usage(format!("can't read `{}`: {error}", path.display()));
        let mut file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        };
        private(&file, path)?;
        let mut text = String::new();
        io::Read::read_to_string(&mut file, &mut text).map_err(failed)?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // What the parser says shows the source, and tokens with it: it is not passed on.
        serde_saphyr::from_str(&text).map_err(|_| {
            CliError::usage(format!("`{}` is not a file of contexts", path.display()))
                .with_help("repair it, or remove it and `kt auth login` again")
        })
    }

    /// Changes the file under a lock, so that two `kt` at the same time lose nothing.
    pub(crate) fn change<T>(change: impl FnOnce(&mut Self) -> Result<T, CliError>) -> Result<T, CliError> {
        let path = path().ok_or_else(|| {
            CliError::usage("there is no place for the contexts").with_help("set HOME or KT_CONFIG")
        })?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        make_folder(folder)
            .map_err(|error| CliError::failure(format!("can't make `{}`: {error}", folder.display())))?;
        let failed =
            |error: io::Error| CliError::failure(format!("can't write `{}`: {error}", path.display()));
        let lock = private_file(&path.with_extension("lock"), true).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut contexts = Self::read(&path)?;
        let result = change(&mut contexts)?;
        let text = serde_saphyr::to_string(&contexts)
            .map_err(|error| CliError::failure(format!("can't write the contexts: {error}")))?;
        let next = path.with_extension("next");
        let mut file = private_file(&next, true).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&next, &path).map_err(failed)?;
        Ok(result)
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Context, CliError> {
        self.contexts.get(name).ok_or_else(|| {
            CliError::usage(format!("no context `{name}`"))
                .with_help("`kt auth contexts` lists them; `kt auth login --context NAME` makes one")
        })
    }

    /// The context of a server: the current one first.
    pub(crate) fn of_server(&self, server: &str) -> Option<(&str, &Context)> {
        let is_it =
            |context: &Context| super::target::normal(&context.server).is_ok_and(|found| found == server);
        let current = self.current.as_deref().and_then(|name| self.contexts.get_key_value(name));
        current
            .into_iter()
            .chain(&self.contexts)
            .find(|(_, context)| is_it(context))
            .map(|(name, context)| (name.as_str(), context))
    }
}

/// Where the file is; absent without a home.
pub(crate) fn path() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("KT_CONFIG").or_else(|| {
        let base = from("XDG_CONFIG_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| from("HOME").map(|home| home.join(".config")));
        base.map(|base| base.join("kt").join("config.yaml"))
    })
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Opens a file that only its owner can read.
pub(crate) fn private_file(path: &Path, may_be_there: bool) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true);
    if may_be_there {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Refuses a file with a secret that others can read.
pub(crate) fn private(file: &fs::File, path: &Path) -> Result<(), CliError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = file
            .metadata()
            .map_err(|error| CliError::usage(format!("can't look at `{}`: {error}", path.display())))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(CliError::usage(format!(
                "`{}` holds a secret and others can read it (mode {mode:03o})",
                path.display()
            ))
            .with_help(format!("chmod 600 {}", path.display())));
        }
    }
    #[cfg(not(unix))]
    let _ = (file, path);
    Ok(())
}
