//! What single changes take, and what is left alone.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan_backend_ipvs::{Change, Options};
use portolan_core::event::Event;
use portolan_core::{IpFamily, Protocol};
use portolan_ipvs::{Destination, Member, ServerChange, ServerKey, ServerSettings, Set, SetChange};
use portolan_testkit::objects::{service, slice};
use portolan_testkit::world::config;

use crate::node::Node;

fn web(protocol: Protocol) -> Event {
    service("shop/web", "10.96.0.80").port("http", protocol, 80).applied()
}

fn pods(protocol: Protocol, pods: &[&str]) -> Event {
    let bare = slice("shop/web-4", "web").port("http", protocol, 8080);
    pods.iter().fold(bare, |slice, pod| slice.on("n2", pod)).applied()
}

fn key(protocol: Protocol) -> ServerKey {
    ServerKey { protocol, address: "10.96.0.80".parse().unwrap(), port: 80 }
}

fn socket(pod: &str) -> std::net::SocketAddr {
    (pod.parse::<std::net::IpAddr>().unwrap(), 8080).into()
}

fn server(change: ServerChange) -> Change {
    Change::Server(change)
}

const ONE: &str = "10.244.1.1";
const TWO: &str = "10.244.1.2";

fn connections(node: &Node, pod: &str, active: u32) {
    let mut state = node.kernels.v4.state();
    let (_, destinations) = state.servers.get_mut(&key(Protocol::Tcp)).unwrap();
    destinations.insert(socket(pod), Destination { socket: socket(pod), weight: 0, active, inactive: 0 });
}

/// How often the kernel was asked what it has, and how often rules were loaded.
fn asked(node: &Node) -> (usize, usize) {
    let state = node.kernels.v4.state();
    (state.reads, state.loads)
}

#[test]
fn a_new_service_is_added_with_its_sets_first_and_its_address_last() {
    let mut node = Node::new(config(), []);
    node.apply([]);
    let settings = ServerSettings { scheduler: "rr".into(), flags: 0, timeout: Duration::ZERO };
    let member = Member::Socket(Protocol::Tcp, (key(Protocol::Tcp).address, 80).into());
    let address = key(Protocol::Tcp).address;
    let before = asked(&node);
    let wanted = [
        Change::Set(SetChange::Add(Set::ClusterIp, IpFamily::V4, member)),
        server(ServerChange::Add(key(Protocol::Tcp), settings)),
        server(ServerChange::AddDestination(key(Protocol::Tcp), socket(ONE), 1)),
        Change::Set(SetChange::Add(Set::IpvsIps, IpFamily::V4, Member::Ip(address))),
        Change::AddAddress(address),
    ];
    assert_eq!(node.apply([web(Protocol::Tcp), pods(Protocol::Tcp, &[ONE])]), wanted);
    assert_eq!(asked(&node), before, "nothing is listed for it, and no rule is written");
    assert_eq!(node.apply([]), []);
}

#[test]
fn one_endpoint_is_one_change() {
    let tcp = key(Protocol::Tcp);
    let mut node = Node::new(config(), [web(Protocol::Tcp), pods(Protocol::Tcp, &[ONE])]);
    node.apply([]);
    let before = asked(&node);
    let joins = [server(ServerChange::AddDestination(tcp, socket(TWO), 1))];
    assert_eq!(node.apply([pods(Protocol::Tcp, &[ONE, TWO])]), joins);
    let leaves = [server(ServerChange::Weigh(tcp, socket(ONE), 0))];
    assert_eq!(node.apply([pods(Protocol::Tcp, &[TWO])]), leaves);
    assert_eq!(asked(&node), before);
    assert!(before.0 > 0 && before.1 == 1, "the first load did both");
}

