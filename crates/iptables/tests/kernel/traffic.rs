//! Taking over while connections are made: the old rules or the new ones serve each of them.

use std::time::Duration;

use portolan_core::IpFamily;
use portolan_testkit::netns::{Caller, Prober, Program, Topology, Transport, isolated};
use portolan_testkit::upstream::{Xtables, nftables};

use crate::state::{BOTH, load_iptables, remove, services};

/// The nftables table stands for the rules of the new mode, which are programmed first.
fn nothing_is_lost(kind: Xtables) {
    let net = Topology::routed(2).unwrap();
    let _servers = net.serve(&[8080]).unwrap();
    net.node().run(|| load_iptables(kind)).unwrap();
    let caller = Caller::from(net.client());
    let frontends = ["10.96.0.10:80", "[fd00:10:96::10]:80", "192.0.2.1:30080"];
    let probers = frontends.map(|to| Prober::start(&caller, Transport::Tcp, to.parse().unwrap()).unwrap());
    let wait = || {
        for prober in &probers {
            prober.wait_for_attempts(100, Duration::from_secs(20)).unwrap();
        }
    };
    wait();
    let load = || {
        for family in IpFamily::ALL {
            let rules = nftables::ruleset(family, &services());
            Program::new("nft").args(["-f", "-"]).input(rules).run().unwrap();
        }
    };
    net.node().run(load).unwrap();
    wait();

    let report = net.node().run(|| remove(BOTH, None)).unwrap();

    wait();
    assert!(report.failures.is_empty() && report.removed > 0, "{report:?}");
    for prober in probers {
        let report = prober.stop();
        assert_eq!(report.tally.failed(), 0, "{report:?}");
    }
}

#[test]
fn no_connection_is_lost_to_the_removal_of_chains_in_nf_tables() {
    isolated(|| nothing_is_lost(Xtables::Nft));
}

#[test]
fn no_connection_is_lost_to_the_removal_of_chains_in_legacy_tables() {
    isolated(|| nothing_is_lost(Xtables::Legacy));
}
