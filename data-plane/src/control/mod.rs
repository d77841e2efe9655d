//! A gateway with a control plane: what is pushed to it, and what it enforces while nobody can be reached.
//!
//! | part | what it does |
//! |---|---|
//! | [`session`] | the life of the connection, as a state machine |
//! | [`client`] | the channel, the token, bodies by digest |
//! | [`link`] | drives the two, and speaks the protocol |
//! | [`packs`], [`keys`] | take the two documents: verify, compile, swap, keep |
//! | [`apply`] | whether a document is taken: one path for what is sent and for what is on disk |
//! | [`lkg`] | last known good, on disk |
//! | [`status`] | what people and machines are shown |
//!
//! Three tasks: the link, the packs and the keys; a pack that takes its time to compile holds up neither a heartbeat
//! nor the revocation of a key. Offers go to a task through a place for one: what was not begun is replaced by what is
//! newer. A document is in force, then kept, then `Applied` is said; what keeps it off the disk is said too, and tried
//! again, but does not keep a policy from being enforced.

pub(crate) mod apply;
pub(crate) mod client;
mod keys;
mod link;
pub(crate) mod lkg;
mod packs;
pub(crate) mod session;
pub(crate) mod status;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use kt_audit::Digest;
use kt_proto::{signed, v1};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{
    apply::{Memory, Rejection, Rules, Standing},
    client::Client,
    link::Link,
    lkg::{Lkg, StateError, Which},
    status::{ControlStatus, InForce, Source},
};
use crate::{
    active::Active,
    identity::keys::KeySet,
    pack_source::PackSource,
    settings::{ControlSettings, Settings},
    shared::Shared,
};

/// Answers that wait for the link to send them.
const ANSWERS: usize = 4;

/// A document that a gateway holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) generation: u64,
    /// Of the statement.
    pub(crate) digest: Digest,
}

/// What the control plane offers.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    /// The connection that it came by.
    connection: u64,
    nonce: u64,
    /// What the statement says before it is verified.
    claimed: Held,
    signed: v1::SignedStatement,
    features: Vec<v1::Feature>,
    client: Client,
}

/// What became of an offer.
#[derive(Debug)]
pub(crate) struct Answer {
    document: v1::Document,
    connection: u64,
    nonce: u64,
    claimed: Held,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    /// It is in force.
    Applied,
    /// What was in force stays.
    Rejected(Rejection),
    /// A body could not be had; another connection may have it.
    NoBody(String),
}

impl Offer {
    fn answer(&self, document: v1::Document, outcome: Outcome) -> Answer {
        let Self { connection, nonce, claimed, .. } = *self;
        Answer { document, connection, nonce, claimed, outcome }
    }
}

/// The version of this build, and a digest of what it can enforce: a statement that one build refuses is not offered
/// to it again.
pub(crate) fn build() -> &'static str {
    static BUILD: OnceLock<String> = OnceLock::new();
    BUILD.get_or_init(|| {
        let features = Digest::of(kt_policy::features::supported().join("\n").as_bytes()).to_string();
        format!("{}+{}", env!("CARGO_PKG_VERSION"), features.get(..8).unwrap_or_default())
    })
}

/// Why a gateway with a control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The address of the control plane.
    #[error("{0}")]
    Address(String),
    /// More signers are asked for than there are trusted keys.
    #[error("{threshold} signers are asked for, and {keys} keys are trusted: nothing would ever be taken")]
    Threshold {
        /// How many are asked for.
        threshold: usize,
        /// How many there are.
        keys: usize,
    },
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The control plane of a gateway that is about to start.
#[derive(Debug)]
pub(crate) struct Control {
    settings: ControlSettings,
    lkg: Arc<Lkg>,
    gateway_id: Uuid,
    keys: Arc<ArcSwapOption<KeySet>>,
    status: Arc<ControlStatus>,
    rules: Rules,
}

impl Control {
    /// Checks the settings and opens the state directory.
    pub(crate) fn open(settings: &ControlSettings) -> Result<Self, ControlError> {
        client::check_url(settings).map_err(ControlError::Address)?;
        let (threshold, keys) = (settings.trust.threshold, settings.trust.keys.len());
        if threshold > keys {
            return Err(ControlError::Threshold { threshold, keys });
        }
        let dir = &settings.state_dir;
        let lkg = Lkg::open(dir)?;
        let gateway_id = lkg.gateway_id().map_err(|error| StateError::Io { dir: dir.clone(), error })?;
        Ok(Self {
            lkg: Arc::new(lkg),
            gateway_id,
            keys: Arc::new(ArcSwapOption::empty()),
            status: Arc::new(ControlStatus::new(settings)),
            rules: Rules { fleet: settings.fleet.clone(), trust: settings.trust.clone() },
            settings: settings.clone(),
        })
    }

    /// The keys in force.
    pub(crate) fn keys(&self) -> Arc<ArcSwapOption<KeySet>> {
        Arc::clone(&self.keys)
    }

    /// Who this gateway is, over restarts.
    pub(crate) fn gateway_id(&self) -> Uuid {
        self.gateway_id
    }

    pub(crate) fn status(&self) -> Arc<ControlStatus> {
        Arc::clone(&self.status)
    }

