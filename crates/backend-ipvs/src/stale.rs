//! Stale objects of this mode: chains, virtual servers, the device with their addresses, and address sets.
//!
//! Kube-proxy would delete every virtual server of the host. Here only those are removed that kube-proxy, or an earlier
//! run, demonstrably made: the ones whose address is on the device `kube-ipvs0`, and those at a node's own address that
//! the sets list as a Service's, for a node port by the port alone. Device and sets are therefore removed last, and
//! stay when a virtual server does, so that the next attempt knows as much as this one.
//!
//! Nothing is loaded to find that there is nothing of it.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use portolan_core::backend::{CleanupReport, error_chain};
use portolan_core::{IpFamily, Protocol, ProxyMode};
use portolan_iptables::stale::{self, Mode};
use portolan_ipvs::{
    AddressChange, DEVICE, Destroyed, InterfaceAddress, IpvsError, Link, Links, Member, ServerChange,
    ServerKey, Servers, Set, Sets,
};

use crate::graceful::is_idle;

/// How long in all it is waited for rules that were removed to release the sets: the kernel frees what a transaction
/// removes from nf_tables after it, in the background.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// The sets that list node ports, and those of addresses of Services, some of which may be a node's own. Of the
/// sets for Local policies only that of external IPs lists what no other does.
const SERVED: [(Set, Protocol); 7] = [
    (Set::NodePortTcp, Protocol::Tcp),
    (Set::NodePortUdp, Protocol::Udp),
    (Set::NodePortSctp, Protocol::Sctp),
    (Set::ClusterIp, Protocol::Tcp),
    (Set::LoadBalancer, Protocol::Tcp),
    (Set::ExternalIp, Protocol::Tcp),
    (Set::ExternalIpLocal, Protocol::Tcp),
];

/// Why stale objects could not be removed.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StaleError {
    /// The device is of another kind than kube-proxy makes.
    #[error("interface {name} is of kind {kind} and not dummy, so it is not kube-proxy's")]
    NotDummy {
        /// The interface.
        name: &'static str,
        /// Its kind.
        kind: String,
    },
    /// Some objects of a kind could not be deleted; all others were.
    #[error("cannot delete {count} {what}, the first being {first}")]
    Left {
        /// How many.
        count: usize,
        /// Of what kind.
        what: &'static str,
        /// The first.
        first: String,
        /// The kernel's answer.
        source: IpvsError,
    },
    /// The kernel could not be asked.
    #[error(transparent)]
    Ipvs(#[from] IpvsError),
}

/// What becomes of connections by virtual servers that are stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// They end.
    Ended,
    /// They continue: a virtual server with connections gets no new ones and stays, with its address. The report says
    /// how many do; repeat the removal later. Rules are not needed, since connection tracking remembers what they
    /// decided, but a virtual server translates each packet.
    Kept,
}

/// Removes the stale objects of this mode in one family. While iptables mode runs, it removes the chains itself.
pub fn remove(running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
    if running == Some(&ProxyMode::IPTABLES) {
        return remove_servers(Connections::Kept, family);
    }
    // Rules first: they use the sets.
    let mut report = match stale::running(running, family) {
        Ok(running) => stale::remove(&[Mode::Iptables, Mode::Ipvs], running, family),
        Err(error) => {
            tracing::debug!(ipFamily = %family, err = error_chain(&error), "Not looking for stale chains");
            CleanupReport::default()
        }
    };
    match running {
        None => report.merge(remove_servers(Connections::Ended, family)),
        Some(running) if *running != ProxyMode::IPVS => {
            report.merge(remove_servers(Connections::Kept, family));
        }
        Some(_) => {}
    }
    report
}

/// Removes what only this mode has besides chains, in one family. It reads every virtual server of the node.
pub fn remove_servers(connections: Connections, family: IpFamily) -> CleanupReport {
    let mut report = CleanupReport::default();
    report.step(|report, found| delete_servers(family, connections, report, found));
    if report.failures.is_empty() && report.in_use == 0 {
        report.step(|report, found| delete_device(family, report, found));
        report.step(|report, found| destroy_sets(family, report, found));
    }
    report
}

