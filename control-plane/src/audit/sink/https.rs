//! JSON to a server.

use futures_util::{FutureExt as _, future::BoxFuture};
use kt_audit::{Digest, Epoch, InstanceId};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Batch, HttpsBody, Sink, Undelivered,
    client::{Options, Server},
    settings::Https,
};
use crate::audit::store::Stored;

/// See [`Https`].
pub(crate) struct HttpsSink {
    server: Server,
    body: HttpsBody,
}

/// A record as it is sent.
#[derive(Serialize)]
struct Event<'a> {
    fleet: &'a str,
    instance: InstanceId,
    epoch: Epoch,
    ordinal: u64,
    sequence: u64,
    time_us: i64,
    previous: Digest,
    hash: Digest,
    /// The exact bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a RawValue>,
    /// The same in hexadecimal digits, where they are no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    record_hex: Option<String>,
}

/// What Splunk's collector wants around it.
#[derive(Serialize)]
struct Hec<'a> {
    /// Seconds since 1970.
    time: f64,
    host: InstanceId,
    source: &'static str,
    sourcetype: &'static str,
    event: Event<'a>,
}

// === impl HttpsSink ===

impl HttpsSink {
    pub(super) fn new(settings: &Https) -> Result<Self, String> {
        let Https { url, body, headers, ca_file, insecure } = settings;
        let options = Options { url, headers, ca_file: ca_file.as_deref(), insecure: *insecure };
        Ok(Self { server: Server::new(options)?, body: *body })
    }

    fn write(&self, out: &mut Vec<u8>, stored: &Stored) -> serde_json::Result<()> {
        let row = &stored.row;
        let record = serde_json::from_slice(&row.payload).ok();
        let event = Event {
            fleet: &stored.fleet,
            instance: stored.instance,
            epoch: stored.epoch,
            ordinal: stored.ordinal,
            sequence: row.sequence,
            time_us: row.time_us,
            previous: row.previous,
            hash: row.hash,
            record,
            record_hex: record.is_none().then(|| hex::encode(&row.payload)),
        };
        match self.body {
            HttpsBody::JsonLines | HttpsBody::JsonArray => serde_json::to_writer(out, &event),
            HttpsBody::SplunkHec => {
                let time = std::time::Duration::from_micros(row.time_us.try_into().unwrap_or(0));
                let (host, source) = (stored.instance, "kt");
                let hec = Hec { time: time.as_secs_f64(), host, source, sourcetype: "kt:audit", event };
                serde_json::to_writer(out, &hec)
            }
        }
    }

    fn body(&self, batch: &Batch<'_>) -> serde_json::Result<Vec<u8>> {
        let mut body = Vec::with_capacity(batch.records.len() * 1_536);
        let (begin, between, end): (&[u8], u8, &[u8]) = match self.body {
            HttpsBody::JsonArray => (b"[", b',', b"]"),
            HttpsBody::JsonLines | HttpsBody::SplunkHec => (b"", b'\n', b"\n"),
        };
        body.extend_from_slice(begin);
        for (stored, _) in &batch.records {
            self.write(&mut body, stored)?;
            body.push(between);
        }
        if !batch.records.is_empty() {
            body.pop();
        }
        body.extend_from_slice(end);
        Ok(body)
    }
}

// === impl Sink ===

impl Sink for HttpsSink {
    fn deliver<'a>(&'a self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), Undelivered>> {
        let content_type = match self.body {
            HttpsBody::JsonLines => "application/x-ndjson",
            HttpsBody::JsonArray | HttpsBody::SplunkHec => "application/json",
        };
        async move {
            let body = self.body(batch).map_err(|error| Undelivered::new(error.to_string()))?;
            self.server.post(&batch.name(), content_type, body).await.map(drop)
        }
        .boxed()
    }
}
