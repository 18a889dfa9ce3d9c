//! Stale objects of this mode: chains, virtual servers, the device with their addresses, and address sets.
//!
//! Kube-proxy would delete every virtual server of the host. Portolan removes only those that kube-proxy or an earlier run
//! made: their address is on the device `kube-ipvs0`, or it is the node's own and the sets list them, node ports by the
//! port alone. So the device and the sets are removed last, and are kept while a virtual server is, for the next attempt.
//!
//! Looking for stale objects loads no kernel module.

use std::collections::HashSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use portolan_core::backend::{CleanupReport, error_chain};
use portolan_core::{IpFamily, ProxyMode};
use portolan_iptables::stale::{self, Mode};
use portolan_ipvs::{
    AddressChange, DEVICE, Destroyed, IpvsError, Link, Links, ServerChange, ServerKey, Servers, Set, Sets,
};

use crate::adopt::{LISTS, ListedServers};
use crate::graceful::is_idle;
use crate::kernel::host_addresses;
use crate::node_context::HostAddresses;

/// The total time to wait until removed rules release the sets: the kernel frees removed objects of nf_tables after the
/// transaction, in the background.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

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
    /// A netlink request failed.
    #[error(transparent)]
    Ipvs(#[from] IpvsError),
}

/// What happens to connections of stale virtual servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// They end.
    Ended,
    /// They continue: a virtual server with connections gets no new ones and is kept, with its address. The report
    /// counts them; repeat the removal later. Their rules can be removed, since connection tracking keeps the result,
    /// but a virtual server translates each packet.
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
    let HostAddresses { on_device, elsewhere } =
        host_addresses(&mut links, device.as_ref().map(|device| device.index), family)?;
    let mut listed = ListedServers::default();
    if let Some(mut sets) = Sets::open()? {
        for (set, _) in LISTS {
            let members = sets.members(set, family)?.into_iter().flatten();
            members.for_each(|member| listed.add(set, member));
        }
    }
    let is_ours = |server: &ServerKey| {
        on_device.contains(&server.address) || elsewhere.contains(&server.address) && listed.contains(server)
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
        let unused = on_device.iter().filter(|ip| !in_use.contains(ip));
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
    let mut on_device =
        |family| host_addresses(&mut links, Some(device.index), family).map(|addresses| addresses.on_device);
    let others = IpFamily::ALL.into_iter().filter(|other| *other != family);
    for other in others {
        if !on_device(other)?.is_empty() {
            let own = on_device(family)?.into_iter();
            let changes: Vec<_> = own.map(|ip| AddressChange::Remove(device.index, ip)).collect();
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
