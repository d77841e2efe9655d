//! The engine on a disk that tears, fills and dies.

pub(crate) mod disk;
mod erase;
mod faults;
mod model;
mod retention;

use std::sync::Arc;

use kt_audit::chain::Epoch;
use kt_audit::dir::layout::{self, SegmentName};
use kt_audit::record::{Body, Record};
use kt_audit::segment::{Item, scan};
use kt_audit::sign::Head;
use kt_audit::verify::{Report, Trust, Verifier};

use self::disk::Disk;
use super::*;
use crate::audit::tests::support::{closed, opened};

const NOW: i64 = 1_800_000_000_000_000;

fn settings() -> Settings {
    Settings {
        segment_bytes: 4 << 10,
        max_bytes: 4 << 20,
        reserve_bytes: 64 << 10,
        checkpoint_records: 16,
        ..Settings::default()
    }
}

/// Opens the directory on `disk` as run number `run`.
fn start(disk: &Disk, settings: Settings, run: u8, now_us: i64) -> Engine<Disk> {
    let epoch = Epoch([run; 16]);
    Engine::open(disk.clone(), settings, epoch, now_us, Arc::default()).expect("damage never stops a start")
}

pub(crate) fn entry(body: Body) -> Entry {
    Entry::new(body, None).unwrap()
}

/// Appends one record and says whether it was written.
fn put(engine: &mut Engine<Disk>, body: Body, now_us: i64) -> Result<u64, AppendError> {
    engine.append(&[&entry(body)], now_us).pop().unwrap()
}

/// Every readable record on the disk, in order.
fn stored(disk: &Disk) -> Vec<Record> {
    let mut records = Vec::new();
    for (_, bytes) in segments(disk) {
        for item in scan(&bytes).1 {
            if let Item::Frame { frame, .. } = item {
                records.push(Record::parse(frame.payload).unwrap());
            }
        }
    }
    records
}

fn segments(disk: &Disk) -> Vec<(SegmentName, Vec<u8>)> {
    let mut segments: Vec<_> = disk
        .names()
        .iter()
        .filter_map(|name| Some((SegmentName::parse(name)?, disk.content(name)?)))
        .collect();
    segments.sort();
    segments
}

fn verify(disk: &Disk) -> Report {
    let keys = disk.content(layout::PUBLIC_KEYS).unwrap_or_default();
    let keys = std::str::from_utf8(&keys).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    let head: Option<Head> = disk.content(layout::HEAD).map(|bytes| serde_json::from_slice(&bytes).unwrap());
    let heads = head.into_iter().map(|head| (layout::HEAD.to_owned(), head)).collect();
    let mut verifier = Verifier::new(Trust { keys, heads, ..Trust::default() });
    for (name, bytes) in segments(disk) {
        verifier.segment(name.number, &name.to_string(), &bytes);
    }
    verifier.finish()
}

fn sync(engine: &mut Engine<Disk>, now_us: i64) -> bool {
    let Some(job) = engine.sync_job(now_us, true) else { return true };
    let done = job.run();
    engine.sync_done(&done);
    done.result.is_ok()
}
