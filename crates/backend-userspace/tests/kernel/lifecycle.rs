//! What comes, changes and goes: listeners, addresses, connections under way.

use std::time::Duration;

use portolan_testkit::netns::{Caller, LongConnection, Topology, isolated, wait_until};
use portolan_testkit::objects::ip;
use portolan_testkit::scenario::{POD_PORT, gone, here, pods, service_at, web};

use crate::held::{open, whole};
use crate::node::Node;

const PATIENCE: Duration = Duration::from_secs(60);
const VIP: &str = "10.96.0.80:80";
const VIP_V6: &str = "[fd00:10:96::80]:80";

/// Two pods that answer, and a node that is about to serve them.
fn node() -> (Node, Vec<portolan_testkit::netns::EchoServer>) {
    let net = Topology::routed(2).unwrap();
    let servers = net.serve(&[POD_PORT]).unwrap();
    (Node::new(net), servers)
}

fn serving() -> (Node, Vec<portolan_testkit::netns::EchoServer>) {
    let (mut node, servers) = node();
    node.apply([web().applied()]);
    node.apply(pods("web", [here(1), here(2)]));
    (node, servers)
}

#[test]
fn a_restart_opens_all_listeners_at_once_and_meanwhile_clients_are_refused() {
    isolated(|| {
        let (mut node, _servers) = serving();
        // Link-local addresses may still be added to the node meanwhile.
        let (ours, before) = (node.ours(), node.net.node().run(open).unwrap());
        node.stop();
        assert_eq!(node.ours(), ours, "addresses stay");
        let refused = Caller::from(node.net.client()).connect_tcp(VIP.parse().unwrap()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

        let mut node = node.restart();
        node.apply([]);
        assert_eq!(node.ours(), ours);
        let are_open = || node.net.node().run(open).unwrap().is_superset(&before);
        wait_until("all listeners are open", PATIENCE, are_open).unwrap();
        for vip in [VIP, VIP_V6] {
            Caller::from(node.net.client()).connect_tcp(vip.parse().unwrap()).unwrap();
        }
        node.assert_sound();
    });
}

#[test]
fn a_restart_gives_up_addresses_that_went_meanwhile() {
    isolated(|| {
        let (mut node, _servers) = serving();
        node.stop();
        let mut node = node.restart();
        node.state.handle(gone("web"));
        node.apply([service_at("other", 90).applied()]);
        assert_eq!(node.ours(), node.planned());
        assert!(node.ours().contains(&whole("10.96.0.90")) && !node.ours().contains(&whole("10.96.0.80")));
    });
}

#[test]
fn addresses_and_routes_of_others_are_left_alone() {
    isolated(|| {
        let (mut node, _servers) = node();
        for words in [
            "addr add 203.0.113.80/32 dev lo",
            "addr add 10.96.0.99/32 dev lo",
            "route add local 10.96.0.80/32 dev lo proto static metric 5",
            "-6 route add local fd00:10:96::80/128 dev lo proto static metric 5",
        ] {
            node.net.node().ip(words).unwrap();
        }
        let others = |node: &Node| {
            let list = |words| node.net.node().ip(words).unwrap();
            let routes = list("-4 route show table local") + &list("-6 route show table local");
            let kept = |line: &&str| !line.contains("proto 80");
            (list("-oneline addr show"), routes.lines().filter(kept).map(str::to_owned).collect::<Vec<_>>())
        };
        let before = others(&node);
        node.apply([web().applied()].into_iter().chain(pods("web", [here(1)])));
        node.assert_sound();
        assert_eq!(others(&node), before);
        node.apply([gone("web")]);
        assert_eq!((node.ours().len(), others(&node)), (0, before.clone()));
        node.apply([web().applied()]);
        node.clean();
        assert_eq!((node.ours().len(), others(&node)), (0, before));
    });
}

#[test]
fn cleaning_up_removes_what_an_earlier_run_left() {
    isolated(|| {
        let (mut node, _servers) = serving();
        node.stop();
        let mut node = node.restart();
        assert!(!node.ours().is_empty());
        node.clean();
        assert!(node.ours().is_empty());
        assert_eq!(node.counters.listeners.get(), 0);
        node.apply([]);
        Caller::from(node.net.client()).connect_tcp(VIP.parse().unwrap()).unwrap();
    });
}

#[test]
fn routes_that_another_program_removed_are_added_again() {
    isolated(|| {
        let (mut node, _servers) = serving();
        assert!(node.is_intact());
        node.net.node().ip("route flush table local proto 80").unwrap();
        assert!(!node.is_intact());
        assert!(node.compare_all() > 0);
        node.assert_sound();
    });
}

#[test]
fn a_change_of_endpoints_opens_and_closes_nothing() {
    isolated(|| {
        let (mut node, _servers) = serving();
        let caller = Caller::from(node.net.client());
        let long = LongConnection::open(&caller, VIP.parse().unwrap()).unwrap();
        let accepted = node.counters.accepted.get();
        for members in [vec![here(1)], vec![here(2)], vec![here(1), here(2)]] {
            // TCP and UDP, in both families: one list each. SCTP has none.
            assert_eq!(node.apply(pods("web", members)), 4);
        }
        assert_eq!(node.counters.accepted.get(), accepted);
        long.wait_for_lines(5, PATIENCE).unwrap();
        assert_eq!(long.close().broken, None);
    });
}

#[test]
fn connections_outlive_the_removal_of_their_endpoint_and_of_their_service() {
    isolated(|| {
        let (mut node, _servers) = serving();
        let caller = Caller::from(node.net.client());
        let long = LongConnection::open(&caller, VIP.parse().unwrap()).unwrap();
        let rest = if long.answer().pod == "pod1" { here(2) } else { here(1) };
        node.apply(pods("web", [rest]));
        long.wait_for_lines(5, PATIENCE).unwrap();
        for _ in 0..4 {
            assert_ne!(caller.connect_tcp(VIP.parse().unwrap()).unwrap().pod, long.answer().pod);
        }
        node.apply([gone("web")]);
        long.wait_for_lines(5, PATIENCE).unwrap();
        let refused = caller.connect_tcp(VIP.parse().unwrap()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        assert_eq!(node.compare_all(), 0);
        assert_eq!(node.ours(), [whole("10.96.0.80")].into(), "the address that the connection came by");
        assert_eq!(long.close().broken, None);
        wait_until("the address is given back", PATIENCE, || node.is_empty()).unwrap();
        node.assert_sound();
    });
}

#[test]
fn an_address_that_comes_back_while_a_connection_has_it_is_served_and_kept() {
    isolated(|| {
        let (mut node, _servers) = serving();
        let caller = Caller::from(node.net.client());
        let long = LongConnection::open(&caller, VIP.parse().unwrap()).unwrap();
        node.apply([gone("web")]);
        node.apply([web().applied()]);
        caller.connect_tcp(VIP.parse().unwrap()).unwrap();
        assert_eq!(long.close().broken, None);
        wait_until("connections have ended", PATIENCE, || node.counters.tcp_sessions.get() == 0).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        node.assert_sound();
        caller.connect_tcp(VIP.parse().unwrap()).unwrap();
    });
}

#[test]
fn a_process_that_starts_before_the_one_before_it_has_ended_serves_as_soon_as_that_has() {
    isolated(|| {
        let (node, _servers) = serving();
        let (mut node, before) = node.overlap();
        node.apply([]);
        assert!(node.counters.unserved.get() > 0);
        std::thread::sleep(Duration::from_secs(1));
        drop(before);
        let served = || node.counters.unserved.get() == 0;
        wait_until("all places are served", Duration::from_secs(60), served).unwrap();
        for vip in [VIP, VIP_V6] {
            Caller::from(node.net.client()).connect_tcp(vip.parse().unwrap()).unwrap();
        }
        node.assert_sound();
    });
}

#[test]
fn a_service_port_that_gets_endpoints_late_touches_no_other() {
    isolated(|| {
        let (mut node, _servers) = serving();
        let many: Vec<_> = (1..=60).filter(|number| *number != 80).collect();
        for number in &many {
            node.state.handle(service_at(&format!("s{number}"), *number).applied());
        }
        node.apply([]);
        let operations = node.apply(pods("s7", [here(1)]));
        // Two protocols in two families: a list each, and a socket for each of cluster IP, load-balancer
        // address and external IP and of three node addresses (five with link-local ones) and more.
        let sockets = 4 * (1 + 3) + node_port_places(&node);
        // Where nothing listened before, a route each rejected the external ones of IPv4.
        let refusals = 2 * 2;
        assert_eq!(operations, sockets + refusals);
        node.assert_sound();
    });
}

/// How many sockets a node port has: one for each address of the node and protocol.
fn node_port_places(node: &Node) -> usize {
    let list = node.net.node().ip("-oneline addr show").unwrap();
    let addresses = list.lines().map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("inet"));
        (words.next().unwrap().to_owned(), words.next().unwrap().split('/').next().unwrap().to_owned(), line)
    });
    let mut found: Vec<_> = addresses
        .filter(|(_, address, _)| !ip(address).is_loopback())
        .map(|(_, address, _)| address)
        .collect();
    found.sort();
    found.dedup();
    2 * found.len()
}
