//! The gateway: HTTP in, identity, policy, routing, upstream, audit out.
//!
//! [`Gateway::start`] opens the pack, the key file, the audit log and both listeners; [`Running::run_until`] serves
//! until it is told to stop and then drains. The life of a request is one page: [`pipeline`].

mod error;
pub mod wire;
