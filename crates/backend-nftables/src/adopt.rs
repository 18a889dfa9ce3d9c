//! What the kernel holds when we start, compared with what it should hold.
//!
//! An earlier run, of this version or another, may have left its table, and
//! connections depend on it. If its sets and hooks are the ones we would make, only
//! the difference is written. If they are not, the table is made anew in one
//! transaction together with all that belongs in it, so that no packet finds it empty.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use portolan_core::plan::{NodeSettings, ServicePort};
use portolan_core::{IpFamily, ServicePortName};
use portolan_nft::{
    Bytes, Chain, DumpedSet, Element, ElementValue, Operation, Owner, Rule, Set, Table, TableDump,
    TableFlags, Verdict,
};

use crate::affinity::{owner, owner_of, shape};
use crate::class::{Class, NotAClass};
use crate::commit::{Batches, vip_of};
use crate::edits::Edits;
use crate::frontend::{Frontend, List, Value, address as address_of};
use crate::layout::{Container, Layout, nft_family};
use crate::loaded::SlotLists;
use crate::slots::{Slots, Target};
use crate::sticky::Present;

/// How to begin a first load.
#[derive(Debug)]
pub(crate) enum Start {
    /// There is no table.
    Create,
    /// There is one with other sets or hooks than ours, or one put to sleep: replace it at once.
    Replace,
    /// There is one to go on from.
    Adopt(Box<Existing>),
}

/// The elements that were found, shrinking as wanted ones are recognised among them.
#[derive(Debug, Default)]
pub(crate) struct Existing {
    containers: [HashMap<Bytes, Option<Value>>; Container::ALL.len()],
    classes: Vec<Class>,
    /// What services with affinity have for themselves, by owner.
    sticky: HashMap<Arc<str>, Present>,
}

impl Start {
    /// Looks at what was read from the kernel.
    pub(crate) fn choose(layout: &Layout, settings: &NodeSettings, dump: Option<&TableDump>) -> Self {
        let Some(dump) = dump else { return Self::Create };
        if dump.table.flags.dormant || !has_our_sets(layout, dump) || !has_our_hooks(layout, settings, dump) {
            return Self::Replace;
        }
        Self::Adopt(Box::new(Existing::read(layout, dump)))
    }
}

fn has_our_sets(layout: &Layout, dump: &TableDump) -> bool {
    let is_ours = |found: &DumpedSet, ours: &Set| found.set.as_deref() == Some(ours);
    let ranges = dump.set(Container::SourceRanges.name());
    layout.sets().all(|set| dump.set(&set.name).is_none_or(|found| is_ours(found, set)))
        // Ranges that are no prefixes are not ours, and could not be named to be deleted.
        && ranges.is_none_or(|set| set.elements.iter().all(|element| prefix(&element).is_some()))
        && dump.sets.iter().all(|found| shape(&found.name).is_none_or(|ours| is_ours(found, &ours)))
}

/// Hooks cannot be changed in place, and a base chain of another version must not stay.
fn has_our_hooks(layout: &Layout, settings: &NodeSettings, dump: &TableDump) -> bool {
    let ours: HashMap<_, _> =
        layout.chains(settings).into_iter().map(|(chain, _)| (Arc::clone(&chain.name), chain)).collect();
    dump.chains.iter().all(|found| match ours.get(&found.chain.name) {
        Some(chain) => !found.foreign && found.chain == *chain,
        None => !found.foreign && found.chain.base.is_none(),
    })
}

impl Existing {
    fn read(layout: &Layout, dump: &TableDump) -> Self {
        let mut existing = Self::default();
        for container in Container::ALL {
            if let Some(found) = dump.set(&layout.set(container).name) {
                let elements = found.elements.iter().map(|element| (element.key, value(container, &element)));
                existing.containers[container as usize] = elements.collect();
            }
        }
        existing.sticky = Present::read(dump);
        existing
    }

    /// The class chains that are as they should be.
    pub(crate) fn classes(&self) -> impl Iterator<Item = Class> {
        self.classes.iter().copied()
    }

    /// The slots that a service port was left with: those of its first address that has any.
    pub(crate) fn slots(&self, name: &ServicePortName, port: &ServicePort) -> SlotLists {
        let frontends = Frontend::all(name, port);
        let of = |list: List| {
            let maps = frontends.iter().flat_map(|frontend| {
                frontend.slot_maps().filter(|(_, l)| *l == list).map(move |(map, _)| (frontend, map))
            });
            let mut found = maps.map(|(frontend, map)| self.slots_in(frontend, map));
            found.find(|slots| slots.count() > 0).unwrap_or_default()
        };
        SlotLists { cluster: of(List::Cluster), local: of(List::Local) }
    }

    fn slots_in(&self, frontend: &Frontend, map: Container) -> Slots {
        let elements = &self.containers[map as usize];
        let target = |slot| match elements.get(&frontend.slot_key(slot)) {
            Some(Some(Value::Target(target))) => Some(*target),
            _ => None,
        };
        let mut seen = HashSet::new();
        Slots::new((0..).map_while(target).take_while(|target| seen.insert(*target)).collect())
    }

