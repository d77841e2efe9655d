//! Records and readers for the tests.

use std::path::Path;

use kt_audit::Pseudonym;
use kt_audit::dir::layout::SegmentName;
use kt_audit::record::{Body, Caller, Closed, End, Endpoint, Opened, Record, RequestFacts};
use kt_audit::segment::{Item, scan};
use uuid::Uuid;

pub(crate) fn facts(subject: Option<Pseudonym>) -> RequestFacts {
    RequestFacts {
        accepted_us: 1_700_000_000_000_000,
        endpoint: Endpoint::ChatCompletions,
        caller: Caller { subject, team: Some("data".into()), ..Caller::default() },
        requested_model: Some("llama".into()),
        ..RequestFacts::default()
    }
}

pub(crate) fn opened(id: u128) -> Body {
    Body::Opened(Box::new(Opened { id: Uuid::from_u128(id), request: facts(None), ..Opened::default() }))
}

pub(crate) fn closed(id: u128) -> Body {
    Body::Closed(Box::new(Closed {
        id: Uuid::from_u128(id),
        request: facts(None),
        end: End::Completed,
        ..Closed::default()
    }))
}

/// Every record of every segment of `dir`, in order; panics on anything else in a segment.
pub(crate) fn records(dir: &Path) -> Vec<(u64, Record)> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| SegmentName::parse(entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    names.sort();
    let mut records = Vec::new();
    for name in names {
        let bytes = std::fs::read(dir.join(name.to_string())).unwrap();
        let (header, items) = scan(&bytes);
        header.unwrap();
        for item in items {
            let Item::Frame { frame, .. } = item else { panic!("{name}: {item:?}") };
            records.push((frame.sequence, Record::parse(frame.payload).unwrap()));
        }
    }
    records
}
