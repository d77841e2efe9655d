//! The control plane's own keys: the one that signs, its word that it holds what a gateway has signed and that what is
//! missing was cut by retention, and the one that joins the names of a person that several gateways have under pseudonyms of their own.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kt_audit::{
    InstanceId, Position,
    identity::{PseudonymKey, Subject, random_key_hex},
    sign::{PublicKey, Signature, Signer, StoreCut, StoreTombstone, countersignature_message},
};

/// Their files below the data folder.
const WITNESS: &str = "audit-witness.key";
const PERSONS: &str = "audit-persons.key";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The file.
    #[error("can't use the signing key `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// What is in it.
    #[error("`{}` holds no signing key", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

/// The control plane's own keys. They can't be printed.
#[derive(Debug)]
pub(crate) struct Witness {
    signer: Signer,
    persons: PseudonymKey,
}

impl Witness {
    /// The keys below `data_dir`, made by the first start: files that their owner alone can read, written once.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, WitnessError> {
        let new_seed = || Signer::generate().ok()?.seed_hex().ok();
        let (path, seed) = secret(data_dir, WITNESS, new_seed)?;
        let signer = Signer::from_seed_hex(&seed).map_err(|_| WitnessError::NotAKey { path })?;
        let (path, key) = secret(data_dir, PERSONS, || random_key_hex().ok())?;
        let persons = PseudonymKey::from_hex(&key).map_err(|_| WitnessError::NotAKey { path })?;
        Ok(Self { signer, persons })
    }

    /// What auditors check countersignatures with.
    pub(crate) fn public(&self) -> PublicKey {
        self.signer.public()
    }

    pub(crate) fn countersign(&self, instance: InstanceId, covers: &Position, signed_us: i64) -> Signature {
        self.signer.sign(&countersignature_message(instance, covers, signed_us))
    }

    pub(crate) fn tombstone(&self, instance: InstanceId, cut: StoreCut) -> StoreTombstone {
        StoreTombstone::sign(&self.signer, instance, cut)
    }

    /// The person of that name.
    pub(crate) fn person(&self, name: &str) -> Subject {
        self.persons.subject(name)
    }
}

/// What is in a file, made where there is none.
fn secret(
    data_dir: &Path,
    file: &str,
    new: impl FnOnce() -> Option<String>,
) -> Result<(PathBuf, String), WitnessError> {
    let path = data_dir.join(file);
    let io = |source| WitnessError::Io { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = new().ok_or_else(|| WitnessError::NotAKey { path: path.clone() })?;
            write_new(&path, &text).map_err(io)?;
            Ok((path, text))
        }
        Err(error) => Err(io(error)),
    }
}

/// Written beside, synced, then put in place: there is the whole key or none.
fn write_new(path: &Path, seed: &str) -> io::Result<()> {
    use std::io::Write as _;
    let beside = path.with_extension("new");
    let mut options = fs::File::options();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(seed.as_bytes())?;
    file.sync_all()?;
    // Another start may have been faster: its key stays.
    fs::hard_link(&beside, path)?;
    fs::remove_file(&beside)
}
