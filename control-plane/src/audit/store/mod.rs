//! Where audit records are kept: one narrow trait, so that one suite can hold every engine to it.
//!
//! - [`sqlite`]: one file beside the packs, one process;
//! - `postgres`: a server, for several replicas.

#[cfg(feature = "postgres")]
pub mod postgres;
mod query;
pub mod sqlite;
#[cfg(all(feature = "testing", feature = "postgres"))]
pub mod testing;
#[cfg(test)]
pub(super) mod tests;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use kt_audit::{
    Digest, Epoch, InstanceId, Position, Pseudonym,
    facts::Facts,
    identity::{SealedName, SubjectKey},
    segment::Frame,
    sign::{StoreCut, StoreTombstone},
};
use uuid::Uuid;

pub use self::query::{Dimension, EventFilter, PageToken, StatRow, StatsQuery};

/// One record as it comes and as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number in the run.
    pub sequence: u64,
    /// The writer's time, microseconds since 1970 UTC.
    pub time_us: i64,
    /// The hash of the record before.
    pub previous: Digest,
    /// Its own hash.
    pub hash: Digest,
    /// Its exact bytes.
    pub payload: Vec<u8>,
}

impl Row {
    /// As it stands in a segment.
    pub fn frame(&self) -> Frame<'_> {
        Frame {
            sequence: self.sequence,
            time_us: self.time_us,
            previous: self.previous,
            payload: &self.payload,
        }
    }
}

/// Its debug form leaves the payload out.
impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("sequence", &self.sequence)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// A record that is to be kept, with the columns that it is found by. They are taken before the store is asked: whatever
/// writes takes one batch after the other.
#[derive(Clone, PartialEq, Eq)]
pub struct NewRow {
    /// The record.
    pub row: Row,
    /// Its columns.
    pub facts: Facts,
}

impl NewRow {
    /// Reads the columns.
    pub fn new(row: Row) -> Self {
        let facts = Facts::of(&row.payload);
        Self { row, facts }
    }
}

/// That of its record.
impl fmt::Debug for NewRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.row.fmt(f)
    }
}

/// Whose records they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The audit directory that they are of.
    pub instance: InstanceId,
    /// The fleet of the token that sent them.
    pub fleet: Arc<str>,
    /// Who the control plane knows the gateway as; may be empty.
    pub gateway: Arc<str>,
    /// Its name, for people; may be empty.
    pub name: Arc<str>,
}

/// Records of one run, checked: sequences without a gap, each bound to the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Whose they are.
    pub origin: Origin,
    /// The run.
    pub epoch: Epoch,
    /// Its number among the runs of the instance.
    pub ordinal: u64,
    /// The records, at least one, in order.
    pub rows: Vec<NewRow>,
    /// When they came, microseconds since 1970 UTC.
    pub stored_us: i64,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The number of the run.
    pub ordinal: u64,
    /// Its last record.
    pub last: Position,
}

/// Something about a batch that a person should know; it is recorded with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    /// Records before the batch never came.
    Gap,
    /// Another record is there already under its number; this one is kept apart.
    Quarantined,
    /// Another run of the instance has the same ordinal: two machines with one identity.
    Cloned,
    /// The record does not name the hash of the one before.
    BrokenChain,
    /// The signature of a checkpoint does not fit.
    Forged,
}

impl Trouble {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Gap, Self::Quarantined, Self::Cloned, Self::BrokenChain, Self::Forged];

    /// The name as written in metrics, logs and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Quarantined => "quarantined",
            Self::Cloned => "cloned",
            Self::BrokenChain => "broken_chain",
            Self::Forged => "forged",
        }
    }
}

/// A trouble with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// What it is.
    pub trouble: Trouble,
    /// The run.
    pub epoch: Epoch,
    /// The first record in question.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

/// What came of a batch. It is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Records that were there already.
    pub duplicates: u64,
    /// What a person should know.
    pub noted: Vec<Noted>,
}

