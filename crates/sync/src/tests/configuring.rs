//! Waiting for the Node object, and changes of the configuration.

use portolan_core::IpFamily::{V4, V6};
use portolan_core::event::{Change, Event, Node};
use portolan_core::node::NodeConfig;
use portolan_testkit::objects::{empty_lists, node};

use super::rig::{Changes, Outcome, Rig, millis, only, secs, settings, v4};
use crate::{Configuration, NodeWait, Stopped, SyncSettings};

fn waiting(node_wait: NodeWait) -> SyncSettings {
    SyncSettings { node_wait: Some(node_wait), ..settings() }
}

fn is(node: Node) -> [Event; 1] {
    [Event::Node(Change::Applied(node))]
}

fn with_pods(addresses: &[&str], pod_cidrs: &[&str]) -> Node {
    Node { pod_cidrs: pod_cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(), ..node("n1", addresses) }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_applied_before_the_node_object_has_an_address() {
    let mut rig = Rig::new(&waiting(NodeWait::Address));
    rig.send(empty_lists()).await;
    rig.send(is(node("n1", &[]))).await;
    rig.send([v4("web", 1)]).await;
    rig.pass(secs(20)).await;
    assert_eq!(rig.times(V4), []);
    rig.send(is(node("n1", &["192.0.2.1"]))).await;
    rig.pass(millis(0)).await;
    let calls = rig.calls(V4);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].changes, Changes::All(1), "what came meanwhile is in it");
}

#[tokio::test(start_paused = true)]
async fn loop_starts_after_30_seconds_without_a_node_address() {
    let mut rig = Rig::new(&waiting(NodeWait::Address));
    rig.pass(secs(10)).await;
    rig.send(empty_lists()).await;
    rig.pass(secs(60)).await;
    assert_eq!((rig.times(V4), rig.times(V6)), (vec![40_000], vec![40_000]), "counted from the last list");
    rig.send([v4("web", 1)]).await;
    rig.pass(millis(0)).await;
    assert_eq!(rig.calls(V4)[0].changes, only(&["web"]));
}

#[tokio::test(start_paused = true)]
async fn loop_waits_for_pod_cidrs_and_ends_without_them() {
    let mut rig = Rig::new(&waiting(NodeWait::PodCidrs));
    rig.send(empty_lists()).await;
    rig.send(is(with_pods(&["192.0.2.1"], &[]))).await;
    rig.pass(secs(299)).await;
    assert!(!rig.task.is_finished());
    rig.pass(secs(2)).await;
    assert_eq!(rig.calls(V4), []);
    assert_eq!((&mut rig.task).await.unwrap(), Stopped::NoPodCidrs);

    let mut rig = Rig::new(&waiting(NodeWait::PodCidrs));
    rig.send(empty_lists()).await;
    rig.pass(secs(200)).await;
    rig.send(is(with_pods(&[], &["10.244.1.0/24"]))).await;
    rig.pass(secs(200)).await;
    assert_eq!(rig.times(V4), [200_000]);
    rig.send(is(with_pods(&[], &[]))).await;
    rig.pass(secs(400)).await;
    assert!(!rig.task.is_finished(), "only the start waits");
}

#[tokio::test(start_paused = true)]
async fn a_new_configuration_is_applied_at_once_and_the_same_one_is_not() {
    let rig = Rig::ready(&settings()).await;
    let node = NodeConfig { masquerade_all: true, ..NodeConfig::new("n1") };
    let new = Configuration { node, min_period: secs(0), sync_period: secs(30) };
    rig.configuration.send(new.clone()).unwrap();
    rig.pass(millis(0)).await;
    assert_eq!(rig.calls(V4)[0].changes, only(&[]), "the node's settings alone");
    assert_eq!(rig.calls(V6).len(), 1);
    rig.configuration.send(new).unwrap();
    rig.pass(millis(0)).await;
    assert_eq!(rig.calls(V4), []);
    drop(rig.configuration);
    rig.events.as_ref().unwrap().send(v4("web", 1)).await.unwrap();
    tokio::time::sleep(millis(1)).await;
    assert!(!rig.task.is_finished(), "the loop runs on without the sender of configurations");
}

#[tokio::test(start_paused = true)]
async fn new_periods_hold_from_now_on() {
    let mut rig = Rig::ready(&settings()).await;
    let periods =
        |min_period, sync_period| Configuration { node: NodeConfig::new("n1"), min_period, sync_period };
    rig.configuration.send(periods(secs(10), secs(30))).unwrap();
    rig.send([v4("a", 1)]).await;
    rig.pass(secs(20)).await;
    assert_eq!(rig.times(V4), [10_000], "ten seconds after the apply at the start");
    rig.configuration.send(periods(secs(0), millis(50))).unwrap();
    rig.pass(millis(0)).await;
    rig.script(V4, [Outcome::bad(portolan_core::backend::Retry::CompareAll)]);
    let now = rig.now();
    rig.send([v4("b", 2)]).await;
    rig.pass(secs(1)).await;
    let times: Vec<_> = rig.times(V4).into_iter().map(|at| at - now).collect();
    assert_eq!(times, [0, 50]);
}

#[tokio::test(start_paused = true)]
async fn full_sync_without_changes_is_reported_as_such() {
    let mut rig = Rig::ready(&settings()).await;
    rig.pass(secs(3601)).await;
    let recorded = rig.notes.take();
    assert!(recorded.contains(&"checked IPv4 Full in 0 ms".to_owned()), "{recorded:?}");
    assert_eq!(rig.calls(V4)[0].changes, Changes::All(0));
    rig.send([v4("web", 1)]).await;
    rig.pass(secs(0)).await;
    let recorded = rig.notes.take();
    assert!(recorded.contains(&"applied IPv4 Partial in 0 ms".to_owned()), "{recorded:?}");
}
