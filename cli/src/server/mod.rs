//! `kt` as a client of a control plane: which one, with which token, and what its answers mean for people.

pub(crate) mod call;
pub(crate) mod config;
mod connect;
mod target;
pub(crate) mod token;
pub(crate) mod view;

use kt_proto::v1::{
    audit_service_client::AuditServiceClient, fleet_service_client::FleetServiceClient,
    key_service_client::KeyServiceClient, pack_service_client::PackServiceClient,
    token_service_client::TokenServiceClient,
};
use tonic::{service::interceptor::InterceptedService, transport::Channel};

pub(crate) use self::target::{ServerArgs, Target, normal};
use crate::exit::CliError;

/// The largest answer that is read: a key set or a list of versions with their warnings.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A connection to a control plane as somebody.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Its address, for messages.
    server: String,
    service: InterceptedService<Channel, token::Bearer>,
}

macro_rules! client {
    ($name:ident, $client:ident) => {
        pub(crate) fn $name(&self) -> $client<InterceptedService<Channel, token::Bearer>> {
            $client::new(self.service.clone()).max_decoding_message_size(MAX_ANSWER)
        }
    };
}

// === impl Session ===

impl Session {
    /// Prepares a connection; it is made with the first call.
    pub(crate) fn new(target: &Target) -> Result<Self, CliError> {
        let channel = connect::channel(&target.server, target.ca_file.as_deref())?;
        let bearer = token::Bearer::new(&target.token)?;
        Ok(Self { server: target.server.clone(), service: InterceptedService::new(channel, bearer) })
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    client!(packs, PackServiceClient);
    client!(fleets, FleetServiceClient);
    client!(keys, KeyServiceClient);
    client!(tokens, TokenServiceClient);
    client!(events, AuditServiceClient);
}

/// Runs the part of a command that talks to a control plane.
pub(crate) fn run<T>(
    args: &ServerArgs,
    work: impl AsyncFnOnce(Session) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let target = args.resolve()?;
    block_on(async { work(Session::new(&target)?).await })
}

/// Runs a future on a runtime of this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failure(format!("can't start the runtime: {error}")))?
        .block_on(work)
}