    /// What a service port with affinity was left with.
    pub(crate) fn take_sticky(&mut self, name: &ServicePortName) -> Present {
        self.sticky.remove(&owner(name)).unwrap_or_default()
    }

    /// What belongs to service ports that are gone, or no longer have affinity.
    pub(crate) fn leftover_sticky(&mut self) -> Vec<Present> {
        std::mem::take(&mut self.sticky).into_values().collect()
    }

    /// Tells `edits` which of the keys they would add are there already.
    pub(crate) fn recognise(&mut self, edits: &mut Edits, family: IpFamily) {
        self.withdraw_ranges(edits, family);
        for container in Container::ALL {
            let elements = &mut self.containers[container as usize];
            let keys: Vec<Bytes> = edits.keys(container).copied().collect();
            for key in keys {
                if let Some(value) = elements.remove(&key) {
                    edits.found((container, key, value.unwrap_or(Value::Member)));
                }
            }
        }
    }

    /// Lets `edits` remove the ranges that their VIPs no longer have: new ones may overlap with
    /// them, so these cannot wait to be left over.
    fn withdraw_ranges(&mut self, edits: &mut Edits, family: IpFamily) {
        let wanted: HashSet<Bytes> = edits.keys(Container::SourceRanges).copied().collect();
        let vips: HashSet<&[u8]> = wanted.iter().map(|range| vip_of(range, family)).collect();
        let ranges = &mut self.containers[Container::SourceRanges as usize];
        let is_old = |range: &Bytes| vips.contains(vip_of(range, family)) && !wanted.contains(range);
        for (range, value) in ranges.extract_if(|range, _| is_old(range)) {
            edits.remove((Container::SourceRanges, range, value.unwrap_or(Value::Member)));
        }
    }

    /// Removes what nobody recognised.
    pub(crate) fn leftovers(self) -> Edits {
        let mut edits = Edits::default();
        for container in Container::ALL {
            for (key, value) in &self.containers[container as usize] {
                edits.remove((container, *key, value.clone().unwrap_or(Value::Member)));
            }
        }
        edits
    }
}

/// What an element found in `container` means; `None` when it is not one of ours.
fn value(container: Container, element: &Element) -> Option<Value> {
    match (container, &element.value) {
        (Container::SourceRanges, ElementValue::None) => prefix(element).map(Value::Prefix),
        (_, ElementValue::None) => Some(Value::Member),
        (_, ElementValue::Data(data)) => target(data).map(Value::Target),
        (_, ElementValue::Verdict(Verdict::Goto(chain))) => {
            Some(chain.parse().map_or_else(|NotAClass| Value::Chain(Arc::clone(chain)), Value::Class))
        }
        _ => None,
    }
}

/// How many leading bits the keys of a range of addresses share, if it is all keys of one VIP that
/// share them.
fn prefix(element: &Element) -> Option<u8> {
    let last = element.key_end.as_deref().unwrap_or(&element.key);
    let address = if element.key.len() > 16 + 12 { 16 } else { 4 };
    let split = |key: &[u8]| -> Option<(Vec<u8>, u128)> {
        let (vip, source) = key.split_at_checked(key.len().checked_sub(address)?)?;
        Some((vip.to_vec(), source.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))))
    };
    let (first_vip, first) = split(&element.key)?;
    let (last_vip, last) = split(last)?;
    if first_vip != last_vip {
        return None;
    }
    let host = first ^ last;
    let length = u8::try_from(address * 8).ok()?;
    let host_bits = u8::try_from(128 - host.leading_zeros()).ok()?;
    (host.count_ones() == u32::from(host_bits)).then(|| length - host_bits)
}

fn target(data: &[u8]) -> Option<Target> {
    let (address, port) = data.split_at_checked(data.len().checked_sub(4)?)?;
    let address = address_of(address)?;
    Some(Target { address, port: u16::from_be_bytes(port.get(..2)?.try_into().ok()?) })
}

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
    let mut obsolete = Obsolete::default();
    for found in &dump.chains {
        let name = &found.chain.name;
        if let Ok(class) = name.parse::<Class>() {
            let rules = class.rules(settings);
            put_chain(layout, Some(dump), &Chain::regular(Arc::clone(name)), &rules, batches);
            existing.classes.push(class);
        } else if owner_of(name).is_none() && chains.iter().all(|(chain, _)| chain.name != *name) {
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
        Some(_) => batches.push(Operation::FlushChain(Arc::clone(&chain.name))),
        None => batches.push(Operation::AddChain(chain.clone())),
    }
    for rule in rules {
        batches.push(Operation::AddRule(Arc::clone(&chain.name), rule.clone()));
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
        if found == wanted {
            continue;
        }
        if !found.is_empty() {
            batches.push(Operation::FlushSet(Arc::clone(&set.name)));
        }
        batches.current().add_elements(set, wanted);
    }
}
