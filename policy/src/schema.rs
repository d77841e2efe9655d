//! The JSON Schema of a pack, from the types of [`crate::pack`].

use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::pack::Pack;

/// The keys that must be there; every other one has a default. The decoder is what decides, and a test compares.
const REQUIRED: [&str; 15] = [
    "pack", "policies", "name", "version", "chain", "id", "provider", "base_url", "regex", "rule", "reason",
    "expires", "cases", "input", "expected",
];

/// The schema, as `kt policy schema` prints it. Editors that know it complete and check packs while they are written.
pub fn pack() -> Schema {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<Pack>();
    if let Some(root) = schema.as_object_mut() {
        let mut value = Value::Object(std::mem::take(root));
        relax(&mut value);
        short_forms(&mut value);
        if let Value::Object(fields) = value {
            *root = fields;
        }
    }
    schema
}

/// Takes keys with defaults out of `required`.
fn relax(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Array(keys)) = fields.get_mut("required") {
                keys.retain(|key| key.as_str().is_some_and(|key| REQUIRED.contains(&key)));
            }
            fields.values_mut().for_each(relax);
        }
        Value::Array(items) => items.iter_mut().for_each(relax),
        _ => {}
    }
}

/// What the decoder accepts beside the fields of the model.
fn short_forms(schema: &mut Value) {
    let mut add = |definition: &str, key: &str, form: Value| {
        if let Some(fields) =
            schema.pointer_mut(&format!("/$defs/{definition}/properties")).and_then(Value::as_object_mut)
        {
            fields.insert(key.to_owned(), form);
        }
    };
    add(
        "Target",
        "zdr",
        json!({"type": "boolean", "description": "Short for `data_policy.zero_data_retention`."}),
    );
    for (key, description) in [
        ("messages", "The messages of a chat."),
        ("prompt", "The prompt of a completion."),
        ("input", "The input of an embedding."),
    ] {
        add("TestInput", key, json!({"description": description}));
    }
    add(
        "TestInput",
        "model",
        json!({"type": "string", "description": "The model; default: the first target's."}),
    );
    let mode = json!({"const": "enforce", "description": "The log can't only observe."});
    add("AuditLogger", "mode", mode);
    let required = schema.pointer_mut("/$defs/TestInput").and_then(Value::as_object_mut).map(remove_required);
    debug_assert!(required.is_some(), "TestInput is in the schema");
}

fn remove_required(fields: &mut Map<String, Value>) {
    fields.remove("required");
}
