//! Makes service addresses this node's own, by routes of type `local` to the loopback interface.
//!
//! Such a route is all that the kernel needs to take packets in and to let programs bind, and unlike an
//! address of an interface it carries who made it ([`rtnetlink::PROTOCOL`]) on every kernel. So those of an
//! earlier run are known at once, and those of others are never touched: a deletion names the protocol, and
//! the kernel finds no other.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use portolan_core::IpFamily;
use portolan_netlink::{MessageWriter, NetlinkError, NetlinkSocket, Protocol, Refusal, flag};

use crate::rtnetlink::{self, kind};

/// How many messages one batch has, so that the receive buffer holds an answer to each.
const BATCH: usize = 256;
/// `EEXIST`, `ESRCH` and `EPERM` of asm-generic/errno-base.h.
const EXISTS: i32 = 17;
const NO_SUCH: i32 = 3;
const NOT_PERMITTED: i32 = 1;

/// The addresses of one family that are this node's because of us.
#[derive(Debug)]
pub(crate) struct LocalRoutes {
    family: IpFamily,
    socket: NetlinkSocket,
    /// How many frontends want each.
    wanted: HashMap<IpAddr, usize>,
    /// What the kernel has of ours.
    present: HashSet<IpAddr>,
    /// What may be missing, and what may be too many, since the kernel was last told.
    to_add: Vec<IpAddr>,
    to_remove: Vec<IpAddr>,
}

/// What one round of changes came to.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Routes added or removed.
    pub(crate) routes: usize,
    /// Messages sent.
    pub(crate) messages: usize,
    /// Their size.
    pub(crate) bytes: usize,
    /// Addresses that the kernel did not let us have, and why.
    pub(crate) refused: Vec<(IpAddr, Refusal)>,
}

impl LocalRoutes {
    /// Nothing is wanted yet, and nothing known of the kernel.
    pub(crate) fn open(family: IpFamily) -> Result<Self, NetlinkError> {
        let socket = NetlinkSocket::open(Protocol::Route)?;
        Ok(Self {
            family,
            socket,
            wanted: HashMap::new(),
            present: HashSet::new(),
            to_add: Vec::new(),
            to_remove: Vec::new(),
        })
    }

    /// One more frontend wants this address.
    pub(crate) fn want(&mut self, address: IpAddr) {
        let count = self.wanted.entry(address).or_default();
        *count += 1;
        if *count == 1 {
            self.to_add.push(address);
        }
    }

