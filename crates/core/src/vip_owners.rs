//! Which service port serves an address that several Services name.
//!
//! The API server keeps cluster IPs and node ports unique, but any user may write any external IP into a Service, two
//! load-balancer Services may share an address, and a folder of manifests is not checked at all. A kernel map has one
//! entry per address and port, so each needs one owner, and always the same one, in whatever order the objects arrive.
//!
//! The order: a cluster IP beats a load-balancer address, which beats the API server's address, which beats an external
//! IP, so that a Service cannot take another one's cluster IP by naming it; then the older Service wins; then the
//! smaller name. When the owner goes, the next one takes over.
//!
//! The proxy itself owns the address and port at which it connects to the API server. A Service with these among its
//! external IPs would otherwise receive the proxy's own connections, and the proxy would not learn that the Service was
//! deleted. A cluster IP or a load-balancer address may be the API server's own Service, and wins.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use crate::address::{IpFamily, Protocol};
use crate::event::{Service, ServicePortSpec};
use crate::name::{ObjectName, ServicePortName};

/// A destination of packets to a service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceAddress {
    /// A cluster IP, load-balancer address or external IP, with the port.
    Vip(IpAddr, Protocol, u16),
    /// A port on the node's addresses.
    NodePort(Protocol, u16),
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Vip(ip, protocol, port) => write!(f, "{protocol} {}", SocketAddr::new(ip, port)),
            Self::NodePort(protocol, port) => write!(f, "{protocol} node port {port}"),
        }
    }
}

/// The role of an address in a Service. The smaller one wins a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum AddressRole {
    /// Its cluster IP, assigned by the API server.
    ClusterIp,
    /// Its node port, assigned by the API server.
    NodePort,
    /// An address in its load-balancer status, written by a controller.
    LoadBalancerIp,
    /// The address at which the proxy connects to the API server.
    ApiServer,
    /// One of its external IPs, written by its author.
    ExternalIp,
}

/// A service port that names an address. The smallest one of an address owns it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    role: AddressRole,
    /// Nanoseconds since the epoch; Services without a creation time come last.
    created: u64,
    service_port: ServicePortName,
}

/// The owners of all addresses of one family.
#[derive(Debug, Default)]
pub(crate) struct VipOwners {
    owners: HashMap<ServiceAddress, Owner>,
    /// The next owners of the few addresses that several service ports name.
    next: HashMap<ServiceAddress, BTreeSet<Owner>>,
}

impl VipOwners {
    /// Whether no address has an owner.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.next.is_empty()
    }

    /// The service port that serves `address`.
    pub(crate) fn owner(&self, address: &ServiceAddress) -> Option<&ServicePortName> {
        self.owners.get(address).map(|owner| &owner.service_port)
    }

    /// Adds a service port that names `address`. Returns the conflict with another one, if there is one.
    pub(crate) fn add(&mut self, address: ServiceAddress, new: Owner) -> Option<Conflict> {
        let owner = match self.owners.entry(address) {
            Entry::Vacant(entry) => {
                entry.insert(new);
                return None;
            }
            Entry::Occupied(entry) => entry.into_mut(),
        };
        let ignored = if new < *owner { std::mem::replace(owner, new) } else { new };
        let conflict =
            Conflict { address, owner: owner.service_port.clone(), ignored: ignored.service_port.clone() };
        self.next.entry(address).or_default().insert(ignored);
        (conflict.owner != conflict.ignored).then_some(conflict)
    }

    /// Removes a service port that no longer names `address`. Returns the next owner if it was the owner.
    pub(crate) fn remove(&mut self, address: &ServiceAddress, former: &Owner) -> Option<ServicePortName> {
        let Entry::Occupied(mut owner) = self.owners.entry(*address) else { return None };
        let Some(others) = self.next.get_mut(address) else {
            if owner.get() == former {
                owner.remove();
            }
            return None;
        };
        let next = if owner.get() == former { others.pop_first() } else { None };
        let next_owner = next.as_ref().map(|next| next.service_port.clone());
        match next {
            Some(next) => _ = owner.insert(next),
            None => _ = others.remove(former),
        }
        if others.is_empty() {
            self.next.remove(address);
        }
        next_owner
    }

    /// Makes the capacity sufficient for this many addresses in all.
    pub(crate) fn reserve(&mut self, addresses: usize) {
        self.owners.reserve(addresses.saturating_sub(self.owners.len()));
    }
}

/// Two service ports name the same address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub address: ServiceAddress,
    /// The service port that serves it.
    pub owner: ServicePortName,
    /// The service port that does not, as long as the owner exists.
    pub ignored: ServicePortName,
}

/// The proxy as the owner of the address at which it connects to the API server, in the name of the API server's
/// Service.
pub(crate) fn api_server_owner(socket: SocketAddr) -> (ServiceAddress, Owner) {
    let service = ObjectName::new("default", "kubernetes");
    let service_port = ServicePortName { service, port: "https".into(), protocol: Protocol::Tcp };
    let owner = Owner { role: AddressRole::ApiServer, created: 0, service_port };
    (ServiceAddress::Vip(socket.ip(), Protocol::Tcp, socket.port()), owner)
}

