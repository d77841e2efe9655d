//! What the store says, as a refusal.

use kt_proto::refusal::{Code, Refusal};

use crate::store::StoreError;

/// A refusal.
pub(crate) fn refused(code: Code, message: impl Into<String>) -> Refusal {
    Refusal::new(code, message)
}

/// Why a call is refused when the store does not do what it should.
pub(crate) fn store_refused(error: &StoreError) -> Refusal {
    let (code, help) = match error {
        StoreError::Unavailable(_) => (Code::StoreUnavailable, "nothing was changed; try again later"),
        StoreError::OutcomeUnknown(_) => {
            (Code::OutcomeUnknown, "try again with the same request id: what was done is not done twice")
        }
        StoreError::Full(_) => (Code::StoreFull, "make room, then try again"),
        StoreError::Denied(_) => {
            (Code::StoreUnavailable, "the control plane's access to its store must be repaired")
        }
        StoreError::TooLarge(_) => return refused(Code::ArgumentInvalid, error.to_string()),
        StoreError::Corrupt(_) => (Code::StoreCorrupt, "restore the store from a backup"),
        // What a later build of the trait may say.
        _ => (Code::StoreUnavailable, "the control plane's log says more"),
    };
    refused(code, format!("{error}: {help}"))
}

/// A stored record that can't be read.
pub(crate) fn corrupt(key: &str) -> Refusal {
    tracing::error!(key, "Stored record can't be read.");
    refused(Code::StoreCorrupt, format!("the stored record `{key}` can't be read: restore it from a backup"))
}
