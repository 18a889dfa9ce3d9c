//! When plans are applied while all goes well.

use portolan_core::IpFamily::{V4, V6};
use portolan_core::event::Change;
use portolan_testkit::objects::{empty_lists, node, slice};

use super::rig::*;
use crate::{Stopped, SyncSettings};
use portolan_core::event::Event;

#[tokio::test(start_paused = true)]
async fn nothing_is_applied_before_all_lists_have_arrived() {
    let mut rig = Rig::new(&settings());
    let [services, slices, nodes] = empty_lists();
    for event in [v4("a", 1), slices, services] {
        rig.send([event]).await;
        rig.pass(secs(40)).await;
        assert_eq!((rig.calls(V4), rig.calls(V6)), (vec![], vec![]));
    }
    let recorded = rig.notes.take();
    assert_eq!(
        recorded,
        ["started IPv4", "started IPv6", "received", "received", "received"],
        "nothing waits yet"
    );
    rig.send([v4("b", 2), nodes]).await;
    rig.pass(secs(0)).await;
    assert_eq!(rig.calls(V4), [Call { at: 120_000, changes: Changes::All(1) }], "a was not in the list");
    assert_eq!(rig.calls(V6), [Call { at: 120_000, changes: Changes::All(0) }]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_loop_applies_each_change_at_once_and_only_to_its_family() {
    let mut rig = Rig::ready(&settings()).await;
    for (step, name) in ["a", "b", "c"].into_iter().enumerate() {
        rig.pass(secs(1)).await;
        rig.send([v4(name, u8::try_from(step).unwrap())]).await;
        rig.pass(millis(0)).await;
        assert_eq!(rig.calls(V4), [Call { at: rig.now(), changes: only(&[name]) }]);
    }
    assert_eq!(rig.calls(V6), []);
}

#[tokio::test(start_paused = true)]
async fn a_burst_becomes_one_apply() {
    let mut rig = Rig::ready(&settings()).await;
    rig.send((0..100).map(|i| v4(&format!("s{i:03}"), i))).await;
    rig.pass(secs(9)).await;
    let calls = rig.calls(V4);
    assert_eq!(calls.len(), 1);
    assert!(matches!(&calls[0].changes, Changes::Only(names) if names.len() == 100), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn what_arrives_during_an_apply_makes_up_the_next_one() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [Outcome::GOOD.taking(secs(5))]);
    rig.send([v4("first", 1)]).await;
    for (i, name) in ["d", "a", "b", "c"].into_iter().enumerate() {
        rig.pass(secs(1)).await;
        rig.send([v4(name, 10 + u8::try_from(i).unwrap())]).await;
    }
    rig.pass(secs(9)).await;
    assert_eq!(
        rig.calls(V4),
        [Call { at: 0, changes: only(&["first"]) }, Call { at: 5_000, changes: only(&["a", "b", "c", "d"]) },]
    );
}

#[tokio::test(start_paused = true)]
async fn a_minimum_period_counts_from_the_end_of_the_last_apply_and_merges_what_comes_in() {
    let mut rig = Rig::ready(&SyncSettings { min_period: secs(10), ..settings() }).await;
    rig.pass(secs(60)).await;
    rig.script(V4, [Outcome::GOOD.taking(secs(3))]);
    rig.send([v4("a", 1)]).await;
    for (i, name) in ["b", "c", "d"].into_iter().enumerate() {
        rig.pass(secs(4)).await;
        rig.send([v4(name, 10 + u8::try_from(i).unwrap())]).await;
    }
    rig.pass(secs(60)).await;
    assert_eq!(
        rig.calls(V4),
        [Call { at: 60_000, changes: only(&["a"]) }, Call { at: 73_000, changes: only(&["b", "c", "d"]) },]
    );
}

#[tokio::test(start_paused = true)]
async fn changes_that_cancel_out_are_reported_as_synced_but_not_applied() {
    let mut rig = Rig::ready(&SyncSettings { min_period: secs(10), ..settings() }).await;
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(1)).await;
    rig.send([gone("a")]).await;
    rig.pass(secs(60)).await;
    assert_eq!(rig.calls(V4), []);
    assert_eq!(rig.notes.take(), ["received", "queued IPv4", "received", "synced IPv4", "all synced"]);
}

#[tokio::test(start_paused = true)]
async fn follow_up_is_an_apply_without_changes() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [Outcome::follow_up(secs(2)), Outcome::follow_up(secs(7))]);
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(100)).await;
    assert_eq!(
        rig.calls(V4),
        [
            Call { at: 0, changes: only(&["a"]) },
            Call { at: 2_000, changes: only(&[]) },
            Call { at: 9_000, changes: only(&[]) },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn full_sync_runs_every_hour() {
    let mut rig = Rig::ready(&settings()).await;
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(9_000)).await;
    let hour = 3_600_000;
    assert_eq!(
        rig.calls(V4),
        [
            Call { at: 0, changes: only(&["a"]) },
            Call { at: hour, changes: Changes::All(1) },
            Call { at: 2 * hour, changes: Changes::All(1) },
        ]
    );
    assert_eq!(rig.times(V6), [hour, 2 * hour]);
}

#[tokio::test(start_paused = true)]
async fn stop_finishes_the_running_apply_and_starts_no_other() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [Outcome::GOOD.taking(secs(5))]);
    rig.send([v4("a", 1), v6("b", 1)]).await;
    rig.pass(secs(1)).await;
    rig.send([v4("c", 2)]).await;
    rig.stop();
    rig.pass(secs(1)).await;
    assert!(!rig.task.is_finished(), "the apply has begun");
    rig.pass(secs(3)).await;
    assert_eq!((&mut rig.task).await.unwrap(), Stopped::Requested);
    assert_eq!(rig.now(), 5_000);
    assert_eq!(rig.times(V4), [0]);
    assert_eq!(rig.times(V6), []);
    assert!(rig.notes.take().contains(&"synced IPv4".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn loop_ends_when_its_handle_or_the_event_sender_is_dropped() {
    let mut rig = Rig::ready(&settings()).await;
    rig.stop = None;
    assert_eq!((&mut rig.task).await.unwrap(), Stopped::Requested);
    let mut rig = Rig::ready(&settings()).await;
    rig.events = None;
    assert_eq!((&mut rig.task).await.unwrap(), Stopped::SourceEnded);
}

#[tokio::test(start_paused = true)]
async fn success_is_reported_in_the_order_of_kube_proxy() {
    let mut rig = Rig::ready(&settings()).await;
    rig.script(V4, [Outcome::GOOD.taking(millis(40))]);
    let now = std::time::SystemTime::now();
    let mut pods =
        slice("ns/a-1", "a").port("", portolan_core::Protocol::Tcp, 8080).anywhere("10.244.0.1").build();
    pods.trigger_time = Some(now - secs(7));
    let mut others =
        slice("ns/a-2", "a").port("", portolan_core::Protocol::Tcp, 8080).anywhere("10.244.0.2").build();
    others.trigger_time = Some(now - secs(700));
    let slices = [pods, others].map(|slice| Event::EndpointSlice(Change::Applied(slice)));
    rig.send([v4("a", 1)].into_iter().chain(slices)).await;
    rig.pass(secs(1)).await;
    assert_eq!(
        rig.notes.take(),
        [
            "received",
            "received",
            "received",
            "queued IPv4",
            "applied IPv4 Partial in 40 ms",
            "programmed IPv4 after 7 s",
            "synced IPv4",
            "all synced",
        ],
        "the older change was before our time"
    );
}

#[tokio::test(start_paused = true)]
async fn pod_change_without_rule_change_is_reported_at_once() {
    let mut rig = Rig::ready(&settings()).await;
    let mut orphan = slice("ns/x-1", "unknown").anywhere("10.244.0.1").build();
    orphan.trigger_time = Some(std::time::SystemTime::now() - secs(3));
    rig.send([Event::EndpointSlice(Change::Applied(orphan))]).await;
    rig.pass(secs(1)).await;
    assert_eq!(rig.calls(V4), []);
    assert_eq!(rig.notes.take(), ["received", "programmed IPv4 after 3 s", "synced IPv4", "all synced"]);
}

#[tokio::test(start_paused = true)]
async fn only_changes_of_this_node_are_reported() {
    let mut rig = Rig::ready(&settings()).await;
    rig.send([v4("a", 1), Event::Node(Change::Applied(node("n2", &[])))]).await;
    rig.pass(secs(0)).await;
    assert!(rig.notes.take().iter().all(|note| !note.starts_with("node")));
    rig.send([Event::Node(Change::Applied(node("n1", &[])))]).await;
    rig.pass(secs(0)).await;
    assert_eq!(rig.notes.take()[..2], ["received", "node n1"]);
}
