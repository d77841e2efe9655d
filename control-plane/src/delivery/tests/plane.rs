//! A control plane as far as delivery needs one, and gateways that say what a test tells them to.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture};
use kt_audit::Digest;
use kt_proto::{signed, store::v1 as store, v1};
use prost::Message as _;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Status, Streaming, transport::Channel};
use v1::{
    delivery_service_client::DeliveryServiceClient, gateway_message::Message as Said,
    server_message::Message as Heard,
};

use crate::{
    bodies::Bodies,
    delivery::{Delivery, DeliveryMetrics, DeliveryOptions},
    metrics::MirrorMetrics,
    mirror::{Mirror, MirrorOptions},
    paths::StateKey,
    store::{
        Commit, Committed, Entry, Revision, Snapshot, Store, StoreError, Watch, Write, scripted::Scripted,
    },
};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// The way of a replica to its store: watches can be made to stand still, and everything else to fail.
#[derive(Debug)]
pub(super) struct Slow {
    store: Arc<Scripted>,
    is_held: watch::Sender<bool>,
    is_cut: watch::Sender<bool>,
}

impl Slow {
    fn new(store: &Arc<Scripted>) -> Arc<Self> {
        let (is_held, is_cut) = (watch::Sender::new(false), watch::Sender::new(false));
        Arc::new(Self { store: Arc::clone(store), is_held, is_cut })
    }

    /// Whether watches tell nothing; what they have missed comes when they do again, in order.
    pub(super) fn hold(&self, is_held: bool) {
        self.is_held.send_replace(is_held);
    }

    /// Whether the store can't be reached; watches that are open stand still too.
    pub(super) fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
        self.hold(is_cut);
    }

    fn unless_cut<'a, T: Send + 'a>(
        &self,
        call: BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        if *self.is_cut.borrow() {
            return Box::pin(async { Err(StoreError::Unavailable("cut off".to_owned())) });
        }
        call
    }
}

impl Store for Slow {
    fn load<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Snapshot, StoreError>> {
        self.unless_cut(self.store.load(prefix))
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        self.unless_cut(self.store.get(key))
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.unless_cut(self.store.commit(commit))
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        let is_held = self.is_held.subscribe();
        let late = self.store.watch(prefix, after).then(move |event| {
            let mut is_held = is_held.clone();
            async move {
                let _ = is_held.wait_for(|is_held| !is_held).await;
                event
            }
        });
        Box::pin(late)
    }

    fn epoch(&self) -> String {
        self.store.epoch()
    }

    fn kind(&self) -> &'static str {
        self.store.kind()
    }
}

/// A store with the fleet `default` and its token `kt_gw_default`.
pub(super) struct Plane {
    pub(super) store: Arc<Scripted>,
    slow: Arc<Slow>,
    bodies: Bodies,
}

/// A replica over it.
pub(super) struct Replica {
    pub(super) delivery: Delivery,
    pub(super) mirror: Mirror,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A gateway on a connection of its own.
pub(super) struct Gateway {
    client: DeliveryServiceClient<Channel>,
    token: String,
    says: mpsc::Sender<v1::GatewayMessage>,
    hears: Result<Streaming<v1::ServerMessage>, Status>,
}

pub(super) fn hello(id: u128) -> v1::Hello {
    v1::Hello {
        fleet: "default".to_owned(),
        gateway_id: uuid::Uuid::from_u128(id).to_string(),
        name: format!("gw-{id}"),
        process_id: uuid::Uuid::from_u128(id + 1000).to_string(),
        build: "0.1.0".to_owned(),
        features: vec!["policy:rbac".to_owned()],
        max_pack_bytes: 4 << 20,
        ..v1::Hello::default()
    }
}

pub(super) fn heartbeat() -> Said {
    Said::Heartbeat(v1::GatewayHeartbeat::default())
}

// === impl Plane ===

impl Plane {
    pub(super) async fn new() -> Self {
        let store = Arc::new(Scripted::new());
        let bodies = Bodies::new(Arc::clone(&store) as Arc<dyn Store>, 16 << 20);
        let slow = Slow::new(&store);
        let plane = Self { store, slow, bodies };
        plane.fleet("default").await;
        plane.token("default", "kt_gw_default").await;
        plane.write_token("kt_at_person", v1::Role::Admin, "", 0).await;
        plane
    }

