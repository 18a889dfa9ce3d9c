//! Backends as the proxy makes them: with whichever kind of iptables the host has.

use portolan_backend_iptables::programs::Programs;
use portolan_backend_iptables::{IptablesFactory, Settings};
use portolan_core::backend::MetricValue;
use portolan_core::{BackendFactory, IpFamily, State};
use portolan_testkit::block_on;
use portolan_testkit::netns::{Program, Topology, isolated};
use portolan_testkit::objects::empty_lists;
use portolan_testkit::shop::{config, web, web_pods};

use crate::node::xtables;

fn prepared(net: &Topology) -> State {
    let mut state = State::new(config());
    for event in empty_lists().into_iter().chain([web()]).chain(web_pods(net, &[1])) {
        state.handle(event);
    }
    state.prepare();
    state
}

#[test]
fn factory_backend_serves_loopback_and_cleanup_removes_everything() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let state = prepared(&net);
        let factory = IptablesFactory::new(Settings::default());
        let kind = xtables(Programs::find(IpFamily::V4).unwrap().variant());
        let in_node = |work: &(dyn Fn() + Sync)| net.node().run(work).unwrap();
        in_node(&|| block_on(factory.probe()).unwrap());
        let other = IptablesFactory::new(Settings::default());
        let is_forwarding = || IpFamily::ALL.map(|family| block_on(other.is_forwarding(family)).unwrap());
        in_node(&|| assert_eq!(is_forwarding(), [false; 2]));
        in_node(&|| {
            assert_eq!(factory.metrics(), [], "no rules, nothing to count with");
            for family in IpFamily::ALL {
                let mut backend = factory.create(family).unwrap();
                let report = block_on(backend.apply(state.plan(family), state.changes(family))).unwrap();
                assert!(report.operations > 30, "{report:?}");
                assert!(block_on(backend.is_intact()).unwrap());
                // As after a start, with counters or without.
                let mut backend = factory.create(family).unwrap();
                let report = block_on(backend.apply(state.plan(family), state.changes(family))).unwrap();
                assert_eq!(report.operations, 0);
            }
            let saved = kind.save(IpFamily::V4).unwrap();
            let metrics = factory.metrics();
            println!("counters of nfacct: {}, {metrics:?}", saved.matches("--nfacct-name").count());
            let is_named = |counter: &str| saved.contains(&format!("--nfacct-name  {counter} "));
            let are_named =
                is_named("ct_state_invalid_dropped_pkts") && is_named("localhost_nps_accepted_pkts");
            assert_eq!(metrics.len(), if saved.contains("--nfacct-name") { 2 } else { 0 }, "{saved}");
            assert!(metrics.is_empty() || are_named, "{metrics:?}: {saved}");
            assert!(metrics.iter().all(|metric| metric.value == MetricValue::Total(0)), "{metrics:?}");
        });
        in_node(&|| assert_eq!(is_forwarding(), [true; 2]));
        let setting = Program::new("cat").args(["/proc/sys/net/ipv4/conf/all/route_localnet"]);
        assert_eq!(net.node().run_program(&setting).unwrap(), "1\n");
        in_node(&|| {
            for family in IpFamily::ALL {
                let report = block_on(factory.remove_stale(None, family));
                assert!(report.failures.is_empty(), "{report:?}");
                let saved = kind.save(family).unwrap();
                let left: Vec<_> = saved.lines().filter(|line| line.contains("KUBE-")).collect();
                // KUBE-FIREWALL is the kubelet's as well, and stays with its jumps.
                assert!(left.iter().all(|line| line.contains("KUBE-FIREWALL")), "{left:#?}");
            }
        });
    });
}

#[test]
fn liberal_connection_tracking_drops_no_invalid_packets() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let state = prepared(&net);
        let factory = IptablesFactory::new(Settings { localhost_node_ports: false });
        let kind = xtables(Programs::find(IpFamily::V4).unwrap().variant());
        for (value, wanted) in [("0", 1), ("1", 0)] {
            net.node().sysctl(&[("net/netfilter/nf_conntrack_tcp_be_liberal", value)]).unwrap();
            let saved = net.node().run(|| {
                let mut backend = factory.create(IpFamily::V4).unwrap();
                let (plan, changes) = (state.plan(IpFamily::V4), state.changes(IpFamily::V4));
                block_on(backend.apply(plan, changes)).unwrap();
                kind.save(IpFamily::V4).unwrap()
            });
            let saved = saved.unwrap();
            assert_eq!(saved.matches("--ctstate INVALID").count(), wanted, "{saved}");
            assert!(!saved.contains("KUBE-FIREWALL"));
        }
    });
}
