//! The health of the node's proxy, and its HTTP endpoints.
//!
//! The sync loop updates [`Health`], and the servers read it: [`probes`] for the kubelet and load balancers,
//! [`service_health`] for load balancers of one Service, [`status`] for operators and Prometheus. Paths, headers and
//! bodies are kube-proxy's.
//!
//! Always holds: a server that cannot bind its address tries again, and ends the process only if configured
//! ([`listen::serve_or_fail`]); a response reads the state once, so its parts agree.

mod health;
mod http;
pub mod listen;
pub mod probes;
pub mod service_health;
pub mod status;

pub use health::{Health, NodeEligibility};
pub use probes::{Probe, Report};

#[cfg(test)]
mod tests;
