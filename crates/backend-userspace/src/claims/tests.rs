//! Who answers where, while service ports come, go and take each other's places.

use std::net::IpAddr;

use portolan_core::{ObjectName, Protocol};

use super::*;
use crate::limits::Limits;

const NODE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 80));

fn port(number: u16, cluster_ip: Option<IpAddr>, external: &[IpAddr], node_port: Option<u16>) -> ServicePort {
    ServicePort { cluster_ip, external_ips: external.into(), node_port, ..ServicePort::new(number) }
}

fn balancer(name: &str, port: &ServicePort) -> Arc<Balancer> {
    let service = ObjectName::new("shop", name);
    let name = ServicePortName { service, port: "".into(), protocol: Protocol::Tcp };
    let share = Limits::new(Arc::default(), 0, 0).share(&name.service);
    Arc::new(Balancer::new(name, Arc::new(port.clone()), share))
}

fn place(address: IpAddr, port: u16) -> Place {
    Place { address: SocketAddr::new(address, port), transport: Transport::Tcp }
}

/// The Service that answers at a place, on a node with the one address.
fn owner(claims: &Claims, place: Place) -> Option<(&str, Via)> {
    let owner = claims.owner(place, |address| address.ip() == NODE);
    owner.map(|(balancer, via)| (&*balancer.name().service.name, via))
}

#[test]
fn a_virtual_address_goes_before_a_node_port_of_another_service() {
    let (first, second) = (port(30_080, None, &[NODE], None), port(80, Some(VIP), &[], Some(30_080)));
    let (one, two) = (balancer("one", &first), balancer("two", &second));
    let mut claims = Claims::default();
    claims.add(&one, &first, Transport::Tcp);
    claims.add(&two, &second, Transport::Tcp);
    assert_eq!(owner(&claims, place(NODE, 30_080)), Some(("one", Via::ExternalIp)));
    assert_eq!(owner(&claims, place(VIP, 80)), Some(("two", Via::ClusterIp)));
    claims.remove(&one, &first, Transport::Tcp);
    assert_eq!(owner(&claims, place(NODE, 30_080)), Some(("two", Via::NodePort)));
    assert_eq!(owner(&claims, place(VIP, 30_080)), None);
}

#[test]
fn what_another_has_claimed_in_the_meantime_stays() {
    let port = port(80, Some(VIP), &[], Some(30_080));
    let (one, two) = (balancer("one", &port), balancer("two", &port));
    let mut claims = Claims::default();
    claims.add(&one, &port, Transport::Tcp);
    claims.add(&two, &port, Transport::Tcp);
    claims.remove(&one, &port, Transport::Tcp);
    assert_eq!(owner(&claims, place(VIP, 80)), Some(("two", Via::ClusterIp)));
    assert_eq!(owner(&claims, place(NODE, 30_080)), Some(("two", Via::NodePort)));
    assert_eq!(claims.node_ports().collect::<Vec<_>>(), [(30_080, Transport::Tcp)]);
}
