//! The way to an upstream and back: one attempt at one target.

pub(crate) mod client;
pub(crate) mod errors;
