//! Chains that exist only while something uses them.
//!
//! A base chain costs every packet of every connection, whatever its rules are, and most nodes have
//! neither a Service with source ranges nor one with session affinity.
//!
//! Holds: the chains are created before the first element that they look up, and deleted after the last.

use std::sync::Arc;

use portolan_core::Protocol;
use portolan_nft::{
    Chain, ChainKind, Hook, MatchOp, PRIORITY_DSTNAT, PRIORITY_SRCNAT, Rule, Selector, Statement,
};

use super::ServiceSet;
use super::condition::{is_new, is_protocol, listed, translated};
use crate::commit::Batches;

const LEARN: &str = "learn-affinity";

/// A feature whose chains exist only while something uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// VIPs with source ranges.
    SourceRanges,
    /// Services with session affinity.
    Affinity,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::SourceRanges, Self::Affinity];

    /// The one that elements of this set are for.
    pub fn of(set: ServiceSet) -> Option<Self> {
        match set {
            ServiceSet::Restricted => Some(Self::SourceRanges),
            ServiceSet::Affinity | ServiceSet::NodePortAffinity => Some(Self::Affinity),
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

/// Drops packets from outside a VIP's source ranges, whether the VIP has endpoints or not.
///
/// Before destination NAT, when the destination is still the VIP. Not in a nat chain: to conntrack every
/// datagram of an unanswered flow is new, but nat chains see only the first.
fn source_check() -> [(Chain, Vec<Rule>); 2] {
    [("source-check-prerouting", Hook::Prerouting), ("source-check-output", Hook::Output)].map(
        |(name, hook)| {
            let outside = [
                is_new(),
                listed(ServiceSet::Restricted, MatchOp::Eq),
                listed(ServiceSet::SourceRanges, MatchOp::Ne),
                Statement::Drop,
            ];
            (Chain::base(name, ChainKind::Filter, hook, PRIORITY_DSTNAT - 10), vec![Rule::new(outside)])
        },
    )
}

/// Learns which endpoint a client of a service with affinity got.
///
/// At the hooks of source NAT the destination is already translated, whether the endpoint is elsewhere
/// (postrouting) or on this node (input), and these chains see only one packet of each connection. Before
/// the chains of other programs, because a verdict on the source ends the hook.
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

/// Sends each protocol to its own chain.
fn learn_by_protocol() -> Vec<Rule> {
    let by_protocol =
        |protocol| Rule::new([is_protocol(protocol), Statement::Goto(learn_chain(protocol).into())]);
    Protocol::ALL.map(by_protocol).into()
}

/// Sends the first packets of connections to services with affinity to where their endpoints are
/// learned. The VIP is the original destination; nft gives its port a type only where the protocol is
/// fixed in the same rule.
fn learn(protocol: Protocol) -> Vec<Rule> {
    let vip = [Selector::CtOriginalDaddr, Selector::L4Proto, Selector::CtOriginalProtoDst];
    let look_up = |(key, set): (&[Selector], ServiceSet)| {
        let look_up = Statement::Vmap { key: key.to_vec(), map: set.name().into() };
        Rule::new([is_protocol(protocol), look_up])
    };
    [(&vip[..], ServiceSet::Affinity), (&vip[1..], ServiceSet::NodePortAffinity)].map(look_up).into()
}

/// Of each feature, how many elements use it, and whether its chains exist.
#[derive(Debug, Default)]
pub(crate) struct FeaturesInUse([Use; Feature::ALL.len()]);

#[derive(Debug, Clone, Copy, Default)]
struct Use {
    count: usize,
    exists: bool,
}

impl FeaturesInUse {
    /// The chains of a feature were found.
    pub(crate) fn found(&mut self, feature: Feature) {
        self.0[feature as usize].exists = true;
    }

    /// This set gets an element.
    pub(crate) fn add(&mut self, set: ServiceSet) {
        if let Some(feature) = Feature::of(set) {
            self.0[feature as usize].count += 1;
        }
    }

    /// This set loses an element.
    pub(crate) fn remove(&mut self, set: ServiceSet) {
        if let Some(feature) = Feature::of(set) {
            self.0[feature as usize].count -= 1;
        }
    }

    /// Creates the chains of features that come into use.
    pub(crate) fn create(&mut self, batches: &mut Batches<'_>) {
        for feature in Feature::ALL {
            let usage = &mut self.0[feature as usize];
            if usage.count > 0 && !usage.exists {
                usage.exists = true;
                for (chain, rules) in feature.chains() {
                    batches.add_chain(chain, rules);
                }
            }
        }
    }

    /// Removes the chains of features that are no longer used.
    pub(crate) fn remove_unused(&mut self, batches: &mut Batches<'_>) {
        for feature in Feature::ALL {
            let usage = &mut self.0[feature as usize];
            if usage.count > 0 || !usage.exists {
                continue;
            }
            usage.exists = false;
            let chains = feature.chains();
            // From the base chains on, so that nothing leads to a chain that is deleted.
            for (chain, _) in chains.iter().rev() {
                batches.current().flush_chain(Arc::clone(&chain.name));
            }
            for (chain, _) in chains.into_iter().rev() {
                batches.current().delete_chain(chain.name);
            }
        }
    }
}
