//! A scripted control plane: it says what it is told to, and keeps what gateways say.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _};
use kt_audit::{Digest, sign::Signer};
use kt_proto::{
    refusal::{Code, Refusal},
    signed::seal,
    v1::{
        self,
        delivery_service_server::{DeliveryService, DeliveryServiceServer},
        gateway_message::Message as In,
        server_message::Message as Out,
    },
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

use crate::fake_ingest::FakeIngest;

/// The token that it takes.
pub const TOKEN: &str = "kt_gw_0123456789abcdefghijklmnopqrstuvwxyz";

/// What it wants of gateways.
#[derive(Debug, Clone, Default)]
struct Wanted {
    assignment: Option<(v1::SignedStatement, Vec<v1::Feature>)>,
    key_set: Option<v1::SignedStatement>,
    /// What heartbeats say, above what was sent.
    spoken_of: u64,
    spoken_digest: Vec<u8>,
    /// Streams of this number and below are ended, in order.
    ended: usize,
    drain: Option<v1::Drain>,
    refuse: Option<v1::Refused>,
}

#[derive(Debug, Default)]
struct Heard {
    messages: Vec<In>,
    streams: usize,
    fetches: usize,
}

/// Shared by its streams. A mutex, held for a push or a copy and never across an await.
#[derive(Debug)]
struct Shared {
    wanted: watch::Sender<Wanted>,
    heard: Mutex<Heard>,
    count: watch::Sender<usize>,
    bodies: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    heartbeat: Duration,
    silence: Duration,
}

/// A control plane that runs. Dropped, it is gone, streams and all.
#[derive(Debug)]
pub struct FakeControlPlane {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What becomes of audit records.
    pub ingest: FakeIngest,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeControlPlane {
    /// Starts one on the loopback that says that it lives five times a second.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(Duration::from_millis(200), Duration::from_secs(3)).await
    }

    /// The same as an older build: it has no service for audit records.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start_without_ingest() -> io::Result<Self> {
        Self::start_as(Duration::from_millis(200), Duration::from_secs(3), false).await
    }

    /// The same with other times between heartbeats and until silence counts.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start_with(heartbeat: Duration, silence: Duration) -> io::Result<Self> {
        Self::start_as(heartbeat, silence, true).await
    }

    async fn start_as(heartbeat: Duration, silence: Duration, has_ingest: bool) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            wanted: watch::Sender::new(Wanted::default()),
            heard: Mutex::default(),
            count: watch::Sender::new(0),
            bodies: Mutex::default(),
            heartbeat,
            silence,
        });
        let service = DeliveryServiceServer::new(Service(Arc::clone(&shared)));
        let ingest = FakeIngest::new();
        let records = has_ingest.then(|| ingest.service());
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // It ends with the test.
            let server = tonic::transport::Server::builder().add_service(service);
            let server = server.add_optional_service(records);
            let _ = server.serve_with_incoming(incoming).await;
        });
        Ok(Self { addr, ingest, shared, _serving: serving })
    }

    /// Its address for gateways.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Keeps the source of a pack.
    pub fn put_body(&self, source: &str) {
        let digest = Digest::of(source.as_bytes());
        lock(&self.shared.bodies).insert(digest.0.to_vec(), source.as_bytes().to_vec());
    }

    /// Keeps bytes under a digest that is not theirs.
    pub fn put_wrong_body(&self, source: &str, bytes: &[u8]) {
        lock(&self.shared.bodies).insert(Digest::of(source.as_bytes()).0.to_vec(), bytes.to_vec());
    }

    /// Wants an assignment, now.
    pub fn assign(&self, assignment: v1::SignedStatement, features: Vec<v1::Feature>) {
        self.shared.wanted.send_modify(|wanted| wanted.assignment = Some((assignment, features)));
    }

    /// Wants a key set, now.
    pub fn assign_keys(&self, key_set: v1::SignedStatement) {
        self.shared.wanted.send_modify(|wanted| wanted.key_set = Some(key_set));
    }

    /// Keeps a pack and wants it as this generation, unsigned or signed.
    pub fn publish(&self, generation: u64, version: &str, source: &str, signers: &[Signer]) {
        self.put_body(source);
        self.assign(seal(&assignment(generation, &[(version, source)]), signers), Vec::new());
    }

    /// Speaks of a generation that it does not send.
    pub fn speak_of(&self, generation: u64) {
        self.shared.wanted.send_modify(|wanted| {
            wanted.spoken_of = generation;
            wanted.spoken_digest.clear();
        });
    }

    /// Speaks of a generation as if it had another content.
    pub fn speak_of_another(&self, generation: u64) {
        self.shared.wanted.send_modify(|wanted| {
            wanted.spoken_of = generation;
            wanted.spoken_digest = vec![7; 32];
        });
    }

    /// Ends every stream in order.
    pub fn end_streams(&self) {
        let streams = lock(&self.shared.heard).streams;
        self.shared.wanted.send_modify(|wanted| wanted.ended = streams);
    }

    /// Asks every gateway to connect again.
    pub fn drain(&self, within: Duration) {
        let within_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        let drain = v1::Drain { within_ms, reason: "age".to_owned() };
        self.shared.wanted.send_modify(|wanted| wanted.drain = Some(drain));
    }

    /// Refuses every gateway from now on, or no longer.
    pub fn refuse(&self, refused: Option<v1::Refused>) {
        self.shared.wanted.send_modify(|wanted| wanted.refuse = refused);
        self.end_streams();
    }

    /// Everything that gateways have said, in order.
    pub fn messages(&self) -> Vec<In> {
        lock(&self.shared.heard).messages.clone()
    }

    /// What gateways have said, in a word each.
    fn told(&self) -> Vec<String> {
        let word = |message: &In| match message {
            In::Hello(_) => "hello".to_owned(),
            In::Applied(applied) => {
                format!("applied {} {}", applied.document().as_str_name(), applied.generation)
            }
            In::Rejected(rejected) => format!("rejected {} {:?}", rejected.generation, rejected.reasons),
            In::Heartbeat(_) => "beat".to_owned(),
        };
        let mut told: Vec<String> = self.messages().iter().map(word).collect();
        told.dedup();
        told
    }

    /// Streams that were opened.
    pub fn streams(&self) -> usize {
        lock(&self.shared.heard).streams
    }

    /// Bodies that were asked for.
    pub fn fetches(&self) -> usize {
        lock(&self.shared.heard).fetches
    }

    /// Waits for a message, after the first `skip`, that `pick` takes; gives what it makes of it and how many messages
    /// there were up to there.
    ///
    /// # Panics
    /// After 30 seconds.
    pub async fn until<T>(&self, skip: usize, pick: impl Fn(&In) -> Option<T>) -> (T, usize) {
        let mut count = self.shared.count.subscribe();
        let search = async {
            loop {
                count.mark_unchanged();
                let found = self
                    .messages()
                    .iter()
                    .enumerate()
                    .skip(skip)
                    .find_map(|(index, message)| pick(message).map(|found| (found, index + 1)));
                if let Some(found) = found {
                    return found;
                }
                if count.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let found = timeout(Duration::from_secs(30), search).await.ok();
        #[expect(clippy::panic, reason = "a test that waits in vain has failed")]
        found.unwrap_or_else(|| panic!("not said within 30 s; said was {:?}", self.told()))
    }

    /// Waits until a generation of a document is said to be in force.
    pub async fn applied(&self, document: v1::Document, generation: u64) -> v1::Applied {
        let pick = |message: &In| match message {
            In::Applied(applied) if applied.document() == document && applied.generation == generation => {
                Some(applied.clone())
            }
            _ => None,
        };
        self.until(0, pick).await.0
    }

    /// Waits for the next refusal after the first `skip` messages.
    pub async fn rejected(&self, skip: usize) -> (v1::Rejected, usize) {
        let pick = |message: &In| match message {
            In::Rejected(rejected) => Some(rejected.clone()),
            _ => None,
        };
        self.until(skip, pick).await
    }

    /// Waits for the `number`th `Hello`, from 1.
    pub async fn hello(&self, number: usize) -> v1::Hello {
        let mut skip = 0;
        for _ in 1..number {
            skip = self.until(skip, |message| matches!(message, In::Hello(_)).then_some(())).await.1;
        }
        let pick = |message: &In| match message {
            In::Hello(hello) => Some(hello.clone()),
            _ => None,
        };
        self.until(skip, pick).await.0
    }
}

/// An assignment of packs named `test`, as (version, source).
pub fn assignment(generation: u64, packs: &[(&str, &str)]) -> v1::AssignmentStatement {
    let pack = |(version, source): &(&str, &str)| v1::PackRef {
        name: "test".to_owned(),
        version: (*version).to_owned(),
        digest: Digest::of(source.as_bytes()).0.to_vec(),
        size: source.len() as u64,
    };
    let packs = packs.iter().map(pack).collect();
    v1::AssignmentStatement { fleet: "default".to_owned(), generation, packs, expires_us: 0 }
}

struct Service(Arc<Shared>);

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn authenticate<T>(request: &Request<T>) -> Result<(), Status> {
    let given = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
    if given == Some(&format!("Bearer {TOKEN}")) {
        return Ok(());
    }
    Err(Refusal::new(Code::TokenUnknown, "the token is not known").into())
}

#[tonic::async_trait]
impl DeliveryService for Service {
    type SubscribeStream = Outgoing<v1::ServerMessage>;
    type FetchPackStream = Outgoing<v1::FetchPackResponse>;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::GatewayMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        authenticate(&request)?;
        let number = {
            let mut heard = lock(&self.0.heard);
            heard.streams += 1;
            heard.streams
        };
        let (out, outgoing) = mpsc::channel(1);
        let session = Session { shared: Arc::clone(&self.0), number, out, nonce: 0 };
        let mut tasks = JoinSet::new();
        tasks.spawn(session.run(request.into_inner()));
        // The task lives as long as the stream that it feeds.
        let stream = ReceiverStream::new(outgoing).map(move |message| {
            let _ = &tasks;
            message
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn fetch_pack(
        &self,
        request: Request<v1::FetchPackRequest>,
    ) -> Result<Response<Self::FetchPackStream>, Status> {
        authenticate(&request)?;
        lock(&self.0.heard).fetches += 1;
        let body = lock(&self.0.bodies).get(&request.get_ref().digest).cloned();
        let body =
            body.ok_or_else(|| Status::from(Refusal::new(Code::PackUnknown, "there is no such pack")))?;
        let chunks: Vec<_> = body
            .chunks(64 * 1024)
            .map(|chunk| Ok(v1::FetchPackResponse { chunk: chunk.to_vec().into() }))
            .collect();
        Ok(Response::new(Box::pin(futures_util::stream::iter(chunks))))
    }
}

struct Session {
    shared: Arc<Shared>,
    number: usize,
    out: mpsc::Sender<Result<v1::ServerMessage, Status>>,
    nonce: u64,
}

impl Session {
    async fn send(&self, message: Out) -> Option<()> {
        self.out.send(Ok(v1::ServerMessage { message: Some(message) })).await.ok()
    }

    fn hear(&self, message: In) {
        lock(&self.shared.heard).messages.push(message);
        self.shared.count.send_modify(|count| *count += 1);
    }

    /// `None`: the gateway is gone.
    async fn run(mut self, mut incoming: Streaming<v1::GatewayMessage>) -> Option<()> {
        let hello = incoming.next().await?.ok()?.message?;
        self.hear(hello);
        let mut wanted = self.shared.wanted.subscribe();
        let now = wanted.borrow_and_update().clone();
        if let Some(refused) = now.refuse {
            return self.send(Out::Refused(refused)).await;
        }
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let welcome = v1::Welcome {
            replica: "fake".to_owned(),
            store_epoch: "1".to_owned(),
            server_time_us: 0,
            heartbeat_interval_ms: millis(self.shared.heartbeat),
            silence_limit_ms: millis(self.shared.silence),
        };
        self.send(Out::Welcome(welcome)).await?;
        let (mut assigned, mut keys, mut drained) = (None, None, now.drain);
        let mut beats = tokio::time::interval(self.shared.heartbeat);
        loop {
            let now = wanted.borrow_and_update().clone();
            if now.ended >= self.number {
                return None;
            }
            if let Some((assignment, features)) = now.assignment
                && assigned.replace(assignment.clone()) != Some(assignment.clone())
            {
                self.nonce += 1;
                let nonce = self.nonce;
                self.send(Out::Assign(v1::Assign { nonce, assignment: Some(assignment), features })).await?;
            }
            if let Some(key_set) = now.key_set
                && keys.replace(key_set.clone()) != Some(key_set.clone())
            {
                self.nonce += 1;
                let nonce = self.nonce;
                self.send(Out::AssignKeys(v1::AssignKeys { nonce, key_set: Some(key_set) })).await?;
            }
            if now.drain != drained
                && let Some(drain) = now.drain.clone()
            {
                drained = now.drain;
                self.send(Out::Drain(drain)).await?;
            }
            tokio::select! {
                message = incoming.next() => {
                    let message = message?.ok()?.message?;
                    self.hear(message);
                }
                changed = wanted.changed() => changed.ok()?,
                _ = beats.tick() => {
                    let beat = v1::ServerHeartbeat {
                        server_time_us: 0,
                        assignment_generation: wanted.borrow().spoken_of,
                        key_set_generation: 0,
                        assignment_digest: wanted.borrow().spoken_digest.clone(),
                        key_set_digest: Vec::new(),
                    };
                    self.send(Out::Heartbeat(beat)).await?;
                }
            }
        }
    }
}
