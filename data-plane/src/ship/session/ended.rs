//! Why a connection ends.

use std::time::Duration;

use kt_proto::refusal::Code;

/// Why a connection is not there (any more).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// No connection, or it broke.
    Broken(String),
    /// The token file can't be read, or the settings of the connection are bad.
    Unusable(String),
    /// The server refused the stream, with a code of ours.
    Denied(Code, String, Option<Duration>),
    /// The server has no service for audit records.
    Unsupported,
    /// The server ended the stream in order.
    Closed,
    /// Nothing came for too long.
    Silent,
    /// A batch was not answered for too long.
    Unanswered,
    /// The server does not take what is sent.
    Stuck,
    /// It said something that makes no sense.
    Nonsense(&'static str),
    /// The spool can't be read.
    Spool(String),
    /// The server asked for it.
    Drained,
    /// Everything was acknowledged, and the gateway stops.
    Finished,
}

impl Ended {
    /// For people.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Broken(error) => format!("can't be reached: {error}"),
            Self::Unusable(error) => error.clone(),
            Self::Denied(code, message, _) => {
                format!("refuses the records of this gateway ({code}): {message}")
            }
            Self::Unsupported => {
                "has no service for audit records, it is older than this gateway: update it, or \
                                  turn delivery off with `--audit-delivery false`"
                    .to_owned()
            }
            Self::Closed => "ended the connection".to_owned(),
            Self::Silent => "has fallen silent".to_owned(),
            Self::Unanswered => "does not acknowledge what was sent".to_owned(),
            Self::Stuck => "takes no messages".to_owned(),
            Self::Nonsense(what) => format!("does not speak the protocol: {what}"),
            Self::Spool(error) => format!("can't be sent what can't be read here: {error}"),
            Self::Drained => "asked to connect again".to_owned(),
            Self::Finished => "has everything".to_owned(),
        }
    }

    /// Only a person can help.
    pub(crate) fn needs_a_person(&self) -> bool {
        match self {
            Self::Unusable(_) | Self::Unsupported => true,
            Self::Denied(code, ..) => !code.is_retryable(),
            _ => false,
        }
    }

    /// Two ends of one kind are said once.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Denied(one, ..), Self::Denied(two, ..)) => one == two,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}
