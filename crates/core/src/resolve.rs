//! The decisions about one Service: the addresses of each port, its endpoints, and its health check.
//!
//! Pure functions of the objects, called once per changed Service and family.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::address::{IpFamily, PerFamily, Protocol};
use crate::event::{EndpointSlice, Service, ServicePortSpec, ServiceType, TrafficPolicy};
use crate::name::ServicePortName;
use crate::node::merged;
use crate::plan::{HealthCheck, ServicePort};
use crate::selection::{Lists, SlicePorts, Topology, count_ready_local, draining, select};
use crate::vip_owners::{AddressRole, ServiceAddress, VipOwners, addresses_of, addresses_of_port, ports_of};

/// What decisions depend on besides the Service and its slices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The family to decide for.
    pub(crate) family: IpFamily,
    /// The owners of addresses.
    pub(crate) owners: &'a VipOwners,
    /// The place of this node in the cluster.
    pub(crate) topology: Topology<'a>,
    /// This node's IPs.
    pub(crate) node_ips: PerFamily<Option<IpAddr>>,
}

/// The ports of `service` in one family as the plan has them. `slices` are those of that family.
///
/// A port that owns no address is left out. If no owner of an address can have changed since `planned` was made, ports
/// keep the addresses that they have there.
pub(crate) fn service_ports(
    service: &Service,
    slices: &[&EndpointSlice],
    context: Context<'_>,
    planned: Option<&HashMap<ServicePortName, Arc<ServicePort>>>,
) -> Vec<(ServicePortName, ServicePort)> {
    let addresses = if planned.is_none() { addresses_of(service, context.family) } else { Vec::new() };
    let mut ports: Vec<(ServicePortName, ServicePort)> = Vec::with_capacity(service.ports.len());
    for (spec, name) in ports_of(service) {
        let mut port = ServicePort {
            health_check_node_port: health_check_port(service),
            internal_traffic_policy: service.internal_traffic_policy,
            external_traffic_policy: external_traffic_policy(service),
            session_affinity: service.session_affinity,
            ..ServicePort::new(spec.port)
        };
        match planned.map(|planned| planned.get(&name)) {
            Some(Some(known)) => {
                port.cluster_ip = known.cluster_ip;
                port.node_port = known.node_port;
                port.load_balancer_ips = Arc::clone(&known.load_balancer_ips);
                port.external_ips = Arc::clone(&known.external_ips);
            }
            Some(None) => {}
            None => set_owned_addresses(&mut port, &addresses, spec, &name, context.owners),
        }
        if port.has_address() {
            ports.push((name, port));
        }
    }
    let slice_ports = SlicePorts::of(slices);
    let ranges = merged(&service.load_balancer_source_ranges, context.family);
    for (name, port) in &mut ports {
        set_endpoints(name, port, &slice_ports, context.topology);
        if !port.load_balancer_ips.is_empty() {
            port.source_ranges = source_ranges(&ranges, port, context);
        }
    }
    ports
}

/// Gives `port` those of the Service's addresses that it owns.
fn set_owned_addresses(
    port: &mut ServicePort,
    addresses: &[(IpAddr, AddressRole)],
    spec: &ServicePortSpec,
    name: &ServicePortName,
    owners: &VipOwners,
) {
    let (mut balanced, mut external) = (Vec::new(), Vec::new());
    for (address, role) in addresses_of_port(addresses, spec) {
        if owners.owner(&address) != Some(name) {
            continue;
        }
        match (role, address) {
            (_, ServiceAddress::NodePort(_, number)) => port.node_port = Some(number),
            (AddressRole::ClusterIp, ServiceAddress::Vip(ip, ..)) => port.cluster_ip = Some(ip),
            (AddressRole::LoadBalancerIp, ServiceAddress::Vip(ip, ..)) => balanced.push(ip),
            (_, ServiceAddress::Vip(ip, ..)) => external.push(ip),
        }
    }
    balanced.sort_unstable();
    external.sort_unstable();
    (port.load_balancer_ips, port.external_ips) = (shared(balanced), shared(external));
}

/// A shared list, without an allocation if it is empty.
fn shared(list: Vec<IpAddr>) -> Arc<[IpAddr]> {
    if list.is_empty() { Arc::default() } else { list.into() }
}

/// The policy for external traffic. The API ignores the field of a Service without external addresses.
pub(crate) fn external_traffic_policy(service: &Service) -> TrafficPolicy {
    if service.service_type == ServiceType::ClusterIp && service.external_ips.is_empty() {
        return TrafficPolicy::Cluster;
    }
    service.external_traffic_policy
}

/// Selects the endpoints of a port whose addresses are set.
fn set_endpoints(
    name: &ServicePortName,
    port: &mut ServicePort,
    slices: &SlicePorts<'_>,
    topology: Topology<'_>,
) {
    let is_internal_local = port.internal_traffic_policy == TrafficPolicy::Local;
    let is_external_local = port.is_external() && port.external_traffic_policy == TrafficPolicy::Local;
    let lists = Lists {
        // Local clients of external addresses use the cluster list under every policy.
        cluster: !is_internal_local || port.is_external(),
        local: is_internal_local || is_external_local,
    };
    let candidates = slices.merge(&name.port, name.protocol, topology);
    let selection = select(&candidates, topology, lists);
    if name.protocol == Protocol::Udp {
        port.draining_endpoints = draining(&candidates, topology, &selection);
    }
    (port.cluster_endpoints, port.local_endpoints) = (selection.cluster, selection.local);
    port.unserved = selection.unserved;
}

/// The clients that may use the load-balancer addresses; empty means all.
///
/// A connection from this node to such an address has that address as its source, so if the ranges contain the node's
/// IP they must contain the addresses, too.
fn source_ranges(ranges: &[IpNet], port: &ServicePort, context: Context<'_>) -> Box<[IpNet]> {
    let family = context.family;
    if ranges.iter().any(|range| range.prefix_len() == 0) {
        return Box::default();
    }
    let loopback: IpAddr = match family {
        IpFamily::V4 => std::net::Ipv4Addr::LOCALHOST.into(),
        IpFamily::V6 => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let node_ip = context.node_ips[family].unwrap_or(loopback);
    if !ranges.iter().any(|range| range.contains(&node_ip)) {
        return ranges.into();
    }
    let vips = port.load_balancer_ips.iter().map(|ip| IpNet::from(*ip));
    merged(&ranges.iter().copied().chain(vips).collect::<Vec<_>>(), family).into()
}

/// The health-check node port of `service`, if it is used: for type LoadBalancer with `externalTrafficPolicy: Local`.
fn health_check_port(service: &Service) -> Option<u16> {
    let is_used = service.service_type == ServiceType::LoadBalancer
        && service.external_traffic_policy == TrafficPolicy::Local;
    service.health_check_node_port.filter(|port| is_used && *port != 0)
}

/// The health check of `service`, if it has one. `slices` are those of one family.
pub(crate) fn health_check(
    service: &Service,
    slices: &[&EndpointSlice],
    topology: Topology<'_>,
) -> Option<HealthCheck> {
    let port = health_check_port(service)?;
    Some(HealthCheck { port, local_endpoints: count_ready_local(slices, topology) })
}