/// One record as it is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the order of arrival.
    pub id: u64,
    /// Whose it is.
    pub instance: InstanceId,
    /// The fleet.
    pub fleet: Arc<str>,
    /// The run.
    pub epoch: Epoch,
    /// The number of the run.
    pub ordinal: u64,
    /// When the store had it.
    pub stored_us: i64,
    /// The record.
    pub row: Row,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("id", &self.id).field("row", &self.row).finish_non_exhaustive()
    }
}

/// A page of records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The records.
    pub events: Vec<Stored>,
    /// Where the next page begins; none: there are no more.
    pub next: Option<PageToken>,
}

/// An instance as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    /// Whose records they are.
    pub origin: Origin,
    /// How far its runs have come, in their order.
    pub marks: Vec<Mark>,
    /// When the store had the last one.
    pub last_stored_us: i64,
    /// How many there are.
    pub records: u64,
    /// What was noted, with its places, in the order of time.
    pub noted: Vec<Noted>,
}

/// A place in the chain of an instance: what comes behind it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainPlace {
    /// The run.
    pub epoch: Epoch,
    /// The record.
    pub sequence: u64,
}

/// The keys of an instance and who has vouched for what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vouched {
    /// ed25519 keys that have signed for the instance, the oldest first.
    pub keys: Vec<[u8; 32]>,
    /// The last position that the control plane has countersigned.
    pub countersigned: Option<Position>,
}

/// Why the store could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditStoreError {
    /// The disk, the file or the server; trying again may help.
    #[error("the store of audit records can't be used: {0}")]
    Unavailable(String),
    /// What is in it is not what this build writes.
    #[error("the store of audit records can't be read: {0}")]
    Corrupt(String),
}

impl AuditStoreError {
    /// What is behind it.
    #[cfg(feature = "postgres")]
    fn told(self) -> String {
        match self {
            Self::Unavailable(told) | Self::Corrupt(told) => told,
        }
    }
}

/// A name that was sealed before it came here, and the pseudonym that it stands behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectRow {
    /// As the records of the instance have it.
    pub pseudonym: Pseudonym,
    /// The key that made it.
    pub pseudonym_key: [u8; 16],
    /// Who that is here: one person behind all of their pseudonyms.
    pub person: Pseudonym,
    /// The name.
    pub sealed: SealedName,
    /// What opens it.
    pub key: SubjectKey,
}

/// A sealed name and what opens it.
pub type Sealed = (SealedName, SubjectKey);

/// Who is to be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A person, also one who is not known yet.
    Person(Pseudonym),
    /// The person behind a pseudonym of records.
    Behind(Pseudonym),
}

/// What must not be cut or erased until it is released. What is absent does not restrict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Names it.
    pub id: Uuid,
    /// Only requests of this person.
    pub who: Option<Who>,
    /// Only records of this fleet.
    pub fleet: Option<Arc<str>>,
    /// Only records that were written then or later, microseconds since 1970 UTC.
    pub from_us: Option<i64>,
    /// Only records that were written before.
    pub to_us: Option<i64>,
}

/// What retention may take out: records of one run, one after the other, each past its days and under no hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Whose.
    pub instance: InstanceId,
    /// Which.
    pub cut: StoreCut,
}

/// How an erasure ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erasing {
    /// Nobody is known behind the pseudonym.
    Unknown,
    /// These holds cover the person; nothing was erased.
    Held(Vec<Uuid>),
    /// It is done.
    Done(Erased),
}

/// An erasure that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Names it: a repeat with the same id is the same erasure.
    pub id: Uuid,
    /// Whom.
    pub who: Who,
    /// Such as a ticket; may be empty.
    pub reference: Arc<str>,
    /// When, microseconds since 1970 UTC.
    pub now_us: i64,
    /// It was done before and is done again, since the store was put back from a backup: holds that came later don't
    /// count.
    pub is_repeat: bool,
}

