//! The names behind pseudonyms.

use std::collections::BTreeMap;

use crate::identity::{Pseudonym, SealedName, SubjectKey};

/// Sealed names and the keys that still exist. An erased person has no key here, and so no name.
#[derive(Debug, Default)]
pub struct Names {
    rows: BTreeMap<Pseudonym, (Vec<SealedName>, Vec<SubjectKey>)>,
}

impl Names {
    /// Reads the two tables, one JSON object a line; torn and unreadable lines are passed over.
    pub fn parse(names: &[u8], keys: &[u8]) -> Self {
        let mut rows: BTreeMap<Pseudonym, (Vec<SealedName>, Vec<SubjectKey>)> = BTreeMap::new();
        for row in lines::<SealedName>(names) {
            rows.entry(row.subject).or_default().0.push(row);
        }
        for row in lines::<SubjectKey>(keys) {
            rows.entry(row.subject).or_default().1.push(row);
        }
        Self { rows }
    }

    /// The name of `subject`; none when it was erased or never sealed.
    pub fn name(&self, subject: Pseudonym) -> Option<String> {
        let (names, keys) = self.rows.get(&subject)?;
        names.iter().rev().find_map(|name| keys.iter().rev().find_map(|key| name.open(key).ok()))
    }
}

fn lines<T: serde::de::DeserializeOwned>(table: &[u8]) -> impl Iterator<Item = T> {
    table.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}
