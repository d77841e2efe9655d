//! A batch, read: every byte of it checked before anything is believed.

use std::{borrow::Cow, io::Read as _};

use kt_audit::{
    Digest, Epoch, InstanceId, Kind,
    record::{Body, Checkpoint, Record},
    segment::parse_frame,
    sign::{PublicKey, checkpoint_message},
};
use kt_proto::v1::{self, ship_batch::Compression};

use super::IngestSettings;
use crate::audit::store::{NewRow, Row};

/// Why a batch is not what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("batch has no records, or more than may be")]
    Count,
    #[error("batch is larger than may be")]
    TooLarge,
    #[error("batch is compressed in a way that is not known")]
    Compression,
    #[error("batch can't be decompressed to the length that it names")]
    Length,
    #[error("record of the batch is damaged")]
    Frame,
    #[error("records of the batch are not in order")]
    Sequence,
    #[error("record of the batch is not bound to the one before")]
    Chain,
    #[error("a field has not the length that it must have")]
    Field,
}

/// A batch, read.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) epoch: Epoch,
    pub(super) rows: Vec<NewRow>,
    /// The last checkpoint in it.
    pub(super) checkpoint: Option<Box<Checkpoint>>,
}

/// Reads a batch of an instance.
pub(super) fn check(
    instance: InstanceId,
    batch: &v1::ShipBatch,
    settings: &IngestSettings,
) -> Result<Checked, Fault> {
    let epoch = Epoch(batch.epoch.as_slice().try_into().map_err(|_| Fault::Field)?);
    let mut previous = Digest(batch.previous_hash.as_slice().try_into().map_err(|_| Fault::Field)?);
    let last = Digest(batch.last_hash.as_slice().try_into().map_err(|_| Fault::Field)?);
    if batch.count == 0 || batch.count > settings.max_batch_records {
        return Err(Fault::Count);
    }
    if batch.frames_bytes > settings.max_batch_bytes {
        return Err(Fault::TooLarge);
    }
    let frames = frames(batch)?;
    let mut rest: &[u8] = &frames;
    let mut rows = Vec::with_capacity(usize::try_from(batch.count).unwrap_or(0));
    let mut checkpoint = None;
    let mut expected = batch.first_sequence;
    while !rest.is_empty() {
        let frame = parse_frame(rest).map_err(|_| Fault::Frame)?;
        rest = rest.get(frame.stored_len()..).unwrap_or_default();
        if frame.sequence != expected {
            return Err(Fault::Sequence);
        }
        if frame.previous != previous {
            return Err(Fault::Chain);
        }
        let hash = frame.hash(instance, epoch);
        let new = NewRow::new(Row {
            sequence: frame.sequence,
            time_us: frame.time_us,
            previous,
            hash,
            payload: frame.payload.to_vec(),
        });
        if new.facts.kind == Some(Kind::Checkpoint) {
            checkpoint = checkpoint_of(frame.payload);
        }
        rows.push(new);
        previous = hash;
        expected = expected.checked_add(1).ok_or(Fault::Sequence)?;
    }
    if rows.len() != usize::try_from(batch.count).unwrap_or(0) {
        return Err(Fault::Count);
    }
    if previous != last {
        return Err(Fault::Chain);
    }
    Ok(Checked { epoch, rows, checkpoint })
}

fn frames(batch: &v1::ShipBatch) -> Result<Cow<'_, [u8]>, Fault> {
    let length = usize::try_from(batch.frames_bytes).map_err(|_| Fault::TooLarge)?;
    match batch.compression() {
        Compression::None if batch.frames.len() == length => Ok(Cow::Borrowed(&batch.frames)),
        Compression::None => Err(Fault::Length),
        Compression::Zstd => {
            let reader =
                zstd::stream::read::Decoder::new(batch.frames.as_ref()).map_err(|_| Fault::Length)?;
            let mut frames = Vec::with_capacity(length);
            // One byte more than was named shows that there is more, and no more than that is unpacked.
            reader
                .take(u64::from(batch.frames_bytes) + 1)
                .read_to_end(&mut frames)
                .map_err(|_| Fault::Length)?;
            if frames.len() == length { Ok(Cow::Owned(frames)) } else { Err(Fault::Length) }
        }
        Compression::Unspecified => Err(Fault::Compression),
    }
}

fn checkpoint_of(payload: &[u8]) -> Option<Box<Checkpoint>> {
    match Record::parse(payload).ok()?.body {
        Body::Checkpoint(checkpoint) => Some(checkpoint),
        _ => None,
    }
}

/// Whether one of the keys has signed it.
pub(super) fn is_signed(instance: InstanceId, checkpoint: &Checkpoint, keys: &[[u8; 32]]) -> bool {
    let message = checkpoint_message(instance, &checkpoint.covers);
    keys.iter()
        .map(|key| PublicKey(*key))
        .any(|key| key.id() == checkpoint.key && key.verifies(&message, &checkpoint.signature))
}
