//! Times, and what is worth saying of many of them.

use std::time::{Duration, Instant};

/// How long `work` took, and what it gave.
pub(crate) fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(Duration, T)> {
    let start = Instant::now();
    let result = work()?;
    Ok((start.elapsed(), result))
}

/// Durations of the same thing done many times.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The duration that `percent` of all samples do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(index).copied().unwrap_or_default()
    }

    /// The mean in seconds; of no samples, zero.
    pub(crate) fn mean(&self) -> f64 {
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX).max(1);
        (self.0.iter().sum::<Duration>() / count).as_secs_f64()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_sample_that_so_many_do_not_exceed() {
        let samples = Samples((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(samples.percentile(50), Duration::from_millis(100));
        assert_eq!(samples.percentile(99), Duration::from_millis(198));
        assert_eq!(Samples(vec![Duration::from_millis(7)]).percentile(99), Duration::from_millis(7));
    }

    #[test]
    fn a_mean_counts_every_sample_alike_and_is_zero_of_none() {
        let samples = Samples(vec![Duration::from_millis(1), Duration::from_millis(3)]);
        assert!((samples.mean() - 0.002).abs() < 1e-9);
        assert!(Samples::default().mean().abs() < 1e-9);
    }
}
