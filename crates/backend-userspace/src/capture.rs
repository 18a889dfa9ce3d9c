//! Brings packets for service addresses to this node.
//!
//! A cluster IP is nobody else's, so a route of type `local` to `lo` makes all of it this node's. Any other address may
//! be another host's as well: whoever writes a Service can name a node, the API server or a router in `externalIPs`. Of
//! those only the ports of Services are taken: a routing rule for each port of a protocol leads to a table of its own,
//! and a route in there makes the port of an address this node's ([`Object`]). All other packets to the address, ICMP
//! among them, go where they always went.
//!
//! Routes and rules have our protocol number. So those of an earlier run are known at once, and those of others are never
//! touched: a deletion names the protocol, and the kernel finds no other. They are not addresses of an interface, on
//! which others look.
//!
//! The kernel asks all rules for each packet that it looks up a route for, some 8 ns each. Therefore there are no more
//! than [`MOST_RULES`], and no Service takes them all.

mod object;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use portolan_core::{IpFamily, ObjectName};
use portolan_netlink::route::{Route, Way, write_match, write_route};
use portolan_netlink::{MessageWriter, NetlinkError, NetlinkSocket, Protocol, Refusal, flag};

use crate::limits::is_fair;
use crate::listen::Transport;
use crate::rtnetlink::{self, kind};

use object::Found;
pub(crate) use object::{Object, Port};

/// How many ports of a family may be taken of addresses that may be other hosts'.
pub(crate) const MOST_RULES: usize = 256;
/// How many messages one batch has, so that the receive buffer holds an answer to each.
const BATCH: usize = 256;
/// Of asm-generic/errno-base.h.
const EXISTS: i32 = 17;
const NO_SUCH: [i32; 2] = [3, 2];
const NOT_PERMITTED: i32 = 1;
const INVALID: i32 = 22;

/// How external addresses are brought here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// By the ports of Services.
    Ports,
    /// As a whole, because this kernel has no rules for ports: it is older than 4.17, or made without
    /// `CONFIG_IP_MULTIPLE_TABLES`.
    Addresses,
}

/// What of one family comes to this node because of us.
#[derive(Debug)]
pub(crate) struct Captures {
    family: IpFamily,
    socket: NetlinkSocket,
    extent: Extent,
    /// What programs on this node have for their source when they ask a port of an IPv4 address. IPv6 finds one by
    /// itself.
    source: Option<IpAddr>,
    /// How many service ports want each.
    wanted: HashMap<Object, usize>,
    /// For which Service there is a rule.
    owners: HashMap<Port, ObjectName>,
    /// What the kernel has of ours.
    present: HashSet<Object>,
    /// What may be missing, and what may be too many, since the kernel was last told.
    to_add: Vec<Object>,
    to_remove: Vec<Object>,
}

/// What one round of changes came to.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Routes and rules added or removed.
    pub(crate) objects: usize,
    /// Messages sent.
    pub(crate) messages: usize,
    /// Their size.
    pub(crate) bytes: usize,
    /// What the kernel did not let us have, and why.
    refused: Vec<(Object, Refusal)>,
}

impl Captures {
    /// Nothing is wanted yet, and nothing known of the kernel.
    pub(crate) fn open(family: IpFamily) -> Result<Self, NetlinkError> {
        Ok(Self {
            family,
            socket: NetlinkSocket::open(Protocol::Route)?,
            extent: Extent::Ports,
            source: None,
            wanted: HashMap::new(),
            owners: HashMap::new(),
            present: HashSet::new(),
            to_add: Vec::new(),
            to_remove: Vec::new(),
        })
    }

    /// The same, where captures are about to be made. What earlier versions took as a whole is given back at once: the
    /// API server, which tells what there is, may be among it.
    pub(crate) fn begin(family: IpFamily) -> Result<Self, NetlinkError> {
        let mut captures = Self::open(family)?;
        let (_, old) = captures.dump()?;
        captures.remove_old(&old)?;
        if !captures.has_port_rules() {
            captures.extent = Extent::Addresses;
        }
        Ok(captures)
    }

    /// The same on a kernel that has no rules for ports.
    #[cfg(test)]
    pub(crate) fn without_port_rules(self) -> Self {
        Self { extent: Extent::Addresses, ..self }
    }

    /// How external addresses are brought here.
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// One more service port, of this Service, wants this.
    pub(crate) fn want(&mut self, object: Object, owner: &ObjectName) {
        self.count(object);
        if let Object::Port(_, port) = object
            && self.count(Object::Rule(port))
        {
            self.owners.insert(port, owner.clone());
        }
    }

