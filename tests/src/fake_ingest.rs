//! A scripted store of audit records: it takes what gateways ship, checks every byte of it, and answers as it is told.
//!
//! What it keeps outlives its servers, so that a test can take one away and put another in its place.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _};
use kt_audit::{
    Digest, Epoch, InstanceId,
    record::{Body, Record},
    segment::{FORMAT_VERSION, parse_frame},
    sign::{Signer, countersignature_message},
};
use kt_proto::{
    refusal::{Code, Refusal},
    v1::{
        self,
        audit_ingest_service_server::{AuditIngestService, AuditIngestServiceServer},
        ship_request::Message as In,
        ship_response::Message as Out,
    },
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};
use uuid::Uuid;

/// How it behaves.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Before each acknowledgement.
    pub delay: Duration,
    /// Batches are taken and stored, and none is answered.
    pub is_frozen: bool,
    /// Nothing at all is said after the welcome.
    pub is_silent: bool,
    /// The stream breaks after so many batches of it were stored, before they are acknowledged.
    pub breaks_after: Option<u64>,
    /// Streams are refused.
    pub refuses: Option<Refusal>,
    /// Before the first batch of a stream is answered.
    pub slow_down: Option<Duration>,
    /// Whom to forget; said at each welcome.
    pub erase: Vec<Vec<u8>>,
    /// What is found wrong; said at each welcome.
    pub notice: Option<v1::ShipNotice>,
    /// Batches without an answer.
    pub window: u32,
    /// Bytes of a batch.
    pub max_batch_bytes: u32,
    /// Records of a batch.
    pub max_batch_records: u32,
    /// After so many batches of a stream it is drained.
    pub drains_after: Option<u64>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            is_frozen: false,
            is_silent: false,
            breaks_after: None,
            refuses: None,
            slow_down: None,
            erase: Vec::new(),
            notice: None,
            window: 4,
            max_batch_bytes: 1 << 20,
            max_batch_records: 4_096,
            drains_after: None,
        }
    }
}

/// One stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its hash.
    pub hash: Digest,
    /// The hash of the record before.
    pub previous: Digest,
    /// Its exact payload.
    pub payload: Vec<u8>,
}

/// What it keeps.
#[derive(Debug, Default, Clone)]
pub struct Kept {
    /// By instance and run, by sequence.
    pub runs: BTreeMap<(Uuid, [u8; 16]), BTreeMap<u64, Stored>>,
    /// The runs in the order in which they came.
    pub order: Vec<(Uuid, [u8; 16])>,
    /// Names by pseudonym.
    pub names: BTreeMap<Vec<u8>, String>,
    /// The hellos, in order.
    pub hellos: Vec<v1::ShipHello>,
    /// What was erased.
    pub erased: Vec<v1::ShipErased>,
    /// Records that came again.
    pub duplicates: u64,
    /// Records under a number that has another record.
    pub conflicts: u64,
    /// Batches that came.
    pub batches: u64,
    /// Losses that were told.
    pub losses: Vec<v1::ShipLoss>,
    /// What was wrong with what came: nothing, or the gateway is at fault.
    pub faults: Vec<String>,
}

impl Kept {
    /// All records, run by run as they came.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let runs = self.order.iter().filter_map(|run| self.runs.get(run));
        runs.flat_map(BTreeMap::values).filter_map(|stored| Record::parse(&stored.payload).ok())
    }

    /// The request ids of all `closed` records.
    pub fn closed(&self) -> Vec<Uuid> {
        let id = |record: Record| match record.body {
            Body::Closed(closed) => Some(closed.id),
            _ => None,
        };
        self.records().filter_map(id).collect()
    }

    /// How many records are here.
    pub fn len(&self) -> usize {
        self.runs.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What keeps each run from being one whole chain from its first record here.
    pub fn breaks(&self) -> Vec<String> {
        let mut breaks = self.faults.clone();
        for ((_, epoch), run) in &self.runs {
            for ((one, before), (two, after)) in run.iter().zip(run.iter().skip(1)) {
                if one + 1 != *two || before.hash != after.previous {
                    breaks.push(format!("{} {one} is not before {two}", Epoch(*epoch)));
                }
            }
        }
        breaks
    }
}

/// Shared by its streams. A mutex, held for a batch and never across an await.
#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    manner: watch::Sender<Manner>,
    changes: watch::Sender<u64>,
    signer: Signer,
}

