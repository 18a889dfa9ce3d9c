//! Full sync: compares what the plan needs with what the kernel has, including objects of earlier processes.
//!
//! An earlier run of this proxy, or kube-proxy, may have left all of it; then only the difference is written.
//! Virtual servers that no plan wants are removed if they are ours to remove: their address is one of our
//! device's, or the node's own, or was while we have been running, and our sets list it as a Service's. Others stay;
//! kube-proxy would remove them.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use portolan_core::Protocol;
use portolan_core::plan::NodePlan;
use portolan_ipvs::{Destination, Member, Server, ServerChange, ServerKey, ServerSettings, Set};

use crate::Options;
use crate::changes::Changes;
use crate::graceful::is_idle;
use crate::kernel::{Kernel, KernelError};
use crate::node_context::{HostAddresses, NodeContext, own_servers};
use crate::state::{Programmed, add, dismiss};
use crate::wanted::{Serving, Wanted};

/// Reads the kernel, and gives the changes that make it equal to the plan. `before` has the addresses that were the
/// node's.
pub(crate) fn compare(
    plan: &NodePlan,
    options: &Options,
    kernel: &mut impl Kernel,
    before: Option<&Programmed>,
    now: Instant,
) -> Result<(Programmed, Changes), KernelError> {
    let addresses = kernel.addresses()?;
    let mut context = NodeContext::new(addresses.elsewhere.clone(), &plan.node, options);
    context.taken =
        plan.service_ports.iter().flat_map(|(name, port)| own_servers(name, port, &context)).collect();
    let mut programmed = Programmed::new(context);
    let servers = collect(plan, &mut programmed);
    let mut changes = Changes::new(plan.family);
    let mut present = Present::read(kernel, addresses)?;
    present.given_up = before.map(|before| before.context.elsewhere.clone()).unwrap_or_default();
    present.members.iter().for_each(|(set, members)| programmed.sizes.has(*set, members.len()));
    compare_members(&mut programmed, &present, &mut changes);
    compare_addresses(&mut programmed, &present, &mut changes);
    compare_servers(
        servers,
        &present,
        options,
        kernel,
        &mut Comparison { programmed: &mut programmed, changes: &mut changes, now },
    )?;
    Ok((programmed, changes))
}

/// What the kernel has before anything is changed.
struct Present {
    addresses: HostAddresses,
    /// Addresses that were the node's.
    given_up: HashSet<IpAddr>,
    members: HashMap<Set, HashSet<Member>>,
    servers: Vec<Server>,
}

impl Present {
    fn read(kernel: &mut impl Kernel, addresses: HostAddresses) -> Result<Self, KernelError> {
        let mut members = HashMap::new();
        for set in Set::ALL {
            members.insert(*set, kernel.members(*set)?);
        }
        Ok(Self { addresses, given_up: HashSet::new(), members, servers: kernel.servers()? })
    }

    fn has(&self, set: Set, member: &Member) -> bool {
        self.members.get(&set).is_some_and(|members| members.contains(member))
    }

    /// Whether a virtual server is ours, or was of an earlier run, or kube-proxy's.
    fn is_ours(&self, key: &ServerKey) -> bool {
        let is_nodes =
            [&self.addresses.elsewhere, &self.given_up].iter().any(|ips| ips.contains(&key.address));
        self.addresses.on_device.contains(&key.address) || is_nodes && self.is_listed(key)
    }

    /// Whether a set has it as a node port, or as an address of a Service that is the node's as well.
    fn is_listed(&self, key: &ServerKey) -> bool {
        let socket = SocketAddr::new(key.address, key.port);
        let vip = Member::Socket(key.protocol, socket);
        let vips = [Set::ClusterIp, Set::LoadBalancer, Set::ExternalIp, Set::ExternalIpLocal];
        vips.iter().any(|set| self.has(*set, &vip)) || self.is_node_port(key, socket)
    }

    fn is_node_port(&self, key: &ServerKey, socket: SocketAddr) -> bool {
        match key.protocol {
            Protocol::Tcp => self.has(Set::NodePortTcp, &Member::Port(key.port)),
            Protocol::Udp => self.has(Set::NodePortUdp, &Member::Port(key.port)),
            Protocol::Sctp => self.has(Set::NodePortSctp, &Member::Socket(Protocol::Sctp, socket)),
        }
    }
}

