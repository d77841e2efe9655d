//! What an operator may set about the audit log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use kt_audit::identity::PseudonymKey;
use kt_audit::record::Retention;
use kt_audit::segment::{FRAME_LEN, HEADER_LEN, MAX_PAYLOAD};
use serde::{Deserialize, Serialize};

/// When an append is acknowledged: `policy.audit-logger.durability`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// fdatasync has returned: survives a power cut.
    Sync,
    /// write(2) has returned: survives a kill -9; an fsync follows within the interval.
    #[default]
    Block,
    /// It is queued.
    BestEffort,
}

/// Settings of one audit directory.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A segment is ended when it would grow over this many bytes.
    pub segment_bytes: u64,
    /// A segment is ended at this age.
    pub segment_age: Duration,
    /// The most bytes that all files of the directory may have together.
    pub max_bytes: u64,
    /// The part of `max_bytes` that only blocks, refusals and the ends of admitted requests may use.
    pub reserve_bytes: u64,
    /// The longest that a written record stays without an fsync.
    pub fsync_interval: Duration,
    /// A checkpoint is signed after this many records.
    pub checkpoint_records: u64,
    /// And after this long, where there was any record.
    pub checkpoint_interval: Duration,
    /// How many appends may wait for the writer.
    pub queue_records: usize,
    /// How long an append waits for room, in the queue and on the disk, before it fails. Once one has waited in vain,
    /// others do not, until a request is admitted again.
    pub full_wait: Duration,
    /// How long an append waits beyond that for a disk that does not answer.
    pub disk_wait: Duration,
    /// How long records are kept that do not say it themselves.
    pub default_retention: Retention,
    /// The fleet's pseudonym key; none: one of the directory's own.
    pub pseudonym_key: Option<PseudonymKey>,
    /// Where records are delivered elsewhere: retention then follows what was acknowledged, not the days of the
    /// records.
    pub delivery: Option<Delivery>,
}

/// What retention must know of the delivery of records.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Every record in segments with a smaller number is acknowledged. Only grows.
    pub acked_below: Arc<AtomicU64>,
    /// The control plane has said that it keeps no records: the days of the records count, as without delivery.
    pub is_not_kept: Arc<AtomicBool>,
    /// How long acknowledged segments stay, so that a control plane that was restored from a backup can have them
    /// again; while more than half of the byte cap is used they go at once.
    pub keep: Duration,
}

impl Delivery {
    /// The default: three days.
    pub fn new() -> Self {
        Self { acked_below: Arc::default(), is_not_kept: Arc::default(), keep: Duration::from_hours(72) }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            segment_age: Duration::from_hours(1),
            max_bytes: 8 << 30,
            reserve_bytes: 64 << 20,
            fsync_interval: Duration::from_millis(200),
            checkpoint_records: 1_000,
            checkpoint_interval: Duration::from_secs(10),
            queue_records: 4_096,
            full_wait: Duration::from_millis(250),
            disk_wait: Duration::from_secs(10),
            default_retention: Retention { days: 365, immutable: false },
            pseudonym_key: None,
            delivery: None,
        }
    }
}

/// Settings that contradict themselves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The cap leaves no room to work in.
    #[error("audit byte cap {max_bytes} is too small, at least {needed} bytes are needed")]
    CapTooSmall {
        /// What was set.
        max_bytes: u64,
        /// The least that works with the other settings.
        needed: u64,
    },
    /// A number must not be 0.
    #[error("audit setting `{name}` must not be 0")]
    Zero {
        /// The setting.
        name: &'static str,
    },
}

impl Settings {
    /// Bytes that only the log's own records may use: a checkpoint, a tombstone, the end of a segment.
    pub(crate) fn own_reserve(&self) -> u64 {
        (self.max_bytes / 16).min(1 << 20)
    }

    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let numbers = [
            ("segment_bytes", self.segment_bytes),
            ("checkpoint_records", self.checkpoint_records),
            ("queue_records", self.queue_records as u64),
            ("retention_days", u64::from(self.default_retention.days)),
        ];
        if let Some((name, _)) = numbers.into_iter().find(|(_, number)| *number == 0) {
            return Err(SettingsError::Zero { name });
        }
        let needed = (self.reserve_bytes.saturating_add(self.own_reserve()))
            .saturating_add((HEADER_LEN + FRAME_LEN + MAX_PAYLOAD) as u64);
        if self.max_bytes < needed {
            return Err(SettingsError::CapTooSmall { max_bytes: self.max_bytes, needed });
        }
        Ok(())
    }
}
