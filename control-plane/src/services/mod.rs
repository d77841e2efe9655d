//! What people call. Each service is a thin translation: arguments in, the registry or the mirror, answers out.

mod audit;
mod fleet;
mod gate;
mod key;
mod pack;
mod streamed;
mod token;

use kt_proto::refusal::{Code, Refusal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Request;

pub(crate) use self::gate::GateLayer;
use crate::{
    audit::Audit, auth::Identity, bodies::Bodies, delivery::Delivery, mirror::Mirror, registry::Registry,
};

/// The services; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    pub(crate) registry: Registry,
    pub(crate) mirror: Mirror,
    pub(crate) bodies: Bodies,
    pub(crate) delivery: Delivery,
    /// What keeps audit records; absent: this control plane keeps none.
    pub(crate) audit: Option<Audit>,
    pub(crate) tasks: TaskTracker,
    /// Ends what would go on for ever.
    pub(crate) draining: CancellationToken,
}

/// Who called, as the gate found.
///
/// # Errors
/// When the call came past the gate, which is a fault of ours; it must not be served.
fn identity<T>(request: &Request<T>) -> Result<Identity, Refusal> {
    request.extensions().get::<Identity>().cloned().ok_or_else(|| {
        tracing::error!("Call came past the gate.");
        Refusal::new(Code::TokenUnknown, "it is not known who calls")
    })
}

/// Who called, as the history of changes names it.
fn actor<T>(request: &Request<T>) -> Result<String, Refusal> {
    Ok(identity(request)?.to_string())
}

fn no_such_fleet() -> Refusal {
    Refusal::new(Code::FleetUnknown, "there is no such fleet: `kt fleet list` lists what there is")
}
