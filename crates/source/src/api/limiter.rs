//! Limits the rate of requests, after an allowance.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Requests a second, and at once, where a configuration sets none: `DefaultQPS`
/// and `DefaultBurst` of Kubernetes' client-go.
const DEFAULT_QPS: f32 = 5.0;
const DEFAULT_BURST: u32 = 10;

/// A bucket of tokens, or no limit at all.
#[derive(Debug)]
pub(super) struct Limiter(Option<Mutex<Bucket>>);

#[derive(Debug)]
struct Bucket {
    /// Tokens that are added in a second, more than zero.
    rate: f64,
    /// Capacity.
    burst: f64,
    /// Below zero when requests wait.
    tokens: f64,
    at: Instant,
}

impl Limiter {
    /// A limiter for `qps` requests a second with an allowance of `burst`; zero stands for
    /// Kubernetes' defaults, a rate below zero for no limit.
    pub(super) fn new(qps: f32, burst: u32) -> Self {
        let qps = if qps == 0.0 { DEFAULT_QPS } else { qps };
        let burst = if burst == 0 { DEFAULT_BURST } else { burst };
        // A value that is no number means no limit, too.
        let limited = qps > 0.0 && qps.is_finite();
        Self(limited.then(|| {
            let burst = f64::from(burst);
            Mutex::new(Bucket { rate: f64::from(qps), burst, tokens: burst, at: Instant::now() })
        }))
    }

    /// Waits until the next request may be sent, in order of the calls. Returns how long that took.
    pub(super) async fn turn(&self) -> Duration {
        let Some(bucket) = &self.0 else { return Duration::ZERO };
        let wait = bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
        wait
    }
}

impl Bucket {
    /// Takes a token. Returns how long until it is available.
    fn take(&mut self, now: Instant) -> Duration {
        let added = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + added).min(self.burst) - 1.0;
        self.at = now;
        let missing = (-self.tokens).max(0.0);
        Duration::try_from_secs_f64(missing / self.rate).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(waits: &[Duration]) -> Vec<f64> {
        waits.iter().map(|wait| (wait.as_secs_f64() * 10.0).round() / 10.0).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_go_at_once_up_to_the_burst_and_then_at_the_rate() {
        let limiter = Limiter::new(2.0, 3);
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(limiter.turn().await);
        }
        assert_eq!(seconds(&waits), [0.0, 0.0, 0.0, 0.5, 0.5, 0.5]);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(
            seconds(&[limiter.turn().await, limiter.turn().await, limiter.turn().await]),
            [0.0, 0.0, 0.5]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_requests_wait_in_turn() {
        let limiter = Limiter::new(1.0, 1);
        let (a, b, c) = tokio::join!(limiter.turn(), limiter.turn(), limiter.turn());
        assert_eq!(seconds(&[a, b, c]), [0.0, 1.0, 2.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_the_default_of_kubernetes_and_a_negative_rate_no_limit() {
        let usual = Limiter::new(0.0, 0);
        let mut waits = Vec::new();
        for _ in 0..11 {
            waits.push(usual.turn().await);
        }
        assert_eq!(seconds(&waits[..10]), [0.0; 10]);
        assert_eq!(seconds(&waits[10..]), [0.2]);
        for qps in [-1.0, f32::NAN, f32::INFINITY] {
            let none = Limiter::new(qps, 1);
            for _ in 0..100 {
                assert_eq!(none.turn().await, Duration::ZERO, "{qps}");
            }
        }
    }

    #[test]
    fn the_smallest_rate_is_a_long_wait_and_no_panic() {
        let limiter = Limiter::new(f32::MIN_POSITIVE, 1).0.unwrap();
        let mut bucket = limiter.into_inner().unwrap();
        bucket.take(Instant::now());
        assert_eq!(bucket.take(Instant::now()), Duration::MAX);
    }
}
