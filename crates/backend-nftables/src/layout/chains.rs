//! The chains that do not depend on services, and their rules.

use portolan_core::plan::{NodePortAddresses, NodeSettings};
use portolan_core::{IpFamily, Protocol};
use portolan_nft::{
    Chain, ChainKind, Hook, MatchOp, PRIORITY_DSTNAT, PRIORITY_FILTER, PRIORITY_SRCNAT, Rule, Selector,
    Statement,
};

use super::condition::{is_local, is_new, is_protocol, listed, not_to_loopback, translated};
use super::{IGNORE, NODEPORT_IPS, REFUSE, SERVICE_CIDRS, ServiceSet};

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
/// Work is done in nat chains where possible: they see one packet of each connection.
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

/// Rejects packets to other ports of cluster IPs and drops packets to cluster IPs that do not exist. The
/// destination of packets to existing ports is already an endpoint.
fn cluster_ip_check() -> Vec<Rule> {
    let unallocated =
        Statement::InSet { key: vec![Selector::Daddr], op: MatchOp::Eq, set: SERVICE_CIDRS.into() };
    vec![
        Rule::new([listed(ServiceSet::ClusterIps, MatchOp::Eq), Statement::Goto(REFUSE.into())]),
        Rule::new([unallocated, Statement::Drop]),
    ]
}

/// Rejects every packet; a separate chain, so that the conditions are evaluated once and not once per protocol.
///
/// TCP is rejected with a reset and not an ICMP error: the kernel limits ICMP errors to one a second for
/// each peer, and a `connect` in progress notices one only when it repeats its SYN.
fn refuse() -> Vec<Rule> {
    vec![Rule::new([is_protocol(Protocol::Tcp), Statement::RejectTcpReset]), Rule::new([Statement::Reject])]
}

/// Looks up where a connection's first packet goes, or how it is rejected: service ports with and without
/// endpoints are in the same maps, so there is one lookup.
fn services(family: IpFamily, settings: &NodeSettings) -> Vec<Rule> {
    let look_up = |set: ServiceSet| Statement::Vmap { key: set.key(), map: set.name().into() };
    let mut node_port = to_node_port(family, settings);
    node_port.push(look_up(ServiceSet::NodePorts));
    vec![Rule::new([look_up(ServiceSet::Services)]), Rule::new(node_port)]
}

/// The packet goes to an address of this node that answers on node ports.
///
/// The address type is matched last, because it takes the kernel a route lookup.
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
        Rule::new([translated(MatchOp::Ne), listed(ServiceSet::Hairpin, MatchOp::Eq), masquerade]),
    ]
}
