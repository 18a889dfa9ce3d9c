//! What is programmed, as far as later changes need it: the slots of each service port, and what
//! several of them share.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::plan::Locality;
use portolan_core::{Endpoint, ServicePort, ServicePortName};
use portolan_nft::Bytes;

use crate::class::Class;
use crate::dedicated::{Dedicated, DedicatedEdit, Purge};
use crate::edits::Edits;
use crate::frontend::{Frontend, List, SetElement, Value, shared_verdict_elements};
use crate::layout::{FeaturesInUse, ServiceSet};
use crate::slots::{Order, SlotChange, Slots};

/// The programmed services of one family.
#[derive(Debug, Default)]
pub(crate) struct Programmed {
    ports: HashMap<ServicePortName, ProgrammedPort>,
    /// The class chains there are, with the number of VIPs and node ports in each.
    classes: HashMap<Class, usize>,
    /// How many endpoint lists name an endpoint that may run on this node.
    local_endpoints: Counted<IpAddr>,
    /// How many service ports have a cluster IP.
    cluster_ips: Counted<IpAddr>,
    unused_classes: usize,
    /// The chains that exist while something uses them.
    pub(crate) features: FeaturesInUse,
    /// Classes whose chain is still to be created.
    new_classes: Vec<Class>,
    /// Service ports whose dedicated chains and sets may change.
    dedicated: Vec<DedicatedChange>,
    /// Dedicated chains that are no longer used, and chains of other versions; empty, but not deleted yet.
    pub(crate) stale_chains: Vec<Arc<str>>,
}

/// A changed service port that may have dedicated objects; as it is programmed, and as it is wanted.
#[derive(Debug)]
pub(crate) struct DedicatedChange {
    pub(crate) name: ServicePortName,
    pub(crate) old: Option<(Arc<ServicePort>, SlotLists)>,
    pub(crate) new: Option<(Arc<ServicePort>, SlotLists)>,
}

/// The change of one service port.
struct PortChange<'a> {
    name: &'a ServicePortName,
    /// What is programmed, and the frontends that stay.
    old: Option<(Arc<ServicePort>, HashSet<Frontend>)>,
    /// Whether its external addresses do not change, and are not visited.
    keeps_external: bool,
    wanted: Option<&'a Arc<ServicePort>>,
    slots: SlotLists,
}

impl Programmed {
    /// The chain of a class exists.
    pub(crate) fn found_class(&mut self, class: Class) {
        self.classes.insert(class, 0);
        self.unused_classes += 1;
    }

