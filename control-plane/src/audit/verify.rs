//! Verification of what is stored: the chain of an instance, put together again from its records and walked by the same
//! verifier as an audit directory.

use kt_audit::{
    InstanceId, Position,
    record::{Record, Retention},
    segment::{Header, encode_frame},
    sign::PublicKey,
    verify::{Report, Trust, Verifier},
};

use super::store::{AuditStore, AuditStoreError, ChainPlace, Stored};

/// Records that are read at once.
const AT_ONCE: u32 = 4_096;

/// What was verified.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) report: Report,
    /// What the control plane has countersigned.
    pub(crate) countersigned: Option<Position>,
}

/// Walks the chain of an instance. `progress` is told how many records were read so far, `witness` is the key that the
/// tombstones of retention must be signed with.
pub(crate) async fn verify(
    store: &dyn AuditStore,
    witness: PublicKey,
    instance: InstanceId,
    progress: impl Fn(u64) + Send,
) -> Result<Verified, AuditStoreError> {
    let vouched = store.vouched(instance).await?;
    let mut behind: Option<ChainPlace> = None;
    let mut segment = 0;
    let mut read = 0;
    // Marks are written with the records: the last one of each run must be there. Read before the records, which only
    // grow.
    let marks = store.marks(instance).await?;
    let mut verifier = Verifier::new(Trust {
        keys: vouched.keys.iter().map(|key| PublicKey(*key)).chain([witness]).collect(),
        heads: Vec::new(),
        known: vouched.countersigned.into_iter().chain(marks.iter().map(|mark| mark.last)).collect(),
        instance: Some(instance),
        excerpt: false,
        cuts: store.tombstones(instance).await?,
    });
    loop {
        let records = store.chain(instance, behind, AT_ONCE).await?;
        let Some(last) = records.last() else { break };
        behind = Some(ChainPlace { epoch: last.epoch, sequence: last.row.sequence });
        read += records.len() as u64;
        for run in records.chunk_by(|a, b| a.epoch == b.epoch) {
            segment += 1;
            let bytes = segment_of(instance, segment, run);
            verifier.segment(
                segment,
                &format!("run {}", run.first().map_or(0, |record| record.ordinal)),
                &bytes,
            );
        }
        progress(read);
    }
    Ok(Verified { report: verifier.finish(), countersigned: vouched.countersigned })
}

const NOT_SAID: Retention = Retention { days: 0, immutable: false };

fn asked(record: &Stored) -> Option<Retention> {
    Record::parse(&record.row.payload).ok()?.body.retention()
}

/// Records of one run as the segment that they could stand in.
fn segment_of(instance: InstanceId, segment: u64, run: &[Stored]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Some(first) = run.first() else { return bytes };
    let header = Header {
        instance,
        epoch: first.epoch,
        ordinal: first.ordinal,
        segment,
        first_sequence: first.row.sequence,
        previous: first.row.previous,
        created_us: first.row.time_us,
        // A header says the longest that its records ask for.
        retention: run.iter().filter_map(asked).fold(NOT_SAID, Retention::longest),
    };
    bytes.extend_from_slice(&header.encode());
    for record in run {
        let row = &record.row;
        // A payload of an impossible length was not written by us: its place stays empty, and is named as missing.
        let _ = encode_frame(&mut bytes, row.sequence, row.time_us, &row.previous, &row.payload);
    }
    bytes
}

#[cfg(test)]
mod tests;
