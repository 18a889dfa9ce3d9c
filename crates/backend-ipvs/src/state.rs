//! What is programmed in the kernel, and what a change of the plan changes in it: pure.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use portolan_core::plan::{NodePlan, ServicePort};
use portolan_core::{ChangeSet, IpFamily, Protocol, ServicePortName};
use portolan_ipvs::{Member, ServerChange, ServerKey, Set};

use crate::changes::Changes;
use crate::graceful::Graceful;
use crate::node_context::{NodeContext, own_servers};
use crate::rejections::Rejections;
use crate::rules::Rules;
use crate::sizes::SetSizes;
use crate::use_counts::{Net, UseCounts};
use crate::wanted::{NOTHING_NEW, Serving, Wanted};

/// What the kernel has after a success, except for what it rejected.
#[derive(Debug)]
pub(crate) struct Programmed {
    pub(crate) context: NodeContext,
    /// Elements of sets. Those of [`Set::IpvsIps`] are the addresses of the device.
    pub(crate) members: UseCounts<(Set, Member)>,
    /// Addresses that are not bound to the device because they are the API server's, with their service ports.
    pub(crate) unbound: UseCounts<(ServicePortName, IpAddr)>,
    pub(crate) sizes: SetSizes,
    pub(crate) graceful: Graceful,
    pub(crate) rejections: Rejections,
    /// The rules, as they were wanted and as the program prints them.
    pub(crate) rules: Rules,
    /// One of the virtual servers, to detect that another process removed all.
    pub(crate) sample: Option<ServerKey>,
}

impl Programmed {
    pub(crate) fn new(context: NodeContext) -> Self {
        let (members, unbound, sizes, graceful, rejections, rules, sample) = Default::default();
        Self { context, members, unbound, sizes, graceful, rejections, rules, sample }
    }

    /// The addresses of the device.
    pub(crate) fn addresses(&self) -> HashSet<IpAddr> {
        let address = |member: &(Set, Member)| match member {
            (Set::IpvsIps, Member::Ip(ip)) => Some(*ip),
            _ => None,
        };
        self.members.iter().filter_map(address).collect()
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

/// A change of what is programmed, with the changes of the kernel that it takes.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) programmed: Programmed,
    pub(crate) changes: Changes,
    now: Instant,
}

impl Update {
    /// No changes yet.
    pub(crate) fn new(programmed: Programmed, family: IpFamily, now: Instant) -> Self {
        Self { programmed, changes: Changes::new(family), now }
    }

    /// The changes that a change set takes.
    pub(crate) fn of(programmed: Programmed, plan: &NodePlan, changes: &ChangeSet, now: Instant) -> Self {
        let mut update = Self::new(programmed, plan.family, now);
        let mut servers = BTreeMap::<_, (Option<Serving>, Option<Serving>)>::new();
        for (name, old) in changes.service_ports() {
            for (key, serving) in old.into_iter().flat_map(|old| update.release(name, old)) {
                servers.entry(key).or_default().0 = Some(serving);
            }
            for (key, serving) in
                plan.service_ports.get(name).into_iter().flat_map(|new| update.take(name, new))
            {
                servers.entry(key).or_default().1 = Some(serving);
            }
        }
        update.settle();
        for (key, diff) in servers {
            match diff {
                (None, Some(new)) => update.add_server(key, new),
                (Some(_), None) => update.remove_server(key),
                (Some(old), Some(new)) => update.edit_server(key, &old, &new),
                (None, None) => {}
            }
        }
        update
    }

    /// Counts what a service port needs. Returns its virtual servers.
    pub(crate) fn take(&mut self, name: &ServicePortName, port: &ServicePort) -> Vec<(ServerKey, Serving)> {
        let Wanted { servers, members, unbound } = Wanted::of(name, port, &self.programmed.context);
        for member in members {
            self.programmed.members.add(member);
        }
        for ip in unbound {
            self.programmed.unbound.add((name.clone(), ip));
        }
        servers
    }

