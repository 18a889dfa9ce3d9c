//! How long pod changes took to reach the rules (`network_programming_duration_seconds`).

use std::time::{Duration, SystemTime};

/// The time from each of `triggers` to `now`, except for those from before `started`.
///
/// A trigger from the future, which another host's clock can produce, took no time.
pub(crate) fn latencies(
    triggers: Vec<SystemTime>,
    started: SystemTime,
    now: SystemTime,
) -> impl Iterator<Item = Duration> {
    triggers
        .into_iter()
        .filter(move |trigger| *trigger >= started)
        .map(move |trigger| now.duration_since(trigger).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_from_before_the_start_are_left_out_and_future_ones_took_no_time() {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let triggers = vec![at(9), at(10), at(14), at(16)];
        let seconds: Vec<_> = latencies(triggers, at(10), at(15)).map(|latency| latency.as_secs()).collect();
        assert_eq!(seconds, [5, 1, 0]);
    }
}
