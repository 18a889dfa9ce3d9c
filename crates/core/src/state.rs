//! All known objects, and the plans made from them.
//!
//! The cost of an event depends on what it touches: it updates one object and marks its Service as dirty;
//! [`State::prepare`] then resolves the dirty Services and records exactly what changed. Only a change of the node
//! itself and a list after a lost watch visit all Services.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::address::{IpFamily, PerFamily, Protocol};
use crate::changes::ChangeSet;
use crate::event::{Change, EndpointSlice, Event, Node, Object, ServiceCidr};
use crate::name::{Name, ObjectName};
use crate::node::NodeConfig;
use crate::plan::{NodePlan, ServicePort};
use crate::resolve::{Context, health_check, service_ports};
use crate::selection::Topology;
use crate::vip_owners::{Conflict, ServiceAddress};

mod family;
mod services;
mod settings;
mod slices;
#[cfg(test)]
mod tests;

use family::FamilyState;
pub use family::{Committed, WithoutLocalEndpoints};
use services::ServiceEntry;

/// All known objects, and the plans made from them.
#[derive(Debug)]
pub struct State {
    config: NodeConfig,
    services: HashMap<ObjectName, ServiceEntry>,
    slices: HashMap<ObjectName, Arc<EndpointSlice>>,
    node: Option<Node>,
    service_cidrs: BTreeMap<Name, ServiceCidr>,
    api_server: BTreeSet<SocketAddr>,
    families: PerFamily<FamilyState>,
    /// Services to resolve at the next [`State::prepare`].
    dirty: Dirty,
    /// Ports that those Services no longer have, which plans may still have.
    former_ports: HashMap<ObjectName, Vec<(Name, Protocol)>>,
    listed: Listed,
    conflicts: Vec<Conflict>,
}

/// Services to resolve, and whether that includes their addresses.
#[derive(Debug, Default)]
struct Dirty(HashMap<ObjectName, bool>);

impl Dirty {
    /// Resolves the Service with its addresses: it has changed, or the owner of one of its addresses.
    fn mark(&mut self, service: ObjectName) {
        self.0.insert(service, true);
    }

