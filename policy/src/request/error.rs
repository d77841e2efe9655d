//! Why a body is not a request.

use crate::json::{JsonError, JsonErrorKind};

/// A body was refused with 400. Holds no text of it but names of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}", message = self.message())]
pub struct RequestError {
    /// What is wrong.
    pub kind: RequestErrorKind,
    /// Where, as OpenAI's errors name it (`messages[0].role`); absent when the body is no JSON.
    pub param: Option<String>,
}

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestErrorKind {
    /// Not JSON, or JSON that two readers may understand differently.
    Json(JsonError),
    /// A field that must be there is not.
    Missing,
    /// A field has the wrong type.
    WrongType {
        /// What it must be: `a string`.
        expected: &'static str,
    },
    /// A field has a value that is not one of a few, or out of range.
    InvalidValue {
        /// What it must be: `a positive integer`.
        expected: &'static str,
    },
}

impl RequestError {
    pub(super) fn new(kind: RequestErrorKind, param: impl Into<String>) -> Self {
        Self { kind, param: Some(param.into()) }
    }

    /// The stable code of the error body.
    pub const fn code(&self) -> &'static str {
        match &self.kind {
            RequestErrorKind::Json(error) => match error.kind {
                JsonErrorKind::DuplicateKey => "duplicate_key",
                JsonErrorKind::TooDeep | JsonErrorKind::TooManyNodes | JsonErrorKind::TooLarge => {
                    "json_limit_exceeded"
                }
                _ => "invalid_json",
            },
            RequestErrorKind::Missing => "missing_required_parameter",
            RequestErrorKind::WrongType { .. } => "invalid_type",
            RequestErrorKind::InvalidValue { .. } => "invalid_value",
        }
    }

    /// For people: lower case, one line, no text of the body.
    pub fn message(&self) -> String {
        let param = self.param.as_ref().map_or_else(|| "the body".to_owned(), |param| format!("`{param}`"));
        match &self.kind {
            RequestErrorKind::Json(error) => format!("the body is not acceptable JSON: {error}"),
            RequestErrorKind::Missing => format!("{param} is required"),
            RequestErrorKind::WrongType { expected } | RequestErrorKind::InvalidValue { expected } => {
                format!("{param} must be {expected}")
            }
        }
    }
}

impl From<JsonError> for RequestError {
    fn from(error: JsonError) -> Self {
        Self { kind: RequestErrorKind::Json(error), param: None }
    }
}
