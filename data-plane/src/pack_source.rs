//! The pack file, watched: read, compiled, bound, put in force; and the key file and secrets beside it.
//!
//! One task owns all of this and is the only one that swaps anything. A file that is bad in any way changes nothing: the
//! pack (the keys, the credential) that was good stays in force, and readiness says why it is not the newest.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use kt_audit::{
    Digest, Label,
    record::{Body, Config, ConfigAction},
};
use kt_policy::{
    compiled::{CompiledPack, CompiledTarget},
    detect,
    diag::Diagnostic,
    evaluate::ModelLimits as _,
    models::ModelTable,
    verdict::PolicyKind,
};
use sha2::{Digest as _, Sha256};

use crate::{
    active::{self, Active, AuditPlan, TargetRuntime},
    identity::keys::{KeySet, KeysError},
    load::{self, BoundTarget, Refused},
    metrics::{Metrics, PackLabels},
    pipeline::{pack_ref, retention},
    secrets::{SecretSource, Secrets},
    settings::{Origin, Settings},
    shared::Shared,
    upstream::client::Clients,
    watch_file::{Look, WatchedFile},
};

/// Packs have a budget of their own; this only keeps a wrong file from being read into memory.
pub(crate) const MAX_PACK_BYTES: u64 = 8 * 1024 * 1024;
/// Room for some hundred thousand keys.
const MAX_KEYS_BYTES: u64 = 64 * 1024 * 1024;

/// Why a pack is not put in force.
#[derive(Debug, thiserror::Error)]
pub enum PackFault {
    /// The file cannot be read.
    #[error("the pack `{path}` can't be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The pack is not valid, or cannot be bound here.
    #[error("the pack `{path}` has {}", errors(findings))]
    Findings {
        /// The file.
        path: PathBuf,
        /// Everything that was found, warnings included.
        findings: Vec<Diagnostic>,
        /// The source, for whoever shows the findings.
        source_bytes: Vec<u8>,
    },
    /// `enabled: false`.
    #[error("the pack `{pack}` says `enabled: false` and is not served")]
    Disabled {
        /// `name@version`.
        pack: String,
    },
    /// The pack wants records and there is nowhere to write them.
    #[error(
        "the pack `{pack}` has `audit-logger` in its chain, and this gateway has no audit directory: name one"
    )]
    NoAuditLog {
        /// `name@version`.
        pack: String,
    },
    /// No HTTP client.
    #[error("no HTTP client for the target `{target}`")]
    Client {
        /// The target.
        target: String,
        /// Why.
        #[source]
        error: reqwest::Error,
    },
    /// The address of a target is none.
    #[error("the address of the target `{target}` is malformed")]
    Address {
        /// The target.
        target: String,
    },
}

fn errors(findings: &[Diagnostic]) -> String {
    match findings.iter().filter(|finding| finding.is_error()).count() {
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    }
}

impl PackFault {
    /// The codes of what stood against the pack.
    pub(crate) fn codes(&self) -> Vec<String> {
        match self {
            Self::Findings { findings, .. } => {
                let mut codes: Vec<String> =
                    findings.iter().map(|finding| finding.code.to_string()).collect();
                codes.sort_unstable();
                codes.dedup();
                codes
            }
            Self::Read { .. } => vec!["unreadable".to_owned()],
            Self::Disabled { .. } => vec![kt_policy::codes::PACK_DISABLED.to_string()],
            Self::NoAuditLog { .. } => vec!["no_audit_log".to_owned()],
            Self::Client { .. } | Self::Address { .. } => vec!["target".to_owned()],
        }
    }
}

/// Why the keys file is not put in force.
#[derive(Debug, thiserror::Error)]
pub enum KeysFault {
    /// The file cannot be read.
    #[error("the keys file `{path}` can't be read: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not a keys file.
    #[error("the keys file `{path}` is refused: {error}")]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        error: KeysError,
    },
}

/// The files and what was made of them.
#[derive(Debug)]
pub(crate) struct PackSource {
    /// Absent where packs come from a control plane.
    pack: Option<WatchedFile>,
    keys: Option<(WatchedFile, Arc<ArcSwapOption<KeySet>>)>,
    models: Arc<ModelTable>,
    secrets: Secrets,
    clients: Clients,
}