/// Deletes the virtual servers that are kube-proxy's, except for those with connections if these are kept. Of
/// the device's addresses only those of such servers then stay.
fn delete_servers(
    family: IpFamily,
    connections: Connections,
    report: &mut CleanupReport,
    found: &mut bool,
) -> Result<(), StaleError> {
    // Without IPVS in the kernel there is no virtual server.
    let Some(mut servers) = Servers::open()? else { return Ok(()) };
    let present = servers.list(family)?;
    if present.is_empty() {
        return Ok(());
    }
    let mut links = Links::open()?;
    let device = links.find(DEVICE)?.filter(Link::is_dummy);
    let addresses = Addresses::read(&mut links, device.as_ref(), family)?;
    let served = match Sets::open()? {
        Some(mut sets) => Served::read(&mut sets, family)?,
        None => Served::default(),
    };
    let is_ours = |server: &ServerKey| {
        addresses.virtual_ips.contains(&server.address)
            || addresses.node_ips.contains(&server.address) && served.has(server)
    };
    let (mut left, mut in_use) = (Left::of("virtual servers"), HashSet::new());
    for server in present.into_iter().map(|server| server.key).filter(is_ours) {
        *found = true;
        if connections == Connections::Kept && has_connections(&mut servers, &server)? {
            report.in_use += 1;
            in_use.insert(server.address);
            continue;
        }
        match servers.change(&[ServerChange::Remove(server)]) {
            Ok(_) => report.removed += 1,
            Err(error) => left.add(&server, error),
        }
    }
    if let Some(device) = device.filter(|_| !in_use.is_empty()) {
        let unused = addresses.virtual_ips.iter().filter(|ip| !in_use.contains(ip));
        let unused: Vec<_> = unused.map(|ip| AddressChange::Remove(device.index, *ip)).collect();
        links.change(&unused)?;
    }
    left.into_result()
}

/// Whether a server has connections. It then gets no new ones.
fn has_connections(servers: &mut Servers, server: &ServerKey) -> Result<bool, StaleError> {
    let destinations = servers.destinations(server)?;
    if destinations.iter().all(is_idle) {
        return Ok(false);
    }
    let weighed = destinations.iter().filter(|to| to.weight > 0);
    let changes: Vec<_> = weighed.map(|to| ServerChange::Weigh(*server, to.socket, 0)).collect();
    servers.change(&changes)?;
    Ok(true)
}

/// The addresses of a family.
struct Addresses {
    /// Those of the device.
    virtual_ips: HashSet<IpAddr>,
    /// All others.
    node_ips: HashSet<IpAddr>,
}

impl Addresses {
    fn read(links: &mut Links, device: Option<&Link>, family: IpFamily) -> Result<Self, StaleError> {
        let addresses = links.addresses(family)?;
        let is_on_device =
            |found: &&InterfaceAddress| device.is_some_and(|link| link.index == found.interface);
        let (on_device, others): (Vec<_>, Vec<_>) = addresses.iter().partition(is_on_device);
        // Those that the kernel adds by itself come with the device and go with it.
        let virtual_ips = on_device
            .into_iter()
            .filter(|found: &&InterfaceAddress| found.is_lasting())
            .map(|found| found.address)
            .collect();
        Ok(Self { virtual_ips, node_ips: others.iter().map(|found| found.address).collect() })
    }
}

