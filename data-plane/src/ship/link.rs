//! The task that sends records: it drives [`Session`], reads the spool off the workers, and acts on what the control
//! plane says.

mod heard;
mod piece;

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering::Relaxed, atomic::Ordering::Release},
    time::Duration,
};

use jiff::Timestamp;
use kt_audit::{
    Epoch, InstanceId, Position,
    dir::layout::{self, ShippedFile},
    sign::{KeyId, PublicKey},
};
use kt_proto::{
    refusal::Code,
    v1::{self, ship_request::Message as Out},
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use uuid::Uuid;

use self::{
    heard::{Erased, answer},
    piece::Piece,
};
use super::{
    client, marks,
    session::{Ended, MAX_WINDOW, Session, Step},
    spool::Spool,
    status::ShipStatus,
};
use crate::{
    audit::{AuditHandle, Delivery, fs::Fs},
    settings::ControlSettings,
    waits,
};

/// Messages that the server has not taken yet; one more, and it is taken for dead.
const OUTGOING: usize = MAX_WINDOW + 16;
/// How often the marks are written down.
const SAVE: Duration = Duration::from_secs(1);

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
        let mut session = Session::new(Instant::now(), waits::random());
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
        let is_not_kept = matches!(end, Ended::Denied(Code::AuditNotKept, ..));
        if is_not_kept {
            self.delivery.is_not_kept.store(true, Release);
            self.status.set_not_kept(true);
        }
        if matches!(end, Ended::Unsupported) {
            self.status.set_unsupported(true);
        }
        if !matches!(end, Ended::Drained | Ended::Finished) {
            self.status.fault.store(Some(Arc::new(why.clone())));
        }
        if !is_new {
            tracing::debug!(url, why, "Connection for audit records has ended.");
        } else if is_not_kept {
            tracing::info!(url, "Control plane keeps no audit records; they stay here for their days.");
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
        let mut spool = self.take_spool();
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

    /// The spool, or one that begins anew where a reader has died with it.
    fn take_spool(&mut self) -> Spool<F> {
        let fresh = || Spool::new(Arc::clone(&self.fs), self.origin.instance);
        self.spool.take().unwrap_or_else(fresh)
    }

    fn running(&self) -> Option<Epoch> {
        self.log.as_ref().map(AuditHandle::epoch)
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
            self.spool = reading.await.ok().map(|piece| piece.spool);
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
                Step::Fill(limits) => *reading = Some(self.read(limits)),
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

fn send(outgoing: &Outgoing, message: Out) -> Result<(), Ended> {
    outgoing.try_send(v1::ShipRequest { message: Some(message) }).map_err(|_| Ended::Stuck)
}
