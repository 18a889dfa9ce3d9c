//! Listen addresses, and the service port that owns each.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use portolan_core::{Protocol, ServicePort};
use portolan_netlink::route::InterfaceAddress;

use crate::balancer::Balancer;

/// An address, a port and a protocol at which a service port is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ListenAddress {
    pub(crate) socket: SocketAddr,
    /// TCP or UDP.
    pub(crate) protocol: Protocol,
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.socket)
    }
}

/// The kind of address that a client connects to. Where several service ports claim one address, the first kind owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum AddressKind {
    /// The cluster IP.
    ClusterIp,
    /// An external IP.
    ExternalIp,
    /// A load-balancer address, which source ranges apply to.
    LoadBalancer,
    /// The node port.
    NodePort,
}

impl AddressKind {
    pub(crate) const ALL: [Self; 4] = [Self::ClusterIp, Self::ExternalIp, Self::LoadBalancer, Self::NodePort];

    /// Whether the address may belong to another host.
    pub(crate) fn is_external(self) -> bool {
        matches!(self, Self::LoadBalancer | Self::ExternalIp)
    }
}

/// The listen addresses of a service port on a node whose node ports answer at `node_addresses`.
pub(crate) fn listen_addresses<'a>(
    port: &ServicePort,
    protocol: Protocol,
    node_addresses: impl Iterator<Item = &'a InterfaceAddress>,
) -> Vec<(ListenAddress, AddressKind)> {
    let cluster = port.cluster_ip.iter().map(|ip| (*ip, AddressKind::ClusterIp));
    let balanced = port.load_balancer_ips.iter().map(|ip| (*ip, AddressKind::LoadBalancer));
    let external = port.external_ips.iter().map(|ip| (*ip, AddressKind::ExternalIp));
    let service = cluster.chain(balanced).chain(external);
    let service = service.map(|(ip, kind)| (SocketAddr::new(ip, port.port), kind));
    let node = port
        .node_port
        .map(|number| node_addresses.map(move |address| (address.socket(number), AddressKind::NodePort)));
    let all = service.chain(node.into_iter().flatten());
    all.map(|(socket, kind)| (ListenAddress { socket, protocol }, kind)).collect()
}

/// The service ports that claim each listen address.
#[derive(Debug, Default)]
pub(crate) struct Owners(HashMap<ListenAddress, Vec<(AddressKind, Arc<Balancer>)>>);

impl Owners {
    pub(crate) fn add(&mut self, balancer: &Arc<Balancer>, addresses: &[(ListenAddress, AddressKind)]) {
        for (address, kind) in addresses {
            self.0.entry(*address).or_default().push((*kind, Arc::clone(balancer)));
        }
    }

    pub(crate) fn remove(&mut self, balancer: &Arc<Balancer>, addresses: &[(ListenAddress, AddressKind)]) {
        for (address, _) in addresses {
            let Some(owners) = self.0.get_mut(address) else { continue };
            owners.retain(|(_, owner)| !Arc::ptr_eq(owner, balancer));
            if owners.is_empty() {
                self.0.remove(address);
            }
        }
    }

    /// The owner of an address. Of two with the same kind it is the later one; the earlier one is about to go.
    pub(crate) fn get(&self, address: ListenAddress) -> Option<(AddressKind, &Arc<Balancer>)> {
        let owner = self.0.get(&address)?.iter().rev().min_by_key(|(kind, _)| *kind);
        owner.map(|(kind, balancer)| (*kind, balancer))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use portolan_core::{ObjectName, ServicePortName};

    use super::*;

    const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 80));

    type Addresses = Vec<(ListenAddress, AddressKind)>;

    fn balancer(name: &str) -> Arc<Balancer> {
        let service = ObjectName::new("shop", name);
        let name = ServicePortName { service, port: "".into(), protocol: Protocol::Tcp };
        Arc::new(Balancer::new(name))
    }

    fn at(ip: IpAddr, port: u16) -> ListenAddress {
        ListenAddress { socket: SocketAddr::new(ip, port), protocol: Protocol::Tcp }
    }

    /// A cluster IP and a node port on a node with the one address.
    fn with_node_port() -> Addresses {
        vec![(at(VIP, 80), AddressKind::ClusterIp), (at(NODE, 30_080), AddressKind::NodePort)]
    }

    fn owner(owners: &Owners, address: ListenAddress) -> Option<(&str, AddressKind)> {
        owners.get(address).map(|(kind, balancer)| (&*balancer.name.service.name, kind))
    }

    #[test]
    fn a_service_address_takes_precedence_over_a_node_port_of_another_service() {
        let (first, second) = (vec![(at(NODE, 30_080), AddressKind::ExternalIp)], with_node_port());
        let (one, two) = (balancer("one"), balancer("two"));
        let mut owners = Owners::default();
        owners.add(&one, &first);
        owners.add(&two, &second);
        assert_eq!(owner(&owners, at(NODE, 30_080)), Some(("one", AddressKind::ExternalIp)));
        assert_eq!(owner(&owners, at(VIP, 80)), Some(("two", AddressKind::ClusterIp)));
        owners.remove(&one, &first);
        assert_eq!(owner(&owners, at(NODE, 30_080)), Some(("two", AddressKind::NodePort)));
        assert_eq!(owner(&owners, at(VIP, 30_080)), None);
    }

    #[test]
    fn address_owned_by_another_service_meanwhile_stays_with_it() {
        let (one, two) = (balancer("one"), balancer("two"));
        let mut owners = Owners::default();
        owners.add(&one, &with_node_port());
        owners.add(&two, &with_node_port());
        owners.remove(&one, &with_node_port());
        assert_eq!(owner(&owners, at(VIP, 80)), Some(("two", AddressKind::ClusterIp)));
        assert_eq!(owner(&owners, at(NODE, 30_080)), Some(("two", AddressKind::NodePort)));
        owners.remove(&two, &with_node_port());
        assert_eq!(owners.0.len(), 0);
    }
}
