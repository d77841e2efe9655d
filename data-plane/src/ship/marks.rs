//! How far the control plane has the records, on disk: `shipped.json`.
//!
//! Never needed for delivery: the control plane says at each connection what it has. It lets a start know which
//! segments may go before a connection is there, and shows people what is waiting. Its loss costs duplicates only, so it
//! is replaced without an fsync.

use std::io;

use kt_audit::dir::layout::{self, ShippedFile};

use crate::audit::fs::{Fs, write_all};

/// More than the marks of as many runs as a hello may name.
const MAX: u64 = 4 << 20;

/// The marks; nothing where the file is missing or is not what it should be.
pub(crate) fn load<F: Fs>(fs: &F) -> ShippedFile {
    let bytes = fs.read(layout::SHIPPED, MAX).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_else(|_| ShippedFile { v: 1, ..ShippedFile::default() })
}

/// Replaces the file in one step.
pub(crate) fn save<F: Fs>(fs: &F, marks: &ShippedFile) -> io::Result<()> {
    let temporary = format!("{}.tmp", layout::SHIPPED);
    match fs.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = fs.create(&temporary, false)?;
    write_all(&file, &serde_json::to_vec(marks)?).1?;
    fs.rename(&temporary, layout::SHIPPED)
}
