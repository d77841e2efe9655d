//! x
pub(crate) mod errors;
