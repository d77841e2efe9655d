//! What control plane, gateways and people say to each other, and what a store keeps of it.
//!
//! - [`v1`]: the services and their messages, generated from `keeptrusts/v1/*.proto`;
//! - [`store`]: what a store keeps, generated from `keeptrusts/store/v1/*.proto`;
//! - [`signed`]: statements as the exact bytes that are stored, digested and signed;
//! - [`refusal`]: why a call was refused, as a type on both ends of the wire.

pub mod refusal;
pub mod signed;
mod stage;

/// The services and their messages.
#[expect(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    reason = "generated; the .proto files have the words"
)]
pub mod v1 {
    tonic::include_proto!("keeptrusts.v1");
}

/// What a store keeps.
pub mod store {
    /// The first version.
    #[expect(missing_docs, reason = "generated; the .proto files have the words")]
    pub mod v1 {
        tonic::include_proto!("keeptrusts.store.v1");
    }
}

/// The descriptors of everything here, a serialised `FileDescriptorSet`: for reflection, and to compare with the
/// committed one.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keeptrusts.bin"));
