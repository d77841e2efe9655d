//! Where records go: the audit log when there is one.

use std::sync::atomic::{AtomicBool, Ordering};

use kt_audit::{
    identity::Subject,
    record::{Body, Closed, Opened},
};
use kt_policy::pack::Durability;

use crate::audit::{self, AppendError, AuditHandle};

/// A record could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// There is no log; a pack that wants one is refused before it gets here.
    #[error("there is no audit log")]
    NoLog,
    /// The log did not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Where records go.
#[derive(Debug)]
pub(crate) struct Recorder {
    handle: Option<AuditHandle>,
    /// The last append failed.
    is_failing: AtomicBool,
}

impl Recorder {
    pub(crate) const fn new(handle: Option<AuditHandle>) -> Self {
        Self { handle, is_failing: AtomicBool::new(false) }
    }

    /// Whether there is a log.
    pub(crate) const fn is_some(&self) -> bool {
        self.handle.is_some()
    }

    /// Records that this run of the log has written.
    pub(crate) fn written(&self) -> u64 {
        self.handle.as_ref().map_or(0, |handle| handle.metrics().written.load(Ordering::Relaxed))
    }

    pub(crate) const fn handle(&self) -> Option<&AuditHandle> {
        self.handle.as_ref()
    }

    /// What stands for a person in records.
    pub(crate) fn subject(&self, name: Option<&str>) -> Option<Subject> {
        Some(self.handle.as_ref()?.subject(name?))
    }

    /// Appends a record and waits as long as `durability` asks.
    pub(crate) async fn append(
        &self,
        mut body: Body,
        durability: Durability,
        subject: Option<Subject>,
    ) -> Result<(), RecordError> {
        let handle = self.handle.as_ref().ok_or(RecordError::NoLog)?;
        if let Some(subject) = &subject {
            match &mut body {
                Body::Opened(opened) => {
                    let Opened { request, .. } = &mut **opened;
                    request.caller.subject = Some(subject.pseudonym());
                }
                Body::Closed(closed) => {
                    let Closed { request, .. } = &mut **closed;
                    request.caller.subject = Some(subject.pseudonym());
                }
                _ => {}
            }
        }
        let durability = match durability {
            Durability::Sync => audit::Durability::Sync,
            Durability::Block => audit::Durability::Block,
            Durability::BestEffort => audit::Durability::BestEffort,
        };
        let result = handle.append(body, durability, subject.as_ref()).await;
        self.is_failing.store(result.is_err(), Ordering::Relaxed);
        result?;
        Ok(())
    }

    /// Whether the last record could not be written.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }
}
