//! The records of a directory, one after the other.

use std::collections::VecDeque;

use serde::Serialize;

use super::{AuditDir, DirError, SegmentName};
use crate::chain::{Epoch, InstanceId};
use crate::record::{Record, RecordError};
use crate::segment::{Frame, Item, scan};
use crate::value::Digest;

/// Which records come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In the order of writing.
    OldestFirst,
    /// The other way round.
    NewestFirst,
}

/// A stored record with all that its frame and its segment say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The instance; none where the segment's header can't be read.
    pub instance: Option<InstanceId>,
    /// The run; none where the segment's header can't be read.
    pub epoch: Option<Epoch>,
    /// Its number in the run.
    pub sequence: u64,
    /// When it was appended, microseconds since 1970 UTC.
    pub time_us: i64,
    /// The hash of the record before.
    pub previous: Digest,
    /// The number of its segment.
    pub segment: u64,
    /// Where its frame begins in the segment.
    pub offset: u64,
    /// The exact payload.
    pub payload: Vec<u8>,
}

impl Entry {
    pub(super) fn new(
        origin: Option<(InstanceId, Epoch)>,
        segment: u64,
        offset: usize,
        frame: &Frame<'_>,
    ) -> Self {
        Self {
            instance: origin.map(|(instance, _)| instance),
            epoch: origin.map(|(_, epoch)| epoch),
            sequence: frame.sequence,
            time_us: frame.time_us,
            previous: frame.previous,
            segment,
            offset: offset as u64,
            payload: frame.payload.to_vec(),
        }
    }

    /// The record.
    ///
    /// # Errors
    /// When the payload is of a later form or no record.
    pub fn record(&self) -> Result<Record, RecordError> {
        Record::parse(&self.payload)
    }

    /// The hash of the record; none where instance or epoch are not known.
    pub fn hash(&self) -> Option<Digest> {
        let frame = Frame {
            sequence: self.sequence,
            time_us: self.time_us,
            previous: self.previous,
            payload: &self.payload,
        };
        Some(frame.hash(self.instance?, self.epoch?))
    }

    /// The record as JSON for people and programs: the payload's fields, with those of the frame under `at`.
    ///
    /// # Errors
    /// When the payload is no JSON object.
    pub fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
        #[derive(Serialize)]
        struct At<'a> {
            time: Option<jiff::Timestamp>,
            instance: &'a Option<InstanceId>,
            epoch: &'a Option<Epoch>,
            sequence: u64,
            hash: Option<Digest>,
            previous: &'a Digest,
            segment: u64,
            offset: u64,
        }
        let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&self.payload)?;
        let at = At {
            time: jiff::Timestamp::from_microsecond(self.time_us).ok(),
            instance: &self.instance,
            epoch: &self.epoch,
            sequence: self.sequence,
            hash: self.hash(),
            previous: &self.previous,
            segment: self.segment,
            offset: self.offset,
        };
        fields.insert("at".to_owned(), serde_json::to_value(at)?);
        Ok(fields.into())
    }
}

/// Iterates over the records of a directory, one segment in memory at a time.
#[derive(Debug)]
pub struct Records {
    dir: AuditDir,
    order: Order,
    segments: VecDeque<SegmentName>,
    ready: VecDeque<Entry>,
    unreadable: u64,
}

impl Records {
    pub(super) fn new(dir: AuditDir, order: Order) -> Result<Self, DirError> {
        let segments = dir.segments()?.into_iter().map(|segment| segment.name).collect();
        Ok(Self { dir, order, segments, ready: VecDeque::new(), unreadable: 0 })
    }

    /// Bytes passed over so far because they hold no readable record.
    pub fn unreadable_bytes(&self) -> u64 {
        self.unreadable
    }

    fn load(&mut self, name: SegmentName) -> Result<(), DirError> {
        let Some(bytes) = self.dir.read_segment(name)? else { return Ok(()) };
        let (header, items) = scan(&bytes);
        let origin = header.ok().map(|header| (header.instance, header.epoch));
        for item in items {
            match item {
                Item::Frame { offset, frame } => {
                    let entry = Entry::new(origin, name.number, offset, &frame);
                    match self.order {
                        Order::OldestFirst => self.ready.push_back(entry),
                        Order::NewestFirst => self.ready.push_front(entry),
                    }
                }
                Item::Corrupt { length, .. } | Item::Torn { length, .. } => self.unreadable += length as u64,
            }
        }
        Ok(())
    }
}

impl Iterator for Records {
    type Item = Result<Entry, DirError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            let name = match self.order {
                Order::OldestFirst => self.segments.pop_front()?,
                Order::NewestFirst => self.segments.pop_back()?,
            };
            if let Err(error) = self.load(name) {
                return Some(Err(error));
            }
        }
    }
}
