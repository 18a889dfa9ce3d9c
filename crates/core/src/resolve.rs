//! The decisions about one Service: which endpoints each of its ports may use, and
//! what of its addresses it answers on.
//!
//! Pure functions of the objects, called once per changed Service and family.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::address::{IpFamily, PerFamily, Protocol};
use crate::claims::{ClaimKind, Claimant, Claims, Frontend, ports_of};
use crate::event::{EndpointSlice, Service, ServicePortSpec, ServiceType, TrafficPolicy};
use crate::health_check::health_check_port;
use crate::name::ServicePortName;
use crate::node::merged;
use crate::plan::ServicePort;
use crate::selection::{Here, Lists, Offers, lingering, select};

/// What decisions depend on besides the Service and its slices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// The family to decide for.
    pub(crate) family: IpFamily,
    /// Who owns which address.
    pub(crate) claims: &'a Claims,
    /// Where this node is.
    pub(crate) here: Here<'a>,
    /// This node's own addresses.
    pub(crate) node_ips: PerFamily<Option<IpAddr>>,
}

/// Everything that is said of the ports of `service` in one family, ready for a plan.
/// `slices` are those of that family.
///
/// A port that has lost all its addresses to others is left out. Where no address can have been won or lost since
/// the ports in `planned` were made, they keep theirs.
pub(crate) fn service_ports(
    service: &Service,
    slices: &[&EndpointSlice],
    surroundings: Surroundings<'_>,
    planned: Option<&HashMap<ServicePortName, Arc<ServicePort>>>,
) -> Vec<(ServicePortName, ServicePort)> {
    let claimant = if planned.is_none() { Claimant::new(service, surroundings.family) } else { None };
    let mut ports: Vec<(ServicePortName, ServicePort)> = Vec::with_capacity(service.ports.len());
    for (spec, name) in ports_of(service) {
        let before = planned.and_then(|planned| planned.get(&name)).map(|port| Addresses::of(port));
        let granted = |claimant| Addresses::granted(claimant, spec, &name, surroundings.claims);
        let addresses = before.or_else(|| claimant.as_ref().map(granted));
        let Some(addresses) = addresses else { continue };
        let port = addresses.into_port(service, spec);
        if port.has_frontend() {
            ports.push((name, port));
        }
    }
    let offers = Offers::of(slices);
    let ranges = merged(&service.load_balancer_source_ranges, surroundings.family);
    for (name, port) in &mut ports {
        fill(name, port, &offers, surroundings.here);
        if !port.load_balancer_ips.is_empty() {
            port.source_ranges = source_ranges(&ranges, port, surroundings);
        }
    }
    ports
}

/// Where one port answers.
struct Addresses {
    cluster_ip: Option<IpAddr>,
    node_port: Option<u16>,
    load_balancer_ips: Arc<[IpAddr]>,
    external_ips: Arc<[IpAddr]>,
}

impl Addresses {
    /// Those that a port in a plan has.
    fn of(port: &ServicePort) -> Self {
        Self {
            cluster_ip: port.cluster_ip,
            node_port: port.node_port,
            load_balancer_ips: Arc::clone(&port.load_balancer_ips),
            external_ips: Arc::clone(&port.external_ips),
        }
    }

    /// Those of its claims that nobody else has a better one to.
    fn granted(claimant: &Claimant, spec: &ServicePortSpec, name: &ServicePortName, claims: &Claims) -> Self {
        let (mut cluster_ip, mut node_port) = (None, None);
        let (mut balanced, mut external) = (Vec::new(), Vec::new());
        for (frontend, kind) in claimant.frontends(spec) {
            if !claims.is_owner(&frontend, name) {
                continue;
            }
            match (kind, frontend) {
                (_, Frontend::NodePort(_, number)) => node_port = Some(number),
                (ClaimKind::ClusterIp, Frontend::Vip(ip, ..)) => cluster_ip = Some(ip),
                (ClaimKind::LoadBalancerIp, Frontend::Vip(ip, ..)) => balanced.push(ip),
                (_, Frontend::Vip(ip, ..)) => external.push(ip),
            }
        }
        balanced.sort_unstable();
        external.sort_unstable();
        Self { cluster_ip, node_port, load_balancer_ips: shared(balanced), external_ips: shared(external) }
    }

    /// A port that has these addresses, and no endpoints yet.
    fn into_port(self, service: &Service, spec: &ServicePortSpec) -> ServicePort {
        ServicePort {
            cluster_ip: self.cluster_ip,
            node_port: self.node_port,
            load_balancer_ips: self.load_balancer_ips,
            external_ips: self.external_ips,
            health_check_node_port: health_check_port(service),
            internal_traffic_policy: service.internal_traffic_policy,
            external_traffic_policy: external_traffic_policy(service),
            session_affinity: service.session_affinity,
            ..ServicePort::new(spec.port)
        }
    }
}

/// The same list, which takes no memory when it is empty.
fn shared(list: Vec<IpAddr>) -> Arc<[IpAddr]> {
    if list.is_empty() { Arc::default() } else { list.into() }
}

/// The policy for traffic from outside; without a way in from there the field means nothing.
pub(crate) fn external_traffic_policy(service: &Service) -> TrafficPolicy {
    if service.service_type == ServiceType::ClusterIp && service.external_ips.is_empty() {
        return TrafficPolicy::Cluster;
    }
    service.external_traffic_policy
}

/// Chooses the endpoints of a port whose addresses are known.
fn fill(name: &ServicePortName, port: &mut ServicePort, offers: &Offers<'_>, here: Here<'_>) {
    let is_internal_local = port.internal_traffic_policy == TrafficPolicy::Local;
    let is_external_local = port.is_external() && port.external_traffic_policy == TrafficPolicy::Local;
    let lists = Lists {
        // What is on this node reaches external addresses by the cluster list, whatever their policy.
        cluster: !is_internal_local || port.is_external(),
        local: is_internal_local || is_external_local,
    };
    let candidates = offers.merge(&name.port, name.protocol, here);
    let selection = select(&candidates, here, lists);
    if name.protocol == Protocol::Udp {
        port.lingering_endpoints = lingering(&candidates, here, &selection);
    }
    (port.cluster_endpoints, port.local_endpoints) = (selection.cluster, selection.local);
    port.unserved = selection.unserved;
}

/// Who may use the load-balancer addresses; empty for everybody.
///
/// What this node sends to such an address comes back to it with that address as source, so the
/// addresses themselves are let in where the node is.
fn source_ranges(ranges: &[IpNet], port: &ServicePort, surroundings: Surroundings<'_>) -> Box<[IpNet]> {
    let family = surroundings.family;
    if ranges.iter().any(|range| range.prefix_len() == 0) {
        return Box::default();
    }
    let loopback: IpAddr = match family {
        IpFamily::V4 => std::net::Ipv4Addr::LOCALHOST.into(),
        IpFamily::V6 => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let node_ip = surroundings.node_ips[family].unwrap_or(loopback);
    if !ranges.iter().any(|range| range.contains(&node_ip)) {
        return ranges.into();
    }
    let vips = port.load_balancer_ips.iter().map(|ip| IpNet::from(*ip));
    merged(&ranges.iter().copied().chain(vips).collect::<Vec<_>>(), family).into()
}
