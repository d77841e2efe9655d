//! Where a PostgreSQL server is and how to be let in.

use std::{
    env, fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use crate::causes::chained;

/// How long a host may take to answer a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// A peer that has gone is noticed within half a minute.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
const DEFAULT_PORT: u16 = 5432;

/// A server, how it is reached and how to log in. The password is read anew for each connection.
#[derive(Clone)]
pub struct PostgresSettings {
    config: Config,
    ca_file: Option<PathBuf>,
    password_file: Option<PathBuf>,
    /// Of `PGPASSWORD`.
    password: Option<SecretString>,
    /// Of `PGPASSFILE`, or the one in the home folder.
    pass_file: Option<PassFile>,
    limits: Limits,
    keys: Option<Keys>,
}

/// Tells the keys of the control plane from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// The public part of the one that countersigns.
    pub witness: [u8; 32],
    /// The name of the one that joins pseudonyms.
    pub persons: [u8; 16],
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// One write, waiting for other replicas included.
    pub(super) write: Duration,
    /// One read.
    pub(super) read: Duration,
}

#[derive(Debug, Clone)]
struct PassFile {
    path: PathBuf,
    /// It was named, so it must be there.
    is_named: bool,
}

/// What is said beside the address.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Authorities that are trusted beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// The file of the password. Without it `PGPASSWORD`, then `PGPASSFILE` or `~/.pgpass`.
    pub password_file: Option<PathBuf>,
    /// Clear text also to hosts beyond this machine.
    pub clear_text: bool,
}

/// Why settings can't be used. None repeats the address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresSettingsError {
    /// Not of the form `postgres://user@host:port/database`.
    #[error("it is no address of a PostgreSQL server: {0}")]
    Url(String),
    /// A password in the address, where every process on the machine can read it.
    #[error("the address holds a password; give it in a file of its own, `PGPASSWORD` or `PGPASSFILE`")]
    PasswordInUrl,
    /// Records would travel in clear text.
    #[error("a host is beyond this machine, and with `sslmode={0}` records would travel in clear text")]
    ClearText(String),
    /// Both are asked for.
    #[error("clear text is asked for, and TLS too")]
    Contradiction,
    /// A file can't be read.
    #[error("can't read `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Others can read a file of passwords.
    #[error("others can read `{}`; `chmod 600` it", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
    },
    /// A file holds something else.
    #[error("`{}` holds no certificate in PEM form", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
    },
    /// TLS, and nobody to trust.
    #[error(
        "this system has no certificate authorities, so that the server can't be known; name a file of them"
    )]
    NoAuthority,
    /// TLS can't be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(String),
}

// === impl PostgresSettings ===

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings").field("hosts", &self.config.get_hosts()).finish_non_exhaustive()
    }
}

