//! What service ports take, by their plans.

use std::collections::HashSet;

use portolan_core::node::NodeConfig;
use portolan_core::plan::{NodePortAddresses, NodeSettings};
use portolan_core::{IpFamily, ObjectName, Protocol, State};
use portolan_testkit::objects::{empty_lists, service, slice};
use portolan_testkit::world::config;

use super::*;
use crate::Options;

const POD_HERE: &str = "10.244.0.1";
const POD_AWAY: &str = "10.244.1.1";

fn context() -> NodeContext {
    let own: HashSet<_> = ["127.0.0.1", "192.0.2.1"].map(|ip| ip.parse().unwrap()).into();
    let node = NodeConfig::new("n1").settings(IpFamily::V4, None, []);
    let node = NodeSettings { node_port_addresses: NodePortAddresses::All, ..node };
    NodeContext::new(own, &node, &Options::default())
}

/// A Service with everything, behind which there is a pod here and one elsewhere, or the latter alone.
fn wanted(protocol: Protocol, is_local: bool, pods: &[&str]) -> Vec<String> {
    let web = service("shop/web", "10.96.0.80").port("http", protocol, 80).node_port(30_080);
    let web = web.external_ip("203.0.113.81").external_ip("192.0.2.1").load_balancer_ip("203.0.113.80");
    let web = web.source_range("198.51.100.0/24");
    let web = if is_local { web.external_local().health_check_node_port(31_000) } else { web };
    let bare = slice("shop/web-4", "web").port("http", protocol, 8080);
    let pods = pods.iter().fold(bare, |slice, pod| {
        slice.on(if *pod == POD_HERE { portolan_testkit::world::THIS_NODE } else { "n2" }, pod)
    });
    let mut state = State::new(config());
    empty_lists().into_iter().chain([web.applied(), pods.applied()]).for_each(|event| state.handle(event));
    state.prepare();
    let plan = state.plan(portolan_core::IpFamily::V4);
    let name = ServicePortName { service: ObjectName::new("shop", "web"), port: "http".into(), protocol };
    let wanted = Wanted::of(&name, &plan.service_ports[&name], &context());
    let servers = wanted.servers.iter().map(|(key, serving)| format!("{key} {:?}", serving.destinations));
    let members = wanted.members.iter().map(|(set, member)| match set {
        Set::IpvsIps => format!("device {member}"),
        set => format!("{set:?} {member}"),
    });
    let mut lines: Vec<_> = servers.chain(members).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_service_with_every_field_needs_these_objects() {
    let all = "[(10.244.0.1:8080, 1), (10.244.1.1:8080, 1)]";
    let servers = ["10.96.0.80:80", "192.0.2.1:30080", "192.0.2.1:80", "203.0.113.80:80", "203.0.113.81:80"];
    let mut lines: Vec<_> = servers.iter().map(|at| format!("tcp {at} {all}")).collect();
    // The node has one of the addresses itself.
    lines.extend(["10.96.0.80", "203.0.113.80", "203.0.113.81"].map(|ip| format!("device {ip}")));
    lines.extend(
        [
            "ClusterIp 10.96.0.80,tcp:80",
            "ExternalIp 192.0.2.1,tcp:80",
            "ExternalIp 203.0.113.81,tcp:80",
            "LoadBalancer 203.0.113.80,tcp:80",
            "LoadBalancerFirewall 203.0.113.80,tcp:80",
            "LoadBalancerSourceCidr 203.0.113.80,tcp:80,198.51.100.0/24",
            "LoopBack 10.244.0.1,tcp:8080,10.244.0.1",
            "NodePortTcp 30080",
        ]
        .map(str::to_owned),
    );
    lines.sort_unstable();
    assert_eq!(wanted(Protocol::Tcp, false, &[POD_HERE, POD_AWAY]), lines);
}

#[test]
fn under_the_local_policy_addresses_have_local_endpoints_and_are_in_local_sets() {
    let lines = wanted(Protocol::Sctp, true, &[POD_HERE, POD_AWAY]);
    let all = "[(10.244.0.1:8080, 1), (10.244.1.1:8080, 1)]";
    for line in [
        format!("sctp 10.96.0.80:80 {all}"),
        "sctp 203.0.113.80:80 [(10.244.0.1:8080, 1)]".to_owned(),
        "sctp 192.0.2.1:30080 [(10.244.0.1:8080, 1)]".to_owned(),
        "ExternalIpLocal 203.0.113.81,sctp:80".to_owned(),
        "LoadBalancer 203.0.113.80,sctp:80".to_owned(),
        "LoadBalancerLocal 203.0.113.80,sctp:80".to_owned(),
        "NodePortSctp 192.0.2.1,sctp:30080".to_owned(),
        "NodePortLocalSctp 192.0.2.1,sctp:30080".to_owned(),
        "HealthCheckNodePort 31000".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line} of {lines:#?}");
    }
    assert!(!lines.iter().any(|line| line.starts_with("ExternalIp ")), "{lines:#?}");
}

#[test]
fn without_a_local_endpoint_the_cluster_list_serves() {
    let lines = wanted(Protocol::Tcp, true, &[POD_AWAY]);
    assert!(lines.contains(&"tcp 203.0.113.80:80 [(10.244.1.1:8080, 1)]".to_owned()), "{lines:#?}");
}
