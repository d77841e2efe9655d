//! The log through its handle, on a real directory.

mod support;
mod thread;
