//! What differs between two packs, by name: a rule that moved or whose neighbour went away has not changed.
//!
//! Compared is the model that was read, with its defaults, so that two ways to write the same thing are the same.
//! Lists of named things (rules, targets, exceptions) are compared by name, lists of words as sets, and lists in
//! which the order decides (the chain, the order of targets) as they stand.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// One thing that differs.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Change {
    /// `policy.dlp-filter.patterns[aws-key].action`
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) what: What,
}

/// How it differs.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub(super) enum What {
    /// Only on the newer side.
    Added {
        /// What.
        to: Value,
    },
    /// Only on the older side.
    Removed {
        /// What.
        from: Value,
    },
    /// On both sides, and not the same.
    Changed {
        /// On the older side.
        from: Value,
        /// On the newer side.
        to: Value,
    },
    /// A list in which the order counts, whole.
    Reordered {
        /// On the older side.
        from: Vec<String>,
        /// On the newer side.
        to: Vec<String>,
    },
}

/// Fields that name the things of a list.
pub(super) const NAMES: [&str; 4] = ["id", "name", "rule", "kind"];
/// Lists of words in which the order counts.
const ORDERED: [&str; 2] = ["chain", "order"];
/// Lists of named things in which the order counts: the first target is tried first.
const ORDERED_THINGS: [&str; 1] = ["targets"];

/// What differs, in the order of the parts of a pack. Its name and version are the comparison's title.
pub(super) fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    for part in ["pack", "policies", "policy", "providers", "exceptions", "testing"] {
        compare(part, old.get(part), new.get(part), &mut found);
    }
    found.retain(|change| !matches!(&*change.path, "pack.name" | "pack.version"));
    found
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Change>) {
    let what = match (old.filter(|old| !old.is_null()), new.filter(|new| !new.is_null())) {
        (None, None) => return,
        (Some(old), Some(new)) if old == new => return,
        (None, Some(new)) => What::Added { to: new.clone() },
        (Some(old), None) => What::Removed { from: old.clone() },
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                compare(&join(path, key), old.get(key), new.get(key), found);
            }
            return;
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => return lists(path, old, new, found),
        (Some(old), Some(new)) => What::Changed { from: old.clone(), to: new.clone() },
    };
    found.push(Change { path: path.to_owned(), what });
}

/// A key that is a plain word after a point, any other in brackets, as in findings about a pack.
fn join(path: &str, key: &str) -> String {
    let is_plain = key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    if is_plain { format!("{path}.{key}") } else { format!("{path}[{key}]") }
}

fn lists(path: &str, old: &[Value], new: &[Value], found: &mut Vec<Change>) {
    let last = path.rsplit('.').next().unwrap_or(path);
    if let (Some(old), Some(new)) = (words(old), words(new)) {
        return sets(path, &old, &new, ORDERED.contains(&last), found);
    }
    let field = NAMES.into_iter().find(|field| names(old, field).is_some() && names(new, field).is_some());
    let Some((before, after)) = field.and_then(|field| names(old, field).zip(names(new, field))) else {
        // Nothing names its items: by place.
        for place in 0..old.len().max(new.len()) {
            compare(&format!("{path}[{place}]"), old.get(place), new.get(place), found);
        }
        return;
    };
    let item = |names: &[&str], list: &'_ [Value], name: &str| {
        names.iter().position(|found| *found == name).and_then(|place| list.get(place)).cloned()
    };
    for name in union(&before, &after) {
        let (old, new) = (item(&before, old, name), item(&after, new, name));
        compare(&format!("{path}[{name}]"), old.as_ref(), new.as_ref(), found);
    }
    if ORDERED_THINGS.contains(&last) {
        let common = |of: &[&'_ str], other: &[&str]| -> Vec<String> {
            of.iter().filter(|name| other.contains(name)).map(|name| (*name).to_owned()).collect()
        };
        let (kept, moved) = (common(&before, &after), common(&after, &before));
        if kept != moved {
            reordered(path, &before, &after, found);
        }
    }
}

fn sets(path: &str, old: &[&str], new: &[&str], is_ordered: bool, found: &mut Vec<Change>) {
    if is_ordered {
        // Where a word stands says as much as whether it is there.
        return reordered(path, old, new, found);
    }
    for word in union(old, new) {
        let what = match (old.contains(&word), new.contains(&word)) {
            (true, false) => What::Removed { from: word.into() },
            (false, true) => What::Added { to: word.into() },
            _ => continue,
        };
        found.push(Change { path: path.to_owned(), what });
    }
}

fn reordered(path: &str, old: &[&str], new: &[&str], found: &mut Vec<Change>) {
    if old != new {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        found.push(Change {
            path: path.to_owned(),
            what: What::Reordered { from: owned(old), to: owned(new) },
        });
    }
}

/// Those of the older side in its order, then those that are new.
fn union<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<&'a str> {
    let mut all = old.to_vec();
    all.extend(new.iter().filter(|name| !old.contains(name)));
    all
}

/// The items of a list of different words.
fn words(list: &[Value]) -> Option<Vec<&str>> {
    distinct(list.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?)
}