impl PackSource {
    /// `extra_roots`: certificates that are trusted beside the system's when targets are asked.
    pub(crate) fn new(
        settings: &Settings,
        models: ModelTable,
        extra_roots: Vec<reqwest::Certificate>,
    ) -> Self {
        let keys = settings
            .identity
            .keys_file
            .as_ref()
            .map(|path| (WatchedFile::new(path, MAX_KEYS_BYTES), Arc::new(ArcSwapOption::empty())));
        Self {
            pack: match &settings.origin {
                Origin::File(path) => Some(WatchedFile::new(path, MAX_PACK_BYTES)),
                Origin::ControlPlane(_) => None,
            },
            keys,
            models: Arc::new(models),
            secrets: Secrets::default(),
            clients: Clients::new(settings.proxy_from_environment, extra_roots),
        }
    }

    /// The keys in force; absent when no keys file is configured.
    pub(crate) fn keys(&self) -> Option<Arc<ArcSwapOption<KeySet>>> {
        self.keys.as_ref().map(|(_, keys)| Arc::clone(keys))
    }

    /// Reads the pack for the first time. `None`: it does not come from a file.
    pub(crate) fn first_pack(&mut self, settings: &Settings) -> Option<Result<Active, PackFault>> {
        let pack = self.pack.as_mut()?;
        Some(match pack.look() {
            Look::Changed(bytes) => self.activate(&bytes, settings),
            Look::Unchanged => self.activate(&[], settings),
            Look::Failed(error) => Err(PackFault::Read { path: pack.path().to_owned(), error }),
        })
    }

    /// Reads the credentials of targets again that are in files.
    pub(crate) fn refresh_secrets(&mut self) {
        self.secrets.refresh();
    }

    /// Looks at the keys file. `None`: nothing new.
    pub(crate) fn look_at_keys(&mut self) -> Option<Result<usize, KeysFault>> {
        let (file, keys) = self.keys.as_mut()?;
        match file.look() {
            Look::Unchanged => None,
            Look::Failed(error) => Some(Err(KeysFault::Read { path: file.path().to_owned(), error })),
            Look::Changed(bytes) => Some(match KeySet::parse(&bytes) {
                Ok(set) => {
                    let count = set.len();
                    keys.store(Some(Arc::new(set)));
                    Ok(count)
                }
                Err(error) => Err(KeysFault::Keys { path: file.path().to_owned(), error }),
            }),
        }
    }