/// Collects all that the plan needs, and gives the servers in the order in which they are added.
fn collect(plan: &NodePlan, programmed: &mut Programmed) -> Vec<(ServerKey, Serving)> {
    let mut servers = Vec::new();
    for name in plan.names_by_importance() {
        let wanted = Wanted::of(name, &plan.service_ports[name], &programmed.context);
        servers.extend(wanted.servers);
        programmed.unbound.extend(wanted.unbound.into_iter().map(|ip| (name.clone(), ip)));
        wanted.addresses.into_iter().for_each(|ip| programmed.addresses.add(ip));
        wanted.members.into_iter().for_each(|member| programmed.members.add(member));
    }
    // All of it is compared, so none of it is a change.
    programmed.addresses.settle();
    programmed.members.settle();
    programmed.sample = servers.first().map(|(key, _)| *key);
    servers
}

fn compare_members(programmed: &mut Programmed, present: &Present, changes: &mut Changes) {
    let Programmed { members: wanted, sizes, .. } = programmed;
    for (set, member) in wanted.iter().filter(|(set, member)| !present.has(*set, member)) {
        sizes.comes(*set);
        changes.member_in(*set, *member);
    }
    for (set, members) in present.members.iter().filter(|(set, _)| **set != Set::IpvsIps) {
        for member in members.iter().filter(|member| !wanted.has(&(*set, **member))) {
            sizes.goes(*set);
            changes.member_out(*set, *member);
        }
    }
}

/// An address and its element in the filter's set belong together: where one is missing both are written.
fn compare_addresses(programmed: &mut Programmed, present: &Present, changes: &mut Changes) {
    let Programmed { addresses: wanted, sizes, .. } = programmed;
    let known = |ip| present.has(Set::IpvsIps, &Member::Ip(ip));
    for ip in wanted.iter() {
        let (is_known, is_there) = (known(*ip), present.addresses.on_device.contains(ip));
        if !is_known {
            sizes.comes(Set::IpvsIps);
        }
        if !is_known || !is_there {
            changes.address_in(*ip);
        }
    }
    let filtered = present.members.get(&Set::IpvsIps).into_iter().flatten();
    let filtered = filtered.filter_map(|member| if let Member::Ip(ip) = member { Some(*ip) } else { None });
    let all: HashSet<_> = present.addresses.on_device.iter().copied().chain(filtered).collect();
    for ip in all.into_iter().filter(|ip| !wanted.has(ip)) {
        if known(ip) {
            sizes.goes(Set::IpvsIps);
        }
        changes.address_out(ip);
    }
}

/// What servers are compared into.
struct Comparison<'a> {
    programmed: &'a mut Programmed,
    changes: &'a mut Changes,
    now: Instant,
}

fn compare_servers(
    wanted: Vec<(ServerKey, Serving)>,
    present: &Present,
    options: &Options,
    kernel: &mut impl Kernel,
    into: &mut Comparison<'_>,
) -> Result<(), KernelError> {
    let mut others: HashMap<ServerKey, &ServerSettings> =
        present.servers.iter().map(|server| (server.key, &server.settings)).collect();
    for (key, serving) in wanted {
        match others.remove(&key) {
            None => add(key, serving, into.changes),
            Some(settings) => {
                if *settings != serving.settings {
                    into.changes.server(ServerChange::Edit(key, serving.settings.clone()));
                }
                let destinations = kernel.destinations(&key)?;
                into.compare_destinations(key, &serving, &destinations);
            }
        }
    }
    let mut stale: Vec<_> =
        others.into_keys().filter(|key| present.is_ours(key) && !options.excludes(key.address)).collect();
    stale.sort_unstable();
    for key in stale {
        into.changes.server(ServerChange::Remove(key));
    }
    Ok(())
}

impl Comparison<'_> {
    fn compare_destinations(&mut self, key: ServerKey, serving: &Serving, present: &[Destination]) {
        let mut others: HashMap<_, _> = present.iter().map(|found| (found.socket, found)).collect();
        for (endpoint, weight) in &serving.destinations {
            match others.remove(endpoint) {
                None => self.changes.server(ServerChange::AddDestination(key, *endpoint, *weight)),
                Some(found) if found.weight != *weight => {
                    self.changes.server(ServerChange::Weigh(key, *endpoint, *weight));
                }
                Some(_) => {}
            }
        }
        let mut others: Vec<_> = others.into_values().collect();
        others.sort_unstable_by_key(|found| found.socket);
        for found in others {
            if is_idle(found) {
                self.changes.server(ServerChange::RemoveDestination(key, found.socket));
            } else if key.protocol == Protocol::Tcp && found.weight == 0 {
                // An earlier run set its weight to zero, and it still has connections.
                self.programmed.graceful.retire(key, found.socket, self.now);
            } else {
                dismiss(key, found.socket, &mut self.programmed.graceful, self.changes, self.now);
            }
        }
    }
}
