//! Renders a plan as the rules that kube-proxy's iptables mode has for it.
//!
//! Pure, and for one part of a plan at a time. Rules are values that borrow from the plan; who calls this writes,
//! counts or hashes them.
//!
//! There are four kinds of rules, and the backend updates each kind in its own way:
//!
//! * [`own_chains`]: chains of one service port, all in the table nat;
//! * [`list_rules`]: its rules in the [`LISTS`], which all service ports share, in any order;
//! * [`last_rules`]: the rules that end a list, whatever else is in it;
//! * [`fixed_chains`] and [`jumps`]: what exists without any Service.
//!
//! The path of a packet: a built-in chain → a list → a chain of the service port (`KUBE-SVC-…` or `KUBE-SVL-…`;
//! for addresses from outside the cluster first `KUBE-EXT-…`, before that `KUBE-FW-…` if source ranges restrict
//! it) → `KUBE-SEP-…`, which changes the destination. The lists in filter reject or drop what no chain in nat
//! translates.
//!
//! Invariant: a rule jumps only to chains of the same table, from [`fixed_chains`] or [`own_chains`], or to a list;
//! the rules of a service port in lists jump only to its own chains.

mod fixed;
mod lists;
mod own;
mod port;

use portolan_core::IpFamily;
use portolan_core::plan::{LocalDetector, NodeSettings};

use crate::options::Options;
use crate::rule::{Body, Interface, Is, Mark};

pub use fixed::{FixedChain, fixed_chains, jumps, last_rules};
pub use lists::{LISTS, ListRule, list_rules};
pub use own::own_chains;

/// What rules depend on besides the service port.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The family of all addresses.
    pub family: IpFamily,
    /// The plan's settings of the node.
    pub node: &'a NodeSettings,
    /// Settings of this mode.
    pub options: &'a Options,
    /// Whether the plan has more than [`LARGE`] endpoints. Chains of service ports then go without most comments.
    pub is_large: bool,
}

/// The number of endpoints, summed over service ports, above which kube-proxy considers a cluster large.
pub const LARGE: usize = 1000;

impl<'a> Context<'a> {
    /// The mark that requests masquerading.
    fn mark(&self) -> Mark {
        Mark::bits(self.node.masquerade_mark)
    }

    /// Matches packets of local pods, if a detector is configured.
    fn matching_pods(&self) -> Option<Body<'a>> {
        let interface = |interface| Body { interface: Some(Is::Just(interface)), ..Body::default() };
        Some(match self.node.local_detector.as_ref()? {
            LocalDetector::Cidr(net) => Body { source: Some(Is::Just(*net)), ..Body::default() },
            LocalDetector::Interface(name) => interface(Interface::parse(name)),
            LocalDetector::InterfacePrefix(prefix) => interface(Interface::with_prefix(prefix)),
            _ => return None,
        })
    }

    /// Matches packets that are not from local pods, if a detector is configured.
    fn matching_others(&self) -> Option<Body<'a>> {
        let pods = self.matching_pods()?;
        let (source, interface) = (pods.source.map(Is::inverted), pods.interface.map(Is::inverted));
        Some(Body { source, interface, ..Body::default() })
    }

    /// Whether node ports answer on loopback addresses.
    fn serves_loopback(&self) -> bool {
        self.options.serves_loopback(self.family, &self.node.node_port_addresses)
    }
}