/// What an erasure has done. It is durable, and the bytes of the name are overwritten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Who that is here.
    pub person: Option<Pseudonym>,
    /// What stands for the person in records, in order.
    pub pseudonyms: Vec<Pseudonym>,
    /// Sealed names that this erasure made unreadable.
    pub sealed: u64,
    /// Instances that have not said yet that they have erased the person.
    pub pending: u64,
}

/// Whom a gateway is to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToErase {
    /// The erasure.
    pub id: Uuid,
    /// As the records of the instance have the person.
    pub pseudonym: Pseudonym,
    /// Such as a ticket; may be empty.
    pub reference: Arc<str>,
}

/// How far a sink has come in the order of arrival.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkMark {
    /// Everything up to this place is where the sink delivers to.
    pub position: u64,
    /// Where the batch ends that is on its way: whoever goes on after a crash delivers the same batch again.
    pub planned: Option<u64>,
}

/// A sink as the store has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkState {
    /// How far it has come.
    pub mark: SinkMark,
    /// When it came there last, microseconds since 1970 UTC; none: never yet.
    pub delivered_us: Option<i64>,
    /// Why it stands still, and since when; none: it does not.
    pub problem: Option<(Arc<str>, i64)>,
}

/// A sink's name, and the sink.
pub type NamedSink = (Arc<str>, SinkState);

/// Which replica works for a sink, and for how long nobody else may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkLease<'a> {
    /// The sink.
    pub sink: &'a str,
    /// The replica.
    pub owner: &'a str,
    /// How long.
    pub time: Duration,
}

/// Where audit records are kept.
pub trait AuditStore: Send + Sync + fmt::Debug {
    /// `sqlite` or `postgres`, for people.
    fn kind(&self) -> &'static str;

    /// The fleet that an instance belongs to; none: it is not known.
    fn fleet_of(&self, instance: InstanceId) -> BoxFuture<'_, Result<Option<Arc<str>>, AuditStoreError>>;

    /// How far the runs of an instance have come, in their order.
    fn marks(&self, instance: InstanceId) -> BoxFuture<'_, Result<Vec<Mark>, AuditStoreError>>;

    /// Adds a batch: all of it with its mark, or nothing. It is durable when this returns.
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AuditStoreError>>;

    /// A page of the records that a filter lets through.
    fn events(
        &self,
        filter: EventFilter,
        oldest_first: bool,
        page: Option<PageToken>,
        size: u32,
    ) -> BoxFuture<'_, Result<Page, AuditStoreError>>;

    /// Every record of a request, in the order of its chain.
    fn request(&self, id: Uuid) -> BoxFuture<'_, Result<Vec<Stored>, AuditStoreError>>;

    /// Counts requests.
    fn stats(&self, query: StatsQuery) -> BoxFuture<'_, Result<Vec<StatRow>, AuditStoreError>>;

