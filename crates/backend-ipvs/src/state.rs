//! What the backend knows of the kernel, and how a change of the plan changes it: pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use portolan_core::plan::{NodePlan, ServicePort};
use portolan_core::{ChangeSet, Protocol, ServicePortName};
use portolan_ipvs::{Member, ServerChange, ServerKey, Set};

use crate::changes::Changes;
use crate::fill::Fill;
use crate::graceful::Graceful;
use crate::refused::Refusals;
use crate::rules::Rules;
use crate::surroundings::{Surroundings, own_servers};
use crate::tally::Tally;
use crate::wanted::{NOTHING_NEW, Serving, Wanted};

/// What the kernel has after a success, but for what it refused.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) here: Surroundings,
    pub(crate) addresses: Tally<IpAddr>,
    pub(crate) members: Tally<(Set, Member)>,
    /// Addresses that the device has not, because the proxy finds the API server there, and who wants them.
    pub(crate) unbound: HashSet<(ServicePortName, IpAddr)>,
    pub(crate) fill: Fill,
    pub(crate) graceful: Graceful,
    pub(crate) refusals: Refusals,
    /// The rules, as they were wanted and as the program prints them.
    pub(crate) rules: Rules,
    /// One of the virtual servers, to see whether somebody removed all.
    pub(crate) sample: Option<ServerKey>,
}

/// Virtual servers before and after, by their keys.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    servers: BTreeMap<ServerKey, (Option<Serving>, Option<Serving>)>,
}

impl Turn {
    /// Takes note of what a service port had.
    pub(crate) fn had(&mut self, wanted: Wanted, loaded: &mut Loaded) {
        for (key, serving) in wanted.servers {
            self.servers.entry(key).or_default().0 = Some(serving);
        }
        wanted.addresses.into_iter().for_each(|ip| loaded.addresses.remove(ip));
        wanted.members.into_iter().for_each(|member| loaded.members.remove(member));
    }

    /// Takes note of what it is to have.
    pub(crate) fn wants(&mut self, wanted: Wanted, loaded: &mut Loaded) {
        for (key, serving) in wanted.servers {
            self.servers.entry(key).or_default().1 = Some(serving);
        }
        wanted.addresses.into_iter().for_each(|ip| loaded.addresses.add(ip));
        wanted.members.into_iter().for_each(|member| loaded.members.add(member));
    }

    /// Writes down what that takes.
    pub(crate) fn finish(self, loaded: &mut Loaded, changes: &mut Changes, now: Instant) {
        let members = loaded.members.settle();
        let addresses = loaded.addresses.settle();
        members.came.iter().for_each(|(set, _)| loaded.fill.comes(*set));
        addresses.came.iter().for_each(|_| loaded.fill.comes(Set::IpvsIps));
        members.went.iter().for_each(|(set, _)| loaded.fill.goes(*set));
        addresses.went.iter().for_each(|_| loaded.fill.goes(Set::IpvsIps));
        members.came.into_iter().for_each(|(set, member)| changes.member_in(set, member));
        members.went.into_iter().for_each(|(set, member)| changes.member_out(set, member));
        addresses.came.into_iter().for_each(|ip| changes.address_in(ip));
        addresses.went.into_iter().for_each(|ip| changes.address_out(ip));
        for (key, turn) in self.servers {
            match turn {
                (None, Some(new)) => {
                    add(key, new, changes);
                    loaded.sample.get_or_insert(key);
                }
                (Some(_), None) => {
                    loaded.graceful.forget(&key);
                    changes.server(ServerChange::Remove(key));
                    loaded.sample = loaded.sample.filter(|sample| *sample != key);
                }
                (Some(old), Some(new)) => edit(key, &old, &new, loaded, changes, now),
                (None, None) => {}
            }
        }
    }
}

/// A new virtual server with its destinations.
pub(crate) fn add(key: ServerKey, serving: Serving, changes: &mut Changes) {
    changes.server(ServerChange::Add(key, serving.settings));
    for (endpoint, weight) in serving.destinations {
        changes.server(ServerChange::AddDestination(key, endpoint, weight));
    }
}

/// One that is there and serves differently.
fn edit(
    key: ServerKey,
    old: &Serving,
    new: &Serving,
    loaded: &mut Loaded,
    changes: &mut Changes,
    now: Instant,
) {
    if old.settings != new.settings {
        changes.server(ServerChange::Edit(key, new.settings.clone()));
    }
    let present: HashMap<SocketAddr, u32> = old.destinations.iter().copied().collect();
    for (endpoint, weight) in &new.destinations {
        match present.get(endpoint) {
            Some(had) if had == weight => {}
            Some(_) => changes.server(ServerChange::Weigh(key, *endpoint, *weight)),
            None if loaded.graceful.reclaim(&key, *endpoint) => {
                changes.server(ServerChange::Weigh(key, *endpoint, *weight));
            }
            None => changes.server(ServerChange::AddDestination(key, *endpoint, *weight)),
        }
    }
    let wanted: HashMap<SocketAddr, u32> = new.destinations.iter().copied().collect();
    for (endpoint, _) in old.destinations.iter().filter(|(endpoint, _)| !wanted.contains_key(endpoint)) {
        dismiss(key, *endpoint, &mut loaded.graceful, changes, now);
    }
}

/// An endpoint that is there and not wanted: one of TCP goes with its last connection.
pub(crate) fn dismiss(
    key: ServerKey,
    endpoint: SocketAddr,
    graceful: &mut Graceful,
    changes: &mut Changes,
    now: Instant,
) {
    if key.protocol == Protocol::Tcp {
        graceful.retire(key, endpoint, now);
        changes.server(ServerChange::Weigh(key, endpoint, NOTHING_NEW));
    } else {
        changes.server(ServerChange::RemoveDestination(key, endpoint));
    }
}

impl Loaded {
    pub(crate) fn new(here: Surroundings) -> Self {
        Self {
            here,
            addresses: Tally::default(),
            members: Tally::default(),
            unbound: HashSet::new(),
            fill: Fill::default(),
            graceful: Graceful::default(),
            refusals: Refusals::default(),
            rules: Rules::default(),
            sample: None,
        }
    }

    /// Whether somebody else may have to get or give up an address of the node itself, which is decided by looking
    /// at all.
    pub(crate) fn own_servers_move(&self, plan: &NodePlan, changes: &ChangeSet) -> bool {
        changes.service_ports().any(|(name, old)| {
            let own = |port: &Arc<ServicePort>| own_servers(name, port, &self.here);
            let new = plan.service_ports.get(name).map(own).unwrap_or_default();
            old.map(own).unwrap_or_default() != new
        })
    }
}
