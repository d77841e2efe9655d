//! The stored form: its documentation and its fixtures.

mod document;
mod examples;
mod fixtures;
