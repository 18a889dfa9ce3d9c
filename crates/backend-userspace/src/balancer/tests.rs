//! Which endpoint a client gets.

use std::collections::HashSet;
use std::time::Duration;

use portolan_core::plan::Locality;
use portolan_core::{ObjectName, Protocol};

use super::*;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3));

fn endpoint(number: u8) -> Endpoint {
    let locality = if number.is_multiple_of(2) { Locality::Remote } else { Locality::Local };
    Endpoint { address: IpAddr::from([10, 244, 0, number]), port: 8080, locality }
}

fn socket(number: u8) -> SocketAddr {
    endpoint(number).socket_address()
}

/// A service port with these endpoints, of which the odd ones are local.
fn port(numbers: &[u8]) -> ServicePort {
    let all: Arc<[Endpoint]> = numbers.iter().map(|number| endpoint(*number)).collect();
    ServicePort {
        cluster_ip: Some(IpAddr::from([10, 96, 0, 80])),
        node_port: Some(30_080),
        external_traffic_policy: TrafficPolicy::Local,
        local_endpoints: all.iter().copied().filter(|e| e.locality == Locality::Local).collect(),
        cluster_endpoints: all,
        ..ServicePort::new(80)
    }
}

fn balancer(port: ServicePort) -> Balancer {
    let name =
        ServicePortName { service: ObjectName::new("shop", "web"), port: "".into(), protocol: Protocol::Tcp };
    let balancer = Balancer::new(name);
    balancer.update(Arc::new(port), None);
    balancer
}

fn with_affinity(numbers: &[u8]) -> ServicePort {
    ServicePort { session_affinity: Some(Duration::from_secs(60)), ..port(numbers) }
}

impl Balancer {
    fn ask(&self, client: IpAddr, kind: AddressKind, origin: Origin) -> Option<SocketAddr> {
        self.choose(client, kind, origin, &[], Instant::now())
    }

    fn reached(&self, kind: AddressKind, origin: Origin) -> HashSet<SocketAddr> {
        (0..20).filter_map(|_| self.ask(CLIENT, kind, origin)).collect()
    }
}

#[test]
fn policies_choose_the_list_by_address_and_origin() {
    let balancer = balancer(port(&[1, 2, 3]));
    let (all, local): (HashSet<_>, HashSet<_>) = ([1, 2, 3].map(socket).into(), [1, 3].map(socket).into());
    assert_eq!(balancer.reached(AddressKind::ClusterIp, Origin::Outside), all);
    for kind in [AddressKind::NodePort, AddressKind::LoadBalancer, AddressKind::ExternalIp] {
        assert_eq!(balancer.reached(kind, Origin::Outside), local);
        assert_eq!(balancer.reached(kind, Origin::Inside), all);
    }
}

#[test]
fn every_endpoint_is_used_once_in_each_round() {
    let balancer = balancer(port(&[1, 2, 3, 4, 5]));
    for _ in 0..10 {
        let round: HashSet<_> =
            (0..5).filter_map(|_| balancer.ask(CLIENT, AddressKind::ClusterIp, Origin::Outside)).collect();
        assert_eq!(round.len(), 5);
    }
}

#[test]
fn endpoints_that_failed_just_now_are_passed_over() {
    let balancer = balancer(port(&[1, 2, 3]));
    let choose = |failed: &[SocketAddr]| {
        balancer.choose(CLIENT, AddressKind::ClusterIp, Origin::Outside, failed, Instant::now())
    };
    for _ in 0..20 {
        assert_eq!(choose(&[socket(1), socket(2)]), Some(socket(3)));
    }
    assert_eq!(choose(&[1, 2, 3].map(socket)), None);
}

#[test]
fn clients_with_affinity_keep_their_endpoint_until_it_fails_or_goes() {
    let balancer = balancer(with_affinity(&[1, 2, 3]));
    let first = balancer.ask(CLIENT, AddressKind::ClusterIp, Origin::Outside).unwrap();
    for _ in 0..10 {
        assert_eq!(balancer.ask(CLIENT, AddressKind::ClusterIp, Origin::Inside), Some(first));
        balancer.ask(OTHER, AddressKind::ClusterIp, Origin::Outside);
    }
    let second =
        balancer.choose(CLIENT, AddressKind::ClusterIp, Origin::Outside, &[first], Instant::now()).unwrap();
    assert_ne!(second, first);
    assert_eq!(balancer.ask(CLIENT, AddressKind::ClusterIp, Origin::Outside), Some(second));
    let rest: Vec<u8> = [1, 2, 3].into_iter().filter(|number| socket(*number) != second).collect();
    balancer.update(Arc::new(with_affinity(&rest)), None);
    assert_ne!(balancer.ask(CLIENT, AddressKind::ClusterIp, Origin::Outside), Some(second));
}

#[test]
fn affinity_does_not_lead_past_a_local_policy() {
    let balancer = balancer(with_affinity(&[1, 2, 4, 6]));
    let elsewhere = (0..100u8)
        .map(|number| IpAddr::from([192, 0, 2, number]))
        .find(|client| balancer.ask(*client, AddressKind::ClusterIp, Origin::Outside) != Some(socket(1)))
        .unwrap();
    assert_eq!(balancer.ask(elsewhere, AddressKind::NodePort, Origin::Outside), Some(socket(1)));
}

#[test]
fn flows_continue_to_endpoints_that_are_listed_or_terminating() {
    let lingering = [socket(9)].into();
    let balancer = balancer(ServicePort { draining_endpoints: lingering, ..port(&[1, 2]) });
    let state = balancer.state();
    assert!(state.keeps(socket(1)) && state.keeps(socket(2)) && state.keeps(socket(9)));
    assert!(!state.keeps(socket(3)));
}

fn rounds(count: usize) -> Rounds {
    Rounds { count, rest: Mutex::default() }
}

fn round(rounds: &Rounds, length: usize) -> Vec<usize> {
    (0..length).map(|_| rounds.next().unwrap()).collect()
}

#[test]
fn each_round_has_every_index_once() {
    let rounds = rounds(7);
    for _ in 0..20 {
        let indices: HashSet<_> = round(&rounds, 7).into_iter().collect();
        assert_eq!(indices.len(), 7);
    }
}

#[test]
fn rounds_differ_in_their_order() {
    let rounds = rounds(10);
    let orders: HashSet<_> = (0..50).map(|_| round(&rounds, 10)).collect();
    assert!(orders.len() > 45, "{}", orders.len());
}

#[test]
fn rounds_without_endpoints_are_empty_and_a_single_endpoint_is_always_next() {
    assert_eq!(rounds(0).next(), None);
    assert_eq!(round(&rounds(1), 3), [0, 0, 0]);
}
