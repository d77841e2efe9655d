//! One call: a limit of time, tried again where that can help, and what a refusal means for a person.

use std::{error::Error as _, time::Duration};

use kt_proto::refusal::{Code, Refusal};
use tonic::{Code as Grpc, Response, Status};

use super::Session;
use crate::exit::CliError;

/// How long one attempt may take.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(30);
/// How often a call is made at most.
const ATTEMPTS: u32 = 6;
/// How often a server that can't be reached is tried: it may be another one by now, behind the same address.
const ATTEMPTS_TO_REACH: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Why a call has no answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The control plane said no.
    Refused(Refusal),
    /// No answer, or one that is none of ours.
    Broken {
        /// The address.
        server: String,
        /// What the transport says.
        status: Status,
    },
    /// No answer in time.
    Late {
        /// The address.
        server: String,
    },
}

// === impl Session ===

impl Session {
    /// Makes a call that changes nothing when it is made twice: a read, or a write with a request id.
    pub(crate) async fn call<Q: Clone, A>(
        &self,
        request: Q,
        make: impl AsyncFn(&Self, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, CallError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let error = match self.once(request.clone(), &make).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if attempt >= error.attempts() {
                return Err(error);
            }
            tokio::time::sleep(error.retry_after().unwrap_or(pause).min(LONGEST_PAUSE)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(CallError::Late { server: self.server.clone() })
    }

    /// Makes a call once.
    pub(crate) async fn once<Q, A>(
        &self,
        request: Q,
        make: impl AsyncFn(&Self, Q) -> Result<Response<A>, Status>,
    ) -> Result<A, CallError> {
        match tokio::time::timeout(ATTEMPT_WITHIN, make(self, request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.error(status)),
            Err(_) => Err(CallError::Late { server: self.server.clone() }),
        }
    }

    /// What a status means.
    pub(crate) fn error(&self, status: Status) -> CallError {
        match Refusal::of(&status) {
            Some(refusal) => CallError::Refused(refusal),
            None => CallError::Broken { server: self.server.clone(), status },
        }
    }
}

// === impl CallError ===

impl CallError {
    /// The code of a refusal.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::Broken { .. } | Self::Late { .. } => None,
        }
    }

    /// How often a call that ends like this is made.
    fn attempts(&self) -> u32 {
        match self {
            Self::Refused(refusal) if refusal.code.is_retryable() => ATTEMPTS,
            Self::Broken { status, .. } if status.code() == Grpc::Unavailable && !is_about_trust(status) => {
                ATTEMPTS_TO_REACH
            }
            Self::Refused(_) | Self::Broken { .. } | Self::Late { .. } => 1,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Broken { .. } | Self::Late { .. } => None,
        }
    }

    /// Whether the same call may go through a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        self.attempts() > 1
    }
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => {
                let error = CliError::failure(format!("{} ({})", refusal.message, refusal.code));
                match help(refusal.code) {
                    Some(help) => error.with_help(help),
                    None => error,
                }
            }
            CallError::Late { server } => {
                CliError::failure(format!("`{server}` did not answer within {} s", ATTEMPT_WITHIN.as_secs()))
                    .with_help("whether a change was made is shown by `kt fleet history`")
            }
            CallError::Broken { server, status } => broken(&server, &status),
        }
    }
}

fn broken(server: &str, status: &Status) -> CliError {
    match status.code() {
        Grpc::Unimplemented => CliError::failure(format!("`{server}` does not know this call"))
            .with_help("it is an older control plane, or something else listens there"),
        Grpc::Unavailable | Grpc::Unknown | Grpc::Cancelled | Grpc::DeadlineExceeded => {
            let error = CliError::failure(format!("can't reach `{server}`: {}", cause(status)));
            if is_about_trust(status) {
                error.with_help("if the certificate is of an authority of your own, name it with `--ca-file`")
            } else {
                error.with_help("is the address right, and does `kt control-plane run` serve there?")
            }
        }
        code => CliError::failure(format!("`{server}` answered {code:?}: {}", status.message())),
    }
}

/// The innermost reason: the outer ones say only that something failed.
fn cause(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

/// Whether the handshake failed over who the server is.
fn is_about_trust(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        let tls = error.downcast_ref::<rustls::Error>().or_else(|| {
            let io = error.downcast_ref::<std::io::Error>()?;
            io.get_ref()?.downcast_ref::<rustls::Error>()
        });
        if tls.is_some() {
            return true;
        }
        source = error.source();
    }
    false
}

/// What to do about a refusal.
fn help(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::TokenUnknown | Code::TokenRevoked | Code::TokenExpired => {
            "`kt auth login` with a token that is valid; an admin makes one with `kt auth token create`"
        }
        Code::RoleMissing => "`kt auth whoami` shows your roles; an admin can make a token with others",
        Code::FleetUnknown => "`kt fleet list` shows the fleets; `kt fleet create` makes one",
        Code::FleetDiverged => "look at `kt fleet status`, then `kt fleet recover`",
        Code::PackUnknown => "`kt pack versions` shows what is there",
        Code::VersionTaken => {
            "a published version never changes: give the pack a new version; `kt pack diff NAME@VERSION FILE` \
             shows what differs"
        }
        Code::PackTooLarge => "move long lists elsewhere; `kt policy lint` says how large a pack may be",
        Code::SignatureInvalid => "sign again, with the key that was meant: `kt key show FILE`",
        Code::StatementInvalid | Code::StatementExpired => "make and sign the statement anew: `kt pack sign`",
        Code::GenerationConflict => {
            "somebody else has changed the fleet: look at `kt fleet history`, then try again"
        }
        Code::TokenNotFound => "`kt auth token list` and `kt gateway token list` show the ids",
        Code::LastAdmin => "make another admin token first: `kt auth token create --role admin`",
        Code::StoreUnavailable | Code::NotReady | Code::Busy => {
            "nothing was changed; gateways keep what they have: try again in a moment"
        }
        Code::StoreFull => "the operator of the control plane has to make room in its store",
        Code::OutcomeUnknown => "`kt fleet history` shows whether it was done",
        Code::StoreCorrupt => "the operator of the control plane has to look at its store",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_pass_is_tried_again() {
        for code in Code::ALL {
            let error = CallError::Refused(Refusal::new(*code, "no"));
            assert_eq!(error.is_passing(), code.is_retryable(), "{code}");
        }
        let broken = |code| CallError::Broken { server: String::new(), status: Status::new(code, "x") };
        assert!(broken(Grpc::Unavailable).is_passing());
        assert!(!broken(Grpc::Internal).is_passing());
    }

    #[test]
    fn a_refusal_keeps_its_code_and_sentence() {
        let error =
            CliError::from(CallError::Refused(Refusal::new(Code::VersionTaken, "`a@1.0.0` is taken")));
        assert_eq!(error.to_string(), "`a@1.0.0` is taken (version_taken)");
        assert!(error.help().unwrap().contains("new version"));
    }
}
