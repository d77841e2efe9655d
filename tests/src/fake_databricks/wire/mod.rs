//! What is below the answers: sockets that can be reset, bodies that misbehave on purpose, gzip.

pub(super) mod body;
mod gzip;
pub(super) mod socket;
pub(super) mod tricks;
