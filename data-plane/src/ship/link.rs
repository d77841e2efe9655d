//! The task that sends records: it drives [`Session`], reads the spool off the workers, and acts on what the control
//! plane says.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering::Relaxed, atomic::Ordering::Release},
    time::Duration,
};

use jiff::Timestamp;
use kt_audit::{
    Epoch, InstanceId, Label, Position, Pseudonym,
    dir::layout::{self, Countersigned, ShippedFile},
    record::RECORD_VERSION,
    segment::FORMAT_VERSION,
    sign::{KeyId, PublicKey, Signature, countersignature_message},
};
use kt_proto::v1::{self, ship_request::Message as Out, ship_response::Message as In};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use uuid::Uuid;

use super::{
    client, marks, names,
    session::{Ended, MAX_WINDOW, Sent, Session, Step, Told, position},
    spool::{Batch, Limits, Spool, Through, Why},
    status::ShipStatus,
};
use crate::{
    audit::{AuditHandle, Delivery, fs::Fs},
    control,
    settings::ControlSettings,
};

/// Messages that the server has not taken yet; one more, and it is taken for dead.
const OUTGOING: usize = MAX_WINDOW + 16;
/// Runs that a hello names.
const MAX_RUNS: usize = 4_096;
/// How often the marks are written down.
const SAVE: Duration = Duration::from_secs(1);
/// The level of zstd: the fastest that is worth it.
const LEVEL: i32 = 1;

/// Whose records they are.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) instance: InstanceId,
    pub(crate) public_keys: Vec<PublicKey>,
    pub(crate) pseudonym_key: Option<KeyId>,
    /// Empty where no gateway sends them.
    pub(crate) gateway_id: String,
}

/// Where the records come from, and where they go.
pub(crate) struct Link<F: Fs> {
    fs: Arc<F>,
    settings: ControlSettings,
    origin: Origin,
    status: Arc<ShipStatus>,
    delivery: Delivery,
    /// The log that is being written; absent: the directory is only read.
    log: Option<AuditHandle>,
    synced: watch::Receiver<u64>,
    /// The log may write more.
    is_log_open: bool,
    finish: CancellationToken,
    is_finishing: bool,
    process_id: Uuid,
    /// Absent while it is read.
    spool: Option<Spool<F>>,
    /// Acknowledged while the spool was read.
    pending: Vec<Position>,
    /// What was sent and has no answer: when its first record was written.
    on_way: VecDeque<i64>,
    marks: ShippedFile,
    /// Names up to here are on their way.
    names_sent: Option<(u64, u64)>,
    names_number: u64,
    is_unsaved: bool,
    saved: Option<Instant>,
    countersign_key: Option<PublicKey>,
}

type Outgoing = mpsc::Sender<v1::ShipRequest>;

/// What is read in one go.
struct Piece<F: Fs> {
    spool: Spool<F>,
    read: io::Result<Read>,
    /// All records up to there could be read.
    through: Option<Through>,
}

/// Names, and a batch with its frames compressed.
type Read = (Option<names::Rows>, Option<(Batch, Vec<u8>)>);

/// An erasure that was asked for.
struct Erased {
    request_id: String,
    subject: Pseudonym,
    sealed: Result<u64, crate::audit::AppendError>,
}

impl<F: Fs> Link<F> {
    pub(crate) fn new(
        fs: Arc<F>,
        settings: ControlSettings,
        origin: Origin,
        status: Arc<ShipStatus>,
        delivery: Delivery,
        log: Option<AuditHandle>,
        finish: CancellationToken,
    ) -> Self {
        let synced = log.as_ref().map_or_else(|| watch::channel(0).1, AuditHandle::synced);
        Self {
            spool: Some(Spool::new(Arc::clone(&fs), origin.instance)),
            fs,
            settings,
            origin,
            status,
            delivery,
            is_log_open: log.is_some(),
            log,
            synced,
            finish,
            is_finishing: false,
            process_id: Uuid::now_v7(),
            pending: Vec::new(),
            on_way: VecDeque::new(),
            marks: ShippedFile { v: 1, ..ShippedFile::default() },
            names_sent: None,
            names_number: 0,
            is_unsaved: false,
            saved: None,
            countersign_key: None,
        }
    }

