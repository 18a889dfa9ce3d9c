//! Keeps virtual servers, the dummy interface and address sets equal to the plan: `--mode ipvs`.
//!
//! # A packet's way
//!
//! Every address of a Service is an address of the node, on the device `kube-ipvs0`, so that packets to it are
//! delivered to the node, where IPVS waits for them:
//!
//! 1. `nat PREROUTING` (or `OUTPUT`, for what the node sends) leads to `KUBE-SERVICES`, which asks the sets
//!    whether the packet is for a Service and must be masqueraded, and if so marks it.
//! 2. `filter INPUT` (`mangle OUTPUT`) drops what a load balancer's address is not open to, and refuses what is
//!    for an address of a Service and no port of one.
//! 3. IPVS finds the virtual server by protocol, address and port, chooses an endpoint and translates the
//!    destination. Without an endpoint it refuses.
//! 4. `nat POSTROUTING` masquerades what is marked, and what an endpoint sends itself.
//!
//! The number of rules is constant; services and endpoints are elements of sets and virtual servers. A change of
//! one endpoint is one netlink message for each address of its Service.
//!
//! # What is ours
//!
//! The device, the sets and the chains by their names, which are kube-proxy's; virtual servers at the device's
//! addresses, and at the node's own as far as the sets list them. All else stays as it is, other virtual
//! servers included.
//!
//! # Modules
//!
//! `wanted` says what a service port takes, `state` what a change of it takes, `graceful` when an endpoint may
//! go that has connections, `fill` how much room sets need, `refused` whom a refusal concerns: these are pure. `adopt` compares everything. `rules`
//! writes the rules. [`Kernel`] is what all of it is carried out by.

mod adopt;
mod backend;
mod changes;
mod factory;
mod fill;
mod graceful;
mod kernel;
mod options;
mod refused;
mod rules;
pub mod stale;
mod state;
mod surroundings;
mod tally;
mod wanted;

pub use backend::{Clock, IpvsBackend};
pub use changes::Change;
pub use factory::IpvsFactory;
pub use kernel::{Kernel, KernelError, Netlink};
pub use options::Options;
pub use portolan_ipvs::Timeouts;
pub use surroundings::HostAddresses;
