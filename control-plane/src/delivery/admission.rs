//! How many gateways may say Hello in a second, and when the others are to come back.
//!
//! After a restart of the control plane a whole fleet connects at once. The gate is passed before anything expensive
//! is done. Whoever is not admitted is given a place in a queue of returns that is served at the same rate, so the
//! herd comes back spread out instead of again at once.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// The latest return that is asked for.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// A bucket of tokens, as the moment at which it is full again; both moments are microseconds since `start`.
#[derive(Debug)]
pub(crate) struct Gate {
    start: Instant,
    /// Between two tokens, microseconds.
    interval: u64,
    /// What a full bucket lasts for, microseconds.
    capacity: u64,
    full_at: AtomicU64,
    /// The last return that was given out.
    last_return: AtomicU64,
}

// === impl Gate ===

impl Gate {
    /// Admits `rate` a second, and `burst` at once after a pause.
    pub(crate) fn new(rate: u32, burst: u32, now: Instant) -> Self {
        let interval = 1_000_000 / u64::from(rate.clamp(1, 1_000_000));
        Self {
            start: now,
            interval,
            capacity: interval * u64::from(burst.max(1)),
            full_at: AtomicU64::new(0),
            last_return: AtomicU64::new(0),
        }
    }

    /// Lets one pass, or says when to come back. `jitter` is a random number from 0 to 1.
    pub(crate) fn admit(&self, now: Instant, jitter: f64) -> Result<(), Duration> {
        let now = u64::try_from(now.duration_since(self.start).as_micros()).unwrap_or(u64::MAX);
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let next = full_at.max(now) + self.interval;
            (next <= now + self.capacity).then_some(next)
        });
        let Err(full_at) = taken else { return Ok(()) };
        // The first moment at which the bucket holds a token again.
        let first = (full_at + self.interval).saturating_sub(self.capacity).max(now);
        let (mut place, limit) = (first, now + duration_us(MAX_RETRY));
        let _ = self.last_return.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            place = (last + self.interval).clamp(first, limit.max(first));
            Some(place)
        });
        // A tenth on top, so that those who were given one moment do not keep it.
        let wait = Duration::from_micros(place - now);
        Err(wait + wait.mul_f64(jitter.clamp(0.0, 1.0) / 10.0))
    }
}

fn duration_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BinaryHeap;

    use super::*;

    /// All knock at once, and again whenever they are told to; who passes is counted by the second.
    fn admitted_by_second(knocking: usize, rate: u32, burst: u32) -> Vec<u32> {
        let start = Instant::now();
        let gate = Gate::new(rate, burst, start);
        let mut queue: BinaryHeap<_> = (0..knocking).map(|_| std::cmp::Reverse(Duration::ZERO)).collect();
        let mut seconds = vec![0; 60];
        let mut dice = 0.0_f64;
        while let Some(std::cmp::Reverse(at)) = queue.pop() {
            dice = (dice + 0.618).fract();
            match gate.admit(start + at, dice) {
                Ok(()) => seconds[usize::try_from(at.as_secs()).unwrap()] += 1,
                Err(wait) => {
                    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(33));
                    queue.push(std::cmp::Reverse(at + wait));
                }
            }
        }
        seconds
    }

    #[tokio::test(start_paused = true)]
    async fn thousand_hellos_are_admitted_at_the_set_rate() {
        let seconds = admitted_by_second(1000, 100, 50);
        assert_eq!(seconds.iter().sum::<u32>(), 1000);
        assert!(seconds[0] <= 150, "burst and one second: {seconds:?}");
        assert!(seconds[1..].iter().all(|admitted| *admitted <= 101), "{seconds:?}");
        // The queue of returns wastes little of what the gate would let through.
        assert!(seconds[..12].iter().sum::<u32>() >= 990, "{seconds:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_fills_the_bucket_up_to_the_burst_only() {
        let start = Instant::now();
        let gate = Gate::new(10, 3, start);
        let later = start + Duration::from_secs(100);
        assert!((0..3).all(|_| gate.admit(later, 0.0).is_ok()));
        assert_eq!(gate.admit(later, 0.0), Err(Duration::from_millis(100)));
        assert_eq!(gate.admit(later, 0.0), Err(Duration::from_millis(200)), "the next place in the queue");
        assert!(gate.admit(later + Duration::from_millis(100), 0.0).is_ok());
    }
}
