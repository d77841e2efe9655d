//! The audit log of a gateway: one writer, one directory, one chain.
//!
//! # Invariants
//! - **One pen.** Sequence, previous hash and files are one value that one writer at a time holds: a request that
//!   finds nobody writing, or the writer's thread, to which all others talk through a queue with a bound. No
//!   request waits for a lock; see `pen`.
//! - **An acknowledgement is a promise.** `sync`: fdatasync has returned. `block`: write(2) has returned, so the
//!   record survives a kill -9 of the gateway, and an fsync follows within
//!   [`Settings::fsync_interval`]. `best_effort`: it is queued; what is dropped is chained as `dropped`.
//! - **Full means refused.** At the byte cap, or with the disk full, an append waits up to
//!   [`Settings::full_wait`] and then fails with a type; the caller answers 503 before anything goes upstream.
//!   One such wait is enough: until room is seen again, whatever finds none fails at once.
//!   Each admitted request holds room for its `closed` record, and a reserve is kept for blocks and refusals.
//! - **Damage never stops a start.** It is set aside, counted, and told in the next run's first record.
//!
//! # How it works
//! With `block`, a record is usually framed and written where the request runs. Otherwise the writer takes whatever
//! waits in the queue, frames it, and gives it to the file in one write(2). A second thread runs fdatasync, so that appends go on meanwhile: with `sync` the first append starts one at once, and
//! those that arrive while it runs share the next.
//!
//! Files of the directory: [`kt_audit::dir`].

pub(crate) mod engine;
pub(crate) mod fs;
mod handle;
mod metrics;
mod pen;
mod settings;
mod state;
mod writer;

use std::path::Path;

pub use self::handle::{AppendError, AuditHandle, Receipt};
pub use self::metrics::AuditMetrics;
pub use self::settings::{Delivery, Durability, Settings, SettingsError};
pub use self::state::OpenError;
pub use self::writer::{AuditLog, CloseError};

/// Opens the audit directory `dir`, makes it where it does not exist, and starts its writer.
///
/// What the run before left torn, damaged or open is dealt with first; see the module's invariants.
///
/// # Errors
/// When another process holds the directory, it can't be made or read, or the settings contradict themselves.
/// Never because of damage in it.
pub fn open(dir: &Path, settings: &Settings) -> Result<(AuditHandle, AuditLog), OpenError> {
    writer::start(dir, settings)
}

#[cfg(test)]
pub(crate) mod tests;
