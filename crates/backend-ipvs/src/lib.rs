//! Keeps virtual servers, the dummy interface and address sets equal to the plan: `--mode ipvs`.
//!
//! # Packet flow
//!
//! Every address of a Service is an address of the node, on the device `kube-ipvs0`, so that packets to it are
//! delivered to the node, where IPVS waits for them:
//!
//! 1. `nat PREROUTING` (or `OUTPUT`, for what the node sends) leads to `KUBE-SERVICES`, which asks the sets
//!    whether the packet is for a Service and must be masqueraded, and if so marks it.
//! 2. `filter INPUT` (`mangle OUTPUT`) drops packets that the source ranges of a load balancer exclude, and rejects
//!    packets for an address of a Service and no port of one.
//! 3. IPVS finds the virtual server by protocol, address and port, chooses an endpoint and translates the
//!    destination. Without an endpoint it rejects the packet.
//! 4. `nat POSTROUTING` masquerades what is marked, and what an endpoint sends itself.
//!
//! The number of rules is constant; services and endpoints are elements of sets and virtual servers. A change of
//! one endpoint is one netlink message for each address of its Service.
//!
//! # Ownership
//!
//! The device, the sets and the chains by their names, which are kube-proxy's; virtual servers at the device's
//! addresses, and at the node's own as far as the sets list them. Other virtual servers stay as they are.
//!
//! # Modules
//!
//! Pure modules: `wanted` gives what a service port needs, `state` the changes for a change of it, `graceful` the time to
//! remove an endpoint with connections, `sizes` the capacity that sets need, `rejections` the service ports that a
//! rejected change concerns. `adopt` compares the whole plan with the kernel, `rules` renders the rules, [`Kernel`]
//! carries out all of it, and [`stale`] removes it.

mod adopt;
mod backend;
mod changes;
mod factory;
mod graceful;
mod kernel;
mod node_context;
mod rejections;
mod rules;
mod sizes;
pub mod stale;
mod state;
mod use_counts;
mod wanted;

pub use backend::{Clock, IpvsBackend};
pub use changes::Change;
pub use factory::IpvsFactory;
pub use kernel::{Kernel, KernelError, Netlink};
pub use node_context::{HostAddresses, Options};
pub use portolan_ipvs::Timeouts;
