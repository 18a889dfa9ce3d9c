//! Pure model and decisions: no I/O, no clock, no Kubernetes types.
//!
//! Events go in ([`event`]), [`State`] keeps what they say in compact form and
//! decides per service port what this node must do (`resolve`); out come one
//! [`NodePlan`] per address family and the exact [`ChangeSet`] since the last
//! plan a backend made true. [`ProxyBackend`] is who makes it true.
//!
//! ```text
//! Event ─▶ State ─▶ resolve ─▶ NodePlan + ChangeSet ─▶ ProxyBackend
//! ```
//!
//! Always holds: after any sequence of events a plan equals the one that a fresh
//! [`State`] would reach from the objects that are left; and replaying a
//! [`ChangeSet`] over the previous plan gives the present one.

pub mod address;
pub mod backend;
pub mod changes;
pub mod claims;
pub mod event;
pub mod flows;
pub mod health_check;
pub mod name;
pub mod node;
pub mod plan;
pub mod registry;
mod resolve;
pub mod retry;
mod room;
mod selection;
pub mod state;
mod version;

pub use address::{IpFamily, PerFamily, Protocol};
pub use backend::{ApplyReport, BackendError, BackendFactory, ProbeFailure, ProxyBackend, ProxyMode};
pub use changes::ChangeSet;
pub use event::Event;
pub use flows::{FlowCheck, FlowCleaner};
pub use health_check::HealthCheck;
pub use name::{Name, ObjectName, ServicePortName};
pub use node::NodeConfig;
pub use plan::{Endpoint, NodePlan, ServicePort};
pub use registry::Registry;
pub use retry::{Backoff, LogLimiter};
pub use state::State;
pub use version::GIT_VERSION;
