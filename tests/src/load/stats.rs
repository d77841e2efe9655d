//! Counting: latencies in microseconds, errors by kind, and the report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a run gave; the JSON that `kt-load` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Responses with status 200 received whole, begun after the warm-up.
    pub completed: u64,
    /// The same, begun during the warm-up: not in any figure below, but in the file of ids.
    pub warm_up: u64,
    /// All else, by status or by what went wrong (`connect`, `closed`, `timeout`, `malformed`), warm-up included.
    pub errors: BTreeMap<String, u64>,
    /// Seconds from the end of the warm-up to the last response.
    pub seconds: f64,
    /// Completed in a second.
    pub rps: f64,
    /// From sending to the last byte. At a fixed rate, from the moment when it was due if it was sent late.
    pub latency_us: Quantiles,
    /// From sending to the first byte.
    pub first_byte_us: Quantiles,
    /// Body bytes of completed responses.
    pub body_bytes: u64,
    /// Requests that were sent later than due because all connections were busy (fixed rate only).
    pub late: u64,
    /// Connections that were opened.
    pub connects: u64,
    /// Processor time that the generator itself used after the warm-up, for each completed request.
    pub client_cpu_us_per_request: f64,
}

/// Microseconds; all zero where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half were faster.
    pub p50: u32,
    /// Nine of ten were faster.
    pub p90: u32,
    /// Ninety-nine of a hundred were faster.
    pub p99: u32,
    /// 999 of a thousand were faster.
    pub p999: u32,
    /// The slowest.
    pub max: u32,
    /// The arithmetic mean.
    pub mean: u32,
}

/// One connection's part.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) latency_us: Vec<u32>,
    pub(crate) first_byte_us: Vec<u32>,
    pub(crate) warm_up: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) body_bytes: u64,
    pub(crate) late: u64,
    pub(crate) connects: u64,
}

impl Tally {
    pub(crate) fn error(&mut self, kind: impl Into<String>) {
        *self.errors.entry(kind.into()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.latency_us.extend(other.latency_us);
        self.first_byte_us.extend(other.first_byte_us);
        self.warm_up += other.warm_up;
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        self.body_bytes += other.body_bytes;
        self.late += other.late;
        self.connects += other.connects;
    }

    pub(crate) fn report(self, seconds: f64, cpu_us: f64) -> Report {
        let completed = self.latency_us.len() as u64;
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let each = |total: f64| if completed == 0 { 0.0 } else { total / completed as f64 };
        Report {
            completed,
            warm_up: self.warm_up,
            errors: self.errors,
            seconds,
            rps: if seconds > 0.0 && completed > 0 { 1.0 / each(seconds) } else { 0.0 },
            latency_us: Quantiles::of(self.latency_us),
            first_byte_us: Quantiles::of(self.first_byte_us),
            body_bytes: self.body_bytes,
            late: self.late,
            connects: self.connects,
            client_cpu_us_per_request: each(cpu_us),
        }
    }
}

impl Quantiles {
    /// Of a sample in any order.
    pub fn of(mut sample: Vec<u32>) -> Self {
        sample.sort_unstable();
        // The smallest value that at least that share of the sample does not exceed.
        let at = |per_mille: usize| {
            let rank = (sample.len() * per_mille).div_ceil(1000).max(1);
            sample.get(rank - 1).copied().unwrap_or(0)
        };
        let sum: u64 = sample.iter().map(|value| u64::from(*value)).sum();
        let mean =
            sum.checked_div(sample.len() as u64).and_then(|mean| u32::try_from(mean).ok()).unwrap_or(0);
        Self { p50: at(500), p90: at(900), p99: at(990), p999: at(999), max: at(1000), mean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let quantiles = Quantiles::of((1..=1000).rev().collect());
        let expected = Quantiles { p50: 500, p90: 900, p99: 990, p999: 999, max: 1000, mean: 500 };
        assert_eq!(quantiles, expected);
        assert_eq!(Quantiles::of(vec![7]), Quantiles { p50: 7, p90: 7, p99: 7, p999: 7, max: 7, mean: 7 });
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
    }

    #[test]
    fn nothing_completed_gives_zeroes_not_infinities() {
        let report = Tally::default().report(1.0, 5.0);
        assert_eq!((report.completed, report.rps, report.client_cpu_us_per_request), (0, 0.0, 0.0));
    }
}