#[test]
fn a_tcp_endpoint_is_removed_with_its_last_connection_also_across_a_restart() {
    let tcp = key(Protocol::Tcp);
    let mut node = Node::new(config(), [web(Protocol::Tcp), pods(Protocol::Tcp, &[ONE, TWO])]);
    node.apply([]);
    node.apply([pods(Protocol::Tcp, &[TWO])]);
    connections(&node, ONE, 1);
    node.pass(Duration::from_secs(2));
    assert_eq!(node.apply([]), []);
    let mut node = node.restart();
    assert_eq!(node.apply([]), []);
    node.pass(Duration::from_secs(100));
    assert_eq!(node.apply([]), []);
    connections(&node, ONE, 0);
    node.pass(Duration::from_secs(100));
    assert_eq!(node.apply([]), [server(ServerChange::RemoveDestination(tcp, socket(ONE)))]);
}

#[test]
fn an_endpoint_that_is_wanted_again_gets_its_weight_back() {
    let tcp = key(Protocol::Tcp);
    let mut node = Node::new(config(), [web(Protocol::Tcp), pods(Protocol::Tcp, &[ONE, TWO])]);
    node.apply([]);
    node.apply([pods(Protocol::Tcp, &[TWO])]);
    connections(&node, ONE, 1);
    let back = [server(ServerChange::Weigh(tcp, socket(ONE), 1))];
    assert_eq!(node.apply([pods(Protocol::Tcp, &[ONE, TWO])]), back);
    // After a restart as well, when it was left without.
    node.apply([pods(Protocol::Tcp, &[TWO])]);
    connections(&node, ONE, 1);
    let mut node = node.restart();
    assert_eq!(node.apply([pods(Protocol::Tcp, &[ONE, TWO])]), back);
}

#[test]
fn a_udp_endpoint_is_removed_at_once() {
    let udp = key(Protocol::Udp);
    let mut node = Node::new(config(), [web(Protocol::Udp), pods(Protocol::Udp, &[ONE, TWO])]);
    node.apply([]);
    let leaves = [server(ServerChange::RemoveDestination(udp, socket(ONE)))];
    assert_eq!(node.apply([pods(Protocol::Udp, &[TWO])]), leaves);
}

#[test]
fn virtual_servers_are_removed_only_if_ours_and_not_excluded() {
    let options = Options { exclude_cidrs: vec!["10.96.0.96/28".parse().unwrap()], ..Options::default() };
    let mut node = Node::with_options(config(), [web(Protocol::Tcp)], options);
    node.apply([]);
    let at = |ip: &str, port| ServerKey { protocol: Protocol::Tcp, address: ip.parse().unwrap(), port };
    let settings = ServerSettings { scheduler: "rr".into(), flags: 0, timeout: Duration::ZERO };
    let (excluded, forgotten) = (at("10.96.0.100", 80), at("10.96.0.70", 80));
    let (old_node_port, foreign) = (at("192.0.2.1", 30_080), at("192.0.2.1", 443));
    let elsewhere = at("198.51.100.7", 30_080);
    {
        let mut state = node.kernels.v4.state();
        for key in [excluded, forgotten, old_node_port, foreign, elsewhere] {
            state.servers.insert(key, (settings.clone(), BTreeMap::new()));
        }
        for key in [excluded, forgotten] {
            state.device.as_mut().unwrap().insert(key.address);
        }
        state.members.get_mut(&Set::NodePortTcp).unwrap().insert(Member::Port(30_080));
    }
    let mut node = node.restart();
    let changes = node.apply([]);
    let removed: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Server(ServerChange::Remove(key)) => Some(*key),
            _ => None,
        })
        .collect();
    assert_eq!(removed, [forgotten, old_node_port]);
    let left: Vec<_> = node.held(IpFamily::V4).0.into_keys().collect();
    assert_eq!(left, [key(Protocol::Tcp), excluded, foreign, elsewhere]);
}

/// Something that others do to the kernel.
type Damage = fn(&mut crate::kernel::State);

#[test]
fn flushed_objects_are_detected_and_restored() {
    let mut node = Node::new(config(), [web(Protocol::Tcp), pods(Protocol::Tcp, &[ONE])]);
    node.apply([]);
    let before = node.held(IpFamily::V4);
    let damages: [Damage; 4] = [
        |state| state.servers.clear(),
        |state| state.device = None,
        |state| state.chains.clear(),
        |state| _ = state.chains.get_mut(&("nat".into(), "PREROUTING".into())).unwrap().pop(),
    ];
    for damage in damages {
        assert!(node.is_intact(IpFamily::V4));
        damage(&mut node.kernels.v4.state());
        assert!(!node.is_intact(IpFamily::V4));
        node.process.state.forget_applied(IpFamily::V4);
        node.apply([]);
        assert_eq!(node.held(IpFamily::V4), before);
    }
    node.kernels.v4.state().elsewhere.insert("192.0.2.7".parse().unwrap());
    assert!(!node.is_intact(IpFamily::V4), "an address more, for node ports");
}

