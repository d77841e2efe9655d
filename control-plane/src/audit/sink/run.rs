//! The work for one sink: look, plan, deliver, note.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{sleep, timeout};

use super::{Batch, Begin, Fed, Lag, SinkMetrics, Undelivered, lag, row};
use crate::{
    audit::store::{AuditStore, AuditStoreError, SinkLease, SinkMark, SinkState, Stored},
    backoff::Backoff,
};

/// How long a replica has a sink to itself after it was heard of last: longer than a batch may take.
const LEASE: Duration = Duration::from_mins(2);
/// How long a batch may take.
const DELIVERY: Duration = Duration::from_mins(1);
/// How soon new records are seen, and a replica that went is replaced once its lease is over.
const LOOK: Duration = Duration::from_secs(1);
/// Records that are read at once.
const PAGE: u32 = 1_000;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Why a step did not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stuck {
    #[error(transparent)]
    Store(#[from] AuditStoreError),
    #[error(transparent)]
    Sink(#[from] Undelivered),
}

/// What a step has come to.
pub(super) enum Step {
    /// A batch has gone, or was not wanted.
    Gone,
    /// There is nothing to do for so long.
    Idle(Duration),
}

/// What the next batch is.
enum Next {
    Batch(Vec<Stored>),
    Wait(Duration),
}

/// Works for a sink, for as long as it is polled.
pub(crate) async fn run(store: Arc<dyn AuditStore>, owner: Arc<str>, fed: Fed, metrics: SinkMetrics) {
    let name = fed.settings.name.clone();
    let feeding = Feeding::new(store, owner, fed, metrics);
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let wait = match feeding.step().await {
            Ok(Step::Gone) => {
                backoff.reset();
                continue;
            }
            Ok(Step::Idle(wait)) => wait,
            Err(stuck) => {
                tracing::warn!(
                    sink = name,
                    error = &stuck as &dyn std::error::Error,
                    "Audit records don't get to a sink; they are sent again."
                );
                let asked = match stuck {
                    Stuck::Sink(Undelivered { retry_after, .. }) => retry_after,
                    Stuck::Store(_) => None,
                };
                asked.map_or_else(|| backoff.next(), |asked| asked.min(LONGEST_WAIT))
            }
        };
        sleep(wait).await;
    }
}

/// One sink and everything that its steps need.
pub(super) struct Feeding {
    store: Arc<dyn AuditStore>,
    owner: Arc<str>,
    fed: Fed,
    metrics: SinkMetrics,
}

// === impl Feeding ===

impl Feeding {
    pub(super) fn new(store: Arc<dyn AuditStore>, owner: Arc<str>, fed: Fed, metrics: SinkMetrics) -> Self {
        Self { store, owner, fed, metrics }
    }

    /// Does the next thing that is to be done.
    pub(super) async fn step(&self) -> Result<Step, Stuck> {
        let settings = &self.fed.settings;
        let begin = match settings.begin {
            Begin::Oldest => 0,
            Begin::Newest => self.store.last_arrival().await?,
        };
        let lease = SinkLease { sink: &settings.name, owner: &self.owner, time: LEASE };
        let taken = self.store.take_sink(lease, begin).await?;
        let position = match &taken {
            Some(state) => state.mark.position,
            None => self.position().await?,
        };
        let lag = lag(&*self.store, position).await?;
        self.metrics.lags(&settings.name, lag, Timestamp::now().as_microsecond());
        let Some(state) = taken else { return Ok(Step::Idle(LOOK)) };
        let (records, state) = match state.mark.planned {
            Some(upto) => (self.read(state.mark.position, Some(upto)).await?, state),
            None => match self.next(state.mark.position, lag).await? {
                Next::Wait(wait) => return Ok(Step::Idle(wait)),
                Next::Batch(records) => {
                    let planned = records.last().map(|last| last.id);
                    let mark = SinkMark { planned, ..state.mark };
                    let state = SinkState { mark, ..state };
                    if !self.put(&state).await? {
                        return Ok(Step::Idle(LOOK));
                    }
                    (records, state)
                }
            },
        };
        self.send(records, state).await
    }

    /// Where another replica has brought the sink.
    async fn position(&self) -> Result<u64, AuditStoreError> {
        let sinks = self.store.sinks().await?;
        let own = sinks.into_iter().find(|(name, _)| **name == self.fed.settings.name);
        Ok(own.map_or(0, |(_, state)| state.mark.position))
    }

    /// The records behind a place, once they are enough or the first has waited long enough.
    async fn next(&self, position: u64, lag: Lag) -> Result<Next, Stuck> {
        let size = self.fed.settings.size();
        let Some(oldest_us) = lag.oldest_us else { return Ok(Next::Wait(LOOK)) };
        let waited = Timestamp::now().as_microsecond().saturating_sub(oldest_us);
        let waited = Duration::from_micros(u64::try_from(waited).unwrap_or(0));
        let is_full = usize::try_from(lag.records).is_ok_and(|records| records >= size.records);
        match size.age.checked_sub(waited) {
            Some(left) if !left.is_zero() && !is_full => Ok(Next::Wait(left.min(LOOK))),
            _ => Ok(Next::Batch(self.read(position, None).await?)),
        }
    }

    /// The records behind a place: up to one, or as many as a batch has.
    async fn read(&self, mut position: u64, upto: Option<u64>) -> Result<Vec<Stored>, Stuck> {
        let size = self.fed.settings.size();
        let (mut records, mut bytes) = (Vec::new(), 0);
        loop {
            let page = self.store.arrivals(position, upto, PAGE).await?;
            let Some(last) = page.last() else { return Ok(records) };
            position = last.id;
            for stored in page {
                let is_full = records.len() >= size.records || bytes >= size.bytes;
                if upto.is_none() && is_full {
                    return Ok(records);
                }
                bytes += stored.row.payload.len();
                records.push(stored);
            }
        }
    }

    async fn send(&self, records: Vec<Stored>, state: SinkState) -> Result<Step, Stuck> {
        let settings = &self.fed.settings;
        let behind = state.mark.position;
        // A planned batch of which nothing is left ends where it was to end all the same.
        let last = state.mark.planned.or_else(|| records.last().map(|last| last.id)).unwrap_or(behind);
        let wanted = records.iter().map(|stored| (stored, row(stored)));
        let records = wanted.filter(|(stored, row)| settings.only.takes(&stored.fleet, row)).collect();
        let batch = Batch { sink: &settings.name, places: (behind, last), records };
        if !batch.records.is_empty() {
            let delivered = timeout(DELIVERY, self.fed.sink.deliver(&batch)).await;
            if let Err(error) = delivered.unwrap_or_else(|_| Err(Undelivered::new("it takes too long"))) {
                self.metrics.failed(&settings.name);
                self.note(&state, &error).await?;
                return Err(error.into());
            }
            self.metrics.delivered(&settings.name, batch.records.len());
        }
        let now_us = Timestamp::now().as_microsecond();
        let done = SinkState {
            mark: SinkMark { position: last, planned: None },
            delivered_us: Some(now_us),
            problem: None,
        };
        if self.put(&done).await? { Ok(Step::Gone) } else { Ok(Step::Idle(LOOK)) }
    }

    /// Notes why the sink stands still, once, so that every replica can tell.
    async fn note(&self, state: &SinkState, error: &Undelivered) -> Result<(), Stuck> {
        if state.problem.as_ref().is_some_and(|(problem, _)| **problem == *error.what) {
            return Ok(());
        }
        let since =
            state.problem.as_ref().map_or_else(|| Timestamp::now().as_microsecond(), |(_, since)| *since);
        let problem = Some((error.what.as_str().into(), since));
        self.put(&SinkState { problem, ..state.clone() }).await?;
        Ok(())
    }

    async fn put(&self, state: &SinkState) -> Result<bool, AuditStoreError> {
        self.store.put_sink(&self.fed.settings.name, &self.owner, state.clone()).await
    }
}
