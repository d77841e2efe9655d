//! Sources of packs: compressed, cut into pieces under their digest, written once.
//!
//! What must hold: what [`Bodies::get`] gives has the digest that was asked for, whatever stands in the store; a write
//! that was cut off leaves pieces that the next one completes or replaces.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use kt_audit::Digest;
use kt_proto::refusal::{Code, Refusal};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    paths,
    registry::errors::{refused, store_refused},
    store::{Commit, Committed, Entry, MAX_VALUE_BYTES, Precondition, Store, StoreError, Write},
};

/// The largest source, in bytes.
pub const MAX_SOURCE_BYTES: usize = kt_policy::yaml::MAX_BYTES;
/// Pack sources are text that people wrote: little is gained above this.
const LEVEL: i32 = 6;
/// Sources are read by so many at once; the rest waits, and finds them in the cache.
const READS_AT_ONCE: usize = 4;
/// How often a write is tried again when somebody else writes the same body.
const TRIES: usize = 4;
/// Of one read of the store.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Of one write of the store.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is stored of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Pieces.
    pub pieces: u32,
    /// Bytes of all of them.
    pub compressed: u64,
}

/// Sources by digest; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bodies {
    store: Arc<dyn Store>,
    cache: Arc<ArcSwap<Cache>>,
    cache_bytes: usize,
    reads: Arc<Semaphore>,
}

/// The sources that were asked for last; replaced whole.
#[derive(Debug, Clone, Default)]
struct Cache {
    sources: BTreeMap<Digest, Bytes>,
    order: VecDeque<Digest>,
    bytes: usize,
}

// === impl Bodies ===

impl Bodies {
    /// Over a store, with so many bytes of sources in memory.
    pub fn new(store: Arc<dyn Store>, cache_bytes: usize) -> Self {
        let reads = Arc::new(Semaphore::new(READS_AT_ONCE));
        Self { store, cache: Arc::default(), cache_bytes, reads }
    }

    /// The exact bytes of a source.
    ///
    /// # Errors
    /// `pack_unknown` when it is not stored, `store_corrupt` when what is stored is not it, or that the store does not
    /// answer.
    pub async fn get(&self, digest: Digest) -> Result<Bytes, Refusal> {
        if let Some(source) = self.cached(&digest) {
            return Ok(source);
        }
        // Never closed.
        let _turn =
            self.reads.acquire().await.map_err(|_| refused(Code::NotReady, "the control plane stops"))?;
        if let Some(source) = self.cached(&digest) {
            return Ok(source);
        }
        let pieces = self.pieces(&digest).await?;
        if pieces.is_empty() {
            return Err(refused(Code::PackUnknown, format!("there is no source of digest `{digest}`")));
        }
        let Some(source) = unpack(&pieces, &digest).await else {
            tracing::error!(digest = %digest, "Stored source can't be read.");
            let message = format!("the stored source of digest `{digest}` is damaged: upload the pack again");
            return Err(refused(Code::StoreCorrupt, message));
        };
        self.remember(digest, &source);
        Ok(source)
    }

    /// Stores a source under its digest, unless it is there.
    ///
    /// # Errors
    /// `pack_too_large`, or that the store does not answer or has no room.
    pub async fn put(&self, source: Bytes) -> Result<(Digest, Stored), Refusal> {
        if source.len() > MAX_SOURCE_BYTES {
            let message = format!("the pack has {} bytes; a pack may have {MAX_SOURCE_BYTES}", source.len());
            return Err(refused(Code::PackTooLarge, message));
        }
        let digest = Digest::of(&source);
        for _ in 0..TRIES {
            let present = self.pieces(&digest).await?;
            if !present.is_empty() && unpack(&present, &digest).await.is_some() {
                self.remember(digest, &source);
                return Ok((digest, stored(&present)));
            }
            let compressed = compress(source.clone()).await?;
            self.write(&digest, &compressed, &present).await?;
        }
        let message = "others write the same source at the same time: try again".to_owned();
        Err(refused(Code::Busy, message))
    }

