//! The stream to the control plane: a channel of its own, so that records never stand in the way of a policy.

use kt_proto::{
    refusal::Refusal,
    v1::{self, audit_ingest_service_client::AuditIngestServiceClient},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::session::Ended;
use crate::{
    control::{client, session},
    settings::ControlSettings,
};

/// Opens a connection and the stream; what is in `outgoing` already goes first.
pub(crate) async fn open(
    settings: &ControlSettings,
    outgoing: mpsc::Receiver<v1::ShipRequest>,
) -> Result<Streaming<v1::ShipResponse>, Ended> {
    let (channel, bearer) = client::channel(settings).await.map_err(|end| match end {
        session::Ended::Unusable(why) => Ended::Unusable(why),
        session::Ended::Broken(why) => Ended::Broken(why),
        other => Ended::Broken(other.message()),
    })?;
    let mut client = AuditIngestServiceClient::with_interceptor(channel, bearer);
    match client.ship(ReceiverStream::new(outgoing)).await {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(ended(&status)),
    }
}

/// How a stream ended that ended with a status.
pub(crate) fn ended(status: &Status) -> Ended {
    match Refusal::of(status) {
        Some(refusal) => Ended::Denied(refusal.code, refusal.message, refusal.retry_after),
        None if status.code() == Code::Unimplemented => Ended::Unsupported,
        None => Ended::Broken(client::brief(status)),
    }
}
