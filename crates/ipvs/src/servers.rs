//! IPVS's virtual servers and their destinations, over generic netlink.
//!
//! A virtual server with a firewall mark instead of an address is not listed.

mod change;
mod key;
mod wire;

use portolan_core::IpFamily;
use portolan_netlink::{Message, NetlinkSocket, Protocol, flag};

pub use change::ServerChange;
pub use key::{Destination, Server, ServerKey, ServerSettings, Timeouts, server_flag};

use crate::IpvsError;
use crate::sent::{Carried, Sent, send_all};

/// The virtual servers of the network namespace that the socket was opened in.
#[derive(Debug)]
pub struct Servers {
    socket: NetlinkSocket,
    family: u16,
}

impl Servers {
    /// Nothing if the kernel has no IPVS, or has not loaded it.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn open() -> Result<Option<Self>, IpvsError> {
        Self::open_by(NetlinkSocket::generic_family)
    }

    /// Makes the kernel load IPVS if it can: nothing if it has none.
    ///
    /// Asked for the netlink family a kernel loads what brings it, but not Linux 5.10, whose module does not say
    /// that it does. There the match of that name is asked about, whose module needs IPVS.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn load() -> Result<Option<Self>, IpvsError> {
        if let Some(servers) = Self::open_by(NetlinkSocket::load_generic_family)? {
            return Ok(Some(servers));
        }
        if let Ok(mut socket) = NetlinkSocket::open(Protocol::Netfilter) {
            // Whatever the answer, what there is to load is loaded by then.
            let _ = socket.request(wire::GET_COMPATIBLE, flag::ACK, wire::write_match, |(): &mut (), _| {});
        }
        Self::open_by(NetlinkSocket::load_generic_family)
    }

    fn open_by(
        find: impl FnOnce(&mut NetlinkSocket, &str) -> Result<Option<u16>, portolan_netlink::NetlinkError>,
    ) -> Result<Option<Self>, IpvsError> {
        let opened = NetlinkSocket::open(Protocol::Generic).and_then(|mut socket| {
            let family = find(&mut socket, wire::FAMILY)?;
            Ok(family.map(|family| Self { socket, family }))
        });
        opened.map_err(IpvsError::read("whether there is IPVS"))
    }

    /// Those of a family.
    ///
    /// # Errors
    /// The kernel rejects the request, or does not answer.
    pub fn list(&mut self, family: IpFamily) -> Result<Vec<Server>, IpvsError> {
        let all = wire::request(wire::GET_SERVICE, |_| {});
        let take = |all: &mut Vec<Server>, message: &Message<'_>| all.extend(wire::server(message, family));
        let listed = self.socket.dump(self.family, all, take);
        listed.map_err(IpvsError::read(format!("virtual servers of {family}")))
    }

    /// The destinations of a virtual server; none if there is no such server.
    ///
    /// # Errors
    /// The kernel rejects the request, or does not answer.
    pub fn destinations(&mut self, server: &ServerKey) -> Result<Vec<Destination>, IpvsError> {
        let of_server = wire::request(wire::GET_DESTINATION, |request| wire::write_key(request, server));
        let family = IpFamily::of(server.address);
        let take = |all: &mut Vec<Destination>, message: &Message<'_>| {
            all.extend(wire::destination(message, family));
        };
        match self.socket.dump(self.family, of_server, take) {
            Err(error) if error.errno() == Some(libc::ESRCH) => Ok(Vec::new()),
            listed => listed.map_err(IpvsError::read(format!("destinations of virtual server {server}"))),
        }
    }

    /// Whether there is a virtual server with this key.
    ///
    /// # Errors
    /// The kernel rejects the request, or does not answer.
    pub fn has(&mut self, server: &ServerKey) -> Result<bool, IpvsError> {
        let by_key = wire::request(wire::GET_SERVICE, |request| wire::write_key(request, server));
        let take = |found: &mut bool, _: &Message<'_>| *found = true;
        match self.socket.request(self.family, flag::ACK, by_key, take) {
            Err(error) if error.errno() == Some(libc::ESRCH) => Ok(false),
            result => result.map_err(IpvsError::read(format!("virtual server {server}"))),
        }
    }

    /// Carries these changes out, one message for each, whatever becomes of the others.
    ///
    /// # Errors
    /// They could not be sent, or were not answered; some may have been carried out nevertheless.
    pub fn carry_out(&mut self, changes: &[ServerChange]) -> Result<Carried, IpvsError> {
        send_all(&mut self.socket, self.family, changes)
    }

    /// The same for changes that should all succeed.
    ///
    /// # Errors
    /// The first change that the kernel rejected; all were tried.
    pub fn change(&mut self, changes: &[ServerChange]) -> Result<Sent, IpvsError> {
        self.carry_out(changes)?.all()
    }

    /// Whether the kernel has a scheduler, or can load it. No virtual server is made.
    ///
    /// Asked for an IPv6 server with an impossible prefix, the kernel looks for the scheduler first
    /// (`ip_vs_add_service`, net/netfilter/ipvs/ip_vs_ctl.c): its answer shows whether it found it.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn has_scheduler(&mut self, scheduler: &str) -> Result<bool, IpvsError> {
        let impossible =
            wire::request(wire::NEW_SERVICE, |request| wire::write_impossible(request, scheduler));
        match self.socket.request(self.family, flag::ACK, impossible, |(): &mut (), _| {}) {
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
            Ok(()) => Ok(true),
            Err(error) if error.errno().is_some() => Ok(true),
            Err(source) => {
                Err(IpvsError::Read { what: format!("whether there is scheduler {scheduler}"), source })
            }
        }
    }

    /// How long unused connections are remembered.
    ///
    /// # Errors
    /// The kernel rejects the request, or does not answer.
    pub fn timeouts(&mut self) -> Result<Timeouts, IpvsError> {
        let all = wire::request(wire::GET_CONFIG, |_| {});
        let take = |found: &mut Timeouts, message: &Message<'_>| *found = wire::timeouts(message);
        let read = self.socket.request(self.family, flag::ACK, all, take);
        read.map_err(IpvsError::read("the time-outs of IPVS"))
    }

    /// Sets those time-outs that are not zero, in whole seconds.
    ///
    /// # Errors
    /// The kernel rejects the request, or does not answer.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), IpvsError> {
        let fill = wire::request(wire::SET_CONFIG, |request| wire::write_timeouts(request, timeouts));
        let set = self.socket.request(self.family, flag::ACK, fill, |(): &mut (), _| {});
        set.map_err(|source| IpvsError::Send { action: "set the time-outs of IPVS".to_owned(), source })
    }
}

#[cfg(test)]
mod tests;
