//! What we have put into the kernel, as far as later changes need to know it:
//! the slots of each service port, and what several of them share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::plan::Locality;
use portolan_core::{Endpoint, ServicePort, ServicePortName};
use portolan_nft::Bytes;

use crate::class::Class;
use crate::edits::Edits;
use crate::frontend::{Frontend, Value};
use crate::layout::Container;
use crate::slots::{SlotChange, Slots};

/// The loaded services of one family.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    ports: HashMap<ServicePortName, LoadedPort>,
    /// The class chains there are, with the number of VIPs and node ports in each.
    classes: HashMap<Class, usize>,
    /// How many service ports lead to an endpoint that may run on this node.
    local_endpoints: HashMap<IpAddr, usize>,
    unused_classes: usize,
    /// Classes whose chain is still to be made.
    new_classes: Vec<Class>,
}

#[derive(Debug)]
struct LoadedPort {
    port: Arc<ServicePort>,
    slots: Slots,
}

/// One service port on its way from what is loaded to what is wanted.
struct PortChange<'a> {
    name: &'a ServicePortName,
    wanted: Option<&'a Arc<ServicePort>>,
    slots: Slots,
    /// The frontends that these slots are loaded for.
    frontends: Vec<Frontend>,
    /// The endpoints that are counted for it.
    counted: Arc<[Endpoint]>,
}

impl Loaded {
    /// Knows of chains that exist but of no services.
    pub(crate) fn with_chains(classes: impl IntoIterator<Item = Class>) -> Self {
        let classes: HashMap<_, _> = classes.into_iter().map(|class| (class, 0)).collect();
        Self { unused_classes: classes.len(), classes, ..Self::default() }
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
        slots: Slots,
        wanted: &Arc<ServicePort>,
        edits: &mut Edits,
    ) {
        let (frontends, counted) = (Vec::new(), Arc::default());
        self.take(PortChange { name, wanted: Some(wanted), slots, frontends, counted }, edits);
    }

    /// Lets go of the addresses that a service port no longer has.
    fn release<'a>(
        &mut self,
        name: &'a ServicePortName,
        wanted: Option<&'a Arc<ServicePort>>,
        edits: &mut Edits,
    ) -> PortChange<'a> {
        let Some(LoadedPort { port, slots }) = self.ports.remove(name) else {
            let (slots, frontends, counted) = (Slots::default(), Vec::new(), Arc::default());
            return PortChange { name, wanted, slots, frontends, counted };
        };
        let wanted_frontends = wanted.map(|port| Frontend::all(name, port)).unwrap_or_default();
        let mut frontends = Frontend::all(name, &port);
        frontends.retain(|frontend| {
            let stays = wanted_frontends.contains(frontend);
            if !stays {
                frontend.elements(&slots).for_each(|element| edits.remove(element));
                self.leave(frontend.class(slots.count()));
            }
            stays
        });
        PortChange { name, wanted, slots, frontends, counted: Arc::clone(&port.cluster_endpoints) }
    }

    /// Fills the addresses that it has now, and keeps account of it.
    fn take(&mut self, change: PortChange<'_>, edits: &mut Edits) {
        let PortChange { name, wanted, mut slots, frontends, counted } = change;
        let endpoints = wanted.map(|port| Arc::clone(&port.cluster_endpoints)).unwrap_or_default();
        self.recount_local(&counted, &endpoints, edits);
        let Some(port) = wanted else { return };
        let before = slots.count();
        let slot_changes = slots.assign(&endpoints);
        for frontend in Frontend::all(name, port) {
            if frontends.contains(&frontend) {
                change_slots(&frontend, &slot_changes, edits);
                if before != slots.count() {
                    edits.remove(frontend.verdict(before));
                    edits.add(frontend.verdict(slots.count()));
                    self.leave(frontend.class(before));
                    self.join(frontend.class(slots.count()));
                }
            } else {
                frontend.elements(&slots).for_each(|element| edits.add(element));
                self.join(frontend.class(slots.count()));
            }
        }
        self.ports.insert(name.clone(), LoadedPort { port: Arc::clone(port), slots });
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

    /// Keeps the hairpin set at the endpoints that may run here. Both lists are sorted.
    fn recount_local(&mut self, old: &[Endpoint], new: &[Endpoint], edits: &mut Edits) {
        if std::ptr::eq(old, new) {
            return;
        }
        for endpoint in only_in(new, old) {
            let uses = self.local_endpoints.entry(endpoint.address).or_default();
            if *uses == 0 {
                edits.add(hairpin(endpoint.address));
            }
            *uses += 1;
        }
        for endpoint in only_in(old, new) {
            let Some(uses) = self.local_endpoints.get_mut(&endpoint.address) else { continue };
            *uses -= 1;
            if *uses == 0 {
                self.local_endpoints.remove(&endpoint.address);
                edits.remove(hairpin(endpoint.address));
            }
        }
    }
}

fn change_slots(frontend: &Frontend, changes: &[SlotChange], edits: &mut Edits) {
    for change in changes {
        let element = |target| (frontend.endpoints(), frontend.slot_key(change.slot), Value::Target(target));
        if let Some(target) = change.old {
            edits.remove(element(target));
        }
        if let Some(target) = change.new {
            edits.add(element(target));
        }
    }
}

/// The endpoints that may run on this node and are in `list` but not in `other`.
fn only_in<'a>(list: &'a [Endpoint], other: &'a [Endpoint]) -> impl Iterator<Item = &'a Endpoint> {
    list.iter()
        .filter(|endpoint| endpoint.locality != Locality::Remote)
        .filter(|endpoint| other.binary_search(endpoint).is_err())
}

fn hairpin(address: IpAddr) -> (Container, Bytes, Value) {
    let mut key = Bytes::new();
    key.push_addr(address).push_addr(address);
    (Container::Hairpin, key, Value::Member)
}
