//! The stored form: its documentation, its fixtures and its reader's corpus.
//!
//! `cfg(test)` tells clippy that helpers between the tests may unwrap like the tests themselves.

#[cfg(test)]
mod columns;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod document;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod fixtures;