    /// Takes what is on disk, by the same path as what is sent: the newest of each that stands. What does not is said
    /// loudly and, unless other settings would let it stand, put out of the way.
    pub(crate) fn load(&self, source: &mut PackSource, settings: &Settings) -> Option<Active> {
        let mut saved = None;
        let keys = self.first_good(v1::Document::KeySet, &mut saved, |signed| {
            let statement = self.verify_kept(signed)?;
            apply::keys(statement, None)
        });
        if let Some(keys) = keys {
            self.keys.store(Some(Arc::new(keys)));
        }
        let active = self.first_good(v1::Document::Assignment, &mut saved, |signed| {
            let statement: v1::AssignmentStatement = self.verify_kept(signed)?;
            let (pack, digest) = apply::only_pack(&statement)?;
            let bytes = self.lkg.body(&digest).ok_or_else(|| {
                let message = format!("the source of `{pack}` is not in the state directory");
                Rejection::new(v1::Stage::Fetch, "body_missing", message, Memory::None)
            })?;
            apply::compile(source, settings, &pack, statement.generation, &bytes)
        });
        if let Some(heard) = self.lkg.contact().max(saved) {
            let ago = Timestamp::now().duration_since(heard);
            self.status.heard_before_start(ago.try_into().unwrap_or_default());
        }
        active
    }

    fn verify_kept<S: signed::Statement>(&self, signed: &v1::SignedStatement) -> Result<S, Rejection> {
        match apply::verify(signed, &self.rules, None, None)? {
            Standing::New(statement) => Ok(statement),
            // Nothing is held, so nothing is the same.
            Standing::Same => Err(Rejection::new(v1::Stage::Signature, "held", "it is held", Memory::None)),
        }
    }

    fn first_good<T>(
        &self,
        document: v1::Document,
        saved: &mut Option<Timestamp>,
        mut take: impl FnMut(&v1::SignedStatement) -> Result<T, Rejection>,
    ) -> Option<T> {
        for which in [Which::Current, Which::Previous] {
            let (fault, is_for_good) = match self.lkg.load(document, which) {
                None => continue,
                Some(Err(bad)) => (bad.to_string(), true),
                Some(Ok(kept)) => match take(&kept.signed) {
                    Ok(taken) => {
                        let held = Held { generation: kept.generation, digest: signed::digest(&kept.signed) };
                        let in_force = InForce {
                            held,
                            source: Source::Disk,
                            since: Timestamp::now(),
                            signers: status::signers(&self.rules.trust, &kept.signed),
                        };
                        self.status.in_force(document).store(Some(Arc::new(in_force)));
                        *saved = (*saved).max(Some(kept.saved));
                        let document = name(document);
                        tracing::info!(
                            document,
                            generation = kept.generation,
                            saved = %kept.saved,
                            "Last known good is in force."
                        );
                        return Some(taken);
                    }
                    Err(rejection) => (rejection.summary(), rejection.stage != v1::Stage::Bind),
                },
            };
            tracing::error!(document = name(document), ?which, fault, "Last known good is not taken.");
            let told = format!("the kept {} is not taken: {fault}", name(document));
            self.status.set_disk_fault(document, Some(told));
            if is_for_good && let Err(error) = self.lkg.set_aside(document, which) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(document = name(document), error, "Bad file can't be put out of the way.");
            }
        }
        None
    }

    /// Begins to speak with the control plane.
    pub(crate) fn spawn(
        self,
        shared: &Arc<Shared>,
        source: PackSource,
        reload: Arc<Notify>,
        stop: CancellationToken,
    ) {
        let (answer, answers) = mpsc::channel(ANSWERS);
        let (pack_offer, pack_offers) = watch::channel(None);
        let (key_offer, key_offers) = watch::channel(None);
        let packs = packs::Packs {
            shared: Arc::clone(shared),
            status: Arc::clone(&self.status),
            lkg: Arc::clone(&self.lkg),
            rules: self.rules.clone(),
            answers: answer.clone(),
            reload,
        };
        let keys = keys::Keys {
            shared: Arc::clone(shared),
            status: Arc::clone(&self.status),
            lkg: Arc::clone(&self.lkg),
            rules: self.rules,
            answers: answer,
            keys: Arc::clone(&self.keys),
        };
        let link = Link::new(
            Arc::clone(shared),
            self.settings,
            self.lkg,
            self.status,
            self.gateway_id,
            self.keys,
            link::Ends { packs: pack_offer, keys: key_offer, answers },
        );
        let until = stop.clone();
        shared.tasks.spawn(async move { until.run_until_cancelled(packs.run(source, pack_offers)).await });
        let until = stop.clone();
        shared.tasks.spawn(async move { until.run_until_cancelled(keys.run(key_offers)).await });
        shared.tasks.spawn(async move { stop.run_until_cancelled(link.run()).await });
    }
}

/// The name of a document in logs, metrics and messages.
pub(crate) const fn name(document: v1::Document) -> &'static str {
    match document {
        v1::Document::KeySet => "key set",
        v1::Document::Assignment | v1::Document::Unspecified => "assignment",
    }
}
