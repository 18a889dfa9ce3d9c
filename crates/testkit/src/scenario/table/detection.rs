//! How a node detects packets of its pods (`detectLocalMode`), as seen by which clients are masqueraded
//! towards a cluster IP and whom the external Local policy lets through to all endpoints.

use std::time::Duration;

use portolan_core::event::Node;
use portolan_core::node::{DetectLocal, NodeConfig};

use super::all_reach;
use crate::scenario::Scenario;
use crate::scenario::check::{Check, from};
use crate::scenario::need::Need;
use crate::scenario::objects::{away, here, net, pods, this_node, web};
use crate::scenario::packet::{CLIENT, NODE_ITSELF, POD, Seen, WEB, cluster_ip, external};

/// No cluster CIDR: pods are not detected.
pub(super) fn nothing(config: &mut NodeConfig) {
    config.detect_local = DetectLocal::ClusterCidr(Vec::new());
}

/// Pods are detected.
fn tells_pods() -> [Check; 4] {
    [
        from([POD]).to([cluster_ip(WEB)]).reaches([1, 2]).as_themselves(),
        from([CLIENT, NODE_ITSELF]).to([cluster_ip(WEB)]).reaches([1, 2]).as_the_node(),
        from([POD]).to(external()).reaches([1, 2]).as_themselves(),
        from([CLIENT]).to(external()).reaches([1]).as_themselves(),
    ]
}

/// Pods count as others, and so are masqueraded.
fn takes_pods_for_others() -> [Check; 2] {
    [
        from([POD, CLIENT, NODE_ITSELF]).to([cluster_ip(WEB)]).reaches([1, 2]).as_the_node(),
        from([POD, CLIENT]).to(external()).reaches([1]).as_themselves(),
    ]
}

/// No client counts as a local pod, and none is masqueraded towards a cluster IP.
fn detects_no_pods() -> [Check; 2] {
    [
        from([POD, CLIENT, NODE_ITSELF]).to([cluster_ip(WEB)]).reaches([1, 2]).as_themselves(),
        from([POD, CLIENT]).to(external()).reaches([1]).as_themselves(),
    ]
}

fn detecting(detect_local: DetectLocal) -> Scenario {
    Scenario::new()
        .configured(|config| config.detect_local = detect_local)
        .given(web().external_local())
        .given(pods("web", [here(1), away(2)]))
}

fn node_with_pods(v4: &str, v6: &str) -> Node {
    Node { pod_cidrs: vec![net(v4), net(v6)], ..this_node() }
}

pub(in crate::scenario) fn cluster_cidr_tells_pods_by_their_address() -> Scenario {
    let pods = vec![net("10.244.0.0/16"), net("fd00:10:244::/64")];
    detecting(DetectLocal::ClusterCidr(pods)).expect_all(tells_pods()).needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn cluster_cidr_of_other_addresses_takes_pods_for_others() -> Scenario {
    let others = vec![net("10.245.0.0/16"), net("fd00:10:245::/64")];
    detecting(DetectLocal::ClusterCidr(others)).expect_all(takes_pods_for_others())
}

pub(in crate::scenario) fn no_cluster_cidr_detects_no_pods() -> Scenario {
    detecting(DetectLocal::ClusterCidr(Vec::new())).expect_all(detects_no_pods())
}

pub(in crate::scenario) fn node_cidr_tells_pods_by_the_pod_cidrs_of_the_node() -> Scenario {
    detecting(DetectLocal::NodeCidr)
        .given(node_with_pods("10.244.0.0/24", "fd00:10:244::/120"))
        .expect_all(tells_pods())
        .needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn node_cidr_follows_the_node() -> Scenario {
    detecting(DetectLocal::NodeCidr)
        .expect_all(detects_no_pods())
        .given(node_with_pods("10.244.7.0/24", "fd00:10:244::700/120"))
        .expect_all(takes_pods_for_others())
        .given(node_with_pods("10.244.0.0/24", "fd00:10:244::/120"))
        .expect_all(tells_pods())
        .needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn services_that_clients_stay_with_follow_the_node_too() -> Scenario {
    let by_cluster_ip = |sender, seen| from([sender]).to([cluster_ip(WEB)]).reaches([1]).seen(seen);
    Scenario::new()
        .configured(|config| config.detect_local = DetectLocal::NodeCidr)
        .given(web().external_local().affinity(Duration::from_secs(10_800)))
        .given(pods("web", [here(1)]))
        .expect_all([POD, CLIENT].map(|sender| by_cluster_ip(sender, Seen::Themselves)))
        .given(node_with_pods("10.244.7.0/24", "fd00:10:244::700/120"))
        .expect_all([POD, CLIENT].map(|sender| by_cluster_ip(sender, Seen::TheNode)))
        .given(pods("web", [away(2)]))
        .expect(from([POD, CLIENT]).to(external()).is_dropped())
        .given(node_with_pods("10.244.0.0/24", "fd00:10:244::/120"))
        .expect(from([POD]).to(external()).reaches([2]).as_themselves())
        .expect(from([CLIENT]).to(external()).is_dropped())
        .needing(Need::DropWithoutLocalEndpoints)
}

pub(in crate::scenario) fn interface_name_prefix_tells_pods_by_their_cable() -> Scenario {
    detecting(DetectLocal::InterfaceNamePrefix("pod".into()))
        .expect_all(tells_pods())
        .needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn another_interface_name_prefix_takes_pods_for_others() -> Scenario {
    detecting(DetectLocal::InterfaceNamePrefix("veth".into())).expect_all(takes_pods_for_others())
}

pub(in crate::scenario) fn bridge_interface_tells_pods_by_their_bridge() -> Scenario {
    detecting(DetectLocal::BridgeInterface("cni0".into()))
        .bridged()
        .expect_all(tells_pods())
        .needing(Need::LocalShortCut)
}

pub(in crate::scenario) fn another_bridge_interface_takes_pods_for_others() -> Scenario {
    detecting(DetectLocal::BridgeInterface("cni".into())).bridged().expect_all(takes_pods_for_others())
}

pub(in crate::scenario) fn cluster_cidr_tells_pods_on_a_bridge() -> Scenario {
    Scenario::new()
        .bridged()
        .given(web())
        .given(pods("web", [here(1), here(2), away(3)]))
        .expect_all(all_reach(&[1, 2, 3]))
}
