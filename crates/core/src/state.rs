//! All objects the proxy knows, and the plans that follow from them.
//!
//! An event costs what it touches: it updates one object and marks its Service;
//! [`State::prepare`] then decides the marked Services anew and records exactly
//! what became different. Nothing here walks all Services, except a change of
//! the node itself and the list after a lost watch.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use crate::address::{IpFamily, PerFamily, Protocol};
use crate::claims::{Claims, Contest, claims_of};
use crate::event::{Change, EndpointSlice, Event, Node, Object, Service, ServiceCidr};
use crate::name::{Name, ObjectName, ServicePortName};
use crate::node::NodeConfig;
use crate::plan::{ChangeSet, NodePlan, ServicePort};
use crate::resolve;

/// The most trigger times kept for one Service; while nothing can be applied they would pile up.
const MAX_TRIGGERS: usize = 100;

/// The proxy's whole knowledge.
#[derive(Debug)]
pub struct State {
    config: NodeConfig,
    services: HashMap<ObjectName, ServiceEntry>,
    slices: HashMap<ObjectName, EndpointSlice>,
    node: Option<Node>,
    service_cidrs: BTreeMap<Name, ServiceCidr>,
    families: PerFamily<FamilyState>,
    /// Services to decide anew at the next [`State::prepare`].
    dirty: HashSet<ObjectName>,
    listed: Listed,
    contests: Vec<Contest>,
}

/// A Service with its slices; either may be known before the other.
#[derive(Debug, Default)]
struct ServiceEntry {
    service: Option<Service>,
    /// Names of its slices, both families, sorted.
    slices: Vec<Name>,
    /// The ports that are in the plan of each family.
    planned: PerFamily<Box<[(Name, Protocol)]>>,
}

