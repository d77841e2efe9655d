//! The schema, the decoder and the reference page say the same.

#![cfg(test)]

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use kt_policy::{Checked, check, diag::Diagnostic, lint::LintOptions, models::ModelTable, schema};
use serde_json::{Map, Value};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A pack that has every key that there is.
fn whole() -> String {
    fs::read_to_string(Path::new(ROOT).join("policy/tests/fixtures/whole.yaml")).unwrap()
}

fn checked(source: &str) -> Checked {
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    check(source.as_bytes(), &LintOptions { now, models: ModelTable::built_in() })
}

/// What reading alone says: detectors are not built.
fn read(source: &str) -> Vec<Diagnostic> {
    kt_policy::pack::parse(source.as_bytes()).1
}

fn pack_schema() -> Value {
    schema::pack().to_value()
}

/// Follows `$ref`, and takes the alternative of `anyOf` that is not null.
fn resolved<'s>(root: &'s Value, mut schema: &'s Value) -> &'s Value {
    loop {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            schema = root.pointer(reference.trim_start_matches('#')).expect("a definition");
        } else if let Some(alternatives) = schema.get("anyOf").and_then(Value::as_array) {
            let Some(next) =
                alternatives.iter().find(|one| one.get("$ref").is_some() || one.get("items").is_some())
            else {
                return schema;
            };
            schema = next;
        } else {
            return schema;
        }
    }
}

/// The keys of an object of the schema; `None` where keys are free.
fn keys(schema: &Value) -> Option<BTreeSet<String>> {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        return Some(properties.keys().cloned().collect());
    }
    // An externally tagged enum: one key of these.
    let alternatives = schema.get("oneOf").and_then(Value::as_array)?;
    let keys: BTreeSet<String> = alternatives
        .iter()
        .filter_map(|one| one.get("properties").and_then(Value::as_object))
        .flat_map(|properties| properties.keys().cloned())
        .collect();
    (!keys.is_empty()).then_some(keys)
}

fn below<'s>(root: &'s Value, schema: &'s Value, key: &str) -> Option<&'s Value> {
    let schema = resolved(root, schema);
    let direct = schema.get("properties").and_then(|properties| properties.get(key));
    let tagged = || {
        let alternatives = schema.get("oneOf").and_then(Value::as_array)?;
        alternatives.iter().find_map(|one| one.get("properties").and_then(|properties| properties.get(key)))
    };
    direct.or_else(tagged).or_else(|| schema.get("additionalProperties").filter(|free| free.is_object()))
}

/// The document as JSON, to walk it along the schema.
fn document(source: &str) -> Value {
    fn json(node: &kt_policy::yaml::Node) -> Value {
        use kt_policy::yaml::Value as Yaml;
        match &node.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => (*value).into(),
            Yaml::Int(value) => i64::try_from(*value).unwrap().into(),
            Yaml::Float(value) => (*value).into(),
            Yaml::Text(text) => text.clone().into(),
            Yaml::List(items) => items.iter().map(json).collect(),
            Yaml::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), json(&entry.value)))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
    json(&kt_policy::yaml::parse(source.as_bytes()).unwrap())
}

