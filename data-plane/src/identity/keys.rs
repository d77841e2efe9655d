//! The gateway keys file: keys as hashes, and what each of them proves.
//!
//! ```json
//! {
//!   "version": 1,
//!   "keys": [
//!     {
//!       "id": "gk_7h2k9",
//!       "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
//!       "user": "jane@example.com",
//!       "team": "data",
//!       "cost_center": "4711",
//!       "roles": ["data-engineer"],
//!       "expires": "2027-01-01T00:00:00Z",
//!       "created": "2026-11-24T20:00:00Z"
//!     }
//!   ]
//! }
//! ```
//!
//! `id`, `sha256` and `roles` are required. `sha256` is the SHA-256 of the whole key (`kt_gk_…`), in hexadecimal
//! digits. A key has 256 random bits, so a fast hash is enough: there is nothing to guess. Unknown fields, a hash or
//! an id twice, an empty file: the file is refused, and the keys in force stay.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::Timestamp;
use kt_policy::caller::{Caller, Proof};
use kt_proto::v1;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What a gateway key starts with.
pub const PREFIX: &str = "kt_gk_";

/// The version of the format.
pub const VERSION: u32 = 1;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysFile {
    /// [`VERSION`].
    pub version: u32,
    /// The keys.
    pub keys: Vec<KeyEntry>,
}

impl Default for KeysFile {
    fn default() -> Self {
        Self { version: VERSION, keys: Vec::new() }
    }
}

/// A key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Public: named in records and lists.
    pub id: String,
    /// SHA-256 of the whole key, in hexadecimal digits.
    pub sha256: String,
    /// Who it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The team that its requests are accounted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The cost centre that its requests are accounted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_center: Option<String>,
    /// Its roles, in the order in which they count.
    pub roles: Vec<String>,
    /// From this moment on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was made; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
}

impl fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyEntry")
            .field("id", &self.id)
            .field("roles", &self.roles)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Why a keys file is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Nothing in it: an editor or a copy is under way.
    #[error("the file is empty")]
    Empty,
    /// Not the format.
    #[error("the file is not a keys file: {0}")]
    Format(serde_json::Error),
    /// A version that this gateway does not know.
    #[error("the file has version `{found}`; this gateway reads version `{VERSION}`")]
    Version {
        /// The version.
        found: u32,
    },
    /// An id twice.
    #[error("the id `{id}` stands twice")]
    DuplicateId {
        /// The id.
        id: String,
    },
    /// A hash twice.
    #[error("the key `{id}` has the same hash as another one")]
    DuplicateHash {
        /// The id.
        id: String,
    },
    /// An id that cannot stand in records.
    #[error("the id `{id}` is not 1 to 64 letters, digits, `-`, `_` or `.`")]
    Id {
        /// The id.
        id: String,
    },
    /// Not 64 hexadecimal digits.
    #[error("the hash of the key `{id}` is not 64 hexadecimal digits")]
    Hash {
        /// The id.
        id: String,
    },
    /// A moment that no calendar has.
    #[error("the expiry of the key `{id}` is no time")]
    Expires {
        /// The id.
        id: String,
    },
    /// A role without a name.
    #[error("the key `{id}` has an empty role")]
    Role {
        /// The id.
        id: String,
    },
}

impl KeysError {
    /// A word for `Rejected`.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Empty | Self::Format(_) | Self::Version { .. } => "keys_format",
            Self::DuplicateId { .. } => "key_id_twice",
            Self::DuplicateHash { .. } => "key_hash_twice",
            Self::Id { .. } => "key_id_invalid",
            Self::Hash { .. } => "key_hash_invalid",
            Self::Expires { .. } => "key_expiry_invalid",
            Self::Role { .. } => "key_role_empty",
        }
    }
}

/// A key in force.
#[derive(Debug)]
pub(crate) struct Key {
    hash: [u8; 32],
    /// What it proves.
    pub(crate) caller: Caller,
    expires: Option<Timestamp>,
    /// Microseconds since 1970 UTC; 0: never. Kept over swaps of the set.
    last_used: Arc<AtomicI64>,
}

impl Key {
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// Notes a use. Written at most once a second, so that requests with one key do not fight for it.
    pub(crate) fn touch(&self, now: Timestamp) {
        let now = now.as_microsecond();
        if now.saturating_sub(self.last_used.load(Ordering::Relaxed)) >= 1_000_000 {
            self.last_used.store(now, Ordering::Relaxed);
        }
    }
}

/// The keys in force, by hash.
#[derive(Debug, Default)]
pub struct KeySet {
    by_hash: HashMap<[u8; 32], Key>,
}