    /// One frontend less wants it.
    pub(crate) fn release(&mut self, address: IpAddr) {
        if let Some(count) = self.wanted.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.wanted.remove(&address);
                self.to_remove.push(address);
            }
        }
    }

    /// Whether the kernel has the route.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.present.contains(&address)
    }

    /// Reads from the kernel which addresses are ours; the next changes go by that.
    pub(crate) fn read(&mut self) -> Result<(), NetlinkError> {
        self.present = self.dump()?;
        self.to_add = self.wanted.keys().copied().collect();
        self.to_remove = self.present.iter().copied().collect();
        Ok(())
    }

    /// Whether the kernel still has all that it had.
    pub(crate) fn are_intact(&mut self) -> Result<bool, NetlinkError> {
        let now = self.dump()?;
        Ok(self.present.is_subset(&now))
    }

    fn dump(&mut self) -> Result<HashSet<IpAddr>, NetlinkError> {
        let question = rtnetlink::write_question(kind::GET_ROUTE, self.family);
        // Routes of others change all the time; ours only by our hand.
        let (found, _) =
            self.socket.dump_once(kind::GET_ROUTE, question, |found: &mut HashSet<_>, message| {
                found.extend(rtnetlink::read_our_route(message));
            })?;
        Ok(found)
    }

    /// Adds what is wanted and missing. What is refused stays missing, and is tried again the next time.
    pub(crate) fn add(&mut self) -> Result<Written, NetlinkError> {
        let mut missing = std::mem::take(&mut self.to_add);
        missing.retain(|address| self.wanted.contains_key(address) && !self.present.contains(address));
        let flags = flag::CREATE | flag::EXCL;
        let written = self.send(kind::NEW_ROUTE, flags, &missing, &[EXISTS]);
        match &written {
            Ok(written) => self.to_add = written.refused.iter().map(|(address, _)| *address).collect(),
            Err(_) => self.to_add = missing,
        }
        written
    }

    /// These may not be needed any more.
    pub(crate) fn doubt(&mut self, addresses: Vec<IpAddr>) {
        self.to_remove.extend(addresses);
    }

    /// Removes what is ours and no longer wanted. Who has an address kept sees to it later, by
    /// [`doubt`](Self::doubt).
    pub(crate) fn sweep(&mut self, is_kept: impl Fn(IpAddr) -> bool) -> Result<Written, NetlinkError> {
        let mut unwanted = std::mem::take(&mut self.to_remove);
        unwanted.retain(|address| {
            !self.wanted.contains_key(address) && self.present.contains(address) && !is_kept(*address)
        });
        let written = self.send(kind::DELETE_ROUTE, 0, &unwanted, &[NO_SUCH]);
        match &written {
            Ok(written) => self.to_remove = written.refused.iter().map(|(address, _)| *address).collect(),
            Err(_) => self.to_remove = unwanted,
        }
        written
    }

    /// Removes all that is ours, wanted or not.
    pub(crate) fn remove_all(&mut self) -> Result<Written, NetlinkError> {
        self.wanted.clear();
        self.read()?;
        self.sweep(|_| false)
    }

    /// Whether packets to this address come to this node, for whatever reason.
    pub(crate) fn is_local(&mut self, address: IpAddr) -> Result<bool, NetlinkError> {
        let lookup = |message: &mut MessageWriter<'_>| rtnetlink::write_lookup(message, address);
        let way =
            self.socket.request(kind::GET_ROUTE, flag::ACK, lookup, |way: &mut Option<_>, message| {
                *way = way.or_else(|| rtnetlink::read_way(message));
            })?;
        Ok(way.is_some_and(|way| way.is_local))
    }

    /// Tries whether this process may add routes, with one for an address that is the loopback
    /// interface's anyway.
    pub(crate) fn rehearse() -> Result<(), NetlinkError> {
        /// In 127.0.0.0/8, and unlikely to be anybody's.
        const NOBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 255, 80, 80));
        let mut routes = Self::open(IpFamily::V4)?;
        routes.want(NOBODY);
        let added = routes.add()?;
        routes.release(NOBODY);
        let removed = routes.sweep(|_| false)?;
        match added.refused.into_iter().chain(removed.refused).next() {
            Some((_, refusal)) => Err(refusal.into()),
            None => Ok(()),
        }
    }

    fn send(
        &mut self,
        kind: u16,
        flags: u16,
        addresses: &[IpAddr],
        fine: &[i32],
    ) -> Result<Written, NetlinkError> {
        let mut written = Written::default();
        for part in addresses.chunks(BATCH) {
            let mut batch = self.socket.new_batch();
            for address in part {
                // An address and two numbers fit into any message.
                let _ = batch.add(kind, flag::REQUEST | flags, |m| rtnetlink::write_local_route(m, *address));
            }
            if let Some(last) = batch.last() {
                batch.set_flags(last, flag::ACK);
            }
            let refusals = self.socket.send_each(&batch)?;
            written.messages += part.len();
            written.bytes += batch.size();
            let by_number: HashMap<u32, Refusal> =
                refusals.into_iter().map(|refusal| (refusal.sequence, refusal)).collect();
            for (number, address) in (batch.first()..).zip(part) {
                let refusal = by_number.get(&number).filter(|refusal| !fine.contains(&refusal.errno));
                self.settle(kind, *address, refusal, &mut written);
            }
        }
        Ok(written)
    }

    fn settle(&mut self, kind: u16, address: IpAddr, refusal: Option<&Refusal>, written: &mut Written) {
        match refusal {
            Some(refusal) => written.refused.push((address, refusal.clone())),
            None if kind == kind::NEW_ROUTE => {
                written.routes += 1;
                self.present.insert(address);
            }
            None => {
                written.routes += 1;
                self.present.remove(&address);
            }
        }
    }
}

/// Whether the kernel refused because this process may not change routes.
pub(crate) fn is_not_permitted(errno: Option<i32>) -> bool {
    errno == Some(NOT_PERMITTED)
}