/// The names of the items of a list, where each has one of its own.
fn names<'a>(list: &'a [Value], field: &str) -> Option<Vec<&'a str>> {
    distinct(list.iter().map(|item| item.get(field).and_then(Value::as_str)).collect::<Option<Vec<_>>>()?)
}

fn distinct(names: Vec<&str>) -> Option<Vec<&str>> {
    let different: BTreeSet<&&str> = names.iter().collect();
    (different.len() == names.len()).then_some(names)
}

// === impl Change ===

impl Change {
    /// The part of the pack that it is in, and the path within that part.
    pub(super) fn heading(&self) -> (&str, &str) {
        let depth = if self.path.starts_with("policy.") { 2 } else { 1 };
        let end = self.path.match_indices(['.', '[']).nth(depth - 1).map_or(self.path.len(), |(at, _)| at);
        let (heading, rest) = self.path.split_at_checked(end).unwrap_or((&self.path, ""));
        (heading, rest.strip_prefix('.').unwrap_or(rest))
    }

    /// A line for the change; more for something with parts of its own.
    pub(super) fn lines(&self, path: &str) -> Vec<String> {
        let label = if path.is_empty() { String::new() } else { format!("{path}  ") };
        match &self.what {
            What::Added { to } => whole('+', &label, to),
            What::Removed { from } => whole('-', &label, from),
            What::Changed { from, to } => vec![format!("~ {label}{} → {}", shown(from), shown(to))],
            What::Reordered { from, to } => {
                vec![format!("~ {label}{} → {}", from.join(", "), to.join(", "))]
            }
        }
    }
}

fn whole(sign: char, label: &str, value: &Value) -> Vec<String> {
    let Value::Object(fields) = value else {
        return vec![format!("{sign} {label}{}", shown(value)).trim_end().to_owned()];
    };
    let what = match (label.is_empty(), sign) {
        (true, '+') => "added",
        (true, _) => "removed",
        (false, _) => label.trim_end(),
    };
    let mut lines = vec![format!("{sign} {what}")];
    let is_named = |key: &str, value: &Value| {
        NAMES.contains(&key) && value.as_str().is_some_and(|name| label.contains(&format!("[{name}]")))
    };
    let said = fields.iter().filter(|(key, value)| says_something(value) && !is_named(key, value));
    lines.extend(said.map(|(key, value)| format!("    {key}: {}", shown(value))));
    lines
}

/// Whether there is more in a value than empty lists and mappings.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => items.iter().any(says_something),
        Value::Object(fields) => fields.values().any(says_something),
        _ => true,
    }
}

/// A value in a line: a text as it is, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(old: Value, new: Value) -> Vec<String> {
        changes(&json!({"policy": old}), &json!({"policy": new}))
            .iter()
            .flat_map(|change| {
                let (heading, rest) = change.heading();
                change.lines(rest).into_iter().map(move |line| format!("{heading}: {line}"))
            })
            .collect()
    }

    #[test]
    fn a_rule_is_known_by_its_name_wherever_it_stands() {
        let old = json!({"dlp": {"patterns": [{"name": "a", "action": "block"}, {"name": "b", "action": "redact"}]}});
        let new = json!({"dlp": {"patterns": [{"name": "b", "action": "block"}, {"name": "c", "action": "block"}]}});
        insta::assert_snapshot!(found(old, new).join("\n"), @r"
        policy.dlp: - patterns[a]
        policy.dlp:     action: block
        policy.dlp: ~ patterns[b].action  redact → block
        policy.dlp: + patterns[c]
        policy.dlp:     action: block
        ");
    }

    #[test]
    fn words_are_a_set_but_in_the_chain_the_order_counts() {
        let old = json!({"pii": {"entities": ["A", "B", "C"]}, "x": {"chain": ["rbac", "pii", "dlp"]}});
        let new =
            json!({"pii": {"entities": ["C", "D", "A"]}, "x": {"chain": ["dlp", "rbac", "pii", "audit"]}});
        insta::assert_snapshot!(found(old, new).join("\n"), @r"
        policy.pii: - entities  B
        policy.pii: + entities  D
        policy.x: ~ chain  rbac, pii, dlp → dlp, rbac, pii, audit
        ");
    }

    #[test]
    fn nothing_and_null_are_the_same_and_a_list_without_names_goes_by_place() {
        assert!(found(json!({"a": null}), json!({})).is_empty());
        let lines =
            found(json!({"a": {"l": [{"x": 1}, {"x": 2}]}}), json!({"a": {"l": [{"x": 1}, {"x": 3}]}}));
        assert_eq!(lines, ["policy.a: ~ l[1].x  2 → 3"]);
    }

    #[test]
    fn a_key_that_is_no_word_stands_in_brackets() {
        let lines = found(json!({"rbac": {"roles": {"a b": 1}}}), json!({"rbac": {"roles": {"a b": 2}}}));
        assert_eq!(lines, ["policy.rbac: ~ roles[a b]  1 → 2"]);
    }
}
