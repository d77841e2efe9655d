//! One stream of a gateway, from its hello to its end.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kt_audit::{InstanceId, Position, Pseudonym, segment::FORMAT_VERSION};
use kt_proto::{
    refusal::{Code, Refusal},
    v1::{self, ship_notice::Kind, ship_request::Message as In, ship_response::Message as Out},
};
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, interval_at, sleep_until, timeout, timeout_at},
};
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::{Shared, batch};
use crate::{
    audit::{
        position,
        store::{AuditStoreError, Batch, Noted, Origin, SubjectRow, Trouble},
    },
    auth::Gateway,
    backoff::between,
};

/// The most keys that one hello names.
const MAX_KEYS: usize = 64;
/// The most names that one message brings.
const MAX_SUBJECTS: usize = 1_000;
/// The longest pause that a gateway is asked for at a time.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a gateway that is sent away may take.
const DRAIN_MS: u32 = 5_000;

/// One stream.
pub(super) struct Session {
    shared: Arc<Shared>,
    caller: Gateway,
    out: mpsc::Sender<Result<v1::ShipResponse, Status>>,
}

/// Whose records the stream brings.
struct Greeted {
    origin: Origin,
    /// Keys that checkpoints may be signed with.
    keys: Vec<[u8; 32]>,
    /// The last batch; they are numbered from 1.
    number: u64,
    subjects: u64,
    /// Whom the gateway was asked to erase on this stream.
    told: BTreeSet<Pseudonym>,
}

