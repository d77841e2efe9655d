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
    /// The keys in a folder, made by the first start: files that their owner alone can read, written once. Replicas may
    /// share the folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, WitnessError> {
        let new_seed = || Signer::generate().ok()?.seed_hex().ok();
        let (path, seed) = secret(folder, WITNESS, new_seed)?;
        let signer = Signer::from_seed_hex(&seed).map_err(|_| WitnessError::NotAKey { path })?;
        let (path, key) = secret(folder, PERSONS, || random_key_hex().ok())?;
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

    /// Tells the key that joins pseudonyms from others, and tells nothing of it.
    #[cfg(feature = "postgres")]
    pub(crate) fn persons_id(&self) -> [u8; 16] {
        self.persons.id().0
    }

    /// The person of that name.
    pub(crate) fn person(&self, name: &str) -> Subject {
        self.persons.subject(name)
    }
}

/// What is in a file, made where there is none.
fn secret(
    folder: &Path,
    file: &str,
    new: impl FnOnce() -> Option<String>,
) -> Result<(PathBuf, String), WitnessError> {
    let path = folder.join(file);
    let io = |source| WitnessError::Io { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = new().ok_or_else(|| WitnessError::NotAKey { path: path.clone() })?;
            match write_new(&path, &text) {
                Ok(()) => Ok((path, text)),
                // Another start was faster: its key stays.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let text = fs::read_to_string(&path).map_err(io)?;
                    Ok((path, text))
                }
                Err(error) => Err(io(error)),
            }
        }
        Err(error) => Err(io(error)),
    }
}

/// Written beside, synced, then put in place where nothing is: there is the whole key or none.
fn write_new(path: &Path, seed: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", uuid::Uuid::now_v7()));
    let beside = PathBuf::from(beside);
    let mut options = fs::File::options();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    let written = file
        .write_all(seed.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&beside, path));
    fs::remove_file(&beside)?;
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_over_one_folder_at_the_same_time_have_the_same_keys() {
        let folder = tempfile::tempdir().unwrap();
        let opened: Vec<Witness> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Witness::open(folder.path()).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        let person = |witness: &Witness| witness.person("jane@example.com").pseudonym();
        for other in &opened {
            assert_eq!(other.public().0, opened[0].public().0);
            assert_eq!(person(other), person(&opened[0]));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside");
    }
}
