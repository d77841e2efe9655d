//! Where an etcd cluster is and how to be let in.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};

/// A cluster, its members, TLS and login.
#[derive(Debug, Clone)]
pub struct EtcdSettings {
    /// `host:port` each.
    members: Vec<String>,
    tls: bool,
    ca_file: Option<PathBuf>,
    identity_files: Option<(PathBuf, PathBuf)>,
    login: Option<Login>,
}

#[derive(Clone)]
struct Login {
    user: String,
    password: SecretString,
}

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdSettingsError {
    /// Not of the form `etcd://host:port,host:port`.
    #[error("`{url}` is not the address of an etcd cluster: {problem}")]
    Url {
        /// As given, without a password.
        url: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A name and password in the address, where every process on the machine can read them.
    #[error("the address of the store holds a user; give user and password in their own settings")]
    UserInUrl,
    /// TLS without the certificates to trust.
    #[error("`etcds://` needs a file with the certificates of the authorities to trust")]
    NoAuthority,
    /// Files for TLS, and an address without TLS.
    #[error("certificates are given, but the address begins with `etcd://`; TLS is `etcds://`")]
    CertificatesWithoutTls,
    /// A file holds something else.
    #[error("`{}` holds no {wanted} in PEM form", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `key`.
        wanted: &'static str,
    },
    /// A file can't be read.
    #[error("can't read `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// The port that is meant where none is given.
const PORT: u16 = 2379;

// === impl Login ===

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

// === impl EtcdSettings ===

impl EtcdSettings {
    /// Reads `etcd://host:2379,host2:2379`, or `etcds://…` for TLS; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// [`EtcdSettingsError::Url`] and [`EtcdSettingsError::UserInUrl`].
    pub fn parse(url: &str) -> Result<Self, EtcdSettingsError> {
        let wrong = |problem| EtcdSettingsError::Url { url: url.to_owned(), problem };
        if url.contains('@') {
            return Err(EtcdSettingsError::UserInUrl);
        }
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| wrong("it begins with `etcd://` or `etcds://`"))?;
        let tls = match scheme {
            "etcd" => false,
            "etcds" => true,
            _ => return Err(wrong("it begins with `etcd://` or `etcds://`")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut members = Vec::new();
        for member in rest.split(',') {
            let authority: http::uri::Authority =
                member.parse().map_err(|_| wrong("each member is a host and a port"))?;
            if authority.host().is_empty() || authority.as_str().ends_with(':') {
                return Err(wrong("each member is a host and a port"));
            }
            let member = match authority.port_u16() {
                Some(_) => authority.to_string(),
                None if authority.port().is_none() && !ends_with_number_after_colon(authority.as_str()) => {
                    format!("{authority}:{PORT}")
                }
                None => return Err(wrong("a port is a number up to 65535")),
            };
            if members.contains(&member) {
                return Err(wrong("a member is named twice"));
            }
            members.push(member);
        }
        Ok(Self { members, tls, ca_file: None, identity_files: None, login: None })
    }

    /// Trusts the authorities of this PEM file.
    #[must_use]
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Shows this certificate (PEM) with its key (PEM) to the members.
    #[must_use]
    pub fn with_client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.identity_files = Some((certificate.into(), key.into()));
        self
    }

    /// Logs in with this name and password.
    #[must_use]
    pub fn with_login(mut self, user: impl Into<String>, password: SecretString) -> Self {
        self.login = Some(Login { user: user.into(), password });
        self
    }

    /// `host:port` of the members.
    pub fn members(&self) -> &[String] {
        &self.members
    }

    pub(super) fn has_login(&self) -> bool {
        self.login.is_some()
    }

    pub(super) fn endpoint(&self, member: &str) -> String {
        format!("{}://{member}", if self.tls { "https" } else { "http" })
    }

    /// The options of the client; reads the files.
    pub(super) fn options(&self) -> Result<ConnectOptions, EtcdSettingsError> {
        let mut options = ConnectOptions::new().with_require_leader(true);
        if let Some(login) = &self.login {
            options = options
                .with_user(&login.user, login.password.expose_secret())
                // A token lives for minutes; a refused one is replaced inside the call.
                .with_auto_token_refresh(true);
        }
        if !self.tls {
            if self.ca_file.is_some() || self.identity_files.is_some() {
                return Err(EtcdSettingsError::CertificatesWithoutTls);
            }
            return Ok(options);
        }
        let ca_file = self.ca_file.as_ref().ok_or(EtcdSettingsError::NoAuthority)?;
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(certificates(ca_file)?));
        if let Some((certificate, key)) = &self.identity_files {
            tls = tls.identity(Identity::from_pem(certificates(certificate)?, private_key(key)?));
        }
        Ok(options.with_tls(tls))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EtcdSettingsError> {
    std::fs::read(path).map_err(|source| EtcdSettingsError::File { path: path.to_owned(), source })
}

/// The client takes a file without certificates for an empty list, and then refuses every member.
fn certificates(path: &Path) -> Result<Vec<u8>, EtcdSettingsError> {
    let text = read(path)?;
    let mut found = CertificateDer::pem_slice_iter(&text).peekable();
    if found.peek().is_some() && found.all(|certificate| certificate.is_ok()) {
        Ok(text)
    } else {
        Err(EtcdSettingsError::NotPem { path: path.to_owned(), wanted: "certificate" })
    }
}

fn private_key(path: &Path) -> Result<Vec<u8>, EtcdSettingsError> {
    let text = read(path)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(EtcdSettingsError::NotPem { path: path.to_owned(), wanted: "key" }),
    }
}

/// Whether a text like `host:99999` names a port that is none; a bare IPv6 address in brackets does not.
fn ends_with_number_after_colon(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(url: &str) -> Vec<String> {
        EtcdSettings::parse(url).unwrap().members
    }

    #[test]
    fn an_address_lists_its_members() {
        assert_eq!(members("etcd://a:1,b:2"), ["a:1", "b:2"]);
        assert_eq!(members("etcd://a"), ["a:2379"]);
        assert_eq!(members("etcds://[::1]:7,[::2]/"), ["[::1]:7", "[::2]:2379"]);
        let settings = EtcdSettings::parse("etcds://a").unwrap();
        assert_eq!(settings.endpoint("a:2379"), "https://a:2379");
    }

    #[test]
    fn bad_addresses_are_refused_with_a_reason() {
        for url in [
            "",
            "a:1",
            "http://a:1",
            "etcd://",
            "etcd://a,,b",
            "etcd://a:",
            "etcd://a:99999",
            "etcd://a,a:2379",
            "etcd://a b",
        ] {
            let error = EtcdSettings::parse(url).unwrap_err();
            assert!(matches!(error, EtcdSettingsError::Url { .. }), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        let error = EtcdSettings::parse("etcd://root:hunter2@a:1").unwrap_err();
        assert!(matches!(error, EtcdSettingsError::UserInUrl));
        assert!(!error.to_string().contains("hunter2"));
        let settings =
            EtcdSettings::parse("etcd://a").unwrap().with_login("root", "hunter2".to_owned().into());
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn tls_and_its_files_belong_together() {
        let without = EtcdSettings::parse("etcds://a").unwrap();
        assert!(matches!(without.options(), Err(EtcdSettingsError::NoAuthority)));
        let clear = EtcdSettings::parse("etcd://a").unwrap().with_ca_file("/nowhere/ca.pem");
        assert!(matches!(clear.options(), Err(EtcdSettingsError::CertificatesWithoutTls)));
        let missing = without.clone().with_ca_file("/nowhere/ca.pem");
        assert!(matches!(missing.options(), Err(EtcdSettingsError::File { .. })));
        let garbage = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(garbage.path(), "not a certificate").unwrap();
        let error = without.with_ca_file(garbage.path()).options().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{}` holds no certificate in PEM form", garbage.path().display())
        );
    }
}
