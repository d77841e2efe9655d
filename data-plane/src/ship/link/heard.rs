//! What the control plane says, and what is done about it.

use std::sync::atomic::Ordering::{Relaxed, Release};

use kt_audit::{
    Label, Position, Pseudonym,
    dir::layout::Countersigned,
    sign::{PublicKey, Signature, countersignature_message},
};
use kt_proto::v1::{self, ship_request::Message as Out, ship_response::Message as In};
use tokio::task::JoinSet;

use super::Link;
use crate::{
    audit::{AppendError, fs::Fs},
    ship::session::{Ended, Sent, Session, Told, position},
};

/// An erasure that was asked for.
pub(super) struct Erased {
    request_id: String,
    subject: Pseudonym,
    sealed: Result<u64, AppendError>,
}

impl<F: Fs> Link<F> {
    /// Acts on what a message means for the batches.
    pub(super) async fn told(&mut self, told: Told) -> Result<(), Ended> {
        match told {
            Told::Nothing => {}
            Told::Welcome(resume) => {
                self.delivery.is_not_kept.store(false, std::sync::atomic::Ordering::Release);
                self.status.set_not_kept(false);
                self.status.set_unsupported(false);
                self.status.set_connected(true);
                self.status.fault.store(None);
                self.warn_of_less(&resume);
                self.begin(&resume).await.map_err(|error| Ended::Spool(error.to_string()))?;
                let url = self.settings.url.as_str();
                tracing::info!(
                    url,
                    waiting = self.status.backlog.load(Relaxed),
                    "Audit records are delivered."
                );
            }
            Told::Acked(batches) => {
                for sent in batches {
                    self.acked(&sent);
                }
            }
        }
        Ok(())
    }

    /// The control plane knows less than it has acknowledged: its store was put back from a backup, say.
    fn warn_of_less(&self, resume: &[Position]) {
        let has = |mark: &Position| {
            resume.iter().any(|place| place.epoch == mark.epoch && place.sequence >= mark.sequence)
        };
        if let Some(mark) = self.marks.marks.iter().find(|mark| !has(mark)) {
            tracing::warn!(
                epoch = %mark.epoch,
                sequence = mark.sequence,
                "Control plane has lost audit records that it had acknowledged: they are sent again as far as they \
                 are still here."
            );
        }
    }

    fn acked(&mut self, sent: &Sent) {
        self.status.acked.fetch_add(sent.records, Relaxed);
        self.status.lost.fetch_add(sent.lost, Relaxed);
        if self.running() == Some(sent.last.epoch) {
            self.status.acked_run.store(sent.last.sequence.saturating_add(1), Relaxed);
        } else {
            let left = self.status.backlog.load(Relaxed).saturating_sub(sent.records);
            self.status.backlog.store(left, Relaxed);
        }
        self.on_way.pop_front();
        self.status.set_oldest(self.on_way.front().copied());
        if self.delivery.acked_below.load(Relaxed) < sent.segment {
            self.delivery.acked_below.store(sent.segment, Release);
        }
        self.pending.push(sent.last);
        self.is_unsaved = true;
    }

    /// Acts on a message of the server beside its batches.
    pub(super) fn take(&mut self, message: In, session: &mut Session, erasing: &mut JoinSet<Erased>) {
        match message {
            In::Welcome(welcome) => {
                self.countersign_key = welcome.countersign_key.as_slice().try_into().ok().map(PublicKey);
            }
            In::Ack(ack) => {
                self.status.duplicates.fetch_add(ack.duplicates, Relaxed);
                if let Some(countersignature) = &ack.countersignature {
                    self.countersigned(countersignature);
                }
            }
            In::SubjectsAck(ack) => {
                if let Some((number, through)) = self.names_sent
                    && number == ack.number
                {
                    self.names_sent = None;
                    self.marks.names = through;
                    self.is_unsaved = true;
                    session.more();
                }
            }
            In::Notice(notice) => {
                self.status.notice(notice.kind(), &notice.message);
                tracing::error!(
                    kind = notice.kind().as_str_name(),
                    epoch = hex::encode(&notice.epoch),
                    first = notice.first_sequence,
                    last = notice.last_sequence,
                    message = notice.message,
                    "Control plane has found something wrong with the audit records of this gateway."
                );
            }
            In::Erase(erase) => self.erase(&erase, erasing),
            In::SlowDown(slow) => {
                tracing::debug!(
                    wait_ms = slow.wait_ms,
                    reason = slow.reason,
                    "Control plane asks to slow down."
                );
            }
            In::Drain(drain) => tracing::debug!(
                within_ms = drain.within_ms,
                reason = drain.reason,
                "Control plane asks to connect again for audit records."
            ),
            In::Ping(_) => {}
        }
    }

    fn countersigned(&mut self, message: &v1::Countersignature) {
        let parsed = (|| {
            let covers = position(message.covers.as_ref()?)?;
            let signature = message.signature.as_ref()?;
            let key = self.countersign_key?;
            let signature = Signature(signature.signature.as_slice().try_into().ok()?);
            let signed = countersignature_message(self.origin.instance, &covers, message.signed_us);
            key.verifies(&signed, &signature).then_some(Countersigned {
                covers,
                signed_us: message.signed_us,
                key: key.id(),
                signature,
            })
        })();
        if parsed.is_none() {
            tracing::warn!("Countersignature of the control plane does not fit; it is not kept.");
        }
        self.marks.countersigned = parsed.or(self.marks.countersigned);
    }

    fn erase(&self, erase: &v1::ShipErase, erasing: &mut JoinSet<Erased>) {
        let Some(log) = &self.log else {
            tracing::warn!(
                "Control plane asks to erase somebody; a directory that is only read is not changed."
            );
            return;
        };
        let reference = (!erase.reference.is_empty()).then(|| Label::new(&erase.reference));
        for pseudonym in &erase.pseudonyms {
            let Ok(subject) = hex::encode(pseudonym).parse::<Pseudonym>() else { continue };
            let (log, reference, request_id) = (log.clone(), reference.clone(), erase.request_id.clone());
            erasing.spawn(async move {
                let sealed = log.erase(subject, reference).await;
                Erased { request_id, subject, sealed }
            });
        }
    }
}

/// What the control plane is told of an erasure; nothing where it has to ask again.
pub(super) fn answer(erased: Erased) -> Option<Out> {
    let Erased { request_id, subject, sealed } = erased;
    match sealed {
        Ok(sealed) => {
            let pseudonym = hex::decode(subject.to_string()).ok()?;
            Some(Out::Erased(v1::ShipErased { request_id, pseudonym, sealed }))
        }
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "Erasure can't be done; the control plane will ask again."
            );
            None
        }
    }
}
