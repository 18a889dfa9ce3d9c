//! Integrity checks and repairs.

use portolan_core::IpFamily::{V4, V6};
use portolan_core::backend::Retry;
use portolan_core::{IpFamily, NodeConfig};
use tracing::Level;

use super::logging::Lines;
use super::rig::*;
use crate::{Configuration, SyncSettings};

fn notes(rig: &Rig, family: IpFamily) -> Vec<String> {
    let notes = rig.notes.take().into_iter();
    notes.filter(|note| note.contains(&family.to_string())).collect()
}

#[tokio::test(start_paused = true)]
async fn integrity_is_checked_every_sync_period_despite_changes() {
    let mut rig = Rig::ready(&settings()).await;
    for i in 0..100_u8 {
        rig.pass(secs(1)).await;
        rig.send([v4("a", i)]).await;
    }
    assert_eq!(rig.integrity_checks(V4), [30_000, 60_000, 90_000]);
    assert_eq!(rig.integrity_checks(V6), [30_000, 60_000, 90_000]);
    assert!(rig.times(V6).is_empty(), "nothing was amiss");
}

#[tokio::test(start_paused = true)]
async fn removed_rules_are_repaired_at_once_in_their_family_only() {
    let mut rig = Rig::ready(&settings()).await;
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(1)).await;
    rig.calls(V4);
    rig.notes.take();
    rig.integrity(V4, [Ok(false)]);
    rig.pass(secs(40)).await;
    assert_eq!(rig.calls(V4), [Call { at: 30_000, changes: Changes::All(1) }]);
    assert!(rig.times(V6).is_empty());
    assert_eq!(notes(&rig, V4), ["damaged IPv4", "repaired IPv4 Full in 0 ms", "synced IPv4"]);
    rig.pass(secs(40)).await;
    assert_eq!(rig.integrity_checks(V4), [30_000, 60_000]);
}

#[tokio::test(start_paused = true)]
async fn failed_repair_is_retried_without_integrity_checks() {
    let rig = Rig::ready(&settings()).await;
    rig.integrity(V4, [Ok(false)]);
    rig.script(V4, [Outcome::bad(Retry::CompareAll), Outcome::bad(Retry::SameChanges), Outcome::GOOD]);
    rig.pass(secs(31)).await;
    assert_eq!(rig.calls(V4), [30_000, 30_100, 30_300].map(|at| Call { at, changes: Changes::All(0) }));
    let failed = "failed IPv4 Full in 0 ms";
    assert_eq!(
        notes(&rig, V4),
        ["damaged IPv4", failed, failed, "repaired IPv4 Full in 0 ms", "synced IPv4"]
    );
    assert_eq!(rig.integrity_checks(V4), [30_000]);
}

#[tokio::test(start_paused = true)]
async fn no_integrity_check_while_syncs_fail() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [Outcome::bad(Retry::SameChanges); 100]);
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(80)).await;
    assert!(rig.integrity_checks(V4).is_empty());
    assert_eq!(rig.integrity_checks(V6), [30_000, 60_000]);
    rig.pass(secs(60)).await;
    let checks = rig.integrity_checks(V4);
    assert_eq!(checks.len(), 2, "the one that was due, and one half a minute later: {checks:?}");
}

#[tokio::test(start_paused = true)]
async fn failed_integrity_check_changes_nothing_and_is_logged_once() {
    let rig = Rig::ready(&settings()).await;
    let (lines, _guard) = Lines::collect(Level::INFO);
    rig.integrity(V4, [Err(Retry::CompareAll), Err(Retry::CompareAll), Ok(true), Err(Retry::CompareAll)]);
    rig.pass(secs(125)).await;
    assert_eq!(rig.integrity_checks(V4), [30_000, 60_000, 90_000, 120_000]);
    assert!(rig.times(V4).is_empty());
    let line = "WARN Failed to check rules for changes by other processes ipFamily=IPv4 \
                err=\"the kernel refused to add map services: no buffer space\"";
    let recovered = "INFO Checked rules again after failures ipFamily=IPv4 failures=2 duration=60s";
    assert_eq!(lines.take(), [line, recovered, line]);
}

#[tokio::test(start_paused = true)]
async fn full_sync_restarts_the_period_of_integrity_checks() {
    let settings = SyncSettings { full_period: secs(45), ..settings() };
    let rig = Rig::ready(&settings).await;
    rig.pass(secs(110)).await;
    assert_eq!(rig.times(V4), [45_000, 90_000]);
    assert_eq!(rig.integrity_checks(V4), [30_000, 75_000]);
}

#[tokio::test(start_paused = true)]
async fn new_sync_period_applies_from_the_last_integrity_check() {
    let rig = Rig::ready(&settings()).await;
    rig.pass(secs(40)).await;
    let node = NodeConfig::new("n1");
    let shorter = Configuration { node, min_period: secs(0), sync_period: secs(12) };
    rig.configuration.send(shorter).unwrap();
    rig.pass(secs(20)).await;
    assert_eq!(rig.integrity_checks(V4), [30_000, 42_000, 54_000]);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_change_is_checked_at_once_and_damage_repaired_in_that_family_only() {
    let rig = Rig::ready(&settings()).await;
    rig.pass(secs(5)).await;
    rig.change_by_others(V4);
    rig.integrity(V4, [Ok(false)]);
    rig.pass(millis(1)).await;
    assert_eq!(rig.integrity_checks(V4), [5_000]);
    assert_eq!(rig.times(V4), [5_000]);
    assert!(rig.integrity_checks(V6).is_empty() && rig.times(V6).is_empty());
    rig.pass(secs(40)).await;
    assert_eq!(rig.integrity_checks(V4), [35_000], "the next is a sync period after the repair");
}

#[tokio::test(start_paused = true)]
async fn foreign_changes_that_damage_nothing_are_checked_twice_a_second_at_most() {
    let rig = Rig::ready(&settings()).await;
    for _ in 0..299 {
        rig.change_by_others(V4);
        rig.pass(millis(10)).await;
    }
    assert_eq!(rig.integrity_checks(V4), [0, 500, 1_000, 1_500, 2_000, 2_500]);
    assert!(rig.times(V4).is_empty());
}

/// Two writers of the same rules, each of which takes the other's away.
#[tokio::test(start_paused = true)]
async fn repeated_damage_is_repaired_at_intervals_that_grow_up_to_the_sync_period() {
    let rig = Rig::ready(&settings()).await;
    rig.integrity(V4, [Ok(false); 1_000]);
    for _ in 0..1_200 {
        rig.change_by_others(V4);
        rig.pass(millis(100)).await;
    }
    let checks = rig.integrity_checks(V4);
    assert_eq!(checks, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500, 61_500, 91_500]);
    assert_eq!(rig.times(V4), checks, "each is repaired");
}

#[tokio::test(start_paused = true)]
async fn after_two_sync_periods_without_damage_a_foreign_change_is_checked_at_once_again() {
    let rig = Rig::ready(&settings()).await;
    rig.integrity(V4, [Ok(false), Ok(false), Ok(false)]);
    for _ in 0..3 {
        rig.change_by_others(V4);
        rig.pass(secs(1)).await;
    }
    rig.pass(secs(67)).await;
    rig.integrity_checks(V4);
    rig.change_by_others(V4);
    rig.pass(millis(1)).await;
    assert_eq!(rig.integrity_checks(V4), [70_000]);
    rig.change_by_others(V4);
    rig.pass(secs(1)).await;
    assert_eq!(rig.integrity_checks(V4), [70_500]);
}
