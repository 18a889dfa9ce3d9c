//! Plans as rules: what kube-proxy's iptables mode keeps in the kernel for them, chain by chain.
//!
//! Pure, and of one piece of a plan at a time. A [`Sink`] is told of chains and their rules and does with
//! them what it likes: writes them, counts them, takes their digests. Rules borrow from the plan.
//!
//! Rules are of four kinds, and whoever keeps them in the kernel treats each in its way:
//!
//! * [`own_chains`]: chains that one service port has for itself, all in the table nat;
//! * [`dispatch`]: its lines in the [`LISTS`], which all service ports share, in any order;
//! * [`last_rules`]: what ends a list, whatever else is in it;
//! * [`fixed_chains`] and [`jumps`]: what is there without any Service.
//!
//! Where a packet goes: a chain of the kernel's → a list → a chain of the service port
//! (`KUBE-SVC-…`, `KUBE-SVL-…`; by addresses from outside the cluster first `KUBE-EXT-…`, before that
//! `KUBE-FW-…` if not everybody may come) → `KUBE-SEP-…`, which changes the destination. What no chain in
//! nat takes is refused or dropped in filter, by the lists there.
//!
//! Holds: a rule leads only to chains of the same table that [`fixed_chains`] or [`own_chains`] tell of, or
//! to a list; and a service port's lines lead only to its own chains.

mod dispatch;
mod endpoints;
mod fixed;
mod jumps;
mod own;
mod port;

use portolan_core::IpFamily;
use portolan_core::plan::{LocalDetector, NodeSettings};

use crate::names::{Chain, Table};
use crate::options::Options;
use crate::rule::{Body, Interface, Is, Mark, Rule};

pub(crate) use dispatch::lines_made_from;
pub use dispatch::{LISTS, dispatch};
pub use fixed::{fixed_chains, last_rules};
pub use jumps::jumps;
pub use own::own_chains;

/// Who is told of rules.
pub trait Sink {
    /// This chain is there; its rules, if it has any, are told next and in order.
    fn chain(&mut self, table: Table, chain: Chain);

    /// This rule is the next in `chain`.
    fn rule(&mut self, table: Table, chain: Chain, rule: &Rule<'_>);
}

/// What rules depend on besides the service port.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The family that all addresses belong to.
    pub family: IpFamily,
    /// What the plan says of the node.
    pub node: &'a NodeSettings,
    /// What holds for this mode alone.
    pub options: &'a Options,
    /// Whether the plan has more than [`LARGE`] endpoints: chains of service ports then do without most
    /// comments.
    pub is_large: bool,
}

/// The endpoints, counted for each service port anew, above which kube-proxy takes a cluster for large.
pub const LARGE: usize = 1000;

impl<'a> Context<'a> {
    /// The mark that asks for masquerading.
    fn mark(&self) -> Mark {
        Mark::bits(self.node.masquerade_mark)
    }

    /// What a packet of a local pod matches, if pods can be told.
    fn by_pods(&self) -> Option<Body<'a>> {
        let interface = |interface| Body { interface: Some(Is::Just(interface)), ..Body::default() };
        Some(match self.node.local_detector.as_ref()? {
            LocalDetector::Cidr(net) => Body { source: Some(Is::Just(*net)), ..Body::default() },
            LocalDetector::Interface(name) => interface(Interface::called(name)),
            LocalDetector::InterfacePrefix(prefix) => interface(Interface::beginning(prefix)),
            _ => return None,
        })
    }

    /// What a packet of anybody else matches, if pods can be told.
    fn by_strangers(&self) -> Option<Body<'a>> {
        let pods = self.by_pods()?;
        let (source, interface) = (pods.source.map(Is::inverted), pods.interface.map(Is::inverted));
        Some(Body { source, interface, ..Body::default() })
    }

    /// Whether node ports answer on loopback addresses.
    fn serves_loopback(&self) -> bool {
        self.options.serves_loopback(self.family, &self.node.node_port_addresses)
    }
}
