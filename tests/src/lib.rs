//! What tests are made of: a fake Databricks, a load generator, simulated gateways, and helpers that run real
//! processes.

pub mod egress;
pub mod fake_control_plane;
pub mod fake_databricks;
pub mod fake_ingest;
pub mod load;
pub mod process;
pub mod receiver;
pub mod sim;
