//! What a pack asks of whoever enforces it, and what this build can enforce.
//!
//! A gateway of an older build refuses a pack that holds a key or a value that it does not know. Control plane and
//! gateway compare these names first, so that the refusal says which rule needs what. The names follow the schema of
//! the pack ([`crate::schema`]), so a new key is a new feature without anybody remembering it:
//! - `policy:dlp-filter`: the kind is in the chain, or has a block;
//! - `dlp-filter:patterns.regex`: the key is written;
//! - `dlp-filter:action=block`: the value is written, where the values are a closed set;
//! - `section:exceptions`: the section is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use serde_json::Value as Json;

use crate::{
    decode::{Path, head},
    detect::{dlp::Builtin, injection::InjectionDetector},
    diag::Span,
    pack::ParsedPack,
    verdict::PolicyKind,
    yaml::{Node, Value},
};

/// Lists whose items are names that the schema does not hold, since they are data of the detectors.
const BUILTINS: &str = "dlp-filter:builtin";
const RULES: &str = "prompt-injection:detection.rules";
/// Where the chain stands.
const CHAIN: &str = "policies:chain";
/// The schema is not nested deeper.
const MAX_DEPTH: usize = 24;

/// A feature that a pack uses, at the first place that needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedFeature {
    /// The name.
    pub name: String,
    /// Where in the pack.
    pub path: String,
    /// Where in the source.
    pub span: Option<Span>,
}

/// Everything that this build can enforce, sorted.
pub fn supported() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names = BTreeSet::new();
        collect(schema(), schema(), &Name::default(), 0, &mut names);
        names.extend(PolicyKind::ALL.map(|kind| format!("policy:{kind}")));
        names.extend(Builtin::ALL.map(|builtin| format!("{BUILTINS}={}", builtin.as_str())));
        names.insert(format!("{BUILTINS}=all"));
        names.extend(InjectionDetector::rule_ids().into_iter().map(|id| format!("{RULES}={id}")));
        names.into_iter().collect()
    })
}

/// Whether this build can enforce a feature.
pub fn is_supported(name: &str) -> bool {
    supported().binary_search_by(|known| known.as_str().cmp(name)).is_ok()
}

/// What a pack uses, sorted by name.
pub fn used(parsed: &ParsedPack) -> Vec<UsedFeature> {
    let mut walk = Walk { found: BTreeMap::new() };
    walk.node(parsed.source_map.root(), schema(), &Name::default(), &Path::Root, 0);
    walk.found.into_iter().map(|(name, (path, span))| UsedFeature { name, path, span: Some(span) }).collect()
}

fn schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| crate::schema::pack().to_value())
}

/// The name of a feature as it grows with the place.
#[derive(Debug, Clone, Default)]
struct Name {
    keys: Vec<String>,
}

impl Name {
    fn key(&self, key: &str) -> Self {
        Self { keys: self.keys.iter().map(String::as_str).chain([key]).map(str::to_owned).collect() }
    }

    /// The feature of a key.
    fn of_key(&self) -> Option<String> {
        match self.keys.as_slice() {
            [] => None,
            [section] => Some(format!("section:{section}")),
            [section, kind] if section == "policy" => Some(format!("policy:{kind}")),
            [policy, kind, rest @ ..] if policy == "policy" => Some(format!("{kind}:{}", rest.join("."))),
            [section, rest @ ..] => Some(format!("{section}:{}", rest.join("."))),
        }
    }

    /// The feature of a value of a closed set.
    fn of_value(&self, value: &str) -> Option<String> {
        let key = self.of_key()?;
        Some(if key == CHAIN { format!("policy:{value}") } else { format!("{key}={value}") })
    }
}

/// What a schema says in other places, and its alternatives.
fn alternatives<'s>(schema: &'s Json, root: &'s Json) -> impl Iterator<Item = &'s Json> {
    let referred = schema
        .get("$ref")
        .and_then(Json::as_str)
        .and_then(|path| path.strip_prefix('#'))
        .and_then(|path| root.pointer(path));
    let nested = ["anyOf", "oneOf", "allOf"]
        .into_iter()
        .filter_map(move |key| schema.get(key).and_then(Json::as_array))
        .flatten();
    referred.into_iter().chain(nested)
}

/// The closed set of values of a schema, without those of its alternatives.
fn values(schema: &Json) -> impl Iterator<Item = &str> {
    let listed = schema.get("enum").and_then(Json::as_array).into_iter().flatten();
    listed.chain(schema.get("const")).filter_map(Json::as_str)
}

fn free_values(schema: &Json) -> Option<&Json> {
    schema.get("additionalProperties").filter(|free| free.is_object())
}

