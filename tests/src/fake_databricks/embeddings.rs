//! Embeddings: 1,024 numbers, the same ones for the same text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::answer::tokens_in;
use super::catalogue::Embedder;
use super::dispatch::Call;
use super::errors;
use super::persona::{Fields, Persona};
use super::reply::Reply;

/// Dimensions of every embedding model here (`reference/databricks-serving.md` §5.2).
const DIMENSIONS: usize = 1024;

const KNOWN: &[&str] = &[
    "model",
    "input",
    "instruction",
    "encoding_format",
    "dimensions",
    "user",
    "client_request_id",
    "usage_context",
    "extra_params",
];

#[derive(Serialize)]
struct Embeddings<'a> {
    object: &'static str,
    model: &'a str,
    data: Vec<Embedding>,
    usage: Usage,
}

#[derive(Serialize)]
struct Embedding {
    index: usize,
    object: &'static str,
    #[serde(rename = "embedding")]
    vector: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    /// Little-endian floats; the OpenAI Python client asks for this form unless told otherwise.
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// Answers an embeddings request, or refuses it as the endpoint would.
pub(crate) fn answer(call: &Call<'_>, embedder: Embedder, persona: &Persona) -> Reply {
    let lenient = persona.rules.fields == Fields::Any;
    if let Some(unknown) = call.fields.keys().find(|name| !lenient && !KNOWN.contains(&name.as_str())) {
        return errors::bad_request(&format!("Bad request: json: unknown field \"{unknown}\""));
    }
    let Some(texts) = inputs(call.fields.get("input")) else {
        return errors::bad_request("'input' must be a string or a list of strings.");
    };
    let dimensions = match call.fields.get("dimensions").filter(|value| !value.is_null()) {
        None => DIMENSIONS,
        Some(_) if !embedder.shortens && !lenient => {
            return errors::bad_request("Bad request: json: unknown field \"dimensions\"");
        }
        Some(value) => match value.as_u64().and_then(|value| usize::try_from(value).ok()) {
            Some(asked @ 1..=DIMENSIONS) => asked,
            _ => return errors::bad_request("'dimensions' must be between 1 and 1024."),
        },
    };
    let in_base64 = match call.fields.get("encoding_format").filter(|value| !value.is_null()) {
        None => false,
        Some(Value::String(format)) if format == "float" => false,
        Some(Value::String(format)) if format == "base64" => true,
        Some(_) => return errors::bad_request("'encoding_format' must be 'float' or 'base64'."),
    };
    let embed = |(index, text): (usize, &&str)| {
        let floats = vector(text, dimensions, embedder.normalised);
        let vector = if in_base64 { Vector::Base64(encoded(&floats)) } else { Vector::Floats(floats) };
        Embedding { index, object: "embedding", vector }
    };
    let tokens = tokens_in(texts.iter().map(|text| text.chars().count()).sum());
    let reply = Embeddings {
        object: "list",
        model: &call.endpoint.served,
        data: texts.iter().enumerate().map(embed).collect(),
        usage: Usage { prompt_tokens: tokens, total_tokens: tokens },
    };
    Reply::json(StatusCode::OK, &reply)
}

fn inputs(input: Option<&Value>) -> Option<Vec<&str>> {
    match input? {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) if !list.is_empty() => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn encoded(floats: &[f32]) -> String {
    STANDARD.encode(floats.iter().flat_map(|float| float.to_le_bytes()).collect::<Vec<u8>>())
}

/// A vector that depends on the text alone. Equal texts are equal; any others are as good as unrelated.
pub(crate) fn vector(text: &str, dimensions: usize, normalised: bool) -> Vec<f32> {
    // FNV-1a for the seed, splitmix64 for the numbers.
    let seed = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // 24 bits fit a float's mantissa exactly.
        let bits = ((mixed ^ (mixed >> 31)) >> 40) as u32;
        f64::from(bits) / f64::from(1_u32 << 23) - 1.0
    };
    let raw: Vec<f64> = (0..dimensions).map(|_| next()).collect();
    let length = if normalised { raw.iter().map(|x| x * x).sum::<f64>().sqrt() } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, reason = "embeddings are single precision")]
    raw.into_iter().map(|x| (x / length) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(vector: &[f32]) -> f32 {
        vector.iter().map(|x| x * x).sum::<f32>().sqrt()
    }

    #[test]
    fn the_same_text_has_the_same_vector_of_length_one() {
        let one = vector("quarterly revenue", DIMENSIONS, true);
        assert_eq!(one.len(), 1024);
        assert!((length(&one) - 1.0).abs() < 1e-4);
        assert_eq!(one, vector("quarterly revenue", DIMENSIONS, true));
        assert_ne!(one, vector("quarterly revenues", DIMENSIONS, true));
    }

    #[test]
    fn gte_vectors_are_not_normalised() {
        assert!(length(&vector("x", DIMENSIONS, false)) > 2.0);
    }
}
