//! Many connections: spread, background probes, connections that last.

use std::net::SocketAddr;
use std::time::Duration;

use portolan_testkit::netns::{Caller, LongConnection, Prober, Topology, Transport, isolated, load_ruleset};

/// How long something may take that must come, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service address balanced over `pods` the simplest way nft knows.
fn balance(net: &Topology, pods: &[usize]) {
    let slots = |v6: bool| {
        let slot = |(slot, &pod): (usize, &usize)| {
            let pod = net.pod(pod);
            let address = if v6 { pod.ipv6.to_string() } else { pod.ipv4.to_string() };
            format!("{slot} : {address} . 8080")
        };
        pods.iter().enumerate().map(slot).collect::<Vec<_>>().join(", ")
    };
    let count = pods.len();
    let rules = format!(
        "table ip test; delete table ip test; table ip6 test; delete table ip6 test
        table ip test {{ chain pre {{ type nat hook prerouting priority dstnat
            ip daddr 10.96.0.10 meta l4proto {{ tcp, udp }} dnat ip to numgen random mod {count} map {{ {} }}
        }}
        }}
        table ip6 test {{ chain pre {{ type nat hook prerouting priority dstnat
            ip6 daddr fd00:10:96::a meta l4proto {{ tcp, udp }} dnat ip6 to numgen random mod {count} map {{ {} }}
        }}
        }}",
        slots(false),
        slots(true),
    );
    load_ruleset(net.node(), &rules).unwrap();
}

fn vips() -> [SocketAddr; 2] {
    ["10.96.0.10:80", "[fd00:10:96::a]:80"].map(|vip| vip.parse().unwrap())
}

#[test]
fn three_thousand_connections_are_spread_over_three_pods() {
    isolated(|| {
        let net = Topology::routed(3).unwrap();
        let _servers = net.serve(&[8080]).unwrap();
        balance(&net, &[1, 2, 3]);
        for vip in vips() {
            let tally = Caller::from(net.client()).many_tcp(vip, 3000).unwrap();
            assert_eq!(tally.successes(), 3000, "{tally}");
            assert!(tally.is_even_over(&["pod1", "pod2", "pod3"], 5), "{tally}");
        }
    });
}

#[test]
fn failures_are_counted_by_reason() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();

        let tally = Caller::from(net.client()).many_tcp(net.pod(1).socket_v4(81), 10).unwrap();

        assert_eq!((tally.successes(), tally.failed()), (0, 10));
        assert_eq!(tally.failures["connection refused"], 10);
    });
}

#[test]
fn prober_notices_a_lost_moment() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let servers = net.serve(&[8080]).unwrap();
        let caller = Caller::from(net.client());
        let prober = Prober::start(&caller, Transport::Tcp, net.pod(1).socket_v4(8080)).unwrap();
        prober.wait_for_attempts(50, PATIENCE).unwrap();
        assert_eq!(prober.so_far().tally.failed(), 0);

        drop(servers);
        prober.wait_for_attempts(5, PATIENCE).unwrap();
        let _servers = net.serve(&[8080]).unwrap();
        prober.wait_for_pod("pod1", PATIENCE).unwrap();

        let report = prober.stop();
        // A rejection, a reset or a connection that is no longer accepted: which of them comes is luck.
        assert!(report.tally.failed() >= 1, "{}", report.tally);
        assert!(!report.first_failures.is_empty());
    });
}

#[test]
fn prober_sees_no_failure_while_rules_are_replaced_in_one_transaction() {
    isolated(|| {
        let net = Topology::routed(3).unwrap();
        let _servers = net.serve(&[8080]).unwrap();
        balance(&net, &[1, 2]);
        let caller = Caller::from(net.client());
        let probers = [Transport::Tcp, Transport::Udp].into_iter();
        let probers = probers.flat_map(|transport| vips().map(|vip| (transport, vip)));
        let probers: Vec<_> =
            probers.map(|(transport, vip)| Prober::start(&caller, transport, vip).unwrap()).collect();

        for pods in [&[1, 2, 3][..], &[3], &[2, 3]] {
            probers[0].wait_for_attempts(20, PATIENCE).unwrap();
            balance(&net, pods);
        }

        for prober in probers {
            prober.wait_for_pod("pod3", PATIENCE).unwrap();
            let report = prober.stop();
            assert_eq!(report.tally.failed(), 0, "{} {:?}", report.tally, report.first_failures);
        }
    });
}

#[test]
fn prober_asks_again_and_again() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let _servers = net.serve(&[8080]).unwrap();
        let caller = Caller::from(net.client());
        let prober = Prober::start(&caller, Transport::Tcp, net.pod(1).socket_v4(8080)).unwrap();

        prober.wait_for_attempts(500, PATIENCE).unwrap();

        assert_eq!(prober.stop().tally.failed(), 0);
    });
}

#[test]
fn long_connection_outlives_the_rule_that_made_it() {
    isolated(|| {
        let net = Topology::routed(2).unwrap();
        let _servers = net.serve(&[8080]).unwrap();
        balance(&net, &[1]);
        let long = LongConnection::open(&Caller::from(net.client()), vips()[0]).unwrap();
        assert_eq!(long.answer().pod, "pod1");

        balance(&net, &[2]);
        long.wait_for_lines(10, PATIENCE).unwrap();

        let report = long.close();
        assert_eq!(report.broken, None);
        assert!(report.exchanged >= 10);
    });
}

#[test]
fn long_connection_reports_when_it_broke() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let servers = net.serve(&[8080]).unwrap();
        let long = LongConnection::open(&Caller::from(net.client()), net.pod(1).socket_v4(8080)).unwrap();
        long.wait_for_lines(3, PATIENCE).unwrap();

        drop(servers);

        long.wait_for_lines(1000, Duration::from_secs(1)).unwrap_err();
        assert!(long.is_broken());
        assert!(long.close().broken.is_some());
    });
}

#[test]
fn a_pod_reaches_itself_through_the_bridge() {
    isolated(|| {
        let net = Topology::bridged(2).unwrap();
        let _servers = net.serve(&[8080]).unwrap();
        balance(&net, &[1]);
        let masquerade = "table ip test { chain post { type nat hook postrouting priority srcnat
            ip saddr 10.244.0.11 ip daddr 10.244.0.11 masquerade
        }
        }";
        load_ruleset(net.node(), masquerade).unwrap();

        let itself = Caller::from(&net.pod(1).namespace).connect_tcp(vips()[0]).unwrap();
        let neighbour = Caller::from(&net.pod(2).namespace).connect_tcp(vips()[0]).unwrap();

        assert_eq!((itself.pod.as_str(), itself.peer.ip()), ("pod1", [10, 244, 0, 1].into()));
        assert_eq!((neighbour.pod.as_str(), neighbour.peer.ip()), ("pod1", net.pod(2).ipv4.into()));
    });
}
