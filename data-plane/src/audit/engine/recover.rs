//! What a start learns from the files that the run before has left.
//!
//! Only as much is read as is needed: the header of every segment, and whole segments from the newest back to the
//! first checkpoint that lists the requests open at it.

use std::collections::BTreeMap;

use kt_audit::chain::{Epoch, InstanceId, Position};
use kt_audit::dir::layout::{self, SegmentName};
use kt_audit::record::{Body, Damage, DamageKind, Kind, OpenRequest, Opened, Peek, Record, SignedRun};
use kt_audit::segment::{FrameError, HEADER_LEN, Header, HeaderError, Item, guess_epoch, scan};
use kt_audit::sign::{Head, PublicKey};
use uuid::Uuid;

use crate::audit::fs::{Fs, FsFile as _};
use crate::audit::state::OpenError;

/// A segment that is no longer written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed {
    pub(crate) name: SegmentName,
    /// None where it can't be read.
    pub(crate) header: Option<Header>,
    pub(crate) bytes: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) instance: Option<InstanceId>,
    /// The highest ordinal that any segment names.
    pub(crate) ordinal: u64,
    /// The last readable record.
    pub(crate) last: Option<Position>,
    pub(crate) segments: Vec<Closed>,
    pub(crate) next_segment: u64,
    pub(crate) damage: Vec<Damage>,
    /// Requests left open, with their `opened` records where those can be read.
    pub(crate) open: BTreeMap<Uuid, (OpenRequest, Option<Box<Opened>>)>,
    pub(crate) cuts: Vec<SignedRun>,
    pub(crate) head: Option<Head>,
}

/// Something in a segment that matters to a start.
enum Event {
    Opened(OpenRequest, Box<Opened>),
    Closed(Uuid),
    State(Vec<OpenRequest>, Vec<SignedRun>),
    Cut(SignedRun),
}

/// Reads what a start must know, sets damaged files aside and cuts torn tails off.
pub(crate) fn recover<F: Fs>(fs: &F) -> Result<Found, OpenError> {
    let mut found = Found { head: read_head(fs), ..Found::default() };
    let files = fs.list().map_err(OpenError::Dir)?;
    for (name, bytes) in files {
        let Some(name) = SegmentName::parse(&name) else { continue };
        let header = fs
            .read(&name.to_string(), HEADER_LEN as u64)
            .ok()
            .and_then(|bytes| Header::parse(&bytes).ok())
            // A file under another number than its own is damage, which a scan will name.
            .filter(|header| header.segment == name.number);
        found.segments.push(Closed { name, header, bytes });
    }
    found.segments.sort_by_key(|segment| segment.name);
    let headers = found.segments.iter().filter_map(|segment| segment.header);
    found.instance = headers.clone().next_back().map(|header| header.instance);
    found.ordinal = headers.map(|header| header.ordinal).max().unwrap_or(0);
    let newest = found.segments.last().map_or(0, |segment| segment.name.number);
    found.next_segment = newest.saturating_add(1);

    let mut events = Vec::new();
    for index in (0..found.segments.len()).rev() {
        let complete = scan_segment(fs, &mut found, index, &mut events);
        if complete {
            break;
        }
    }
    apply(fs, &mut found, events);
    check_head(&mut found);
    Ok(found)
}

/// The head, where one of the directory's own keys has signed it.
fn read_head<F: Fs>(fs: &F) -> Option<Head> {
    let head: Head = serde_json::from_slice(&fs.read(layout::HEAD, 1 << 16).ok()?).ok()?;
    let keys = fs.read(layout::PUBLIC_KEYS, 1 << 20).ok()?;
    let mut keys = std::str::from_utf8(&keys).ok()?.lines().filter_map(|line| line.trim().parse().ok());
    keys.any(|key: PublicKey| head.is_signed_by(&key)).then_some(head)
}

