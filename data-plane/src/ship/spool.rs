//! What of an audit directory is still to be sent, in the order of the chain.
//!
//! A cursor goes over the segments by number, beside the writer that appends to the last of them. What cannot be read
//! is passed over, counted, and told with the batch after it; a damaged spool never stops the delivery of the rest.
//! Nothing here remembers what was acknowledged but the marks that it is given: read again from there, the same
//! records come out.

mod batch;
mod place;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use kt_audit::{
    Digest, Epoch, InstanceId, Position,
    dir::SegmentName,
    segment::{FRAME_LEN, HEADER_LEN, Header, HeaderError, Item, MAX_PAYLOAD, Scan},
};

pub(crate) use self::batch::{Batch, Limits, Loss, Run, Through, Why};
use crate::audit::fs::Fs;

/// The largest frame.
pub(crate) const MAX_FRAME: usize = FRAME_LEN + MAX_PAYLOAD;

/// More than any segment has.
const MAX_SEGMENT: u64 = 1 << 30;

struct Cursor {
    name: SegmentName,
    /// The run and its ordinal; none where that cannot be told.
    origin: Option<(Epoch, u64)>,
    offset: u64,
    last_sequence: Option<u64>,
    /// A later segment was there before this one was read last: nothing more will come here.
    is_last_look: bool,
}

/// What became of a piece of a segment.
enum Taken {
    /// The batch is as it goes out.
    Stop,
    /// There may be more behind the piece.
    More,
    /// The file ends here, with so many bytes that are no record.
    End { rest: u64 },
}

/// The records of a directory that are still to be sent.
pub(crate) struct Spool<F: Fs> {
    fs: Arc<F>,
    instance: InstanceId,
    segments: BTreeMap<SegmentName, Result<Header, HeaderError>>,
    marks: HashMap<Epoch, Position>,
    cursor: Option<Cursor>,
    /// What was passed over since the last batch.
    loss: Option<Loss>,
    /// What would come next in the run that was read last.
    next: Option<(Epoch, u64)>,
    /// The hash of the record that was read or passed last.
    tip: Option<Digest>,
}

impl<F: Fs> Spool<F> {
    pub(crate) fn new(fs: Arc<F>, instance: InstanceId) -> Self {
        Self {
            fs,
            instance,
            segments: BTreeMap::new(),
            marks: HashMap::new(),
            cursor: None,
            loss: None,
            next: None,
            tip: None,
        }
    }

    /// The runs that are here, in the order of the chain; at most `limit`, the newest.
    pub(crate) fn runs(&mut self, limit: usize) -> io::Result<Vec<Run>> {
        self.refresh()?;
        let mut runs: Vec<Run> = Vec::new();
        for header in self.headers() {
            match runs.iter_mut().rev().find(|run| run.epoch == header.epoch) {
                Some(run) => {
                    run.first_sequence = run.first_sequence.min(header.first_sequence);
                    run.last_sequence = run.last_sequence.max(header.first_sequence);
                }
                None => runs.push(Run {
                    epoch: header.epoch,
                    ordinal: header.ordinal,
                    first_sequence: header.first_sequence,
                    last_sequence: header.first_sequence,
                }),
            }
        }
        runs.drain(..runs.len().saturating_sub(limit));
        Ok(runs)
    }

    /// Begins anew, after these records. Returns those whose run is here with another record in that place: such a
    /// run is read from its beginning.
    pub(crate) fn begin(&mut self, marks: &[Position]) -> io::Result<Vec<Position>> {
        self.refresh()?;
        self.marks.clear();
        self.cursor = None;
        self.loss = None;
        self.next = None;
        self.tip = None;
        let mut diverged = Vec::new();
        for mark in marks {
            match self.agrees(mark)? {
                None => {}
                Some(true) => drop(self.marks.insert(mark.epoch, *mark)),
                Some(false) => diverged.push(*mark),
            }
        }
        Ok(diverged)
    }

    /// Takes note that everything up to a record is acknowledged.
    pub(crate) fn acked(&mut self, mark: Position) {
        let known = self.marks.entry(mark.epoch).or_insert(mark);
        if mark.sequence > known.sequence {
            *known = mark;
        }
    }

    /// The marks of the runs that are still here, in the order of the chain.
    pub(crate) fn marks(&self) -> Vec<Position> {
        let mut marks: Vec<Position> = Vec::new();
        for header in self.headers() {
            if let Some(mark) = self.marks.get(&header.epoch)
                && marks.last().is_none_or(|last| last.epoch != mark.epoch)
            {
                marks.push(*mark);
            }
        }
        marks
    }

