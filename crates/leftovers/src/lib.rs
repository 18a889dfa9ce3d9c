//! Finds and removes what another proxy, or another mode, left in the kernel.
//!
//! A node changes from kube-proxy to this proxy, or from one mode to another. What the earlier one wrote
//! would go on translating packets, by a state of the cluster that nobody keeps any more. [`remove`] takes it
//! out, once our own rules are in force: every new connection finds either the old rules or the new ones.
//!
//! | module | what |
//! |---|---|
//! | `own_table` | the table of kube-proxy's nftables mode |
//! | `xtables` | chains of the iptables and ipvs modes, as iptables-nft and iptables-legacy keep them |
//! | `ipvs` | virtual servers, the device that carries their addresses, and address sets |
//! | `foreign` | whether another proxy writes such rules now |
//!
//! Holds throughout:
//!
//! * Objects are known by the names that kube-proxy gives them, never by a guess. Rules, chains, tables, sets
//!   and virtual servers of others stay as they are, their counters included.
//! * What others still use stays, together with what it needs to keep its meaning, and is reported.
//! * Looking changes nothing: no table is created by it, and no kernel module loaded but for `nf_tables`,
//!   which has no other way to be asked.
//! * Connections outlast what is [retired](retire); [`remove`] ends those by virtual servers.
//! * A failure of one step does not keep the others from being done, and everything can be repeated.

mod error;
mod foreign;
mod ipvs;
mod netfilter;
mod outcome;
mod own_table;
mod xtables;

use std::fmt;

use portolan_core::IpFamily;

pub use error::LeftoverError;
pub use foreign::{ForeignRules, ForeignWatch};
pub use outcome::Outcome;

/// What may have been left, by the mode that leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The table `kube-proxy` of kube-proxy's nftables mode.
    KubeProxyNftables,
    /// The chains of kube-proxy's iptables mode, which ours has as well, those that it shares with the ipvs
    /// mode included, whether iptables-nft or iptables-legacy made them.
    Iptables,
    /// What only the ipvs mode has: its virtual servers, `kube-ipvs0`, its address sets and further chains.
    Ipvs,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 3] = [Self::KubeProxyNftables, Self::Iptables, Self::Ipvs];
}

/// `nftables`, `iptables` or `ipvs`: the mode whose leftovers they are, for logs and labels.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KubeProxyNftables => "nftables",
            Self::Iptables => "iptables",
            Self::Ipvs => "ipvs",
        })
    }
}

/// The two kinds of iptables, which keep their rules in different places of the kernel: both can hold rules
/// at once, and packets meet them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// iptables-nft, whose tables are nf_tables'.
    Nft,
    /// iptables-legacy, which has its own.
    Legacy,
}

impl Variant {
    /// The one that this is not.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Nft => Self::Legacy,
            Self::Legacy => Self::Nft,
        }
    }
}

/// As names of programs end: `nft` or `legacy`.
impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        })
    }
}

/// Removes these parts of these families, and says what became of each step.
///
/// Call it when the new rules are in force. It blocks for as long as it takes to read and change the
/// kernel's tables; on a node with tens of thousands of rules that is seconds.
///
/// The order of `parts` means nothing: rules go before the sets that they use. A part yields an outcome for
/// each kind of object.
pub fn remove(parts: &[Part], families: &[IpFamily]) -> Vec<Outcome> {
    remove_in(Manner::AtOnce, parts, families)
}

/// The same, but what connections still use of the ipvs mode stays until they have ended: their virtual servers,
/// which get nothing new any more, and the addresses of those. [`Outcome::lasting`] says how many there are: call
/// [`retire_lasting`] later.
///
/// Translation by rules is remembered with a connection, so rules can go; a virtual server translates each packet.
pub fn retire(parts: &[Part], families: &[IpFamily]) -> Vec<Outcome> {
    remove_in(Manner::AfterConnections, parts, families)
}

/// Removes what a mode of ours has no use for that goes by kube-proxy's names, [`Part::Iptables`] or
/// [`Part::Ipvs`], as [`retire`] does: what only the other one has, and all there is in tables of the kind of
/// iptables that it does not write by. `variant` says by which it writes in a family; where that is not known no
/// chains are looked for.
///
/// Call it when the mode's own rules are in force. It blocks as [`remove`] does.
pub fn retire_beside(
    mode: Part,
    families: &[IpFamily],
    variant: impl Fn(IpFamily) -> Option<Variant>,
) -> Vec<Outcome> {
    let mut outcomes: Vec<_> = families.iter().map(|family| own_table::remove(*family)).collect();
    for (family, variant) in families.iter().filter_map(|family| Some((*family, variant(*family)?))) {
        outcomes.extend(xtables::remove_beside(mode, variant, family));
    }
    if mode != Part::Ipvs {
        outcomes.extend(retire_lasting(families));
    }
    outcomes
}

/// Removes what [`retire`] or [`retire_beside`] left because connections used it, if these have ended; else call it
/// again later. It reads every virtual server of the node, and no rules.
pub fn retire_lasting(families: &[IpFamily]) -> Vec<Outcome> {
    ipvs::remove(Manner::AfterConnections, families)
}

/// Removes the chains of the iptables and ipvs modes but for those of `running`, a mode of ours that writes by this
/// kind of iptables.
pub fn remove_chains(running: Option<(Part, Variant)>, family: IpFamily) -> Vec<Outcome> {
    match running {
        Some((mode, variant)) => xtables::remove_beside(mode, variant, family),
        None => xtables::remove(&[Part::Iptables, Part::Ipvs], family),
    }
}

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// They end.
    AtOnce,
    /// What they use stays until they have ended.
    AfterConnections,
}

fn remove_in(manner: Manner, parts: &[Part], families: &[IpFamily]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    if parts.contains(&Part::KubeProxyNftables) {
        outcomes.extend(families.iter().map(|family| own_table::remove(*family)));
    }
    for family in families {
        outcomes.extend(xtables::remove(parts, *family));
    }
    if parts.contains(&Part::Ipvs) {
        outcomes.extend(ipvs::remove(manner, families));
    }
    outcomes
}
