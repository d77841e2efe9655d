//! Who is asking: what a credential proves, and nothing more.
//!
//! A bad credential is refused, never treated as none. A Databricks token is refused by its looks before anything is
//! compared with it. No credential is ever kept, logged or put into a message.

pub mod keys;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, header::AUTHORIZATION};
use jiff::Timestamp;
use kt_policy::caller::Caller;

use self::keys::KeySet;
use crate::error::CredentialFault;

/// Establishes who is asking.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The key set in force; absent when no keys file is configured, empty while a control plane has pushed none.
    keys: Option<Arc<ArcSwapOption<KeySet>>>,
    require_identity: bool,
}

impl Identity {
    pub(crate) const fn new(keys: Option<Arc<ArcSwapOption<KeySet>>>, require_identity: bool) -> Self {
        Self { keys, require_identity }
    }

    /// Whether callers may have no identity.
    pub(crate) const fn serves_anonymous(&self) -> bool {
        !self.require_identity
    }

    /// The caller behind `headers`, at `now`.
    pub(crate) fn establish(&self, headers: &HeaderMap, now: Timestamp) -> Result<Caller, CredentialFault> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let caller = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => self.check(value.as_bytes(), now)?,
            (Some(_), Some(_)) => return Err(CredentialFault::Malformed),
        };
        match caller {
            Some(caller) => Ok(caller),
            None if self.require_identity => Err(CredentialFault::Missing),
            None => Ok(Caller::anonymous()),
        }
    }

    /// `None`: the credential says nothing, and there is nothing it could be checked against.
    fn check(&self, value: &[u8], now: Timestamp) -> Result<Option<Caller>, CredentialFault> {
        let value = value.trim_ascii();
        let token = match value.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
            _ if contains_databricks_token(value) => return Err(CredentialFault::DatabricksToken),
            // `Bearer` with an empty key is what a client sends whose key is not set.
            _ if value.eq_ignore_ascii_case(b"bearer") => b"",
            _ => return Err(CredentialFault::Malformed),
        };
        if contains_databricks_token(token) {
            return Err(CredentialFault::DatabricksToken);
        }
        let keys = self.keys.as_ref().map(|keys| keys.load());
        let Some(keys) = keys.as_deref().and_then(Option::as_ref) else {
            // Without a source of identity a gateway key proves nothing; a caller who sends one expects that it does.
            return if token.starts_with(keys::PREFIX.as_bytes()) {
                Err(CredentialFault::Unknown)
            } else {
                Ok(None)
            };
        };
        let entry = keys.find(token).ok_or(CredentialFault::Unknown)?;
        if entry.is_expired(now) {
            return Err(CredentialFault::Expired);
        }
        entry.touch(now);
        Ok(Some(entry.caller.clone()))
    }
}

/// `dapi` and hexadecimal digits, wherever they stand: also in Basic credentials that were pasted in clear.
fn contains_databricks_token(value: &[u8]) -> bool {
    memchr::memmem::find_iter(value, b"dapi").any(|start| {
        value
            .get(start + 4..)
            .is_some_and(|rest| rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count() >= 16)
    })
}

#[cfg(test)]
mod tests;