    /// Sends records until it is told to finish and everything is acknowledged, or the first connection after that
    /// breaks.
    pub(crate) async fn run(mut self) {
        self.prepare().await;
        let mut session = Session::new(Instant::now(), control::session::random());
        loop {
            if self.is_finishing && session.is_idle() {
                self.status.set_complete(true);
                break;
            }
            match session.step(Instant::now()) {
                Step::Connect => {}
                Step::Wait(until) => {
                    tokio::select! {
                        () = sleep_until(until) => {}
                        changed = self.synced.changed(), if self.is_log_open => self.wrote(changed.is_ok(), &mut session),
                        () = self.finish.cancelled(), if !self.is_finishing => {
                            self.is_finishing = true;
                            session.finish(Instant::now());
                        }
                    }
                    continue;
                }
                Step::Fill(_) | Step::Ping | Step::Leave => {
                    session.ended(Instant::now(), &Ended::Closed);
                    continue;
                }
            }
            self.status.connections.fetch_add(1, Relaxed);
            let end = self.connection(&mut session).await;
            self.status.set_connected(false);
            self.on_way.clear();
            self.names_sent = None;
            let is_new = session.ended(Instant::now(), &end);
            self.tell(&end, is_new);
            self.save(true).await;
            if self.is_finishing && end != Ended::Drained {
                self.status.set_complete(end == Ended::Finished);
                break;
            }
        }
        self.save(true).await;
    }

    fn tell(&self, end: &Ended, is_new: bool) {
        let (url, why) = (self.settings.url.as_str(), end.message());
        if !matches!(end, Ended::Drained | Ended::Finished) {
            self.status.fault.store(Some(Arc::new(why.clone())));
        }
        if !is_new {
            tracing::debug!(url, why, "Connection for audit records has ended.");
        } else if end.needs_a_person() {
            tracing::error!(
                url,
                why,
                "Audit records can't be delivered; they stay in the audit directory, and it is tried again."
            );
        } else {
            tracing::warn!(url, why, "Connection for audit records has ended; it is tried again.");
        }
    }

