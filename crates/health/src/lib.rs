//! Node health and the HTTP endpoints that tell of it.
//!
//! [`HealthState`] is the judgement, without clock or I/O; [`Health`] shares one
//! between the sync loop, which reports to it, and the servers that answer from
//! it: [`probes`] for kubelet and load balancers, [`service_health`] for load balancers
//! that ask about one Service, [`status`] for people and Prometheus. Paths, headers and
//! bodies are kube-proxy's.
//!
//! Always holds: an address that cannot be listened on is tried again, and ends the process only
//! where that is asked for ([`listen::serve_or_fail`]); an answer reads the state once, so its
//! parts agree.

mod clock;
mod connections;
mod health;
pub mod listen;
pub mod probes;
mod report;
mod response;
pub mod service_health;
mod state;
pub mod status;

pub use clock::{Clock, Moment, SystemClock};
pub use health::Health;
pub use report::{Probe, Report};
pub use state::{HealthState, NodeEligibility};

#[cfg(test)]
mod tests;