/// A store of audit records, and the servers in front of it.
#[derive(Debug, Clone)]
pub struct FakeIngest(Arc<Shared>);

/// A server that runs. Dropped, it is gone, streams and all.
#[derive(Debug)]
pub struct IngestServer {
    /// Where it listens.
    pub addr: SocketAddr,
    serving: JoinSet<()>,
}

impl IngestServer {
    /// Its address for gateways.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ends it; when this returns, the address is free again.
    pub async fn stop(mut self) {
        self.serving.shutdown().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeIngest {
    /// A store with nothing in it.
    ///
    /// # Panics
    /// Without randomness for its signing key.
    #[expect(clippy::expect_used, reason = "a test without randomness can't go on")]
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            kept: Mutex::default(),
            manner: watch::Sender::new(Manner::default()),
            changes: watch::Sender::new(0),
            signer: Signer::generate().expect("there is randomness"),
        }))
    }

    /// The service, to be put into any server.
    pub fn service(&self) -> AuditIngestServiceServer<impl AuditIngestService> {
        AuditIngestServiceServer::new(Service(Arc::clone(&self.0))).max_decoding_message_size(8 << 20)
    }

    /// Serves on the loopback; `port` 0: any.
    ///
    /// # Errors
    /// When there is no such port.
    pub async fn serve(&self, port: u16) -> io::Result<IngestServer> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let addr = listener.local_addr()?;
        let service = self.service();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // It ends with the test.
            let _ =
                tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await;
        });
        Ok(IngestServer { addr, serving })
    }

    /// Changes how it behaves; streams that are open notice.
    pub fn set(&self, change: impl FnOnce(&mut Manner)) {
        self.0.manner.send_modify(change);
    }

    /// A copy of what it keeps.
    pub fn kept(&self) -> Kept {
        lock(&self.0.kept).clone()
    }

    /// Forgets everything from a sequence of each run on: the store was put back from a backup.
    pub fn forget_from(&self, sequence: u64) {
        for run in lock(&self.0.kept).runs.values_mut() {
            run.retain(|number, _| *number < sequence);
        }
    }

    /// The last record of each run becomes another one.
    pub fn alter_last(&self) {
        for run in lock(&self.0.kept).runs.values_mut() {
            if let Some(mut last) = run.last_entry() {
                last.get_mut().hash = Digest::of(b"another record");
            }
        }
    }

    /// The key that it countersigns with.
    pub fn key(&self) -> kt_audit::sign::PublicKey {
        self.0.signer.public()
    }

    /// Waits until what it keeps is as `pick` wants it, and gives what that makes of it.
    ///
    /// # Panics
    /// After 30 seconds.
    pub async fn until<T>(&self, pick: impl Fn(&Kept) -> Option<T>) -> T {
        let mut changes = self.0.changes.subscribe();
        let search = async {
            loop {
                changes.mark_unchanged();
                let found = pick(&lock(&self.0.kept));
                if let Some(found) = found {
                    return found;
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let found = timeout(Duration::from_secs(30), search).await.ok();
        #[expect(clippy::panic, reason = "a test that waits in vain has failed")]
        found.unwrap_or_else(|| {
            let kept = self.kept();
            panic!(
                "not so within 30 s: {} records, {} batches, {} hellos, faults {:?}",
                kept.len(),
                kept.batches,
                kept.hellos.len(),
                kept.faults
            )
        })
    }
}

impl Default for FakeIngest {
    fn default() -> Self {
        Self::new()
    }
}

struct Service(Arc<Shared>);

type Outgoing = Pin<Box<dyn Stream<Item = Result<v1::ShipResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AuditIngestService for Service {
    type ShipStream = Outgoing;

    async fn ship(
        &self,
        request: Request<Streaming<v1::ShipRequest>>,
    ) -> Result<Response<Self::ShipStream>, Status> {
        let given = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if given != Some(&format!("Bearer {}", crate::fake_control_plane::TOKEN)) {
            return Err(Refusal::new(Code::TokenUnknown, "the token is not known").into());
        }
        if let Some(refusal) = self.0.manner.borrow().refuses.clone() {
            return Err(refusal.into());
        }
        let (out, outgoing) = mpsc::channel(4);
        let session = Session {
            shared: Arc::clone(&self.0),
            out,
            instance: InstanceId(Uuid::nil()),
            batches: 0,
            duplicates: 0,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(session.run(request.into_inner()));
        // The task lives as long as the stream that it feeds.
        let stream = ReceiverStream::new(outgoing).map(move |message| {
            let _ = &tasks;
            message
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

struct Session {
    shared: Arc<Shared>,
    out: mpsc::Sender<Result<v1::ShipResponse, Status>>,
    instance: InstanceId,
    batches: u64,
    duplicates: u64,
}

impl Session {
    async fn send(&self, message: Out) -> Option<()> {
        self.out.send(Ok(v1::ShipResponse { message: Some(message) })).await.ok()
    }

    fn keep<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        let result = change(&mut lock(&self.shared.kept));
        self.shared.changes.send_modify(|count| *count += 1);
        result
    }

    fn fault(&self, what: impl Into<String>) {
        let what = what.into();
        self.keep(|kept| kept.faults.push(what));
    }

    /// `None`: the gateway is gone, or this one goes.
    async fn run(mut self, mut incoming: Streaming<v1::ShipRequest>) -> Option<()> {
        let Some(In::Hello(hello)) = incoming.next().await?.ok()?.message else {
            self.fault("the first message is no hello");
            return None;
        };
        let manner = self.shared.manner.subscribe();
        if hello.segment_format != u32::from(FORMAT_VERSION) {
            let refusal = Refusal::new(Code::FormatUnsupported, "this format is not known");
            return self.out.send(Err(refusal.into())).await.ok();
        }
        self.instance = InstanceId(Uuid::from_slice(&hello.instance).ok()?);
        let now = manner.borrow().clone();
        let welcome = self.welcome(&hello, &now);
        self.keep(|kept| kept.hellos.push(hello));
        self.send(Out::Welcome(welcome)).await?;
        if !now.erase.is_empty() {
            let (request_id, pseudonyms) = ("1".to_owned(), now.erase.clone());
            let erase = v1::ShipErase { request_id, pseudonyms, reference: "T-1".to_owned() };
            self.send(Out::Erase(erase)).await?;
        }
        if let Some(notice) = now.notice {
            self.send(Out::Notice(notice)).await?;
        }
        let mut pings = tokio::time::interval(Duration::from_millis(200));
        loop {
            let is_silent = manner.borrow().is_silent;
            tokio::select! {
                message = incoming.next() => {
                    let message = message?.ok()?.message?;
                    let now = manner.borrow().clone();
                    self.take(message, &now).await?;
                }
                _ = pings.tick(), if !is_silent => self.send(Out::Ping(v1::ShipPing {})).await?,
            }
        }
    }

    fn welcome(&self, hello: &v1::ShipHello, manner: &Manner) -> v1::ShipWelcome {
        let kept = lock(&self.shared.kept);
        let resume = hello.runs.iter().filter_map(|run| {
            let epoch: [u8; 16] = run.epoch.as_slice().try_into().ok()?;
            let (sequence, stored) = kept.runs.get(&(self.instance.0, epoch))?.last_key_value()?;
            Some(v1::AuditPosition {
                epoch: run.epoch.clone(),
                sequence: *sequence,
                hash: stored.hash.0.to_vec(),
            })
        });
        v1::ShipWelcome {
            replica: "fake".to_owned(),
            server_time_us: 0,
            resume: resume.collect(),
            window: manner.window,
            max_batch_bytes: manner.max_batch_bytes,
            max_batch_records: manner.max_batch_records,
            heartbeat_interval_ms: 200,
            silence_limit_ms: 2_000,
            countersign_key: self.shared.signer.public().0.to_vec(),
        }
    }

    async fn take(&mut self, message: In, manner: &Manner) -> Option<()> {
        match message {
            In::Hello(_) => self.fault("a second hello"),
            In::Ping(_) => {}
            In::Erased(erased) => self.keep(|kept| kept.erased.push(erased)),
            In::Subjects(subjects) => {
                self.keep(|kept| {
                    for subject in subjects.subjects {
                        kept.names.insert(subject.pseudonym, subject.name);
                    }
                });
                self.send(Out::SubjectsAck(v1::ShipSubjectsAck { number: subjects.number })).await?;
            }
            In::Batch(batch) => {
                self.batches += 1;
                if batch.number != self.batches {
                    self.fault(format!("batch {} comes as number {}", batch.number, self.batches));
                }
                if self.batches == 1
                    && let Some(wait) = manner.slow_down
                {
                    let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
                    let reason = "store_busy".to_owned();
                    self.send(Out::SlowDown(v1::ShipSlowDown { wait_ms, reason })).await?;
                }
                let covers = self.store(&batch);
                if manner.breaks_after.is_some_and(|count| self.batches >= count) {
                    return None;
                }
                if manner.is_frozen || manner.is_silent {
                    return Some(());
                }
                sleep(manner.delay).await;
                let ack = self.ack(&batch, covers);
                self.send(Out::Ack(ack)).await?;
                if manner.drains_after.is_some_and(|count| self.batches == count) {
                    let drain = v1::ShipDrain { within_ms: 50, reason: "age".to_owned() };
                    self.send(Out::Drain(drain)).await?;
                }
            }
        }
        Some(())
    }

    fn ack(&mut self, batch: &v1::ShipBatch, covers: Option<kt_audit::Position>) -> v1::ShipAck {
        let place = |position: &kt_audit::Position| v1::AuditPosition {
            epoch: position.epoch.0.to_vec(),
            sequence: position.sequence,
            hash: position.hash.0.to_vec(),
        };
        let countersignature = covers.map(|covers| {
            let signed_us = 1_800_000_000_000_000;
            let message = countersignature_message(self.instance, &covers, signed_us);
            v1::Countersignature {
                covers: Some(place(&covers)),
                signed_us,
                signature: Some(v1::Signature {
                    key_id: self.shared.signer.public().id().0.to_vec(),
                    signature: self.shared.signer.sign(&message).0.to_vec(),
                }),
            }
        });
        v1::ShipAck {
            number: batch.number,
            position: Some(v1::AuditPosition {
                epoch: batch.epoch.clone(),
                sequence: batch.first_sequence + u64::from(batch.count) - 1,
                hash: batch.last_hash.clone(),
            }),
            duplicates: std::mem::take(&mut self.duplicates),
            countersignature,
        }
    }

    /// Stores a batch; whatever is wrong with it is a fault. Returns what its last checkpoint covers.
    fn store(&mut self, batch: &v1::ShipBatch) -> Option<kt_audit::Position> {
        let size = usize::try_from(batch.frames_bytes).unwrap_or(usize::MAX);
        let (Ok(frames), Ok(epoch)) =
            (zstd::bulk::decompress(&batch.frames, size), <[u8; 16]>::try_from(batch.epoch.as_slice()))
        else {
            self.fault("a batch can't be unpacked");
            return None;
        };
        let key = (self.instance.0, epoch);
        let (mut rest, mut sequence) = (frames.as_slice(), batch.first_sequence);
        let mut previous = batch.previous_hash.clone();
        let mut covers = None;
        let mut faults = Vec::new();
        let mut duplicates = 0;
        self.keep(|kept| {
            kept.batches += 1;
            kept.losses.extend(batch.loss);
            if !kept.order.contains(&key) {
                kept.order.push(key);
            }
            let run = kept.runs.entry(key).or_default();
            for _ in 0..batch.count {
                let Ok(frame) = parse_frame(rest) else {
                    faults.push(format!("record {sequence} can't be read"));
                    return;
                };
                rest = rest.get(frame.stored_len()..).unwrap_or_default();
                if frame.sequence != sequence || frame.previous.0.as_slice() != previous {
                    faults.push(format!("record {} does not follow in its batch", frame.sequence));
                }
                let hash = frame.hash(self.instance, Epoch(epoch));
                if let Ok(Record { body: Body::Checkpoint(checkpoint), .. }) = Record::parse(frame.payload) {
                    covers = Some(checkpoint.covers);
                }
                let stored = Stored { hash, previous: frame.previous, payload: frame.payload.to_vec() };
                match run.get(&sequence) {
                    Some(there) if *there == stored => duplicates += 1,
                    Some(_) => kept.conflicts += 1,
                    None => drop(run.insert(sequence, stored)),
                }
                previous = hash.0.to_vec();
                sequence += 1;
            }
            if !rest.is_empty() || previous != batch.last_hash {
                faults.push("a batch is not what it says".to_owned());
            }
            kept.duplicates += duplicates;
        });
        self.duplicates += duplicates;
        for fault in faults {
            self.fault(fault);
        }
        covers
    }
}
