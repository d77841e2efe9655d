//! An audit directory, read. The only module of this crate that touches files, and it writes none.

pub mod layout;
