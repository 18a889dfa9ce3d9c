//! The part of the table that does not grow: its sets, and the chains that use them.
//!
//! | set or map | key | holds |
//! |---|---|---|
//! | `services` | address . protocol . port | the class of each VIP |
//! | `nodeports` | protocol . port | the class of each node port |
//! | `endpoints` | address . protocol . port . slot | endpoint of each slot of a VIP |
//! | `nodeport-endpoints` | protocol . port . slot | the same for node ports |
//! | `no-endpoint-services` | address . protocol . port | VIPs without endpoints |
//! | `no-endpoint-nodeports` | protocol . port | node ports without endpoints |
//! | `hairpin` | address . address | endpoints that may reach themselves |
//! | `nodeport-ips` | address ranges | where node ports answer, if not everywhere |

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use portolan_core::plan::{LocalDetector, NodePortAddresses, NodeSettings};
use portolan_core::{IpFamily, Protocol};
use portolan_nft::{
    Bytes, CT_STATE_NEW, CT_STATUS_DNAT, Chain, ChainKind, Element, FIB_TYPE_LOCAL, Family, Hook, MatchOp,
    PRIORITY_DSTNAT, PRIORITY_SRCNAT, Rule, Selector, Set, Statement, TableId,
};

/// The name of our table in either family.
pub const TABLE: &str = "portolan";
/// Map of endpoints of VIPs.
pub const ENDPOINTS: &str = "endpoints";
/// Map of endpoints of node ports.
pub const NODEPORT_ENDPOINTS: &str = "nodeport-endpoints";
/// Ranges that node ports are confined to.
pub const NODEPORT_IPS: &str = "nodeport-ips";
/// Chain that marks a packet for masquerading.
pub const MARK_MASQUERADE: &str = "mark-masquerade";
/// Chain that marks traffic to cluster IPs as configured.
pub const MARK_CLUSTER_TRAFFIC: &str = "mark-cluster-traffic";

const SERVICES: &str = "services";
const NODEPORTS: &str = "nodeports";
// Not plainly `reject`: nft takes its own keywords for no names.
const REJECT: &str = "no-endpoint-services";
const NODEPORT_REJECT: &str = "no-endpoint-nodeports";
const HAIRPIN: &str = "hairpin";
const REJECT_CHECK: &str = "reject-check";
const NODEPORT_REJECT_CHECK: &str = "nodeport-reject-check";

/// A set or map whose elements follow the plan's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Container {
    /// `services`
    Services,
    /// `nodeports`
    NodePorts,
    /// `endpoints`
    Endpoints,
    /// `nodeport-endpoints`
    NodePortEndpoints,
    /// `no-endpoint-services`
    Reject,
    /// `no-endpoint-nodeports`
    NodePortReject,
    /// `hairpin`
    Hairpin,
}

impl Container {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Services,
        Self::NodePorts,
        Self::Endpoints,
        Self::NodePortEndpoints,
        Self::Reject,
        Self::NodePortReject,
        Self::Hairpin,
    ];

    /// Whether rules decide by it what becomes of a packet, so that what it leads to
    /// must be there before it and go after it.
    pub fn dispatches(self) -> bool {
        matches!(self, Self::Services | Self::NodePorts | Self::Reject | Self::NodePortReject)
    }

    /// Its set in nft's terms.
    fn set(self) -> Set {
        // Any modulus will do: the type of a slot is the same for all.
        let slot = Selector::NumgenRandom { modulus: 2 };
        let vip = [Selector::Daddr, Selector::L4Proto, Selector::ThDport];
        let port = [Selector::L4Proto, Selector::ThDport];
        let endpoint = [Selector::Daddr, Selector::ThDport];
        match self {
            Self::Services => Set::verdict_map(SERVICES, vip),
            Self::NodePorts => Set::verdict_map(NODEPORTS, port),
            Self::Endpoints => Set::map(ENDPOINTS, [&vip[..], &[slot]].concat(), endpoint),
            Self::NodePortEndpoints => Set::map(NODEPORT_ENDPOINTS, [&port[..], &[slot]].concat(), endpoint),
            Self::Reject => Set::new(REJECT, vip),
            Self::NodePortReject => Set::new(NODEPORT_REJECT, port),
            Self::Hairpin => Set::new(HAIRPIN, [Selector::Saddr, Selector::Daddr]),
        }
    }
}

/// The sets of one family, and what its chains are made from.
#[derive(Debug)]
pub struct Layout {
    /// The IP family.
    pub family: IpFamily,
    containers: [Arc<Set>; Container::ALL.len()],
    nodeport_ips: Arc<Set>,
}

