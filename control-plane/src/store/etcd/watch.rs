//! A watch on one stream of etcd.
//!
//! The position only follows what came on this very stream: changes, and progress that etcd addressed to this watch.
//! An answer to "are you there" (addressed to all watches of the stream) shows life and nothing more: etcd before
//! 3.4.25 and 3.5.8 sends it past changes that are still to come (etcd-io/etcd#15220).

use std::{sync::Arc, time::Duration};

use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Inner,
    failure::Failure,
    members::Use,
    prefix_end,
    seen::{Seen, for_request, revision},
};
use crate::store::{Change, Entry, Revision, Watch, WatchEnd, WatchEvent};

/// How long a watch may take to be opened.
const OPEN: Duration = Duration::from_secs(5);
/// After this much quiet etcd is asked whether it is there.
const QUIET: Duration = Duration::from_secs(3);
/// How long it may take to answer; with [`QUIET`] less than [`crate::store::PROGRESS_SECONDS`].
const ANSWER: Duration = Duration::from_secs(5);
/// The largest message; etcd cuts a watch's at about 2 MiB when it may, except a single change.
const MESSAGE: usize = 16 << 20;
/// What etcd addresses to all watches of a stream.
const TO_ALL: i64 = -1;

enum State {
    Closed { inner: Arc<Inner>, prefix: String, after: Revision },
    Open(Box<Open>),
}

struct Open {
    inner: Arc<Inner>,
    stream: WatchStream,
    /// The member that it is on.
    number: usize,
    seen: watch::Receiver<Seen>,
    began: Seen,
    position: Revision,
    /// Of a commit that was cut by the end of a fragment.
    parts: Vec<Change>,
    heard: Instant,
    asked: Option<Instant>,
}

/// The stream of a watch.
pub(super) fn watch(inner: Arc<Inner>, prefix: String, after: Revision) -> Watch {
    let closed = State::Closed { inner, prefix, after };
    stream::unfold(Some(closed), |state| async {
        let mut open = match state? {
            State::Open(open) => open,
            State::Closed { inner, prefix, after } => match Open::new(inner, &prefix, after).await {
                Ok(open) => Box::new(open),
                Err(end) => return Some((Err(end), None)),
            },
        };
        match open.next().await {
            Ok(event) => Some((Ok(event), Some(State::Open(open)))),
            Err(end) => Some((Err(end), None)),
        }
    })
    .boxed()
}

// === impl Open ===

impl Open {
    async fn new(inner: Arc<Inner>, prefix: &str, after: Revision) -> Result<Self, WatchEnd> {
        let number = inner.members.current();
        let began = inner.tracker.now();
        let seen = inner.tracker.subscribe();
        let lost = |failure: Failure| {
            inner.members.leave(number);
            WatchEnd::Lost(failure.text())
        };
        let opening = async {
            let opened = inner.open(number, prefix, after).await?;
            if inner.members.has_login() && is_refused(&opened.1) {
                // As it answers to a token that it does not know (any more); there is no code for it.
                let client = inner.members.client(number, Use::Watches).await?;
                client.refresh_token().await.map_err(Failure::of)?;
                return inner.open(number, prefix, after).await;
            }
            Ok(opened)
        };
        let (stream, created) = timeout(OPEN, opening).await.unwrap_or(Err(Failure::Silent)).map_err(lost)?;
        let header = created
            .header()
            .map_or((began.cluster, 0), |header| (header.cluster_id(), revision(header.revision())));
        let heard = Instant::now();
        let open = Self {
            inner,
            stream,
            number,
            seen,
            began,
            position: after,
            parts: Vec::new(),
            heard,
            asked: None,
        };
        if header.0 != began.cluster || header.1 < after {
            // A restored cluster, or a member that lags: the cluster as a whole knows. A watch in the future would be
            // taken and stay silent.
            let now = open.inner.linearizable_revision().await;
            if now.map_err(|error| WatchEnd::Lost(error.to_string()))? < after || open.is_of_the_past() {
                return Err(WatchEnd::Restored);
            }
        }
        if created.canceled() {
            return Err(open.cancelled(&created));
        }
        Ok(open)
    }

    fn is_of_the_past(&self) -> bool {
        self.inner.tracker.now().era != self.began.era
    }

    async fn next(&mut self) -> Result<WatchEvent, WatchEnd> {
        loop {
            let deadline = self.asked.map_or(self.heard + QUIET, |asked| asked + ANSWER);
            let heard = tokio::select! {
                // What has arrived is read before the clock is asked, so that a reader that was away is not taken
                // for a store that was silent.
                biased;
                () = end_of_era(&mut self.seen, self.began.era) => return Err(WatchEnd::Restored),
                message = self.stream.message() => Some(message),
                () = sleep_until(deadline) => None,
            };
            match heard {
                Some(Ok(Some(message))) => {
                    (self.heard, self.asked) = (Instant::now(), None);
                    if let Some(event) = self.take(message)? {
                        return Ok(event);
                    }
                }
                Some(Ok(None)) => return Err(self.lost("the stream has ended".to_owned())),
                Some(Err(error)) => return Err(self.lost(Failure::of(error).text())),
                None if self.asked.is_some() => return Err(self.lost("nothing was heard in time".to_owned())),
                None => match timeout(ANSWER, self.stream.request_progress()).await {
                    Ok(Ok(())) => self.asked = Some(Instant::now()),
                    Ok(Err(error)) => return Err(self.lost(Failure::of(error).text())),
                    Err(_) => return Err(self.lost(Failure::Silent.text())),
                },
            }
        }
    }