    /// Resolves the endpoints of the Service.
    fn mark_endpoints(&mut self, service: ObjectName) {
        self.0.entry(service).or_insert(false);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which initial lists have arrived.
#[derive(Debug, Default)]
struct Listed {
    services: bool,
    slices: bool,
    node: bool,
}

impl State {
    /// A state without objects.
    pub fn new(config: NodeConfig) -> Self {
        let families = PerFamily::from_fn(|family| {
            FamilyState::new(NodePlan::new(family, config.settings(family, None, [])))
        });
        Self {
            config,
            services: HashMap::new(),
            slices: HashMap::new(),
            node: None,
            service_cidrs: BTreeMap::new(),
            api_server: BTreeSet::new(),
            families,
            dirty: Dirty::default(),
            former_ports: HashMap::new(),
            listed: Listed::default(),
            conflicts: Vec::new(),
        }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Service(change) => {
                if let Change::Replaced(services) = &change {
                    self.listed.services = true;
                    self.reserve(services);
                }
                self.change(change, Self::services_known, Self::set_service);
            }
            Event::EndpointSlice(change) => {
                if let Change::Replaced(slices) = &change {
                    self.listed.slices = true;
                    self.slices.reserve(slices.len().saturating_sub(self.slices.len()));
                }
                self.change(change, |state| state.slices.keys().cloned().collect(), Self::set_slice);
            }
            Event::Node(change) => {
                self.listed.node |= matches!(change, Change::Replaced(_));
                let known = |state: &Self| state.node.iter().map(|node| node.name.clone()).collect();
                self.change(change, known, Self::set_node);
            }
            Event::ServiceCidr(change) => {
                let known = |state: &Self| state.service_cidrs.keys().cloned().collect();
                self.change(change, known, Self::set_service_cidr);
            }
            Event::ApiServer(sockets) => self.set_api_server(sockets),
        }
    }

    /// Whether all initial lists that a plan needs have arrived. Before that a plan is incomplete and must not be
    /// applied.
    pub fn is_ready(&self) -> bool {
        self.listed.services && self.listed.slices && self.listed.node
    }

    /// Brings the plans and change sets up to date with all events so far.
    pub fn prepare(&mut self) {
        while !self.dirty.is_empty() {
            for (name, with_addresses) in std::mem::take(&mut self.dirty).0 {
                self.resolve(&name, with_addresses);
            }
        }
    }

    /// The plan of one family, as of the last [`State::prepare`].
    pub fn plan(&self, family: IpFamily) -> &NodePlan {
        &self.families[family].plan
    }

    /// The service port that owns `address`, in the plan as of the last [`State::prepare`].
    pub fn owner(&self, family: IpFamily, address: &ServiceAddress) -> Option<&Arc<ServicePort>> {
        let family = &self.families[family];
        family.plan.service_ports.get(family.owners.owner(address)?)
    }

    /// The difference between that plan and the last applied one.
    pub fn changes(&self, family: IpFamily) -> &ChangeSet {
        &self.families[family].changes
    }

    /// The current plan of `family` is programmed. Returns what can be reported now.
    pub fn committed(&mut self, family: IpFamily) -> Committed {
        self.families[family].committed()
    }

    /// The number of service ports that lack local endpoints, in the plan as of the last [`State::prepare`].
    pub fn without_local_endpoints(&self, family: IpFamily) -> WithoutLocalEndpoints {
        self.families[family].without_local
    }

    /// The state of the kernel is unknown; the next apply must be a full sync.
    pub fn forget_applied(&mut self, family: IpFamily) {
        self.families[family].changes.forget_applied();
    }

    /// The address conflicts between service ports that arose since the last call.
    pub fn take_conflicts(&mut self) -> Vec<Conflict> {
        std::mem::take(&mut self.conflicts)
    }

    /// This node's Node object, if there is one.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Splits a change of any kind into single steps: calls `set` with the current object, or without one if it was
    /// deleted.
    fn change<T: Object>(
        &mut self,
        change: Change<T>,
        known: impl Fn(&Self) -> Vec<T::Key>,
        set: impl Fn(&mut Self, &T::Key, Option<T>),
    ) {
        match change {
            Change::Applied(object) => {
                let key = object.key().clone();
                set(self, &key, Some(object));
            }
            Change::Deleted(key) => set(self, &key, None),
            Change::Replaced(objects) => {
                let known = known(self);
                if !known.is_empty() {
                    let present: HashSet<_> = objects.iter().map(|object| object.key().clone()).collect();
                    for gone in known.into_iter().filter(|key| !present.contains(key)) {
                        set(self, &gone, None);
                    }
                }
                for object in objects {
                    let key = object.key().clone();
                    set(self, &key, Some(object));
                }
            }
        }
    }

    /// Resolves one Service in both families; its addresses only if they may have changed.
    fn resolve(&mut self, name: &ObjectName, with_addresses: bool) {
        let former = self.former_ports.remove(name).unwrap_or_default();
        let Some(entry) = self.services.get(name) else { return };
        let zone = self.node.as_ref().and_then(|node| node.zone.as_ref());
        let topology = Topology { node: &self.config.node_name, zone };
        let node_ips = self.config.node_ips(self.node.as_ref());
        for (family, state) in [(IpFamily::V4, &mut self.families.v4), (IpFamily::V6, &mut self.families.v6)]
        {
            let slices: Vec<_> =
                entry.slices.iter().map(|slice| &**slice).filter(|slice| slice.family == family).collect();
            let service = entry.service.as_deref().filter(|service| service.cluster_ips[family].is_some());
            let context = Context { family, owners: &state.owners, topology, node_ips };
            let planned = (!with_addresses).then_some(&state.plan.service_ports);
            let ports =
                service.map_or_else(Vec::new, |service| service_ports(service, &slices, context, planned));
            state
                .set_health_check(name, service.and_then(|service| health_check(service, &slices, topology)));
            let present = entry.service.iter().flat_map(|service| &service.ports);
            let present = present.map(|port| (&port.name, port.protocol));
            let former = former.iter().map(|(port, protocol)| (port, *protocol));
            state.set_ports(name, present.chain(former), ports);
        }
        if entry.service.is_none() && entry.slices.is_empty() {
            self.services.remove(name);
        }
    }
}
