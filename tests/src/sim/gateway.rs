//! One simulated gateway: connects, holds what it is given, comes back with full-jitter waits.

use std::{sync::Arc, time::Duration};

use kt_audit::Digest;
use kt_proto::{signed, v1};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use v1::{
    delivery_service_client::DeliveryServiceClient, gateway_message::Message as Said,
    server_message::Message as Heard,
};

use super::{Options, SimError, board::Board};

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A simulated pack is small, its windows may be too.
const WINDOW: u32 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Gateway {
    endpoint: Endpoint,
    token: MetadataValue<Ascii>,
    hello: v1::Hello,
    board: Arc<Board>,
    /// The body that it has, by digest.
    body: Option<Digest>,
}

/// Why a stream is over.
enum Over {
    /// At once, or within a time, as asked.
    Again(Duration),
    /// After a wait that grows.
    Broke { was_welcome: bool },
}

// === impl Gateway ===

impl Gateway {
    pub(super) fn new(
        number: usize,
        address: &str,
        options: &Options,
        board: Arc<Board>,
    ) -> Result<Self, SimError> {
        let endpoint = Endpoint::from_shared(address.to_owned())?
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .buffer_size(8)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        let token = format!("Bearer {}", options.token)
            .parse()
            .map_err(|_| SimError::Pack("the token is no text of a header".to_owned()))?;
        let hello = v1::Hello {
            fleet: options.fleet.clone(),
            gateway_id: uuid::Uuid::now_v7().to_string(),
            name: format!("sim-{number}"),
            process_id: uuid::Uuid::now_v7().to_string(),
            build: concat!("sim ", env!("CARGO_PKG_VERSION")).to_owned(),
            max_pack_bytes: 4 << 20,
            ..v1::Hello::default()
        };
        Ok(Self { endpoint, token, hello, board, body: None })
    }

