//! Why a text is not the JSON that is asked for.

use std::fmt;

/// A text was refused. Holds no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Where, in bytes from the start of the text.
    pub offset: usize,
}

impl JsonError {
    pub(super) const fn new(kind: JsonErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }
}

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JsonErrorKind {
    /// Not UTF-8.
    InvalidUtf8,
    /// A byte order mark, which JSON over a network must not have (RFC 8259 §8.1).
    ByteOrderMark,
    /// The text ends inside a value.
    UnexpectedEnd,
    /// A value, a key or a delimiter was expected.
    UnexpectedByte,
    /// Something after the value.
    TrailingData,
    /// A control character inside a string.
    ControlCharacter,
    /// A backslash followed by something that is no escape.
    InvalidEscape,
    /// `\ud800` without its other half.
    LoneSurrogate,
    /// A number that JSON does not know (`01`, `1.`, `-`).
    InvalidNumber,
    /// A number beyond the range of a double, which readers understand differently.
    NumberOutOfRange,
    /// The same key twice in one object.
    DuplicateKey,
    /// More containers inside each other than allowed.
    TooDeep,
    /// More values and keys than allowed.
    TooManyNodes,
    /// More than 4 GiB.
    TooLarge,
}

impl fmt::Display for JsonErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::ByteOrderMark => "a byte order mark is not allowed",
            Self::UnexpectedEnd => "the text ends inside a value",
            Self::UnexpectedByte => "unexpected character",
            Self::TrailingData => "something follows the value",
            Self::ControlCharacter => "control character in a string",
            Self::InvalidEscape => "invalid escape in a string",
            Self::LoneSurrogate => "half of a surrogate pair in a string",
            Self::InvalidNumber => "invalid number",
            Self::NumberOutOfRange => "number out of range",
            Self::DuplicateKey => "duplicate key in an object",
            Self::TooDeep => "too many levels of nesting",
            Self::TooManyNodes => "too many values",
            Self::TooLarge => "the text is too large",
        })
    }
}
