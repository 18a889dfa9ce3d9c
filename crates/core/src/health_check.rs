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

/// The health check of `service`, if it asks for one: load balancers need to know which nodes
/// have endpoints under `externalTrafficPolicy: Local` alone. `slices` are those of one family.
pub(crate) fn health_check(
    service: &Service,
    slices: &[&EndpointSlice],
    here: Here<'_>,
) -> Option<HealthCheck> {
    let is_asked_for = service.service_type == ServiceType::LoadBalancer
        && service.external_traffic_policy == TrafficPolicy::Local;
    let port = service.health_check_node_port.filter(|port| is_asked_for && *port != 0)?;
    Some(HealthCheck { port, local_endpoints: count_ready_here(slices, here) })
}
