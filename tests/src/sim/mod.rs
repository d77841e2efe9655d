//! Simulated gateways: each with a connection of its own, speaking the delivery protocol as real ones do, but
//! enforcing nothing.
//!
//! They and whoever publishes run in one process, so that both moments of a latency are read from one clock.

mod board;
mod gateway;
mod person;

use std::{sync::Arc, time::Duration};

use kt_proto::refusal::Refusal;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::person::Person;
use self::{board::Board, gateway::Gateway};

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Options {
    /// `http://HOST:PORT`, one or several; gateways are dealt out in turn.
    pub control_planes: Vec<String>,
    /// The fleet to join.
    pub fleet: String,
    /// Its token, `kt_gw_…`.
    pub token: String,
    /// How many.
    pub gateways: usize,
    /// How many start a second.
    pub start_rate: f64,
}

/// Why a simulation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// Not all came as far within the time.
    #[error("{reached} of {wanted} gateways {what} within {} s", within.as_secs())]
    TooSlow {
        /// How many did.
        reached: usize,
        /// How many should have.
        wanted: usize,
        /// What they did.
        what: &'static str,
        /// The time they had.
        within: Duration,
    },
    /// A call was refused.
    #[error("a call was refused: {0}")]
    Refused(Refusal),
    /// A call failed otherwise.
    #[error("a call failed: {0}")]
    Call(Box<tonic::Status>),
    /// The control plane can't be reached.
    #[error("the control plane can't be reached: {0}")]
    Connect(#[from] tonic::transport::Error),
    /// A pack that is not valid.
    #[error("the pack is not valid: {0}")]
    Pack(String),
}

impl From<tonic::Status> for SimError {
    fn from(status: tonic::Status) -> Self {
        Refusal::of(&status).map_or_else(|| Self::Call(Box::new(status)), Self::Refused)
    }
}

/// The gateways while they run.
#[derive(Debug)]
pub struct Fleet {
    board: Arc<Board>,
    gateways: usize,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What a series of pushes took, in milliseconds from the call that changes the head to the last gateway that applied.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// How many pushes.
    pub pushes: usize,
    /// To how many gateways.
    pub gateways: usize,
    /// Half were at most this.
    pub p50_ms: f64,
    /// 99 of 100 were at most this; of fewer pushes the slowest.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// Half of the first gateways to apply were at most this.
    pub first_p50_ms: f64,
    /// Each, in order.
    pub all_ms: Vec<f64>,
}

/// A publish that has just been done.
#[derive(Debug, Clone, Serialize)]
pub struct Published {
    /// name@version, as answers of a gateway name it.
    pub pack: String,
    /// The generation that it is.
    pub generation: u64,
    /// When the call that changed the head began, microseconds since 1970 UTC.
    pub began_us: i64,
}

/// How a fleet stands.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Standing {
    /// Connected now.
    pub connected: usize,
    /// Times that a stream was opened.
    pub welcomes: u64,
    /// Times that Hello was refused because of too many.
    pub busy: u64,
    /// Streams that ended without being asked to.
    pub breaks: u64,
    /// Documents of a lower generation than one held, which must never be sent.
    pub went_back: u64,
}

// === impl Fleet ===

impl Fleet {
    /// Starts the gateways; they connect in the background.
    pub fn start(options: &Options) -> Result<Self, SimError> {
        let board = Arc::new(Board::default());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        for number in 0..options.gateways {
            let Some(address) = options.control_planes.get(number % options.control_planes.len().max(1))
            else {
                break;
            };
            let gateway = Gateway::new(number, address, options, Arc::clone(&board))?;
            #[expect(clippy::cast_precision_loss, reason = "thousands")]
            let wait = Duration::from_secs_f64(number as f64 / options.start_rate.max(1.0));
            let stop = stop.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = async { sleep(wait).await; gateway.run().await } => {}
                }
            });
        }
        tasks.close();
        Ok(Self { board, gateways: options.gateways, stop, tasks })
    }

    /// Waits until all are connected.
    pub async fn connected(&self, within: Duration) -> Result<(), SimError> {
        self.wait(within, "connected", || self.board.standing().connected).await
    }

    /// Waits until all have applied an assignment.
    pub async fn applied(&self, generation: u64, within: Duration) -> Result<(), SimError> {
        self.wait(within, "applied it", || self.board.assignments.count(generation)).await
    }

    async fn wait(
        &self,
        within: Duration,
        what: &'static str,
        reached: impl Fn() -> usize,
    ) -> Result<(), SimError> {
        let deadline = Instant::now() + within;
        loop {
            let moved = self.board.moved();
            let now = reached();
            if now >= self.gateways {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, moved).await.is_err() {
                return Err(SimError::TooSlow { reached: now, wanted: self.gateways, what, within });
            }
        }
    }

    /// Publishes again and again and measures until the last gateway has applied each; `told` hears of each.
    pub async fn publishes(
        &self,
        person: &mut Person,
        source: &str,
        count: usize,
        pause: Duration,
        mut told: impl FnMut(&Published),
    ) -> Result<Series, SimError> {
        let mut lasts = Vec::with_capacity(count);
        let mut firsts = Vec::with_capacity(count);
        for number in 0..count {
            let pack = person.upload(source, number).await?;
            let name = pack.to_string();
            let began_us = jiff::Timestamp::now().as_microsecond();
            let (generation, began) = person.assign(pack).await?;
            told(&Published { pack: name, generation, began_us });
            self.applied(generation, Duration::from_mins(1)).await?;
            if let Some((first, last)) = self.board.assignments.span(generation) {
                firsts.push(millis(first - began));
                lasts.push(millis(last - began));
            }
            sleep(pause).await;
        }
        Ok(Series::of(self.gateways, lasts, firsts))
    }

    /// Changes the key set again and again and measures the same.
    pub async fn key_changes(
        &self,
        person: &mut Person,
        count: usize,
        pause: Duration,
    ) -> Result<Series, SimError> {
        let mut lasts = Vec::with_capacity(count);
        let mut firsts = Vec::with_capacity(count);
        for _ in 0..count {
            let (generation, began) = person.change_keys().await?;
            let within = Duration::from_mins(1);
            self.wait(within, "applied it", || self.board.key_sets.count(generation)).await?;
            if let Some((first, last)) = self.board.key_sets.span(generation) {
                firsts.push(millis(first - began));
                lasts.push(millis(last - began));
            }
            sleep(pause).await;
        }
        Ok(Series::of(self.gateways, lasts, firsts))
    }

    /// How they stand.
    pub fn standing(&self) -> Standing {
        self.board.standing()
    }

    /// Ends them all.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

// === impl Series ===

impl Series {
    fn of(gateways: usize, lasts: Vec<f64>, firsts: Vec<f64>) -> Self {
        Self {
            pushes: lasts.len(),
            gateways,
            p50_ms: quantile(&lasts, 50),
            p99_ms: quantile(&lasts, 99),
            max_ms: quantile(&lasts, 100),
            first_p50_ms: quantile(&firsts, 50),
            all_ms: lasts,
        }
    }
}

/// The value that `percent` of all do not exceed; 0 of none.
fn quantile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=30).rev().map(f64::from).collect();
        assert_eq!(
            (quantile(&values, 50), quantile(&values, 99), quantile(&values, 100)),
            (15.0, 30.0, 30.0)
        );
        assert_eq!(quantile(&[], 99), 0.0);
    }
}