impl Layout {
    /// The layout of one family.
    pub fn new(family: IpFamily) -> Self {
        Self {
            family,
            containers: Container::ALL.map(|container| Arc::new(container.set())),
            nodeport_ips: Arc::new(Set::intervals(NODEPORT_IPS, [Selector::Daddr])),
        }
    }

    /// Which table it is.
    pub fn table(&self) -> TableId {
        TableId::new(nft_family(self.family), TABLE)
    }

    /// The set of one container.
    pub fn set(&self, container: Container) -> &Arc<Set> {
        &self.containers[container as usize]
    }

    /// The set that node ports are confined to.
    pub fn nodeport_ips(&self) -> &Arc<Set> {
        &self.nodeport_ips
    }

    /// All sets.
    pub fn sets(&self) -> impl Iterator<Item = &Arc<Set>> {
        self.containers.iter().chain([&self.nodeport_ips])
    }

    /// What `nodeport-ips` holds.
    pub fn nodeport_ranges(settings: &NodeSettings) -> Vec<Element> {
        match &settings.node_port_addresses {
            NodePortAddresses::All => Vec::new(),
            NodePortAddresses::Within(nets) => nets
                .iter()
                .map(|net| Element::prefix(Bytes::addr(net.network()), usize::from(net.prefix_len())))
                .collect(),
        }
    }

    /// All chains but those of classes, each with its rules. A chain comes after those it
    /// jumps to.
    pub fn chains(&self, settings: &NodeSettings) -> Vec<(Chain, Vec<Rule>)> {
        let mark = settings.masquerade_mark;
        let base =
            |name, kind, hook, priority, rules: Vec<Rule>| (Chain::base(name, kind, hook, priority), rules);
        let jump = |chain: &str| Statement::Jump(chain.into());
        let check = |chain| {
            let new =
                Statement::MatchBits { selector: Selector::CtState, mask: CT_STATE_NEW, op: MatchOp::Ne };
            // What was sent to an endpoint goes on: to conntrack every datagram of a flow that
            // nobody has answered yet is new.
            let untranslated =
                Statement::MatchBits { selector: Selector::CtStatus, mask: CT_STATUS_DNAT, op: MatchOp::Eq };
            vec![Rule::new([new, untranslated, jump(chain)])]
        };
        let dispatch = || vec![Rule::new([jump(SERVICES)])];
        // Before addresses are translated: a VIP is still visible as what it is.
        let before = PRIORITY_DSTNAT - 10;
        vec![
            (Chain::regular(MARK_MASQUERADE), vec![Rule::new([Statement::MarkOr(mark)])]),
            (Chain::regular(MARK_CLUSTER_TRAFFIC), cluster_traffic(settings)),
            (Chain::regular(REJECT_CHECK), self.reject_check()),
            (Chain::regular(NODEPORT_REJECT_CHECK), self.nodeport_reject_check(settings)),
            (Chain::regular(SERVICES), self.services(settings)),
            base("filter-prerouting", ChainKind::Filter, Hook::Prerouting, before, check(REJECT_CHECK)),
            base("filter-output", ChainKind::Filter, Hook::Output, before, check(REJECT_CHECK)),
            base("filter-input", ChainKind::Filter, Hook::Input, before, check(NODEPORT_REJECT_CHECK)),
            base("nat-prerouting", ChainKind::Nat, Hook::Prerouting, PRIORITY_DSTNAT, dispatch()),
            base("nat-output", ChainKind::Nat, Hook::Output, PRIORITY_DSTNAT, dispatch()),
            base("nat-postrouting", ChainKind::Nat, Hook::Postrouting, PRIORITY_SRCNAT, postrouting(mark)),
        ]
    }

    fn services(&self, settings: &NodeSettings) -> Vec<Rule> {
        let vip = Statement::Vmap { key: self.key(Container::Services), map: SERVICES.into() };
        let node_port = Statement::Vmap { key: self.key(Container::NodePorts), map: NODEPORTS.into() };
        vec![Rule::new([vip]), self.for_node_ports(settings, [node_port])]
    }

    /// Refuses VIPs that nobody serves, before their address is routed.
    fn reject_check(&self) -> Vec<Rule> {
        let vip = || self.listed(Container::Reject, REJECT);
        vec![Rule::new([is_tcp(), vip(), Statement::RejectTcpReset]), Rule::new([vip(), Statement::Reject])]
    }