    /// What is known before there is a connection.
    async fn prepare(&mut self) {
        let fs = Arc::clone(&self.fs);
        if let Ok(marks) = tokio::task::spawn_blocking(move || marks::load(&*fs)).await {
            self.marks = marks;
        }
        let marks = self.marks.marks.clone();
        if let Err(error) = self.begin(&marks).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Audit directory can't be read for delivery yet; it is tried again."
            );
        }
        if self.log.is_some() {
            // What is sent is on disk for good: the chain never says less here than there.
            tokio::select! {
                // A log without an fsync has been closed.
                _ = self.synced.wait_for(|count| *count > 0) => {}
                () = self.finish.cancelled() => {}
            }
        }
        self.status.waits_since(Timestamp::now().as_microsecond());
    }

    /// Begins behind these marks.
    async fn begin(&mut self, marks: &[Position]) -> io::Result<()> {
        let Some(mut spool) = self.spool.take() else { return Ok(()) };
        let (marks, running) = (marks.to_vec(), self.running());
        let work = tokio::task::spawn_blocking(move || {
            let begun = spool.begin(&marks);
            let known = begun.and_then(|diverged| Ok((diverged, spool.backlog(running)?)));
            (spool, known)
        });
        let (spool, known) = work.await.map_err(io::Error::other)?;
        self.pending.clear();
        self.marks.marks = spool.marks();
        self.delivery.acked_below.store(spool.floor(), Release);
        let of_run = running.and_then(|run| self.marks.marks.iter().find(|mark| mark.epoch == run));
        self.status.acked_run.store(of_run.map_or(0, |mark| mark.sequence.saturating_add(1)), Relaxed);
        self.spool = Some(spool);
        let (diverged, backlog) = known?;
        self.status.backlog.store(backlog, Relaxed);
        for mark in diverged {
            tracing::error!(
                epoch = %mark.epoch,
                sequence = mark.sequence,
                "Control plane has another record in this place of the audit chain: the run is sent again from its \
                 beginning."
            );
        }
        Ok(())
    }

    /// An fsync covers more records than before; or, not `is_open`, there will be none any more.
    fn wrote(&mut self, is_open: bool, session: &mut Session) {
        self.is_log_open = is_open;
        if is_open {
            self.status.waits_since(Timestamp::now().as_microsecond());
            session.more();
        }
    }

    fn running(&self) -> Option<Epoch> {
        self.log.as_ref().map(AuditHandle::epoch)
    }

    /// Records that may be read: of the run that is being written, those that an fsync covers.
    fn through(&mut self) -> Option<Through> {
        let epoch = self.running().filter(|_| !self.is_finishing)?;
        Some(Through { epoch, below: *self.synced.borrow_and_update() })
    }

    /// One connection, from its first byte to its end.
    async fn connection(&mut self, session: &mut Session) -> Ended {
        let Step::Wait(until) = session.step(Instant::now()) else { return Ended::Silent };
        let hello = match self.hello().await {
            Ok(hello) => hello,
            Err(error) => return Ended::Spool(error.to_string()),
        };
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        if let Err(end) = send(&outgoing, Out::Hello(hello)) {
            return end;
        }
        session.greeting();
        let stream = match timeout_at(until, client::open(&self.settings, messages)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(end)) => return end,
            Err(_) => return Ended::Silent,
        };
        let mut reading = None;
        let end = self.speak(session, &outgoing, stream, &mut reading).await;
        // What was being read is read again.
        if let Some(reading) = reading {
            match reading.await {
                Ok(Piece { spool, .. }) => self.spool = Some(spool),
                Err(_) => self.spool = Some(Spool::new(Arc::clone(&self.fs), self.origin.instance)),
            }
        }
        end
    }

    async fn speak(
        &mut self,
        session: &mut Session,
        outgoing: &Outgoing,
        mut stream: Streaming<v1::ShipResponse>,
        reading: &mut Option<JoinHandle<Piece<F>>>,
    ) -> Ended {
        let mut erasing: JoinSet<Erased> = JoinSet::new();
        loop {
            let now = Instant::now();
            match session.step(now) {
                Step::Wait(until) => tokio::select! {
                    message = stream.message() => {
                        let message = match message {
                            Ok(Some(v1::ShipResponse { message: Some(message) })) => message,
                            // A kind of message that a later version has.
                            Ok(Some(v1::ShipResponse { message: None })) => continue,
                            Ok(None) => return Ended::Closed,
                            Err(status) => return client::ended(&status),
                        };
                        match session.heard(Instant::now(), &message) {
                            Ok(told) => if let Err(end) = self.told(told).await { return end },
                            Err(end) => return end,
                        }
                        self.take(message, session, &mut erasing);
                        self.save(session.is_idle()).await;
                    }
                    piece = async { reading.as_mut()?.await.ok() }, if reading.is_some() => {
                        *reading = None;
                        let Some(piece) = piece else { return Ended::Spool("the reader died".to_owned()) };
                        if let Err(end) = self.send_piece(piece, session, outgoing) {
                            return end;
                        }
                        self.save(session.is_idle()).await;
                    }
                    Some(erased) = erasing.join_next() => {
                        if let Some(message) = erased.ok().and_then(answer)
                            && let Err(end) = send(outgoing, message)
                        {
                            return end;
                        }
                    }
                    changed = self.synced.changed(), if self.is_log_open => self.wrote(changed.is_ok(), session),
                    () = self.finish.cancelled(), if !self.is_finishing => {
                        self.is_finishing = true;
                        session.finish(Instant::now());
                    }
                    () = sleep_until(until) => {}
                },
                Step::Fill(limits) => match self.read(limits) {
                    Some(job) => *reading = Some(job),
                    None => return Ended::Spool("it is read already".to_owned()),
                },
                Step::Ping => {
                    if let Err(end) = send(outgoing, Out::Ping(v1::ShipPing {})) {
                        return end;
                    }
                }
                Step::Leave => return session.reason(now),
                Step::Connect => return Ended::Closed,
            }
        }
    }

    /// Who this is and what it holds.
    async fn hello(&mut self) -> io::Result<v1::ShipHello> {
        let mut runs = Vec::new();
        if let Some(mut spool) = self.spool.take() {
            let work = tokio::task::spawn_blocking(move || {
                let runs = spool.runs(MAX_RUNS);
                (spool, runs)
            });
            let (spool, found) = work.await.map_err(io::Error::other)?;
            self.spool = Some(spool);
            runs = found?;
        }
        let origin = &self.origin;
        Ok(v1::ShipHello {
            instance: origin.instance.0.as_bytes().to_vec(),
            process_id: self.process_id.to_string(),
            gateway_id: origin.gateway_id.clone(),
            name: self.settings.name.clone(),
            build: control::build().to_owned(),
            segment_format: u32::from(FORMAT_VERSION),
            record_version: u32::from(RECORD_VERSION),
            public_keys: origin.public_keys.iter().map(|key| key.0.to_vec()).collect(),
            pseudonym_key_id: origin.pseudonym_key.map(|id| id.0.to_vec()).unwrap_or_default(),
            runs: runs
                .into_iter()
                .map(|run| v1::ShipRun {
                    epoch: run.epoch.0.to_vec(),
                    ordinal: run.ordinal,
                    first_sequence: run.first_sequence,
                    last_sequence: run.last_sequence,
                })
                .collect(),
            running: self.running().map(|epoch| epoch.0.to_vec()),
        })
    }

    /// Acts on what a message means for the batches.
    async fn told(&mut self, told: Told) -> Result<(), Ended> {
        match told {
            Told::Nothing => {}
            Told::Welcome(resume) => {
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
    fn take(&mut self, message: In, session: &mut Session, erasing: &mut JoinSet<Erased>) {
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

    /// Reads names and the next batch, off the workers.
    fn read(&mut self, limits: Limits) -> Option<JoinHandle<Piece<F>>> {
        let mut spool = self.spool.take()?;
        for mark in self.pending.drain(..) {
            spool.acked(mark);
        }
        self.marks.marks = spool.marks();
        let through = self.through();
        let fs = Arc::clone(&self.fs);
        // Without the key of their pseudonyms names mean nothing.
        let names = self.origin.pseudonym_key.filter(|_| self.names_sent.is_none());
        let names = names.map(|key| (key, self.marks.names));
        Some(tokio::task::spawn_blocking(move || {
            let read = (|| {
                let rows =
                    names.and_then(|(key, from)| names::read(&*fs, from, key).transpose()).transpose()?;
                let batch = spool.next(limits, through)?;
                let batch = batch
                    .map(|batch| zstd::bulk::compress(&batch.frames, LEVEL).map(|frames| (batch, frames)))
                    .transpose()?;
                Ok((rows, batch))
            })();
            Piece { spool, read, through }
        }))
    }

    fn send_piece(
        &mut self,
        piece: Piece<F>,
        session: &mut Session,
        outgoing: &Outgoing,
    ) -> Result<(), Ended> {
        self.spool = Some(piece.spool);
        let (rows, batch) = piece.read.map_err(|error| Ended::Spool(error.to_string()))?;
        let has_rows = rows.is_some();
        if let Some(rows) = rows {
            self.names_number += 1;
            self.names_sent = Some((self.names_number, rows.through));
            self.status.names.fetch_add(rows.subjects.len() as u64, Relaxed);
            let (number, subjects) = (self.names_number, rows.subjects);
            send(outgoing, Out::Subjects(v1::ShipSubjects { number, subjects }))?;
        }
        let Some((batch, frames)) = batch else {
            // What came meanwhile was told of, and is looked for again.
            let is_over = piece.through == self.through_now();
            session.empty(is_over);
            if is_over && !has_rows && self.on_way.is_empty() {
                self.status.set_oldest(None);
            }
            return Ok(());
        };
        let sent = Sent {
            last: batch.last,
            records: u64::from(batch.count),
            first_time_us: batch.first_time_us,
            segment: batch.segment,
            lost: batch.loss.map_or(0, |loss| loss.records),
        };
        if let Some(loss) = batch.loss {
            tracing::warn!(
                records = loss.records,
                bytes = loss.bytes,
                why = ?loss.why,
                "Audit records are missing in the spool: the control plane is told so."
            );
        }
        if self.on_way.is_empty() {
            self.status.set_oldest(Some(batch.first_time_us));
        }
        self.on_way.push_back(batch.first_time_us);
        self.status.sent.fetch_add(sent.records, Relaxed);
        self.status.batches.fetch_add(1, Relaxed);
        self.status.sent_bytes.fetch_add(frames.len() as u64, Relaxed);
        let is_full = batch.is_full;
        send(outgoing, Out::Batch(message(session.number(), batch, frames)))?;
        session.sent(Instant::now(), sent, is_full);
        Ok(())
    }

    /// As [`Link::through`], without taking note of it.
    fn through_now(&self) -> Option<Through> {
        let epoch = self.running().filter(|_| !self.is_finishing)?;
        Some(Through { epoch, below: *self.synced.borrow() })
    }

    /// Writes the marks down, when they have changed and it is time.
    async fn save(&mut self, is_urgent: bool) {
        let now = Instant::now();
        let is_time = is_urgent || self.saved.is_none_or(|saved| now >= saved + SAVE);
        if !self.is_unsaved || !is_time {
            return;
        }
        if let Some(spool) = &mut self.spool {
            for mark in self.pending.drain(..) {
                spool.acked(mark);
            }
            self.marks.marks = spool.marks();
        }
        self.is_unsaved = false;
        self.saved = Some(now);
        let (fs, marks) = (Arc::clone(&self.fs), self.marks.clone());
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || marks::save(&*fs, &marks)).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                file = layout::SHIPPED,
                "How far audit records are delivered can't be written down."
            );
        }
    }
}

fn answer(erased: Erased) -> Option<Out> {
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

fn message(number: u64, batch: Batch, frames: Vec<u8>) -> v1::ShipBatch {
    let frames_bytes = u32::try_from(batch.frames.len()).unwrap_or(u32::MAX);
    v1::ShipBatch {
        number,
        epoch: batch.last.epoch.0.to_vec(),
        ordinal: batch.ordinal,
        first_sequence: batch.first_sequence,
        count: batch.count,
        previous_hash: batch.previous.0.to_vec(),
        last_hash: batch.last.hash.0.to_vec(),
        compression: v1::ship_batch::Compression::Zstd.into(),
        frames_bytes,
        frames: frames.into(),
        loss: batch.loss.map(|loss| v1::ShipLoss {
            why: match loss.why {
                Why::Damaged => v1::ship_loss::Why::Damaged,
                Why::Cut => v1::ship_loss::Why::Cut,
                Why::NewerFormat => v1::ship_loss::Why::NewerFormat,
            }
            .into(),
            bytes: loss.bytes,
        }),
    }
}

fn send(outgoing: &Outgoing, message: Out) -> Result<(), Ended> {
    outgoing.try_send(v1::ShipRequest { message: Some(message) }).map_err(|_| Ended::Stuck)
}
