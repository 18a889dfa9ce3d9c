//! Brings dedicated chains and sets up to date.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use portolan_nft::{
    Bytes, Chain, DumpedChain, DumpedSet, Element, ElementValue, Family, Rule, Set, SetData, TableDump,
    Transaction,
};

use super::{Dedicated, known_address, owner_of, shape, slot_key, slot_map};
use crate::frontend::{List, address};
use crate::layout::Layout;
use crate::slots::{Slots, Target};

/// The dedicated objects that a service port has: known from what was written, or read back.
#[derive(Debug, Default)]
pub(crate) struct ProgrammedDedicated {
    sets: HashMap<Arc<str>, Contents>,
    chains: HashMap<Arc<str>, Rules>,
}

/// The elements of a set.
#[derive(Debug)]
enum Contents {
    /// The endpoints that may be learned, sorted.
    Known(Vec<Bytes>),
    /// The endpoints of remembered clients.
    Memory(BTreeSet<IpAddr>),
    /// The endpoints of slots.
    Slots(BTreeMap<Bytes, Bytes>),
}

#[derive(Debug)]
enum Rules {
    Written(Vec<Rule>),
    Read(Box<DumpedChain>),
}

/// The steps from the programmed objects to the wanted ones, in three parts.
#[derive(Debug)]
pub(crate) struct DedicatedEdit {
    /// Creates what is new, before any verdict leads there.
    pub(crate) prepare: Transaction,
    /// Rewrites the chains that connections pass.
    pub(crate) switch: Transaction,
    /// Removes what nothing leads to any more.
    pub(crate) release: Transaction,
    pub(crate) new_chains: Vec<Arc<str>>,
    /// Chains that nothing leads to afterwards; emptied at once, deleted later.
    pub(crate) stale_chains: Vec<Arc<str>>,
    /// Maps that may hold clients of an endpoint that is gone.
    pub(crate) purges: Vec<Purge>,
}

/// A map of clients, and the only endpoints that it may hold.
#[derive(Debug, Clone)]
pub(crate) struct Purge {
    pub(crate) map: Arc<Set>,
    pub(crate) allowed: BTreeSet<IpAddr>,
}

impl Purge {
    /// The clients in `found` that have another endpoint.
    pub(crate) fn stale(&self, found: &DumpedSet) -> Vec<Element> {
        let is_stale = |element: &Element| match &element.value {
            ElementValue::Data(data) => address(data).is_none_or(|ip| !self.allowed.contains(&ip)),
            _ => true,
        };
        found.elements.iter().filter(is_stale).map(|element| Element::key(element.key)).collect()
    }
}

impl ProgrammedDedicated {
    /// What was written for a service port.
    pub(crate) fn of(written: Option<Dedicated>) -> Self {
        let Some(written) = written else { return Self::default() };
        let known = written.known.into_iter().map(|(set, keys)| (set, Contents::Known(keys)));
        let memories = written.memories.into_iter().map(|(set, to)| (set, Contents::Memory(to)));
        let slots = written.slots.into_iter().map(|(set, elements)| (set, Contents::Slots(elements)));
        let sets =
            known.chain(memories).chain(slots).map(|(set, contents)| (Arc::clone(&set.name), contents));
        let chains = written.chains.into_iter().map(|(name, rules)| (name, Rules::Written(rules)));
        Self { sets: sets.collect(), chains: chains.collect() }
    }

    /// The dedicated objects in a dump, by owner.
    pub(crate) fn read(dump: &TableDump) -> HashMap<Arc<str>, Self> {
        let mut owners: HashMap<Arc<str>, Self> = HashMap::new();
        for chain in &dump.chains {
            if let Some(owner) = owner_of(&chain.chain.name) {
                let rules = Rules::Read(Box::new(chain.clone()));
                let found = owners.entry(owner.into()).or_default();
                found.chains.insert(Arc::clone(&chain.chain.name), rules);
            }
        }
        for set in dump.sets.iter().filter(|set| shape(&set.name).is_some()) {
            if let Some(owner) = owner_of(&set.name) {
                let found = owners.entry(owner.into()).or_default();
                found.sets.insert(Arc::clone(&set.name), Contents::read(set));
            }
        }
        owners
    }

    /// The slots of one list that the addresses of this owner share.
    pub(crate) fn slots(&self, list: List, owner: &str) -> Slots {
        let found = match self.sets.get(&slot_map(list, owner).name) {
            Some(Contents::Slots(found)) => Some(found),
            _ => None,
        };
        let target = |slot| Target::parse(found?.get(&slot_key(slot))?);
        Slots::new((0..).map_while(target).collect())
    }

