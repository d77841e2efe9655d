//! The gateway.

pub mod audit;
