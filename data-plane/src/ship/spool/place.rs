//! Where in the directory something is: what is acknowledged, what waits, and whose a segment is.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use kt_audit::{
    Epoch, Position,
    dir::SegmentName,
    segment::{Header, Item, guess_epoch, scan},
};

use super::Spool;
use crate::audit::fs::Fs;

impl<F: Fs> Spool<F> {
    /// The first segment that may hold a record behind the marks, as far as headers tell; `0`: there is no segment.
    pub(crate) fn floor(&self) -> u64 {
        let waiting = self.segments.iter().find(|(_, header)| match header {
            Ok(header) => !self.is_acked(header),
            // What can't be read does not wait, and is never cut.
            Err(_) => false,
        });
        waiting.or_else(|| self.segments.last_key_value()).map_or(0, |(name, _)| name.number)
    }

    /// How many records of other runs than `running` are behind their marks.
    pub(crate) fn backlog(&self, running: Option<Epoch>) -> io::Result<u64> {
        let mut last_of: BTreeMap<Epoch, (SegmentName, u64)> = BTreeMap::new();
        let mut first_of: HashMap<Epoch, u64> = HashMap::new();
        for (name, header) in &self.segments {
            if let Ok(header) = header
                && Some(header.epoch) != running
            {
                last_of.insert(header.epoch, (*name, header.first_sequence));
                let first = first_of.entry(header.epoch).or_insert(header.first_sequence);
                *first = header.first_sequence.min(*first);
            }
        }
        let mut waiting = 0_u64;
        for (epoch, (name, from)) in last_of {
            let frames = self.read(name, |bytes| {
                scan(bytes).1.filter(|item| matches!(item, Item::Frame { .. })).count() as u64
            })?;
            let Some(frames) = frames else { continue };
            let end = from.saturating_add(frames);
            let first = first_of.get(&epoch).copied().unwrap_or(0);
            let next = self.marks.get(&epoch).map_or(0, |mark| mark.sequence.saturating_add(1));
            waiting = waiting.saturating_add(end.saturating_sub(first.max(next)));
        }
        Ok(waiting)
    }

    /// Whether a later segment of the same run shows that all records of this one are acknowledged.
    pub(super) fn is_acked(&self, header: &Header) -> bool {
        let Some(mark) = self.marks.get(&header.epoch) else { return false };
        let later =
            |other: &&Header| other.epoch == header.epoch && other.first_sequence > header.first_sequence;
        self.headers().find(later).is_some_and(|next| next.first_sequence <= mark.sequence.saturating_add(1))
    }

    /// The run of a segment whose header can't be read.
    pub(super) fn guess(&self, name: SegmentName) -> io::Result<Option<(Epoch, u64)>> {
        let mut candidates: Vec<Epoch> = self.headers().map(|header| header.epoch).collect();
        candidates.dedup();
        let epoch = self.read(name, |bytes| {
            let frames: Vec<_> = scan(bytes)
                .1
                .filter_map(|item| if let Item::Frame { frame, .. } = item { Some(frame) } else { None })
                .collect();
            // Without two records side by side nothing tells which of several runs it is.
            if frames.len() < 2 && frames.first().is_none_or(|frame| frame.sequence > 0) {
                return None;
            }
            guess_epoch(self.instance, &frames, &candidates)
        })?;
        Ok(epoch.flatten().map(|epoch| {
            let ordinal =
                self.headers().find(|header| header.epoch == epoch).map_or(0, |header| header.ordinal);
            (epoch, ordinal)
        }))
    }

    /// Whether the record of this place is the same here; none: its run is not here.
    pub(super) fn agrees(&self, mark: &Position) -> io::Result<Option<bool>> {
        let of_run = || {
            let run = self.segments.iter().filter_map(|(name, header)| Some((*name, header.ok()?)));
            run.filter(|(_, header)| header.epoch == mark.epoch && header.instance == self.instance)
        };
        let holder = of_run().rfind(|(_, header)| header.first_sequence <= mark.sequence);
        let Some((name, _)) = holder else {
            // It was before what is held; the first record here names it, where it is the next.
            return Ok(of_run().next().map(|(_, header)| {
                mark.sequence.checked_add(1) != Some(header.first_sequence) || header.previous == mark.hash
            }));
        };
        let agrees = self.read(name, |bytes| {
            for item in scan(bytes).1 {
                let Item::Frame { frame, .. } = item else { continue };
                if frame.sequence == mark.sequence {
                    return frame.hash(self.instance, mark.epoch) == mark.hash;
                }
                if frame.sequence > mark.sequence {
                    // The record itself can't be read any more.
                    return mark.sequence.checked_add(1) != Some(frame.sequence)
                        || frame.previous == mark.hash;
                }
            }
            // More is acknowledged than there is.
            false
        })?;
        Ok(agrees)
    }
}