    /// Records of an instance in the order of its chain, behind a place; at most `limit`.
    fn chain(
        &self,
        instance: InstanceId,
        behind: Option<ChainPlace>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Stored>, AuditStoreError>>;

    /// The instances, by fleet and name.
    fn instances(&self) -> BoxFuture<'_, Result<Vec<InstanceRow>, AuditStoreError>>;

    /// Notes the keys with which an instance signs; those that are known stay.
    fn put_keys(
        &self,
        origin: Origin,
        keys: Vec<[u8; 32]>,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>>;

    /// Notes that everything up to a position was countersigned.
    fn put_countersigned(
        &self,
        instance: InstanceId,
        position: Position,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>>;

    /// The keys of an instance, and what was countersigned.
    fn vouched(&self, instance: InstanceId) -> BoxFuture<'_, Result<Vouched, AuditStoreError>>;

    /// Keeps names. The first one of a person stays; a person who was erased gets none.
    fn put_subjects(
        &self,
        instance: InstanceId,
        rows: Vec<SubjectRow>,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>>;

    /// The names behind pseudonyms of records, where they are known and not erased.
    fn names(
        &self,
        pseudonyms: Vec<Pseudonym>,
    ) -> BoxFuture<'_, Result<Vec<(Pseudonym, Sealed)>, AuditStoreError>>;

    /// Every pseudonym that a person has in records.
    fn pseudonyms(&self, person: Pseudonym) -> BoxFuture<'_, Result<Vec<Pseudonym>, AuditStoreError>>;

    /// Destroys what tells who a person is. Names of them that come later are not kept. Whoever is erased stays so: a
    /// second erasure changes nothing. A hold that covers the person, or a record of theirs, refuses it.
    fn erase(&self, erasure: Erasure) -> BoxFuture<'_, Result<Erasing, AuditStoreError>>;

    /// Everybody of an instance who was erased, those that it has answered for included: its directory may have been
    /// put back from a backup.
    fn erasures(&self, instance: InstanceId) -> BoxFuture<'_, Result<Vec<ToErase>, AuditStoreError>>;

    /// Notes that an instance has erased somebody.
    fn put_erased(
        &self,
        instance: InstanceId,
        pseudonym: Pseudonym,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>>;

    /// The next records that retention may take out, at most `limit`, those first whose days have been over for
    /// longest; the last record of a run stays, for the mark. `now_us` is believed only up to a day behind the newest
    /// record: a clock that leaps ahead cuts nothing. No record is due before it is `least_days` old, nor behind the place
    /// `taken` in the order of arrival: a sink has yet to take it.
    fn due(
        &self,
        now_us: i64,
        least_days: u32,
        taken: Option<u64>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Option<Due>, AuditStoreError>>;

    /// Takes records out and keeps the tombstone in their place, in one transaction. False: they are not (any more)
    /// what the tombstone says, or a hold covers one; nothing was done.
    fn cut(
        &self,
        instance: InstanceId,
        tombstone: StoreTombstone,
    ) -> BoxFuture<'_, Result<bool, AuditStoreError>>;

    /// What was taken out of the records of an instance, the oldest cut first.
    fn tombstones(&self, instance: InstanceId)
    -> BoxFuture<'_, Result<Vec<StoreTombstone>, AuditStoreError>>;

    /// Keeps a hold; the same one again changes nothing. It holds for whatever was not cut when this returns.
    fn put_hold(&self, hold: Hold) -> BoxFuture<'_, Result<(), AuditStoreError>>;

    /// Forgets a hold; one that is not there changes nothing.
    fn release_hold(&self, id: Uuid) -> BoxFuture<'_, Result<(), AuditStoreError>>;

    /// Records in the order of arrival, behind the place `behind` and up to `upto`; at most `limit`.
    fn arrivals(
        &self,
        behind: u64,
        upto: Option<u64>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Stored>, AuditStoreError>>;

    /// The last place in the order of arrival; 0: there is none.
    fn last_arrival(&self) -> BoxFuture<'_, Result<u64, AuditStoreError>>;

    /// Lets a replica work for a sink, and tells how far it has come; a new sink begins behind `begin`. None: another
    /// replica works for it.
    fn take_sink<'a>(
        &'a self,
        lease: SinkLease<'a>,
        begin: u64,
    ) -> BoxFuture<'a, Result<Option<SinkState>, AuditStoreError>>;

    /// Notes how far a sink has come. False: another replica has taken it over; nothing was noted.
    fn put_sink<'a>(
        &'a self,
        sink: &'a str,
        owner: &'a str,
        state: SinkState,
    ) -> BoxFuture<'a, Result<bool, AuditStoreError>>;

    /// Every sink that there ever was, by name.
    fn sinks(&self) -> BoxFuture<'_, Result<Vec<NamedSink>, AuditStoreError>>;

    /// Notes trouble that was found outside of [`AuditStore::append`].
    fn note(
        &self,
        instance: InstanceId,
        noted: Noted,
        now_us: i64,
    ) -> BoxFuture<'_, Result<(), AuditStoreError>>;
}
