//! What an audit directory holds, run by run.

use std::collections::BTreeMap;

use kt_audit::{
    Epoch, Position,
    dir::{AuditDir, DirError, layout},
    segment::{HeaderError, Item, scan},
};
use serde::Serialize;

use super::super::events::time;

/// A directory.
#[derive(Debug, Serialize)]
pub(super) struct Survey {
    pub(super) dir: String,
    pub(super) instance: Option<String>,
    pub(super) segments: u64,
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// Records that no control plane has acknowledged.
    pub(super) waiting: u64,
    /// Bytes that hold no readable record.
    pub(super) unreadable_bytes: u64,
    /// Segments of a later format than this program reads.
    pub(super) newer_segments: u64,
    /// Persons whose names are sealed, and persons that are erased.
    pub(super) sealed_names: u64,
    pub(super) erased: u64,
    pub(super) countersigned: Option<Countersigned>,
    pub(super) runs: Vec<Run>,
    /// What the control plane has acknowledged and must therefore be here.
    #[serde(skip)]
    pub(super) known: Vec<Position>,
}

/// The newest word of the control plane that it holds everything up to a record.
#[derive(Debug, Serialize)]
pub(super) struct Countersigned {
    epoch: Epoch,
    sequence: u64,
    time: String,
    key: String,
}

/// A run of the gateway.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    ordinal: u64,
    epoch: Epoch,
    first_sequence: u64,
    last_sequence: u64,
    records: u64,
    /// The last acknowledged record.
    delivered_through: Option<u64>,
    waiting: u64,
    #[serde(skip)]
    times: (i64, i64),
    first: String,
    last: String,
}

impl Run {
    pub(super) fn row(&self) -> [String; 8] {
        let epoch: String = self.epoch.to_string().chars().take(12).collect();
        [
            self.ordinal.to_string(),
            format!("{epoch}…"),
            self.records.to_string(),
            format!("{}–{}", self.first_sequence, self.last_sequence),
            self.delivered_through.map_or_else(|| "-".to_owned(), |through| format!("to {through}")),
            self.waiting.to_string(),
            self.first.clone(),
            self.last.clone(),
        ]
    }
}

impl Survey {
    /// Reads all of a directory.
    pub(super) fn of(dir: &AuditDir) -> Result<Self, DirError> {
        let shipped = dir.shipped()?.unwrap_or_default();
        let marks: BTreeMap<Epoch, Position> = shipped.marks.iter().map(|mark| (mark.epoch, *mark)).collect();
        let mut survey = Self {
            dir: dir.path().display().to_string(),
            instance: dir.instance().ok().flatten().map(|instance| instance.to_string()),
            segments: 0,
            bytes: 0,
            records: 0,
            waiting: 0,
            unreadable_bytes: 0,
            newer_segments: 0,
            sealed_names: lines(dir, layout::SEALED_NAMES),
            erased: lines(dir, layout::ERASED),
            countersigned: shipped.countersigned.map(|word| Countersigned {
                epoch: word.covers.epoch,
                sequence: word.covers.sequence,
                time: time(word.signed_us),
                key: word.key.to_string(),
            }),
            runs: Vec::new(),
            known: Vec::new(),
        };
        for segment in dir.segments()? {
            survey.segments += 1;
            survey.bytes += segment.bytes;
            if let Err(HeaderError::Newer { .. }) = segment.header {
                survey.newer_segments += 1;
                continue;
            }
            let Some(bytes) = dir.read_segment(segment.name)? else { continue };
            let run = segment.header.ok().map(|header| (header.epoch, header.ordinal));
            for item in scan(&bytes).1 {
                match (item, run) {
                    (Item::Frame { frame, .. }, Some((epoch, ordinal))) => {
                        let mark = marks.get(&epoch).map(|mark| mark.sequence);
                        survey.count(epoch, ordinal, frame.sequence, frame.time_us, mark);
                    }
                    // Of a run that its segment does not tell any more: verified, and delivered where it can be told.
                    (Item::Frame { .. }, None) => {
                        survey.records += 1;
                        survey.waiting += 1;
                    }
                    (Item::Corrupt { length, .. } | Item::Torn { length, .. }, _) => {
                        survey.unreadable_bytes += length as u64;
                    }
                }
            }
        }
        for run in &mut survey.runs {
            (run.first, run.last) = (time(run.times.0), time(run.times.1));
        }
        let covers = shipped.countersigned.map(|word| word.covers);
        let is_here = |mark: &Position| {
            let run = survey.runs.iter().find(|run| run.epoch == mark.epoch);
            run.is_some_and(|run| run.first_sequence <= mark.sequence)
        };
        survey.known = shipped.marks.iter().copied().chain(covers).filter(is_here).collect();
        Ok(survey)
    }

    fn count(&mut self, epoch: Epoch, ordinal: u64, sequence: u64, time_us: i64, mark: Option<u64>) {
        self.records += 1;
        let is_waiting = mark.is_none_or(|mark| sequence > mark);
        self.waiting += u64::from(is_waiting);
        let known = self.runs.iter().position(|run| run.epoch == epoch);
        let index = known.unwrap_or_else(|| {
            self.runs.push(Run {
                ordinal,
                epoch,
                first_sequence: sequence,
                last_sequence: sequence,
                records: 0,
                delivered_through: mark,
                waiting: 0,
                times: (time_us, time_us),
                first: String::new(),
                last: String::new(),
            });
            self.runs.len() - 1
        });
        if let Some(run) = self.runs.get_mut(index) {
            run.records += 1;
            run.waiting += u64::from(is_waiting);
            run.first_sequence = run.first_sequence.min(sequence);
            run.last_sequence = run.last_sequence.max(sequence);
            run.times = (run.times.0.min(time_us), run.times.1.max(time_us));
        }
    }

    /// The directory in a few lines.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![
            ("directory", self.dir.clone()),
            ("instance", self.instance.clone().unwrap_or_else(|| "-".to_owned())),
            ("segments", format!("{} with {} bytes", self.segments, self.bytes)),
            ("records", format!("{}, of which {} wait for delivery", self.records, self.waiting)),
            ("names", format!("{} sealed, {} erased", self.sealed_names, self.erased)),
        ];
        if let Some(word) = &self.countersigned {
            let text = format!("up to record {} of {}, at {}", word.sequence, word.epoch, word.time);
            facts.push(("countersigned", text));
        }
        if self.unreadable_bytes > 0 {
            facts.push((
                "unreadable",
                format!("{} bytes: `kt spool verify` says where", self.unreadable_bytes),
            ));
        }
        if self.newer_segments > 0 {
            let text = format!("{} segments of a later format: a newer `kt` reads them", self.newer_segments);
            facts.push(("newer", text));
        }
        facts
    }
}

/// Rows of a table beside the segments.
fn lines(dir: &AuditDir, name: &str) -> u64 {
    let text = std::fs::read(dir.path().join(name)).unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64
}