impl PostgresSettings {
    /// Reads `postgres://user@host:port,host2/database`, and what the environment says about passwords.
    ///
    /// # Errors
    /// See [`PostgresSettingsError`].
    pub fn new(url: &str, options: PostgresOptions) -> Result<Self, PostgresSettingsError> {
        let (url, ssl_mode) = without_ssl_mode(url);
        let mut config: Config = url.parse().map_err(|error| PostgresSettingsError::Url(chained(&error)))?;
        if config.get_password().is_some() {
            return Err(PostgresSettingsError::PasswordInUrl);
        }
        let wrong = |text: &str| Err(PostgresSettingsError::Url(text.to_owned()));
        if config.get_hosts().is_empty() {
            return wrong("it names no host");
        }
        // A host that is trusted for its name must be the one that is reached.
        if !config.get_hostaddrs().is_empty() {
            return wrong("`hostaddr` is not taken; name the host");
        }
        let is_remote = config.get_hosts().iter().any(|host| !is_here(host));
        config.ssl_mode(match ssl_mode.as_deref() {
            None if options.clear_text && options.ca_file.is_some() => {
                return Err(PostgresSettingsError::Contradiction);
            }
            None if options.clear_text => SslMode::Disable,
            None if is_remote || options.ca_file.is_some() => SslMode::Require,
            None => SslMode::Disable,
            Some("require" | "verify-ca" | "verify-full") if options.clear_text => {
                return Err(PostgresSettingsError::Contradiction);
            }
            // Always with the name and the authorities checked: the strictest of the three.
            Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
            Some("disable") if options.clear_text || !is_remote => SslMode::Disable,
            Some(mode @ ("disable" | "allow" | "prefer")) => {
                return Err(PostgresSettingsError::ClearText(mode.to_owned()));
            }
            Some(_) => return wrong("`sslmode` is `disable`, `require` or `verify-full`"),
        });
        if config.get_application_name().is_none() {
            config.application_name("kt-control-plane");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        // Of several hosts the one that takes writes is meant.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.keepalives_idle(KEEPALIVE);
        config.keepalives_interval(KEEPALIVE_INTERVAL);
        config.keepalives_retries(KEEPALIVE_RETRIES);
        config.tcp_user_timeout(KEEPALIVE);
        Ok(Self {
            config,
            ca_file: options.ca_file,
            password_file: options.password_file,
            password: env::var("PGPASSWORD").ok().filter(|password| !password.is_empty()).map(Into::into),
            pass_file: pass_file(),
            limits: Limits { write: Duration::from_secs(30), read: Duration::from_mins(1) },
            keys: None,
        })
    }

    /// Other times than 30 seconds for a write and a minute for a read.
    #[must_use]
    pub fn with_limits(mut self, write: Duration, read: Duration) -> Self {
        self.limits = Limits { write, read };
        self
    }

    /// With keys that must be those of all replicas; the first one's are.
    #[must_use]
    pub const fn with_keys(mut self, keys: Keys) -> Self {
        self.keys = Some(keys);
        self
    }

    pub(super) const fn keys(&self) -> Option<Keys> {
        self.keys
    }

    pub(super) const fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    pub(super) fn is_secure(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Require
    }

    /// What to connect with, the password as it stands now.
    pub(super) async fn config(&self) -> Result<Config, PostgresSettingsError> {
        let mut config = self.config.clone();
        if let Some(password) = self.password_now().await? {
            config.password(password.expose_secret());
        }
        Ok(config)
    }

    async fn password_now(&self) -> Result<Option<SecretString>, PostgresSettingsError> {
        let read = async |path: &Path| {
            let text = tokio::fs::read_to_string(path).await;
            text.map(SecretString::from)
                .map_err(|source| PostgresSettingsError::File { path: path.to_owned(), source })
        };
        if let Some(path) = &self.password_file {
            let text = read(path).await?;
            return Ok(Some(text.expose_secret().trim_end_matches(['\r', '\n']).to_owned().into()));
        }
        if let Some(password) = &self.password {
            return Ok(Some(password.clone()));
        }
        let Some(PassFile { path, is_named }) = &self.pass_file else { return Ok(None) };
        match tokio::fs::metadata(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => return Ok(None),
            Err(source) => return Err(PostgresSettingsError::File { path: path.clone(), source }),
            #[cfg(unix)]
            Ok(found) if std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o077 != 0 => {
                return Err(PostgresSettingsError::Readable { path: path.clone() });
            }
            Ok(_) => {}
        }
        let text = read(path).await?;
        Ok(listed(text.expose_secret(), &self.config))
    }
}

/// The address without `sslmode`, and its value: what the client makes of it is decided here.
fn without_ssl_mode(url: &str) -> (String, Option<String>) {
    let Some((address, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let mut mode = None;
    let mut rest = Vec::new();
    for part in query.split('&') {
        match part.strip_prefix("sslmode=") {
            Some(value) => mode = Some(value.to_owned()),
            None => rest.push(part),
        }
    }
    let rest = rest.join("&");
    let url = if rest.is_empty() { address.to_owned() } else { format!("{address}?{rest}") };
    (url, mode)
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) if name == "localhost" => true,
        Host::Tcp(name) => name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn pass_file() -> Option<PassFile> {
    let named = env::var_os("PGPASSFILE").filter(|path| !path.is_empty());
    if let Some(path) = named {
        return Some(PassFile { path: path.into(), is_named: true });
    }
    let home = env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(PassFile { path: PathBuf::from(home).join(".pgpass"), is_named: false })
}

/// The password of the first line that fits: `host:port:database:user:password`, `*` for any, `\` before `:` and `\`.
fn listed(text: &str, config: &Config) -> Option<SecretString> {
    let user = config.get_user().unwrap_or_default();
    let database = config.get_dbname().unwrap_or(user);
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [host, port, of_database, of_user, password] = fields.as_slice() else { return None };
        let fits = |field: &String, value: &str| field == "*" || field == value;
        let is_host = config.get_hosts().iter().enumerate().any(|(at, known)| {
            let ports = config.get_ports();
            let known_port = ports.get(at).or_else(|| ports.first()).copied().unwrap_or(DEFAULT_PORT);
            let name = match known {
                Host::Tcp(name) => name.clone(),
                #[cfg(unix)]
                Host::Unix(path) => path.display().to_string(),
            };
            fits(host, &name) && fits(port, &known_port.to_string())
        });
        let fits = is_host && fits(of_database, database) && fits(of_user, user);
        fits.then(|| password.clone().into())
    })
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ':' if fields.len() < 5 => fields.push(String::new()),
            _ => {
                let letter = if letter == '\\' { letters.next().unwrap_or('\\') } else { letter };
                if let Some(last) = fields.last_mut() {
                    last.push(letter);
                }
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str, options: PostgresOptions) -> SslMode {
        PostgresSettings::new(url, options).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn a_host_beyond_this_machine_is_reached_with_tls_unless_clear_text_is_asked_for() {
        let none = PostgresOptions::default;
        let clear = || PostgresOptions { clear_text: true, ..none() };
        for (url, expected) in [
            ("postgres://u@db.example.com/d", SslMode::Require),
            ("postgres://u@127.0.0.1,db.example.com/d", SslMode::Require),
            ("postgres://u@10.0.0.1/d?sslmode=verify-full", SslMode::Require),
            ("postgres://u@localhost/d?sslmode=require", SslMode::Require),
            ("postgres://u@localhost/d", SslMode::Disable),
            ("postgres://u@[::1]/d", SslMode::Disable),
            ("postgresql://u@%2Frun%2Fpostgresql/d", SslMode::Disable),
            ("postgresql:///d?host=/run/postgresql&user=u", SslMode::Disable),
        ] {
            assert_eq!(mode(url, none()), expected, "{url}");
        }
        assert_eq!(mode("postgres://u@db/d?sslmode=disable", clear()), SslMode::Disable);
        assert_eq!(mode("postgres://u@db/d", clear()), SslMode::Disable);
        let ca = PostgresOptions { ca_file: Some("ca.pem".into()), ..none() };
        assert_eq!(mode("postgres://u@localhost/d", ca), SslMode::Require);
        for weak in ["disable", "allow", "prefer"] {
            let refused = PostgresSettings::new(&format!("postgres://u@db/d?sslmode={weak}"), none());
            assert!(matches!(refused, Err(PostgresSettingsError::ClearText(_))), "{weak}");
        }
        let both = PostgresSettings::new("postgres://u@db/d?sslmode=require", clear());
        assert!(matches!(both, Err(PostgresSettingsError::Contradiction)));
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_no_error_repeats_it() {
        for url in ["postgres://u:hunter2@h/d", "postgres://u@h/d?password=hunter2"] {
            let error = PostgresSettings::new(url, PostgresOptions::default()).unwrap_err();
            assert!(matches!(error, PostgresSettingsError::PasswordInUrl), "{error}");
        }
        for url in [
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@h/d?nothing=1",
            "postgres://u:hunter2@h/d?sslmode=maybe",
            "postgres:///d?password=hunter2",
            "postgres://u@localhost/d?hostaddr=10.0.0.1",
            "hunter2",
        ] {
            let error = PostgresSettings::new(url, PostgresOptions::default()).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn a_line_of_the_password_file_is_found_by_host_port_database_and_user() {
        let text = "# comment\ndb:5433:d:u:one\n*:5432:other:u:two\ndb:*:*:v\\:w:th\\\\r:ee\n";
        let found = |url: &str| {
            let config = PostgresSettings::new(url, PostgresOptions::default()).unwrap().config;
            listed(text, &config).map(|password| password.expose_secret().to_owned())
        };
        assert_eq!(found("postgres://u@db:5433/d").as_deref(), Some("one"));
        assert_eq!(found("postgres://u@anywhere/other").as_deref(), Some("two"));
        assert_eq!(found("postgres://v%3Aw@db/x").as_deref(), Some("th\\r:ee"));
        assert_eq!(found("postgres://u@db/d"), None);
    }
}
