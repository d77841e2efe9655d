//! Custom models: `inputs` and its siblings on `/invocations`.

use http::StatusCode;
use serde_json::{Value, json};

use super::dispatch::Call;
use super::errors;
use super::reply::Reply;

const FORMS: &[&str] = &["inputs", "instances", "dataframe_records", "dataframe_split"];

/// One prediction an input: its number of characters as JSON.
pub(crate) fn answer(call: &Call<'_>) -> Reply {
    let given = FORMS.iter().find_map(|name| call.fields.get(*name));
    let Some(given) = given else {
        return errors::bad_request(
            "Invalid input. The input must be a JSON dictionary with exactly one of the input fields \
             'dataframe_records', 'dataframe_split', 'instances' or 'inputs'.",
        );
    };
    let rows = given.get("data").unwrap_or(given);
    let rows = rows.as_array().map_or(std::slice::from_ref(rows), Vec::as_slice);
    let predictions: Vec<usize> = rows.iter().map(|row: &Value| row.to_string().chars().count()).collect();
    Reply::json(StatusCode::OK, &json!({ "predictions": predictions }))
}
