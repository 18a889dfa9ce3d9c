//! The chains that are not made for services, and their rules.

use portolan_core::plan::{NodePortAddresses, NodeSettings};
use portolan_core::{IpFamily, Protocol};
use portolan_nft::{
    Chain, ChainKind, Hook, MatchOp, PRIORITY_DSTNAT, PRIORITY_FILTER, PRIORITY_SRCNAT, Rule, Selector,
    Statement,
};

use super::condition::{from_local_pod, is_local, is_new, is_protocol, not_to_loopback, translated};
use super::{Container, MARK_CLUSTER_TRAFFIC, MARK_MASQUERADE, NODEPORT_IPS, SERVICE_CIDRS};

const SERVICES: &str = "services";
const DOOR: &str = "door";
const REFUSE: &str = "refuse";
const SOURCE_CHECK: &str = "source-check";
const REJECT_CHECK: &str = "reject-check";
const NODEPORT_REJECT_CHECK: &str = "nodeport-reject-check";
const CLUSTER_IP_CHECK: &str = "cluster-ip-check";
const LEARN: &str = "learn-affinity";

/// All of them, each after those that it jumps to.
pub(super) fn all(family: IpFamily, settings: &NodeSettings) -> Vec<(Chain, Vec<Rule>)> {
    let regular = |name, rules| (Chain::regular(name), rules);
    let mark = settings.masquerade_mark;
    let mut chains = vec![
        regular(MARK_MASQUERADE, vec![Rule::new([Statement::MarkOr(mark)])]),
        regular(MARK_CLUSTER_TRAFFIC, cluster_traffic(settings)),
        regular(REFUSE, refuse()),
        regular(SOURCE_CHECK, source_check()),
        regular(REJECT_CHECK, reject_check()),
        regular(DOOR, door()),
        regular(NODEPORT_REJECT_CHECK, nodeport_reject_check(family, settings)),
        regular(CLUSTER_IP_CHECK, cluster_ip_check()),
        regular(SERVICES, services(family, settings)),
    ];
    chains.extend(Protocol::ALL.map(|protocol| (Chain::regular(learn_chain(protocol)), learn(protocol))));
    chains.push(regular(LEARN, learn_by_protocol()));
    chains.extend(hooked(mark));
    chains
}

/// The base chains.
fn hooked(mark: u32) -> Vec<(Chain, Vec<Rule>)> {
    let jump = |chain: &str| Statement::Jump(chain.into());
    let check = |chain| Rule::new([is_new(), jump(chain)]);
    let learn = || vec![Rule::new([is_new(), translated(MatchOp::Ne), jump(LEARN)])];
    let dispatch = || vec![Rule::new([jump(SERVICES)])];
    // Before addresses are translated, a VIP is still visible as what it is.
    let (before, after) = (PRIORITY_DSTNAT - 10, PRIORITY_DSTNAT + 10);
    let filter = |name, hook, priority, rules: Vec<Rule>| {
        (Chain::base(name, ChainKind::Filter, hook, priority), rules)
    };
    let nat =
        |name, hook, priority, rules: Vec<Rule>| (Chain::base(name, ChainKind::Nat, hook, priority), rules);
    // One question alone for packets of connections that are no longer new.
    let at_the_door = || vec![check(DOOR)];
    let node_port = Rule::new([is_new(), translated(MatchOp::Eq), jump(NODEPORT_REJECT_CHECK)]);
    vec![
        filter("filter-prerouting", Hook::Prerouting, before, at_the_door()),
        filter("filter-output", Hook::Output, before, at_the_door()),
        filter("filter-input", Hook::Input, before, vec![node_port]),
        filter("filter-forward", Hook::Forward, PRIORITY_FILTER, vec![check(CLUSTER_IP_CHECK)]),
        filter("refuse-output", Hook::Output, PRIORITY_FILTER, vec![check(CLUSTER_IP_CHECK)]),
        filter("learn-prerouting", Hook::Prerouting, after, learn()),
        filter("learn-output", Hook::Output, after, learn()),
        nat("nat-prerouting", Hook::Prerouting, PRIORITY_DSTNAT, dispatch()),
        nat("nat-output", Hook::Output, PRIORITY_DSTNAT, dispatch()),
        nat("nat-postrouting", Hook::Postrouting, PRIORITY_SRCNAT, postrouting(mark)),
    ]
}

