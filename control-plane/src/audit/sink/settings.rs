//! What the operator says of sinks.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use kt_audit::{
    columns::Row,
    record::{Kind, Verdict},
};
use serde::Deserialize;

/// A sink.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkSettings {
    /// Its name: how far it has come is kept under it.
    pub name: String,
    /// Parquet files on object storage.
    pub object_store: Option<ObjectStore>,
    /// JSON to a server.
    pub https: Option<Https>,
    /// Logs to a collector of OpenTelemetry.
    pub otlp: Option<Otlp>,
    /// Which records it takes.
    #[serde(default)]
    pub only: Only,
    /// Where it begins when it is new.
    #[serde(default)]
    pub begin: Begin,
    /// A batch goes when its first record has waited this long. Default 300 for object storage, 1 otherwise.
    pub every_seconds: Option<u64>,
    /// It goes earlier when there are so many records, and has no more. Default 100,000 for object storage, 500 otherwise.
    pub max_records: Option<usize>,
    /// It ends with the record that brings it over so many bytes. Default 64 MiB for object storage, 1 MiB otherwise.
    pub max_bytes: Option<usize>,
}

/// Where a new sink begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Begin {
    /// With the oldest record that the store has.
    #[default]
    Oldest,
    /// With the next one that comes.
    Newest,
}

/// Parquet files on object storage.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectStore {
    /// `s3://bucket/folder`, `abfss://container@account.dfs.core.windows.net/folder`, `gs://bucket/folder`, or
    /// `file:///folder`.
    pub url: String,
    /// Options of the store, such as `aws_region`, over the environment variables `AWS_…`, `AZURE_…`, `GOOGLE_…`.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// JSON to a server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Https {
    /// Where.
    pub url: String,
    /// The form of the body.
    #[serde(default)]
    pub body: HttpsBody,
    /// Headers of each request.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// Authorities of the server's certificate beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Clear text also beyond the loopback.
    #[serde(default)]
    pub insecure: bool,
}

/// The form of a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpsBody {
    /// One object a line.
    #[default]
    JsonLines,
    /// One array of objects.
    JsonArray,
    /// Events of Splunk's HTTP event collector.
    SplunkHec,
}

/// Logs to a collector of OpenTelemetry, OTLP/HTTP in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// The collector, such as `https://collector:4318`; the path is `/v1/logs` where none is given.
    pub url: String,
    /// Headers of each request.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// Authorities of the server's certificate beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Clear text also beyond the loopback.
    #[serde(default)]
    pub insecure: bool,
}

/// A header of each request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value, where it is no secret.
    pub value: Option<String>,
    /// The file of its value, read anew for each batch.
    pub file: Option<PathBuf>,
}

/// Which records a sink takes: those that fit everything that is said here. What is not said fits all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Only {
    /// Of these types.
    pub types: Vec<Kind>,
    /// With one of these verdicts.
    pub verdicts: Vec<Verdict>,
    /// In which one of these policies did something, or would have.
    pub policies: Vec<String>,
    /// Of these fleets.
    pub fleets: Vec<String>,
}

/// Where a sink delivers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To<'a> {
    /// [`ObjectStore`].
    ObjectStore(&'a ObjectStore),
    /// [`Https`].
    Https(&'a Https),
    /// [`Otlp`].
    Otlp(&'a Otlp),
}

/// What is wrong with the settings of a sink.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sink `{sink}`: {what}")]
pub struct SinkFault {
    /// The sink.
    pub sink: String,
    /// For people.
    pub what: String,
}

/// When a batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) age: Duration,
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// The most bytes of records that are in memory at once for one sink.
const MOST_BYTES: usize = 1024 * 1024 * 1024;

// === impl SinkSettings ===

impl SinkSettings {
    /// Where it delivers to.
    ///
    /// # Errors
    /// When it says none or several.
    pub fn to(&self) -> Result<To<'_>, SinkFault> {
        match (&self.object_store, &self.https, &self.otlp) {
            (Some(to), None, None) => Ok(To::ObjectStore(to)),
            (None, Some(to), None) => Ok(To::Https(to)),
            (None, None, Some(to)) => Ok(To::Otlp(to)),
            _ => Err(self.fault("name one of `object_store`, `https` and `otlp`")),
        }
    }

    /// When a batch goes.
    pub(crate) fn size(&self) -> Size {
        let (age, records, bytes) = match self.object_store {
            Some(_) => (300, 100_000, 64 * 1024 * 1024),
            None => (1, 500, 1024 * 1024),
        };
        Size {
            age: Duration::from_secs(self.every_seconds.unwrap_or(age)),
            records: self.max_records.unwrap_or(records),
            bytes: self.max_bytes.unwrap_or(bytes),
        }
    }

    /// Whatever is wrong with sinks that can be told without asking anybody.
    pub(crate) fn faults(sinks: &[Self]) -> Vec<SinkFault> {
        let mut faults = Vec::new();
        for (at, sink) in sinks.iter().enumerate() {
            let is_name = |name: &str| {
                (1..=63).contains(&name.len())
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            };
            if !is_name(&sink.name) {
                faults.push(sink.fault("a name has 1 to 63 letters, digits, `-` or `_`"));
            }
            if sinks.iter().take(at).any(|other| other.name == sink.name) {
                faults.push(sink.fault("another sink has the same name"));
            }
            faults.extend(sink.to().err());
            let size = sink.size();
            if size.records == 0 || size.bytes == 0 || size.bytes > MOST_BYTES {
                faults.push(sink.fault("a batch has at least 1 record and from 1 byte to 1 GiB"));
            }
            let headers = sink.https.iter().flat_map(|to| &to.headers);
            for header in headers.chain(sink.otlp.iter().flat_map(|to| &to.headers)) {
                if header.value.is_some() == header.file.is_some() {
                    faults.push(
                        sink.fault(format!("the header `{}` needs either `value` or `file`", header.name)),
                    );
                }
            }
        }
        faults
    }

    pub(crate) fn fault(&self, what: impl Into<String>) -> SinkFault {
        SinkFault { sink: self.name.clone(), what: what.into() }
    }
}

// === impl To ===

impl To<'_> {
    /// Its key in the settings.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::ObjectStore(_) => "object_store",
            Self::Https(_) => "https",
            Self::Otlp(_) => "otlp",
        }
    }
}

// === impl Only ===

impl Only {
    /// Whether it takes a record.
    pub(crate) fn takes(&self, fleet: &str, row: &Row<'_>) -> bool {
        fn fits<T: PartialEq>(wanted: &[T], is: impl Fn(&T) -> bool) -> bool {
            wanted.is_empty() || wanted.iter().any(is)
        }
        let facts = row.facts();
        fits(&self.types, |kind| facts.kind == Some(*kind))
            && fits(&self.verdicts, |verdict| facts.verdict == Some(*verdict))
            && fits(&self.policies, |policy| facts.deeds.iter().any(|deed| deed.policy == *policy))
            && fits(&self.fleets, |wanted| wanted == fleet)
    }
}
