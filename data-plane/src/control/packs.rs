//! The task that takes assignments, and looks after the credentials of the targets that they bring.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kt_audit::{
    Digest, Label,
    record::{Body, Config, ConfigAction},
};
use kt_proto::{signed, v1};
use tokio::sync::{Notify, mpsc, watch};

use super::{
    Answer, Offer, Outcome,
    apply::{self, Memory, Rejection, Rules, Standing},
    client::NoBody,
    lkg::Lkg,
    status::{self, ControlStatus, InForce, Source},
};
use crate::{
    active::Active,
    gateway::record_config,
    metrics::Metrics,
    pack_source::{PackSource, put_in_force},
    pipeline::pack_ref,
    shared::Shared,
};

/// Waits between attempts to fetch a body over one connection.
const FETCH_WAITS: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(2)];

pub(crate) struct Packs {
    pub(crate) shared: Arc<Shared>,
    pub(crate) status: Arc<ControlStatus>,
    pub(crate) lkg: Arc<Lkg>,
    pub(crate) rules: Rules,
    pub(crate) answers: mpsc::Sender<Answer>,
    pub(crate) reload: Arc<Notify>,
}

/// A statement in force that is not on disk yet.
type Unsaved = Option<Box<Kept>>;

/// What is to be on disk.
struct Kept {
    generation: u64,
    signed: v1::SignedStatement,
    digest: Digest,
    body: Vec<u8>,
}

/// A fetched body, or why there is none.
enum Fetched {
    Body(v1::PackRef, Digest, Vec<u8>),
    Rejected(Rejection),
    Broken(String),
}

