//! Who gets which endpoint.

use std::collections::HashSet;
use std::time::Duration;

use portolan_core::plan::Locality;
use portolan_core::{ObjectName, Protocol};

use super::*;
use crate::limits::Limits;

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
    let share = Limits::new(Arc::default(), 0, 0).share(&name.service);
    Balancer::new(name, Arc::new(port), share)
}

fn sticky(numbers: &[u8]) -> ServicePort {
    ServicePort { session_affinity: Some(Duration::from_secs(60)), ..port(numbers) }
}

impl Balancer {
    fn ask(&self, client: IpAddr, via: Via, origin: Origin) -> Option<SocketAddr> {
        self.choose(client, via, origin, &[], Instant::now())
    }

    fn reached(&self, via: Via, origin: Origin) -> HashSet<SocketAddr> {
        (0..20).filter_map(|_| self.ask(CLIENT, via, origin)).collect()
    }
}

#[test]
fn policies_choose_the_list_by_address_and_origin() {
    let balancer = balancer(port(&[1, 2, 3]));
    let (all, local): (HashSet<_>, HashSet<_>) = ([1, 2, 3].map(socket).into(), [1, 3].map(socket).into());
    assert_eq!(balancer.reached(Via::ClusterIp, Origin::Outside), all);
    for via in [Via::NodePort, Via::LoadBalancer, Via::ExternalIp] {
        assert_eq!(balancer.reached(via, Origin::Outside), local);
        assert_eq!(balancer.reached(via, Origin::Inside), all);
    }
}

#[test]
fn every_endpoint_has_its_turn_in_each_round() {
    let balancer = balancer(port(&[1, 2, 3, 4, 5]));
    for _ in 0..10 {
        let round: HashSet<_> =
            (0..5).filter_map(|_| balancer.ask(CLIENT, Via::ClusterIp, Origin::Outside)).collect();
        assert_eq!(round.len(), 5);
    }
}

#[test]
fn endpoints_that_failed_just_now_are_passed_over() {
    let balancer = balancer(port(&[1, 2, 3]));
    let choose = |failed: &[SocketAddr]| {
        balancer.choose(CLIENT, Via::ClusterIp, Origin::Outside, failed, Instant::now())
    };
    for _ in 0..20 {
        assert_eq!(choose(&[socket(1), socket(2)]), Some(socket(3)));
    }
    assert_eq!(choose(&[1, 2, 3].map(socket)), None);
}

#[test]
fn clients_with_affinity_keep_their_endpoint_until_it_fails_or_goes() {
    let balancer = balancer(sticky(&[1, 2, 3]));
    let first = balancer.ask(CLIENT, Via::ClusterIp, Origin::Outside).unwrap();
    for _ in 0..10 {
        assert_eq!(balancer.ask(CLIENT, Via::ClusterIp, Origin::Inside), Some(first));
        balancer.ask(OTHER, Via::ClusterIp, Origin::Outside);
    }
    let second = balancer.choose(CLIENT, Via::ClusterIp, Origin::Outside, &[first], Instant::now()).unwrap();
    assert_ne!(second, first);
    assert_eq!(balancer.ask(CLIENT, Via::ClusterIp, Origin::Outside), Some(second));
    let rest: Vec<u8> = [1, 2, 3].into_iter().filter(|number| socket(*number) != second).collect();
    balancer.update(Arc::new(sticky(&rest)));
    assert_ne!(balancer.ask(CLIENT, Via::ClusterIp, Origin::Outside), Some(second));
}

#[test]
fn affinity_does_not_lead_past_a_local_policy() {
    let balancer = balancer(sticky(&[1, 2, 4, 6]));
    let elsewhere = (0..100u8)
        .map(|number| IpAddr::from([192, 0, 2, number]))
        .find(|client| balancer.ask(*client, Via::ClusterIp, Origin::Outside) != Some(socket(1)))
        .unwrap();
    assert_eq!(balancer.ask(elsewhere, Via::NodePort, Origin::Outside), Some(socket(1)));
}

#[test]
fn flows_go_on_with_endpoints_that_are_listed_or_linger() {
    let lingering = [socket(9)].into();
    let balancer = balancer(ServicePort { lingering_endpoints: lingering, ..port(&[1, 2]) });
    let known = balancer.known();
    assert!(known.keeps(socket(1)) && known.keeps(socket(2)) && known.keeps(socket(9)));
    assert!(!known.keeps(socket(3)));
}
