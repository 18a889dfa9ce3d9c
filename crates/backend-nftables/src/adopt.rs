//! What the kernel holds when we start, compared with what it should hold.
//!
//! An earlier run, of this version or another, may have left its table, and
//! connections depend on it. If its sets and hooks can be gone on from, only the
//! difference is written, and what this version has no use for goes when nothing leads
//! there any more. If they cannot, the table is made anew in one transaction together
//! with all that belongs in it, so that no packet finds it empty.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use portolan_core::plan::{NodeSettings, ServicePort};
use portolan_core::{IpFamily, ServicePortName};
use portolan_nft::{Bytes, DumpedSet, Element, ElementValue, Family, Set, TableDump, Verdict};

use crate::affinity::{owner, shape};
use crate::class::{Class, NotAClass};
use crate::commit::vip_of;
use crate::edits::Edits;
use crate::frontend::{Frontend, List, Value, shares_slots};
use crate::layout::{Container, Feature, Layout};
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
    features: Vec<Feature>,
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
        && ranges.is_none_or(|set| set.elements.iter().all(|element| element.split_prefix(layout.family()).is_some()))
        && dump.sets.iter().all(|found| shape(&found.name).is_none_or(|ours| is_ours(found, &ours)))
}

/// Hooks cannot be changed in place. Those of another version go with its chains, when the load is done.
fn has_our_hooks(layout: &Layout, settings: &NodeSettings, dump: &TableDump) -> bool {
    let chains = layout.known_chains(settings).into_iter();
    let ours: HashMap<_, _> = chains.map(|(chain, _)| (Arc::clone(&chain.name), chain)).collect();
    dump.chains.iter().all(|found| match ours.get(&found.chain.name) {
        Some(chain) => !found.foreign && found.chain == *chain,
        None => !found.foreign,
    })
}

impl Existing {
    fn read(layout: &Layout, dump: &TableDump) -> Self {
        let mut existing = Self::default();
        for container in Container::ALL {
            if let Some(found) = dump.set(&layout.set(container).name) {
                let value = |element: Element| (element.key, value(container, &element, layout.family()));
                let elements = found.elements.iter().map(value);
                existing.containers[container as usize] = elements.collect();
            }
        }
        existing.sticky = Present::read(dump);
        existing
    }

    /// Takes note of a class chain that is as it should be, or will be.
    pub(crate) fn add_class(&mut self, class: Class) {
        self.classes.push(class);
    }

    /// Takes note of a feature whose chains are as they should be, or will be.
    pub(crate) fn add_feature(&mut self, feature: Feature) {
        self.features.push(feature);
    }

    /// The features whose chains are as they should be.
    pub(crate) fn features(&self) -> impl Iterator<Item = Feature> {
        self.features.iter().copied()
    }

    /// The class chains that are as they should be.
    pub(crate) fn classes(&self) -> impl Iterator<Item = Class> {
        self.classes.iter().copied()
    }

    /// The slots that a service port was left with: those that its addresses share, or of the first that has any.
    pub(crate) fn slots(&self, name: &ServicePortName, port: &ServicePort) -> SlotLists {
        let owner = shares_slots(port).then(|| owner(name));
        let shared = owner.as_ref().and_then(|owner| Some((owner, self.sticky.get(owner)?)));
        let frontends = Frontend::all(name, port, shared.is_none());
        let of = |list: List| {
            let maps = frontends.iter().flat_map(|frontend| {
                frontend.slot_maps().filter(|(_, l)| *l == list).map(move |(map, _)| (frontend, map))
            });
            let found = maps.map(|(frontend, map)| self.slots_in(frontend, map));
            let mut found =
                shared.map(|(owner, present)| present.slots(list, owner)).into_iter().chain(found);
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
        Slots::new((0..).map_while(target).collect())
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
fn value(container: Container, element: &Element, family: Family) -> Option<Value> {
    match (container, &element.value) {
        (Container::SourceRanges, ElementValue::None) => {
            element.split_prefix(family).map(|(_, _, bits)| Value::Prefix(bits))
        }
        (_, ElementValue::None) => Some(Value::Member),
        (_, ElementValue::Data(data)) => Target::parse(data).map(Value::Target),
        (_, ElementValue::Verdict(Verdict::Goto(chain))) => {
            Some(chain.parse().map_or_else(|NotAClass| Value::Chain(Arc::clone(chain)), Value::Class))
        }
        _ => None,
    }
}