    /// From now on no watch tells anything.
    pub(super) fn hold_watches(&self) {
        self.slow.hold(true);
    }

    async fn put(&self, key: StateKey<'_>, record: &impl prost::Message) {
        let write = Write::Put(key.path(), record.encode_to_vec().into());
        self.store.commit(Commit { writes: vec![write], ..Commit::default() }).await.unwrap();
    }

    pub(super) async fn fleet(&self, name: &str) {
        let record = store::FleetRecord { name: name.to_owned(), ..Default::default() };
        self.put(StateKey::Fleet(name), &record).await;
    }

    pub(super) async fn token(&self, fleet: &str, text: &str) {
        self.write_token(text, v1::Role::Gateway, fleet, 0).await;
    }

    pub(super) async fn revoke(&self, text: &str) {
        self.write_token(text, v1::Role::Gateway, "default", 1).await;
    }

    async fn write_token(&self, text: &str, role: v1::Role, fleet: &str, revoked_us: i64) {
        let token = v1::Token {
            id: text.to_owned(),
            name: "of a test".to_owned(),
            roles: vec![role.into()],
            fleet: fleet.to_owned(),
            revoked_us,
            ..v1::Token::default()
        };
        let sha256 = Digest::of(text.as_bytes()).0.to_vec();
        let record = store::TokenRecord { token: Some(token), sha256, ..Default::default() };
        self.put(StateKey::Token(text), &record).await;
    }

    /// Stores `source` as a version of `demo` and assigns it, as a generation of its own.
    pub(super) async fn publish(&self, fleet: &str, generation: u64, source: &[u8]) -> Digest {
        let (digest, _) = self.bodies.put(Bytes::copy_from_slice(source)).await.unwrap();
        let version = format!("{generation}.0.0");
        let pack = v1::PackRef {
            name: "demo".to_owned(),
            version: version.clone(),
            digest: digest.0.to_vec(),
            size: source.len() as u64,
        };
        let needs = v1::Feature { name: "policy:rbac".to_owned(), path: "policy.rbac".to_owned(), line: 3 };
        let stored =
            v1::PackVersion { pack: Some(pack.clone()), features: vec![needs], ..Default::default() };
        let record = store::PackVersionRecord { version: Some(stored), ..Default::default() };
        self.put(StateKey::PackVersion { name: "demo", version: &version }, &record).await;
        let statement =
            v1::AssignmentStatement { fleet: fleet.to_owned(), generation, packs: vec![pack], expires_us: 0 };
        let assignment =
            v1::Assignment { assignment: Some(signed::seal(&statement, &[])), ..Default::default() };
        self.put(StateKey::Head(fleet), &assignment).await;
        digest
    }

    pub(super) async fn keys(&self, fleet: &str, generation: u64, ids: &[&str]) {
        let key = |id: &&str| v1::GatewayKey { id: (*id).to_owned(), ..Default::default() };
        let statement = v1::KeySetStatement {
            fleet: fleet.to_owned(),
            generation,
            keys: ids.iter().map(key).collect(),
            expires_us: 0,
        };
        let key_set = Some(signed::seal(&statement, &[]));
        let record = store::KeySetRecord { key_set, generation, ..Default::default() };
        self.put(StateKey::KeySet(fleet), &record).await;
    }

    /// The head, as a gateway that has it shows it.
    pub(super) async fn head(&self, fleet: &str) -> v1::Held {
        let entry = self.store.get(&StateKey::Head(fleet).path()).await.unwrap().unwrap();
        let statement = v1::Assignment::decode(entry.value).unwrap().assignment.unwrap();
        let generation = signed::read::<v1::AssignmentStatement>(&statement).unwrap().generation;
        v1::Held { generation, digest: signed::digest(&statement).0.to_vec(), source: 1 }
    }

    /// Waits for the mark.
    pub(super) async fn divergence(&self, fleet: &str) -> v1::Divergence {
        v1::Divergence::decode(self.written(&StateKey::Divergence(fleet).path()).await).unwrap()
    }

