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
    DEVICE, Destroyed, InterfaceAddress, IpvsError, Link, Links, Member, ServerChange, ServerKey, Servers,
    Set, Sets,
};

use crate::outcome::Progress;
use crate::{LeftoverError, Outcome, Part};

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
pub(crate) fn remove(families: &[IpFamily]) -> Vec<Outcome> {
    let of_family = |family: &IpFamily, step: fn(IpFamily, &mut Progress) -> Result<(), LeftoverError>| {
        Outcome::of(Part::Ipvs, Some(*family), |progress| step(*family, progress))
    };
    let mut outcomes: Vec<_> = families.iter().map(|family| of_family(family, remove_servers)).collect();
    if outcomes.iter().all(|outcome| outcome.result.is_ok()) {
        outcomes.push(Outcome::of(Part::Ipvs, None, |progress| remove_device(families, progress)));
        outcomes.extend(families.iter().map(|family| of_family(family, remove_sets)));
    }
    outcomes
}

/// Deletes the virtual servers that are kube-proxy's.
fn remove_servers(family: IpFamily, progress: &mut Progress) -> Result<(), LeftoverError> {
    // A kernel without IPVS needs no further look.
    let Some(mut servers) = Servers::open()? else { return Ok(()) };
    let found = servers.list(family)?;
    if found.is_empty() {
        return Ok(());
    }
    let mut links = Links::open()?;
    let device = links.find(DEVICE)?.filter(Link::is_dummy);
    let addresses = links.addresses(family)?;
    let on_device = |index| device.as_ref().is_some_and(|device| device.index == index);
    let (virtual_ips, node_ips): (Vec<_>, Vec<_>) = addresses.iter().partition(|a| on_device(a.interface));
    let all_of = |addresses: &[&InterfaceAddress]| -> HashSet<IpAddr> {
        addresses.iter().map(|a| a.address).collect()
    };
    let (virtual_ips, node_ips) = (all_of(&virtual_ips), all_of(&node_ips));
    let served = match Sets::open()? {
        Some(mut sets) => Served::read(&mut sets, family)?,
        None => Served::default(),
    };
    let is_ours = |server: &ServerKey| {
        virtual_ips.contains(&server.address) || node_ips.contains(&server.address) && served.has(server)
    };
    let mut left = Left::of("virtual servers");
    for server in found.into_iter().map(|server| server.key).filter(is_ours) {
        match servers.change(&[ServerChange::Remove(server)]) {
            Ok(_) => progress.removed += 1,
            Err(error) => left.add(&server, error),
        }
    }
    left.into_result()
}

/// Deletes the device, unless it has addresses of a family that is not to be touched.
fn remove_device(families: &[IpFamily], progress: &mut Progress) -> Result<(), LeftoverError> {
    let mut links = Links::open()?;
    let Some(device) = links.find(DEVICE)? else { return Ok(()) };
    if !device.is_dummy() {
        let kind = device.kind.unwrap_or_else(|| "none".to_owned());
        return Err(LeftoverError::NotDummy { name: DEVICE, kind });
    }
    for family in IpFamily::ALL.into_iter().filter(|family| !families.contains(family)) {
        let is_its = |address: &InterfaceAddress| address.interface == device.index && address.is_lasting();
        if links.addresses(family)?.iter().any(is_its) {
            progress.kept.push(format!("interface {DEVICE}: it has addresses of {family}"));
            return Ok(());
        }
    }
    progress.removed += usize::from(links.delete(&device, DEVICE)?);
    Ok(())
}

/// Destroys the address sets, but for those that are still used.
fn remove_sets(family: IpFamily, progress: &mut Progress) -> Result<(), LeftoverError> {
    let Some(mut sets) = Sets::open()? else { return Ok(()) };
    let present = sets.names()?;
    let deadline = Instant::now() + PATIENCE;
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
