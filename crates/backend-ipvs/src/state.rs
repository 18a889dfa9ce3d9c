//! What is programmed in the kernel, and what a change of the plan changes in it: pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use portolan_core::plan::{NodePlan, ServicePort};
use portolan_core::{ChangeSet, Protocol, ServicePortName};
use portolan_ipvs::{Member, ServerChange, ServerKey, Set};

use crate::changes::Changes;
use crate::graceful::Graceful;
use crate::node_context::{NodeContext, own_servers};
use crate::rejections::Rejections;
use crate::rules::Rules;
use crate::sizes::SetSizes;
use crate::use_counts::UseCounts;
use crate::wanted::{NOTHING_NEW, Serving, Wanted};

/// What the kernel has after a success, except for what it rejected.
#[derive(Debug)]
pub(crate) struct Programmed {
    pub(crate) context: NodeContext,
    pub(crate) addresses: UseCounts<IpAddr>,
    pub(crate) members: UseCounts<(Set, Member)>,
    /// Addresses that are not bound to the device because they are the API server's, with their service ports.
    pub(crate) unbound: HashSet<(ServicePortName, IpAddr)>,
    pub(crate) sizes: SetSizes,
    pub(crate) graceful: Graceful,
    pub(crate) rejections: Rejections,
    /// The rules, as they were wanted and as the program prints them.
    pub(crate) rules: Rules,
    /// One of the virtual servers, to detect that another process removed all.
    pub(crate) sample: Option<ServerKey>,
}

/// Virtual servers before and after, by their keys.
#[derive(Debug, Default)]
pub(crate) struct ServerDiff {
    servers: BTreeMap<ServerKey, (Option<Serving>, Option<Serving>)>,
}

impl ServerDiff {
    /// Adds what a service port had.
    pub(crate) fn had(&mut self, wanted: Wanted, programmed: &mut Programmed) {
        for (key, serving) in wanted.servers {
            self.servers.entry(key).or_default().0 = Some(serving);
        }
        wanted.addresses.into_iter().for_each(|ip| programmed.addresses.remove(ip));
        wanted.members.into_iter().for_each(|member| programmed.members.remove(member));
    }

    /// Adds what a service port needs.
    pub(crate) fn wants(&mut self, wanted: Wanted, programmed: &mut Programmed) {
        for (key, serving) in wanted.servers {
            self.servers.entry(key).or_default().1 = Some(serving);
        }
        wanted.addresses.into_iter().for_each(|ip| programmed.addresses.add(ip));
        wanted.members.into_iter().for_each(|member| programmed.members.add(member));
    }

    /// Adds the changes that this takes.
    pub(crate) fn finish(self, programmed: &mut Programmed, changes: &mut Changes, now: Instant) {
        let members = programmed.members.settle();
        let addresses = programmed.addresses.settle();
        members.came.iter().for_each(|(set, _)| programmed.sizes.comes(*set));
        addresses.came.iter().for_each(|_| programmed.sizes.comes(Set::IpvsIps));
        members.went.iter().for_each(|(set, _)| programmed.sizes.goes(*set));
        addresses.went.iter().for_each(|_| programmed.sizes.goes(Set::IpvsIps));
        members.came.into_iter().for_each(|(set, member)| changes.member_in(set, member));
        members.went.into_iter().for_each(|(set, member)| changes.member_out(set, member));
        addresses.came.into_iter().for_each(|ip| changes.address_in(ip));
        addresses.went.into_iter().for_each(|ip| changes.address_out(ip));
        for (key, diff) in self.servers {
            match diff {
                (None, Some(new)) => {
                    add(key, new, changes);
                    programmed.sample.get_or_insert(key);
                }
                (Some(_), None) => {
                    programmed.graceful.forget(&key);
                    changes.server(ServerChange::Remove(key));
                    programmed.sample = programmed.sample.filter(|sample| *sample != key);
                }
                (Some(old), Some(new)) => edit(key, &old, &new, programmed, changes, now),
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

/// Changes of a virtual server that exists and serves differently.
fn edit(
    key: ServerKey,
    old: &Serving,
    new: &Serving,
    programmed: &mut Programmed,
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
            None if programmed.graceful.reclaim(&key, *endpoint) => {
                changes.server(ServerChange::Weigh(key, *endpoint, *weight));
            }
            None => changes.server(ServerChange::AddDestination(key, *endpoint, *weight)),
        }
    }
    let wanted: HashMap<SocketAddr, u32> = new.destinations.iter().copied().collect();
    for (endpoint, _) in old.destinations.iter().filter(|(endpoint, _)| !wanted.contains_key(endpoint)) {
        dismiss(key, *endpoint, &mut programmed.graceful, changes, now);
    }
}

/// Removes an endpoint that is not wanted: one of TCP when its last connection has ended.
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

impl Programmed {
    pub(crate) fn new(context: NodeContext) -> Self {
        Self {
            context,
            addresses: UseCounts::default(),
            members: UseCounts::default(),
            unbound: HashSet::new(),
            sizes: SetSizes::default(),
            graceful: Graceful::default(),
            rejections: Rejections::default(),
            rules: Rules::default(),
            sample: None,
        }
    }

    /// Whether the owner of an address of the node itself may change, which only a full sync decides.
    pub(crate) fn own_servers_move(&self, plan: &NodePlan, changes: &ChangeSet) -> bool {
        changes.service_ports().any(|(name, old)| {
            let own = |port: &Arc<ServicePort>| own_servers(name, port, &self.context);
            let new = plan.service_ports.get(name).map(own).unwrap_or_default();
            old.map(own).unwrap_or_default() != new
        })
    }
}