/// Traffic to cluster IPs that must come back this way.
fn cluster_traffic(settings: &NodeSettings) -> Vec<Rule> {
    let mark = Statement::Jump(MARK_MASQUERADE.into());
    match &settings.local_detector {
        _ if settings.masquerade_all => vec![Rule::new([mark])],
        Some(detector) => {
            // Where we cannot tell, no packet may pass for a local pod's.
            let not_a_pods = from_local_pod(detector, MatchOp::Ne);
            vec![Rule::new(not_a_pods.into_iter().chain([mark]).collect::<Vec<_>>())]
        }
        None => Vec::new(),
    }
}

/// What a new connection is asked while its VIP is still visible.
fn door() -> Vec<Rule> {
    let jump = |chain: &str| Statement::Jump(chain.into());
    vec![
        Rule::new([jump(SOURCE_CHECK)]),
        // What was sent to an endpoint goes on: to conntrack every datagram of a flow that
        // nobody has answered yet is new.
        Rule::new([translated(MatchOp::Eq), jump(REJECT_CHECK)]),
    ]
}

/// Drops what comes from outside a VIP's source ranges, whether anybody serves it or not.
fn source_check() -> Vec<Rule> {
    vec![Rule::new([
        listed(Container::Restricted, MatchOp::Eq),
        listed(Container::SourceRanges, MatchOp::Ne),
        Statement::Drop,
    ])]
}

/// Refuses VIPs that nobody serves, before their address is routed; ignores those that only
/// other nodes serve.
fn reject_check() -> Vec<Rule> {
    vec![
        Rule::new([listed(Container::Reject, MatchOp::Eq), Statement::Goto(REFUSE.into())]),
        Rule::new([listed(Container::Drop, MatchOp::Eq), Statement::Drop]),
    ]
}

/// Refuses node ports that nobody serves, but only after translation: the same address and port
/// may be a VIP of another Service, which `services` looks up first.
fn nodeport_reject_check(family: IpFamily, settings: &NodeSettings) -> Vec<Rule> {
    let mut unserved = to_node_port(family, settings);
    unserved.extend([listed(Container::NodePortReject, MatchOp::Eq), Statement::Goto(REFUSE.into())]);
    vec![Rule::new(unserved)]
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

fn services(family: IpFamily, settings: &NodeSettings) -> Vec<Rule> {
    let look_up =
        |container: Container| Statement::Vmap { key: container.key(), map: container.name().into() };
    let mut node_port = to_node_port(family, settings);
    node_port.push(look_up(Container::NodePorts));
    vec![Rule::new([look_up(Container::Services)]), Rule::new(node_port)]
}

/// The chain that looks up where packets of one protocol are learned.
fn learn_chain(protocol: Protocol) -> String {
    format!("{LEARN}-{protocol}")
}

/// Sends each protocol to a chain of its own, which meets no questions about the others.
fn learn_by_protocol() -> Vec<Rule> {
    let by_protocol =
        |protocol| Rule::new([is_protocol(protocol), Statement::Goto(learn_chain(protocol).into())]);
    Protocol::ALL.map(by_protocol).into()
}

/// Sends the first packets of connections to services with affinity to where their endpoints are
/// learned. What was asked for is found by the original destination, by now translated; nft gives
/// its port a type only where the protocol is fixed in the same rule.
fn learn(protocol: Protocol) -> Vec<Rule> {
    let vip = [Selector::CtOriginalDaddr, Selector::L4Proto, Selector::CtOriginalProtoDst];
    let look_up = |(key, container): (&[Selector], Container)| {
        let look_up = Statement::Vmap { key: key.to_vec(), map: container.name().into() };
        Rule::new([is_protocol(protocol), look_up])
    };
    [(&vip[..], Container::Affinity), (&vip[1..], Container::NodePortAffinity)].map(look_up).into()
}

fn listed(container: Container, op: MatchOp) -> Statement {
    Statement::InSet { key: container.key(), op, set: container.name().into() }
}

/// The packet goes to an address of this node that answers on node ports.
fn to_node_port(family: IpFamily, settings: &NodeSettings) -> Vec<Statement> {
    let mut statements = vec![is_local(Selector::FibDaddrType), not_to_loopback(family)];
    if let NodePortAddresses::Within(_) = settings.node_port_addresses {
        let key = vec![Selector::Daddr];
        statements.push(Statement::InSet { key, op: MatchOp::Eq, set: NODEPORT_IPS.into() });
    }
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
