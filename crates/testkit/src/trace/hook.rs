//! The order in which base chains see a packet.
//!
//! Chains hang on hooks by priority, with one exception that surprises: nat chains do not run at
//! their own priority but all together at conntrack's (-100 where destinations are translated, 100
//! where sources are); their own only orders them among themselves. Seen on Linux 6.18.
//!
//! Of chains with equal priority the kernel runs the youngest first. Tables in memory have no age,
//! so here it goes by table and name; a layout should not depend on it.

use crate::fake::{FakeChain, FakeTable, FakeTables};
use portolan_nft::{ChainKind, Family, Hook, PRIORITY_DSTNAT, PRIORITY_SRCNAT, TableId};

use super::flow::Manip;

/// `NF_IP_PRI_CONNTRACK`, linux/netfilter_ipv4.h.
const PRIORITY_CONNTRACK: i32 = -200;

/// A chain in its table.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScenarioNetwork<'t> {
    pub(super) id: &'t TableId,
    pub(super) table: &'t FakeTable,
    pub(super) chain: &'t FakeChain,
}

/// Something that sees the packet at a hook.
#[derive(Debug)]
pub(super) enum Station<'t> {
    /// Connection tracking looks the packet up.
    Conntrack,
    /// A connection's first packet goes through these until one decides; then all are translated.
    Nat(Manip, Vec<ScenarioNetwork<'t>>),
    /// A chain that sees every packet.
    Filter(ScenarioNetwork<'t>),
}

/// What sees packets of one family at a hook, in order.
pub(super) fn stations(tables: &FakeTables, family: Family, hook: Hook) -> Vec<Station<'_>> {
    let (mut filter, mut nat) = (Vec::new(), Vec::new());
    for (id, table) in tables.tables() {
        if id.family != family || table.attributes().flags.dormant {
            continue;
        }
        for chain in table.hooked(hook) {
            let Some(base) = chain.chain().base else { continue };
            let site = ScenarioNetwork { id, table, chain };
            match base.kind {
                ChainKind::Filter => filter.push((base.priority, site)),
                ChainKind::Nat => nat.push((base.priority, site)),
            }
        }
    }
    nat.sort_by_key(|(priority, _)| *priority);
    let nat = nat.into_iter().map(|(_, site)| site).collect();
    let mut stations: Vec<_> = kernel_stations(hook, nat);
    stations.extend(filter.into_iter().map(|(priority, site)| (priority, Station::Filter(site))));
    // Stable: the kernel's own before chains of the same priority.
    stations.sort_by_key(|(priority, _)| *priority);
    stations.into_iter().map(|(_, station)| station).collect()
}

fn kernel_stations(hook: Hook, nat: Vec<ScenarioNetwork<'_>>) -> Vec<(i32, Station<'_>)> {
    match Manip::of(hook) {
        Some(Manip::Destination) => vec![
            (PRIORITY_CONNTRACK, Station::Conntrack),
            (PRIORITY_DSTNAT, Station::Nat(Manip::Destination, nat)),
        ],
        Some(Manip::Source) => vec![(PRIORITY_SRCNAT, Station::Nat(Manip::Source, nat))],
        None => Vec::new(),
    }
}
