//! What a replica writes down of its gateways, within the limit of a value.

use std::collections::BTreeMap;

use bytes::Bytes;
use kt_proto::{store::v1 as store, v1};
use prost::Message as _;
use store::replica_record::FleetPart;

use crate::store::MAX_VALUE_BYTES;

/// From this size on the parts are compressed: ids are most of what is left then.
const COMPRESSED_FROM: usize = 8 * 1024;
/// The most that the parts of one replica may be after unpacking.
const MAX_UNPACKED: usize = 64 * 1024 * 1024;
/// How many rejections of a fleet are written down with a reason.
const MAX_REFUSALS: usize = 100;
const FEW_REASONS: usize = 3;

/// The record of `parts`, encoded. Where they are too many, those that went away longest ago are left out first.
pub(crate) fn pack(replica: &str, mut parts: Vec<FleetPart>, now_us: i64) -> Bytes {
    for part in &mut parts {
        shorten(&mut part.gateways);
    }
    loop {
        let bytes = encode(replica, &parts, now_us);
        if bytes.len() <= MAX_VALUE_BYTES {
            return bytes;
        }
        let Some(largest) = parts.iter_mut().max_by_key(|part| part.gateways.len()) else { return bytes };
        let is_away =
            |gateway: &v1::GatewayStatus| gateway.state() == v1::gateway_status::State::Disconnected;
        largest
            .gateways
            .sort_by_key(|gateway| (is_away(gateway), std::cmp::Reverse(gateway.last_contact_us)));
        let kept = largest.gateways.len() * 9 / 10;
        largest.gateways.truncate(kept);
    }
}

fn encode(replica: &str, parts: &[FleetPart], now_us: i64) -> Bytes {
    let mut record = store::ReplicaRecord {
        replica: replica.to_owned(),
        written_us: now_us,
        fleets: parts.to_vec(),
        ..store::ReplicaRecord::default()
    };
    let plain = record.encode_to_vec();
    if plain.len() < COMPRESSED_FROM {
        return plain.into();
    }
    let only_parts =
        store::ReplicaRecord { fleets: std::mem::take(&mut record.fleets), ..Default::default() };
    let Ok(compressed) = zstd::bulk::compress(&only_parts.encode_to_vec(), 1) else {
        // Compressing into memory fails only without memory.
        return plain.into();
    };
    record.compressed = compressed;
    record.encode_to_vec().into()
}

/// Most rejections of one push have the same reason: a few are enough.
fn shorten(gateways: &mut [v1::GatewayStatus]) {
    let refusals = gateways.iter_mut().filter_map(|gateway| gateway.refusal.as_mut());
    for (place, refusal) in refusals.enumerate() {
        refusal.reasons.truncate(if place < MAX_REFUSALS { FEW_REASONS } else { 0 });
    }
}

/// The gateways by fleet; nothing where the record can't be read.
pub(crate) fn unpack(record: &store::ReplicaRecord) -> BTreeMap<String, Vec<v1::GatewayStatus>> {
    let mut parts = record.fleets.clone();
    if !record.compressed.is_empty() {
        if let Some(more) = decompress(&record.compressed) {
            parts.extend(more);
        } else {
            tracing::warn!(replica = record.replica, "the record of a replica can't be read");
        }
    }
    parts.into_iter().map(|part| (part.fleet, part.gateways)).collect()
}

fn decompress(bytes: &[u8]) -> Option<Vec<FleetPart>> {
    let size = zstd::bulk::Decompressor::upper_bound(bytes)?;
    let plain = zstd::bulk::decompress(bytes, size.min(MAX_UNPACKED)).ok()?;
    Some(store::ReplicaRecord::decode(&*plain).ok()?.fleets)
}