impl Packs {
    pub(crate) async fn run(self, mut source: PackSource, mut offers: watch::Receiver<Option<Offer>>) {
        let mut unsaved: Unsaved = None;
        let mut tick = tokio::time::interval(self.shared.settings.reload_interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = offers.changed() => match changed {
                    Ok(()) => {}
                    Err(_) => return,
                },
                () = self.reload.notified() => {
                    let Some(again) = refresh(source).await else { return };
                    source = again;
                    continue;
                }
                _ = tick.tick() => {
                    let Some(again) = refresh(source).await else { return };
                    source = again;
                    if let Some(kept) = unsaved.take() {
                        unsaved = self.keep(kept).await;
                    }
                    continue;
                }
            }
            let offer = offers.borrow_and_update().clone();
            let Some(offer) = offer else { continue };
            let Some(again) = self.take(offer, source, &mut offers, &mut unsaved).await else { return };
            source = again;
        }
    }

    /// Takes an offer or refuses it. `None`: the source is lost, and with it this task.
    async fn take(
        &self,
        offer: Offer,
        source: PackSource,
        offers: &mut watch::Receiver<Option<Offer>>,
        unsaved: &mut Unsaved,
    ) -> Option<PackSource> {
        let held = self.status.assignment.load().as_ref().map(|in_force| in_force.held);
        let now = Timestamp::now().as_microsecond();
        let statement = match apply::verify(&offer.signed, &self.rules, held, Some(now)) {
            Ok(Standing::Same) => {
                self.answer(&offer, Outcome::Applied).await;
                return Some(source);
            }
            Ok(Standing::New(statement)) => statement,
            Err(rejection) => {
                self.reject(&offer, rejection).await;
                return Some(source);
            }
        };
        let fetched = tokio::select! {
            fetched = self.fetch(&offer, &statement) => fetched,
            // A newer offer has come: the control plane has replaced this one, and waits for no answer.
            () = has_changed(offers) => return Some(source),
        };
        let (pack, digest, bytes) = match fetched {
            Fetched::Body(pack, digest, bytes) => (pack, digest, bytes),
            Fetched::Rejected(rejection) => {
                self.reject(&offer, rejection).await;
                return Some(source);
            }
            Fetched::Broken(error) => {
                self.answer(&offer, Outcome::NoBody(error)).await;
                return Some(source);
            }
        };
        let (shared, lkg, generation) =
            (Arc::clone(&self.shared), Arc::clone(&self.lkg), statement.generation);
        let work = move || {
            let mut source = source;
            let result = apply::compile(&mut source, &shared.settings, &pack, generation, &bytes);
            // A disk that fails is found again when the statement is kept: it must not keep a policy from being enforced.
            if result.is_ok() && lkg.put_body(&digest, &bytes).is_err() {
                tracing::warn!(digest = %digest, "Pack can't be written to the state directory.");
            }
            (source, result, bytes)
        };
        let Ok((source, result, body)) = tokio::task::spawn_blocking(work).await else {
            tracing::error!("Assignments are not taken any more.");
            return None;
        };
        match result {
            Ok(active) => {
                self.put_in_force(&offer, active).await;
                let signed = offer.signed.clone();
                *unsaved = self.keep(Box::new(Kept { generation, signed, digest, body })).await;
                self.answer(&offer, Outcome::Applied).await;
            }
            Err(rejection) => self.reject(&offer, rejection).await,
        }
        Some(source)
    }

    /// The source of the one pack that a statement names: from disk, else from the control plane.
    async fn fetch(&self, offer: &Offer, statement: &v1::AssignmentStatement) -> Fetched {
        let checked = apply::only_pack(statement)
            .and_then(|(pack, digest)| apply::knows(&offer.features).map(|()| (pack, digest)));
        let (pack, digest) = match checked {
            Ok(checked) => checked,
            Err(rejection) => return Fetched::Rejected(rejection),
        };
        let lkg = Arc::clone(&self.lkg);
        if let Ok(Some(bytes)) = tokio::task::spawn_blocking(move || lkg.body(&digest)).await {
            return Fetched::Body(pack, digest, bytes);
        }
        let mut client = offer.client.clone();
        let mut waits = FETCH_WAITS.iter();
        loop {
            match client.fetch(digest).await {
                Ok(bytes) => {
                    return match apply::fits(&pack, &digest, &bytes) {
                        Ok(()) => Fetched::Body(pack, digest, bytes),
                        Err(rejection) => Fetched::Rejected(rejection),
                    };
                }
                Err(NoBody::Refused(refusal)) => {
                    let message = format!("`{pack}` can't be fetched: {}", refusal.message);
                    let (stage, code) = (v1::Stage::Fetch, refusal.code.as_str());
                    return Fetched::Rejected(Rejection::new(stage, code, message, Memory::None));
                }
                Err(NoBody::TooLarge) => {
                    let message = format!("`{pack}` has more than {} bytes", apply::MAX_PACK);
                    let (stage, code) = (v1::Stage::Limits, "pack_too_large");
                    return Fetched::Rejected(Rejection::new(stage, code, message, Memory::None));
                }
                Err(NoBody::Broken(error)) => match waits.next() {
                    Some(wait) => tokio::time::sleep(*wait).await,
                    None => return Fetched::Broken(error),
                },
            }
        }
    }

    /// Swaps the pack, and records that.
    async fn put_in_force(&self, offer: &Offer, active: Active) {
        let config = Config {
            action: ConfigAction::Activated,
            pack: Some(pack_ref(&active)),
            digest: Digest(active.pack.id.digest),
            reasons: Vec::new(),
        };
        let in_force = InForce {
            held: offer.claimed,
            source: Source::Live,
            since: Timestamp::now(),
            signers: status::signers(&self.rules.trust, &offer.signed),
        };
        put_in_force(&self.shared, active);
        self.status.assignment.store(Some(Arc::new(in_force)));
        tracing::info!(generation = offer.claimed.generation, "Assignment is in force.");
        record_config(&self.shared, Body::Config(Box::new(config))).await;
    }

    /// Keeps an assignment on disk. What could not be kept is given back.
    async fn keep(&self, kept: Box<Kept>) -> Unsaved {
        let (lkg, fleet) = (Arc::clone(&self.lkg), self.rules.fleet.clone());
        let work = move || {
            let Kept { generation, signed, digest, body } = &*kept;
            let result = lkg
                .put_body(digest, body)
                .and_then(|()| lkg.keep(v1::Document::Assignment, &fleet, *generation, signed));
            if result.is_ok()
                && let Err(error) = lkg.prune()
            {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "Packs that nothing names any more can't be removed.");
            }
            (result, kept)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok((Ok(()), _)) => {
                self.status.set_disk_fault(v1::Document::Assignment, None);
                None
            }
            Ok((Err(error), kept)) => {
                self.status.cannot_keep(v1::Document::Assignment, &error);
                Some(kept)
            }
            // The process ends.
            Err(_) => None,
        }
    }

    async fn reject(&self, offer: &Offer, rejection: Rejection) {
        let document = v1::Document::Assignment;
        self.shared.metrics.rejection(super::name(document), rejection.stage.word());
        Metrics::result(&self.shared.metrics.pack_loads, "refused");
        let (generation, summary) = (offer.claimed.generation, rejection.summary());
        let codes = rejection.codes();
        tracing::error!(
            generation,
            codes = codes.join(" "),
            why = summary,
            "Assignment is not taken; what is in force stays."
        );
        let fault = format!("generation {generation} is refused: {summary}");
        self.shared.pack_fault.store(Some(Arc::new(fault)));
        let config = Config {
            action: ConfigAction::Refused,
            pack: None,
            digest: pack_digest(&offer.signed),
            reasons: codes.iter().map(Label::from).collect(),
        };
        record_config(&self.shared, Body::Config(Box::new(config))).await;
        self.answer(offer, Outcome::Rejected(rejection)).await;
    }

    async fn answer(&self, offer: &Offer, outcome: Outcome) {
        // The link is gone only when the process ends.
        let _ = self.answers.send(offer.answer(v1::Document::Assignment, outcome)).await;
    }
}

/// The digest of the pack in a statement that may be forged: for the record of its refusal alone.
fn pack_digest(signed: &v1::SignedStatement) -> Digest {
    let statement = signed::read::<v1::AssignmentStatement>(signed).ok();
    let digest = statement.and_then(|statement| statement.packs.first()?.digest.as_slice().try_into().ok());
    digest.map_or_else(|| signed::digest(signed), Digest)
}

/// Ready when there is a newer offer, which stays unseen; never when nothing is to come any more.
async fn has_changed(offers: &mut watch::Receiver<Option<Offer>>) {
    if offers.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    offers.mark_changed();
}

/// Looks at the files of credentials.
async fn refresh(source: PackSource) -> Option<PackSource> {
    let work = move || {
        let mut source = source;
        source.refresh_secrets();
        source
    };
    tokio::task::spawn_blocking(work).await.ok()
}