/// Deletes the device, unless it has addresses of the other family; it then loses those of this family, so that it is
/// deleted with the last family in any order.
fn delete_device(family: IpFamily, report: &mut CleanupReport, found: &mut bool) -> Result<(), StaleError> {
    let mut links = Links::open()?;
    let Some(device) = links.find(DEVICE)? else { return Ok(()) };
    *found = true;
    if !device.is_dummy() {
        let kind = device.kind.unwrap_or_else(|| "none".to_owned());
        return Err(StaleError::NotDummy { name: DEVICE, kind });
    }
    let mut virtual_ips =
        |family| Addresses::read(&mut links, Some(&device), family).map(|all| all.virtual_ips);
    let others = IpFamily::ALL.into_iter().filter(|other| *other != family);
    for other in others {
        if !virtual_ips(other)?.is_empty() {
            let own = virtual_ips(family)?;
            let changes: Vec<_> = own.into_iter().map(|ip| AddressChange::Remove(device.index, ip)).collect();
            links.change(&changes)?;
            return Ok(());
        }
    }
    report.removed += usize::from(links.delete(&device, DEVICE)?);
    Ok(())
}

/// Destroys the address sets, except for those that are still used.
fn destroy_sets(family: IpFamily, report: &mut CleanupReport, found: &mut bool) -> Result<(), StaleError> {
    let Some(mut sets) = Sets::open()? else { return Ok(()) };
    let present = sets.names()?;
    *found = Set::ALL.iter().any(|set| present.contains(&set.name(family)));
    let deadline = Instant::now() + RELEASE_LIMIT;
    sets.destroy_interim(family)?;
    let mut left = Left::of("address sets");
    for set in Set::ALL {
        let name = set.name(family);
        if !present.contains(&name) {
            continue;
        }
        match destroy(&mut sets, *set, family, deadline) {
            Ok(Destroyed::Now) => report.removed += 1,
            Ok(Destroyed::Before) => {}
            Ok(Destroyed::InUse) => {
                report.kept.push(format!("address set {name}: rules or other sets still use it"));
            }
            Err(error) => left.add(&name, error),
        }
    }
    left.into_result()
}

fn destroy(sets: &mut Sets, set: Set, family: IpFamily, deadline: Instant) -> Result<Destroyed, IpvsError> {
    loop {
        let destroyed = sets.destroy(set, family)?;
        if destroyed != Destroyed::InUse || Instant::now() >= deadline {
            return Ok(destroyed);
        }
        sleep(PAUSE);
    }
}

/// Services at the node's own addresses, as the sets list them.
#[derive(Debug, Default)]
struct Served {
    /// At all of a node's addresses.
    ports: HashSet<(Protocol, u16)>,
    /// At one address each.
    sockets: HashSet<(Protocol, SocketAddr)>,
}

impl Served {
    fn read(sets: &mut Sets, family: IpFamily) -> Result<Self, StaleError> {
        let mut all = Self::default();
        for (set, protocol) in SERVED {
            for member in sets.members(set, family)?.into_iter().flatten() {
                match member {
                    Member::Port(port) => _ = all.ports.insert((protocol, port)),
                    // It has its own protocol.
                    Member::Socket(protocol, at) => _ = all.sockets.insert((protocol, at)),
                    _ => {}
                }
            }
        }
        Ok(all)
    }

    /// Whether a virtual server at an address of the node is a Service's.
    fn has(&self, server: &ServerKey) -> bool {
        self.ports.contains(&(server.protocol, server.port))
            || self.sockets.contains(&(server.protocol, SocketAddr::new(server.address, server.port)))
    }
}

/// What could not be removed.
struct Left {
    what: &'static str,
    count: usize,
    first: Option<(String, IpvsError)>,
}

impl Left {
    fn of(what: &'static str) -> Self {
        Self { what, count: 0, first: None }
    }

    fn add(&mut self, object: &impl ToString, error: IpvsError) {
        self.count += 1;
        self.first.get_or_insert_with(|| (object.to_string(), error));
    }

    fn into_result(self) -> Result<(), StaleError> {
        self.first.map_or(Ok(()), |(first, source)| {
            Err(StaleError::Left { count: self.count, what: self.what, first, source })
        })
    }
}
