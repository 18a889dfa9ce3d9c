//! Brings what services with affinity have for themselves up to date.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use portolan_nft::{
    Bytes, Chain, DumpedChain, DumpedSet, Element, ElementValue, Family, Operation, Rule, Set, TableDump,
};

use crate::affinity::{Sticky, known_address, owner_of, shape};
use crate::commit::Batches;
use crate::frontend::address;

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
    known: Vec<(Arc<Set>, Vec<Bytes>)>,
    unknown: Vec<(Arc<Set>, Vec<Bytes>)>,
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
        let sets = known.chain(memories).map(|(set, contents)| (Arc::clone(&set.name), contents));
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
        edit.known.push((Arc::clone(&set), new));
        edit.unknown.push((set, gone));
        left
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
        for (set, keys) in &self.known {
            batches.current().add_elements(set, keys.iter().map(|key| Element::key(*key)));
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
        for (set, keys) in &self.unknown {
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
