//! Times, and what is worth saying of many of them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The 97.5th percentile of the normal distribution: 95 % lie within so many deviations of the mean.
const TWO_SIDED_95: f64 = 1.96;

/// An instant by both clocks: the one that times are taken by, and the one that the proxy's metrics tell by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) at: Instant,
    /// Seconds since 1970, a little before rather than a little after.
    unix: f64,
}

impl Start {
    pub(crate) fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Self { at: Instant::now(), unix }
    }

    /// Seconds until a moment since 1970; negative when that was before.
    pub(crate) fn until(self, unix: f64) -> f64 {
        unix - self.unix
    }
}

/// Durations of the same thing done many times.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(crate) fn extend(&mut self, samples: impl IntoIterator<Item = Duration>) {
        self.0.extend(samples);
    }

    /// The duration that `percent` of all samples do not exceed; of none of them, the smallest.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.ranked((self.0.len() * percent).div_ceil(100))
    }

    /// The median in seconds.
    pub(crate) fn median(&self) -> f64 {
        self.percentile(50).as_secs_f64()
    }

    /// Half the width of the interval that holds the true median in 95 of 100 runs, in seconds.
    ///
    /// How many samples are below the true median is binomial, with a deviation of √n / 2. No distribution of
    /// the times themselves is assumed; theirs has a long tail.
    pub(crate) fn median_within(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "thousands of samples")]
        let ranks = self.0.len() as f64;
        let deviation = TWO_SIDED_95 * ranks.sqrt() / 2.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among thousands of samples"
        )]
        let at = |rank: f64| self.ranked(rank.clamp(0.0, ranks).round() as usize);
        at(ranks / 2.0 + deviation).saturating_sub(at(ranks / 2.0 - deviation)).as_secs_f64() / 2.0
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

    /// The sample of this rank, the smallest being the first.
    fn ranked(&self, rank: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every millisecond from `from` on, ten thousand of them, in no order.
    fn shuffled(from: u64) -> Samples {
        Samples((0..10_000).map(|index| Duration::from_millis(from + index * 7_919 % 10_000)).collect())
    }

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

    #[test]
    fn a_median_is_surer_of_itself_than_its_samples_spread() {
        // Of 10,000 samples the ranks 98 to either side.
        let within = shuffled(0).median_within();
        assert!((0.097..=0.099).contains(&within), "{within}");
        assert!((shuffled(300).median_within() - within).abs() < 1e-9);
    }

    #[test]
    fn one_sample_is_its_own_median_and_none_have_no_width() {
        let one = Samples(vec![Duration::from_millis(7)]);
        assert_eq!((one.percentile(50), one.median_within()), (Duration::from_millis(7), 0.0));
        assert!(Samples::default().median_within().abs() < 1e-9);
    }
}