    /// What a message means; none for a part of one.
    fn take(&mut self, message: WatchResponse) -> Result<Option<WatchEvent>, WatchEnd> {
        if message.canceled() {
            return Err(self.cancelled(&message));
        }
        if message.watch_id() == TO_ALL {
            return Ok(Some(WatchEvent::Progress { revision: self.position }));
        }
        let fragment = message.0.fragment;
        let header = message.header().map_or(0, |header| revision(header.revision()));
        let position = self.position;
        let changes = message.0.events.into_iter().filter_map(change);
        self.parts.extend(changes.filter(|change| change.modified() > position));
        let changes = take_whole(&mut self.parts, fragment);
        let Some(last) = changes.last().map(Change::modified) else {
            if fragment {
                return Ok(None);
            }
            // Progress addressed to this watch comes in line with its changes.
            self.position = position.max(header);
            return Ok(Some(WatchEvent::Progress { revision: self.position }));
        };
        self.position = last;
        self.inner.tracker.note_watched(self.began.era, last);
        Ok(Some(WatchEvent::Changes { revision: last, changes }))
    }

    fn cancelled(&self, message: &WatchResponse) -> WatchEnd {
        match revision(message.compact_revision()) {
            0 => self.lost("the store has ended the watch".to_owned()),
            compacted => WatchEnd::Compacted(compacted),
        }
    }

    fn lost(&self, reason: String) -> WatchEnd {
        self.inner.members.leave(self.number);
        WatchEnd::Lost(reason)
    }
}

// === impl Inner ===

impl Inner {
    /// Opens the stream; with the message that says whether the watch was taken.
    async fn open(
        &self,
        number: usize,
        prefix: &str,
        after: Revision,
    ) -> Result<(WatchStream, WatchResponse), Failure> {
        let client = self.members.client(number, Use::Watches).await?;
        let options = WatchOptions::new()
            .with_range(prefix_end(prefix))
            .with_start_revision(for_request(after.saturating_add(1)))
            .with_progress_notify()
            .with_fragment();
        let mut client = client.watch_client().max_decoding_message_size(MESSAGE);
        let mut stream = client.watch(start_of(prefix), Some(options)).await.map_err(Failure::of)?;
        match stream.message().await.map_err(Failure::of)? {
            Some(created) => Ok((stream, created)),
            None => Err(Failure::Broken("the stream has ended".to_owned())),
        }
    }
}

fn is_refused(created: &WatchResponse) -> bool {
    created.canceled() && created.compact_revision() == 0
}

async fn end_of_era(seen: &mut watch::Receiver<Seen>, era: u64) {
    if seen.wait_for(|seen| seen.era != era).await.is_err() {
        // The store is closed; the stream says so.
        std::future::pending::<()>().await;
    }
}

/// Where a range begins; etcd takes the empty key for none.
pub(super) fn start_of(prefix: &str) -> Vec<u8> {
    if prefix.is_empty() { vec![0] } else { prefix.as_bytes().to_vec() }
}

/// The changes of whole commits. Where more of the message is to come, the last commit may be cut: it stays.
fn take_whole(parts: &mut Vec<Change>, more: bool) -> Vec<Change> {
    match parts.last().map(Change::modified) {
        Some(last) if more => {
            let whole = parts.partition_point(|change| change.modified() < last);
            parts.drain(..whole).collect()
        }
        _ => std::mem::take(parts),
    }
}

/// A change; none where the key is not text and so can't be one of ours.
fn change(event: etcd_client::proto::PbEvent) -> Option<Change> {
    let kv = event.kv?;
    let modified = revision(kv.mod_revision);
    let key = std::str::from_utf8(&kv.key).ok()?.into();
    if event.r#type == EventType::Delete as i32 {
        Some(Change::Delete { key, modified })
    } else {
        Some(Change::Put(Entry { key, value: kv.value.into(), modified }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(revisions: &[Revision]) -> Vec<Change> {
        revisions.iter().map(|&modified| Change::Delete { key: "k".into(), modified }).collect()
    }

    #[test]
    fn a_commit_cut_by_a_fragment_waits_for_its_rest() {
        let mut parts = changes(&[5, 5, 6, 7, 7]);
        assert_eq!(take_whole(&mut parts, true), changes(&[5, 5, 6]));
        parts.extend(changes(&[7]));
        assert_eq!(take_whole(&mut parts, true), []);
        parts.extend(changes(&[7, 8]));
        assert_eq!(take_whole(&mut parts, false), changes(&[7, 7, 7, 7, 8]));
        assert_eq!(parts, []);
        assert_eq!(take_whole(&mut parts, false), []);
    }

    #[test]
    fn ranges_cover_what_begins_with_the_prefix() {
        assert_eq!((start_of("/a/"), prefix_end("/a/")), (b"/a/".to_vec(), b"/a0".to_vec()));
        assert_eq!((start_of(""), prefix_end("")), (vec![0], vec![0]), "etcd's way to say all");
    }
}
