//! Address sets (ipset), over netfilter netlink.
//!
//! The program `ipset` is not needed: the messages are few, and a list of a thousand elements costs a few
//! system calls instead of a process that may be missing or of a version that the kernel does not know.

mod capacity;
mod member;
mod names;
mod wire;

use std::collections::HashSet;
use std::path::Path;

use portolan_core::IpFamily;
use portolan_netlink::{Message, MessageWriter, NetlinkError, NetlinkSocket, Protocol, flag};

pub use capacity::Capacity;
pub use member::{Member, SetChange};
pub use names::{Set, SetKind};

use crate::IpvsError;
use crate::error::ErrorNumber;
use crate::sent::{Carried, Sent, send_all};

/// The kernel's parts: there, with or without a module, exactly if `ip_set` is, which has a parameter.
const MODULE: &str = "/sys/module/ip_set";
const MODULES: &str = "/sys/module";

/// What became of a set that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destroyed {
    /// It went.
    Now,
    /// There was none.
    Before,
    /// Rules or other sets use it, and so it stays.
    InUse,
}

/// The sets of the network namespace that the socket was opened in.
#[derive(Debug)]
pub struct Sets {
    socket: NetlinkSocket,
}

impl Sets {
    /// Nothing if the kernel has no sets, or has not loaded what makes them: to ask would load it.
    ///
    /// # Errors
    /// The socket cannot be opened.
    pub fn open() -> Result<Option<Self>, IpvsError> {
        if Path::new(MODULES).exists() && !Path::new(MODULE).exists() {
            return Ok(None);
        }
        Self::load().map(Some)
    }

    /// The kernel loads what makes sets when it is asked about them.
    ///
    /// # Errors
    /// The socket cannot be opened.
    pub fn load() -> Result<Self, IpvsError> {
        let socket = NetlinkSocket::open(Protocol::Netfilter).map_err(IpvsError::read("address sets"))?;
        Ok(Self { socket })
    }

    /// The names of all sets in the namespace; none where the kernel has no sets.
    ///
    /// # Errors
    /// The kernel rejects the request, or does not answer.
    pub fn names(&mut self) -> Result<HashSet<String>, IpvsError> {
        let take = |names: &mut HashSet<String>, message: &Message<'_>| names.extend(wire::set_name(message));
        match self.socket.dump(wire::LIST, wire::write_names_only, take) {
            Err(error) if is_absent(&error) => Ok(HashSet::new()),
            listed => listed.map_err(IpvsError::read("the names of address sets")),
        }
    }

    /// Whether the kernel has sets, or can load them.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn are_there(&mut self) -> Result<bool, IpvsError> {
        let take = |(): &mut (), _: &Message<'_>| {};
        match self.socket.dump(wire::LIST, wire::write_names_only, take) {
            Err(error) if is_absent(&error) => Ok(false),
            listed => listed.map(|()| true).map_err(IpvsError::read("whether there are address sets")),
        }
    }

    /// What is in a set, or nothing if there is no such set.
    ///
    /// # Errors
    /// The kernel rejects the request, or does not answer.
    pub fn members(&mut self, set: Set, family: IpFamily) -> Result<Option<HashSet<Member>>, IpvsError> {
        let name = set.name(family);
        let listed = self.socket.dump(
            wire::LIST,
            |request| wire::write_name(request, family, &name),
            |found: &mut HashSet<Member>, message| found.extend(wire::members(message, set.kind())),
        );
        match listed {
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            listed => listed.map(Some).map_err(IpvsError::read(format!("address set {name}"))),
        }
    }

    /// Makes a set as kube-proxy would, empty, unless there is one of this name and type already, whatever its
    /// room. Returns whether it was created.
    ///
    /// # Errors
    /// The kernel rejects the request: there is a set of this name and another type, or the type is unknown to it.
    pub fn create(&mut self, set: Set, family: IpFamily) -> Result<bool, IpvsError> {
        self.make(&set.name(family), set.kind(), family, Capacity::Usual)
    }

    fn make(
        &mut self,
        name: &str,
        kind: SetKind,
        family: IpFamily,
        capacity: Capacity,
    ) -> Result<bool, IpvsError> {
        let fill =
            |request: &mut MessageWriter<'_>| wire::write_creation(request, family, name, kind, capacity);
        // Without NLM_F_EXCL a set of the same type but of another size would be taken for the same by
        // some kernels and not by others.
        let made = self.socket.request(wire::CREATE, flag::ACK | flag::EXCL, fill, |(): &mut (), _| {});
        let Err(error) = made else { return Ok(true) };
        let action = || format!("make address set {name}");
        match error.errno() {
            Some(libc::EEXIST) if self.kind(name, family)?.as_deref() == Some(kind.as_str()) => Ok(false),
            Some(errno) => Err(IpvsError::Rejected { action: action(), source: ErrorNumber::new(errno) }),
            None => Err(IpvsError::Send { action: action(), source: error }),
        }
    }

    /// The type of a set, as the kernel calls it.
    fn kind(&mut self, name: &str, family: IpFamily) -> Result<Option<String>, IpvsError> {
        let by_name = |request: &mut MessageWriter<'_>| wire::write_name(request, family, name);
        let take = |kind: &mut Option<String>, message: &Message<'_>| {
            *kind = kind.take().or_else(|| wire::kind_name(message));
        };
        let read = self.socket.request(wire::HEADER, flag::ACK, by_name, take);
        read.map_err(IpvsError::read(format!("address set {name}")))
    }

    /// Carries these changes out, one message for each, whatever becomes of the others.
    ///
    /// # Errors
    /// They could not be sent, or were not answered; some may have been carried out nevertheless.
    pub fn carry_out(&mut self, changes: &[SetChange]) -> Result<Carried, IpvsError> {
        send_all(&mut self.socket, 0, changes)
    }

    /// The same for changes that should all succeed.
    ///
    /// # Errors
    /// The first change that the kernel rejected; all were tried.
    pub fn change(&mut self, changes: &[SetChange]) -> Result<Sent, IpvsError> {
        self.carry_out(changes)?.all()
    }

    /// Destroys a set with all that is in it.
    ///
    /// # Errors
    /// The kernel rejects the request for another reason than that the set is in use.
    pub fn destroy(&mut self, set: Set, family: IpFamily) -> Result<Destroyed, IpvsError> {
        self.destroy_named(&set.name(family), family)
    }

    fn destroy_named(&mut self, name: &str, family: IpFamily) -> Result<Destroyed, IpvsError> {
        let fill = |request: &mut MessageWriter<'_>| wire::write_name(request, family, name);
        // NLM_F_EXCL makes new kernels say when there is none, as old ones always do.
        let flags = flag::ACK | flag::EXCL;
        let Err(error) = self.socket.request(wire::DESTROY, flags, fill, |(): &mut (), _| {}) else {
            return Ok(Destroyed::Now);
        };
        match error.errno() {
            Some(libc::ENOENT) => Ok(Destroyed::Before),
            Some(wire::REFERENCED) => Ok(Destroyed::InUse),
            _ => Err(IpvsError::Send { action: format!("destroy address set {name}"), source: error }),
        }
    }
}

/// What a netfilter socket answers when the part asked for is neither there nor can be loaded
/// (`nfnetlink_rcv_msg`).
fn is_absent(error: &NetlinkError) -> bool {
    matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

#[cfg(test)]
mod tests;
