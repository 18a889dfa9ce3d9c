//! What load balancers ask this node about a Service (`healthCheckNodePort`).

use crate::event::{EndpointSlice, Service, ServiceType, TrafficPolicy};
use crate::selection::{Here, count_ready_here};

/// A port that answers whether a load balancer should send a Service's traffic here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// `spec.healthCheckNodePort`.
    pub port: u16,
    /// How many of the Service's ready endpoints are on this node. Terminating ones do not
    /// count, even while they still receive traffic: no more should be sent.
    pub local_endpoints: usize,
}

/// The port where load balancers ask about `service`, if they are to: they need to know which nodes
/// have endpoints under `externalTrafficPolicy: Local` alone.
pub(crate) fn health_check_port(service: &Service) -> Option<u16> {
    let is_asked_for = service.service_type == ServiceType::LoadBalancer
        && service.external_traffic_policy == TrafficPolicy::Local;
    service.health_check_node_port.filter(|port| is_asked_for && *port != 0)
}

/// The health check of `service`, if it asks for one. `slices` are those of one family.
pub(crate) fn health_check(
    service: &Service,
    slices: &[&EndpointSlice],
    here: Here<'_>,
) -> Option<HealthCheck> {
    let port = health_check_port(service)?;
    Some(HealthCheck { port, local_endpoints: count_ready_here(slices, here) })
}
