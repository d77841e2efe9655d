//! The fake Databricks, judged from the wire: each behaviour of its table does what the table says.

mod answers;
mod client;
mod credentials;
mod faults;
mod log;
mod refusals;
mod streams;
mod transport;