    /// Counts one more who wants this, and tells whether it is the first.
    fn count(&mut self, object: Object) -> bool {
        let count = self.wanted.entry(object).or_default();
        *count += 1;
        if *count == 1 {
            self.to_add.push(object);
        }
        *count == 1
    }

    /// One service port less wants it.
    pub(crate) fn release(&mut self, object: Object) {
        self.discount(object);
        if let Object::Port(_, port) = object
            && self.discount(Object::Rule(port))
        {
            self.owners.remove(&port);
        }
    }

    /// Counts one less, and tells whether it was the last.
    fn discount(&mut self, object: Object) -> bool {
        let Some(count) = self.wanted.get_mut(&object) else { return false };
        *count -= 1;
        let is_last = *count == 0;
        if is_last {
            self.wanted.remove(&object);
            self.to_remove.push(object);
        }
        is_last
    }

    /// Whether packets to this port of an address are refused, as nobody listens there. IPv6 does that by itself. IPv4
    /// sends no answer from an address that is not in the table `local` (`ip_route_output_key_hash_rcu` in
    /// net/ipv4/route.c), so that it takes a route.
    pub(crate) fn set_refused(&mut self, address: IpAddr, port: Port, is_refused: bool) {
        let object = Object::Refusal(address, port);
        if self.family == IpFamily::V4 && is_refused != self.wanted.contains_key(&object) {
            if is_refused {
                self.count(object);
            } else {
                self.discount(object);
            }
        }
    }

    /// Whether the kernel has all that this takes.
    pub(crate) fn has(&self, object: Object) -> bool {
        let has_rule = |port| self.present.contains(&Object::Rule(port));
        self.present.contains(&object)
            && if let Object::Port(_, port) = object { has_rule(port) } else { true }
    }

    /// Whether it has all but a rule, for want of room.
    pub(crate) fn lacks_a_rule(&self, object: Object) -> bool {
        self.present.contains(&object) && !self.has(object)
    }

    /// Reads from the kernel what is ours; the next changes go by that.
    pub(crate) fn read(&mut self) -> Result<(), NetlinkError> {
        (self.present, _) = self.dump()?;
        self.to_add = self.wanted.keys().copied().collect();
        self.to_remove = self.present.iter().copied().collect();
        Ok(())
    }

    /// Whether the kernel still has all that it had.
    pub(crate) fn are_intact(&mut self) -> Result<bool, NetlinkError> {
        let (now, _) = self.dump()?;
        Ok(self.present.is_subset(&now))
    }

    /// The node's addresses changed. Routes that name one that went are gone with it.
    pub(crate) fn addresses_changed(&mut self) -> Result<(), NetlinkError> {
        self.source = None;
        if self.family == IpFamily::V4 && self.present.iter().any(|object| matches!(object, Object::Port(..)))
        {
            self.read()?;
            // Those that are left are written again, with the source that is right now.
            self.present.retain(|object| !matches!(object, Object::Port(..)));
        }
        Ok(())
    }

    fn dump(&mut self) -> Result<(HashSet<Object>, Vec<Route>), NetlinkError> {
        let (mut objects, mut old) = (HashSet::new(), Vec::new());
        for kind in [kind::GET_ROUTE, kind::GET_RULE] {
            let question = rtnetlink::write_question(kind, self.family);
            // Routes of others change all the time; ours only by our hand.
            let dumped = self.socket.dump_once(kind, question, |found: &mut Vec<_>, message| {
                found.extend(object::read(message));
            });
            let found = match dumped {
                Ok((found, _)) => found,
                // No rules at all.
                Err(error) if kind == kind::GET_RULE && error.errno().is_some() => Vec::new(),
                Err(error) => return Err(error),
            };
            for found in found {
                match found {
                    Found::Object(object) => drop(objects.insert(object)),
                    Found::Old(route) => old.push(route),
                }
            }
        }
        Ok((objects, old))
    }

