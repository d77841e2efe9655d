//! The task that takes key sets. Small and by itself: nothing that a pack does holds up a revocation.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use kt_proto::v1;
use tokio::sync::{mpsc, watch};

use super::{
    Answer, Offer, Outcome,
    apply::{self, Memory, Rejection, Rules, Standing},
    lkg::Lkg,
    status::{self, ControlStatus, InForce, Source},
};
use crate::{identity::keys::KeySet, metrics::Metrics, shared::Shared};

/// How long after a failure the disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) struct Keys {
    pub(crate) shared: Arc<Shared>,
    pub(crate) status: Arc<ControlStatus>,
    pub(crate) lkg: Arc<Lkg>,
    pub(crate) rules: Rules,
    pub(crate) answers: mpsc::Sender<Answer>,
    pub(crate) keys: Arc<ArcSwapOption<KeySet>>,
}

/// A statement in force that is not on disk yet.
type Unsaved = Option<(u64, v1::SignedStatement)>;

impl Keys {
    pub(crate) async fn run(self, mut offers: watch::Receiver<Option<Offer>>) {
        let mut unsaved: Unsaved = None;
        loop {
            tokio::select! {
                changed = offers.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RETRY), if unsaved.is_some() => {
                    if let Some((generation, signed)) = unsaved.take() {
                        unsaved = self.keep(generation, signed).await;
                    }
                    continue;
                }
            }
            let offer = offers.borrow_and_update().clone();
            let Some(offer) = offer else { continue };
            let held = self.status.key_set.load().as_ref().map(|in_force| in_force.held);
            let now = Timestamp::now().as_microsecond();
            let before = self.keys.load_full();
            let (signed, rules) = (offer.signed.clone(), self.rules.clone());
            // A large set takes its time.
            let work = move || match apply::verify(&signed, &rules, held, Some(now))? {
                Standing::Same => Ok(None),
                Standing::New(statement) => apply::keys(statement, before.as_deref()).map(Some),
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(Some(set))) => {
                    self.put_in_force(&offer, set);
                    unsaved = self.keep(offer.claimed.generation, offer.signed.clone()).await;
                    self.answer(&offer, Outcome::Applied).await;
                }
                Ok(Ok(None)) => self.answer(&offer, Outcome::Applied).await,
                Ok(Err(rejection)) => self.reject(&offer, rejection).await,
                Err(_) => {
                    let message =
                        "this build failed on the key set: that is a fault of the gateway, report it";
                    let (stage, code) = (v1::Stage::Compile, "compile_panicked");
                    self.reject(&offer, Rejection::new(stage, code, message, Memory::Build)).await;
                }
            }
        }
    }

    fn put_in_force(&self, offer: &Offer, set: KeySet) {
        let count = set.len();
        let generation = offer.claimed.generation;
        self.keys.store(Some(Arc::new(set)));
        let in_force = InForce {
            held: offer.claimed,
            source: Source::Live,
            since: Timestamp::now(),
            signers: status::signers(&self.rules.trust, &offer.signed),
        };
        self.status.key_set.store(Some(Arc::new(in_force)));
        self.shared.keys_fault.store(None);
        Metrics::result(&self.shared.metrics.key_loads, "accepted");
        self.shared.metrics.keys.set(i64::try_from(count).unwrap_or(i64::MAX));
        tracing::info!(keys = count, generation, "Gateway keys are in force.");
    }

    async fn keep(&self, generation: u64, signed: v1::SignedStatement) -> Unsaved {
        let (lkg, fleet) = (Arc::clone(&self.lkg), self.rules.fleet.clone());
        let work = move || (lkg.keep(v1::Document::KeySet, &fleet, generation, &signed), signed);
        match tokio::task::spawn_blocking(work).await {
            Ok((Err(error), signed)) => {
                self.status.cannot_keep(v1::Document::KeySet, &error);
                Some((generation, signed))
            }
            Ok((Ok(()), _)) => {
                self.status.set_disk_fault(v1::Document::KeySet, None);
                None
            }
            // The process ends.
            Err(_) => None,
        }
    }

    async fn reject(&self, offer: &Offer, rejection: Rejection) {
        let document = super::name(v1::Document::KeySet);
        self.shared.metrics.rejection(document, rejection.stage.word());
        Metrics::result(&self.shared.metrics.key_loads, "refused");
        let (generation, summary) = (offer.claimed.generation, rejection.summary());
        let codes = rejection.codes().join(" ");
        tracing::error!(generation, codes, why = summary, "Gateway keys are not taken; the old ones stay.");
        let fault = format!("generation {generation} is refused: {summary}");
        self.shared.keys_fault.store(Some(Arc::new(fault)));
        self.answer(offer, Outcome::Rejected(rejection)).await;
    }

    async fn answer(&self, offer: &Offer, outcome: Outcome) {
        // The link is gone only when the process ends.
        let _ = self.answers.send(offer.answer(v1::Document::KeySet, outcome)).await;
    }
}