/// Every mapping of the document with fixed keys: its JSON Pointer, and the schema's keys.
fn objects(root: &Value, schema: &Value, value: &Value, at: &str, out: &mut Vec<(String, BTreeSet<String>)>) {
    let schema = resolved(root, schema);
    match value {
        Value::Object(fields) => {
            if let Some(keys) = keys(schema) {
                out.push((at.to_owned(), keys));
            }
            for (key, value) in fields {
                if let Some(next) = below(root, schema, key) {
                    objects(
                        root,
                        next,
                        value,
                        &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                        out,
                    );
                }
            }
        }
        Value::Array(items) => {
            if let Some(next) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    objects(root, next, item, &format!("{at}/{index}"), out);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_whole_pack_is_accepted_and_has_every_key_of_the_schema() {
    let source = whole();
    let found = checked(&source).findings;
    let errors: Vec<_> = found.iter().filter(|finding| finding.is_error()).collect();
    assert!(errors.is_empty(), "{errors:#?}");

    let schema = pack_schema();
    let document = document(&source);
    let mut places = Vec::new();
    objects(&schema, &schema, &document, "", &mut places);
    // The same type can stand at several places, with other keys at each: together they have all.
    let mut used: BTreeSet<(BTreeSet<String>, String)> = BTreeSet::new();
    for (pointer, keys) in &places {
        for key in document.pointer(pointer).unwrap().as_object().unwrap().keys() {
            assert!(keys.contains(key), "the schema has no `{key}` at {pointer}");
            used.insert((keys.clone(), key.clone()));
        }
    }
    let mut missing = BTreeSet::new();
    for definition in schema["$defs"].as_object().unwrap().values().chain([&schema]) {
        let Some(keys) = keys(definition) else { continue };
        for key in &keys {
            if !used.contains(&(keys.clone(), key.clone())) {
                missing.insert(key.clone());
            }
        }
    }
    assert!(missing.is_empty(), "the whole pack lacks {missing:?}");
}

#[test]
fn the_decoder_knows_the_keys_of_the_schema_and_no_others() {
    let schema = pack_schema();
    let whole = document(&whole());
    let mut places = Vec::new();
    objects(&schema, &schema, &whole, "", &mut places);
    assert!(places.len() > 25, "{}", places.len());
    for (pointer, keys) in places {
        let mut changed = whole.clone();
        let object = changed.pointer_mut(&pointer).unwrap().as_object_mut().unwrap();
        object.insert("zz-unknown".to_owned(), Value::Bool(true));
        let found = read(&changed.to_string());
        let unknown = found
            .iter()
            .find(|finding| finding.path.ends_with("zz-unknown") || finding.path.contains("[\"zz-unknown\"]"))
            .unwrap_or_else(|| panic!("the decoder accepts any key at {pointer}"));
        let help = unknown.help.as_deref().unwrap();
        let named: BTreeSet<String> = help.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(named, keys, "at {pointer}");
    }
}

#[test]
fn keys_that_the_schema_requires_are_required_by_the_decoder_and_no_others_are() {
    let schema = pack_schema();
    let whole = document(&whole());
    let mut places = Vec::new();
    objects(&schema, &schema, &whole, "", &mut places);
    for (pointer, _) in places {
        let mut at = &schema;
        let mut value = &whole;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            at = match value {
                Value::Array(_) => &resolved(&schema, at)["items"],
                _ => below(&schema, at, &step).unwrap(),
            };
            value = match value {
                Value::Array(items) => &items[step.parse::<usize>().unwrap()],
                _ => &value[&step],
            };
        }
        let required: BTreeSet<&str> = resolved(&schema, at)
            .get("required")
            .and_then(Value::as_array)
            .map(|keys| keys.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        for key in value.as_object().unwrap().keys() {
            let mut changed = whole.clone();
            changed.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().remove(key);
            let place = written(&pointer, key);
            let missing = read(&changed.to_string())
                .iter()
                .any(|finding| finding.code.to_string() == "KT0103" && finding.path == place);
            // Required only where `provider` does not hold the name.
            if place == "providers.targets[1].model" {
                assert!(missing);
                continue;
            }
            assert_eq!(missing, required.contains(key.as_str()), "`{key}` at {pointer}");
        }
    }
}

/// The place of a key below a JSON Pointer, as findings write it; keys in the fixture are plain.
fn written(pointer: &str, key: &str) -> String {
    let mut out = String::new();
    for step in pointer.split('/').skip(1).chain([key]) {
        match step.parse::<usize>() {
            Ok(index) => write!(out, "[{index}]").unwrap(),
            Err(_) if out.is_empty() => out.push_str(step),
            Err(_) => write!(out, ".{step}").unwrap(),
        }
    }
    out
}

// === The reference page ===

fn page_path() -> PathBuf {
    Path::new(ROOT).join("docs/reference/pack.md")
}

/// `KT_UPDATE_DOCS=1 cargo test -p kt-policy --test schema` writes the page anew.
#[test]
fn the_reference_page_is_that_of_the_types() {
    let page = reference();
    if std::env::var_os("KT_UPDATE_DOCS").is_some() {
        fs::write(page_path(), &page).unwrap();
    }
    let stored = fs::read_to_string(page_path()).unwrap_or_default();
    assert!(stored == page, "docs/reference/pack.md is stale: run with KT_UPDATE_DOCS=1");
}

#[test]
fn the_examples_of_the_reference_page_are_accepted() {
    let page = fs::read_to_string(page_path()).unwrap();
    let mut count = 0;
    for block in page.split("\n```yaml\n").skip(1) {
        let source = block.split("\n```").next().unwrap();
        let checked = checked(source);
        assert!(checked.pack.is_some(), "{source}\n{:#?}", checked.findings);
        count += 1;
    }
    assert!(count >= 2, "{count}");
}

fn reference() -> String {
    let schema = pack_schema();
    let mut out = fs::read_to_string(Path::new(ROOT).join("docs/reference/pack.intro.md")).unwrap();
    let mut queue = vec![("The pack".to_owned(), &schema)];
    let mut seen = BTreeSet::new();
    while !queue.is_empty() {
        let (title, object) = queue.remove(0);
        write!(out, "\n## {title}\n\n{}\n", described(object)).unwrap();
        out.push_str("\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
        let required: Vec<&str> = object
            .get("required")
            .and_then(Value::as_array)
            .map(|keys| keys.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        for (key, property, meaning) in properties(object) {
            let mut next = Vec::new();
            let kind = kind(&schema, property, &mut next);
            let default = if required.contains(&key.as_str()) {
                "**required**".to_owned()
            } else {
                property
                    .get("default")
                    .filter(|value| is_small(value))
                    .map(|value| format!("`{value}`"))
                    .unwrap_or_default()
            };
            let meaning = meaning.replace('\n', " ").replace('|', "\\|");
            writeln!(out, "| `{key}` | {kind} | {default} | {meaning} |").unwrap();
            for name in next {
                if seen.insert(name.clone()) {
                    queue.push((name.clone(), &schema["$defs"][&name]));
                }
            }
        }
    }
    out
}

fn is_small(value: &Value) -> bool {
    match value {
        Value::Object(_) | Value::Null => false,
        other => other.to_string().len() <= 40,
    }
}

/// The keys with their types and meanings.
fn properties(object: &Value) -> Vec<(String, &Value, String)> {
    if let Some(properties) = object.get("properties").and_then(Value::as_object) {
        return properties
            .iter()
            .map(|(key, property)| (key.clone(), property, described(property)))
            .collect();
    }
    let alternatives = object.get("oneOf").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    alternatives
        .iter()
        .flat_map(|one| {
            let properties = one.get("properties").and_then(Value::as_object).into_iter().flatten();
            properties.map(|(key, property)| (key.clone(), property, described(one)))
        })
        .collect()
}

fn described(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// How a type is written in the table; names of definitions that get a table of their own go to `next`.
fn kind(root: &Value, schema: &Value, next: &mut Vec<String>) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.trim_start_matches("#/$defs/");
        let definition = &root["$defs"][name];
        if keys(definition).is_some() {
            next.push(name.to_owned());
            return format!("[{name}](#{})", name.to_lowercase());
        }
        return kind(root, definition, next);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words
            .iter()
            .map(|word| format!("`{}`", word.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(word) = schema.get("const") {
        return format!("`{}`", word.as_str().unwrap_or_default());
    }
    for several in ["anyOf", "oneOf"] {
        if let Some(alternatives) = schema.get(several).and_then(Value::as_array) {
            let kinds: Vec<String> = alternatives
                .iter()
                .filter(|one| one.get("type").and_then(Value::as_str) != Some("null"))
                .map(|one| kind(root, one, next))
                .collect();
            return kinds.join(if several == "oneOf" { ", " } else { " or " });
        }
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => {
            several.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect()
        }
        _ => return if schema.get("properties").is_some() { keyed(schema) } else { "anything".to_owned() },
    };
    match types.first().copied().unwrap_or_default() {
        "array" => format!(
            "list of {}",
            schema.get("items").map_or_else(|| "anything".to_owned(), |items| kind(root, items, next))
        ),
        "object" => match schema.get("additionalProperties").filter(|free| free.is_object()) {
            Some(values) => format!("mapping of {}", kind(root, values, next)),
            None => keyed(schema),
        },
        "string" => "text".to_owned(),
        "integer" => "whole number".to_owned(),
        "number" => "number".to_owned(),
        "boolean" => "`true`, `false`".to_owned(),
        other => other.to_owned(),
    }
}

fn keyed(schema: &Value) -> String {
    match schema.get("properties").and_then(Value::as_object) {
        Some(properties) => {
            let keys: Vec<String> = properties.keys().map(|key| format!("`{key}`")).collect();
            format!("mapping with {}", keys.join(", "))
        }
        None => "mapping".to_owned(),
    }
}
