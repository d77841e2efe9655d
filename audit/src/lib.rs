//! The audit record, its hash chain and its segment format, and the means to check them.
//!
//! Both planes and `kt audit verify` share this crate. Everything but [`dir`] and [`export`] is pure: bytes in, bytes out.
//!
//! - [`record`]: what is written down of a request, never its text and never a person's name.
//! - [`identity`]: pseudonyms for the chain, and names sealed under keys that can be destroyed.
//! - [`segment`]: frames and segment files, byte by byte.
//! - [`chain`]: positions, record hashes and the running state of a writer.
//! - [`sign`]: the gateway's ed25519 key over checkpoints, heads and tombstones.
//! - [`verify`]: names the first break of each kind.
//! - [`dir`]: reads an audit directory.
//! - [`facts`]: what people filter and count by.
//! - [`columns`]: a record as a row of a table.
//! - [`export`]: what was exported from a store, and the means to check it without one.

pub mod chain;
pub mod columns;
pub mod dir;
pub mod export;
pub mod facts;
pub mod identity;
pub mod record;
pub mod segment;
pub mod sign;
pub mod value;
pub mod verify;

pub use chain::{Epoch, InstanceId, Position};
pub use identity::Pseudonym;
pub use record::{Body, Kind, Record};
pub use value::{Digest, Label};
