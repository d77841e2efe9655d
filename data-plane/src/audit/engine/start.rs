//! The first records of a run: who it is, what it found, and the ends of what the run before left open.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use kt_audit::chain::{ChainState, Epoch};
use kt_audit::dir::layout;
use kt_audit::record::{
    Body, CheckpointReason, Closed, Damage, End, EpochStart, OpenRequest, Opened, RequestFacts,
};
use kt_audit::value::{Digest, Label};

use super::recover::{Found, maybe_unsynced, recover};
use super::space::{Class, Held, Space};
use super::{Engine, Results, Room, sync};
use crate::audit::fs::Fs;
use crate::audit::handle::{AppendError, Entry};
use crate::audit::metrics::{AuditMetrics, DROP_REASONS, add};
use crate::audit::settings::Settings;
use crate::audit::state::{Identity, OpenError, Subjects};
use kt_audit::segment::FRAME_LEN;

/// The most damaged places that one record tells of.
const DAMAGE_TOLD: usize = 64;

/// What of a run's beginning is still to be written.
pub(crate) enum Start {
    /// These records, and then a checkpoint.
    Records(VecDeque<Entry>),
    /// The checkpoint alone.
    Checkpoint,
    /// Nothing.
    Done,
}

impl<F: Fs> Engine<F> {
    /// Reads the directory and begins a run. Where the disk takes no record yet, the run's first records wait.
    pub(crate) fn open(
        fs: F,
        settings: Settings,
        epoch: Epoch,
        now_us: i64,
        metrics: Arc<AuditMetrics>,
    ) -> Result<Self, OpenError> {
        let mut found = recover(&fs)?;
        let fleet_key = settings.pseudonym_key.clone();
        let identity = Identity::load(&fs, found.instance, fleet_key, &mut found.damage)?;
        let ordinal = found.ordinal.saturating_add(1);
        add(&metrics.damage, found.damage.len() as u64);
        add(&metrics.interrupted, found.open.len() as u64);
        let used = (fs.list().map_err(OpenError::Dir)?.iter())
            .filter(|(name, _)| name != layout::LOCK && name != layout::RESERVE)
            .map(|(_, bytes)| *bytes)
            .sum();
        let previous = found.last.map_or(Digest::ZERO, |last| last.hash);
        let chain = ChainState::start(identity.instance, epoch, previous);
        let records = first_records(&mut found, &identity, epoch, ordinal);
        let unsynced =
            maybe_unsynced(&found).filter_map(|name| fs.open(&name.to_string()).ok().map(Arc::new)).collect();
        let mut engine = Self {
            sync: sync::State::new(unsynced, now_us),
            space: Space::new(&settings, used),
            held: Held::new(&settings),
            subjects: Subjects::load(&fs),
            fs: Arc::new(fs),
            settings,
            identity,
            metrics,
            ordinal,
            chain,
            written: chain,
            current: None,
            next_segment: found.next_segment,
            closed: found.segments,
            staged: Vec::new(),
            buffer: Vec::new(),
            start: Start::Records(records),
            open: HashMap::new(),
            cuts: found.cuts,
            since_checkpoint: 0,
            checkpoint_us: now_us,
            room: Room::Seen,
            chained_drops: [0; DROP_REASONS.len()],
        };
        // Not taken yet is no failure of the start: each append tries again.
        let _ = engine.run_start(now_us);
        engine.held.fill(&*engine.fs);
        engine.export();
        Ok(engine)
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Writes what is left of the run's first records.
    pub(super) fn run_start(&mut self, now_us: i64) -> Result<(), AppendError> {
        if matches!(self.start, Start::Done) {
            return Ok(());
        }
        while let Start::Records(records) = &mut self.start {
            let Some(entry) = records.pop_front() else {
                self.start = Start::Checkpoint;
                break;
            };
            if let Err(error) = self.write_first(&entry, now_us) {
                if let Start::Records(records) = &mut self.start {
                    records.push_front(entry);
                }
                return Err(error);
            }
        }
        if self.current.is_none() {
            self.roll(None, now_us)?;
        }
        // The checkpoint says that the run before is dealt with, so that the next start need not look at it.
        if self.stage_checkpoint(CheckpointReason::Start, now_us) {
            let before = self.written.next_sequence;
            self.flush(&mut Results::new());
            if self.written.next_sequence > before {
                self.start = Start::Done;
                return Ok(());
            }
        }
        Err(AppendError::Full)
    }

    fn write_first(&mut self, entry: &Entry, now_us: i64) -> Result<(), AppendError> {
        let length = (FRAME_LEN + entry.payload.len()) as u64;
        if self.needs_roll(entry.retention, length, now_us) {
            self.roll(entry.retention, now_us)?;
        }
        self.space.check(Class::Own, length, 0)?;
        let mut result: Results = vec![Err(AppendError::Full)];
        self.stage(entry.kind, entry.id, &entry.payload, Some(0), now_us)?;
        self.flush(&mut result);
        result.pop().unwrap_or(Err(AppendError::Full)).map(|_| ())
    }
}

fn first_records(found: &mut Found, identity: &Identity, epoch: Epoch, ordinal: u64) -> VecDeque<Entry> {
    let damage: Vec<Damage> = found.damage.iter().take(DAMAGE_TOLD).cloned().collect();
    let start = EpochStart {
        instance: identity.instance,
        epoch,
        ordinal,
        previous: found.last,
        gateway_version: Label::new(env!("CARGO_PKG_VERSION")),
        public_key: identity.signer.public(),
        pseudonym_key: identity.pseudonyms.id(),
        damage_omitted: (found.damage.len() - damage.len()) as u64,
        damage,
    };
    let interrupted = std::mem::take(&mut found.open)
        .into_values()
        .map(|(place, opened)| Body::Closed(Box::new(interrupted(place, opened.map(|opened| *opened)))));
    let bodies = std::iter::once(Body::Epoch(Box::new(start))).chain(interrupted);
    bodies.filter_map(|body| Entry::new(body, None).ok()).collect()
}

/// The end of a request whose gateway stopped in the middle. Its facts are those of its `opened` record.
fn interrupted(place: OpenRequest, opened: Option<Opened>) -> Closed {
    let opened = opened.unwrap_or_else(|| Opened { request: RequestFacts::default(), ..Opened::default() });
    Closed {
        id: place.id,
        request: opened.request,
        end: End::Interrupted,
        verdict: opened.verdict,
        target: opened.target,
        outcomes: opened.outcomes,
        findings: opened.findings,
        findings_omitted: opened.findings_omitted,
        edits: opened.edits,
        not_inspected: opened.not_inspected,
        bytes_in: opened.bytes_in,
        opened_epoch: Some(place.epoch),
        ..Closed::default()
    }
}