    /// Refuses node ports that nobody serves, but only after translation: the same address and port
    /// may be a VIP of another Service, which `services` looks up first.
    fn nodeport_reject_check(&self, settings: &NodeSettings) -> Vec<Rule> {
        let node_port = || self.listed(Container::NodePortReject, NODEPORT_REJECT);
        vec![
            self.for_node_ports(settings, [is_tcp(), node_port(), Statement::RejectTcpReset]),
            self.for_node_ports(settings, [node_port(), Statement::Reject]),
        ]
    }

    fn listed(&self, container: Container, set: &str) -> Statement {
        Statement::InSet { key: self.key(container), op: MatchOp::Eq, set: set.into() }
    }

    fn key(&self, container: Container) -> Vec<Selector> {
        self.set(container).key.clone()
    }

    /// A rule for packets to an address of this node that answers on node ports.
    fn for_node_ports(&self, settings: &NodeSettings, then: impl IntoIterator<Item = Statement>) -> Rule {
        let local = Statement::Match {
            selector: Selector::FibDaddrType,
            op: MatchOp::Eq,
            value: Bytes::u32_host(FIB_TYPE_LOCAL),
        };
        let mut statements = vec![local, self.not_loopback()];
        if let NodePortAddresses::Within(_) = settings.node_port_addresses {
            let key = vec![Selector::Daddr];
            statements.push(Statement::InSet { key, op: MatchOp::Eq, set: NODEPORT_IPS.into() });
        }
        statements.extend(then);
        Rule::new(statements)
    }

    fn not_loopback(&self) -> Statement {
        let (selector, op) = (Selector::Daddr, MatchOp::Ne);
        match self.family {
            IpFamily::V4 => {
                let value = Bytes::addr(IpAddr::from([127, 0, 0, 0]));
                Statement::MatchPrefix { selector, op, value, bits: 8 }
            }
            IpFamily::V6 => Statement::Match { selector, op, value: Bytes::addr(Ipv6Addr::LOCALHOST.into()) },
        }
    }
}

/// TCP is refused with a reset and not an ICMP error: the kernel sends a peer one ICMP error a second
/// and no more, and a client whose `connect` is just at work does not notice one until it repeats its SYN.
fn is_tcp() -> Statement {
    Statement::Match {
        selector: Selector::L4Proto,
        op: MatchOp::Eq,
        value: Bytes::proto(Protocol::Tcp.number()),
    }
}

fn cluster_traffic(settings: &NodeSettings) -> Vec<Rule> {
    let mark = Statement::Jump(MARK_MASQUERADE.into());
    match &settings.local_detector {
        _ if settings.masquerade_all => vec![Rule::new([mark])],
        Some(detector) => vec![Rule::new(not_local(detector).into_iter().chain([mark]).collect::<Vec<_>>())],
        None => Vec::new(),
    }
}

/// The condition that a packet is no local pod's.
fn not_local(detector: &LocalDetector) -> Option<Statement> {
    match detector {
        LocalDetector::Cidr(cidr) => Some(source_outside(*cidr)),
        // The core has no other detector yet. With one that this crate does not know, no
        // packet may pass for a local pod's.
        _ => None,
    }
}

fn source_outside(cidr: IpNet) -> Statement {
    let bits = cidr.prefix_len();
    let (selector, op, value) = (Selector::Saddr, MatchOp::Ne, Bytes::addr(cidr.network()));
    if bits == cidr.max_prefix_len() {
        return Statement::Match { selector, op, value };
    }
    Statement::MatchPrefix { selector, op, value, bits }
}

fn postrouting(mark: u32) -> Vec<Rule> {
    let masquerade = Statement::Masquerade { random_fully: true };
    let marked = Statement::MatchBits { selector: Selector::Mark, mask: mark, op: MatchOp::Ne };
    let translated =
        Statement::MatchBits { selector: Selector::CtStatus, mask: CT_STATUS_DNAT, op: MatchOp::Ne };
    let to_itself = Statement::InSet {
        key: vec![Selector::Saddr, Selector::Daddr],
        op: MatchOp::Eq,
        set: HAIRPIN.into(),
    };
    vec![
        Rule::new([marked, Statement::MarkXor(mark), masquerade.clone()]),
        Rule::new([translated, to_itself, masquerade]),
    ]
}

/// nft's name for an IP family.
pub fn nft_family(family: IpFamily) -> Family {
    match family {
        IpFamily::V4 => Family::Ip,
        IpFamily::V6 => Family::Ip6,
    }
}
