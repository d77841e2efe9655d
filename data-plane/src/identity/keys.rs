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

use std::{collections::HashMap, fmt, sync::Arc};

use jiff::Timestamp;
use kt_policy::caller::{Caller, Proof};
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
    /// A role without a name.
    #[error("the key `{id}` has an empty role")]
    Role {
        /// The id.
        id: String,
    },
}

/// A key in force.
#[derive(Debug)]
pub(crate) struct Key {
    hash: [u8; 32],
    /// What it proves.
    pub(crate) caller: Caller,
    expires: Option<Timestamp>,
}

impl Key {
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
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
        let mut ids = std::collections::HashSet::with_capacity(file.keys.len());
        let mut by_hash = HashMap::with_capacity(file.keys.len());
        for entry in file.keys {
            let is_sane = (1..=64).contains(&entry.id.len())
                && entry
                    .id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            if !is_sane {
                return Err(KeysError::Id { id: entry.id.chars().take(64).collect() });
            }
            if !ids.insert(entry.id.clone()) {
                return Err(KeysError::DuplicateId { id: entry.id });
            }
            if entry.roles.iter().any(|role| role.trim().is_empty()) {
                return Err(KeysError::Role { id: entry.id });
            }
            let mut hash = [0; 32];
            if hex::decode_to_slice(&entry.sha256, &mut hash).is_err() {
                return Err(KeysError::Hash { id: entry.id });
            }
            let id = entry.id.clone();
            if by_hash.insert(hash, Key::new(hash, entry)).is_some() {
                return Err(KeysError::DuplicateHash { id });
            }
        }
        Ok(Self { by_hash })
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
        Self { hash, caller, expires: entry.expires }
    }
}

/// The hash under which a key is stored.
pub fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}
