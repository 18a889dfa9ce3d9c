//! The ipvs mode: keeps virtual servers, a dummy interface and address sets equal to the plan.
//!
//! # Packet flow
//!
//! Every address of a Service is an address of the node, on the device `kube-ipvs0`. So packets to it are delivered to
//! the node, where IPVS gets them:
//!
//! 1. `nat PREROUTING` (`OUTPUT` for packets of the node) jumps to `KUBE-SERVICES`. It marks packets that the sets list
//!    as being for a Service and that must be masqueraded.
//! 2. `filter INPUT` (`mangle OUTPUT`) drops packets that the source ranges of a load balancer exclude, and rejects
//!    packets for an address of a Service and no port of one.
//! 3. IPVS finds the virtual server by protocol, address and port, chooses an endpoint and translates the
//!    destination. Without an endpoint it rejects the packet.
//! 4. `nat POSTROUTING` masquerades marked packets, and those from an endpoint to itself.
//!
//! The number of rules is constant; services and endpoints are elements of sets and virtual servers. A change of
//! one endpoint is one netlink message for each address of its Service.
//!
//! # Ownership
//!
//! Ours are: the device, the sets and the chains, by their names, which are kube-proxy's; virtual servers at the device's
//! addresses, and those at the node's own addresses that the sets list. Other virtual servers are not changed.
//!
//! # Modules
//!
//! | step | module |
//! |---|---|
//! | What a service port needs | `wanted` |
//! | A change: the difference to what is programmed | `state`, with `use_counts`, `sizes` and `graceful` |
//! | A full sync: the difference to what the kernel has | `adopt` |
//! | The order of changes; those that the kernel rejected | `changes`, `rejections` |
//! | The rules | `rules` |
//! | Reading and changing the kernel | [`Kernel`] |
//! | Removal | [`stale`] |

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
