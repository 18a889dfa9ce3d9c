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
use portolan_ipvs::{Destination, Member, ServerChange, ServerKey, ServerSettings, Set};

use crate::Options;
use crate::graceful::is_idle;
use crate::kernel::{Kernel, KernelError};
use crate::node_context::{HostAddresses, NodeContext, own_servers};
use crate::state::{Programmed, Update};
use crate::wanted::Serving;

/// Reads the kernel, and gives the changes that make it equal to the plan. `before` has the addresses that were the
/// node's.
pub(crate) fn compare(
    plan: &NodePlan,
    options: &Options,
    kernel: &mut impl Kernel,
    before: Option<&Programmed>,
    now: Instant,
) -> Result<Update, KernelError> {
    let HostAddresses { on_device, elsewhere } = kernel.addresses()?;
    let mut context = NodeContext::new(elsewhere, &plan.node, options);
    context.taken =
        plan.service_ports.iter().flat_map(|(name, port)| own_servers(name, port, &context)).collect();
    let mut update = Update::new(Programmed::new(context), plan.family, now);
    let mut wanted = Vec::new();
    for name in plan.names_by_importance() {
        wanted.extend(update.take(name, &plan.service_ports[name]));
    }
    update.programmed.sample = wanted.first().map(|(key, _)| *key);
    let listed = read_members(kernel, &on_device, &mut update.programmed)?;
    for unbound in before.into_iter().flat_map(|before| before.unbound.iter()) {
        update.programmed.unbound.exists(unbound.clone());
    }
    update.settle();
    let mut present: HashMap<_, _> =
        kernel.servers()?.into_iter().map(|server| (server.key, server.settings)).collect();
    for (key, serving) in wanted {
        match present.remove(&key) {
            None => update.add_server(key, serving),
            Some(settings) => {
                compare_server(&mut update, key, settings, &serving, kernel.destinations(&key)?);
            }
        }
    }
    let is_nodes = |ip: &IpAddr| {
        update.programmed.context.elsewhere.contains(ip)
            || before.is_some_and(|before| before.context.elsewhere.contains(ip))
    };
    let is_ours =
        |key: &ServerKey| on_device.contains(&key.address) || is_nodes(&key.address) && listed.contains(key);
    let stale = present.into_keys().filter(|key| is_ours(key) && !options.excludes(key.address));
    let mut stale: Vec<_> = stale.collect();
    stale.sort_unstable();
    for key in stale {
        update.remove_server(key);
    }
    Ok(update)
}

/// Records which elements and addresses exist. Returns the Services at the node's own addresses.
fn read_members(
    kernel: &mut impl Kernel,
    on_device: &HashSet<IpAddr>,
    programmed: &mut Programmed,
) -> Result<ListedServers, KernelError> {
    let mut listed = ListedServers::default();
    for set in Set::ALL {
        let mut members = kernel.members(*set)?;
        for member in &members {
            listed.add(*set, *member);
        }
        if *set == Set::IpvsIps {
            // An address and its element belong together: where one of them is missing, both are written.
            let on_device: HashSet<_> = on_device.iter().map(|ip| Member::Ip(*ip)).collect();
            members.extend(&on_device);
            members.retain(|member| !programmed.members.has(&(*set, *member)) || on_device.contains(member));
        }
        programmed.sizes.has(*set, members.len());
        for member in members {
            programmed.members.exists((*set, member));
        }
    }
    Ok(listed)
}

/// Compares a virtual server that exists.
fn compare_server(
    update: &mut Update,
    key: ServerKey,
    settings: ServerSettings,
    serving: &Serving,
    destinations: Vec<Destination>,
) {
    let is_wanted = |found: &Destination| serving.weight(&found.socket).is_some();
    let (mut wanted, mut others): (Vec<_>, Vec<_>) = destinations.into_iter().partition(is_wanted);
    wanted.sort_unstable_by_key(|found| found.socket);
    let destinations = wanted.into_iter().map(|found| (found.socket, found.weight)).collect();
    update.edit_server(key, &Serving { settings, destinations }, serving);
    others.sort_unstable_by_key(|found| found.socket);
    for found in others {
        if is_idle(&found) {
            update.changes.server(ServerChange::RemoveDestination(key, found.socket));
        } else if key.protocol == Protocol::Tcp && found.weight == 0 {
            // An earlier run set its weight to zero, and it still has connections.
            update.retire(key, found.socket);
        } else {
            update.dismiss(key, found.socket);
        }
    }
}

/// The sets that list node ports, and those of addresses of Services, some of which may be a node's own. Of the
/// sets for Local policies only that of external IPs lists what no other does.
pub(crate) const LISTS: [(Set, Protocol); 7] = [
    (Set::NodePortTcp, Protocol::Tcp),
    (Set::NodePortUdp, Protocol::Udp),
    (Set::NodePortSctp, Protocol::Sctp),
    (Set::ClusterIp, Protocol::Tcp),
    (Set::LoadBalancer, Protocol::Tcp),
    (Set::ExternalIp, Protocol::Tcp),
    (Set::ExternalIpLocal, Protocol::Tcp),
];

/// Services at the node's own addresses, as the sets list them.
#[derive(Debug, Default)]
pub(crate) struct ListedServers {
    /// At all of a node's addresses.
    ports: HashSet<(Protocol, u16)>,
    /// At one address each.
    sockets: HashSet<(Protocol, SocketAddr)>,
}

impl ListedServers {
    /// Adds an element of a set; only those of [`LISTS`] count.
    pub(crate) fn add(&mut self, set: Set, member: Member) {
        let Some((_, protocol)) = LISTS.iter().find(|(list, _)| *list == set) else { return };
        match member {
            Member::Port(port) => _ = self.ports.insert((*protocol, port)),
            // It has a protocol of its own.
            Member::Socket(protocol, at) => _ = self.sockets.insert((protocol, at)),
            _ => {}
        }
    }

    /// Whether a virtual server at an address of the node is a Service's.
    pub(crate) fn contains(&self, server: &ServerKey) -> bool {
        self.ports.contains(&(server.protocol, server.port))
            || self.sockets.contains(&(server.protocol, SocketAddr::new(server.address, server.port)))
    }
}
