//! The side that requests see.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use jiff::Timestamp;
use kt_audit::chain::{Epoch, InstanceId};
use kt_audit::identity::{PseudonymKey, Subject};
use kt_audit::record::{Body, DropReason, Kind, Record, RecordError, Retention};
use kt_audit::sign::PublicKey;
use kt_audit::{Label, Pseudonym};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::fs::RealFs;
use super::metrics::{AuditMetrics, add};
use super::pen::{Pen, Tried};
use super::settings::{Delivery, Durability, Settings};
use super::state::Identity;

/// Hands records to the writer. Cheap to clone; all clones share one queue.
#[derive(Clone)]
pub struct AuditHandle {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) pen: Arc<Pen<RealFs>>,
    pub(crate) sender: Sender<Message>,
    /// The bound of the queue: the channel itself has none, each message holds one of these.
    pub(crate) room: Arc<Semaphore>,
    /// `best_effort` records that are queued: their callers have gone on, and may have more to say.
    pub(crate) unwaited: Arc<AtomicUsize>,
    pub(crate) metrics: Arc<AuditMetrics>,
    pub(crate) identity: Identity,
    pub(crate) epoch: Epoch,
    pub(crate) settings: Settings,
    pub(crate) synced: watch::Receiver<u64>,
}

impl std::fmt::Debug for AuditHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditHandle")
            .field("instance", &self.shared.identity.instance)
            .field("epoch", &self.shared.epoch)
            .finish_non_exhaustive()
    }
}

/// What the writer is told.
pub(crate) enum Message {
    /// Append this record.
    Append(Append),
    /// A record was written past the thread, and it is the first that waits for an fsync.
    Wrote,
    /// An fsync has ended.
    Synced(super::engine::SyncDone),
    /// Forget a person.
    Erase(Erase),
    /// Sign a checkpoint, sync, and stop.
    Stop(Option<oneshot::Sender<()>>),
}

/// A person to be forgotten.
pub(crate) struct Erase {
    pub(crate) subject: Pseudonym,
    pub(crate) reference: Option<Label>,
    pub(crate) reply: oneshot::Sender<Result<u64, AppendError>>,
    /// Given back when the writer is done with it.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// One record on its way to the writer.
pub(crate) struct Append {
    pub(crate) entry: Entry,
    pub(crate) durability: Durability,
    /// When its caller stops waiting.
    pub(crate) deadline: Instant,
    pub(crate) reply: Option<oneshot::Sender<Result<Receipt, AppendError>>>,
    /// Given back when the writer is done with it.
    pub(crate) _room: OwnedSemaphorePermit,
    pub(crate) _unwaited: Option<Unwaited>,
}

/// A queued record that nobody waits for, counted until the writer is done with it.
pub(crate) struct Unwaited(Arc<AtomicUsize>);

impl Unwaited {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Unwaited {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the engine needs of a record.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) payload: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) id: Option<Uuid>,
    pub(crate) retention: Option<Retention>,
    pub(crate) subject: Option<Subject>,
}

impl Entry {
    pub(crate) fn new(body: Body, subject: Option<Subject>) -> Result<Self, RecordError> {
        let (kind, id, retention) = (body.kind(), body.request_id(), body.retention());
        Ok(Self { payload: Record::new(body).payload()?, kind, id, retention, subject })
    }
}

/// Where an acknowledged record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// An fsync covers it.
    Synced {
        /// Its number in the epoch.
        sequence: u64,
    },
    /// The file has it.
    Written {
        /// Its number in the epoch.
        sequence: u64,
    },
    /// `best_effort`: the writer has it.
    Queued,
    /// `best_effort`: it was dropped, and the chain will say so.
    Dropped {
        /// Why.
        reason: DropReason,
    },
}

/// Why a record was not acknowledged. The request must not go upstream.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The queue to the writer stayed full.
    #[error("audit queue is full")]
    QueueFull,
    /// The directory is at its byte cap, or the disk is full.
    #[error("audit directory is full")]
    Full,
    /// The disk refused it.
    #[error("audit record could not be written")]
    Io(#[source] std::io::Error),
    /// The disk has not answered within [`Settings::disk_wait`]. The record may still be written: close the
    /// request as refused, so that an `opened` record does not stand alone.
    #[error("audit disk does not answer")]
    Stalled,
    /// The record can't be stored in any form.
    #[error("audit record can't be stored")]
    Record(#[from] RecordError),
    /// The log has been closed.
    #[error("audit log is closed")]
    Closed,
}

impl AppendError {
    /// Whether the same append may succeed later: a caller answers 503 with `Retry-After` then.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::QueueFull | Self::Full | Self::Io(_) | Self::Stalled)
    }

    pub(crate) fn drop_reason(&self) -> DropReason {
        match self {
            Self::QueueFull => DropReason::QueueFull,
            Self::Full => DropReason::NoSpace,
            Self::Io(_) | Self::Stalled => DropReason::Io,
            Self::Record(_) => DropReason::TooLarge,
            Self::Closed => DropReason::ShuttingDown,
        }
    }
}

impl AuditHandle {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// The person behind `name`: put [`Subject::pseudonym`] in the record and hand the subject over with it, so
    /// that the name is sealed beside the chain.
    pub fn subject(&self, name: &str) -> Subject {
        self.shared.identity.pseudonyms.subject(name)
    }

    /// The key that makes pseudonyms.
    pub fn pseudonym_key(&self) -> &PseudonymKey {
        &self.shared.identity.pseudonyms
    }

    /// The instance that the directory belongs to.
    pub fn instance(&self) -> InstanceId {
        self.shared.identity.instance
    }

