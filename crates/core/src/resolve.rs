//! The decisions about one Service: which endpoints each of its ports may use, and
//! what of its addresses it answers on.
//!
//! Pure functions of the objects, called once per changed Service and family.

use std::sync::Arc;

use crate::address::{IpFamily, Protocol};
use crate::claims::{ClaimKind, Claims, Frontend, granted};
use crate::event::{EndpointSlice, Service, SliceEndpoint};
use crate::name::{Name, ServicePortName};
use crate::plan::{Endpoint, Locality, ServicePort};

/// An endpoint with the port that one service port reaches it on.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The port on the endpoint.
    pub port: u16,
    /// The rest of what its slice says.
    pub endpoint: &'a SliceEndpoint,
}

/// Everything that is said of the ports of `service` in `family`, ready for a plan.
///
/// A port that has lost all its addresses to others is left out.
pub fn service_ports(
    service: &Service,
    family: IpFamily,
    claims: &Claims,
    slices: &[&EndpointSlice],
    node_name: &str,
) -> Vec<(ServicePortName, ServicePort)> {
    let mut ports: Vec<(ServicePortName, ServicePort)> = Vec::with_capacity(service.ports.len());
    for (name, kind, frontend) in granted(service, family, claims) {
        if ports.last().is_none_or(|(last, _)| *last != name) {
            let Some(spec) =
                service.ports.iter().find(|spec| spec.name == name.port && spec.protocol == name.protocol)
            else {
                continue;
            };
            let candidates = merge(slices, &name.port, name.protocol);
            ports.push((
                name,
                ServicePort {
                    port: spec.port,
                    cluster_ip: None,
                    load_balancer_ips: Box::default(),
                    external_ips: Box::default(),
                    node_port: None,
                    cluster_endpoints: cluster_endpoints(&candidates, node_name),
                },
            ));
        }
        if let Some((_, port)) = ports.last_mut() {
            add_frontend(port, kind, frontend);
        }
    }
    ports
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

/// All endpoints that the slices of one Service give for one of its ports, sorted
/// by address and port, each once.
///
/// Where slices disagree about an endpoint, the later one is believed, unless it
/// says that the endpoint is terminating: a pod that was replaced and got the same
/// address is the running one. `slices` come sorted by name, so that "later" does
/// not depend on the order of events.
pub fn merge<'a>(slices: &[&'a EndpointSlice], port_name: &Name, protocol: Protocol) -> Vec<Candidate<'a>> {
    let mut candidates: Vec<Candidate<'a>> = slices
        .iter()
        .flat_map(|slice| {
            slice.ports.iter().filter(|port| port.name == *port_name && port.protocol == protocol).flat_map(
                |port| slice.endpoints.iter().map(|endpoint| Candidate { port: port.port, endpoint }),
            )
        })
        .collect();
    // Stable, so that equal addresses stay in the order of their slices.
    candidates.sort_by_key(|candidate| (candidate.endpoint.address, candidate.port));
    candidates.dedup_by(|later, kept| {
        let same = (later.endpoint.address, later.port) == (kept.endpoint.address, kept.port);
        if same && !later.endpoint.conditions.terminating {
            *kept = *later;
        }
        same
    });
    candidates
}

/// Who receives connections under the Cluster policy: the ready endpoints; with none
/// ready, those that still serve while they terminate (KEP-1669).
fn cluster_endpoints(candidates: &[Candidate<'_>], node_name: &str) -> Arc<[Endpoint]> {
    let select = |usable: fn(&SliceEndpoint) -> bool| -> Arc<[Endpoint]> {
        candidates
            .iter()
            .filter(|candidate| usable(candidate.endpoint))
            .map(|candidate| Endpoint {
                address: candidate.endpoint.address,
                port: candidate.port,
                locality: locality(candidate.endpoint.node.as_deref(), node_name),
            })
            .collect()
    };
    let ready = select(|endpoint| endpoint.conditions.ready);
    if !ready.is_empty() {
        return ready;
    }
    select(|endpoint| endpoint.conditions.serving && endpoint.conditions.terminating)
}

fn locality(node: Option<&str>, this_node: &str) -> Locality {
    match node {
        None => Locality::Unknown,
        Some(node) if node == this_node => Locality::Local,
        Some(_) => Locality::Remote,
    }
}