    /// The changes of several service ports at once.
    ///
    /// All addresses are released before any is taken, so that one can move from one
    /// service port to another.
    pub(crate) fn change<'a>(
        &mut self,
        wanted: impl IntoIterator<Item = (&'a ServicePortName, Option<&'a Arc<ServicePort>>)>,
        edits: &mut Edits,
    ) {
        let changes: Vec<PortChange<'a>> =
            wanted.into_iter().map(|(name, wanted)| self.release(name, wanted, edits)).collect();
        for change in changes {
            self.take(change, edits);
        }
    }

    /// Adds a service port of which only the slots are known to exist already.
    pub(crate) fn adopt(
        &mut self,
        name: &ServicePortName,
        slots: SlotLists,
        wanted: &Arc<ServicePort>,
        edits: &mut Edits,
    ) {
        self.take(PortChange { name, old: None, keeps_external: false, wanted: Some(wanted), slots }, edits);
    }

    /// Releases the addresses that a service port no longer has.
    fn release<'a>(
        &mut self,
        name: &'a ServicePortName,
        wanted: Option<&'a Arc<ServicePort>>,
        edits: &mut Edits,
    ) -> PortChange<'a> {
        let Some(present) = self.ports.remove(name) else {
            let slots = SlotLists::default();
            return PortChange { name, old: None, keeps_external: false, wanted, slots };
        };
        let (port, slots) = present.unpack();
        let keeps_external = wanted.is_some_and(|wanted| {
            let verdict_elements = shared_verdict_elements(&port);
            verdict_elements.is_some() && verdict_elements == shared_verdict_elements(wanted)
        });
        let wanted_frontends = wanted.map(|port| Frontend::all(name, port, !keeps_external));
        let wanted_frontends: HashSet<_> = wanted_frontends.into_iter().flatten().collect();
        let frontends = Frontend::all(name, &port, !keeps_external);
        for frontend in &frontends {
            for element in frontend.verdict_elements(name, &port) {
                self.features.remove(element.0);
                edits.remove(element);
            }
            self.leave(frontend.class(&port));
        }
        let (kept, gone): (HashSet<_>, HashSet<_>) =
            frontends.into_iter().partition(|frontend| wanted_frontends.contains(frontend));
        for frontend in gone {
            slot_elements(&frontend, &slots).for_each(|element| edits.remove(element));
        }
        PortChange { name, old: Some((port, kept)), keeps_external, wanted, slots }
    }

    /// Fills the addresses that it has now, and updates the counts.
    fn take(&mut self, change: PortChange<'_>, edits: &mut Edits) {
        let PortChange { name, old, keeps_external, wanted, mut slots } = change;
        let (old, kept) = old.map_or_else(Default::default, |(port, kept)| (Some(port), kept));
        self.recount(old.as_deref(), wanted.map(AsRef::as_ref), edits);
        let has_dedicated =
            [old.as_ref(), wanted].into_iter().flatten().any(|port| Dedicated::concerns(port));
        let old = old.filter(|_| has_dedicated).map(|port| (port, slots.clone()));
        let changes =
            List::ALL.map(|list| slots[list as usize].assign(wanted.map_or(&[], |port| list.of(port))));
        if has_dedicated {
            let new = wanted.map(|port| (Arc::clone(port), slots.clone()));
            self.dedicated.push(DedicatedChange { name: name.clone(), old, new });
        }
        let Some(port) = wanted else { return };
        for frontend in Frontend::all(name, port, !keeps_external) {
            if kept.contains(&frontend) {
                change_slots(&frontend, &changes, edits);
            } else {
                slot_elements(&frontend, &slots).for_each(|element| edits.add(element));
            }
            for element in frontend.verdict_elements(name, port) {
                self.features.add(element.0);
                edits.add(element);
            }
            self.join(frontend.class(port));
        }
        self.ports.insert(name.clone(), ProgrammedPort::pack(port, &slots));
    }

    fn join(&mut self, class: Option<Class>) {
        let Some(class) = class else { return };
        let uses = self.classes.entry(class).or_insert_with(|| {
            self.new_classes.push(class);
            self.unused_classes += 1;
            0
        });
        if *uses == 0 {
            self.unused_classes -= 1;
        }
        *uses += 1;
    }

    fn leave(&mut self, class: Option<Class>) {
        let Some(uses) = class.and_then(|class| self.classes.get_mut(&class)) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.unused_classes += 1;
        }
    }

    /// The classes that came into use and whose chains must be created now.
    pub(crate) fn take_new_classes(&mut self) -> Vec<Class> {
        std::mem::take(&mut self.new_classes)
    }

    /// The service ports whose dedicated objects may change.
    pub(crate) fn take_dedicated(&mut self) -> Vec<DedicatedChange> {
        std::mem::take(&mut self.dedicated)
    }

    /// Records the dedicated chains that were created and released. Returns the maps whose clients of
    /// removed endpoints must be deleted.
    pub(crate) fn absorb(&mut self, edits: Vec<DedicatedEdit>) -> Vec<Purge> {
        let mut purges = Vec::new();
        let new: HashSet<_> = edits.iter().flat_map(|edit| &edit.new_chains).cloned().collect();
        self.stale_chains.retain(|stale| !new.contains(stale));
        for edit in edits {
            self.stale_chains.extend(edit.stale_chains);
            purges.extend(edit.purges);
        }
        purges
    }

    /// Reserves capacity for this many service ports, while there are none.
    pub(crate) fn reserve(&mut self, ports: usize) {
        self.ports.reserve(ports);
    }

    /// All service ports that may have dedicated objects. Visits every service port.
    pub(crate) fn dedicated_ports(&self) -> impl Iterator<Item = (&ServicePortName, &Arc<ServicePort>)> {
        let ports = self.ports.iter().map(|(name, present)| (name, &present.port));
        ports.filter(|(_, port)| Dedicated::concerns(port))
    }

    /// All class chains.
    pub(crate) fn classes(&self) -> impl Iterator<Item = Class> {
        self.classes.keys().copied()
    }

    /// How many class chains nothing leads to.
    pub(crate) fn unused_count(&self) -> usize {
        self.unused_classes
    }

    /// The class chains that nothing leads to.
    pub(crate) fn unused(&self) -> Vec<Class> {
        self.classes.iter().filter(|(_, uses)| **uses == 0).map(|(class, _)| *class).collect()
    }

    /// The chains of these classes were deleted.
    pub(crate) fn forget(&mut self, classes: &[Class]) {
        for class in classes {
            if self.classes.remove(class).is_some() {
                self.unused_classes -= 1;
            }
        }
    }

    /// Updates what service ports share.
    fn recount(&mut self, old: Option<&ServicePort>, new: Option<&ServicePort>, edits: &mut Edits) {
        for list in List::ALL {
            let of = |port: Option<&ServicePort>| port.map_or(&[][..], |port| list.of(port)).as_ptr();
            if old.is_some() && of(old) == of(new) {
                continue;
            }
            let [old, new] = [old, new].map(|port| port.map_or(&[][..], |port| list.of(port)));
            for endpoint in only_in(new, old) {
                self.local_endpoints.add(endpoint.address, || edits.add(hairpin(endpoint.address)));
            }
            for endpoint in only_in(old, new) {
                self.local_endpoints.remove(endpoint.address, || edits.remove(hairpin(endpoint.address)));
            }
        }
        let [old, new] = [old, new].map(|port| port.and_then(|port| port.cluster_ip));
        if old == new {
            return;
        }
        if let Some(ip) = new {
            self.cluster_ips.add(ip, || edits.add(cluster_ip(ip)));
        }
        if let Some(ip) = old {
            self.cluster_ips.remove(ip, || edits.remove(cluster_ip(ip)));
        }
    }
}

