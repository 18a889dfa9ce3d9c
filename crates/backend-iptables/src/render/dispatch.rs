//! The lines of a service port in the lists that all share: which of its chains takes packets to which of
//! its addresses, and what becomes of those that none takes.

use portolan_core::plan::ServicePort;
use portolan_core::{Protocol, ServicePortName};

use super::port::Port;
use super::{Context, Sink};
use crate::comment::Comment;
use crate::names::{Chain, Fixed, Kind, Table};
use crate::options::{LOCALHOST_ACCEPTED, loopback};
use crate::rule::{Body, Is, Rule, Target};

/// The chains that [`dispatch`] writes into. Those of a table are independent of those of the other.
pub const LISTS: [(Table, Fixed); 6] = [
    (Table::Filter, Fixed::Services),
    (Table::Filter, Fixed::ExternalServices),
    (Table::Filter, Fixed::NodePorts),
    (Table::Filter, Fixed::ProxyFirewall),
    (Table::Nat, Fixed::Services),
    (Table::Nat, Fixed::NodePorts),
];

/// The lines of a service port in the [`LISTS`].
///
/// No packet matches the lines of two service ports, so these may stand in any order. Those of one, in one
/// list, stay in theirs: a node port is counted first and then taken.
pub fn dispatch(cx: &Context<'_>, name: &ServicePortName, port: &ServicePort, sink: &mut impl Sink) {
    let port = Port::new(cx, name, port);
    cluster_ip(&port, sink);
    external_ips(&port, sink);
    load_balancer_ips(&port, sink);
    node_port(&port, sink);
    health_check(&port, sink);
}

/// All that the lines of a service port are made from: where it is equal, so are they.
pub(crate) fn lines_made_from<'a>(
    cx: &'a Context<'a>,
    name: &'a ServicePortName,
    plan: &'a ServicePort,
) -> impl PartialEq + 'a {
    let port = Port::new(cx, name, plan);
    let addresses = (plan.port, plan.cluster_ip, &plan.load_balancer_ips, &plan.external_ips);
    let ports = (plan.node_port, plan.health_check_node_port);
    (addresses, ports, port.internal_chain(), port.external_chain(), port.is_served(), port.is_guarded())
}

/// The place of a line.
fn line<'a>(
    sink: &mut impl Sink,
    list: (Table, Fixed),
    comment: Comment<'a>,
    body: Body<'a>,
    target: impl Into<Target>,
) {
    let body = Body { target: Some(target.into()), ..body };
    sink.rule(list.0, Chain::Fixed(list.1), &Rule { comment, body });
}

fn cluster_ip(port: &Port<'_>, sink: &mut impl Sink) {
    let Some(address) = port.plan.cluster_ip else { return };
    if let Some(chain) = port.internal_chain() {
        line(sink, (Table::Nat, Fixed::Services), port.says(" cluster IP"), port.at(address), chain);
    } else {
        let (target, comment) = port.refusal();
        line(sink, (Table::Filter, Fixed::Services), comment, port.at(address), target);
    }
}

fn external_ips(port: &Port<'_>, sink: &mut impl Sink) {
    for address in &*port.plan.external_ips {
        let body = port.at(*address);
        if port.is_served() {
            let chain = port.chain(Kind::External);
            line(sink, (Table::Nat, Fixed::Services), port.says(" external IP"), body, chain);
        }
        refuse_from_outside(port, body, sink);
    }
}

fn load_balancer_ips(port: &Port<'_>, sink: &mut impl Sink) {
    let (kind, is_guarded) = if port.is_guarded() { (Kind::Firewall, true) } else { (Kind::External, false) };
    for address in &*port.plan.load_balancer_ips {
        let body = port.at(*address);
        if port.is_served() {
            let chain = port.chain(kind);
            line(sink, (Table::Nat, Fixed::Services), port.says(" loadbalancer IP"), body, chain);
            if is_guarded {
                let comment = Comment::NotAccepted(port.name, chain);
                line(sink, (Table::Filter, Fixed::ProxyFirewall), comment, body, Target::Drop);
            }
        }
        refuse_from_outside(port, body, sink);
    }
}

fn node_port(port: &Port<'_>, sink: &mut impl Sink) {
    let Some(number) = port.plan.node_port else { return };
    let body = port.at_port(number);
    if port.is_served() {
        let chain = port.chain(Kind::External);
        let list = (Table::Nat, Fixed::NodePorts);
        if port.cx.serves_loopback() && port.cx.options.counters.localhost_accepted {
            let destination = Some(Is::Just(loopback(port.cx.family)));
            let counted = Body { destination, counter: Some(LOCALHOST_ACCEPTED), ..body };
            line(sink, list, port.says(""), counted, chain);
        }
        line(sink, list, port.says(""), body, chain);
    }
    refuse_from_outside(port, Body { to_this_node: true, ..body }, sink);
}

/// Where the policy for traffic from outside leaves nobody to lead it to.
fn refuse_from_outside(port: &Port<'_>, body: Body<'_>, sink: &mut impl Sink) {
    if port.external_chain().is_none() {
        let (target, comment) = port.refusal();
        line(sink, (Table::Filter, Fixed::ExternalServices), comment, body, target);
    }
}

/// Load balancers may ask on this node whether it has endpoints, whatever else is kept out of it.
fn health_check(port: &Port<'_>, sink: &mut impl Sink) {
    let Some(number) = port.plan.health_check_node_port else { return };
    let body = Body { protocol: Some(Protocol::Tcp), ..port.at_port(number) };
    let comment = port.says(" health check node port");
    line(sink, (Table::Filter, Fixed::NodePorts), comment, body, Target::Accept);
}
