//! What is known of the delivery of records: for health, metrics and people.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use kt_proto::v1::ship_notice::Kind;

/// Records that wait for longer are worth a word in `/readyz`.
const WORTH_A_WORD: Duration = Duration::from_mins(1);

/// The kinds of notice, with their names in metrics.
const NOTICES: [(Kind, &str); 5] = [
    (Kind::Gap, "gap"),
    (Kind::Quarantined, "quarantined"),
    (Kind::Cloned, "cloned"),
    (Kind::BrokenChain, "broken_chain"),
    (Kind::Forged, "forged"),
];

/// Plain counters and gauges; each is read on its own, none is consistent with another.
#[derive(Debug, Default)]
pub(crate) struct ShipStatus {
    is_connected: AtomicBool,
    /// The control plane has said that it keeps no records.
    is_not_kept: AtomicBool,
    /// The control plane has no service for records.
    is_unsupported: AtomicBool,
    /// Connections that were opened.
    pub(crate) connections: AtomicU64,
    /// Records that went out, those sent again included.
    pub(crate) sent: AtomicU64,
    /// Batches that went out.
    pub(crate) batches: AtomicU64,
    /// Bytes of batches that went out, compressed.
    pub(crate) sent_bytes: AtomicU64,
    /// Records that were acknowledged.
    pub(crate) acked: AtomicU64,
    /// Records that the control plane had already.
    pub(crate) duplicates: AtomicU64,
    /// Records that the spool could not give, as far as their numbers tell.
    pub(crate) lost: AtomicU64,
    /// Records of earlier runs that wait.
    pub(crate) backlog: AtomicU64,
    /// Records of this run that are acknowledged.
    pub(crate) acked_run: AtomicU64,
    /// Names that the control plane has taken.
    pub(crate) names: AtomicU64,
    /// When the oldest record without an answer was written, microseconds since 1970 UTC; 0: there is none.
    oldest_us: AtomicI64,
    notices: [AtomicU64; NOTICES.len()],
    /// Why there is no connection.
    pub(crate) fault: ArcSwapOption<String>,
    /// The last connection ended because everything was acknowledged.
    is_complete: AtomicBool,
    /// The last notice that somebody must look into.
    pub(crate) alarm: ArcSwapOption<String>,
}

impl ShipStatus {
    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Relaxed);
    }

    pub(crate) fn set_not_kept(&self, is_not_kept: bool) {
        self.is_not_kept.store(is_not_kept, Relaxed);
    }

    pub(crate) fn set_unsupported(&self, is_unsupported: bool) {
        self.is_unsupported.store(is_unsupported, Relaxed);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected.load(Relaxed)
    }

    pub(crate) fn set_complete(&self, is_complete: bool) {
        self.is_complete.store(is_complete, Relaxed);
    }

    /// Whether nothing was left when the delivery ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.load(Relaxed)
    }

    /// The oldest record without an answer was written then.
    pub(crate) fn set_oldest(&self, time_us: Option<i64>) {
        self.oldest_us.store(time_us.unwrap_or(0), Relaxed);
    }

    /// Something waits from now on, unless something did already.
    pub(crate) fn waits_since(&self, time_us: i64) {
        // Whoever was first stays.
        let _ = self.oldest_us.compare_exchange(0, time_us, Relaxed, Relaxed);
    }

    /// For how long the oldest record has waited for an answer.
    pub(crate) fn oldest_age(&self) -> Duration {
        match self.oldest_us.load(Relaxed) {
            0 => Duration::ZERO,
            since => {
                let age = Timestamp::now().as_microsecond().saturating_sub(since);
                Duration::from_micros(u64::try_from(age).unwrap_or(0))
            }
        }
    }

    /// Records that are written and not acknowledged. `written`: of this run.
    pub(crate) fn undelivered(&self, written: u64) -> u64 {
        let run = written.saturating_sub(self.acked_run.load(Relaxed));
        self.backlog.load(Relaxed).saturating_add(run)
    }

    /// Counts a notice. One that tells of loss or tampering is shown until the gateway ends.
    pub(crate) fn notice(&self, kind: Kind, message: &str) {
        for ((each, name), count) in NOTICES.iter().zip(&self.notices) {
            if *each == kind {
                count.fetch_add(1, Relaxed);
                self.alarm.store(Some(Arc::new(format!("{name}: {message}"))));
            }
        }
    }

    /// Notices so far, by kind.
    pub(crate) fn notices(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        NOTICES.iter().zip(&self.notices).map(|((_, name), count)| (*name, count.load(Relaxed)))
    }

    /// Whether records wait for longer than they should.
    pub(crate) fn is_late(&self) -> bool {
        !self.is_not_kept.load(Relaxed) && self.oldest_age() > WORTH_A_WORD
    }

    /// Why the gateway serves with less than it should, as far as the delivery is concerned.
    pub(crate) fn reasons(&self, written: u64) -> Vec<String> {
        let mut reasons = Vec::new();
        let fault = self.fault.load();
        let why = fault.as_deref().map(|fault| format!(": the control plane {fault}")).unwrap_or_default();
        if self.is_late() {
            let (records, age) = (self.undelivered(written), self.oldest_age().as_secs());
            reasons.push(format!("audit delivery: {records} records wait, the oldest for {age} s{why}"));
        } else if self.is_unsupported.load(Relaxed) {
            // It does not get better by itself, so nothing is won by waiting until records are late.
            reasons.push(format!("audit delivery: records stay in the audit directory{why}"));
        }
        if let Some(alarm) = &*self.alarm.load() {
            reasons.push(format!("audit delivery: {alarm}"));
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_and_alarms_are_told_and_nothing_else() {
        let status = ShipStatus::default();
        let now = Timestamp::now().as_microsecond();
        status.waits_since(now);
        assert_eq!(status.reasons(5), Vec::<String>::new());
        status.set_oldest(None);
        status.waits_since(now - 75_000_000);
        status.waits_since(now);
        status.backlog.store(7, Relaxed);
        status.acked_run.store(2, Relaxed);
        status.fault.store(Some(Arc::new("has fallen silent".to_owned())));
        let told =
            "audit delivery: 10 records wait, the oldest for 75 s: the control plane has fallen silent";
        assert_eq!(status.reasons(5), [told]);
        status.set_oldest(None);
        status.notice(Kind::Cloned, "two machines");
        assert_eq!(status.reasons(5), ["audit delivery: cloned: two machines"]);
        assert_eq!(status.notices().find(|(name, _)| *name == "cloned"), Some(("cloned", 1)));
    }
}
