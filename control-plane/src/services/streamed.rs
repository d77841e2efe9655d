//! What auditors are sent for as long as they listen: requests as they come, and whole chains.

use std::time::Duration;

use kt_audit::{Position, segment::encode_frame};
use kt_proto::v1::{self, export_audit_response::Part};
use tokio::{sync::mpsc, time::Instant};
use tonic::Status;

use super::audit::{shown, unavailable};
use crate::audit::{
    Audit, position,
    store::{AuditStoreError, ChainPlace, EventFilter, InstanceRow, PageToken, Stored},
};

/// How often the store is asked for what is new.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Something is said at least so often, so that silence is noticed.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Records in one message.
const AT_ONCE: u32 = 500;
/// Records of a chain that are read at once: at most 16 MiB of the largest would be too much for a message, so fewer go
/// into one where they are large.
const CHAIN_AT_ONCE: u32 = 2_000;
const MESSAGE_BYTES: usize = 1024 * 1024;

type Out<T> = mpsc::Sender<Result<T, Status>>;

/// Sends what comes behind `page`. Where nobody has the name that is asked for, nothing ever comes.
pub(super) async fn tail(
    audit: Audit,
    filter: Option<EventFilter>,
    mut page: PageToken,
    with_names: bool,
    out: Out<v1::TailEventsResponse>,
) {
    // Said at once, so that the caller knows where to go on should the connection break.
    let mut said: Option<Instant> = None;
    loop {
        let found = match &filter {
            Some(filter) => audit.store.events(filter.clone(), true, Some(page), AT_ONCE).await,
            None => Ok(crate::audit::store::Page::default()),
        };
        let is_full = found.as_ref().is_ok_and(|page| page.next.is_some());
        let response = match found {
            Ok(found) if found.events.is_empty() && said.is_some_and(|at| at.elapsed() < HEARTBEAT) => None,
            Ok(found) => {
                page = found.events.last().map_or(page, |event| PageToken(event.id));
                Some(
                    shown(&audit, found.events, with_names)
                        .await
                        .map(|events| v1::TailEventsResponse { events, next_page_token: page.0.to_string() }),
                )
            }
            Err(error) => Some(Err(unavailable(error))),
        };
        if let Some(response) = response {
            said = Some(Instant::now());
            let is_last = response.is_err();
            // A caller who is slow is waited for here, and gets what comes meanwhile with the next look.
            if out.send(response.map_err(Status::from)).await.is_err() || is_last {
                return;
            }
        }
        tokio::select! {
            () = out.closed() => return,
            () = tokio::time::sleep(LOOK_EVERY), if !is_full => {}
            () = std::future::ready(()), if is_full => {}
        }
    }
}

/// Sends the chains of instances.
pub(super) async fn export(
    audit: Audit,
    rows: Vec<InstanceRow>,
    range: (i64, i64),
    out: Out<v1::ExportAuditResponse>,
) {
    for row in rows {
        match instance(&audit, &row, range, &out).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                // The caller may have gone.
                let _ = out.send(Err(unavailable(error).into())).await;
                return;
            }
        }
    }
}

async fn send(out: &Out<v1::ExportAuditResponse>, part: Part) -> bool {
    out.send(Ok(v1::ExportAuditResponse { part: Some(part) })).await.is_ok()
}

/// Sends one instance; false: the caller has gone.
async fn instance(
    audit: &Audit,
    row: &InstanceRow,
    (from_us, to_us): (i64, i64),
    out: &Out<v1::ExportAuditResponse>,
) -> Result<bool, AuditStoreError> {
    let instance = row.origin.instance;
    let vouched = audit.store.vouched(instance).await?;
    let tombstones = audit.store.tombstones(instance).await?;
    let head = v1::ExportedInstance {
        instance: instance.0.as_bytes().to_vec(),
        fleet: row.origin.fleet.to_string(),
        gateway_id: row.origin.gateway.to_string(),
        name: row.origin.name.to_string(),
        public_keys: vouched.keys.iter().map(|key| key.to_vec()).collect(),
        witness_key: audit.witness.public().0.to_vec(),
        tombstones: tombstones.iter().filter_map(|tombstone| serde_json::to_string(tombstone).ok()).collect(),
        records: row.records,
    };
    if !send(out, Part::Instance(head)).await {
        return Ok(false);
    }
    // Times never go back in a run, so a range of times is a part of it without a gap.
    let is_in = |record: &Stored| {
        (from_us == 0 || record.row.time_us >= from_us) && (to_us == 0 || record.row.time_us < to_us)
    };
    let mut ends: Vec<Position> = Vec::new();
    let mut behind = None;
    loop {
        let records = audit.store.chain(instance, behind, CHAIN_AT_ONCE).await?;
        let Some(last) = records.last() else { break };
        behind = Some(ChainPlace { epoch: last.epoch, sequence: last.row.sequence });
        let records: Vec<Stored> = records.into_iter().filter(is_in).collect();
        for run in records.chunk_by(|a, b| a.epoch == b.epoch) {
            for message in messages(run) {
                if !send(out, Part::Records(message)).await {
                    return Ok(false);
                }
            }
            let Some(last) = run.last() else { continue };
            let end = Position { epoch: last.epoch, sequence: last.row.sequence, hash: last.row.hash };
            match ends.last_mut().filter(|before| before.epoch == end.epoch) {
                Some(before) => *before = end,
                None => ends.push(end),
            }
        }
    }
    let now_us = jiff::Timestamp::now().as_microsecond();
    let heads = ends.iter().map(|covers| v1::Countersignature {
        covers: Some(position(covers)),
        signed_us: now_us,
        signature: Some(v1::Signature {
            key_id: audit.witness.public().id().0.to_vec(),
            signature: audit.witness.countersign(instance, covers, now_us).0.to_vec(),
        }),
    });
    Ok(send(out, Part::End(v1::ExportedEnd { heads: heads.collect() })).await)
}

/// Records of one run as frames, in messages of a size that travels.
fn messages(run: &[Stored]) -> Vec<v1::ExportedRecords> {
    let mut messages: Vec<v1::ExportedRecords> = Vec::new();
    for record in run {
        let row = &record.row;
        if messages.last().is_none_or(|message| message.frames.len() >= MESSAGE_BYTES) {
            messages.push(v1::ExportedRecords {
                epoch: record.epoch.0.to_vec(),
                ordinal: record.ordinal,
                first_sequence: row.sequence,
                count: 0,
                frames: Vec::new(),
            });
        }
        if let Some(message) = messages.last_mut() {
            // A payload of an impossible length was not written by us: its place stays empty, and is named as missing.
            if encode_frame(&mut message.frames, row.sequence, row.time_us, &row.previous, &row.payload)
                .is_ok()
            {
                message.count += 1;
            }
        }
    }
    messages
}