    /// Adds what is wanted and missing. What is refused stays missing, and is tried again the next time.
    pub(crate) fn add(&mut self) -> Result<Written, NetlinkError> {
        let mut missing = std::mem::take(&mut self.to_add);
        missing.retain(|object| self.wanted.contains_key(object) && !self.present.contains(object));
        let too_many = self.take_rules_too_many(&mut missing);
        let first =
            missing.iter().find_map(|object| if let Object::Port(ip, _) = object { Some(*ip) } else { None });
        if let Some(address) = first.filter(|_| self.family == IpFamily::V4 && self.source.is_none()) {
            let way = self.ask(|message| rtnetlink::write_lookup(message, address)).ok().flatten();
            self.source = way.and_then(|way| way.source).or(Some(Ipv4Addr::LOCALHOST.into()));
        }
        let written = self.send(&missing, Change::Add);
        match &written {
            Ok(written) => {
                self.to_add = written.refused.iter().map(|(object, _)| *object).collect();
                if written.refused.iter().any(|(_, refusal)| refusal.errno == INVALID) {
                    // It may have been the node's a moment ago.
                    self.source = None;
                }
            }
            Err(_) => self.to_add = missing,
        }
        self.to_add.extend(too_many);
        written
    }

    /// Takes out rules that there is no room for.
    fn take_rules_too_many(&self, missing: &mut Vec<Object>) -> Vec<Object> {
        let mut too_many = Vec::new();
        if !missing.iter().any(|object| matches!(object, Object::Rule(_))) {
            return too_many;
        }
        let (mut rules, mut of_owner) = (0, HashMap::<&ObjectName, usize>::new());
        for object in &self.present {
            if let Object::Rule(port) = object {
                rules += 1;
                if let Some(owner) = self.owners.get(port) {
                    *of_owner.entry(owner).or_default() += 1;
                }
            }
        }
        missing.retain(|object| {
            let Object::Rule(port) = object else { return true };
            let has = self.owners.get(port).map(|owner| of_owner.entry(owner).or_default());
            let is_room = has.as_deref().is_none_or(|has| is_fair(*has, MOST_RULES.saturating_sub(rules)));
            if is_room {
                rules += 1;
                if let Some(has) = has {
                    *has += 1;
                }
            } else {
                too_many.push(*object);
            }
            is_room
        });
        too_many
    }

    /// These may not be needed any more.
    pub(crate) fn doubt(&mut self, objects: impl IntoIterator<Item = Object>) {
        for object in objects {
            self.to_remove.push(object);
            if let Object::Port(_, port) = object {
                self.to_remove.push(Object::Rule(port));
            }
        }
    }

    /// Removes what is ours and no longer wanted. Who has something kept sees to it later, by
    /// [`doubt`](Self::doubt).
    pub(crate) fn sweep(&mut self, is_kept: impl Fn(Object) -> bool) -> Result<Written, NetlinkError> {
        let mut unwanted = std::mem::take(&mut self.to_remove);
        unwanted.retain(|object| {
            !self.wanted.contains_key(object) && self.present.contains(object) && !is_kept(*object)
        });
        let written = self.send(&unwanted, Change::Delete);
        match &written {
            Ok(written) => self.to_remove = written.refused.iter().map(|(object, _)| *object).collect(),
            Err(_) => self.to_remove = unwanted,
        }
        written
    }

    /// Removes all that is ours, wanted or not.
    pub(crate) fn remove_all(&mut self) -> Result<Written, NetlinkError> {
        self.wanted.clear();
        self.owners.clear();
        let (_, old) = self.dump()?;
        self.remove_old(&old)?;
        self.read()?;
        self.sweep(|_| false)
    }

    fn remove_old(&mut self, old: &[Route]) -> Result<(), NetlinkError> {
        for part in old.chunks(BATCH) {
            self.exchange(part, |route| (kind::DELETE_ROUTE, 0, move |message| write_route(message, route)))?;
        }
        Ok(())
    }

    /// Whether packets to this address come to this node, for whatever reason.
    pub(crate) fn is_local(&mut self, address: IpAddr) -> Result<bool, NetlinkError> {
        let way = self.ask(|message| rtnetlink::write_lookup(message, address))?;
        Ok(way.is_some_and(|way| way.is_local))
    }

    /// Whether a route says that this address is another host's. A default route says nothing of the kind.
    pub(crate) fn is_elsewhere(&mut self, address: IpAddr) -> bool {
        let way = self.ask(|message| write_match(message, address)).ok().flatten();
        way.is_some_and(|way| !way.is_local && !way.is_default)
    }

