//! Logs to a collector of OpenTelemetry: OTLP 1.x over HTTP, in JSON
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use futures_util::{FutureExt as _, future::BoxFuture};
use kt_audit::{
    columns::{COLUMNS, Read, Row},
    record::{Kind, Verdict},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Batch, Sink, Undelivered,
    client::{Options, Server},
    settings::Otlp,
};
use crate::audit::store::Stored;

/// See [`Otlp`].
pub(crate) struct OtlpSink {
    server: Server,
}

/// What a collector answers.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    partial_success: PartialSuccess,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PartialSuccess {
    /// A number or, as JSON has 64 bits, a text of one.
    rejected_log_records: Value,
}

// === impl OtlpSink ===

impl OtlpSink {
    pub(super) fn new(settings: &Otlp) -> Result<Self, String> {
        let Otlp { url, headers, ca_file, insecure } = settings;
        let options = Options { url, headers, ca_file: ca_file.as_deref(), insecure: *insecure };
        Ok(Self { server: Server::new(options)?.or_path("/v1/logs") })
    }
}

/// A batch as `ExportLogsServiceRequest`: one resource for each run of a gateway that follows another.
fn request(batch: &Batch<'_>) -> Value {
    let same = |a: &(&Stored, Row<'_>), b: &(&Stored, Row<'_>)| {
        a.0.instance == b.0.instance && a.0.fleet == b.0.fleet
    };
    let resources = batch.records.chunk_by(same).map(|records| {
        let first = records.first().map(|(stored, _)| *stored);
        let logs: Vec<Value> = records.iter().map(|(stored, row)| log(stored, row)).collect();
        json!({
            "resource": {"attributes": [
                text("service.name", "kt-gateway"),
                text("service.namespace", first.map_or("", |stored| &stored.fleet)),
                text("service.instance.id", &first.map(|stored| stored.instance.to_string()).unwrap_or_default()),
            ]},
            "scopeLogs": [{
                "scope": {"name": "kt.audit", "version": env!("CARGO_PKG_VERSION")},
                "logRecords": logs,
            }],
        })
    });
    json!({"resourceLogs": resources.collect::<Vec<_>>()})
}

fn log(stored: &Stored, row: &Row<'_>) -> Value {
    // 64 bits are text in the JSON of protobuf.
    let nanos = |micros: i64| i128::from(micros).saturating_mul(1_000).max(0).to_string();
    let (severity, number) = match row.facts().verdict {
        Some(Verdict::Block) if row.kind() == Some(Kind::Closed) => ("WARN", 13),
        _ => ("INFO", 9),
    };
    let kind = row.kind().map_or("record", Kind::as_str);
    json!({
        "timeUnixNano": nanos(stored.row.time_us),
        "observedTimeUnixNano": nanos(stored.stored_us),
        "severityNumber": number,
        "severityText": severity,
        "eventName": format!("kt.audit.{kind}"),
        "body": {"stringValue": String::from_utf8_lossy(&stored.row.payload)},
        "attributes": attributes(row),
    })
}

/// The columns that are known, but those that stand elsewhere.
fn attributes(row: &Row<'_>) -> Vec<Value> {
    let elsewhere = ["time", "fleet", "instance", "record"];
    let columns = COLUMNS.iter().filter(|column| !elsewhere.contains(&column.name));
    let attributes = columns.filter_map(|column| {
        let value = match column.read {
            Read::Text(read) => json!({"stringValue": read(row)?}),
            Read::Integer(read) => json!({"intValue": read(row)?.to_string()}),
            Read::Boolean(read) => json!({"boolValue": read(row)?}),
            Read::Time(read) => json!({"intValue": read(row)?.to_string()}),
            Read::Texts(read) => {
                let values: Vec<Value> = read(row).iter().map(|text| json!({"stringValue": text})).collect();
                if values.is_empty() {
                    return None;
                }
                json!({"arrayValue": {"values": values}})
            }
        };
        Some(json!({"key": format!("kt.{}", column.name), "value": value}))
    });
    attributes.collect()
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

// === impl Sink ===

impl Sink for OtlpSink {
    fn deliver<'a>(&'a self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), Undelivered>> {
        async move {
            let body = request(batch).to_string().into_bytes();
            let answer = self.server.post(&batch.name(), "application/json", body).await?;
            let answer: Answer = serde_json::from_slice(&answer).unwrap_or_default();
            let rejected = answer.partial_success.rejected_log_records;
            if matches!(&rejected, Value::Null) || rejected == 0 || rejected == "0" {
                return Ok(());
            }
            // The protocol forbids to send them again; they are in the store.
            tracing::error!(sink = batch.sink, %rejected, "Collector has rejected audit records.");
            Ok(())
        }
        .boxed()
    }
}