    /// Looks at every file and puts in force what is new and good. Returns what is to be recorded of the pack.
    pub(crate) fn look(&mut self, shared: &Shared) -> Option<Body> {
        self.secrets.refresh();
        match self.look_at_keys() {
            None => {}
            Some(Ok(count)) => {
                Metrics::result(&shared.metrics.key_loads, "accepted");
                shared.metrics.keys.set(i64::try_from(count).unwrap_or(i64::MAX));
                shared.keys_fault.store(None);
                tracing::info!(keys = count, "Gateway keys are in force.");
            }
            Some(Err(error)) => {
                let text = error.to_string();
                // A file that stays unreadable is said once, not every second.
                if shared.keys_fault.load().as_deref() != Some(&text) {
                    Metrics::result(&shared.metrics.key_loads, "refused");
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "Gateway keys are not taken; the old ones stay."
                    );
                    shared.keys_fault.store(Some(Arc::new(text)));
                }
            }
        }
        self.look_at_pack(shared)
    }

    fn look_at_pack(&mut self, shared: &Shared) -> Option<Body> {
        let (result, digest) = match self.pack.as_mut()?.look() {
            Look::Unchanged => return None,
            Look::Changed(bytes) => {
                let digest = Digest(Sha256::digest(&bytes).into());
                if shared.active.load().as_ref().is_some_and(|active| active.pack.id.digest == digest.0) {
                    // The old bytes are back: they are in force.
                    shared.pack_fault.store(None);
                    return None;
                }
                (self.activate(&bytes, &shared.settings), digest)
            }
            Look::Failed(error) => (Err(PackFault::Read { path: self.name(), error }), Digest::ZERO),
        };
        let config = match result {
            Ok(active) => {
                let pack = pack_ref(&active);
                put_in_force(shared, active);
                Config { action: ConfigAction::Activated, pack: Some(pack), digest, reasons: Vec::new() }
            }
            Err(fault) => {
                let text = fault.to_string();
                if shared.pack_fault.load().as_deref() == Some(&text) && digest.is_zero() {
                    return None;
                }
                Metrics::result(&shared.metrics.pack_loads, "refused");
                let codes = fault.codes();
                tracing::error!(
                    error = &fault as &dyn std::error::Error,
                    codes = codes.join(" "),
                    "Pack is not taken; the old one stays in force."
                );
                shared.pack_fault.store(Some(Arc::new(text)));
                let reasons = codes.iter().map(Label::from).collect();
                Config { action: ConfigAction::Refused, pack: None, digest, reasons }
            }
        };
        Some(Body::Config(Box::new(config)))
    }

    /// The file of the pack, for messages.
    fn name(&self) -> PathBuf {
        self.pack.as_ref().map_or_else(|| PathBuf::from("pushed pack"), |pack| pack.path().to_owned())
    }

    /// From bytes to a pack that can serve.
    pub(crate) fn activate(&mut self, bytes: &[u8], settings: &Settings) -> Result<Active, PackFault> {
        let path = self.name();
        let loaded = load::load(bytes, &settings.bind, &self.models).map_err(|refused| match refused {
            Refused::Findings(findings) => {
                PackFault::Findings { path, findings, source_bytes: bytes.to_vec() }
            }
            Refused::Disabled { pack } => PackFault::Disabled { pack },
        })?;
        let pack = loaded.pack;
        let id = pack.id.to_string();
        let audit = pack.audit.as_ref().map(|logger| AuditPlan {
            durability: logger.durability,
            log_all_access: logger.log_all_access,
            retention: retention(logger),
        });
        if audit.is_some() && settings.audit.is_none() {
            return Err(PackFault::NoAuditLog { pack: id });
        }
        for warning in &loaded.warnings {
            let (code, path) = (tracing::field::display(&warning.code), &*warning.path);
            tracing::warn!(code, path, warning = warning.message, "Pack has a warning.");
        }
        let mut used = Vec::new();
        let mut targets = Vec::with_capacity(pack.targets.len());
        for (target, bound) in pack.targets.iter().zip(&loaded.targets) {
            used.extend(bound.secret.clone());
            targets.push(self.target(target, bound)?);
        }
        self.secrets.retain(&used);
        Ok(Active {
            id,
            targets,
            models: Arc::clone(&self.models),
            price_table: load::table_version(&self.models),
            detectors: detectors(&pack),
            audit,
            generation: None,
            since: Timestamp::now(),
            pack: Arc::new(pack),
        })
    }

    fn target(&mut self, target: &CompiledTarget, bound: &BoundTarget) -> Result<TargetRuntime, PackFault> {
        let address = || PackFault::Address { target: target.id.to_string() };
        let urls = active::urls(&bound.base_url).map_err(|_| address())?;
        let [first, ..] = &urls;
        let client = self
            .clients
            .get(first, target.connect_timeout)
            .map_err(|error| PackFault::Client { target: target.id.to_string(), error })?;
        let lookup = |name: &str| std::env::var(name).ok();
        let secret = bound.secret.as_ref().map(|source: &SecretSource| self.secrets.get(source, &lookup));
        if let Some(fault) = secret.as_ref().and_then(|secret| secret.fault()) {
            tracing::warn!(
                target = &*target.id,
                error = &fault as &dyn std::error::Error,
                "Target is unavailable until its credential is good."
            );
        }
        Ok(TargetRuntime {
            id: Arc::clone(&target.id),
            model: Arc::clone(&target.model),
            client,
            urls,
            secret,
            is_overridden: bound.is_overridden,
            first_byte_timeout: target.first_byte_timeout,
            total_timeout: target.total_timeout,
            stream_idle_timeout: target.stream_idle_timeout,
            client_request_id: target.client_request_id,
            include_usage: target.include_usage,
            refuses_usage: AtomicBool::new(false),
            refuses_token_bound: AtomicBool::new(self.models.refuses_token_parameter(&target.model)),
            notice: load::notice(&self.models, &target.model),
        })
    }
}

/// Digests of the detectors in the chain of a pack.
fn detectors(pack: &CompiledPack) -> BTreeMap<Label, Digest> {
    let digest = |kind: PolicyKind| Some((Label::new(kind.as_str()), Digest(*detect::digest(kind)?)));
    pack.chain.iter().filter_map(|entry| digest(entry.kind)).collect()
}

/// Swaps the pack and says so.
pub(crate) fn put_in_force(shared: &Shared, active: Active) {
    let id = active.id.clone();
    let digest = hex::encode(active.pack.id.digest);
    announce(&shared.metrics, &active);
    shared.active.store(Some(Arc::new(active)));
    shared.pack_fault.store(None);
    tracing::info!(pack = id, digest, "Pack is in force.");
}

/// Counts a pack as taken and names it in the metrics.
pub(crate) fn announce(metrics: &Metrics, active: &Active) {
    Metrics::result(&metrics.pack_loads, "accepted");
    metrics.pack.clear();
    metrics.upstream_up.clear();
    let id = &active.pack.id;
    let labels = PackLabels {
        name: Arc::clone(&id.name),
        version: id.version.to_string(),
        digest: hex::encode(id.digest),
    };
    metrics.pack.get_or_create(&labels).set(1);
}