    /// No longer counts what a service port needed. Returns its virtual servers.
    fn release(&mut self, name: &ServicePortName, port: &ServicePort) -> Vec<(ServerKey, Serving)> {
        let Wanted { servers, members, unbound } = Wanted::of(name, port, &self.programmed.context);
        for member in members {
            self.programmed.members.remove(member);
        }
        for ip in unbound {
            self.programmed.unbound.remove((name.clone(), ip));
        }
        servers
    }

    /// Adds the changes of sets and addresses.
    pub(crate) fn settle(&mut self) {
        let Programmed { members, unbound, sizes, .. } = &mut self.programmed;
        warn_unbound(&unbound.settle().added);
        let Net { added, removed } = members.settle();
        // A set needs capacity for both until elements are removed.
        for member in added {
            sizes.add(member.0);
            self.changes.add_member(member);
        }
        for member in removed {
            sizes.remove(member.0);
            self.changes.remove_member(member);
        }
    }

    /// Adds a virtual server with its destinations.
    pub(crate) fn add_server(&mut self, key: ServerKey, new: Serving) {
        self.changes.server(ServerChange::Add(key, new.settings));
        for (endpoint, weight) in new.destinations {
            self.changes.server(ServerChange::AddDestination(key, endpoint, weight));
        }
        self.programmed.sample.get_or_insert(key);
    }

    /// Removes a virtual server with its destinations.
    pub(crate) fn remove_server(&mut self, key: ServerKey) {
        self.programmed.graceful.forget(&key);
        self.changes.server(ServerChange::Remove(key));
        self.programmed.sample = self.programmed.sample.filter(|sample| *sample != key);
    }

    /// Makes a virtual server that exists serve differently.
    pub(crate) fn edit_server(&mut self, key: ServerKey, old: &Serving, new: &Serving) {
        if old.settings != new.settings {
            self.changes.server(ServerChange::Edit(key, new.settings.clone()));
        }
        for (endpoint, weight) in &new.destinations {
            let present = old.weight(endpoint);
            if present == Some(*weight) {
                continue;
            }
            let exists = present.is_some() || self.programmed.graceful.reclaim(&key, *endpoint);
            let change = if exists { ServerChange::Weigh } else { ServerChange::AddDestination };
            self.changes.server(change(key, *endpoint, *weight));
        }
        for (endpoint, _) in old.destinations.iter().filter(|(endpoint, _)| new.weight(endpoint).is_none()) {
            self.dismiss(key, *endpoint);
        }
    }

    /// Removes an endpoint that is not wanted: one of TCP when its last connection has ended.
    pub(crate) fn dismiss(&mut self, key: ServerKey, endpoint: SocketAddr) {
        if key.protocol == Protocol::Tcp {
            self.retire(key, endpoint);
            self.changes.server(ServerChange::Weigh(key, endpoint, NOTHING_NEW));
        } else {
            self.changes.server(ServerChange::RemoveDestination(key, endpoint));
        }
    }

    /// Checks later whether the last connection of an endpoint with weight zero has ended.
    pub(crate) fn retire(&mut self, key: ServerKey, endpoint: SocketAddr) {
        self.programmed.graceful.retire(key, endpoint, self.now);
    }
}

/// The most service ports that are named at a time.
const MOST_NAMED: usize = 20;

/// Warns of service ports whose address is the API server's, and so not bound.
fn warn_unbound(unbound: &[(ServicePortName, IpAddr)]) {
    for (service_port, address) in unbound.iter().take(MOST_NAMED) {
        tracing::warn!(
            servicePort = %service_port,
            %address,
            "Address is not bound to kube-ipvs0: it is the API server's"
        );
    }
    if let Some(others @ 1..) = unbound.len().checked_sub(MOST_NAMED) {
        tracing::warn!(
            servicePorts = others,
            "More addresses of service ports are the API server's and are not bound"
        );
    }
}
