//! The fake Databricks, judged from the wire: each behaviour of its table does what the table says.
//!
//! `cfg(test)` tells clippy that helpers between the tests may unwrap like the tests themselves.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod client;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod log;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod transport;