    /// Waits for the mark of the key set.
    pub(super) async fn key_set_divergence(&self, fleet: &str) -> v1::Divergence {
        v1::Divergence::decode(self.written(&StateKey::KeySetDivergence(fleet).path()).await).unwrap()
    }

    pub(super) async fn no_divergence(&self, fleet: &str) -> Option<Bytes> {
        self.store.get(&StateKey::Divergence(fleet).path()).await.unwrap().map(|entry| entry.value)
    }

    /// Waits for the record.
    pub(super) async fn key_use(&self, fleet: &str) -> std::collections::BTreeMap<String, i64> {
        let bytes = self.written(&StateKey::KeyUse(fleet).path()).await;
        store::KeyUseRecord::decode(bytes).unwrap().last_used_us
    }

    async fn written(&self, key: &str) -> Bytes {
        let mut watch = self.store.watch(key, self.store.revision());
        let written = async {
            loop {
                if let Some(entry) = self.store.get(key).await.unwrap() {
                    return entry.value;
                }
                watch.next().await.unwrap().unwrap();
            }
        };
        timeout(LONG, written).await.expect("it is written")
    }

    pub(super) async fn start(&self, options: DeliveryOptions) -> Replica {
        self.start_over(Arc::clone(&self.slow), options).await
    }

    /// A replica with a way of its own to the store.
    pub(super) async fn start_apart(&self, options: DeliveryOptions) -> (Replica, Arc<Slow>) {
        let way = Slow::new(&self.store);
        (self.start_over(Arc::clone(&way), options).await, way)
    }

    async fn start_over(&self, way: Arc<Slow>, options: DeliveryOptions) -> Replica {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let store = way as Arc<dyn Store>;
        let mirror = Mirror::start(
            Arc::clone(&store),
            MirrorOptions::default(),
            MirrorMetrics::default(),
            &tasks,
            stop.clone(),
        );
        assert!(mirror.ready().await);
        let delivery = Delivery::new(
            mirror.clone(),
            self.bodies.clone(),
            store,
            options,
            DeliveryMetrics::default(),
            &tasks,
            &stop,
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = tonic::transport::Server::builder()
            .add_service(delivery.service())
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
        tasks.spawn(async move { serve.await.unwrap() });
        Replica { delivery, mirror, address, stop, tasks }
    }
}

// === impl Replica ===

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Replica {
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        timeout(LONG, self.tasks.wait()).await.expect("everything ends");
    }

    pub(super) async fn connect(&self, id: u128, token: &str) -> Gateway {
        self.connect_as(hello(id), token).await
    }

    pub(super) async fn connect_as(&self, hello: v1::Hello, token: &str) -> Gateway {
        let mut client = DeliveryServiceClient::connect(format!("http://{}", self.address)).await.unwrap();
        let (says, said) = mpsc::channel(8);
        says.send(v1::GatewayMessage { message: Some(Said::Hello(hello)) }).await.unwrap();
        let request = authorised(ReceiverStream::new(said), token);
        let hears = client.subscribe(request).await.map(tonic::Response::into_inner);
        Gateway { client, token: token.to_owned(), says, hears }
    }

    /// The generation of the head that this replica knows.
    pub(super) fn generation(&self, fleet: &str) -> u64 {
        let state = self.mirror.state();
        state.fleet(fleet).and_then(|fleet| fleet.head.as_ref()).map_or(0, |head| head.statement.generation)
    }

    /// The first status that is as it should be.
    pub(super) async fn status_when(
        &self,
        fleet: &str,
        is_right: impl Fn(&v1::fleet_status::Counts) -> bool,
    ) -> v1::FleetStatus {
        let mut watched =
            Box::pin(self.delivery.watch_status(fleet).await.unwrap().expect("the fleet is known"));
        let mut last = None;
        let right = async {
            loop {
                let status = watched.next().await.expect("the watch goes on");
                if is_right(&status.counts.unwrap()) {
                    return status;
                }
                last = Some(status);
            }
        };
        match timeout(LONG, right).await {
            Ok(status) => status,
            Err(_) => panic!("the status stays {last:?}"),
        }
    }
}

fn authorised<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

// === impl Gateway ===

impl Gateway {
    pub(super) async fn send(&self, message: Said) {
        // The stream may have ended, which the test finds out by reading.
        let _ = self.says.send(v1::GatewayMessage { message: Some(message) }).await;
    }

