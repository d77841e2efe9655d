//! What is fed from the store of audit records: object storage, and systems that watch for trouble.
//!
//! Each sink takes the records in the order of arrival, one batch after the other, and its place is kept in the store: a sink
//! that is down delays and never drops, and retention waits for it. A batch is planned before it is sent. Whoever goes on
//! after a crash sends the same one again, under the same name, so that the other end can tell; otherwise each record goes out
//! once. Of several replicas one works for a sink at a time.

mod client;
mod https;
mod lag;
mod metrics;
#[cfg(feature = "object-store")]
mod object;
mod otlp;
mod run;
mod settings;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use kt_audit::columns::{Row, Source};

pub use self::settings::{
    Begin, Header, Https, HttpsBody, ObjectStore, Only, Otlp, SinkFault, SinkSettings, To,
};
pub(crate) use self::{
    lag::{Lag, lag},
    metrics::SinkMetrics,
    run::run,
};
use super::store::Stored;

/// Why a batch did not arrive; it is tried again, for as long as it takes.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Undelivered {
    /// For people; never from what was sent.
    what: String,
    /// How long the other end wants to be left alone.
    retry_after: Option<Duration>,
}

/// Records on their way, in the order of arrival.
pub(crate) struct Batch<'a> {
    /// The sink's name.
    pub(crate) sink: &'a str,
    /// The place behind which it begins, and the one that it ends with. The same batch has the same places always.
    pub(crate) places: (u64, u64),
    /// What the sink wants of it, at least one.
    pub(crate) records: Vec<(&'a Stored, Row<'a>)>,
}

/// Where records are delivered to.
pub(crate) trait Sink: Send + Sync {
    /// Delivers a batch: it is durable there when this returns.
    fn deliver<'a>(&'a self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), Undelivered>>;
}

// === impl Undelivered ===

impl Undelivered {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), retry_after: None }
    }
}

// === impl Batch ===

impl Batch<'_> {
    /// What the batch is called wherever it goes.
    pub(crate) fn name(&self) -> String {
        let (behind, last) = self.places;
        format!("{}-{behind:020}-{last:020}", self.sink)
    }
}

/// The row of a stored record.
pub(crate) fn row(stored: &Stored) -> Row<'_> {
    let source = Source {
        instance: stored.instance,
        fleet: &stored.fleet,
        epoch: stored.epoch,
        ordinal: stored.ordinal,
    };
    Row::new(source, stored.row.frame())
}

/// A sink as it was set up.
pub(crate) struct Fed {
    settings: SinkSettings,
    kind: &'static str,
    sink: Arc<dyn Sink>,
}

/// A sink that is fed here.
#[derive(Debug, Clone)]
pub(crate) struct SinkName {
    pub(crate) name: Arc<str>,
    /// `object_store`, `https` or `otlp`.
    pub(crate) kind: &'static str,
}

impl Fed {
    pub(crate) fn name(&self) -> SinkName {
        SinkName { name: self.settings.name.as_str().into(), kind: self.kind }
    }
}

/// Sets sinks up: everything that can be told without asking the other end is told, all at once.
pub(crate) fn set_up(sinks: &[SinkSettings]) -> Result<Vec<Fed>, Vec<SinkFault>> {
    let mut faults = SinkSettings::faults(sinks);
    let mut fed = Vec::with_capacity(sinks.len());
    for settings in sinks {
        let Ok(to) = settings.to() else { continue };
        match made(to) {
            Ok(sink) => fed.push(Fed { settings: settings.clone(), kind: to.kind(), sink }),
            Err(what) => faults.push(settings.fault(what)),
        }
    }
    if faults.is_empty() { Ok(fed) } else { Err(faults) }
}

fn made(to: To<'_>) -> Result<Arc<dyn Sink>, String> {
    Ok(match to {
        To::Https(settings) => Arc::new(https::HttpsSink::new(settings)?),
        To::Otlp(settings) => Arc::new(otlp::OtlpSink::new(settings)?),
        #[cfg(feature = "object-store")]
        To::ObjectStore(settings) => Arc::new(object::ObjectSink::new(settings)?),
        #[cfg(not(feature = "object-store"))]
        To::ObjectStore(_) => {
            return Err(
                "this build of `kt` writes no object storage: build it with the feature `object-store`"
                    .to_owned(),
            );
        }
    })
}
