//! This host's kernel, by netlink and by iptables' programs.
//!
//! Sockets are those of the network namespace of the thread that opens them; programs and settings are those of
//! the thread that calls.

use std::collections::HashSet;
use std::io::Write;

use portolan_core::IpFamily;
use portolan_host::Host;
use portolan_iptables::programs::Programs;
use portolan_ipvs::{
    AddressChange, AddressWatch, Capacity, Carried, DEVICE, Destination, InterfaceAddress, IpvsError, Links,
    Member, Server, ServerChange, ServerKey, Servers, Set, SetChange, Sets,
};

use super::settings::{self, Settings};
use super::{Kernel, KernelError};
use crate::Options;
use crate::changes::Change;
use crate::node_context::HostAddresses;

/// One family of this host's kernel.
#[derive(Debug)]
pub struct Netlink {
    family: IpFamily,
    options: Options,
    servers: Servers,
    sets: Sets,
    links: Links,
    watch: AddressWatch,
    programs: Programs,
    device: u32,
    settings: Settings,
    /// What is done once in a run.
    is_prepared: bool,
}

impl Netlink {
    /// Opens the sockets and finds the programs. Loads IPVS if the kernel has not.
    ///
    /// # Errors
    /// The kernel has no IPVS, or there is no program.
    pub fn open(family: IpFamily, options: Options) -> Result<Self, KernelError> {
        let lacking = || KernelError::Lacking { missing: "the kernel module ip_vs".to_owned() };
        Ok(Self {
            family,
            options,
            servers: Servers::load()?.ok_or_else(lacking)?,
            sets: Sets::load()?,
            links: Links::open()?,
            watch: AddressWatch::open(family)?,
            programs: Programs::find(family)?,
            device: 0,
            settings: Settings::default(),
            is_prepared: false,
        })
    }

    fn prepare_device(&mut self) -> Result<usize, KernelError> {
        let mut made = 0;
        let mut device = self.links.find(DEVICE)?;
        if device.is_none() {
            self.links.create_dummy(DEVICE)?;
            made = 1;
            device = self.links.find(DEVICE)?;
        }
        let Some(device) = device else {
            return Err(KernelError::Lacking { missing: format!("interface {DEVICE}, which was just made") });
        };
        if !device.is_dummy() {
            let kind = device.kind.unwrap_or_else(|| "none".to_owned());
            return Err(KernelError::NotDummy { name: DEVICE, kind });
        }
        self.device = device.index;
        Ok(made)
    }

    /// Carries out changes that are all for one part of the kernel.
    fn carry_out_run(&mut self, changes: &[Change]) -> Result<Carried, KernelError> {
        let (mut servers, mut sets, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            match to_part(self.device, change) {
                Part::Server(change) => servers.push(change),
                Part::Set(change) => sets.push(change),
                Part::Address(change) => addresses.push(change),
            }
        }
        Ok(match (servers.is_empty(), sets.is_empty()) {
            (false, _) => self.servers.carry_out(&servers)?,
            (true, false) => self.sets.carry_out(&sets)?,
            (true, true) => self.links.carry_out(&addresses)?,
        })
    }
}

impl Kernel for Netlink {
    fn prepare(&mut self) -> Result<usize, KernelError> {
        let host = Host::new();
        let mut made = self.settings.make(&host, self.options.strict_arp)?;
        if !self.is_prepared {
            // A run that was killed while it resized a set may have left it.
            self.sets.destroy_interim(self.family)?;
            settings::set_timeouts(&mut self.servers, self.options.timeouts);
            settings::warn_of_bridges(&host);
            self.is_prepared = true;
        }
        made += self.prepare_device()?;
        for set in Set::ALL {
            made += usize::from(self.sets.create(*set, self.family)?);
        }
        Ok(made)
    }

    fn addresses(&mut self) -> Result<HostAddresses, KernelError> {
        // Notifications that came so far are about addresses that are read now.
        self.addresses_changed()?;
        // Asked anew: another process may have deleted the device, and made it again.
        let device = self.links.find(DEVICE)?.map(|device| device.index);
        Ok(host_addresses(&mut self.links, device, self.family)?)
    }

    fn addresses_changed(&mut self) -> Result<bool, KernelError> {
        let ours = self.device;
        let counts =
            |found: &InterfaceAddress| found.interface != ours && HostAddresses::counts(found.address);
        Ok(self.watch.has_changed(counts)?)
    }

    fn servers(&mut self) -> Result<Vec<Server>, KernelError> {
        Ok(self.servers.list(self.family)?)
    }

    fn destinations(&mut self, server: &ServerKey) -> Result<Vec<Destination>, KernelError> {
        Ok(self.servers.destinations(server)?)
    }

    fn has_server(&mut self, server: &ServerKey) -> Result<bool, KernelError> {
        Ok(self.servers.has(server)?)
    }

    fn members(&mut self, set: Set) -> Result<HashSet<Member>, KernelError> {
        Ok(self.sets.members(set, self.family)?.unwrap_or_default())
    }

    fn fit(&mut self, set: Set, capacity: Capacity) -> Result<bool, KernelError> {
        Ok(self.sets.fit(set, self.family, capacity)?)
    }

    fn carry_out(&mut self, changes: &[Change]) -> Result<Carried, KernelError> {
        let mut all = Carried::default();
        let part = |change: &Change| std::mem::discriminant(&to_part(self.device, change));
        let runs: Vec<&[Change]> = changes.chunk_by(|one, next| part(one) == part(next)).collect();
        let mut place = 0;
        for run in runs {
            let Carried { sent, refused } = self.carry_out_run(run)?;
            all.sent += sent;
            all.refused.extend(refused.into_iter().map(|(index, error)| (place + index, error)));
            place += run.len();
        }
        Ok(all)
    }

    fn saved_rules(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), KernelError> {
        Ok(self.programs.save(each_line)?)
    }

    fn load_rules(&mut self, input: &str) -> Result<(), KernelError> {
        Ok(self.programs.restore(&mut |writer: &mut dyn Write| writer.write_all(input.as_bytes()))?)
    }
}

/// The addresses of a family, if the device has this index. Those of the device that the kernel generates are left out:
/// they come with the device and go with it.
pub(crate) fn host_addresses(
    links: &mut Links,
    device: Option<u32>,
    family: IpFamily,
) -> Result<HostAddresses, IpvsError> {
    let mut addresses = HostAddresses::default();
    for found in links.addresses(family)? {
        let is_on_device = Some(found.interface) == device;
        if !is_on_device || found.is_lasting() {
            addresses.insert(found.address, is_on_device);
        }
    }
    Ok(addresses)
}

/// A change by the part of the kernel that carries it out.
enum Part {
    Server(ServerChange),
    Set(SetChange),
    Address(AddressChange),
}

fn to_part(device: u32, change: &Change) -> Part {
    match change {
        Change::Server(change) => Part::Server(change.clone()),
        Change::Set(change) => Part::Set(*change),
        Change::AddAddress(ip) => Part::Address(AddressChange::Add(device, *ip)),
        Change::RemoveAddress(ip) => Part::Address(AddressChange::Remove(device, *ip)),
    }
}
