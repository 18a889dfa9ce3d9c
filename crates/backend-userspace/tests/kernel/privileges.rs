//! What it takes, and what is said where that is missing.

use caps::Capability;
use portolan_backend_userspace::{Addresses, Options, UserspaceFactory};
use portolan_core::BackendFactory;
use portolan_testkit::block_on;
use portolan_testkit::netns::{Caller, Topology, isolated};
use portolan_testkit::scenario::{POD_PORT, Scenario, here, pods, web};

use crate::node::{LEAST, Node, with_privileges};

/// What the probe says with these privileges.
fn probe(net: &Topology, options: Options, privileges: &[Capability]) -> Result<(), String> {
    let factory = UserspaceFactory::new(options);
    with_privileges(net.node(), privileges, || block_on(factory.probe()))
        .map_err(|failure| failure.to_string())
}

#[test]
fn the_probe_needs_just_two_capabilities_and_names_the_one_that_is_missing() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        assert_eq!(probe(&net, Options::default(), &LEAST), Ok(()));
        for missing in LEAST {
            let others: Vec<_> = LEAST.into_iter().filter(|capability| *capability != missing).collect();
            let failure = probe(&net, Options::default(), &others).unwrap_err();
            assert!(failure.contains(&missing.to_string()), "{failure}");
        }
        let left = net.node().ip("route show table local proto 80").unwrap();
        assert_eq!(left, "", "the probe leaves nothing behind");
    });
}

#[test]
fn on_a_prepared_host_no_capability_is_needed() {
    isolated(|| {
        let net = Topology::routed(2).unwrap();
        let _servers = net.serve(&[POD_PORT]).unwrap();
        for words in ["-4 route add local 10.96.0.0/16 dev lo", "-6 route add local fd00:10:96::/112 dev lo"]
        {
            net.node().ip(words).unwrap();
        }
        let options = Options { addresses: Addresses::Prepared, ..Options::default() };
        assert!(probe(&net, options, &[]).unwrap_err().contains("CAP_NET_BIND_SERVICE"));
        net.node().sysctl(&[("net/ipv4/ip_unprivileged_port_start", "1")]).unwrap();
        assert_eq!(probe(&net, options, &[]), Ok(()));

        let mut node = Node::with(net, Scenario::new().config, options, &[]);
        node.apply([web().applied()].into_iter().chain(pods("web", [here(1), here(2)])));
        let caller = Caller::from(node.net.client());
        for address in ["10.96.0.80:80", "[fd00:10:96::80]:80", "192.0.2.1:30080", "[2001:db8:2::1]:30080"] {
            let address = address.parse().unwrap();
            assert!(caller.connect_tcp(address).unwrap().pod.starts_with("pod"));
            assert!(caller.query_udp(address).unwrap().pod.starts_with("pod"));
        }
        // Load-balancer address and external IP are not among the prepared: TCP and UDP, in both families.
        assert_eq!(node.counters.unserved.get(), 8);
        assert!(node.ours().is_empty());
    });
}