    /// The steps that lead to `wanted`.
    pub(crate) fn turn_into(mut self, wanted: Option<Dedicated>, layout: &Layout) -> DedicatedEdit {
        let part = || Transaction::new(layout.table());
        let mut edit = DedicatedEdit {
            prepare: part(),
            switch: part(),
            release: part(),
            new_chains: Vec::new(),
            stale_chains: Vec::new(),
            purges: Vec::new(),
        };
        if let Some(wanted) = wanted {
            for set in wanted.sets().filter(|set| !self.sets.contains_key(&set.name)) {
                edit.prepare.add_set(Arc::clone(set));
            }
            let mut left = BTreeSet::new();
            for (set, keys) in wanted.known {
                left.extend(self.fill(&mut edit, &set, &keys));
            }
            for (map, elements) in wanted.slots {
                self.refill(&mut edit, &map, &elements);
            }
            for (map, allowed) in wanted.memories {
                self.confine(&mut edit, map, allowed, &left);
            }
            for (name, rules) in wanted.chains {
                self.rechain(&mut edit, name, rules, layout.family());
            }
        }
        for chain in self.chains.into_keys() {
            edit.release.flush_chain(Arc::clone(&chain));
            edit.stale_chains.push(chain);
        }
        for set in self.sets.into_keys() {
            edit.release.delete_set(set);
        }
        edit
    }

    /// Returns the addresses of endpoints that were learned so far and are no longer allowed.
    fn fill(&mut self, edit: &mut DedicatedEdit, set: &Arc<Set>, keys: &[Bytes]) -> Vec<IpAddr> {
        let present = match self.sets.remove(&set.name) {
            Some(Contents::Known(present)) => present,
            _ => Vec::new(),
        };
        let only_in = |a: &[Bytes], b: &[Bytes]| -> Vec<Bytes> {
            a.iter().filter(|key| b.binary_search(key).is_err()).copied().collect()
        };
        let (new, gone) = (only_in(keys, &present), only_in(&present, keys));
        let left = gone.iter().filter_map(known_address).collect();
        edit.prepare.add_elements(set, new.into_iter().map(Element::key));
        edit.release.delete_elements(set, gone.into_iter().map(Element::key));
        left
    }

    /// A slot that gets another endpoint is deleted and added again.
    fn refill(&mut self, edit: &mut DedicatedEdit, map: &Arc<Set>, wanted: &BTreeMap<Bytes, Bytes>) {
        let present = match self.sets.remove(&map.name) {
            Some(Contents::Slots(present)) => present,
            _ => BTreeMap::new(),
        };
        let gone = present.keys().filter(|slot| !wanted.contains_key(*slot));
        let changed = wanted.iter().filter(|(slot, target)| present.get(*slot) != Some(target));
        let replaced = changed.clone().map(|(slot, _)| slot).filter(|slot| present.contains_key(slot));
        edit.prepare.delete_elements(map, replaced.map(|slot| Element::key(*slot)));
        edit.prepare.add_elements(map, changed.map(|(slot, target)| Element::data(*slot, *target)));
        edit.release.delete_elements(map, gone.map(|slot| Element::key(*slot)));
    }

    /// A dump of a map is outdated when it is used: until the change is programmed, packets still go to
    /// endpoints that have `left`, and their clients are learned.
    fn confine(
        &mut self,
        edit: &mut DedicatedEdit,
        map: Arc<Set>,
        allowed: BTreeSet<IpAddr>,
        left: &BTreeSet<IpAddr>,
    ) {
        if let Some(Contents::Memory(present)) = self.sets.remove(&map.name)
            && !(present.is_subset(&allowed) && left.is_subset(&allowed))
        {
            edit.purges.push(Purge { map, allowed });
        }
    }

    fn rechain(&mut self, edit: &mut DedicatedEdit, name: Arc<str>, rules: Vec<Rule>, family: Family) {
        match self.chains.remove(&name) {
            None => {
                edit.prepare.add_chain(Chain::regular(Arc::clone(&name))).add_rules(&name, rules);
                edit.new_chains.push(name);
            }
            Some(present) if !present.are(&name, &rules, family) => {
                edit.switch.flush_chain(Arc::clone(&name)).add_rules(&name, rules);
            }
            Some(_) => {}
        }
    }
}

impl Contents {
    fn read(set: &DumpedSet) -> Self {
        let is_memory = set.set.as_ref().is_some_and(|set| set.dynamic);
        if is_memory {
            let to = set.elements.iter().filter_map(|element| match &element.value {
                ElementValue::Data(data) => address(data),
                _ => None,
            });
            return Self::Memory(to.collect());
        }
        if set.set.as_ref().is_some_and(|set| matches!(set.data, SetData::Value(_))) {
            let slots = set.elements.iter().filter_map(|element| match element.value {
                ElementValue::Data(data) => Some((element.key, data)),
                _ => None,
            });
            return Self::Slots(slots.collect());
        }
        let mut keys: Vec<Bytes> = set.elements.iter().map(|element| element.key).collect();
        keys.sort_unstable();
        Self::Known(keys)
    }
}

impl Rules {
    fn are(&self, name: &Arc<str>, wanted: &[Rule], family: Family) -> bool {
        match self {
            Self::Written(rules) => rules == wanted,
            Self::Read(chain) => chain.holds(&Chain::regular(Arc::clone(name)), wanted, family),
        }
    }
}
