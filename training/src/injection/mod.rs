//! The model of `prompt-injection`.

pub mod disguise;
pub mod examples;
pub mod generate;
pub mod grammar;
pub mod measure;
pub mod train;
