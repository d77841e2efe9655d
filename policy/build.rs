//! Computes the digest of each detector (`kt_policy::detect::digest`).
//!
//! Hashed are the files of the detector's folder and those that all detectors share, without tests, in the order of
//! their paths: for each its path, a zero byte, its length as 8 bytes, and its content.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// What all detectors rest on.
const SHARED: [&str; 4] = ["detect/marker.rs", "detect/mod.rs", "detect/patterns", "text"];
const DETECTORS: [(&str, &str); 3] =
    [("INJECTION", "detect/injection"), ("PII", "detect/pii"), ("DLP", "detect/dlp")];

fn main() -> io::Result<()> {
    let source = Path::new("src");
    for watched in ["build.rs", "src/detect", "src/text"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let mut code = Vec::new();
    for (name, folder) in DETECTORS {
        let mut files = Vec::new();
        for part in SHARED.iter().chain([&folder]) {
            collect(&source.join(part), &mut files)?;
        }
        files.sort();
        let mut hash = Sha256::new();
        for file in files {
            let content = fs::read(&file)?;
            hash.update(file.to_string_lossy().replace('\\', "/").as_bytes());
            hash.update([0]);
            hash.update((content.len() as u64).to_le_bytes());
            hash.update(content);
        }
        let digest: [u8; 32] = hash.finalize().into();
        writeln!(code, "pub(super) const {name}: [u8; 32] = {digest:?};")?;
    }
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?;
    fs::write(out.join("digests.rs"), code)
}

/// The files at or below a path, without tests; a path that is not there has none.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let is_test = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "snapshots");
    if is_test || !path.try_exists()? {
        return Ok(());
    }
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}
