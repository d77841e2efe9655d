//! The gateway as a whole: real sockets, a faithful fake behind it, and what both sides saw.

mod errors;
mod identity;
mod limits;
mod records;
mod reload;
mod streams;
mod wire;
mod world;
