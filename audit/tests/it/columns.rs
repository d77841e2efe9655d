//! Records as rows.

use std::collections::BTreeSet;

use kt_audit::{
    Digest, Record,
    columns::{COLUMNS, Row, Source},
    segment::Frame,
};
use serde_json::{Map, Value};

use super::examples::{self, EPOCH, INSTANCE};

const SOURCE: Source<'_> = Source { instance: INSTANCE, fleet: "production", epoch: EPOCH, ordinal: 3 };

fn frame(sequence: u64, payload: &[u8]) -> Frame<'_> {
    Frame { sequence, time_us: 1_795_000_000_500_000, previous: Digest::of(b"before"), payload }
}

fn cells(payload: &[u8]) -> Map<String, Value> {
    let row = Row::new(SOURCE, frame(7, payload));
    let named = COLUMNS.iter().zip(row.cells()).filter(|(_, cell)| !cell.is_empty());
    named.map(|(column, cell)| (column.name.to_owned(), cell.into_owned().into())).collect()
}

#[test]
fn each_type_of_record_is_a_row_with_what_it_knows() {
    let rows: Vec<_> = examples::all()
        .into_iter()
        .map(|body| {
            let mut row = cells(&Record::new(body).payload().unwrap());
            assert!(
                row.remove("record").is_some_and(|record| record.as_str().unwrap().starts_with("{\"v\":1"))
            );
            row
        })
        .collect();
    insta::assert_json_snapshot!(rows);
}

#[test]
fn every_column_is_filled_by_some_record() {
    let mut filled = BTreeSet::new();
    for body in examples::all() {
        filled.extend(cells(&Record::new(body).payload().unwrap()).into_iter().map(|(name, _)| name));
    }
    let empty: Vec<_> =
        COLUMNS.iter().filter(|column| !filled.contains(column.name)).map(|c| c.name).collect();
    assert!(empty.is_empty(), "{empty:?}");
}

#[test]
fn the_exact_record_is_the_last_column_and_no_name_is_there_twice() {
    assert_eq!(COLUMNS.last().unwrap().name, "record");
    assert_eq!(COLUMNS.iter().map(|column| column.name).collect::<BTreeSet<_>>().len(), COLUMNS.len());
}

#[test]
fn what_this_build_can_not_read_has_its_place_and_its_bytes() {
    let row = cells(br#"{"v":9,"type":"prophecy","id":"later"}"#);
    assert_eq!(row["sequence"], "7");
    assert_eq!(row["record"], r#"{"v":9,"type":"prophecy","id":"later"}"#);
    assert!(!row.contains_key("type") && !row.contains_key("end"), "{row:?}");
    assert!(!cells(&[0xff; 9]).contains_key("record"), "bytes that are no text stand in no column of text");
}

#[cfg(feature = "parquet")]
#[test]
fn the_same_rows_give_the_same_parquet() {
    use kt_audit::columns::parquet::Writer;

    let payloads: Vec<_> =
        examples::all().into_iter().map(|body| Record::new(body).payload().unwrap()).collect();
    let file = || {
        let rows: Vec<_> =
            payloads.iter().zip(0..).map(|(payload, at)| Row::new(SOURCE, frame(at, payload))).collect();
        let mut writer = Writer::new(Vec::new()).unwrap();
        for rows in rows.chunks(5) {
            writer.group(rows).unwrap();
        }
        writer.finish().unwrap()
    };
    assert!(file().starts_with(b"PAR1") && file().ends_with(b"PAR1"));
    assert_eq!(file(), file());
}