    /// The next message that is no heartbeat.
    pub(super) async fn message(&mut self) -> Result<Option<Heard>, Status> {
        let stream = match &mut self.hears {
            Ok(stream) => stream,
            Err(status) => return Err(status.clone()),
        };
        loop {
            let message = timeout(LONG, stream.message()).await.expect("something comes")?;
            match message {
                Some(v1::ServerMessage { message: Some(Heard::Heartbeat(_)) }) => {}
                Some(message) => return Ok(message.message),
                None => return Ok(None),
            }
        }
    }

    pub(super) async fn next(&mut self) -> Heard {
        self.message().await.unwrap().expect("the stream goes on")
    }

    pub(super) async fn welcome(&mut self) {
        assert!(matches!(self.next().await, Heard::Welcome(_)));
    }

    pub(super) async fn refused(&mut self) -> v1::Refused {
        let Heard::Refused(refused) = self.next().await else { panic!("not refused") };
        assert_eq!(self.message().await.unwrap(), None, "the stream ends after it");
        refused
    }

    pub(super) async fn assign(&mut self) -> v1::Assign {
        let Heard::Assign(assign) = self.next().await else { panic!("no assignment") };
        assign
    }

    pub(super) async fn assign_generation(&mut self) -> u64 {
        let assign = self.assign().await;
        signed::read::<v1::AssignmentStatement>(&assign.assignment.unwrap()).unwrap().generation
    }

    /// The generation of the next key set; assignments before it are passed over.
    pub(super) async fn keys_generation(&mut self) -> u64 {
        loop {
            if let Heard::AssignKeys(assign) = self.next().await {
                return signed::read::<v1::KeySetStatement>(&assign.key_set.unwrap()).unwrap().generation;
            }
        }
    }

    /// Reads until the stream ends, and tells how.
    pub(super) async fn until_end(&mut self) -> Result<(), Status> {
        while self.message().await?.is_some() {}
        Ok(())
    }

    /// Whether nothing comes for a while: for what must not be sent.
    pub(super) async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(300), self.message()).await.is_err()
    }

    pub(super) async fn applied(
        &self,
        document: v1::Document,
        nonce: u64,
        statement: &v1::SignedStatement,
        generation: u64,
    ) {
        let digest = signed::digest(statement).0.to_vec();
        let applied = v1::Applied { document: document.into(), nonce, generation, digest, applied_us: 1 };
        self.send(Said::Applied(applied)).await;
    }

    pub(super) async fn rejected(&self, assign: &v1::Assign, generation: u64) {
        let reason = v1::Reason {
            code: "KT0301".to_owned(),
            message: "`admni` is no role".to_owned(),
            path: "policy.rbac.roles".to_owned(),
            line: 7,
            ..v1::Reason::default()
        };
        let rejected = v1::Rejected {
            document: v1::Document::Assignment.into(),
            nonce: assign.nonce,
            generation,
            digest: signed::digest(assign.assignment.as_ref().unwrap()).0.to_vec(),
            stage: v1::Stage::Compile.into(),
            reasons: vec![reason],
        };
        self.send(Said::Rejected(rejected)).await;
    }

    pub(super) async fn uses(&self, key_use: Vec<v1::KeyUse>) {
        self.send(Said::Heartbeat(v1::GatewayHeartbeat { key_use, ..Default::default() })).await;
    }

    pub(super) async fn fetch(&self, digest: Digest) -> Result<Vec<u8>, Status> {
        let request = authorised(v1::FetchPackRequest { digest: digest.0.to_vec() }, &self.token);
        let mut stream = self.client.clone().fetch_pack(request).await?.into_inner();
        let mut source = Vec::new();
        while let Some(piece) = stream.message().await? {
            source.extend_from_slice(&piece.chunk);
        }
        Ok(source)
    }
}
