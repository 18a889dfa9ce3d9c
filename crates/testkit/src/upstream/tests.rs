//! That the states load, and carry traffic where they should.

use portolan_core::IpFamily;

use super::{Service, Xtables, iptables, ipvs, kubelet, nftables};
use crate::netns::{Caller, Program, Topology, isolated};

fn services() -> [Service; 3] {
    [
        Service::new("default/web", "10.96.0.10:80")
            .node_port(30080)
            .endpoint("10.244.0.11:8080")
            .endpoint("10.244.0.12:8080"),
        Service::new("default/web", "[fd00:10:96::10]:80")
            .port_name("http")
            .node_port(30080)
            .endpoint("[fd00:10:244::11]:8080"),
        Service::new("default/none", "10.96.0.11:80"),
    ]
}

/// Lets the load through with `load`, which runs in the node, and asks for every Service from a client.
fn assert_served(load: impl FnOnce() + Send) {
    let net = Topology::routed(2).unwrap();
    let _servers = net.serve(&[8080]).unwrap();
    net.node().run(load).unwrap();
    let client = Caller::from(net.client());
    let node = crate::netns::NODE_V4;
    let answer = client.connect_tcp("10.96.0.10:80".parse().unwrap()).unwrap();
    assert!(["pod1", "pod2"].contains(&answer.pod.as_str()), "{answer:?}");
    assert_ne!(answer.peer.ip(), crate::netns::CLIENT_V4, "not masqueraded");
    client.connect_tcp((node, 30080).into()).unwrap();
    assert_eq!(client.connect_tcp("[fd00:10:96::10]:80".parse().unwrap()).unwrap().pod, "pod1");
    let refused = client.connect_tcp("10.96.0.11:80".parse().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn the_nftables_table_carries_traffic() {
    isolated(|| {
        assert_served(|| {
            for family in IpFamily::ALL {
                let rules = nftables::ruleset(family, &services());
                Program::new("nft").args(["-f", "-"]).input(rules).run().unwrap();
            }
        });
    });
}

#[test]
fn the_chains_of_iptables_carry_traffic_in_tables_of_nf_tables() {
    isolated(|| assert_served(|| load_iptables(Xtables::Nft)));
}

#[test]
fn the_chains_of_iptables_carry_traffic_in_legacy_tables() {
    isolated(|| assert_served(|| load_iptables(Xtables::Legacy)));
}

fn load_iptables(kind: Xtables) {
    for family in IpFamily::ALL {
        kind.restore(family, &iptables::ruleset(family, &services())).unwrap();
        kind.restore(family, &kubelet::ruleset(family)).unwrap();
    }
}

#[test]
fn sets_and_chains_of_ipvs_load_for_both_kinds_of_iptables() {
    isolated(|| {
        for family in IpFamily::ALL {
            ipvs::load_sets(family, &services()).unwrap();
            for kind in Xtables::ALL {
                kind.restore(family, &ipvs::ruleset(family)).unwrap();
            }
        }
        let list = Program::new("ipset").args(["list", "-name"]).run().unwrap();
        assert_eq!(list.lines().count(), 34);
        assert!(list.contains("KUBE-6-NODE-PORT-LOCAL-SCTP-HAS\n"), "{list}");
    });
}
