//! Audit records on their way from a directory to a store: real sockets, a store that checks every byte, and everything
//! that can go wrong in between.
//!
//! `cfg(test)` tells clippy that helpers between the tests may unwrap like the tests themselves.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod leftover;
#[cfg(test)]
mod live;
#[cfg(test)]
mod spool;
