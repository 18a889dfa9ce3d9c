//! Chains that only some clusters need, hooked while something uses them.
//!
//! A base chain costs every packet of every connection, whatever its rules say, and most nodes have
//! neither a Service with source ranges nor one with session affinity.

use portolan_core::Protocol;
use portolan_nft::{
    Chain, ChainKind, Hook, MatchOp, PRIORITY_DSTNAT, PRIORITY_SRCNAT, Rule, Selector, Statement,
};

use super::Container;
use super::condition::{is_new, is_protocol, listed, translated};

const LEARN: &str = "learn-affinity";

/// What is looked up only while something uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// VIPs that are open to some sources alone.
    SourceRanges,
    /// Services whose clients stay with their endpoint.
    Affinity,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::SourceRanges, Self::Affinity];

    /// The one that elements of this container are for.
    pub fn of(container: Container) -> Option<Self> {
        match container {
            Container::Restricted => Some(Self::SourceRanges),
            Container::Affinity | Container::NodePortAffinity => Some(Self::Affinity),
            _ => None,
        }
    }

    /// Its chains, each after those that it jumps to.
    pub fn chains(self) -> Vec<(Chain, Vec<Rule>)> {
        match self {
            Self::SourceRanges => source_check().into(),
            Self::Affinity => learning(),
        }
    }
}

/// Drops what comes from outside a VIP's source ranges, whether anybody serves it or not.
///
/// Before addresses are translated, a VIP is still visible as what it is. Not in a nat chain: to
/// conntrack every datagram of a flow that nobody has answered yet is new, and nat sees the first alone.
fn source_check() -> [(Chain, Vec<Rule>); 2] {
    [("source-check-prerouting", Hook::Prerouting), ("source-check-output", Hook::Output)].map(
        |(name, hook)| {
            let outside = [
                is_new(),
                listed(Container::Restricted, MatchOp::Eq),
                listed(Container::SourceRanges, MatchOp::Ne),
                Statement::Drop,
            ];
            (Chain::base(name, ChainKind::Filter, hook, PRIORITY_DSTNAT - 10), vec![Rule::new(outside)])
        },
    )
}

/// Learns which endpoint a client of a service with affinity got.
///
/// Where the kernel decides about sources the destination is translated already, whether the endpoint is
/// elsewhere (postrouting) or on this node (input), and these chains too see one packet of each connection
/// alone. Before other programs' chains, which may decide about the source and so end the matter.
fn learning() -> Vec<(Chain, Vec<Rule>)> {
    let jump = || vec![Rule::new([translated(MatchOp::Ne), Statement::Jump(LEARN.into())])];
    let nat = |name, hook| (Chain::base(name, ChainKind::Nat, hook, PRIORITY_SRCNAT - 10), jump());
    let mut chains: Vec<_> = Protocol::ALL.map(|p| (Chain::regular(learn_chain(p)), learn(p))).into();
    chains.push((Chain::regular(LEARN), learn_by_protocol()));
    chains.extend([nat("learn-input", Hook::Input), nat("learn-postrouting", Hook::Postrouting)]);
    chains
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
