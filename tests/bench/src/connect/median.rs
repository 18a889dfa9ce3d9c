//! The middle of many times, and how sure of it one can be.

/// The 97.5th percentile of the normal distribution: 95 % lie within so many deviations of the mean.
const TWO_SIDED_95: f64 = 1.96;

/// Of times in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Median {
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// Half the width of the interval that holds the true median in 95 of 100 runs.
    within: f64,
}

impl Median {
    /// Of at least one sample.
    pub(super) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_unstable_by(f64::total_cmp);
        let rank = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a rank among thousands of samples"
            )]
            let rank = (samples.len() as f64 * share.clamp(0.0, 1.0)) as usize;
            samples.get(rank.min(samples.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        // How many samples are below the true median is binomial, with a deviation of √n / 2. No
        // distribution of the times themselves is assumed; theirs has a long tail.
        #[expect(clippy::cast_precision_loss, reason = "thousands of samples")]
        let deviation = TWO_SIDED_95 / (2.0 * (samples.len() as f64).sqrt());
        let within = (rank(0.5 + deviation) - rank(0.5 - deviation)) / 2.0;
        Self { p50: rank(0.5), p99: rank(0.99), within }
    }

    /// The difference of the medians, and half the width of its own interval.
    pub(super) fn minus(&self, other: &Self) -> (f64, f64) {
        (self.p50 - other.p50, self.within.hypot(other.within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled(from: u32) -> Vec<f64> {
        (0..10_000_u32).map(|index| f64::from(from + index * 7_919 % 10_000)).collect()
    }

    #[test]
    fn a_median_is_surer_of_itself_than_its_samples_spread() {
        let median = Median::of(shuffled(0));
        assert_eq!((median.p50, median.p99), (5_000.0, 9_900.0));
        // Of 10,000 samples the ranks 98 to either side.
        assert!((97.0..=99.0).contains(&median.within), "{}", median.within);
    }

    #[test]
    fn a_difference_is_less_sure_than_either_side() {
        let (low, high) = (Median::of(shuffled(0)), Median::of(shuffled(300)));
        let (difference, within) = high.minus(&low);
        assert!((difference - 300.0).abs() < 1e-9);
        assert!(within > low.within && within < low.within + high.within);
    }

    #[test]
    fn one_sample_is_its_own_median() {
        let median = Median::of(vec![7.0]);
        assert_eq!((median.p50, median.p99, median.within), (7.0, 7.0, 0.0));
    }
}
