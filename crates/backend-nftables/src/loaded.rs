//! What we have put into the kernel, as far as later changes need to know it:
//! the slots of each service port, and what several of them share.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::plan::Locality;
use portolan_core::{Endpoint, ServicePort, ServicePortName};
use portolan_nft::Bytes;

use crate::affinity::Sticky;
use crate::class::Class;
use crate::counted::Counted;
use crate::edits::Edits;
use crate::frontend::{Frontend, Item, List, Value, shared_heads};
use crate::hooked::Hooked;
use crate::layout::{Container, Feature};
use crate::slots::SlotChange;
use crate::sticky::{Purge, StickyEdit};

mod port;

use port::LoadedPort;
pub(crate) use port::SlotLists;

/// The loaded services of one family.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    ports: HashMap<ServicePortName, LoadedPort>,
    /// The class chains there are, with the number of VIPs and node ports in each.
    classes: HashMap<Class, usize>,
    /// How many endpoint lists name an endpoint that may run on this node.
    local_endpoints: Counted<IpAddr>,
    /// How many service ports have a cluster IP.
    cluster_ips: Counted<IpAddr>,
    unused_classes: usize,
    /// The chains that are there while something uses them.
    pub(crate) hooked: Hooked,
    /// Classes whose chain is still to be made.
    new_classes: Vec<Class>,
    /// Service ports whose chains and sets for affinity are to be looked at.
    sticky: Vec<StickyChange>,
    /// Chains of service ports that had affinity and of other versions, empty but still there.
    pub(crate) stale_chains: Vec<Arc<str>>,
}

/// A service port that may have something for itself, and that changed; as it is loaded, and as it shall be.
#[derive(Debug)]
pub(crate) struct StickyChange {
    pub(crate) name: ServicePortName,
    pub(crate) old: Option<(Arc<ServicePort>, SlotLists)>,
    pub(crate) new: Option<(Arc<ServicePort>, SlotLists)>,
}

/// One service port on its way from what is loaded to what is wanted.
struct PortChange<'a> {
    name: &'a ServicePortName,
    /// What is loaded, and the frontends that stay.
    old: Option<(Arc<ServicePort>, HashSet<Frontend>)>,
    /// Whether its addresses from outside the cluster stay as they are, and are not even looked at.
    keeps_external: bool,
    wanted: Option<&'a Arc<ServicePort>>,
    slots: SlotLists,
}

impl Loaded {
    /// Knows of chains that exist but of no services.
    pub(crate) fn with_chains(
        classes: impl IntoIterator<Item = Class>,
        features: impl IntoIterator<Item = Feature>,
    ) -> Self {
        let mut hooked = Hooked::default();
        features.into_iter().for_each(|feature| hooked.found(feature));
        let classes: HashMap<_, _> = classes.into_iter().map(|class| (class, 0)).collect();
        Self { unused_classes: classes.len(), classes, hooked, ..Self::default() }
    }

    /// The changes of several service ports at once.
    ///
    /// All addresses are let go before any is taken, so that one may pass from one
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

    /// Loads a service port of which only its slots are known to exist already.
    pub(crate) fn adopt(
        &mut self,
        name: &ServicePortName,
        slots: SlotLists,
        wanted: &Arc<ServicePort>,
        edits: &mut Edits,
    ) {
        self.take(PortChange { name, old: None, keeps_external: false, wanted: Some(wanted), slots }, edits);
    }