    /// Writes the pieces one by one, each over exactly what was seen in its place. Whether that came to a whole body
    /// is found by reading.
    async fn write(&self, digest: &Digest, compressed: &Bytes, present: &[Entry]) -> Result<(), Refusal> {
        let mut at = 0;
        let mut piece = 0_u32;
        let mut left: BTreeMap<&str, &Entry> = present.iter().map(|entry| (&*entry.key, entry)).collect();
        while at < compressed.len() {
            let end = compressed.len().min(at + MAX_VALUE_BYTES);
            let key = paths::body(digest, piece);
            let value = compressed.slice(at..end);
            let seen = left.remove(key.as_str());
            if seen.is_none_or(|seen| seen.value != value) {
                let precondition = match seen {
                    None => Precondition::Absent(key.clone()),
                    Some(seen) => Precondition::Unchanged(key.clone(), seen.modified),
                };
                if !self.commit(vec![precondition], vec![Write::Put(key, value)]).await? {
                    return Ok(());
                }
            }
            at = end;
            piece += 1;
        }
        for (key, seen) in left {
            let precondition = Precondition::Unchanged(key.to_owned(), seen.modified);
            if !self.commit(vec![precondition], vec![Write::Delete(key.to_owned())]).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// `false`: somebody else was faster, or nobody knows; the caller reads.
    async fn commit(&self, preconditions: Vec<Precondition>, writes: Vec<Write>) -> Result<bool, Refusal> {
        match timeout(WRITE_TIMEOUT, self.store.commit(Commit { preconditions, writes })).await {
            Ok(Ok(Committed::Done(_))) => Ok(true),
            Ok(Ok(Committed::Conflict) | Err(StoreError::OutcomeUnknown(_))) | Err(_) => Ok(false),
            Ok(Err(error)) => Err(store_refused(&error)),
        }
    }

    async fn pieces(&self, digest: &Digest) -> Result<Vec<Entry>, Refusal> {
        let prefix = paths::bodies(digest);
        match timeout(READ_TIMEOUT, self.store.load(&prefix)).await {
            Ok(loaded) => loaded.map(|snapshot| snapshot.entries).map_err(|error| store_refused(&error)),
            Err(_) => Err(refused(Code::StoreUnavailable, "the store does not answer in time")),
        }
    }

    fn cached(&self, digest: &Digest) -> Option<Bytes> {
        self.cache.load().sources.get(digest).cloned()
    }

    fn remember(&self, digest: Digest, source: &Bytes) {
        if source.len() > self.cache_bytes {
            return;
        }
        self.cache.rcu(|cache| {
            let mut cache = Cache::clone(cache);
            if cache.sources.insert(digest, source.clone()).is_none() {
                cache.order.push_back(digest);
                cache.bytes += source.len();
            }
            while cache.bytes > self.cache_bytes {
                let Some(oldest) = cache.order.pop_front() else { break };
                cache.bytes -= cache.sources.remove(&oldest).map_or(0, |source| source.len());
            }
            cache
        });
    }
}

fn stored(pieces: &[Entry]) -> Stored {
    Stored {
        pieces: u32::try_from(pieces.len()).unwrap_or(u32::MAX),
        compressed: pieces.iter().map(|piece| piece.value.len() as u64).sum(),
    }
}

async fn compress(source: Bytes) -> Result<Bytes, Refusal> {
    let compressed = tokio::task::spawn_blocking(move || zstd::bulk::compress(&source, LEVEL)).await;
    match compressed {
        Ok(Ok(compressed)) => Ok(compressed.into()),
        Ok(Err(_)) | Err(_) => Err(refused(Code::Busy, "the source can't be compressed now: try again")),
    }
}

/// The source that pieces make, when it is the one of that digest.
async fn unpack(pieces: &[Entry], digest: &Digest) -> Option<Bytes> {
    let digest = *digest;
    let pieces: Vec<Bytes> = pieces.iter().map(|piece| piece.value.clone()).collect();
    let unpacking = tokio::task::spawn_blocking(move || {
        // Bounded: what would be larger is refused.
        let source = zstd::bulk::decompress(&pieces.concat(), MAX_SOURCE_BYTES).ok()?;
        (Digest::of(&source) == digest).then(|| Bytes::from(source))
    });
    unpacking.await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scripted::Scripted;

    fn source(lines: u32) -> Bytes {
        // Random enough to need several pieces.
        let lines: Vec<_> = (0..lines).map(|line| Digest::of(&line.to_be_bytes()).to_string()).collect();
        lines.join("\n").into()
    }

    fn bodies(store: &Arc<Scripted>, cache_bytes: usize) -> Bodies {
        Bodies::new(Arc::clone(store) as Arc<dyn Store>, cache_bytes)
    }

    #[tokio::test]
    async fn a_source_of_many_pieces_comes_back_byte_for_byte() {
        let store = Arc::new(Scripted::new());
        let source = source(60_000);
        let (digest, stored) = bodies(&store, 0).put(source.clone()).await.unwrap();
        assert!(stored.pieces >= 3, "{stored:?}");
        assert_eq!(bodies(&store, 0).get(digest).await.unwrap(), source);
        // Again changes nothing.
        let before = store.revision();
        assert_eq!(bodies(&store, 0).put(source).await.unwrap(), (digest, stored));
        assert_eq!(store.revision(), before);
    }

    #[tokio::test]
    async fn a_changed_piece_is_refused_and_repaired_by_the_next_upload() {
        let store = Arc::new(Scripted::new());
        let source = source(60_000);
        let (digest, _) = bodies(&store, 0).put(source.clone()).await.unwrap();
        let key = paths::body(&digest, 1);
        let broken =
            Commit { writes: vec![Write::Put(key, Bytes::from_static(b"broken"))], ..Commit::default() };
        store.commit(broken).await.unwrap();
        let refusal = bodies(&store, 0).get(digest).await.unwrap_err();
        assert_eq!(refusal.code, Code::StoreCorrupt);
        bodies(&store, 0).put(source.clone()).await.unwrap();
        assert_eq!(bodies(&store, 0).get(digest).await.unwrap(), source);
    }

    #[tokio::test]
    async fn an_upload_that_was_cut_off_is_completed_and_leftovers_go() {
        let store = Arc::new(Scripted::new());
        let source = source(60_000);
        let (digest, stored) = bodies(&store, 0).put(source.clone()).await.unwrap();
        for (piece, write) in [
            (0, Write::Delete(paths::body(&digest, 0))),
            (9, Write::Put(paths::body(&digest, 9), Bytes::from_static(b"left over"))),
        ] {
            store.commit(Commit { writes: vec![write], ..Commit::default() }).await.unwrap();
            assert!(bodies(&store, 0).get(digest).await.is_err(), "{piece}");
            assert_eq!(bodies(&store, 0).put(source.clone()).await.unwrap(), (digest, stored));
            assert_eq!(bodies(&store, 0).get(digest).await.unwrap(), source);
        }
    }

    #[tokio::test]
    async fn the_cache_serves_while_the_store_is_away_and_stays_within_its_bytes() {
        let store = Arc::new(Scripted::new());
        let (one, two, huge) = (source(100), source(101), source(200));
        let bodies = bodies(&store, two.len() + 10);
        let (first, _) = bodies.put(one.clone()).await.unwrap();
        store.refuse(StoreError::Unavailable("away".to_owned()));
        assert!(bodies.get(first).await.unwrap() == one);
        store.accept();
        let (second, _) = bodies.put(two.clone()).await.unwrap();
        let (third, _) = bodies.put(huge).await.unwrap();
        store.refuse(StoreError::Unavailable("away".to_owned()));
        assert!(bodies.get(second).await.unwrap() == two);
        for (why, digest) in [("pushed out", first), ("larger than the cache", third)] {
            let code = bodies.get(digest).await.map(drop).map_err(|refusal| refusal.code);
            assert_eq!(code, Err(Code::StoreUnavailable), "{why}");
        }
    }

    #[tokio::test]
    async fn a_source_over_the_limit_is_refused_before_the_store_is_asked() {
        let store = Arc::new(Scripted::new());
        store.refuse(StoreError::Unavailable("away".to_owned()));
        let refusal = bodies(&store, 0).put(vec![b' '; MAX_SOURCE_BYTES + 1].into()).await.unwrap_err();
        assert_eq!(refusal.code, Code::PackTooLarge);
    }
}
