//! The control plane: keeps versions of packs, says what each fleet enforces, and pushes it to the gateways.
//!
//! - [`store`]: a narrow trait of ordered keys with compare-and-swap and a watch; embedded and etcd;
//! - `registry`: packs, fleets, key sets and tokens as records above that trait; every write is one compare-and-swap;
//! - `mirror`: what the store holds, in memory, kept fresh by the watch; everything is served from it;
//! - [`audit`]: records of all gateways, taken in, kept and shown;
//! - `services`: what people call; `delivery`: what gateways subscribe to;
//! - `server`: listeners, TLS, health, draining.
//!
//! No correctness rests on a leader: all replicas over one store are equal.

mod admin;
mod admission;
pub mod audit;
pub mod auth;
mod backoff;
pub mod bodies;
pub mod bootstrap;
mod causes;
pub mod delivery;
#[cfg(test)]
mod descriptors;
pub mod metrics;
pub mod mirror;
pub mod paths;
mod registry;
mod server;
mod services;
pub mod settings;
pub mod state;
pub mod store;
mod tls;

pub use self::server::{ControlPlane, Running, StartError};
