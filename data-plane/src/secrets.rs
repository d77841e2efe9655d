//! Credentials of targets: from an environment variable, or from a file that may be swapped under way.
//!
//! A file is read again when its content changes. An empty, half-written (not one line of printable text) or vanished
//! file leaves the credential that was good in force, and the gateway degraded. A target whose credential was never
//! good cannot be used; the pack stays valid.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use crate::watch_file::{Look, WatchedFile};

/// A secret file is one token; this is far more than any has.
const MAX_BYTES: u64 = 64 * 1024;

/// Where a credential is, once the pack is bound.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file.
    File(PathBuf),
}

/// Why a credential cannot be used (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretFault {
    /// The variable is not set, or the file cannot be read.
    #[error("it is missing")]
    Missing,
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// More than one line, or characters that cannot stand in a header.
    #[error("it is not one line of printable text")]
    Malformed,
}

/// A credential and when it was first seen.
#[derive(Debug)]
struct Held {
    token: SecretString,
    since: Instant,
}

/// One credential, kept up to date by whoever calls [`Secrets::refresh`].
#[derive(Debug)]
pub(crate) struct Secret {
    held: ArcSwapOption<Held>,
    fault: ArcSwapOption<SecretFault>,
}

impl Secret {
    /// The value of `Authorization`, marked as sensitive.
    pub(crate) fn bearer(&self) -> Option<HeaderValue> {
        let held = self.held.load();
        let token = held.as_ref()?.token.expose_secret();
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// How long ago it was seen to change.
    pub(crate) fn age(&self) -> Option<std::time::Duration> {
        self.held.load().as_ref().map(|held| held.since.elapsed())
    }

    /// What is wrong with it now.
    pub(crate) fn fault(&self) -> Option<SecretFault> {
        self.fault.load().as_deref().copied()
    }

    fn set(&self, result: Result<SecretString, SecretFault>) {
        match result {
            Ok(token) => {
                self.held.store(Some(Arc::new(Held { token, since: Instant::now() })));
                self.fault.store(None);
            }
            Err(fault) => self.fault.store(Some(Arc::new(fault))),
        }
    }
}

/// The credentials of a pack, by source. Owned by one task, which looks at the files.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    held: BTreeMap<SecretSource, (Arc<Secret>, Option<WatchedFile>)>,
}

impl Secrets {
    /// The credential of `source`, read now when it was not known before.
    pub(crate) fn get(
        &mut self,
        source: &SecretSource,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Arc<Secret> {
        if let Some((secret, _)) = self.held.get(source) {
            return Arc::clone(secret);
        }
        let secret = Arc::new(Secret { held: ArcSwapOption::empty(), fault: ArcSwapOption::empty() });
        let watched = match source {
            SecretSource::Env(name) => {
                secret.set(lookup(name).ok_or(SecretFault::Missing).and_then(|text| parse(text.as_bytes())));
                None
            }
            SecretSource::File(path) => {
                let mut file = WatchedFile::new(path, MAX_BYTES);
                look(&mut file, &secret);
                Some(file)
            }
        };
        self.held.insert(source.clone(), (Arc::clone(&secret), watched));
        secret
    }

    /// Forgets the credentials that no pack uses any more.
    pub(crate) fn retain(&mut self, used: &[SecretSource]) {
        self.held.retain(|source, _| used.contains(source));
    }

    /// Looks at the files. Returns whether anything changed.
    pub(crate) fn refresh(&mut self) -> bool {
        let mut changed = false;
        for (secret, file) in self.held.values_mut() {
            if let Some(file) = file {
                changed |= look(file, secret);
            }
        }
        changed
    }
}

fn look(file: &mut WatchedFile, secret: &Secret) -> bool {
    let before = secret.fault();
    match file.look() {
        Look::Unchanged => return false,
        Look::Changed(bytes) => {
            secret.set(parse(&bytes));
            // The bytes are a secret; they do not stay in memory longer than they must.
            drop(zeroize::Zeroizing::new(bytes));
        }
        Look::Failed(_) => {
            secret.set(Err(SecretFault::Missing));
            return before != Some(SecretFault::Missing);
        }
    }
    true
}

/// One line of printable text, with or without a line end.
fn parse(bytes: &[u8]) -> Result<SecretString, SecretFault> {
    let bytes = bytes.trim_ascii();
    if bytes.is_empty() {
        return Err(SecretFault::Empty);
    }
    if !bytes.iter().all(u8::is_ascii_graphic) {
        return Err(SecretFault::Malformed);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| SecretFault::Malformed)?;
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(secret: &Secret) -> Option<String> {
        secret.bearer().map(|value| value.to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn a_rotated_file_is_taken_and_a_broken_one_leaves_the_old_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "dapione\n").unwrap();
        let mut secrets = Secrets::default();
        let secret = secrets.get(&SecretSource::File(path.clone()), &|_| None);
        assert_eq!(bearer(&secret).as_deref(), Some("Bearer dapione"));
        for (content, fault) in [("", SecretFault::Empty), ("two\nlines", SecretFault::Malformed)] {
            std::fs::write(&path, content).unwrap();
            assert!(secrets.refresh());
            assert_eq!(secret.fault(), Some(fault));
            assert_eq!(bearer(&secret).as_deref(), Some("Bearer dapione"));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(secrets.refresh());
        assert_eq!(secret.fault(), Some(SecretFault::Missing));
        std::fs::write(&path, "dapitwo").unwrap();
        assert!(secrets.refresh());
        assert_eq!((bearer(&secret).as_deref(), secret.fault()), (Some("Bearer dapitwo"), None));
        assert!(!secrets.refresh());
    }

    #[tokio::test]
    async fn nothing_prints_a_token() {
        let mut secrets = Secrets::default();
        let secret = secrets.get(&SecretSource::Env("TOKEN".to_owned()), &|_| Some("dapisecret".to_owned()));
        assert!(!format!("{secret:?} {secrets:?} {:?}", secret.bearer()).contains("dapisecret"));
        assert!(secret.age().is_some());
    }

    #[tokio::test]
    async fn a_missing_variable_makes_no_token() {
        let mut secrets = Secrets::default();
        let secret = secrets.get(&SecretSource::Env("TOKEN".to_owned()), &|_| None);
        assert_eq!((secret.bearer(), secret.fault()), (None, Some(SecretFault::Missing)));
    }
}
