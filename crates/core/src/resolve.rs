//! The decisions about one Service: which endpoints each of its ports may use, and
//! what of its addresses it answers on.
//!
//! Pure functions of the objects, called once per changed Service and family.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::{IpFamily, PerFamily, Protocol};
use crate::claims::{ClaimKind, Claims, Frontend, granted};
use crate::event::{EndpointSlice, Service, ServiceType, TrafficPolicy};
use crate::health_check::health_check_port;
use crate::name::ServicePortName;
use crate::node::merged;
use crate::plan::ServicePort;
use crate::selection::{Here, Lists, lingering, merge, select};

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
/// A port that has lost all its addresses to others is left out.
pub(crate) fn service_ports(
    service: &Service,
    slices: &[&EndpointSlice],
    surroundings: Surroundings<'_>,
) -> Vec<(ServicePortName, ServicePort)> {
    let mut ports: Vec<(ServicePortName, ServicePort)> = Vec::with_capacity(service.ports.len());
    for (name, kind, frontend) in granted(service, surroundings.family, surroundings.claims) {
        if ports.last().is_none_or(|(last, _)| *last != name) {
            let Some(spec) =
                service.ports.iter().find(|spec| spec.name == name.port && spec.protocol == name.protocol)
            else {
                continue;
            };
            ports.push((name, bare(service, spec.port)));
        }
        if let Some((_, port)) = ports.last_mut() {
            add_frontend(port, kind, frontend);
        }
    }
    for (name, port) in &mut ports {
        fill(name, port, slices, surroundings.here);
        if !port.load_balancer_ips.is_empty() {
            port.source_ranges = source_ranges(service, port, surroundings);
        }
    }
    ports
}

/// A port without addresses and endpoints.
fn bare(service: &Service, port: u16) -> ServicePort {
    ServicePort {
        health_check_node_port: health_check_port(service),
        internal_traffic_policy: service.internal_traffic_policy,
        external_traffic_policy: external_traffic_policy(service),
        session_affinity: service.session_affinity,
        ..ServicePort::new(port)
    }
}

/// The policy for traffic from outside; without a way in from there the field means nothing.
pub(crate) fn external_traffic_policy(service: &Service) -> TrafficPolicy {
    if service.service_type == ServiceType::ClusterIp && service.external_ips.is_empty() {
        return TrafficPolicy::Cluster;
    }
    service.external_traffic_policy
}

/// Chooses the endpoints of a port whose addresses are known.
fn fill(name: &ServicePortName, port: &mut ServicePort, slices: &[&EndpointSlice], here: Here<'_>) {
    let is_internal_local = port.internal_traffic_policy == TrafficPolicy::Local;
    let is_external_local = port.is_external() && port.external_traffic_policy == TrafficPolicy::Local;
    let lists = Lists {
        // What is on this node reaches external addresses by the cluster list, whatever their policy.
        cluster: !is_internal_local || port.is_external(),
        local: is_internal_local || is_external_local,
    };
    let candidates = merge(slices, &name.port, name.protocol);
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
fn source_ranges(service: &Service, port: &ServicePort, surroundings: Surroundings<'_>) -> Box<[IpNet]> {
    let family = surroundings.family;
    let ranges = merged(&service.load_balancer_source_ranges, family);
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

fn add_frontend(port: &mut ServicePort, kind: ClaimKind, frontend: Frontend) {
    match (kind, frontend) {
        (_, Frontend::NodePort(_, number)) => port.node_port = Some(number),
        (ClaimKind::ClusterIp, Frontend::Vip(ip, ..)) => port.cluster_ip = Some(ip),
        (ClaimKind::LoadBalancerIp, Frontend::Vip(ip, ..)) => insert(&mut port.load_balancer_ips, ip),
        (_, Frontend::Vip(ip, ..)) => insert(&mut port.external_ips, ip),
    }
}

fn insert<T: Ord>(list: &mut Box<[T]>, item: T) {
    let mut items = std::mem::take(list).into_vec();
    items.push(item);
    items.sort_unstable();
    *list = items.into_boxed_slice();
}