#[test]
fn an_address_of_the_node_serves_its_service_before_the_node_port_of_another() {
    let own = |name: &str| {
        let other = service(name, "10.96.0.81").port("http", Protocol::Tcp, 80).node_port(30_080);
        other.applied()
    };
    let web = service("shop/web", "10.96.0.80").port("http", Protocol::Tcp, 30_080).external_ip("192.0.2.1");
    let other_pods = slice("shop/other-4", "other").port("http", Protocol::Tcp, 8080).on("n2", TWO);
    let mut node = Node::new(config(), [own("shop/other"), other_pods.applied()]);
    node.apply([]);
    let at_node = ServerKey { protocol: Protocol::Tcp, address: "192.0.2.1".parse().unwrap(), port: 30_080 };
    let leads_to = |node: &Node| -> Vec<_> {
        let servers = node.held(IpFamily::V4).0;
        servers[&at_node].1.iter().map(|(endpoint, weight)| (endpoint.to_string(), *weight)).collect()
    };
    assert_eq!(leads_to(&node), [(format!("{TWO}:8080"), 1)]);
    node.apply([web.applied(), pods(Protocol::Tcp, &[ONE])]);
    assert_eq!(leads_to(&node), [(format!("{ONE}:8080"), 1)]);
    // Endpoints of both come and go by single changes.
    assert_eq!(node.apply([pods(Protocol::Tcp, &[])]).len(), 2);
    assert_eq!(leads_to(&node), [(format!("{ONE}:8080"), 0)]);
    node.apply([Event::Service(portolan_core::event::Change::Deleted(
        portolan_testkit::objects::object_name("shop/web"),
    ))]);
    assert!(leads_to(&node).contains(&(format!("{TWO}:8080"), 1)));
}

/// Bound to the device it would be this node's, and the proxy would never hear again of what there is.
#[test]
fn the_address_of_the_api_server_is_not_bound_for_any_service() {
    let tenant =
        service("shop/tenant", "10.96.0.70").port("http", Protocol::Tcp, 80).external_ip("192.0.2.10");
    let tenant = tenant.load_balancer_ip("192.0.2.11").external_ip("203.0.113.1");
    let server =
        |sockets: &[&str]| Event::ApiServer(sockets.iter().map(|socket| socket.parse().unwrap()).collect());
    let bound = |node: &Node| {
        let (_, members, device, _) = node.held(IpFamily::V4);
        let filtered: Vec<_> = members[&Set::IpvsIps].iter().map(ToString::to_string).collect();
        assert_eq!(filtered, device.iter().map(ToString::to_string).collect::<Vec<_>>());
        filtered
    };
    let mut node = Node::new(config(), []);
    node.apply([server(&["192.0.2.10:6443", "192.0.2.11:6443"])]);
    node.apply([tenant.applied()]);
    assert_eq!(bound(&node), ["10.96.0.70", "203.0.113.1"]);
    assert!(node.is_intact(IpFamily::V4));

    // The server moves: at once its old address may be bound, and the new one no longer.
    node.apply([server(&["203.0.113.1:6443"])]);
    assert_eq!(bound(&node), ["10.96.0.70", "192.0.2.10", "192.0.2.11"]);

    // The load balancer of the API server itself is served by its port.
    let balancer = service("shop/api", "10.96.0.71").port("https", Protocol::Tcp, 6443);
    node.apply([balancer.load_balancer_ip("203.0.113.1").applied()]);
    assert_eq!(bound(&node), ["10.96.0.70", "10.96.0.71", "192.0.2.10", "192.0.2.11", "203.0.113.1"]);
    assert_eq!(node.apply([]), []);
}
