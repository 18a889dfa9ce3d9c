//! The chains that are not made for services, and their rules.

use portolan_core::plan::{NodePortAddresses, NodeSettings};
use portolan_core::{IpFamily, Protocol};
use portolan_nft::{
    Chain, ChainKind, Hook, MatchOp, PRIORITY_DSTNAT, PRIORITY_FILTER, PRIORITY_SRCNAT, Rule, Selector,
    Statement,
};

use super::condition::{is_local, is_new, is_protocol, listed, not_to_loopback, translated};
use super::{Container, IGNORE, NODEPORT_IPS, REFUSE, SERVICE_CIDRS};

const SERVICES: &str = "services";
const CLUSTER_IP_CHECK: &str = "cluster-ip-check";

/// All of them, each after those that it jumps to.
pub(super) fn all(family: IpFamily, settings: &NodeSettings) -> Vec<(Chain, Vec<Rule>)> {
    let regular = |name, rules| (Chain::regular(name), rules);
    let mut chains = vec![
        regular(REFUSE, refuse()),
        regular(IGNORE, vec![Rule::new([Statement::Drop])]),
        regular(CLUSTER_IP_CHECK, cluster_ip_check()),
        regular(SERVICES, services(family, settings)),
    ];
    chains.extend(hooked(settings.masquerade_mark));
    chains
}

/// The base chains.
///
/// What a nat chain can do is done there: it sees one packet of each connection, and the others pay nothing.
fn hooked(mark: u32) -> [(Chain, Vec<Rule>); 5] {
    let jump = |chain: &str| Statement::Jump(chain.into());
    let check = || vec![Rule::new([is_new(), jump(CLUSTER_IP_CHECK)])];
    let dispatch = || vec![Rule::new([jump(SERVICES)])];
    let base = |name, kind, hook, priority, rules| (Chain::base(name, kind, hook, priority), rules);
    [
        base("filter-forward", ChainKind::Filter, Hook::Forward, PRIORITY_FILTER, check()),
        base("refuse-output", ChainKind::Filter, Hook::Output, PRIORITY_FILTER, check()),
        base("nat-prerouting", ChainKind::Nat, Hook::Prerouting, PRIORITY_DSTNAT, dispatch()),
        base("nat-output", ChainKind::Nat, Hook::Output, PRIORITY_DSTNAT, dispatch()),
        base("nat-postrouting", ChainKind::Nat, Hook::Postrouting, PRIORITY_SRCNAT, postrouting(mark)),
    ]
}

/// Refuses other ports of cluster IPs and drops what goes to cluster IPs that do not exist. Packets
/// to ports that do exist carry an endpoint's address by now.
fn cluster_ip_check() -> Vec<Rule> {
    let unallocated =
        Statement::InSet { key: vec![Selector::Daddr], op: MatchOp::Eq, set: SERVICE_CIDRS.into() };
    vec![
        Rule::new([listed(Container::ClusterIps, MatchOp::Eq), Statement::Goto(REFUSE.into())]),
        Rule::new([unallocated, Statement::Drop]),
    ]
}

/// Refuses all that comes here, so that the conditions are looked up once and not once per protocol.
///
/// TCP is refused with a reset and not an ICMP error: the kernel sends a peer one ICMP error a second
/// and no more, and a client whose `connect` is just at work does not notice one until it repeats its SYN.
fn refuse() -> Vec<Rule> {
    vec![Rule::new([is_protocol(Protocol::Tcp), Statement::RejectTcpReset]), Rule::new([Statement::Reject])]
}

/// Looks up where a connection's first packet goes, or how it is refused: an address and port that
/// nobody serves is in the same maps as those that somebody does, so nobody is asked twice.
fn services(family: IpFamily, settings: &NodeSettings) -> Vec<Rule> {
    let look_up =
        |container: Container| Statement::Vmap { key: container.key(), map: container.name().into() };
    let mut node_port = to_node_port(family, settings);
    node_port.push(look_up(Container::NodePorts));
    vec![Rule::new([look_up(Container::Services)]), Rule::new(node_port)]
}

/// The packet goes to an address of this node that answers on node ports.
///
/// The address's type is asked for last, because the kernel looks for a route to tell.
fn to_node_port(family: IpFamily, settings: &NodeSettings) -> Vec<Statement> {
    let mut statements = Vec::new();
    if let NodePortAddresses::Within(_) = settings.node_port_addresses {
        let key = vec![Selector::Daddr];
        statements.push(Statement::InSet { key, op: MatchOp::Eq, set: NODEPORT_IPS.into() });
    }
    statements.extend([not_to_loopback(family), is_local(Selector::FibDaddrType)]);
    statements
}

fn postrouting(mark: u32) -> Vec<Rule> {
    let masquerade = Statement::Masquerade { random_fully: true };
    let marked = Statement::MatchBits { selector: Selector::Mark, mask: mark, op: MatchOp::Ne };
    vec![
        Rule::new([marked, Statement::MarkXor(mark), masquerade.clone()]),
        Rule::new([translated(MatchOp::Ne), listed(Container::Hairpin, MatchOp::Eq), masquerade]),
    ]
}
