//! The stream of a gateway's audit records, with a real store behind it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use kt_audit::{
    Digest, Epoch, InstanceId, Pseudonym,
    identity::PseudonymKey,
    segment::{FORMAT_VERSION, encode_frame, parse_frame},
};
use kt_control_plane::{
    audit::store::{AuditStore, Erased, Erasing, Erasure, Who, sqlite::Sqlite},
    settings::{AuditSettings, Settings},
};
use kt_proto::v1::{
    self, Role, audit_ingest_service_client::AuditIngestServiceClient, ship_request::Message as Said,
    ship_response::Message as Heard,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use crate::plane::{Caller, LONG, Plane, settings};

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(7));
const EPOCH: Epoch = Epoch([9; 16]);
/// What says that the other side lives.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// The audit side of a control plane, and its store.
struct Records {
    plane: Plane,
    store: Arc<Sqlite>,
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Records {
    async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.sqlite");
        let store = Arc::new(Sqlite::open(&path).unwrap());
        let plane = over(&store, change).await;
        Self { plane, store, _dir: dir, path }
    }

    async fn gateway(&self) -> Gateway {
        let ann = self.plane.caller(Some(&self.plane.first().token("ann", &[Role::Admin], "").await));
        let edge = self.plane.caller(Some(&ann.token("edge", &[Role::Gateway], "default").await));
        Gateway::connect(&edge).await
    }

    async fn erase(&self, id: u128, pseudonym: Pseudonym) -> Erased {
        let erasure = Erasure {
            id: Uuid::from_u128(id),
            who: Who::Behind(pseudonym),
            reference: "T-1".into(),
            now_us: 1,
            is_repeat: false,
        };
        match self.store.erase(erasure).await.unwrap() {
            Erasing::Done(erased) => erased,
            other => panic!("{other:?}"),
        }
    }
}

async fn over(store: &Arc<Sqlite>, change: impl FnOnce(&mut Settings)) -> Plane {
    let data_dir = tempfile::tempdir().unwrap();
    let mut settings = settings(data_dir.path());
    settings.audit = AuditSettings::Given(Arc::clone(store) as Arc<dyn AuditStore>);
    settings.ingest.heartbeat = HEARTBEAT;
    change(&mut settings);
    Plane::with(settings, data_dir).await
}

/// One that has been welcomed.
struct Gateway {
    says: mpsc::Sender<v1::ShipRequest>,
    hears: tonic::Streaming<v1::ShipResponse>,
    previous: Digest,
    sent: u64,
    key: PseudonymKey,
    named: u64,
}

impl Gateway {
    async fn connect(caller: &Caller) -> Self {
        let (says, said) = mpsc::channel(8);
        let hello = v1::ShipHello {
            instance: INSTANCE.0.as_bytes().to_vec(),
            segment_format: u32::from(FORMAT_VERSION),
            ..v1::ShipHello::default()
        };
        says.send(v1::ShipRequest { message: Some(Said::Hello(hello)) }).await.unwrap();
        let mut client = AuditIngestServiceClient::new(caller.service());
        let hears = client.ship(ReceiverStream::new(said)).await.unwrap().into_inner();
        let key = PseudonymKey::new(&[3; 32]);
        let mut gateway = Self { says, hears, previous: Digest::ZERO, sent: 0, key, named: 0 };
        let Some(Heard::Welcome(_)) = gateway.hear().await else { panic!("no welcome") };
        gateway
    }

    async fn say(&self, message: Said) {
        self.says.send(v1::ShipRequest { message: Some(message) }).await.unwrap();
    }

    /// The next message.
    async fn hear(&mut self) -> Option<Heard> {
        tokio::time::timeout(LONG, self.hears.message()).await.expect("a message").unwrap()?.message
    }

    /// The next message that is no ping, and how many pings came before it.
    async fn hear_more(&mut self) -> (Heard, usize) {
        let mut pings = 0;
        loop {
            match self.hear().await.expect("the stream goes on") {
                Heard::Ping(_) => pings += 1,
                message => return (message, pings),
            }
        }
    }

    /// A batch of one record.
    async fn ship(&mut self) {
        let mut frames = Vec::new();
        encode_frame(&mut frames, self.sent, 1_000, &self.previous, b"{}").unwrap();
        let last = parse_frame(&frames).unwrap().hash(INSTANCE, EPOCH);
        let batch = v1::ShipBatch {
            number: self.sent + 1,
            epoch: EPOCH.0.to_vec(),
            ordinal: 1,
            first_sequence: self.sent,
            count: 1,
            previous_hash: self.previous.0.to_vec(),
            last_hash: last.0.to_vec(),
            compression: v1::ship_batch::Compression::None.into(),
            frames_bytes: u32::try_from(frames.len()).unwrap(),
            frames: frames.into(),
            loss: None,
        };
        self.say(Said::Batch(batch)).await;
        (self.previous, self.sent) = (last, self.sent + 1);
    }