/// The elements of these slots in the maps of a frontend.
fn slot_elements(frontend: &Frontend, slots: &SlotLists) -> impl Iterator<Item = SetElement> {
    frontend.slot_maps().flat_map(move |(map, list)| {
        slots[list as usize].iter().map(move |(slot, target)| frontend.slot(map, slot, target))
    })
}

/// Changes the elements of slots in the maps of a frontend.
fn change_slots(frontend: &Frontend, changes: &[Vec<SlotChange>; List::ALL.len()], edits: &mut Edits) {
    for (map, list) in frontend.slot_maps() {
        for change in &changes[list as usize] {
            if let Some(target) = change.old {
                edits.remove(frontend.slot(map, change.slot, target));
            }
            if let Some(target) = change.new {
                edits.add(frontend.slot(map, change.slot, target));
            }
        }
    }
}

/// The endpoints that may run on this node and are in `list` but not in `other`.
fn only_in<'a>(list: &'a [Endpoint], other: &'a [Endpoint]) -> impl Iterator<Item = &'a Endpoint> {
    list.iter()
        .filter(|endpoint| endpoint.locality != Locality::Remote)
        .filter(|endpoint| other.binary_search(endpoint).is_err())
}

fn hairpin(address: IpAddr) -> SetElement {
    let mut key = Bytes::new();
    key.push_addr(address).push_addr(address);
    (ServiceSet::Hairpin, key, Value::Member)
}

fn cluster_ip(address: IpAddr) -> SetElement {
    (ServiceSet::ClusterIps, Bytes::addr(address), Value::Member)
}

/// A programmed service port. There are as many as service ports, so it is small.
#[derive(Debug)]
struct ProgrammedPort {
    port: Arc<ServicePort>,
    /// In what order slots lead to the endpoints of each [`List`]; none when all are in the order of the lists, as
    /// after a full sync.
    orders: Option<Box<[Order; List::ALL.len()]>>,
}

/// The slots of each [`List`] of a service port.
pub(crate) type SlotLists = [Slots; List::ALL.len()];

impl ProgrammedPort {
    /// Stores the slots of a service port, which lead to its endpoints.
    fn pack(port: &Arc<ServicePort>, slots: &SlotLists) -> Self {
        let orders = List::ALL.map(|list| Order::of(&slots[list as usize], list.of(port)));
        let orders = orders.iter().any(|order| !order.is_sorted()).then(|| Box::new(orders));
        Self { port: Arc::clone(port), orders }
    }

    /// The service port and its slots.
    fn unpack(self) -> (Arc<ServicePort>, SlotLists) {
        let orders = self.orders.unwrap_or_default();
        let slots = List::ALL.map(|list| orders[list as usize].slots(list.of(&self.port)));
        (self.port, slots)
    }
}

/// The number of uses of each value.
#[derive(Debug)]
pub(crate) struct Counted<T>(HashMap<T, u32>);

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Copy + Eq + Hash> Counted<T> {
    /// Adds a use.
    pub(crate) fn add(&mut self, thing: T, when_first: impl FnOnce()) {
        let uses = self.0.entry(thing).or_default();
        *uses += 1;
        if *uses == 1 {
            when_first();
        }
    }

    /// Removes a use.
    pub(crate) fn remove(&mut self, thing: T, when_last: impl FnOnce()) {
        let Some(uses) = self.0.get_mut(&thing) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.0.remove(&thing);
            when_last();
        }
    }
}
