//! Failures and retries.

use portolan_core::IpFamily::{V4, V6};
use portolan_core::backend::Retry;
use portolan_testkit::objects::empty_lists;

use super::rig::*;
use crate::SyncSettings;

/// Another process holds the table.
fn bad() -> Outcome {
    Outcome::bad(Retry::SameChanges)
}

/// The kernel rejected the change.
fn refused() -> Outcome {
    Outcome::bad(Retry::CompareAll)
}

#[tokio::test(start_paused = true)]
async fn retries_back_off_up_to_the_sync_period_and_start_over_after_a_success() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [refused(); 11]);
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(600)).await;
    let times = rig.times(V4);
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
    rig.script(V4, [refused()]);
    let start = rig.now();
    rig.send([v4("b", 2)]).await;
    rig.pass(secs(600)).await;
    assert_eq!(rig.times(V4), [start, start + 100]);
}

#[tokio::test(start_paused = true)]
async fn table_held_by_another_process_is_retried_every_second() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [bad(); 20]);
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(60)).await;
    let times = rig.times(V4);
    assert_eq!(times.len(), 21);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 1_000), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn the_back_off_counts_from_the_end_of_an_apply() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [bad().taking(secs(5))]);
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(60)).await;
    assert_eq!(rig.times(V4), [0, 5_100]);
}

#[tokio::test(start_paused = true)]
async fn failed_sync_keeps_its_changes_and_adds_later_ones() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [bad(), bad(), Outcome::GOOD]);
    rig.send([v4("a", 1), v4("b", 2)]).await;
    rig.pass(millis(50)).await;
    rig.send([v4("c", 3), gone("b")]).await;
    rig.pass(secs(60)).await;
    assert_eq!(
        rig.calls(V4),
        [
            Call { at: 0, changes: only(&["a", "b"]) },
            Call { at: 100, changes: only(&["a", "c"]) },
            Call { at: 300, changes: only(&["a", "c"]) },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn new_change_is_tried_early_but_at_most_once_per_second() {
    let mut rig = Rig::ready(&settings()).await;
    rig.forever(V4, refused());
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(60)).await;
    rig.calls(V4);
    let start = rig.now();
    for i in 0..100_u8 {
        rig.send([v4("b", 10 + i)]).await;
        rig.pass(millis(100)).await;
    }
    let times = rig.times(V4);
    assert!((8..=11).contains(&times.len()), "about once a second in ten seconds: {times:?}");
    assert!(times[0] - start < 100, "the last failure was long enough ago: {times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn failure_with_unknown_kernel_state_causes_a_full_sync() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [Outcome::GOOD, Outcome::bad(Retry::CompareAll)]);
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(1)).await;
    rig.send([v4("b", 2)]).await;
    rig.pass(secs(1)).await;
    rig.send([v4("c", 3)]).await;
    rig.pass(secs(60)).await;
    assert_eq!(
        rig.calls(V4),
        [
            Call { at: 0, changes: only(&["a"]) },
            Call { at: 1_000, changes: only(&["b"]) },
            Call { at: 1_100, changes: Changes::All(2) },
            Call { at: 2_000, changes: only(&["c"]) },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn changes_do_not_hasten_retries_on_an_unsupported_host() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [Outcome::bad(Retry::Never); 2]);
    rig.send([v4("a", 1)]).await;
    for i in 0..50_u8 {
        rig.pass(secs(1)).await;
        rig.send([v4("b", 10 + i)]).await;
    }
    rig.pass(secs(60)).await;
    assert_eq!(rig.times(V4), [0, 30_000, 60_000]);
}

#[tokio::test(start_paused = true)]
async fn failing_family_does_not_delay_the_other() {
    let mut rig = Rig::new(&settings());
    rig.forever(V4, Outcome::bad(Retry::CompareAll));
    rig.send(empty_lists()).await;
    rig.pass(secs(120)).await;
    assert!(rig.times(V4).len() > 5);
    assert_eq!(rig.times(V6), [0]);
    for i in 0..5_u8 {
        rig.send([v6("b", 10 + i)]).await;
        rig.pass(secs(1)).await;
        assert_eq!(rig.calls(V6), [Call { at: rig.now() - 1_000, changes: only(&["b"]) }]);
    }
    let recorded = rig.notes.take();
    assert!(!recorded.contains(&"synced IPv4".to_owned()));
    assert!(!recorded.contains(&"all synced".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_failed_follow_up_is_repeated_without_changes() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [Outcome::follow_up(secs(1)), bad(), Outcome::GOOD]);
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(60)).await;
    assert_eq!(
        rig.calls(V4),
        [
            Call { at: 0, changes: only(&["a"]) },
            Call { at: 1_000, changes: only(&[]) },
            Call { at: 1_100, changes: only(&[]) },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn failed_full_sync_is_repeated_and_the_next_is_an_hour_later() {
    let rig = Rig::ready(&settings()).await;
    rig.pass(secs(3_599)).await;
    rig.script(V4, [bad()]);
    rig.pass(secs(4_000)).await;
    assert_eq!(
        rig.calls(V4),
        [3_600_000, 3_600_100, 7_200_100].map(|at| Call { at, changes: Changes::All(0) })
    );
}

#[tokio::test(start_paused = true)]
async fn retries_keep_to_the_minimum_period() {
    let mut rig = Rig::ready(&SyncSettings { min_period: secs(5), ..settings() }).await;
    rig.pass(secs(10)).await;
    rig.script(V4, [bad(); 3]);
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(60)).await;
    assert_eq!(rig.times(V4), [10_000, 15_000, 20_000, 25_000]);
}

#[tokio::test(start_paused = true)]
async fn failure_reports_only_the_attempt() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [Outcome::bad(Retry::CompareAll).taking(millis(10))]);
    rig.send([v4("a", 1)]).await;
    rig.pass(millis(50)).await;
    assert_eq!(rig.notes.take(), ["received", "queued IPv4", "failed IPv4 Partial in 10 ms"]);
    rig.pass(secs(1)).await;
    assert_eq!(rig.notes.take(), ["applied IPv4 Full in 0 ms", "synced IPv4", "all synced"]);
}

#[tokio::test(start_paused = true)]
async fn changes_that_cancel_out_after_a_failure_are_synced_only_after_a_success() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [bad()]);
    rig.send([v4("a", 1)]).await;
    rig.pass(millis(50)).await;
    rig.send([gone("a")]).await;
    rig.pass(millis(10)).await;
    assert_eq!(rig.notes.take(), ["received", "queued IPv4", "failed IPv4 Partial in 0 ms", "received"]);
    rig.pass(secs(1)).await;
    assert_eq!(rig.calls(V4).last(), Some(&Call { at: 100, changes: only(&[]) }));
    assert_eq!(rig.notes.take(), ["applied IPv4 Partial in 0 ms", "synced IPv4", "all synced"]);
}

