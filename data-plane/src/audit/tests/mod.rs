//! The log through its handle, on a real directory.

mod kill;
pub(crate) mod support;
mod thread;
