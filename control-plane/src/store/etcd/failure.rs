//! What went wrong with a call to etcd, by codes and types.
//!
//! The codes are those of etcd's `api/v3rpc/rpctypes` (error.go).

use std::error::Error as _;

use tonic::{Code, Status};

/// Why a call failed, as far as it matters for what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection could be made: nothing was sent.
    Unreachable(String),
    /// The member has no leader and refused the call: nothing was done. Another member may have one.
    NoLeader,
    /// No answer within the deadline.
    Silent,
    /// The call was cut off, or the member gave up on it: it may have been done.
    Broken(String),
    /// Too many requests, or no space: nothing was done.
    Exhausted(String),
    /// The member does not take the request as it is: nothing was done.
    Refused(String),
    /// User, password, token or right: nothing was done.
    Denied(String),
    /// A revision that is compacted, or not there yet.
    OutOfRange,
    /// A lease that is not there (any more): nothing was done.
    NoLease,
}

/// etcd says this with the code `Unavailable`, as it says "request timed out", after which a write may still be done.
/// Its own client tells them apart by these words too (`ErrNoLeader`); nothing else does.
const NO_LEADER: &str = "etcdserver: no leader";

// === impl Failure ===

impl Failure {
    /// Of an error of the client.
    pub(super) fn of(error: etcd_client::Error) -> Self {
        match error {
            etcd_client::Error::GRpcStatus(status) => Self::of_status(&status),
            etcd_client::Error::TransportError(error) => Self::Unreachable(deepest(&error)),
            etcd_client::Error::IoError(error) => Self::Broken(error.to_string()),
            other => Self::Broken(one_line(&other.to_string())),
        }
    }

    fn of_status(status: &Status) -> Self {
        if was_not_sent(status) {
            return Self::Unreachable(status.source().map_or_else(|| describe(status), deepest));
        }
        match status.code() {
            Code::Unavailable if status.message() == NO_LEADER => Self::NoLeader,
            Code::ResourceExhausted => Self::Exhausted(describe(status)),
            Code::InvalidArgument => Self::Refused(describe(status)),
            // FailedPrecondition: a login where logins are off.
            Code::Unauthenticated | Code::PermissionDenied | Code::FailedPrecondition => {
                Self::Denied(describe(status))
            }
            Code::OutOfRange => Self::OutOfRange,
            Code::NotFound => Self::NoLease,
            // Unknown and Internal are what broken streams look like in tonic.
            _ => Self::Broken(describe(status)),
        }
    }

    /// Whether it is certain that nothing was done, so that the call may be made again.
    pub(super) fn was_not_done(&self) -> bool {
        !matches!(self, Self::Silent | Self::Broken(_))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Unreachable(text)
            | Self::Broken(text)
            | Self::Exhausted(text)
            | Self::Refused(text)
            | Self::Denied(text) => text.clone(),
            Self::NoLeader => "the cluster has no leader".to_owned(),
            Self::Silent => "no answer in time".to_owned(),
            Self::OutOfRange => "the revision is compacted".to_owned(),
            Self::NoLease => "the lease has ended".to_owned(),
        }
    }
}

/// Whether no connection was there to send on: tonic marks that with a type of its own in the chain of causes.
fn was_not_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn describe(status: &Status) -> String {
    if status.message().is_empty() { format!("{:?}", status.code()) } else { one_line(status.message()) }
}

/// The cause at the end of the chain: "connection refused", not "transport error".
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    one_line(&last.to_string())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, message: &str) -> Failure {
        Failure::of(etcd_client::Error::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn what_may_have_been_done_is_never_called_undone() {
        // The codes and words are those of etcd 3.4's rpctypes.
        for (code, message) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "etcdserver: server stopped"),
            (Code::Unknown, "raft proposal dropped"),
            (Code::Unknown, "h2 protocol error: broken pipe"),
            (Code::Internal, ""),
            (Code::Cancelled, "operation was canceled"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (Code::DataLoss, "etcdserver: corrupt cluster"),
        ] {
            assert!(!of(code, message).was_not_done(), "{code:?} {message}");
        }
    }

    #[test]
    fn refusals_are_sorted_by_code() {
        assert_eq!(of(Code::Unavailable, "etcdserver: no leader"), Failure::NoLeader);
        assert!(matches!(
            of(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            Failure::Exhausted(_)
        ));
        assert!(matches!(of(Code::InvalidArgument, "etcdserver: request is too large"), Failure::Refused(_)));
        assert!(matches!(of(Code::PermissionDenied, "etcdserver: permission denied"), Failure::Denied(_)));
        assert!(matches!(of(Code::Unauthenticated, "etcdserver: invalid auth token"), Failure::Denied(_)));
        assert_eq!(
            of(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
            Failure::OutOfRange
        );
        assert_eq!(of(Code::NotFound, "etcdserver: requested lease not found"), Failure::NoLease);
    }

    #[test]
    fn a_call_without_a_connection_was_not_sent() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(tonic::ConnectError(Box::new(refused))));
        let failure = Failure::of(etcd_client::Error::GRpcStatus(status));
        assert_eq!(failure, Failure::Unreachable("connection refused".to_owned()));
    }

    #[test]
    fn texts_are_one_line() {
        assert_eq!(of(Code::Internal, "a\n  b").text(), "a b");
        assert_eq!(of(Code::Internal, "").text(), "Internal");
    }
}