    /// Runs for ever.
    pub(super) async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let wait = match self.stream().await {
                Over::Again(wait) => {
                    failures = 0;
                    wait
                }
                Over::Broke { was_welcome } => {
                    failures = if was_welcome { 0 } else { failures };
                    let bound = FIRST_WAIT.saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT);
                    failures += 1;
                    bound.mul_f64(random())
                }
            };
            sleep(wait).await;
        }
    }

    /// One connection, from Hello to its end.
    async fn stream(&mut self) -> Over {
        let (says, said) = mpsc::channel(4);
        let hello = v1::Hello { features: kt_policy::features::supported().to_vec(), ..self.hello.clone() };
        let opened = async {
            let mut client = DeliveryServiceClient::new(self.endpoint.connect().await.ok()?);
            says.send(said_message(Said::Hello(hello))).await.ok()?;
            let mut request = Request::new(ReceiverStream::new(said));
            request.metadata_mut().insert("authorization", self.token.clone());
            let heard = client.subscribe(request).await.ok()?.into_inner();
            Some((client, heard))
        };
        let Ok(Some((client, mut heard))) = timeout(Duration::from_secs(30), opened).await else {
            return Over::Broke { was_welcome: false };
        };
        match heard.message().await {
            Ok(Some(v1::ServerMessage { message: Some(Heard::Welcome(welcome)) })) => {
                self.board.welcomed();
                let over = self.listen(client, &mut heard, &says, &welcome).await;
                self.board.left();
                over
            }
            Ok(Some(v1::ServerMessage { message: Some(Heard::Refused(refused)) })) => {
                if refused.why() == v1::refused::Why::Busy {
                    self.board.busy();
                }
                match refused.retry_after_ms {
                    0 => Over::Broke { was_welcome: false },
                    wait => Over::Again(Duration::from_millis(u64::from(wait))),
                }
            }
            _ => Over::Broke { was_welcome: false },
        }
    }

    async fn listen(
        &mut self,
        mut client: DeliveryServiceClient<Channel>,
        heard: &mut Streaming<v1::ServerMessage>,
        says: &mpsc::Sender<v1::GatewayMessage>,
        welcome: &v1::Welcome,
    ) -> Over {
        let millis = |millis: u32| Duration::from_millis(u64::from(millis.max(100)));
        let mut beat = interval(millis(welcome.heartbeat_interval_ms));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                _ = beat.tick() => {
                    let heartbeat = v1::GatewayHeartbeat {
                        assignment: self.hello.assignment.clone(),
                        key_set: self.hello.key_set.clone(),
                        ..v1::GatewayHeartbeat::default()
                    };
                    if says.send(said_message(Said::Heartbeat(heartbeat))).await.is_err() {
                        return self.broke();
                    }
                    continue;
                }
                message = timeout(millis(welcome.silence_limit_ms), heard.message()) => message,
            };
            let Ok(Ok(Some(message))) = message else { return self.broke() };
            let answer = match message.message {
                Some(Heard::Assign(assign)) => self.assigned(&mut client, assign).await,
                Some(Heard::AssignKeys(assign)) => Ok(self.keys_assigned(assign)),
                Some(Heard::Drain(drain)) => {
                    return Over::Again(Duration::from_millis(u64::from(drain.within_ms)).mul_f64(random()));
                }
                _ => Ok(None),
            };
            match answer {
                Ok(Some(applied)) => {
                    if says.send(said_message(Said::Applied(applied))).await.is_err() {
                        return self.broke();
                    }
                }
                Ok(None) => {}
                Err(_) => return self.broke(),
            }
        }
    }

    fn broke(&self) -> Over {
        self.board.broke();
        Over::Broke { was_welcome: true }
    }

    async fn assigned(
        &mut self,
        client: &mut DeliveryServiceClient<Channel>,
        assign: v1::Assign,
    ) -> Result<Option<v1::Applied>, Status> {
        let signed_statement = assign.assignment.unwrap_or_default();
        let Ok(statement) = signed::read::<v1::AssignmentStatement>(&signed_statement) else {
            return Ok(None);
        };
        for pack in &statement.packs {
            let Ok(digest) = <[u8; 32]>::try_from(&*pack.digest).map(Digest) else { return Ok(None) };
            if self.body != Some(digest) {
                self.fetch(client, digest).await?;
                self.body = Some(digest);
            }
        }
        let digest = signed::digest(&signed_statement);
        let held = self.take(v1::Document::Assignment, statement.generation, digest);
        Ok(held.then(|| applied(v1::Document::Assignment, assign.nonce, statement.generation, digest)))
    }

    fn keys_assigned(&mut self, assign: v1::AssignKeys) -> Option<v1::Applied> {
        let signed_statement = assign.key_set.unwrap_or_default();
        let statement = signed::read::<v1::KeySetStatement>(&signed_statement).ok()?;
        let digest = signed::digest(&signed_statement);
        self.take(v1::Document::KeySet, statement.generation, digest)
            .then(|| applied(v1::Document::KeySet, assign.nonce, statement.generation, digest))
    }

    /// Holds it from now on; false: it is lower than what is held.
    fn take(&mut self, document: v1::Document, generation: u64, digest: Digest) -> bool {
        let (held, tallies) = match document {
            v1::Document::KeySet => (&mut self.hello.key_set, &self.board.key_sets),
            _ => (&mut self.hello.assignment, &self.board.assignments),
        };
        let before = held.as_ref().map_or(0, |held| held.generation);
        if generation < before {
            self.board.went_back();
            return false;
        }
        if generation > before {
            self.board.applied(tallies, generation);
        }
        let source = v1::held::Source::Live.into();
        *held = Some(v1::Held { generation, digest: digest.0.to_vec(), source });
        true
    }

    async fn fetch(&self, client: &mut DeliveryServiceClient<Channel>, digest: Digest) -> Result<(), Status> {
        let mut request = Request::new(v1::FetchPackRequest { digest: digest.0.to_vec() });
        request.metadata_mut().insert("authorization", self.token.clone());
        let mut pieces = client.fetch_pack(request).await?.into_inner();
        let mut source = Vec::new();
        while let Some(piece) = pieces.message().await? {
            source.extend_from_slice(&piece.chunk);
        }
        if Digest::of(&source) == digest { Ok(()) } else { Err(Status::data_loss("another body")) }
    }
}

fn said_message(message: Said) -> v1::GatewayMessage {
    v1::GatewayMessage { message: Some(message) }
}

fn applied(document: v1::Document, nonce: u64, generation: u64, digest: Digest) -> v1::Applied {
    v1::Applied {
        document: document.into(),
        nonce,
        generation,
        digest: digest.0.to_vec(),
        applied_us: jiff::Timestamp::now().as_microsecond(),
    }
}

/// From 0 to 1; the last bytes of such an id are random.
fn random() -> f64 {
    let bytes = uuid::Uuid::now_v7().into_bytes();
    f64::from(u16::from_be_bytes([bytes[14], bytes[15]])) / f64::from(u16::MAX)
}
