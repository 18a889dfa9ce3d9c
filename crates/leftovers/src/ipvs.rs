//! What only the ipvs mode has: virtual servers, the device that carries their addresses, and address sets.
//!
//! Kube-proxy would delete every virtual server of the host. Here only those go that it can be shown to have
//! made: the ones whose address is on its device `kube-ipvs0`, and those at a node's own address with a port
//! that its sets list as a node port. Device and sets therefore go last, and stay when a virtual server does,
//! so that another attempt knows as much as this one.
//!
//! The sets go after the rules that use them, which [`xtables`](crate::xtables) removes.

use std::collections::HashSet;
use std::net::IpAddr;

use portolan_core::IpFamily;

use crate::outcome::Progress;
use crate::{LeftoverError, Outcome, Part};

mod links;
mod servers;
mod sets;

use links::{Address, Link, Links};
use servers::Servers;
use sets::{NodePorts, Sets};

/// The device that has the addresses of the virtual servers.
const DEVICE: &str = "kube-ipvs0";

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
    let (virtual_ips, node_ips): (Vec<_>, Vec<_>) = addresses.iter().partition(|a| on_device(a.device));
    let all_of = |addresses: &[&Address]| -> HashSet<IpAddr> { addresses.iter().map(|a| a.ip).collect() };
    let (virtual_ips, node_ips) = (all_of(&virtual_ips), all_of(&node_ips));
    let node_ports = match Sets::open()? {
        Some(mut sets) => sets.node_ports(family)?,
        None => NodePorts::default(),
    };
    let is_ours = |server: &servers::Server| {
        virtual_ips.contains(&server.address)
            || node_ips.contains(&server.address)
                && node_ports.has(server.protocol, server.address, server.port)
    };
    servers.delete(found.into_iter().filter(is_ours), progress)
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
        if links.addresses(family)?.iter().any(|address| address.is_lasting_on(device.index)) {
            progress.kept.push(format!("interface {DEVICE}: it has addresses of {family}"));
            return Ok(());
        }
    }
    progress.removed += links.delete(&device, DEVICE)?;
    Ok(())
}

/// Destroys the address sets.
fn remove_sets(family: IpFamily, progress: &mut Progress) -> Result<(), LeftoverError> {
    match Sets::open()? {
        Some(mut sets) => sets.destroy(family, progress),
        None => Ok(()),
    }
}
