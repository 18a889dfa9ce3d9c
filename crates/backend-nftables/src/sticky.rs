//! Brings what service ports have for themselves up to date.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use portolan_nft::{
    Bytes, Chain, DumpedChain, DumpedSet, Element, ElementValue, Family, Operation, Rule, Set, SetData,
    TableDump,
};

use crate::affinity::{Sticky, known_address, owner_of, shape, slot_key, slot_map};
use crate::commit::Batches;
use crate::frontend::{List, address};
use crate::slots::{Slots, Target};

/// What there is of one service port: known from what we wrote, or read back.
#[derive(Debug, Default)]
pub(crate) struct Present {
    sets: HashMap<Arc<str>, Contents>,
    chains: HashMap<Arc<str>, Rules>,
}

/// What a set holds.
#[derive(Debug)]
enum Contents {
    /// The endpoints that may be learned, sorted.
    Known(Vec<Bytes>),
    /// Where clients may have been led.
    Memory(BTreeSet<IpAddr>),
    /// Where slots lead.
    Slots(BTreeMap<Bytes, Bytes>),
}

#[derive(Debug)]
enum Rules {
    Written(Vec<Rule>),
    Read(Box<DumpedChain>),
}

/// The steps from what there is to what shall be.
#[derive(Debug, Default)]
pub(crate) struct StickyEdit {
    new_sets: Vec<Arc<Set>>,
    pub(crate) new_chains: Vec<(Arc<str>, Vec<Rule>)>,
    rewritten: Vec<(Arc<str>, Vec<Rule>)>,
    /// Elements that come, in sets and in maps of slots.
    new: Vec<(Arc<Set>, Vec<Element>)>,
    /// Slots that lead elsewhere; what they led to goes first.
    replaced: Vec<(Arc<Set>, Vec<Bytes>)>,
    gone: Vec<(Arc<Set>, Vec<Bytes>)>,
    gone_sets: Vec<Arc<str>>,
    /// Chains that nothing leads to afterwards; emptied at once, deleted later.
    pub(crate) gone_chains: Vec<Arc<str>>,
    /// Maps in which clients may be remembered that must look for another endpoint.
    pub(crate) purges: Vec<Purge>,
}

/// A map of clients, and the only addresses that it may lead to.
#[derive(Debug, Clone)]
pub(crate) struct Purge {
    pub(crate) map: Arc<Set>,
    pub(crate) allowed: BTreeSet<IpAddr>,
}

impl Purge {
    /// The clients in `found` that are led elsewhere.
    pub(crate) fn stale(&self, found: &DumpedSet) -> Vec<Element> {
        let is_stale = |element: &Element| match &element.value {
            ElementValue::Data(data) => address(data).is_none_or(|ip| !self.allowed.contains(&ip)),
            _ => true,
        };
        found.elements.iter().filter(is_stale).map(|element| Element::key(element.key)).collect()
    }
}

impl Present {
    /// What we wrote for `sticky`.
    pub(crate) fn of(sticky: Option<Sticky>) -> Self {
        let Some(sticky) = sticky else { return Self::default() };
        let known = sticky.known.into_iter().map(|(set, keys)| (set, Contents::Known(keys)));
        let memories = sticky.memories.into_iter().map(|(set, to)| (set, Contents::Memory(to)));
        let slots = sticky.slots.into_iter().map(|(set, elements)| (set, Contents::Slots(elements)));
        let sets =
            known.chain(memories).chain(slots).map(|(set, contents)| (Arc::clone(&set.name), contents));
        let chains = sticky.chains.into_iter().map(|(name, rules)| (name, Rules::Written(rules)));
        Self { sets: sets.collect(), chains: chains.collect() }
    }