    fn ask(&mut self, question: impl FnOnce(&mut MessageWriter<'_>)) -> Result<Option<Way>, NetlinkError> {
        self.socket.request(kind::GET_ROUTE, flag::ACK, question, |way: &mut Option<_>, message| {
            *way = way.or_else(|| rtnetlink::read_way(message));
        })
    }

    /// Tries whether this process may add routes, with one for an address that is the loopback
    /// interface's anyway.
    pub(crate) fn rehearse() -> Result<(), NetlinkError> {
        /// In 127.0.0.0/8, and unlikely to be anybody's.
        const NOBODY: Object = Object::Address(IpAddr::V4(Ipv4Addr::new(127, 255, 80, 80)));
        let mut captures = Self::open(IpFamily::V4)?;
        let added = captures.send(&[NOBODY], Change::Add)?;
        let removed = captures.send(&[NOBODY], Change::Delete)?;
        match added.refused.into_iter().chain(removed.refused).next() {
            Some((_, refusal)) => Err(refusal.into()),
            None => Ok(()),
        }
    }

    /// Whether the kernel has rules for ports. One that does not know them adds a rule all the same, for all packets: so
    /// one that leads to an empty table is read back.
    fn has_port_rules(&mut self) -> bool {
        const TRIAL: Object = Object::Rule(Port { transport: Transport::Tcp, number: 1 });
        let has_rule =
            |(objects, _): (HashSet<_>, _)| objects.iter().any(|object| matches!(object, Object::Rule(_)));
        if self.dump().is_ok_and(has_rule) {
            return true;
        }
        let is_added = self.send(&[TRIAL], Change::Add).is_ok_and(|written| written.refused.is_empty());
        let has_rules = is_added && self.dump().is_ok_and(has_rule);
        is_added && self.send(&[TRIAL], Change::Delete).is_ok() && has_rules
    }

    fn send(&mut self, objects: &[Object], change: Change) -> Result<Written, NetlinkError> {
        let mut written = Written::default();
        // A deletion finds a route whatever its source is.
        let (family, source) = (self.family, self.source.filter(|_| change == Change::Add));
        for part in objects.chunks(BATCH) {
            let (bytes, refusals) = self.exchange(part, |object| {
                let (kind, flags) = change.of(*object);
                (kind, flags, move |message: &mut MessageWriter<'_>| object.write(message, family, source))
            })?;
            written.messages += part.len();
            written.bytes += bytes;
            for (at, object) in part.iter().enumerate() {
                let refusal = refusals.get(&at).filter(|refusal| !change.is_done(refusal.errno));
                match (refusal, change) {
                    (Some(refusal), _) => {
                        written.refused.push((*object, refusal.clone()));
                        continue;
                    }
                    (None, Change::Add) => self.present.insert(*object),
                    (None, Change::Delete) => self.present.remove(object),
                };
                written.objects += 1;
            }
        }
        Ok(written)
    }

    /// Sends a message for each of `items`, which are no more than [`BATCH`]. Gives the size of all, and what was refused
    /// by its place among them.
    fn exchange<'a, T, F: FnOnce(&mut MessageWriter<'_>)>(
        &mut self,
        items: &'a [T],
        message: impl Fn(&'a T) -> (u16, u16, F),
    ) -> Result<(usize, HashMap<usize, Refusal>), NetlinkError> {
        let mut batch = self.socket.new_batch();
        for item in items {
            let (kind, flags, write) = message(item);
            // An address and some numbers fit into any message.
            let _ = batch.add(kind, flag::REQUEST | flags, write);
        }
        if let Some(last) = batch.last() {
            batch.set_flags(last, flag::ACK);
        }
        let refusals = self.socket.send_each(&batch)?.into_iter();
        let place = |number: u32| usize::try_from(number.wrapping_sub(batch.first())).unwrap_or(usize::MAX);
        Ok((batch.size(), refusals.map(|refusal| (place(refusal.sequence), refusal)).collect()))
    }
}

/// What is to become of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Delete,
}

impl Change {
    /// The kind and the flags of a message.
    fn of(self, object: Object) -> (u16, u16) {
        let (new, delete) = object.kinds();
        match (self, object) {
            (Self::Delete, _) => (delete, 0),
            // It may be there with another source.
            (Self::Add, Object::Port(..)) => (new, flag::CREATE | flag::REPLACE),
            (Self::Add, _) => (new, flag::CREATE | flag::EXCL),
        }
    }

    /// Whether a refusal means that the kernel is as it should be.
    fn is_done(self, errno: i32) -> bool {
        match self {
            Self::Add => errno == EXISTS,
            Self::Delete => NO_SUCH.contains(&errno),
        }
    }
}

/// Whether the kernel refused because this process may not change routes.
pub(crate) fn is_not_permitted(errno: Option<i32>) -> bool {
    errno == Some(NOT_PERMITTED)
}

#[cfg(test)]
mod tests;