/// Scans one segment and puts its events before those of later segments. True: nothing earlier is needed.
fn scan_segment<F: Fs>(fs: &F, found: &mut Found, index: usize, events: &mut Vec<Event>) -> bool {
    let Some(segment) = found.segments.get(index).copied() else { return false };
    let number = segment.name.number;
    let note = |found: &mut Found, what, offset: usize, bytes: usize| {
        // A file that an earlier start has set aside was told of then.
        if !segment.name.damaged {
            let (offset, bytes) = (offset as u64, bytes as u64);
            found.damage.push(Damage { what, segment: Some(number), offset, bytes });
        }
    };
    let Ok(bytes) = fs.read(&segment.name.to_string(), u64::MAX) else {
        note(found, DamageKind::UnreadableHeader, 0, 0);
        set_aside(fs, found, index);
        return false;
    };
    if bytes.len() < HEADER_LEN {
        // A crash while the segment was begun: there is no record in it.
        note(found, DamageKind::TornTail, 0, bytes.len());
        if fs.remove(&segment.name.to_string()).is_ok() {
            found.segments.remove(index);
        }
        return false;
    }
    let (header, items) = scan(&bytes);
    if let Err(HeaderError::Newer { .. }) = header {
        note(found, DamageKind::NewerFormat, 0, bytes.len());
        return false;
    }
    let mut aside = false;
    if header.is_err() || segment.header.is_none() {
        note(found, DamageKind::UnreadableHeader, 0, HEADER_LEN.min(bytes.len()));
        aside = true;
    }
    let mut frames = Vec::new();
    for item in items {
        match item {
            Item::Frame { frame, .. } => frames.push(frame),
            Item::Corrupt { offset, length, .. } => {
                note(found, DamageKind::CorruptMiddle, offset, length);
                aside = true;
            }
            Item::Torn { offset, length, error } => {
                let rest = bytes.get(offset..).unwrap_or_default();
                let unfinished = error == FrameError::Short || rest.iter().all(|byte| *byte == 0);
                if unfinished {
                    note(found, DamageKind::TornTail, offset, length);
                    cut_tail(fs, found, index, offset);
                } else {
                    // Whole, but not what was written: evidence, so it stays.
                    note(found, DamageKind::CorruptMiddle, offset, length);
                    aside = true;
                }
            }
        }
    }
    if aside {
        set_aside(fs, found, index);
    }
    let instance = header.ok().map(|header| header.instance).or(found.instance);
    let neighbours: Vec<Epoch> =
        found.segments.iter().rev().filter_map(|s| s.header.map(|h| h.epoch)).collect();
    let epoch = match (header, instance) {
        (Ok(header), _) => Some(header.epoch),
        (Err(_), Some(instance)) => guess_epoch(instance, &frames, &neighbours),
        (Err(_), None) => None,
    };
    let (Some(instance), Some(epoch)) = (instance, epoch) else { return false };

    if found.last.is_none()
        && let Some(frame) = frames.last()
    {
        let hash = frame.hash(instance, epoch);
        found.last = Some(Position { epoch, sequence: frame.sequence, hash });
    }
    let mut here = Vec::new();
    let mut complete = false;
    for frame in frames {
        let Ok(peek) = Peek::parse(frame.payload) else { continue };
        let place = |id| OpenRequest { id, segment: number, epoch, sequence: frame.sequence };
        match (peek.kind, peek.id) {
            (Some(Kind::Closed), Some(id)) => here.push(Event::Closed(id)),
            (Some(Kind::Opened), Some(id)) => {
                if let Ok(Record { body: Body::Opened(opened), .. }) = Record::parse(frame.payload) {
                    here.push(Event::Opened(place(id), opened));
                }
            }
            (Some(Kind::Checkpoint), _) => {
                if let Ok(Record { body: Body::Checkpoint(checkpoint), .. }) = Record::parse(frame.payload)
                    && let Some(open) = checkpoint.open
                {
                    complete = true;
                    here.push(Event::State(open, checkpoint.cuts));
                }
            }
            (Some(Kind::Tombstone), _) => {
                if let Ok(Record { body: Body::Tombstone(tombstone), .. }) = Record::parse(frame.payload) {
                    here.push(Event::Cut(tombstone.cut));
                }
            }
            _ => {}
        }
    }
    here.append(events);
    *events = here;
    complete
}

