//! Takes over the table that exists at the start.
//!
//! An earlier run, of this version or another, may have left its table, and
//! connections depend on it. If its sets and hooks are compatible, only the difference
//! is written, and stale objects are deleted when nothing leads there any more. If they
//! are not, the table is replaced in one transaction together with its content, so that
//! no packet meets an empty table.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use portolan_core::plan::{NodeSettings, ServicePort};
use portolan_core::{IpFamily, ServicePortName};
use portolan_nft::{Bytes, DumpedSet, Element, ElementValue, Family, Set, TableDump, Verdict};

use crate::class::Class;
use crate::commit::vip_of;
use crate::dedicated::{ProgrammedDedicated, owner, shape};
use crate::edits::Edits;
use crate::frontend::{Frontend, List, Value, shares_slots};
use crate::layout::{Layout, ServiceSet};
use crate::programmed::SlotLists;
use crate::slots::{Slots, Target};

/// The elements that were found and that no wanted element matched so far.
#[derive(Debug, Default)]
pub(crate) struct Existing {
    sets: [HashMap<Bytes, Option<Value>>; ServiceSet::ALL.len()],
    /// The dedicated objects, by owner.
    dedicated: HashMap<Arc<str>, ProgrammedDedicated>,
}

/// Whether a table can be taken over: its sets and hooks are those of this version, and it is not dormant.
pub(crate) fn is_compatible(layout: &Layout, settings: &NodeSettings, dump: &TableDump) -> bool {
    !dump.table.flags.dormant && has_our_sets(layout, dump) && has_our_hooks(layout, settings, dump)
}

fn has_our_sets(layout: &Layout, dump: &TableDump) -> bool {
    let is_ours = |found: &DumpedSet, ours: &Set| found.set.as_deref() == Some(ours);
    let ranges = dump.set(ServiceSet::SourceRanges.name());
    layout.sets().all(|set| dump.set(&set.name).is_none_or(|found| is_ours(found, set)))
        // Ranges that are no prefixes are not ours, and could not be named to be deleted.
        && ranges.is_none_or(|set| set.elements.iter().all(|element| element.split_prefix(layout.family()).is_some()))
        && dump.sets.iter().all(|found| shape(&found.name).is_none_or(|ours| is_ours(found, &ours)))
}

/// Hooks cannot be changed in place. Those of another version are deleted with its chains at the end.
fn has_our_hooks(layout: &Layout, settings: &NodeSettings, dump: &TableDump) -> bool {
    let chains = layout.known_chains(settings).into_iter();
    let ours: HashMap<_, _> = chains.map(|(chain, _)| (Arc::clone(&chain.name), chain)).collect();
    dump.chains.iter().all(|found| match ours.get(&found.chain.name) {
        Some(chain) => !found.foreign && found.chain == *chain,
        None => !found.foreign,
    })
}

impl Existing {
    /// What a table holds.
    pub(crate) fn read(layout: &Layout, dump: &TableDump) -> Self {
        let mut existing = Self::default();
        for set in ServiceSet::ALL {
            if let Some(found) = dump.set(&layout.set(set).name) {
                let value = |element: Element| (element.key, value(set, &element, layout.family()));
                let elements = found.elements.iter().map(value);
                existing.sets[set as usize] = elements.collect();
            }
        }
        existing.dedicated = ProgrammedDedicated::read(dump);
        existing
    }

    /// The existing slots of a service port: those that its addresses share, or of the first that has any.
    pub(crate) fn slots(&self, name: &ServicePortName, port: &ServicePort) -> SlotLists {
        let owner = shares_slots(port).then(|| owner(name));
        let shared = owner.as_ref().and_then(|owner| Some((owner, self.dedicated.get(owner)?)));
        let frontends = Frontend::all(name, port, shared.is_none());
        List::ALL.map(|list| {
            let maps = frontends.iter().flat_map(|frontend| {
                frontend.slot_maps().filter(|(_, l)| *l == list).map(move |(map, _)| (frontend, map))
            });
            let found = maps.map(|(frontend, map)| self.slots_in(frontend, map));
            let mut found =
                shared.map(|(owner, present)| present.slots(list, owner)).into_iter().chain(found);
            found.find(|slots| slots.count() > 0).unwrap_or_default()
        })
    }

    fn slots_in(&self, frontend: &Frontend, map: ServiceSet) -> Slots {
        let elements = &self.sets[map as usize];
        let target = |slot| match elements.get(&frontend.slot_key(slot)) {
            Some(Some(Value::Target(target))) => Some(*target),
            _ => None,
        };
        Slots::new((0..).map_while(target).collect())
    }

    /// The existing dedicated objects of a service port.
    pub(crate) fn take_dedicated(&mut self, name: &ServicePortName) -> ProgrammedDedicated {
        self.dedicated.remove(&owner(name)).unwrap_or_default()
    }

    /// The dedicated objects of service ports that need none any more.
    pub(crate) fn stale_dedicated(&mut self) -> Vec<ProgrammedDedicated> {
        std::mem::take(&mut self.dedicated).into_values().collect()
    }

    /// Records in `edits` which of the keys to add exist already.
    pub(crate) fn match_found(&mut self, edits: &mut Edits, family: IpFamily) {
        self.withdraw_ranges(edits, family);
        for set in ServiceSet::ALL {
            let elements = &mut self.sets[set as usize];
            let keys: Vec<Bytes> = edits.keys(set).copied().collect();
            for key in keys {
                if let Some(value) = elements.remove(&key) {
                    edits.found((set, key, value.unwrap_or(Value::Member)));
                }
            }
        }
    }

    /// Lets `edits` remove the ranges that their VIPs no longer have: new ones may overlap with
    /// them, so they cannot stay until the end.
    fn withdraw_ranges(&mut self, edits: &mut Edits, family: IpFamily) {
        let wanted: HashSet<Bytes> = edits.keys(ServiceSet::SourceRanges).copied().collect();
        let vips: HashSet<&[u8]> = wanted.iter().map(|range| vip_of(range, family)).collect();
        let ranges = &mut self.sets[ServiceSet::SourceRanges as usize];
        let is_old = |range: &Bytes| vips.contains(vip_of(range, family)) && !wanted.contains(range);
        for (range, value) in ranges.extract_if(|range, _| is_old(range)) {
            edits.remove((ServiceSet::SourceRanges, range, value.unwrap_or(Value::Member)));
        }
    }

    /// Removes what no wanted element matched.
    pub(crate) fn stale(self) -> Edits {
        let mut edits = Edits::default();
        for set in ServiceSet::ALL {
            for (key, value) in &self.sets[set as usize] {
                edits.remove((set, *key, value.clone().unwrap_or(Value::Member)));
            }
        }
        edits
    }
}

/// The value of an element found in `set`; `None` when it cannot be one of ours.
fn value(set: ServiceSet, element: &Element, family: Family) -> Option<Value> {
    match (set, &element.value) {
        (ServiceSet::SourceRanges, ElementValue::None) => {
            element.split_prefix(family).map(|(_, _, bits)| Value::Prefix(bits))
        }
        (_, ElementValue::None) => Some(Value::Member),
        (_, ElementValue::Data(data)) => Target::parse(data).map(Value::Target),
        (_, ElementValue::Verdict(Verdict::Goto(chain))) => {
            Some(Class::parse(chain).map_or_else(|| Value::Chain(Arc::clone(chain)), Value::Class))
        }
        _ => None,
    }
}
