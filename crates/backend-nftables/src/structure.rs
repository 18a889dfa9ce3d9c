//! Creates or updates the table itself, its sets and its chains.

use std::collections::HashSet;
use std::sync::Arc;

use portolan_core::plan::NodeSettings;
use portolan_nft::{Chain, Element, Owner, Rule, Table, TableDump, TableFlags};

use crate::class::Class;
use crate::commit::Batches;
use crate::dedicated::{owner_of, shape};
use crate::layout::{Feature, Layout, nft_family};
use crate::programmed::Programmed;

/// Appends the steps that create or update the table, its sets and its chains.
///
/// Returns the names of sets that do not belong there, and adds chains that do not to the stale chains. Their rules and
/// maps may refer to anything in the table, also to each other, so all of them are emptied before anything is deleted.
pub(crate) fn structure(
    layout: &Layout,
    settings: &NodeSettings,
    dump: Option<&TableDump>,
    owned: bool,
    programmed: &mut Programmed,
    batches: &mut Batches<'_>,
) -> Vec<Arc<str>> {
    claim_table(dump, owned, batches);
    for set in layout.sets() {
        if dump.is_none_or(|dump| dump.set(&set.name).is_none()) {
            batches.current().add_set(Arc::clone(set));
        }
    }
    let chains = layout.chains(settings);
    for (chain, rules) in &chains {
        put_chain(layout, dump, chain, rules, batches);
    }
    ranges(layout, settings, dump, batches);
    let Some(dump) = dump else { return Vec::new() };
    for feature in Feature::ALL {
        let chains = feature.chains();
        if chains.iter().any(|(chain, _)| dump.chain(&chain.name).is_some()) {
            programmed.features.found(feature);
            for (chain, rules) in &chains {
                put_chain(layout, Some(dump), chain, rules, batches);
            }
        }
    }
    let known = layout.known_chains(settings);
    for found in &dump.chains {
        let name = &found.chain.name;
        if let Some(class) = Class::parse(name) {
            let rules = class.rules(settings);
            put_chain(layout, Some(dump), &Chain::regular(Arc::clone(name)), &rules, batches);
            programmed.found_class(class);
        } else if owner_of(name).is_none() && known.iter().all(|(chain, _)| chain.name != *name) {
            programmed.stale_chains.push(Arc::clone(name));
        }
    }
    let ours: HashSet<_> = layout.sets().map(|set| &set.name).collect();
    let is_ours = |name: &Arc<str>| ours.contains(name) || shape(name).is_some() || is_anonymous(name);
    dump.sets.iter().map(|set| Arc::clone(&set.name)).filter(|name| !is_ours(name)).collect()
}

/// Whether a set is anonymous, part of a rule and deleted with it.
fn is_anonymous(name: &str) -> bool {
    ["__set", "__map"].iter().any(|prefix| name.starts_with(prefix))
}

/// Creates the table, or claims ownership of one that an earlier run left.
fn claim_table(dump: Option<&TableDump>, owned: bool, batches: &mut Batches<'_>) {
    let (flags, exists) = match dump {
        None if owned => (TableFlags::OWNED, false),
        None => (TableFlags::NONE, false),
        // The kernel removes the owner flag with the owner and keeps the other.
        Some(dump) if dump.table.flags.persist && dump.owner != Owner::Us => (TableFlags::OWNED, true),
        Some(_) => return,
    };
    batches.current().add_table(Table { flags, comment: None });
    if exists {
        // Until the claim is committed the kernel rejects base chains in the table: EINVAL, for
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

/// Updates the sets that follow the node's settings.
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
