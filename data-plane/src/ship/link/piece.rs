//! What is read from the directory in one go, and how it goes out.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use kt_audit::{record::RECORD_VERSION, segment::FORMAT_VERSION};
use kt_proto::v1::{self, ship_request::Message as Out};
use tokio::{task::JoinHandle, time::Instant};

use super::{Link, Outgoing, send};
use crate::{
    audit::fs::Fs,
    control,
    ship::{
        names,
        session::{Ended, Sent, Session},
        spool::{Batch, Limits, Spool, Through, Why},
    },
};

/// Runs that a hello names.
const MAX_RUNS: usize = 4_096;
/// The level of zstd: the fastest that is worth it.
const LEVEL: i32 = 1;

/// What is read in one go.
pub(super) struct Piece<F: Fs> {
    pub(super) spool: Spool<F>,
    read: io::Result<Read>,
    /// All records up to there could be read.
    through: Option<Through>,
}

/// Names, and a batch with its frames compressed.
type Read = (Option<names::Rows>, Option<(Batch, Vec<u8>)>);

impl<F: Fs> Link<F> {
    /// Records that may be read: of the run that is being written, those that an fsync covers.
    fn through(&mut self) -> Option<Through> {
        let epoch = self.running().filter(|_| !self.is_finishing)?;
        Some(Through { epoch, below: *self.synced.borrow_and_update() })
    }

    /// Who this is and what it holds.
    pub(super) async fn hello(&mut self) -> io::Result<v1::ShipHello> {
        let mut spool = self.take_spool();
        let work = tokio::task::spawn_blocking(move || {
            let runs = spool.runs(MAX_RUNS);
            (spool, runs)
        });
        let (spool, runs) = work.await.map_err(io::Error::other)?;
        self.spool = Some(spool);
        let runs = runs?;
        let origin = &self.origin;
        Ok(v1::ShipHello {
            instance: origin.instance.0.as_bytes().to_vec(),
            process_id: self.process_id.to_string(),
            gateway_id: origin.gateway_id.clone(),
            name: self.settings.name.clone(),
            build: control::build().to_owned(),
            segment_format: u32::from(FORMAT_VERSION),
            record_version: u32::from(RECORD_VERSION),
            public_keys: origin.public_keys.iter().map(|key| key.0.to_vec()).collect(),
            pseudonym_key_id: origin.pseudonym_key.map(|id| id.0.to_vec()).unwrap_or_default(),
            runs: runs
                .into_iter()
                .map(|run| v1::ShipRun {
                    epoch: run.epoch.0.to_vec(),
                    ordinal: run.ordinal,
                    first_sequence: run.first_sequence,
                    last_sequence: run.last_sequence,
                })
                .collect(),
            running: self.running().map(|epoch| epoch.0.to_vec()),
        })
    }

    /// Reads names and the next batch, off the workers.
    pub(super) fn read(&mut self, limits: Limits) -> JoinHandle<Piece<F>> {
        let mut spool = self.take_spool();
        for mark in self.pending.drain(..) {
            spool.acked(mark);
        }
        self.marks.marks = spool.marks();
        let through = self.through();
        let fs = Arc::clone(&self.fs);
        // Without the key of their pseudonyms names mean nothing.
        let names = self.origin.pseudonym_key.filter(|_| self.names_sent.is_none());
        let names = names.map(|key| (key, self.marks.names));
        tokio::task::spawn_blocking(move || {
            let read = (|| {
                let rows =
                    names.and_then(|(key, from)| names::read(&*fs, from, key).transpose()).transpose()?;
                let batch = spool.next(limits, through)?;
                let batch = batch
                    .map(|batch| zstd::bulk::compress(&batch.frames, LEVEL).map(|frames| (batch, frames)))
                    .transpose()?;
                Ok((rows, batch))
            })();
            Piece { spool, read, through }
        })
    }

    pub(super) fn send_piece(
        &mut self,
        piece: Piece<F>,
        session: &mut Session,
        outgoing: &Outgoing,
    ) -> Result<(), Ended> {
        self.spool = Some(piece.spool);
        let (rows, batch) = piece.read.map_err(|error| Ended::Spool(error.to_string()))?;
        let has_rows = rows.is_some();
        if let Some(rows) = rows {
            self.names_number += 1;
            self.names_sent = Some((self.names_number, rows.through));
            self.status.names.fetch_add(rows.subjects.len() as u64, Relaxed);
            let (number, subjects) = (self.names_number, rows.subjects);
            send(outgoing, Out::Subjects(v1::ShipSubjects { number, subjects }))?;
        }
        let Some((batch, frames)) = batch else {
            // What came meanwhile was told of, and is looked for again.
            let is_over = piece.through == self.through_now();
            session.empty(is_over);
            if is_over && !has_rows && self.on_way.is_empty() {
                self.status.set_oldest(None);
            }
            return Ok(());
        };
        let sent = Sent {
            last: batch.last,
            records: u64::from(batch.count),
            first_time_us: batch.first_time_us,
            segment: batch.segment,
            lost: batch.loss.map_or(0, |loss| loss.records),
        };
        if let Some(loss) = batch.loss {
            tracing::warn!(
                records = loss.records,
                bytes = loss.bytes,
                why = ?loss.why,
                "Audit records are missing in the spool: the control plane is told so."
            );
        }
        if self.on_way.is_empty() {
            self.status.set_oldest(Some(batch.first_time_us));
        }
        self.on_way.push_back(batch.first_time_us);
        self.status.sent.fetch_add(sent.records, Relaxed);
        self.status.batches.fetch_add(1, Relaxed);
        self.status.sent_bytes.fetch_add(frames.len() as u64, Relaxed);
        let is_full = batch.is_full;
        send(outgoing, Out::Batch(message(session.number(), batch, frames)))?;
        session.sent(Instant::now(), sent, is_full);
        Ok(())
    }

    /// As [`Link::through`], without taking note of it.
    fn through_now(&self) -> Option<Through> {
        let epoch = self.running().filter(|_| !self.is_finishing)?;
        Some(Through { epoch, below: *self.synced.borrow() })
    }
}

fn message(number: u64, batch: Batch, frames: Vec<u8>) -> v1::ShipBatch {
    let frames_bytes = u32::try_from(batch.frames.len()).unwrap_or(u32::MAX);
    v1::ShipBatch {
        number,
        epoch: batch.last.epoch.0.to_vec(),
        ordinal: batch.ordinal,
        first_sequence: batch.first_sequence,
        count: batch.count,
        previous_hash: batch.previous.0.to_vec(),
        last_hash: batch.last.hash.0.to_vec(),
        compression: v1::ship_batch::Compression::Zstd.into(),
        frames_bytes,
        frames: frames.into(),
        loss: batch.loss.map(|loss| v1::ShipLoss {
            why: match loss.why {
                Why::Damaged => v1::ship_loss::Why::Damaged,
                Why::Cut => v1::ship_loss::Why::Cut,
                Why::NewerFormat => v1::ship_loss::Why::NewerFormat,
            }
            .into(),
            bytes: loss.bytes,
        }),
    }
}
