//! The guard below hyper: every HTTP/1 request is framed here before hyper sees a byte of it.
//!
//! Why below: hyper takes `Transfer-Encoding` together with `Content-Length` and hides the length from the service,
//! reads bare line feeds as line ends, and leaves upgrades and `CONNECT` to whoever looks. Two parties that frame the
//! same bytes differently are how requests are smuggled, so the guard reads a smaller language than hyper does:
//! whatever it clears, hyper frames in the same way.
//!
//! How: `Guarded` wraps the accepted connection. Bytes of a head are held back until the head is complete and
//! judged (`head`); bodies are followed by length or by chunk (`chunked`) so that the next head is found where it
//! really starts, on kept-alive and pipelined connections too. A head that is refused is replaced by a request of the
//! guard's own that carries the fault in a header that no client can send (a head that holds it is refused): the
//! service answers it in its turn, with a proper error, a record and `connection: close`; the bytes behind it are
//! never read as a request. HTTP/2 with prior knowledge passes untouched; its framing has no such doubts.
//!
//! What must hold: cleared bytes are exactly the bytes received, in order; no partial head is ever cleared; after a
//! refusal nothing but the guard's own request is cleared; memory is bounded by the head limit.

mod chunked;
mod framer;
mod head;
mod io;

pub use framer::{Cleared, Framer};
pub use head::{Fault, HeadLimits};
pub(crate) use io::{ConnectionState, Guarded, InFlight, Times};

/// The header by which the guard tells the service of a fault. Heads of clients that hold it are refused.
pub const FAULT_HEADER: &str = "x-kt-wire-fault";

#[cfg(test)]
mod tests;
