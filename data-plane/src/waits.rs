//! How long a connection to a control plane waits: for an answer, and before it is opened again.
//!
//! Policies and keys come by one connection, records go by another. Both keep to these times.

use std::time::Duration;

/// The bound of the first wait.
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The bound of the longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// What only a person can change is tried again after this long to twice as long.
pub(crate) const SLOW_WAIT: Duration = Duration::from_secs(15);
/// From a connection being opened to the answer to the hello.
pub(crate) const GREETING_LIMIT: Duration = Duration::from_secs(9);
/// Silence after which the other side is taken for dead: noticed within 10 s, whatever the server says.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(9);
/// No sign of life is asked for more often.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// A number of 0 to a bound, both included.
pub(crate) type Random = Box<dyn FnMut(u64) -> u64 + Send>;

/// Numbers from the operating system.
pub(crate) fn random() -> Random {
    Box::new(|bound| {
        let number = getrandom::u64().unwrap_or(bound / 2);
        match bound.checked_add(1) {
            Some(count) => number % count,
            None => number,
        }
    })
}

/// The waits between connections, drawn at random.
pub(crate) struct Waits {
    random: Random,
    /// Connections since the last sign of health.
    failures: u32,
}

impl std::fmt::Debug for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waits").field("failures", &self.failures).finish_non_exhaustive()
    }
}

impl Waits {
    pub(crate) fn new(random: Random) -> Self {
        Self { random, failures: 0 }
    }

    /// The other side has proved that it works: the next wait is short again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after a connection has ended, below a bound that doubles each time.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = FIRST_WAIT.saturating_mul(1 << self.failures.min(6)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        self.draw(bound)
    }

    /// The wait where only a person can help.
    pub(crate) fn slow(&mut self) -> Duration {
        SLOW_WAIT + self.draw(SLOW_WAIT)
    }

    /// A wait of zero to a bound, in whole milliseconds.
    pub(crate) fn draw(&mut self, bound: Duration) -> Duration {
        Duration::from_millis((self.random)(u64::try_from(bound.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// How often a connection that is open says something, and how long it listens to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rhythm {
    pub(crate) interval: Duration,
    pub(crate) silence: Duration,
}

impl Rhythm {
    /// As a server asks for it, in milliseconds with 0 for nothing, within what is reasonable.
    pub(crate) fn new(interval_ms: u32, silence_ms: u32, longest_interval: Duration) -> Self {
        let millis = |ms: u32| Duration::from_millis(u64::from(ms));
        let interval = match interval_ms {
            0 => LONGEST_SILENCE / 3,
            ms => millis(ms).clamp(SHORTEST_INTERVAL, longest_interval),
        };
        let silence = match silence_ms {
            0 => LONGEST_SILENCE,
            // Less than two intervals would end connections that are well.
            ms => millis(ms).max(interval * 2).min(LONGEST_SILENCE),
        };
        Self { interval, silence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_stay_within_their_bound() {
        let mut random = random();
        for bound in [0, 1, 7, u64::MAX] {
            assert!((0..100).all(|_| random(bound) <= bound));
        }
    }

    #[test]
    fn what_a_server_asks_for_is_kept_within_reason() {
        let asked = |interval, silence| {
            let rhythm = Rhythm::new(interval, silence, LONGEST_SILENCE / 2);
            (rhythm.interval.as_millis(), rhythm.silence.as_millis())
        };
        assert_eq!(asked(0, 0), (3_000, 9_000), "it asks for nothing");
        assert_eq!(asked(1_000, 5_000), (1_000, 5_000));
        assert_eq!(asked(1, 1), (100, 200));
        assert_eq!(asked(u32::MAX, u32::MAX), (4_500, 9_000));
        assert_eq!(asked(2_000, 3_000), (2_000, 4_000), "two signs of life fit into the silence");
    }
}