fn collect(schema: &Json, root: &Json, name: &Name, depth: usize, out: &mut BTreeSet<String>) {
    if depth > MAX_DEPTH {
        return;
    }
    out.extend(values(schema).filter_map(|value| name.of_value(value)));
    for other in alternatives(schema, root) {
        collect(other, root, name, depth + 1, out);
    }
    for (key, below) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let name = name.key(key);
        out.extend(name.of_key());
        collect(below, root, &name, depth + 1, out);
    }
    for below in free_values(schema).into_iter().chain(schema.get("items")) {
        collect(below, root, name, depth + 1, out);
    }
}

struct Walk {
    found: BTreeMap<String, (String, Span)>,
}

impl Walk {
    fn note(&mut self, name: Option<String>, path: &Path<'_>, span: Span) {
        if let Some(name) = name {
            self.found.entry(name).or_insert_with(|| (path.to_string(), span));
        }
    }

    fn node(&mut self, node: &Node, schema: &Json, name: &Name, path: &Path<'_>, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        for other in alternatives(schema, self::schema()) {
            self.node(node, other, name, path, depth + 1);
        }
        match &node.value {
            Value::Map(entries) => {
                let properties = schema.get("properties");
                for entry in entries {
                    let place = path.key(&entry.key);
                    if let Some(below) = properties.and_then(|known| known.get(&entry.key)) {
                        let name = name.key(&entry.key);
                        self.note(name.of_key(), &place, entry.key_span);
                        self.node(&entry.value, below, &name, &place, depth + 1);
                    } else if let Some(free) = free_values(schema) {
                        if name.of_key().as_deref() == Some(RULES) {
                            self.note(name.of_value(&entry.key), &place, entry.key_span);
                        }
                        self.node(&entry.value, free, name, &place, depth + 1);
                    }
                }
            }
            Value::List(items) => {
                let Some(below) = schema.get("items") else { return };
                for (at, item) in items.iter().enumerate() {
                    self.node(item, below, name, &path.index(at), depth + 1);
                }
            }
            Value::Text(text) => {
                let is_builtin = name.of_key().as_deref() == Some(BUILTINS);
                if is_builtin || values(schema).any(|value| value == text) {
                    self.note(name.of_value(text), path, head(node));
                }
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack;

    const PACK: &str = "\
pack: {name: demo, version: 1.0.0}
policies:
  chain: [dlp-filter, audit-logger]
  block_response: refusal
policy:
  dlp-filter:
    fuzzy_matching: true
    blocked_terms: [falcon]
    patterns:
      - {name: a, regex: 'a+', action: block}
      - {name: b, regex: 'b+'}
    builtin: [DATABRICKS_TOKEN]
  prompt-injection:
    detection:
      rules:
        injection.override.ignore-previous: observe
providers:
  targets:
    - {id: a, provider: 'databricks:chat:m', base_url: 'https://x/serving-endpoints', secret_key_ref: {env: TOKEN}}
";

    fn features(source: &str) -> Vec<UsedFeature> {
        used(&pack::parse(source.as_bytes()).0.expect("the pack reads"))
    }

    #[test]
    fn kinds_keys_and_closed_values_are_named_at_their_first_place() {
        let features = features(PACK);
        let place = |name: &str| {
            let found = features.iter().find(|feature| feature.name == name);
            found.map(|feature| {
                let span = feature.span.unwrap();
                format!("{} `{}`", feature.path, &PACK[span.start..span.end])
            })
        };
        for (name, at) in [
            ("policy:dlp-filter", "policies.chain[0] `dlp-filter`"),
            ("policy:audit-logger", "policies.chain[1] `audit-logger`"),
            ("policies:block_response=refusal", "policies.block_response `refusal`"),
            ("dlp-filter:fuzzy_matching", "policy.dlp-filter.fuzzy_matching `fuzzy_matching`"),
            ("dlp-filter:patterns.action=block", "policy.dlp-filter.patterns[0].action `block`"),
            ("dlp-filter:builtin=DATABRICKS_TOKEN", "policy.dlp-filter.builtin[0] `DATABRICKS_TOKEN`"),
            ("providers:targets.secret_key_ref.env", "providers.targets[0].secret_key_ref.env `env`"),
        ] {
            assert_eq!(place(name).as_deref(), Some(at), "{name}");
        }
        assert_eq!(place("dlp-filter:action"), None);
        // What is free to choose is no feature.
        assert!(features.iter().all(|feature| !feature.name.contains("falcon")));
    }

    #[test]
    fn this_build_supports_whatever_a_pack_that_it_reads_can_use() {
        for feature in features(PACK) {
            assert!(is_supported(&feature.name), "{}", feature.name);
        }
        assert!(!is_supported("policy:bot-detector"));
        assert!(supported().is_sorted());
        for kind in PolicyKind::ALL {
            assert!(is_supported(&format!("policy:{kind}")), "{kind}");
        }
    }

    #[test]
    fn every_key_of_a_policy_block_is_a_feature() {
        for name in
            ["rbac:roles.allowed_tools", "pii-detector:entities=IBAN_CODE", "pii-detector:entities=all"]
        {
            assert!(is_supported(name), "{name}");
        }
        assert!(supported().len() > 150, "{}", supported().len());
    }
}
