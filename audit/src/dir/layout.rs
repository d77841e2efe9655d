//! The names in an audit directory.
//!
//! | file | what it is |
//! |---|---|
//! | `00000000000000000001.ktseg` | a segment, by its number |
//! | `00000000000000000001.ktseg.bad` | a segment that a start found damaged; still read, never written |
//! | `head.json` | the last record known to be on disk, signed; replaced in one step |
//! | `instance.json` | the instance that the directory belongs to |
//! | `gateway.key` | seed of the signing key, for its owner alone |
//! | `gateway.pub` | public keys, one a line, the newest last |
//! | `pseudonym.key` | the key that makes pseudonyms, for its owner alone |
//! | `subjects.sealed` | sealed names, one JSON object a line |
//! | `subjects.keys` | the keys of those names, one JSON object a line, for its owner alone |
//! | `subjects.erased` | who was erased, one JSON object a line: no name of theirs is sealed again |
//! | `shipped.json` | how far a control plane has the records; its loss costs duplicates only |
//! | `reserve` | bytes held back on the disk for blocks and refusals |
//! | `lock` | held by the writer |
//! | `*.tmp` | a replacement that was under way; no meaning |

/// `head.json`
pub const HEAD: &str = "head.json";
/// `instance.json`
pub const INSTANCE: &str = "instance.json";
/// `gateway.key`
pub const SIGNING_KEY: &str = "gateway.key";
/// `gateway.pub`
pub const PUBLIC_KEYS: &str = "gateway.pub";
/// `pseudonym.key`
pub const PSEUDONYM_KEY: &str = "pseudonym.key";
/// `subjects.sealed`
pub const SEALED_NAMES: &str = "subjects.sealed";
/// `subjects.keys`
pub const SUBJECT_KEYS: &str = "subjects.keys";
/// `subjects.erased`
pub const ERASED: &str = "subjects.erased";
/// `shipped.json`
pub const SHIPPED: &str = "shipped.json";
/// `reserve`
pub const RESERVE: &str = "reserve";
/// `lock`
pub const LOCK: &str = "lock";

const SEGMENT: &str = ".ktseg";
const DAMAGED: &str = ".ktseg.bad";

/// A segment's file by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentName {
    /// Its number.
    pub number: u64,
    /// Whether a start found it damaged.
    pub damaged: bool,
}

impl SegmentName {
    /// The file name of segment `number`.
    pub fn new(number: u64) -> Self {
        Self { number, damaged: false }
    }

    /// The segment that a file name stands for; none for any other file.
    pub fn parse(name: &str) -> Option<Self> {
        let (digits, damaged) = match name.strip_suffix(DAMAGED) {
            Some(digits) => (digits, true),
            None => (name.strip_suffix(SEGMENT)?, false),
        };
        if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(Self { number: digits.parse().ok()?, damaged })
    }
}

impl std::fmt::Display for SegmentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:020}{}", self.number, if self.damaged { DAMAGED } else { SEGMENT })
    }
}

/// `instance.json`: the instance that a directory belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct InstanceFile {
    /// The version of this form, 1.
    pub v: u16,
    /// The instance.
    pub instance: crate::chain::InstanceId,
}

/// A row of `subjects.erased`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ErasedRow {
    /// The version of this form, 1.
    pub v: u16,
    /// Who was erased.
    pub subject: crate::Pseudonym,
}

/// `shipped.json`: how far a control plane has acknowledged the records of a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShippedFile {
    /// The version of this form, 1.
    pub v: u16,
    /// The last acknowledged record of each run that the directory still holds, in the order of the chain.
    pub marks: Vec<crate::chain::Position>,
    /// Bytes of `subjects.sealed` whose names the control plane has.
    #[serde(default)]
    pub names: u64,
    /// The newest countersignature: the control plane's word that it holds everything up to a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub countersigned: Option<Countersigned>,
}

/// The control plane's word that it holds everything up to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Countersigned {
    /// The record.
    pub covers: crate::chain::Position,
    /// When it was signed, microseconds since 1970 UTC.
    pub signed_us: i64,
    /// The control plane's key.
    pub key: crate::sign::KeyId,
    /// Its signature.
    pub signature: crate::sign::Signature,
}

#[cfg(test)]
mod tests {
    use super::SegmentName;

    #[test]
    fn only_names_of_segments_are_segments() {
        for number in [1, 42, u64::MAX] {
            for damaged in [false, true] {
                let name = SegmentName { number, damaged };
                assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
            }
        }
        for other in
            ["head.json", "1.ktseg", "99999999999999999999.ktseg", "0000000000000000001a.ktseg", ".ktseg"]
        {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
    }
}
