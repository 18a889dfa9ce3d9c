//! How long to wait before the next try.

use std::time::Duration;

/// Doubling waits, each drawn from between half of the step and the whole of it, so
/// that the nodes of a cluster do not come back in step after an outage.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, failures: 0 }
    }

    /// Takes in a failure; how long to wait because of it.
    pub(crate) fn fail(&mut self) -> Duration {
        let wait = self.after(self.failures);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// How long to wait after this many earlier failures.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        let step = self.first.saturating_mul(2_u32.saturating_pow(failures)).min(self.last);
        step / 2 + step.mul_f64(fastrand::f64() / 2.0)
    }

    /// Takes in that things work again.
    pub(crate) fn succeed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        for step in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000].map(Duration::from_millis) {
            let wait = backoff.fail();
            assert!(wait >= step / 2 && wait <= step, "{wait:?} in the step of {step:?}");
        }
        for _ in 0..1000 {
            assert!(backoff.fail() <= Duration::from_secs(30));
        }
        backoff.succeed();
        assert!(backoff.fail() <= Duration::from_millis(500));
    }

    #[test]
    fn waits_of_two_nodes_differ() {
        let draw = || Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).fail();
        let waits: std::collections::HashSet<_> = (0..100).map(|_| draw()).collect();
        assert!(waits.len() > 50, "{} different waits", waits.len());
    }
}