    /// Tells a name, and waits until that is kept; what stands for it in records.
    async fn name(&mut self, name: &str) -> Pseudonym {
        self.named += 1;
        let pseudonym = self.key.subject(name).pseudonym();
        let subject = v1::ShipSubject {
            pseudonym: pseudonym.to_bytes().to_vec(),
            pseudonym_key_id: self.key.id().0.to_vec(),
            name: name.to_owned(),
        };
        self.say(Said::Subjects(v1::ShipSubjects { number: self.named, subjects: vec![subject] })).await;
        assert!(matches!(self.hear_more().await.0, Heard::SubjectsAck(_)));
        pseudonym
    }

    /// Says that it has erased somebody; it is noted or not when this returns.
    async fn has_erased(&mut self, pseudonym: Pseudonym) {
        let pseudonym = pseudonym.to_bytes().to_vec();
        self.say(Said::Erased(v1::ShipErased { pseudonym, ..v1::ShipErased::default() })).await;
        self.name("somebody else").await;
    }
}

#[tokio::test]
async fn a_gateway_is_asked_to_pause_while_the_store_is_slow_and_hears_that_the_control_plane_lives() {
    let records = Records::start(|_| ()).await;
    let mut gateway = records.gateway().await;
    gateway.ship().await;
    let (answer, _) = gateway.hear_more().await;
    assert!(matches!(&answer, Heard::Ack(ack) if ack.number == 1), "{answer:?}");

    // Somebody else writes, and the batch waits for its turn.
    let slow = Settings::new("").ingest.slow_store;
    let writing = rusqlite::Connection::open(&records.path).unwrap();
    writing.execute_batch("BEGIN IMMEDIATE").unwrap();
    gateway.ship().await;
    tokio::time::sleep(slow + HEARTBEAT).await;
    writing.execute_batch("COMMIT").unwrap();
    let (answer, pings) = gateway.hear_more().await;
    let Heard::SlowDown(asked) = &answer else { panic!("{answer:?}") };
    assert!(Duration::from_millis(asked.wait_ms.into()) >= slow, "{asked:?}");
    assert_eq!(asked.reason, "store_busy");
    assert!(pings >= 3, "{pings} pings");
    let (answer, _) = gateway.hear_more().await;
    assert!(matches!(&answer, Heard::Ack(ack) if ack.number == 2), "{answer:?}");
    let (_, metrics) = records.plane.get("/metrics").await;
    assert!(metrics.contains("audit_slow_downs_total 1\n"), "{metrics}");
    drop(gateway);
    records.plane.stop().await;
}

#[tokio::test]
async fn an_erasure_that_another_replica_was_asked_for_reaches_the_streams_of_this_one() {
    let records = Records::start(|settings| settings.ingest.erasures = HEARTBEAT).await;
    let mut gateway = records.gateway().await;
    let dana = gateway.name("dana").await;
    // Not by way of this replica.
    records.erase(1, dana).await;
    let (told, _) = gateway.hear_more().await;
    let Heard::Erase(erase) = told else { panic!("{told:?}") };
    assert_eq!(erase.pseudonyms, [dana.to_bytes().to_vec()]);
    assert_eq!(erase.reference, "T-1");
    // Once.
    gateway.name("erin").await;
    drop(gateway);
    records.plane.stop().await;
}

#[tokio::test]
async fn nobody_counts_as_erased_whom_the_gateway_was_not_asked_to_erase() {
    let records = Records::start(|settings| settings.ingest.erasures = HEARTBEAT).await;
    let mut gateway = records.gateway().await;
    let (dana, erin) = (gateway.name("dana").await, gateway.name("erin").await);
    gateway.has_erased(erin).await;
    assert_eq!(records.erase(1, dana).await.pending, 1);
    assert!(matches!(gateway.hear_more().await.0, Heard::Erase(_)));
    gateway.has_erased(dana).await;
    assert_eq!(records.erase(1, dana).await.pending, 0);
    // What was said too early was not noted: she is still to be erased.
    assert_eq!(records.erase(2, erin).await.pending, 1);
    assert!(matches!(gateway.hear_more().await.0, Heard::Erase(_)));
    drop(gateway);
    records.plane.stop().await;
}

#[tokio::test]
async fn a_gateway_that_says_nothing_is_taken_for_gone() {
    let records = Records::start(|settings| settings.ingest.silence = HEARTBEAT * 5).await;
    let mut gateway = records.gateway().await;
    let end = async { while gateway.hear().await.is_some() {} };
    tokio::time::timeout(LONG, end).await.expect("the stream ends");
    records.plane.stop().await;
}
