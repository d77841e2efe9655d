//! The gateway: HTTP in, identity, policy, routing, upstream, audit out.
//!
//! [`Gateway::start`] opens the pack, the key file, the audit log and both listeners; [`Running::run_until`] serves
//! until it is told to stop and then drains. The life of a request is one page: the module `pipeline`.

mod active;
mod admin;
pub mod audit;
mod control;
pub mod error;
mod gateway;
mod headers;
mod health;
pub mod identity;
mod load;
mod metrics;
mod pack_source;
mod pipeline;
mod probe;
mod recorder;
mod respond;
mod secrets;
mod server;
pub mod settings;
mod shared;
pub mod ship;
pub mod sse;
mod upstream;
mod waits;
mod watch_file;
pub mod wire;

pub use control::{ControlError, lkg::StateError};
pub use gateway::{Drained, Gateway, Reload, Running, StartError};
pub use pack_source::{KeysFault, PackFault};
pub use settings::Settings;
