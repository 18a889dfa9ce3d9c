//! Times in, times out.

use std::time::SystemTime;

use super::*;

const MIN: Duration = Duration::from_secs(2);
const HOUR: Duration = Duration::from_secs(3_600);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn schedule(min_period: Duration) -> (Schedule, Instant) {
    schedule_with(min_period, seconds(30), || 0.5)
}

fn schedule_with(min_period: Duration, sync_period: Duration, random: fn() -> f64) -> (Schedule, Instant) {
    let settings = SyncSettings::new(min_period, sync_period, SystemTime::UNIX_EPOCH);
    let now = Instant::now();
    (Schedule::new(&settings, now, random), now)
}

/// After each of some failures in a row, the milliseconds to the retry without and with a new change.
fn delays<const N: usize>(retry: Retry) -> [(u128, u128); N] {
    let (mut schedule, now) = schedule(Duration::ZERO);
    std::array::from_fn(|_| {
        let delay = schedule.failed(now, retry);
        schedule.changed();
        (delay.as_millis(), (schedule.next(true).unwrap() - now).as_millis())
    })
}

#[test]
fn retry_delays_double_up_to_the_sync_period_and_start_over_after_a_success() {
    let without_change = delays::<11>(Retry::CompareAll).map(|(delay, _)| delay);
    assert_eq!(without_change, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
    let (mut schedule, now) = schedule(Duration::ZERO);
    schedule.failed(now, Retry::CompareAll);
    schedule.succeeded(now, true, None);
    assert_eq!(schedule.failed(now, Retry::CompareAll), Duration::from_millis(100));
}

#[test]
fn new_change_after_failure_waits_at_most_one_second() {
    let after_change = delays::<6>(Retry::CompareAll).map(|(_, delay)| delay);
    assert_eq!(after_change, [100, 200, 400, 800, 1_000, 1_000]);
}

#[test]
fn jitter_changes_delay_by_a_fifth_and_never_exceeds_the_sync_period() {
    let delay = |sync_period, random| {
        let (mut schedule, now) = schedule_with(Duration::ZERO, sync_period, random);
        schedule.failed(now, Retry::CompareAll).as_millis()
    };
    assert_eq!((delay(seconds(30), || 0.0), delay(seconds(30), || 1.0)), (80, 120));
    assert_eq!(delay(Duration::from_millis(50), || 1.0), 50);
}

#[test]
fn object_held_by_another_process_is_retried_every_second() {
    let without_change = delays::<6>(Retry::SameChanges).map(|(delay, _)| delay);
    assert_eq!(without_change, [100, 200, 400, 800, 1_000, 1_000]);
}

#[test]
fn without_changes_nothing_is_due_before_the_first_apply() {
    let (schedule, now) = schedule(Duration::ZERO);
    assert_eq!(schedule.next(false), None);
    assert_eq!(schedule.next(true), Some(now));
}

#[test]
fn the_minimum_period_counts_from_the_end_of_an_apply() {
    let (mut schedule, now) = schedule(MIN);
    let end = now + seconds(5);
    schedule.succeeded(end, true, None);
    assert_eq!(schedule.next(true), Some(end + MIN));
    assert_eq!(schedule.next(false), Some(end + HOUR), "the complete comparison");
}

#[test]
fn follow_up_is_due_as_requested_but_not_before_the_minimum_period() {
    let (mut schedule, now) = schedule(MIN);
    schedule.succeeded(now, true, Some(seconds(5)));
    assert_eq!(schedule.next(false), Some(now + seconds(5)));
    schedule.succeeded(now, true, Some(seconds(1)));
    assert_eq!(schedule.next(false), Some(now + MIN));
    schedule.succeeded(now, true, None);
    assert_eq!(schedule.next(false), Some(now + HOUR), "nothing is left any more");
}

#[test]
fn partial_sync_does_not_delay_the_full_sync() {
    let (mut schedule, now) = schedule(Duration::ZERO);
    schedule.succeeded(now, true, None);
    schedule.succeeded(now + seconds(3_000), false, None);
    assert!(!schedule.is_full_due(now + seconds(3_599), true));
    assert!(schedule.is_full_due(now + HOUR, true));
    assert_eq!(schedule.next(false), Some(now + HOUR));
    schedule.succeeded(now + HOUR, true, None);
    assert_eq!(schedule.next(false), Some(now + 2 * HOUR));
}

#[test]
fn failed_changes_wait_for_the_retry_and_new_ones_at_most_one_second() {
    let (mut schedule, now) = schedule(Duration::ZERO);
    for _ in 0..5 {
        schedule.failed(now, Retry::CompareAll);
    }
    assert_eq!(schedule.failed(now, Retry::CompareAll), Duration::from_millis(3_200));
    assert_eq!(schedule.next(true), Some(now + Duration::from_millis(3_200)));
    schedule.changed();
    assert_eq!(schedule.next(true), Some(now + seconds(1)));
}

#[test]
fn failed_sync_is_repeated_even_without_changes() {
    let (mut schedule, now) = schedule(Duration::ZERO);
    schedule.succeeded(now, true, Some(seconds(1)));
    schedule.failed(now, Retry::SameChanges);
    assert_eq!(schedule.next(false), Some(now + Duration::from_millis(100)));
}

#[test]
fn retries_keep_to_the_minimum_period() {
    let (mut schedule, now) = schedule(MIN);
    assert_eq!(schedule.failed(now, Retry::CompareAll), MIN);
    schedule.changed();
    assert_eq!(schedule.next(true), Some(now + MIN));
}

#[test]
fn unsupported_host_is_retried_at_the_sync_period() {
    let (mut schedule, now) = schedule(Duration::ZERO);
    assert_eq!(schedule.failed(now, Retry::Never), seconds(30));
    schedule.changed();
    assert_eq!(schedule.next(true), Some(now + seconds(30)));
}

#[test]
fn due_full_sync_does_not_shorten_the_back_off() {
    let (mut schedule, now) = schedule(Duration::ZERO);
    schedule.succeeded(now, true, None);
    schedule.failed(now + HOUR, Retry::Never);
    assert_eq!(schedule.next(true), Some(now + HOUR + seconds(30)));
    assert!(schedule.is_full_due(now + HOUR + seconds(30), true));
}
