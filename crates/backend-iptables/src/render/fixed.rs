//! Chains that do not depend on Services, and the ends of lists.

use ipnet::IpNet;
use portolan_core::plan::NodePortAddresses;

use super::{Context, Sink};
use crate::comment::Comment;
use crate::names::{Chain, Fixed, Table};
use crate::options::{INVALID_DROPPED, loopback};
use crate::rule::{Body, Is, Mark, Rule, States, Target};

/// The chains without which no rule works, each with all its rules, and the canaries.
///
/// The [`LISTS`](super::LISTS) are not among them. `KUBE-FIREWALL` is among them only where node ports
/// answer on loopback addresses, since it is the kubelet's as well.
pub fn fixed_chains(cx: &Context<'_>, sink: &mut impl Sink) {
    for table in Table::ALL {
        sink.chain(table, Chain::Fixed(Fixed::Canary));
    }
    forward(cx, sink);
    if cx.serves_loopback() {
        firewall(cx, sink);
    }
    masquerading(cx, sink);
}

fn told(sink: &mut impl Sink, table: Table, chain: Fixed, rules: &[Rule<'_>]) {
    let chain = Chain::Fixed(chain);
    sink.chain(table, chain);
    for rule in rules {
        sink.rule(table, chain, rule);
    }
}

fn rule<'a>(comment: &'a str, body: Body<'a>, target: Target) -> Rule<'a> {
    let comment = if comment.is_empty() { Comment::None } else { Comment::Text(comment) };
    Rule { comment, body: Body { target: Some(target), ..body } }
}

fn in_state(state: Is<States>) -> Body<'static> {
    Body { state: Some(state), ..Body::default() }
}

fn marked(mark: Is<Mark>) -> Body<'static> {
    Body { mark: Some(mark), ..Body::default() }
}

/// What goes through this node for a Service goes through, whatever others think of forwarding.
fn forward(cx: &Context<'_>, sink: &mut impl Sink) {
    let counter = cx.options.counters.invalid_dropped.then_some(INVALID_DROPPED);
    let invalid = Body { counter, ..in_state(Is::Just(States::INVALID)) };
    let known = in_state(Is::Just(States::RELATED.or(States::ESTABLISHED)));
    let rules = [
        // A packet that connection tracking makes nothing of is not translated back, and its receiver would
        // end the connection over it (kubernetes issue 74839).
        rule("", invalid, Target::Drop),
        rule("kubernetes forwarding rules", marked(Is::Just(cx.mark())), Target::Accept),
        rule("kubernetes forwarding conntrack rule", known, Target::Accept),
    ];
    let unwanted = usize::from(!cx.options.drop_invalid);
    told(sink, Table::Filter, Fixed::Forward, &rules[unwanted..]);
}

/// Loopback addresses that are routed let neighbours reach what listens there, unless this keeps them out.
fn firewall(cx: &Context<'_>, sink: &mut impl Sink) {
    let loopback = loopback(cx.family);
    let known = States::RELATED.or(States::ESTABLISHED).or(States::DNAT);
    let body = Body {
        destination: Some(Is::Just(loopback)),
        source: Some(Is::Not(loopback)),
        ..in_state(Is::Not(known))
    };
    let rules = [rule("block incoming localnet connections", body, Target::Drop)];
    told(sink, Table::Filter, Fixed::Firewall, &rules);
}

/// Marks what is to be masqueraded, and does it later, when it is known by which address it leaves.
fn masquerading(cx: &Context<'_>, sink: &mut impl Sink) {
    let Mark { value, mask } = cx.mark();
    let masquerade = Target::Masquerade { random_fully: cx.options.random_fully };
    let unmark = Target::SetXmark(Mark { value, mask: 0 });
    let rules = [
        rule("", marked(Is::Not(cx.mark())), Target::Return),
        // A packet that meets these rules again must not be masqueraded again.
        rule("", Body::default(), unmark),
        rule("kubernetes service traffic requiring SNAT", Body::default(), masquerade),
    ];
    told(sink, Table::Nat, Fixed::Postrouting, &rules);
    let rules = [rule("", Body::default(), Target::SetXmark(Mark { value, mask }))];
    told(sink, Table::Nat, Fixed::MarkMasq, &rules);
}

/// What each list ends with, after the lines of all service ports: node ports in nat's `KUBE-SERVICES`,
/// which have no addresses of their own and so come last.
///
/// kube-proxy looks up which local addresses are in the configured ranges and has a rule for each. Here a
/// rule is for a range and asks whether the address is local, so addresses may come and go.
pub fn last_rules(cx: &Context<'_>, sink: &mut impl Sink) {
    let loopback = loopback(cx.family);
    let mut last = |destination: Option<Is<IpNet>>, target: Target| {
        let body = Body { to_this_node: true, destination, ..Body::default() };
        let comment = "kubernetes service nodeports; NOTE: this must be the last rule in this chain";
        sink.rule(Table::Nat, Chain::Fixed(Fixed::Services), &rule(comment, body, target));
    };
    let node_ports = Target::Jump(Chain::Fixed(Fixed::NodePorts));
    let nets = match &cx.node.node_port_addresses {
        NodePortAddresses::All if cx.serves_loopback() => return last(None, node_ports),
        NodePortAddresses::All => return last(Some(Is::Not(loopback)), node_ports),
        NodePortAddresses::Within(nets) => nets,
    };
    let is_answered = |net: &&IpNet| cx.serves_loopback() || !loopback.contains(*net);
    if !cx.serves_loopback() && nets.iter().filter(is_answered).any(|net| net.contains(&loopback)) {
        last(Some(Is::Just(loopback)), Target::Return);
    }
    for net in nets.iter().filter(is_answered) {
        last(Some(Is::Just(*net)), node_ports);
    }
}