#[derive(Debug)]
struct FamilyState {
    plan: NodePlan,
    changes: ChangeSet,
    claims: Claims,
    triggers: HashMap<ObjectName, Vec<SystemTime>>,
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
        let families = PerFamily::from_fn(|family| FamilyState {
            plan: NodePlan::new(family, config.settings(family, None)),
            changes: ChangeSet::complete(),
            claims: Claims::default(),
            triggers: HashMap::new(),
        });
        Self {
            config,
            services: HashMap::new(),
            slices: HashMap::new(),
            node: None,
            service_cidrs: BTreeMap::new(),
            families,
            dirty: HashSet::new(),
            listed: Listed::default(),
            contests: Vec::new(),
        }
    }

    /// Takes in one event.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Service(change) => {
                self.listed.services |= matches!(change, Change::Replaced(_));
                self.change(change, Self::services_known, Self::set_service);
            }
            Event::EndpointSlice(change) => {
                self.listed.slices |= matches!(change, Change::Replaced(_));
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
            for name in std::mem::take(&mut self.dirty) {
                self.resolve(&name);
            }
        }
    }

    /// The plan of one family, as of the last [`State::prepare`].
    pub fn plan(&self, family: IpFamily) -> &NodePlan {
        &self.families[family].plan
    }

    /// How that plan differs from the last one that was applied.
    pub fn changes(&self, family: IpFamily) -> &ChangeSet {
        &self.families[family].changes
    }

    /// The present plan of `family` is in force. Returns the times of the pod changes
    /// that it brought into force, for `network_programming_duration_seconds`.
    pub fn committed(&mut self, family: IpFamily) -> Vec<SystemTime> {
        let state = &mut self.families[family];
        state.changes = ChangeSet::default();
        std::mem::take(&mut state.triggers).into_values().flatten().collect()
    }

    /// Nothing is known of what the kernel holds; the next apply must compare everything.
    pub fn forget_applied(&mut self, family: IpFamily) {
        self.families[family].changes = ChangeSet::complete();
    }

    /// Addresses that turned out to be claimed by two service ports since the last call.
    pub fn take_contests(&mut self) -> Vec<Contest> {
        std::mem::take(&mut self.contests)
    }

    /// This node's Node object, if there is one.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    fn services_known(&self) -> Vec<ObjectName> {
        let known = self.services.iter().filter(|(_, entry)| entry.service.is_some());
        known.map(|(name, _)| name.clone()).collect()
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
                let present: HashSet<_> = objects.iter().map(|object| object.key().clone()).collect();
                for gone in known(self).into_iter().filter(|key| !present.contains(key)) {
                    set(self, &gone, None);
                }
                for object in objects {
                    let key = object.key().clone();
                    set(self, &key, Some(object));
                }
            }
        }
    }

    fn set_service(&mut self, name: &ObjectName, service: Option<Service>) {
        if service.is_none() && !self.services.contains_key(name) {
            return;
        }
        let entry = self.services.entry(name.clone()).or_default();
        if entry.service == service {
            return;
        }
        for (family, state) in [(IpFamily::V4, &mut self.families.v4), (IpFamily::V6, &mut self.families.v6)]
        {
            let claims = |service: &Option<Service>| {
                service.as_ref().map(|service| claims_of(service, family)).unwrap_or_default()
            };
            let (old, new) = (claims(&entry.service), claims(&service));
            for (frontend, claim) in old.iter().filter(|claim| !new.contains(claim)) {
                let heir = state.claims.remove(frontend, claim);
                self.dirty.extend(heir.map(|heir| heir.service));
            }
            for (frontend, claim) in new.into_iter().filter(|claim| !old.contains(claim)) {
                let contest = state.claims.add(frontend, claim);
                if let Some(contest) = contest {
                    self.dirty.insert(contest.loser.service.clone());
                    self.contests.push(contest);
                }
            }
        }
        entry.service = service;
        self.dirty.insert(name.clone());
    }

    fn set_slice(&mut self, name: &ObjectName, slice: Option<EndpointSlice>) {
        let old = match slice {
            Some(slice) => {
                if self.slices.get(name) == Some(&slice) {
                    return;
                }
                self.attach(&slice);
                self.slices.insert(name.clone(), slice)
            }
            None => self.slices.remove(name),
        };
        let Some(old) = old else { return };
        let owner = old.service_name();
        match self.slices.get(name) {
            None => {
                self.families[old.family].triggers.remove(&owner);
                self.detach(&owner, &name.name);
            }
            Some(new) if new.service != old.service => self.detach(&owner, &name.name),
            Some(_) => {}
        }
        self.dirty.insert(owner);
    }

    /// Links a slice that is about to be stored with its Service.
    fn attach(&mut self, slice: &EndpointSlice) {
        let owner = slice.service_name();
        let known = self.slices.get(&slice.name).and_then(|old| old.trigger_time);
        if let Some(time) = slice.trigger_time.filter(|time| Some(*time) != known) {
            let times = self.families[slice.family].triggers.entry(owner.clone()).or_default();
            if times.len() < MAX_TRIGGERS {
                times.push(time);
            }
        }
        let entry = self.services.entry(owner.clone()).or_default();
        if let Err(at) = entry.slices.binary_search(&slice.name.name) {
            entry.slices.insert(at, slice.name.name.clone());
        }
        self.dirty.insert(owner);
    }

    fn detach(&mut self, owner: &ObjectName, slice: &Name) {
        if let Some(entry) = self.services.get_mut(owner) {
            entry.slices.retain(|name| name != slice);
        }
    }

    fn set_node(&mut self, name: &Name, node: Option<Node>) {
        if *name != self.config.node_name || self.node == node {
            return;
        }
        // A Node that is gone keeps the last it said, as in kube-proxy: its pods still run.
        let Some(node) = node else { return };
        self.node = Some(node);
        for family in IpFamily::ALL {
            let settings = self.config.settings(family, self.node.as_ref());
            let state = &mut self.families[family];
            if state.plan.node != settings {
                let old = std::mem::replace(&mut state.plan.node, settings);
                state.changes.record_node(old, &state.plan.node);
            }
        }
    }

    fn set_service_cidr(&mut self, name: &Name, cidr: Option<ServiceCidr>) {
        match cidr {
            Some(cidr) => self.service_cidrs.insert(name.clone(), cidr),
            None => self.service_cidrs.remove(name),
        };
    }

    /// Decides one Service anew in both families.
    fn resolve(&mut self, name: &ObjectName) {
        let Some(entry) = self.services.get_mut(name) else { return };
        let slices: Vec<&EndpointSlice> = entry
            .slices
            .iter()
            .filter_map(|slice| {
                self.slices.get(&ObjectName { namespace: name.namespace.clone(), name: slice.clone() })
            })
            .collect();
        for (family, state) in [(IpFamily::V4, &mut self.families.v4), (IpFamily::V6, &mut self.families.v6)]
        {
            let slices: Vec<_> = slices.iter().copied().filter(|slice| slice.family == family).collect();
            let ports = entry.service.as_ref().map_or_else(Vec::new, |service| {
                resolve::service_ports(service, family, &state.claims, &slices, &self.config.node_name)
            });
            let planned = ports.iter().map(|(port, _)| (port.port.clone(), port.protocol)).collect();
            let before = std::mem::replace(&mut entry.planned[family], planned);
            for (port, protocol) in before {
                let still_there = entry.planned[family].iter().any(|(p, l4)| *p == port && *l4 == protocol);
                if !still_there {
                    state.set(ServicePortName { service: name.clone(), port, protocol }, None);
                }
            }
            for (port, wanted) in ports {
                state.set(port, Some(wanted));
            }
        }
        if entry.service.is_none() && entry.slices.is_empty() {
            self.services.remove(name);
        }
    }
}

impl FamilyState {
    /// Puts one service port into the plan, or takes it out, and records the difference.
    fn set(&mut self, name: ServicePortName, wanted: Option<ServicePort>) {
        let old = self.plan.service_ports.get(&name).cloned();
        if old.as_deref() == wanted.as_ref() {
            return;
        }
        let wanted = wanted.map(Arc::new);
        self.changes.record(&name, old, wanted.as_ref());
        match wanted {
            Some(port) => self.plan.service_ports.insert(name, port),
            None => self.plan.service_ports.remove(&name),
        };
    }
}
