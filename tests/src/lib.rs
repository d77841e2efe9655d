//! What tests are made of: a fake Databricks, a load generator, and helpers that run real processes.

pub mod egress;
pub mod fake_databricks;
pub mod load;
pub mod process;