    /// Lets go of the addresses that a service port no longer has.
    fn release<'a>(
        &mut self,
        name: &'a ServicePortName,
        wanted: Option<&'a Arc<ServicePort>>,
        edits: &mut Edits,
    ) -> PortChange<'a> {
        let Some(loaded) = self.ports.remove(name) else {
            let slots = SlotLists::default();
            return PortChange { name, old: None, keeps_external: false, wanted, slots };
        };
        let (port, slots) = loaded.unpack();
        let keeps_external = wanted.is_some_and(|wanted| {
            let heads = shared_heads(&port);
            heads.is_some() && heads == shared_heads(wanted)
        });
        let wanted_frontends = wanted.map(|port| Frontend::all(name, port, !keeps_external));
        let wanted_frontends: HashSet<_> = wanted_frontends.into_iter().flatten().collect();
        let frontends = Frontend::all(name, &port, !keeps_external);
        for frontend in &frontends {
            for head in frontend.heads(name, &port) {
                self.hooked.remove(head.0);
                edits.remove(head);
            }
            self.leave(frontend.class(&port));
        }
        let (kept, gone): (HashSet<_>, HashSet<_>) =
            frontends.into_iter().partition(|frontend| wanted_frontends.contains(frontend));
        for frontend in gone {
            slots.items(&frontend).for_each(|item| edits.remove(item));
        }
        PortChange { name, old: Some((port, kept)), keeps_external, wanted, slots }
    }

    /// Fills the addresses that it has now, and keeps account of it.
    fn take(&mut self, change: PortChange<'_>, edits: &mut Edits) {
        let PortChange { name, old, keeps_external, wanted, mut slots } = change;
        let (old, kept) = old.map_or_else(Default::default, |(port, kept)| (Some(port), kept));
        self.recount(old.as_deref(), wanted.map(AsRef::as_ref), edits);
        let is_sticky = [old.as_ref(), wanted].into_iter().flatten().any(|port| Sticky::concerns(port));
        let old = old.filter(|_| is_sticky).map(|port| (port, slots.clone()));
        let lists = [List::Cluster, List::Local];
        let changes = lists.map(|list| slots.of_mut(list).assign(wanted.map_or(&[], |port| list.of(port))));
        if is_sticky {
            let new = wanted.map(|port| (Arc::clone(port), slots.clone()));
            self.sticky.push(StickyChange { name: name.clone(), old, new });
        }
        let Some(port) = wanted else { return };
        for frontend in Frontend::all(name, port, !keeps_external) {
            if kept.contains(&frontend) {
                change_slots(&frontend, &changes, edits);
            } else {
                slots.items(&frontend).for_each(|item| edits.add(item));
            }
            for head in frontend.heads(name, port) {
                self.hooked.add(head.0);
                edits.add(head);
            }
            self.join(frontend.class(port));
        }
        self.ports.insert(name.clone(), LoadedPort::pack(port, &slots));
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

    /// The classes that came into use and whose chains must now be made.
    pub(crate) fn take_new_classes(&mut self) -> Vec<Class> {
        std::mem::take(&mut self.new_classes)
    }

    /// The service ports with affinity that changed.
    pub(crate) fn take_sticky(&mut self) -> Vec<StickyChange> {
        std::mem::take(&mut self.sticky)
    }

    /// Keeps account of chains that come and go with services with affinity. Returns where
    /// clients must be made to forget their endpoints.
    pub(crate) fn absorb(&mut self, edits: Vec<StickyEdit>) -> Vec<Purge> {
        let mut purges = Vec::new();
        let new: HashSet<_> =
            edits.iter().flat_map(|edit| &edit.new_chains).map(|(chain, _)| Arc::clone(chain)).collect();
        self.stale_chains.retain(|stale| !new.contains(stale));
        for edit in edits {
            self.stale_chains.extend(edit.gone_chains);
            purges.extend(edit.purges);
        }
        purges
    }

    /// Makes room for so many service ports, of which there are none yet.
    pub(crate) fn make_room(&mut self, ports: usize) {
        self.ports.reserve(ports);
    }

    /// All service ports that may have something for themselves. Costs a look at every service port.
    pub(crate) fn sticky_ports(&self) -> impl Iterator<Item = (&ServicePortName, &Arc<ServicePort>)> {
        let ports = self.ports.iter().map(|(name, loaded)| (name, &loaded.port));
        ports.filter(|(_, port)| Sticky::concerns(port))
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

    /// The chains of these classes, which nothing led to, are gone.
    pub(crate) fn forget(&mut self, classes: &[Class]) {
        for class in classes {
            if self.classes.remove(class).is_some() {
                self.unused_classes -= 1;
            }
        }
    }

    /// Keeps account of what service ports share.
    fn recount(&mut self, old: Option<&ServicePort>, new: Option<&ServicePort>, edits: &mut Edits) {
        for list in [List::Cluster, List::Local] {
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

fn change_slots(frontend: &Frontend, [cluster, local]: &[Vec<SlotChange>; 2], edits: &mut Edits) {
    for (map, list) in frontend.slot_maps() {
        let changes = match list {
            List::Cluster => cluster,
            List::Local => local,
        };
        for change in changes {
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

fn hairpin(address: IpAddr) -> Item {
    let mut key = Bytes::new();
    key.push_addr(address).push_addr(address);
    (Container::Hairpin, key, Value::Member)
}

fn cluster_ip(address: IpAddr) -> Item {
    (Container::ClusterIps, Bytes::addr(address), Value::Member)
}
