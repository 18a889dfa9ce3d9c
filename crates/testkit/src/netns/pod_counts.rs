//! Who answered how often, and what went wrong how often.

use std::collections::BTreeMap;
use std::fmt;

use super::{Answer, TrafficError};

/// The outcome of many connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodCounts {
    /// Answers per pod.
    pub pods: BTreeMap<String, u64>,
    /// Failures per reason, in words such as `connection refused` or `timed out`.
    pub failures: BTreeMap<String, u64>,
}

impl PodCounts {
    /// Connections that were answered.
    pub fn successes(&self) -> u64 {
        self.pods.values().sum()
    }

    /// Connections that were not.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// All connections that were tried.
    pub fn attempts(&self) -> u64 {
        self.successes() + self.failed()
    }

    /// How often this pod answered.
    pub fn answers_of(&self, pod: &str) -> u64 {
        self.pods.get(pod).copied().unwrap_or(0)
    }

    /// Adds one outcome.
    pub fn count(&mut self, outcome: &Result<Answer, TrafficError>) {
        let entry = match outcome {
            Ok(answer) => self.pods.entry(answer.pod.clone()),
            Err(error) => self.failures.entry(error.reason()),
        };
        *entry.or_default() += 1;
    }

    /// Adds all of another tally.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        for (pod, count) in other.pods {
            *self.pods.entry(pod).or_default() += count;
        }
        for (reason, count) in other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
        self
    }

    /// Whether exactly these pods answered, each its fair share to within `deviations` standard deviations.
    ///
    /// With a choice at random, each of k pods' counts of n answers is binomial with a standard deviation of
    /// √(n·(1/k)·(1−1/k)). Five deviations go wrong once in some two million tests and still catch a pod that
    /// gets a tenth too much of 10,000 connections to three.
    pub fn is_even_over(&self, pods: &[&str], deviations: u32) -> bool {
        // Counts of a test fit into a mantissa many times over.
        let precise = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let share = 1.0 / precise(pods.len() as u64);
        let total = precise(self.successes());
        let allowed = f64::from(deviations) * (total * share * (1.0 - share)).sqrt();
        self.pods.len() == pods.len()
            && pods.iter().all(|pod| (precise(self.answers_of(pod)) - total * share).abs() <= allowed)
    }
}

impl fmt::Display for PodCounts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {} answered", self.successes(), self.attempts())?;
        let counts = self.pods.iter().chain(&self.failures);
        counts.into_iter().try_for_each(|(what, count)| write!(out, ", {what}: {count}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(counts: &[(&str, u64)]) -> PodCounts {
        PodCounts {
            pods: counts.iter().map(|&(pod, count)| (pod.into(), count)).collect(),
            failures: BTreeMap::new(),
        }
    }

    #[test]
    fn a_random_looking_spread_is_even() {
        assert!(
            tally(&[("pod1", 1028), ("pod2", 969), ("pod3", 1003)])
                .is_even_over(&["pod1", "pod2", "pod3"], 5)
        );
    }

    #[test]
    fn a_spread_that_forgets_a_pod_is_not_even() {
        assert!(!tally(&[("pod1", 1500), ("pod2", 1500)]).is_even_over(&["pod1", "pod2", "pod3"], 5));
    }

    #[test]
    fn a_weighted_spread_is_not_even() {
        assert!(
            !tally(&[("pod1", 1500), ("pod2", 750), ("pod3", 750)])
                .is_even_over(&["pod1", "pod2", "pod3"], 5)
        );
    }

    #[test]
    fn an_answer_from_a_stranger_is_not_even() {
        assert!(!tally(&[("pod1", 500), ("pod2", 500), ("pod9", 1)]).is_even_over(&["pod1", "pod2"], 5));
    }

    #[test]
    fn one_pod_gets_everything_or_it_is_not_even() {
        assert!(tally(&[("pod1", 30)]).is_even_over(&["pod1"], 0));
    }
}