    /// The next records, as many as are there and go into a batch.
    pub(crate) fn next(&mut self, limits: Limits, through: Option<Through>) -> io::Result<Option<Batch>> {
        let piece = limits.bytes.max(MAX_FRAME).saturating_add(MAX_FRAME);
        let mut batch = None;
        loop {
            let Some(cursor) = &self.cursor else {
                self.refresh()?;
                let Some(first) = self.segments.keys().next().copied() else { return Ok(batch) };
                self.enter(first)?;
                continue;
            };
            let taken = match cursor.origin {
                None => Taken::End { rest: 0 },
                Some((epoch, ordinal)) => {
                    match self.fs.read_at(&cursor.name.to_string(), cursor.offset, piece as u64) {
                        Ok(bytes) => {
                            let reading = Reading { epoch, ordinal, limits, through };
                            self.take(&bytes, bytes.len() == piece, reading, &mut batch)
                        }
                        // Cut while it was read.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => Taken::End { rest: 0 },
                        Err(error) => return Err(error),
                    }
                }
            };
            match taken {
                Taken::Stop => return Ok(batch),
                Taken::More => {}
                Taken::End { rest } => {
                    if !self.leave(rest)? {
                        return Ok(batch);
                    }
                }
            }
        }
    }

    /// Goes on to the next segment, where there is one; only after this one was read once more. `rest`: bytes at its
    /// end that are no record.
    fn leave(&mut self, rest: u64) -> io::Result<bool> {
        self.refresh()?;
        let Some(cursor) = &mut self.cursor else { return Ok(false) };
        let later = (std::ops::Bound::Excluded(cursor.name), std::ops::Bound::Unbounded);
        let Some(next) = self.segments.range(later).next().map(|(name, _)| *name) else { return Ok(false) };
        // The next one exists only after the last byte of this one was written.
        if !std::mem::replace(&mut cursor.is_last_look, true) {
            return Ok(true);
        }
        if rest > 0 {
            self.lost(Why::Damaged, rest, 0);
        }
        self.enter(next)?;
        Ok(true)
    }

    fn enter(&mut self, name: SegmentName) -> io::Result<()> {
        let mut cursor = Cursor {
            name,
            origin: None,
            offset: HEADER_LEN as u64,
            last_sequence: None,
            is_last_look: false,
        };
        match self.segments.get(&name) {
            Some(Ok(header)) if header.instance == self.instance => {
                // What is acknowledged in whole is not read.
                if self.is_acked(header) {
                    self.tip = self.marks.get(&header.epoch).map(|mark| mark.hash);
                } else {
                    cursor.origin = Some((header.epoch, header.ordinal));
                }
            }
            Some(Err(HeaderError::Altered | HeaderError::NotASegment)) => {
                cursor.origin = self.guess(name)?;
                if cursor.origin.is_none() {
                    self.lost_segment(Why::Damaged, name)?;
                }
            }
            Some(Err(HeaderError::Newer { .. })) => self.lost_segment(Why::NewerFormat, name)?,
            // Of another gateway, or gone.
            Some(Ok(_)) => self.lost_segment(Why::Damaged, name)?,
            Some(Err(HeaderError::Short)) | None => {}
        }
        cursor.is_last_look = cursor.origin.is_none();
        self.cursor = Some(cursor);
        Ok(())
    }

