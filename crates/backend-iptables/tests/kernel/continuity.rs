//! Changes, restarts and repairs under traffic: nothing is lost that has somewhere to go.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portolan_backend_iptables::programs::Variant;
use portolan_core::Protocol;
use portolan_testkit::netns::{Caller, NODE_V4, ProbeReport, Prober, Topology, Transport};
use portolan_testkit::objects::{service, slice};
use portolan_testkit::shop::{NODE_PORT, POD_PORT, PORT, config, web, web_pods};

use crate::node::Node;

const PATIENCE: Duration = Duration::from_secs(30);

fn vip(address: &str) -> SocketAddr {
    (address.parse::<IpAddr>().unwrap(), PORT).into()
}

/// Starts a prober on each kind of address, in both families.
pub(crate) fn probe(net: &Topology) -> Vec<(&'static str, Prober)> {
    let client = Caller::from(net.client());
    let start = |what, transport, to| (what, Prober::start(&client, transport, to).unwrap());
    vec![
        start("cluster IP, IPv4", Transport::Tcp, vip("10.96.0.80")),
        start("cluster IP, IPv6", Transport::Tcp, vip("fd00:10:96::80")),
        start("cluster IP, UDP", Transport::Udp, vip("10.96.0.80")),
        start("external IP", Transport::Tcp, vip("203.0.113.81")),
        start("node port", Transport::Tcp, (NODE_V4, NODE_PORT).into()),
    ]
}

pub(crate) fn wait(probers: &[(&'static str, Prober)], attempts: u64) {
    for (_, prober) in probers {
        prober.wait_for_attempts(attempts, PATIENCE).unwrap();
    }
}

#[track_caller]
pub(crate) fn assert_nothing_lost(probers: Vec<(&'static str, Prober)>) {
    for (what, prober) in probers {
        let ProbeReport { tally, first_failures, .. } = prober.stop();
        assert!(tally.attempts() > 100, "{what}: {tally}");
        assert_eq!(tally.failed(), 0, "{what}: {tally}; {first_failures:?}");
    }
}

fn changes_and_restarts_lose_no_new_connection(variant: Variant) {
    let net = Topology::routed(3).unwrap();
    let _servers = net.serve(&[POD_PORT]).unwrap();
    let mut node = Node::new(net.node(), variant, config());
    node.apply([web()].into_iter().chain(web_pods(&net, &[1, 2, 3])));
    let probers = probe(&net);
    wait(&probers, 20);
    let lists: [&[usize]; 6] = [&[1], &[1, 2], &[2], &[2, 3, 1], &[3], &[1, 2, 3]];
    for round in 0..18 {
        let pods = web_pods(&net, lists[round % lists.len()]);
        // Services come and go next to it, and so do their refusals.
        let neighbour = (0..round % 3)
            .fold(slice("shop/next-1", "next").port("", Protocol::Tcp, 80), |s, i| {
                s.on("node2", &format!("10.244.9.{}", i + 1))
            });
        let beside = service("shop/next", "10.96.0.81").port("", Protocol::Tcp, 80);
        node.apply(pods.into_iter().chain([beside.applied(), neighbour.applied()]));
        if round % 5 == 4 {
            node.forget();
        }
        wait(&probers, 5);
    }
    assert_nothing_lost(probers);
    node.assert_sound();
    node.clean();
    let left = node.saved(portolan_core::IpFamily::V4);
    let own: Vec<_> = left.lines().filter(|line| line.contains("KUBE-")).collect();
    assert!(own.is_empty(), "{own:#?}");
}

crate::with_both_kinds! { changes_and_restarts_lose_no_new_connection }
