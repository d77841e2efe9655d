//! The gateway: HTTP in, identity, policy, routing, upstream, audit out.
//!
//! [`Gateway::start`] opens the pack, the key file, the audit log and both listeners; [`Running::run_until`] serves
//! until it is told to stop and then drains. The life of a request is one page: [`pipeline`].

pub mod error;
mod headers;
pub mod identity;
mod metrics;
mod respond;
mod secrets;
pub mod settings;
pub mod sse;
mod upstream;
mod watch_file;
pub mod wire;
