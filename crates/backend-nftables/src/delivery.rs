//! The rules that send a connection to an endpoint, in the chains of classes and in dedicated chains.

use std::sync::Arc;

use portolan_core::Protocol;
use portolan_core::plan::NodeSettings;
use portolan_nft::{MatchOp, Rule, Selector, Statement};

use crate::layout::ServiceSet;
use crate::layout::condition::{from_local_pod, is_local, is_protocol};

/// The kind of a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Cluster IPs: masqueraded as configured.
    Cluster,
    /// Load-balancer addresses and external IPs.
    External,
    /// Node ports: looked up without an address.
    NodePort,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Cluster, Self::External, Self::NodePort];

    /// The name, as chains begin with it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::External => "external",
            Self::NodePort => "nodeport",
        }
    }
}

/// The number of slots of a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Counts {
    /// Slots in the map for all clients.
    pub all: u32,
    /// Slots in the map for clients on other hosts, where these are separate: then the other map is only
    /// for local pods and the node itself.
    pub outside: Option<u32>,
}

/// The maps that slots are drawn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotMaps {
    /// What a rule matches before it draws.
    condition: Vec<Statement>,
    /// The components before the slot number in their keys.
    key: Vec<Selector>,
    /// The map for all clients.
    all: Arc<str>,
    /// The map for clients on other hosts, where these are separate.
    outside: Arc<str>,
}

impl SlotMaps {
    /// Those that all frontends of a kind share.
    pub fn shared(kind: Kind) -> Self {
        let vip = vec![Selector::Daddr, Selector::L4Proto, Selector::ThDport];
        let (key, all, outside) = match kind {
            Kind::Cluster | Kind::External => (vip, ServiceSet::Endpoints, ServiceSet::LocalEndpoints),
            Kind::NodePort => {
                (vip[1..].into(), ServiceSet::NodePortEndpoints, ServiceSet::NodePortLocalEndpoints)
            }
        };
        let [all, outside] = [all, outside].map(|set| set.name().into());
        Self { condition: Vec::new(), key, all, outside }
    }

    /// The dedicated maps of a service port of this protocol.
    pub fn own(protocol: Protocol, [all, outside]: [Arc<str>; 2]) -> Self {
        // Without a port in the key it is this that tells nft which protocol's ports the map leads to.
        Self { condition: vec![is_protocol(protocol)], key: Vec::new(), all, outside }
    }

    /// Draws from one of its maps.
    fn pick(&self, map: &Arc<str>, modulus: u32) -> Vec<Statement> {
        let key = [&self.key[..], &[Selector::NumgenRandom { modulus }]].concat();
        [&self.condition[..], &[Statement::DnatMap { key, map: Arc::clone(map) }]].concat()
    }
}

/// Rules before a slot is drawn, one list for each map of slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Before a slot for all clients.
    pub all: Vec<Vec<Statement>>,
    /// Before a slot for clients on other hosts.
    pub outside: Vec<Vec<Statement>>,
}

/// The rules that mark a packet for masquerading where necessary and send it to an endpoint.
///
/// Under the external Local policy a client on another host keeps its address and uses this node's
/// endpoints, or its packets are dropped. A client on this node did not choose a node, so it may use
/// any endpoint.
pub fn rules(
    kind: Kind,
    counts: Counts,
    maps: &SlotMaps,
    remembered: &Remembered,
    settings: &NodeSettings,
) -> Vec<Rule> {
    let mark = Statement::MarkOr(settings.masquerade_mark);
    let all = |condition: &[Statement]| deliver((maps, &maps.all), counts.all, condition, &remembered.all);
    let Some(outside) = counts.outside else {
        let marking = match kind {
            Kind::Cluster => cluster_marking(mark, settings),
            Kind::External | Kind::NodePort => Some(Rule::new([mark])),
        };
        return marking.into_iter().chain(all(&[])).collect();
    };
    let mut rules = Vec::new();
    let from_pod = settings.local_detector.as_ref().and_then(|d| from_local_pod(d, MatchOp::Eq));
    if let Some(from_pod) = from_pod {
        rules.extend(all(&[from_pod]));
    }
    let from_node = is_local(Selector::FibSaddrType);
    rules.push(Rule::new([from_node.clone(), mark]));
    rules.extend(all(&[from_node]));
    rules.extend(deliver((maps, &maps.outside), outside, &[], &remembered.outside));
    rules
}

/// Marks traffic to cluster IPs whose replies must pass this node.
fn cluster_marking(mark: Statement, settings: &NodeSettings) -> Option<Rule> {
    if settings.masquerade_all {
        return Some(Rule::new([mark]));
    }
    let detector = settings.local_detector.as_ref()?;
    // Where we cannot tell, no packet may pass for a local pod's.
    Some(Rule::new(from_local_pod(detector, MatchOp::Ne).into_iter().chain([mark]).collect::<Vec<_>>()))
}

/// Sends packets that match `condition` to a random one of `count` slots, or drops them without slots.
///
/// If the slot was removed because the VIP shrank after the packet read its verdict, the last rule
/// sends it to slot 0, which every VIP with slots has.
fn deliver(
    (maps, map): (&SlotMaps, &Arc<str>),
    count: u32,
    condition: &[Statement],
    remembered: &[Vec<Statement>],
) -> Vec<Rule> {
    let rule = |then: Vec<Statement>| Rule::new([condition, &then].concat());
    if count == 0 {
        return vec![rule(vec![Statement::Drop])];
    }
    let mut rules: Vec<Rule> = remembered.iter().cloned().map(rule).collect();
    rules.push(rule(maps.pick(map, count)));
    if count > 1 {
        rules.push(rule(maps.pick(map, 1)));
    }
    rules
}
