//! What only the ipvs mode has: virtual servers, the device that carries their addresses, and address sets.
//!
//! Kube-proxy would delete every virtual server of the host. Here only those go that it can be shown to have
//! made: the ones whose address is on its device `kube-ipvs0`, and those at a node's own address that its sets
//! list as a Service's, by the port alone if it is a node port. Device and sets therefore go last, and stay when
//! a virtual server does, so that another attempt knows as much as this one.
//!
//! The sets go after the rules that use them, which [`xtables`](crate::xtables) removes.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use portolan_core::{IpFamily, Protocol};
use portolan_ipvs::{
    AddressChange, DEVICE, Destroyed, InterfaceAddress, IpvsError, Link, Links, Member, ServerChange,
    ServerKey, Servers, Set, Sets,
};

use crate::outcome::Progress;
use crate::{LeftoverError, Manner, Outcome, Part};

/// How long in all it is waited for rules that are gone to let go of the sets: what a transaction removes from
/// nf_tables is taken apart after it, in the background.
const PATIENCE: Duration = Duration::from_secs(2);
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

/// Removes all of it, in these families.
pub(crate) fn remove(manner: Manner, families: &[IpFamily]) -> Vec<Outcome> {
    let of_family = |family: &IpFamily, step: &dyn Fn(&mut Progress) -> Result<(), LeftoverError>| {
        Outcome::of(Part::Ipvs, Some(*family), step)
    };
    let servers =
        |family: &IpFamily| of_family(family, &|progress| remove_servers(*family, manner, progress));
    let mut outcomes: Vec<_> = families.iter().map(servers).collect();
    if outcomes.iter().all(|outcome| outcome.result.is_ok() && outcome.lasting == 0) {
        outcomes.push(Outcome::of(Part::Ipvs, None, |progress| remove_device(families, progress)));
        outcomes.extend(
            families.iter().map(|family| of_family(family, &|progress| remove_sets(*family, progress))),
        );
    }
    outcomes
}

/// Deletes the virtual servers that are kube-proxy's, but for those that connections use if these are to last. Of
/// the device's addresses then only those stay that such a server has.
fn remove_servers(family: IpFamily, manner: Manner, progress: &mut Progress) -> Result<(), LeftoverError> {
    // A kernel without IPVS needs no further look.
    let Some(mut servers) = Servers::open()? else { return Ok(()) };
    let found = servers.list(family)?;
    if found.is_empty() {
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
    let (mut left, mut lasting) = (Left::of("virtual servers"), HashSet::new());
    for server in found.into_iter().map(|server| server.key).filter(is_ours) {
        progress.found = true;
        if manner == Manner::AfterConnections && quiesce(&mut servers, &server)? == Use::Connections {
            progress.lasting += 1;
            lasting.insert(server.address);
            continue;
        }
        match servers.change(&[ServerChange::Remove(server)]) {
            Ok(_) => progress.removed += 1,
            Err(error) => left.add(&server, error),
        }
    }
    if let Some(device) = device.filter(|_| !lasting.is_empty()) {
        let unused = addresses.virtual_ips.iter().filter(|ip| !lasting.contains(ip));
        let unused: Vec<_> = unused.map(|ip| AddressChange::Remove(device.index, *ip)).collect();
        links.change(&unused)?;
    }
    left.into_result()
}

/// What a virtual server is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// For nothing.
    Nothing,
    /// For connections that it was asked for.
    Connections,
}

/// Sees to it that a server gets nothing new if it has connections.
fn quiesce(servers: &mut Servers, server: &ServerKey) -> Result<Use, LeftoverError> {
    let destinations = servers.destinations(server)?;
    if destinations.iter().all(|to| to.active == 0 && to.inactive == 0) {
        return Ok(Use::Nothing);
    }
    let weighed = destinations.iter().filter(|to| to.weight > 0);
    let changes: Vec<_> = weighed.map(|to| ServerChange::Weigh(*server, to.socket, 0)).collect();
    servers.change(&changes)?;
    Ok(Use::Connections)
}

