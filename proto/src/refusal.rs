//! Why a call was refused: a stable code, a sentence, and who is to do something about it.
//!
//! On the wire a refusal is a gRPC status with a `google.rpc.ErrorInfo` whose reason is the code and whose domain is
//! [`DOMAIN`]. Both ends decide by the code, never by the text.

use std::{collections::HashMap, fmt, str::FromStr, time::Duration};

use tonic::{Code as Grpc, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of our codes in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "keeptrusts";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $grpc:ident;)*) => {
        /// Why a call was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code on the wire and in `-o json`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            fn grpc(self) -> Grpc {
                match self { $(Self::$name => Grpc::$grpc,)* }
            }
        }

        impl FromStr for Code {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                match text { $($text => Ok(Self::$name),)* _ => Err(()) }
            }
        }
    };
}

codes! {
    /// No token, or one that nobody knows.
    TokenUnknown = "token_unknown", Unauthenticated;
    /// The token was revoked.
    TokenRevoked = "token_revoked", Unauthenticated;
    /// The token has expired.
    TokenExpired = "token_expired", Unauthenticated;
    /// The roles of the token do not allow the call.
    RoleMissing = "role_missing", PermissionDenied;
    /// A gateway asked for something of another fleet.
    WrongFleet = "wrong_fleet", PermissionDenied;
    /// There is no such fleet.
    FleetUnknown = "fleet_unknown", NotFound;
    /// There is a fleet of that name.
    FleetExists = "fleet_exists", AlreadyExists;
    /// A gateway has shown a newer generation than the store has: nothing is published until `kt fleet recover`.
    FleetDiverged = "fleet_diverged", FailedPrecondition;
    /// There is no such pack or version.
    PackUnknown = "pack_unknown", NotFound;
    /// The version is taken, with other bytes.
    VersionTaken = "version_taken", AlreadyExists;
    /// The source is larger than a pack may be.
    PackTooLarge = "pack_too_large", InvalidArgument;
    /// The digest is not that of the stored version.
    DigestMismatch = "digest_mismatch", FailedPrecondition;
    /// A signature does not fit its statement.
    SignatureInvalid = "signature_invalid", InvalidArgument;
    /// The statement can't be read or does not fit its fleet, generation or packs.
    StatementInvalid = "statement_invalid", InvalidArgument;
    /// The statement has expired already.
    StatementExpired = "statement_expired", FailedPrecondition;
    /// The head is another one than the caller saw.
    GenerationConflict = "generation_conflict", Aborted;
    /// There is no such token.
    TokenNotFound = "token_not_found", NotFound;
    /// The last admin token can't be revoked.
    LastAdmin = "last_admin", FailedPrecondition;
    /// A key set that does not make sense.
    KeySetInvalid = "key_set_invalid", InvalidArgument;
    /// An argument that does not make sense.
    ArgumentInvalid = "argument_invalid", InvalidArgument;
    /// The request id was used for something else.
    RequestIdReused = "request_id_reused", AlreadyExists;
    /// The store does not answer; what is in memory is still served.
    StoreUnavailable = "store_unavailable", Unavailable;
    /// The store has no room left.
    StoreFull = "store_full", ResourceExhausted;
    /// It is not known whether the write was done; asking again with the same request id tells.
    OutcomeUnknown = "outcome_unknown", Unavailable;
    /// The replica has not read its store yet, or goes away.
    NotReady = "not_ready", Unavailable;
    /// Too much at once.
    Busy = "busy", ResourceExhausted;
    /// The format of audit records is one that the server does not know.
    FormatUnsupported = "format_unsupported", FailedPrecondition;
    /// The control plane keeps no audit records.
    AuditNotKept = "audit_not_kept", FailedPrecondition;
    /// A batch of audit records that does not hold what it says.
    BatchInvalid = "batch_invalid", InvalidArgument;
    /// There is no such person, request or instance.
    EventUnknown = "event_unknown", NotFound;
    /// A hold covers what was to be erased.
    HoldStands = "hold_stands", FailedPrecondition;
    /// There is no such hold.
    HoldUnknown = "hold_unknown", NotFound;
    /// A stored record that can't be read.
    StoreCorrupt = "store_corrupt", DataLoss;
}

impl Code {
    /// Whether the same call may go through later without a change.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::StoreUnavailable | Self::OutcomeUnknown | Self::NotReady | Self::Busy)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refused call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Why.
    pub code: Code,
    /// For people: lower case, one line, what is wrong and what to do.
    pub message: String,
    /// When to come back, where the server knows.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// The refusal that a status carries; absent when it is none of ours.
    pub fn of(status: &Status) -> Option<Self> {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
        Some(Self {
            code: info.reason.parse().ok()?,
            message: status.message().to_owned(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        })
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut details = ErrorDetails::with_error_info(refusal.code.as_str(), DOMAIN, HashMap::new());
        if let Some(delay) = refusal.retry_after {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(refusal.code.grpc(), refusal.message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_wire() {
        for code in Code::ALL {
            let refusal =
                Refusal { retry_after: Some(Duration::from_millis(1500)), ..Refusal::new(*code, "no") };
            assert_eq!(Refusal::of(&Status::from(refusal.clone())), Some(refusal));
        }
    }

    #[test]
    fn a_status_of_somebody_else_is_no_refusal_of_ours() {
        assert_eq!(Refusal::of(&Status::unavailable("tcp connect error")), None);
    }
}
