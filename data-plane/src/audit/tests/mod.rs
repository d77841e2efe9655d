//! The log through its handle, on a real directory.

pub(crate) mod support;
mod thread;