#[tokio::test(start_paused = true)]
async fn changes_are_synced_while_full_syncs_fail() {
    for retry in [Retry::SameChanges, Retry::Unchanged] {
        let mut rig = Rig::ready(&settings()).await;
        rig.pass(secs(3_599)).await;
        let bad = Outcome::bad(retry);
        rig.script(V4, [bad, bad, Outcome::GOOD, bad, Outcome::GOOD]);
        rig.pass(millis(1_150)).await;
        rig.send([v4("a", 1)]).await;
        rig.pass(secs(3)).await;
        let all = |at, service_ports| Call { at, changes: Changes::All(service_ports) };
        assert_eq!(
            rig.calls(V4),
            [
                all(3_600_000, 0),
                all(3_600_100, 0),
                Call { at: 3_600_150, changes: only(&["a"]) },
                all(3_600_300, 1),
                all(3_600_700, 1),
            ],
            "{retry:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn pending_changes_are_applied_right_after_a_failed_full_sync() {
    let settings = SyncSettings { min_period: secs(10), ..settings() };
    let mut rig = Rig::ready(&settings).await;
    rig.pass(secs(3_595)).await;
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(1)).await;
    rig.calls(V4);
    rig.script(V4, [Outcome::bad(Retry::Unchanged), Outcome::GOOD]);
    rig.send([v4("b", 2)]).await;
    rig.pass(secs(25)).await;
    assert_eq!(
        rig.calls(V4),
        [Call { at: 3_605_000, changes: Changes::All(2) }, Call { at: 3_615_000, changes: only(&["b"]) },]
    );
}
