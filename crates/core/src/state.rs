//! All objects the proxy knows, and the plans that follow from them.
//!
//! An event costs what it touches: it updates one object and marks its Service;
//! [`State::prepare`] then decides the marked Services anew and records exactly
//! what became different. Nothing here walks all Services, except a change of
//! the node itself and the list after a lost watch.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::address::{IpFamily, PerFamily, Protocol};
use crate::changes::ChangeSet;
use crate::claims::{Contest, Frontend};
use crate::event::{Change, Event, Node, Object, ServiceCidr};
use crate::health_check::health_check;
use crate::name::{Name, ObjectName};
use crate::node::NodeConfig;
use crate::plan::{NodePlan, ServicePort};
use crate::resolve::{self, Surroundings};
use crate::selection::Here;

mod family;
mod services;
mod settings;
mod slices;
#[cfg(test)]
mod tests;

use family::FamilyState;
pub use family::{Committed, WithoutLocalEndpoints};
use services::ServiceEntry;
use slices::Slices;

/// The proxy's whole knowledge.
#[derive(Debug)]
pub struct State {
    config: NodeConfig,
    services: HashMap<ObjectName, ServiceEntry>,
    slices: Slices,
    node: Option<Node>,
    service_cidrs: BTreeMap<Name, ServiceCidr>,
    api_server: BTreeSet<SocketAddr>,
    families: PerFamily<FamilyState>,
    /// Services to decide anew at the next [`State::prepare`].
    dirty: Dirty,
    /// Ports that those Services had and have no more, which plans may still hold.
    former_ports: HashMap<ObjectName, Vec<(Name, Protocol)>>,
    listed: Listed,
    contests: Vec<Contest>,
}

/// Services that must be decided anew, and whether their addresses must be, too.
#[derive(Debug, Default)]
struct Dirty(HashMap<ObjectName, bool>);

impl Dirty {
    /// The Service, or what it may claim, has changed.
    fn readdress(&mut self, service: ObjectName) {
        self.0.insert(service, true);
    }

    /// What its addresses lead to has changed.
    fn reselect(&mut self, service: ObjectName) {
        self.0.entry(service).or_insert(false);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which initial lists have come.
#[derive(Debug, Default)]
struct Listed {
    services: bool,
    slices: bool,
    node: bool,
}

impl State {
    /// Knows nothing yet.
    pub fn new(config: NodeConfig) -> Self {
        let families = PerFamily::from_fn(|family| {
            FamilyState::new(NodePlan::new(family, config.settings(family, None, [])))
        });
        Self {
            config,
            services: HashMap::new(),
            slices: Slices::default(),
            node: None,
            service_cidrs: BTreeMap::new(),
            api_server: BTreeSet::new(),
            families,
            dirty: Dirty::default(),
            former_ports: HashMap::new(),
            listed: Listed::default(),
            contests: Vec::new(),
        }
    }

    /// Takes in one event.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Service(change) => {
                if let Change::Replaced(services) = &change {
                    self.listed.services = true;
                    self.make_room(services);
                }
                self.change(change, Self::services_known, Self::set_service);
            }
            Event::EndpointSlice(change) => {
                if let Change::Replaced(slices) = &change {
                    self.listed.slices = true;
                    self.slices.make_room(slices.len());
                }
                self.change(change, |state| state.slices.names().cloned().collect(), Self::set_slice);
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

    /// Whether every initial list that a plan needs has come. Before that a plan
    /// would be missing things that exist, and must not reach the kernel.
    pub fn is_ready(&self) -> bool {
        self.listed.services && self.listed.slices && self.listed.node
    }

    /// Brings the plans and change sets up to date with all events so far.
    pub fn prepare(&mut self) {
        while !self.dirty.is_empty() {
            for (name, is_readdressed) in std::mem::take(&mut self.dirty).0 {
                self.resolve(&name, is_readdressed);
            }
        }
    }

    /// The plan of one family, as of the last [`State::prepare`].
    pub fn plan(&self, family: IpFamily) -> &NodePlan {
        &self.families[family].plan
    }

    /// The service port that answers on `frontend`, in the plan as of the last [`State::prepare`].
    pub fn owner(&self, family: IpFamily, frontend: &Frontend) -> Option<&Arc<ServicePort>> {
        let family = &self.families[family];
        family.plan.service_ports.get(family.claims.owner(frontend)?)
    }

    /// How that plan differs from the last one that was applied.
    pub fn changes(&self, family: IpFamily) -> &ChangeSet {
        &self.families[family].changes
    }

    /// The present plan of `family` is in force. Returns what can be told now.
    pub fn committed(&mut self, family: IpFamily) -> Committed {
        self.families[family].committed()
    }

    /// The service ports that lack local endpoints, in the plan as of the last [`State::prepare`].
    pub fn without_local_endpoints(&self, family: IpFamily) -> WithoutLocalEndpoints {
        self.families[family].without_local
    }

    /// Nothing is known of what the kernel holds; the next apply must compare everything.
    pub fn forget_applied(&mut self, family: IpFamily) {
        self.families[family].changes.forget_applied();
    }

    /// Addresses that turned out to be claimed by two service ports since the last call.
    pub fn take_contests(&mut self) -> Vec<Contest> {
        std::mem::take(&mut self.contests)
    }

    /// This node's Node object, if there is one.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Turns a change of any kind into single steps: `set` is called with the object
    /// as it is now, or without one when it is gone.
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

    /// Decides one Service anew in both families; its addresses only if they may be others.
    fn resolve(&mut self, name: &ObjectName, is_readdressed: bool) {
        let former = self.former_ports.remove(name).unwrap_or_default();
        let Some(entry) = self.services.get(name) else { return };
        let zone = self.node.as_ref().and_then(|node| node.zone.as_ref());
        let here = Here { node: &self.config.node_name, zone };
        let node_ips = self.config.node_ips(self.node.as_ref());
        for (family, state) in [(IpFamily::V4, &mut self.families.v4), (IpFamily::V6, &mut self.families.v6)]
        {
            let slices: Vec<_> =
                entry.slices.iter().map(|slice| &**slice).filter(|slice| slice.family == family).collect();
            let service = entry.service.as_deref().filter(|service| service.cluster_ips[family].is_some());
            let surroundings = Surroundings { family, claims: &state.claims, here, node_ips };
            let planned = (!is_readdressed).then_some(&state.plan.service_ports);
            let ports = service.map_or_else(Vec::new, |service| {
                resolve::service_ports(service, &slices, surroundings, planned)
            });
            state.set_health_check(name, service.and_then(|service| health_check(service, &slices, here)));
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
