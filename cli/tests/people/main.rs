//! The commands that talk to a control plane, as a person types them, against a control plane that can be told to
//! fail: what is shown, how it ends, and what is never shown.
//!
//! `cfg(test)` tells clippy that helpers between the tests may unwrap like the tests themselves.

#[cfg(test)]
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "another test binary uses the rest of it")]
mod common;
#[cfg(test)]
mod contexts;
#[cfg(test)]
mod double;
#[cfg(test)]
mod events;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod kt;
#[cfg(test)]
mod parquet;
#[cfg(test)]
mod real;
#[cfg(test)]
mod records;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod shown;
#[cfg(test)]
mod sinks;
mod terminal;
