//! The rules of a service port in the lists that all service ports share: which of its chains serves which of its
//! addresses, and what happens to packets that none serves.

use std::net::IpAddr;

use portolan_core::plan::ServicePort;
use portolan_core::{Protocol, ServicePortName};

use super::Context;
use super::port::Port;
use crate::comment::Comment;
use crate::names::{Fixed, Kind, Table};
use crate::options::{LOCALHOST_ACCEPTED, loopback};
use crate::rule::{Body, Is, Rule, Target};

/// The chains that hold [`list_rules`]. Those of one table are independent of those of the other.
pub const LISTS: [(Table, Fixed); 6] = [
    (Table::Filter, Fixed::Services),
    (Table::Filter, Fixed::ExternalServices),
    (Table::Filter, Fixed::NodePorts),
    (Table::Filter, Fixed::ProxyFirewall),
    NAT_SERVICES,
    NAT_NODE_PORTS,
];

const NAT_SERVICES: (Table, Fixed) = (Table::Nat, Fixed::Services);
const NAT_NODE_PORTS: (Table, Fixed) = (Table::Nat, Fixed::NodePorts);

/// A rule in one of the [`LISTS`].
#[derive(Debug, Clone, Copy)]
pub struct ListRule<'a> {
    /// The table.
    pub table: Table,
    /// The list.
    pub list: Fixed,
    /// The rule.
    pub rule: Rule<'a>,
}

/// The rules of a service port in the [`LISTS`].
///
/// No packet matches rules of two service ports, so their order means nothing. The rules of one service port keep
/// theirs within a list: the first for a node port counts, the second serves it.
pub fn list_rules<'a>(
    cx: &Context<'a>,
    name: &'a ServicePortName,
    port: &'a ServicePort,
) -> Vec<ListRule<'a>> {
    let mut rules = Rules { port: Port::new(cx, name, port), rules: Vec::new() };
    rules.cluster_ip();
    rules.external_ips();
    rules.load_balancer_ips();
    rules.node_port();
    rules.health_check();
    rules.rules
}

struct Rules<'a> {
    port: Port<'a>,
    rules: Vec<ListRule<'a>>,
}

impl<'a> Rules<'a> {
    fn add(
        &mut self,
        (table, list): (Table, Fixed),
        comment: Comment<'a>,
        body: Body<'a>,
        target: impl Into<Target>,
    ) {
        let body = Body { target: Some(target.into()), ..body };
        self.rules.push(ListRule { table, list, rule: Rule { comment, body } });
    }

    fn cluster_ip(&mut self) {
        let port = self.port;
        let Some(address) = port.plan.cluster_ip else { return };
        if let Some(chain) = port.internal_chain() {
            self.add(NAT_SERVICES, port.comment(" cluster IP"), port.at(address), chain);
        } else {
            let (target, comment) = port.unserved();
            self.add((Table::Filter, Fixed::Services), comment, port.at(address), target);
        }
    }

    fn external_ips(&mut self) {
        let port = self.port;
        for address in &*port.plan.external_ips {
            self.serve(*address, " external IP", Kind::External);
            self.reject_external(port.at(*address));
        }
    }

    fn load_balancer_ips(&mut self) {
        let port = self.port;
        let is_restricted = port.has_source_ranges();
        let kind = if is_restricted { Kind::Firewall } else { Kind::External };
        for address in &*port.plan.load_balancer_ips {
            self.serve(*address, " loadbalancer IP", kind);
            if is_restricted && port.is_served() {
                let comment = Comment::NotAccepted(port.name, port.chain(kind));
                self.add((Table::Filter, Fixed::ProxyFirewall), comment, port.at(*address), Target::Drop);
            }
            self.reject_external(port.at(*address));
        }
    }

    /// Jumps to the chain of this kind from an address from outside the cluster.
    fn serve(&mut self, address: IpAddr, comment: &'static str, kind: Kind) {
        let port = self.port;
        if port.is_served() {
            self.add(NAT_SERVICES, port.comment(comment), port.at(address), port.chain(kind));
        }
    }

    fn node_port(&mut self) {
        let port = self.port;
        let Some(number) = port.plan.node_port else { return };
        let body = port.at_port(number);
        if port.is_served() {
            let chain = port.chain(Kind::External);
            if port.cx.serves_loopback() && port.cx.options.counters.localhost_accepted {
                let destination = Some(Is::Just(loopback(port.cx.family)));
                let counted = Body { destination, counter: Some(LOCALHOST_ACCEPTED), ..body };
                self.add(NAT_NODE_PORTS, port.comment(""), counted, chain);
            }
            self.add(NAT_NODE_PORTS, port.comment(""), body, chain);
        }
        self.reject_external(Body { to_this_node: true, ..body });
    }

    /// Rejects or drops packets if the external traffic policy leaves no endpoint for them.
    fn reject_external(&mut self, body: Body<'a>) {
        if self.port.external_chain().is_none() {
            let (target, comment) = self.port.unserved();
            self.add((Table::Filter, Fixed::ExternalServices), comment, body, target);
        }
    }

    /// Accepts the health checks of load balancers, whatever other rules of the host drop.
    fn health_check(&mut self) {
        let port = self.port;
        let Some(number) = port.plan.health_check_node_port else { return };
        let body = Body { protocol: Some(Protocol::Tcp), ..port.at_port(number) };
        let comment = port.comment(" health check node port");
        self.add((Table::Filter, Fixed::NodePorts), comment, body, Target::Accept);
    }
}