    /// Puts the records of a piece into the batch, and moves the cursor behind them.
    fn take(&mut self, bytes: &[u8], is_piece: bool, reading: Reading, batch: &mut Option<Batch>) -> Taken {
        let Some((start, segment, last_sequence)) =
            self.cursor.as_ref().map(|cursor| (cursor.offset, cursor.name.number, cursor.last_sequence))
        else {
            return Taken::Stop;
        };
        let mut scan = Scan::resume(bytes, 0, last_sequence);
        loop {
            let at = scan.offset();
            match scan.next() {
                None => {
                    self.move_to(start, at, None);
                    return if is_piece { Taken::More } else { Taken::End { rest: 0 } };
                }
                Some(Item::Frame { offset, frame }) => {
                    let is_later = reading.through.is_some_and(|through| {
                        through.epoch == reading.epoch && frame.sequence >= through.below
                    });
                    if is_later {
                        self.move_to(start, offset, None);
                        return Taken::Stop;
                    }
                    let end = offset + frame.stored_len();
                    let mark = self.marks.get(&reading.epoch);
                    if let Some(mark) = mark.filter(|mark| frame.sequence <= mark.sequence) {
                        self.tip = (frame.sequence == mark.sequence).then_some(mark.hash);
                        self.move_to(start, end, Some(frame.sequence));
                        continue;
                    }
                    // Unreadable bytes between two records that fit together were none: a write that failed.
                    if self.tip == Some(frame.previous) {
                        self.loss = None;
                    }
                    if let Some(batch) = batch {
                        let fits = batch.frames.len() + frame.stored_len() <= reading.limits.bytes
                            && batch.count < reading.limits.records;
                        let follows = batch.last.epoch == reading.epoch
                            && batch.last.sequence.checked_add(1) == Some(frame.sequence);
                        if !fits || !follows || self.loss.is_some() {
                            batch.is_full = true;
                            self.move_to(start, offset, None);
                            return Taken::Stop;
                        }
                    }
                    let missing = frame.sequence.saturating_sub(self.expected(reading.epoch));
                    if missing > 0 {
                        self.lost(Why::Cut, 0, missing);
                    }
                    let hash = frame.hash(self.instance, reading.epoch);
                    let last = Position { epoch: reading.epoch, sequence: frame.sequence, hash };
                    let loss = self.loss.take();
                    let batch = batch.get_or_insert_with(|| Batch {
                        ordinal: reading.ordinal,
                        first_sequence: frame.sequence,
                        count: 0,
                        previous: frame.previous,
                        last,
                        first_time_us: frame.time_us,
                        segment,
                        frames: Vec::new(),
                        loss,
                        is_full: false,
                    });
                    batch.count += 1;
                    batch.last = last;
                    batch.segment = segment;
                    batch.frames.extend_from_slice(bytes.get(offset..end).unwrap_or_default());
                    self.next = Some((reading.epoch, frame.sequence.saturating_add(1)));
                    self.tip = Some(hash);
                    self.move_to(start, end, Some(frame.sequence));
                }
                Some(Item::Corrupt { offset, length, .. }) => {
                    if let Some(batch) = batch {
                        batch.is_full = true;
                        self.move_to(start, offset, None);
                        return Taken::Stop;
                    }
                    self.lost(Why::Damaged, length as u64, 0);
                    self.move_to(start, offset + length, None);
                }
                // Half a record at the end of the piece.
                Some(Item::Torn { offset, .. }) if is_piece && offset > 0 => {
                    self.move_to(start, offset, None);
                    return Taken::More;
                }
                // A piece holds any record twice over: here begins none in its first half.
                Some(Item::Torn { length, .. }) if is_piece => {
                    if let Some(batch) = batch {
                        batch.is_full = true;
                        return Taken::Stop;
                    }
                    let over = length.saturating_sub(MAX_FRAME).max(1);
                    self.lost(Why::Damaged, over as u64, 0);
                    self.move_to(start, over, None);
                    return Taken::More;
                }
                Some(Item::Torn { offset, length, .. }) => {
                    self.move_to(start, offset, None);
                    return Taken::End { rest: length as u64 };
                }
            }
        }
    }

    /// The sequence that comes next in a run.
    fn expected(&self, epoch: Epoch) -> u64 {
        match self.next {
            Some((run, next)) if run == epoch => next,
            _ => self.marks.get(&epoch).map_or(0, |mark| mark.sequence.saturating_add(1)),
        }
    }

    fn move_to(&mut self, start: u64, offset: usize, sequence: Option<u64>) {
        if let Some(cursor) = &mut self.cursor {
            cursor.offset = start + offset as u64;
            cursor.last_sequence = sequence.or(cursor.last_sequence);
        }
    }

    fn lost(&mut self, why: Why, bytes: u64, records: u64) {
        let loss = self.loss.get_or_insert(Loss { why, bytes: 0, records: 0 });
        loss.bytes = loss.bytes.saturating_add(bytes);
        loss.records = loss.records.saturating_add(records);
    }

    fn lost_segment(&mut self, why: Why, name: SegmentName) -> io::Result<()> {
        let bytes = self.read(name, <[u8]>::len)?.unwrap_or(0);
        self.lost(why, bytes as u64, 0);
        Ok(())
    }

    fn headers(&self) -> impl Iterator<Item = &Header> {
        self.segments.values().filter_map(|header| header.as_ref().ok())
    }

    fn read<T>(&self, name: SegmentName, judge: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
        match self.fs.read(&name.to_string(), MAX_SEGMENT) {
            Ok(bytes) => Ok(Some(judge(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks at which segments there are.
    fn refresh(&mut self) -> io::Result<()> {
        let names: Vec<SegmentName> =
            self.fs.list()?.iter().filter_map(|(name, _)| SegmentName::parse(name)).collect();
        self.segments.retain(|name, _| names.contains(name));
        for name in names {
            if self.segments.contains_key(&name) {
                continue;
            }
            let head = match self.fs.read_at(&name.to_string(), 0, HEADER_LEN as u64) {
                Ok(head) => head,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // A segment that is just being begun is looked at again.
            if head.len() == HEADER_LEN {
                self.segments.insert(name, Header::parse(&head));
            }
        }
        Ok(())
    }
}

/// What a segment is read as, and how far.
#[derive(Clone, Copy)]
struct Reading {
    epoch: Epoch,
    ordinal: u64,
    limits: Limits,
    through: Option<Through>,
}

#[cfg(test)]
mod tests;
