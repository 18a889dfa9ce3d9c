//! Brings dedicated chains and sets up to date.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use portolan_nft::{
    Bytes, Chain, DumpedChain, DumpedSet, Element, ElementValue, Family, Rule, Set, TableDump, Transaction,
};

use super::{Contents, Dedicated, known_address, owner_of, shape, slot_key, slot_map};
use crate::frontend::{List, address};
use crate::layout::Layout;
use crate::slots::{Slots, Target};

/// The dedicated objects that a service port has: known from what was written, or read back.
#[derive(Debug, Default)]
pub(crate) struct ProgrammedDedicated {
    sets: HashMap<Arc<str>, Contents>,
    chains: HashMap<Arc<str>, Rules>,
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
        let Dedicated { sets, chains } = written.unwrap_or_default();
        let sets = sets.into_iter().map(|(set, contents)| (Arc::clone(&set.name), contents));
        let chains = chains.into_iter().map(|(name, rules)| (name, Rules::Written(rules)));
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
            Some(Contents::Elements(found)) => Some(found),
            _ => None,
        };
        let target = |slot| Target::parse(found?.get(&slot_key(slot))?.as_ref()?);
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
            for (set, contents) in wanted.sets {
                let present = self.sets.remove(&set.name);
                match contents {
                    Contents::Elements(wanted) => left.extend(edit.fill(&set, &wanted, present)),
                    Contents::Clients(allowed) => edit.confine(set, allowed, present, &left),
                }
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

impl DedicatedEdit {
    /// Makes a set hold these elements. One that gets another value is deleted and added again.
    ///
    /// Returns the addresses of endpoints that could be learned so far and are removed.
    fn fill(
        &mut self,
        set: &Arc<Set>,
        wanted: &BTreeMap<Bytes, Option<Bytes>>,
        present: Option<Contents>,
    ) -> Vec<IpAddr> {
        let present = match present {
            Some(Contents::Elements(present)) => present,
            _ => BTreeMap::new(),
        };
        let gone = present.iter().filter(|(key, _)| !wanted.contains_key(*key));
        let changed = wanted.iter().filter(|(key, value)| present.get(*key) != Some(value));
        let replaced = changed.clone().map(|(key, _)| key).filter(|key| present.contains_key(key));
        self.prepare.delete_elements(set, replaced.map(|key| Element::key(*key)));
        let element = |(key, value): (&Bytes, &Option<Bytes>)| match value {
            Some(value) => Element::data(*key, *value),
            None => Element::key(*key),
        };
        self.prepare.add_elements(set, changed.map(element));
        self.release.delete_elements(set, gone.clone().map(|(key, _)| Element::key(*key)));
        gone.filter(|(_, value)| value.is_none()).filter_map(|(key, _)| known_address(key)).collect()
    }

    /// Lets a map of clients hold these endpoints only.
    ///
    /// A dump of a map is outdated when it is used: until the change is programmed, packets still go to
    /// endpoints that have `left`, and their clients are learned.
    fn confine(
        &mut self,
        map: Arc<Set>,
        allowed: BTreeSet<IpAddr>,
        present: Option<Contents>,
        left: &BTreeSet<IpAddr>,
    ) {
        if let Some(Contents::Clients(present)) = present
            && !(present.is_subset(&allowed) && left.is_subset(&allowed))
        {
            self.purges.push(Purge { map, allowed });
        }
    }
}

impl Contents {
    fn read(set: &DumpedSet) -> Self {
        let value = |element: &Element| match element.value {
            ElementValue::Data(data) => Some(data),
            _ => None,
        };
        if set.set.as_ref().is_some_and(|set| set.dynamic) {
            let endpoints = set.elements.iter().filter_map(|element| address(&value(&element)?));
            return Self::Clients(endpoints.collect());
        }
        Self::Elements(set.elements.iter().map(|element| (element.key, value(&element))).collect())
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