    /// All that a dump holds of services with affinity, by owner.
    pub(crate) fn read(dump: &TableDump) -> HashMap<Arc<str>, Self> {
        let mut owners: HashMap<Arc<str>, Self> = HashMap::new();
        for chain in &dump.chains {
            if let Some(owner) = owner_of(&chain.chain.name) {
                let rules = Rules::Read(Box::new(chain.clone()));
                let present = owners.entry(owner.into()).or_default();
                present.chains.insert(Arc::clone(&chain.chain.name), rules);
            }
        }
        for set in dump.sets.iter().filter(|set| shape(&set.name).is_some()) {
            if let Some(owner) = owner_of(&set.name) {
                let present = owners.entry(owner.into()).or_default();
                present.sets.insert(Arc::clone(&set.name), Contents::read(set));
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

    /// The steps that make it `wanted`.
    pub(crate) fn turn_into(mut self, wanted: Option<Sticky>, family: Family) -> StickyEdit {
        let mut edit = StickyEdit::default();
        if let Some(wanted) = wanted {
            for set in wanted.sets().filter(|set| !self.sets.contains_key(&set.name)) {
                edit.new_sets.push(Arc::clone(set));
            }
            let mut left = BTreeSet::new();
            for (set, keys) in wanted.known {
                left.extend(self.fill(&mut edit, set, &keys));
            }
            for (map, elements) in wanted.slots {
                self.refill(&mut edit, map, &elements);
            }
            for (map, allowed) in wanted.memories {
                self.confine(&mut edit, map, allowed, &left);
            }
            self.rechain(&mut edit, wanted.chains, family);
        }
        edit.gone_sets = self.sets.into_keys().collect();
        edit.gone_chains = self.chains.into_keys().collect();
        edit
    }

    /// Returns the addresses of endpoints that were learned so far and shall be no more.
    fn fill(&mut self, edit: &mut StickyEdit, set: Arc<Set>, keys: &[Bytes]) -> Vec<IpAddr> {
        let present = match self.sets.remove(&set.name) {
            Some(Contents::Known(present)) => present,
            _ => Vec::new(),
        };
        let only_in = |a: &[Bytes], b: &[Bytes]| -> Vec<Bytes> {
            a.iter().filter(|key| b.binary_search(key).is_err()).copied().collect()
        };
        let (new, gone) = (only_in(keys, &present), only_in(&present, keys));
        let left = gone.iter().filter_map(known_address).collect();
        edit.new.push((Arc::clone(&set), new.into_iter().map(Element::key).collect()));
        edit.gone.push((set, gone));
        left
    }

    fn refill(&mut self, edit: &mut StickyEdit, map: Arc<Set>, wanted: &BTreeMap<Bytes, Bytes>) {
        let present = match self.sets.remove(&map.name) {
            Some(Contents::Slots(present)) => present,
            _ => BTreeMap::new(),
        };
        let gone = present.keys().filter(|slot| !wanted.contains_key(*slot)).copied().collect();
        let changed = wanted.iter().filter(|(slot, target)| present.get(*slot) != Some(target));
        let replaced = changed.clone().map(|(slot, _)| *slot).filter(|slot| present.contains_key(slot));
        edit.replaced.push((Arc::clone(&map), replaced.collect()));
        let new = changed.map(|(slot, target)| Element::data(*slot, *target)).collect();
        edit.new.push((Arc::clone(&map), new));
        edit.gone.push((map, gone));
    }

    /// What was read of a map is old by the time it is used: until the change is in force, clients are
    /// led to endpoints that have `left`, and learned there.
    fn confine(
        &mut self,
        edit: &mut StickyEdit,
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

    fn rechain(&mut self, edit: &mut StickyEdit, wanted: BTreeMap<Arc<str>, Vec<Rule>>, family: Family) {
        for (name, rules) in wanted {
            match self.chains.remove(&name) {
                None => edit.new_chains.push((name, rules)),
                Some(present) if !present.are(&name, &rules, family) => edit.rewritten.push((name, rules)),
                Some(_) => {}
            }
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

impl StickyEdit {
    /// Makes what is new; nothing leads there yet.
    pub(crate) fn prepare(&self, batches: &mut Batches<'_>) {
        for set in &self.new_sets {
            batches.push(Operation::AddSet(Arc::clone(set)));
        }
        for (map, slots) in &self.replaced {
            batches.current().delete_elements(map, slots.iter().map(|slot| Element::key(*slot)));
        }
        for (set, elements) in &self.new {
            batches.current().add_elements(set, elements.iter().cloned());
        }
        for (chain, rules) in &self.new_chains {
            batches.add_chain(Chain::regular(Arc::clone(chain)), rules.clone());
        }
    }

    /// Changes what connections are led by.
    pub(crate) fn switch(&self, batches: &mut Batches<'_>) {
        for (chain, rules) in &self.rewritten {
            batches.rewrite_chain(chain, rules.clone());
        }
    }

    /// Takes away what nothing leads to any more.
    pub(crate) fn release(&self, batches: &mut Batches<'_>) {
        for (set, keys) in &self.gone {
            batches.current().delete_elements(set, keys.iter().map(|key| Element::key(*key)));
        }
        for chain in &self.gone_chains {
            batches.push(Operation::FlushChain(Arc::clone(chain)));
        }
        for set in &self.gone_sets {
            batches.push(Operation::DeleteSet(Arc::clone(set)));
        }
    }
}