/// The ports of a Service. A manifest may list one twice; the first counts.
pub(crate) fn ports_of(service: &Service) -> impl Iterator<Item = (&ServicePortSpec, ServicePortName)> {
    let mut seen = HashSet::new();
    let is_only = service.ports.len() == 1;
    let ports = service.ports.iter();
    ports.filter(move |spec| is_only || seen.insert((&spec.name, spec.protocol))).map(|spec| {
        let (service, port) = (service.name.clone(), spec.name.clone());
        (spec, ServicePortName { service, port, protocol: spec.protocol })
    })
}

/// The addresses of one Service in one family, each once, in its strongest role. All its ports have the same.
pub(crate) fn addresses_of(service: &Service, family: IpFamily) -> Vec<(IpAddr, AddressRole)> {
    let Some(cluster_ip) = service.cluster_ips[family] else { return Vec::new() };
    let balanced = service.load_balancer_ips.iter().map(|ip| (*ip, AddressRole::LoadBalancerIp));
    let external = service.external_ips.iter().map(|ip| (*ip, AddressRole::ExternalIp));
    let mut addresses = vec![(cluster_ip, AddressRole::ClusterIp)];
    addresses.extend(balanced.chain(external).filter(|(ip, _)| IpFamily::of(*ip) == family));
    if addresses.len() > 1 {
        // The strongest role comes first.
        let mut seen = HashSet::with_capacity(addresses.len());
        addresses.retain(|(ip, _)| seen.insert(*ip));
    }
    addresses
}

/// What one port of a Service with these addresses is reached at, each once.
pub(crate) fn addresses_of_port(
    addresses: &[(IpAddr, AddressRole)],
    spec: &ServicePortSpec,
) -> impl Iterator<Item = (ServiceAddress, AddressRole)> {
    let (protocol, number) = (spec.protocol, spec.port);
    let vips = addresses.iter().map(move |(ip, role)| (ServiceAddress::Vip(*ip, protocol, number), *role));
    let node_port = spec.node_port.filter(|_| !addresses.is_empty());
    vips.chain(node_port.map(|port| (ServiceAddress::NodePort(protocol, port), AddressRole::NodePort)))
}

/// All that `service` is reached at in `family`, each address of a port once, with the owner that it would have.
pub(crate) fn owners_of(service: &Service, family: IpFamily) -> Vec<(ServiceAddress, Owner)> {
    let addresses = addresses_of(service, family);
    let created = service
        .created
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map_or(u64::MAX, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
    let mut owners = Vec::with_capacity(service.ports.len() * (addresses.len() + 1));
    for (spec, service_port) in ports_of(service) {
        let owner = |role| Owner { role, created, service_port: service_port.clone() };
        let of_port = addresses_of_port(&addresses, spec);
        owners.extend(of_port.map(|(address, role)| (address, owner(role))));
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: ServiceAddress = ServiceAddress::NodePort(Protocol::Tcp, 30080);

    fn owner(role: AddressRole, created: u64, name: &str) -> Owner {
        let service = ObjectName::new("ns", name);
        Owner {
            role,
            created,
            service_port: ServicePortName { service, port: "".into(), protocol: Protocol::Tcp },
        }
    }

    #[test]
    fn owner_of_an_address_does_not_depend_on_the_order_of_events() {
        use AddressRole::{ClusterIp, ExternalIp, LoadBalancerIp};
        let cases = [
            ("a cluster IP beats an older external IP", owner(ClusterIp, 9, "b"), owner(ExternalIp, 1, "a")),
            (
                "a load balancer's beats an older external IP",
                owner(LoadBalancerIp, 9, "b"),
                owner(ExternalIp, 1, "a"),
            ),
            ("the older beats the younger", owner(ExternalIp, 1, "b"), owner(ExternalIp, 2, "a")),
            ("a known age beats an unknown one", owner(ExternalIp, 1, "b"), owner(ExternalIp, u64::MAX, "a")),
            ("of one age the smaller name wins", owner(ExternalIp, 1, "a"), owner(ExternalIp, 1, "b")),
        ];
        for (rule, winner, loser) in cases {
            for order in [[&winner, &loser], [&loser, &winner]] {
                let mut owners = VipOwners::default();
                assert_eq!(owners.add(ADDRESS, order[0].clone()), None);
                let conflict = owners.add(ADDRESS, order[1].clone()).expect(rule);
                let expected = (&winner.service_port, &loser.service_port);
                assert_eq!((&conflict.owner, &conflict.ignored), expected, "{rule}");
                assert_eq!(owners.owner(&ADDRESS), Some(&winner.service_port), "{rule}");
            }
        }
    }

    #[test]
    fn next_owner_takes_over_when_the_owner_goes() {
        let [a, b, c] = ["a", "b", "c"].map(|name| owner(AddressRole::ExternalIp, 1, name));
        let mut owners = VipOwners::default();
        for owner in [&b, &c, &a] {
            owners.add(ADDRESS, owner.clone());
        }
        assert_eq!(owners.remove(&ADDRESS, &b), None, "a is still the owner");
        assert_eq!(owners.remove(&ADDRESS, &a), Some(c.service_port.clone()));
        assert_eq!(owners.remove(&ADDRESS, &c), None);
        assert_eq!(owners.owner(&ADDRESS), None);
    }
}