/// How a stream ends.
enum End {
    /// The gateway has gone, or closed its side.
    Gone,
    /// It is told why.
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Session {
    pub(super) const fn new(
        shared: Arc<Shared>,
        caller: Gateway,
        out: mpsc::Sender<Result<v1::ShipResponse, Status>>,
    ) -> Self {
        Self { shared, caller, out }
    }

    pub(super) async fn run(self, incoming: Streaming<v1::ShipRequest>) {
        if let End::Refused(refusal) = self.serve(incoming).await {
            tracing::warn!(
                gateway = &*self.caller.name,
                fleet = &*self.caller.fleet,
                code = refusal.code.as_str(),
                why = %refusal,
                "Stream of audit records was ended."
            );
            // The gateway may have gone.
            let _ = self.out.send(Err(refusal.into())).await;
        }
    }

    async fn send(&self, message: Out) -> Result<(), End> {
        self.out.send(Ok(v1::ShipResponse { message: Some(message) })).await.map_err(|_| End::Gone)
    }

    async fn serve(&self, mut incoming: Streaming<v1::ShipRequest>) -> End {
        let mut greeted = match self.greet(&mut incoming).await {
            Ok(greeted) => greeted,
            Err(end) => return end,
        };
        let settings = &self.shared.settings;
        let mut heartbeat = interval_at(Instant::now() + settings.heartbeat, settings.heartbeat);
        let mut is_sent_away = false;
        // Subscribed before the first look, so that none falls between.
        let mut erasures = self.shared.audit.erasures.subscribe();
        if let Err(end) = self.erase(&mut greeted).await {
            return end;
        }
        let mut look_at = self.next_look();
        let mut silent_at = Instant::now() + settings.silence;
        loop {
            let done = tokio::select! {
                received = timeout_at(silent_at, incoming.message()) => match received {
                    Err(_) | Ok(Err(_) | Ok(None)) => return End::Gone,
                    Ok(Ok(Some(message))) => {
                        let done = self.alive(&mut heartbeat, self.take(message, &mut greeted)).await;
                        // What came while the store was busy is still to be read.
                        silent_at = Instant::now() + settings.silence;
                        done
                    }
                },
                Ok(()) = erasures.changed() => self.alive(&mut heartbeat, self.erase(&mut greeted)).await,
                () = sleep_until(look_at) => {
                    look_at = self.next_look();
                    self.alive(&mut heartbeat, self.erase(&mut greeted)).await
                }
                _ = heartbeat.tick() => self.send(Out::Ping(v1::ShipPing {})).await,
                () = self.shared.draining.cancelled(), if !is_sent_away => {
                    is_sent_away = true;
                    let drain = v1::ShipDrain { within_ms: DRAIN_MS, reason: "shutdown".to_owned() };
                    self.send(Out::Drain(drain)).await
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Waits for something that the store may take long for, and says meanwhile that we live: a gateway takes silence for
    /// death, and would send everything again.
    async fn alive(
        &self,
        heartbeat: &mut Interval,
        work: impl Future<Output = Result<(), End>>,
    ) -> Result<(), End> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = heartbeat.tick() => self.send(Out::Ping(v1::ShipPing {})).await?,
            }
        }
    }

    /// When to ask the store again whom the gateway is to erase.
    fn next_look(&self) -> Instant {
        let every = self.shared.settings.erasures;
        Instant::now() + between(every * 4 / 5, every * 6 / 5)
    }

    async fn greet(&self, incoming: &mut Streaming<v1::ShipRequest>) -> Result<Greeted, End> {
        let first = timeout(self.shared.settings.silence, incoming.message()).await;
        let Ok(Ok(Some(v1::ShipRequest { message: Some(In::Hello(hello)) }))) = first else {
            return Err(refused("the first message of the stream is not a hello").into());
        };
        if hello.segment_format != u32::from(FORMAT_VERSION) {
            let message = format!(
                "the records have format {}, this control plane knows {FORMAT_VERSION}: upgrade the older of the two",
                hello.segment_format
            );
            return Err(Refusal::new(Code::FormatUnsupported, message).into());
        }
        let instance = Uuid::from_slice(&hello.instance)
            .map(InstanceId)
            .map_err(|_| refused("`instance` of the hello is no UUID"))?;
        let keys = hello.public_keys.iter().take(MAX_KEYS).map(|key| <[u8; 32]>::try_from(key.as_slice()));
        let keys: Vec<[u8; 32]> =
            keys.collect::<Result<_, _>>().map_err(|_| refused("a key of the hello has not 32 bytes"))?;
        let origin = Origin {
            instance,
            fleet: Arc::clone(&self.caller.fleet),
            gateway: hello.gateway_id.as_str().into(),
            name: hello.name.as_str().into(),
        };
        let store = &self.shared.audit.store;
        let now = jiff::Timestamp::now().as_microsecond();
        let fleet = store.fleet_of(instance).await.map_err(|error| self.failed(&error))?;
        if fleet.is_some_and(|fleet| fleet != origin.fleet) {
            // A token of one fleet must not vouch for records of another.
            return Err(refused("the instance belongs to another fleet than the token").into());
        }
        store.put_keys(origin.clone(), keys, now).await.map_err(|error| self.failed(&error))?;
        // All that were ever seen: an older run was signed with an older key.
        let keys = store.vouched(instance).await.map_err(|error| self.failed(&error))?.keys;
        let marks = store.marks(instance).await.map_err(|error| self.failed(&error))?;
        let resume = hello.runs.iter().filter_map(|run| {
            let mark = marks.iter().find(|mark| mark.last.epoch.0 == *run.epoch)?;
            Some(position(&mark.last))
        });
        let settings = &self.shared.settings;
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let welcome = v1::ShipWelcome {
            replica: self.shared.replica.to_string(),
            server_time_us: now,
            resume: resume.collect(),
            window: settings.window,
            max_batch_bytes: settings.max_batch_bytes,
            max_batch_records: settings.max_batch_records,
            heartbeat_interval_ms: millis(settings.heartbeat),
            silence_limit_ms: millis(settings.silence),
            countersign_key: self.shared.audit.witness.public().0.to_vec(),
        };
        self.send(Out::Welcome(welcome)).await?;
        tracing::info!(
            gateway = &*self.caller.name,
            fleet = &*self.caller.fleet,
            instance = %instance,
            "Gateway sends audit records."
        );
        Ok(Greeted { origin, keys, number: 0, subjects: 0, told: BTreeSet::new() })
    }

    async fn take(&self, message: v1::ShipRequest, greeted: &mut Greeted) -> Result<(), End> {
        match message.message {
            Some(In::Batch(batch)) => self.batch(batch, greeted).await,
            Some(In::Subjects(subjects)) => {
                if subjects.number != greeted.subjects + 1 {
                    return Err(refused("subjects of the stream are not numbered one by one").into());
                }
                greeted.subjects = subjects.number;
                self.names(&subjects.subjects, greeted.origin.instance).await?;
                self.send(Out::SubjectsAck(v1::ShipSubjectsAck { number: subjects.number })).await?;
                // Among them may be somebody who was erased before this gateway named them.
                self.erase(greeted).await
            }
            Some(In::Hello(_)) => Err(refused("a second hello in one stream").into()),
            Some(In::Erased(erased)) => self.erased(&erased, greeted).await,
            // A ping has said that the gateway lives.
            Some(In::Ping(_)) | None => Ok(()),
        }
    }

    /// Asks the gateway to erase whom this stream has not asked for yet.
    async fn erase(&self, greeted: &mut Greeted) -> Result<(), End> {
        let all = self.shared.audit.store.erasures(greeted.origin.instance).await;
        for one in all.map_err(|error| self.failed(&error))? {
            if greeted.told.insert(one.pseudonym) {
                self.send(Out::Erase(v1::ShipErase {
                    request_id: one.id.to_string(),
                    pseudonyms: vec![one.pseudonym.to_bytes().to_vec()],
                    reference: one.reference.to_string(),
                }))
                .await?;
            }
        }
        Ok(())
    }

    async fn erased(&self, erased: &v1::ShipErased, greeted: &Greeted) -> Result<(), End> {
        let pseudonym = <[u8; 16]>::try_from(erased.pseudonym.as_slice())
            .map_err(|_| refused("a pseudonym has not 16 bytes"))?;
        let (instance, pseudonym) = (greeted.origin.instance, Pseudonym::from_bytes(pseudonym));
        if !greeted.told.contains(&pseudonym) {
            // Noted, it would count as done for whoever is asked to be erased later.
            tracing::warn!(
                instance = %instance,
                fleet = &*greeted.origin.fleet,
                "Gateway says that it has erased somebody whom it was not asked to erase; that is not noted."
            );
            return Ok(());
        }
        let now = jiff::Timestamp::now().as_microsecond();
        let noting = self.shared.audit.store.put_erased(instance, pseudonym, now);
        noting.await.map_err(|error| self.failed(&error))
    }

    /// Asks the gateway to pause where its batch has waited long for the store. Fewer batches come then, and larger ones,
    /// which the store takes in less time. Said before the batch is acknowledged: the answer lets the next one go.
    async fn slow_down(&self, waited: Duration) -> Result<(), End> {
        if waited < self.shared.settings.slow_store {
            return Ok(());
        }
        self.shared.metrics.slow_downs.inc();
        let wait_ms = u32::try_from(waited.min(LONGEST_PAUSE).as_millis()).unwrap_or(u32::MAX);
        self.send(Out::SlowDown(v1::ShipSlowDown { wait_ms, reason: "store_busy".to_owned() })).await
    }

    /// Seals names and keeps them.
    async fn names(&self, subjects: &[v1::ShipSubject], instance: InstanceId) -> Result<(), End> {
        if subjects.len() > MAX_SUBJECTS {
            return Err(refused("more subjects in one message than may be").into());
        }
        let mut rows = Vec::with_capacity(subjects.len());
        for subject in subjects {
            let bytes = |field: &[u8]| <[u8; 16]>::try_from(field);
            let (Ok(pseudonym), Ok(pseudonym_key)) =
                (bytes(&subject.pseudonym), bytes(&subject.pseudonym_key_id))
            else {
                return Err(refused("a pseudonym or its key has not 16 bytes").into());
            };
            let person = self.shared.audit.witness.person(&subject.name);
            let (sealed, key) = person.seal().map_err(|_| refused("a name can't be sealed"))?;
            let pseudonym = Pseudonym::from_bytes(pseudonym);
            rows.push(SubjectRow { pseudonym, pseudonym_key, person: person.pseudonym(), sealed, key });
        }
        let now = jiff::Timestamp::now().as_microsecond();
        self.shared.audit.store.put_subjects(instance, rows, now).await.map_err(|error| self.failed(&error))
    }

    async fn batch(&self, batch: v1::ShipBatch, greeted: &mut Greeted) -> Result<(), End> {
        if batch.number != greeted.number + 1 {
            return Err(refused("batches of the stream are not numbered one by one").into());
        }
        greeted.number = batch.number;
        let (number, ordinal) = (batch.number, batch.ordinal);
        let instance = greeted.origin.instance;
        let settings = self.shared.settings.clone();
        // Hashes of a thousand records take milliseconds.
        let checked = tokio::task::spawn_blocking(move || batch::check(instance, &batch, &settings)).await;
        let checked = match checked {
            Ok(Ok(checked)) => checked,
            Ok(Err(fault)) => {
                return Err(Refusal::new(Code::BatchInvalid, fault.to_string()).into());
            }
            Err(_) => return Err(Refusal::new(Code::StoreCorrupt, "the batch could not be read").into()),
        };
        let now = jiff::Timestamp::now().as_microsecond();
        let Some(last) = checked.rows.last() else { return Err(refused("a batch without records").into()) };
        let last_position =
            Position { epoch: checked.epoch, sequence: last.row.sequence, hash: last.row.hash };
        let (epoch, count) = (checked.epoch, checked.rows.len() as u64);
        let stored =
            Batch { origin: greeted.origin.clone(), epoch, ordinal, rows: checked.rows, stored_us: now };
        let began = Instant::now();
        let appended = self.shared.audit.store.append(stored).await.map_err(|error| self.failed(&error))?;
        self.slow_down(began.elapsed()).await?;
        let metrics = &self.shared.metrics;
        metrics.batches.inc();
        metrics.records.inc_by(count.saturating_sub(appended.duplicates));
        metrics.duplicates.inc_by(appended.duplicates);
        for noted in &appended.noted {
            self.notice(noted, greeted).await?;
        }
        let mut countersignature = None;
        if let Some(checkpoint) = checked.checkpoint {
            if batch::is_signed(instance, &checkpoint, &greeted.keys) {
                let covers = checkpoint.covers;
                let countersigned = self.shared.audit.store.put_countersigned(instance, covers, now).await;
                countersigned.map_err(|error| self.failed(&error))?;
                let signature = self.shared.audit.witness.countersign(instance, &covers, now);
                countersignature = Some(v1::Countersignature {
                    covers: Some(position(&covers)),
                    signed_us: now,
                    signature: Some(v1::Signature {
                        key_id: self.shared.audit.witness.public().id().0.to_vec(),
                        signature: signature.0.to_vec(),
                    }),
                });
            } else {
                let at = checkpoint.covers.sequence.saturating_add(1);
                let noted = Noted { trouble: Trouble::Forged, epoch, first: at, last: at };
                let noting = self.shared.audit.store.note(instance, noted, now).await;
                noting.map_err(|error| self.failed(&error))?;
                self.notice(&noted, greeted).await?;
            }
        }
        self.send(Out::Ack(v1::ShipAck {
            number,
            position: Some(position(&last_position)),
            duplicates: appended.duplicates,
            countersignature,
        }))
        .await
    }

    /// Tells operators and the gateway.
    async fn notice(&self, noted: &Noted, greeted: &Greeted) -> Result<(), End> {
        self.shared.metrics.trouble(noted);
        tracing::error!(
            instance = %greeted.origin.instance,
            fleet = &*greeted.origin.fleet,
            epoch = %noted.epoch,
            first = noted.first,
            last = noted.last,
            trouble = noted.trouble.as_str(),
            "Audit records are not as they should be."
        );
        let (kind, message) = match noted.trouble {
            Trouble::Gap => (Kind::Gap, "records before these never came"),
            Trouble::Quarantined => (Kind::Quarantined, "other records are there under these numbers"),
            Trouble::Cloned => (Kind::Cloned, "another machine sends records of the same instance"),
            Trouble::BrokenChain => (Kind::BrokenChain, "the record before is not the one that is named"),
            Trouble::Forged => (Kind::Forged, "the signature of the checkpoint does not fit"),
        };
        self.send(Out::Notice(v1::ShipNotice {
            kind: kind.into(),
            epoch: noted.epoch.0.to_vec(),
            first_sequence: noted.first,
            last_sequence: noted.last,
            message: message.to_owned(),
        }))
        .await
    }

    /// The store does not do its work: nothing was acknowledged, so the gateway keeps it and tries again.
    fn failed(&self, error: &AuditStoreError) -> End {
        self.shared.metrics.failures.inc();
        tracing::error!(error = error as &dyn std::error::Error, "Audit records can't be stored.");
        End::Refused(Refusal {
            retry_after: Some(Duration::from_secs(2)),
            ..Refusal::new(Code::StoreUnavailable, "the store of audit records can't be used now")
        })
    }
}

fn refused(message: &str) -> Refusal {
    Refusal::new(Code::BatchInvalid, message)
}
