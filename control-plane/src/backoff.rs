//! How long to wait before trying again: full jitter, so that many who failed together do not come back together.

use std::time::Duration;

/// Grows with each failure; a success puts it back.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits of up to `base`, then twice that, and so on up to `cap`.
    pub(crate) const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// The next wait: any time from nothing to the bound.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = self.base.saturating_mul(1 << self.failures.min(16)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(fraction())
    }

    /// After what proves health.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random time from `low` to `high`.
pub(crate) fn between(low: Duration, high: Duration) -> Duration {
    low + high.saturating_sub(low).mul_f64(fraction())
}

/// From 0 to 1. Where the system has no randomness left the longest wait is right.
fn fraction() -> f64 {
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_under_a_growing_bound_and_start_over() {
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(base, cap);
        for bound in [100, 200, 400, 800, 1000, 1000] {
            assert!(backoff.next() <= Duration::from_millis(bound));
        }
        backoff.reset();
        assert!(backoff.next() <= base);
    }

    #[test]
    fn waits_differ() {
        let long = Duration::from_hours(1);
        let mut waits: Vec<_> = (0..8).map(|_| between(Duration::ZERO, long)).collect();
        waits.sort();
        waits.dedup();
        assert!(waits.len() > 4, "{waits:?}");
    }
}
