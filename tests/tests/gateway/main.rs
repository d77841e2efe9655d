//! The gateway as a whole: real sockets, a faithful fake behind it, and what both sides saw.
//!
//! `cfg(test)` tells clippy that helpers between the tests may unwrap like the tests themselves.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod bounded;
#[cfg(test)]
mod connected;
#[cfg(test)]
mod delivered;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod life;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod records;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod swaps;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;
