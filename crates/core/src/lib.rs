//! The model and its decisions. Pure: no I/O, no clock, no Kubernetes types.
//!
//! [`State`] handles events ([`event`]), keeps the objects compactly and decides what this node must do for each
//! service port. The result is one [`NodePlan`] per IP family and the exact [`ChangeSet`] since the last applied plan. A
//! [`ProxyBackend`] programs it.
//!
//! ```text
//! Event ─▶ State ─▶ resolve ─▶ NodePlan + ChangeSet ─▶ ProxyBackend
//! ```
//!
//! Invariants: after any sequence of events a plan equals the one that a new [`State`] makes from the existing objects;
//! and a [`ChangeSet`] applied to the previous plan gives the current one.

pub mod address;
pub mod backend;
pub mod changes;
pub mod event;
pub mod flows;
pub mod name;
pub mod node;
pub mod plan;
pub mod registry;
mod resolve;
pub mod retry;
mod selection;
pub mod state;
pub mod vip_owners;

pub use address::{IpFamily, PerFamily, Protocol};
pub use backend::{ApplyReport, BackendError, BackendFactory, ProbeFailure, ProxyBackend, ProxyMode};
pub use changes::ChangeSet;
pub use event::Event;
pub use flows::{FlowCheck, FlowCleaner};
pub use name::{Name, ObjectName, ServicePortName};
pub use node::NodeConfig;
pub use plan::{Endpoint, HealthCheck, NodePlan, ServicePort};
pub use registry::Registry;
pub use retry::{Backoff, LogLimiter};
pub use state::State;

/// The version that is reported where kube-proxy reports its own: that of the kube-proxy release whose behaviour
/// Portolan implements, with Portolan's version as build metadata, which semantic versioning does not compare.
pub const GIT_VERSION: &str = concat!("v1.36.2+portolan.", env!("CARGO_PKG_VERSION"));