impl KeySet {
    /// Reads a keys file.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeysError> {
        if bytes.trim_ascii().is_empty() {
            return Err(KeysError::Empty);
        }
        let file: KeysFile = serde_json::from_slice(bytes).map_err(KeysError::Format)?;
        if file.version != VERSION {
            return Err(KeysError::Version { found: file.version });
        }
        Self::build(file.keys).map_err(|mut errors| errors.swap_remove(0))
    }

    /// The keys of a statement that was verified. Keys that `before` has too keep the time of their last use.
    ///
    /// # Errors
    /// Everything that stands against the keys; never empty.
    pub(crate) fn from_statement(
        statement: v1::KeySetStatement,
        before: Option<&Self>,
    ) -> Result<Self, Vec<KeysError>> {
        let mut errors = Vec::new();
        let mut entries = Vec::with_capacity(statement.keys.len());
        for key in statement.keys {
            let expires = Timestamp::from_microsecond(key.expires_us);
            if expires.is_err() {
                errors.push(KeysError::Expires { id: key.id.clone() });
            }
            let expires = expires.ok().filter(|_| key.expires_us != 0);
            entries.push(KeyEntry {
                sha256: hex::encode(&key.sha256),
                user: key.user,
                team: key.team,
                cost_center: key.cost_center,
                roles: key.roles,
                expires,
                created: None,
                id: key.id,
            });
        }
        let mut set = match Self::build(entries) {
            Ok(set) if errors.is_empty() => set,
            Ok(_) => return Err(errors),
            Err(more) => {
                errors.extend(more);
                return Err(errors);
            }
        };
        if let Some(before) = before {
            for (hash, key) in &mut set.by_hash {
                if let Some(known) = before.by_hash.get(hash) {
                    key.last_used = Arc::clone(&known.last_used);
                }
            }
        }
        Ok(set)
    }

    fn build(entries: Vec<KeyEntry>) -> Result<Self, Vec<KeysError>> {
        let mut ids = std::collections::HashSet::with_capacity(entries.len());
        let mut by_hash = HashMap::with_capacity(entries.len());
        let mut errors = Vec::new();
        for entry in entries {
            let is_sane = (1..=64).contains(&entry.id.len())
                && entry
                    .id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            let id = entry.id.clone();
            let mut hash = [0; 32];
            if !is_sane {
                errors.push(KeysError::Id { id: id.chars().take(64).collect() });
            } else if !ids.insert(id.clone()) {
                errors.push(KeysError::DuplicateId { id });
            } else if entry.roles.iter().any(|role| role.trim().is_empty()) {
                errors.push(KeysError::Role { id });
            } else if hex::decode_to_slice(&entry.sha256, &mut hash).is_err() {
                errors.push(KeysError::Hash { id });
            } else if by_hash.insert(hash, Key::new(hash, entry)).is_some() {
                errors.push(KeysError::DuplicateHash { id });
            }
        }
        if errors.is_empty() { Ok(Self { by_hash }) } else { Err(errors) }
    }

    /// The ids of its keys, in no order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.by_hash.values().filter_map(|key| {
            let Proof::GatewayKey { key_id } = &key.caller.proof else { return None };
            Some(&**key_id)
        })
    }

    /// Keys and when they were last used, of those that were used after `since` (both microseconds since 1970 UTC).
    pub(crate) fn used_since(&self, since: i64) -> impl Iterator<Item = (&str, i64)> {
        self.by_hash.values().filter_map(move |key| {
            let last = key.last_used.load(Ordering::Relaxed);
            let Proof::GatewayKey { key_id } = &key.caller.proof else { return None };
            (last > since).then_some((&**key_id, last))
        })
    }

    /// How many keys there are, expired ones included.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// The key whose text is `token`. What is compared are hashes: how long it takes tells nothing of a key.
    pub(crate) fn find(&self, token: &[u8]) -> Option<&Key> {
        if !token.starts_with(PREFIX.as_bytes()) {
            return None;
        }
        let hash = hash(token);
        let key = self.by_hash.get(&hash)?;
        bool::from(key.hash.ct_eq(&hash)).then_some(key)
    }
}

impl Key {
    fn new(hash: [u8; 32], entry: KeyEntry) -> Self {
        let caller = Caller {
            subject: entry.user.map(Arc::from),
            roles: entry.roles.into_iter().map(Arc::from).collect(),
            team: entry.team.map(Arc::from),
            cost_center: entry.cost_center.map(Arc::from),
            proof: Proof::GatewayKey { key_id: Arc::from(entry.id) },
        };
        Self { hash, caller, expires: entry.expires, last_used: Arc::default() }
    }
}

/// The hash under which a key is stored.
pub fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}