/// The addresses of a family by whose they are.
struct Addresses {
    /// The device's.
    virtual_ips: HashSet<IpAddr>,
    /// All others.
    node_ips: HashSet<IpAddr>,
}

impl Addresses {
    fn read(links: &mut Links, device: Option<&Link>, family: IpFamily) -> Result<Self, LeftoverError> {
        let addresses = links.addresses(family)?;
        let is_on_device =
            |found: &&InterfaceAddress| device.is_some_and(|link| link.index == found.interface);
        let (on_device, others): (Vec<_>, Vec<_>) = addresses.iter().partition(is_on_device);
        // The kernel's own come with the device and go with it.
        let virtual_ips = on_device
            .into_iter()
            .filter(|found: &&InterfaceAddress| found.is_lasting())
            .map(|found| found.address)
            .collect();
        Ok(Self { virtual_ips, node_ips: others.iter().map(|found| found.address).collect() })
    }
}

/// Deletes the device, unless it has addresses of a family that is not to be touched: the device goes with that family
/// then, and now only the addresses of these families.
fn remove_device(families: &[IpFamily], progress: &mut Progress) -> Result<(), LeftoverError> {
    let mut links = Links::open()?;
    let Some(device) = links.find(DEVICE)? else { return Ok(()) };
    progress.found = true;
    if !device.is_dummy() {
        let kind = device.kind.unwrap_or_else(|| "none".to_owned());
        return Err(LeftoverError::NotDummy { name: DEVICE, kind });
    }
    for family in IpFamily::ALL.into_iter().filter(|family| !families.contains(family)) {
        if !Addresses::read(&mut links, Some(&device), family)?.virtual_ips.is_empty() {
            return remove_addresses(&mut links, &device, families);
        }
    }
    progress.removed += usize::from(links.delete(&device, DEVICE)?);
    Ok(())
}

/// Takes addresses from the device, so that it goes with the last family whichever comes first.
fn remove_addresses(links: &mut Links, device: &Link, families: &[IpFamily]) -> Result<(), LeftoverError> {
    for family in families {
        let ours = Addresses::read(links, Some(device), *family)?.virtual_ips;
        let unused: Vec<_> = ours.into_iter().map(|ip| AddressChange::Remove(device.index, ip)).collect();
        links.change(&unused)?;
    }
    Ok(())
}

/// Destroys the address sets, but for those that are still used.
fn remove_sets(family: IpFamily, progress: &mut Progress) -> Result<(), LeftoverError> {
    let Some(mut sets) = Sets::open()? else { return Ok(()) };
    let present = sets.names()?;
    progress.found = Set::ALL.iter().any(|set| present.contains(&set.name(family)));
    let deadline = Instant::now() + PATIENCE;
    sets.destroy_interim(family)?;
    let mut left = Left::of("address sets");
    for set in Set::ALL {
        let name = set.name(family);
        if !present.contains(&name) {
            continue;
        }
        match destroy(&mut sets, *set, family, deadline) {
            Ok(Destroyed::Now) => progress.removed += 1,
            Ok(Destroyed::Before) => {}
            Ok(Destroyed::InUse) => {
                progress.kept.push(format!("address set {name}: rules or other sets still use it"));
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

/// What sets list of what the node itself may serve.
#[derive(Debug, Default)]
struct Served {
    /// For all of a node's addresses.
    ports: HashSet<(Protocol, u16)>,
    /// For one address each.
    sockets: HashSet<(Protocol, SocketAddr)>,
}

impl Served {
    fn read(sets: &mut Sets, family: IpFamily) -> Result<Self, LeftoverError> {
        let mut all = Self::default();
        for (set, protocol) in SERVED {
            for member in sets.members(set, family)?.into_iter().flatten() {
                match member {
                    Member::Port(port) => _ = all.ports.insert((protocol, port)),
                    // It says itself of which protocol it is.
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

    fn into_result(self) -> Result<(), LeftoverError> {
        self.first.map_or(Ok(()), |(first, source)| {
            Err(LeftoverError::Left { left: self.count, what: self.what, first, source })
        })
    }
}