    /// This run.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// The public part of the key that signs this run's checkpoints.
    pub fn public_key(&self) -> PublicKey {
        self.shared.identity.signer.public()
    }

    /// What retention asks about the delivery of records, where they are delivered.
    pub fn delivery(&self) -> Option<&Delivery> {
        self.shared.settings.delivery.as_ref()
    }

    /// How many records of this run an fsync covers: those with a smaller sequence. Told after each fsync.
    pub fn synced(&self) -> watch::Receiver<u64> {
        self.shared.synced.clone()
    }

    /// Destroys what the directory holds to tell who `subject` is, for good, and records it. `reference`: of the
    /// request, such as a ticket.
    ///
    /// Returns how many sealed names can't be opened any more; `0` where there were none, or the person was erased
    /// before: nothing is recorded again then.
    ///
    /// # Errors
    /// When it could not be done or recorded; asking again is safe.
    pub async fn erase(&self, subject: Pseudonym, reference: Option<Label>) -> Result<u64, AppendError> {
        let shared = &*self.shared;
        let room = shared.room.clone().acquire_owned().await.map_err(|_| AppendError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let erase = Erase { subject, reference, reply, _room: room };
        shared.sender.send(Message::Erase(erase)).map_err(|_| AppendError::Closed)?;
        answer.await.map_err(|_| AppendError::Closed)?
    }

    /// The counters.
    pub fn metrics(&self) -> &AuditMetrics {
        &self.shared.metrics
    }

    /// As if an append had waited for room in vain.
    #[cfg(test)]
    pub(crate) fn give_up(&self) {
        self.shared.pen.take().expect("the log lives").engine.gave_up();
    }

    /// Appends a record and waits as long as `durability` asks.
    ///
    /// An `opened` record also holds room for the `closed` record of the same id; a `closed` record without an
    /// `opened` one (a block, a refusal) may use the reserve. `subject` is the person whose pseudonym the record
    /// bears: its name is sealed the first time that the writer sees it.
    ///
    /// Once the record is queued it is written even if this future is dropped.
    ///
    /// # Errors
    /// `sync` and `block`: when the record was not written within [`Settings::full_wait`], and why. What failed
    /// has left no record, but for [`AppendError::Stalled`]. `best_effort` fails only with [`AppendError::Record`]; a drop is a [`Receipt`].
    pub async fn append(
        &self,
        body: Body,
        durability: Durability,
        subject: Option<&Subject>,
    ) -> Result<Receipt, AppendError> {
        let shared = &*self.shared;
        add(&shared.metrics.admitted, 1);
        let result = match Entry::new(body, subject.cloned()) {
            Ok(entry) => match durability {
                Durability::BestEffort => Ok(shared.queue(entry)),
                Durability::Block => match shared.write_here(&entry) {
                    Some(result) => result,
                    None => shared.deliver(entry, durability).await,
                },
                Durability::Sync => shared.deliver(entry, durability).await,
            },
            Err(error) => Err(error.into()),
        };
        if result.is_err() {
            add(&shared.metrics.refused, 1);
        }
        result
    }
}

impl Shared {
    /// Writes `entry` on this thread, where nobody else is writing and one quick write is all that it takes.
    fn write_here(&self, entry: &Entry) -> Option<Result<Receipt, AppendError>> {
        // Whoever waits for a record gives the next of its request only then: it can't overtake. Others can.
        if self.unwaited.load(Ordering::Acquire) > 0 {
            return None;
        }
        match self.pen.try_append(entry, Timestamp::now().as_microsecond()) {
            Tried::Written { sequence, is_first } => {
                if is_first {
                    // A thread that is gone has synced everything, or there is nobody left to do it.
                    self.sender.send(Message::Wrote).ok();
                }
                Some(Ok(Receipt::Written { sequence }))
            }
            Tried::Declined => None,
            Tried::Closed => Some(Err(AppendError::Closed)),
        }
    }

    async fn deliver(&self, entry: Entry, durability: Durability) -> Result<Receipt, AppendError> {
        let deadline = Instant::now() + self.settings.full_wait;
        let room = match self.room.clone().try_acquire_owned() {
            Ok(room) => room,
            Err(_) => timeout_at(deadline, self.room.clone().acquire_owned())
                .await
                .map_err(|_| AppendError::QueueFull)?
                .map_err(|_| AppendError::Closed)?,
        };
        let (reply, answer) = oneshot::channel();
        let append = Append { entry, durability, deadline, reply: Some(reply), _room: room, _unwaited: None };
        self.sender.send(Message::Append(append)).map_err(|_| AppendError::Closed)?;
        let answer = timeout_at(deadline + self.settings.disk_wait, answer);
        answer.await.map_err(|_| AppendError::Stalled)?.map_err(|_| AppendError::Closed)?
    }

    fn queue(&self, entry: Entry) -> Receipt {
        let room = match self.room.clone().try_acquire_owned() {
            Ok(room) => room,
            Err(TryAcquireError::NoPermits) => return self.drop_one(DropReason::QueueFull),
            Err(TryAcquireError::Closed) => return self.drop_one(DropReason::ShuttingDown),
        };
        let deadline = Instant::now() + self.settings.full_wait;
        let append = Append {
            entry,
            durability: Durability::BestEffort,
            deadline,
            reply: None,
            _room: room,
            _unwaited: Some(Unwaited::new(&self.unwaited)),
        };
        if self.sender.send(Message::Append(append)).is_err() {
            return self.drop_one(DropReason::ShuttingDown);
        }
        Receipt::Queued
    }

    fn drop_one(&self, reason: DropReason) -> Receipt {
        self.metrics.count_dropped(reason, 1);
        Receipt::Dropped { reason }
    }
}
