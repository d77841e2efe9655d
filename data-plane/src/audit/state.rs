//! What a directory keeps beside its segments: instance, keys, sealed names.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use kt_audit::Pseudonym;
use kt_audit::chain::InstanceId;
use kt_audit::dir::layout::{self, ErasedRow, InstanceFile};
use kt_audit::identity::{PseudonymKey, SealError, SealedName, Subject, SubjectKey, random_key_hex};
use kt_audit::record::{Damage, DamageKind};
use kt_audit::sign::{KeyError, Signer};
use uuid::Uuid;

use super::fs::{Fs, FsFile as _, replace, write_all};
use super::settings::SettingsError;

const MAX_STATE: u64 = 64 << 20;

/// Why an audit directory can't be opened. The caller knows which: messages leave its path out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes to it.
    #[error("another process uses it ({holder})")]
    InUse {
        /// Who holds it, as far as is known.
        holder: String,
    },
    /// The directory itself can't be made or read.
    #[error("it can't be made or read")]
    Dir(#[source] io::Error),
    /// The threads that write can't be started.
    #[error("the threads that write to it can't be started")]
    Threads(#[source] io::Error),
    /// A file of it can't be made, read or written.
    #[error("its file `{file}` can't be used", file = file.display())]
    Io {
        /// The file, in the directory.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The settings contradict themselves.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No signing key could be made.
    #[error("audit signing key can't be made")]
    Key(#[from] KeyError),
    /// No pseudonym key could be made.
    #[error("audit pseudonym key can't be made")]
    Seal(#[from] SealError),
}

impl OpenError {
    pub(crate) fn io(file: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io { file, source }
    }
}

/// Who this directory is, and its keys.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) instance: InstanceId,
    pub(crate) signer: Arc<Signer>,
    pub(crate) pseudonyms: PseudonymKey,
}

impl Identity {
    /// Loads instance and keys, and makes what is missing. A file that can't be understood is set aside, replaced
    /// and told as damage; one that can't be read or written is an error.
    ///
    /// `known` is the instance that the segments name.
    pub(crate) fn load<F: Fs>(
        fs: &F,
        known: Option<InstanceId>,
        fleet_key: Option<PseudonymKey>,
        damage: &mut Vec<Damage>,
    ) -> Result<Self, OpenError> {
        let lost = Damage { what: DamageKind::LostState, segment: None, offset: 0, bytes: 0 };

        let instance_file =
            load(fs, layout::INSTANCE, |text| serde_json::from_str::<InstanceFile>(text).ok())?;
        let instance = match instance_file {
            Loaded::Is(file) => file.instance,
            other => {
                if known.is_some() || matches!(other, Loaded::Unreadable) {
                    damage.push(lost.clone());
                }
                let instance = known.unwrap_or_else(|| InstanceId(Uuid::now_v7()));
                let file = InstanceFile { v: 1, instance };
                save(fs, layout::INSTANCE, &serde_json::to_string(&file).unwrap_or_default(), false)?;
                instance
            }
        };

        let signer = match load(fs, layout::SIGNING_KEY, |text| Signer::from_seed_hex(text).ok())? {
            Loaded::Is(signer) => signer,
            other => {
                if known.is_some() || matches!(other, Loaded::Unreadable) {
                    damage.push(lost.clone());
                }
                let signer = Signer::generate()?;
                save(fs, layout::SIGNING_KEY, &signer.seed_hex()?, true)?;
                signer
            }
        };
        // All public keys that this directory has ever had stay in the file: older runs are checked against them.
        let public = signer.public().to_string();
        let mut keys = match load(fs, layout::PUBLIC_KEYS, |text| Some(text.to_owned()))? {
            Loaded::Is(keys) => keys,
            Loaded::Missing | Loaded::Unreadable => String::new(),
        };
        if keys.lines().last().map(str::trim) != Some(&public) {
            if !keys.is_empty() && !keys.ends_with('\n') {
                keys.push('\n');
            }
            keys.push_str(&public);
            save(fs, layout::PUBLIC_KEYS, &keys, false)?;
        }

        let pseudonyms = match fleet_key {
            Some(key) => key,
            None => match load(fs, layout::PSEUDONYM_KEY, |text| PseudonymKey::from_hex(text).ok())? {
                Loaded::Is(key) => key,
                other => {
                    if known.is_some() || matches!(other, Loaded::Unreadable) {
                        damage.push(lost);
                    }
                    let text = random_key_hex()?;
                    save(fs, layout::PSEUDONYM_KEY, &text, true)?;
                    PseudonymKey::from_hex(&text)?
                }
            },
        };
        Ok(Self { instance, signer: Arc::new(signer), pseudonyms })
    }
}

enum Loaded<T> {
    Is(T),
    Missing,
    Unreadable,
}

/// Reads a small text file; one that `parse` refuses is renamed to `NAME.bad`.
fn load<F: Fs, T>(fs: &F, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Loaded<T>, OpenError> {
    let bytes = match fs.read(name, MAX_STATE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Missing),
        Err(error) => return Err(OpenError::io(name)(error)),
    };
    if let Some(value) = std::str::from_utf8(&bytes).ok().and_then(parse) {
        return Ok(Loaded::Is(value));
    }
    fs.rename(name, &format!("{name}.bad")).map_err(OpenError::io(name))?;
    Ok(Loaded::Unreadable)
}

fn save<F: Fs>(fs: &F, name: &str, line: &str, private: bool) -> Result<(), OpenError> {
    replace(fs, name, format!("{line}\n").as_bytes(), private).map_err(OpenError::io(name))
}

/// The two tables of sealed names, appended to by the writer.
pub(crate) struct Subjects<F: Fs> {
    files: Option<Tables<F>>,
    sealed: HashSet<Pseudonym>,
    /// Whose names are not sealed again.
    erased: HashSet<Pseudonym>,
}

/// The tables, open for appending.
struct Tables<F: Fs> {
    names: Arc<F::File>,
    keys: Arc<F::File>,
}

impl<F: Fs> Tables<F> {
    fn open(fs: &F) -> io::Result<Self> {
        let names = open_table(fs, layout::SEALED_NAMES, false)?;
        let keys = open_table(fs, layout::SUBJECT_KEYS, true)?;
        Ok(Self { names: Arc::new(names), keys: Arc::new(keys) })
    }
}

impl<F: Fs> Subjects<F> {
    /// Learns who has a key already. Lines that can't be read are passed over: at worst a name is sealed twice.
    pub(crate) fn load(fs: &F) -> Self {
        let keys: HashSet<_> =
            lines::<F, SubjectKey>(fs, layout::SUBJECT_KEYS).into_iter().map(|row| row.subject).collect();
        let names = lines::<F, SealedName>(fs, layout::SEALED_NAMES).into_iter().map(|row| row.subject);
        let sealed = names.filter(|subject| keys.contains(subject)).collect();
        let erased: HashSet<_> =
            lines::<F, ErasedRow>(fs, layout::ERASED).into_iter().map(|row| row.subject).collect();
        let mut subjects = Self { files: None, sealed, erased };
        // A crash in the middle of an erasure, or a backup of the keys that was put back.
        let back: Vec<_> = subjects.erased.intersection(&keys).copied().collect();
        if !back.is_empty() && subjects.destroy(fs, &back).is_err() {
            tracing::error!("Keys of erased persons are there again and can't be removed.");
        }
        subjects
    }

    /// Whether the name of `subject` is in the table.
    pub(crate) fn is_sealed(&self, subject: &Subject) -> bool {
        self.is_settled(subject.pseudonym())
    }

    fn is_settled(&self, subject: Pseudonym) -> bool {
        self.sealed.contains(&subject) || self.erased.contains(&subject)
    }

    /// The rows that must be written before a record of `subject` is: none once the name is sealed.
    pub(crate) fn rows(&self, subject: &Subject) -> Result<Option<(String, String)>, SealError> {
        if self.is_settled(subject.pseudonym()) {
            return Ok(None);
        }
        let (name, key) = subject.seal()?;
        let row = |json: serde_json::Result<String>| json.map(|row| row + "\n").unwrap_or_default();
        Ok(Some((row(serde_json::to_string(&name)), row(serde_json::to_string(&key)))))
    }

    /// Writes the rows of `subject`. The key first: a name without a key can't be read, so that a crash in
    /// between leaves nothing that an erasure would miss.
    pub(crate) fn write(&mut self, fs: &F, subject: &Subject, rows: &(String, String)) -> io::Result<()> {
        let tables = match self.files.take() {
            Some(tables) => tables,
            None => Tables::open(fs)?,
        };
        let (_, written) = write_all(&*tables.keys, rows.1.as_bytes());
        let written = written.and_then(|()| write_all(&*tables.names, rows.0.as_bytes()).1);
        // After an error a line may be torn: the tables are opened anew then, on a new line.
        if written.is_ok() {
            self.files = Some(tables);
            self.sealed.insert(subject.pseudonym());
        }
        written
    }

    /// Takes the keys of `erased` out of the table of keys. Returns how many sealed names can't be opened any more.
    pub(crate) fn destroy(&mut self, fs: &F, erased: &[Pseudonym]) -> io::Result<u64> {
        let is_theirs = |subject| erased.contains(&subject);
        let keys = match fs.read(layout::SUBJECT_KEYS, u64::MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            keys => keys?,
        };
        let rows: Vec<SubjectKey> = rows(&keys).collect();
        let with_key: HashSet<Pseudonym> =
            rows.iter().map(|row| row.subject).filter(|subject| is_theirs(*subject)).collect();
        if with_key.is_empty() {
            return Ok(0);
        }
        let names = fs.read(layout::SEALED_NAMES, u64::MAX)?;
        let sealed = self::rows::<SealedName>(&names).filter(|row| with_key.contains(&row.subject)).count();
        // A torn line is of no use to anybody and may be of theirs: it goes too.
        let kept = rows.iter().filter(|row| !is_theirs(row.subject));
        let text: String = kept.filter_map(|row| Some(serde_json::to_string(row).ok()? + "\n")).collect();
        let text = zeroize::Zeroizing::new(text);
        let keys = zeroize::Zeroizing::new(keys);
        // The file that is open for appending is about to be another one.
        self.files = None;
        replace(fs, layout::SUBJECT_KEYS, text.as_bytes(), true)?;
        drop(keys);
        for subject in &with_key {
            self.sealed.remove(subject);
        }
        Ok(sealed as u64)
    }

    /// Whether nothing of `subject` is sealed any more, for good.
    pub(crate) fn is_erased(&self, subject: Pseudonym) -> bool {
        self.erased.contains(&subject)
    }

    /// Writes down, durably, that `subject` is erased: no name is sealed for that pseudonym again. Returns the bytes
    /// that this takes.
    pub(crate) fn remember_erased(&mut self, fs: &F, subject: Pseudonym) -> io::Result<u64> {
        let row = serde_json::to_string(&ErasedRow { v: 1, subject })? + "\n";
        let file = open_table(fs, layout::ERASED, false)?;
        write_all(&file, row.as_bytes()).1?;
        file.sync()?;
        fs.sync_dir()?;
        self.erased.insert(subject);
        Ok(row.len() as u64)
    }

    /// The files that an fsync must cover, where they are open.
    pub(crate) fn files(&self) -> impl Iterator<Item = Arc<F::File>> {
        self.files.iter().flat_map(|tables| [tables.keys.clone(), tables.names.clone()])
    }
}

/// Opens a table for appending, after a line feed where its last line is torn.
fn open_table<F: Fs>(fs: &F, name: &str, private: bool) -> io::Result<F::File> {
    let file = match fs.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return fs.create(name, private),
        Err(error) => return Err(error),
    };
    let content = fs.read(name, MAX_STATE)?;
    if content.last().is_some_and(|byte| *byte != b'\n') {
        write_all(&file, b"\n").1?;
    }
    Ok(file)
}

fn lines<F: Fs, T: serde::de::DeserializeOwned>(fs: &F, name: &str) -> Vec<T> {
    rows(&fs.read(name, MAX_STATE).unwrap_or_default()).collect()
}

fn rows<T: serde::de::DeserializeOwned>(content: &[u8]) -> impl Iterator<Item = T> {
    content.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}