fn apply<F: Fs>(fs: &F, found: &mut Found, events: Vec<Event>) {
    for event in events {
        match event {
            Event::Opened(place, opened) => {
                found.open.insert(place.id, (place, Some(opened)));
            }
            Event::Closed(id) => {
                found.open.remove(&id);
            }
            Event::State(open, cuts) => {
                let known = std::mem::take(&mut found.open);
                found.open = open
                    .into_iter()
                    .map(|place| (place.id, (place, known.get(&place.id).and_then(|k| k.1.clone()))))
                    .collect();
                found.cuts = cuts;
            }
            Event::Cut(cut) => merge_cut(&mut found.cuts, cut),
        }
    }
    // Requests that were opened before what was scanned: few, each read by its place.
    let mut read: Option<(u64, Vec<u8>)> = None;
    for (place, opened) in found.open.values_mut().filter(|(_, opened)| opened.is_none()) {
        if read.as_ref().is_none_or(|(number, _)| *number != place.segment) {
            let name = found.segments.iter().map(|s| s.name).find(|name| name.number == place.segment);
            read = name
                .and_then(|name| fs.read(&name.to_string(), u64::MAX).ok())
                .map(|bytes| (place.segment, bytes));
        }
        let Some((_, bytes)) = &read else { continue };
        *opened = scan(bytes).1.find_map(|item| match item {
            Item::Frame { frame, .. } if frame.sequence == place.sequence => {
                match Record::parse(frame.payload) {
                    Ok(Record { body: Body::Opened(opened), .. }) if opened.id == place.id => Some(opened),
                    _ => None,
                }
            }
            _ => None,
        });
    }
}

/// The segments that runs before may have been killed over before they synced them: those from the head's on, since
/// a head is written after the fsync of all that it covers.
pub(crate) fn maybe_unsynced(found: &Found) -> impl Iterator<Item = SegmentName> {
    let synced = found.head.as_ref().map_or(0, |head| head.segment);
    found.segments.iter().map(|segment| segment.name).filter(move |name| name.number >= synced)
}

/// Adds a gap, in place of those that it contains.
pub(crate) fn merge_cut(cuts: &mut Vec<SignedRun>, cut: SignedRun) {
    let new = cut.run;
    cuts.retain(|old| old.run.first_segment < new.first_segment || old.run.last_segment > new.last_segment);
    cuts.push(cut);
    cuts.sort_by_key(|cut| cut.run.first_segment);
}

/// The head may name records that are no longer there: then the chain goes on from the head, and the gap shows.
fn check_head(found: &mut Found) {
    let Some(head) = &found.head else {
        // The first run writes its head after its first segment, so a crash in between is no loss.
        if found.ordinal > 1 {
            found.damage.push(Damage { what: DamageKind::LostState, segment: None, offset: 0, bytes: 0 });
        }
        return;
    };
    found.ordinal = found.ordinal.max(head.ordinal);
    found.next_segment = found.next_segment.max(head.segment.saturating_add(1));
    found.instance = found.instance.or(Some(head.instance));
    let newest = found.segments.last().map_or(0, |segment| segment.name.number);
    let behind = match found.last {
        None => true,
        Some(last) if last.epoch == head.last.epoch => last.sequence < head.last.sequence,
        Some(_) => newest < head.segment,
    };
    if behind {
        found.damage.push(Damage {
            what: DamageKind::CutTail,
            segment: Some(head.segment),
            offset: 0,
            bytes: 0,
        });
        found.last = Some(head.last);
    }
}

fn set_aside<F: Fs>(fs: &F, found: &mut Found, index: usize) {
    let Some(segment) = found.segments.get_mut(index).filter(|segment| !segment.name.damaged) else { return };
    let aside = SegmentName { damaged: true, ..segment.name };
    // Where it can't be renamed it stays under its name; it is read past either way.
    if fs.rename(&segment.name.to_string(), &aside.to_string()).is_ok() {
        segment.name = aside;
    }
}

fn cut_tail<F: Fs>(fs: &F, found: &mut Found, index: usize, offset: usize) {
    let Some(segment) = found.segments.get_mut(index) else { return };
    let cut = fs.open(&segment.name.to_string()).and_then(|file| {
        file.set_len(offset as u64)?;
        file.sync()
    });
    // Where it can't be cut it stays; readers pass over a torn tail that the next segment does not need.
    if cut.is_ok() {
        segment.bytes = offset as u64;
    }
}
