//! `keeptrusts.v1.AuditIngestService`: the streams by which gateways send their records. The contract is in
//! `audit.proto`.

mod batch;
mod metrics;
mod session;

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _};
use kt_proto::{
    refusal::{Code, Refusal},
    v1::{
        self,
        audit_ingest_service_server::{AuditIngestService, AuditIngestServiceServer},
    },
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::metrics::IngestMetrics;
use self::session::Session;
use super::Audit;
use crate::auth::Identity;

/// A message: a batch and what is around it.
const MAX_MESSAGE: usize = 8 * 1024 * 1024;

/// How streams are served.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// Batches that may be without an answer.
    pub window: u32,
    /// Bytes of frames in a batch.
    pub max_batch_bytes: u32,
    /// Records in a batch.
    pub max_batch_records: u32,
    /// Something is said at least so often.
    pub heartbeat: Duration,
    /// A gateway that says nothing for so long is taken for gone.
    pub silence: Duration,
    /// Streams at the same time.
    pub streams: usize,
    /// A batch that waits longer for the store tells that its queue is long: the gateway is asked to pause for as long.
    pub slow_store: Duration,
    /// How often a stream asks the store whom its gateway is to erase, a fifth more or less. Whoever asks this replica to
    /// erase somebody is heard at once; this is for what other replicas over the same store were asked.
    pub erasures: Duration,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            window: 4,
            max_batch_bytes: 1024 * 1024,
            max_batch_records: 4_096,
            heartbeat: Duration::from_secs(5),
            silence: Duration::from_secs(20),
            streams: 10_000,
            slow_store: Duration::from_secs(1),
            erasures: Duration::from_mins(1),
        }
    }
}

/// The service; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Ingest(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    audit: Audit,
    settings: IngestSettings,
    metrics: IngestMetrics,
    replica: Arc<str>,
    streams: Arc<Semaphore>,
    tasks: TaskTracker,
    /// We say that we go.
    draining: CancellationToken,
    ending: CancellationToken,
}

impl Ingest {
    /// `draining`: we say that we go; `ending`: streams are cut.
    pub(crate) fn new(
        audit: Audit,
        settings: IngestSettings,
        metrics: IngestMetrics,
        replica: Arc<str>,
        tasks: &TaskTracker,
        (draining, ending): (CancellationToken, CancellationToken),
    ) -> Self {
        let streams = Arc::new(Semaphore::new(settings.streams));
        let tasks = tasks.clone();
        Self(Arc::new(Shared { audit, settings, metrics, replica, streams, tasks, draining, ending }))
    }

    pub(crate) fn service(&self) -> AuditIngestServiceServer<Self> {
        AuditIngestServiceServer::new(self.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
}

/// Tells gateways that nothing is kept here: their records stay with them.
#[derive(Debug, Clone)]
pub(crate) struct NoIngest;

impl NoIngest {
    pub(crate) fn service() -> AuditIngestServiceServer<Self> {
        AuditIngestServiceServer::new(Self)
    }
}

#[tonic::async_trait]
impl AuditIngestService for NoIngest {
    type ShipStream = Outgoing;

    async fn ship(
        &self,
        _: Request<Streaming<v1::ShipRequest>>,
    ) -> Result<Response<Self::ShipStream>, Status> {
        let message = "this control plane keeps no audit records: they stay on the gateway";
        Err(Refusal::new(Code::AuditNotKept, message).into())
    }
}

type Outgoing = Pin<Box<dyn Stream<Item = Result<v1::ShipResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AuditIngestService for Ingest {
    type ShipStream = Outgoing;

    async fn ship(
        &self,
        request: Request<Streaming<v1::ShipRequest>>,
    ) -> Result<Response<Self::ShipStream>, Status> {
        let shared = Arc::clone(&self.0);
        let Some(Identity::Gateway(caller)) = request.extensions().get::<Identity>().cloned() else {
            return Err(Refusal::new(Code::RoleMissing, "`Ship` needs the token of a gateway").into());
        };
        let slot = Arc::clone(&shared.streams).try_acquire_owned().map_err(|_| Refusal {
            retry_after: Some(Duration::from_secs(2)),
            ..Refusal::new(Code::Busy, "as many gateways send records as may: try again shortly")
        })?;
        let (out, outgoing) = mpsc::channel(4);
        let (ending, tasks) = (shared.ending.clone(), shared.tasks.clone());
        let session = Session::new(Arc::clone(&shared), caller, out);
        tasks.spawn(async move {
            shared.metrics.streams.inc();
            ending.run_until_cancelled(session.run(request.into_inner())).await;
            shared.metrics.streams.dec();
            drop(slot);
        });
        Ok(Response::new(ReceiverStream::new(outgoing).boxed()))
    }
}
