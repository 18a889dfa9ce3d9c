//! Address sets, over netfilter netlink.
//!
//! Numbers are from linux/netfilter/ipset/ip_set.h. What is longer than a byte is in the network's order.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use portolan_core::IpFamily;
use portolan_netlink::{Message, MessageWriter, NetlinkError, NetlinkSocket, Protocol, flag};

use crate::LeftoverError;
use crate::netfilter::is_absent;
use crate::outcome::Progress;

mod names;
mod wire;

use names::{NODE_PORTS, SETS, name};

/// The kernel's parts: there, with or without a module, exactly if `ip_set` is, which has a parameter.
const MODULE: &str = "/sys/module/ip_set";
const MODULES: &str = "/sys/module";

/// How long in all it is waited for rules that are gone to let go of the sets: what a transaction removes from
/// nf_tables is taken apart after it, in the background.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// The node ports that sets list.
#[derive(Debug, Default)]
pub(super) struct NodePorts {
    /// For all of a node's addresses: protocol and port.
    ports: HashSet<(u16, u16)>,
    /// For one address each.
    sockets: HashSet<(u16, IpAddr, u16)>,
}

impl NodePorts {
    /// Whether this port at this address of the node is one.
    pub(super) fn has(&self, protocol: u16, address: IpAddr, port: u16) -> bool {
        self.ports.contains(&(protocol, port)) || self.sockets.contains(&(protocol, address, port))
    }
}

/// The sets of the network namespace that the socket was opened in.
pub(super) struct Sets {
    socket: NetlinkSocket,
}

impl Sets {
    /// Nothing if the kernel has no sets, or has not loaded what makes them: to ask would load it.
    pub(super) fn open() -> Result<Option<Self>, LeftoverError> {
        if Path::new(MODULES).exists() && !Path::new(MODULE).exists() {
            return Ok(None);
        }
        match NetlinkSocket::open(Protocol::Netfilter) {
            Ok(socket) => Ok(Some(Self { socket })),
            Err(source) => Err(LeftoverError::Read { what: "address sets".to_owned(), source }),
        }
    }

    /// The node ports of a family.
    pub(super) fn node_ports(&mut self, family: IpFamily) -> Result<NodePorts, LeftoverError> {
        let mut all = NodePorts::default();
        for (set, protocol) in NODE_PORTS {
            let name = name(set, family);
            let listed = self.socket.dump(
                wire::LIST,
                |request| wire::write_name(request, family, &name),
                |found: &mut Vec<wire::Entry>, message| found.extend(wire::entries(message)),
            );
            let entries = match listed {
                Ok(entries) => entries,
                Err(error) if error.errno() == Some(libc::ENOENT) => continue,
                Err(source) => {
                    return Err(LeftoverError::Read { what: format!("address set {name}"), source });
                }
            };
            for entry in entries {
                match entry.address {
                    None => _ = all.ports.insert((protocol, entry.port)),
                    Some(address) => _ = all.sockets.insert((protocol, address, entry.port)),
                }
            }
        }
        Ok(all)
    }

    /// Destroys kube-proxy's sets of a family, but for those that are still used.
    pub(super) fn destroy(&mut self, family: IpFamily, progress: &mut Progress) -> Result<(), LeftoverError> {
        let present = self.names()?;
        let deadline = Instant::now() + PATIENCE;
        let mut left: Option<(usize, String, NetlinkError)> = None;
        for name in SETS.iter().map(|set| name(set, family)).filter(|name| present.contains(name)) {
            match self.destroy_one(family, &name, deadline) {
                Ok(()) => progress.removed += 1,
                Err(error) => match error.errno() {
                    // Gone already.
                    Some(libc::ENOENT) => {}
                    Some(wire::REFERENCED) => {
                        progress.kept.push(format!("address set {name}: rules or other sets still use it"));
                    }
                    _ => left = Some(left.map_or((1, name, error), |(n, first, why)| (n + 1, first, why))),
                },
            }
        }
        left.map_or(Ok(()), |(left, first, source)| {
            Err(LeftoverError::Left { left, what: "address sets", first, source })
        })
    }

    fn destroy_one(&mut self, family: IpFamily, name: &str, deadline: Instant) -> Result<(), NetlinkError> {
        loop {
            let fill = |request: &mut MessageWriter<'_>| wire::write_name(request, family, name);
            match self.socket.request(wire::DESTROY, flag::ACK, fill, |(): &mut (), _| {}) {
                Err(error) if error.errno() == Some(wire::REFERENCED) && Instant::now() < deadline => {}
                result => return result,
            }
            sleep(PAUSE);
        }
    }

    /// The names of all sets.
    fn names(&mut self) -> Result<HashSet<String>, LeftoverError> {
        let take = |names: &mut HashSet<String>, message: &Message<'_>| names.extend(wire::set_name(message));
        match self.socket.dump(wire::LIST, wire::write_names_only, take) {
            Ok(names) => Ok(names),
            Err(error) if is_absent(error.errno()) => Ok(HashSet::new()),
            Err(source) => Err(LeftoverError::Read { what: "the names of address sets".to_owned(), source }),
        }
    }
}
