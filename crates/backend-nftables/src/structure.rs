//! The table itself, its sets and its chains, brought to what this version makes of them.

use std::collections::HashSet;
use std::sync::Arc;

use portolan_core::plan::NodeSettings;
use portolan_nft::{Chain, Element, Operation, Owner, Rule, Table, TableDump, TableFlags};

use crate::adopt::Existing;
use crate::affinity::{owner_of, shape};
use crate::class::Class;
use crate::commit::Batches;
use crate::layout::{Feature, Layout, nft_family};

/// Appends what makes the table, its sets and its chains as they should be.
///
/// Returns the names of chains and sets that do not belong there; they can only go
/// when nothing leads to them any more, after everything else.
pub(crate) fn structure(
    layout: &Layout,
    settings: &NodeSettings,
    dump: Option<&TableDump>,
    owned: bool,
    existing: &mut Existing,
    batches: &mut Batches<'_>,
) -> Obsolete {
    claim_table(dump, owned, batches);
    for set in layout.sets() {
        if dump.is_none_or(|dump| dump.set(&set.name).is_none()) {
            batches.push(Operation::AddSet(Arc::clone(set)));
        }
    }
    let chains = layout.chains(settings);
    for (chain, rules) in &chains {
        put_chain(layout, dump, chain, rules, batches);
    }
    ranges(layout, settings, dump, batches);
    let Some(dump) = dump else { return Obsolete::default() };
    for feature in Feature::ALL {
        let chains = feature.chains();
        if chains.iter().any(|(chain, _)| dump.chain(&chain.name).is_some()) {
            existing.add_feature(feature);
            for (chain, rules) in &chains {
                put_chain(layout, Some(dump), chain, rules, batches);
            }
        }
    }
    let mut obsolete = Obsolete::default();
    let known = layout.known_chains(settings);
    for found in &dump.chains {
        let name = &found.chain.name;
        if let Ok(class) = name.parse::<Class>() {
            let rules = class.rules(settings);
            put_chain(layout, Some(dump), &Chain::regular(Arc::clone(name)), &rules, batches);
            existing.add_class(class);
        } else if owner_of(name).is_none() && known.iter().all(|(chain, _)| chain.name != *name) {
            obsolete.chains.push(Arc::clone(name));
        }
    }
    let ours: HashSet<_> = layout.sets().map(|set| &set.name).collect();
    let is_ours = |name: &Arc<str>| ours.contains(name) || shape(name).is_some() || is_anonymous(name);
    obsolete.sets.extend(dump.sets.iter().map(|set| Arc::clone(&set.name)).filter(|name| !is_ours(name)));
    obsolete
}

/// Whether a set is part of a rule, with which it goes: nft asks the kernel to number these.
fn is_anonymous(name: &str) -> bool {
    ["__set", "__map"].iter().any(|prefix| name.starts_with(prefix))
}

/// Things in our table that this version has no use for.
///
/// Their rules and maps may hold on to anything in the table, to what is ours and goes as well as to
/// each other, so all of them let go of it before anything is deleted.
#[derive(Debug, Default)]
pub(crate) struct Obsolete {
    chains: Vec<Arc<str>>,
    sets: Vec<Arc<str>>,
}

impl Obsolete {
    /// Empties the chains, which nothing leads to any more.
    pub(crate) fn empty_chains(&self, batches: &mut Batches<'_>) {
        for chain in &self.chains {
            batches.push(Operation::FlushChain(Arc::clone(chain)));
        }
    }

    /// Deletes the sets, which no rule looks into any more.
    pub(crate) fn delete_sets(&mut self, batches: &mut Batches<'_>) {
        for set in self.sets.drain(..) {
            batches.push(Operation::DeleteSet(set));
        }
    }

    /// The chains, empty by now.
    pub(crate) fn into_chains(self) -> Vec<Arc<str>> {
        self.chains
    }
}

/// Creates the table, or makes one that an earlier run left owned ours.
fn claim_table(dump: Option<&TableDump>, owned: bool, batches: &mut Batches<'_>) {
    let (flags, exists) = match dump {
        None if owned => (TableFlags::OWNED, false),
        None => (TableFlags::NONE, false),
        // The kernel takes the owner flag away with the owner and leaves the other.
        Some(dump) if dump.table.flags.persist && dump.owner != Owner::Us => (TableFlags::OWNED, true),
        Some(_) => return,
    };
    batches.current().add_table(Table { flags, comment: None });
    if exists {
        // Until the claim is committed the kernel takes no base chain in the table: EINVAL, for
        // `__NFT_TABLE_F_UPDATE` in nf_tables_addchain, net/netfilter/nf_tables_api.c of Linux 6.9 on.
        batches.cut();
    }
}

fn put_chain(
    layout: &Layout,
    dump: Option<&TableDump>,
    chain: &Chain,
    rules: &[Rule],
    batches: &mut Batches<'_>,
) {
    let found = dump.and_then(|dump| dump.chain(&chain.name));
    if found.is_some_and(|found| found.holds(chain, rules, nft_family(layout.family))) {
        return;
    }
    match found {
        Some(_) => batches.rewrite_chain(&chain.name, rules.to_vec()),
        None => batches.add_chain(chain.clone(), rules.to_vec()),
    }
}

/// Makes the sets that follow the node's settings hold what they should.
fn ranges(layout: &Layout, settings: &NodeSettings, dump: Option<&TableDump>, batches: &mut Batches<'_>) {
    for (set, wanted) in layout.ranges(settings) {
        let mut found: Vec<Element> = dump
            .and_then(|dump| dump.set(&set.name))
            .map(|set| set.elements.iter().collect())
            .unwrap_or_default();
        found.sort_by_key(|element| element.key);
        batches.refill(set, &found, wanted);
    }
}
