//! What is known of the cluster's past, to notice that it was restored.
//!
//! Revisions of linearizable answers only grow, across all members. An answer below one that was there before the call
//! began, or of another cluster, means that the cluster was restored from a backup or replaced: a new *era* begins.
//! Answers that are not linearizable (a member that lags) say nothing.

use etcd_client::ResponseHeader;
use tokio::sync::watch;

use crate::store::Revision;

/// What was seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) cluster: u64,
    pub(super) revision: Revision,
    /// Counts the restores that this process has noticed.
    pub(super) era: u64,
}

/// The newest [`Seen`]; those who wait are woken when an era begins.
#[derive(Debug)]
pub(super) struct Tracker(watch::Sender<Seen>);

// === impl Seen ===

impl Seen {
    fn after(self, cluster: u64, revision: Revision, before: Self) -> Self {
        if self.era != before.era {
            // The answer may be from either side of the restore.
            self
        } else if cluster != self.cluster || revision < before.revision {
            Self { cluster, revision, era: self.era + 1 }
        } else {
            Self { revision: self.revision.max(revision), ..self }
        }
    }
}

// === impl Tracker ===

impl Tracker {
    /// Begins with the first linearizable answer.
    pub(super) fn new(header: &ResponseHeader) -> Self {
        let seen = Seen { cluster: header.cluster_id(), revision: revision(header.revision()), era: 0 };
        Self(watch::Sender::new(seen))
    }

    /// To be taken before a call is made.
    pub(super) fn now(&self) -> Seen {
        *self.0.borrow()
    }

    /// Is woken when an era begins.
    pub(super) fn subscribe(&self) -> watch::Receiver<Seen> {
        self.0.subscribe()
    }

    /// Takes note of a linearizable answer to a call that was made at `before`.
    pub(super) fn note(&self, before: Seen, header: &ResponseHeader) {
        self.0.send_if_modified(|now| {
            let after = now.after(header.cluster_id(), revision(header.revision()), before);
            let new_era = after.era != now.era;
            *now = after;
            new_era
        });
    }

    /// Takes note of a revision that a watch has told.
    pub(super) fn note_watched(&self, era: u64, revision: Revision) {
        self.0.send_if_modified(|now| {
            if now.era == era {
                now.revision = now.revision.max(revision);
            }
            false
        });
    }
}

/// etcd's revisions are positive.
pub(super) fn revision(revision: i64) -> Revision {
    u64::try_from(revision).unwrap_or(0)
}

/// For a request.
pub(super) fn for_request(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Seen = Seen { cluster: 7, revision: 100, era: 3 };

    #[test]
    fn revisions_that_grow_are_taken() {
        assert_eq!(SEEN.after(7, 101, SEEN), Seen { revision: 101, ..SEEN });
    }

    #[test]
    fn an_answer_overtaken_by_another_is_no_restore() {
        let before = Seen { revision: 90, ..SEEN };
        assert_eq!(SEEN.after(7, 95, before), SEEN);
    }

    #[test]
    fn a_revision_below_one_that_was_known_before_is_a_restore() {
        assert_eq!(SEEN.after(7, 99, SEEN), Seen { cluster: 7, revision: 99, era: 4 });
    }

    #[test]
    fn another_cluster_is_a_restore() {
        assert_eq!(SEEN.after(8, 500, SEEN), Seen { cluster: 8, revision: 500, era: 4 });
    }

    #[test]
    fn one_restore_is_counted_once() {
        let after = SEEN.after(7, 50, SEEN);
        assert_eq!(after.after(7, 50, SEEN), after);
        assert_eq!(after.after(7, 100, SEEN), after);
    }
}
